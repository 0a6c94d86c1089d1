//! The search and the passes in the loop: how each begins, goes on and ends.
//!
//! Performs what `transport::wait` and `watch` decide. A pass has the machine to itself: while it is under way `machine` is
//! nobody's, so there is one at a time.
//!
//! The first pass decides whether the guest is configured at all. A later one that fails leaves it as it is, for the files are
//! those of before; the report tells of it, and the stage stays.

#![forbid(unsafe_code)]

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tracing::warn;

use super::{BUS, Running};
use crate::agent::{Fault, Finder, Machine, Result, Step, chain};
use crate::bus::{Bus, Conversation};
use crate::protocol::Answer;
use crate::report::{Failure, Report, Stage};
use crate::sys::Error;
use crate::sys::clock::{Moment, now};
use crate::sys::device::watch_media;
use crate::transport::{self, Document, Source};
use crate::watch::{Cause, Request};

/// A pass that takes longer than this is told of: most are over before anybody could see it.
const WORTH_TELLING: Duration = Duration::from_millis(200);

/// The first search for the document.
pub(super) struct Searching {
    pub(super) finder: Finder,
    pub(super) begin: Moment,
    pub(super) look_at: Moment,
}

/// A pass under way.
pub(super) struct Passing {
    // Dropped first: it speaks by the bus.
    conversation: Conversation<'static, Passed>,
    bus: Rc<Bus>,
    /// The requests that it answers.
    pub(super) requests: Vec<Request>,
    /// When it is worth telling of; `None` if it was told of.
    tell_at: Option<Moment>,
    /// Where the guest was before.
    stage: Stage,
}

/// What became of a pass.
struct Passed {
    machine: Machine,
    report: Report,
    outcome: Result<()>,
}

impl Passing {
    /// When [`Running::step`] has something to do, if nothing happens before.
    pub(super) fn next(&self) -> Option<Moment> {
        self.bus.next().into_iter().chain(self.tell_at).min()
    }
}

impl Running {
    /// Begins with the first search, or with the source that was named.
    pub(super) fn start(&mut self) {
        let begin = now();
        let (Some(config), Some(machine)) = (&self.config, &self.machine) else { return };
        if self.is_stopping() {
            return;
        }
        match self.options.source {
            Some(_) => self.look_again(true, Vec::new()),
            None => {
                let finder = Finder::new(&config.transport, machine.verdict.is_vm(), begin);
                self.searching = Some(Searching { finder, begin, look_at: begin });
                self.search();
            }
        }
    }

    /// Looks for the first document.
    pub(super) fn search(&mut self) {
        let (Some(searching), Some(machine)) = (&mut self.searching, &mut self.machine) else { return };
        let document = match searching.finder.look(machine, now()) {
            Ok(Step::LookAt(moment)) => {
                searching.look_at = moment;
                return;
            }
            Ok(Step::Over(document)) => Ok(document),
            Err(fault) => Err(fault),
        };
        machine.took.transport = (now() - searching.begin).as_micros() as u64;
        self.searching = None;
        self.begin(document, Vec::new());
    }

    /// Whether a pass could begin now.
    pub(super) fn may_begin(&self) -> bool {
        self.machine.is_some() && !self.is_stopping()
    }

    /// Begins what is to be done next, if nothing is being done. A search is over when the host sends, or somebody reloads.
    pub(super) fn next_pass(&mut self) {
        if !self.may_begin() {
            return;
        }
        match self.watch.next(now()) {
            None => {}
            Some(Cause::Look) => self.look_again(false, Vec::new()),
            Some(Cause::Retry) => self.look_again(true, Vec::new()),
            Some(Cause::Sent(request, sent)) => {
                self.searching = None;
                self.begin(Ok(Some(Document::sent(sent.document))), vec![request]);
            }
            Some(Cause::Reload(requests)) => {
                self.searching = None;
                match (self.options.load)(&self.root) {
                    Ok(config) => {
                        self.config = Some(Rc::new(config));
                        self.look_again(true, requests);
                    }
                    Err(problems) => {
                        let stage = self.reporter.report().stage;
                        let fault = Fault::configuration(&problems);
                        self.failed(&fault, stage);
                        self.answer_all(requests, Some(&fault.for_report()));
                    }
                }
            }
        }
    }

    /// Looks at the places of documents. Without `anyhow` there is a pass only where there is another document than before: one
    /// that is gone is not one that is empty.
    fn look_again(&mut self, anyhow: bool, requests: Vec<Request>) {
        let (Some(config), Some(machine)) = (&self.config, &mut self.machine) else { return };
        let begin = now();
        let document = match &self.options.source {
            Some(source) => {
                let document = transport::fetch(machine.here(), source, config.transport.method, false);
                document.map(Some).map_err(Into::into)
            }
            None => {
                let sighting = transport::look(machine.here(), &config.transport, &machine.boot);
                for ignored in &sighting.ignored {
                    warn!(stage = "transport", "ignored: {ignored}");
                }
                if sighting.pending {
                    self.watch.not_ready(begin);
                }
                match (sighting.document, sighting.broken.into_iter().next()) {
                    (None, Some(error)) if !sighting.pending => Err(error.into()),
                    (document, _) => Ok(document),
                }
            }
        };
        machine.took.transport = (now() - begin).as_micros() as u64;
        let is_news = match &document {
            Ok(Some(document)) => machine.found != Some(document.digest()),
            Ok(None) => false,
            Err(_) => true,
        };
        if is_news || anyhow {
            self.begin(document, requests);
        }
    }

