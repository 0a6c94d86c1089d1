//! Required parameters whose properties may reach the guest empty.
//!
//! Decides when nothing in a descriptor keeps a value from being empty where nobody gives any, in some deployment option: neither a
//! default, nor `MinLen(1)`, nor the platform that assigns it, of the property itself or of those that its value is made of. An empty
//! value of any type counts as not set, and only texts have a qualifier against it (DSP0243, 9.5 with table 7).

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::{Comparing, Place, compare};
use crate::descriptor::{Property, full_name};
use crate::environments::Environments;
use crate::finding::{Code, quoted};
use crate::macros::Found;
use crate::property::{Piece, Type, has_macro, pieces};

impl<'a> Comparing<'a, '_> {
    /// The parameters of a virtual system that would have no value, or might have none.
    pub(super) fn empty(
        &mut self,
        system: usize,
        parameters: &BTreeMap<String, Property>,
        all: &[(Option<&'a str>, Environments<'a>)],
    ) {
        let required: Vec<_> = parameters.iter().filter(|(_, wanted)| takes_no_empty(wanted)).collect();
        let visible = self.visible(system).clone();
        let mut told = HashSet::new();
        for (configuration, environments) in all {
            if required.is_empty() || self.findings.is_full() {
                break;
            }
            // Its own come last.
            let values: BTreeMap<&str, &str> = environments.properties(system).into_iter().collect();
            for &(name, wanted) in &required {
                let Some(&(place, _)) = visible.get(name) else { continue };
                let is_empty = values.get(name.as_str()).is_some_and(|it| it.trim().is_empty());
                if !is_empty || told.contains(&name) {
                    continue;
                }
                if let Some((code, at, message)) = self.why(place, (name, wanted), *configuration) {
                    told.insert(name);
                    self.find(code, at, message);
                }
            }
        }
    }

    /// What is to be said of a property that is empty in a deployment option, where nobody gives anything.
    fn why(
        &mut self,
        place: Place,
        (name, wanted): (&str, &Property),
        configuration: Option<&str>,
    ) -> Option<(Code, usize, String)> {
        let (name, own) = (quoted(name), place);
        let (place, source, property) = self.origin(own, configuration)?;
        let at = property.key.at;
        let remedy = remedy(wanted, property);
        Some(if place != own {
            let source = quoted(&source);
            let message = format!(
                "the appliance requires {name}, which is made of {source}, and the descriptor lets that be empty; {remedy}"
            );
            (Code::AgentType, at, message)
        } else if property.is_configurable {
            let message =
                format!("the appliance requires {name}, and the descriptor lets it be empty; {remedy}");
            (Code::AgentType, at, message)
        } else {
            let message = format!(
                "the appliance requires {name}, which has no value here and is not ovf:userConfigurable; let it be one of both"
            );
            (Code::AgentRequired, at, message)
        })
    }

    /// The first property without a value of those that an empty one is made of, be it itself; none where one of them is given.
    fn origin(&mut self, place: Place, configuration: Option<&str>) -> Option<(Place, String, &'a Property)> {
        let descriptor = self.descriptor;
        let (mut open, mut seen, mut first) = (VecDeque::from([place]), HashSet::from([place]), None);
        while let Some((entity, index)) = open.pop_front() {
            let (product, property) = descriptor.properties(entity).nth(index)?;
            if is_given(property) {
                return None;
            }
            let chosen = property.values.iter().find(|(it, _)| Some(it.value.as_str()) == configuration);
            let value = chosen.map(|(_, value)| value).or(property.default.as_ref());
            let made = value.filter(|it| !property.is_configurable && has_macro(&it.value));
            let Some(made) = made else {
                first = first.or_else(|| Some(((entity, index), full_name(product, property), property)));
                continue;
            };
            let parent = descriptor.entities[entity].parent?;
            for piece in pieces(&made.value) {
                let Piece::Macro(name) = piece else { continue };
                // What it means otherwise is wrong in itself, and said.
                let Found::One(index) = self.names(parent).find(name) else { return None };
                if seen.insert((parent, index)) {
                    open.push_back((parent, index));
                }
            }
        }
        first
    }
}

/// Whether somebody has to give it, or the platform does. One that does not know how leaves it empty; a text can ask for a value then.
fn is_given(property: &Property) -> bool {
    let mut values = property.values.iter().map(|(_, value)| value).chain(&property.default);
    let is_made = values.any(|it| !it.value.trim().is_empty());
    let is_asked = property.is_configurable && property.kind == Type::String;
    (property.qualifiers.wants_a_value() && (property.is_configurable || is_made))
        || (property.asks.is_some() && !is_asked)
}

/// What keeps a property from being empty.
fn remedy(wanted: &Property, offered: &Property) -> &'static str {
    match (offered.kind, wanted.kind) {
        (Type::String, _) => "add MinLen(1) to its ovf:qualifiers",
        (_, Type::String) => "write the type and qualifiers of `ovf-agent schema --ovf`",
        _ => {
            "give the property a value, which whoever deploys may change, or the parameter a default instead of `required`"
        }
    }
}

/// Whether nobody is to send an empty value: what is asked for by `MinLen(1)`, and what the guest refuses.
fn takes_no_empty(wanted: &Property) -> bool {
    wanted.qualifiers.wants_a_value() || (wanted.kind != Type::String && compare::is_required(wanted))
}
