//! What whoever looks on sees of a deployment.
//!
//! Decides the three forms: a table that is drawn anew on a terminal, a line for each event elsewhere, and JSON. A table of
//! more guests than there are lines shows those that something is still to be expected of. Each event also goes into the
//! deployment's own file of them, from which `status` and the timeline are made.

#![forbid(unsafe_code)]

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::deploy::{Observer, What, detail};
use crate::deployment::{Deployment, told};
use crate::engine::Guest;
use crate::finding::printable;
use crate::order::Moment;

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A table, drawn anew.
    Table,
    /// A line for each event.
    Lines,
    /// JSON, an object a line.
    Json,
    /// Nothing; it is written down all the same.
    Silent,
}

impl Form {
    /// The one for whoever reads standard output.
    pub fn usual(is_json: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|it| it.is_empty() || it == "dumb");
        match (is_json, io::stdout().is_terminal() && !is_dumb) {
            (true, _) => Self::Json,
            (false, true) => Self::Table,
            (false, false) => Self::Lines,
        }
    }
}

/// An event, as it is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The guest's id; empty where it is of none.
    pub guest: String,
    /// What has happened: `power on`, `booting`, `report`, …
    pub event: String,
    /// The guest's stage, in a report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Whether it is ready, in a report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Its generation, in a report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// More, for people.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub detail: String,
}

/// What is known of a guest.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// The word for how it is.
    pub state: String,
    /// Since when.
    pub since: Moment,
    /// More, for people.
    pub detail: String,
}

/// Shows what happens.
#[derive(Debug)]
pub struct Show {
    form: Form,
    rows: BTreeMap<usize, Row>,
    /// Lines of the table as it was drawn last.
    drawn: usize,
    /// Those of which something was written down last that says that they run.
    ran: BTreeSet<usize>,
    /// The deployment's own.
    events: Option<File>,
    /// Bytes that may still be added to it.
    room: usize,
    /// Why something could not be shown, the first time.
    fault: Option<io::Error>,
}

/// The word for a guest whose turn has not come.
pub const IDLE: &str = "-";
/// Bytes of events that one command writes down.
const MAX_EVENTS: usize = 64 << 20;
/// How often seconds are counted.
const SECOND: Duration = Duration::from_secs(1);

impl Show {
    /// Shows these guests, and writes events to this file.
    pub fn new(form: Form, guests: &[Guest], events: Option<File>) -> Self {
        let idle = |it: &Guest| {
            let row =
                Row { id: it.id.clone(), state: IDLE.to_owned(), since: Moment::ZERO, detail: String::new() };
            (it.entity, row)
        };
        let rows = guests.iter().map(idle).collect();
        let mut show =
            Self { form, rows, drawn: 0, ran: BTreeSet::new(), events, room: MAX_EVENTS, fault: None };
        show.draw(Moment::ZERO);
        show
    }

    /// Shows guests of which an earlier command has written down what happened.
    pub fn again(form: Form, guests: &[Guest], deployment: &Deployment) -> Self {
        let ran = ran(&told(deployment.directory()));
        let mut show = Self::new(form, guests, deployment.events().ok());
        show.ran = guests.iter().filter(|it| ran.contains(&it.id)).map(|it| it.entity).collect();
        show
    }

    /// Leaves the table as it is, for other lines below it.
    pub fn leave(&mut self) {
        self.drawn = 0;
    }

    /// Why something could not be shown, if so. Whoever has closed the other end wanted no more of it.
    pub fn fault(&self) -> Option<&io::Error> {
        self.fault.as_ref().filter(|it| it.kind() != ErrorKind::BrokenPipe)
    }

    /// To standard output. The guests are none the worse where that fails: it is told in the end.
    pub fn say(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        let said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        if let (Err(error), None) = (said, &self.fault) {
            self.fault = Some(error);
        }
    }

    fn draw(&mut self, now: Moment) {
        if self.form == Form::Table {
            let rows: Vec<_> = self.rows.values().collect();
            let (text, lines) = table::draw(&rows, now, self.drawn);
            self.drawn = lines;
            self.say(&text);
        }
    }

