//! The guest's network interfaces, by hardware address.
//!
//! Decides which interface is meant where the environment names an adapter (VMware's EthernetAdapterSection has
//! addresses, not names): the one that has the adapter's own address and a device below it. A bridge, bond or VLAN above
//! it often carries the same address, and a bond gives its members another; both are seen through. An interface that is
//! not there yet, because its driver is still loading or udev has yet to rename it, has no name here.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::environment::Adapter;
use crate::sys::Root;

const DIRECTORY: &str = "/sys/class/net";

/// Names of interfaces by hardware address.
#[derive(Debug, Default)]
pub struct Interfaces(BTreeMap<[u8; 6], String>);

impl Interfaces {
    /// Reads them from `/sys`; what cannot be read is not there.
    pub fn read(root: &Root) -> Self {
        let mut found = BTreeMap::new();
        for name in root.list(DIRECTORY).unwrap_or_default() {
            let directory = format!("{DIRECTORY}/{name}");
            if !root.exists(format!("{directory}/device")) {
                continue;
            }
            let own = root.clue(format!("{directory}/bonding_slave/perm_hwaddr"));
            let address = own.or_else(|| root.clue(format!("{directory}/address")));
            if let Some(address) = address.as_deref().and_then(octets) {
                // A device that is paired for failover has two with one address; the first by name is the master's.
                found.entry(address).or_insert(name);
            }
        }
        Self(found)
    }

    /// The name of an adapter's interface; `None` where there is none (yet).
    pub fn name(&self, adapter: &Adapter) -> Option<&str> {
        self.0.get(&octets(&adapter.mac)?).map(String::as_str)
    }
}

/// A hardware address of six octets, written with colons or hyphens.
fn octets(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut parts = text.trim().split([':', '-']);
    for octet in &mut octets {
        let part =
            parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(octets)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes the machine it looks at")]
mod tests {
    use super::{Interfaces, Root, octets};
    use crate::environment::Adapter;
    use std::fs;

    #[test]
    fn an_address_is_six_octets() {
        for text in ["00:50:56:ab:cd:ef", "00:50:56:AB:CD:EF", "00-50-56-ab-cd-ef", " 00:50:56:ab:cd:ef\n"] {
            assert_eq!(octets(text), Some([0, 0x50, 0x56, 0xab, 0xcd, 0xef]), "{text}");
        }
        for text in [
            "",
            "00:50:56:ab:cd",
            "00:50:56:ab:cd:ef:01",
            "0:50:56:ab:cd:ef",
            "00:50:56:ab:cd:eg",
            "+0:50:56:ab:cd:ef",
        ] {
            assert_eq!(octets(text), None, "{text}");
        }
    }

    #[test]
    fn the_interface_with_a_device_and_the_adapters_own_address_is_meant() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        for (name, file, text) in [
            ("lo", "address", "00:00:00:00:00:00"),
            ("br0", "address", "00:50:56:00:00:01"),
            ("ens192", "address", "00:50:56:00:00:01"),
            ("ens192", "device/vendor", "0x15ad"),
            ("ens224", "address", "00:50:56:00:00:01"),
            ("ens224", "bonding_slave/perm_hwaddr", "00:50:56:00:00:02"),
            ("ens224", "device/vendor", "0x15ad"),
        ] {
            let path = dir.path().join("sys/class/net").join(name).join(file);
            fs::create_dir_all(path.parent().expect("a directory")).expect("mkdir");
            fs::write(path, text).expect("write");
        }
        let interfaces = Interfaces::read(&Root::open(dir.path()).expect("a directory"));
        let name = |mac: &str| {
            interfaces.name(&Adapter { mac: mac.to_owned(), ..Adapter::default() }).map(str::to_owned)
        };
        assert_eq!(name("00:50:56:00:00:01").as_deref(), Some("ens192"));
        assert_eq!(name("00:50:56:00:00:02").as_deref(), Some("ens224"));
        assert_eq!(name("00:50:56:00:00:03"), None);
        assert_eq!(name(""), None);
    }
}
