//! Qualifiers: what a value may be beyond its type.
//!
//! Decides how `ovf:qualifiers` is read: DSP0243's MinLen, MaxLen and ValueMap, VMware's MinValue and MaxValue, separated
//! by commas or blanks. What is not understood is passed over, and said.

#![forbid(unsafe_code)]

use super::Type;
use crate::finding::quoted;
use crate::suggest;

/// Values of a ValueMap, and complaints of one list of qualifiers.
const MAX_VALUES: usize = 4_096;
const MAX_COMPLAINTS: usize = 8;
/// Values that are named to people.
const MAX_CHOICES: usize = 12;

const NAMES: [&str; 5] = ["MinLen", "MaxLen", "MinValue", "MaxValue", "ValueMap"];

/// Bounds of a value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Qualifiers {
    /// The fewest characters.
    pub min_length: Option<usize>,
    /// The most characters.
    pub max_length: Option<usize>,
    /// The smallest number.
    pub min: Option<f64>,
    /// The largest number.
    pub max: Option<f64>,
    /// All values that there are.
    pub values: Option<Vec<String>>,
}

impl Qualifiers {
    /// What is written, and what is wrong with it.
    pub fn read(written: &str, kind: &Type) -> (Self, Vec<String>) {
        let (mut all, mut complaints) = (Self::default(), Vec::new());
        let mut rest = written.trim_matches(is_between);
        while !rest.is_empty() {
            let end = rest.find(['(', '{']).unwrap_or(rest.len());
            let name = rest[..end].trim();
            let Some((arguments, after)) = arguments(&rest[end..]) else {
                complaints
                    .push(format!("the qualifiers end inside {}; close it with `)` or `}}`", quoted(name)));
                break;
            };
            if let Err(complaint) = all.take(name, arguments, kind) {
                complaints.push(complaint);
                if complaints.len() == MAX_COMPLAINTS {
                    break;
                }
            }
            rest = after.trim_matches(is_between);
        }
        if all.min_length.zip(all.max_length).is_some_and(|(min, max)| min > max)
            || all.min.zip(all.max).is_some_and(|(min, max)| min > max)
        {
            complaints.push(
                "no value fits these qualifiers: the least is above the most; exchange them".to_owned(),
            );
        }
        (all, complaints)
    }

    fn take(&mut self, name: &str, arguments: &str, kind: &Type) -> Result<(), String> {
        let number = |what: &str| {
            arguments.trim().parse().map_err(|_| format!("{what} wants a number from 0; write {what}(8)"))
        };
        let real = |what: &str| {
            arguments.trim().parse().map_err(|_| format!("{what} wants a number; write {what}(8)"))
        };
        let is_number = matches!(kind, Type::Integer(_) | Type::Real(_));
        match name {
            "MinLen" | "MaxLen" if *kind != Type::String => {
                return Err(format!("{name} is for strings, and this is none; remove it"));
            }
            "MinValue" | "MaxValue" if !is_number => {
                return Err(format!("{name} is for numbers, and this is none; remove it"));
            }
            "MinLen" => self.min_length = Some(number(name)?),
            "MaxLen" => self.max_length = Some(number(name)?),
            "MinValue" => self.min = Some(real(name)?),
            "MaxValue" => self.max = Some(real(name)?),
            "ValueMap" => {
                let values = list(arguments).ok_or_else(|| {
                    format!("ValueMap has more than {MAX_VALUES} values, and is passed over; no form shows so many")
                })?;
                if values.is_empty() {
                    return Err("ValueMap lists no value; name some, or remove it".to_owned());
                }
                let misfits = values.iter().filter(|it| kind.check(it).is_err()).count();
                self.values = Some(values);
                if misfits > 0 {
                    return Err(format!(
                        "ValueMap has values that do not fit the type ({misfits}); correct them"
                    ));
                }
            }
            _ => {
                let meant = suggest::meant(name, NAMES.iter().copied());
                return Err(format!("the qualifier {} is not known, and passed over; {meant}", quoted(name)));
            }
        }
        Ok(())
    }

    /// Whether a value that was given keeps to them.
    ///
    /// # Errors
    /// What it would have to be.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let length = value.chars().count();
        if let Some(min) = self.min_length.filter(|&min| length < min) {
            return Err(format!("a text of at least {min} characters"));
        }
        if let Some(max) = self.max_length.filter(|&max| length > max) {
            return Err(format!("a text of at most {max} characters"));
        }
        if let Ok(number) = value.parse::<f64>() {
            if let Some(min) = self.min.filter(|&min| number < min) {
                return Err(format!("a number of at least {min}"));
            }
            if let Some(max) = self.max.filter(|&max| number > max) {
                return Err(format!("a number of at most {max}"));
            }
        }
        if let Some(values) = &self.values
            && !values.iter().any(|it| it == value)
        {
            return Err("one of the values that its ValueMap lists".to_owned());
        }
        Ok(())
    }

    /// The first of the values that there are, in words.
    pub fn choices(&self) -> Option<String> {
        let values = self.values.as_ref()?;
        let first: Vec<_> = values.iter().take(MAX_CHOICES).map(|it| quoted(it)).collect();
        let more = if values.len() > MAX_CHOICES { " and more" } else { "" };
        Some(format!("{}{more}", first.join(", ")))
    }

    /// Whether something has to be given.
    pub fn wants_a_value(&self) -> bool {
        self.min_length.is_some_and(|min| min > 0)
    }
}

