//! The stop.
//!
//! Performs a [`Descent`]: whoever is to shut down is asked by its agent, whose hooks run first, or by its power button
//! where no agent answers.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use ovf_agent::protocol::{Action, FromHost, STOP};

use super::{Deed, Deploy, Observer, What};
use crate::order::{Descent, Order, Step};

/// How long agents may take to say that they are there.
const GREETING: Duration = Duration::from_secs(2);

impl<O: Observer> Deploy<'_, O> {
    /// Stops these guests in the order of these steps. A guest whose stop has no limit has this long. Whoever cannot be
    /// stopped is answered, with the reason; none where it was interrupted before anybody was to stop. Whoever interrupts it later
    /// has the power cut.
    ///
    /// # Errors
    /// The system does not let us wait.
    pub fn down(
        &mut self,
        steps: Vec<Step>,
        running: &[usize],
        patience: Duration,
    ) -> io::Result<Option<BTreeMap<usize, String>>> {
        if self.listen(running, GREETING)?.is_none() {
            return Ok(None);
        }
        let mut descent = Descent::new(steps, running.iter().copied(), patience);
        let (mut off, mut left) = (Vec::new(), BTreeMap::new());
        // Requests to stop, so that a refusal is known for one.
        let mut asked: BTreeMap<usize, String> = BTreeMap::new();
        while !descent.is_over() {
            let now = self.watch.now();
            for order in descent.handle(now, std::mem::take(&mut off)) {
                match order {
                    Order::Ask(guest, time) => self.ask(guest, time, &mut asked),
                    Order::Cut(guest) => {
                        self.watch.leave(guest);
                        if let Err(why) = self.engine.cut(guest) {
                            left.insert(guest, why);
                        }
                        self.note(guest, &What::Cut);
                        off.push(guest);
                    }
                }
            }
            if !off.is_empty() || descent.is_over() {
                continue;
            }
            let Some(deeds) = self.next(descent.next())? else {
                // Whoever is impatient has the power cut.
                for &guest in running {
                    if let Err(why) = self.engine.cut(guest) {
                        left.insert(guest, why);
                    }
                }
                break;
            };
            for (guest, deed) in deeds {
                match deed {
                    Deed::Off | Deed::Lost => off.push(guest),
                    Deed::Answer(answer) if !answer.ok && asked.get(&guest) == Some(&answer.to) => {
                        self.press(guest)
                    }
                    _ => {}
                }
            }
        }
        Ok(Some(left))
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

    fn press(&mut self, guest: usize) {
        // Whoever has no button has its power cut when its time is over.
        let _ = self.engine.press(guest);
    }
}
