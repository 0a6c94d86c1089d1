//! What was mended in a document that was read all the same.
//!
//! Decides how often a mistake is reported: one that a generator makes in every line is reported once, where
//! it is first met, with the number of repetitions; and a document has at most [`MAX_KEPT`] warnings. Does
//! not decide what is mended. Texts follow the rules of [`super::error`]: names are quoted, values never.
#![forbid(unsafe_code)]

use std::fmt;

use super::error::Lines;

/// Warnings kept apart; the rest is counted. A log with more of them is not read by anybody.
const MAX_KEPT: usize = 100;

/// Something odd that was mended: the document was read all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
    /// What is odd, and what was made of it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

/// Mistakes that are made throughout a document, if at all.
#[derive(Clone, Copy)]
pub(super) enum Habit {
    /// An element of ours without a namespace.
    BareElement,
    /// An attribute of ours without a namespace.
    BareAttribute,
    /// An attribute of ours in the descriptor's namespace.
    EnvelopeAttribute,
    /// `name` where `key` is meant.
    NameForKey,
    /// Text where only elements belong.
    Text,
    /// A property that is in no property section.
    StrayProperty,
}

/// The warnings so far, with byte offsets.
#[derive(Default)]
pub(super) struct Warnings {
    kept: Vec<(usize, String)>,
    /// For each habit: its place in `kept`, and how often it was met again.
    habits: [Option<(usize, usize)>; 6],
    dropped: usize,
}

impl Warnings {
    /// Adds a warning; the text is made only if it is kept.
    pub(super) fn add(&mut self, at: usize, message: impl FnOnce() -> String) {
        if self.kept.len() < MAX_KEPT {
            self.kept.push((at, message()));
        } else {
            self.dropped += 1;
        }
    }

    /// Adds a warning for the first mistake of its kind, and counts the others.
    pub(super) fn habit(&mut self, habit: Habit, at: usize, message: impl FnOnce() -> String) {
        match &mut self.habits[habit as usize] {
            Some((_, again)) => *again += 1,
            None => {
                if self.kept.len() < MAX_KEPT {
                    self.habits[habit as usize] = Some((self.kept.len(), 0));
                }
                self.add(at, message);
            }
        }
    }

    /// The warnings for people, in the order of the document.
    pub(super) fn locate(mut self, text: &str) -> Vec<Warning> {
        for (index, again) in self.habits.iter().flatten().filter(|(_, again)| *again > 0) {
            self.kept[*index].1 += &format!(" ({again} more like this)");
        }
        self.kept.sort_by_key(|(at, _)| *at);
        let mut lines = Lines::new(text);
        let mut located = Vec::with_capacity(self.kept.len() + 1);
        for (at, message) in self.kept {
            let (line, column) = lines.locate(at);
            located.push(Warning { line, column, message });
        }
        if self.dropped > 0 {
            let (line, column) = located.last().map_or((1, 1), |last| (last.line, last.column));
            located.push(Warning {
                line,
                column,
                message: format!("{} more warnings are not shown", self.dropped),
            });
        }
        located
    }
}
