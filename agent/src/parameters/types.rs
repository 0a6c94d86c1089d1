//! The types that a parameter can have, and their names.
//!
//! Decides which types there are, how `type = "..."` spells them and what each says to people about itself. What a text
//! must look like is decided in [`super::read`]; the OVF types that stand for them in a descriptor, in `schema`.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use super::read::MAX_ITEMS;

/// How deep lists and maps may stand in each other: `list<map<map<int>>>` is three deep, and already hard to write.
const MAX_DEPTH: usize = 4;

/// The type of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    /// One value.
    Scalar(Scalar),
    /// Several of one type, which is no list.
    List(Box<Self>),
    /// Values of one type by name.
    Map(Box<Self>),
}

/// A type of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    String,
    /// A string that may have several lines: `type = "string"` with `multiline = true`.
    Multiline,
    Int,
    Uint,
    Bool,
    Real,
    Ip,
    Ipv4,
    Ipv6,
    Cidr,
    Netmask,
    Hostname,
    Fqdn,
    Port,
    Email,
    Url,
    Base64,
    Locale,
    Timezone,
}

/// What `type = "..."` calls each of them, and what its values must be.
const SCALARS: [(Scalar, &str, &str); 19] = [
    (Scalar::String, "string", "text without control characters"),
    // No name finds this one, since the row above has the same.
    (Scalar::Multiline, "string", "text without control characters other than tabs and newlines"),
    (Scalar::Int, "int", "a whole number between -9223372036854775808 and 9223372036854775807"),
    (Scalar::Uint, "uint", "a whole number between 0 and 18446744073709551615"),
    (Scalar::Bool, "bool", "true, yes, 1 or on, or false, no, 0 or off"),
    (Scalar::Real, "real", "a decimal number, such as 0.75 or 1e-3"),
    (Scalar::Ip, "ip", "an IPv4 or IPv6 address, such as 192.0.2.1 or 2001:db8::1"),
    (Scalar::Ipv4, "ipv4", "an IPv4 address in four decimal parts, such as 192.0.2.1"),
    (Scalar::Ipv6, "ipv6", "an IPv6 address without a zone, such as 2001:db8::1"),
    (
        Scalar::Cidr,
        "cidr",
        "an address and the length of its network's prefix, such as 192.0.2.0/24 or 2001:db8::/32",
    ),
    (Scalar::Netmask, "netmask", "an IPv4 netmask in four decimal parts, ones first, such as 255.255.255.0"),
    (
        Scalar::Hostname,
        "hostname",
        "a host name of letters, digits and hyphens, in parts of at most 63 between dots, the last one no number",
    ),
    (Scalar::Fqdn, "fqdn", "a host name with its domain, such as db1.example.com"),
    (Scalar::Port, "port", "a port between 1 and 65535"),
    (Scalar::Email, "email", "an email address, such as admin@example.com, without quotes and comments"),
    (Scalar::Url, "url", "an absolute URL with a scheme and a host, such as https://example.com/path"),
    (Scalar::Base64, "base64", "base64 text in the alphabet with + and /, padded with ="),
    (Scalar::Locale, "locale", "a locale, such as en, en_US, de_DE.UTF-8 or zh-Hant-TW"),
    (Scalar::Timezone, "timezone", "a name of the time zone database, such as Europe/Berlin or UTC"),
];

impl Scalar {
    fn row(self) -> &'static (Self, &'static str, &'static str) {
        SCALARS.iter().find(|(scalar, ..)| *scalar == self).expect("every scalar has a row")
    }

    /// Whether its values are numbers, so that `min` and `max` are about their size.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Real | Self::Port)
    }

    /// Whether it is text of any kind, of which `min` and `max` count the characters.
    pub(crate) fn is_string(self) -> bool {
        matches!(self, Self::String | Self::Multiline)
    }
}

