//! What firmware and buses say beside SMBIOS: device trees, POWER's `/proc/cpuinfo`, s390's `/proc/sysinfo`, ACPI,
//! PCI.
//!
//! Decides which hypervisor they name. Does not decide which of them is asked first (`rules`). The accelerator behind
//! QEMU's own nodes cannot be told, so that they mean `qemu`.
//!
//! Sources: Linux, `Documentation/devicetree/bindings` (`linux,kvm`, `xen,xen`, `linux,dummy-virt`),
//! `arch/s390/kernel/sysinfo.c`; systemd's `src/basic/virt.c`; ACPI 6.5, 5.2.6 and 5.2.9 (FADT, "Hypervisor Vendor
//! Identity"); util-linux' `lscpu-virt.c`.

#![forbid(unsafe_code)]

use super::{Clue, Facts, Tables};

pub(super) const TREE: &str = "/proc/device-tree";
pub(super) const CPUINFO: &str = "/proc/cpuinfo";
pub(super) const SYSINFO: &str = "/proc/sysinfo";
pub(super) const FADT: &str = "/sys/firmware/acpi/tables/FACP";
pub(super) const PCI_DEVICES: &str = "/proc/bus/pci/devices";

/// A property or node of the device tree, what it must be like, and the word.
pub(super) type DeviceTree = (&'static str, Sign, &'static str);

