//! What properties come to.
//!
//! Decides the value of each property from what is given, the chosen deployment option, the default and the macros in it, and
//! whether that can be: of what nobody has been asked yet, only what no answer would mend is a fault.
//!
//! The rule: DSP0243, 9.5 and 9.5.1.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::{GIVEN, Given, Origin, Value};
use crate::descriptor::{Descriptor, Property, full_name};
use crate::finding::{Code, Finding, quoted};
use crate::macros::{Found, Names};
use crate::property::{Piece, has_macro, pieces};
use crate::xml::Source;

/// Bytes that macros may come to in all: as many as a document may have. Each level of collections can double what it takes
/// in.
const ROOM: usize = 16 << 20;

/// Of each entity, its own properties.
pub(super) fn own<'a>(mut making: Making<'a, '_>) -> Vec<Vec<Value<'a>>> {
    let descriptor = making.descriptor;
    let mut own: Vec<Vec<Value<'a>>> = Vec::new();
    let mut names: HashMap<usize, Names<'_>> = HashMap::new();
    for (index, entity) in descriptor.entities.iter().enumerate() {
        let parent = entity.parent.map(|parent| {
            let names = &*names.entry(parent).or_insert_with(|| Names::of(descriptor, parent));
            (names, &own[parent])
        });
        let values = making.entity(index, parent);
        own.push(values);
    }
    own
}

/// What values are made of.
pub(super) struct Making<'a, 'b> {
    descriptor: &'a Descriptor,
    source: &'b Source,
    configuration: Option<&'a str>,
    given: Given<'b>,
    findings: &'b mut Vec<Finding>,
    /// Whether whoever deploys has been asked.
    is_chosen: bool,
    /// Bytes that macros may still come to.
    room: usize,
}

impl<'a, 'b> Making<'a, 'b> {
    /// Of what whoever deploys has given.
    pub(super) fn new(
        descriptor: &'a Descriptor,
        source: &'b Source,
        configuration: Option<&'a str>,
        given: Given<'b>,
        findings: &'b mut Vec<Finding>,
    ) -> Self {
        Self { descriptor, source, configuration, given, findings, is_chosen: true, room: ROOM }
    }

    /// Before anybody is asked: a fault is what no answer would mend.
    pub(super) fn untold(
        descriptor: &'a Descriptor,
        source: &'b Source,
        configuration: Option<&'a str>,
        findings: &'b mut Vec<Finding>,
    ) -> Self {
        let given = HashMap::new();
        Self { is_chosen: false, ..Self::new(descriptor, source, configuration, given, findings) }
    }

