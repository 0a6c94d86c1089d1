//! SIGTERM and SIGINT, as a descriptor that becomes readable (signal-hook's self-pipe; signal(7)).

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// The wish to stop, as the loop sees it.
#[derive(Debug)]
pub struct Stop(UnixStream);

impl Stop {
    /// From now on SIGTERM and SIGINT do not kill the process but make the descriptor readable.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn install() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        for signal in [nix::libc::SIGTERM, nix::libc::SIGINT] {
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self(read))
    }

    /// Whether a signal has come since the last call.
    pub fn requested(&mut self) -> bool {
        let mut bytes = [0_u8; 16];
        matches!(self.0.read(&mut bytes), Ok(n) if n > 0)
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
