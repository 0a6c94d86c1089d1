//! Siblings that this guest waits for: whom, where, and what becomes of one that cannot be found.
//!
//! Decides whose ports are waited for, by the environment that was applied last: those of the entity that is named, or of every
//! sibling that has the property; never the guest's own, so that all guests of an appliance can have one configuration. Of the
//! environment no more is remembered than the properties that gates name, which is why these must not be secret (`config`).
//! Addresses are properties' values: no name of a gate has one.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::Obstacle;
use crate::environment::Environment;

/// So many siblings can be waited for by one rendezvous: a report names each of them.
const MOST: usize = 1000;

/// `[ready] entities`: a sibling, or all of them, and the port that must accept a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendezvous {
    /// The entity's id; without one it is every sibling that has the property.
    pub entity: Option<String>,
    /// The key of the entity's property that is its address.
    pub key: String,
    /// Its port.
    pub port: Port,
}

/// The port of a sibling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// This one.
    Number(u16),
    /// That of the entity's property with this key.
    Key(String),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Key(key) => key.fmt(f),
        }
    }
}

impl Rendezvous {
    /// The keys of properties that it needs.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let port = match &self.port {
            Port::Key(key) => Some(key.as_str()),
            Port::Number(_) => None,
        };
        [self.key.as_str()].into_iter().chain(port)
    }
}

/// What gates need to know of an environment. Its Debug shows no value. It is written as one list of texts, the own id and then
/// entity, key and value of each property: a reader of maps of maps would have 6 KiB.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Siblings {
    /// The guest's own id.
    own: String,
    /// Properties by entity and key. One that is named and has none has an empty one.
    known: BTreeMap<(String, String), String>,
}

impl From<Vec<String>> for Siblings {
    fn from(list: Vec<String>) -> Self {
        let mut texts = list.into_iter();
        let own = texts.next().unwrap_or_default();
        let mut known = BTreeMap::new();
        while let (Some(id), Some(key), Some(value)) = (texts.next(), texts.next(), texts.next()) {
            known.insert((id, key), value);
        }
        Self { own, known }
    }
}

impl From<Siblings> for Vec<String> {
    fn from(Siblings { own, known }: Siblings) -> Self {
        let texts = known.into_iter().flat_map(|((id, key), value)| [id, key, value]);
        [own].into_iter().chain(texts).collect()
    }
}

impl fmt::Debug for Siblings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Siblings({})", self.known.len())
    }
}