    fn entity(&mut self, index: usize, parent: Option<(&Names<'_>, &Vec<Value<'a>>)>) -> Vec<Value<'a>> {
        let mut values = Vec::new();
        for (place, (product, property)) in self.descriptor.properties(index).enumerate() {
            let name = full_name(product, property);
            let given = self.given.get(&(index, place)).copied();
            let known = self.findings.len();
            let value = self.value(index, &name, property, given, parent);
            let is_settled = given.is_none() && is_settled(self.written(property).0, parent);
            let is_fixed = is_settled && !property.is_configurable && property.asks.is_none();
            // A default that cannot be is one, though somebody may give another value; that there is none is not.
            let is_fault = if value.is_empty() { is_fixed } else { is_settled };
            if !self.is_chosen && !is_fault {
                self.findings.truncate(known);
            }
            values.push(Value { product, property, name, value, is_fixed });
        }
        values
    }

    /// The default as it is written, in this deployment option, and where.
    fn written<'p>(&self, property: &'p Property) -> (&'p str, usize) {
        let chosen = property.values.iter().find(|(it, _)| Some(it.value.as_str()) == self.configuration);
        let default = chosen.map(|(_, value)| value).or(property.default.as_ref());
        (default.map_or("", |it| it.trimmed().0), default.map_or(property.key.at, |it| it.at))
    }

    fn value(
        &mut self,
        index: usize,
        name: &str,
        property: &Property,
        given: Option<(&str, Option<&Origin>)>,
        parent: Option<(&Names<'_>, &Vec<Value<'a>>)>,
    ) -> String {
        let (written, at) = self.written(property);
        let (value, is_computed) = match given {
            Some((given, _)) => (given.to_owned(), true),
            None if !has_macro(written) => (written.to_owned(), false),
            None => match expand(written, parent, &mut self.room) {
                Some(value) => (value, true),
                None => {
                    let message = format!(
                        "what the values of all properties come to, up to that of {}, is more than {} MiB; take less of the \
                         parent's properties in",
                        quoted(name),
                        ROOM >> 20
                    );
                    self.findings.push(self.source.finding(Code::PropertyValue, at, message));
                    return String::new();
                }
            },
        };
        if value.is_empty() {
            if property.qualifiers.wants_a_value() {
                let taken_in = pieces(written).into_iter().find_map(|piece| match piece {
                    Piece::Macro(name) => Some(name),
                    Piece::Text(_) => None,
                });
                let remedy = match (taken_in, property.is_configurable) {
                    (Some(other), _) if is_settled(written, parent) => format!(
                        "it takes in {}, of the collection around it, to which nobody may give one; correct it there",
                        quoted(other)
                    ),
                    (Some(other), _) => {
                        format!("it takes in {}, of the collection around it; give that", quoted(other))
                    }
                    // Machines that are alike have properties of the same name.
                    (None, true) if self.descriptor.entities.len() > 1 => {
                        let id = &self.descriptor.entities[index].id.value;
                        format!("give one: --property '{id}:{name}=...'")
                    }
                    (None, true) => format!("give one: --property '{name}=...'"),
                    (None, false) => "the descriptor gives it none; correct it there".to_owned(),
                };
                let message = format!("{} must not be empty, and has no value; {remedy}", quoted(name));
                self.findings.push(self.source.finding(Code::PropertyMissing, at, message));
            }
        } else if is_computed
            && let Err(want) = property.kind.check(&value).and_then(|()| property.qualifiers.check(&value))
        {
            self.findings.push(match given {
                Some((_, origin)) => {
                    // Half of a secret is what it may be.
                    let choices = property.qualifiers.choices().filter(|_| !property.is_password);
                    let choices = choices.map_or(String::new(), |it| format!(": {it}"));
                    let message = format!("the value for {} is not {want}{choices}", quoted(name));
                    match origin {
                        Some(origin) => origin.finding(Code::PropertyValue, &message),
                        None => Finding::with(GIVEN, Code::PropertyValue, message),
                    }
                }
                None => {
                    let message = format!(
                        "what the value of {} comes to is not {want}; correct what it takes in, or the type and qualifiers",
                        quoted(name)
                    );
                    self.source.finding(Code::PropertyValue, at, message)
                }
            });
        }
        value
    }
}

/// A default with its macros replaced, if there is room for it. What is given is never looked at for macros, nor is what they
/// bring in.
fn expand(written: &str, parent: Option<(&Names<'_>, &Vec<Value<'_>>)>, room: &mut usize) -> Option<String> {
    let mut out = String::new();
    for piece in pieces(written) {
        let text = match (piece, parent) {
            (Piece::Text(text), _) => text,
            // Those that lead nowhere have stopped everything before.
            (Piece::Macro(name), Some((names, values))) => match names.find(name) {
                Found::One(index) => &values[index].value,
                _ => "",
            },
            (Piece::Macro(_), None) => "",
        };
        *room = room.checked_sub(text.len())?;
        out.push_str(text);
    }
    // Blanks beside a macro that came to nothing are no value.
    Some(out.trim().to_owned())
}

/// Whether what a default comes to depends on nobody who deploys.
fn is_settled(written: &str, parent: Option<(&Names<'_>, &Vec<Value<'_>>)>) -> bool {
    pieces(written).into_iter().all(|piece| match (piece, parent) {
        (Piece::Text(_), _) => true,
        (Piece::Macro(name), Some((names, values))) => {
            matches!(names.find(name), Found::One(index) if values[index].is_fixed)
        }
        (Piece::Macro(_), None) => false,
    })
}
