//! From what a property or `agent.toml` says to a value of a type.
//!
//! Decides what is accepted for each type and how it is normalised: blanks around a value go (not those of a `string`),
//! addresses get their canonical text (RFC 5952), numbers become numbers; names stay as they are written. A list's
//! items stand between commas or blanks. A map is the Collective's `a=b&c=d` (Sapuntzakis et al., LISA 2003):
//! everything but letters and digits may be written `%XX`, `&`, `=` and `%` must be, and a value that is a map itself, which
//! its type says (`map<map>`), is written once more so. Nothing is guessed from how a value looks. The names among the
//! types are looked at in [`super::names`].

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zeroize::Zeroizing;

use super::names;
use super::types::{Scalar, Type};
use super::value::{Key, Value};

/// The most items of one list, or values of one map.
pub(crate) const MAX_ITEMS: usize = 10_000;

impl Type {
    /// A value as a property says it; `None` where it breaks the type's rule. An empty text is decided about before.
    pub(crate) fn read(&self, text: &str) -> Option<Value> {
        match self {
            Self::Scalar(scalar) => scalar.read(text),
            Self::List(item) => {
                if words(text).nth(MAX_ITEMS).is_some() {
                    return None;
                }
                words(text).map(|word| item.read(word)).collect::<Option<_>>().map(Value::List)
            }
            Self::Map(value) => read_map(value, text.trim()),
        }
    }

    /// Whether a property says nothing: vSphere sends every property that nobody set as an empty one.
    pub(crate) fn is_empty(&self, text: &str) -> bool {
        match self {
            Self::Scalar(scalar) if scalar.is_string() => text.is_empty(),
            Self::List(_) => words(text).next().is_none(),
            _ => text.trim().is_empty(),
        }
    }

    /// What stands for an empty property that counts as a value; `None` where nothing can.
    pub(crate) fn empty(&self) -> Option<Value> {
        match self {
            Self::Scalar(scalar) if scalar.is_string() => Some(Value::text("")),
            Self::List(_) => Some(Value::List(Vec::new())),
            Self::Map(_) => Some(Value::Map(BTreeMap::new())),
            Self::Scalar(_) => None,
        }
    }

    /// A value written in `agent.toml`, where numbers, truth values, lists and maps have a form of their own.
    pub(crate) fn read_toml(&self, value: &toml::Value) -> Option<Value> {
        match (self, value) {
            (Self::Scalar(scalar), value) => scalar.read_toml(value),
            (Self::List(item), toml::Value::Array(items)) if items.len() <= MAX_ITEMS => {
                items.iter().map(|value| item.read_toml(value)).collect::<Option<_>>().map(Value::List)
            }
            (Self::Map(of), toml::Value::Table(table)) if table.len() <= MAX_ITEMS => {
                let read = |(key, value): (&String, _)| {
                    let value = of.read_toml(value).filter(|_| is_key(key))?;
                    Some((Key::from(key.as_str()), value))
                };
                table.iter().map(read).collect::<Option<_>>().map(Value::Map)
            }
            _ => None,
        }
    }
}

impl Scalar {
    fn read(self, text: &str) -> Option<Value> {
        let trimmed = text.trim();
        let accept = |good: bool| good.then(|| Value::text(trimmed));
        match self {
            Self::String => (!text.chars().any(char::is_control)).then(|| Value::text(text)),
            Self::Multiline => {
                let wrong = |c: char| c.is_control() && c != '\n' && c != '\t';
                (!text.chars().any(wrong)).then(|| Value::text(text))
            }
            Self::Int => trimmed.parse().ok().map(Value::Int),
            Self::Uint => trimmed.parse().ok().map(Value::Uint),
            Self::Bool => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" | "on" => Some(Value::Bool(true)),
                "false" | "no" | "0" | "off" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Real => real(trimmed).map(Value::Real),
            Self::Ip => trimmed.parse().ok().map(|it: IpAddr| Value::text(it.to_string())),
            Self::Ipv4 => trimmed.parse().ok().map(|it: Ipv4Addr| Value::text(it.to_string())),
            Self::Ipv6 => trimmed.parse().ok().map(|it: Ipv6Addr| Value::text(it.to_string())),
            Self::Cidr => cidr(trimmed).map(Value::text),
            Self::Netmask => netmask(trimmed).map(|it| Value::text(it.to_string())),
            Self::Port => number(trimmed).filter(|it| *it != 0).map(|it: u16| Value::Int(it.into())),
            Self::Hostname => accept(names::is_hostname(trimmed)),
            Self::Fqdn => {
                let name = trimmed.strip_suffix('.').unwrap_or(trimmed);
                names::is_fqdn(name).then(|| Value::text(name))
            }
            Self::Email => accept(names::is_email(trimmed)),
            Self::Url => accept(names::is_url(trimmed)),
            Self::Base64 => base64(text).map(Value::String),
            Self::Locale => accept(names::is_locale(trimmed)),
            Self::Timezone => accept(names::is_timezone(trimmed)),
        }
    }

