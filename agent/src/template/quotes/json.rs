//! JSON: strings in double quotes, and nothing else that has quotes (RFC 8259).

#![forbid(unsafe_code)]

use super::{Place, Printed, Reader};

/// Where in a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Json {
    Outside,
    String,
    /// Behind a backslash.
    Escaped,
}

impl Reader for Json {
    fn start() -> Self {
        Self::Outside
    }

    fn text(&mut self, text: &str) {
        for c in text.chars() {
            *self = match (*self, c) {
                (Self::Outside, '"') | (Self::Escaped, _) => Self::String,
                (Self::String, '"') => Self::Outside,
                (Self::String, '\\') => Self::Escaped,
                (same, _) => same,
            };
        }
    }

    fn print(&mut self, what: Printed) -> Result<Place, &'static str> {
        match (*self, what) {
            (_, Printed::Safe) | (Self::Outside, Printed::Whole) | (Self::String, Printed::Text) => {
                Ok(Place::Value)
            }
            (Self::Outside, Printed::Text) => {
                Err("stands outside of quotes; write \"{{ x }}\", or {{ x | json }} for a whole literal")
            }
            (Self::String, Printed::Whole) => {
                Err("prints a whole literal, and stands between quotes; take the quotes away, or the filter")
            }
            (Self::Escaped, _) => Err("stands behind a backslash; take that away"),
        }
    }

    fn join(&self, other: &Self) -> Option<Self> {
        (self == other).then_some(*self)
    }

    fn is_open(&self) -> bool {
        *self != Self::Outside
    }
}
