//! `ovf-agent run`: one process, one thread, one loop.
//!
//! Decides what happens when: the search, the pass, the gates and the reports are driven by events, and none of them
//! keeps the others waiting. It is the only process that opens the port, and it stays until it is told to stop. What an
//! event means is decided by the pure parts (`transport::wait`, `ready`, `report`, `protocol`).

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tracing::{info, warn};

use super::link::Link;
use super::{Exit, Fault, Finder, Machine, Result, Step, chain, new_report};
use crate::config::Config;
use crate::problem::Problems;
use crate::protocol::{self, Answer, FromHost};
use crate::ready::{Gates, Obstacle, Probe, Task};
use crate::report::{Reporter, Stage};
use crate::sys::clock::{Moment, now};
use crate::sys::net::{Connecting, connect_start};
use crate::sys::poll::{Poll, Ready};
use crate::sys::signals::Stop;
use crate::sys::uevent::{Received, Uevents};
use crate::sys::{Error, caller};
use crate::transport::{Document, Source};

const UEVENTS: u64 = 0;
const STOP: u64 = 1;
const PORT: u64 = 2;
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
        machine,
        options,
        poll,
        stop,
        uevents,
        reporter,
        link: None,
        phase: Phase::Settled,
        probes: BTreeMap::new(),
    };
    running.open_port();
    running.said();
    // A host that is there already hears of the start before the work begins.
    if running.turn(Some(Duration::ZERO)).map_err(|error| outside("events", error))? {
        return Ok(Exit::Done);
    }
    match config {
        Ok(config) => running.start(config),
        Err(problems) => running.fail(&Fault::configuration(&problems)),
    }
    running.events().map_err(|error| outside("events", error))
}

struct Running {
    machine: Machine,
    options: Options,
    poll: Poll,
    stop: Stop,
    uevents: Option<Uevents>,
    reporter: Reporter,
    link: Option<Link>,
    phase: Phase,
    probes: BTreeMap<usize, Connecting>,
}

/// What is being waited for.
enum Phase {
    /// The document.
    Searching { config: Box<Config>, finder: Finder, begin: Moment, look_at: Moment },
    /// The gates.
    Waiting { gates: Gates, begin: Moment },
    /// Nothing.
    Settled,
}

impl Running {
    fn start(&mut self, config: Config) {
        let begin = now();
        match self.options.source.clone() {
            Some(source) => {
                let method = config.transport.method;
                let document = crate::transport::fetch(self.machine.here(), &source, method, false);
                let document = document.map(Some).map_err(Into::into);
                self.configure(&config, document, begin);
            }
            None => {
                let finder = Finder::new(&config.transport, self.machine.verdict.is_vm(), begin);
                self.phase = Phase::Searching { config: Box::new(config), finder, begin, look_at: begin };
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
            self.timers();
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
                token => self.connected((token - GATE) as usize),
            }
        }
        Ok(stop)
    }

    fn next_moment(&self) -> Option<Moment> {
        if self.link.as_ref().is_some_and(Link::has_more) {
            return Some(Moment::ZERO);
        }
        let phase = match &self.phase {
            Phase::Searching { look_at, .. } => Some(*look_at),
            Phase::Waiting { gates, .. } => Some(gates.next()),
            Phase::Settled => None,
        };
        let repeat = self.reporter.repeat_at().filter(|_| self.has_host());
        [phase, repeat].into_iter().flatten().min()
    }

    fn timers(&mut self) {
        let now = now();
        if self.link.as_ref().is_some_and(Link::has_more) {
            self.listen();
        }
        match &self.phase {
            Phase::Searching { look_at, .. } if *look_at <= now => self.look(),
            Phase::Waiting { .. } => self.try_gates(),
            _ => {}
        }
        if self.has_host() && self.reporter.repeat(now) {
            self.say();
        }
    }

    /// Whether somebody is at the other end. Without a host there is nobody to repeat a report to; one that comes is
    /// an event.
    fn has_host(&self) -> bool {
        self.link.as_ref().is_some_and(Link::has_host)
    }

