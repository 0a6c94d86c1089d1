//! Our object on the system bus, in the loop: how the bus is waited for, joined and lost, and what everybody is told.
//!
//! Decides when the bus is tried: when its socket has come, which inotify tells, as there is none when a boot begins; and a while
//! after it was lost, since a bus that is started by its socket leaves that where it is. So an agent without a bus does not wake up, and one
//! whose bus never reads goes on. The name is asked for once, and waited for where another process has it. Who may ask
//! what is decided in [`calls`].

#![forbid(unsafe_code)]

mod calls;

use std::io;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use tracing::{debug, info, warn};
use zbus::{Message, Variant};

use super::{BUS_SOCKET, OBJECT, Running};
use crate::agent::values::Values;
use crate::bus::object::{self, Asked, NAME};
use crate::bus::{Broker, SYSTEM_BUS};
use crate::report::Report;
use crate::sys::clock::{Moment, now};
use crate::sys::inotify::FileWatch;
use crate::sys::process;

/// A bus that is lost, or does not listen yet, is tried again after 1, 2, 4 ... seconds, so many times; then when its socket has changed.
/// Not at once: a machine that goes down stops its bus, and does not want it started by us.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const TRIES: u32 = 7;

/// The answers to `RequestName` that mean that the name is ours (D-Bus specification).
const OWNED: [u32; 2] = [1, 4];

/// What there is of the bus.
#[derive(Default)]
pub(super) struct Object {
    broker: Option<Broker>,
    /// Tells when the socket comes, while there is no connection.
    socket: Option<FileWatch>,
    /// When it is tried again, and how often it was.
    again: Option<Moment>,
    tries: u32,
    /// The question for the name, until it is answered.
    naming: Option<NonZeroU32>,
    is_named: bool,
    /// What everybody was told last.
    told: Option<Shown>,
    /// What the last pass that was applied knew.
    pub(super) values: Option<Values>,
    /// Calls that are answered when the bus has said who calls.
    asking: Vec<(NonZeroU32, Message, Asked)>,
    /// Calls that are answered when a pass is over, by their numbers.
    reloads: Vec<(u64, Message)>,
    reload: u64,
}

/// What is told when it changes.
#[derive(Clone, PartialEq)]
struct Shown {
    stage: &'static str,
    ready: bool,
    generation: u64,
    id: String,
}

impl From<&Report> for Shown {
    fn from(report: &Report) -> Self {
        let stage = report.stage.as_str();
        Self { stage, ready: report.ready, generation: report.generation, id: report.id.clone() }
    }
}

impl Shown {
    /// As properties; without those that are the same in `old`.
    fn properties(self, old: Option<&Self>) -> Vec<(&'static str, Variant<'static>)> {
        let mut properties = Vec::new();
        if old.is_none_or(|old| old.stage != self.stage) {
            properties.push(("Stage", self.stage.into()));
        }
        if old.is_none_or(|old| old.ready != self.ready) {
            properties.push(("Ready", Variant::Bool(self.ready)));
        }
        if old.is_none_or(|old| old.generation != self.generation) {
            properties.push(("Generation", Variant::U64(self.generation)));
        }
        if old.is_none_or(|old| old.id != self.id) {
            properties.push(("EnvironmentId", self.id.into()));
        }
        properties
    }
}

impl Object {
    /// When [`Running::bus_is_due`] has something to do, if nothing happens before.
    pub(super) fn next(&self) -> Option<Moment> {
        match &self.broker {
            Some(broker) => broker.has_more().then_some(Moment::ZERO),
            None => self.again,
        }
    }
}

impl Running {
    /// Joins the bus if it is there, and waits for it if not. Under a root that stands for another machine there is none.
    pub(super) fn open_bus(&mut self) {
        self.object.again = None;
        if self.object.broker.is_some() || !self.root.is_system() || process::euid() != 0 {
            return;
        }
        let joined = Broker::connect(Path::new(SYSTEM_BUS)).and_then(|broker| {
            self.poll.add(&broker, OBJECT)?;
            Ok(broker)
        });
        match joined {
            Ok(mut broker) => {
                broker.call("Hello", Vec::new());
                self.object.naming = broker.call("RequestName", vec![NAME.into(), Variant::U32(0)]);
                self.object.broker = Some(broker);
                self.object.socket = None;
                self.write_bus();
            }
            Err(_) => self.await_bus(),
        }
    }

    fn await_bus(&mut self) {
        if self.object.socket.is_none() {
            let files = FileWatch::new().and_then(|files| self.poll.add(&files, BUS_SOCKET).map(|()| files));
            self.object.socket =
                files.inspect_err(|error| warn!("cannot wait for the system bus: {error}")).ok();
        }
        if self.bus_is_there() && self.object.tries < TRIES {
            self.object.again = Some(now() + FIRST_PAUSE * (1 << self.object.tries));
            self.object.tries += 1;
        }
    }

