//! Which kernel modules a guest needs, and in which order they load.
//!
//! The order comes from `modules.dep`, which `depmod(8)` writes: each line is a module and everything that
//! it needs, nearest first. Modules that the kernel was built with need no loading.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the guests need: the bus and the two ports, every drive that a machine can have, and the file
/// system for those who mount discs instead of reading them.
const WANTED: [&str; 8] =
    ["virtio_pci", "virtio_console", "ata_piix", "ahci", "virtio_scsi", "sr_mod", "isofs", "nls_utf8"];

/// What some tests load themselves, by `load NAME` in the guest: disks of all buses, what can stand on top of one,
/// QEMU's firmware configuration, a network card, vsock, and a file system with a journal.
const ON_DEMAND: [&str; 14] = [
    "virtio_blk",
    "sd_mod",
    "nvme",
    "xhci_pci",
    "usb_storage",
    "loop",
    "dm_mod",
    "zram",
    "nbd",
    "qemu_fw_cfg",
    "virtio_net",
    "vmw_vsock_virtio_transport",
    "crc32c_generic",
    "ext4",
];

/// The module files of a guest, in load order each.
#[derive(Debug)]
pub(crate) struct Modules {
    /// Those loaded at every boot.
    pub(crate) wanted: Vec<PathBuf>,
    /// Those to be loaded on demand, by name, each with all that it needs.
    pub(crate) on_demand: Vec<(&'static str, Vec<PathBuf>)>,
}

/// Finds the guests' modules in `directory` (`.../lib/modules/VERSION`).
pub(crate) fn find(directory: &Path) -> Result<Modules> {
    let on_demand =
        ON_DEMAND.iter().map(|name| Ok((*name, in_order(directory, &[name])?))).collect::<Result<_>>()?;
    Ok(Modules { wanted: in_order(directory, &WANTED)?, on_demand })
}

/// The files of `wanted` and all that they need, in load order.
pub(crate) fn in_order(directory: &Path, wanted: &[&str]) -> Result<Vec<PathBuf>> {
    let read = |name: &str| {
        let path = directory.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (dependencies, builtin) = (read("modules.dep")?, read("modules.builtin")?);
    let order = load_order(wanted, &dependencies, &builtin);
    let order = order.with_context(|| format!("in {}", directory.display()))?;
    Ok(order.into_iter().map(|path| directory.join(path)).collect())
}

/// The paths to load for `wanted`, by the text of `modules.dep` and `modules.builtin`.
fn load_order<'a>(wanted: &[&str], dependencies: &'a str, builtin: &str) -> Result<Vec<&'a str>> {
    let lines = dependencies.lines().filter_map(|line| line.split_once(':'));
    let by_name: BTreeMap<String, (&str, &str)> =
        lines.map(|(path, needs)| (name(path), (path, needs))).collect();
    let mut order: Vec<&str> = Vec::new();
    for module in wanted {
        let Some((path, needs)) = by_name.get(*module) else {
            if builtin.lines().any(|path| name(path) == *module) {
                continue;
            }
            bail!("the kernel has no module {module}");
        };
        for path in needs.split_whitespace().rev().chain([*path]) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    Ok(order)
}

/// A module's name as the kernel says it: `.../virtio-scsi.ko` is `virtio_scsi`.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "kernel/sr_mod.ko: kernel/scsi_mod.ko kernel/cdrom.ko kernel/scsi-common.ko\n\
        kernel/scsi_mod.ko: kernel/scsi-common.ko\n\
        kernel/scsi-common.ko:\n\
        kernel/cdrom.ko:\n";

    #[test]
    fn what_a_module_needs_loads_before_it_and_once() {
        let order = load_order(&["sr_mod", "scsi_mod"], DEPENDENCIES, "").expect("all modules are listed");
        assert_eq!(
            order,
            ["kernel/scsi-common.ko", "kernel/cdrom.ko", "kernel/scsi_mod.ko", "kernel/sr_mod.ko"]
        );
    }

    #[test]
    fn a_module_may_be_built_in_but_not_missing() {
        let order = load_order(&["isofs", "cdrom"], DEPENDENCIES, "kernel/fs/isofs/isofs.ko\n");
        assert_eq!(order.expect("isofs is built in"), ["kernel/cdrom.ko"]);
        let missing = load_order(&["floppy"], DEPENDENCIES, "").expect_err("nobody has it");
        assert_eq!(missing.to_string(), "the kernel has no module floppy");
    }
}
