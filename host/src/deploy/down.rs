//! The stop.
//!
//! Performs a [`Descent`]: whoever is to shut down is asked by its agent, whose hooks run first, or by its power button
//! where no agent answers.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use ovf_agent::protocol::{Action, FromHost, STOP};

use super::{Deed, Deploy, Observer, What};
use crate::order::{Descent, Order, Step};

/// How long agents may take to say that they are there.
const GREETING: Duration = Duration::from_secs(2);

/// How a stop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Each had its turn.
    Over,
    /// It was interrupted, and the power of whoever still ran is cut.
    CutShort,
    /// It was interrupted before anybody was to stop.
    Untouched,
}

impl<O: Observer> Deploy<'_, O> {
    /// Stops these guests in the order of these steps. A guest whose stop has no limit has this long. Whoever interrupts it has
    /// the power cut. Somebody who cannot be stopped may still run in the end.
    ///
    /// # Errors
    /// The system does not let us wait.
    pub fn down(&mut self, steps: Vec<Step>, running: &[usize], patience: Duration) -> io::Result<Stop> {
        if self.listen(running, GREETING)?.is_none() {
            return Ok(Stop::Untouched);
        }
        let mut descent = Descent::new(steps, running.iter().copied(), patience);
        let mut off = Vec::new();
        let mut on: BTreeSet<usize> = running.iter().copied().collect();
        // Requests to stop, so that a refusal is known for one.
        let mut asked: BTreeMap<usize, String> = BTreeMap::new();
        while !descent.is_over() {
            let now = self.watch.now();
            for order in descent.handle(now, std::mem::take(&mut off)) {
                match order {
                    Order::Ask(guest, time) => self.ask(guest, time, &mut asked),
                    Order::Cut(guest) => {
                        self.watch.leave(guest);
                        self.cut(guest);
                        on.remove(&guest);
                        off.push(guest);
                    }
                }
            }
            if !off.is_empty() || descent.is_over() {
                continue;
            }
            let Some(deeds) = self.next(descent.next())? else {
                // Whoever is impatient has the power cut.
                on.into_iter().for_each(|guest| self.cut(guest));
                return Ok(Stop::CutShort);
            };
            for (guest, deed) in deeds {
                match deed {
                    Deed::Off | Deed::Lost => {
                        on.remove(&guest);
                        off.push(guest);
                    }
                    Deed::Answer(answer) if !answer.ok && asked.get(&guest) == Some(&answer.to) => {
                        self.press(guest)
                    }
                    _ => {}
                }
            }
        }
        Ok(Stop::Over)
    }

    fn ask(&mut self, guest: usize, time: Duration, asked: &mut BTreeMap<usize, String>) {
        self.note(guest, &What::Asked);
        let Some(report) = self.reports.get(&guest).filter(|it| it.accepts.iter().any(|it| it == STOP))
        else {
            self.press(guest);
            return;
        };
        let boot = Some(report.boot.clone());
        let id = self.watch.name();
        asked.insert(guest, id.clone());
        let deadline_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.watch.say(guest, &FromHost::Stop { id, action: Action::PowerOff, deadline_ms, boot });
    }

    fn cut(&mut self, guest: usize) {
        // Whoever runs on is tried again in the end, and told of then.
        let _ = self.engine.cut(guest);
        self.note(guest, &What::Cut);
    }

    fn press(&mut self, guest: usize) {
        // Whoever has no button has its power cut when its time is over.
        let _ = self.engine.press(guest);
    }
}
