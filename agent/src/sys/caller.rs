//! Files that the caller named on the command line: theirs, so not confined to any root.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use super::{Error, Result};

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// The file cannot be opened or read, or is larger than `limit`.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|source| Error::new("read", path, source))?;
    if bytes.len() as u64 > limit {
        let reason = io::Error::other(format!("it is larger than {limit} bytes"));
        return Err(Error::new("read", path, reason));
    }
    Ok(bytes)
}

/// Writes `bytes` to a file, pipe or terminal, created with mode 0600 if it is not there. Never waits for a reader: a
/// pipe without one is an error.
///
/// # Errors
/// It cannot be opened or written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|source| Error::new("write", path, source))
}
