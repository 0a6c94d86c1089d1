//! The other architecture: the cross-built agent in a guest of QEMU's `virt` machine, with each kind of firmware that
//! machines of this architecture have.
//!
//! All else is the same code, and the command line's tests try it under emulation (`tests/run aarch64`); these show what only
//! a kernel does: the tables that the machine is described by, the devices, the port, and what a signal's handler sees.

use crate::Test;
use crate::appliance::{CONFIGURED, DOCUMENT, PARAMETERS, appliance, soon, stage, text};
use crate::life::told;
use anyhow::Result;
use qemu_tests::{Arch, Bench, Connect, Machine, Vm};
use serde_json::Value;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    (
        "aarch64: a guest with a device tree becomes ready with the right files; a bug tells its place",
        by_device_tree,
    ),
    ("aarch64: a guest with UEFI and SMBIOS becomes ready with the right files", by_uefi),
];

fn by_device_tree(bench: &Bench<'_>) -> Result<()> {
    let mut vm = ready(bench, Ok)?;
    assert_eq!(decided_by(&mut vm)?, "/proc/device-tree");
    assert_eq!(vm.run("ls /sys/class/dmi/id 2> /dev/null || :")?, "", "there is no SMBIOS");

    vm.put(&bench.inside_of(Arch::Aarch64, "bug")?)?;
    let log = vm.run("/usr/local/bin/bug 1 2 2>&1 > /dev/null; echo status $?")?;
    assert!(log.contains("stopped by a bug: SIGTRAP at ") && log.ends_with("status 133\n"), "{log}");
    let told = told(&log, "aarch64/inside/bug")?;
    for function in ["SIGTRAP\n", "bug::third at ", "bug::outer at ", "bug.rs:", "bug::main at "] {
        assert!(told.contains(function), "no {function} in {told}");
    }
    Ok(())
}

fn by_uefi(bench: &Bench<'_>) -> Result<()> {
    let mut vm = ready(bench, |machine| Ok(machine.option("-bios", bench.uefi()?)))?;
    assert_eq!(decided_by(&mut vm)?, "DMI product_name");
    assert_eq!(vm.run("ls -d /proc/device-tree/fw-cfg* 2> /dev/null || :")?, "", "the tree is ACPI's");
    Ok(())
}

fn decided_by(vm: &mut Vm) -> Result<String> {
    let verdict: Value = serde_json::from_str(&vm.run("ovf-agent detect --json")?)?;
    assert_eq!((&verdict["facts"]["arch"], &verdict["vm"]), (&"aarch64".into(), &"qemu".into()), "{verdict}");
    Ok(verdict["decided-by"].as_str().unwrap_or_default().to_owned())
}

/// A guest whose agent has done all of its work, on a machine that `change` has changed.
fn ready(bench: &Bench<'_>, change: impl FnOnce(Machine) -> Result<Machine>) -> Result<Vm> {
    let machine = change(Machine::aarch64(bench.environment(DOCUMENT)?))?;
    let files = appliance(PARAMETERS).with_program("/etc/rc", "#!/bin/sh\nexec ovf-agent run\n");
    let mut vm = bench.boot(&machine, &files, Connect::BeforeBoot)?;
    let ready = vm.report(stage("ready"), soon())?.report;
    bench.measured(format!("ready at uptime {:.2} s", ready.uptime_ms as f64 / 1000.0));
    assert_eq!((ready.source.as_str(), ready.warnings), ("iso:/dev/sr0", 0));
    // systemd-detect-virt's word for both: of the tree's fw-cfg node, and of the maker in SMBIOS.
    assert_eq!(ready.hypervisor, "qemu");
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, CONFIGURED);
    assert_eq!(vm.run("uname -m")?, "aarch64\n");
    Ok(vm)
}
