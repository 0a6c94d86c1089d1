//! Digests of what is remembered.
//!
//! Decides how parts become one digest: each with its length, so that no two lists of parts are one, and a salt before them,
//! so that a state does not tell a guessed password from another.

#![forbid(unsafe_code)]

use sha2::{Digest as _, Sha256};

/// A digest under way.
pub struct Digest(Sha256);

impl Digest {
    /// Begins with a salt, which may be empty.
    pub fn salted(salt: &str) -> Self {
        let mut digest = Self(Sha256::new());
        digest.add(salt.as_bytes());
        digest
    }

    /// Adds a part.
    pub fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// What the parts come to.
    pub fn bytes(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// The same, in hexadecimal digits.
    pub fn text(self) -> String {
        // Not by format!, because this is asked of every file.
        let digit = |half: u8| char::from_digit(u32::from(half), 16).expect("below 16");
        self.bytes().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

/// A digest of parts, and of a salt before them.
pub fn salted(salt: &str, parts: &[&[u8]]) -> String {
    let mut digest = Digest::salted(salt);
    parts.iter().for_each(|part| digest.add(part));
    digest.text()
}
