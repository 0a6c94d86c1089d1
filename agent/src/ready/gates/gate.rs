//! One gate: what is known of it, and what is said of that.
//!
//! Decides when an obstacle takes the place of another in the report, and when a gate that was lost counts again.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::ready::{Obstacle, Probe};
use crate::sys::clock::Moment;

/// What one connection may take; a packet that is dropped on the way is never answered. Programs have a limit of their own.
const ATTEMPT: Duration = Duration::from_secs(5);
/// So long another obstacle lasts before it is reported, and so long a gate that was lost once is good before it counts.
const STEADY: Duration = Duration::from_secs(1);
/// The longest time that a gate has to be good for which is lost again and again.
const LONGEST_STEADY: Duration = Duration::from_secs(32);
/// A loss after so long a time is the first again.
const CALM: Duration = Duration::from_secs(60);
/// The first pause between two tries; each is twice as long as the one before, and as the try itself at least.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Gate {
    pub(super) name: String,
    pub(super) probe: Probe,
    pub(super) next: Next,
    /// The last outcome.
    pub(super) is_good: bool,
    /// When that became what it is.
    pub(super) turned: Moment,
    /// When a gate that was lost counts again.
    pub(super) counts_at: Option<Moment>,
    /// How long it has to be good for that.
    pub(super) steady: Duration,
    /// What is reported, and since when it has been so.
    pub(super) obstacle: (Obstacle, Moment),
    /// What it is by now, and since when.
    pub(super) newer: Option<(Obstacle, Moment)>,
    pub(super) pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is tried then.
    Try { at: Moment },
    /// It is being tried.
    Outcome { since: Moment },
    /// Whoever watches tells.
    Word,
    /// Nothing.
    Rest,
}

impl Gate {
    pub(super) fn is_passed(&self) -> bool {
        self.is_good && self.counts_at.is_none()
    }

    fn is_watched(&self) -> bool {
        self.next == Next::Word
    }

    pub(super) fn failed(&mut self, obstacle: Obstacle, now: Moment) {
        if self.is_passed() {
            // A watched one that was good: how long it has to be so next time.
            let again = self.counts_before_calm(now);
            self.steady = if again { (self.steady * 2).min(LONGEST_STEADY) } else { STEADY };
            self.obstacle = (obstacle, now);
            self.newer = None;
        } else if obstacle == self.obstacle.0 {
            self.newer = None;
        } else if obstacle.weight() > self.obstacle.0.weight() {
            self.obstacle = (obstacle, now);
            self.newer = None;
        } else if self.newer.as_ref().is_none_or(|(newer, _)| *newer != obstacle) {
            self.newer = Some((obstacle, now));
        }
        if self.is_good {
            self.turned = now;
        }
        self.is_good = false;
        self.counts_at = None;
    }

    fn counts_before_calm(&self, now: Moment) -> bool {
        self.steady > Duration::ZERO && now.saturating_sub(self.turned) < CALM
    }

    pub(super) fn succeeded(&mut self, now: Moment) {
        if self.is_good {
            return;
        }
        self.is_good = true;
        self.turned = now;
        self.newer = None;
        self.pause = FIRST_PAUSE;
        self.counts_at = Some(now + self.steady).filter(|at| *at > now && self.is_watched());
    }

    /// Takes over what has lasted long enough by now.
    pub(super) fn settle(&mut self, now: Moment) {
        if self.counts_at.is_some_and(|at| at <= now) {
            self.counts_at = None;
        }
        if let Some((_, since)) = &self.newer
            && *since + STEADY <= now
            && let Some(newer) = self.newer.take()
        {
            self.obstacle = newer;
        }
    }

    pub(super) fn due(&self, has_room: bool) -> Option<Moment> {
        let next = match self.next {
            Next::Try { at } => Some(at).filter(|_| has_room),
            Next::Outcome { since } => self.limit().map(|limit| since + limit),
            Next::Word | Next::Rest => None,
        };
        let newer = self.newer.as_ref().map(|(_, since)| *since + STEADY);
        next.into_iter().chain(self.counts_at).chain(newer).min()
    }

    pub(super) fn limit(&self) -> Option<Duration> {
        matches!(self.probe, Probe::Tcp(_) | Probe::Http(_) | Probe::Peer(_)).then_some(ATTEMPT)
    }
}
