//! Bytes of a file that were promised.
//!
//! Decides what happens where a file grows or shrinks while it is read: what is behind the promised end is not read, and an
//! end before it is an error, and not a shorter file.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// So many bytes of a file, from somewhere on.
#[derive(Debug)]
pub(super) struct Exactly<F> {
    pub(super) file: F,
    pub(super) at: u64,
    pub(super) left: u64,
}

impl<F: AsRef<File>> Read for Exactly<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let count = self.file.as_ref().read_at(&mut buffer[..most], self.at)?;
        if count == 0 {
            let message = "it became shorter while it was read; check it again once nobody writes to it";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// A file, owned or not.
#[derive(Debug)]
pub(super) struct Own(pub(super) File);

impl AsRef<File> for Own {
    fn as_ref(&self) -> &File {
        &self.0
    }
}

/// A file of somebody's.
#[derive(Debug)]
pub(super) struct Lent<'a>(pub(super) &'a File);

impl AsRef<File> for Lent<'_> {
    fn as_ref(&self) -> &File {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::{Exactly, Own};

    #[test]
    fn a_file_that_changes_is_an_error_or_what_it_was() {
        for (size, change, want) in
            [(4, 4, Some("abcd")), (4, 8, Some("abcd")), (4, 3, None), (4, 0, None), (0, 0, Some(""))]
        {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(b"abcdefgh").expect("written");
            file.set_len(change).expect("cut");
            let mut text = String::new();
            let read = Exactly { file: Own(file), at: 0, left: size }.read_to_string(&mut text);
            assert_eq!(read.ok().map(|_| text.as_str()), want, "{size} promised, {change} there");
        }
    }
}
