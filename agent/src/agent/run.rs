//! `ovf-agent run`: one process, one thread, one loop.
//!
//! Decides what happens when: the search, the pass, the gates and the reports are driven by events, and none of them
//! keeps the others waiting. A pass is a conversation that the loop drives by steps, and has the machine to itself for as
//! long; so there is one at a time. It is the only process that opens the port, and it stays until it is told to stop. What
//! an event means is decided by the pure parts (`transport::wait`, `ready`, `report`, `protocol`).

#![forbid(unsafe_code)]

mod gates;
mod talk;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tracing::{info, warn};

use super::link::Link;
use super::{Exit, Fault, Finder, Machine, Result, Step, new_report};
use crate::bus::{Bus, Conversation};
use crate::config::Config;
use crate::problem::Problems;
use crate::ready::Gates;
use crate::report::{Report, Reporter, Stage};
use crate::sys::clock::{Moment, now};
use crate::sys::net::Connecting;
use crate::sys::poll::Poll;
use crate::sys::signals::Stop;
use crate::sys::uevent::{Received, Uevents};
use crate::sys::{Error, Root};
use crate::transport::{self, Document, Source};
use gates::Waiting;

const UEVENTS: u64 = 0;
const STOP: u64 = 1;
const PORT: u64 = 2;
const BUS: u64 = 3;
/// Gate number n has token `GATE + n`.
const GATE: u64 = 16;

/// What `run` was asked for.
#[derive(Debug)]
pub struct Options {
    /// A source that was named, in place of looking for one.
    pub source: Option<Source>,
    /// A file that each report is written to as well.
    pub report: Option<PathBuf>,
}

/// Runs until SIGTERM or SIGINT. A configuration that is wrong is reported like any other failure: the guest boots, and
/// the platform is told why it is not configured.
///
/// # Errors
/// Something that the loop itself needs is not to be had.
pub fn run(
    machine: Machine,
    config: std::result::Result<Config, Problems>,
    options: Options,
) -> Result<Exit> {
    let outside = |what, error| Fault::outside(&Error::new("wait for", what, error));
    let poll = Poll::new().map_err(|error| outside("events", error))?;
    let stop = Stop::install().map_err(|error| outside("signals", error))?;
    poll.add(&stop, STOP).map_err(|error| outside("signals", error))?;
    let uevents = match Uevents::listen() {
        Ok(uevents) => {
            poll.add(&uevents, UEVENTS).map_err(|error| outside("uevents", error))?;
            Some(uevents)
        }
        Err(error) => {
            warn!("no uevents, so devices that come later are not noticed: {error}");
            None
        }
    };
    let reporter = Reporter::new(new_report(&machine), now());
    let mut running = Running {
        root: Rc::clone(&machine.root),
        machine: Some(machine),
        options,
        poll,
        stop,
        uevents,
        reporter,
        link: None,
        searching: None,
        passing: None,
        waiting: None,
        probes: BTreeMap::new(),
    };
    running.open_port();
    running.said();
    // A host that is there already hears of the start before the work begins.
    if running.turn(Some(Duration::ZERO)).map_err(|error| outside("events", error))? {
        return Ok(Exit::Done);
    }
    match config {
        Ok(config) => running.start(Rc::new(config)),
        Err(problems) => running.fail(&Fault::configuration(&problems)),
    }
    running.events().map_err(|error| outside("events", error))
}

struct Running {
    root: Rc<Root>,
    /// Nobody's while a pass has it.
    machine: Option<Machine>,
    options: Options,
    poll: Poll,
    stop: Stop,
    uevents: Option<Uevents>,
    reporter: Reporter,
    link: Option<Link>,
    searching: Option<Searching>,
    passing: Option<Passing>,
    waiting: Option<Waiting>,
    probes: BTreeMap<usize, Connecting>,
}

/// The search for the document.
struct Searching {
    config: Rc<Config>,
    finder: Finder,
    begin: Moment,
    look_at: Moment,
}

/// A pass under way.
struct Passing {
    config: Rc<Config>,
    // Dropped first: it speaks by the bus.
    conversation: Conversation<'static, Passed>,
    bus: Rc<Bus>,
}

/// What became of a pass.
struct Passed {
    machine: Machine,
    report: Report,
    outcome: Result<()>,
}

impl Running {
    fn start(&mut self, config: Rc<Config>) {
        let begin = now();
        let Some(machine) = &self.machine else { return };
        match self.options.source.clone() {
            Some(source) => {
                let document = transport::fetch(machine.here(), &source, config.transport.method, false);
                let document = document.map(Some).map_err(Into::into);
                self.configure(config, document, begin);
            }
            None => {
                let finder = Finder::new(&config.transport, machine.verdict.is_vm(), begin);
                self.searching = Some(Searching { config, finder, begin, look_at: begin });
                self.look();
            }
        }
    }

    /// The loop. Everything that is due is done before each wait, so no event is waited for twice.
    fn events(mut self) -> std::io::Result<Exit> {
        loop {
            let timeout = self.next_moment().map(|moment| moment.saturating_sub(now()));
            if self.turn(timeout)? {
                info!("stopping");
                return Ok(Exit::Done);
            }
            self.timers()?;
        }
    }

