//! Cuts the byte stream of the agent's port into frames.
//!
//! The rule is the protocol's: every frame is one line of JSON that begins *and* ends with a newline, so a
//! frame cut short by a reconnection spoils nothing but itself. Empty lines mean nothing; what is no
//! JSON object is torn, counted and skipped.

use serde_json::{Map, Value};

/// A line from the guest that is longer than this is refused, as the protocol says.
const LONGEST: usize = 1024 * 1024;

/// Splits what arrives, in whatever pieces it arrives.
#[derive(Debug, Default)]
pub struct Frames {
    pending: Vec<u8>,
    /// The line that ended last was empty: the next one is a frame that began with its own newline.
    after_empty_line: bool,
    /// How many lines were no frame.
    pub torn: usize,
    /// How many frames did not begin with a newline of their own.
    pub unannounced: usize,
}

impl Frames {
    /// Takes the next bytes and gives the frames that they complete, each as its line.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut whole = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.pending.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.pending);
            if line.is_empty() {
                self.after_empty_line = true;
                continue;
            }
            let announced = std::mem::take(&mut self.after_empty_line);
            match String::from_utf8(line) {
                Ok(line) if line.len() <= LONGEST && is_object(&line) => {
                    self.unannounced += usize::from(!announced);
                    whole.push(line);
                }
                _ => {
                    self.torn += 1;
                    // The newline that the next frame begins with has ended this one.
                    self.after_empty_line = true;
                }
            }
        }
        whole
    }

    /// The connection ended: what has no end yet never gets one.
    pub fn disconnect(&mut self) {
        self.torn += usize::from(!self.pending.is_empty());
        self.pending.clear();
    }
}

fn is_object(line: &str) -> bool {
    serde_json::from_str::<Map<String, Value>>(line).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_json_objects_are_frames() {
        let table: [(&str, &[&str], usize, usize); 8] = [
            ("nothing", &[""], 0, 0),
            ("one frame", &["\n{\"seq\":1}\n"], 1, 0),
            ("one frame in three pieces", &["\n{\"se", "q\":", "1}\n"], 1, 0),
            ("two frames and empty lines", &["\n{}\n\n\n\n{}\n"], 2, 0),
            ("a torn frame before a whole one", &["\n{\"partial\":", "\n{}\n"], 1, 1),
            ("JSON that is no object", &["\n7\n", "\n[]\n"], 0, 2),
            ("not even text", &["\n\u{0}\u{1}\n"], 0, 1),
            ("no end", &["\n{}"], 0, 0),
        ];
        for (name, pieces, whole, torn) in table {
            let mut frames = Frames::default();
            let found: usize = pieces.iter().map(|piece| frames.push(piece.as_bytes()).len()).sum();
            assert_eq!((found, frames.torn), (whole, torn), "{name}: {pieces:?}");
        }
    }

    #[test]
    fn a_frame_without_its_leading_newline_is_noticed() {
        let mut frames = Frames::default();
        assert_eq!(frames.push(b"\n{\"seq\":1}\n{\"seq\":2}\n"), [r#"{"seq":1}"#, r#"{"seq":2}"#]);
        assert_eq!(frames.unannounced, 1);
    }

    #[test]
    fn a_disconnection_drops_the_unfinished_frame() {
        let mut frames = Frames::default();
        frames.push(b"\n{\"seq\":");
        frames.disconnect();
        assert_eq!(frames.push(b"\n{\"seq\":2}\n"), [r#"{"seq":2}"#]);
        assert_eq!((frames.torn, frames.unannounced), (1, 0));
    }
}
