//! Bytes as what a host says, whole and in pieces.
//!
//! The first byte decides the pieces; the messages must be the same. Whatever is said, a frame after it is heard, and no answer
//! names more of what was said than an id.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ovf_agent::protocol::{FromHost, ID_LIMIT, Inbox};

/// Short, so that the fuzzer meets it.
const LIMIT: usize = 1024;

/// What is said in pieces of this size, and one frame more; as text, for an answer has no equality with a document in it.
fn hear(said: &[u8], size: usize) -> Vec<String> {
    let mut inbox = Inbox::new(LIMIT);
    let mut heard = Vec::new();
    let last = b"\n{\"type\":\"query\",\"id\":\"last\"}\n";
    for mut piece in said.chunks(size).chain([&last[..]]) {
        while let Some(message) = inbox.take(&mut piece) {
            match &message {
                Ok(FromHost::Query { id } | FromHost::Reload { id } | FromHost::Times { id }) => {
                    assert!((1..=ID_LIMIT).contains(&id.len()))
                }
                Err(answer) => assert!(!answer.ok && answer.to.len() <= ID_LIMIT),
                Ok(_) => {}
            }
            heard.push(format!("{message:?}"));
        }
    }
    heard
}

fuzz_target!(|input: &[u8]| {
    let Some((size, said)) = input.split_first() else { return };
    let whole = hear(said, said.len().max(1));
    assert_eq!(whole, hear(said, usize::from(*size) + 1));
    assert!(whole.last().is_some_and(|last| last.contains("Query") && last.contains("last")), "{whole:?}");
});
