//! A guest with an ordinary disk: Debian's root file system on ext4, and a real initramfs that mounts it.
//!
//! `qemu-tests/guest-initramfs` makes both. Decided here: how a test's files get onto a copy of that file system (by debugfs, which
//! needs neither root nor a mount), and what the machine is. What is in every Debian guest beside the packages is `debian`'s.

use crate::debian;
use crate::files::Files;
use crate::machine::Machine;
use crate::tools::Tools;
use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// systemd's own, the journal in memory, and an initramfs that is not compressed.
const MEMORY_MIB: u32 = 640;

/// The root is mounted by the initramfs, read-only as most boot loaders have it, and by systemd for good.
const KERNEL: &str = "root=/dev/vda ro";
const FSTAB: &str = "/dev/vda / ext4 defaults 0 1\n";

/// The disk in `directory`, with the agent, what every Debian guest has, and these files.
pub(crate) fn prepare(tools: &Tools, files: &Files, directory: &Path) -> Result<PathBuf> {
    let disk = directory.join("root.ext4");
    let from = tools.initramfs("root.ext4")?;
    fs::copy(&from, &disk)
        .with_context(|| format!("cannot copy {} to {}", from.display(), disk.display()))?;
    let files = Files::new().with("/etc/fstab", FSTAB).and(debian::over_the_image(tools)?).and(files.clone());
    write(&disk, &files, directory)?;
    Ok(disk)
}

/// `machine` with that disk.
pub(crate) fn machine(machine: Machine, disk: &Path) -> Machine {
    let kernel = format!("{KERNEL} {}", machine.kernel);
    Machine { memory_mib: machine.memory_mib.max(MEMORY_MIB), kernel, ..machine }
        .with_writable_disk("virtio-blk-pci", disk)
}

/// Writes files into an ext4 file system, over what is there.
fn write(disk: &Path, files: &Files, directory: &Path) -> Result<()> {
    let staged = directory.join("files");
    fs::create_dir(&staged).with_context(|| format!("cannot create {}", staged.display()))?;
    let mut script = String::new();
    for (number, (path, entry)) in files.in_order().into_iter().enumerate() {
        let from = staged.join(number.to_string());
        let _ = match entry {
            // It may be there, which is one of the errors that debugfs goes on after.
            (_, None) => writeln!(script, "mkdir /{path}"),
            (mode, Some(content)) if mode & 0o170_000 == 0o120_000 => {
                writeln!(script, "rm /{path}\nsymlink /{path} {}", String::from_utf8_lossy(content))
            }
            (mode, Some(content)) => {
                fs::write(&from, content).with_context(|| format!("cannot write {}", from.display()))?;
                let from = from.display();
                writeln!(script, "rm /{path}\nwrite {from} /{path}\nset_inode_field /{path} mode 0{mode:o}")
            }
        };
    }
    let commands = staged.join("commands");
    fs::write(&commands, script).with_context(|| format!("cannot write {}", commands.display()))?;
    let output = Command::new("/sbin/debugfs").arg("-w").arg("-f").arg(&commands).arg(disk).output();
    let output = output.context("cannot start /sbin/debugfs; remedy: apt-get install e2fsprogs")?;
    ensure!(output.status.success(), "debugfs: {}", String::from_utf8_lossy(&output.stderr));
    fs::remove_dir_all(&staged).with_context(|| format!("cannot remove {}", staged.display()))
}