    fn read_toml(self, value: &toml::Value) -> Option<Value> {
        match (self, value) {
            (Self::Int, toml::Value::Integer(number)) => Some(Value::Int(*number)),
            (Self::Uint, toml::Value::Integer(number)) => u64::try_from(*number).ok().map(Value::Uint),
            (Self::Port, toml::Value::Integer(number)) => {
                u16::try_from(*number).ok().filter(|it| *it != 0).map(|it| Value::Int(it.into()))
            }
            (Self::Real, toml::Value::Float(number)) => number.is_finite().then_some(Value::Real(*number)),
            // Exact up to 2^53, which is as far as anybody writes one without a point.
            (Self::Real, toml::Value::Integer(number)) => Some(Value::Real(*number as f64)),
            (Self::Bool, toml::Value::Boolean(truth)) => Some(Value::Bool(*truth)),
            (Self::Int | Self::Uint | Self::Port | Self::Real | Self::Bool, _) => None,
            (_, toml::Value::String(text)) => self.read(text),
            _ => None,
        }
    }
}

/// The items of a list; several separators in a row are one.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty())
}

fn read_map(of: &Type, text: &str) -> Option<Value> {
    let mut map = BTreeMap::new();
    for pair in text.split('&').filter(|_| !text.is_empty()) {
        let (key, value) = pair.split_once('=').filter(|(_, value)| !value.contains('='))?;
        let (key, value) = (unescaped(key)?, unescaped(value)?);
        let value = match (of.is_empty(&value), of.empty()) {
            (false, _) => of.read(&value)?,
            (true, Some(empty)) => empty,
            (true, None) => Value::Null,
        };
        let twice = !is_key(&key) || map.insert(Key::from(key), value).is_some();
        if twice || map.len() > MAX_ITEMS {
            return None;
        }
    }
    Some(Value::Map(map))
}

/// Whether a map may have this name in it.
fn is_key(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control)
}

/// Text with its `%XX` replaced (RFC 3986, 2.1); `None` where one is no escape, or what it comes to is no UTF-8.
fn unescaped(text: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        rest = after;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
    }
    std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

/// Digits alone: Rust's own reader takes a plus sign as well.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A finite number; Rust's own reader takes `inf` and `nan` as well.
fn real(text: &str) -> Option<f64> {
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number: &f64| digits && number.is_finite())
}

fn cidr(text: &str) -> Option<String> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length = number::<u8>(length).filter(|length| *length <= if address.is_ipv4() { 32 } else { 128 })?;
    Some(format!("{address}/{length}"))
}

fn netmask(text: &str) -> Option<Ipv4Addr> {
    let mask: Ipv4Addr = text.parse().ok()?;
    let bits = mask.to_bits();
    (bits.leading_ones() + bits.trailing_zeros() == 32).then_some(mask)
}

/// RFC 4648, section 4, with the line breaks that MIME and PEM have taken out.
fn base64(text: &str) -> Option<Zeroizing<String>> {
    // Of the right size from the start: a string that grows leaves copies behind.
    let mut line = Zeroizing::new(String::with_capacity(text.len()));
    line.extend(text.split_ascii_whitespace());
    let body = line.trim_end_matches('=');
    let padding = line.len() - body.len();
    let good = !line.is_empty()
        && line.len().is_multiple_of(4)
        && padding <= 2
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    // The bits of the last letter that no byte needs are 0 (RFC 4648, 3.5), so that one value has one spelling.
    let last = body.bytes().last().map_or(0, sextet);
    let unused = [0, 0b11, 0b1111][padding.min(2)];
    (good && last & unused == 0).then_some(line)
}

fn sextet(letter: u8) -> u8 {
    match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    }
}

#[cfg(test)]
mod tests;
