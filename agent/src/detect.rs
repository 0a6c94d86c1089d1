//! Where we run: facts first, then a verdict.
//!
//! Decides which hypervisor the guest runs on, from CPUID and DMI, in the words of systemd-detect-virt(1). Collecting
//! ([`Facts::read`]) changes nothing and never fails: a clue that cannot be read is a clue less. Judging
//! ([`Facts::verdict`]) is pure, a table of rules in order of trust, so that facts that somebody sent in can be judged
//! anywhere (`detect --facts FILE`). Containers, platforms and confidential guests have their place in the answer, but
//! no rules yet, and neither have device trees.
//!
//! Sources: Intel SDM and AMD APM on CPUID 1.ECX[31] and leaf 0x40000000; systemd's `virt.c` for the words and the DMI
//! prefixes; the notes on each rule for the rest.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sys::{Root, cpuid};

/// What can be seen of the machine. This is the `facts` object of `detect --json` and the input of `detect --facts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// As `uname -m` says.
    pub arch: String,
    /// CPUID leaf 1, ECX bit 31; `None` where there is no CPUID.
    pub hypervisor_bit: Option<bool>,
    /// Leaf (`0x40000000`) to `[EAX, EBX, ECX, EDX]`, each leaf that was read.
    pub cpuid: BTreeMap<String, [u32; 4]>,
    /// `/sys/class/dmi/id/*` by file name.
    pub dmi: BTreeMap<String, String>,
    /// The "virtual machine" bit of SMBIOS type 0; `None` where it cannot be read.
    pub smbios_vm_bit: Option<bool>,
    /// Other small files that were consulted, by absolute path.
    pub files: BTreeMap<String, String>,
    /// Directories that were consulted and exist.
    pub dirs: Vec<String>,
    /// Whether the reader runs in the machine's initial namespaces.
    pub init_namespaces: bool,
}

/// What the facts amount to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// The hypervisor, in systemd's word; `none` on bare metal.
    pub vm: &'static str,
    /// The container manager, if we run in a container.
    pub container: Option<&'static str>,
    /// What runs on top of the hypervisor: a cloud, a management product.
    pub platform: Option<&'static str>,
    /// The kind of confidential guest, if it is one.
    pub confidential: Option<&'static str>,
    /// The clue that decided.
    pub decided_by: String,
}

impl Verdict {
    /// Whether this is a virtual machine of any kind.
    pub fn is_vm(&self) -> bool {
        self.vm != "none"
    }
}

/// First leaf of the hypervisor range, and the distance of the bases at which further signatures may stand.
const HYPERVISOR_LEAF: u32 = 0x4000_0000;
const HYPERVISOR_STEP: u32 = 0x100;
/// Bases looked at. KVM moves to the second when it wears Hyper-V's signature; Xen under Viridian to the second or
/// third. Each read traps to the hypervisor, so no more than can be told apart.
const HYPERVISOR_BASES: u32 = 4;

/// World-readable files under `/sys/class/dmi/id` that the rules may look at.
const DMI_FILES: [&str; 10] = [
    "bios_vendor",
    "bios_version",
    "board_name",
    "board_vendor",
    "chassis_asset_tag",
    "chassis_vendor",
    "product_family",
    "product_name",
    "product_version",
    "sys_vendor",
];

/// Files beside DMI, and directories whose existence is the clue.
const FILES: [&str; 1] = ["/sys/hypervisor/type"];
const DIRS: [&str; 1] = ["/proc/xen"];

impl Facts {
    /// Collects them from a machine's file tree and, where that is the running machine, from its processor.
    pub fn read(root: &Root) -> Self {
        let mut facts = Self { arch: std::env::consts::ARCH.to_owned(), ..Self::default() };
        if root.is_system() {
            facts.read_cpuid(cpuid::leaf);
        }
        for name in DMI_FILES {
            if let Some(text) = root.clue(format!("/sys/class/dmi/id/{name}")) {
                facts.dmi.insert(name.to_owned(), text);
            }
        }
        for path in FILES {
            if let Some(text) = root.clue(path) {
                facts.files.insert(path.to_owned(), text);
            }
        }
        facts.dirs.extend(DIRS.iter().filter(|dir| root.exists(dir)).map(|dir| (*dir).to_owned()));
        facts.smbios_vm_bit = smbios_vm_bit(root);
        // The initial PID namespace has a fixed number (linux/proc_ns.h, PROC_PID_INIT_INO). Unreadable: assume the
        // usual case, since this only ever speaks against a container.
        facts.init_namespaces = root.link("/proc/self/ns/pid").is_none_or(|ns| ns == "pid:[4026531836]");
        facts
    }

