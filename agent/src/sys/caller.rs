//! Files that the caller named on the command line: theirs, so not confined to any root.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use super::root::read_limited;
use super::{Error, Result};

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// The file cannot be opened or read, or is larger than `limit`.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    File::open(path)
        .and_then(|file| read_limited(file, limit))
        .map_err(|source| Error::new("read", path, source))
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
