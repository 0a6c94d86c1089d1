//! `key = value` lines: comments in lines of their own, and no quotes to escape from.
//!
//! A print at the beginning of a line could become a section, a comment or a key, so it must stand behind something; and not in
//! the name of a section, where it could end it.

#![forbid(unsafe_code)]

use super::{Place, Printed, Reader, UNSURE};

/// Where in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ini {
    /// Nothing but blanks so far.
    Start,
    Inside,
    /// In the name of a section.
    Section,
    /// Between double quotes, which end with the line.
    Quoted,
    Comment,
    /// In a comment or not, until the line ends.
    Unsure,
}

impl Reader for Ini {
    fn start() -> Self {
        Self::Start
    }

    fn text(&mut self, text: &str) {
        for c in text.chars() {
            *self = match (*self, c) {
                (_, '\n') => Self::Start,
                (Self::Start, '#' | ';') => Self::Comment,
                (Self::Start, '[') => Self::Section,
                (Self::Section, ']') => Self::Inside,
                (Self::Start, c) if c.is_whitespace() => Self::Start,
                (Self::Start | Self::Inside, '"') => Self::Quoted,
                (Self::Quoted, '"') | (Self::Start, _) => Self::Inside,
                (same, _) => same,
            };
        }
    }

    fn print(&mut self, what: Printed) -> Result<Place, &'static str> {
        match (*self, what) {
            (Self::Comment, _) => Ok(Place::Comment),
            (_, Printed::Safe | Printed::Whole) | (Self::Inside, _) => {
                if *self == Self::Start {
                    *self = Self::Inside;
                }
                Ok(Place::Value)
            }
            (Self::Unsure, _) => Err(UNSURE),
            (Self::Section, _) => {
                Err("stands in the name of a section, which a value could end; a section has a fixed name")
            }
            (Self::Start, _) => Err(
                "begins its line, where a value could be taken for a section or a comment; put `key = ` before it",
            ),
            (Self::Quoted, _) => Err(
                "stands inside of quotes, which a value could end; take the quotes away, or choose the escape of \
                     the file's format (json, yaml, shell)",
            ),
        }
    }

    fn join(&self, other: &Self) -> Option<Self> {
        match (*self, *other) {
            (a, b) if a == b => Some(a),
            (Self::Start | Self::Inside, Self::Start | Self::Inside) => Some(Self::Start),
            (Self::Comment | Self::Unsure, _) | (_, Self::Comment | Self::Unsure) => Some(Self::Unsure),
            _ => None,
        }
    }
}
