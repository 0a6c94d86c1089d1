//! The same disk where it was not thought of: without a disc, as a copy in another machine, with a root file system that can only
//! be read, and beside cloud-init. Each boot ends with nothing that has failed.

use super::life::log_in;
use super::{DOCUMENT, booted, machine, page, secrets};
use crate::appliance::{soon, stage};
use anyhow::{Context, Result};
use qemu_tests::{Bench, Drive, Machine};
use serde_json::json;

/// The document as it is for others.
fn of(host: &str) -> String {
    DOCUMENT.replace("shop1", host)
}

pub(super) fn copied(bench: &Bench<'_>) -> Result<()> {
    let disk = bench.appliance_disk("appliance")?;
    let mut vm = booted(bench, &Machine::from(Drive::Ide).option("-uuid", UUIDS[0]), &disk)?;
    let report = vm.host.reports().last().context("it is ready")?.report.clone();
    assert_eq!((report.source.as_str(), report.generation), ("none", 1), "{}", report.line);
    assert_eq!(vm.run("uname -n")?, "petstore\n");
    assert!(page(&mut vm)?.contains("<h1>PetStore</h1>"));
    assert!(vm.run("ip -4 -brief address show scope global")?.contains(" 10.0.2.15/24"), "from DHCP");
    log_in(&mut vm)?;
    let password = vm.run("cat /etc/petstore/password")?;
    vm.host.send(&json!({ "type": "stop", "id": "1", "action": "poweroff" }))?;
    vm.qmp.event("SHUTDOWN", soon())?;
    drop(vm);

    let document = of("shop2").replace(secrets::PASSWORD, "");
    let machine = Machine::with_disc(Drive::Ide, bench.environment(&document)?).option("-uuid", UUIDS[1]);
    let mut vm = booted(bench, &machine, &disk)?;
    let report = vm.host.reports().last().context("it is ready")?.report.clone();
    assert_eq!((report.source.as_str(), report.generation), ("iso:/dev/sr0", 2), "{}", report.line);
    assert_eq!(vm.run("uname -n")?, "shop2\n");
    assert!(page(&mut vm)?.contains("Served by shop2."));
    assert_ne!(vm.run("cat /etc/petstore/password")?, password, "a copy has secrets of its own");
    log_in(&mut vm)
}

const UUIDS: [&str; 2] = ["6c1f8a52-0000-4000-8000-000000000001", "6c1f8a52-0000-4000-8000-000000000002"];

pub(super) fn read_only(bench: &Bench<'_>) -> Result<()> {
    let disk = bench.appliance_disk("appliance")?;
    let mut vm = booted(bench, &machine(bench, DOCUMENT)?.kernel("ro"), &disk)?;
    assert_eq!(
        vm.run("touch /usr/probe 2> /dev/null || findmnt --noheadings --output FSTYPE,VFS-OPTIONS /")?,
        "ext4   ro,relatime\n"
    );
    assert_eq!(vm.run("uname -n")?, "shop1\n");
    assert!(page(&mut vm)?.contains("<h1>Cats &amp; dogs</h1>"));
    log_in(&mut vm)
}

pub(super) fn beside_cloud_init(bench: &Bench<'_>) -> Result<()> {
    let disk = bench.appliance_disk("appliance-cloud-init")?;
    // It does not take such a disc for its own, unless it is told to.
    let mut vm = booted(bench, &machine(bench, DOCUMENT)?.kernel("ci.ds=OVF"), &disk)?;
    let seen = "cloud-init status --wait | tail -n 1; cat /run/cloud-init/cloud.cfg | tr '\\n' ' '; uname -n
        ip -4 -brief address show scope global";
    let first = vm.run(seen)?;
    bench.measured(first.replace('\n', ", "));
    assert!(
        first.starts_with("status: done\n") && first.contains("shop1\n") && first.contains(" 10.0.2.15/24")
    );
    assert!(page(&mut vm)?.contains("<h1>Cats &amp; dogs</h1>"));
    log_in(&mut vm)?;

    let boot = vm.host.reports().last().context("it is ready")?.report.boot.clone();
    vm.run("systemctl reboot")?;
    let report = vm.report(|it| it.boot != boot && stage("ready")(it), soon() * 5)?.report;
    vm.booted()?;
    assert_eq!(
        (report.generation, report.changed.len()),
        (1, 0),
        "cloud-init has changed nothing: {}",
        report.line
    );
    assert_eq!(vm.run(seen)?, first);
    log_in(&mut vm)
}
