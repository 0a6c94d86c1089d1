//! Bytes as facts in JSON, as `detect --facts` takes them.
//!
//! Decides that nothing may panic or hang, and that facts which are written down and read again get the same verdict.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use ovf_agent::detect::Facts;

fuzz_target!(|text: &[u8]| -> Corpus {
    let Ok(facts) = serde_json::from_slice::<Facts>(text) else { return Corpus::Reject };
    let verdict = facts.verdict();
    assert!(!verdict.decided_by.is_empty());
    let again = serde_json::to_vec(&facts).expect("facts are plain data");
    let again: Facts = serde_json::from_slice(&again).expect("facts are read as they are written");
    assert_eq!(facts, again);
    assert_eq!(verdict, again.verdict());
    Corpus::Keep
});
