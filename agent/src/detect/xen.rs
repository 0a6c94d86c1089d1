//! Xen's domains.
//!
//! Decides from Xen's own files whether this kernel runs in a domain, and whether that is the one in control (dom0),
//! which owns the hardware and so is no guest. Does not look at CPUID, where a paravirtualised domain sees another
//! hypervisor's name or none.
//!
//! Sources: Linux, `Documentation/ABI/stable/sysfs-hypervisor-xen`; Xen's `public/features.h`; systemd#28113 on a dom0
//! whose xenfs is not mounted.

#![forbid(unsafe_code)]

use super::Facts;

pub(super) enum Domain {
    Control,
    Guest,
}

const TYPE: &str = "/sys/hypervisor/type";
const FEATURES: &str = "/sys/hypervisor/properties/features";
const CAPABILITIES: &str = "/proc/xen/capabilities";
pub(super) const FILES: [&str; 4] = [TYPE, FEATURES, CAPABILITIES, "/sys/hypervisor/uuid"];
pub(super) const DIRECTORY: &str = "/proc/xen";
/// XENFEAT_dom0.
const DOM0: u32 = 11;

impl Facts {
    /// The domain that we are in, and the file that says so.
    pub(super) fn domain(&self) -> Option<(Domain, &'static str)> {
        let sign = if self.file(TYPE) == Some("xen") {
            TYPE
        } else if self.exists(DIRECTORY) {
            DIRECTORY
        } else {
            return None;
        };
        if let Some(features) = self.file(FEATURES).and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        {
            let control = features & (1 << DOM0) != 0;
            return Some(if control { (Domain::Control, FEATURES) } else { (Domain::Guest, sign) });
        }
        let control =
            self.file(CAPABILITIES).is_some_and(|list| list.split(',').any(|c| c.trim() == "control_d"));
        Some(if control { (Domain::Control, CAPABILITIES) } else { (Domain::Guest, sign) })
    }

    /// A hypervisor that shows itself as Xen does, but is another.
    pub(super) fn other_hypervisor(&self) -> Option<&'static str> {
        self.file(TYPE).filter(|kind| !kind.is_empty() && *kind != "xen").map(|_| TYPE)
    }
}