    /// Waits once and takes what has come; says whether that was the wish to stop.
    fn turn(&mut self, timeout: Option<Duration>) -> std::io::Result<bool> {
        let mut stop = false;
        for ready in self.poll.wait(timeout)? {
            match ready.token {
                STOP => stop |= self.stop.requested(),
                UEVENTS => self.uevents(),
                PORT => self.port_event(ready),
                BUS => self.step()?,
                token => self.connected((token - GATE) as usize),
            }
        }
        Ok(stop)
    }

    fn next_moment(&self) -> Option<Moment> {
        if self.link.as_ref().is_some_and(Link::has_more) {
            return Some(Moment::ZERO);
        }
        let search = self.searching.as_ref().map(|searching| searching.look_at);
        let pass = self.passing.as_ref().and_then(|passing| passing.bus.next());
        let gates = self.waiting.as_ref().map(|waiting| waiting.gates.next());
        let repeat = self.reporter.repeat_at().filter(|_| self.has_host());
        [search, pass, gates, repeat].into_iter().flatten().min()
    }

    fn timers(&mut self) -> std::io::Result<()> {
        let now = now();
        if self.link.as_ref().is_some_and(Link::has_more) {
            self.listen();
        }
        if self.searching.as_ref().is_some_and(|searching| searching.look_at <= now) {
            self.look();
        }
        if self.passing.as_ref().and_then(|passing| passing.bus.next()).is_some_and(|next| next <= now) {
            self.step()?;
        }
        self.try_gates();
        if self.has_host() && self.reporter.repeat(now) {
            self.say();
        }
        Ok(())
    }

    /// Whether somebody is at the other end. Without a host there is nobody to repeat a report to; one that comes is
    /// an event.
    fn has_host(&self) -> bool {
        self.link.as_ref().is_some_and(Link::has_host)
    }

    // --- the search and the pass ---

    fn look(&mut self) {
        let (Some(searching), Some(machine)) = (&mut self.searching, &mut self.machine) else { return };
        let document = match searching.finder.look(machine, now()) {
            Ok(Step::LookAt(moment)) => {
                searching.look_at = moment;
                return;
            }
            Ok(Step::Over(document)) => Ok(document),
            Err(fault) => Err(fault),
        };
        if let Some(Searching { config, begin, .. }) = self.searching.take() {
            self.configure(config, document, begin);
        }
    }

    /// The search is over, with or without a document, or in vain.
    fn configure(&mut self, config: Rc<Config>, document: Result<Option<Document>>, begin: Moment) {
        if document.is_ok() {
            self.report(|report| report.stage = Stage::Configuring);
        }
        let Some(mut machine) = self.machine.take() else { return };
        machine.took.transport = (now() - begin).as_micros() as u64;
        let bus = Bus::new(&self.root).and_then(|bus| self.poll.add(&bus, BUS).map(|()| Rc::new(bus)));
        let bus = match bus {
            Ok(bus) => bus,
            Err(error) => {
                self.machine = Some(machine);
                return self.fail(&Fault::outside(&Error::new("wait for", "a pass", error)));
            }
        };
        let mut report = self.reporter.report().clone();
        let (with, by) = (Rc::clone(&config), Rc::clone(&bus));
        let conversation = bus.start(async move {
            let outcome = machine.pass_by_steps(&by, &with, |_| document, &mut report).await;
            Passed { machine, report, outcome }
        });
        self.passing = Some(Passing { config, conversation, bus });
        // Most passes wait for nobody, and are over with their first step.
        if let Err(error) = self.step() {
            self.fail(&Fault::outside(&Error::new("wait for", "a pass", error)));
        }
    }

    /// Goes on with the pass as far as that can be now.
    fn step(&mut self) -> std::io::Result<()> {
        let Some(Passing { conversation, bus, .. }) = &mut self.passing else { return Ok(()) };
        let Some(passed) = bus.step(conversation)? else { return Ok(()) };
        if let Some(Passing { config, .. }) = self.passing.take() {
            self.passed(&config, passed);
        }
        Ok(())
    }

    fn passed(&mut self, config: &Config, Passed { machine, report, outcome }: Passed) {
        let took = machine.took;
        self.machine = Some(machine);
        self.reporter.note(|current| {
            current.adopt(report);
            current.took_us = took;
        });
        if let Err(fault) = outcome {
            return self.fail(&fault);
        }
        let mut conditions = config.ready.clone();
        if !self.root.is_system() && !conditions.tcp.is_empty() {
            info!(stage = "gates", "under --root, tcp gates are not tried");
            conditions.tcp.clear();
        }
        let begin = now();
        self.waiting = Some(Waiting { gates: Gates::new(&conditions, begin), begin });
        self.try_gates();
    }

    fn fail(&mut self, fault: &Fault) {
        fault.log();
        self.waiting = None;
        self.probes.clear();
        self.report(|report| {
            report.stage = Stage::Failed;
            report.deadline_ms = None;
            report.failure = Some(fault.for_report());
        });
    }

    fn uevents(&mut self) {
        let (mut disks, mut ports) = (false, false);
        while let Some(uevents) = &self.uevents {
            match uevents.receive() {
                Received::Event(event) => {
                    disks |= event.subsystem == "block";
                    // The name of a port is there with `change`, not yet with `add`.
                    ports |= event.subsystem == "virtio-ports";
                }
                Received::Lost => (disks, ports) = (true, true),
                Received::Nothing => break,
            }
        }
        if ports {
            self.open_port();
        }
        if disks && let Some(searching) = &mut self.searching {
            searching.finder.device_event(now());
            self.look();
        }
    }
}
