//! The gates, and what goes on for them: what is watched, and what is tried.
//!
//! Performs what `ready` decides, and hands the outcome back to it.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use tracing::warn;

use super::attempt::Attempt;
use super::{ATTEMPT, FILES, UNITS};
use crate::bus::{Bus, Conversation, Told};
use crate::ready::{Conditions, Gates, Obstacle, Probe, Siblings, Standing, Task, obstacle};
use crate::sys::Root;
use crate::sys::clock::{Moment, now};
use crate::sys::inotify::FileWatch;
use crate::sys::poll::Poll;

/// The gates, and what goes on for them.
pub(in crate::agent::run) struct Waiting {
    pub(in crate::agent::run) gates: Gates,
    pub(super) begin: Moment,
    /// What they were made from.
    pub(super) from: (Conditions, Siblings),
    /// Where the guest was last said to stand.
    pub(super) said: Option<Standing>,
    attempts: BTreeMap<usize, Attempt>,
    files: Option<FileWatch>,
    units: Option<Units>,
}

/// Units that are watched.
struct Units {
    // Dropped first: it speaks by the bus.
    conversation: Conversation<'static, ()>,
    bus: Bus,
    told: Rc<RefCell<Vec<Told>>>,
    /// The gate of each.
    gates: Vec<usize>,
}

impl Waiting {
    pub(super) fn new(root: &Root, poll: &Poll, conditions: Conditions, siblings: Siblings) -> Self {
        let begin = now();
        let gates = Gates::new(&conditions, &siblings, begin);
        let files = FileWatch::new().and_then(|files| poll.add(&files, FILES).map(|()| files));
        let files =
            files.map_err(|error| warn!(stage = "gates", "files are looked for by time: {error}")).ok();
        let (said, attempts) = Default::default();
        let from = (conditions, siblings);
        let mut waiting = Self { gates, begin, from, said, attempts, files, units: None };
        if waiting.gates.units().next().is_some() {
            match Units::watch(root, poll, &waiting.gates) {
                Ok(Some(units)) => waiting.units = Some(units),
                Ok(None) => waiting.units_are(&Obstacle::NO_SYSTEMD),
                Err(error) => {
                    warn!(stage = "gates", "cannot watch units: {error}");
                    waiting.units_are(&Obstacle::SYSTEMD_SILENT);
                }
            }
        }
        waiting
    }

    /// When [`Running::try_gates`] has something to do, if nothing happens before.
    pub(in crate::agent::run) fn next(&self) -> Option<Moment> {
        let attempts = self.attempts.values().filter_map(Attempt::next);
        let units = self.units.as_ref().and_then(|units| units.bus.next());
        self.gates.next().into_iter().chain(units).chain(attempts).min()
    }

    /// No unit can be asked about.
    fn units_are(&mut self, obstacle: &Obstacle) {
        let now = now();
        let units: Vec<usize> = self.gates.units().map(|(index, _)| index).collect();
        units.into_iter().for_each(|index| self.gates.outcome(index, Err(obstacle.clone()), true, now));
    }

    fn look(&mut self, root: &Root, index: usize, path: &Path) {
        let look = self.files.as_mut().map(|files| files.look(root, index, path));
        let (is_there, is_watched) =
            look.map_or_else(|| (root.exists(path), false), |it| (it.is_there, it.is_watched));
        let outcome = if is_there { Ok(()) } else { Err(Obstacle::FILE_MISSING) };
        self.gates.outcome(index, outcome, is_watched, now());
    }

    /// Files may have come or gone.
    pub(super) fn look_again(&mut self, root: &Root) -> io::Result<()> {
        let Some(files) = &mut self.files else { return Ok(()) };
        for index in files.events()? {
            if let Some(Probe::File(path)) = self.gates.probe(index).cloned() {
                self.look(root, index, &path);
            }
        }
        Ok(())
    }

    /// Goes on with what systemd has to say.
    pub(super) fn step_units(&mut self) -> io::Result<()> {
        let Some(Units { conversation, bus, told, gates }) = &mut self.units else { return Ok(()) };
        bus.step(conversation)?;
        let (told, gates) = (told.take(), gates.clone());
        for told in told {
            match told {
                Told::Unit(place, status) => {
                    self.gates.outcome(gates[place], obstacle::unit(status.as_ref()), true, now());
                }
                Told::Away => self.units_are(&Obstacle::SYSTEMD_SILENT),
            }
        }
        Ok(())
    }

    /// Goes on with an attempt.
    pub(super) fn step(&mut self, index: usize) {
        if let Some(outcome) = self.attempts.get_mut(&index).and_then(Attempt::step) {
            self.attempts.remove(&index);
            self.gates.outcome(index, outcome, false, now());
        }
    }

    /// Does what is due.
    pub(super) fn go_on(&mut self, root: &Root, poll: &Poll) -> io::Result<()> {
        let begin = now();
        let is_due = |next: Option<Moment>| next.is_some_and(|next| next <= begin);
        if is_due(self.units.as_ref().and_then(|units| units.bus.next())) {
            self.step_units()?;
        }
        let due: Vec<usize> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| is_due(attempt.next()))
            .map(|(index, _)| *index)
            .collect();
        due.into_iter().for_each(|index| self.step(index));
        for task in self.gates.tasks(begin) {
            match task {
                Task::Try(index, Probe::File(path)) => self.look(root, index, &path),
                Task::Try(index, probe) => {
                    let limit = self.from.0.command_timeout;
                    match Attempt::start(root, index, &probe, limit, |fd| {
                        poll.add(fd, ATTEMPT + index as u64)
                    }) {
                        Ok(attempt) => {
                            self.attempts.insert(index, attempt);
                            // Most programs have to be begun with, and some have ended then.
                            self.step(index);
                        }
                        Err(obstacle) => self.gates.outcome(index, Err(obstacle), false, begin),
                    }
                }
                Task::Abandon(index) => {
                    self.attempts.remove(&index);
                    let timed_out = io::Error::from(io::ErrorKind::TimedOut);
                    self.gates.outcome(index, Err(Obstacle::connection(&timed_out)), false, begin);
                }
            }
        }
        Ok(())
    }
}

impl Units {
    /// Watches those of `gates`; nothing where there is no systemd.
    fn watch(root: &Root, poll: &Poll, gates: &Gates) -> io::Result<Option<Self>> {
        let bus = Bus::new(root)?;
        let Some(systemd) = bus.systemd() else { return Ok(None) };
        poll.add(&bus, UNITS)?;
        let (gates, units): (Vec<_>, Vec<_>) =
            gates.units().map(|(index, unit)| (index, unit.to_owned())).unzip();
        let told = Rc::<RefCell<Vec<Told>>>::default();
        let ear = Rc::clone(&told);
        let conversation = bus.start(systemd.follow(units, move |told| ear.borrow_mut().push(told)));
        Ok(Some(Self { conversation, bus, told, gates }))
    }
}
