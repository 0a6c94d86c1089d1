//! Where a `{{ x }}` may stand: inside of quotes that the author wrote, outside of them, or in a comment.
//!
//! Decides that by reading the text between the tags as a reader of the file's format would, through every branch. It
//! is no parser of these formats: it follows quotes, comments and nesting, takes the author's text to be what it looks
//! like, and where two branches leave off differently it says so and does not guess. What a value looks like where it
//! may stand is decided in `escape`.

#![forbid(unsafe_code)]

mod ini;
mod json;
mod shell;
mod xml;
mod yaml;

use std::collections::BTreeSet;

use super::front_matter::Escape;
use super::scan::{Piece, Tag, TagKind};

/// What a tag prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Printed {
    /// A value by the file's escape.
    Text,
    /// A whole literal or word of the format.
    Whole,
    /// What the author vouches for.
    Safe,
}

/// Where a print stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Value,
    /// In a comment that ends with its line.
    Comment,
}

/// Said of a print of which only some branches before it make a comment.
const UNSURE: &str =
    "stands behind a comment that one branch before it has and another has not; begin a line before it";

/// Follows a format's text.
trait Reader: Clone {
    /// At the beginning of a file.
    fn start() -> Self;
    /// Goes on over text of the author's.
    fn text(&mut self, text: &str);
    /// Goes on over a print; what is wrong with its standing here, if anything is.
    fn print(&mut self, what: Printed) -> Result<Place, &'static str>;
    /// Where two branches meet; `None` where that cannot be.
    fn join(&self, other: &Self) -> Option<Self>;
    /// Whether a file that ends here certainly lacks something. Only a format whose text is followed to the letter says so.
    fn is_open(&self) -> bool {
        false
    }
}

/// Judges every print of a body, and says which of them stand in a comment, by the beginning of their inside.
pub(super) fn check(
    body: &str,
    pieces: &[Piece<'_>],
    escape: Escape,
    printed: impl Fn(&Tag<'_>) -> Printed,
    complain: &mut impl FnMut(usize, String),
) -> BTreeSet<usize> {
    let start = match escape {
        // What it prints has no meaning in any quotes.
        Escape::None => return BTreeSet::new(),
        Escape::Json => Any::Json(json::Json::start()),
        Escape::Yaml => Any::Yaml(yaml::Yaml::start()),
        Escape::Xml => Any::Xml(xml::Xml::start()),
        Escape::Shell => Any::Shell(shell::Shell::start()),
        Escape::Ini => Any::Ini(ini::Ini::start()),
    };
    walk(body, pieces, &start, printed, complain)
}

/// The reader of one format. An enum, so that the walk through the branches is compiled once and not for each: 20 KiB.
#[derive(Clone)]
enum Any {
    Json(json::Json),
    Yaml(yaml::Yaml),
    Xml(xml::Xml),
    Shell(shell::Shell),
    Ini(ini::Ini),
}

/// Asks the reader, whichever it is.
macro_rules! ask {
    ($any:expr, $reader:ident => $answer:expr) => {
        match $any {
            Any::Json($reader) => $answer,
            Any::Yaml($reader) => $answer,
            Any::Xml($reader) => $answer,
            Any::Shell($reader) => $answer,
            Any::Ini($reader) => $answer,
        }
    };
}

impl Any {
    fn text(&mut self, text: &str) {
        ask!(self, reader => reader.text(text));
    }

    fn print(&mut self, what: Printed) -> Result<Place, &'static str> {
        ask!(self, reader => reader.print(what))
    }

    fn join(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Json(a), Self::Json(b)) => a.join(b).map(Self::Json),
            (Self::Yaml(a), Self::Yaml(b)) => a.join(b).map(Self::Yaml),
            (Self::Xml(a), Self::Xml(b)) => a.join(b).map(Self::Xml),
            (Self::Shell(a), Self::Shell(b)) => a.join(b).map(Self::Shell),
            (Self::Ini(a), Self::Ini(b)) => a.join(b).map(Self::Ini),
            // A file has one format.
            _ => None,
        }
    }

    fn is_open(&self) -> bool {
        ask!(self, reader => reader.is_open())
    }
}

/// A block that is open.
enum Frame {
    /// Where it stands, what was before it, where its branches ended, and whether it has an `else`.
    If {
        at: usize,
        before: Option<Any>,
        ends: Vec<Any>,
        has_else: bool,
    },
    For {
        at: usize,
        before: Option<Any>,
        ends: Vec<Any>,
    },
    /// What is captured is a text of its own.
    Set {
        at: usize,
        before: Option<Any>,
    },
}

