//! The strings of SMBIOS.
//!
//! Decides which hypervisor they name, and when they are not to be believed: makers of hypervisors build machines,
//! too. Does not decide whether they or CPUID are right (`rules`), nor which platform they name (`platform`).
//!
//! Sources: the order of the fields and the prefixes are those of systemd's `src/basic/virt.c`; the note on each
//! correction says what went wrong without it.

#![forbid(unsafe_code)]

use super::Match::{self, Ends, Is};
use super::{Clue, Facts, Tables};

/// Two fields that only together say something, and the word; the first is the one named as the clue.
pub(super) type Pair = ([(&'static str, Match); 2], &'static str);

pub(super) const PAIRS: &[Pair] = &[
    // Either generation and any version of Hyper-V, on any processor; without the product it is a Surface.
    ([("product_name", Is("Virtual Machine")), ("sys_vendor", Is("Microsoft Corporation"))], "microsoft"),
    // Nutanix' machines say NX- and a model.
    ([("product_name", Is("AHV")), ("sys_vendor", Is("Nutanix"))], "kvm"),
    // Virtage partitions a blade (virt-what).
    ([("product_name", Ends(" LPAR")), ("sys_vendor", Is("HITACHI"))], "vm-other"),
];

const FIELDS: [&str; 5] = ["product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"];

/// How a field begins, and the word. In systemd's order, which matters: the first that fits a field is taken.
pub(super) type Prefix = (&'static str, &'static str);

pub(super) const PREFIXES: &[Prefix] = &[
    ("KVM", "kvm"),                      // QEMU on Arm, RHEL, Hetzner's and Google's boards
    ("OpenStack", "kvm"),                // Nova; on other hypervisors CPUID speaks first
    ("KubeVirt", "kvm"),                 // systemd#24143
    ("Alibaba Cloud ECS", "kvm"),        // systemd after 257
    (AMAZON, "amazon"),                  // Nitro; also on its bare metal: see is_amazon_vm
    ("QEMU", "qemu"),                    // hw/i386/pc_piix.c (later fw_cfg.c), hw/arm/virt.c
    ("VMware", "vmware"),                // VMware KB 1009458
    ("VMW", "vmware"),                   // the firmware of newer virtual hardware (systemd)
    ("innotek GmbH", "oracle"),          // VirtualBox; its maker's name before Sun and Oracle
    ("VirtualBox", "oracle"),            // VirtualBox, DevFwCommon.cpp
    (ORACLE, "oracle"),                  // VirtualBox' board; also Oracle's servers: see is_virtualbox
    ("Xen", "xen"),                      // Xen, hvmloader/smbios.c
    ("Bochs", "bochs"),                  // Bochs, and QEMU's machines before pc-i440fx-2.0
    ("Parallels", "parallels"),          // systemd#23856
    ("BHYVE", "bhyve"),                  // bhyve's UEFI
    ("Hyper-V", "microsoft"),            // the version of generation 2
    ("Apple Virtualization", "apple"),   // Virtualization.framework
    ("Google Compute Engine", "google"), // also on its bare metal: see rules
];

const AMAZON: &str = "Amazon EC2";
const ORACLE: &str = "Oracle Corporation";

impl Tables<'_> {
    /// The hypervisor that SMBIOS names.
    pub(super) fn dmi(&self, facts: &Facts) -> Clue {
        let pair = self
            .dmi_pairs
            .iter()
            .find(|(fields, _)| fields.iter().all(|(field, text)| text.holds(facts.dmi(field))));
        if let Some((fields, word)) = pair {
            return Some((*word, format!("DMI {}", fields[0].0)));
        }
        for field in FIELDS {
            let text = facts.dmi(field);
            let Some((prefix, word)) = self.dmi_prefixes.iter().find(|(prefix, _)| text.starts_with(prefix))
            else {
                continue;
            };
            match *prefix {
                // Its other fields would say no more.
                AMAZON if !is_amazon_vm(facts) => return None,
                ORACLE if !is_virtualbox(facts) => {}
                _ => return Some((*word, format!("DMI {field}"))),
            }
        }
        None
    }
}

/// Amazon's bare metal has the strings of its virtual machines (systemd#18929); what differs is the bit, and for those
/// who may not read it, the name of the type (systemd#20628).
fn is_amazon_vm(facts: &Facts) -> bool {
    facts.smbios_vm_bit.unwrap_or_else(|| {
        let metal = facts.dmi("product_name").split_once(".metal");
        !metal.is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('-'))
    })
}

/// Oracle's servers say `Oracle Corporation` too, as system vendor and on the board (systemd#21100), and VirtualBox
/// can be told to copy the host's strings, of which the board's vendor is left out (systemd#13429).
fn is_virtualbox(facts: &Facts) -> bool {
    let says_so = |field| facts.dmi(field).contains("VirtualBox");
    let virtual_machine = facts.hypervisor_bit == Some(true) || facts.smbios_vm_bit == Some(true);
    ["product_name", "board_name", "bios_version"].into_iter().any(says_so)
        || virtual_machine && !facts.dmi("sys_vendor").starts_with(ORACLE)
}