    /// Begins a pass with a document, without one, or with the reason why there is none.
    fn begin(&mut self, document: Result<Option<Document>>, requests: Vec<Request>) {
        let Some(config) = self.config.clone() else {
            // There is no pass without one; why there is none was said.
            let failure = self.reporter.report().failure.clone();
            return self.answer_all(requests, failure.as_ref());
        };
        let Some(mut machine) = self.machine.take() else { return };
        let bus = Bus::new(&self.root).and_then(|bus| self.poll.add(&bus, BUS).map(|()| Rc::new(bus)));
        let bus = match bus {
            Ok(bus) => bus,
            Err(error) => {
                self.machine = Some(machine);
                let fault = Fault::outside(&Error::new("wait for", "a pass", error));
                self.fail(&fault);
                return self.answer_all(requests, Some(&fault.for_report()));
            }
        };
        let stage = self.reporter.report().stage;
        let first = !self.is_configured;
        if first && document.is_ok() {
            self.report(|report| report.stage = Stage::Configuring);
        }
        let mut report = self.reporter.report().clone();
        let by = Rc::clone(&bus);
        let conversation = bus.start(async move {
            let outcome = machine.pass_by_steps(&by, &config, |_| document, &mut report).await;
            Passed { machine, report, outcome }
        });
        let tell_at = (!first).then(|| now() + WORTH_TELLING);
        self.passing = Some(Passing { conversation, bus, requests, tell_at, stage });
        // Most passes wait for nobody, and are over with their first step.
        if let Err(error) = self.step() {
            warn!("cannot wait for a pass: {error}");
        }
    }

    /// Goes on with the pass as far as that can be now.
    pub(super) fn step(&mut self) -> io::Result<()> {
        let Some(passing) = &mut self.passing else { return Ok(()) };
        if let Some(passed) = passing.bus.step(&mut passing.conversation)? {
            let Passing { requests, stage, .. } = self.passing.take().expect("it is under way");
            let failure = self.passed(passed, stage, !requests.is_empty());
            self.answer_all(requests, failure.as_ref());
        } else if passing.tell_at.is_some_and(|at| at <= now()) {
            passing.tell_at = None;
            self.report(|report| report.stage = Stage::Configuring);
        }
        Ok(())
    }

    /// A pass is over; why it failed. What somebody asked for is not repeated: they will ask again.
    fn passed(&mut self, passed: Passed, stage: Stage, is_asked_for: bool) -> Option<Failure> {
        let Passed { mut machine, report, outcome } = passed;
        let took = machine.took;
        let pinned = machine.boot.pinned();
        self.last_call.clone_from(&machine.last_call);
        self.ready_hooks = machine.ready_hooks.take().map(Rc::new).or(self.ready_hooks.take());
        self.machine = Some(machine);
        let changed = !report.changed.is_empty();
        // A later pass that failed has not applied what it was about.
        let goes_on = outcome.is_err() && self.is_configured;
        self.reporter.note(|current| {
            let applied = goes_on.then(|| (current.id.clone(), current.source.clone(), current.stale));
            current.adopt(report);
            if let Some(applied) = applied {
                (current.id, current.source, current.stale) = applied;
            }
            current.took_us = took;
        });
        match outcome {
            Ok(()) => {
                self.watch.succeeded();
                let first = !std::mem::replace(&mut self.is_configured, true);
                self.watch_drive(pinned.as_ref());
                self.reporter.note(|report| report.failure = None);
                if first || changed || stage == Stage::Failed || !self.goes_on_with_gates() {
                    self.wait_for_gates();
                } else {
                    self.back_at(stage);
                }
            }
            Err(mut fault) => {
                let again =
                    self.watch.failed(fault.can_pass() && !is_asked_for && !self.is_stopping(), now());
                fault.failure.is_final = !again;
                self.failed(&fault, stage);
                return Some(fault.for_report());
            }
        }
        None
    }

    pub(super) fn answer_all(&mut self, requests: Vec<Request>, failure: Option<&Failure>) {
        for Request { from, id } in requests {
            let answer =
                failure.map_or_else(|| Answer::ok(id.clone()), |it| Answer::failed(id.clone(), it.clone()));
            self.answer(from, answer);
        }
    }

    /// What was to be done failed; a guest that is configured stays as it is, at `stage`.
    fn failed(&mut self, fault: &Fault, stage: Stage) {
        if !self.is_configured {
            return self.fail(fault);
        }
        fault.log();
        self.reporter.note(|report| report.failure = Some(fault.for_report()));
        self.back_at(stage);
    }

    /// Has the kernel look for swapped discs in the drive that the document came from, where nobody else does.
    fn watch_drive(&self, pinned: Option<&Source>) {
        if let Some(Source::Iso(drive)) = pinned
            && self.root.is_system()
            && let Err(error) = watch_media(&self.root, drive)
        {
            warn!(stage = "transport", "a disc that is swapped may not be noticed: {}", chain(&error));
        }
    }

    pub(super) fn fail(&mut self, fault: &Fault) {
        fault.log();
        self.waiting = None;
        self.report(|report| {
            report.stage = Stage::Failed;
            report.deadline_ms = None;
            report.failure = Some(fault.for_report());
        });
    }
}
