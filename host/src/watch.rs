//! Everything that guests do, in one place to wait for it.
//!
//! Decides how ports and an engine's news are polled together: one thread over epoll, however many guests there are. Nothing
//! is decided about what is seen. An interrupt is seen, too, and not the end of anything here.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ovf_agent::protocol::FromHost;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::engine::{Engine, Guest, Life};
use crate::order::Moment;
use crate::port::{Heard, Port};

/// What was seen.
#[derive(Debug)]
pub enum Seen {
    /// A guest said something.
    Heard(usize, Heard),
    /// Something became of a guest.
    Life(usize, Life),
    /// Whoever has started this wants it to end.
    Interrupted,
}

/// Who is watched.
#[derive(Debug)]
pub struct Watch {
    poller: OwnedFd,
    signals: UnixStream,
    ports: BTreeMap<usize, Port>,
    /// Ports whose guest was not there, or has closed.
    lost: BTreeMap<usize, Instant>,
    ids: BTreeMap<usize, String>,
    begun: Instant,
    /// Names requests, so that answers can be told from those to others.
    asked: u64,
}

const SIGNALS: u64 = u64::MAX;
/// How often a port is tried that is not there.
const AGAIN: Duration = Duration::from_millis(250);

impl Watch {
    /// Watches nobody yet. The clock begins.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn new(guests: &[Guest]) -> io::Result<Self> {
        make_room(guests.len());
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let (signals, end) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            signal_hook::low_level::pipe::register(signal, end.try_clone()?)?;
        }
        epoll::add(&poller, &signals, epoll::EventData::new_u64(SIGNALS), epoll::EventFlags::IN)?;
        Ok(Self {
            poller,
            signals,
            ports: BTreeMap::new(),
            lost: BTreeMap::new(),
            ids: guests.iter().map(|it| (it.entity, it.id.clone())).collect(),
            begun: Instant::now(),
            asked: 0,
        })
    }

    /// Whether whoever has started this wants it to end. That is not forgotten, and comes again from [`Self::next`].
    pub fn is_interrupted(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut fds = [PollFd::new(&self.signals, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
    }

    /// Time since it began.
    pub fn now(&self) -> Moment {
        self.begun.elapsed()
    }

    /// Watches a guest from now on.
    pub fn follow(&mut self, engine: &dyn Engine, guest: usize) {
        for source in engine.source(guest).into_iter().chain(engine.shared()) {
            self.add(source, key(guest, false));
        }
        self.connect(engine, guest);
    }

    /// Says something to a guest; if it is not there, to nobody.
    pub fn say(&mut self, guest: usize, message: &FromHost) {
        if let Some(port) = self.ports.get_mut(&guest) {
            port.say(message);
            self.write(guest);
        }
    }

    /// A name for a request that no other has.
    pub fn name(&mut self) -> String {
        self.asked += 1;
        format!("ovf-host-{}-{}", std::process::id(), self.asked)
    }

    /// Waits until something is seen, or until then.
    ///
    /// # Errors
    /// The system does not let us wait.
    pub fn next(&mut self, engine: &mut dyn Engine, until: Option<Moment>) -> io::Result<Vec<Seen>> {
        let again = self.lost.values().min().map(|it| it.saturating_duration_since(self.begun));
        let until = until.into_iter().chain(again).min();
        // Rounded up: who wakes up too early finds nothing to do, and does so a thousand times.
        let timeout = until.map(|it| {
            let left = it.saturating_sub(self.now());
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
        });
        let mut events = Vec::with_capacity(1024);
        match epoll::wait(&self.poller, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut seen = Vec::new();
        for event in &events {
            let (key, flags) = (event.data.u64(), event.flags);
            let guest = (key >> 1) as usize;
            if key == SIGNALS {
                let mut byte = [0];
                if self.signals.read(&mut byte).is_ok_and(|it| it > 0) {
                    seen.push(Seen::Interrupted);
                }
            } else if key & 1 == 0 {
                seen.extend(engine.news(guest).into_iter().map(|(guest, life)| Seen::Life(guest, life)));
            } else {
                if flags.contains(epoll::EventFlags::OUT) {
                    self.write(guest);
                }
                self.read(guest, &mut seen);
            }
        }
        let now = Instant::now();
        let due: Vec<_> = self.lost.iter().filter(|&(_, &at)| at <= now).map(|(&guest, _)| guest).collect();
        for guest in due {
            self.connect(engine, guest);
        }
        Ok(seen)
    }

    /// A guest has gone: nobody is there to connect to until it is followed again.
    pub fn leave(&mut self, guest: usize) {
        self.ports.remove(&guest);
        self.lost.remove(&guest);
    }

    fn connect(&mut self, engine: &dyn Engine, guest: usize) {
        self.leave(guest);
        let port = engine.port(guest).and_then(|stream| Port::new(stream, &self.ids[&guest]));
        match port {
            Ok(port) => {
                self.add(std::os::fd::AsFd::as_fd(&port), key(guest, true));
                self.ports.insert(guest, port);
                // An agent that has said all it had to say is asked; it cannot always see that somebody has come.
                let id = self.name();
                self.say(guest, &FromHost::Query { id });
            }
            Err(_) => drop(self.lost.insert(guest, Instant::now() + AGAIN)),
        }
    }

    fn read(&mut self, guest: usize, seen: &mut Vec<Seen>) {
        let Some(port) = self.ports.get_mut(&guest) else { return };
        match port.read() {
            Ok(heard) => {
                seen.extend(heard.into_iter().map(|it| Seen::Heard(guest, it)));
                self.write(guest);
            }
            Err(_) => self.lose(guest),
        }
    }

    fn write(&mut self, guest: usize) {
        let Some(port) = self.ports.get_mut(&guest) else { return };
        if port.write().is_err() {
            self.lose(guest);
            return;
        }
        let flags = match port.has_more() {
            true => epoll::EventFlags::IN | epoll::EventFlags::OUT,
            false => epoll::EventFlags::IN,
        };
        if epoll::modify(&self.poller, &*port, epoll::EventData::new_u64(key(guest, true)), flags).is_err() {
            self.lose(guest);
        }
    }

    fn lose(&mut self, guest: usize) {
        self.ports.remove(&guest);
        self.lost.insert(guest, Instant::now() + AGAIN);
    }

    /// One source may tell of several guests; then it is there already.
    fn add(&self, source: BorrowedFd<'_>, key: u64) {
        let added = epoll::add(&self.poller, source, epoll::EventData::new_u64(key), epoll::EventFlags::IN);
        debug_assert!(
            added.map_err(io::Error::from).is_ok()
                || added.is_err_and(|it| io::Error::from(it).kind() == ErrorKind::AlreadyExists)
        );
    }
}

/// Lets this process have as many descriptors as so many guests want: a port and an engine's source each, and those that both want
/// for a moment. Where the system has fewer, whoever has none says so.
fn make_room(guests: usize) {
    let wanted = guests as u64 * 2 + 128;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|it| it < wanted) {
        let current = limit.maximum.map_or(wanted, |it| it.min(wanted));
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit });
    }
}

/// What an event is of: a guest's port, or what its engine says of it.
fn key(guest: usize, is_port: bool) -> u64 {
    (guest as u64) << 1 | u64::from(is_port)
}
