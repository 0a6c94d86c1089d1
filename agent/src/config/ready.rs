//! `[ready]`: what a guest has to wait for.
//!
//! Decides which gates make sense: one that could never be passed, or that would be tried without a pause, is refused at its
//! position. When they are tried, is decided in `ready`.

#![forbid(unsafe_code)]

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::complaints::Complaints;
use crate::parameters::Declared;
use crate::problem::At;
use crate::ready::entities::Port;
use crate::ready::{Conditions, Rendezvous, Url};
use crate::template::{Need, Needed, program, unit_objection};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawReady {
    units: Vec<Spanned<String>>,
    files: Vec<Spanned<String>>,
    tcp: Vec<Spanned<String>>,
    http: Vec<Spanned<String>>,
    commands: Vec<Spanned<Vec<Spanned<String>>>>,
    command_timeout: Option<Spanned<String>>,
    entities: Vec<RawRendezvous>,
    timeout: Option<Spanned<String>>,
    recheck: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRendezvous {
    entity: Option<Spanned<String>>,
    key: Spanned<String>,
    port: Spanned<toml::Value>,
}

/// What gates name of an image, and where.
pub(super) type Needs = Vec<(String, Need)>;

/// What is to be waited for, and what it needs of the image.
pub(super) fn ready(raw: RawReady, declared: &Declared, at: &mut Complaints<'_>) -> (Conditions, Needs) {
    let mut needs = Needs::new();
    let mut need = |at: &Complaints<'_>, byte, what| {
        let (file, start) = at.sources.file(byte);
        needs.push((file.name.clone(), Need { at: At::of(&file.text, byte - start), what }));
    };
    let mut units = Vec::new();
    for unit in raw.units {
        let (byte, unit) = (unit.span().start, unit.into_inner());
        let own = || {
            let is_own = unit.starts_with("ovf-agent");
            is_own.then(|| format!("`{unit}` is the agent itself, and waits for this gate"))
        };
        match unit_objection(&unit).or_else(own) {
            Some(wrong) => at.complain(byte, wrong),
            None => {
                need(at, byte, Needed::Unit(unit.clone()));
                units.push(unit);
            }
        }
    }
    let mut http = Vec::new();
    for url in raw.http {
        match Url::parse(url.get_ref()) {
            Ok(url) => http.push(url),
            Err(wrong) => {
                at.complain(url.span().start, format!("`{}` is no URL of a gate: {wrong}", url.get_ref()))
            }
        }
    }
    let mut commands = Vec::new();
    for command in raw.commands {
        let byte = command.get_ref().first().map_or(command.span().start, |word| word.span().start);
        if let Some(argv) = program(Some(command), "commands", &mut |byte, wrong| at.complain(byte, wrong)) {
            need(at, byte, Needed::Program("commands", argv[0].clone()));
            commands.push(argv);
        }
    }
    let mut tcp = Vec::new();
    for address in raw.tcp {
        let byte = address.span().start;
        if let Some(address) = at.address(address) {
            if address.port() == 0 {
                at.complain(byte, format!("`{address}`: nobody can listen on port 0; name the port"));
            }
            tcp.push(address);
        }
    }
    let entities = raw.entities.into_iter().filter_map(|raw| rendezvous(raw, declared, at)).collect();
    let long = |duration: Option<Spanned<String>>, default, why: &str, at: &mut Complaints<'_>| {
        let byte = duration.as_ref().map_or(0, |duration| duration.span().start);
        let duration = at.duration(duration, default);
        if duration.is_zero() {
            at.complain(byte, why);
        }
        duration
    };
    let seconds = Duration::from_secs;
    let recheck = raw.recheck.is_some();
    let conditions = Conditions {
        units,
        files: raw.files.into_iter().filter_map(|path| at.absolute(path)).collect(),
        tcp,
        http,
        commands,
        command_timeout: long(
            raw.command_timeout,
            seconds(30),
            "no program ends in no time; give it some",
            at,
        ),
        entities,
        timeout: long(raw.timeout, seconds(300), "no gate is passed in no time; give them some", at),
        recheck: Some(long(
            raw.recheck,
            seconds(1),
            "gates cannot be tried without a pause; leave `recheck` out to try them no more",
            at,
        ))
        .filter(|_| recheck),
    };
    (conditions, needs)
}

fn rendezvous(raw: RawRendezvous, declared: &Declared, at: &mut Complaints<'_>) -> Option<Rendezvous> {
    let RawRendezvous { entity, key, port } = raw;
    let mut wrong = Vec::new();
    if let Some(entity) = entity.as_ref().filter(|entity| matches!(entity.get_ref().as_str(), "" | "*")) {
        wrong.push((
            entity.span().start,
            "leave `entity` out to wait for every sibling that has the property".to_owned(),
        ));
    }
    let byte = port.span().start;
    let port = match port.into_inner() {
        toml::Value::Integer(number) => {
            u16::try_from(number).ok().filter(|port| *port != 0).map(Port::Number)
        }
        toml::Value::String(key) if !key.is_empty() => Some(Port::Key(key)),
        _ => None,
    };
    if port.is_none() {
        let message = "`port` is a number from 1 to 65535, or the key of the property that is the port";
        wrong.push((byte, message.to_owned()));
    }
    let port_key = match &port {
        Some(Port::Key(key)) => Some((byte, key.as_str())),
        _ => None,
    };
    for (byte, key) in [(key.span().start, key.get_ref().as_str())].into_iter().chain(port_key) {
        if key.is_empty() {
            wrong.push((byte, "`key` is the key of the property that is the address".to_owned()));
        } else if declared.is_sensitive_key(key) {
            wrong.push((
                byte,
                format!("`{key}` is sensitive; a gate remembers its properties, so name another"),
            ));
        }
    }
    let is_right = wrong.is_empty();
    wrong.into_iter().for_each(|(byte, message)| at.complain(byte, message));
    let (entity, key) = (entity.map(Spanned::into_inner), key.into_inner());
    port.filter(|_| is_right).map(|port| Rendezvous { entity, key, port })
}