    /// Reads the leaves that the rules look at. The hypervisor range means something only with the hypervisor bit:
    /// without it a processor may echo anything there.
    fn read_cpuid(&mut self, leaf: impl Fn(u32) -> Option<[u32; 4]>) {
        let Some(basic) = leaf(1) else { return };
        self.cpuid.insert(key(1), basic);
        let virtual_machine = basic[2] & (1 << 31) != 0;
        self.hypervisor_bit = Some(virtual_machine);
        if virtual_machine {
            for base in (0..HYPERVISOR_BASES).map(|n| HYPERVISOR_LEAF + n * HYPERVISOR_STEP) {
                if let Some(registers) = leaf(base) {
                    self.cpuid.insert(key(base), registers);
                }
            }
        }
    }

    /// The hypervisor's signatures, base by base, where the hypervisor bit is set.
    fn signatures(&self) -> impl Iterator<Item = (String, [u8; 12])> {
        (0..HYPERVISOR_BASES)
            .map(|n| key(HYPERVISOR_LEAF + n * HYPERVISOR_STEP))
            .filter_map(|key| Some((key.clone(), self.cpuid.get(&key)?)))
            .filter(|_| self.hypervisor_bit == Some(true))
            .map(|(key, [_, b, c, d])| {
                let mut text = [0; 12];
                for (chunk, register) in text.chunks_exact_mut(4).zip([b, c, d]) {
                    chunk.copy_from_slice(&register.to_le_bytes());
                }
                (key, text)
            })
    }

    /// Judges the facts. The first rule that speaks decides.
    pub fn verdict(&self) -> Verdict {
        let (vm, decided_by) = RULES
            .iter()
            .find_map(|rule| rule(self))
            .unwrap_or_else(|| ("none", "no sign of a hypervisor".to_owned()));
        Verdict { vm, container: None, platform: None, confidential: None, decided_by }
    }
}

