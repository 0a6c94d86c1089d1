//! A virtio-serial port as an open file that never blocks, and the wait for one that another process has open.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::{Error, Result, Root};

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
    /// Nothing, for there is nobody at the other end.
    Away,
}

impl Port {
    pub(super) fn new(file: File) -> Self {
        Self(file)
    }

    /// Reads what is there. A port whose host is away reads as an end of file, at once and for ever, when all that he said is
    /// read (virtio_console.c: `port_fops_read`): that is [`Moved::Away`].
    ///
    /// # Errors
    /// The port is gone (`ENODEV`) or broken.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Moved> {
        moved(self.0.read(buffer), Moved::Away)
    }

    /// Writes what the port takes. The driver may take 0 bytes where memory is short; that is a wait, not an error.
    ///
    /// # Errors
    /// The port is gone (`ENODEV`) or broken.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<Moved> {
        moved(self.0.write(bytes), Moved::Nothing)
    }
}

/// What a read or write did, where one of no bytes is `none`.
pub(crate) fn moved(result: io::Result<usize>, none: Moved) -> io::Result<Moved> {
    match result {
        Ok(0) => Ok(none),
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

/// Tells when somebody closes a port that another process has open (inotify(7)).
#[derive(Debug)]
pub struct Closing(Inotify);

impl Closing {
    /// Watches the node of a port.
    ///
    /// # Errors
    /// The node is gone, or the kernel has no inotify for us.
    pub fn watch(root: &Root, port: &Path) -> Result<Self> {
        let error = |errno| Error::new("watch", port, errno);
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(error)?;
        inotify.add_watch(&root.outside(port), AddWatchFlags::IN_CLOSE).map_err(error)?;
        Ok(Self(inotify))
    }

    /// Forgets what it has told.
    pub fn clear(&self) {
        while self.0.read_events().is_ok() {}
    }
}

impl AsFd for Closing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
