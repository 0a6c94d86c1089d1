//! Filters that reckon with addresses and their masks, IPv4 and IPv6.
//!
//! A mask is a prefix length, `24`, or a netmask, `"255.255.255.0"`. An address may bring its own: `192.0.2.1/24`.

#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tera::{Kwargs, State, TeraResult, Value};

use super::{Filter, argument, given};
use crate::template::refusal::Refusal;

pub(super) const FILTERS: [(&str, Filter); 5] = [
    ("broadcast", broadcast),
    ("netmask", netmask),
    ("network", network),
    ("prefix", prefix),
    ("reverse_zone", reverse_zone),
];

/// An address, and the length that it brings along.
#[derive(Clone, Copy)]
struct Address {
    ip: IpAddr,
    length: Option<u32>,
}

impl Address {
    /// Nothing where it is no address.
    fn read(value: &Value) -> Result<Option<Self>, Refusal> {
        given(value).map(|value| Self::parse(value.as_str()?.trim()))
    }

    fn parse(text: &str) -> Option<Self> {
        let (ip, length) = text.split_once('/').map_or((text, None), |(ip, length)| (ip, Some(length)));
        let ip: IpAddr = ip.parse().ok()?;
        let length = match length {
            Some(length) => Some(mask_length(length).filter(|length| *length <= width(ip))?),
            None => None,
        };
        Some(Self { ip, length })
    }

    /// With the mask of an argument, or its own; not with two that differ.
    fn masked(self, mask: Option<u32>) -> Option<(IpAddr, u32)> {
        let length = match (self.length, mask) {
            (Some(own), Some(given)) => Some(own).filter(|own| *own == given),
            (own, given) => own.or(given),
        };
        Some((self.ip, length.filter(|length| *length <= width(self.ip))?))
    }
}

fn width(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The length of a mask: a number, or a netmask.
fn mask_value(value: &Value) -> Option<u32> {
    match value.as_str() {
        Some(text) => mask_length(text.trim()),
        None => value.as_i64().and_then(|length| u32::try_from(length).ok()),
    }
}

fn mask_length(text: &str) -> Option<u32> {
    match text.parse::<Ipv4Addr>() {
        Ok(mask) => {
            let bits = u32::from(mask);
            (bits.leading_ones() + bits.trailing_zeros() == 32).then(|| bits.leading_ones())
        }
        Err(_) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        Err(_) => None,
    }
}

/// An address with the bits behind `length` cleared, or set.
fn with_rest(ip: IpAddr, length: u32, set: bool) -> IpAddr {
    let rest = |width: u32| (u128::MAX >> (128 - width)).checked_shr(length).unwrap_or(0);
    let change = |bits: u128, rest: u128| if set { bits | rest } else { bits & !rest };
    match ip {
        // The shift is by at most 32, and of 32 bits nothing is left then.
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from(change(u32::from(ip).into(), rest(32)) as u32)),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(change(ip.into(), rest(128)))),
    }
}

/// `ip | netmask(prefix=24)`, `"192.0.2.1/24" | netmask`, `24 | netmask`: `255.255.255.0`.
fn netmask(value: Value, arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let given = argument(&arguments, "prefix", mask_value)?;
    let address = match value.as_i64() {
        Some(length) => Address { ip: Ipv4Addr::UNSPECIFIED.into(), length: u32::try_from(length).ok() },
        None => Address::read(&value)?.ok_or(Refusal::NO_PREFIX)?,
    };
    let (ip, length) = address.masked(given).ok_or(Refusal::NO_PREFIX)?;
    let ones = match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::BROADCAST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(u128::MAX)),
    };
    Ok(Value::from(with_rest(ones, length, false).to_string()))
}

/// `"255.255.255.0" | prefix`, `"192.0.2.1/24" | prefix`: `24`, a number.
fn prefix(value: Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let length = match Address::read(&value)? {
        Some(Address { length: Some(length), .. }) => Some(length),
        _ => value.as_str().filter(|text| text.contains('.')).and_then(|text| mask_length(text.trim())),
    };
    length.map(Value::from).ok_or_else(|| Refusal::NO_MASK.into())
}

/// `ip | network(mask=24)`, `"192.0.2.1/24" | network`: `192.0.2.0`.
fn network(value: Value, arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let mask = argument(&arguments, "mask", mask_value)?;
    let masked = Address::read(&value)?.and_then(|address| address.masked(mask));
    let (ip, length) = masked.ok_or(Refusal::NO_NETWORK)?;
    Ok(Value::from(with_rest(ip, length, false).to_string()))
}

/// `ip | broadcast(mask=24)`, `"192.0.2.1/24" | broadcast`: `192.0.2.255`. IPv6 has no broadcast.
fn broadcast(value: Value, arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let mask = argument(&arguments, "mask", mask_value)?;
    let masked = Address::read(&value)?.and_then(|address| address.masked(mask));
    let (ip, length) = masked.filter(|(ip, _)| ip.is_ipv4()).ok_or(Refusal::NO_BROADCAST)?;
    Ok(Value::from(with_rest(ip, length, true).to_string()))
}

/// `"192.0.2.1/24" | reverse_zone`: `2.0.192.in-addr.arpa`. Without a length it is 24 for IPv4 and 64 for IPv6.
fn reverse_zone(value: Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let Address { ip, length } = Address::read(&value)?.ok_or(Refusal::NO_ZONE)?;
    let (bits, usual) = if ip.is_ipv4() { (8, 24) } else { (4, 64) };
    let length = length.unwrap_or(usual);
    if length == 0 || length % bits != 0 {
        return Err(Refusal::NO_ZONE.into());
    }
    let labels: Vec<String> = match ip {
        IpAddr::V4(ip) => ip.octets().iter().map(u8::to_string).collect(),
        IpAddr::V6(ip) => ip
            .octets()
            .iter()
            .flat_map(|byte| [format!("{:x}", byte >> 4), format!("{:x}", byte & 15)])
            .collect(),
    };
    let mut zone: Vec<&str> = labels[..(length / bits) as usize].iter().rev().map(String::as_str).collect();
    zone.push(if ip.is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" });
    Ok(Value::from(zone.join(".")))
}
