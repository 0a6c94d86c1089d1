//! Somebody of this machine who says that the guest is not ready, for as long as he says so.
//!
//! Decides how it is told, and which words may be: the host shows them.

#![forbid(unsafe_code)]

use crate::printable;
use crate::ready::Unmet;
use crate::sys::clock::Moment;

/// The longest name and reason, in characters.
const WHO: usize = 64;
const WHY: usize = 256;

/// One who holds the guest back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    who: String,
    why: String,
    since: Moment,
}

impl Hold {
    /// By these words, from now on.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(who: String, why: String, now: Moment) -> Result<Self, String> {
        for (what, text, most) in [("who", &who, WHO), ("why", &why, WHY)] {
            let is_one_line = printable::text(text) == *text;
            if text.trim().is_empty() || text.chars().count() > most || !is_one_line {
                return Err(format!("`{what}` is to be one line of 1 to {most} characters"));
            }
        }
        Ok(Self { who, why, since: now })
    }

    /// Who it is.
    pub fn who(&self) -> &str {
        &self.who
    }

    /// As a gate that is not passed.
    pub(super) fn unmet(&self, now: Moment) -> Unmet {
        Unmet {
            gate: format!("hold {}", self.who),
            code: "Held".to_owned(),
            reason: self.why.clone(),
            since_ms: now.saturating_sub(self.since).as_millis() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Hold;
    use crate::sys::clock::Moment;

    #[test]
    fn words_are_short_and_on_one_line() {
        let long = |length: usize| "ä".repeat(length);
        for (who, why, is_well) in [
            ("mydb", "loads 3 tables", true),
            (&long(64), &long(256), true),
            (&long(65), "x", false),
            ("x", &long(257), false),
            ("", "x", false),
            ("x", " ", false),
            ("x", "two\nlines", false),
            ("x\u{1b}[2J", "x", false),
            ("x", "turned \u{202e}around", false),
        ] {
            let hold = Hold::new(who.to_owned(), why.to_owned(), Moment::ZERO);
            assert_eq!(hold.is_ok(), is_well, "{who:?} {why:?}");
        }
    }
}
