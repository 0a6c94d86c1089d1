//! What is wrong with something that an appliance builder wrote: which file, where, what, and what would mend it.
//!
//! One type for the configuration and the templates, so that `check` prints all of it in one form,
//! `file:line:column: message`, and the report carries the same words. Never holds a property value: these
//! problems are found, or put into words, without looking at one.

#![forbid(unsafe_code)]

use std::fmt;

use serde::Serialize;

use crate::printable;

/// One problem; in order, by file and position. Displayed as `file:line:column: message`; a line or column that is not known is left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file, as it is called below the configuration directory: `agent.toml`, `templates/mydb.conf.tera`.
    pub file: String,
    /// Where, if that can be said: line and column, both from 1.
    #[serde(flatten)]
    pub at: Option<At>,
    /// What is wrong; what would mend it.
    pub message: String,
}

/// A position in a text, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct At {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl At {
    /// The position of a byte of `text`.
    pub fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl Problem {
    /// A problem at a known position.
    pub fn at(file: impl Into<String>, at: At, message: impl Into<String>) -> Self {
        Self { file: file.into(), at: Some(at), message: message.into() }
    }

    /// A problem with a file as a whole.
    pub fn with(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), at: None, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name of a file can have a line break, and would make two problems of one.
        write!(f, "{}:", printable::text(&self.file))?;
        if let Some(At { line, column }) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", printable::text(&self.message))
    }
}

/// All problems found, at least one; displayed one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// `value` if nothing was found, else the problems, in the order of files and positions.
    ///
    /// # Errors
    /// There are problems.
    pub fn unless_none<T>(mut problems: Vec<Problem>, value: T) -> Result<T, Self> {
        if problems.is_empty() {
            return Ok(value);
        }
        problems.sort();
        Err(Self(problems))
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::{At, Problem, Problems};

    #[test]
    fn a_byte_has_a_line_and_a_column() {
        let text = "aä\n\nb";
        for (byte, line, column) in
            [(0, 1, 1), (1, 1, 2), (3, 1, 3), (4, 2, 1), (5, 3, 1), (6, 3, 2), (99, 3, 2)]
        {
            assert_eq!(At::of(text, byte), At { line, column }, "byte {byte}");
        }
    }

    #[test]
    fn problems_are_shown_in_order_with_what_is_known() {
        let problems = vec![
            Problem::with("b", "no path"),
            Problem::at("a", At { line: 2, column: 1 }, "second"),
            Problem::at("a", At { line: 1, column: 9 }, "first"),
        ];
        let shown = Problems::unless_none(problems, ()).expect_err("three").to_string();
        assert_eq!(shown, "a:1:9: first\na:2:1: second\nb: no path");
        assert_eq!(Problems::unless_none(Vec::new(), 7), Ok(7));
    }
}
