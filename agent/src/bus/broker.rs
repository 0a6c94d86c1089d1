//! Our end of the system bus (D-Bus specification, "Message Bus Specification").
//!
//! Decides how much of it is taken at a time and kept: so many messages a turn, none longer than any of our methods needs, and none
//! while many answers have not been taken. So callers can neither keep the loop nor make it grow, and a bus that never reads costs
//! nothing. Not a connection of zbus's, which does all that there is to do before it comes back, and takes messages of 128 MiB; its
//! messages, by which the bytes are judged and made. What is called, and by whom, is decided in [`super::object`] and by the caller.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use zbus::{Message, Structure, Variant};

use super::socket;
use crate::sys::net;

/// Where the system bus is (D-Bus specification, "System message bus"), once there is one.
pub const SOCKET: &str = "/run/dbus/system_bus_socket";

/// Everything that a client says before its first message, at once as sd-bus does: that it is root, in hexadecimal; the kernel
/// says so, too.
const GREETING: &[u8] = b"\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n";
/// What is answered to that, a line each.
const WELCOME: [&[u8]; 2] = [b"OK ", b"AGREE_UNIX_FD"];
/// The bus itself, and its object.
const NAME: &str = "org.freedesktop.DBus";
const PATH: &str = "/org/freedesktop/DBus";

/// The longest message that is taken: no call of ours has more than two short texts. Of a longer one the body is passed over.
const LONGEST: usize = 4096;
/// So much is read at a time, and so often in one turn; and so many messages are taken in it.
const PIECE: usize = 4096;
const PIECES: usize = 64;
const MESSAGES: usize = 32;
/// No message is taken while so many bytes wait to be written.
const MOST_WAITING: usize = 256 << 10;

/// A connection.
pub struct Broker {
    stream: UnixStream,
    /// How many lines of the welcome have come.
    welcomed: usize,
    received: Vec<u8>,
    /// So many bytes of a message that is passed over are still to come.
    passing: usize,
    outgoing: VecDeque<Message>,
    /// Bytes in there, and those of the first message that are written.
    waiting: usize,
    written: usize,
    pieces: usize,
    messages: usize,
    has_more: bool,
}