impl Type {
    /// The names that stand for one value, in the order of the documentation.
    pub(crate) fn scalar_names() -> impl Iterator<Item = &'static str> {
        SCALARS.iter().filter(|(scalar, ..)| *scalar != Scalar::Multiline).map(|(_, name, _)| *name)
    }

    /// What a value must be, to be said to people after "it must be".
    pub(crate) fn rule(&self) -> Cow<'static, str> {
        match self {
            Self::Scalar(scalar) => Cow::Borrowed(scalar.row().2),
            Self::List(item) => Cow::Owned(format!(
                "a list of at most {MAX_ITEMS} items, separated by commas or blanks; every item must be {}",
                item.rule()
            )),
            Self::Map(value) => Cow::Owned(format!(
                "a map of at most {MAX_ITEMS} values, such as a=b&c=d, each key once, with %XX for other characters than \
                 letters and digits; every value must be {}",
                value.rule()
            )),
        }
    }

    /// The type of what one rule of a declaration is about: a list's items, else the type itself.
    pub(crate) fn item(&self) -> &Self {
        match self {
            Self::List(item) => item,
            other => other,
        }
    }

    /// The type of one value, if it is for one.
    pub(crate) fn scalar(&self) -> Option<Scalar> {
        match self {
            Self::Scalar(scalar) => Some(*scalar),
            _ => None,
        }
    }

    /// Reads a name; `depth` is how many lists and maps it stands in.
    fn named(name: &str, depth: usize) -> Result<Self, String> {
        if depth > MAX_DEPTH {
            return Err(format!("lists and maps are more than {MAX_DEPTH} deep in each other"));
        }
        if let Some((scalar, ..)) = SCALARS.iter().find(|(_, known, _)| *known == name) {
            return Ok(Self::Scalar(*scalar));
        }
        let inner = |of: &str| name.strip_prefix(of)?.strip_prefix('<')?.strip_suffix('>');
        if name == "map" {
            Ok(Self::Map(Box::new(Self::Scalar(Scalar::String))))
        } else if let Some(value) = inner("map") {
            Ok(Self::Map(Box::new(Self::named(value, depth + 1)?)))
        } else if let Some(item) = inner("list") {
            match Self::named(item, depth + 1)? {
                Self::List(_) => {
                    Err("a list's items cannot be lists, since both would have the same separators; \
                                      use list<map<list<T>>> or another property"
                        .to_owned())
                }
                item => Ok(Self::List(Box::new(item))),
            }
        } else {
            let names: Vec<_> = Self::scalar_names().collect();
            Err(format!("there is no type `{name}`; there are {}, list<T>, map and map<T>", names.join(", ")))
        }
    }
}

impl FromStr for Type {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::named(name, 0)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => f.write_str(scalar.row().1),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Map(value) => write!(f, "map<{value}>"),
        }
    }
}

impl<'de> Deserialize<'de> for Type {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{SCALARS, Scalar, Type};

    #[test]
    fn a_name_is_a_type_and_a_type_has_a_name() {
        for (scalar, name, rule) in SCALARS {
            let want = if scalar == Scalar::Multiline { Scalar::String } else { scalar };
            assert_eq!(name.parse(), Ok(Type::Scalar(want)), "{name}");
            assert!(!rule.is_empty() && !rule.ends_with('.'), "{name}: {rule}");
        }
        for name in ["list<int>", "list<map<string>>", "map<list<ipv4>>", "map<map<map<string>>>"] {
            assert_eq!(name.parse::<Type>().map(|it| it.to_string()), Ok(name.to_owned()));
        }
        assert_eq!("map".parse::<Type>().map(|it| it.to_string()), Ok("map<string>".to_owned()));
    }

    #[test]
    fn other_names_are_no_types() {
        for (name, want) in [
            ("boolean", "there is no type `boolean`"),
            ("String", "there is no type `String`"),
            ("", "there is no type ``"),
            ("list", "there is no type `list`"),
            ("list<>", "there is no type ``"),
            ("list<int", "there is no type `list<int`"),
            ("list< int >", "there is no type ` int `"),
            ("list<list<int>>", "a list's items cannot be lists"),
            ("map<map<map<map<map<int>>>>>", "more than 4 deep"),
        ] {
            let error = name.parse::<Type>().expect_err(name);
            assert!(error.contains(want), "{name}: {error}");
        }
    }
}
