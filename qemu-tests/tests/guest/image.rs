//! The appliance of `examples/image`, made by its own script and booted from a disk that it writes: Debian with nginx and
//! PostgreSQL, the package installed as anybody would.

mod life;
mod places;
mod secrets;

use crate::Test;
use crate::appliance::{soon, stage};
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Drive, Machine, Vm};
use std::path::Path;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] =
    &[("image: one life of an appliance, from its first boot to an agent that is removed", life::life)];

/// Those that take long and rarely break.
pub(crate) const LONG_TRIALS: &[(&str, Test)] = &[
    ("image: without a disc it has its defaults, and a copy of its disk is another machine", places::copied),
    ("image: a root file system that can only be read", places::read_only),
    ("image: cloud-init beside the agent", places::beside_cloud_init),
];

/// What the platform says first.
const DOCUMENT: &str = include_str!("../../../examples/image/ovf-env.xml");

/// The services of the appliance, and whom it shares the machine with.
const SERVICES: &str =
    "nginx postgresql@15-main petstore-database systemd-networkd dbus systemd-logind systemd-udevd";

/// A machine with this document in its drive.
fn machine(bench: &Bench<'_>, document: &str) -> Result<Machine> {
    Ok(Machine::with_disc(Drive::Ide, bench.environment(document)?)
        .option("-uuid", "6c1f8a52-0000-4000-8000-000000000001"))
}

/// The appliance, ready and with its boot over; nothing has failed.
fn booted(bench: &Bench<'_>, machine: &Machine, disk: &Path) -> Result<Vm> {
    let mut vm = bench.boot_appliance(machine, disk, Connect::BeforeBoot)?;
    vm.allow_resets()?;
    vm.report(stage("ready"), soon() * 3).context("the first boot")?;
    vm.booted()?;
    Ok(vm)
}

/// The page that the shop shows.
fn page(vm: &mut Vm) -> Result<String> {
    vm.run("wget -q -O - http://127.0.0.1/")
}

/// Who runs as which service since when: a restart changes it, a reload does not.
fn services(vm: &mut Vm) -> Result<String> {
    vm.run(&format!("systemctl show --property Id,MainPID,InvocationID,ActiveState {SERVICES}"))
}
