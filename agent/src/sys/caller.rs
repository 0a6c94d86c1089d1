//! Files that the caller named on the command line, or handed over as standard input: theirs, so not confined to any root.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::root::{self, read_limited};
use super::{Error, Result};

/// The same path for a program that runs in another directory.
pub fn absolute(path: &Path) -> PathBuf {
    // It fails where there is no current directory, and then no relative path leads anywhere.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// The file cannot be opened or read, or is larger than `limit`.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    File::open(path)
        .and_then(|file| read_limited(file, limit))
        .map_err(|source| Error::new("read", path, source))
}

/// Reads a whole regular file; anything else could keep its reader waiting.
///
/// # Errors
/// As of [`read`], and where it is not a regular file.
pub fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let open = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
    open.and_then(|file| root::read_regular(file, limit)).map_err(|source| Error::new("read", path, source))
}

/// The first `limit` bytes of the regular file that standard input is, wherever its readers are; nothing where it is none, for a pipe
/// would be emptied.
///
/// # Errors
/// There is no standard input, or it cannot be read.
pub fn standard_input(limit: u64) -> Result<Zeroizing<Vec<u8>>> {
    let read = || -> io::Result<_> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let metadata = file.metadata()?;
        let length = if metadata.is_file() { metadata.len().min(limit) } else { 0 };
        let mut bytes = Zeroizing::new(vec![0; length as usize]);
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    read().map_err(|source| Error::new("read", "standard input", source))
}

/// Writes `bytes` to a file, pipe or terminal, created with mode 0600 if it is not there. With `wait`, a pipe's reader
/// is waited for; without, one that does not read is an error.
///
/// # Errors
/// It cannot be opened or written.
pub fn write(path: &Path, bytes: &[u8], wait: bool) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(if wait { 0 } else { nix::libc::O_NONBLOCK })
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|source| Error::new("write", path, source))
}
