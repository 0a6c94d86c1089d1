//! Messages to those who listen as sd_notify(3) has it: a unix socket, or the host by vsock(7).
//!
//! Decides which addresses there are and how one message gets there without anybody being waited for: a connection of its own
//! that never blocks, from a port below 1024 where that is allowed, so that a host can tell root from other users, and a
//! half-close behind the last byte. When it is begun, and for how long it may take, is the caller's business.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::str::FromStr;

use nix::errno::Errno;
use nix::libc::VMADDR_CID_ANY;
use nix::sys::socket::sockopt::SocketError;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr,
    VsockAddr, bind, connect, getpeername, getsockopt, recv, send, shutdown, socket,
};

/// Where somebody listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    place: Place,
    /// The kinds of socket that it may be, in the order in which they are tried.
    kinds: &'static [SockType],
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Unix(UnixAddr),
    Vsock(VsockAddr),
}

impl FromStr for Address {
    type Err = &'static str;

    /// `/path`, `@abstract`, `vsock:CID:PORT`, and `vsock-stream:`, `vsock-seqpacket:` or `vsock-dgram:`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WORDS: [(&str, &[SockType]); 4] = [
            // systemd would leave out the last. Nobody is harmed by it who listens for the others.
            ("vsock:", &[SockType::Datagram, SockType::SeqPacket, SockType::Stream]),
            ("vsock-stream:", &[SockType::Stream]),
            ("vsock-seqpacket:", &[SockType::SeqPacket]),
            ("vsock-dgram:", &[SockType::Datagram]),
        ];
        if text.starts_with(['/', '@']) {
            let address = match text.strip_prefix('@') {
                Some(name) => UnixAddr::new_abstract(name.as_bytes()),
                None => UnixAddr::new(text),
            };
            let place = Place::Unix(address.map_err(|_| "its path is longer than a socket's can be")?);
            return Ok(Self { place, kinds: &[SockType::Datagram] });
        }
        let of = |(word, kinds): &(&str, &'static [SockType])| Some((text.strip_prefix(word)?, *kinds));
        let numbers = WORDS.iter().find_map(of).and_then(|(rest, kinds)| {
            let (cid, port) = rest.split_once(':')?;
            let place = Place::Vsock(VsockAddr::new(cid.parse().ok()?, port.parse().ok()?));
            Some(Self { place, kinds })
        });
        numbers.ok_or(
            "it is none of /PATH, @NAME, vsock:CID:PORT, vsock-stream:, vsock-seqpacket:, vsock-dgram:",
        )
    }
}

impl Address {
    /// The same, for one who listens there for streams, as hosts do where no test can be one.
    #[cfg(test)]
    pub(crate) fn as_stream(&self) -> Self {
        Self { kinds: &[SockType::Stream], ..self.clone() }
    }

    /// How many kinds of socket there are to be tried.
    pub fn kinds(&self) -> usize {
        self.kinds.len()
    }
}

/// How far a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Far {
    /// Not all of it has been taken.
    OnTheWay,
    /// All of it has, and the other end has not closed yet.
    Said,
    /// There is nothing more to be done.
    Over,
}

/// One message on its way. Dropped, what was taken of it still arrives, or not.
#[derive(Debug)]
pub struct Message {
    socket: OwnedFd,
    kind: SockType,
    text: Vec<u8>,
    connected: bool,
    written: usize,
}

impl Message {
    /// Begins to connect, with one of the address's kinds of socket.
    ///
    /// # Errors
    /// There is no such socket here, or nobody listens.
    pub fn begin(to: &Address, kind: usize, text: Vec<u8>) -> io::Result<Self> {
        let kind = to.kinds[kind % to.kinds.len()];
        let (family, address): (_, &dyn SockaddrLike) = match &to.place {
            Place::Unix(address) => (AddressFamily::Unix, address),
            Place::Vsock(address) => (AddressFamily::Vsock, address),
        };
        let socket = socket(family, kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
        if matches!(to.place, Place::Vsock(_)) {
            take_low_port(&socket);
        }
        match connect(socket.as_raw_fd(), address) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(Self { socket, kind, text, connected: false, written: 0 }),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Says this in place of what it was begun with, as long as nothing of that has been taken; whether it does.
    pub fn instead(&mut self, text: &[u8]) -> bool {
        let is_begun = self.written > 0;
        if !is_begun {
            self.text = text.to_vec();
        }
        !is_begun
    }

    /// Goes on as far as that can be now; to be called when it was begun, and whenever its descriptor is ready.
    ///
    /// # Errors
    /// It has not got there.
    pub fn go_on(&mut self) -> io::Result<Far> {
        if !self.connected {
            match getsockopt(&self.socket, SocketError)? {
                0 => {}
                errno => return Err(io::Error::from_raw_os_error(errno)),
            }
            match getpeername::<SockaddrStorage>(self.socket.as_raw_fd()) {
                Ok(_) => self.connected = true,
                Err(Errno::ENOTCONN) => return Ok(Far::OnTheWay),
                Err(errno) => return Err(errno.into()),
            }
        }
        let fd = self.socket.as_raw_fd();
        while self.written < self.text.len() {
            match send(fd, &self.text[self.written..], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => self.written += count,
                Err(Errno::EAGAIN) => return Ok(Far::OnTheWay),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if self.written == self.text.len() && self.kind != SockType::Datagram {
                shutdown(fd, Shutdown::Write)?;
            }
        }
        if self.kind == SockType::Datagram {
            return Ok(Far::Over);
        }
        // One who answers is not listened to.
        let mut buffer = [0; 256];
        for _ in 0..16 {
            match recv(fd, &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(count) if count > 0 => {}
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Far::Said),
                // It has closed, in one way or another.
                _ => break,
            }
        }
        Ok(Far::Over)
    }
}

impl AsFd for Message {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Takes a port that only root may have; without, the message comes from any.
fn take_low_port(socket: &OwnedFd) {
    for port in (1..1024).rev() {
        if bind(socket.as_raw_fd(), &VsockAddr::new(VMADDR_CID_ANY, port)) != Err(Errno::EADDRINUSE) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
