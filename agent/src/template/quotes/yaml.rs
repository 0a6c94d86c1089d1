//! YAML: double quotes take escapes; plain scalars, single quotes and block scalars do not (YAML 1.2.2, 7.3 and 8.1).
//!
//! A quote opens a string only where a value begins; `don't` has none.

#![forbid(unsafe_code)]

use super::{Place, Printed, Reader, UNSURE};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Where a value may begin.
    Fresh,
    /// In a plain scalar, or behind a value.
    Plain,
    Double,
    /// Behind a backslash in double quotes.
    Escaped,
    Single,
    Comment,
    /// In a comment or not, until the line ends.
    Unsure,
    /// In the line with `|` or `>`, and then in the lines that are deeper than this column.
    Header(usize),
    Block(usize),
}

/// Where in a YAML text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Yaml {
    mode: Mode,
    before: char,
    /// The column of what comes next, from 0.
    column: usize,
    /// The column that a block scalar of this line must be deeper than: its key's, or its dash's.
    parent: usize,
    /// Whether the line has had anything but blanks, dashes and question marks.
    begun: bool,
    /// How many brackets and braces are open.
    flow: usize,
}

impl Yaml {
    fn new_line(&mut self) {
        (self.column, self.parent, self.begun) = (0, 0, false);
        self.mode = match self.mode {
            Mode::Header(parent) | Mode::Block(parent) => Mode::Block(parent),
            Mode::Double | Mode::Escaped => Mode::Double,
            Mode::Single => Mode::Single,
            Mode::Fresh | Mode::Plain | Mode::Comment | Mode::Unsure => Mode::Fresh,
        };
    }

    fn step(&mut self, c: char) {
        let blank = matches!(c, ' ' | '\t');
        if let Mode::Block(parent) = self.mode
            && !blank
            && !self.begun
            && self.column <= parent
        {
            self.mode = Mode::Fresh;
        }
        let separated = matches!(self.before, ' ' | '\t' | '\n');
        self.mode = match (self.mode, c) {
            (Mode::Double, '"') | (Mode::Single, '\'') => Mode::Plain,
            (Mode::Double, '\\') => Mode::Escaped,
            (Mode::Escaped, _) => Mode::Double,
            (Mode::Fresh | Mode::Plain, '#') if separated => Mode::Comment,
            (Mode::Fresh, '"') => Mode::Double,
            (Mode::Fresh, '\'') => Mode::Single,
            // In `{"a":"b"}`.
            (Mode::Plain, '"') if self.flow > 0 && self.before == ':' => Mode::Double,
            (Mode::Fresh, '|' | '>') if self.flow == 0 => Mode::Header(self.parent),
            (Mode::Fresh, '[' | '{') => {
                self.flow += 1;
                Mode::Fresh
            }
            (Mode::Fresh | Mode::Plain, ']' | '}') => {
                self.flow = self.flow.saturating_sub(1);
                Mode::Plain
            }
            (Mode::Fresh | Mode::Plain, ',') if self.flow > 0 => Mode::Fresh,
            (Mode::Plain, _) if blank && self.before == ':' => Mode::Fresh,
            (Mode::Plain, _) if blank && !self.begun => Mode::Fresh,
            (Mode::Fresh, _) if !blank => Mode::Plain,
            (same, _) => same,
        };
        if !blank && !self.begun {
            self.parent = self.column;
            self.begun = !matches!(c, '-' | '?');
        }
    }
}

impl Reader for Yaml {
    fn start() -> Self {
        Self { mode: Mode::Fresh, before: '\n', column: 0, parent: 0, begun: false, flow: 0 }
    }

    fn text(&mut self, text: &str) {
        let mut property = false;
        for c in text.chars() {
            if c == '\n' {
                self.new_line();
                property = false;
            } else {
                // `!tag` and `&anchor` stand before a value.
                property |= self.mode == Mode::Fresh && matches!(c, '!' | '&');
                self.step(c);
                if property && matches!(c, ' ' | '\t') {
                    (self.mode, property) = (Mode::Fresh, false);
                }
                self.column += 1;
            }
            self.before = c;
        }
    }

    fn print(&mut self, what: Printed) -> Result<Place, &'static str> {
        let mode = self.mode;
        self.before = '"';
        self.begun = true;
        match (mode, what) {
            (Mode::Comment, _) => Ok(Place::Comment),
            (Mode::Fresh, Printed::Whole | Printed::Safe) => {
                self.mode = Mode::Plain;
                Ok(Place::Value)
            }
            (_, Printed::Safe) | (Mode::Double, Printed::Text) => Ok(Place::Value),
            (Mode::Double, Printed::Whole) => {
                Err("prints a whole literal, and stands between quotes; take the quotes away, or the filter")
            }
            (Mode::Unsure, _) => Err(UNSURE),
            (Mode::Escaped, _) => Err("stands behind a backslash; take that away"),
            (Mode::Single, _) => {
                Err("stands in single quotes, which have no escapes; write double quotes, \"{{ x }}\"")
            }
            (Mode::Header(_) | Mode::Block(_), _) => Err(
                "stands in a block scalar, which has no escapes; write the value in double quotes, \"{{ x }}\"",
            ),
            (Mode::Fresh | Mode::Plain, Printed::Text) => {
                Err("stands outside of quotes; write \"{{ x }}\", or {{ x | json }} for a whole literal")
            }
            (Mode::Plain, Printed::Whole) => {
                Err("prints a whole literal, and stands in the middle of something; write \"{{ x }}\"")
            }
        }
    }

    fn join(&self, other: &Self) -> Option<Self> {
        use Mode::{Comment, Fresh, Plain, Unsure};
        match (self.mode, other.mode) {
            (a, b) if a == b => Some(*self),
            // As in `{% if not loop.last %}, {% endif %}`: the author knows where values begin.
            (Fresh, Plain) => Some(*self),
            (Plain, Fresh) => Some(*other),
            (Comment | Unsure, Fresh | Plain | Unsure)
            | (Fresh | Plain, Comment | Unsure)
            | (Unsure, Comment) => Some(Self { mode: Unsure, ..*self }),
            _ => None,
        }
    }
}