    // --- the search and the pass ---

    fn look(&mut self) {
        let Phase::Searching { finder, look_at, begin, .. } = &mut self.phase else { return };
        let begin = *begin;
        let document = match finder.look(&mut self.machine, now()) {
            Ok(Step::LookAt(moment)) => {
                *look_at = moment;
                return;
            }
            Ok(Step::Over(document)) => Ok(document),
            Err(fault) => Err(fault),
        };
        if let Phase::Searching { config, .. } = std::mem::replace(&mut self.phase, Phase::Settled) {
            self.configure(&config, document, begin);
        }
    }

    /// The search is over, with or without a document, or in vain.
    fn configure(&mut self, config: &Config, document: Result<Option<Document>>, begin: Moment) {
        self.machine.took.transport = (now() - begin).as_micros() as u64;
        if document.is_ok() {
            self.report(|report| report.stage = Stage::Configuring);
        }
        let machine = &mut self.machine;
        if let Err(fault) = self.reporter.note(|report| machine.pass(config, |_| document, report)) {
            return self.fail(&fault);
        }
        let took = self.machine.took;
        self.reporter.note(|report| report.took_us = took);
        let mut conditions = config.ready.clone();
        if !self.machine.root.is_system() && !conditions.tcp.is_empty() {
            info!(stage = "gates", "under --root, tcp gates are not tried");
            conditions.tcp.clear();
        }
        let begin = now();
        self.phase = Phase::Waiting { gates: Gates::new(&conditions, begin), begin };
        self.try_gates();
    }

    fn fail(&mut self, fault: &Fault) {
        fault.log();
        self.phase = Phase::Settled;
        self.probes.clear();
        let took = self.machine.took;
        self.report(|report| {
            report.stage = Stage::Failed;
            report.deadline_ms = None;
            report.failure = Some(fault.for_report());
            report.took_us = took;
        });
    }

    // --- the gates ---

    fn try_gates(&mut self) {
        let now = now();
        let Phase::Waiting { gates, .. } = &mut self.phase else { return };
        for task in gates.tasks(now) {
            match task {
                Task::Try(index, Probe::File(path)) => {
                    let there = self.machine.root.exists(&path);
                    gates.outcome(index, there.then_some(()).ok_or_else(Obstacle::file_missing), now);
                }
                Task::Try(index, Probe::Tcp(address)) => {
                    let attempt = connect_start(address).and_then(|connecting| {
                        self.poll.add(&connecting, GATE + index as u64).map(|()| connecting)
                    });
                    match attempt {
                        Ok(connecting) => {
                            self.probes.insert(index, connecting);
                        }
                        Err(error) => {
                            gates.outcome(index, Err(Obstacle::connection(&error)), now);
                        }
                    }
                }
                Task::Abandon(index) => {
                    self.probes.remove(&index);
                    let timed_out = std::io::Error::from(std::io::ErrorKind::TimedOut);
                    gates.outcome(index, Err(Obstacle::connection(&timed_out)), now);
                }
            }
        }
        self.judge_gates();
    }

    /// A connection attempt of a gate has an outcome.
    fn connected(&mut self, index: usize) {
        let Some(connecting) = self.probes.remove(&index) else { return };
        if let Phase::Waiting { gates, .. } = &mut self.phase {
            gates.outcome(index, connecting.finish().map_err(|error| Obstacle::connection(&error)), now());
            self.judge_gates();
        }
    }

