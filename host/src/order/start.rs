//! The start: whose turn it is, and why it is nobody's any more.
//!
//! Decides when a step is through and the next order may begin, and what ends a sequence early. A guest that has been
//! ready once and is not for a while holds up nobody; one that reboots before its turn is over has to say so again, and one that
//! fails for good or goes away ends the sequence whenever it does so, since others were started because of it.

#![forbid(unsafe_code)]

use std::rc::Rc;
use std::time::Duration;

use super::{Moment, Step, guests};

/// What may differ from one start to the next.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Whether a step that fails is passed over, and the next order begins all the same.
    pub keeps_going: bool,
    /// Whether a guest that is not ready when its time is over is passed over.
    pub passes_late: bool,
    /// The longest wait for a guest whose StartupSection has no limit, and for all of them at the end.
    pub patience: Duration,
    /// Whether the sequence ends only when every guest that was started is ready, and not when the last one is started.
    pub waits_for_all: bool,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time.
    Tick,
    /// The guest runs.
    On(usize),
    /// It could not be started.
    NotStarted(usize),
    /// It says that it is ready.
    Ready(usize),
    /// It says that it has failed, and will not try again.
    Failed(usize),
    /// It says what no guest may say.
    Lied(usize),
    /// It boots again, by itself.
    Rebooted(usize),
    /// It has powered itself off.
    Off(usize),
    /// It has gone in another way: its power was cut, or what runs it has died.
    Lost(usize),
    /// It runs, and what joins it to others does not any more.
    Isolated(usize),
}

/// Why a guest holds up the sequence for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It could not be started.
    NotStarted,
    /// It reported that it has failed.
    Failed,
    /// It said what no guest may say.
    Lied,
    /// It did not become ready in this time.
    Late(Duration),
    /// Its installation did not end in this time.
    InstallLate(Duration),
    /// It powered itself off before it was through.
    Off,
    /// What runs it has gone.
    Lost,
    /// What joined it to others has gone.
    Isolated,
}

/// Who holds up the sequence, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// The guest; or the collection, where its own delays take longer than its time.
    pub step: usize,
    /// Why.
    pub why: Why,
}

/// How a sequence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Running,
    /// All that was to be started is.
    Complete,
    /// It has ended early; [`Sequence::troubles`] says why.
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its turn has not come, or it is not the sequence's to start.
    Idle,
    /// Somebody was told to start it.
    Told,
    /// Its first boot, which ends by its powering off.
    Installing,
    /// It runs.
    On,
    /// It does not run any more.
    Gone,
}

#[derive(Debug, Clone)]
struct Entry {
    state: State,
    /// Since when it runs; of a collection, when its turn came.
    since: Option<Moment>,
    is_ready: bool,
    /// It holds up nobody any more.
    is_through: bool,
}

/// A start that goes on.
#[derive(Debug)]
pub struct Sequence {
    steps: Rc<[Step]>,
    entries: Vec<Entry>,
    policy: Policy,
    troubles: Vec<Trouble>,
    /// When the last order was through.
    through: Option<Moment>,
    outcome: Outcome,
}

impl Sequence {
    /// One of these steps, of which the first is the root. It begins with the first event.
    pub fn new(steps: Vec<Step>, policy: Policy) -> Self {
        let idle = Entry { state: State::Idle, since: None, is_ready: false, is_through: false };
        let entries = vec![idle; steps.len()];
        Self {
            steps: steps.into(),
            entries,
            policy,
            troubles: Vec::new(),
            through: None,
            outcome: Outcome::Running,
        }
    }

