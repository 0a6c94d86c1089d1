//! The agent as a process: asleep when there is nothing to do, gone when it is told.

use crate::Test;
use crate::appliance::{Activity, DOCUMENT, GATE, PARAMETERS, activity, appliance, soon, stage, start_agent};
use anyhow::Result;
use qemu_tests::{Bench, Connect, Job, Vm};
use serde_json::json;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("a guest that is ready, with that acknowledged, does not wake up", idle),
    ("SIGTERM ends the agent within a second: ready", terminated_ready),
    ("SIGTERM ends the agent within a second: waiting for a gate", terminated_waiting),
    ("SIGTERM ends the agent within a second: waiting for a drive", terminated_searching),
    (
        "SIGTERM ends the agent within a second: a check runs, which ends too, and nothing is left",
        terminated_checking,
    ),
    ("a host is answered at once while a check runs", answered),
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
    assert!(took.as_millis() < 1000, "{took:?}");
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
    assert!(took < 1.0, "it left after {took:.2} s");
    assert_eq!(vm.wait(agent, soon())?, 0, "a stop that was asked for is no failure");
    Ok(())
}
