//! The bytes between zbus and PID 1.
//!
//! Decides one thing that zbus and systemd do not agree on. systemd has no unique name without a broker, and says in its
//! messages that they come from `org.freedesktop.systemd1`; the specification of D-Bus has unique names as senders, and
//! zbus refuses all else. So a sender that is none is written over with one of the same length ([`rename`]). Nobody asks
//! for it: there is one sender.

#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use zbus::Message;
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::runtime::traits::{PollIo, Runtime as _};
use zbus::runtime::{Interest, IoSource};

use super::runtime::{Runtime, Source};
use crate::sys::net;

/// The length of a message's header before its fields (D-Bus specification, "Message Format").
const FIXED: usize = 16;

/// No message of PID 1's is longer: a status of ten thousand units has 4 MiB. Nor does the bus pass longer ones on.
const LONGEST: usize = 32 << 20;

/// The field with the sender.
const SENDER: u8 = 7;

/// A connected socket.
#[derive(Debug, Clone)]
pub(super) struct Peer(Arc<Watched>);

struct Watched {
    // Before the stream: it is no longer watched when that is closed.
    source: Source,
    stream: UnixStream,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.stream.fmt(f)
    }
}

impl Peer {
    /// Talks by `stream`, which does not block.
    pub(super) fn new(stream: UnixStream, runtime: &Runtime) -> io::Result<Self> {
        let source = runtime.register_io_source(IoSource::from(OwnedFd::from(stream.try_clone()?)))?;
        Ok(Self(Arc::new(Watched { source, stream })))
    }

    async fn when<T>(
        &self,
        interest: Interest,
        mut operation: impl FnMut(&UnixStream) -> io::Result<T>,
    ) -> io::Result<T> {
        let Watched { source, stream } = &*self.0;
        std::future::poll_fn(|context| source.poll_io(context, interest, || operation(stream))).await
    }
}

impl Socket for Peer {
    type ReadHalf = Self;
    type WriteHalf = Self;

    fn split(self) -> Split<Self, Self> {
        Split::new(self.clone(), self)
    }
}