    /// Takes note of an event. Answers who is to be started now.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<usize> {
        let mut told = Vec::new();
        if self.outcome == Outcome::Running {
            self.note(now, event, &mut told);
            self.advance(now, &mut told);
            if self.outcome == Outcome::Running && !self.policy.waits_for_all && self.are_started(0) {
                self.outcome = Outcome::Complete;
            }
        }
        told
    }

    /// How it stands.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What went wrong so far, in the order in which it did.
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// Guests that were started, whatever became of them.
    pub fn started(&self) -> impl Iterator<Item = usize> {
        (0..self.steps.len())
            .filter(|&it| self.steps[it].is_guest && !matches!(self.entries[it].state, State::Idle))
    }

    /// Until when a guest that runs may hold up the sequence.
    pub fn deadline(&self, guest: usize) -> Option<Moment> {
        let (step, entry) = (&self.steps[guest], &self.entries[guest]);
        let since = entry.since.filter(|_| !entry.is_through)?;
        match entry.state {
            State::Installing => step.install.filter(|it| !it.is_zero()).map(|it| since + it),
            State::Idle | State::Told | State::Gone if step.is_guest => None,
            _ => Some(since + self.limit(step)),
        }
    }

    /// When the passing of time alone will change something.
    pub fn next(&self, now: Moment) -> Option<Moment> {
        if self.outcome != Outcome::Running {
            return None;
        }
        let end = self.through.map(|it| it + self.policy.patience);
        // What is over already waits for events.
        (0..self.steps.len()).filter_map(|it| self.deadline(it)).chain(end).filter(|&it| it > now).min()
    }

    fn limit(&self, step: &Step) -> Duration {
        if step.waits && step.delay.is_zero() { self.policy.patience } else { step.delay }
    }

    fn note(&mut self, now: Moment, event: Event, told: &mut Vec<usize>) {
        match event {
            Event::Tick => {}
            Event::On(guest) => {
                let entry = &mut self.entries[guest];
                entry.state = match (entry.since, self.steps[guest].install) {
                    (None, Some(_)) => State::Installing,
                    _ => State::On,
                };
                entry.since = Some(now);
            }
            Event::NotStarted(guest) => self.fail(guest, Why::NotStarted),
            // What an installation reports is of the installation.
            Event::Ready(guest) if self.entries[guest].state == State::On => {
                self.entries[guest].is_ready = true;
            }
            Event::Failed(guest) if self.is_wanted(guest) => self.fail(guest, Why::Failed),
            Event::Ready(_) | Event::Failed(_) => {}
            Event::Lied(guest) => self.fail(guest, Why::Lied),
            Event::Rebooted(guest) => self.entries[guest].is_ready = false,
            Event::Off(guest) if self.entries[guest].state == State::Installing => {
                self.entries[guest].state = State::Told;
                told.push(guest);
            }
            Event::Off(guest) if self.is_wanted(guest) => self.fail(guest, Why::Off),
            Event::Off(guest) => self.entries[guest].state = State::Gone,
            Event::Lost(guest) => self.fail(guest, Why::Lost),
            Event::Isolated(guest) => self.fail(guest, Why::Isolated),
        }
    }

    /// Whether it is somebody's concern that a guest is ready, and stays so: the next order's, or that of the end of all.
    fn is_wanted(&self, guest: usize) -> bool {
        self.policy.waits_for_all || self.steps[guest].waits
    }

    /// Whether all that is to be started in a step is, and has not to be started once more.
    fn are_started(&self, step: usize) -> bool {
        let it = &self.steps[step];
        !it.starts
            || match it.is_guest {
                true => matches!(self.entries[step].state, State::On | State::Gone),
                false => it.groups.iter().flatten().all(|&child| self.are_started(child)),
            }
    }

    /// A guest will not become what was waited for.
    fn fail(&mut self, step: usize, why: Why) {
        if matches!(why, Why::NotStarted | Why::Lost | Why::Off) {
            self.entries[step].state = State::Gone;
        }
        self.entries[step].is_through = true;
        if self.troubles.iter().any(|it| it.step == step) {
            return;
        }
        self.troubles.push(Trouble { step, why });
        let passes = matches!(why, Why::Late(_)) && self.policy.passes_late;
        if !self.policy.keeps_going && !passes {
            self.outcome = Outcome::Stopped;
        }
    }

    fn advance(&mut self, now: Moment, told: &mut Vec<usize>) {
        // One who is through may be what another was waiting for.
        loop {
            let before = self.count();
            let is_whole = self.visit(0, now, told);
            if self.count() == before {
                if is_whole {
                    self.end(now);
                }
                return;
            }
        }
    }

    fn count(&self) -> usize {
        self.entries.iter().filter(|it| it.is_through).count()
    }

    /// Nobody is left to start. Ends the sequence, unless somebody is waited for.
    fn end(&mut self, now: Moment) {
        let through = *self.through.get_or_insert(now);
        if self.policy.waits_for_all {
            let late = now >= through + self.policy.patience;
            for guest in 0..self.steps.len() {
                if !self.is_awaited(guest) {
                    continue;
                }
                if !late {
                    return;
                }
                self.fail(guest, Why::Late(self.policy.patience));
            }
        }
        if self.outcome == Outcome::Running {
            self.outcome = Outcome::Complete;
        }
    }

    /// Whether a guest runs, and may still become ready.
    fn is_awaited(&self, guest: usize) -> bool {
        let entry = &self.entries[guest];
        self.steps[guest].is_guest
            && matches!(entry.state, State::Told | State::Installing | State::On)
            && !entry.is_ready
            && !self.troubles.iter().any(|it| it.step == guest)
    }

    /// Goes on with a step whose turn has come. Answers whether all in it is through: a collection that is late holds up
    /// nobody any more, and is not forgotten all the same.
    fn visit(&mut self, step: usize, now: Moment, told: &mut Vec<usize>) -> bool {
        if self.outcome != Outcome::Running {
            return false;
        }
        if !self.steps[step].starts {
            self.entries[step].is_through = true;
        } else if !self.steps[step].is_guest {
            return self.collection(step, now, told);
        } else if !self.entries[step].is_through {
            self.guest(step, now, told);
        }
        self.entries[step].is_through
    }

    fn guest(&mut self, guest: usize, now: Moment, told: &mut Vec<usize>) {
        match self.entries[guest].state {
            State::Idle => {
                self.entries[guest].state = State::Told;
                told.push(guest);
            }
            State::Told => {}
            // A guest that is not waited for, and has done its work within its delay.
            State::Gone => self.entries[guest].is_through = true,
            State::Installing => {
                if self.deadline(guest).is_some_and(|it| now >= it) {
                    self.fail(guest, Why::InstallLate(self.steps[guest].install.unwrap_or_default()));
                }
            }
            State::On => {
                let waits = self.steps[guest].waits;
                if waits && self.entries[guest].is_ready {
                    self.entries[guest].is_through = true;
                } else if self.deadline(guest).is_some_and(|it| now >= it) {
                    if waits {
                        self.fail(guest, Why::Late(self.limit(&self.steps[guest])));
                    } else {
                        self.entries[guest].is_through = true;
                    }
                }
            }
        }
    }

    fn collection(&mut self, step: usize, now: Moment, told: &mut Vec<usize>) -> bool {
        let steps = Rc::clone(&self.steps);
        let since = *self.entries[step].since.get_or_insert(now);
        let mut is_whole = true;
        for group in &steps[step].groups {
            for &child in group {
                is_whole &= self.visit(child, now, told);
            }
            if !group.iter().all(|&it| self.entries[it].is_through) {
                is_whole = false;
                break;
            }
        }
        if self.entries[step].is_through || self.outcome != Outcome::Running {
            return is_whole;
        }
        let limit = self.limit(&steps[step]);
        let is_late = now >= since + limit;
        if !steps[step].waits {
            self.entries[step].is_through = is_whole && is_late;
        } else {
            let awaited: Vec<_> =
                guests(&steps, step).into_iter().filter(|&it| self.is_awaited(it)).collect();
            let is_ready = is_whole && awaited.is_empty();
            if is_late && !is_ready {
                let to_blame = if awaited.is_empty() { vec![step] } else { awaited };
                for it in to_blame {
                    self.fail(it, Why::Late(limit));
                }
            }
            self.entries[step].is_through = is_late || is_ready;
        }
        is_whole && self.entries[step].is_through
    }
}

#[cfg(test)]
pub(super) mod tests;
