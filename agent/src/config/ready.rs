//! `[ready]`: what a guest has to wait for.
//!
//! Decides which gates make sense: one that could never be passed, or that would be tried without a pause, is refused at its
//! position. One that is legal but hardly meant (a pattern for a file, the same gate twice) is left for `check` to tell of. When
//! they are tried, is decided in `ready`.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::complaints::Complaints;
use crate::parameters::Declared;
use crate::problem::{At, Problem};
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
    entities: Vec<Spanned<RawRendezvous>>,
    timeout: Option<Spanned<String>>,
    recheck: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRendezvous {
    entity: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
    port: Option<Spanned<toml::Value>>,
}

/// What gates name of an image, and where.
pub(super) type Needs = Vec<(String, Need)>;

/// Gates that are legal and hardly meant.
#[derive(Default)]
struct Doubts {
    seen: BTreeSet<String>,
    found: Vec<Problem>,
}

impl Doubts {
    fn of(&mut self, at: &Complaints<'_>, byte: usize, gate: String) {
        if self.seen.contains(&gate) {
            let message = format!("{gate} is waited for already; once is enough");
            self.found.push(at.sources.problem(byte, message));
        }
        self.seen.insert(gate);
    }
}

/// The shortest `recheck`: trying takes processes and connections.
const OFTEN: Duration = Duration::from_secs(1);

/// What is to be waited for, what it needs of the image, and what `check` is to tell of it.
pub(super) fn ready(
    raw: RawReady,
    declared: &Declared,
    at: &mut Complaints<'_>,
) -> (Conditions, Needs, Vec<Problem>) {
    let mut doubts = Doubts::default();
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
                doubts.of(at, byte, format!("unit {unit}"));
                units.push(unit);
            }
        }
    }
    let mut files = Vec::new();
    for path in raw.files {
        let byte = path.span().start;
        let Some(path) = at.absolute(path) else { continue };
        let name = path.display();
        doubts.of(at, byte, format!("file {name}"));
        if let Some(sign) = ["*", "?", "["].into_iter().find(|sign| name.to_string().contains(sign)) {
            let message = format!(
                "`{name}` is one file's name, in which `{sign}` stands for itself; name the file, or let a command look for it"
            );
            doubts.found.push(at.sources.problem(byte, message));
        }
        files.push(path);
    }
    let mut http = Vec::new();
    for url in raw.http {
        match Url::parse(url.get_ref()) {
            Ok(parsed) => {
                doubts.of(at, url.span().start, format!("http {parsed}"));
                http.push(parsed);
            }
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
            doubts.of(at, byte, format!("command {argv:?}"));
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
            doubts.of(at, byte, format!("tcp {address}"));
            tcp.push(address);
        }
    }
    let mut entities = Vec::new();
    for raw in raw.entities {
        let byte = raw.span().start;
        if let Some(rendezvous) = rendezvous(raw, declared, at) {
            let Rendezvous { entity, key, port } = &rendezvous;
            let port = match port {
                Port::Number(port) => port.to_string(),
                Port::Key(key) => format!("\"{key}\""),
            };
            // No entity is called `*`.
            let entity = entity.as_deref().unwrap_or("*");
            doubts.of(at, byte, format!("entity {entity} \"{key}\":{port}"));
            entities.push(rendezvous);
        }
    }
    let long = |duration: Option<Spanned<String>>, default, why: &str, at: &mut Complaints<'_>| {
        let byte = duration.as_ref().map_or(0, |duration| duration.span().start);
        let duration = at.duration(duration, default);
        if duration.is_zero() {
            at.complain(byte, why);
        }
        duration
    };
    let seconds = Duration::from_secs;
    let recheck = raw.recheck.map(|text| {
        let byte = text.span().start;
        let pause = at.duration(Some(text), OFTEN);
        if pause < OFTEN {
            let remedy = "write \"1s\" or more, or leave `recheck` out to try them no more";
            at.complain(byte, format!("gates cannot be tried this often; {remedy}"));
        }
        pause
    });
    let conditions = Conditions {
        units,
        files,
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
        recheck,
    };
    (conditions, needs, doubts.found)
}

fn rendezvous(
    raw: Spanned<RawRendezvous>,
    declared: &Declared,
    at: &mut Complaints<'_>,
) -> Option<Rendezvous> {
    let begin = raw.span().start;
    let RawRendezvous { entity, key, port } = raw.into_inner();
    let mut wrong = Vec::new();
    if let Some(entity) = entity.as_ref().filter(|entity| matches!(entity.get_ref().as_str(), "" | "*")) {
        wrong.push((
            entity.span().start,
            "leave `entity` out to wait for every sibling that has the property".to_owned(),
        ));
    }
    let (port_byte, message) = match &port {
        Some(port) => (
            port.span().start,
            "`port` is a number from 1 to 65535, or the key of the property that is the port",
        ),
        None => (
            begin,
            "`port` is missing; write the number of the port, or the key of the property that is the port",
        ),
    };
    let port = match port.map(Spanned::into_inner) {
        Some(toml::Value::Integer(number)) => {
            u16::try_from(number).ok().filter(|port| *port != 0).map(Port::Number)
        }
        Some(toml::Value::String(key)) if !key.is_empty() => Some(Port::Key(key)),
        _ => None,
    };
    if port.is_none() {
        wrong.push((port_byte, message.to_owned()));
    }
    if key.is_none() {
        wrong.push((begin, "`key` is missing; write the key of the property that is the address".to_owned()));
    }
    let address = key.as_ref().map(|key| (key.span().start, key.get_ref().as_str()));
    let port_key = match &port {
        Some(Port::Key(key)) => Some((port_byte, key.as_str())),
        _ => None,
    };
    for (byte, key) in address.into_iter().chain(port_key) {
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
    let (entity, key) = (entity.map(Spanned::into_inner), key.map(Spanned::into_inner));
    let (key, port) = key.zip(port).filter(|_| is_right)?;
    Some(Rendezvous { entity, key, port })
}
