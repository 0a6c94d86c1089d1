//! What this platform gives to properties that ask for it: addresses of its subnet, and of network cards.
//!
//! Decides who asks, and what each is given: the same whenever the same is deployed, so that a guest keeps its address. The
//! idea is the Collective's, whose utility assigned the addresses of an appliance (LISA 2003); the words are VMware's, whose
//! properties ask by `vmw:qualifiers` and by the type `ip`, since builders have them already. `Mac` is ours.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::addresses::{Subnet, mac};
use crate::descriptor::{Descriptor, Entity, Kind, full_name};
use crate::finding::{Code, Few, Finding, quoted};
use crate::xml::Source;

/// What a property asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// An address of its own.
    Address,
    /// The subnet's mask.
    Netmask,
    /// How many bits of an address are the subnet's.
    Prefix,
    /// The subnet's first address, which nobody has.
    Subnet,
    /// This machine's address.
    Gateway,
    /// The network's name.
    Network(String),
    /// The address of the guest's first network card.
    Mac,
}

impl Ask {
    /// What VMware's qualifiers and a type ask for: `Ip('inside')`, `Netmask`, `ip:inside`. Where they say something else
    /// as well, that is somebody else's.
    pub fn read(qualifiers: &str, kind: &str) -> Option<Self> {
        let words = qualifiers.split(',').map(|word| {
            let word = word.trim();
            let end = word.find(['(', ':']).unwrap_or(word.len());
            let network = word[end..].trim_matches(['(', ')', ':', '\'', '"', ' ']);
            (word[..end].trim(), network)
        });
        let mut asked = words.filter_map(|(word, network)| match word {
            "Ip" => Some(Self::Address),
            "Netmask" => Some(Self::Netmask),
            "HostPrefix" => Some(Self::Prefix),
            "Subnet" => Some(Self::Subnet),
            "Gateway" => Some(Self::Gateway),
            "Net" => Some(Self::Network(network.to_owned())),
            "Mac" => Some(Self::Mac),
            _ => None,
        });
        let by_type = || (kind == "ip" || kind.starts_with("ip:")).then_some(Self::Address);
        asked.next().or_else(by_type)
    }
}

/// What each property that asks is given, by its entity and its place in the entity's list.
///
/// # Errors
/// The subnet has not enough addresses; or a card's is asked for by no guest.
pub fn assign(
    descriptor: &Descriptor,
    subnet: Subnet,
    deployment: &str,
) -> Result<BTreeMap<(usize, usize), String>, String> {
    let mut all = BTreeMap::new();
    // By their order in the descriptor, and whether their values are given or not: a value that is given moves nobody else.
    let mut number = 0;
    for (index, entity) in descriptor.entities.iter().enumerate() {
        for (place, (product, property)) in descriptor.properties(index).enumerate() {
            let Some(ask) = &property.asks else { continue };
            let value = match ask {
                Ask::Address => {
                    let address = subnet.guest(number).ok_or_else(|| {
                        format!(
                            "{subnet} has no more than {number} addresses for guests; name a larger subnet"
                        )
                    })?;
                    number += 1;
                    address.to_string()
                }
                Ask::Netmask => subnet.netmask().to_string(),
                Ask::Prefix => subnet.prefix().to_string(),
                Ask::Subnet => subnet.first().to_string(),
                Ask::Gateway => subnet.host().to_string(),
                Ask::Network(name) => name.clone(),
                Ask::Mac if entity.kind == Kind::System => mac(deployment, &entity.id.value, 0),
                Ask::Mac => return Err(cardless(entity, &full_name(product, property))),
            };
            all.insert((index, place), value);
        }
    }
    Ok(all)
}

/// Properties that ask for what there is not.
pub fn check(descriptor: &Descriptor, source: &Source, findings: &mut Vec<Finding>) {
    let mut findings = Few::behind(findings);
    for (index, entity) in descriptor.entities.iter().enumerate() {
        for (product, property) in descriptor.properties(index) {
            if property.asks == Some(Ask::Mac) && entity.kind == Kind::Collection {
                let message = cardless(entity, &full_name(product, property));
                findings.push(source.finding(Code::PropertyQualifier, property.key.at, message));
            }
        }
    }
}

