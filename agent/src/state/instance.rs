//! Who this guest is: its firmware's UUID, the id in its environment, and the property `instance-id`, or another that the
//! appliance names.
//!
//! Decides when two of these are the same guest. A copy of a disk brings the state of another guest along; where any of
//! the three is known of both and differs, the guest is another, and boots for the first time. What is not known (no
//! environment, no SMBIOS) tells nothing.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::sys::Root;

const MACHINE: &str = "/sys/class/dmi/id/product_uuid";

/// A guest, as far as it can be told from others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// SMBIOS' UUID.
    pub machine: Option<String>,
    /// The environment's id.
    pub environment: Option<String>,
    /// The digest of what the platform calls an instance.
    pub id: Option<String>,
    /// The boot in which it was first seen; `None` where that is not known.
    pub boot: Option<String>,
}

impl Instance {
    /// This guest in this boot.
    pub fn of(root: &Root, environment: Option<&str>, id: Option<&str>) -> Self {
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            machine: root.clue(MACHINE).and_then(known).map(|uuid| uuid.to_ascii_lowercase()),
            environment: environment.map(str::to_owned).and_then(known),
            // A digest, for it can be of any length, and is nobody's business.
            id: id.filter(|id| !id.is_empty()).map(|id| super::salted("", &[id.as_bytes()])),
            boot: known(root.boot_id()),
        }
    }

    /// Whether the other can be the same guest, whatever the boot.
    pub fn is(&self, other: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        same(&self.machine, &other.machine)
            && same(&self.environment, &other.environment)
            && same(&self.id, &other.id)
    }

    /// This one, with what the other knows besides. The boot stays.
    pub fn or(self, other: Self) -> Self {
        Self {
            machine: self.machine.or(other.machine),
            environment: self.environment.or(other.environment),
            id: self.id.or(other.id),
            boot: self.boot,
        }
    }
}
