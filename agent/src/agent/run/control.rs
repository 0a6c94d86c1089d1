//! Those who are connected to the control socket: commands of this machine, which speak the protocol as the host does.
//!
//! Decides how many there may be, and that one who does not read is hung up on. What they say means what it means from the
//! host (`talk`).

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use tracing::warn;

use super::{CLIENT, CONTROL};
use crate::agent::chain;
use crate::protocol::{Answer, FromHost, Inbox, Outbox};
use crate::report::Report;
use crate::sys::Root;
use crate::sys::control::Control;
use crate::sys::poll::Poll;

/// So many at a time; the next has to wait.
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
    inbox: Inbox,
    stream: UnixStream,
}

impl Clients {
    /// Begins to listen. Where that cannot be, nobody here can ask; the guest is configured all the same.
    pub(super) fn listen(root: &Root, poll: &Poll) -> Self {
        let socket = match Control::listen(root) {
            Ok(socket) => poll.add(&socket, CONTROL).is_ok().then_some(socket),
            Err(error) => {
                warn!("`ovf-agent status` and `reload` will not reach this process: {}", chain(&error));
                None
            }
        };
        Self { socket, clients: BTreeMap::new(), next: CLIENT }
    }

    /// Takes who has come.
    pub(super) fn accept(&mut self, poll: &Poll) {
        while let Some(stream) = self.socket.as_ref().and_then(Control::accept) {
            if self.clients.len() < MOST && poll.add(&stream, self.next).is_ok() {
                let (outbox, inbox) = Default::default();
                self.clients.insert(self.next, Client { outbox, inbox, stream });
                self.next += 1;
            }
        }
    }

    /// What one of them says. One who has left, or is broken, is gone.
    pub(super) fn read(&mut self, token: u64) -> Vec<Result<FromHost, Answer>> {
        let Some(client) = self.clients.get_mut(&token) else { return Vec::new() };
        let (mut messages, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match client.stream.read(&mut buffer) {
                Ok(count) if count > 0 => messages.extend(client.inbox.take(&buffer[..count])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return messages,
                _ => {
                    self.clients.remove(&token);
                    return messages;
                }
            }
        }
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
