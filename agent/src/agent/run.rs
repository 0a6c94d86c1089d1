//! `ovf-agent run`: one process, one thread, one loop.
//!
//! Decides what happens when: the search, the pass, the gates and the reports are driven by events, and none of them
//! keeps the others waiting. A pass is a conversation that the loop drives by steps, and has the machine to itself for as
//! long; so there is one at a time. It is the only process that opens the port, and it stays until it is told to stop. What
//! an event means is decided by the pure parts (`transport::wait`, `ready`, `report`, `protocol`).

#![forbid(unsafe_code)]

mod control;
mod devices;
mod gates;
mod holds;
pub mod last_words;
mod looks;
mod object;
mod opening;
mod passes;
mod polling;
mod reporters;
mod stopping;
mod talk;
mod target;
mod telling;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tracing::{info, warn};

use super::link::Link;
use super::ready_hooks::ReadyHooks;
use super::shutdown::LastCall;
use super::{Exit, Fault, Machine, Result, new_report};
use crate::config::Config;
use crate::problem::Problems;
use crate::report::Reporter;
use crate::sys::clock::{Moment, now};
use crate::sys::poll::Poll;
use crate::sys::signals::Wish;
use crate::sys::uevent::Uevents;
use crate::sys::{Error, Root};
use crate::times::Times;
use crate::transport::Source;
use crate::watch::Watch;
use control::Clients;
use gates::Waiting;
use holds::Holds;
use looks::{Looks, Searching};
use object::Object;
use opening::Taken;
use passes::{Kept, Passing};
use reporters::Reporters;
use stopping::Stopping;
use talk::Asked;
use target::Target;
use telling::Telling;

const UEVENTS: u64 = 0;
const STOP: u64 = 1;
const PORT: u64 = 2;
const BUS: u64 = 3;
const RELOAD: u64 = 4;
const HOOKS: u64 = 5;
const CONTROL: u64 = 6;
/// A port that another process has open.
const TAKEN: u64 = 7;
const STOPPING: u64 = 8;
const LOOK: u64 = 9;
const SERVICE: u64 = 10;
const VMM: u64 = 11;
const TOOL: u64 = 12;
const TARGET: u64 = 13;
/// The system bus, and the place of its socket.
const OBJECT: u64 = 14;
const BUS_SOCKET: u64 = 15;
/// The gates, from here on.
const GATE: u64 = 16;
/// Those who hold the guest back, from here on.
const HOLD: u64 = 1 << 31;
/// Those who are connected to the control socket, from here on.
const CLIENT: u64 = 1 << 32;
/// Whose requests those of the host are, where the others' are by their tokens.
const HOST: u64 = PORT;

/// What `run` was asked for.
pub struct Options {
    /// A source that was named, in place of looking for one.
    pub source: Option<Source>,
    /// A file that each report is written to as well.
    pub report: Option<PathBuf>,
    /// Reads the configuration again.
    pub load: Box<Load>,
}

/// Reads the configuration of a machine.
pub type Load = dyn Fn(&Root) -> std::result::Result<Config, Problems>;

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
    let stop = Wish::to_stop().map_err(|error| outside("signals", error))?;
    poll.add(&stop, STOP).map_err(|error| outside("signals", error))?;
    let reload = Wish::to_reload().map_err(|error| outside("signals", error))?;
    poll.add(&reload, RELOAD).map_err(|error| outside("signals", error))?;
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
    let control = Clients::listen(&machine.root, &poll)?;
    let reporter = Reporter::new(new_report(&machine), now());
    let reporters = Reporters::of(&machine.root, &machine.verdict);
    let mut running = Running {
        root: Rc::clone(&machine.root),
        times: machine.times.clone(),
        machine: Some(machine),
        options,
        poll,
        stop,
        reload,
        uevents,
        reporter,
        link: None,
        taken: None,
        config: None,
        watch: Watch::default(),
        is_configured: false,
        asked: None,
        kept: None,
        control,
        looks: Looks::default(),
        searching: None,
        passing: None,
        waiting: None,
        ready_hooks: None,
        telling: None,
        last_call: None,
        stopping: None,
        is_over: false,
        reporters,
        poll_at: None,
        target: Target::default(),
        object: Object::default(),
        holds: Holds::default(),
    };
    running.forget_gates();
    running.open_port();
    running.open_bus();
    running.said();
    // A host that is there already hears of the start before the work begins.
    running.turn(Some(Duration::ZERO)).map_err(|error| outside("events", error))?;
    match config {
        Ok(config) => {
            running.config = Some(Rc::new(config));
            running.start();
        }
        Err(problems) => running.fail(&Fault::configuration(&problems)),
    }
    running.events().map_err(|error| outside("events", error))
}

