//! `explain`: where each line of a file comes from.
//!
//! Decides the form: the line with its secrets masked, and below it each place of the template that has to do with it, with
//! the parameters, and the properties that feed them, or the default or secret that stands in. What comes from where is
//! decided in `template`.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Component, Path};

use serde_json::json;

use super::{Common, print_json, written};
use crate::agent::{Exit, Fault, Machine, Received, Result};
use crate::parameters::{Declared, Parameters, Value};
use crate::printable;
use crate::template::Explained;

/// What names are explained by.
struct Sources<'a> {
    declared: &'a Declared,
    parameters: &'a Parameters,
    received: Option<&'a Received>,
    explained: &'a Explained,
}

impl Common {
    pub(super) fn explain(&self, out: &mut impl Write, path: &Path) -> Result<Exit> {
        let mut machine = Machine::new(self.root()?);
        let config = self.config(&machine.root)?;
        let nobody = || {
            let path = printable::text(&path.display().to_string());
            Fault::usage(format!(
                "no template writes {path} now; name a file as the path in its template does"
            ))
        };
        let templates = config.templates().map_err(|problems| Fault::configuration(&problems))?;
        // No drive is waited for where the answer does not depend on what it holds.
        if !templates.paths().any(|written| may_become(written, path)) {
            return Err(nobody());
        }
        let received = self.applied(&mut machine, &config, None)?;
        let (explained, parameters) = machine.explain(&config, received.as_ref(), path)?;
        let explained = explained.ok_or_else(nobody)?;
        let sources = Sources {
            declared: &config.parameters,
            parameters: &parameters,
            received: received.as_ref(),
            explained: &explained,
        };
        if self.json {
            return print_json(out, &sources.json());
        }
        sources.print(out).or_else(written)?;
        Ok(Exit::Done)
    }
}

/// Whether a path that is written so may be this one, with some environment: a component with a place in it may be any name.
fn may_become(written: &Path, path: &Path) -> bool {
    let same =
        |(a, b): (Component<'_>, Component<'_>)| a == b || a.as_os_str().to_string_lossy().contains('{');
    written.components().count() == path.components().count()
        && written.components().zip(path.components()).all(same)
}

impl Sources<'_> {
    /// Every name that a part depends on, and where its value comes from.
    fn of(&self, names: &BTreeSet<String>) -> Vec<String> {
        names
            .iter()
            .map(|name| match self.derived(name) {
                Some(from) => format!("{name}: {from}"),
                None => self.one(name),
            })
            .collect()
    }

    /// What a derived value is made from, down to the properties; there are no circles.
    fn derived(&self, name: &str) -> Option<String> {
        let from = self.explained.derived.get(name)?.iter().map(|name| match self.derived(name) {
            Some(from) => format!("{name} ({from})"),
            None => self.one(name),
        });
        Some(format!("derived from {}", from.collect::<Vec<_>>().join(", ")))
    }

    fn one(&self, name: &str) -> String {
        let Some((key, entity)) = self.declared.source(name) else { return name.to_owned() };
        let whose = entity.map_or(String::new(), |entity| format!(" of {}", printable::name(entity)));
        let properties = self.received.and_then(|received| match entity {
            None => Some(&received.environment.properties),
            Some(id) => {
                let sibling = received.environment.entities.iter().find(|entity| entity.id == id)?;
                Some(&sibling.properties)
            }
        });
        let sent =
            properties.and_then(|properties| properties.get(key)).map(|value| value.reveal().is_empty());
        let value = self.parameters.get(name);
        let from = match (sent, value) {
            (_, None | Some(Value::Null)) => "not set",
            (Some(false), _) | (_, Some(Value::Entities(_))) => "environment",
            // An empty property is no value, unless the value is empty.
            (Some(true), Some(value)) if value.reveal().is_empty() => "environment",
            _ if self.declared.is_generated(name) => "generated",
            _ => "default",
        };
        format!("{name}: {from}, property {}{whose}", printable::name(key))
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let template = &self.explained.template;
        let Some(lines) = &self.explained.lines else {
            return writeln!(out, "made by {template}; which line comes from where cannot be told");
        };
        for (index, line) in lines.iter().enumerate() {
            let text = format!("{:>4}  {}", index + 1, printable::text(&line.text));
            writeln!(out, "{}", text.trim_end())?;
            for part in &line.parts {
                let names = self.of(&part.names);
                if names.is_empty() {
                    writeln!(out, "      {template}:{}:{}", part.at.line, part.at.column)?;
                } else {
                    let names = names.join("; ");
                    writeln!(out, "      {template}:{}:{}  {names}", part.at.line, part.at.column)?;
                }
            }
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Value {
        let lines = self.explained.lines.as_ref().map(|lines| {
            let line = |line: &crate::template::Line| {
                let parts = line.parts.iter().map(|part| {
                    json!({ "line": part.at.line, "column": part.at.column, "from": self.of(&part.names) })
                });
                json!({ "text": line.text, "parts": parts.collect::<Vec<_>>() })
            };
            lines.iter().map(line).collect::<Vec<_>>()
        });
        json!({ "template": self.explained.template, "lines": lines })
    }
}
