//! TCP connections that are started and then waited for by the loop, never awaited by blocking (connect(2)).

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};

/// A connection under way. Its descriptor becomes writable when the outcome is known.
#[derive(Debug)]
pub struct Connecting(TcpStream);

/// Starts to connect to `address`.
///
/// # Errors
/// Refused at once, for example because no route leads there.
pub fn connect_start(address: SocketAddr) -> io::Result<Connecting> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(Connecting(TcpStream::from(fd))),
        Err(errno) => Err(errno.into()),
    }
}

impl Connecting {
    /// The outcome, once the descriptor is writable.
    ///
    /// # Errors
    /// Why the connection was not made.
    pub fn finish(self) -> io::Result<()> {
        match self.0.take_error()? {
            Some(error) => Err(error),
            // Without an error it is made, or still under way; only a connection that is made has a peer.
            None => self.0.peer_addr().map(drop),
        }
    }
}

impl AsFd for Connecting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
