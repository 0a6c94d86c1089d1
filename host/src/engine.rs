//! What runs the guests.
//!
//! Decides what an engine is asked for, whichever it is: machines that start, stop and hold another disc, and what becomes
//! of them. When a guest starts is for `order`, what it says for `port`.

#![forbid(unsafe_code)]

mod disks;
pub mod libvirt;
mod program;
pub mod qemu;

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::machine::Machine;
use crate::secret::Secret;

/// Everything that an engine has to know of a deployment.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the deployment is called.
    pub name: String,
    /// What tells it from all other deployments, wherever its directory is and by whatever path.
    pub key: String,
    /// Its directory, from the root.
    pub directory: PathBuf,
    /// The guests, by their places among the package's entities.
    pub guests: Vec<Guest>,
}

impl Plan {
    /// The guest at this place.
    ///
    /// # Panics
    /// It is none of the plan's: engines are asked for guests of their plan.
    pub(in crate::engine) fn guest(&self, entity: usize) -> &Guest {
        self.guests.iter().find(|it| it.entity == entity).expect("a guest of the plan")
    }
}

/// A guest, as an engine sees it.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Its place among the package's entities.
    pub entity: usize,
    /// Its id.
    pub id: String,
    /// What it has.
    pub machine: Machine,
    /// The disc with its environment.
    pub disc: PathBuf,
    /// The environment, to be sent again where a guest asks for it.
    pub document: Secret,
}

/// What becomes of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// It has powered itself off.
    Off,
    /// It has gone in another way, and why.
    Lost(String),
    /// It boots again.
    Rebooted,
    /// It runs, and what joined it to others does not any more, and why.
    Isolated(String),
}

/// What runs guests. Errors are for people; guests are meant by their places among the package's entities.
pub trait Engine: Debug {
    /// Makes what all guests share. What takes long asks whether it is still wanted.
    ///
    /// # Errors
    /// It cannot be made, or is not wanted any more.
    fn prepare(&mut self, is_wanted: &dyn Fn() -> bool) -> Result<(), String>;

    /// Starts a guest, for the first time or again.
    ///
    /// # Errors
    /// It does not run.
    fn start(&mut self, guest: usize) -> Result<(), String>;

    /// Takes up a guest that an earlier command has started.
    ///
    /// # Errors
    /// It does not run any more.
    fn attach(&mut self, guest: usize) -> Result<(), String>;

    /// What can be polled for news of a guest that runs; where one source tells of all, it is the same for each.
    fn source(&self, guest: usize) -> Option<BorrowedFd<'_>>;

    /// What else can be polled for news: of what guests share, where their own sources do not tell of it.
    fn shared(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The news that its source has, and the shared one.
    fn news(&mut self, guest: usize) -> Vec<(usize, Life)>;

    /// Whether what joins the guests is as it was made, as far as that can be seen from here.
    ///
    /// # Errors
    /// It is not, and why.
    fn joined(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Connects to a guest's port.
    ///
    /// # Errors
    /// There is none, or somebody else has it.
    fn port(&self, guest: usize) -> io::Result<UnixStream>;

    /// Whether a guest that this or an earlier command has started runs.
    fn runs(&mut self, guest: usize) -> bool;

    /// Presses a guest's power button.
    ///
    /// # Errors
    /// It has none any more.
    fn press(&mut self, guest: usize) -> Result<(), String>;

    /// Cuts a guest's power, and waits until nothing of it runs.
    ///
    /// # Errors
    /// It runs on.
    fn cut(&mut self, guest: usize) -> Result<(), String>;

    /// Puts a guest's disc, which is another one by now, into its drive.
    ///
    /// # Errors
    /// The drive does not take it.
    fn insert(&mut self, guest: usize) -> Result<(), String>;

    /// Removes what `prepare` has made. Every guest is off.
    ///
    /// # Errors
    /// Something is left.
    fn clear(&mut self) -> Result<(), String>;

    /// Connects to a guest's console, to hear it and to type.
    ///
    /// # Errors
    /// It does not run, or this engine has none to connect to.
    fn terminal(&self, guest: usize) -> io::Result<UnixStream>;

    /// The file with all that a guest's console has said.
    ///
    /// # Errors
    /// It cannot be opened, or this engine keeps none.
    fn record(&self, guest: usize) -> io::Result<File>;

    /// The last lines of a guest's console.
    fn console(&self, guest: usize, lines: usize) -> Vec<String>;
}

/// How long a program that does one thing may take for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Takes what a stream has, and waits for nothing. Answers whether that was the last of it.
fn drain(stream: &mut UnixStream, pending: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 16 << 10];
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(count) => pending.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
    }
}