    fn judge_gates(&mut self) {
        let now = now();
        let Phase::Waiting { gates, begin } = &self.phase else { return };
        let (unmet, left, passed) = (gates.unmet(now), gates.left(now), gates.passed());
        let waited = (now - *begin).as_micros() as u64;
        if passed {
            self.phase = Phase::Settled;
            self.machine.took.gates = waited;
            let took = self.machine.took;
            self.report(|report| {
                report.stage = Stage::Ready;
                report.unmet.clear();
                report.deadline_ms = None;
                report.took_us = took;
            });
            info!(stage = "gates", uptime_ms = now.as_millis() as u64, "ready");
        } else if left.is_zero() {
            let list: Vec<_> = unmet.iter().map(|gate| format!("{}: {}", gate.gate, gate.reason)).collect();
            let fault = Fault::gates(format!("not ready in time: {}", list.join("; ")));
            self.machine.took.gates = waited;
            self.reporter.note(|report| report.unmet = unmet);
            self.fail(&fault);
        } else {
            if self.reporter.report().stage != Stage::Waiting {
                let names: Vec<_> = unmet.iter().map(|gate| gate.gate.as_str()).collect();
                info!(stage = "gates", "waiting for {}", names.join(", "));
            }
            self.report(|report| {
                report.stage = Stage::Waiting;
                report.unmet = unmet;
                report.deadline_ms = Some(left.as_millis() as u64);
            });
        }
    }

    // --- the reports ---

    /// Changes the report and, if that is news, says it.
    fn report(&mut self, change: impl FnOnce(&mut crate::report::Report)) {
        if self.reporter.update(now(), change) {
            self.said();
        }
    }

    /// Says the report to everybody who is to hear it when it changes.
    fn said(&mut self) {
        if let Some(path) = &self.options.report
            && let Err(error) = caller::write(path, &protocol::line(self.reporter.report()), false)
        {
            warn!("{}", chain(&error));
        }
        self.say();
    }

    /// Says the report to the host.
    fn say(&mut self) {
        self.refresh();
        if let Some(link) = &mut self.link {
            link.outbox.report();
        }
        self.write();
    }

    /// Brings the times in the report up to date; they are no news, but whoever is told should be told the right ones.
    fn refresh(&mut self) {
        let now = now();
        let gates = match &self.phase {
            Phase::Waiting { gates, .. } => Some((gates.unmet(now), gates.left(now))),
            _ => None,
        };
        self.reporter.note(|report| {
            report.uptime_ms = now.as_millis() as u64;
            if let Some((unmet, left)) = gates {
                report.unmet = unmet;
                report.deadline_ms = Some(left.as_millis() as u64);
            }
        });
    }

    // --- the port ---

    /// Opens the port if it is there and not open yet.
    fn open_port(&mut self) {
        if self.link.is_none() {
            match Link::open(&self.machine.root, &self.poll, PORT) {
                Ok(link) => self.link = link,
                Err(error) => warn!("no reports to the platform: {}", chain(&error)),
            }
        }
    }

    fn port_event(&mut self, ready: Ready) {
        let Some(link) = &mut self.link else { return };
        if link.event(ready) {
            self.reporter.new_host(now());
            self.say();
        }
        self.listen();
    }

    /// Reads what the host has said, in turns with everything else, and answers.
    fn listen(&mut self) {
        let Some(link) = &mut self.link else { return };
        match link.read() {
            Ok(messages) => messages.into_iter().for_each(|message| self.answer(message)),
            Err(error) => return self.lost_port(&error),
        }
        self.write();
    }

    fn answer(&mut self, message: std::result::Result<FromHost, Answer>) {
        let answer = match message {
            Ok(FromHost::Ack { boot, session, seq }) => {
                return self.reporter.acknowledged(&boot, &session, seq);
            }
            Ok(FromHost::Query { id }) => Answer::ok(id),
            Err(answer) => answer,
        };
        if answer.ok {
            self.refresh();
        }
        if let Some(link) = &mut self.link {
            if answer.ok {
                link.outbox.report();
            }
            link.outbox.answer(answer);
        }
    }

    fn write(&mut self) {
        let report = self.reporter.report();
        if let Some(Err(error)) = self.link.as_mut().map(|link| link.write(report)) {
            self.lost_port(&error);
        }
    }

    /// The port is gone; one of its name may come again.
    fn lost_port(&mut self, error: &std::io::Error) {
        if let Some(link) = self.link.take() {
            warn!(port = %link.path.display(), "the port is gone: {error}");
        }
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
        if disks && let Phase::Searching { finder, .. } = &mut self.phase {
            finder.device_event(now());
            self.look();
        }
    }
}
