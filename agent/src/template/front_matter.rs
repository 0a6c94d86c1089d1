//! The front matter of a template: TOML between two lines `+++`, saying what file the body becomes, and when.
//!
//! Decides the keys, their defaults and their limits. What its expressions mean is decided in `unit`, and what follows
//! from a change of the file by `apply`; here they are text and rules.

#![forbid(unsafe_code)]

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::body::Origin;
use super::path::Target;
use super::render::Rules;
use super::rules::{self, Need, Needed};
use crate::config::{is_plain_path, toml_problem, values};
use crate::problem::{At, Problem};

const FENCE: &str = "+++";

/// What the front matter says.
#[derive(Debug)]
pub(super) struct FrontMatter {
    pub(super) path: Target,
    /// Where that stands.
    pub(super) path_at: At,
    pub(super) mode: u32,
    pub(super) owner: Option<String>,
    pub(super) group: Option<String>,
    pub(super) escape: Escape,
    /// An expression, and where it stands.
    pub(super) when: Option<(String, Origin)>,
    /// The name of what there is a file for each element of, and where it stands.
    pub(super) for_each: Option<(String, At)>,
    pub(super) rules: Rules,
    /// What the guest must have for it.
    pub(super) needs: Vec<Need>,
}

/// How `{{ x }}` is written into the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Escape {
    /// As it is; refused where it is not plain.
    #[default]
    None,
    /// With JSON's escapes; the author writes the quotes.
    Json,
    /// With the escapes of YAML's double quotes; the author writes these.
    Yaml,
    /// With XML's escapes, for text and attributes; the author writes the quotes.
    Xml,
    /// As one quoted shell word.
    Shell,
    /// As it is; refused where `key = value` lines cannot carry it.
    Ini,
}

/// `absent`: what happens to the file while it is not to be.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WhenAbsent {
    Remove,
    Keep,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    path: Option<Spanned<String>>,
    mode: Option<Spanned<String>>,
    owner: Option<Spanned<String>>,
    group: Option<Spanned<String>>,
    #[serde(default)]
    escape: Escape,
    when: Option<Spanned<String>>,
    absent: Option<Spanned<WhenAbsent>>,
    for_each: Option<Spanned<String>>,
    check: Option<Spanned<Vec<Spanned<String>>>>,
    verify: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    restart: Vec<Spanned<String>>,
    #[serde(default)]
    reload: Vec<Spanned<String>>,
    #[serde(default)]
    on_change: Vec<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    keep_edits: bool,
    #[serde(default)]
    once: bool,
}

impl FrontMatter {
    /// Splits a template file into front matter, the number of lines before the body, and the body.
    ///
    /// # Errors
    /// Everything that is wrong with the front matter.
    pub(super) fn split<'a>(file: &str, text: &'a str) -> Result<(Self, usize, &'a str), Vec<Problem>> {
        let (toml, lines, body) = cut(text).map_err(|(at, message)| vec![Problem::at(file, at, message)])?;
        // The opening fence is line 1, so that TOML's first line is the file's second.
        let raw: Raw = values::parse(toml).map_err(|error| vec![toml_problem(file, toml, 1, &error)])?;
        let mut problems = Vec::new();
        let mut complain = |byte: Option<usize>, message: String| {
            problems.push(Problem::at(
                file,
                byte.map_or(At { line: 1, column: 1 }, |b| place(toml, b)),
                message,
            ));
        };
        let front = raw.check(toml, &mut complain);
        match front {
            Some(front) if problems.is_empty() => Ok((front, lines, body)),
            _ => Err(problems),
        }
    }
}

impl Raw {
    /// What is named here and must be in the guest.
    fn needs(&self, toml: &str) -> Vec<Need> {
        let mut needs = Vec::new();
        let mut add = |value: &Spanned<String>, what: fn(String) -> Needed| {
            let at = place(toml, value.span().start);
            needs.push(Need { at, what: what(value.get_ref().clone()) });
        };
        self.owner.iter().for_each(|name| add(name, Needed::User));
        self.group.iter().for_each(|name| add(name, Needed::Group));
        let first = |argv: &Option<Spanned<Vec<Spanned<String>>>>| argv.as_ref()?.get_ref().first().cloned();
        first(&self.check).iter().for_each(|word| add(word, |path| Needed::Program("check", path)));
        first(&self.verify).iter().for_each(|word| add(word, |path| Needed::Program("verify", path)));
        for argv in &self.on_change {
            let word = argv.get_ref().first();
            word.into_iter().for_each(|word| add(word, |path| Needed::Program("on-change", path)));
        }
        needs
    }