impl Siblings {
    /// What `gates` need to know of an environment.
    pub fn of(environment: &Environment, gates: &[Rendezvous]) -> Self {
        let mut siblings = Self::default();
        for entity in environment.entities.iter().filter(|entity| entity.id != environment.id) {
            for gate in gates.iter().filter(|gate| gate.entity.as_ref().is_none_or(|id| *id == entity.id)) {
                for key in gate.keys() {
                    let value = entity.properties.get(key).map_or("", |value| value.reveal().trim());
                    // All siblings are those that have the property.
                    if gate.entity.is_some() || !value.is_empty() {
                        siblings.known.insert((entity.id.clone(), key.to_owned()), value.to_owned());
                    }
                }
            }
        }
        if !gates.is_empty() {
            siblings.own.clone_from(&environment.id);
        }
        siblings
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The gates of a rendezvous by their names, and whom to connect to.
    pub(super) fn gates(&self, rendezvous: &Rendezvous) -> Vec<(String, Result<Peer, Obstacle>)> {
        let Rendezvous { entity, key, port } = rendezvous;
        let ids: Vec<&String> = match entity {
            Some(id) if *id == self.own => Vec::new(),
            Some(id) => vec![id],
            None => {
                let has_it =
                    |((_, known), value): &(&(String, String), &String)| known == key && !value.is_empty();
                self.known.iter().filter(has_it).map(|((id, _), _)| id).collect()
            }
        };
        if ids.len() > MOST {
            return vec![(format!("entity * {key}:{port}"), Err(Obstacle::TOO_MANY))];
        }
        ids.into_iter().map(|id| (format!("entity {id} {key}:{port}"), self.peer(id, key, port))).collect()
    }

    fn peer(&self, id: &str, key: &str, port: &Port) -> Result<Peer, Obstacle> {
        let known = |key: &str| match self.known.get(&(id.to_owned(), key.to_owned())) {
            None if self.known.keys().all(|(known, _)| known != id) => Err(Obstacle::NO_ENTITY),
            None => Err(Obstacle::NO_PROPERTY),
            Some(value) if value.is_empty() => Err(Obstacle::NO_PROPERTY),
            Some(value) => Ok(value),
        };
        let address: IpAddr = known(key)?.parse().map_err(|_| Obstacle::NO_ADDRESS)?;
        let port = match port {
            Port::Number(number) => *number,
            Port::Key(key) => known(key)?.parse().unwrap_or(0),
        };
        if port == 0 { Err(Obstacle::NO_PORT) } else { Ok(Peer(SocketAddr::new(address, port))) }
    }
}

/// A sibling's port. Its Debug shows nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Peer(SocketAddr);

impl Peer {
    /// Where it is.
    pub fn reveal(self) -> SocketAddr {
        self.0
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peer(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::{Port, Rendezvous, Siblings};
    use crate::environment;

    const DOCUMENT: &str = r#"<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"
        xmlns:oe="http://schemas.dmtf.org/ovf/environment/1" oe:id="DB1">
        <Entity oe:id="DB1"><PropertySection><Property oe:key="ip" oe:value="192.0.2.1"/></PropertySection></Entity>
        <Entity oe:id="DB2"><PropertySection><Property oe:key="ip" oe:value=" 192.0.2.2 "/>
            <Property oe:key="port" oe:value="5433"/></PropertySection></Entity>
        <Entity oe:id="DB3"><PropertySection><Property oe:key="ip" oe:value="2001:db8::3"/>
            <Property oe:key="port" oe:value="0"/></PropertySection></Entity>
        <Entity oe:id="DB4"><PropertySection><Property oe:key="ip" oe:value="db4.example"/></PropertySection></Entity>
        <Entity oe:id="Web"><PropertySection><Property oe:key="ip" oe:value=""/></PropertySection></Entity>
        </Environment>"#;

    fn rendezvous(entity: Option<&str>, port: Port) -> Rendezvous {
        Rendezvous { entity: entity.map(str::to_owned), key: "ip".to_owned(), port }
    }

    fn gates(entity: Option<&str>, port: Port) -> Vec<(String, String)> {
        let (environment, _) = environment::parse(DOCUMENT.as_bytes()).expect("a document");
        let rendezvous = rendezvous(entity, port);
        let siblings = Siblings::of(&environment, std::slice::from_ref(&rendezvous));
        let written = serde_json::to_string(&siblings).expect("JSON");
        let siblings: Siblings = serde_json::from_str(&written).expect("what was written");
        assert!(!format!("{siblings:?}").contains("192.0.2"), "{siblings:?}");
        let say = |(name, peer): (String, Result<super::Peer, super::Obstacle>)| {
            let debug = format!("{peer:?}{name}");
            assert!(!debug.contains("192.0.2") && !debug.contains("2001"), "{debug}");
            (name, peer.map_or_else(|it| it.code.to_owned(), |peer| peer.reveal().to_string()))
        };
        siblings.gates(&rendezvous).into_iter().map(say).collect()
    }

    #[test]
    fn a_sibling_is_found_by_its_property_and_never_is_ourselves() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, peer)| ((*name).to_owned(), (*peer).to_owned())).collect()
        };
        for (entity, want) in [
            (Some("DB1"), pairs(&[])),
            (Some("DB2"), pairs(&[("entity DB2 ip:5432", "192.0.2.2:5432")])),
            (Some("Web"), pairs(&[("entity Web ip:5432", "PropertyMissing")])),
            (Some("DB9"), pairs(&[("entity DB9 ip:5432", "EntityMissing")])),
            (
                None,
                pairs(&[
                    ("entity DB2 ip:5432", "192.0.2.2:5432"),
                    ("entity DB3 ip:5432", "[2001:db8::3]:5432"),
                    ("entity DB4 ip:5432", "AddressInvalid"),
                ]),
            ),
        ] {
            assert_eq!(gates(entity, Port::Number(5432)), want, "{entity:?}");
        }
        let by_key = || Port::Key("port".to_owned());
        assert_eq!(gates(Some("DB2"), by_key()), pairs(&[("entity DB2 ip:port", "192.0.2.2:5433")]));
        assert_eq!(gates(Some("DB3"), by_key()), pairs(&[("entity DB3 ip:port", "PortInvalid")]));
        let nothing = Siblings::default();
        let named = nothing.gates(&rendezvous(Some("DB2"), Port::Number(1)));
        assert_eq!(named[0].1.as_ref().expect_err("nothing is known").code, "EntityMissing");
        assert!(nothing.gates(&rendezvous(None, Port::Number(1))).is_empty());
    }
}