struct Running {
    root: Rc<Root>,
    times: Times,
    /// Nobody's while a pass has it.
    machine: Option<Machine>,
    options: Options,
    poll: Poll,
    stop: Wish,
    reload: Wish,
    uevents: Option<Uevents>,
    reporter: Reporter,
    link: Option<Link>,
    taken: Option<Taken>,
    /// `None` where it is broken.
    config: Option<Rc<Config>>,
    watch: Watch,
    /// Whether a pass of this process has succeeded.
    is_configured: bool,
    asked: Option<Asked>,
    kept: Option<Kept>,
    control: Clients,
    looks: Looks,
    searching: Option<Searching>,
    passing: Option<Passing>,
    waiting: Option<Waiting>,
    /// Those of the last pass, to be run whenever the guest becomes ready.
    ready_hooks: Option<Rc<ReadyHooks>>,
    telling: Option<Telling>,
    /// What hooks were told of the last pass that was applied.
    last_call: Option<LastCall>,
    /// The way down.
    stopping: Option<Stopping>,
    /// Whether this process is to end.
    is_over: bool,
    /// Who else hears of the report.
    reporters: Reporters,
    /// When the source is asked whether it has something new, where it does not tell.
    poll_at: Option<Moment>,
    /// What systemd calls ready.
    target: Target,
    /// What others of this machine may ask us by the bus.
    object: Object,
    /// Those who hold the guest back.
    holds: Holds,
}

impl Running {
    /// The loop. Everything that is due is done before each wait, so no event is waited for twice.
    fn events(mut self) -> std::io::Result<Exit> {
        while !self.is_over {
            self.timers()?;
            self.settled();
            let timeout = self.next_moment().map(|moment| moment.saturating_sub(now()));
            if !self.is_over {
                self.turn(timeout)?;
            }
        }
        self.reporters_stop();
        info!("stopping");
        Ok(Exit::Done)
    }

    /// Waits once and takes what has come.
    fn turn(&mut self, timeout: Option<Duration>) -> std::io::Result<()> {
        for ready in self.poll.wait(timeout)? {
            match ready.token {
                STOP => {
                    if self.stop.came() {
                        self.told_to_end();
                    }
                }
                RELOAD => {
                    if self.reload.came() {
                        self.watch.reload(None);
                    }
                }
                UEVENTS => self.uevents(),
                PORT => self.port_event(ready),
                TAKEN => self.port_closed(),
                BUS => self.step()?,
                HOOKS => self.step_hooks()?,
                STOPPING => self.step_stopping()?,
                LOOK => self.step_look(),
                TARGET => self.step_target()?,
                SERVICE | VMM | TOOL => self.reporters_go_on(),
                OBJECT => self.bus_event(),
                BUS_SOCKET => self.bus_socket_event()?,
                HOLD..CLIENT => self.hold_event(ready),
                token @ (CONTROL | CLIENT..) => self.control(token),
                token => self.gate_event(token),
            }
        }
        Ok(())
    }

    fn next_moment(&self) -> Option<Moment> {
        if self.link.as_ref().is_some_and(Link::has_more) || !self.control.with_more().is_empty() {
            return Some(Moment::ZERO);
        }
        let taken = self.taken.as_ref().and_then(Taken::again);
        let look = self.look_at();
        let pass = self.passing.as_ref().and_then(Passing::next);
        let watch = self.watch.at(self.looks.is_busy()).filter(|_| self.may_begin());
        let gates = self.waiting.as_ref().and_then(Waiting::next);
        let repeat = self.reporter.repeat_at().filter(|_| self.has_host());
        let hooks = self.telling.as_ref().and_then(Telling::next);
        let stopping = self.stopping.as_ref().and_then(Stopping::next);
        let (others, poll) = (self.reporters.next(), self.poll_at.filter(|_| self.may_begin()));
        let (target, object) = (self.target.next(), self.object.next());
        [taken, look, pass, watch, gates, repeat, hooks, stopping, others, poll, target, object]
            .into_iter()
            .flatten()
            .min()
    }

    fn timers(&mut self) -> std::io::Result<()> {
        let now = now();
        if self.link.as_ref().is_some_and(Link::has_more) {
            self.listen();
        }
        for token in self.control.with_more() {
            self.control(token);
        }
        if self.taken.as_ref().and_then(Taken::again).is_some_and(|again| again <= now) {
            self.open_port();
        }
        self.look_on();
        if self.passing.as_ref().and_then(Passing::next).is_some_and(|next| next <= now) {
            self.step()?;
        }
        if self.telling.as_ref().and_then(Telling::next).is_some_and(|next| next <= now) {
            self.step_hooks()?;
        }
        if self.target.next().is_some_and(|next| next <= now) {
            self.step_target()?;
        }
        if self.object.next().is_some_and(|next| next <= now) {
            self.bus_is_due();
        }
        self.step_stopping()?;
        self.poll_source(now);
        self.next_pass();
        self.try_gates();
        if self.reporters.next().is_some_and(|next| next <= now) {
            self.reporters_go_on();
        }
        if self.has_host() && self.reporter.repeat(now) {
            self.tell_host();
        }
        self.write();
        Ok(())
    }

    /// Whether somebody is at the other end. Without a host there is nobody to repeat a report to; one that comes is
    /// an event.
    fn has_host(&self) -> bool {
        self.link.as_ref().is_some_and(Link::has_host)
    }
}
