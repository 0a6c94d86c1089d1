//! Which clue to the hypervisor is believed.
//!
//! Decides the order of trust among what the other modules read. Does not read anything itself, and knows neither
//! containers nor platforms. Never decides by an empty signature alone where something has a name.
//!
//! Sources: systemd's `src/basic/virt.c`, with its known wrong answers put right: all of CPUID's blocks are looked at
//! (systemd#28001), the first of which many wear as a mask; a control domain of Xen is no guest (systemd#28113).

#![forbid(unsafe_code)]

use super::xen::Domain;
use super::{Clue, Facts, Tables, cpuid, firmware};

impl Tables<'_> {
    /// The hypervisor; `None` where nothing speaks for one.
    pub(super) fn vm(&self, facts: &Facts) -> Clue {
        // User-mode Linux sees the CPUID of the machine below.
        if facts.line(firmware::CPUINFO, "vendor_id").is_some_and(|vendor| vendor.contains("User Mode Linux"))
        {
            return Some(("uml", firmware::CPUINFO.to_owned()));
        }
        let named = self.named(facts);
        let masked = || self.signature(facts, |word| word == "microsoft");
        let dmi = self.dmi(facts);
        match facts.domain() {
            // What is below Xen, if anything; nothing else here sees more than Xen shows.
            Some((Domain::Control, sign)) => {
                let below = self.signature(facts, |word| !["xen", "microsoft"].contains(&word));
                let below = below.or_else(masked).or_else(|| dmi.filter(|(word, _)| *word != "google"));
                return below.or_else(|| Some(("none", format!("{sign}: Xen's control domain"))));
            }
            Some((Domain::Guest, sign)) => return Some(("xen", sign.to_owned())),
            None => {}
        }
        if let Some(xen) = self.signature(facts, |word| word == "xen") {
            return Some(xen);
        }
        if let Some(named) = named {
            return Some(overridden(named, dmi));
        }
        // Google's machines have its strings, too. On x86 its virtual ones have KVM's name, off x86 there is no
        // telling.
        let dmi = dmi.filter(|(word, _)| *word != "google" || !facts.is_x86());
        dmi.or_else(masked)
            .or_else(|| facts.other_hypervisor().map(|file| ("vm-other", file.to_owned())))
            .or_else(|| self.device_tree(facts))
            .or_else(|| firmware::power(facts))
            .or_else(|| firmware::s390(facts))
            .or_else(|| self.acpi(facts))
            .or_else(|| self.pci(facts))
            .or_else(|| bits(facts))
    }

    /// The most specific signature: the last of those that are nobody's mask.
    fn named(&self, facts: &Facts) -> Clue {
        self.signature(facts, |word| word != "microsoft")
    }

    /// The last signature with such a word.
    fn signature(&self, facts: &Facts, wanted: impl Fn(&str) -> bool) -> Clue {
        let (word, base) = self.signatures(facts).into_iter().rfind(|(word, _)| wanted(word))?;
        Some((word, format!("CPUID leaf {base:#x}")))
    }
}

/// What CPUID says, unless SMBIOS is the better witness: VirtualBox and Parallels can wear KVM's signature, Amazon's
/// and Google's machines run KVM but have a word of their own, and a Xen that hides its signature still writes its
/// strings. Other strings are no better than CPUID: anybody can give a machine VMware's.
fn overridden(cpuid: (&'static str, String), dmi: Clue) -> (&'static str, String) {
    match dmi {
        Some((word @ ("oracle" | "parallels" | "amazon" | "xen"), clue))
            if ["kvm", "qemu"].contains(&cpuid.0) =>
        {
            (word, clue)
        }
        Some(("google", clue)) if cpuid.0 == "kvm" => ("google", clue),
        _ => cpuid,
    }
}

/// That there is a hypervisor, without a name. Set, either bit proves it; clear, neither proves that there is none.
fn bits(facts: &Facts) -> Clue {
    if facts.hypervisor_bit == Some(true) {
        Some(("vm-other", format!("CPUID leaf 1, without a known name at {:#x}", cpuid::FIRST)))
    } else if facts.smbios_vm_bit == Some(true) {
        Some(("vm-other", "SMBIOS type 0".to_owned()))
    } else {
        None
    }
}

impl Facts {
    fn is_x86(&self) -> bool {
        // Facts that somebody wrote down may lack the one or the other.
        self.hypervisor_bit.is_some() || self.arch.starts_with("x86") || self.arch.ends_with("86")
    }
}