impl Broker {
    /// Connects, and says who we are. The first thing to be called is `Hello`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let mut stream = net::connect_unix(socket)?;
        // A socket that is new has room for it.
        stream.write_all(GREETING)?;
        Ok(Self {
            stream,
            welcomed: 0,
            received: Vec::new(),
            passing: 0,
            outgoing: VecDeque::new(),
            waiting: 0,
            written: 0,
            pieces: 0,
            messages: 0,
            has_more: false,
        })
    }

    /// Whether the last turn ended before there was nothing more to read; no event will tell again.
    pub fn has_more(&self) -> bool {
        self.has_more && !self.is_full()
    }

    /// Whether so much waits to be written that nothing more is taken.
    pub fn is_full(&self) -> bool {
        self.waiting >= MOST_WAITING
    }

    /// A turn begins.
    pub fn begin(&mut self) {
        (self.pieces, self.messages, self.has_more) = (PIECES, MESSAGES, true);
    }

    /// The next message of this turn; `None` where there is nothing more, or the turn is over.
    ///
    /// # Errors
    /// The bus is gone, or is none.
    pub fn hear(&mut self) -> io::Result<Option<Message>> {
        loop {
            if self.messages == 0 || self.is_full() {
                return Ok(None);
            }
            if let Some(message) = self.take()? {
                self.messages -= 1;
                return Ok(Some(message));
            }
            if self.pieces == 0 {
                return Ok(None);
            }
            self.pieces -= 1;
            let mut piece = [0; PIECE];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.has_more = false;
                    // Whatever has come by now is the beginning of something.
                    self.received.shrink_to_fit();
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The message that is there as a whole, if one is.
    fn take(&mut self) -> io::Result<Option<Message>> {
        while self.welcomed < WELCOME.len() {
            let Some(end) = self.received.iter().position(|byte| *byte == b'\n') else {
                return if self.received.len() < LONGEST {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::InvalidData.into())
                };
            };
            let line: Vec<u8> = self.received.drain(..=end).collect();
            if !line.starts_with(WELCOME[self.welcomed]) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.welcomed += 1;
        }
        loop {
            let gone = self.passing.min(self.received.len());
            self.received.drain(..gone);
            self.passing -= gone;
            let Some(length) = socket::announced(&self.received)? else { return Ok(None) };
            let head = socket::head(&self.received).unwrap_or(length);
            let taken = match length {
                ..=LONGEST => length,
                // What it calls is answered: it lacks its arguments.
                _ if head <= LONGEST => head,
                _ => 0,
            };
            if self.received.len() < taken {
                return Ok(None);
            }
            let rest = self.received.split_off(taken);
            let mut whole = std::mem::replace(&mut self.received, rest);
            self.passing = length - taken;
            if self.passing > 0 && taken > 0 {
                whole[4..8].fill(0);
            }
            // One that is none, as one that came with descriptors, which we do not read.
            if let Ok(message) = socket::whole(&mut whole) {
                return Ok(Some(message));
            }
            if self.passing > 0 && self.received.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Says it, as soon as the bus takes it.
    pub fn send(&mut self, message: Message) {
        self.waiting += message.data().len();
        self.outgoing.push_back(message);
    }

    /// Calls the bus itself. The answer comes as a message that names this number.
    pub fn call(&mut self, method: &'static str, arguments: Vec<Variant<'_>>) -> Option<NonZeroU32> {
        let call = Message::method_call(PATH, method).destination(NAME).interface(NAME);
        let message = match body(arguments) {
            Some(body) => call.build(&body),
            None => call.build(&()),
        };
        let message = message.ok()?;
        let serial = message.primary_header().serial_num();
        self.send(message);
        Some(serial)
    }

    /// Writes what is to be said, as far as the bus takes it; the rest with its next event.
    ///
    /// # Errors
    /// The bus is gone.
    pub fn write(&mut self) -> io::Result<()> {
        while let Some(message) = self.outgoing.front() {
            let data = message.data();
            let descriptors: Vec<BorrowedFd<'_>> = match self.written {
                0 => data.fds().iter().map(AsFd::as_fd).collect(),
                _ => Vec::new(),
            };
            match net::send(self.stream.as_fd(), &data[self.written..], &descriptors) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.written == data.len() {
                self.waiting -= data.len();
                self.written = 0;
                self.outgoing.pop_front();
            }
        }
        Ok(())
    }
}

impl AsFd for Broker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The body of a message; `None` where that is empty, which is something else.
pub(super) fn body<'a>(values: Vec<Variant<'a>>) -> Option<Structure<'a>> {
    let mut fields = Structure::builder();
    values.into_iter().for_each(|value| fields.push_value(value));
    fields.build().ok()
}

#[cfg(test)]
mod tests {
    use super::{Broker, GREETING, LONGEST, MESSAGES, MOST_WAITING};
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use zbus::Message;

    const WELCOME: &[u8] = b"OK 1234deadbeef\r\nAGREE_UNIX_FD\r\n";