fn is_between(character: char) -> bool {
    character.is_whitespace() || character == ','
}

/// What is in the parentheses or braces that come now, and what follows them.
fn arguments(rest: &str) -> Option<(&str, &str)> {
    let close = match rest.chars().next()? {
        '(' => ')',
        _ => '}',
    };
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = is_quoted,
            '"' => is_quoted = !is_quoted,
            _ if character == close && !is_quoted => return Some((&rest[1..at], &rest[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Values separated by commas; in quotes they may have commas themselves. None if they are too many.
fn list(arguments: &str) -> Option<Vec<String>> {
    let (mut values, mut value) = (Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped, mut was_quoted) = (false, false, false);
    for character in arguments.chars() {
        match character {
            _ if is_escaped => {
                value.push(character);
                is_escaped = false;
            }
            '\\' if is_quoted => is_escaped = true,
            '"' => {
                is_quoted = !is_quoted;
                was_quoted = true;
            }
            ',' if !is_quoted => {
                values.push(std::mem::take(&mut value));
                was_quoted = false;
                if values.len() > MAX_VALUES {
                    return None;
                }
            }
            _ if character.is_whitespace() && !is_quoted && (value.is_empty() || was_quoted) => {}
            _ => value.push(character),
        }
    }
    if !value.is_empty() || was_quoted {
        values.push(value);
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::super::Type;
    use super::Qualifiers;

    const INT: Type = Type::Integer(Some((0, 65535)));

    #[test]
    fn qualifiers_are_read_with_commas_and_blanks() {
        let (read, complaints) = Qualifiers::read("MinLen(1), MaxLen(8) ", &Type::String);
        assert_eq!((read.min_length, read.max_length, &complaints[..]), (Some(1), Some(8), &[][..]));
        let (read, complaints) = Qualifiers::read("MinValue(10) MaxValue(1000)", &INT);
        assert_eq!((read.min, read.max, &complaints[..]), (Some(10.0), Some(1000.0), &[][..]));
        let (read, complaints) = Qualifiers::read(r#"ValueMap{"a, b", "c}\"d", "", e}"#, &Type::String);
        let want = ["a, b", "c}\"d", "", "e"].map(str::to_owned);
        assert_eq!((read.values.as_deref(), &complaints[..]), (Some(&want[..]), &[][..]));
        let (read, _) = Qualifiers::read("ValueMap{1,2}", &INT);
        assert_eq!(read.values.as_deref(), Some(&["1".to_owned(), "2".to_owned()][..]));
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        for (written, kind, want) in [
            (
                "MinLength(1)",
                Type::String,
                "the qualifier `MinLength` is not known, and passed over; `MinLen` was probably meant",
            ),
            ("MinLen(x)", Type::String, "MinLen wants a number from 0; write MinLen(8)"),
            ("MinLen(1)", INT, "MinLen is for strings, and this is none; remove it"),
            ("MaxValue(1)", Type::String, "MaxValue is for numbers, and this is none; remove it"),
            ("MinLen(1", Type::String, "the qualifiers end inside `MinLen`; close it with `)` or `}`"),
            ("MinLen", Type::String, "the qualifiers end inside `MinLen`; close it with `)` or `}`"),
            ("ValueMap{}", Type::String, "ValueMap lists no value; name some, or remove it"),
            ("ValueMap{\"s3cret\"}", INT, "ValueMap has values that do not fit the type (1); correct them"),
            (
                "MinLen(9) MaxLen(8)",
                Type::String,
                "no value fits these qualifiers: the least is above the most; exchange them",
            ),
        ] {
            let (_, complaints) = Qualifiers::read(written, &kind);
            assert_eq!(complaints, [want], "{written}");
        }
    }

    #[test]
    fn a_value_keeps_to_them_or_is_told_what_it_should_be() {
        let (lengths, _) = Qualifiers::read("MinLen(2) MaxLen(3)", &Type::String);
        let (numbers, _) = Qualifiers::read("MinValue(10) MaxValue(20)", &INT);
        let (values, _) = Qualifiers::read("ValueMap{\"a\",\"b\"}", &Type::String);
        for (qualifiers, value, want) in [
            (&lengths, "ä", Some("a text of at least 2 characters")),
            (&lengths, "äöü", None),
            (&lengths, "abcd", Some("a text of at most 3 characters")),
            (&numbers, "9", Some("a number of at least 10")),
            (&numbers, "20", None),
            (&numbers, "21", Some("a number of at most 20")),
            (&values, "a", None),
            (&values, "c", Some("one of the values that its ValueMap lists")),
        ] {
            assert_eq!(qualifiers.check(value).err().as_deref(), want, "{value}");
        }
        assert!(lengths.wants_a_value() && !values.wants_a_value());
    }
}
