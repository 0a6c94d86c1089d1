//! One parameter as `agent.toml` declares it, and what is left of that once it is sound.
//!
//! Decides which keys a declaration has and which of them mean nothing together; such a declaration is refused with what
//! would mend it, because one that says two things is read by two people in two ways. Does not look at any environment.

#![forbid(unsafe_code)]

use std::fmt;

use serde::Deserialize;
use toml::Spanned;

use super::generate::Form;
use super::rules::{RawRules, Rules};
use super::types::{Scalar, Type};
use super::value::Value;

/// What is wrong with a declaration, and which byte of the configuration it is about, if not the whole of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// The byte.
    pub at: Option<usize>,
    /// What is wrong; what would mend it.
    pub message: String,
}

/// One parameter as `agent.toml` declares it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Declaration {
    /// The property's key, an opaque string.
    key: Spanned<String>,
    /// What its values look like.
    #[serde(rename = "type")]
    kind: Type,
    /// The sibling whose property it is, `*` for all of them; the guest's own where this is left out.
    entity: Option<Spanned<String>>,
    /// Whether the guest cannot do without it.
    #[serde(default)]
    required: bool,
    /// What it is where the environment says nothing.
    default: Option<Spanned<toml::Value>>,
    /// Whether its values are secret.
    sensitive: Option<Spanned<bool>>,
    one_of: Option<Spanned<Vec<Spanned<toml::Value>>>>,
    min: Option<Spanned<toml::Value>>,
    max: Option<Spanned<toml::Value>>,
    pattern: Option<Spanned<String>>,
    /// Whether a string may have several lines.
    multiline: Option<Spanned<bool>>,
    /// What an empty property means.
    empty: Option<Spanned<Empty>>,
    /// What is made where the environment says nothing.
    generate: Option<Spanned<String>>,
    /// A name for people.
    label: Option<Spanned<String>>,
    /// A sentence for people.
    description: Option<Spanned<String>>,
}

/// What an empty property means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Empty {
    Value,
    Unset,
}

impl fmt::Debug for Declaration {
    /// Without the default, which may be a secret too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Declaration({}, {})", self.key.get_ref(), self.kind)
    }
}

/// Whose property a parameter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entity {
    /// The guest's own.
    Own,
    /// The sibling's with this id.
    Sibling(String),
    /// Every sibling's that has it.
    Every,
}

/// A declaration that is sound.
#[derive(Clone)]
pub(crate) struct Parameter {
    pub(crate) key: String,
    pub(crate) kind: Type,
    pub(crate) entity: Entity,
    pub(crate) required: bool,
    pub(crate) default: Option<Value>,
    pub(crate) sensitive: bool,
    pub(crate) rules: Rules,
    /// Whether an empty property is a value.
    pub(crate) empty: bool,
    /// Whether platforms are to ask for it: it is required, and nobody said that an empty property is a value. The guest itself takes an
    /// empty `string`.
    pub(crate) wanted: bool,
    pub(crate) generate: Option<Form>,
    pub(crate) label: Option<String>,
    pub(crate) description: Option<String>,
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameter({}, {})", self.key, self.kind)
    }
}

