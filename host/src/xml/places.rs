//! Lines and columns of a text.
//!
//! Decides how places are counted: from 1, columns in characters. A mark every few kilobytes says where its line began and
//! how many characters of it came before, so that a place is found as soon in a text of one line as in one of a million,
//! and the marks of 64 MiB take half a megabyte.

#![forbid(unsafe_code)]

use crate::finding::At;

/// Bytes from mark to mark.
const STEP: usize = 4096;

/// Marks in a text.
#[derive(Debug)]
pub(super) struct Places(Vec<At>);

impl Places {
    /// Those of a text.
    pub(super) fn of(text: &str) -> Self {
        let (mut marks, mut at) = (Vec::with_capacity(text.len() / STEP + 1), At { line: 1, column: 1 });
        for piece in text.as_bytes().chunks(STEP) {
            marks.push(at);
            at = after(at, piece);
        }
        marks.push(at);
        Self(marks)
    }

    /// The place of a byte of the same text; of one behind its end, the end's.
    pub(super) fn at(&self, text: &str, byte: usize) -> At {
        let byte = byte.min(text.len());
        let mark = byte / STEP;
        after(self.0[mark], &text.as_bytes()[mark * STEP..byte])
    }
}

/// Where one is behind these bytes.
fn after(mut at: At, bytes: &[u8]) -> At {
    for &byte in bytes {
        if byte == b'\n' {
            at = At { line: at.line + 1, column: 1 };
        } else if byte & 0xC0 != 0x80 {
            // A character counts with its first byte.
            at.column += 1;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::{Places, STEP};
    use crate::finding::At;

    #[test]
    fn a_place_is_the_same_as_one_that_is_counted_from_the_beginning() {
        let text = format!("ä{}\n{}", "ö€x\n".repeat(STEP), "ü😀".repeat(STEP));
        let places = Places::of(&text);
        for byte in (0..=text.len()).step_by(101).chain([STEP - 1, STEP, STEP + 1, text.len()]) {
            let byte = (0..=byte).rev().find(|&it| text.is_char_boundary(it)).expect("0 is one");
            let before = &text[..byte];
            let start = before.rfind('\n').map_or(0, |at| at + 1);
            let want =
                At { line: 1 + before.matches('\n').count(), column: 1 + before[start..].chars().count() };
            assert_eq!(places.at(&text, byte), want, "byte {byte}");
        }
        assert_eq!(places.at(&text, usize::MAX), places.at(&text, text.len()));
    }
}
