//! What the configuration says to other programs: the JSON Schema of `agent.toml`, and the ProductSections that a
//! descriptor needs so that a platform asks for the parameters.
//!
//! Decides which OVF type and qualifiers stand for a type and its rules (DSP0243, 9.5 with tables 6 and 7); what has no
//! equal there is said in the Description, for the person who fills the form in. The guest checks everything again.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::parameters::{Declared, Parameter, Scalar, Type, Value};

/// The JSON Schema (draft 2020-12) of `agent.toml` and of each drop-in.
pub const AGENT_TOML: &str = include_str!("schema/agent.schema.json");

const NAMESPACE: &str = "http://schemas.dmtf.org/ovf/envelope/1";

/// The ProductSections of a descriptor, one for each class of keys, each well-formed on its own.
///
/// The key of an environment is a class, a dot and the key of a Property, which has no dots itself (DSP0243, 9.5.1); so
/// a key is split at its last dot. What the environment then has is the same text wherever it is split.
pub fn product_sections(declared: &Declared) -> String {
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (_, parameter) in declared.own().filter(|(_, parameter)| seen.insert(&parameter.key)) {
        let (class, key) = split(&parameter.key);
        let sensitive = declared.is_sensitive_key(&parameter.key);
        sections.entry(class).or_default().push_str(&property(key, parameter, sensitive));
    }
    let mut out = String::new();
    for (class, properties) in sections {
        let class =
            if class.is_empty() { String::new() } else { format!(" ovf:class=\"{}\"", escaped(class)) };
        let _ = write!(
            out,
            "<ProductSection xmlns=\"{NAMESPACE}\" xmlns:ovf=\"{NAMESPACE}\"{class}>\n  <Info>What this appliance can be \
             told</Info>\n{properties}</ProductSection>\n"
        );
    }
    out
}

fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').filter(|(class, key)| !class.is_empty() && !key.is_empty()).unwrap_or(("", key))
}

fn property(key: &str, parameter: &Parameter, sensitive: bool) -> String {
    let mut out =
        format!("  <Property ovf:key=\"{}\" ovf:type=\"{}\"", escaped(key), ovf_type(&parameter.kind));
    out.push_str(" ovf:userConfigurable=\"true\"");
    if sensitive {
        out.push_str(" ovf:password=\"true\"");
    }
    // A secret that everybody can read in the descriptor would be none.
    if let Some(default) = parameter.default.as_ref().filter(|_| !sensitive).and_then(written) {
        let _ = write!(out, " ovf:value=\"{}\"", escaped(&default));
    }
    let qualifiers = qualifiers(parameter, sensitive);
    if !qualifiers.is_empty() {
        let _ = write!(out, " ovf:qualifiers=\"{}\"", escaped(&qualifiers.join(", ")));
    }
    out.push_str(">\n");
    let description = description(parameter, sensitive);
    for (element, text) in
        [("Label", parameter.label.as_deref()), ("Description", Some(description.as_str()))]
    {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            let _ = writeln!(out, "    <{element}>{}</{element}>", escaped(text));
        }
    }
    out.push_str("  </Property>\n");
    out
}

/// DSP0243, table 6.
fn ovf_type(kind: &Type) -> &'static str {
    match kind.scalar() {
        Some(Scalar::Int) => "sint64",
        Some(Scalar::Uint) => "uint64",
        Some(Scalar::Port) => "uint16",
        Some(Scalar::Real) => "real64",
        Some(Scalar::Bool) => "boolean",
        _ => "string",
    }
}

/// DSP0243, table 7. Lengths of lists and maps are no lengths of their text.
fn qualifiers(parameter: &Parameter, sensitive: bool) -> Vec<String> {
    let Parameter { kind, rules, wanted, .. } = parameter;
    let mut qualifiers = Vec::new();
    if ovf_type(kind) == "string" {
        let is_string = kind.scalar().is_some_and(Scalar::is_string);
        let min =
            rules.min.as_ref().filter(|_| is_string && !may_be_empty(parameter)).map(|min| min.reveal());
        match min {
            Some(min) => qualifiers.push(format!("MinLen({})", min.as_str())),
            // vSphere sends what nobody set as an empty one.
            None if *wanted => qualifiers.push("MinLen(1)".to_owned()),
            None => {}
        }
        if let Some(max) = rules.max.as_ref().filter(|_| is_string) {
            qualifiers.push(format!("MaxLen({})", max.reveal().as_str()));
        }
    }
    // What a secret may be is half of what it is; and what may be left empty has one value more.
    if kind.scalar().is_some() && !rules.one_of.is_empty() && !sensitive {
        let mut values: Vec<_> = rules.one_of.iter().map(|value| quoted(&value.reveal())).collect();
        if may_be_empty(parameter) && ovf_type(kind) == "string" && parameter.default.is_none() {
            values.insert(0, quoted(""));
        }
        qualifiers.push(format!("ValueMap{{{}}}", values.join(",")));
    }
    qualifiers
}

/// Whether the platform may send nothing although there is a rule for what it sends.
fn may_be_empty(parameter: &Parameter) -> bool {
    !parameter.required && !parameter.empty
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What the person should know: the builder's words, and the rules that no attribute carries.
fn description(parameter: &Parameter, sensitive: bool) -> String {
    let Parameter { kind, rules, required, generate, description, .. } = parameter;
    let mut sentences = Vec::new();
    if let Some(text) = description {
        let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
        sentences.push(format!("{text}{end}"));
    }
    if *required {
        sentences.push("Required.".to_owned());
    }
    if generate.is_some() {
        sentences.push("Left empty, the guest generates it.".to_owned());
    }
    if !matches!(kind, Type::Scalar(Scalar::String | Scalar::Bool)) {
        sentences.push(format!("It must be {}.", kind.rule()));
    }
    sentences.extend(rules.sentences(kind, sensitive).into_iter().map(|rule| format!("{}.", capital(&rule))));
    sentences.join(" ")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// A default as a property would say it; `None` where it cannot be said so, and the guest's own default must do.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Entities(_) => None,
        Value::List(items) => {
            let items: Option<Vec<_>> = items.iter().map(written).collect();
            let separates = |c: char| c == ',' || c.is_whitespace();
            items
                .filter(|items| items.iter().all(|it| !it.is_empty() && !it.contains(separates)))
                .map(|it| it.join(","))
        }
        Value::Map(map) => {
            let pair = |(key, value): (&crate::parameters::Key, _)| {
                Some(format!("{}={}", percent(key.reveal()), percent(&written(value)?)))
            };
            Some(map.iter().map(pair).collect::<Option<Vec<_>>>()?.join("&"))
        }
        value => Some(value.reveal().as_str().to_owned()),
    }
}

/// Everything but letters and digits escaped, as the Collective does.
fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Text for an XML element or attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Attributes would turn these into blanks.
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            // No document can hold these (XML 1.0, 2.2); a declaration has none but where somebody tries.
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
