//! Guests that start, are waited for, are sent other parameters, and stop.
//!
//! Performs what `order` decides, by an engine and the guests' ports, and tells an observer of everything that happens. Does
//! not decide whose turn it is, nor how anything is shown.

#![forbid(unsafe_code)]

mod down;
mod send;
mod up;
mod wait;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use ovf_agent::protocol::{Answer, Report, Stage};

use crate::engine::{Engine, Guest, Life};
use crate::order::Moment;
use crate::port::Heard;
use crate::watch::{Seen, Watch};
pub use down::Stop;
pub use send::{Sending, Sent};
pub use up::{Ending, Problem};

/// What happens to a guest.
#[derive(Debug)]
pub enum What<'a> {
    /// Somebody starts it.
    Starting,
    /// It runs.
    On,
    /// It could not be started.
    NotStarted(&'a str),
    /// It says how it stands.
    Report(&'a Report),
    /// It says what no guest may say.
    Lied(&'a str),
    /// It boots again.
    Rebooted,
    /// It has powered itself off.
    Off,
    /// It has gone in another way.
    Lost(&'a str),
    /// It runs, and is joined to nobody any more.
    Isolated(&'a str),
    /// It was on when something was heard of it last, and is not any more.
    Gone,
    /// It was sent another environment.
    Sent,
    /// It was asked to shut down.
    Asked,
    /// Its power was cut.
    Cut,
}

/// Whoever wants to know.
pub trait Observer {
    /// Something has happened to a guest.
    fn note(&mut self, now: Moment, guest: &Guest, what: &What<'_>);

    /// Nothing has happened for a while. Answers when it wants to know again, if nothing has happened until then either.
    fn idle(&mut self, now: Moment) -> Option<Moment>;
}

/// Guests at work.
#[derive(Debug)]
pub struct Deploy<'a, O> {
    engine: &'a mut dyn Engine,
    guests: &'a [Guest],
    watch: Watch,
    observer: &'a mut O,
    /// The newest of each.
    reports: BTreeMap<usize, Report>,
    /// What guests that started, or went wrong, were called to account for.
    reasons: BTreeMap<usize, String>,
    /// How many reports each has said.
    told: BTreeMap<usize, u32>,
    /// What was found out of guests when they were taken up, and nobody has heard yet.
    found: Vec<(usize, Deed)>,
}

/// The most reports of one guest that one command listens to. A gate that opens and shuts each second says fewer in an hour; each is
/// shown and written down, and a guest that does nothing else is not to fill a disk.
const MOST: u32 = 10_000;

/// What a guest did, for whoever decides.
#[derive(Debug)]
enum Deed {
    /// A report that is another than the last one.
    Report(Box<Report>),
    /// It boots again.
    Rebooted,
    Answer(Answer),
    Lied,
    Off,
    Lost,
    Isolated,
}

impl<'a, O: Observer> Deploy<'a, O> {
    /// Guests of this engine.
    pub fn new(engine: &'a mut dyn Engine, guests: &'a [Guest], observer: &'a mut O, watch: Watch) -> Self {
        let (reports, reasons, told) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { engine, guests, watch, observer, reports, reasons, told, found: Vec::new() }
    }

    /// Follows the guests that an earlier command has started. Answers those that run; one that hangs runs, and says nothing. The
    /// observer is told of the others, and knows which of them ran before.
    pub fn attach(&mut self) -> Vec<usize> {
        let mut running = Vec::new();
        for guest in self.guests.iter().map(|it| it.entity) {
            if !self.engine.runs(guest) {
                self.note(guest, &What::Gone);
                continue;
            }
            match self.engine.attach(guest) {
                Ok(()) => self.watch.follow(self.engine, guest),
                Err(why) => drop(self.reasons.insert(guest, why)),
            }
            running.push(guest);
        }
        // What happened before anybody listened wakes up nobody.
        let news: Vec<_> = running.iter().flat_map(|&guest| self.engine.news(guest)).collect();
        let mut found = Vec::new();
        news.into_iter().for_each(|(guest, life)| self.live(guest, life, &mut found));
        self.found = found;
        running
    }

    /// The newest report of a guest.
    pub fn report(&self, guest: usize) -> Option<&Report> {
        self.reports.get(&guest)
    }

    /// Listens until each of these guests has said something, or for so long. None where it was interrupted.
    ///
    /// # Errors
    /// The system does not let us wait.
    pub fn listen(&mut self, guests: &[usize], within: Duration) -> io::Result<Option<()>> {
        let end = self.watch.now() + within;
        while self.watch.now() < end && !guests.iter().all(|it| self.reports.contains_key(it)) {
            if self.next(Some(end))?.is_none() {
                return Ok(None);
            }
        }
        // What came while nobody waited, as during a start, is seen by now.
        Ok((!self.watch.is_interrupted()).then_some(()))
    }

    fn guest(&self, entity: usize) -> &'a Guest {
        self.guests.iter().find(|it| it.entity == entity).expect("a guest of the plan")
    }

    fn note(&mut self, guest: usize, what: &What<'_>) {
        let (now, guest) = (self.watch.now(), self.guest(guest));
        self.observer.note(now, guest, what);
    }

    /// What guests did next, at the latest nothing until then. None where whoever has started this wants it to end.
    fn next(&mut self, until: Option<Moment>) -> io::Result<Option<Vec<(usize, Deed)>>> {
        if !self.found.is_empty() {
            return Ok(Some(std::mem::take(&mut self.found)));
        }
        let idle = self.observer.idle(self.watch.now());
        let until = until.into_iter().chain(idle).min();
        let mut deeds = Vec::new();
        for seen in self.watch.next(self.engine, until)? {
            match seen {
                Seen::Interrupted => return Ok(None),
                Seen::Heard(guest, Heard::Report(report)) => self.hear(guest, report, &mut deeds),
                Seen::Heard(guest, Heard::Answer(answer)) => deeds.push((guest, Deed::Answer(answer))),
                Seen::Heard(guest, Heard::Offence(why)) => self.distrust(guest, why, &mut deeds),
                Seen::Life(guest, life) => self.live(guest, life, &mut deeds),
            }
        }
        Ok(Some(deeds))
    }

    /// What has become of a guest.
    fn live(&mut self, guest: usize, life: Life, deeds: &mut Vec<(usize, Deed)>) {
        match life {
            Life::Rebooted => self.reboot(guest, deeds),
            Life::Off => {
                self.watch.leave(guest);
                self.note(guest, &What::Off);
                deeds.push((guest, Deed::Off));
            }
            Life::Lost(why) => {
                self.watch.leave(guest);
                self.note(guest, &What::Lost(&why));
                self.reasons.insert(guest, why);
                deeds.push((guest, Deed::Lost));
            }
            Life::Isolated(why) => {
                self.note(guest, &What::Isolated(&why));
                self.reasons.insert(guest, why);
                deeds.push((guest, Deed::Isolated));
            }
        }
    }

    /// A report. One that was said before is repeated until it is acknowledged, and no news.
    fn hear(&mut self, guest: usize, report: Box<Report>, deeds: &mut Vec<(usize, Deed)>) {
        if let Some(last) = self.reports.get(&guest) {
            let name = |it: &Report| (it.boot.clone(), it.session.clone(), it.seq);
            if name(last) == name(&report) {
                return;
            }
            if last.boot != report.boot {
                self.reboot(guest, deeds);
            }
        }
        let told = self.told.entry(guest).or_default();
        *told += 1;
        if *told > MOST {
            self.distrust(guest, format!("it has said more than {MOST} reports, each another"), deeds);
            return;
        }
        self.note(guest, &What::Report(&report));
        self.reports.insert(guest, (*report).clone());
        deeds.push((guest, Deed::Report(report)));
    }

    /// Whoever lies once is not listened to any more, until it is started again.
    fn distrust(&mut self, guest: usize, why: String, deeds: &mut Vec<(usize, Deed)>) {
        self.watch.leave(guest);
        self.note(guest, &What::Lied(&why));
        self.reasons.insert(guest, why);
        deeds.push((guest, Deed::Lied));
    }

    /// It is told twice, by the engine and by the guest's next report; the second time is no news.
    fn reboot(&mut self, guest: usize, deeds: &mut Vec<(usize, Deed)>) {
        if self.reports.remove(&guest).is_some() {
            self.note(guest, &What::Rebooted);
            deeds.push((guest, Deed::Rebooted));
        }
    }
}

/// Whether a guest says that it has failed, and will not try again.
fn has_failed(report: &Report) -> bool {
    report.stage == Stage::Failed && report.failure.as_ref().is_none_or(|it| it.is_final)
}

/// What a report says in a line: where the guest is, and what it waits for.
pub fn summary(report: &Report) -> String {
    let detail = detail(report);
    let separator = if detail.is_empty() { "" } else { ": " };
    format!("{}{separator}{detail}", report.stage.as_str())
}

/// What a report says beside the stage. Without times, which change by themselves.
pub fn detail(report: &Report) -> String {
    let mut all = Vec::new();
    if let Some(expect) = &report.expect {
        all.push(format!("expects a {expect}"));
    }
    if let Some(failure) = &report.failure {
        let again = if failure.is_final { "" } else { " (it will try again)" };
        all.push(format!("{}: {}{again}", failure.code, failure.message));
    }
    if report.stage != Stage::Failed {
        all.extend(report.unmet.iter().map(|it| format!("{} {}", it.gate, it.reason)));
    }
    all.join("; ")
}
