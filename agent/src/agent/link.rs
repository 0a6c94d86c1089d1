//! The open port: bytes from and to the host, and whether there is one.
//!
//! Puts the device (`sys::port`) and the frames (`protocol`) together. What a message means is decided by `run`.

#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;

use tracing::debug;

use super::hearing::Hearing;
use crate::protocol::{self, Answer, FromHost, LINE_LIMIT, Outbox};
use crate::report::Report;
use crate::sys::poll::{Poll, Ready};
use crate::sys::port::{Moved, Port};
use crate::sys::{self, Error, Root};

/// The port, and what is on its way through it.
pub(super) struct Link {
    pub(super) path: PathBuf,
    pub(super) outbox: Outbox,
    port: Port,
    hearing: Hearing,
    connected: bool,
    /// Whether a wake-up is due that tells of nothing but the delivery of what we wrote.
    echo: bool,
    /// Whether the port took no more when we last wrote.
    full: bool,
}

impl Link {
    /// Opens the port and adds it to the loop.
    ///
    /// # Errors
    /// It is there, but another process has it open, or it cannot be waited for.
    pub(super) fn open(root: &Root, poll: &Poll, token: u64, path: PathBuf) -> sys::Result<Self> {
        let port = root.open_port(&path)?;
        poll.add(&port, token).map_err(|error| Error::new("wait for", &path, error))?;
        debug!(port = %path.display(), "opened the port");
        Ok(Self {
            path,
            outbox: Outbox::default(),
            port,
            hearing: Hearing::new(LINE_LIMIT),
            connected: false,
            echo: false,
            full: false,
        })
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
            // What he said last is still to be read; see `Hearing`.
            self.away();
            return false;
        }
        let is_new = !std::mem::replace(&mut self.connected, true);
        if ready.readable {
            // What is read was said after our last words were delivered, if it is an answer to them.
            self.echo = false;
            return is_new;
        }
        let explained = std::mem::take(&mut self.echo) || self.full;
        is_new || ready.writable && !explained
    }

    /// Whether there is more to be read; no event will tell again. From one who does not take his answers nothing is: he is
    /// heard again when he does, which is an event.
    pub(super) fn has_more(&self) -> bool {
        self.hearing.has_more() && !self.is_waited_for()
    }

    /// Whether there is a host who does not take his answers.
    fn is_waited_for(&self) -> bool {
        self.connected && self.outbox.is_full()
    }

    /// Nobody is at the other end: what was being said has no end, and whoever comes is told anew.
    fn away(&mut self) {
        (self.connected, self.echo, self.full) = (false, false, false);
        self.outbox.reset();
    }

    /// A turn of reading begins.
    pub(super) fn begin(&mut self) {
        self.hearing.begin();
    }

    /// What the host says next; `None` where that is nothing now.
    ///
    /// # Errors
    /// The port is gone.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<FromHost, Answer>>> {
        if self.is_waited_for() {
            return Ok(None);
        }
        // Among what is read after a host has left may be what the next one said; of the answers the last are kept.
        self.outbox.make_room();
        let mut is_away = false;
        let message = self
            .hearing
            .next(|buffer| self.port.read(buffer).inspect(|moved| is_away = *moved == Moved::Away));
        if is_away {
            self.away();
        }
        message
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
                Moved::Nothing | Moved::Away => {
                    self.full = true;
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The node of the port, by the name that the platform gave it: the numbers in the node's own name say nothing. `None` where the
/// machine has no port of that name, or not yet.
pub(super) fn find(root: &Root) -> Option<PathBuf> {
    const CLASS: &str = "/sys/class/virtio-ports";
    let nodes = root.list(CLASS).ok()?;
    let named =
        |node: &String| root.clue(format!("{CLASS}/{node}/name")).is_some_and(|name| name == protocol::PORT);
    Some(PathBuf::from("/dev").join(nodes.into_iter().find(named)?))
}
