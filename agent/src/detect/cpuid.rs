//! The hypervisor's own name in CPUID.
//!
//! Decides which leaves are read, and which hypervisors the signatures among them name. Does not decide which of
//! several is believed (`rules`), nor whether the guest is confidential, for which it reads the leaves.
//!
//! Sources: Intel SDM volume 2 and AMD APM volume 3 on leaf 1 ECX[31] and the range from `0x4000_0000`; Xen's
//! `public/arch-x86/cpuid.h` on where its block stands; the note on each row.

#![forbid(unsafe_code)]

use super::{Facts, Tables};

/// Twelve bytes of EBX, ECX and EDX, and the word.
pub(super) type Signature = (&'static [u8; 12], &'static str);

pub(super) const SIGNATURES: &[Signature] = &[
    (b"KVMKVMKVM\0\0\0", "kvm"),      // Linux, Documentation/virt/kvm/x86/cpuid.rst
    (b"Linux KVM Hv", "kvm"), // Linux, arch/x86/kvm/hyperv.c: what a VMM that passes all enlightenments through shows
    (b"LKVMLKVMLKVM", "kvm"), // virt-what, virt-what-cpuid-helper.c; kvmtool itself wrote it elsewhere: see platform
    (b"TCGTCGTCGTCG", "qemu"), // QEMU, target/i386/cpu.c: its software emulation
    (b"XenVMMXenVMM", "xen"), // Xen, public/arch-x86/cpuid.h
    (b"VMwareVMware", "vmware"), // VMware KB 1009458
    (MICROSOFT, "microsoft"), // Hyper-V TLFS 2.4, and whoever imitates it
    (b"bhyve bhyve ", "bhyve"), // FreeBSD, sys/amd64/vmm/x86.c
    (b"BHyVE BHyVE ", "bhyve"), // an older spelling that detectors list beside it (the crate raw-cpuid, VMAware)
    (b"QNXQVMBSQG\0\0", "qnx"), // systemd, src/basic/virt.c
    (b"ACRNACRNACRN", "acrn"),  // ACRN, hypervisor/arch/x86/guest/vcpuid.c
    (b"SRESRESRESRE", "sre"),   // systemd, src/basic/virt.c
    (b"Apple VZ\0\0\0\0", "apple"), // systemd, src/basic/virt.c
    (b"VBoxVBoxVBox", "oracle"), // VirtualBox, GIMHv.cpp: paravirt = hyperv unless told to say Microsoft Hv
    (b"prl hyperv  ", "parallels"), // detectors list it (stress-ng, core-cpu.c); Parallels documents none
    (b" lrpepyh  vr", "parallels"), // the same with its bytes swapped
    (b"OpenBSDVMM58", "vm-other"), // OpenBSD, sys/arch/amd64/include/vmmvar.h
    (b"Jailhouse\0\0\0", "vm-other"), // Linux, arch/x86/kernel/jailhouse.c
    (b"UnisysSpar64", "vm-other"), // util-linux, sys-utils/lscpu-virt.c
    (b"___ NVMM ___", "vm-other"), // NetBSD, sys/dev/nvmm/x86/nvmm_x86_svm.c
    (b"HAXMHAXMHAXM", "vm-other"), // Intel HAXM, core/cpuid.c
    (b"EVMMEVMMEVMM", "vm-other"), // Intel's Kernel Guard (iKGT); Android's minigbm, i915.c, looks for it
    (b"Napocahv    ", "vm-other"), // Bitdefender Napoca, by stress-ng's list
];

/// Proves little: KVM, Xen, VirtualBox and others show it to please Windows.
pub(super) const MICROSOFT: &[u8; 12] = b"Microsoft Hv";

/// First leaf of the hypervisors' range; a block of leaves with a signature may stand at each of these steps.
pub(super) const FIRST: u32 = 0x4000_0000;
const STEP: u32 = 0x100;
const BASES: u32 = 0x100;
/// Blocks without a name after which nobody has put another. Every CPUID traps to the hypervisor, 256 of them would
/// take longer than all the rest; and Xen promises its block at the first boundary that is otherwise unused, KVM
/// stands right behind Hyper-V's. The first three are always looked at, as Xen may be at the third only.
const GAP: u32 = 3;

impl Facts {
    /// Reads the leaves that the rules look at. Those of a hypervisor mean something only with the hypervisor bit:
    /// without it a processor may echo anything there (a Pentium 4 does).
    pub(super) fn read_cpuid(&mut self, leaf: impl Fn(u32) -> Option<[u32; 4]>) {
        let Some(basic) = leaf(1) else { return };
        self.keep(1, basic);
        let hypervisor = basic[2] & (1 << 31) != 0;
        self.hypervisor_bit = Some(hypervisor);
        if !hypervisor {
            return;
        }
        let mut read = |number| {
            let registers = leaf(number).unwrap_or_default();
            self.keep(number, registers);
            registers
        };
        let mut unnamed = 0;
        for base in bases() {
            let registers = read(base);
            if is_block(base, registers) {
                unnamed = 0;
            } else {
                unnamed += 1;
                if unnamed == GAP {
                    break;
                }
            }
            if base == FIRST && &name(registers) == MICROSOFT && registers[0] >= FIRST + 5 {
                read(FIRST + 3); // privileges
                if registers[0] >= FIRST + 0xc {
                    read(FIRST + 0xc); // isolation
                }
            }
        }
        // TDX is Intel's, SEV is AMD's and Hygon's; no need to trap for both.
        let [highest, vendor, ..] = read(0);
        if vendor == u32::from_le_bytes(*b"Genu") {
            if highest >= 0x21 {
                read(0x21);
            }
        } else if read(0x8000_0000)[0] >= 0x8000_001f {
            read(0x8000_001f);
        }
    }

