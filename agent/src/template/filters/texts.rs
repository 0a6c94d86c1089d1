//! Filters from text to text, and what is printed as a whole.

#![forbid(unsafe_code)]

use tera::{Kwargs, State, TeraResult, Value};

use super::{Filter, argument, text_argument};
use crate::template::escape::{json_literal, shell_word};
use crate::template::meter;
use crate::template::refusal::Refusal;
use crate::template::unit::plain_text;

/// The deepest indentation.
const DEEPEST: i64 = 64;

pub(super) const FILTERS: [(&str, Filter); 9] = [
    ("b64decode", b64decode),
    ("default", default),
    ("indent", indent),
    ("json", json),
    ("lower", |value, _, _| map(&value, str::to_lowercase)),
    ("replace", replace),
    ("sh", sh),
    ("trim", |value, _, _| map(&value, |text| text.trim().to_owned())),
    ("upper", |value, _, _| map(&value, str::to_uppercase)),
];

fn map(value: &Value, change: impl Fn(&str) -> String) -> TeraResult<Value> {
    Ok(Value::from(change(&plain_text(value)?)))
}

/// `x | default(value=y)`: `y` where `x` is null or not defined.
fn default(value: Value, arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let fallback = arguments.must_get::<Value>("value")?;
    Ok(if value.is_none() || value.is_undefined() { fallback } else { value })
}

/// `x | json`: a whole JSON literal, also of null, lists and maps.
fn json(value: Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    if value.is_undefined() {
        return Err(Refusal::UNDEFINED.into());
    }
    Ok(Value::from(json_literal(&value)))
}

/// `x | sh`: one quoted shell word.
fn sh(value: Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    Ok(Value::from(shell_word(&plain_text(&value)?)?))
}

/// `x | replace(from="a", to="b")`: every `a` becomes `b`.
fn replace(value: Value, arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let (from, to) = (text_argument(&arguments, "from")?, text_argument(&arguments, "to")?);
    let text = plain_text(&value)?;
    meter::spend_text(text.matches(from.as_str()).count().saturating_mul(to.len()))?;
    Ok(Value::from(text.replace(&from, &to)))
}

/// `x | indent(by=4)`: blanks before every line but the first, and none before an empty one.
fn indent(value: Value, arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let by = argument(&arguments, "by", Value::as_i64)?.filter(|by| (0..=DEEPEST).contains(by));
    let blanks = " ".repeat(by.ok_or(Refusal::NO_INDENT)? as usize);
    let text = plain_text(&value)?;
    meter::spend_text(text.matches('\n').count() * blanks.len())?;
    let indented = |(index, line): (usize, &str)| match line.trim_end_matches('\n') {
        "" => line.to_owned(),
        _ if index == 0 => line.to_owned(),
        _ => format!("{blanks}{line}"),
    };
    Ok(Value::from(text.split_inclusive('\n').enumerate().map(indented).collect::<String>()))
}

/// `x | b64decode`: the text that was encoded.
fn b64decode(value: Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let bytes = decode(&plain_text(&value)?).ok_or(Refusal::NOT_BASE64)?;
    let text = String::from_utf8(bytes).map_err(|_| Refusal::NOT_TEXT)?;
    Ok(Value::from(text))
}

/// What base64 stands for (RFC 4648, 4), with or without padding, in lines or not.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let all: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let padding = all.iter().rev().take_while(|b| **b == b'=').count();
    let digits = &all[..all.len() - padding];
    if padding > 0 && (padding > 2 || !all.len().is_multiple_of(4)) || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0;
        for digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        let [_, decoded @ ..] = bits.to_be_bytes();
        // Bits behind the last byte mean nothing, and say something else than they seem to if they are set.
        let (decoded, unused) = decoded.split_at(group.len() - 1);
        if unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend(decoded);
    }
    Some(bytes)
}
