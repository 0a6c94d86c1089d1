//! The passes in the loop: what begins one, how it goes on and ends.
//!
//! Performs what `watch` decides; whether there is anything to apply is found out in `looks`. A pass has the machine to itself:
//! while it is under way `machine` is nobody's, so there is one at a time.
//!
//! The first pass decides whether the guest is configured at all. A later one that fails leaves it as it is, for the files are
//! those of before; the report goes on to say what is applied and where that came from, with the failure beside it, and the
//! stage stays.

#![forbid(unsafe_code)]

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tracing::warn;
use zeroize::Zeroizing;

use super::looks::Purpose;
use super::{BUS, Running};
use crate::agent::{Fault, Machine, Result};
use crate::bus::{Bus, Conversation};
use crate::protocol::Answer;
use crate::report::{Failure, Report, Stage};
use crate::sys::Error;
use crate::sys::clock::{Moment, now};
use crate::times::What;
use crate::transport::{Document, Source};
use crate::watch::{Cause, Request};

/// A pass that takes longer than this is told of: most are over before anybody could see it.
const WORTH_TELLING: Duration = Duration::from_millis(200);

/// Documents of the host's that are longer are not kept once they are applied.
const MOST_KEPT: usize = 1024 * 1024;

/// What the host has sent, and is applied: a later pass that finds nothing newer goes by it.
pub(super) struct Kept {
    document: Zeroizing<Vec<u8>>,
    /// The digest of what lay at the usual place then.
    beneath: Option<String>,
}

/// A pass under way.
pub(super) struct Passing {
    // Dropped first: it speaks by the bus.
    conversation: Conversation<'static, Passed>,
    bus: Rc<Bus>,
    /// The requests that it answers.
    pub(super) requests: Vec<Request>,
    /// The document, if the host has sent it and it is to be kept.
    sent: Option<Zeroizing<Vec<u8>>>,
    /// When it is worth telling of; `None` if it was told of.
    tell_at: Option<Moment>,
    /// Where the guest was before.
    stage: Stage,
}

/// What became of a pass.
struct Passed {
    machine: Machine,
    report: Report,
    /// Whether it was applied, and whether all who hear of the files have taken them.
    outcome: Result<Result<()>>,
}

impl Passing {
    /// When [`Running::step`] has something to do, if nothing happens before.
    pub(super) fn next(&self) -> Option<Moment> {
        self.bus.next().into_iter().chain(self.tell_at).min()
    }
}

impl Running {
    /// Whether a pass could begin now.
    pub(super) fn may_begin(&self) -> bool {
        self.machine.is_some() && !self.looks.is_searching() && !self.is_stopping()
    }

    /// Begins what is to be done next, if nothing is being done. A search is over when the host sends.
    pub(super) fn next_pass(&mut self) {
        if !self.may_begin() {
            return;
        }
        match self.watch.next(now(), self.looks.is_busy()) {
            None => {}
            Some(Cause::Look) => self.look(Purpose::News),
            Some(Cause::Retry) => self.look(Purpose::Pass(Vec::new())),
            Some(Cause::Sent(request, sent)) => {
                self.stop_looking();
                let mut requests = self.stop_searching();
                requests.push(request);
                self.begin(Ok(Some(Document::sent(sent.document))), requests);
            }
            Some(Cause::Reload(requests)) => self.reload(requests),
        }
    }

    fn reload(&mut self, requests: Vec<Request>) {
        self.pass_begins();
        self.try_bus_again();
        let begin = now();
        let config = (self.options.load)(&self.root);
        self.times.took(What::Configuration, begin);
        match config {
            Ok(config) => {
                self.config = Some(Rc::new(config));
                match self.searching {
                    Some(_) => self.search_for(requests),
                    None => self.look(Purpose::Pass(requests)),
                }
            }
            Err(problems) => self.gave_up(&Fault::configuration(&problems), requests),
        }
    }

    /// There is no pass, for this reason; a guest that is configured stays as it is.
    pub(super) fn gave_up(&mut self, fault: &Fault, requests: Vec<Request>) {
        let stage = self.reporter.report().stage;
        self.failed(fault, stage);
        self.answer_all(requests, Some(&fault.for_report()));
    }

