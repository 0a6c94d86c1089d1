//! The open port: bytes from and to the host, and whether there is one.
//!
//! Puts the device (`sys::port`) and the frames (`protocol`) together. What a message means is decided by `run`.

#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;

use tracing::debug;

use crate::protocol::{self, Answer, FromHost, Inbox, Outbox};
use crate::report::Report;
use crate::sys::poll::{Poll, Ready};
use crate::sys::port::{Moved, Port};
use crate::sys::{self, Error, Root};

/// What one read of the ring buffer gives at most; the kernel hands out no more at a time.
const PIECE: usize = 4096;
/// So many pieces are read in one turn: a host that talks without end does not keep everything else waiting.
const PIECES: usize = 64;

/// The port, and what is on its way through it.
pub(super) struct Link {
    pub(super) path: PathBuf,
    pub(super) outbox: Outbox,
    port: Port,
    inbox: Inbox,
    connected: bool,
    /// Whether a wake-up is due that tells of nothing but the delivery of what we wrote.
    echo: bool,
    /// Whether the port took no more when we last wrote.
    full: bool,
    has_more: bool,
}

impl Link {
    /// Opens the port and adds it to the loop; `None` where the machine has no port of that name, or not yet.
    ///
    /// # Errors
    /// It is there, but another process has it open, or it cannot be waited for.
    pub(super) fn open(root: &Root, poll: &Poll, token: u64) -> sys::Result<Option<Self>> {
        let Some(path) = find(root) else { return Ok(None) };
        let port = root.open_port(&path)?;
        poll.add(&port, token).map_err(|error| Error::new("wait for", &path, error))?;
        debug!(port = %path.display(), "opened the port");
        Ok(Some(Self {
            path,
            outbox: Outbox::default(),
            port,
            inbox: Inbox::default(),
            connected: false,
            echo: false,
            full: false,
            has_more: false,
        }))
    }

    /// Whether somebody is at the other end.
    pub(super) fn has_host(&self) -> bool {
        self.connected
    }

    /// Takes note of an event; says whether a host has come with it.
    ///
    /// One who left and came back between two looks leaves no hang-up behind, only a wake-up without anything to read. So
    /// does the kernel each time it has delivered what we wrote, and each time a full port has room again; a wake-up
    /// that neither explains is taken for a host (virtio_console.c: `out_intr`, `handle_control_message`).
    pub(super) fn event(&mut self, ready: Ready) -> bool {
        if ready.hangup {
            self.connected = false;
            self.echo = false;
            self.full = false;
            self.inbox.reset();
            self.outbox.reset();
            return false;
        }
        if ready.readable {
            // What is read was said after our last words were delivered, if it is an answer to them.
            self.echo = false;
            return ready.writable && !std::mem::replace(&mut self.connected, true);
        }
        let explained = std::mem::take(&mut self.echo) || self.full;
        let known = std::mem::replace(&mut self.connected, true);
        ready.writable && !(known && explained)
    }

    /// Whether the last turn ended before there was nothing more to read; no event will tell again.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Reads until there is nothing more, or for as long as one turn may be.
    ///
    /// # Errors
    /// The port is gone.
    pub(super) fn read(&mut self) -> io::Result<Vec<Result<FromHost, Answer>>> {
        let mut messages = Vec::new();
        let mut buffer = [0; PIECE];
        for _ in 0..PIECES {
            match self.port.read(&mut buffer)? {
                Moved::Bytes(count) => messages.extend(self.inbox.take(&buffer[..count])),
                Moved::Nothing => {
                    self.has_more = false;
                    return Ok(messages);
                }
            }
        }
        self.has_more = true;
        Ok(messages)
    }

    /// Writes until all is said or the port takes no more. Nothing is written before a host was seen: the event that
    /// shows him is on its way from the moment at which the port was opened.
    ///
    /// # Errors
    /// The port is gone.
    pub(super) fn write(&mut self, report: &Report) -> io::Result<()> {
        while self.connected {
            let bytes = self.outbox.pending(report);
            if bytes.is_empty() {
                break;
            }
            match self.port.write(bytes)? {
                Moved::Bytes(count) => {
                    self.outbox.wrote(count);
                    self.echo = true;
                    self.full = false;
                }
                Moved::Nothing => {
                    self.full = true;
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The node of the port, by the name that the platform gave it: the numbers in the node's own name say nothing.
fn find(root: &Root) -> Option<PathBuf> {
    const CLASS: &str = "/sys/class/virtio-ports";
    let nodes = root.list(CLASS).ok()?;
    let named =
        |node: &String| root.clue(format!("{CLASS}/{node}/name")).is_some_and(|name| name == protocol::PORT);
    Some(PathBuf::from("/dev").join(nodes.into_iter().find(named)?))
}
