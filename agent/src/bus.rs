//! The one place where D-Bus is spoken, and what drives it: to an end with a deadline, or step by step from a loop. With PID 1, that
//! is; our own object on the system bus is [`object`], by a [`Broker`] that needs no driving.
//!
//! Decides how systemd is reached: by PID 1's own socket, `/run/systemd/private` (systemd(1)), which is there before any
//! unit is started, long before the bus, and which root alone may connect to. There is no broker in between, so no name and
//! no subscription: whoever is connected gets every signal of the manager's. A connection is therefore only kept for as
//! long as there is something to ask, or a unit to be watched. What to ask is decided by `units`, `checks` and `ready`.
//!
//! A conversation is a future, so a state machine of the compiler's making, and may be all of a pass. Either [`Bus::wait`]
//! drives it to its end; or [`Bus::start`] begins it, and the loop watches the bus's descriptor and calls [`Bus::step`] when
//! that is ready or [`Bus::next`] has come, until it has the result. zbus runs on [`Runtime`], on the caller's thread
//! (docs/decisions/008).

#![forbid(unsafe_code)]

mod broker;
mod follow;
mod line;
pub mod object;
mod runtime;
mod socket;
mod systemd;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::sys::Root;
use crate::sys::clock::Moment;

pub use broker::{Broker, SOCKET as SYSTEM_BUS};
pub use follow::Told;
pub use line::Changes;
pub use runtime::Runtime;
pub use systemd::{Job, Systemd, UnitStatus};

/// PID 1's own socket.
const PRIVATE: &str = "/run/systemd/private";
/// What is there where systemd runs the machine.
const BOOTED: &str = "/run/systemd/system";

/// Conversations and what drives them. Dropped, all of them end, and the connection with them: to be made for a pass, and
/// not kept by a loop that has nothing to ask.
pub struct Bus {
    runtime: Runtime,
    systemd: Option<Systemd>,
}

/// A conversation under way. Dropped, it is given up.
pub struct Conversation<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    woken: Arc<Woken>,
}

/// Whether a conversation can go on.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What was asked for could not be had from systemd.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The conversation broke.
    #[error("cannot talk to systemd at {PRIVATE}")]
    Connection(#[source] zbus::Error),
    /// systemd refused, with the name and the text of its error.
    #[error("systemd refuses {call} {operand}: {text}")]
    Refused {
        /// The method.
        call: &'static str,
        /// What it was called for.
        operand: String,
        /// The name of the error.
        name: String,
        /// systemd's own words. They are made of units, properties and paths.
        text: String,
    },
    /// There was no answer in time.
    #[error("systemd does not answer {call} {operand}")]
    Late {
        /// The method.
        call: &'static str,
        /// What it was called for.
        operand: String,
    },
}

impl Bus {
    /// For the machine of `root`. systemd is at hand where that is the machine we run on, we are root, and systemd is what
    /// runs it (sd_booted(3)). That it cannot be talked to then is an error, and no reason to go on without it.
    ///
    /// # Errors
    /// The kernel has no more descriptors for us.
    pub fn new(root: &Root) -> io::Result<Self> {
        Self::with_socket(Self::has_systemd(root).then_some(Path::new(PRIVATE)))
    }

    /// Whether systemd is at hand there. In a chroot it may be reached, and would start units in another root.
    pub fn has_systemd(root: &Root) -> bool {
        root.is_up() && crate::sys::process::euid() == 0 && root.exists(BOOTED)
    }

    /// For a machine whose systemd does not answer any more, but which has to go down.
    ///
    /// # Errors
    /// The kernel has no more descriptors for us.
    pub fn without_systemd() -> io::Result<Self> {
        Self::with_socket(None)
    }

    fn with_socket(socket: Option<&Path>) -> io::Result<Self> {
        let runtime = Runtime::new()?;
        let systemd = socket.map(|socket| Systemd::at(socket, runtime.clone()));
        Ok(Self { runtime, systemd })
    }

    /// systemd, where there is one. It is connected to when it is first asked something.
    pub fn systemd(&self) -> Option<Systemd> {
        self.systemd.clone()
    }

    /// What drives it, for what waits without systemd.
    pub fn runtime(&self) -> Runtime {
        self.runtime.clone()
    }

    /// Begins a conversation. Nothing of it happens before [`Self::step`].
    pub fn start<'a, T>(&self, conversation: impl Future<Output = T> + 'a) -> Conversation<'a, T> {
        Conversation { future: Box::pin(conversation), woken: Arc::new(Woken(AtomicBool::new(true))) }
    }

    /// Does all that can be done now, and says what the conversation came to, once it has ended. To be called whenever the
    /// descriptor has turned readable or [`Self::next`] has come; not after the end.
    ///
    /// # Errors
    /// Never in practice.
    pub fn step<T>(&self, conversation: &mut Conversation<'_, T>) -> io::Result<Option<T>> {
        let Conversation { future, woken } = conversation;
        let waker = Waker::from(Arc::clone(woken));
        loop {
            while woken.0.swap(false, Ordering::Relaxed) {
                if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Ok(Some(value));
                }
            }
            self.runtime.step()?;
            if !woken.0.load(Ordering::Relaxed) {
                return Ok(None);
            }
        }
    }

    /// When [`Self::step`] has something to do although the descriptor is not ready.
    pub fn next(&self) -> Option<Moment> {
        self.runtime.next()
    }

    /// Drives a conversation to its end. How long that may take is the conversation's to say.
    ///
    /// # Errors
    /// Never in practice.
    pub fn wait<T>(&self, conversation: impl Future<Output = T>) -> io::Result<T> {
        let mut conversation = self.start(conversation);
        loop {
            if let Some(value) = self.step(&mut conversation)? {
                return Ok(value);
            }
            self.runtime.wait()?;
        }
    }
}

/// Readable when [`Bus::step`] has something to do.
impl AsFd for Bus {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.runtime.as_fd()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.systemd = None;
        self.runtime.shut_down();
    }
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bus(systemd: {})", self.systemd.is_some())
    }
}

#[cfg(test)]
mod tests;