    /// Looks for the socket, and watches its place from then on.
    fn bus_is_there(&mut self) -> bool {
        let files = self.object.socket.as_mut();
        files.is_some_and(|files| files.look(&self.root, 0, Path::new(SYSTEM_BUS)).is_there)
    }

    /// Something has happened where the socket is, or will be.
    pub(super) fn bus_socket_event(&mut self) -> io::Result<()> {
        if let Some(files) = &mut self.object.socket
            && !files.events()?.is_empty()
        {
            self.object.tries = 0;
            if self.bus_is_there() {
                self.open_bus();
            }
        }
        Ok(())
    }

    /// What [`Object::next`] told of has come.
    pub(super) fn bus_is_due(&mut self) {
        match self.object.broker {
            Some(_) => self.bus_event(),
            None => self.open_bus(),
        }
    }

    /// A bus that was given up, or has refused the name, may do better by now.
    pub(super) fn try_bus_again(&mut self) {
        self.object.tries = 0;
        match &mut self.object.broker {
            None => self.open_bus(),
            Some(broker) if !self.object.is_named => {
                self.object.naming = broker.call("RequestName", vec![NAME.into(), Variant::U32(0)]);
                self.write_bus();
            }
            Some(_) => {}
        }
    }

    /// The bus has something to say, or takes something again.
    pub(super) fn bus_event(&mut self) {
        self.write_bus();
        if let Some(broker) = &mut self.object.broker {
            broker.begin();
        }
        while let Some(broker) = &mut self.object.broker {
            match broker.hear() {
                Ok(Some(message)) => self.bus_says(message),
                Ok(None) => break,
                Err(error) => return self.lost_bus(&error),
            }
        }
        self.tell_bus();
        self.write_bus();
    }

    fn bus_says(&mut self, message: Message) {
        if let Some((serial, is_done)) = object::answers(&message) {
            if Some(serial) == self.object.naming {
                self.named(&message, is_done);
            } else {
                self.known(serial, object::number(&message).filter(|_| is_done));
            }
        } else if let Some(is_ours) = object::name_is_ours(&message) {
            self.object.is_named = is_ours;
        } else if let Some(asked) = object::asked(&message) {
            self.called(message, asked);
        }
    }

    /// The question for the name is answered.
    fn named(&mut self, answer: &Message, is_done: bool) {
        self.object.naming = None;
        self.object.is_named = is_done && object::number(answer).is_some_and(|code| OWNED.contains(&code));
        if self.object.is_named {
            debug!("{NAME} is on the system bus");
            self.object.tries = 0;
            self.object.told = None;
        } else if is_done {
            warn!("another process has the name {NAME} on the system bus; it is ours when that one leaves");
        } else {
            // Not everybody wants it to be there.
            info!(
                "the system bus refuses the name {NAME}: install its policy file, {NAME}.conf, \
                 then `systemctl reload dbus` and `ovf-agent reload`"
            );
        }
    }

    fn lost_bus(&mut self, error: &io::Error) {
        debug!("the system bus is gone: {error}");
        // Numbers of calls go on: what they stood for may still be asked for.
        let Object { values, tries, reload, .. } = std::mem::take(&mut self.object);
        self.object = Object { values, tries, reload, ..Object::default() };
        self.await_bus();
    }

    /// Tells everybody what has changed, once the bus takes it.
    pub(super) fn tell_bus(&mut self) {
        let Some(broker) =
            self.object.broker.as_mut().filter(|broker| self.object.is_named && !broker.is_full())
        else {
            return;
        };
        let shown = Shown::from(self.reporter.report());
        if self.object.told.as_ref() == Some(&shown) {
            return;
        }
        // Whoever has come before us has seen the name come, and asks.
        if let Some(told) = self.object.told.replace(shown.clone()) {
            object::changed(shown.properties(Some(&told))).into_iter().for_each(|signal| broker.send(signal));
            self.write_bus();
        }
    }

    /// A pass was applied, with these values.
    pub(super) fn new_values(&mut self, values: Values) {
        let names = values.changed_since(self.object.values.as_ref());
        self.object.values = Some(values);
        let broker = self.object.broker.as_mut().filter(|broker| self.object.is_named && !broker.is_full());
        if let Some(broker) = broker.filter(|_| !names.is_empty()) {
            let signal = object::signal(NAME, "ParametersChanged", vec![object::texts(&names)]);
            signal.into_iter().for_each(|signal| broker.send(signal));
            self.write_bus();
        }
    }

    fn write_bus(&mut self) {
        if let Some(Err(error)) = self.object.broker.as_mut().map(Broker::write) {
            self.lost_bus(&error);
        }
    }
}
