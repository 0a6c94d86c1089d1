//! Signals as descriptors that become readable (signal-hook's self-pipe; signal(7)).

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// What signals ask for, as the loop sees it.
#[derive(Debug)]
pub struct Wish(UnixStream);

impl Wish {
    /// The wish to stop: from now on SIGTERM and SIGINT do not kill the process but make the descriptor readable.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn to_stop() -> io::Result<Self> {
        Self::by(&[nix::libc::SIGTERM, nix::libc::SIGINT])
    }

    /// The wish to read everything again: SIGHUP.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn to_reload() -> io::Result<Self> {
        Self::by(&[nix::libc::SIGHUP])
    }

    fn by(signals: &[i32]) -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        for signal in signals {
            signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
        }
        Ok(Self(read))
    }

    /// Whether a signal has come since the last call.
    pub fn came(&mut self) -> bool {
        let mut bytes = [0_u8; 16];
        let mut came = false;
        while matches!(self.0.read(&mut bytes), Ok(n) if n > 0) {
            came = true;
        }
        came
    }
}

impl AsFd for Wish {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