    fn tell(&mut self, now: Moment, event: &Event) {
        // A file of events that cannot be written is no reason to stop guests that run, and one is no place for a guest that
        // has nothing to do but report.
        if let Some(file) = &mut self.events
            && let Ok(mut line) = serde_json::to_vec(event)
        {
            line.push(b'\n');
            match self.room.checked_sub(line.len()) {
                Some(left) => {
                    self.room = left;
                    let _ = file.write_all(&line);
                }
                None => {
                    self.events = None;
                    let most = MAX_EVENTS >> 20;
                    let why = format!("events.jsonl has {most} MiB of it, and gets no more");
                    self.fault.get_or_insert_with(|| io::Error::other(why));
                }
            }
        }
        match self.form {
            Form::Silent => {}
            Form::Table => self.draw(now),
            Form::Json => self.say(&(serde_json::to_string(event).unwrap_or_default() + "\n")),
            Form::Lines => {
                let word = event.stage.as_deref().unwrap_or(&event.event);
                let detail =
                    if event.detail.is_empty() { String::new() } else { format!(": {}", event.detail) };
                let line = format!("{}: {word}{detail}", event.guest);
                self.say(&format!("{:7.1} s  {}\n", now.as_secs_f64(), printable(&line)));
            }
        }
    }
}

impl Observer for Show {
    fn note(&mut self, now: Moment, guest: &Guest, what: &What<'_>) {
        // Who never ran is not gone, and who is gone was told of once.
        if matches!(what, What::Gone) && !self.ran.remove(&guest.entity) {
            return;
        }
        let (word, detail) = match *what {
            What::Starting => ("power on", String::new()),
            What::On => ("booting", String::new()),
            What::NotStarted(why) => ("not started", why.to_owned()),
            What::Report(report) => ("report", detail(report)),
            What::Lied(why) => ("not trusted", why.to_owned()),
            What::Rebooted => ("rebooting", String::new()),
            What::Off => ("off", String::new()),
            What::Lost(why) => ("lost", why.to_owned()),
            What::Isolated(why) => ("no network", why.to_owned()),
            What::Gone => ("gone", "it was not there any more when it was looked for".to_owned()),
            What::Sent => ("sent", "another environment".to_owned()),
            What::Asked => ("stopping", "it was asked to shut down".to_owned()),
            What::Cut => ("off", "its power was cut".to_owned()),
        };
        let report = match *what {
            What::Report(report) => Some(report),
            _ => None,
        };
        let event = Event {
            time_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_millis() as u64),
            guest: guest.id.clone(),
            event: word.to_owned(),
            stage: report.map(|it| it.stage.as_str().to_owned()),
            ready: report.map(|it| it.ready),
            generation: report.map(|it| it.generation),
            detail,
        };
        let state = event.stage.clone().unwrap_or_else(|| event.event.clone());
        if let Some(row) = self.rows.get_mut(&guest.entity)
            // What was sent is answered by a report.
            && !matches!(what, What::Sent)
        {
            if row.state != state {
                (row.state, row.since) = (state, now);
            }
            row.detail.clone_from(&event.detail);
        }
        self.tell(now, &event);
    }

    fn idle(&mut self, now: Moment) -> Option<Moment> {
        if self.form != Form::Table {
            return None;
        }
        self.draw(now);
        Some(Duration::from_secs(now.as_secs()) + SECOND)
    }
}

/// The guests that run by the last that these events say of them.
fn ran(events: &str) -> BTreeSet<String> {
    let mut ran = BTreeSet::new();
    for event in events.lines().filter_map(|it| serde_json::from_str::<Event>(it).ok()) {
        match event.event.as_str() {
            "off" | "lost" | "gone" | "not started" => ran.remove(&event.guest),
            _ => ran.insert(event.guest),
        };
    }
    ran
}

#[cfg(test)]
mod tests {
    use super::ran;

    #[test]
    fn who_ran_last_is_known_from_what_was_written_down() {
        let events = [
            ("off", "power on"),
            ("off", "off"),
            ("again", "off"),
            ("again", "power on"),
            ("never", "power on"),
            ("never", "not started"),
            ("lost", "lost"),
            ("gone", "gone"),
            ("isolated", "no network"),
            ("reports", "report"),
        ];
        let lines: String = events
            .iter()
            .map(|(guest, event)| format!("{{\"time_ms\":1,\"guest\":\"{guest}\",\"event\":\"{event}\"}}\n"))
            .collect();
        let known = ran(&(lines + "{\"half"));
        assert_eq!(known.into_iter().collect::<Vec<_>>(), ["again", "isolated", "reports"]);
    }
}
