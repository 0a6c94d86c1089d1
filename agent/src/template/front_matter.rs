//! The front matter of a template: TOML between two lines `+++`, saying what file the body becomes.
//!
//! Decides the keys, their defaults and their limits. The path is fixed text: it is never computed from a property, so
//! that no environment can choose which file is written.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::config::{is_plain_path, toml_problem};
use crate::problem::{At, Problem};

const FENCE: &str = "+++";

/// What the front matter says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrontMatter {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) owner: Option<String>,
    pub(super) group: Option<String>,
    pub(super) escape: Escape,
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
    /// As one quoted shell word.
    Shell,
    /// As it is; refused where `key = value` lines cannot carry it.
    Ini,
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
}

impl FrontMatter {
    /// Splits a template file into front matter, the number of lines before the body, and the body.
    ///
    /// # Errors
    /// Everything that is wrong with the front matter.
    pub(super) fn split<'a>(file: &str, text: &'a str) -> Result<(Self, usize, &'a str), Vec<Problem>> {
        let (toml, lines, body) = cut(text).map_err(|(at, message)| vec![Problem::at(file, at, message)])?;
        // The opening fence is line 1, so that TOML's first line is the file's second.
        let raw: Raw = toml::from_str(toml).map_err(|error| vec![toml_problem(file, toml, 1, &error)])?;
        let mut problems = Vec::new();
        let mut complain = |byte: Option<usize>, message: String| {
            let at = byte.map_or(At { line: 1, column: 1 }, |byte| {
                let at = At::of(toml, byte);
                At { line: at.line + 1, ..at }
            });
            problems.push(Problem::at(file, at, message));
        };
        let path = match raw.path {
            None => {
                complain(None, "the front matter has no path; add path = \"/etc/...\"".to_owned());
                PathBuf::new()
            }
            Some(path) => {
                if !is_plain_path(Path::new(path.get_ref())) {
                    let message = format!("path = \"{}\" must be absolute and name a file", path.get_ref());
                    complain(Some(path.span().start), message);
                }
                PathBuf::from(path.into_inner())
            }
        };
        let mode = raw.mode.map_or(Some(0o644), |mode| {
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
            if value.get_ref().is_empty() || value.get_ref().contains([':', '\n']) {
                complain(Some(value.span().start), format!("{key} = \"{}\" is no name", value.get_ref()));
            }
            Some(value.into_inner())
        };
        let (owner, group) = (name(raw.owner, "owner"), name(raw.group, "group"));
        match mode {
            Some(mode) if problems.is_empty() => {
                Ok((Self { path, mode, owner, group, escape: raw.escape }, lines, body))
            }
            _ => Err(problems),
        }
    }
}

/// The TOML, the number of lines before the body, and the body.
fn cut(text: &str) -> Result<(&str, usize, &str), (At, &'static str)> {
    let fence = |line: &str| line.trim_end_matches(['\r', '\n']) == FENCE;
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
mod tests {
    use super::{Escape, FrontMatter};
    use std::path::Path;

    #[test]
    fn a_template_is_front_matter_and_a_body() {
        let text =
            "+++\npath = \"/etc/a\"\nmode = \"0640\"\nowner = \"db\"\nescape = \"ini\"\n+++\nline\n+++\n";
        let (front, lines, body) = FrontMatter::split("f", text).expect("right");
        assert_eq!((front.path.as_path(), front.mode), (Path::new("/etc/a"), 0o640));
        assert_eq!((front.owner.as_deref(), front.group.as_deref()), (Some("db"), None));
        assert_eq!((front.escape, lines, body), (Escape::Ini, 6, "line\n+++\n"));
        let (front, _, body) = FrontMatter::split("f", "+++\r\npath = \"/a\"\r\n+++").expect("right");
        assert_eq!((front.mode, front.escape, body), (0o644, Escape::None, ""));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, want) in [
            ("", "f:1:1: a template begins with front matter; make the first line `+++`"),
            ("x\n+++\n", "f:1:1: a template begins with front matter; make the first line `+++`"),
            ("+++\npath = \"/a\"\n", "f:2:1: the front matter has no end; close it with a line `+++`"),
            ("+++\n+++\n", "f:1:1: the front matter has no path; add path = \"/etc/...\""),
            ("+++\npath = \"a\"\n+++\n", "f:2:8: path = \"a\" must be absolute and name a file"),
            ("+++\npath = \"/a/\"\n+++\n", "f:2:8: path = \"/a/\" must be absolute and name a file"),
            (
                "+++\npath = \"/a\"\nmode = \"4755\"\n+++\n",
                "f:3:8: mode = \"4755\" must be four octal digits up to \"0777\"",
            ),
            (
                "+++\npath = \"/a\"\nmode = \"0o64\"\n+++\n",
                "f:3:8: mode = \"0o64\" must be four octal digits up to \"0777\"",
            ),
            ("+++\npath = \"/a\"\nowner = \"\"\n+++\n", "f:3:9: owner = \"\" is no name"),
        ] {
            let problems = FrontMatter::split("f", text).expect_err(text);
            assert_eq!(problems[0].to_string(), want, "{text:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_at_its_line() {
        let problems =
            FrontMatter::split("f", "+++\npath = \"/a\"\nmodus = \"0644\"\n+++\n").expect_err("modus");
        let shown = problems[0].to_string();
        assert!(shown.starts_with("f:3:1: unknown field `modus`"), "{shown}");
    }
}