    fn check(self, toml: &str, complain: &mut impl FnMut(Option<usize>, String)) -> Option<FrontMatter> {
        let needs = self.needs(toml);
        let path_at = place(toml, self.path.as_ref().map_or(0, |path| path.span().start));
        let path = match self.path {
            None => {
                complain(None, "the front matter has no path; add path = \"/etc/...\"".to_owned());
                None
            }
            Some(path) => {
                if !is_plain_path(Path::new(path.get_ref())) {
                    let message = format!("path = \"{}\" must be absolute and name a file", path.get_ref());
                    complain(Some(path.span().start), message);
                }
                let target = Target::parse(path.get_ref(), self.for_each.is_some());
                target
                    .map_err(|(at, message)| {
                        complain(Some(inside(toml, path.span().start, path.get_ref(), at).0), message)
                    })
                    .ok()
            }
        };
        let mode = self.mode.map_or(Some(0o644), |mode| {
            let parsed = parse_mode(mode.get_ref());
            if parsed.is_none() {
                let message =
                    format!("mode = \"{}\" must be four octal digits up to \"0777\"", mode.get_ref());
                complain(Some(mode.span().start), message);
            }
            parsed
        });
        let mut name = |value: Option<Spanned<String>>, key: &str| {
            let value = value?;
            let text = value.get_ref();
            if text.is_empty() || text.contains([':', '\n']) {
                let message = format!("{key} = \"{text}\" is no name; owner and group are one name each");
                complain(Some(value.span().start), message);
            } else if text.bytes().all(|b| b.is_ascii_digit()) {
                let message =
                    format!("{key} = \"{text}\" is a number; write the name that has it in the image");
                complain(Some(value.span().start), message);
            }
            Some(value.into_inner())
        };
        let (owner, group) = (name(self.owner, "owner"), name(self.group, "group"));
        if let Some(absent) = &self.absent
            && self.when.is_none()
            && self.for_each.is_none()
        {
            let message = "absent needs a when or a for-each; without them there always is a file";
            complain(Some(absent.span().start), message.to_owned());
        }
        let mut rule = |byte, message| complain(Some(byte), message);
        let rules = Rules {
            check: rules::check(self.check, &mut rule),
            verify: rules::program(self.verify, "verify", &mut rule),
            on_change: self
                .on_change
                .into_iter()
                .filter_map(|program| rules::program(Some(program), "on-change", &mut rule))
                .collect(),
            restart: rules::units(&self.restart, &[], &mut rule),
            reload: rules::units(&self.reload, &self.restart, &mut rule),
            keep_edits: self.keep_edits,
            once: self.once,
            keep_absent: self.absent.is_some_and(|absent| absent.into_inner() == WhenAbsent::Keep),
        };
        Some(FrontMatter {
            path: path?,
            path_at,
            mode: mode?,
            owner,
            group,
            escape: self.escape,
            when: self.when.map(|when| {
                let (byte, exact) = inside(toml, when.span().start, when.get_ref(), 0);
                (when.into_inner(), Origin { at: place(toml, byte), exact })
            }),
            for_each: self.for_each.map(|each| {
                let at = place(toml, inside(toml, each.span().start, each.get_ref(), 0).0);
                (each.into_inner(), at)
            }),
            rules,
            needs,
        })
    }
}

/// The position in the template file of a byte of its TOML.
fn place(toml: &str, byte: usize) -> At {
    let at = At::of(toml, byte);
    At { line: at.line + 1, ..at }
}

/// Where a byte of a string stands in the TOML, where it begins at `start`, and whether that is certain: with escapes in
/// the string, it is the string as a whole.
pub(super) fn inside(toml: &str, start: usize, value: &str, byte: usize) -> (usize, bool) {
    let exact = toml[start + 1..].starts_with(value) && !value.contains('\n');
    if exact { (start + 1 + byte, true) } else { (start, false) }
}

/// The TOML, the number of lines before the body, and the body.
fn cut(text: &str) -> Result<(&str, usize, &str), (At, &'static str)> {
    let fence = |line: &str| line.trim_end_matches(['\r', '\n']) == FENCE;
    if text.starts_with('\u{feff}') {
        let message = "the file begins with a byte order mark; save it as UTF-8 without one";
        return Err((At { line: 1, column: 1 }, message));
    }
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().filter(|line| fence(line)).ok_or((
        At { line: 1, column: 1 },
        "a template begins with front matter; make the first line `+++`",
    ))?;
    let (mut end, mut count) = (first.len(), 1);
    for line in lines {
        count += 1;
        if fence(line) {
            return Ok((&text[first.len()..end], count, &text[end + line.len()..]));
        }
        end += line.len();
    }
    Err((At { line: count, column: 1 }, "the front matter has no end; close it with a line `+++`"))
}

/// Octal permission bits, without set-ID or sticky ones.
fn parse_mode(text: &str) -> Option<u32> {
    let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777)
}

#[cfg(test)]
mod tests;
