//! Drives that come late, or never.

use crate::Test;
use crate::appliance::{
    CONFIGURED, DEFAULTS, DOCUMENT, OPTIONAL_PARAMETERS, PARAMETERS, activity, appliance, soon, stage,
    start_agent, text,
};
use anyhow::Result;
use qemu_tests::{Bench, Connect};
use std::time::{Duration, Instant};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("no drive until seconds after the agent started: it is found when it comes", late_drive),
    ("no drive ever: the guest goes on with its defaults after `wait`", no_drive),
];

fn late_drive(bench: &Bench<'_>) -> Result<()> {
    let disc = bench.environment(DOCUMENT)?;
    let mut vm = bench.guest_without_drive(Connect::BeforeBoot)?;
    vm.put(&appliance(&format!("{PARAMETERS}[transport.iso]\nwait = \"60s\"\n")))?;
    let agent = start_agent(&mut vm)?;
    vm.report(|report| !report.ready, soon())?;
    // Three seconds in which nothing happens: it sleeps, so only an event can wake it.
    let idle = activity(&mut vm, &agent, 3)?;
    bench.measured(format!("{} context switches in 3 s without a drive", idle.switches));
    assert!(idle.switches <= 6 && idle.ticks <= 1, "it does not look for a drive again and again: {idle:?}");

    let plugged = Instant::now();
    vm.plug_drive(&disc)?;
    let ready = vm.report(stage("ready"), soon())?;
    let took = ready.at - plugged;
    bench.measured(format!("{} ms from device_add to ready", took.as_millis()));
    assert!(took < Duration::from_secs(20), "{took:?} from plugging the drive to ready");
    assert_eq!(ready.report.source, "iso:/dev/sr0");
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, CONFIGURED);
    Ok(())
}

fn no_drive(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest_without_drive(Connect::BeforeBoot)?;
    vm.put(&appliance(&format!("{OPTIONAL_PARAMETERS}[transport.iso]\nwait = \"2s\"\n")))?;
    let begun: f64 = vm.run("cut -d ' ' -f 1 /proc/uptime")?.trim().parse()?;
    start_agent(&mut vm)?;
    let report = vm.report(stage("ready"), soon())?.report;
    let took = Duration::from_millis(report.uptime_ms).saturating_sub(Duration::from_secs_f64(begun));
    assert!((2..15).contains(&took.as_secs()), "it waited {took:?} for a drive");
    assert_eq!(report.source, "none");
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, DEFAULTS);
    Ok(())
}
