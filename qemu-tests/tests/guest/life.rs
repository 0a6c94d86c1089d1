//! The agent as a process: asleep when there is nothing to do, gone when it is told.

use crate::Test;
use crate::appliance::{Activity, DOCUMENT, GATE, PARAMETERS, activity, appliance, soon, stage, start_agent};
use anyhow::Result;
use qemu_tests::{Bench, Connect, Job, Vm};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("a guest that is ready, with that acknowledged, does not wake up", idle),
    ("SIGTERM ends the agent within a second: ready", terminated_ready),
    ("SIGTERM ends the agent within a second: waiting for a gate", terminated_waiting),
    ("SIGTERM ends the agent within a second: waiting for a drive", terminated_searching),
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
