//! `status`, `reload` and the record for `analyze`: what the agent that runs here is asked, by its control socket.
//!
//! Decides how long is waited, how an answer looks, and which exit status follows from it. What is said on the socket is
//! decided in `protocol`: it is what the host says, too.

#![forbid(unsafe_code)]

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Common, print_json, written};
use crate::agent::{Exit, Fault, Result};
use crate::printable;
use crate::ready::Unmet;
use crate::report::{Failure, Part, Stage};
use crate::sys::clock::{Moment, now};
use crate::sys::{Error, control};
use crate::times;

/// An answer to a question is there at once.
const ANSWER: Duration = Duration::from_secs(10);

/// What the process that runs is waited for.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Wait until the guest is that far, or has failed
    #[arg(long, value_name = "STAGE")]
    wait: Option<Far>,
    /// Wait no longer than this: 500ms, 10s, 2m
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration, requires = "wait")]
    timeout: Duration,
}

/// How far a guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Far {
    /// The files are right.
    Configured,
    /// The gates are passed.
    Ready,
}

fn duration(text: &str) -> std::result::Result<Duration, &'static str> {
    crate::config::parse_duration(text).ok_or("write 500ms, 10s or 2m")
}

impl Far {
    fn is_reached(self, stage: Stage) -> bool {
        let is_configured = matches!(stage, Stage::Waiting | Stage::Degraded);
        stage == Stage::Ready || self == Self::Configured && is_configured
    }
}

/// What is said: a report, as far as it is shown here, or an answer.
#[derive(Deserialize)]
struct Said {
    /// A report has one.
    stage: Option<Stage>,
    #[serde(default)]
    id: String,
    #[serde(default)]
    generation: u64,
    #[serde(default)]
    source: String,
    #[serde(default)]
    stale: bool,
    #[serde(default)]
    unmet: Vec<Unmet>,
    deadline_ms: Option<u64>,
    failure: Option<Failure>,
    /// Of an answer.
    error: Option<Failure>,
    times: Option<String>,
    /// All of it, as it was said.
    #[serde(skip)]
    text: String,
}

impl Common {
    /// Tells how things stand, now or when they stand as somebody waits for; a process that is not there yet, or not any more, is
    /// waited for then as well.
    pub(super) fn status(&self, out: &mut impl Write, wanted: &Status) -> Result<Exit> {
        let Some(far) = wanted.wait else { return self.standing(out, None, now() + ANSWER) };
        let until = now() + wanted.timeout;
        let root = self.root()?;
        // Before it is looked for, so that nothing comes between the two.
        let mut appearing = control::Appearing::watch(&root).map_err(|error| Fault::outside(&error))?;
        loop {
            match self.standing(out, Some(far), until) {
                Err(fault) if fault.is_gone() && now() < until => {
                    appearing
                        .wait(&root, until.saturating_sub(now()))
                        .map_err(|error| Fault::outside(&error))?;
                }
                outcome => return outcome,
            }
        }
    }

    /// Tells how things stand when they stand so, or at that time.
    fn standing(&self, out: &mut impl Write, wanted: Option<Far>, until: Moment) -> Result<Exit> {
        let mut line = self.ask("query")?;
        // Also who does not want to wait hears an answer.
        let answer = until.max(now() + Duration::from_secs(1));
        let mut last: Option<(Stage, Said)> = None;
        loop {
            match line.next(if last.is_some() { until } else { answer })? {
                Some(Said { stage: None, .. }) => continue,
                Some(report @ Said { stage: Some(stage), .. }) => {
                    let is_over = match wanted {
                        None => true,
                        // One that will be repeated has not failed yet.
                        Some(far) => {
                            let failed = report.failure.as_ref().is_some_and(|failure| failure.is_final);
                            let ends = stage == Stage::Failed && failed;
                            far.is_reached(stage) || ends || stage == Stage::Stopping
                        }
                    };
                    last = Some((stage, report));
                    if !is_over {
                        continue;
                    }
                }
                None => {}
            }
            let Some((stage, report)) = last else { return Err(silent()) };
            self.show(out, stage, &report)?;
            return Ok(match wanted {
                Some(far) if far.is_reached(stage) => Exit::Done,
                Some(_) if stage == Stage::Failed => Exit::Failed,
                Some(_) => Exit::TryAgain,
                None => Exit::Done,
            });
        }
    }

