//! `when` of what is no template: the roles of units in `agent.toml`.
//!
//! Decides that it is an expression like a template's `when`, of the same names but for those of a `for-each`, and what is
//! neither true nor false. What follows from it is decided by whoever asks.

#![forbid(unsafe_code)]

use tera::{Context, Tera};
use toml::Spanned;

use super::body::Origin;
use super::escape::Print;
use super::front_matter::inside;
use super::meter;
use super::names::Scope;
use super::unit::Unit;
use crate::problem::{At, Problem};

/// A condition as it was read.
#[derive(Debug)]
pub struct ConditionSource {
    file: String,
    /// What there is one of; no other condition has it.
    name: String,
    text: String,
    origin: Origin,
}

impl ConditionSource {
    /// The `when` of `name`, in a file whose text is `toml`, and whose positions are counted from `start`.
    pub fn new(file: &str, name: &str, text: Spanned<String>, toml: &str, start: usize) -> Self {
        let (byte, exact) = inside(toml, text.span().start - start, text.get_ref(), 0);
        let origin = Origin { at: At::of(toml, byte), exact };
        Self { file: file.to_owned(), name: name.to_owned(), text: text.into_inner(), origin }
    }
}

/// A condition, checked.
#[derive(Debug)]
pub(super) struct Condition {
    name: String,
    pub(super) unit: Unit,
}

impl Condition {
    /// Checks one; `None` where it is wrong, which then is in `problems`.
    pub(super) fn check(
        source: ConditionSource,
        scope: Scope<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let ConditionSource { file, name, text, origin } = source;
        let unit = Unit::expression(
            (&file, format!("{file}#when of {name}")),
            (&text, origin),
            Print::Truth,
            scope,
            problems,
        )?;
        Some(Self { name, unit })
    }

    /// Whose it is, and whether it is true.
    pub(super) fn evaluate(&self, engine: &Tera, context: &Context) -> Result<(String, bool), Problem> {
        Ok((self.name.clone(), self.unit.render(engine, context, meter::VALUE)? == "true"))
    }
}
