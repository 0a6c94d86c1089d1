//! The filters, functions and tests that templates have: which there are, and what arguments they take.
//!
//! All filters are ours, so that what each takes and gives is decided here and in the modules below, and is in
//! `docs/templates.md`. Of the engine's own only `safe` is left; others quote values in their errors (`int`), have ideas
//! of their own about formats (`escape`), or know no null (`default`). What is not in [`KNOWN`] is refused before
//! anything is rendered.

#![forbid(unsafe_code)]

mod crypt;
mod lists;
mod network;
mod texts;

use tera::{Kwargs, State, Tera, TeraResult, Value};

use super::meter;
use super::names::nearest;
use super::refusal::Refusal;
pub(crate) use texts::decode as base64_decode;

/// A filter, function or test: its name, the arguments that it needs, and those that it may have.
pub(super) type Signature = (&'static str, &'static [&'static str], &'static [&'static str]);

/// All filters there are.
pub(super) const KNOWN: [Signature; 21] = [
    ("b64decode", &[], &[]),
    ("broadcast", &[], &["mask"]),
    ("default", &["value"], &[]),
    ("first", &[], &[]),
    ("indent", &["by"], &[]),
    ("join", &[], &["sep"]),
    ("json", &[], &[]),
    ("last", &[], &[]),
    ("length", &[], &[]),
    ("lower", &[], &[]),
    ("netmask", &[], &["prefix"]),
    ("network", &[], &["mask"]),
    ("prefix", &[], &[]),
    ("replace", &["from", "to"], &[]),
    ("reverse_zone", &[], &[]),
    ("safe", &[], &[]),
    ("sh", &[], &[]),
    ("sha512_crypt", &["salt"], &["rounds"]),
    ("split", &["by"], &[]),
    ("trim", &[], &[]),
    ("upper", &[], &[]),
];

/// All functions there are; `throw` would put a value into an error text.
pub(super) const FUNCTIONS: [Signature; 1] = [("range", &["end"], &["start", "step_by"])];

/// All tests there are, `x is NAME`: the engine's own. `containing` is left out: `in` says the same, and is counted.
pub(super) const TESTS: [Signature; 16] = [
    ("array", &[], &[]),
    ("bool", &[], &[]),
    ("defined", &[], &[]),
    ("divisible_by", &["divisor"], &[]),
    ("ending_with", &["pat"], &[]),
    ("even", &[], &[]),
    ("float", &[], &[]),
    ("integer", &[], &[]),
    ("iterable", &[], &[]),
    ("map", &[], &[]),
    ("none", &[], &[]),
    ("number", &[], &[]),
    ("odd", &[], &[]),
    ("starting_with", &["pat"], &[]),
    ("string", &[], &[]),
    ("undefined", &[], &[]),
];

/// What is wrong with a call of `name` with these arguments, if anything is.
pub(super) fn misuse(kind: &str, known: &[Signature], name: &str, given: &[&str]) -> Option<String> {
    let Some((_, needed, optional)) = known.iter().find(|(known, ..)| *known == name) else {
        let names: Vec<_> = known.iter().map(|(name, ..)| *name).collect();
        let remedy = match (nearest(name, &names), &names[..]) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, [only]) => format!("there is {only}"),
            (None, all) => format!("there are {}", all.join(", ")),
        };
        return Some(format!("there is no {kind} `{name}`; {remedy}"));
    };
    if let Some(missing) = needed.iter().find(|argument| !given.contains(argument)) {
        return Some(format!("{kind} `{name}` needs the argument `{missing}`; write {name}({missing}=...)"));
    }
    let odd = given.iter().find(|argument| !needed.contains(argument) && !optional.contains(argument))?;
    let all: Vec<_> = needed.iter().chain(*optional).map(|argument| format!("{argument}=")).collect();
    let remedy = if all.is_empty() { String::new() } else { format!("; write {name}({})", all.join(", ")) };
    Some(format!("{kind} `{name}` has no argument `{odd}`{remedy}"))
}

/// What a filter does.
type Filter = fn(Value, Kwargs, &State<'_>) -> TeraResult<Value>;

/// A filter whose work is counted.
struct Counted(Filter);

impl tera::Filter<Value, TeraResult<Value>> for Counted {
    fn call(&self, value: Value, arguments: Kwargs, state: &State<'_>) -> TeraResult<Value> {
        meter::spend_value(&value)?;
        let made = self.0(value, arguments, state)?;
        meter::spend_value(&made)?;
        Ok(made)
    }
}

/// Adds them to the engine.
pub(super) fn register(engine: &mut Tera) {
    let others = [("sha512_crypt", crypt::filter as Filter)];
    let all = [&lists::FILTERS[..], &network::FILTERS, &texts::FILTERS, &others];
    for (name, filter) in all.into_iter().flatten() {
        engine.register_filter(*name, Counted(*filter));
    }
    engine.register_function("range", range);
}

/// `range(end=, start=0, step_by=1)`: the numbers from `start` on, without `end`.
fn range(arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    /// The most numbers that there may be.
    const MOST: usize = 100_000;
    let number = |name| argument(&arguments, name, Value::as_i64);
    let (start, step) = (number("start")?.unwrap_or(0), number("step_by")?.unwrap_or(1));
    let end = number("end")?.filter(|_| step != 0).ok_or(Refusal::NO_RANGE)?;
    let before_end = |number: &i64| if step > 0 { *number < end } else { *number > end };
    let numbers =
        std::iter::successors(Some(start), |number| number.checked_add(step)).take_while(before_end);
    let numbers: Vec<Value> = numbers.take(MOST + 1).map(Value::from).collect();
    if numbers.len() > MOST {
        return Err(Refusal::TOO_MANY.into());
    }
    meter::spend(numbers.len())?;
    Ok(Value::from(numbers))
}

/// A value that is there; of null there is nothing to be made.
fn given(value: &Value) -> Result<&Value, Refusal> {
    if value.is_none() { Err(Refusal::NULL) } else { Ok(value) }
}

/// An argument, which may be of the wrong kind, or have no value.
fn argument<T>(arguments: &Kwargs, name: &str, read: impl Fn(&Value) -> Option<T>) -> TeraResult<Option<T>> {
    match arguments.get::<Value>(name)? {
        None => Ok(None),
        Some(value) => read(given(&value)?).map(Some).ok_or_else(|| Refusal::ARGUMENT.into()),
    }
}

/// An argument that is text, and is there.
fn text_argument(arguments: &Kwargs, name: &str) -> TeraResult<String> {
    let text = argument(arguments, name, |value| value.as_str().map(str::to_owned))?;
    let text = text.ok_or(Refusal::ARGUMENT)?;
    meter::spend_text(text.len())?;
    Ok(text)
}

#[cfg(test)]
mod tests;
