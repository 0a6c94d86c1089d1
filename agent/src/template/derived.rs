//! `[derived]` of `agent.toml`: values that are made from parameters before any template is rendered.
//!
//! Decides their order, which follows from the names in them, and what they come to: a single `{{ expression }}` keeps
//! its type, so that a truth value stays one; everything else is text. An
//! empty text is null, and so is what is made of something that has no value. A derived value is
//! as secret as what it is made from. It shares its name space with the parameters.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use tera::{Context, Tera, Value};
use toml::Spanned;

use super::body::Origin;
use super::escape::Print;
use super::front_matter::inside;
use super::kinds::TEXT;
use super::names::{self, Scope};
use super::scan::{Tag, pieces};
use super::unit::{self, Unit};
use crate::parameters::{Declared, Type, name_objection};
use crate::problem::{At, Problem};

/// A derived value as it was read.
#[derive(Debug)]
pub struct DerivedSource {
    file: String,
    name: String,
    text: String,
    origin: Origin,
}

impl DerivedSource {
    /// One line of `[derived]` of a file whose text is `toml`, and whose positions are counted from `start`.
    pub fn new(file: &str, name: String, text: Spanned<String>, toml: &str, start: usize) -> Self {
        let (byte, exact) = inside(toml, text.span().start - start, text.get_ref(), 0);
        let origin = Origin { at: At::of(toml, byte), exact };
        Self { file: file.to_owned(), name, text: text.into_inner(), origin }
    }
}

/// What derived values came to.
#[derive(Default)]
pub struct DerivedValues(Vec<(String, Value, bool)>);

impl DerivedValues {
    /// Notes a value, and whether it is secret.
    pub(super) fn insert(&mut self, name: &str, value: Value, secret: bool) {
        self.0.push((name.to_owned(), value, secret));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value, _)| (name.as_str(), value))
    }

    /// Those that are neither null nor secret, as text; lists and maps as JSON.
    pub fn shown(&self) -> impl Iterator<Item = (&str, String)> {
        let plain = self.0.iter().filter(|(_, value, secret)| !secret && !value.is_none());
        plain.map(|(name, value, _)| (name.as_str(), text(value)))
    }
}

/// A value as people read it; lists and maps as JSON.
pub(super) fn text(value: &Value) -> String {
    let json = || serde_json::to_string(value).expect("plain data");
    value.as_str().map_or_else(json, str::to_owned)
}

impl std::fmt::Debug for DerivedValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// All derived values, compiled.
#[derive(Debug, Default)]
pub(super) struct Derivations {
    in_order: Vec<Derivation>,
    /// What is known of them, by name.
    pub(super) known: BTreeMap<String, Known>,
}

/// What is known of a derived value before any environment is seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Whether it is secret.
    pub(super) sensitive: bool,
    /// Its type where it is not null, if that is certain.
    pub(super) kind: Option<Type>,
}

#[derive(Debug)]
struct Derivation {
    name: String,
    unit: Unit,
    /// Whether it is a single expression, which keeps its type.
    single: bool,
}

impl Derivations {
    /// Checks and orders them, adding what is wrong to `problems`.
    pub(super) fn check(
        sources: Vec<DerivedSource>,
        declared: &Declared,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let known = sources.iter().map(|source| (source.name.clone(), Known::default())).collect();
        let scope = Scope { declared, derived: &known, each: None };
        let mut units = Vec::new();
        for DerivedSource { file, name, text, origin } in &sources {
            if let Some(message) = name_problem(name, declared) {
                problems.push(Problem::at(file, origin.at, message));
            }
            let single = pieces(text).is_ok_and(|pieces| Unit::is_single(&pieces));
            let print = if single { Print::Typed } else { Print::Derived };
            let unit =
                Unit::check((file, format!("{file}#{name}")), (text, *origin), scope, problems, |_, _| {
                    move |_: &Tag<'_>| print
                });
            units.extend(unit.map(|unit| Derivation { name: name.clone(), unit, single }));
        }
        let mut this = Self { in_order: Vec::new(), known };
        let at =
            |name: &str| sources.iter().find(|source| source.name == name).map(|source| source.origin.at);
        let mut left = units;
        while !left.is_empty() {
            // In the order of names, so that it is the same each time; with few derived values this is quick enough.
            let waiting: BTreeSet<String> = left.iter().map(|one| one.name.clone()).collect();
            let Some(next) = left.iter().position(|one| one.unit.names.is_disjoint(&waiting)) else {
                let Derivation { name, unit, .. } = &left[0];
                let others: Vec<_> =
                    unit.names.intersection(&waiting).map(|name| format!("`{name}`")).collect();
                let message = format!(
                    "derived `{name}` needs {}, which in turn needs it or is in such a circle",
                    others.join(", ")
                );
                problems.push(Problem { file: unit.file.clone(), at: at(name), message });
                break;
            };
            let one = left.remove(next);
            let scope = Scope { declared, derived: &this.known, each: None };
            let known = Known {
                sensitive: one.unit.names.iter().any(|name| scope.is_sensitive(name)),
                kind: if one.single {
                    one.unit.sole_name().and_then(|it| scope.kind(&it))
                } else {
                    Some(TEXT)
                },
            };
            this.known.insert(one.name.clone(), known);
            this.in_order.push(one);
        }
        this
    }

