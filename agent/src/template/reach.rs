//! Whether a `when` can ever be true.
//!
//! Decides that by trying: where all that it asks about can have few values, which a declaration tells (a truth value,
//! `one-of`, whether there is a value at all), the engine itself evaluates it with each combination. So what is said to be
//! never true never is. Where anything else is asked for, nothing is said.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use tera::{Context, Tera, Value};

use super::context::tera_value;
use super::derived::Derivations;
use super::meter;
use super::unit::Unit;
use crate::parameters::{self, Declared, Parameter};
use crate::problem::Problem;

/// Combinations that are tried; what has more is not judged.
const MOST: usize = 256;

/// A parameter that a condition depends on, and the values that make a difference to it.
struct Input<'a> {
    name: &'a str,
    parameter: &'a Parameter,
    values: Vec<Value>,
}

/// What is wrong with a condition that can never be true; `remedy` is what comes of that, and what mends it.
///
/// # Errors
/// That it is so, and why; or that it cannot be evaluated, whatever the values.
pub(super) fn check(
    (when, remedy): (&Unit, &str),
    engine: &Tera,
    derived: &Derivations,
    declared: &Declared,
) -> Result<(), Problem> {
    let names = derived.needed_by(when);
    let mut units = vec![when];
    units.extend(derived.units_of(&names));
    let parameters = names.iter().filter(|name| !derived.known.contains_key(*name));
    let inputs = parameters.map(|name| input(name, declared.get(name)?, &units));
    let Some(inputs) = inputs.collect::<Option<Vec<_>>>() else { return Ok(()) };
    let count = inputs.iter().try_fold(1_usize, |count, input| count.checked_mul(input.values.len()));
    let Some(count) = count.filter(|count| *count <= MOST) else { return Ok(()) };
    let mut failure = None;
    for number in 0..count {
        match evaluate(number, &inputs, when, engine, derived, &names) {
            Ok(true) => return Ok(()),
            Ok(false) => failure = Some(never((when, remedy), &inputs, declared)),
            Err(problem) => failure = failure.or(Some(problem)),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The values of a parameter that make a difference to what asks for it.
fn input<'a>(name: &'a str, parameter: &'a Parameter, units: &[&Unit]) -> Option<Input<'a>> {
    let mut values: Vec<Value> = match parameter.choices() {
        Some(choices) => choices.iter().map(tera_value).collect(),
        // Whether it is null is all that anybody wants to know.
        None if units.iter().all(|unit| unit.asks_only_for_none(name)) => vec![Value::from("x")],
        None => return None,
    };
    if parameter.may_be_null() {
        values.push(Value::none());
    }
    Some(Input { name, parameter, values })
}

/// Whether it is true with one of the combinations.
fn evaluate(
    mut number: usize,
    inputs: &[Input<'_>],
    when: &Unit,
    engine: &Tera,
    derived: &Derivations,
    names: &BTreeSet<String>,
) -> Result<bool, Problem> {
    meter::begin();
    let mut context = Context::new();
    for Input { name, values, .. } in inputs {
        context.insert_value((*name).to_owned(), values[number % values.len()].clone());
        number /= values.len();
    }
    // Of several problems the first is as good as any.
    derived.evaluate(engine, &mut context, Some(names)).map_err(|mut problems| problems.swap_remove(0))?;
    Ok(when.render(engine, &context, meter::VALUE)? == "true")
}

/// That it is never true, and what makes it so.
fn never((when, remedy): (&Unit, &str), inputs: &[Input<'_>], declared: &Declared) -> Problem {
    let mut facts = Vec::new();
    for Input { name, parameter, .. } in inputs {
        let sensitive = declared.is_sensitive(name);
        facts.extend(match parameter.choices().as_deref() {
            Some([parameters::Value::Bool(_), ..]) => Some(format!("`{name}` is true or false")),
            Some(_) => parameter
                .rules
                .sentences(&parameter.kind, sensitive)
                .first()
                .map(|rule| format!("`{name}`{}", rule.trim_start_matches("it"))),
            None => None,
        });
        if !parameter.may_be_null() {
            facts.push(format!("`{name}` is never null"));
        }
    }
    let because = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join("; ")) };
    let message = format!("when is never true{because}{remedy}");
    Problem::at(&when.file, when.at, message)
}
