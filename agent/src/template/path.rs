//! Where a template's file goes: fixed text, or with `for-each` text with places for what its element is called.
//!
//! Decides which places there may be, and what may stand in them. A value in a path is a name of its own, no more than
//! `a-z`, `0-9` and `-`, so that no environment can choose which directory is written.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// The longest value in a path.
const LONGEST: usize = 64;

/// What a place in a path is filled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// `{index}`
    Index,
    /// `{key}`
    Key,
    /// `{item}`, `{item.FIELD}`
    Item(Option<String>),
}

/// A target path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    written: String,
    /// Text, and the place behind it; then more text.
    slots: Vec<(String, Slot)>,
    rest: String,
}

impl Target {
    /// Reads a path; braces have a meaning with `for-each` alone.
    ///
    /// # Errors
    /// A place that there is not, by its byte, and what there is.
    pub(super) fn parse(text: &str, for_each: bool) -> Result<Self, (usize, String)> {
        let mut target = Self { written: text.to_owned(), slots: Vec::new(), rest: text.to_owned() };
        if !for_each {
            return match text.find('{') {
                None => Ok(target),
                Some(at) => {
                    let message = "the path is fixed text; {index}, {key} and {item.FIELD} need for-each";
                    Err((at, message.to_owned()))
                }
            };
        }
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let at = text.len() - rest.len() + open;
            let inside = rest[open + 1..].split_once('}');
            let (slot, behind) =
                inside.and_then(|(name, behind)| Some((slot(name)?, behind))).ok_or_else(|| {
                    (at, "the places in a path are {index}, {key}, {item} and {item.FIELD}".to_owned())
                })?;
            target.slots.push((rest[..open].to_owned(), slot));
            rest = behind;
        }
        target.rest = rest.to_owned();
        if target.slots.is_empty() {
            let message = "with for-each the path needs {index}, {key}, {item} or {item.FIELD}, so that each element has a file";
            return Err((0, message.to_owned()));
        }
        Ok(target)
    }

    /// As it is written in the template.
    pub(super) fn written(&self) -> &str {
        &self.written
    }

    /// What its places are filled from.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().map(|(_, slot)| slot)
    }

    /// The path of one element.
    ///
    /// # Errors
    /// The place whose value is no name.
    pub(super) fn fill(&self, value: impl Fn(&Slot) -> Option<String>) -> Result<PathBuf, String> {
        let mut path = String::with_capacity(self.written.len());
        for (before, slot) in &self.slots {
            let name = value(slot).filter(|name| is_name(name)).ok_or_else(|| slot.to_string())?;
            path.push_str(before);
            path.push_str(&name);
        }
        path.push_str(&self.rest);
        Ok(PathBuf::from(path))
    }

    /// Whether it may come to lie below `directory`, or be it, or lie above it.
    pub(super) fn touches(&self, directory: &Path) -> bool {
        // A component with a place in it may be any name.
        let own = Path::new(&self.written).components();
        own.zip(directory.components()).all(|(a, b)| a == b || a.as_os_str().to_string_lossy().contains('{'))
    }
}

fn slot(name: &str) -> Option<Slot> {
    let is_field = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    match name {
        "index" => Some(Slot::Index),
        "key" => Some(Slot::Key),
        "item" => Some(Slot::Item(None)),
        _ => name.strip_prefix("item.").filter(|f| is_field(f)).map(|f| Slot::Item(Some(f.to_owned()))),
    }
}

/// Whether a value may stand in a path.
fn is_name(value: &str) -> bool {
    (1..=LONGEST).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index => f.write_str("{index}"),
            Self::Key => f.write_str("{key}"),
            Self::Item(None) => f.write_str("{item}"),
            Self::Item(Some(field)) => write!(f, "{{item.{field}}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Slot, Target};
    use std::path::Path;

    #[test]
    fn a_path_has_places_for_each_element() {
        for (path, for_each, want) in [
            ("/etc/a", false, Ok(0)),
            ("/etc/a{index}", false, Err(6)),
            ("/etc/{index}/{item.ifname}.conf", true, Ok(2)),
            ("/etc/{key}", true, Ok(1)),
            ("/etc/a", true, Err(0)),
            ("/etc/{items}", true, Err(5)),
            ("/etc/{item.}", true, Err(5)),
            ("/etc/{item.a.b}", true, Err(5)),
            ("/etc/a{", true, Err(6)),
        ] {
            let got = Target::parse(path, for_each).map(|t| t.slots().count()).map_err(|(at, _)| at);
            assert_eq!(got, want, "{path}");
        }
    }

    #[test]
    fn a_value_in_a_path_is_a_name_of_its_own() {
        let target = Target::parse("/etc/{item.x}.conf", true).expect("a path");
        for (value, good) in [
            ("eth0", true),
            ("a-1", true),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("A", false),
            ("a_b", false),
            ("a\n", false),
            ("ä", false),
            (&"a".repeat(64), true),
            (&"a".repeat(65), false),
        ] {
            let filled = target.fill(|slot| {
                assert_eq!(*slot, Slot::Item(Some("x".to_owned())));
                Some(value.to_owned())
            });
            assert_eq!(filled.is_ok(), good, "{value:?}");
            assert!(filled.is_err() || filled == Ok(format!("/etc/{value}.conf").into()), "{value:?}");
        }
        assert_eq!(target.fill(|_| None), Err("{item.x}".to_owned()));
    }

    #[test]
    fn the_state_directory_is_out_of_reach_whatever_the_values() {
        for (path, for_each, touches) in [
            ("/var/lib/ovf-agent/state.json", false, true),
            ("/var/lib", false, true),
            ("/var/lib/other", false, false),
            ("/var/lib/{key}/state.json", true, true),
            ("/var/lib/x/{key}", true, false),
        ] {
            let target = Target::parse(path, for_each).expect(path);
            assert_eq!(target.touches(Path::new("/var/lib/ovf-agent")), touches, "{path}");
        }
    }
}