/// A rule answers with the word and the clue that it went by, or has nothing to say.
type Rule = fn(&Facts) -> Option<(&'static str, String)>;

/// In order of trust.
const RULES: [Rule; 7] = [
    // VirtualBox and Parallels may wear KVM's signature (paravirt = kvm), and Xen's domains see the outer one: for
    // these DMI is the better witness.
    |f| f.dmi_word(&["oracle", "xen"]),
    // /proc/xen is there in every Xen domain with xenfs, whatever CPUID says (xen.5).
    |f| f.dirs.iter().any(|d| d == "/proc/xen").then(|| ("xen", "/proc/xen".to_owned())),
    // A signature other than Hyper-V's: KVM, QEMU, VMware, Xen and VirtualBox can all wear Hyper-V's at the first base.
    |f| f.signature_word(|word| word != "microsoft"),
    |f| f.dmi_word(&["kvm", "qemu", "vmware", "oracle", "xen", "microsoft", "bochs"]),
    |f| f.signature_word(|_| true),
    |f| (f.files.get("/sys/hypervisor/type")? == "xen").then(|| ("xen", "/sys/hypervisor/type".to_owned())),
    |f| {
        (f.hypervisor_bit == Some(true) || f.smbios_vm_bit == Some(true))
            .then(|| ("vm-other", "the hypervisor bit of CPUID or SMBIOS, without a known name".to_owned()))
    },
];

/// Signature to word.
const SIGNATURES: [(&[u8; 12], &str); 8] = [
    (b"KVMKVMKVM\0\0\0", "kvm"),    // Documentation/virt/kvm/x86/cpuid.rst
    (b"Linux KVM Hv", "kvm"),       // KVM with hv-passthrough (QEMU, docs/system/i386/hyperv.rst)
    (b"TCGTCGTCGTCG", "qemu"),      // QEMU's software emulation (target/i386/cpu.c)
    (b"VMwareVMware", "vmware"),    // VMware KB 1009458
    (b"VBoxVBoxVBox", "oracle"),    // VirtualBox with paravirt = minimal or hyperv
    (b"XenVMMXenVMM", "xen"),       // xen/include/public/arch-x86/cpuid.h
    (b"Microsoft Hv", "microsoft"), // Hyper-V TLFS, and whoever imitates it
    (b"bhyve bhyve ", "bhyve"),     // bhyve(8)
];

/// DMI fields in systemd's order, and prefixes in its order.
const DMI_ORDER: [&str; 5] = ["product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"];
const DMI_PREFIXES: [(&str, &str); 12] = [
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Oracle Corporation", "oracle"), // also on Oracle's servers: see dmi_word
    ("Xen", "xen"),
    ("Hyper-V", "microsoft"),
    ("Bochs", "bochs"), // what QEMU called itself before 1.0
];

impl Facts {
    fn signature_word(&self, wanted: impl Fn(&str) -> bool) -> Option<(&'static str, String)> {
        self.signatures().find_map(|(leaf, text)| {
            let (_, word) = SIGNATURES.iter().find(|(signature, _)| **signature == text)?;
            wanted(word).then(|| (*word, format!("CPUID leaf {leaf}")))
        })
    }

    fn dmi_word(&self, wanted: &[&str]) -> Option<(&'static str, String)> {
        let text = |field: &str| self.dmi.get(field).map_or("", |text| text.trim_end());
        // Hyper-V's first generation is told from Microsoft's own hardware by the product alone, of either generation.
        if text("sys_vendor") == "Microsoft Corporation" && text("product_name") == "Virtual Machine" {
            return wanted.contains(&"microsoft").then(|| ("microsoft", "DMI product_name".to_owned()));
        }
        DMI_ORDER.iter().find_map(|field| {
            let (prefix, word) = DMI_PREFIXES.iter().find(|(prefix, _)| text(field).starts_with(prefix))?;
            // A server that Oracle built says `Oracle Corporation` too, as its system vendor (systemd#21100).
            let server = *prefix == "Oracle Corporation"
                && (text("sys_vendor") == *prefix || self.hypervisor_bit != Some(true))
                && !["product_name", "board_name", "bios_version"]
                    .iter()
                    .any(|f| text(f).contains("VirtualBox"));
            (!server && wanted.contains(word)).then(|| (*word, format!("DMI {field}")))
        })
    }
}

/// SMBIOS type 0, byte 0x13, bit 4 (DSP0134 7.1.2.2). The file is for root only. Set proves a VM; clear proves nothing.
fn smbios_vm_bit(root: &Root) -> Option<bool> {
    let raw = root.read("/sys/firmware/dmi/entries/0-0/raw", 4096).ok()??;
    let length = usize::from(*raw.get(1)?);
    (length >= 0x14).then(|| raw.get(0x13).map(|byte| byte & (1 << 4) != 0))?
}

fn key(leaf: u32) -> String {
    format!("{leaf:#x}")
}

#[cfg(test)]
mod tests {
    use super::{Facts, SIGNATURES};

    /// A machine in few words: `bit` or not, a signature at the first base and at the second, DMI pairs.
    fn facts(bit: bool, signatures: &[&[u8; 12]], dmi: &[(&str, &str)]) -> Facts {
        let mut facts = Facts::default();
        facts.read_cpuid(|leaf| match leaf {
            1 => Some([0, 0, u32::from(bit) << 31, 0]),
            _ => {
                let register = |text: &[u8; 12], at: usize| {
                    u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]])
                };
                let text = signatures.get((leaf as usize - 0x4000_0000) / 0x100)?;
                Some([leaf + 1, register(text, 0), register(text, 4), register(text, 8)])
            }
        });
        facts.dmi.extend(dmi.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        facts
    }

    #[test]
    fn machines_are_told_apart() {
        const KVM: &[u8; 12] = b"KVMKVMKVM\0\0\0";
        const HV: &[u8; 12] = b"Microsoft Hv";
        let q35 = [("sys_vendor", "QEMU"), ("product_name", "Standard PC (Q35 + ICH9, 2009)")];
        let hyperv = [("sys_vendor", "Microsoft Corporation"), ("product_name", "Virtual Machine")];
        for (what, facts, want) in [
            ("a laptop", facts(false, &[], &[("sys_vendor", "LENOVO"), ("product_name", "20XW")]), "none"),
            ("nothing at all", Facts::default(), "none"),
            ("KVM", facts(true, &[KVM], &q35), "kvm"),
            ("KVM with Hyper-V's signature in front", facts(true, &[HV, KVM], &q35), "kvm"),
            ("software emulation", facts(true, &[b"TCGTCGTCGTCG"], &q35), "qemu"),
            ("software emulation that hides", facts(true, &[&[0; 12]], &q35), "qemu"),
            ("VMware", facts(true, &[b"VMwareVMware"], &[("sys_vendor", "VMware, Inc.")]), "vmware"),
            (
                "VMware without CPUID",
                facts(false, &[], &[("product_name", "VMware Virtual Platform")]),
                "vmware",
            ),
            ("VirtualBox in KVM's clothes", facts(true, &[KVM], &[("product_name", "VirtualBox")]), "oracle"),
            (
                "VirtualBox with the host's DMI",
                facts(true, &[KVM], &[("sys_vendor", "LENOVO"), ("board_vendor", "Oracle Corporation")]),
                "oracle",
            ),
            (
                "a server of Oracle's",
                facts(
                    false,
                    &[],
                    &[("sys_vendor", "Oracle Corporation"), ("board_vendor", "Oracle Corporation")],
                ),
                "none",
            ),
            ("Hyper-V", facts(true, &[HV], &hyperv), "microsoft"),
            ("Hyper-V without CPUID", facts(false, &[], &hyperv), "microsoft"),
            (
                "a Surface",
                facts(false, &[], &[("sys_vendor", "Microsoft Corporation"), ("product_name", "Surface")]),
                "none",
            ),
            ("Xen", facts(true, &[b"XenVMMXenVMM"], &[]), "xen"),
            ("Xen by DMI", facts(true, &[HV], &[("sys_vendor", "Xen"), ("product_name", "HVM domU")]), "xen"),
            ("Xen with Viridian", facts(true, &[HV, b"XenVMMXenVMM"], &[]), "xen"),
            ("Hyper-V by CPUID alone", facts(true, &[HV], &[]), "microsoft"),
            ("a hypervisor without a name", facts(true, &[&[0; 12]], &[]), "vm-other"),
            ("bhyve", facts(true, &[b"bhyve bhyve "], &[]), "bhyve"),
            ("a signature without the bit", facts(false, &[KVM], &[]), "none"),
        ] {
            let verdict = facts.verdict();
            assert_eq!(verdict.vm, want, "{what}: decided by {}", verdict.decided_by);
        }
    }

    #[test]
    fn a_xen_domain_is_known_by_its_files() {
        let pv = Facts { dirs: vec!["/proc/xen".to_owned()], ..Facts::default() };
        assert_eq!(pv.verdict().vm, "xen");
        let files = [("/sys/hypervisor/type".to_owned(), "xen".to_owned())].into();
        assert_eq!(Facts { files, ..Facts::default() }.verdict().vm, "xen");
    }

    #[test]
    fn facts_survive_the_way_through_json() {
        let before = facts(true, &[SIGNATURES[0].0], &[("sys_vendor", "QEMU")]);
        let text = serde_json::to_string(&before).expect("facts are plain data");
        let after: Facts = serde_json::from_str(&text).expect(&text);
        assert_eq!(before, after);
        assert!(serde_json::from_str::<Facts>(r#"{"cpu":1}"#).is_err(), "a misspelt key is not a fact");
    }
}
