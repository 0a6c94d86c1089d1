//! The agent under another init: `packaging/openrc/ovf-agent` on a machine with OpenRC, from its boot to its end.
//!
//! A boot from power on, so it belongs to the long runs.

use crate::Test;
use crate::appliance::{CONFIGURED, DOCUMENT, PARAMETERS, appliance, stage, text};
use anyhow::Result;
use qemu_tests::{Bench, Connect, Drive, Machine, Report};
use std::time::Duration;

/// The trials of this module.
pub(crate) const BOOTS: &[(&str, Test)] =
    &[("openrc: the boot waits for the files, who dies is started again, and a shutdown runs hooks", life)];

const SCRIPT: &str = include_str!("../../../packaging/openrc/ovf-agent");
/// A service of the appliance's.
const MYDB: &str = "#!/sbin/openrc-run\ndepend() {\n need ovf-agent\n}\n\
    start() {\n cat /etc/mydb/mydb.conf >> /run/mydb.saw\n}\n";
/// Takes longer than OpenRC waits for what says nothing of itself.
const STOP: &str = "#!/bin/sh\nsleep 12\necho \"the stop hook runs for $OVF_STOP_ACTION\" > /dev/kmsg\n";

/// OpenRC finds out what depends on what, by a shell for each script, under emulation.
fn in_time() -> Duration {
    Duration::from_secs(400)
}

fn life(bench: &Bench<'_>) -> Result<()> {
    let files = appliance(PARAMETERS)
        .with_program("/etc/init.d/ovf-agent", SCRIPT)
        .with_link("/etc/runlevels/boot/ovf-agent", "/etc/init.d/ovf-agent")
        .with_program("/etc/init.d/mydb", MYDB)
        .with_link("/etc/runlevels/default/mydb", "/etc/init.d/mydb")
        .with_program("/etc/ovf-agent/hooks.d/stop/10-a", STOP);
    let machine = Machine::with_disc(Drive::Ide, bench.environment(DOCUMENT)?);
    let mut vm = bench.boot_openrc(&machine, &files, Connect::BeforeBoot)?;
    let first = vm.report(stage("ready"), in_time())?.report;
    bench.measured(format!("ready after {} ms", first.uptime_ms));
    vm.run("until [ -e /run/mydb.saw ]; do usleep 100000; done")?;
    assert_eq!(text(&mut vm, "/run/mydb.saw")?, CONFIGURED, "the file was there first");
    vm.run("rc-service ovf-agent status && rc-service ovf-agent reload")?;

    // One that dies is started again.
    vm.run("kill -9 $(pidof ovf-agent)")?;
    let second = vm.report(other_than(&[&first]), in_time())?.report;
    // A restart is nobody's end, and runs no hooks. What needs the agent is restarted with it, as OpenRC does.
    vm.run("rc-service ovf-agent restart")?;
    vm.report(other_than(&[&first, &second]), in_time())?;
    vm.run("rc-service ovf-agent status && rc-service mydb status && [ ! -e /run/ovf-agent/goes-down ]")?;
    assert!(!vm.console.text().contains("the stop hook"), "{}", vm.console.text());
    assert!(!vm.console.text().contains("dependency loop"), "{}", vm.console.text());

    vm.run("poweroff")?;
    vm.report(stage("stopping"), in_time())?;
    vm.qmp.event("SHUTDOWN", in_time())?;
    assert!(vm.console.text().contains("the stop hook runs for poweroff"), "{}", vm.console.text());
    Ok(())
}

/// That a process is ready which is none of those.
fn other_than(before: &[&Report]) -> impl Fn(&Report) -> bool {
    let sessions: Vec<_> = before.iter().map(|report| report.session.clone()).collect();
    move |report| report.stage == "ready" && !sessions.contains(&report.session)
}
