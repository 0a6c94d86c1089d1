//! The agent as a process: asleep when there is nothing to do, gone when it is told.

use crate::Test;
use crate::appliance::{Activity, DOCUMENT, GATE, PARAMETERS, activity, appliance, soon, stage, start_agent};
use anyhow::{Result, ensure};
use qemu_tests::{Bench, Connect, Job, Vm};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("a guest that is ready, with that acknowledged, does not wake up", idle),
    ("SIGTERM ends the agent at once: ready", terminated_ready),
    ("SIGTERM ends the agent at once: waiting for a gate", terminated_waiting),
    ("SIGTERM ends the agent at once: waiting for a drive", terminated_searching),
    (
        "SIGTERM ends the agent at once: a check runs, which ends too, and nothing is left",
        terminated_checking,
    ),
    ("a host is answered at once while a check runs", answered),
    ("a bug leaves a line in the log that tells where it was, and no core file", stopped_by_a_bug),
];

fn idle(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&appliance(PARAMETERS))?;
    let agent = start_agent(&mut vm)?;
    vm.report(stage("ready"), soon())?;
    // The acknowledgement reaches the agent after the report reached us.
    vm.run("sleep 2")?;
    let idle = activity(&mut vm, &agent, 20)?;
    bench.measured(format!("{} context switches in 20 s", idle.switches));
    assert_eq!(idle, Activity { switches: 0, ticks: 0 });
    Ok(())
}

fn terminated_ready(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&appliance(PARAMETERS))?;
    let agent = start_agent(&mut vm)?;
    vm.report(stage("ready"), soon())?;
    terminate(bench, &mut vm, &agent)
}

fn terminated_waiting(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::Later)?;
    vm.put(&appliance(&format!("{PARAMETERS}{GATE}")))?;
    let agent = start_agent(&mut vm)?;
    vm.run("until [ -e /etc/mydb/mydb.conf ]; do usleep 10000; done")?;
    terminate(bench, &mut vm, &agent)
}

fn terminated_searching(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest_without_drive(Connect::BeforeBoot)?;
    vm.put(&appliance(&format!("{PARAMETERS}[transport.iso]\nwait = \"60s\"\n")))?;
    let agent = start_agent(&mut vm)?;
    vm.report(|report| !report.ready, soon())?;
    terminate(bench, &mut vm, &agent)
}

/// A guest with a check that runs until `/run/go` is there, while the agent waits for it.
fn checking(bench: &Bench<'_>) -> Result<(Vm, Job)> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    let slow = "+++\npath = \"/etc/slow.conf\"\ncheck = [\"/bin/slow\", \"{}\"]\n+++\n{{ ip }}\n";
    vm.put(&appliance(PARAMETERS).with("/etc/ovf-agent/templates/slow.tera", slow).with_program(
        "/bin/slow",
        "#!/bin/sh\n: > /run/slow\nuntil [ -e /run/go ]; do usleep 10000; done\n",
    ))?;
    let agent = start_agent(&mut vm)?;
    vm.run("until [ -e /run/slow ]; do usleep 10000; done")?;
    Ok((vm, agent))
}

fn terminated_checking(bench: &Bench<'_>) -> Result<()> {
    let (mut vm, agent) = checking(bench)?;
    terminate(bench, &mut vm, &agent)?;
    assert_eq!(
        vm.run("ls -A /etc/mydb /etc/slow.conf 2> /dev/null || :; ls -A /etc | grep '#' || :")?,
        "/etc/mydb:\n"
    );
    assert_eq!(vm.run("grep -l slow /proc/[0-9]*/comm || :")?, "", "the check is gone");
    Ok(())
}

fn answered(bench: &Bench<'_>) -> Result<()> {
    let (mut vm, _agent) = checking(bench)?;
    let begun = std::time::Instant::now();
    for id in ["1", "2", "3"] {
        vm.host.send(&json!({ "type": "query", "id": id }))?;
        let answer = vm.host.answer(id, soon())?;
        assert_eq!(answer["ok"], true, "{answer}");
    }
    let took = begun.elapsed();
    bench.measured(format!("3 answers in {} ms", took.as_millis()));
    // The check would hold it up for ever.
    assert!(took.as_secs() < 10, "{took:?}");
    vm.report(stage("configuring"), soon())?;
    vm.run(": > /run/go")?;
    vm.report(stage("ready"), soon())?;
    assert_eq!(vm.run("cat /etc/slow.conf")?, "10.20.132.102\n");
    Ok(())
}

/// Sends SIGTERM and measures in the guest, where no other load counts, how long the agent stays.
fn terminate(bench: &Bench<'_>, vm: &mut Vm, agent: &Job) -> Result<()> {
    let now = "cut -d ' ' -f 1 /proc/uptime";
    let pid = agent.pid;
    let times =
        vm.run(&format!("{now}; kill -TERM {pid}; while [ -d /proc/{pid} ]; do usleep 5000; done; {now}"))?;
    let times: Vec<f64> = times.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let took = times[1] - times[0];
    bench.measured(format!("gone after {took:.2} s"));
    assert!(took < 10.0, "it left after {took:.2} s");
    assert_eq!(vm.wait(agent, soon())?, 0, "a stop that was asked for is no failure");
    Ok(())
}

fn stopped_by_a_bug(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&appliance(PARAMETERS))?;
    vm.put(&bench.inside("bug")?)?;
    // `bug` reads behind the end of a list.
    let log = vm.run("/usr/local/bin/bug 1 2 2>&1 > /dev/null; echo status $?")?;
    assert!(
        log.contains("ovf-agent: stopped by a bug: SIGILL at ") && log.ends_with("status 132\n"),
        "{log}"
    );
    let told = told(&log, "inside/bug")?;
    for function in ["SIGILL\n", "bug::third at ", "bug.rs:", "bug::main at "] {
        assert!(told.contains(function), "no {function} in {told}");
    }

    // The agent itself, while it waits for what comes. Its handler is left before the signal's own action takes place.
    vm.run("cd /run; echo core > /proc/sys/kernel/core_pattern; ulimit -c unlimited; ovf-agent run 2> /run/log &")?;
    vm.report(stage("ready"), soon())?;
    vm.run("kill -SEGV $(pidof ovf-agent); while pidof ovf-agent > /dev/null; do usleep 10000; done")?;
    let log = vm.run("cat /run/log")?;
    let told = self::told(&log, "ovf-agent")?;
    for function in ["SIGSEGV\n", "epoll", "ovf_agent::agent::run::", "ovf_agent::cli::Cli"] {
        assert!(told.contains(function), "no {function} in {told}");
    }
    assert_eq!(vm.run("ls /run/core* 2> /dev/null || :")?, "", "which would hold the parameters");
    Ok(())
}

/// What `packaging/static/where` tells of the crash of a program of `target/static` in a log.
pub(crate) fn told(log: &str, program: &str) -> Result<String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut child = Command::new(workspace.join("packaging/static/where"))
        .arg(workspace.join("target/static").join(program).with_extension("debug"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().expect("it was asked for").write_all(log.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "where: {} for {log}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