#[derive(Debug, Clone, Copy)]
pub(super) enum Sign {
    /// The first of its strings is this.
    First(&'static str),
    /// The name of the hypervisor is in one of its strings.
    Contains(&'static str),
    /// It is there.
    There,
    /// It is there and so is the second; the third is not.
    ThereWithout(&'static str, &'static str),
    /// One of its children is called so.
    Child(&'static str),
}
use Sign::{Child, Contains, First, There, ThereWithout};

const HYPERVISOR: &str = "/proc/device-tree/hypervisor/compatible";
const COMPATIBLE: &str = "/proc/device-tree/compatible";
const PARTITION: &str = "/proc/device-tree/ibm,partition-name";
const MANAGED: &str = "/proc/device-tree/hmc-managed?";
const GRAPHIC: &str = "/proc/device-tree/chosen/qemu,graphic-width";
pub(super) const TREE_FILES: [&str; 5] = [HYPERVISOR, COMPATIBLE, PARTITION, MANAGED, GRAPHIC];
/// QEMU's configuration device, with an address behind it.
pub(super) const QEMU_NODE: &str = "fw-cfg";

pub(super) const DEVICE_TREES: &[DeviceTree] = &[
    (HYPERVISOR, First("linux,kvm"), "kvm"), // QEMU, hw/ppc/spapr.c; Linux, virt/kvm/ppc-pv.rst
    (HYPERVISOR, Contains("xen"), "xen"),    // bindings/arm/xen.txt
    (HYPERVISOR, Contains("vmware"), "vmware"), // systemd
    (HYPERVISOR, There, "vm-other"),         // Jailhouse' cells, Gunyah
    (PARTITION, ThereWithout(MANAGED, GRAPHIC), "powervm"), // systemd; QEMU has the first two as well
    (TREE, Child(QEMU_NODE), "qemu"),        // QEMU, hw/arm/virt.c
    (COMPATIBLE, First("qemu,pseries"), "qemu"), // QEMU, hw/ppc/spapr.c
    (COMPATIBLE, First("linux,dummy-virt"), "vm-other"), // Firecracker, kvmtool and QEMU alike: systemd#40326
];

/// Offset in the FADT, the text there, and the word. From 268 on: the hypervisor's own identity, of revision 6.
/// Before: who wrote the table.
pub(super) type Acpi = (usize, &'static str, &'static str);

const VENDOR: usize = 268;
pub(super) const ACPI: &[Acpi] = &[
    (VENDOR, "QEMU", "qemu"),          // QEMU, hw/acpi/aml-build.c
    (VENDOR, "FIRECKVM", "kvm"),       // Firecracker, src/vmm/src/acpi/mod.rs
    (VENDOR, "CLOUDHYP", "kvm"),       // cloud-hypervisor, vmm/src/acpi.rs
    (VENDOR, "MsHyperV", "microsoft"), // Linux, arch/arm64/hyperv/mshyperv.c
    (10, "BOCHS", "qemu"),             // QEMU's OEM id,
    (16, "BXPC", "qemu"),              // and its table's
    (10, "VBOX", "oracle"),            // VirtualBox, DevACPI.cpp
    (10, "VMWARE", "vmware"),          // VMware's firmware
    (10, "FIRECK", "kvm"),             // Firecracker
    (10, "CLOUDH", "kvm"),             // cloud-hypervisor
];

/// Vendor and device of PCI, and the word. The first of each is from the table in util-linux' `lscpu-virt.c`.
pub(super) type Pci = (&'static str, &'static str);

pub(super) const PCI: &[Pci] = &[
    ("58530001", "xen"),       // platform device
    ("15ad0710", "vmware"),    // SVGA
    ("80eebeef", "oracle"),    // graphics
    ("80eecafe", "oracle"),    // guest service (VMMDev), in lscpu's own dump of such a machine
    ("14145353", "microsoft"), // video
];

impl Tables<'_> {
    /// The hypervisor that the device tree names.
    pub(super) fn device_tree(&self, facts: &Facts) -> Clue {
        let (path, _, word) = self.device_trees.iter().find(|(path, sign, _)| {
            let strings = || strings(facts.files.get(*path).map_or("", String::as_str));
            match sign {
                First(text) => strings().next() == Some(text),
                Contains(text) => strings().any(|string| string.contains(text)),
                There => facts.files.contains_key(*path),
                ThereWithout(second, third) => {
                    facts.files.contains_key(*path)
                        && facts.files.contains_key(*second)
                        && !facts.files.contains_key(*third)
                }
                Child(name) => facts.dirs.iter().chain(facts.files.keys()).any(|node| {
                    node.strip_prefix(path)
                        .is_some_and(|child| child.trim_start_matches('/').starts_with(name))
                }),
            }
        })?;
        Some((word, (*path).to_owned()))
    }

    /// The hypervisor that ACPI's FADT names, for those who may read it.
    pub(super) fn acpi(&self, facts: &Facts) -> Clue {
        let table = facts.files.get(FADT)?;
        let (_, _, word) = self.acpi.iter().find(|(at, text, _)| fadt_says(table, *at, text))?;
        Some((word, FADT.to_owned()))
    }

    /// The hypervisor whose devices are on the bus.
    pub(super) fn pci(&self, facts: &Facts) -> Clue {
        let (_, word) = facts
            .files
            .get(PCI_DEVICES)?
            .lines()
            .find_map(|line| self.pci.iter().find(|(id, _)| pci_id(line) == Some(id)))?;
        Some((word, PCI_DEVICES.to_owned()))
    }
}

/// As much of the FADT as a row knows: its header, or else all of it.
pub(super) fn known_fadt(table: &str) -> Option<String> {
    let header = table.chars().take(36).collect();
    let known = |part: &String| ACPI.iter().any(|(at, text, _)| fadt_says(part, *at, text));
    [header, table.to_owned()].into_iter().find(known)
}

/// Whether the FADT has this text there. The texts of the table stand in Latin-1, a character for each byte.
fn fadt_says(table: &str, at: usize, text: &str) -> bool {
    // Older revisions end earlier, but a table may be longer than its revision says.
    let revision = table.chars().nth(8).map_or(0, u32::from);
    (at < VENDOR || revision >= 6) && table.chars().skip(at).take(text.len()).eq(text.chars())
}

/// The second column of a line of `/proc/bus/pci/devices`.
pub(super) fn pci_id(line: &str) -> Option<&str> {
    line.split_ascii_whitespace().nth(1)
}

/// POWER without a device tree that tells: pSeries is never without a hypervisor, PowerNV is the bare machine.
pub(super) fn power(facts: &Facts) -> Clue {
    let says = |name, text| facts.line(CPUINFO, name).is_some_and(|value| value.contains(text));
    if !says("platform", "pSeries") {
        return None;
    }
    let qemu = ["model", "machine"].into_iter().any(|name| says(name, "emulated by qemu"));
    Some((if qemu { "qemu" } else { "powervm" }, CPUINFO.to_owned()))
}

/// s390: VM00 is the innermost level; a machine that has none runs in a partition, which counts as bare.
pub(super) fn s390(facts: &Facts) -> Clue {
    let program = facts.line(SYSINFO, "VM00 Control Program")?;
    Some((if program.starts_with("z/VM") { "zvm" } else { "kvm" }, SYSINFO.to_owned()))
}

/// The strings of a property, which end in NUL; or in a line's end, where somebody wrote them down.
fn strings(property: &str) -> impl Iterator<Item = &str> {
    property.split(['\0', '\n']).filter(|text| !text.is_empty())
}
