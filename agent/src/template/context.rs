//! What a template sees: the parameters, and what surrounds them.
//!
//! Decides how a value looks to the template language. What may be printed, and how, is decided in `escape`.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::Serialize;
use tera::{Context, Value};

use crate::environment::{Adapter, Platform};
use crate::interfaces::Interfaces;
use crate::parameters::{self, Parameters};
use crate::state::Digest;

/// What stands in a sensitive value's place where people look.
pub const MASK: &str = "********";

/// What templates see besides parameters.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The PlatformSection; its fields are null where it says nothing.
    pub platform: &'a Platform,
    /// systemd's word for the hypervisor.
    pub hypervisor: &'a str,
    /// The Environment's id, empty where there is none.
    pub environment_id: &'a str,
    /// The network adapters, where the platform tells of them.
    pub adapters: &'a [Adapter],
    /// The interfaces that they are in this guest.
    pub interfaces: &'a Interfaces,
}

/// A parameter's value as the template language has it: addresses and names are text, maps are by name.
pub(super) fn tera_value(value: &parameters::Value) -> Value {
    use parameters::Value as Own;
    match value {
        Own::Null => Value::none(),
        Own::String(text) => Value::from(text.as_str()),
        Own::Int(number) => Value::from(*number),
        Own::Uint(number) => Value::from(*number),
        Own::Real(number) => Value::from(*number),
        Own::Bool(truth) => Value::from(*truth),
        Own::List(items) => items.iter().map(tera_value).collect::<Vec<_>>().into(),
        Own::Map(map) => {
            let pair = |(key, value): (&parameters::Key, _)| (key.reveal().to_owned(), tera_value(value));
            map.iter().map(pair).collect::<BTreeMap<_, _>>().into()
        }
        Own::Entities(map) => {
            map.iter().map(|(id, value)| (id.clone(), tera_value(value))).collect::<BTreeMap<_, _>>().into()
        }
    }
}

/// What is shown of a sensitive value: whether there is one, how many items a list has, which siblings have one. A
/// map's names are part of the secret, so all that is left of it is one masked name with a masked value.
fn mask(value: &parameters::Value) -> Value {
    use parameters::Value as Own;
    match value {
        Own::Null => Value::none(),
        // One that is there and empty is as false as it was.
        Own::String(text) if text.is_empty() => Value::from(""),
        // Safe, so that it is printed in every escape mode.
        Own::String(_) | Own::Int(_) | Own::Uint(_) | Own::Real(_) | Own::Bool(_) => Value::safe_string(MASK),
        Own::List(items) => items.iter().map(mask).collect::<Vec<_>>().into(),
        Own::Map(_) => BTreeMap::from([(MASK.to_owned(), Value::safe_string(MASK))]).into(),
        Own::Entities(map) => {
            map.iter().map(|(id, value)| (id.clone(), mask(value))).collect::<BTreeMap<_, _>>().into()
        }
    }
}

/// Everything that a template sees; of the parameters for which `masked` says so, only [`MASK`].
pub(super) fn context(
    parameters: &Parameters,
    surroundings: Surroundings<'_>,
    masked: impl Fn(&str) -> bool,
) -> Context {
    let mut context = Context::new();
    for (name, value) in parameters.iter() {
        let value = if masked(name) { mask(value) } else { tera_value(value) };
        context.insert_value(name.to_owned(), value);
    }
    around(surroundings).into_iter().for_each(|(name, value)| context.insert_value(name, value));
    context
}

/// Adds everything that a template sees to a digest: of one set of templates, equal digests make equal files.
pub fn feed(digest: &mut Digest, parameters: &Parameters, surroundings: Surroundings<'_>) {
    for (name, value) in parameters.iter() {
        digest.add(name.as_bytes());
        feed_value(digest, &tera_value(value));
    }
    for (name, value) in around(surroundings) {
        digest.add(name.as_bytes());
        feed_value(digest, &value);
    }
}

/// Without more copies of a text, for it may be secret.
fn feed_value(digest: &mut Digest, value: &Value) {
    if let Some(text) = value.as_str() {
        digest.add(b"text");
        digest.add(text.as_bytes());
    } else if let Some(list) = value.as_array() {
        digest.add(b"list");
        digest.add(&list.len().to_le_bytes());
        list.iter().for_each(|item| feed_value(digest, item));
    } else if let Some(map) = value.as_map() {
        digest.add(b"map");
        digest.add(&map.len().to_le_bytes());
        for (key, value) in map {
            digest.add(key.to_string().as_bytes());
            feed_value(digest, value);
        }
    } else {
        // A number, a truth value or null. Which it is follows from the parameter's type, but for null.
        digest.add(if value.is_none() { &b"null"[..] } else { b"other" });
        digest.add(value.to_string().as_bytes());
    }
}

/// What a template sees besides parameters.
fn around(surroundings: Surroundings<'_>) -> [(&'static str, Value); 4] {
    #[derive(Serialize)]
    struct PlatformFields<'a> {
        kind: Option<&'a str>,
        version: Option<&'a str>,
        vendor: Option<&'a str>,
        locale: Option<&'a str>,
        timezone: Option<i32>,
    }
    #[derive(Serialize)]
    struct EnvironmentFields<'a> {
        id: &'a str,
    }
    #[derive(Serialize)]
    struct AdapterFields<'a> {
        mac: &'a str,
        network: &'a str,
        unit: Option<u32>,
        ifname: Option<&'a str>,
    }
    let Platform { kind, version, vendor, locale, timezone } = surroundings.platform;
    let platform = PlatformFields {
        kind: kind.as_deref(),
        version: version.as_deref(),
        vendor: vendor.as_deref(),
        locale: locale.as_deref(),
        timezone: *timezone,
    };
    let mut adapters = Vec::new();
    for adapter in surroundings.adapters {
        let Adapter { mac, network, unit } = adapter;
        adapters.push(AdapterFields {
            mac,
            network,
            unit: *unit,
            ifname: surroundings.interfaces.name(adapter),
        });
    }
    [
        ("platform", Value::from_serializable(&platform)),
        ("hypervisor", Value::from(surroundings.hypervisor)),
        ("environment", Value::from_serializable(&EnvironmentFields { id: surroundings.environment_id })),
        ("adapters", Value::from_serializable(&adapters)),
    ]
}