#[async_trait]
impl ReadHalf for Peer {
    async fn receive_message(
        &mut self,
        sequence: u64,
        received: &mut Vec<u8>,
        descriptors: &mut Vec<OwnedFd>,
    ) -> zbus::Result<Message> {
        loop {
            if let Some(length) = length(received)? {
                rename(&mut received[..length]);
                return Whole.receive_message(sequence, received, descriptors).await;
            }
            let mut buffer = [0; 4096];
            match self.recvmsg(&mut buffer).await? {
                (0, _) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                (count, _) => received.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Descriptors do not come this way: none of our calls asks for one.
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let count = self.when(Interest::Readable, |mut stream| stream.read(buffer)).await?;
        Ok((count, Vec::new()))
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

#[async_trait]
impl WriteHalf for Peer {
    async fn sendmsg(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.when(Interest::Writable, |stream| net::send(stream.as_fd(), bytes, descriptors)).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.stream.shutdown(Shutdown::Both)
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

/// The message that is all of `received`, in zbus's own way.
///
/// # Errors
/// It is none, or names descriptors, which have not come this way.
pub(super) fn whole(received: &mut Vec<u8>) -> zbus::Result<Message> {
    let (mut whole, mut none) = (Whole, Vec::new());
    let mut reading = whole.receive_message(0, received, &mut none);
    match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(message) => message,
        Poll::Pending => Err(zbus::Error::InvalidReply),
    }
}

/// Reads a message that is there already.
#[derive(Debug)]
struct Whole;

#[async_trait]
impl ReadHalf for Whole {
    async fn recvmsg(&mut self, _: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// A number of the message's: its first byte says whether the lowest byte goes first.
pub(super) fn number(message: &[u8], at: usize) -> Option<usize> {
    let bytes: [u8; 4] = message.get(at..at + 4)?.try_into().ok()?;
    Some(match message[0] {
        b'B' => u32::from_be_bytes(bytes),
        _ => u32::from_le_bytes(bytes),
    } as usize)
}

/// How long the message is that `received` begins with, if it is there as a whole.
fn length(received: &[u8]) -> io::Result<Option<usize>> {
    Ok(announced(received)?.filter(|length| received.len() >= *length))
}

/// How long the message says that it is, if that much of it is there.
pub(super) fn announced(received: &[u8]) -> io::Result<Option<usize>> {
    let (Some(body), Some(fields)) = (number(received, 4), number(received, 12)) else { return Ok(None) };
    if body > LONGEST || fields > LONGEST {
        return Err(io::Error::other("a message is announced that is too long"));
    }
    Ok(head(received).map(|head| head + body))
}

/// How long it is before its body.
pub(super) fn head(received: &[u8]) -> Option<usize> {
    number(received, 12).map(|fields| (FIXED + fields).next_multiple_of(8))
}

/// Gives the message a unique name as its sender, where it has another.
fn rename(message: &mut [u8]) {
    if let Some(name) = sender(message).and_then(|range| message.get_mut(range))
        && name.len() > 3
        && !name.starts_with(b":")
    {
        name.fill(b'0');
        name[..3].copy_from_slice(b":1.");
    }
}

/// Where the sender's name is.
fn sender(message: &[u8]) -> Option<Range<usize>> {
    let end = FIXED + number(message, 12)?;
    let mut at = FIXED;
    while at < end {
        at = at.next_multiple_of(8);
        let (code, signature) = (*message.get(at)?, message.get(at + 1..at + 4)?);
        // Each field's value has a signature of one character (its length before it, a zero behind it).
        at += 4;
        match signature {
            [1, b's' | b'o', 0] => {
                let length = number(message, at.next_multiple_of(4))?;
                let name = at.next_multiple_of(4) + 4;
                if code == SENDER {
                    return Some(name..name.checked_add(length)?);
                }
                at = name.checked_add(length)? + 1;
            }
            [1, b'g', 0] => at += usize::from(*message.get(at)?) + 2,
            [1, b'u', 0] => at = at.next_multiple_of(4) + 4,
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{length, rename, sender};
    use zbus::Message;

    /// A signal with this sender. zbus makes none but unique ones, so it is written over one of the same length.
    fn signal(name: &str) -> Vec<u8> {
        let unique = format!(":a.{}", "b".repeat(name.len() - 3));
        let message =
            Message::signal("/org/freedesktop/systemd1", "a.b", "JobRemoved").sender(unique.as_str());
        let mut bytes = message.build(&(7_u32, "done")).expect("a signal").data().to_vec();
        let at = sender(&bytes).expect("its sender");
        bytes[at].copy_from_slice(name.as_bytes());
        bytes
    }

    #[test]
    fn a_sender_without_a_unique_name_gets_one() {
        for (name, want) in [
            ("org.freedesktop.systemd1", ":1.000000000000000000000"),
            ("org.freedesktop.DBus", ":1.00000000000000000"),
            (":1.42", ":1.42"),
        ] {
            let mut bytes = signal(name);
            assert_eq!(sender(&bytes).map(|range| &bytes[range]), Some(name.as_bytes()), "{name}");
            let before = bytes.len();
            rename(&mut bytes);
            let at = sender(&bytes).expect("it is still there");
            assert_eq!((&bytes[at], bytes.len()), (want.as_bytes(), before), "{name}");
        }
    }

    #[test]
    fn a_message_is_taken_when_it_is_there_as_a_whole() {
        let bytes = signal("org.freedesktop.systemd1");
        for cut in 0..bytes.len() {
            assert_eq!(length(&bytes[..cut]).expect("short"), None, "{cut} bytes");
            // Nor does looking into a part of it do any harm.
            rename(&mut bytes[..cut].to_vec());
        }
        let two = [bytes.clone(), bytes.clone()].concat();
        assert_eq!(length(&two).expect("a length"), Some(bytes.len()));
        let mut long = bytes;
        long[4..8].fill(0xff);
        assert!(length(&long).is_err(), "4 GiB");
    }
}
