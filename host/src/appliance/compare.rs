//! One parameter and the property that feeds it.
//!
//! Decides when everything that the descriptor lets through is something that the appliance takes.

#![forbid(unsafe_code)]

use crate::descriptor::{Placed, Property};
use crate::finding::{Code, Few, Finding, quoted};
use crate::property::Type;
use crate::suggest;
use crate::xml::Source;

/// What `ovf-agent schema --ovf` asks for a port by.
const PORTS: (i128, i128) = (0, u16::MAX as i128);
const UINT8_MAX: i128 = u8::MAX as i128;

/// A parameter that no property feeds.
pub(super) fn unfed<'a>(
    name: &str,
    wanted: &Property,
    system: &Placed,
    names: impl Iterator<Item = &'a str> + Clone,
    source: &Source,
) -> Finding {
    let remedy = match suggest::nearest(name, names) {
        Some(near) => format!("{} was probably meant", quoted(near)),
        None => "add the property; `ovf-agent schema --ovf` prints it".to_owned(),
    };
    let (code, consequence) = match is_required(wanted) {
        true => (Code::AgentRequired, ", and is required: the guest would not be configured"),
        false => (Code::AgentUnfed, ""),
    };
    let message = format!(
        "the parameter {} of {} has no property{consequence}; {remedy}",
        quoted(name),
        quoted(&system.value)
    );
    source.finding(code, system.at, message)
}

/// A parameter and its property.
pub(super) fn both(
    name: &str,
    wanted: &Property,
    offered: &Property,
    source: &Source,
    findings: &mut Few<'_>,
) {
    let name = quoted(name);
    let mut find = |code, at, message: String| findings.push(source.finding(code, at, message));
    let at = offered.key.at;
    match (wanted.is_password, offered.is_password) {
        (true, false) => {
            let message = format!(
                "the appliance keeps {name} secret; add ovf:password=\"true\", so that platforms do, too"
            );
            find(Code::AgentSecret, at, message);
        }
        (false, true) => {
            let message =
                format!("{name} is a password, and its parameter is not `sensitive`; say so in agent.toml");
            find(Code::AgentSecret, at, message);
        }
        _ => {}
    }
    // A value that nobody may change is judged by the agent itself.
    if offered.is_configurable
        && let Some((code, more)) = beyond(wanted, offered)
    {
        let message = format!(
            "the descriptor lets {name} be {more}; write the type and qualifiers of `ovf-agent schema --ovf`"
        );
        find(code, at, message);
    }
}

/// Whether the appliance does not do without it.
pub(super) fn is_required(wanted: &Property) -> bool {
    let text = wanted.description.as_ref().map_or("", |it| it.text.as_str());
    wanted.qualifiers.wants_a_value() || text.starts_with("Required.") || text.contains(" Required.")
}

/// Whether the agent takes a value. It takes more words for a truth value than DSP0243 has.
fn takes(wanted: &Property, value: &str) -> Result<(), String> {
    let words = ["yes", "no", "on", "off", "1", "0"];
    if wanted.kind == Type::Boolean && words.iter().any(|it| value.eq_ignore_ascii_case(it)) {
        return Ok(());
    }
    wanted.kind.check(value).and_then(|()| wanted.qualifiers.check(value))
}

/// What a value of a type is.
pub(super) fn rule(kind: Type) -> String {
    kind.check("-").err().unwrap_or_else(|| "text".to_owned())
}

/// What the property lets through and the parameter does not take. What text a number or a truth value may be for the parameter, its
/// agent is asked (`tries`).
fn beyond(wanted: &Property, offered: &Property) -> Option<(Code, String)> {
    let fits = match (wanted.kind, offered.kind) {
        (Type::String, Type::String)
        | (Type::Boolean, Type::Boolean)
        | (Type::Real(64), Type::Real(_) | Type::Integer(_))
        | (Type::Real(32), Type::Real(32)) => true,
        (Type::String, _) => return None,
        // A smaller range may well be meant, but for ports, the only ones that are asked for by 16 bits.
        (Type::Integer(Some(PORTS)), Type::Integer(Some((0, UINT8_MAX)))) => false,
        (Type::Integer(Some((from, to))), Type::Integer(Some((low, high)))) => from <= low && high <= to,
        (Type::Integer(wanted), Type::Integer(offered)) => wanted == offered,
        _ => false,
    };
    // All values that there are fit the type, whatever the descriptor calls it.
    let listed = offered.qualifiers.values.as_ref();
    let taken =
        |values: &[String]| values.iter().filter(|it| it.is_empty() || takes(wanted, it).is_ok()).count();
    let all_fit = listed.is_some_and(|values| taken(values) == values.len());
    if !fits && !all_fit {
        let (offered_rule, wanted_rule) = (rule(offered.kind), rule(wanted.kind));
        let none_fits = match listed {
            Some(values) => taken(values) == 0,
            None => matches!((wanted.kind, offered.kind), (Type::Integer(_) | Type::Real(_), Type::Boolean)),
        };
        return Some(match none_fits {
            true => (
                Code::AgentMismatch,
                format!(
                    "{offered_rule}, of which the appliance would refuse every one: it must be {wanted_rule}"
                ),
            ),
            false => (Code::AgentType, format!("{offered_rule}, where the appliance takes {wanted_rule}")),
        });
    }
    let (want, have) = (&wanted.qualifiers, &offered.qualifiers);
    if let Some(values) = &want.values {
        let is_known = |it: &String| values.contains(it);
        if !have.values.as_ref().is_some_and(|it| it.iter().all(is_known)) {
            return Some((
                Code::AgentType,
                format!("more than the {} values that the appliance takes", values.len()),
            ));
        }
    }
    if let Some(most) = want.max_length
        && have.max_length.is_none_or(|it| it > most)
        && listed.is_none()
    {
        return Some((
            Code::AgentType,
            format!("longer than the {most} characters that the appliance takes"),
        ));
    }
    // The first character is asked for by whoever requires it at all.
    if let Some(least) = want.min_length.filter(|&it| it > 1)
        && have.min_length.is_none_or(|it| it < least)
        && listed.is_none()
    {
        return Some((
            Code::AgentType,
            format!("shorter than the {least} characters that the appliance takes"),
        ));
    }
    None
}