    /// Begins a pass with a document, without one, or with the reason why there is none.
    pub(super) fn begin(&mut self, document: Result<Option<Document>>, requests: Vec<Request>) {
        let Some(config) = self.config.clone() else {
            // There is no pass without one; why there is none was said.
            let failure = self.reporter.report().failure.clone();
            return self.answer_all(requests, failure.as_ref());
        };
        self.pass_begins();
        let Some(mut machine) = self.machine.take() else { return };
        let bus = Bus::new(&self.root).and_then(|bus| self.poll.add(&bus, BUS).map(|()| Rc::new(bus)));
        let bus = match bus {
            Ok(bus) => bus,
            Err(error) => {
                self.machine = Some(machine);
                let mut fault = Fault::outside(&Error::new("wait for", "a pass", error));
                fault.failure.is_final = !self.watch.failed(requests.is_empty(), now());
                return self.gave_up(&fault, requests);
            }
        };
        let document = document.map(|found| self.newest(found));
        let sent = match &document {
            Ok(Some(document)) if document.source == Source::Channel && document.bytes.len() <= MOST_KEPT => {
                Some(document.bytes.clone())
            }
            _ => None,
        };
        let stage = self.reporter.report().stage;
        let first = !self.is_configured;
        if first && document.is_ok() {
            self.configuring();
        }
        let mut report = self.reporter.report().clone();
        let by = Rc::clone(&bus);
        let conversation = bus.start(async move {
            let outcome = machine.pass_by_steps(&by, &config, |_| document, &mut report).await;
            Passed { machine, report, outcome }
        });
        let tell_at = (!first).then(|| now() + WORTH_TELLING);
        self.passing = Some(Passing { conversation, bus, requests, sent, tell_at, stage });
        // Most passes wait for nobody, and are over with their first step.
        if let Err(error) = self.step() {
            warn!("cannot wait for a pass: {error}");
        }
    }

    /// What is to be applied where this was found: what the host has sent since, unless this is something else than what lay there
    /// then.
    fn newest(&self, found: Option<Document>) -> Option<Document> {
        let Some(kept) = &self.kept else { return found };
        let is_older = found.as_ref().is_none_or(|found| {
            found.source != Source::Channel && kept.beneath.as_ref() == Some(&found.digest())
        });
        if is_older { Some(Document::sent_before(kept.document.clone())) } else { found }
    }

    /// Goes on with the pass as far as that can be now.
    pub(super) fn step(&mut self) -> io::Result<()> {
        let Some(passing) = &mut self.passing else { return Ok(()) };
        if let Some(passed) = passing.bus.step(&mut passing.conversation)? {
            let Passing { requests, sent, stage, .. } = self.passing.take().expect("it is under way");
            let failure = self.passed(passed, stage, !requests.is_empty());
            if failure.is_none() {
                let beneath = self.machine.as_ref().and_then(|machine| machine.found.clone());
                self.kept = sent.map(|document| Kept { document, beneath });
            }
            self.answer_all(requests, failure.as_ref());
        } else if passing.tell_at.is_some_and(|at| at <= now()) {
            passing.tell_at = None;
            self.configuring();
        }
        Ok(())
    }

    /// The gates are looked at again when the pass is over.
    fn configuring(&mut self) {
        self.report(|report| {
            report.stage = Stage::Configuring;
            report.unmet.clear();
            report.deadline_ms = None;
        });
    }

    /// A pass is over; why it failed. What somebody asked for is not repeated: they will ask again.
    fn passed(&mut self, passed: Passed, stage: Stage, is_asked_for: bool) -> Option<Failure> {
        let Passed { mut machine, report, outcome } = passed;
        let took = machine.took;
        self.last_call.clone_from(&machine.last_call);
        self.ready_hooks = machine.ready_hooks.take().map(Rc::new).or(self.ready_hooks.take());
        if let Some(values) = machine.values.take() {
            self.new_values(values);
        }
        self.machine = Some(machine);
        self.remember_pinned();
        let changed = !report.changed.is_empty();
        let was_applied = outcome.is_ok();
        if was_applied || !self.is_configured {
            self.reporter.note(|current| {
                current.adopt(report);
                current.took_us = took;
            });
        }
        if was_applied {
            self.watch_drives();
        }
        match outcome.flatten() {
            Ok(()) => {
                self.watch.succeeded();
                let first = !std::mem::replace(&mut self.is_configured, true);
                self.reporter.note(|report| report.failure = None);
                if first || changed || stage == Stage::Failed || !self.goes_on_with_gates() {
                    self.wait_for_gates();
                } else {
                    self.back_at(stage);
                }
                None
            }
            Err(mut fault) => {
                let again =
                    self.watch.failed(fault.can_pass() && !is_asked_for && !self.is_stopping(), now());
                fault.failure.is_final = !again;
                self.failed(&fault, stage);
                Some(fault.for_report())
            }
        }
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
        self.times.pass_ends(false, &self.root);
        self.reporter.note(|report| report.failure = Some(fault.for_report()));
        self.back_at(stage);
    }

    pub(super) fn fail(&mut self, fault: &Fault) {
        fault.log();
        self.times.pass_ends(false, &self.root);
        self.forget_gates();
        self.report(|report| {
            report.stage = Stage::Failed;
            report.deadline_ms = None;
            report.failure = Some(fault.for_report());
        });
    }
}
