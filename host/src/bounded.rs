//! Files that a command line or a recipe names.
//!
//! Decides that each is read up to a limit, and that none is waited for. Files of packages are `package`'s.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Opens a file, which may be a pipe that nobody has opened yet: it is not waited for.
///
/// # Errors
/// The system's.
pub fn open(path: &Path) -> io::Result<File> {
    let how = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::openat(rustix::fs::CWD, path, how, Mode::empty())?.into())
}

/// All of a regular file.
///
/// # Errors
/// It is none, has more than `limit` bytes, or cannot be read.
pub fn whole(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Before it is opened: there are devices that act on it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    all(open(path)?, limit)
}

/// All of a regular file, as text.
///
/// # Errors
/// As `whole`, or it is not UTF-8.
pub fn text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(whole(path, limit)?).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// All that comes.
///
/// # Errors
/// It has more than `limit` bytes, or cannot be read.
pub fn all(input: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!(
            "it has more than {limit} bytes, the most that are read of it"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{all, text, whole};

    #[test]
    fn nothing_is_read_without_end() {
        assert_eq!(all(&b"abc"[..], 3).expect("enough"), b"abc");
        let said = |it: std::io::Error| it.to_string();
        assert!(all(std::io::repeat(0), 3).map_err(said).expect_err("endless").contains("more than 3 bytes"));
        for path in ["/dev/zero", "/dev", "/dev/null"] {
            assert_eq!(whole(Path::new(path), 9).map_err(said), Err("it is no regular file".to_owned()));
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), b"a\xff").expect("written");
        assert_eq!(text(file.path(), 9).map_err(said), Err("it is not UTF-8".to_owned()));
    }
}