fn cardless(entity: &Entity, name: &str) -> String {
    format!(
        "{} asks for the address of a network card, and {} is a collection, which has none; ask for it in a guest",
        quoted(name),
        quoted(&entity.id.value)
    )
}

#[cfg(test)]
mod tests {
    use super::{Ask, assign};
    use crate::descriptor::Descriptor;
    use crate::xml::Source;

    #[test]
    fn qualifiers_and_types_ask() {
        let network = Ask::Network("in side".to_owned());
        for (qualifiers, kind, want) in [
            ("Ip", "string", Some(Ask::Address)),
            ("Ip('VM Network')", "string", Some(Ask::Address)),
            ("Ip:inside", "string", Some(Ask::Address)),
            ("MinLen(1), Netmask(\"inside\")", "string", Some(Ask::Netmask)),
            ("Net('in side')", "string", Some(network)),
            ("Mac", "string", Some(Ask::Mac)),
            ("", "ip:VM Network", Some(Ask::Address)),
            ("", "ip", Some(Ask::Address)),
            ("Dns('VM Network')", "string", None),
            ("", "string", None),
            ("((", "string", None),
        ] {
            assert_eq!(Ask::read(qualifiers, kind), want, "{qualifiers} {kind}");
        }
    }

    const SHOP: &str = r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
        xmlns:vmw="http://www.vmware.com/schema/ovf"><References/><VirtualSystemCollection ovf:id="shop"><Info/><ProductSection><Info/>
        <Property ovf:key="dbIp" ovf:type="string" vmw:qualifiers="Ip('inside')"/><Property ovf:key="mask" ovf:type="string" vmw:qualifiers="Netmask"/>
        <Property ovf:key="plain" ovf:type="string"/></ProductSection>
        <VirtualSystem ovf:id="web"><Info/><ProductSection><Info/><Property ovf:key="ip" ovf:type="string" ovf:userConfigurable="true" vmw:qualifiers="Ip"/>
        <Property ovf:key="mac" ovf:type="string" vmw:qualifiers="Mac"/></ProductSection></VirtualSystem></VirtualSystemCollection></Envelope>"#;

    fn assigned(text: &str, subnet: &str) -> Result<Vec<String>, String> {
        let source = Source::new("shop.ovf", text.as_bytes().to_vec()).expect("text");
        let descriptor = Descriptor::read(&source, &mut Vec::new()).expect("a descriptor");
        assign(&descriptor, subnet.parse().expect("a subnet"), "shop").map(|it| it.into_values().collect())
    }

    #[test]
    fn each_is_given_what_it_asks_for() {
        let mac = crate::addresses::mac("shop", "web", 0);
        let want = ["10.77.0.10", "255.255.255.0", "10.77.0.11", mac.as_str()];
        assert_eq!(assigned(SHOP, "10.77.0.0/24"), Ok(want.map(str::to_owned).into()));
    }

    #[test]
    fn what_cannot_be_given_is_said() {
        let many = SHOP.replace("ovf:type=\"string\" vmw:qualifiers=\"Netmask\"", "ovf:type=\"ip\"");
        let crowded = many.replacen(
            "<Property ovf:key=\"plain\" ovf:type=\"string\"/>",
            &(0..3).map(|it| format!("<Property ovf:key=\"p{it}\" ovf:type=\"ip\"/>")).collect::<String>(),
            1,
        );
        let refused = assigned(&crowded, "10.77.0.0/28");
        assert_eq!(
            refused,
            Err("10.77.0.0/28 has no more than 4 addresses for guests; name a larger subnet".to_owned())
        );
        let misplaced = SHOP.replace("vmw:qualifiers=\"Netmask\"", "vmw:qualifiers=\"Mac\"");
        let refused = assigned(&misplaced, "10.77.0.0/24").expect_err("a collection has no card");
        assert!(
            refused.starts_with("`mask` asks for the address of a network card, and `shop` is a collection"),
            "{refused}"
        );
    }
}
