//! Waiting for events: `epoll`, edge-triggered (epoll(7)).
//!
//! Edge-triggered because a virtio-serial port without a host polls as ready for ever: level-triggered, that is
//! 300,000 wake-ups a second. The price is that whoever is woken reads or writes until `EAGAIN`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// One wake-up: which source, and what it is ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The number given to [`Poll::add`].
    pub token: u64,
    /// Something can be read.
    pub readable: bool,
    /// Something can be written.
    pub writable: bool,
    /// The other end is away (EPOLLHUP or EPOLLERR).
    pub hangup: bool,
}

/// A set of descriptors to wait for. A descriptor leaves the set when it is closed.
#[derive(Debug)]
pub struct Poll(Epoll);

impl Poll {
    /// An empty set.
    ///
    /// # Errors
    /// The kernel has no more descriptors for us.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Adds a descriptor, to be told as `token` whenever it turns readable or writable.
    ///
    /// # Errors
    /// The descriptor cannot be polled, or is in the set already.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        Ok(self.0.add(fd, EpollEvent::new(flags, token))?)
    }

    /// Takes a descriptor out of the set that stays open.
    ///
    /// # Errors
    /// It is not in the set.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.0.delete(fd)?)
    }

    /// Waits until something is ready or `timeout` has passed (`None`: for ever).
    ///
    /// # Errors
    /// Never in practice: an interrupted wait is a wait that found nothing.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Ready>> {
        let mut events = [EpollEvent::empty(); 16];
        let timeout = match timeout {
            // Rounded up: waking a fraction of a millisecond early would only mean waking twice.
            Some(t) => EpollTimeout::try_from(t.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32)
                .expect("a non-negative number of milliseconds"),
            None => EpollTimeout::NONE,
        };
        let count = match self.0.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        Ok(events[..count]
            .iter()
            .map(|event| {
                let flags = event.events();
                Ready {
                    token: event.data(),
                    readable: flags.contains(EpollFlags::EPOLLIN),
                    writable: flags.contains(EpollFlags::EPOLLOUT),
                    hangup: flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR),
                }
            })
            .collect())
    }
}

/// A set can be in another set: it is readable when one of its own is ready.
impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

/// A line to somebody: the first end tells (`hangup`) when nobody has the second any more (pipe(7)).
///
/// # Errors
/// The kernel has no more descriptors for us.
pub fn line() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = io::pipe()?;
    Ok((ours.into(), theirs.into()))
}

/// Waits until `fd` is readable or `timeout` has passed; or for less, if a signal comes.
///
/// # Errors
/// Never in practice.
pub fn wait_for(fd: impl AsFd, timeout: Option<Duration>) -> io::Result<()> {
    // Rounded up, as above.
    let millis = |time: Duration| PollTimeout::try_from(time.as_micros().div_ceil(1000));
    let timeout = timeout.map_or(PollTimeout::NONE, |time| millis(time).unwrap_or(PollTimeout::MAX));
    match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
