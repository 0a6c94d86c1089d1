//! Connections that are started and then waited for by the loop, never awaited by blocking (connect(2)).

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
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

/// Waits for bytes from a socket, and takes the descriptor that comes with them; the kernel closes any further ones.
///
/// # Errors
/// Nothing came in the socket's time ([`io::ErrorKind::WouldBlock`]), or it is none.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    // Aligned as the kernel's header is, which stands in front of the descriptor.
    let mut control = [0_u64; 3];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: it is made of numbers and pointers, and with all of them zero says that there is room for nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: CMSG_LEN computes with a number; for one descriptor it is 20, and there is room for 24.
    message.msg_controllen = unsafe { libc::CMSG_LEN(size_of::<RawFd>() as u32) } as _;
    // SAFETY: `message` names `buffer` and `control` with their lengths, and both outlive the call.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let count = Errno::result(count)? as usize;
    // SAFETY: the kernel has written a header and what it says, or has said that there is none. The descriptor is new, and
    // nobody else knows of it.
    let descriptor = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let is_one = !header.is_null()
            && ((*header).cmsg_level, (*header).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS);
        is_one.then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned()))
    };
    Ok((count, descriptor))
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::{receive, send};

    #[test]
    fn a_descriptor_goes_to_the_other_end_and_is_closed_where_it_is_not_wanted() {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        let (mut kept, given) = UnixStream::pair().expect("sockets");
        let mut bytes = [0; 4];
        send(ours.as_fd(), b"abcd", &[]).expect("room");
        assert!(matches!(receive(theirs.as_fd(), &mut bytes), Ok((4, None))));
        assert_eq!(&bytes, b"abcd");
        send(ours.as_fd(), b"a", &[given.as_fd(), given.as_fd()]).expect("room");
        drop(given);
        let (count, taken) = receive(theirs.as_fd(), &mut bytes).expect("a byte");
        let mut taken = UnixStream::from(taken.expect("a descriptor"));
        assert_eq!(count, 1);
        taken.write_all(b"it").expect("room");
        drop(taken);
        let mut said = String::new();
        kept.read_to_string(&mut said).expect("nobody has the other end any more");
        assert_eq!(said, "it");

        theirs.set_read_timeout(Some(Duration::from_millis(1))).expect("a limit");
        let silent = receive(theirs.as_fd(), &mut bytes).expect_err("nobody says anything");
        assert_eq!(silent.kind(), ErrorKind::WouldBlock);
        // A program that another test starts at this moment has it open, too, until it is executed.
        theirs.set_read_timeout(None).expect("no limit");
        drop(ours);
        assert!(matches!(receive(theirs.as_fd(), &mut bytes), Ok((0, None))));
    }
}
