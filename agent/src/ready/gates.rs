//! The gates of a guest: which are passed, what is tried next, and where the guest stands by that.
//!
//! Decides:
//! - What can be watched (units, files) is never tried by time; whoever watches tells when something happens. All else is tried with
//!   growing pauses until it is passed, and after that only where there is a `recheck`.
//! - A guest whose time is over has failed, but what is watched is watched still. If a watched gate opens then, the others are tried
//!   again for as long as they had in the first place, so that a guest that comes right by itself is found to be ready.
//! - Somebody who holds the guest back ([`Hold`]) is a gate that comes and goes: before the guest is ready it is waited for, and a
//!   guest that was ready is degraded by it.
//! - The obstacle that is reported is the first; another takes its place at once if it tells more, else when it has lasted for a
//!   while. A watched gate that was lost counts as passed again when it has stayed so for a while, and longer the more often it was
//!   lost. So a service that restarts again and again is one loss, and not a storm of reports.

#![forbid(unsafe_code)]

mod gate;
mod hold;

use std::time::Duration;

use gate::{FIRST_PAUSE, Gate, Next};

pub use hold::Hold;

use super::{Conditions, Obstacle, Probe, Siblings, Unmet};
use crate::sys::clock::Moment;

/// The longest pause: what a gate's passing can be noticed late by.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// So many attempts at a time; an appliance may have a thousand siblings.
const MOST: usize = 32;

/// Where the guest stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Gates are waited for.
    Waiting,
    /// All gates are passed.
    Ready,
    /// They were, and some are not any more.
    Degraded,
    /// They were not passed in time.
    TimedOut,
}

/// What the caller is to do next for a gate, by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Try it, and tell by [`Gates::outcome`].
    Try(usize, Probe),
    /// Give the running attempt up; it has taken too long.
    Abandon(usize),
}

/// All gates of a guest.
#[derive(Debug)]
pub struct Gates {
    gates: Vec<Gate>,
    /// Those who hold the guest back.
    holds: Vec<Hold>,
    standing: Standing,
    /// Until when what is not passed is tried.
    until: Moment,
    timeout: Duration,
    recheck: Option<Duration>,
}

impl Gates {
    /// The gates of `conditions`, none of them tried.
    pub fn new(conditions: &Conditions, siblings: &Siblings, now: Moment) -> Self {
        let gate = |(name, probe, obstacle): (String, Probe, Option<Obstacle>)| Gate {
            next: match probe {
                Probe::Unit(_) => Next::Word,
                Probe::Nobody => Next::Rest,
                _ => Next::Try { at: now },
            },
            name,
            probe,
            is_good: false,
            turned: now,
            counts_at: None,
            steady: Duration::ZERO,
            obstacle: (obstacle.unwrap_or(Obstacle::UNTRIED), now),
            newer: None,
            pause: FIRST_PAUSE,
        };
        let gates = conditions.gates(siblings).into_iter().map(gate).collect();
        let Conditions { timeout, recheck, .. } = *conditions;
        Self { gates, holds: Vec::new(), standing: Standing::Waiting, until: now + timeout, timeout, recheck }
    }

    /// These hold the guest back, and nobody else.
    pub fn hold(&mut self, holds: Vec<Hold>, now: Moment) {
        let opens = holds.len() < self.holds.len();
        self.holds = holds;
        // What was not tried any more may have waited for this.
        if opens && self.standing == Standing::TimedOut {
            self.try_again(now);
        }
    }

    /// The units among them, by their numbers.
    pub fn units(&self) -> impl Iterator<Item = (usize, &str)> {
        self.gates.iter().enumerate().filter_map(|(index, gate)| match &gate.probe {
            Probe::Unit(unit) => Some((index, unit.as_str())),
            _ => None,
        })
    }

    /// What a gate looks at.
    pub fn probe(&self, index: usize) -> Option<&Probe> {
        self.gates.get(index).map(|gate| &gate.probe)
    }

    /// How many attempts may begin.
    fn room(&self) -> usize {
        let running = self.gates.iter().filter(|gate| matches!(gate.next, Next::Outcome { .. }));
        MOST.saturating_sub(running.count())
    }

    /// What is to be done now. Those that have been due for longest are tried first, so that each has its turn however many of them
    /// never answer.
    pub fn tasks(&mut self, now: Moment) -> Vec<Task> {
        let room = self.room();
        let mut tasks = Vec::new();
        let mut due = Vec::new();
        for (index, gate) in self.gates.iter().enumerate() {
            match gate.next {
                Next::Try { at } if at <= now => due.push((at, index)),
                Next::Outcome { since } if gate.limit().is_some_and(|limit| since + limit <= now) => {
                    tasks.push(Task::Abandon(index));
                }
                _ => {}
            }
        }
        due.sort_unstable();
        for (_, index) in due.into_iter().take(room) {
            let gate = &mut self.gates[index];
            gate.next = Next::Outcome { since: now };
            if gate.obstacle.0 == Obstacle::UNTRIED {
                gate.obstacle.0 = Obstacle::UNANSWERED;
            }
            tasks.push(Task::Try(index, gate.probe.clone()));
        }
        tasks
    }