    fn show(&self, out: &mut impl Write, stage: Stage, report: &Said) -> Result<()> {
        if self.json {
            let mut whole: Value =
                serde_json::from_str(&report.text).map_err(|error| broken(error.into()))?;
            whole.as_object_mut().map(|report| report.remove("type"));
            return print_json(out, &whole).map(drop);
        }
        print(out, stage, report).or_else(written).map(drop)
    }

    /// Has configuration and environment read again, and tells what came of it.
    pub(super) fn reload(&self, out: &mut impl Write) -> Result<Exit> {
        let mut line = self.ask("reload")?;
        let until = now() + Duration::from_secs(600);
        let mut last: Option<(Stage, Said)> = None;
        loop {
            match line.next(until)? {
                Some(report @ Said { stage: Some(stage), .. }) => last = Some((stage, report)),
                Some(answer) => {
                    if let Some(failure) = answer.error {
                        let is_refused = matches!(
                            failure.stage,
                            Part::Environment | Part::Parameters | Part::Template | Part::Agent
                        );
                        let exit = if is_refused { Exit::Refused } else { Exit::Failed };
                        return Err(Fault::answered(failure, exit));
                    }
                    if let Some((stage, report)) = &last {
                        self.show(out, *stage, report)?;
                    }
                    return Ok(Exit::Done);
                }
                None => return Err(silent()),
            }
        }
    }

    /// Where the time went, in the words of [`times`]: by the process that runs, or else as the last one has left it.
    pub(super) fn times(&self) -> Result<String> {
        let mut line = match self.ask("times") {
            Ok(line) => line,
            Err(fault) if fault.is_gone() => return times::left(&self.root()?).ok_or(fault),
            Err(fault) => return Err(fault),
        };
        let until = now() + ANSWER;
        while let Some(said) = line.next(until)? {
            if said.stage.is_none() {
                return said.times.ok_or_else(silent);
            }
        }
        Err(silent())
    }

    fn ask(&self, what: &str) -> Result<Line> {
        let stream = control::connect(&self.root()?).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                let message = "no `ovf-agent run` is running here; start it, or use `ovf-agent apply`";
                Fault::gone(message.to_owned())
            }
            _ => Fault::outside(&error),
        })?;
        let mut line = Line(BufReader::new(stream));
        let request = json!({ "type": what, "id": "1" }).to_string();
        line.0.get_mut().write_all(format!("\n{request}\n").as_bytes()).map_err(broken)?;
        Ok(line)
    }
}

/// A conversation with the process that runs.
struct Line(BufReader<std::os::unix::net::UnixStream>);

impl Line {
    /// What it says next; `None` where that is nothing until then.
    fn next(&mut self, until: Moment) -> Result<Option<Said>> {
        loop {
            let left = until.saturating_sub(now());
            if left.is_zero() {
                return Ok(None);
            }
            self.0.get_ref().set_read_timeout(Some(left)).map_err(broken)?;
            let mut text = String::new();
            match self.0.read_line(&mut text) {
                Ok(0) => return Err(Fault::gone("the ovf-agent that runs here has ended".to_owned())),
                Ok(_) if text.trim().is_empty() => {}
                Ok(_) => {
                    let said: Said = serde_json::from_str(&text).map_err(|error| broken(error.into()))?;
                    return Ok(Some(Said { text, ..said }));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

fn broken(error: io::Error) -> Box<Fault> {
    Fault::outside(&Error::new("talk to", "the ovf-agent that runs here", error))
}

fn silent() -> Box<Fault> {
    Fault::not_there("the ovf-agent that runs here does not answer".to_owned())
}

/// A report as people read it.
fn print(out: &mut impl Write, stage: Stage, report: &Said) -> io::Result<()> {
    let stage = stage.as_str();
    let name =
        if report.id.is_empty() { String::new() } else { format!("{}: ", printable::text(&report.id)) };
    let stale = if report.stale { ", newer than what lies at its usual place" } else { "" };
    writeln!(out, "{name}{stage}, generation {}, from {}{stale}", report.generation, report.source)?;
    for unmet in &report.unmet {
        writeln!(out, "  {}: {} ({} s)", unmet.gate, printable::text(&unmet.reason), unmet.since_ms / 1000)?;
    }
    if let Some(left) = report.deadline_ms {
        writeln!(out, "  {} s left", left / 1000)?;
    }
    if let Some(failure) = &report.failure {
        let again = if failure.is_final { "" } else { "; another try is on its way" };
        let message = printable::text(&failure.message);
        writeln!(out, "  {} ({}): {message}{again}", failure.stage.as_str(), failure.code)?;
    }
    Ok(())
}
