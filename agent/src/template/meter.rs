//! What rendering may cost: steps, and bytes of text.
//!
//! Decides the limits. How often a loop goes round, and how long a text becomes, is for values to say, and values come from
//! outside; the engine itself has no limit. So text goes through a writer that stops, and whatever else takes time or memory
//! counts steps: elements of loops, filters, prints, and what they make by its length (`body` and `filters` see to that).
//! Steps and not seconds, so that what is refused is the same on every machine.
//!
//! The count is the thread's: the engine hands its filters nothing that it could be kept in, and renders on one thread.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::io;

use tera::{Kwargs, State, TeraResult, Value};
use zeroize::Zeroizing;

use super::refusal::Refusal;

/// The longest text of a file.
pub(super) const FILE: usize = 16 << 20;
/// The longest text of a derived value or a condition.
pub(super) const VALUE: usize = 1 << 20;
/// All text of a pass.
const PASS: usize = 64 << 20;
/// Steps for one text, a fifth of a second on a usual machine.
const STEPS: usize = 1_000_000;
/// All steps of a pass.
const PASS_STEPS: usize = 4_000_000;
/// The bytes of text that are made in the time of a step.
const BYTES_A_STEP: usize = 64;
/// The elements of a list that are compared with something in that time.
const COMPARISONS_A_STEP: usize = 64;

/// The filter for what a loop goes through, or a list takes over. Templates cannot spell it.
pub(super) const LOOPED: &str = "__looped";
/// The filter for what is searched by `in`.
pub(super) const SEARCHED: &str = "__searched";
/// Its argument: the bytes of text that each element of a loop captures.
pub(super) const CAPTURES: &str = "text";

/// What is left to a pass, and to the text that is being rendered.
#[derive(Clone, Copy)]
struct Left {
    text: usize,
    steps: usize,
    own_steps: usize,
}

impl Left {
    const ALL: Self = Self { text: PASS, steps: PASS_STEPS, own_steps: STEPS };
}

thread_local! {
    static LEFT: Cell<Left> = const { Cell::new(Left::ALL) };
}

/// Begins a pass: all that is rendered from here on counts together.
pub(super) fn begin() {
    LEFT.set(Left::ALL);
}

/// Counts steps.
///
/// # Errors
/// There are none left.
pub(super) fn spend(steps: usize) -> Result<(), Refusal> {
    let left = LEFT.get();
    let Some(own_steps) = left.own_steps.checked_sub(steps) else { return Err(Refusal::STEPS) };
    let Some(steps) = left.steps.checked_sub(steps) else { return Err(Refusal::PASS_STEPS) };
    LEFT.set(Left { steps, own_steps, ..left });
    Ok(())
}

/// Counts the making of so much text as one step and more.
///
/// # Errors
/// There are none left.
pub(super) fn spend_text(bytes: usize) -> Result<(), Refusal> {
    spend(1 + bytes / BYTES_A_STEP)
}

/// Counts a value that goes into a filter or comes out of one: text by its length, all else is passed on and not copied.
///
/// # Errors
/// There are no steps left.
pub(super) fn spend_value(value: &Value) -> Result<(), Refusal> {
    spend_text(value.as_str().map_or(0, str::len))
}

/// [`LOOPED`]: a step for each element, and for the text that it captures.
pub(super) fn looped(value: Value, arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let captured = arguments.get::<usize>(CAPTURES)?.unwrap_or(0) / BYTES_A_STEP;
    spend(elements(&value).saturating_mul(1 + captured))?;
    Ok(value)
}

/// [`SEARCHED`]: less than that.
pub(super) fn searched(value: Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    spend(1 + elements(&value) / COMPARISONS_A_STEP)?;
    Ok(value)
}

fn elements(value: &Value) -> usize {
    // Not the engine's length of a text, which reads all of it.
    value.as_str().map_or_else(|| value.len().unwrap_or(0), str::len)
}

/// A text that grows to its limit and no further.
pub(super) struct Text {
    bytes: Zeroizing<Vec<u8>>,
    most: usize,
    /// Whether there was more.
    over: bool,
}

impl Text {
    /// Begins a text of at most so many bytes, with steps of its own; `usual` is how long it may be expected to become.
    pub(super) fn begin(most: usize, usual: usize) -> Self {
        let left = LEFT.get();
        LEFT.set(Left { own_steps: STEPS, ..left });
        Self { bytes: Zeroizing::new(Vec::with_capacity(usual)), most: most.min(left.text), over: false }
    }

    /// What is said of a text that became too long.
    pub(super) fn objection(&self) -> Option<String> {
        let megabytes = |bytes: usize| bytes >> 20;
        let remedy = "shorten the lists and texts that it goes through";
        if !self.over {
            None
        } else if LEFT.get().text > self.most {
            Some(format!(
                "the text becomes longer than {} MiB, the most that it may; {remedy}",
                megabytes(self.most)
            ))
        } else {
            let most = megabytes(PASS);
            Some(format!(
                "the texts of a pass become longer than {most} MiB together, the most that they may; {remedy}"
            ))
        }
    }

    /// The whole text, which then counts.
    pub(super) fn finish(mut self) -> String {
        let left = LEFT.get();
        LEFT.set(Left { text: left.text.saturating_sub(self.bytes.len()), ..left });
        String::from_utf8(std::mem::take(&mut *self.bytes)).expect("templates and values are text")
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.most - self.bytes.len() {
            self.over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
