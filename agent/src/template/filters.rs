//! The filters that templates have, ours and those of Tera's that keep our rules.
//!
//! Tera's `int` quotes the value in its error, its `escape` and `indent` have ideas of their own about formats, and its
//! `default` knows no null; what is not in [`KNOWN`] is refused before anything is rendered.

#![forbid(unsafe_code)]

use tera::{Error, Kwargs, State, Tera, TeraResult, Value};

use super::escape::{Refusal, shell_word};

/// A filter or function: its name, the arguments that it needs, and those that it may have.
pub(super) type Signature = (&'static str, &'static [&'static str], &'static [&'static str]);

/// All filters there are.
pub(super) const KNOWN: [Signature; 13] = [
    ("default", &["value"], &[]),
    ("first", &[], &[]),
    ("join", &[], &["sep"]),
    ("json", &[], &[]),
    ("last", &[], &[]),
    ("length", &[], &[]),
    ("lower", &[], &[]),
    ("replace", &["from", "to"], &[]),
    ("safe", &[], &[]),
    ("sh", &[], &[]),
    ("split", &["by"], &[]),
    ("trim", &[], &[]),
    ("upper", &[], &[]),
];

/// All functions there are; `throw` would put a value into an error text.
pub(super) const FUNCTIONS: [Signature; 1] = [("range", &["end"], &["start", "step_by"])];

/// What is wrong with a call of `name` with these arguments, if anything is.
pub(super) fn misuse(kind: &str, known: &[Signature], name: &str, given: &[&str]) -> Option<String> {
    let Some((_, needed, optional)) = known.iter().find(|(known, ..)| *known == name) else {
        let names: Vec<_> = known.iter().map(|(name, ..)| *name).collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        return Some(format!("there is no {kind} `{name}`; there {verb} {}", names.join(", ")));
    };
    if let Some(missing) = needed.iter().find(|argument| !given.contains(argument)) {
        return Some(format!("{kind} `{name}` needs the argument `{missing}`; write {name}({missing}=...)"));
    }
    let odd = given.iter().find(|argument| !needed.contains(argument) && !optional.contains(argument))?;
    Some(format!("{kind} `{name}` has no argument `{odd}`"))
}

/// Adds our own to the engine.
pub(super) fn register(engine: &mut Tera) {
    engine.register_filter("default", default);
    engine.register_filter("json", json);
    engine.register_filter("sh", sh);
    engine.register_filter("split", split);
}

/// `x | default(value=y)`: `y` where `x` is null or not defined.
fn default(value: Value, arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let fallback = arguments.must_get::<Value>("value")?;
    Ok(if value.is_none() || value.is_undefined() { fallback } else { value })
}

/// `x | json`: a whole JSON literal, also of null, lists and maps.
fn json(value: Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    if value.is_undefined() {
        return Err(Error::message(Refusal::Undefined.code()));
    }
    // Serialising a value of ours cannot fail; if it does, the error must not quote it.
    let text = serde_json::to_string(&value).map_err(|_| Error::message(Refusal::Composite.code()))?;
    Ok(Value::safe_string(&text))
}

/// `x | sh`: one quoted shell word, whatever the file's escape.
fn sh(value: Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let text = super::render::plain_text(&value).map_err(|refusal| Error::message(refusal.code()))?;
    let word = shell_word(&text).map_err(|refusal| Error::message(refusal.code()))?;
    Ok(Value::safe_string(&word))
}

/// `x | split(by=",")`: a list of the parts.
fn split(value: &str, arguments: Kwargs, _: &State<'_>) -> TeraResult<Vec<String>> {
    let by = arguments.must_get::<&str>("by")?;
    Ok(value.split(by).map(str::to_owned).collect())
}
