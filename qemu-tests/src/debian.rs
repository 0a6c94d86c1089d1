//! The Debian guest: systemd as PID 1, with udev, D-Bus and the journal.
//!
//! Its root file system is an image that `qemu-tests/guest-debian` makes and nobody ever writes. Decided here: what lies
//! over it at each boot, in memory (the agent, the control shell, what a test brings along), and what of Debian is
//! left out because it only takes time in a guest that has neither users nor a future. Everything else is
//! Debian's, with its defaults.

use crate::files::Files;
use crate::initramfs::{file_name, order, read};
use crate::machine::Machine;
use crate::modules;
use crate::tools::Tools;
use anyhow::Result;
use std::path::PathBuf;

/// systemd's own, the journal in memory, and all that a booted guest has changed.
const MEMORY_MIB: u32 = 512;

/// What the initramfs loads to get at the image. The control shell's port is there before systemd, so that it can
/// show how a boot hangs; all else is loaded by udev and systemd from the image.
const WANTED: [&str; 5] = ["virtio_pci", "virtio_blk", "squashfs", "overlay", "virtio_console"];

/// Shows that the boot is over, with nothing failed and nothing left to do; else says what is wrong.
pub(crate) const BOOTED: &str =
    "systemctl is-system-running --wait || { systemctl --failed; systemctl list-jobs; exit 1; } >&2
    udevadm settle";

/// Units that do nothing for a guest that lives for one test: logins, the files of other boots, housekeeping, and
/// mounts that nobody looks into.
const MASKED: [&str; 33] = [
    "console-getty.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "getty.target",
    "ldconfig.service",
    "proc-sys-fs-binfmt_misc.automount",
    "remote-fs.target",
    "selinux-autorelabel-mark.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-initctl.socket",
    "systemd-journal-catalog-update.service",
    "systemd-journald-audit.socket",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-repart.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-done.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
    "systemd-user-sessions.service",
];

/// The journal in memory, and shown on the console, where failures are explained.
const JOURNALD: &str = "[Journal]\nStorage=volatile\nForwardToConsole=yes\nTTYPath=/dev/ttyS0\n";

/// What all Debian guests of a run share.
#[derive(Debug)]
pub(crate) struct Debian {
    image: PathBuf,
    /// The archive with what is in every boot.
    pub(crate) initramfs: Vec<u8>,
}

impl Debian {
    pub(crate) fn prepare(tools: &Tools) -> Result<Debian> {
        Debian::of(tools, tools.debian()?, &over_the_image(tools)?)
    }

    /// The one of this image, with `files` over it.
    pub(crate) fn of(tools: &Tools, image: PathBuf, files: &Files) -> Result<Debian> {
        let over_the_image = files.archive()?;
        let modules = modules::in_order(&tools.modules, &WANTED)?;
        let mut files = Files::new()
            .with_program("/init", include_str!("../guest/debian/init"))
            .with_program("/bin/busybox", read(&tools.busybox)?)
            .with_link("/bin/sh", "busybox")
            .with("/files/1", over_the_image)
            .with("/lib/modules/order", order(&modules));
        for path in &modules {
            files = files.with(&format!("/lib/modules/{}", file_name(path)), read(path)?);
        }
        for directory in ["/changes", "/dev", "/image", "/proc", "/root", "/sys"] {
            files = files.with_directory(directory);
        }
        Ok(Debian { image, initramfs: files.archive()? })
    }

    /// `machine` with the image and the memory that Debian needs.
    pub(crate) fn machine(&self, machine: Machine) -> Machine {
        let machine = Machine { memory_mib: machine.memory_mib.max(MEMORY_MIB), ..machine };
        // The initramfs knows it by its serial number.
        machine.with_disk("virtio-blk-pci,serial=root", &self.image)
    }
}

/// The part of the initramfs that brings a test's own `files`.
pub(crate) fn with_files(files: &Files) -> Result<Vec<u8>> {
    Files::new().with("/files/2", files.archive()?).archive()
}

/// What every Debian guest has over its image.
pub(crate) fn over_the_image(tools: &Tools) -> Result<Files> {
    let mut files = with_any_init(tools)?
        .with("/etc/systemd/system/control.service", include_str!("../guest/debian/control.service"))
        .with_link("/etc/systemd/system/sysinit.target.wants/control.service", "../control.service")
        .with("/etc/systemd/journald.conf.d/test.conf", JOURNALD)
        // With an empty one systemd would take each boot for the first.
        .with("/etc/machine-id", "0f0a9e27000040008000000000000001\n");
    for unit in MASKED {
        files = files.with_link(&format!("/etc/systemd/system/{unit}"), "/dev/null");
    }
    Ok(files)
}

/// The part of it that has nothing to do with systemd.
pub(crate) fn with_any_init(tools: &Tools) -> Result<Files> {
    let mut files = Files::new()
        .with_program("/usr/bin/ovf-agent", read(&tools.agent)?)
        .with_program("/usr/local/lib/test/control", include_str!("../guest/control"))
        .with("/etc/hostname", "guest\n");
    // The scripts of the harness use them, and Debian has them only as packages.
    for applet in ["cpio", "usleep"] {
        files = files.with_link(&format!("/usr/local/bin/{applet}"), "/usr/bin/busybox");
    }
    Ok(files)
}
