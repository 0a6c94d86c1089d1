//! What a guest does with the disc that it finds: none in the drive, every kind of names, a broken document,
//! targets that cannot be written.

use crate::Test;
use crate::appliance::{
    CONFIGURED, DEFAULTS, DOCUMENT, GATE, OPTIONAL_PARAMETERS, PARAMETERS, appliance, soon, stage,
    start_agent, text,
};
use anyhow::Result;
use qemu_tests::files::differences;
use qemu_tests::{Bench, Connect, Report, Variant, Vm};
use std::time::Duration;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("an empty drive: the guest goes on with its defaults after `settle`", empty_drive),
    ("an empty drive: a required parameter without a default is a failure", empty_drive_but_required),
    ("a disc of somebody else: the guest goes on with its defaults", foreign_disc),
    ("a disc with plain level 1 names is read", |bench| reads(bench, Variant::Plain)),
    ("a disc with Joliet names only is read", |bench| reads(bench, Variant::Joliet)),
    ("a disc with Rock Ridge names only is read", |bench| reads(bench, Variant::RockRidge)),
    ("a broken document is a failure with its line, and changes nothing", broken_document),
    ("a target on a read-only file system is a failure, and changes nothing", read_only_target),
    ("a target on a full file system is a failure, and changes nothing", full_target),
];

/// The usual `settle`, and how much longer a loaded machine may take with it.
const SETTLE: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_secs(15);

/// Starts the agent and gives the report that ends its pass with the seconds of guest time until then.
fn pass(vm: &mut Vm, configuration: &str, last: &str) -> Result<(Report, Duration)> {
    vm.put(&appliance(configuration))?;
    let begun = vm.run("cut -d ' ' -f 1 /proc/uptime")?.trim().parse()?;
    start_agent(vm)?;
    let report = vm.report(stage(last), soon())?.report;
    let took = Duration::from_millis(report.uptime_ms).saturating_sub(Duration::from_secs_f64(begun));
    Ok((report, took))
}

fn empty_drive(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(None, Connect::BeforeBoot)?;
    let (report, took) = pass(&mut vm, &format!("{OPTIONAL_PARAMETERS}{GATE}"), "waiting")?;
    assert_eq!((report.source.as_str(), report.id.as_str(), report.environment), ("none", "", None));
    assert!((SETTLE..SETTLE + SLACK).contains(&took), "it waited {took:?} for a disc");
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, DEFAULTS);
    assert_eq!(text(&mut vm, "/etc/mydb/peers")?, "alone\n");

    vm.run("touch /run/mydb.ready")?;
    assert_eq!(vm.report(stage("ready"), soon())?.report.source, "none");
    Ok(())
}

fn empty_drive_but_required(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(None, Connect::BeforeBoot)?;
    vm.put(&appliance(PARAMETERS))?;
    let report = fails_unchanged(&mut vm, "parameters")?;
    assert_eq!(report.source, "none");
    let message = report.failure.map(|failure| failure.message).unwrap_or_default();
    assert!(message.contains("`ip`") && message.contains("com.mydb.db.ip"), "{message}");
    Ok(())
}

fn foreign_disc(bench: &Bench<'_>) -> Result<()> {
    let disc = bench.iso(Variant::Full, &[("setup.exe", b"MZ"), ("autorun.inf", b"")])?;
    let mut vm = bench.guest(Some(&disc), Connect::BeforeBoot)?;
    let (report, took) = pass(&mut vm, OPTIONAL_PARAMETERS, "ready")?;
    assert_eq!(report.source, "none");
    assert!((SETTLE..SETTLE + SLACK).contains(&took), "it waited {took:?} for another disc");
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, DEFAULTS);
    Ok(())
}

fn reads(bench: &Bench<'_>, variant: Variant) -> Result<()> {
    let disc = bench.iso(variant, &[("ovf-env.xml", DOCUMENT.as_bytes())])?;
    let mut vm = bench.guest(Some(&disc), Connect::BeforeBoot)?;
    let (report, took) = pass(&mut vm, PARAMETERS, "ready")?;
    assert_eq!(report.source, "iso:/dev/sr0");
    assert!(took < SLACK, "it took {took:?} although the disc was there");
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, CONFIGURED);
    Ok(())
}

fn broken_document(bench: &Bench<'_>) -> Result<()> {
    let document = DOCUMENT.replace("</Entity>", "</Entitiy>");
    let line = document.lines().take_while(|line| !line.contains("</Entitiy>")).count() + 1;
    let mut vm = bench.guest(Some(&bench.environment(&document)?), Connect::BeforeBoot)?;
    vm.put(&appliance(PARAMETERS))?;
    vm.run("echo old > /etc/mydb/mydb.conf")?;
    let report = fails_unchanged(&mut vm, "environment")?;
    assert_eq!(report.source, "iso:/dev/sr0");
    let message = report.failure.map(|failure| failure.message).unwrap_or_default();
    assert!(message.contains("Entitiy") && message.contains(&line.to_string()), "line {line}: {message}");
    Ok(())
}

fn read_only_target(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&appliance(PARAMETERS))?;
    vm.run("mount -t tmpfs mydb /etc/mydb; echo old > /etc/mydb/mydb.conf; touch -d @1000 /etc/mydb/*")?;
    vm.run("touch -d @1000 /etc/mydb; mount -o remount,ro /etc/mydb")?;
    let report = fails_unchanged(&mut vm, "apply")?;
    let message = report.failure.map(|failure| failure.message).unwrap_or_default();
    assert!(message.contains("/etc/mydb/") && message.contains("Read-only"), "{message}");
    Ok(())
}

fn full_target(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&appliance(PARAMETERS))?;
    vm.run("mount -t tmpfs -o size=64k mydb /etc/mydb; echo old > /etc/mydb/mydb.conf")?;
    vm.sh("dd if=/dev/zero of=/etc/mydb/ballast bs=4k")?;
    let (report, changed) = fails(&mut vm, "apply")?;
    // Only trying to write tells that there is no room: the directory was written, and is as it was.
    assert!(changed.iter().all(|path| path == "."), "{changed:?} changed");
    let message = report.failure.map(|failure| failure.message).unwrap_or_default();
    assert!(message.contains("/etc/mydb/") && message.contains("No space"), "{message}");
    Ok(())
}

/// Runs the agent, which must fail at `failing` and leave every target as it is, times included.
fn fails_unchanged(vm: &mut Vm, failing: &str) -> Result<Report> {
    let (report, changed) = fails(vm, failing)?;
    assert!(changed.is_empty(), "{changed:?} changed");
    Ok(report)
}

/// Runs the agent, which must fail at `failing`; the report, and which targets are not as they were.
fn fails(vm: &mut Vm, failing: &str) -> Result<(Report, Vec<String>)> {
    // On a read-only file system the times stay; whoever made it has set them back.
    vm.sh("find /etc/mydb -exec touch -d @1000 {} +")?;
    let before = vm.tree("/etc/mydb")?;
    start_agent(vm)?;
    let report = vm.report(stage("failed"), soon())?.report;
    let failure = report.failure.clone().expect("a failed report says why");
    assert_eq!(failure.stage, failing, "{failure:?}");
    assert!(!report.ready && report.changed.is_empty() && report.generation == 0, "{report:?}");
    let after = vm.tree("/etc/mydb")?;
    Ok((report, differences(&before, &after).into_iter().map(str::to_owned).collect()))
}