impl Declaration {
    /// The parameter that is meant.
    pub(super) fn check(self, name: &str) -> Result<Parameter, Vec<Objection>> {
        let mut objections = Vec::new();
        let mut object = |at: usize, message: String| objections.push(Objection { at: Some(at), message });

        let key_at = self.key.span().start;
        let key = self.key.into_inner();
        if key.is_empty() {
            object(
                key_at,
                format!("parameter `{name}` has an empty key; give the key of the property that feeds it"),
            );
        } else if key.chars().any(char::is_control) {
            object(
                key_at,
                format!("the key of parameter `{name}` has a control character, which no document can hold"),
            );
        }
        for text in [&self.label, &self.description].into_iter().flatten() {
            if text.get_ref().chars().any(|c| c.is_control() && c != '\n') {
                object(
                    text.span().start,
                    format!("a text about parameter `{name}` has a control character; take it out"),
                );
            }
        }
        let entity = match self.entity.as_ref().map(|entity| entity.get_ref().as_str()) {
            None => Entity::Own,
            Some("*") => Entity::Every,
            Some(id) => Entity::Sibling(id.to_owned()),
        };
        let mut kind = self.kind;
        if let Some(multiline) = self.multiline {
            match kind {
                Type::Scalar(Scalar::String) if *multiline.get_ref() => {
                    kind = Type::Scalar(Scalar::Multiline)
                }
                Type::Scalar(Scalar::String) => {}
                _ => object(
                    multiline.span().start,
                    format!(
                        "parameter `{name}` is of type {kind} and has multiline; only a string can have several lines"
                    ),
                ),
            }
        }
        let generate = self.generate.and_then(|form| {
            let at = form.span().start;
            let sound = form.get_ref().parse::<Form>().map_err(|why| object(at, why)).ok()?;
            Some((at, sound))
        });
        let is_empty_meant = self.empty.as_ref().is_some_and(|said| matches!(said.get_ref(), Empty::Value));
        let mut empty = kind.scalar().is_some_and(Scalar::is_string) && generate.is_none();
        if let Some(said) = &self.empty {
            let at = said.span().start;
            match said.get_ref() {
                Empty::Unset => empty = false,
                Empty::Value if kind.empty().is_none() => object(
                    at,
                    format!(
                        "parameter `{name}` is of type {kind}, which has no empty value; only a string, a list or a map has"
                    ),
                ),
                Empty::Value if generate.is_some() => {
                    object(
                        at,
                        format!(
                            "parameter `{name}` is generated where its property is empty; leave one of them out"
                        ),
                    );
                }
                Empty::Value => empty = true,
            }
        }
        let sensitive = match (&self.sensitive, &generate) {
            (Some(said), Some(_)) if !said.get_ref() => {
                object(
                    said.span().start,
                    format!(
                        "parameter `{name}` is generated, and so a secret; leave `sensitive = false` out"
                    ),
                );
                true
            }
            (said, generate) => said.as_ref().is_some_and(|said| *said.get_ref()) || generate.is_some(),
        };
        if let Some(default) = &self.default {
            let at = default.span().start;
            if self.required {
                object(
                    at,
                    format!("parameter `{name}` is required and has a default; it can be only one of these"),
                );
            }
            if entity == Entity::Every {
                object(
                    at,
                    format!(
                        "parameter `{name}` is a map of all siblings, empty where none has the property; leave the default out"
                    ),
                );
            }
        }
        if let Some((at, form)) = generate {
            let mut with = |other: &str| {
                let message = format!(
                    "parameter `{name}` is generated where it is not sent, so it cannot have {other}; leave one of them out"
                );
                object(at, message);
            };
            if self.required {
                with("`required`");
            }
            if self.default.is_some() {
                with("a default");
            }
            if entity != Entity::Own {
                with("an entity: what a sibling has is the sibling's to make");
            }
            if self.one_of.is_some() {
                with("one-of");
            }
            if self.pattern.is_some() {
                with("a pattern, which what is generated need not match");
            }
            let fits = match kind {
                Type::Scalar(Scalar::String | Scalar::Multiline) => true,
                Type::Scalar(Scalar::Base64) => matches!(form, Form::Base64(_)),
                _ => false,
            };
            if !fits {
                object(
                    at,
                    format!(
                        "parameter `{name}` is of type {kind}; generated are strings, and base64 by \"base64:N\""
                    ),
                );
            }
        }

        let raw = RawRules { one_of: self.one_of, min: self.min, max: self.max, pattern: self.pattern };
        let rules = Rules::check(name, &kind, raw, &mut objections);
        if let Some((at, form)) = generate {
            let length = Value::text("x".repeat(form.length()));
            let about_length = Rules { one_of: Vec::new(), pattern: None, ..rules.clone() };
            for why in about_length.broken(&kind, true, &length) {
                let message = format!("what is generated for parameter `{name}` breaks its rule: {why}");
                objections.push(Objection { at: Some(at), message });
            }
        }
        let default = self.default.and_then(|default| {
            let mut object = |why| {
                let message = format!("the default of parameter `{name}` {why}");
                objections.push(Objection { at: Some(default.span().start), message });
            };
            let Some(value) = kind.read_toml(default.get_ref()) else {
                object(format!("does not fit its type; it must be {}", kind.rule()));
                return None;
            };
            for why in rules.broken(&kind, sensitive, &value) {
                object(format!("breaks its rule: {why}"));
            }
            Some(value)
        });
        if !objections.is_empty() {
            return Err(objections);
        }
        Ok(Parameter {
            key,
            kind,
            entity,
            required: self.required,
            default,
            sensitive,
            rules,
            empty,
            wanted: self.required && !is_empty_meant,
            generate: generate.map(|(_, form)| form),
            label: self.label.map(Spanned::into_inner),
            description: self.description.map(Spanned::into_inner),
        })
    }
}
