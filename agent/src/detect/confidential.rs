//! Guests whose memory the hypervisor cannot read.
//!
//! Decides which kind we are, as far as a process can see it. It is an attribute beside the hypervisor's name, never
//! the name. Does not decide whether any of it is true: that takes an attestation.
//!
//! SEV's levels stand in an MSR, which root can read where the `msr` module is loaded. Elsewhere we say no more than is
//! certain: `sev-snp` where SNP's driver for attestation is there, else `sev`, which the other two contain; systemd
//! then says `none`. The leaf has bits for SEV-ES and SEV-SNP, too; QEMU clears those that are not in use, but by the
//! manual they are what the processor could do.
//!
//! Sources: AMD APM volume 3 (leaf 0x8000001F), volume 2, 15.34 (MSR 0xC0010131); Intel TDX module specification (leaf
//! 0x21); Hyper-V TLFS (leaves 0x40000003, 0x4000000C); systemd's `src/basic/confidential-virt.c`; Linux,
//! `drivers/virt/coco`, `arch/s390/kernel/uv.c`, `arch/arm64/kernel/rsi.c`.

#![forbid(unsafe_code)]

use super::cpuid::{FIRST, MICROSOFT, name};
use super::{Facts, Tables};

/// What to look at, and the word.
pub(super) type Row = (Sign, &'static str);

#[derive(Debug, Clone, Copy)]
pub(super) enum Sign {
    /// Leaf 0x8000001F says SEV and this bit is set in the MSR.
    Msr(u32),
    /// Leaf 0x8000001F says SEV, and nothing says more.
    Sev,
    /// Leaf 0x21 holds the name of Intel's module, EBX, EDX, ECX in that order.
    TdxModule,
    /// Hyper-V isolates us in this way.
    Isolation(u32),
    /// A file or directory that only such a guest has.
    Exists(&'static str),
    /// A file that says 1.
    One(&'static str),
}
use Sign::{Exists, Isolation, Msr, One, Sev, TdxModule};

/// Of the first processor, where the `msr` module is loaded; with the register's number in hexadecimal behind.
pub(super) const SEV_STATUS: (&str, u64) = ("/dev/cpu/0/msr", 0xc001_0131);
pub(super) const SEV_STATUS_FACT: &str = "/dev/cpu/0/msr@0xc0010131";
const SEV_DEVICE: &str = "/dev/sev-guest";
const TDX_DEVICE: &str = "/dev/tdx_guest";
const PROTECTED: &str = "/sys/firmware/uv/prot_virt_guest";
const REALM: &str = "/sys/devices/platform/arm-cca-dev";
pub(super) const FILES: [&str; 1] = [PROTECTED];
pub(super) const PATHS: [&str; 3] = [SEV_DEVICE, TDX_DEVICE, REALM];

pub(super) const ROWS: &[Row] = &[
    (Msr(2), "sev-snp"),
    (Exists(SEV_DEVICE), "sev-snp"), // sev-guest.c: made for SNP only
    (Msr(1), "sev-es"),
    (Msr(0), "sev"),
    (Isolation(2), "sev-snp"),
    (Isolation(3), "tdx"),
    (TdxModule, "tdx"),
    (Exists(TDX_DEVICE), "tdx"), // tdx-guest.c
    (Sev, "sev"),
    (One(PROTECTED), "protvirt"),
    (Exists(REALM), "cca"), // rsi.c; systemd 258
];

impl Tables<'_> {
    /// The kind of confidential guest.
    pub(super) fn confidential(&self, facts: &Facts) -> Option<&'static str> {
        self.confidential.iter().find(|(sign, _)| sign.holds(facts)).map(|(_, word)| *word)
    }
}

impl Sign {
    fn holds(self, facts: &Facts) -> bool {
        match self {
            Msr(bit) => has_sev(facts) && sev_status(facts).is_some_and(|status| status & (1 << bit) != 0),
            Sev => has_sev(facts) && sev_status(facts).is_none(),
            TdxModule => {
                guest_leaf(facts, 0x21).is_some_and(|[a, b, c, d]| &name([a, b, d, c]) == b"IntelTDX    ")
            }
            Isolation(kind) => isolation(facts) == Some(kind),
            Exists(path) => facts.exists(path),
            One(path) => facts.file(path) == Some("1"),
        }
    }
}

impl Facts {
    /// Whether the processor shows SEV to us, so that the MSR is there to be read.
    pub(super) fn asks_for_sev_status(&self) -> bool {
        has_sev(self)
    }
}

/// A leaf, where the hypervisor bit says that it describes a guest.
fn guest_leaf(facts: &Facts, number: u32) -> Option<[u32; 4]> {
    facts.leaf(number).filter(|_| facts.hypervisor_bit == Some(true))
}

fn has_sev(facts: &Facts) -> bool {
    guest_leaf(facts, 0x8000_001f).is_some_and(|[flags, ..]| flags & (1 << 1) != 0)
}

fn sev_status(facts: &Facts) -> Option<u64> {
    u64::from_str_radix(facts.file(SEV_STATUS_FACT)?.strip_prefix("0x")?, 16).ok()
}

/// How Hyper-V isolates us. Its root partition, which manages the processors, is not a guest.
fn isolation(facts: &Facts) -> Option<u32> {
    let first = guest_leaf(facts, FIRST)?;
    let hyperv = &name(first) == MICROSOFT && (FIRST + 5..=FIRST + 0xffff).contains(&first[0]);
    let [_, privileges, ..] = guest_leaf(facts, FIRST + 3)?;
    let isolated = privileges & (1 << 22) != 0 && privileges & (1 << 12) == 0;
    let [_, kind, ..] = guest_leaf(facts, FIRST + 0xc)?;
    (hyperv && isolated).then_some(kind & 0xf)
}