    /// Tells how an attempt went, or what whoever watches has seen. `is_watched` says whether the next change will be told.
    pub fn outcome(&mut self, index: usize, outcome: Result<(), Obstacle>, is_watched: bool, now: Moment) {
        let (until, recheck, standing) = (self.until, self.recheck, self.standing);
        let Some(gate) = self.gates.get_mut(index) else { return };
        let took = match gate.next {
            Next::Outcome { since } => now.saturating_sub(since),
            _ => Duration::ZERO,
        };
        let opens = is_watched && outcome.is_ok() && !gate.is_good;
        let is_good = outcome.is_ok();
        if is_watched {
            gate.next = Next::Word;
        }
        match outcome {
            Ok(()) => gate.succeeded(now),
            Err(obstacle) => gate.failed(obstacle, now),
        }
        if !is_watched {
            let is_tried = matches!(standing, Standing::Waiting | Standing::TimedOut) && now < until;
            let pause = if is_tried { None } else { recheck };
            gate.next = match pause {
                Some(pause) => Next::Try { at: now + pause },
                None if is_tried && !is_good => {
                    let pause = gate.pause.max(took);
                    gate.pause = (gate.pause * 2).min(LONGEST_PAUSE);
                    Next::Try { at: now + pause }
                }
                None => Next::Rest,
            };
        }
        if opens && standing == Standing::TimedOut {
            self.try_again(now);
        }
    }

    /// Tries what is not passed and not watched, from the beginning.
    pub fn try_again(&mut self, now: Moment) {
        self.until = now + self.timeout;
        for gate in self.gates.iter_mut().filter(|gate| !gate.is_good && gate.probe != Probe::Nobody) {
            let at = match gate.next {
                Next::Rest => now,
                // One that has been due for long keeps its turn.
                Next::Try { at } => at.min(now),
                Next::Outcome { .. } | Next::Word => continue,
            };
            gate.pause = FIRST_PAUSE;
            gate.next = Next::Try { at };
        }
    }

    /// Where the guest stands by now.
    pub fn standing(&mut self, now: Moment) -> Standing {
        self.gates.iter_mut().for_each(|gate| gate.settle(now));
        let before = self.standing;
        if self.holds.is_empty() && self.gates.iter().all(Gate::is_passed) {
            self.standing = Standing::Ready;
        } else if before == Standing::Ready {
            self.standing = Standing::Degraded;
        } else if before == Standing::Waiting && self.until <= now {
            self.standing = Standing::TimedOut;
        }
        let is_over = matches!(self.standing, Standing::Ready | Standing::TimedOut);
        if is_over && self.standing != before {
            // From now on nothing is tried but by `recheck`.
            let next = self.recheck.map_or(Next::Rest, |pause| Next::Try { at: now + pause });
            for gate in &mut self.gates {
                if matches!(gate.next, Next::Try { .. } | Next::Rest) && gate.probe != Probe::Nobody {
                    gate.next = next;
                }
            }
        }
        self.standing
    }

    /// The gates that are not passed, and why.
    pub fn unmet(&self, now: Moment) -> Vec<Unmet> {
        let unmet = |gate: &Gate| {
            let (Obstacle { code, reason }, since) = &gate.obstacle;
            Unmet {
                gate: gate.name.clone(),
                code: (*code).to_owned(),
                reason: reason.clone().into_owned(),
                since_ms: now.saturating_sub(*since).as_millis() as u64,
            }
        };
        let gates = self.gates.iter().filter(|gate| !gate.is_passed()).map(unmet);
        gates.chain(self.holds.iter().map(|hold| hold.unmet(now))).collect()
    }

    /// All of them by their names, and since when they are passed.
    pub fn passed(&self) -> impl Iterator<Item = (&str, Option<Moment>)> {
        let since = |gate: &Gate| Some(gate.turned).filter(|_| gate.is_passed());
        self.gates.iter().map(move |gate| (gate.name.as_str(), since(gate)))
    }

    /// The time left; nothing where none is counted.
    pub fn left(&self, now: Moment) -> Option<Duration> {
        (self.standing == Standing::Waiting).then(|| self.until.saturating_sub(now))
    }

    /// When there is something to do next, if nothing happens before.
    pub fn next(&self) -> Option<Moment> {
        let deadline = (self.standing == Standing::Waiting).then_some(self.until);
        let has_room = self.room() > 0;
        self.gates.iter().filter_map(|gate| gate.due(has_room)).chain(deadline).min()
    }
}
