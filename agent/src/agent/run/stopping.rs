//! The way down in the loop: from the wish of the host, or of systemd, to the end of the machine.
//!
//! Decides the order. The report says `stopping` before anything is done. From then on no pass begins and no gate is tried. A pass
//! that is under way, and hooks of a guest that is ready, may come to their end for half of the time: what they have
//! begun is better ended, and what is given up then is as after a power cut, which the journal is made for. Then hooks of the moment
//! `stop` run until the deadline; the host has a moment to hear of it all; and PID 1 is asked, or where there is nobody to be
//! asked, the kernel. How each of these is done is decided in `shutdown`.
//!
//! SIGTERM is sent for a restart of the agent as well, and systemd alone tells one from the other: so it is asked. It waits for
//! us meanwhile (`TimeoutStopSec=`). The scripts of another init say so in a file before, or SIGTERM is the end of the agent alone.

#![forbid(unsafe_code)]

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tracing::{error, info};

use super::{Running, STOPPING};
use crate::agent::shutdown::{self, Said, StopHooks};
use crate::bus::{Bus, Conversation};
use crate::protocol::{Answer, STOP, STOP_DEADLINE};
use crate::report::{Failure, Part, Stage};
use crate::sys::Root;
use crate::sys::clock::{Moment, now};
use crate::sys::power::{self, Action};
use crate::watch::{Cause, Request};

/// For the host to say that it has heard, before the port goes. One that reads says so within a millisecond.
const HEARING: Duration = Duration::from_millis(250);

/// The way down, as far as it is gone.
pub(super) struct Stopping {
    /// What is under way, if anything.
    talk: Option<Talk>,
    phase: Phase,
    action: Action,
    /// When hooks end.
    deadline: Moment,
    /// Whether the machine goes down without our asking.
    is_under_way: bool,
    /// Whether systemd runs this machine and does not answer.
    is_silent: bool,
    /// Whether SIGTERM has come meanwhile.
    leave: bool,
}

struct Talk {
    // Dropped first: it speaks by the bus.
    conversation: Conversation<'static, Said>,
    bus: Rc<Bus>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// SIGTERM has come, and systemd is asked why.
    Why,
    /// What is under way may come to its end, until this moment.
    Ending(Moment),
    /// systemd is asked whether it answers.
    Looking,
    Hooks,
    /// The host may hear of it, until this moment.
    Hearing(Moment),
    /// PID 1 is asked.
    Asking,
    /// PID 1 does the rest.
    Asked,
    /// The machine did not go.
    Stuck,
}

impl Stopping {
    /// When [`Running::step_stopping`] has something to do, if nothing happens before.
    pub(super) fn next(&self) -> Option<Moment> {
        match self.phase {
            Phase::Ending(until) | Phase::Hearing(until) => Some(until),
            _ => self.talk.as_ref().and_then(|talk| talk.bus.next()),
        }
    }

    /// What the report says of it; nothing as long as it is not sure that the machine goes down.
    pub(super) fn stage(&self) -> Option<Stage> {
        match self.phase {
            Phase::Why => None,
            Phase::Stuck => Some(Stage::Failed),
            _ => Some(Stage::Stopping),
        }
    }

    /// The time left for hooks.
    pub(super) fn left(&self, now: Moment) -> Option<Duration> {
        let is_before = matches!(self.phase, Phase::Ending(_) | Phase::Looking | Phase::Hooks);
        is_before.then(|| self.deadline.saturating_sub(now))
    }
}