    /// What is wrong with texts that look as if they lacked their braces.
    pub(super) fn unbraced<'a>(&'a self, declared: &'a Declared) -> impl Iterator<Item = Problem> + 'a {
        let scope = Scope { declared, derived: &self.known, each: None };
        self.in_order.iter().filter_map(move |Derivation { name, unit, .. }| {
            let text = unit.body.original.trim();
            let message = names::reads_as_expression(text, scope).then(|| {
                let text = unit::shortened(text);
                format!(
                    "derived `{name}` is the text `{text}` itself, and not its value; write {{{{ {text} }}}}, and quotes inside of \
                     the braces where the text is meant"
                )
            });
            Some(Problem::at(&unit.file, unit.at, message?))
        })
    }

    /// The names that a derived value is made from.
    pub(super) fn made_from(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.in_order.iter().find(|one| one.name == name).map(|one| &one.unit.names)
    }

    /// A derived value's name and all that it is made from; `None` where there is no such one.
    pub(super) fn needed_for(&self, name: &str) -> Option<BTreeSet<String>> {
        self.known.contains_key(name).then(|| self.with_sources(BTreeSet::from([name.to_owned()])))
    }

    /// The names that a unit needs: those in it, and those that the derived values among these are made from.
    pub(super) fn needed_by(&self, unit: &Unit) -> BTreeSet<String> {
        self.with_sources(unit.names.clone())
    }

    /// These names, and those that the derived values among them are made from.
    pub(super) fn with_sources(&self, mut names: BTreeSet<String>) -> BTreeSet<String> {
        // Each stands behind all that it needs.
        for one in self.in_order.iter().rev() {
            if names.contains(&one.name) {
                names.extend(one.unit.names.iter().cloned());
            }
        }
        names
    }

    /// What those of these names are made by.
    pub(super) fn units_of<'a>(&'a self, names: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Unit> {
        self.in_order.iter().filter(|one| names.contains(&one.name)).map(|one| &one.unit)
    }

    /// What the engine must compile.
    pub(super) fn units(&self) -> impl Iterator<Item = &Unit> {
        self.in_order.iter().map(|one| &one.unit)
    }

    /// Adds their values, or those of `only` these, to a context that has the parameters.
    ///
    /// # Errors
    /// What could not be evaluated.
    pub(super) fn evaluate(
        &self,
        engine: &Tera,
        context: &mut Context,
        only: Option<&BTreeSet<String>>,
    ) -> Result<Vec<(&str, Value)>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut failed = BTreeSet::new();
        let mut values = Vec::new();
        let wanted = |one: &&Derivation| only.is_none_or(|only| only.contains(&one.name));
        for Derivation { name, unit, single } in self.in_order.iter().filter(wanted) {
            if !unit.names.is_disjoint(&failed) {
                failed.insert(name.clone());
                continue;
            }
            let value = unit.render_optional(engine, context).and_then(|text| {
                let Some(text) = text else { return Ok(Value::none()) };
                let value = if *single { typed(&text) } else { Some(Value::from(text)) };
                let refused = || {
                    let message = format!("derived `{name}` {}", super::refusal::Refusal::CONTROL.sentence());
                    Problem::at(&unit.file, unit.at, message)
                };
                value.ok_or_else(refused)
            });
            match value {
                Ok(value) => {
                    let value = if value.as_str() == Some("") { Value::none() } else { value };
                    context.insert_value(name.clone(), value.clone());
                    values.push((name.as_str(), value));
                }
                Err(problem) => {
                    failed.insert(name.clone());
                    problems.push(problem);
                }
            }
        }
        if problems.is_empty() { Ok(values) } else { Err(problems) }
    }
}

/// The value of a JSON literal of ours; `None` where a text in it has a control character.
fn typed(json: &str) -> Option<Value> {
    fn is_plain(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::String(text) => !text.chars().any(char::is_control),
            serde_json::Value::Array(list) => list.iter().all(is_plain),
            serde_json::Value::Object(map) => map.values().all(is_plain),
            _ => true,
        }
    }
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    is_plain(&value).then(|| Value::from_serializable(&value))
}

fn name_problem(name: &str, declared: &Declared) -> Option<String> {
    let taken = || format!("`{name}` is a parameter already; a derived value needs a name of its own");
    name_objection(name, "name of a derived value").or_else(|| declared.contains(name).then(taken))
}

/// Compiles them into an engine.
pub(super) fn compile(
    engine: &mut Tera,
    derivations: &Derivations,
    declared: &Declared,
    problems: &mut Vec<Problem>,
) {
    let scope = Scope { declared, derived: &derivations.known, each: None };
    let units: Vec<_> = derivations.units().collect();
    unit::compile(engine, &units, scope, problems);
}