    fn keep(&mut self, leaf: u32, registers: [u32; 4]) {
        self.cpuid.insert(format!("{leaf:#010x}"), registers);
    }

    /// A leaf that was read, however its number is written.
    pub(super) fn leaf(&self, number: u32) -> Option<[u32; 4]> {
        self.cpuid.iter().find(|(key, _)| parse(key) == Some(number)).map(|(_, registers)| *registers)
    }
}

impl Tables<'_> {
    /// The hypervisors that CPUID names, in the order of their bases, with their leaf. None without the hypervisor
    /// bit.
    pub(super) fn signatures(&self, facts: &Facts) -> Vec<(&'static str, u32)> {
        if facts.hypervisor_bit != Some(true) {
            return Vec::new();
        }
        let mut found: Vec<_> = facts
            .cpuid
            .iter()
            .filter_map(|(key, registers)| {
                let base = parse(key).filter(|leaf| is_base(*leaf))?;
                // Twelve bytes exactly: where there is no block, a processor may echo another leaf.
                let (_, word) = self.signatures.iter().find(|(text, _)| **text == name(*registers))?;
                Some((*word, base))
            })
            .collect();
        found.sort_unstable_by_key(|(_, base)| *base);
        found
    }
}

/// Whether a hypervisor wrote this: it has a name that we know, or says how far its block goes. EAX alone would not
/// do, old KVM leaves it zero.
fn is_block(base: u32, registers: [u32; 4]) -> bool {
    (base..base + STEP).contains(&registers[0])
        || SIGNATURES.iter().any(|(text, _)| **text == name(registers))
}

fn bases() -> impl Iterator<Item = u32> {
    (0..BASES).map(|n| FIRST + n * STEP)
}

fn is_base(leaf: u32) -> bool {
    (FIRST..FIRST + BASES * STEP).contains(&leaf) && leaf.is_multiple_of(STEP)
}

pub(super) fn name([_, b, c, d]: [u32; 4]) -> [u8; 12] {
    let mut text = [0; 12];
    for (chunk, register) in text.chunks_exact_mut(4).zip([b, c, d]) {
        chunk.copy_from_slice(&register.to_le_bytes());
    }
    text
}

fn parse(key: &str) -> Option<u32> {
    u32::from_str_radix(key.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::Facts;
    use super::{BASES, FIRST, STEP};

    const UNUSED: &[u8; 12] = &[0; 12];

    /// Reads a machine whose blocks carry these names, and counts how often the hypervisor was asked.
    fn read(names: &[&[u8; 12]], elsewhere: [u32; 4]) -> (Facts, u32) {
        let (mut facts, asked) = (Facts::default(), Cell::new(0));
        facts.read_cpuid(|leaf| {
            asked.set(asked.get() + 1);
            if leaf == 1 {
                return Some([0, 0, 1 << 31, 0]);
            }
            let at = leaf.checked_sub(FIRST).filter(|offset| offset % STEP == 0).map(|offset| offset / STEP);
            let name = at.and_then(|n| names.get(n as usize)).filter(|name| **name != UNUSED);
            Some(name.map_or(elsewhere, |name| {
                let register = |at| u32::from_le_bytes(std::array::from_fn(|i| name[at + i]));
                [leaf + 0xc, register(0), register(4), register(8)]
            }))
        });
        (facts, asked.get())
    }

    #[test]
    fn few_leaves_are_asked_for() {
        let junk = [543, 2696, 2696, 0];
        for (what, names, elsewhere) in [
            ("KVM", &[b"KVMKVMKVM\0\0\0"] as &[_], [0; 4]),
            ("KVM behind Hyper-V", &[b"Microsoft Hv", b"KVMKVMKVM\0\0\0"], [0; 4]),
            ("nobody, and zeros", &[], [0; 4]),
            ("nobody, and an echo", &[], junk),
        ] {
            let (_, asked) = read(names, elsewhere);
            assert!(asked <= 12, "{what}: {asked} leaves");
        }
    }

    #[test]
    fn blocks_that_follow_each_other_are_all_read() {
        let (facts, _) = read(&[b"Microsoft Hv"; BASES as usize], [0; 4]);
        assert!(facts.leaf(FIRST + (BASES - 1) * STEP).is_some());
        let (xen, new) = (b"XenVMMXenVMM", b"BrandNewName");
        for names in [
            &[UNUSED, UNUSED, xen] as &[_],
            &[new, new, new, new, xen],
            &[UNUSED, UNUSED, new, UNUSED, UNUSED, xen],
        ] {
            let (facts, _) = read(names, [0; 4]);
            assert_eq!(facts.verdict().vm, "xen", "{names:?}");
        }
    }
}
