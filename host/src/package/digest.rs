//! Digests of files.
//!
//! Decides which digests there are (DSP0243, clause 5.1: SHA-1 of OVF 1, SHA-256 and SHA-512 of OVF 2). A file is read once,
//! from its beginning to its end, in memory that does not grow with it.

#![forbid(unsafe_code)]

use std::io::{self, Read};

use sha2::Digest;

use crate::progress::Progress;

/// A kind of digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1: a checksum, and no protection.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The one of this name; its case does not matter.
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "SHA1" => Some(Self::Sha1),
            "SHA256" => Some(Self::Sha256),
            "SHA512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Its name in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    /// The hexadecimal digits of one.
    pub fn digits(self) -> usize {
        match self {
            Self::Sha1 => 40,
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// The digest of all that can be read, in lower case.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(self, input: &mut dyn Read, progress: &mut Progress) -> io::Result<String> {
        match self {
            Self::Sha1 => digest::<sha1::Sha1>(input, progress),
            Self::Sha256 => digest::<sha2::Sha256>(input, progress),
            Self::Sha512 => digest::<sha2::Sha512>(input, progress),
        }
    }
}

fn digest<D: Digest>(input: &mut dyn Read, progress: &mut Progress) -> io::Result<String> {
    let mut digest = D::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                digest.update(&buffer[..count]);
                progress.advance(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut hex = String::new();
    for byte in digest.finalize().as_slice() {
        hex.extend([byte >> 4, byte & 15].map(|it| char::from_digit(it.into(), 16).expect("below 16")));
    }
    Ok(hex)
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Progress};

    #[test]
    fn digests_are_those_of_the_standards_examples() {
        // FIPS 180-4's message "abc".
        for (algorithm, begin) in [
            (Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (Algorithm::Sha512, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea2"),
        ] {
            let hex = algorithm.of(&mut &b"abc"[..], &mut Progress::bytes(3)).expect("bytes");
            assert!(hex.starts_with(begin), "{hex}");
            assert_eq!(hex.len(), algorithm.digits());
            assert_eq!(Algorithm::named(&algorithm.as_str().to_lowercase()), Some(algorithm));
        }
    }
}
