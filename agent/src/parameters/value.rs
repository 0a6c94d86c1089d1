//! A parameter's value, which does not show itself.
//!
//! Decides that values are wiped when dropped, also inside of lists and maps, and that they leave their wrapper by
//! `reveal` and `reveal_json` alone. Numbers and truth values are not wiped: they are machine words, copied wherever the
//! compiler likes. How values look to templates is decided in `template::context`.

#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

/// A parameter's value.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Optional, and not set.
    Null,
    /// Text of any kind, also an address or a name, as its type normalises it.
    String(Zeroizing<String>),
    /// A whole number.
    Int(i64),
    /// A whole number of the other half.
    Uint(u64),
    /// A finite decimal number.
    Real(f64),
    /// A truth value.
    Bool(bool),
    /// Several of one type, in the order in which they came.
    List(Vec<Self>),
    /// By name, in the order of the names.
    Map(BTreeMap<Key, Self>),
    /// One for each sibling that has the property (`entity = "*"`), by its id. The ids are no secrets.
    Entities(BTreeMap<String, Self>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Null { "Value(null)" } else { "Value(..)" })
    }
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::String(Zeroizing::new(text.into()))
    }

    /// As text, the way a person would write it; lists and maps as JSON. Reveals the value: for output that was asked for.
    pub fn reveal(&self) -> Zeroizing<String> {
        match self {
            Self::Null => Zeroizing::default(),
            Self::String(text) => text.clone(),
            Self::Int(number) => Zeroizing::new(number.to_string()),
            Self::Uint(number) => Zeroizing::new(number.to_string()),
            // With a point or an exponent, as templates print it.
            Self::Real(number) => Zeroizing::new(format!("{number:?}")),
            Self::Bool(truth) => Zeroizing::new(truth.to_string()),
            Self::List(_) | Self::Map(_) | Self::Entities(_) => {
                Zeroizing::new(self.reveal_json().to_string())
            }
        }
    }

    /// As JSON. Reveals the value: for output that was asked for.
    pub fn reveal_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Int(number) => (*number).into(),
            Self::Uint(number) => (*number).into(),
            Self::Real(number) => (*number).into(),
            Self::Bool(truth) => (*truth).into(),
            Self::String(text) => text.as_str().into(),
            Self::List(items) => items.iter().map(Self::reveal_json).collect(),
            Self::Map(map) => {
                map.iter().map(|(key, value)| (key.reveal().to_owned(), value.reveal_json())).collect()
            }
            Self::Entities(map) => map.iter().map(|(id, value)| (id.clone(), value.reveal_json())).collect(),
        }
    }
}

/// The name of a map's value: part of what the property says, and so as secret as the rest of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<String>);

impl Key {
    /// The name itself, for output that was asked for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<Zeroizing<String>> for Key {
    fn from(name: Zeroizing<String>) -> Self {
        Self(name)
    }
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self(Zeroizing::new(name.to_owned()))
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}
