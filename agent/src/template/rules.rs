//! The rules of a front matter that name programs and units.
//!
//! Decides what a program and a unit look like here. Whether a program is there is not looked at, since the configuration
//! may be checked where the image is not: `config::image` does so where it is.

#![forbid(unsafe_code)]

use toml::Spanned;

use crate::problem::At;

/// What stands for the staged file.
const FILE: &str = "{}";
/// Kinds of units that can be restarted.
const SUFFIXES: [&str; 9] =
    ["service", "socket", "target", "timer", "path", "mount", "automount", "swap", "slice"];
/// The longest name of a unit (systemd, UNIT_NAME_MAX).
const LONGEST: usize = 255;

/// Something that a template names and the guest must have, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Where it stands.
    pub at: At,
    /// What it is.
    pub what: Needed,
}

/// What a template needs of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needed {
    /// The account that owns the file.
    User(String),
    /// The group that the file belongs to.
    Group(String),
    /// A program, and the key that names it.
    Program(&'static str, String),
    /// systemd, for a unit that is waited for.
    Unit(String),
}

type Argv = Spanned<Vec<Spanned<String>>>;

/// A program that is given the staged file.
pub(super) fn check(argv: Option<Argv>, complain: &mut impl FnMut(usize, String)) -> Option<Vec<String>> {
    let argv = argv?;
    let at = argv.span().start;
    let words = words(argv, "check", complain)?;
    let part = words.iter().find(|word| word.get_ref().contains(FILE) && word.get_ref() != FILE);
    if let Some(word) = part {
        complain(word.span().start, format!("`{}`: {FILE} must be a word of its own", word.get_ref()));
    } else if words.iter().filter(|word| word.get_ref() == FILE).count() != 1 {
        let message =
            format!("check needs the word \"{FILE}\" once, which becomes the path of the staged file");
        complain(at, message);
    }
    Some(words.into_iter().map(Spanned::into_inner).collect())
}

/// A program that looks at what is in place, or acts on it.
pub(crate) fn program(
    argv: Option<Argv>,
    key: &str,
    complain: &mut impl FnMut(usize, String),
) -> Option<Vec<String>> {
    let words = words(argv?, key, complain)?;
    for word in words.iter().filter(|word| word.get_ref().contains(FILE)) {
        complain(word.span().start, format!("{FILE} is for check alone; {key} looks at what is in place"));
    }
    Some(words.into_iter().map(Spanned::into_inner).collect())
}

fn words(argv: Argv, key: &str, complain: &mut impl FnMut(usize, String)) -> Option<Vec<Spanned<String>>> {
    let at = argv.span().start;
    let words = argv.into_inner();
    let Some(program) = words.first() else {
        complain(at, format!("{key} names no program; write [\"/usr/bin/...\", ...]"));
        return None;
    };
    if !program.get_ref().starts_with('/') {
        let message = format!(
            "`{}` must be the program's absolute path; nothing is looked up in PATH",
            program.get_ref()
        );
        complain(program.span().start, message);
    }
    for word in words.iter().filter(|word| word.get_ref().contains('\0')) {
        complain(word.span().start, "a program's argument cannot have a NUL character".to_owned());
    }
    Some(words)
}

/// Names of units, none of which is among the `others`.
pub(super) fn units(
    names: &[Spanned<String>],
    others: &[Spanned<String>],
    complain: &mut impl FnMut(usize, String),
) -> Vec<String> {
    for name in names {
        let text = name.get_ref();
        let twice = others.iter().any(|other| other.get_ref() == text);
        let twice = twice.then(|| format!("`{text}` is restarted already; it can be only one of these"));
        if let Some(wrong) = unit_objection(text).or(twice) {
            complain(name.span().start, wrong);
        }
    }
    names.iter().map(|name| name.get_ref().clone()).collect()
}

/// What is wrong with the name of a unit.
pub(crate) fn unit_objection(text: &str) -> Option<String> {
    let known = |(_, suffix): &(&str, &str)| SUFFIXES.contains(suffix);
    match text.rsplit_once('.').filter(known) {
        None => Some(format!("`{text}` is no unit; it needs its ending, as in `{text}.service`")),
        // systemd, VALID_CHARS of unit names.
        Some((stem, _))
            if stem.is_empty()
                || text.len() > LONGEST
                || !stem.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b)) =>
        {
            Some(format!("`{text}` is no name of a unit"))
        }
        Some((stem, _)) if stem.ends_with('@') => {
            Some(format!("`{text}` is no unit but a template of units; name an instance"))
        }
        Some(_) => None,
    }
}
