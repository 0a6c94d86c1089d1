//! What a declaration asks of a value besides its type: `one-of`, `min`, `max`, `pattern`.
//!
//! Decides for which types each of them means something, what it is about (a list's items for `one-of` and `pattern`, its
//! length for `min` and `max`), and how a broken one is put into words, without the value.

#![forbid(unsafe_code)]

use std::cmp::Ordering;

use regex_lite::Regex;
use toml::Spanned;

use super::declaration::Objection;
use super::types::{Scalar, Type};
use super::value::Value;

/// The rules of one parameter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// The only values there are; empty where there are others.
    pub(crate) one_of: Vec<Value>,
    /// The least number or length, as the type's numbers or [`Value::Uint`].
    pub(crate) min: Option<Value>,
    /// The greatest.
    pub(crate) max: Option<Value>,
    /// What all of a text must match.
    pub(crate) pattern: Option<Pattern>,
}

/// A regular expression that matches whole texts.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// As it was written.
    pub(crate) text: String,
    whole: Regex,
}

/// The rules as `agent.toml` has them.
#[derive(Clone)]
pub(super) struct RawRules {
    pub(super) one_of: Option<Spanned<Vec<Spanned<toml::Value>>>>,
    pub(super) min: Option<Spanned<toml::Value>>,
    pub(super) max: Option<Spanned<toml::Value>>,
    pub(super) pattern: Option<Spanned<String>>,
}

impl Rules {
    /// The rules, as far as they are sound and fit the type; what is not goes to `objections`.
    pub(super) fn check(name: &str, kind: &Type, raw: RawRules, objections: &mut Vec<Objection>) -> Self {
        let mut object = |at: usize, message: String| objections.push(Objection { at: Some(at), message });
        let mut rules = Self::default();
        let word = |text: &str| format!("{text} of parameter `{name}`");
        for (key, bound, slot) in [("min", raw.min, &mut rules.min), ("max", raw.max, &mut rules.max)] {
            let Some(bound) = bound else { continue };
            match read_bound(kind, bound.get_ref()) {
                Ok(value) => *slot = Some(value),
                Err(why) => object(bound.span().start, format!("{}: {why}", word(key))),
            }
            if let Some(one_of) = &raw.one_of
                && matches!(kind, Type::Scalar(_))
            {
                let why = "one-of says already which values there are; leave one of them out";
                object(one_of.span().start, format!("{} and {key}: {why}", word("one-of")));
            }
        }
        if let (Some(min), Some(max)) = (&rules.min, &rules.max)
            && compare(min, max) == Some(Ordering::Greater)
        {
            objections.push(Objection {
                at: None,
                message: format!("min of parameter `{name}` is greater than its max; no value fits"),
            });
        }
        let mut object = |at: usize, message: String| objections.push(Objection { at: Some(at), message });
        if let Some(pattern) = raw.pattern {
            let at = pattern.span().start;
            if !kind.item().scalar().is_some_and(is_text) {
                let why = "only text and lists of text have one";
                object(at, format!("{}: {why}, but not type {kind}", word("pattern")));
            } else if let Some(one_of) = &raw.one_of {
                let why = "one-of says already which values there are; leave one of them out";
                object(one_of.span().start, format!("{} and pattern: {why}", word("one-of")));
            }
            match Pattern::new(pattern.into_inner()) {
                Ok(pattern) => rules.pattern = Some(pattern),
                Err(why) => object(at, format!("{} is no regular expression: {why}", word("pattern"))),
            }
        }
        if let Some(one_of) = raw.one_of {
            let at = one_of.span().start;
            let item = kind.item();
            if item.scalar().is_none_or(|scalar| scalar == Scalar::Bool) {
                object(at, format!("{}: the type {kind} has none; leave it out", word("one-of")));
                return rules;
            }
            if one_of.get_ref().is_empty() {
                object(at, format!("{} is empty, so no value fits; name the values", word("one-of")));
            }
            for value in one_of.into_inner() {
                match item.read_toml(value.get_ref()) {
                    Some(value) => rules.one_of.push(value),
                    None => {
                        let rule = item.rule();
                        object(
                            value.span().start,
                            format!(
                                "{} has a value that does not fit the type; it must be {rule}",
                                word("one-of")
                            ),
                        );
                    }
                }
            }
        }
        rules
    }

