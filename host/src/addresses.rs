//! Addresses that this platform gives: of network cards, and of guests in a subnet.
//!
//! Decides which address each is, the same whenever the same deployment is made. Which properties ask for one is for
//! `assign`.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The addresses of a deployment's guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    first: Ipv4Addr,
    prefix: u8,
}

/// The longest prefix with room for guests.
const LONGEST: u8 = 28;

impl Subnet {
    /// This machine's address: the first.
    pub fn host(self) -> Ipv4Addr {
        self.nth(1)
    }

    /// The address of this guest, counted from 0; none where the subnet has no more. The last is never one: QEMU's
    /// network hands it out by DHCP.
    pub fn guest(self, number: usize) -> Option<Ipv4Addr> {
        let offset = u32::try_from(number).ok()?.checked_add(10)?;
        (offset < self.size() - 2).then(|| self.nth(offset))
    }

    /// The last address of a machine's.
    pub fn last(self) -> Ipv4Addr {
        self.nth(self.size() - 2)
    }

    /// Its first address, which names it and is nobody's.
    pub fn first(self) -> Ipv4Addr {
        self.first
    }

    /// Its netmask.
    pub fn netmask(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX << (32 - u32::from(self.prefix)))
    }

    /// How many bits of an address are the subnet's.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether an address is one of its machines'.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(u32::from(self.first));
        (1..self.size() - 1).contains(&offset)
    }

    fn size(self) -> u32 {
        1 << (32 - u32::from(self.prefix))
    }

    fn nth(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.first) + offset)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            Some((address.parse::<Ipv4Addr>().ok()?, prefix.parse::<u8>().ok()?))
        });
        let Some((address, prefix)) = parsed else {
            return Err("a subnet is written as 10.77.0.0/24".to_owned());
        };
        if !(8..=LONGEST).contains(&prefix) {
            return Err(format!("a subnet has a prefix of 8 to {LONGEST} bits"));
        }
        let subnet = Self { first: address, prefix };
        let first = Ipv4Addr::from(u32::from(address) & u32::from(subnet.netmask()));
        if first != address {
            return Err(format!("{text} is an address within {first}/{prefix}; write the subnet"));
        }
        Ok(subnet)
    }
}

/// The address of a network card: of the range that is nobody's by the vendor (QEMU's), then of its names.
pub fn mac(deployment: &str, guest: &str, card: usize) -> String {
    let mut digest = Sha256::new();
    // Lengths, so that no two triples are one text.
    digest.update(format!("{}:{deployment}{}:{guest}{card}", deployment.len(), guest.len()));
    let bytes = digest.finalize();
    format!("52:54:00:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2])
}

#[cfg(test)]
mod tests {
    use super::{Subnet, mac};

    #[test]
    fn a_subnet_has_room_for_this_machine_and_guests() {
        let subnet: Subnet = "10.77.0.0/24".parse().expect("a subnet");
        let shown =
            [subnet.host(), subnet.guest(0).expect("one"), subnet.guest(243).expect("one"), subnet.last()];
        assert_eq!(shown.map(|it| it.to_string()), ["10.77.0.1", "10.77.0.10", "10.77.0.253", "10.77.0.254"]);
        assert_eq!(subnet.guest(244), None);
        assert_eq!(subnet.netmask().to_string(), "255.255.255.0");
        assert!(
            subnet.contains("10.77.0.254".parse().expect("one"))
                && !subnet.contains("10.77.1.0".parse().expect("one"))
        );
    }

    #[test]
    fn what_is_no_subnet_is_refused() {
        for (text, want) in [
            ("10.77.0.0", "a subnet is written as 10.77.0.0/24"),
            ("10.77.0.0/x", "a subnet is written as 10.77.0.0/24"),
            ("10.77.0.0/30", "a subnet has a prefix of 8 to 28 bits"),
            ("0.0.0.0/0", "a subnet has a prefix of 8 to 28 bits"),
            ("10.77.0.9/24", "10.77.0.9/24 is an address within 10.77.0.0/24; write the subnet"),
        ] {
            assert_eq!(text.parse::<Subnet>(), Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn cards_have_addresses_of_their_own() {
        let all =
            [mac("shop", "DB1", 0), mac("shop", "DB1", 1), mac("shop", "DB2", 0), mac("sho", "pDB1", 0)];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|it| it != one), "{all:?}");
        }
        assert_eq!(mac("shop", "DB1", 0), all[0]);
    }
}
