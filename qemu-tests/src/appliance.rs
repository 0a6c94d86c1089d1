//! The appliance of `examples/image`: Debian with nginx and PostgreSQL, on a disk of its own that it writes and keeps.
//!
//! The disk is made by the example's own script (`qemu-tests/guest-appliance`). Decided here: how it is started. By the kernel
//! that all guests have, entered as ELF, and an initramfs that does nothing but mount it; that saves the ten seconds that Debian's
//! own would take under emulation. No unit is left out: what boots is what the example makes. The control shell is laid into
//! `/run` at each boot, and nothing of ours is on the disk.

use crate::files::Files;
use crate::initramfs::{file_name, order, read};
use crate::machine::Machine;
use crate::modules;
use crate::tools::Tools;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// systemd, nginx, PostgreSQL, and a package that is upgraded beside them.
const MEMORY_MIB: u32 = 512;

/// What the initramfs loads; all else is loaded by udev and systemd from the disk.
const WANTED: [&str; 6] = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "overlay", "virtio_console"];

/// The journal is also shown on the console: there, a failure is explained, and no secret may be either.
const JOURNALD: &str = "[Journal]\nForwardToConsole=yes\nTTYPath=/dev/ttyS0\n";

/// What all of the appliance's guests share.
#[derive(Debug)]
pub(crate) struct Appliance {
    pub(crate) initramfs: Vec<u8>,
}

impl Appliance {
    pub(crate) fn prepare(tools: &Tools) -> Result<Appliance> {
        let modules = modules::in_order(&tools.modules, &WANTED)?;
        let mut files = Files::new()
            .with_program("/init", include_str!("../guest/appliance/init"))
            .with_program("/bin/busybox", read(&tools.busybox)?)
            .with_link("/bin/sh", "busybox")
            .with("/files", in_memory(tools)?.archive()?)
            .with("/lib/modules/order", order(&modules));
        for path in &modules {
            files = files.with(&format!("/lib/modules/{}", file_name(path)), read(path)?);
        }
        for directory in ["/dev", "/proc", "/root", "/run", "/sys"] {
            files = files.with_directory(directory);
        }
        Ok(Appliance { initramfs: files.archive()? })
    }
}

/// Copies the disk in `directory`, as it was made, to `path`.
pub(crate) fn copy(directory: &Path, path: &Path) -> Result<()> {
    let disk = directory.join("disk.raw");
    // Much of it is holes.
    let output = Command::new("cp").arg("--sparse=always").arg(&disk).arg(path).output();
    let output = output.with_context(|| format!("cannot copy {}", disk.display()))?;
    if !output.status.success() {
        bail!("cannot copy {}: {}", disk.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// The agent's package with a higher version, as `/run/upgrade.deb`.
pub(crate) fn upgrade(directory: &Path) -> Result<Files> {
    Ok(Files::new().with("/run/upgrade.deb", read(&directory.join("upgrade.deb"))?))
}

/// `machine` with `disk` and the memory that the appliance needs, and a network of its own, which ends in QEMU.
pub(crate) fn machine(machine: &Machine, disk: &Path) -> Machine {
    let memory_mib = machine.memory_mib.max(MEMORY_MIB);
    Machine { memory_mib, ..machine.clone() }
        .with_writable_disk("virtio-blk-pci,serial=root", disk)
        .option("-netdev", "user,id=network,restrict=on")
        .option("-device", "virtio-net-pci,netdev=network,mac=52:54:00:12:34:56")
}

/// What lies in `/run` from the start.
fn in_memory(tools: &Tools) -> Result<Files> {
    Ok(Files::new()
        .with_program("/test/busybox", read(&tools.busybox)?)
        .with_link("/test/bin/cpio", "../busybox")
        .with_link("/test/bin/usleep", "../busybox")
        .with_link("/test/bin/wget", "../busybox")
        .with_program("/test/control", include_str!("../guest/control"))
        .with("/systemd/system/control.service", include_str!("../guest/appliance/control.service"))
        .with_link("/systemd/system/sysinit.target.wants/control.service", "../control.service")
        .with("/systemd/journald.conf.d/test.conf", JOURNALD))
}