    /// What a value breaks, to be said after "parameter `x`:".
    pub(super) fn broken(&self, kind: &Type, sensitive: bool, value: &Value) -> Vec<String> {
        let mut broken = Vec::new();
        let items = if let Value::List(items) = value { items } else { std::slice::from_ref(value) };
        if !self.one_of.is_empty() && !items.iter().all(|item| self.one_of.contains(item)) {
            broken.push(self.one_of_rule(kind, sensitive));
        }
        let size = size(kind, value);
        for (bound, wrong, word) in self.bounds() {
            if compare(&size, bound) == Some(wrong) {
                broken.push(bound_rule(kind, bound, word));
            }
        }
        if let Some(pattern) = &self.pattern
            && !items.iter().all(|item| pattern.matches(item))
        {
            broken.push(pattern.rule(kind));
        }
        broken
    }

    /// All of the rules, as they are said where one is broken.
    pub(crate) fn sentences(&self, kind: &Type, sensitive: bool) -> Vec<String> {
        let one_of =
            Some(()).filter(|()| !self.one_of.is_empty()).map(|()| self.one_of_rule(kind, sensitive));
        let bounds = self.bounds().map(|(bound, _, word)| bound_rule(kind, bound, word));
        one_of
            .into_iter()
            .chain(bounds)
            .chain(self.pattern.as_ref().map(|pattern| pattern.rule(kind)))
            .collect()
    }

    fn one_of_rule(&self, kind: &Type, sensitive: bool) -> String {
        // What a secret may be is half of what it is.
        let known = if sensitive {
            "the declared values".to_owned()
        } else {
            let known: Vec<_> = self.one_of.iter().map(|it| it.reveal().as_str().to_owned()).collect();
            known.join(", ")
        };
        format!("{} must be one of {known}", subject(kind))
    }

    /// Each bound, how a size that breaks it compares with it, and its word.
    fn bounds(&self) -> impl Iterator<Item = (&Value, Ordering, &'static str)> {
        let min = self.min.iter().map(|min| (min, Ordering::Less, "at least"));
        min.chain(self.max.iter().map(|max| (max, Ordering::Greater, "at most")))
    }
}

impl Pattern {
    fn new(text: String) -> Result<Self, String> {
        // Alone first: `a)(b` would be sound between brackets.
        Regex::new(&text).map_err(|error| error.to_string())?;
        let whole = Regex::new(&format!(r"\A(?:{text})\z")).map_err(|error| error.to_string())?;
        Ok(Self { text, whole })
    }

    fn rule(&self, kind: &Type) -> String {
        format!("{} must match the pattern `{}`", subject(kind), self.text)
    }

    fn matches(&self, value: &Value) -> bool {
        matches!(value, Value::String(text) if self.whole.is_match(text))
    }
}

/// Whether values of a type are text, which a pattern can be about.
fn is_text(scalar: Scalar) -> bool {
    !scalar.is_number() && scalar != Scalar::Bool
}

/// `min` and `max` are numbers of the type for numbers, and a length for what has one.
fn read_bound(kind: &Type, value: &toml::Value) -> Result<Value, String> {
    match kind {
        Type::Scalar(scalar) if scalar.is_number() => {
            kind.read_toml(value).ok_or_else(|| format!("it must be {}", kind.rule()))
        }
        Type::Scalar(scalar) if !scalar.is_string() => Err(format!(
            "numbers have a size, and strings, lists and maps a length; the type {kind} has neither"
        )),
        _ => match value {
            toml::Value::Integer(length) => u64::try_from(*length).ok().map(Value::Uint),
            _ => None,
        }
        .ok_or_else(|| "a length must be a whole number".to_owned()),
    }
}

/// What `one-of` and `pattern` are about.
fn subject(kind: &Type) -> &'static str {
    if matches!(kind, Type::List(_)) { "every item" } else { "it" }
}

/// What `min` and `max` are about.
fn size(kind: &Type, value: &Value) -> Value {
    match value {
        Value::String(text) if kind.scalar().is_some_and(Scalar::is_string) => {
            Value::Uint(text.chars().count() as u64)
        }
        Value::List(items) => Value::Uint(items.len() as u64),
        Value::Map(map) => Value::Uint(map.len() as u64),
        value => value.clone(),
    }
}

fn bound_rule(kind: &Type, bound: &Value, word: &str) -> String {
    let unit = match kind {
        Type::List(_) => "item",
        Type::Map(_) => "value",
        Type::Scalar(scalar) if scalar.is_string() => "character",
        Type::Scalar(_) => return format!("it must be {word} {}", bound.reveal().as_str()),
    };
    let plural = if *bound == Value::Uint(1) { "" } else { "s" };
    format!("it must have {word} {} {unit}{plural}", bound.reveal().as_str())
}

/// Numbers of one kind; others have no order.
pub(super) fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Real(a), Value::Real(b)) => a.partial_cmp(b),
        _ => None,
    }
}
