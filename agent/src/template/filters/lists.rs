//! Filters from and to lists.

#![forbid(unsafe_code)]

use tera::{Kwargs, State, TeraResult, Value};

use super::{Filter, argument, given, text_argument};
use crate::template::meter;
use crate::template::refusal::Refusal;
use crate::template::unit::plain_text;

pub(super) const FILTERS: [(&str, Filter); 5] =
    [("first", first), ("join", join), ("last", last), ("length", length), ("split", split)];

fn list(value: &Value) -> TeraResult<&[Value]> {
    given(value)?.as_array().ok_or_else(|| Refusal::NO_LIST.into())
}

/// `x | first`: the first element, or null.
fn first(value: Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    list(&value).map(|list| list.first().cloned().unwrap_or_else(Value::none))
}

/// `x | last`: the last element, or null.
fn last(value: Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    list(&value).map(|list| list.last().cloned().unwrap_or_else(Value::none))
}

/// `x | join(sep=", ")`: the elements, each of which must be printable, as one text.
fn join(value: Value, arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let by = argument(&arguments, "sep", |value| value.as_str().map(str::to_owned))?.unwrap_or_default();
    let parts = list(&value)?.iter().map(plain_text).collect::<Result<Vec<_>, _>>()?;
    let length = parts.iter().map(|part| part.len() + by.len()).sum();
    meter::spend_text(length)?;
    Ok(Value::from(parts.join(&by)))
}

/// `x | length`: of text in characters, of a list or a map in elements.
fn length(value: Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let length = match given(&value)?.as_str() {
        Some(text) => Some(text.chars().count()),
        None if value.is_array() || value.is_map() => value.len(),
        None => None,
    };
    length.map(Value::from).ok_or_else(|| Refusal::NO_LENGTH.into())
}

/// `x | split(by=",")`: a list of the parts; of an empty text, an empty list.
fn split(value: Value, arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let by = text_argument(&arguments, "by")?;
    if by.is_empty() {
        return Err(Refusal::EMPTY_SEPARATOR.into());
    }
    let text = plain_text(&value)?;
    meter::spend(text.matches(by.as_str()).count())?;
    let parts: Vec<Value> =
        if text.is_empty() { Vec::new() } else { text.split(by.as_str()).map(Value::from).collect() };
    Ok(Value::from(parts))
}
