//! The port in the loop: how it is opened, how one is waited for that another process has open, and how it is lost.
//!
//! Decides when it is tried again. A port has one owner at a time (virtio_console.c: `port_fops_open`), so whoever has a look at
//! it with `cat` keeps the agent out; that he has closed it is told by inotify.

#![forbid(unsafe_code)]

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use tracing::{info, warn};

use super::{PORT, Running, TAKEN};
use crate::agent::chain;
use crate::agent::link::{self, Link};
use crate::sys::clock::{Moment, now};
use crate::sys::port::Closing;

/// The kernel tells of a close just before the port is free (file_table.c: `__fput`): it is tried at once, and again after 10, 20,
/// 40 ... ms, so many times.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const TRIES: u32 = 6;

/// A port that another process has open.
pub(super) struct Taken {
    path: PathBuf,
    closing: Option<Closing>,
    /// When it is tried again, and how often it was.
    again: Option<Moment>,
    tries: u32,
}

impl Taken {
    /// When [`Running::open_port`] is worth a try, if nothing happens before.
    pub(super) fn again(&self) -> Option<Moment> {
        self.again
    }
}

impl Running {
    /// Opens the port if it is there and not open yet.
    pub(super) fn open_port(&mut self) {
        if self.link.is_some() {
            return;
        }
        let Some(path) = link::find(&self.root) else {
            self.taken = None;
            return;
        };
        match Link::open(&self.root, &self.poll, PORT, path.clone()) {
            Ok(link) => {
                self.link = Some(link);
                if self.taken.take().is_some() {
                    info!("the port is free, and open now");
                }
            }
            Err(error) if error.kind() == ErrorKind::ResourceBusy => self.await_port(path),
            Err(error) => warn!("no reports to the platform: {}", chain(&error)),
        }
    }

    fn await_port(&mut self, path: PathBuf) {
        if let Some(taken) = self.taken.as_mut().filter(|taken| taken.path == path) {
            taken.tries += 1;
            taken.again = (taken.tries < TRIES).then(|| now() + FIRST_PAUSE * (1 << taken.tries));
            return;
        }
        let name = path.display();
        warn!(
            "no reports to the platform until the process ends that has {name} open; `fuser {name}` tells which"
        );
        let closing = match Closing::watch(&self.root, &path) {
            Ok(closing) => self.poll.add(&closing, TAKEN).is_ok().then_some(closing),
            Err(error) => {
                warn!("cannot wait for that: {}", chain(&error));
                None
            }
        };
        // It may have been closed before it was watched.
        self.taken = Some(Taken { path, closing, again: Some(now() + FIRST_PAUSE), tries: 0 });
    }

    /// Somebody has closed a port that he had open.
    pub(super) fn port_closed(&mut self) {
        if let Some(taken) = &mut self.taken {
            taken.closing.as_ref().inspect(|closing| closing.clear());
            taken.tries = 0;
            self.open_port();
        }
    }

    /// The port is gone; one of its name may come again, or be there already: then its coming was told before this.
    pub(super) fn lost_port(&mut self, error: &io::Error) {
        if let Some(link) = self.link.take() {
            warn!(port = %link.path.display(), "the port is gone: {error}");
            self.open_port();
        }
    }
}
