//! The environment as `env` shows it: as a table for people, as JSON for programs.
//!
//! Decides what is masked, and that no value can move a terminal's cursor.

#![forbid(unsafe_code)]

use std::io::{self, Write};

use serde_json::json;

use crate::agent::Received;
use crate::environment::{self, Environment, Properties};
use crate::interfaces::Interfaces;
use crate::parameters::Declared;
use crate::printable::text as escaped;
use crate::template::MASK;

/// The environment as it may be shown.
pub(super) struct View<'a> {
    pub(super) declared: &'a Declared,
    pub(super) interfaces: &'a Interfaces,
    pub(super) show_sensitive: bool,
}

impl View<'_> {
    /// A property's value, or the mask.
    fn value<'a>(&self, key: &str, value: &'a environment::Value) -> &'a str {
        if self.declared.is_sensitive_key(key) && !self.show_sensitive { MASK } else { value.reveal() }
    }

    pub(super) fn json(&self, received: &Received) -> serde_json::Value {
        let Environment { id, platform, properties, entities, adapters, sections } = &received.environment;
        let properties_json = |properties: &Properties| -> serde_json::Value {
            properties.iter().map(|(key, value)| (key.to_owned(), json!(self.value(key, value)))).collect()
        };
        let entities: serde_json::Map<_, _> = entities
            .iter()
            .map(|entity| (entity.id.clone(), json!({ "properties": properties_json(&entity.properties) })))
            .collect();
        let mended = received
            .warnings
            .iter()
            .map(|w| json!({ "line": w.line, "column": w.column, "message": w.message }));
        // These are about other places than the document, so they have no position in it.
        let asides = received.asides.iter().map(|message| json!({ "message": message }));
        json!({
            "id": id,
            "source": received.source.to_string(),
            "digest": received.digest,
            "platform": {
                "kind": platform.kind,
                "version": platform.version,
                "vendor": platform.vendor,
                "locale": platform.locale,
                "timezone": platform.timezone,
            },
            "properties": properties_json(properties),
            "entities": entities,
            "adapters": adapters.iter().map(|a| json!({
                "mac": a.mac, "network": a.network, "unit": a.unit, "ifname": self.interfaces.name(a),
            })).collect::<Vec<_>>(),
            "sections": sections.iter().map(|s| json!({ "namespace": s.namespace, "name": s.name })).collect::<Vec<_>>(),
            "warnings": mended.chain(asides).collect::<Vec<_>>(),
        })
    }

    pub(super) fn print(&self, out: &mut impl Write, received: &Received) -> io::Result<()> {
        let Environment { id, platform, properties, entities, adapters, sections } = &received.environment;
        writeln!(out, "environment  {}", if id.is_empty() { "(no id)".to_owned() } else { escaped(id) })?;
        writeln!(out, "source       {}", escaped(&received.source.to_string()))?;
        let platform: Vec<_> = [&platform.kind, &platform.version, &platform.vendor, &platform.locale]
            .into_iter()
            .flatten()
            .filter(|field| !field.is_empty())
            .cloned()
            .chain(platform.timezone.map(|minutes| format!("{minutes:+} minutes from UTC")))
            .collect();
        if !platform.is_empty() {
            writeln!(out, "platform     {}", escaped(&platform.join(", ")))?;
        }
        for section in sections {
            writeln!(out, "section      {} ({})", escaped(&section.name), escaped(&section.namespace))?;
        }
        if !adapters.is_empty() {
            writeln!(out, "\nadapters")?;
        }
        for adapter in adapters {
            let name = self.interfaces.name(adapter).unwrap_or("(no interface)");
            writeln!(out, "  {}  {}  {}", escaped(&adapter.mac), escaped(name), escaped(&adapter.network))?;
        }
        self.table(out, "properties", properties)?;
        for entity in entities {
            self.table(out, &format!("entity {}", escaped(&entity.id)), &entity.properties)?;
        }
        for aside in &received.asides {
            writeln!(out, "\nwarning: {}", escaped(aside))?;
        }
        for warning in &received.warnings {
            writeln!(
                out,
                "\nwarning: line {}, column {}: {}",
                warning.line, warning.column, warning.message
            )?;
        }
        Ok(())
    }

    fn table(&self, out: &mut impl Write, title: &str, properties: &Properties) -> io::Result<()> {
        writeln!(out, "\n{title}")?;
        let rows: Vec<_> =
            properties.iter().map(|(key, value)| (escaped(key), escaped(self.value(key, value)))).collect();
        let width = rows.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
        for (key, value) in rows {
            match value.as_str() {
                "" => writeln!(out, "  {key}")?,
                value => writeln!(out, "  {key:width$}  {value}")?,
            }
        }
        Ok(())
    }
}