/// `None` for where a reader is means that nothing comes here, behind a `break`.
fn walk(
    body: &str,
    pieces: &[Piece<'_>],
    start: &Any,
    printed: impl Fn(&Tag<'_>) -> Printed,
    complain: &mut impl FnMut(usize, String),
) -> BTreeSet<usize> {
    let mut comments = BTreeSet::new();
    let mut now = Some(start.clone());
    let mut open: Vec<Frame> = Vec::new();
    for piece in pieces {
        let tag = match piece {
            Piece::Text(at) => {
                if let Some(reader) = &mut now {
                    reader.text(&body[at.clone()]);
                }
                continue;
            }
            Piece::Tag(tag) => tag,
        };
        if tag.kind == TagKind::Print {
            match now.as_mut().map(|reader| reader.print(printed(tag))) {
                Some(Ok(Place::Comment)) => {
                    comments.insert(tag.inside.start);
                }
                Some(Err(message)) => {
                    let blank = body[tag.inside.clone()].len() - body[tag.inside.clone()].trim_start().len();
                    let shown = super::unit::shortened(&body[tag.inside.clone()]);
                    complain(tag.inside.start + blank, format!("`{{{{ {shown} }}}}` {message}"));
                }
                Some(Ok(Place::Value)) | None => {}
            }
            continue;
        }
        let (at, word) = tag.keyword();
        match word {
            "if" => {
                open.push(Frame::If { at, before: now.clone(), ends: Vec::new(), has_else: false });
            }
            "for" => open.push(Frame::For { at, before: now.clone(), ends: Vec::new() }),
            "set" | "set_global" if !tag.assigns() => {
                open.push(Frame::Set { at, before: now.replace(start.clone()) });
            }
            "elif" | "else" => match open.last_mut() {
                Some(Frame::If { before, ends, has_else, .. }) => {
                    ends.extend(std::mem::replace(&mut now, before.clone()));
                    *has_else |= word == "else";
                }
                Some(Frame::For { before, ends, .. }) => {
                    ends.extend(std::mem::replace(&mut now, before.clone()));
                }
                _ => {}
            },
            "break" | "continue" => {
                let innermost = open.iter_mut().rev().find_map(|frame| match frame {
                    Frame::For { ends, .. } => Some(ends),
                    _ => None,
                });
                if let (Some(ends), Some(reader)) = (innermost, now.take()) {
                    ends.push(reader);
                }
            }
            "endif" | "endfor" | "endset" | "endset_global" => {
                let Some(frame) = open.pop() else { continue };
                now = close(frame, now, start, complain);
            }
            _ => {}
        }
    }
    if now.is_some_and(|reader| reader.is_open()) {
        // Where it was opened may be anywhere before; most often it is around the last value.
        let last = pieces.iter().rev().find_map(|piece| match piece {
            Piece::Tag(tag) if tag.kind == TagKind::Print => Some(tag.keyword().0),
            _ => None,
        });
        complain(
            last.unwrap_or(0),
            "the file ends inside of quotes that nothing closes, around this value or behind it".to_owned(),
        );
    }
    comments
}

/// Where the reader is behind a block.
fn close(
    frame: Frame,
    now: Option<Any>,
    start: &Any,
    complain: &mut impl FnMut(usize, String),
) -> Option<Any> {
    let (at, what, mut ends) = match frame {
        Frame::If { at, before, mut ends, has_else } => {
            ends.extend(now);
            ends.extend(before.filter(|_| !has_else));
            (at, "the branches of this {% if %} end", ends)
        }
        Frame::For { at, before, mut ends } => {
            ends.extend(now);
            ends.extend(before);
            (at, "this {% for %} begins and ends", ends)
        }
        Frame::Set { at, before } => {
            if now.is_some_and(|now| now.join(start).is_none()) {
                let message = "this {% set %} begins and ends at different sides of a quote or a comment; \
                               make each {% set %} whole in itself";
                complain(at, message.to_owned());
            }
            return before;
        }
    };
    // The last is where the reader would be if nothing of the block were there.
    let mut joined = ends.pop()?;
    for end in ends {
        match end.join(&joined) {
            Some(both) => joined = both,
            None => {
                let message =
                    "at different sides of a quote or a comment; close in each branch what it opens";
                complain(at, format!("{what} {message}"));
                break;
            }
        }
    }
    Some(joined)
}

#[cfg(test)]
mod tests;
