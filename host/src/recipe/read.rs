//! Reading a recipe.
//!
//! Decides how what the reader of TOML says is put to somebody who writes it.

#![forbid(unsafe_code)]

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{FILE, Recipe, judge, outside};
use crate::document::is_forbidden;
use crate::finding::{Code, Finding, quoted};
use crate::suggest;
use crate::xml::Source;

/// The file's bytes.
const MAX_RECIPE: u64 = 1 << 20;

impl Recipe {
    /// The recipe in a directory, which may name what is outside of that, and its text.
    ///
    /// # Errors
    /// There is none, or what cannot be meant in it.
    pub fn read(directory: &Path, may_leave: bool) -> Result<(Self, Source), Vec<Finding>> {
        let file = directory.join(FILE);
        let shown = file.display().to_string();
        let bytes = crate::bounded::whole(&file, MAX_RECIPE).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                let message = format!("there is none; name a folder that has an {FILE}");
                vec![Finding::with(&shown, Code::Unreadable, message)]
            }
            _ => vec![crate::package::unreadable(&shown, &error)],
        })?;
        let source = Source::new(shown, bytes).map_err(|finding| vec![finding])?;
        let recipe: Self = toml::from_str(&source.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            vec![source.finding(Code::Recipe, at, plainly(error.message()))]
        })?;
        let mut findings = Vec::new();
        let mut forbidden = |at| {
            let message = "this has a character that XML forbids, and all of it goes into XML; remove it";
            findings.push(source.finding(Code::Recipe, at, message));
        };
        if let Ok(table) = DeTable::parse(&source.text) {
            texts(table.get_ref(), &mut forbidden);
        }
        judge::judge(&recipe, directory, &mut |at, message: String| {
            findings.push(source.finding(Code::Recipe, at, message))
        });
        if !may_leave {
            outside::check(&recipe, directory, &mut |at, message: String| {
                findings.push(source.finding(Code::Recipe, at, message))
            });
        }
        findings.sort();
        if findings.is_empty() { Ok((recipe, source)) } else { Err(findings) }
    }
}

/// Finds the texts that XML has no way to hold.
fn texts(table: &DeTable<'_>, find: &mut impl FnMut(usize)) {
    for (key, value) in table {
        if is_forbidden(key.get_ref()) {
            find(key.span().start);
        }
        text(value, find);
    }
}

fn text(value: &Spanned<DeValue<'_>>, find: &mut impl FnMut(usize)) {
    match value.get_ref() {
        DeValue::String(text) if is_forbidden(text) => find(value.span().start),
        DeValue::Array(all) => all.iter().for_each(|it| text(it, find)),
        DeValue::Table(table) => texts(table, find),
        _ => {}
    }
}

/// What the reader of TOML says, with what to write instead. What stands in the place of something else may be a secret, and
/// is not repeated.
fn plainly(message: &str) -> String {
    if let Some((found, wanted)) =
        message.strip_prefix("invalid type: ").and_then(|it| it.rsplit_once(", expected "))
    {
        return wanted_here(found, wanted);
    }
    match message {
        "wanted string or table" => return A_TEXT.to_owned(),
        "duplicate key" => return "this key is here twice; take one of them away".to_owned(),
        _ => {}
    }
    if let Some(range) = numbers(message) {
        return range;
    }
    if let Some(key) = message.strip_prefix("missing field ") {
        return format!("the key {key} is missing; add it");
    }
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match names.split_first() {
        Some((unknown, known)) if message.starts_with("unknown field") => {
            match suggest::nearest(unknown, known.iter().copied()) {
                Some(near) => {
                    format!("there is no key {}; {} was probably meant", quoted(unknown), quoted(near))
                }
                None => format!("there is no key {}; there are {}", quoted(unknown), known.join(", ")),
            }
        }
        Some(_) if message.starts_with("unknown variant") => {
            // Behind the last of these words, whatever is in the text that was given.
            let known = message.rsplit_once(", expected ").map_or("", |(_, known)| known);
            let known = known.split('`').skip(1).step_by(2);
            format!("there is no such word for this; {}", suggest::meant(names[0], known))
        }
        _ => message.to_owned(),
    }
}

const A_TEXT: &str = "a text is wanted here; write it in quotes";

/// What is to be written where something of another kind is, both in the reader's words.
fn wanted_here(found: &str, wanted: &str) -> String {
    let plain = match wanted {
        "a string" if found == "map" => "a text is wanted here; write a key that has dots in it in quotes",
        "a string" | "path string" => A_TEXT,
        "a sequence" => "a list is wanted here; write it in [ ]",
        "a boolean" => "a truth value is wanted here; write true or false, without quotes",
        _ if wanted == "a map" || wanted.starts_with("struct ") => {
            "a table is wanted here; write { KEY = VALUE }, or a part of its own below [NAME]"
        }
        _ => {
            let range = numbers(wanted).unwrap_or_else(|| "something else is wanted here".to_owned());
            let quotes = if found.starts_with("string") { "; write it without quotes" } else { "" };
            return format!("{range}{quotes}");
        }
    };
    plain.to_owned()
}

/// Which numbers are wanted, if that is what the reader says.
fn numbers(message: &str) -> Option<String> {
    let (first, last) = match message {
        _ if message.contains("nonzero u32") => (1, u32::MAX),
        _ if message.ends_with("u16") => (0, u16::MAX.into()),
        _ => return None,
    };
    Some(format!("a whole number from {first} to {last} is wanted here"))
}
