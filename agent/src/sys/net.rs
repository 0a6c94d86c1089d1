//! Connections that are started and then waited for by the loop, never awaited by blocking (connect(2)).

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrStorage, UnixAddr, connect, sendmsg,
    socket,
};

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
    /// Why the connection was not made; [`io::ErrorKind::WouldBlock`] as long as it is under way.
    pub fn outcome(&self) -> io::Result<()> {
        match self.0.take_error()? {
            Some(error) => Err(error),
            // Without an error it is made, or still under way; only a connection that is made has a peer.
            None => self.0.peer_addr().map(drop).map_err(|error| match error.kind() {
                io::ErrorKind::NotConnected => io::ErrorKind::WouldBlock.into(),
                _ => error,
            }),
        }
    }
}

/// To be written and read once the connection is made.
impl Read for Connecting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Connecting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Connecting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Connects to the socket at `path`, which is at once or not at all (unix(7)), and without blocking afterwards.
///
/// # Errors
/// Nobody listens there (`ENOENT`, `ECONNREFUSED`), or so many wait to be heard that there is no room for us (`EAGAIN`).
pub fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(fd))
}

/// Writes what a socket takes of `bytes`, and gives its other end `descriptors` (unix(7), `SCM_RIGHTS`).
///
/// # Errors
/// It takes nothing now ([`io::ErrorKind::WouldBlock`]), or there is no other end.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let descriptors: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    Ok(sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)?)
}
