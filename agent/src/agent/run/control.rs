//! Those who are connected to the control socket: commands of this machine, which speak the protocol as the host does.
//!
//! Decides how many there may be, and how much one may say at once. One who does not read what he is told is not heard any
//! more, until he does. What they say means what it means from the host (`talk`).

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use tracing::warn;

use super::{CLIENT, CONTROL};
use crate::agent::hearing::Hearing;
use crate::agent::{Fault, chain};
use crate::protocol::{Answer, FRAME_LIMIT, FromHost, Outbox};
use crate::report::Report;
use crate::sys::Root;
use crate::sys::control::Control;
use crate::sys::poll::Poll;
use crate::sys::port::{Moved, moved};

/// So many at a time; the next is hung up on.
const MOST: usize = 16;

/// The socket, if there is one, and who is connected to it.
#[derive(Default)]
pub(super) struct Clients {
    socket: Option<Control>,
    pub(super) clients: BTreeMap<u64, Client>,
    /// The token of the next.
    next: u64,
}

/// One who is connected.
pub(super) struct Client {
    pub(super) outbox: Outbox,
    hearing: Hearing,
    stream: UnixStream,
}

impl Clients {
    /// Begins to listen. Where that cannot be, nobody here can ask; the guest is configured all the same.
    ///
    /// # Errors
    /// Somebody listens there: one process at a time configures a guest.
    pub(super) fn listen(root: &Root, poll: &Poll) -> Result<Self, Box<Fault>> {
        let socket = match Control::listen(root) {
            Ok(socket) => poll.add(&socket, CONTROL).is_ok().then_some(socket),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                let message = "an `ovf-agent run` is running here already; `ovf-agent reload` has it read everything again";
                return Err(Fault::not_there(message.to_owned()));
            }
            Err(error) => {
                warn!("`ovf-agent status` and `reload` will not reach this process: {}", chain(&error));
                None
            }
        };
        Ok(Self { socket, clients: BTreeMap::new(), next: CLIENT })
    }

    /// Takes who has come, and has them told the report.
    pub(super) fn accept(&mut self, poll: &Poll) {
        while let Some(stream) = self.socket.as_ref().and_then(Control::accept) {
            if self.clients.len() < MOST && poll.add(&stream, self.next).is_ok() {
                let (mut outbox, hearing) = (Outbox::default(), Hearing::new(FRAME_LIMIT));
                outbox.report();
                self.clients.insert(self.next, Client { outbox, hearing, stream });
                self.next += 1;
            }
        }
    }

    /// Those who have more to say than one turn takes.
    pub(super) fn with_more(&self) -> Vec<u64> {
        let has_more = |(token, client): (&u64, &Client)| {
            (client.hearing.has_more() && !client.outbox.is_full()).then_some(*token)
        };
        self.clients.iter().filter_map(has_more).collect()
    }

    /// A turn of one of them begins.
    pub(super) fn begin(&mut self, token: u64) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.hearing.begin();
        }
    }

    /// What one of them says next; `None` where that is nothing now. One who has left, or is broken, is gone.
    pub(super) fn next(&mut self, token: u64) -> Option<Result<FromHost, Answer>> {
        let Client { outbox, hearing, stream } = self.clients.get_mut(&token)?;
        if outbox.is_full() {
            return None;
        }
        let mut gone = false;
        let read = |buffer: &mut [u8]| {
            let moved = moved(stream.read(buffer), Moved::Away);
            gone = !matches!(moved, Ok(Moved::Bytes(_) | Moved::Nothing));
            moved
        };
        let message = hearing.next(read).ok().flatten();
        if gone {
            self.clients.remove(&token);
        }
        message
    }

    /// Says what there is to be said, as far as they take it; the rest with their next event.
    pub(super) fn write(&mut self, report: &Report) {
        self.clients.retain(|_, client| {
            loop {
                let bytes = client.outbox.pending(report);
                if bytes.is_empty() {
                    break true;
                }
                match client.stream.write(bytes) {
                    Ok(count) => client.outbox.wrote(count),
                    Err(error) => break error.kind() == ErrorKind::WouldBlock,
                }
            }
        });
    }
}
