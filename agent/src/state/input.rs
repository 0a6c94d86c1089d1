//! What a pass was made from.
//!
//! Decides what is remembered of that: a digest of the configuration, which says that its templates can be compiled, and one of
//! everything together, which says that they come to what they came to. What everything is, is decided in `agent::unchanged`.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use super::{Digest, State};

/// What a pass was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The salted digest of the configuration.
    pub configuration: String,
    /// That of all else, and the configuration.
    pub all: String,
}

impl State {
    /// What `configuration` and everything else come to here; `feed` adds what else there is.
    pub fn input(&self, configuration: &[u8], feed: impl FnOnce(&mut Digest)) -> Input {
        let mut all = Digest::salted(&self.salt);
        all.add(configuration);
        feed(&mut all);
        Input { configuration: self.digest(configuration), all: all.text() }
    }

    /// Whether the last pass was made from this configuration, and everything was right after it.
    pub fn knows(&self, configuration: &[u8]) -> bool {
        self.input.as_ref().is_some_and(|input| input.configuration == self.digest(configuration))
    }
}
