//! A virtio-serial port as an open file that never blocks.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// An open port. Only one process can have a port open; the second open fails with `EBUSY`.
#[derive(Debug)]
pub struct Port(File);

/// What one read or write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing now: wait for the next event.
    Nothing,
}

impl Port {
    pub(super) fn new(file: File) -> Self {
        Self(file)
    }

    /// Reads what is there. A port whose host is away reads as an end of file, at once and for ever, so that is
    /// [`Moved::Nothing`] too.
    ///
    /// # Errors
    /// The port is gone (`ENODEV`) or broken.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Moved> {
        moved(self.0.read(buffer))
    }

    /// Writes what the port takes. The driver may take 0 bytes where memory is short; that is a wait, not an error.
    ///
    /// # Errors
    /// The port is gone (`ENODEV`) or broken.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<Moved> {
        moved(self.0.write(bytes))
    }
}

fn moved(result: io::Result<usize>) -> io::Result<Moved> {
    match result {
        Ok(0) => Ok(Moved::Nothing),
        Ok(count) => Ok(Moved::Bytes(count)),
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(Moved::Nothing)
        }
        Err(e) => Err(e),
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