    /// A connection, and the bus's end of it; nothing of what was said to that is read.
    fn joined() -> (Broker, UnixStream) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bus");
        let listener = UnixListener::bind(&path).expect("a socket");
        let broker = Broker::connect(&path).expect("a connection");
        let (mut bus, _) = listener.accept().expect("its other end");
        let mut greeting = vec![0; GREETING.len()];
        bus.read_exact(&mut greeting).expect("a greeting");
        assert_eq!(greeting, GREETING);
        (broker, bus)
    }

    fn call(member: &str, argument: &str) -> Vec<u8> {
        let call = Message::method_call("/a", member).sender(":1.7");
        call.build(&argument).expect("a call").data().to_vec()
    }

    /// The members of the messages of one turn.
    fn turn(broker: &mut Broker) -> Vec<String> {
        broker.begin();
        let mut members = Vec::new();
        while let Some(message) = broker.hear().expect("the bus is there") {
            members.push(message.header().member().expect("a call").to_string());
        }
        members
    }

    #[test]
    fn messages_are_taken_in_turns_however_they_are_cut() {
        let (mut broker, mut bus) = joined();
        let mut said = WELCOME.to_vec();
        (0..3).for_each(|at| said.extend(call(&format!("Call{at}"), "x")));
        let mut heard = Vec::new();
        for byte in &said {
            bus.write_all(&[*byte]).expect("written");
            heard.extend(turn(&mut broker));
        }
        assert_eq!(heard, ["Call0", "Call1", "Call2"]);
        assert!(!broker.has_more());

        bus.write_all(&call("Again", "x").repeat(MESSAGES + 1)).expect("written");
        assert_eq!((turn(&mut broker).len(), broker.has_more()), (MESSAGES, true));
        assert_eq!((turn(&mut broker).len(), broker.has_more()), (1, false));
    }

    #[test]
    fn what_is_too_long_lacks_its_body_and_what_comes_after_it_lacks_nothing() {
        for length in [LONGEST, 3 * LONGEST, 40 * LONGEST] {
            let (mut broker, mut bus) = joined();
            bus.write_all(WELCOME).expect("written");
            let long = call("Long", &"x".repeat(length));
            let path = format!("/{}", "x".repeat(length));
            let far = Message::method_call(path.as_str(), "Far").build(&()).expect("a call").data().to_vec();
            let mut heard = Vec::new();
            for said in [&long, &call("Short", "x"), &far, &long, &long, &far, &call("Last", "x")] {
                // In pieces as the kernel may give them.
                for piece in said.chunks(1500) {
                    bus.write_all(piece).expect("written");
                    heard.extend(turn(&mut broker));
                }
            }
            assert_eq!(heard, ["Long", "Short", "Long", "Long", "Last"], "after {length}");
            assert!(broker.received.capacity() < 4 * LONGEST, "it is not kept");
        }
        let (mut broker, mut bus) = joined();
        bus.write_all(&[WELCOME, &call("Long", &"x".repeat(LONGEST))].concat()).expect("written");
        broker.begin();
        let long = broker.hear().expect("the bus is there").expect("a call");
        assert!(long.body().is_empty() && !long.body().signature().to_string().is_empty());
    }

    #[test]
    fn a_bus_that_never_reads_is_not_asked_for_more() {
        let (mut broker, mut bus) = joined();
        bus.write_all(WELCOME).expect("written");
        let answer = Message::signal("/a", "a.b", "C").build(&"x".repeat(64 << 10)).expect("a signal");
        let mut sent = 0;
        while !broker.is_full() {
            broker.send(answer.clone());
            broker.write().expect("the bus is there");
            sent += 1;
            assert!(sent < 1000, "it is never full");
        }
        bus.write_all(&call("Call", "x")).expect("written");
        assert_eq!((turn(&mut broker), broker.has_more()), (Vec::<String>::new(), false));
        // It reads at last, and is heard.
        bus.set_nonblocking(true).expect("set");
        let mut read = 0;
        while broker.waiting > 0 {
            let mut buffer = [0; 4096];
            match bus.read(&mut buffer) {
                Ok(count) => read += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            broker.write().expect("the bus is there");
        }
        assert!(read <= sent * answer.data().len() && read + MOST_WAITING > answer.data().len());
        assert_eq!(turn(&mut broker), ["Call"]);
    }

    #[test]
    fn who_is_no_bus_is_left() {
        for (said, want) in [
            (&b"REJECTED EXTERNAL\r\n"[..], ErrorKind::PermissionDenied),
            (b"OK 1234\r\nERROR\r\n", ErrorKind::PermissionDenied),
            (&[b'x'; 5000], ErrorKind::InvalidData),
            (&[WELCOME, &[b'l'; 4096]].concat(), ErrorKind::Other),
            (b"", ErrorKind::UnexpectedEof),
        ] {
            let (mut broker, mut bus) = joined();
            bus.write_all(said).expect("written");
            drop(bus);
            broker.begin();
            assert_eq!(broker.hear().expect_err("it is none").kind(), want);
        }
    }
}