impl Running {
    /// Whether the machine goes down.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.stage().is_some())
    }

    /// Whether it may, as far as that is ours.
    fn may_stop(&self) -> bool {
        self.reporter.report().accepts.iter().any(|request| request == STOP)
    }

    /// Somebody wants it to. That is answered when the report has said so, and before anything is done.
    pub(super) fn stop(&mut self, from: u64, id: String, action: Action, deadline: Duration) {
        let refused = |code, message: String| Answer::refused(id.clone(), code, message);
        let going = self.stopping.as_ref().filter(|it| it.stage() == Some(Stage::Stopping));
        let answer = if !self.may_stop() {
            let message =
                "this process may not take the machine down: it is not root, in a container, or has a --root";
            refused("NotPermitted", message.to_owned())
        } else if let Some(other) = going.map(|it| it.action).filter(|it| *it != action) {
            refused("Stopping", format!("the machine goes down already, for {}", other.as_str()))
        } else {
            if going.is_none() {
                self.go_down(action, deadline, false);
            }
            Answer::ok(id)
        };
        self.answer(from, answer);
    }

    /// SIGTERM, or SIGINT, has come.
    pub(super) fn told_to_end(&mut self) {
        match &mut self.stopping {
            Some(Stopping { phase: Phase::Asked | Phase::Stuck, .. }) => self.is_over = true,
            Some(stopping) => stopping.leave = true,
            None => {
                let may_stop = self.may_stop();
                let has_systemd = may_stop && Bus::has_systemd(&self.root);
                if let Some(action) = shutdown::said_by_init(&self.root).filter(|_| may_stop && !has_systemd)
                {
                    return self.go_down(action, STOP_DEADLINE, true);
                }
                let bus = has_systemd.then(|| self.stop_bus(Bus::new(&self.root)));
                let Some(bus) = bus.flatten() else {
                    self.is_over = true;
                    return;
                };
                let conversation = bus.start(shutdown::look(Rc::clone(&bus)));
                self.stopping = Some(Stopping {
                    talk: Some(Talk { conversation, bus }),
                    phase: Phase::Why,
                    action: Action::PowerOff,
                    deadline: now() + STOP_DEADLINE,
                    is_under_way: true,
                    is_silent: false,
                    leave: true,
                });
            }
        }
    }

    /// From here on there is no way back.
    fn go_down(&mut self, action: Action, time: Duration, is_under_way: bool) {
        let begin = now();
        let leave = self.stopping.take().is_some_and(|before| before.leave);
        self.stopping = Some(Stopping {
            talk: None,
            phase: Phase::Ending(begin + time / 2),
            action,
            deadline: begin + time,
            is_under_way,
            is_silent: false,
            leave,
        });
        self.forget_gates();
        self.stop_looking();
        let waiting = self.stop_searching();
        self.too_late(waiting);
        let by = if is_under_way { "init" } else { "a request" };
        info!(stage = "agent", "the machine goes down for {}, by {by}", action.as_str());
        self.report(|report| {
            report.unmet.clear();
            report.expect = (action == Action::Reboot).then(|| action.as_str().to_owned());
        });
        while let Some(cause) = self.watch.next(begin, false) {
            match cause {
                Cause::Sent(request, _) => self.too_late(vec![request]),
                Cause::Reload(requests) => self.too_late(requests),
                Cause::Look | Cause::Retry => {}
            }
        }
    }

    /// Answers what is not done any more.
    pub(super) fn too_late(&mut self, requests: Vec<Request>) {
        let message = "the machine goes down".to_owned();
        let failure = Failure { stage: Part::Agent, code: "Stopping".to_owned(), message, is_final: true };
        self.answer_all(requests, Some(&failure));
    }

    /// Goes on as far as that can be now.
    pub(super) fn step_stopping(&mut self) -> io::Result<()> {
        while let Some(stopping) = &mut self.stopping {
            let is_done = match &mut stopping.talk {
                Some(talk) => match talk.bus.step(&mut talk.conversation)? {
                    Some(said) => {
                        stopping.talk = None;
                        self.heard_of_stop(said);
                        false
                    }
                    None => true,
                },
                None => self.go_on(),
            };
            if is_done || self.is_over {
                break;
            }
        }
        Ok(())
    }

    /// Takes the next step that is no conversation; says whether there is none now.
    fn go_on(&mut self) -> bool {
        let Some(&Stopping { phase, is_under_way, action, is_silent, .. }) = self.stopping.as_ref() else {
            return true;
        };
        let is_busy = self.passing.is_some() || self.telling.is_some();
        let is_unheard = self.has_host() && self.reporter.repeat_at().is_some();
        match phase {
            Phase::Ending(until) if is_busy && now() < until => return true,
            Phase::Ending(_) => {
                self.telling = None;
                if let Some(passing) = self.passing.take() {
                    self.too_late(passing.requests);
                }
                self.talk(Phase::Looking, Said::Systemd(false, None), |_, bus| shutdown::look(bus));
            }
            Phase::Hearing(until) if is_unheard && now() < until => return true,
            Phase::Hearing(_) if is_under_way => self.is_over = true,
            Phase::Hearing(_) => self.talk(Phase::Asking, Said::Asked(false), move |root, bus| {
                shutdown::ask(root, bus, action, is_silent)
            }),
            _ => return true,
        }
        false
    }

    /// A conversation has ended.
    fn heard_of_stop(&mut self, said: Said) {
        let Some(stopping) = &mut self.stopping else { return };
        match said {
            Said::Systemd(_, None) if stopping.phase == Phase::Why => self.is_over = true,
            Said::Systemd(_, Some(action)) if stopping.phase == Phase::Why => {
                self.go_down(action, STOP_DEADLINE, true);
            }
            Said::Systemd(answers, _) => {
                stopping.is_silent = !answers && Bus::has_systemd(&self.root);
                let (action, deadline) = (stopping.action, stopping.deadline);
                let (last, report) = (self.last_call.as_ref(), self.reporter.report());
                let hooks = self.config.as_ref();
                match hooks.and_then(|config| StopHooks::new(config, last, report, action, deadline)) {
                    None => self.heard_of_stop(Said::Hooks(0)),
                    Some(hooks) => {
                        self.talk(Phase::Hooks, Said::Hooks(0), |root, bus| hooks.run(root, bus));
                    }
                }
            }
            Said::Hooks(failed) => {
                stopping.phase = Phase::Hearing(now() + HEARING);
                self.report(|report| report.warnings += failed);
            }
            Said::Asked(true) => {
                stopping.phase = Phase::Asked;
                self.is_over |= stopping.leave;
            }
            Said::Asked(false) => {
                let action = stopping.action;
                info!("nobody else takes the machine down; the kernel does");
                let reason = power::down(action);
                stopping.phase = Phase::Stuck;
                let message = format!("the kernel refuses to take the machine down: {reason}");
                error!(code = "StopFailed", "{message}");
                self.report(|report| {
                    report.expect = None;
                    report.failure = Some(Failure {
                        stage: Part::Agent,
                        code: "StopFailed".to_owned(),
                        message,
                        is_final: true,
                    });
                });
            }
        }
    }

    /// Begins a conversation, without systemd where that is silent; where none can be, it came to `otherwise`.
    fn talk<F>(&mut self, phase: Phase, otherwise: Said, begin: impl FnOnce(Rc<Root>, Rc<Bus>) -> F)
    where
        F: Future<Output = Said> + 'static,
    {
        let is_silent = self.stopping.as_ref().is_some_and(|stopping| stopping.is_silent);
        let bus = self.stop_bus(if is_silent { Bus::without_systemd() } else { Bus::new(&self.root) });
        let root = Rc::clone(&self.root);
        let talk = bus.map(|bus| Talk { conversation: bus.start(begin(root, Rc::clone(&bus))), bus });
        let is_none = talk.is_none();
        if let Some(stopping) = &mut self.stopping {
            (stopping.phase, stopping.talk) = (phase, talk);
        }
        if is_none {
            self.heard_of_stop(otherwise);
        }
    }

    fn stop_bus(&self, bus: io::Result<Bus>) -> Option<Rc<Bus>> {
        let bus = bus.and_then(|bus| self.poll.add(&bus, STOPPING).map(|()| Rc::new(bus)));
        bus.inspect_err(|error| error!("cannot wait for what is asked: {error}")).ok()
    }
}
