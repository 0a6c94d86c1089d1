//! The start, and the wait for all.
//!
//! Performs a [`Sequence`]. When it ends early, tells of each guest that held it up why, in the guest's own last words where
//! there are any.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;

use ovf_agent::protocol::{FromHost, Report, Sent};

use super::{Deed, Deploy, Observer, What, has_failed, summary};
use crate::order::{Event, Outcome, Policy, Sequence, Step, Why};

/// How a start ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// All that was to be started is; some may have been passed over.
    Complete(Vec<Problem>),
    /// It has ended early.
    Stopped(Vec<Problem>),
    /// Whoever has started it wanted it to end.
    Interrupted,
}

/// A guest that held up a start, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its place among the package's entities; a collection's, where its own delays take longer than its time.
    pub entity: usize,
    /// Why, for people.
    pub why: String,
    /// Whether more time would not help.
    pub is_final: bool,
}

impl<O: Observer> Deploy<'_, O> {
    /// Starts the guests. Whatever comes of it, those that were started run on.
    ///
    /// # Errors
    /// The system does not let us wait.
    pub fn up(&mut self, steps: Vec<Step>, policy: Policy) -> io::Result<Ending> {
        let mut sequence = Sequence::new(steps, policy);
        let mut queue = VecDeque::from(sequence.handle(self.watch.now(), Event::Tick));
        while sequence.outcome() == Outcome::Running {
            let event = match queue.pop_front() {
                Some(guest) => self.start(guest),
                None => Event::Tick,
            };
            queue.extend(sequence.handle(self.watch.now(), event));
            // Between two starts there is no time to wait, and some to hear what the others say.
            let now = self.watch.now();
            let until = if queue.is_empty() { sequence.next(now) } else { Some(now) };
            if sequence.outcome() != Outcome::Running {
                break;
            }
            let Some(deeds) = self.next(until)? else { return Ok(Ending::Interrupted) };
            for (guest, deed) in deeds {
                if let Some(event) = self.event(guest, deed) {
                    queue.extend(sequence.handle(self.watch.now(), event));
                }
            }
        }
        // Nobody has waited since the last guest was started.
        if self.watch.is_interrupted() {
            return Ok(Ending::Interrupted);
        }
        let troubles = sequence.troubles().to_vec();
        let problems = troubles.iter().map(|it| self.problem(it.step, it.why)).collect();
        Ok(match sequence.outcome() {
            Outcome::Complete => Ending::Complete(problems),
            Outcome::Running | Outcome::Stopped => Ending::Stopped(problems),
        })
    }

    fn start(&mut self, guest: usize) -> Event {
        self.note(guest, &What::Starting);
        // What an installation has said is of another boot.
        self.reports.remove(&guest);
        match self.engine.start(guest) {
            Ok(()) => {
                self.watch.follow(self.engine, guest);
                self.note(guest, &What::On);
                Event::On(guest)
            }
            Err(why) => {
                self.note(guest, &What::NotStarted(&why));
                self.reasons.insert(guest, why);
                Event::NotStarted(guest)
            }
        }
    }

    /// What a deed means to the sequence.
    fn event(&mut self, guest: usize, deed: Deed) -> Option<Event> {
        match deed {
            Deed::Report(report) => {
                self.refresh(guest, &report);
                match report.ready {
                    true => Some(Event::Ready(guest)),
                    false => has_failed(&report).then_some(Event::Failed(guest)),
                }
            }
            Deed::Rebooted => Some(Event::Rebooted(guest)),
            Deed::Lied => Some(Event::Lied(guest)),
            Deed::Off => Some(Event::Off(guest)),
            Deed::Lost => Some(Event::Lost(guest)),
            Deed::Isolated => Some(Event::Isolated(guest)),
            Deed::Answer(_) => None,
        }
    }

    /// A guest whose disc is older than what it was sent is sent it again, as the protocol asks for.
    pub(super) fn refresh(&mut self, guest: usize, report: &Report) {
        if report.stale {
            let (id, document) = (self.watch.name(), self.guest(guest).document.text());
            self.watch.say(guest, &FromHost::Environment(Sent { id, document }));
        }
    }

    pub(super) fn problem(&self, entity: usize, why: Why) -> Problem {
        let is_final = !matches!(why, Why::Late(_) | Why::InstallLate(_));
        Problem { entity, why: self.why(entity, why), is_final }
    }

    /// Why a guest holds up others.
    fn why(&self, guest: usize, why: Why) -> String {
        let reason = self.reasons.get(&guest);
        let said = || {
            match self.reports.get(&guest) {
            Some(report) => format!("; its last word was: {}", summary(report)),
            None => "; it has said nothing on its port org.ovf.agent.0: has its image the agent, and the drivers for virtio-serial?".to_owned(),
        }
        };
        match why {
            Why::NotStarted => format!("did not start: {}", reason.map_or("", |it| it)),
            Why::Lied => format!("is not trusted: {}", reason.map_or("", |it| it)),
            Why::Lost => format!("was lost: {}", reason.map_or("", |it| it)),
            Why::Isolated => format!("reaches no other guest any more: {}", reason.map_or("", |it| it)),
            Why::Off if self.reports.get(&guest).is_some_and(|it| it.ready) => {
                "was ready, and powered itself off".to_owned()
            }
            Why::Off => format!("powered itself off before it was ready{}", said()),
            Why::Failed => match self.reports.get(&guest) {
                Some(report) => summary(report),
                None => "failed".to_owned(),
            },
            Why::Late(time) => format!("was not ready after {:.0} s{}", time.as_secs_f64(), said()),
            Why::InstallLate(time) => {
                format!("had not installed itself, and powered off, after {} s{}", time.as_secs(), said())
            }
        }
    }
}
