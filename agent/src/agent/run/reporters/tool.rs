//! VMware, by its own tool: `vmware-rpctool`, or `vmtoolsd --cmd`, of which the guest may have one.
//!
//! Decides which variables are set: `guestinfo.ready`, `true` or `false`, which VM Operator's readiness probe documents, and
//! `guestinfo.ovf-agent.report` with the report, of at most 64 KiB, which is what a message to VMware may have. They are set
//! by one program after the other, never two at a time, and each has a time limit. That a tool sets what it is told is VMware's
//! affair; here it cannot be tried.

#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{debug, warn};

use crate::agent::run::TOOL;
use crate::detect::Verdict;
use crate::notify::due::Due;
use crate::protocol;
use crate::report::Report;
use crate::sys::Root;
use crate::sys::clock::Moment;
use crate::sys::poll::Poll;
use crate::sys::program::{self, Ended, Output, Program, Start};

/// The tools, and what stands before the command.
const TOOLS: [(&str, &[&str]); 2] = [("vmware-rpctool", &[]), ("vmtoolsd", &["--cmd"])];
/// What it says goes here, where root alone can read it.
const OUTPUT: &str = "/run/ovf-agent/guestinfo.log";
const LIMIT: Duration = Duration::from_secs(10);
/// 64 KiB with the command and the name in front.
const LONGEST: usize = 64 * 1024 - 64;

/// The tool, and what it is doing.
pub(super) struct Tool {
    program: PathBuf,
    before: &'static [&'static str],
    due: Due,
    running: Option<Running>,
    /// What `ready` was last set to.
    ready: Option<bool>,
    warned: bool,
}

/// The one that runs.
struct Running {
    program: Program,
    output: Output,
    variable: Variable,
    /// When it is ended.
    limit: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variable {
    Report,
    Ready(bool),
}

impl Tool {
    /// The tool that is installed here, if this is VMware's and has one.
    pub(super) fn of(verdict: &Verdict) -> Option<Self> {
        if verdict.vm != "vmware" {
            return None;
        }
        let found = TOOLS.iter().find_map(|(name, before)| Some((program::find(name)?, *before)));
        if found.is_none() {
            debug!("neither vmware-rpctool nor vmtoolsd is here: guestinfo.ready is not set");
        }
        found.map(|(program, before)| Self::new(program, before))
    }

    fn new(program: PathBuf, before: &'static [&'static str]) -> Self {
        Self { program, before, due: Due::default(), running: None, ready: None, warned: false }
    }

    /// The report is news.
    pub(super) fn said(&mut self, now: Moment) {
        self.due.news(now);
    }

    pub(super) fn next(&self) -> Option<Moment> {
        match &self.running {
            Some(running) => Some(running.limit),
            None => self.due.at(),
        }
    }

    /// Goes on as far as that can be now.
    pub(super) fn go_on(&mut self, root: &Root, poll: &Poll, report: &Report, now: Moment) {
        loop {
            let next = match &mut self.running {
                None if self.due.begin(now) => Variable::Report,
                None => return,
                Some(running) => {
                    let how = match running.program.ended() {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            if running.limit > now {
                                return;
                            }
                            format!("no end within {} s", LIMIT.as_secs())
                        }
                        Err(error) => error.to_string(),
                        Ok(Ended::Exit(0)) => String::new(),
                        Ok(Ended::Exit(status)) => format!("exit status {status}"),
                        Ok(Ended::Signal(signal)) => format!("ended by signal {signal}"),
                    };
                    // One that has not ended is ended as it is dropped.
                    let Some(Running { output, variable, .. }) = self.running.take() else { return };
                    if !how.is_empty() {
                        return self.failed(&how, now);
                    }
                    output.remove();
                    match variable {
                        Variable::Ready(ready) => {
                            self.ready = Some(ready);
                            continue;
                        }
                        // Whoever sees `ready` is to find the report that says so.
                        Variable::Report if self.due.at().is_some_and(|at| at <= now) => continue,
                        Variable::Report if self.ready == Some(report.ready) => continue,
                        Variable::Report => Variable::Ready(report.ready),
                    }
                }
            };
            match self.start(root, poll, report, next) {
                Ok((program, output)) => {
                    self.running = Some(Running { program, output, variable: next, limit: now + LIMIT });
                }
                Err(why) => return self.failed(&why, now),
            }
        }
    }

    fn start(
        &self,
        root: &Root,
        poll: &Poll,
        report: &Report,
        variable: Variable,
    ) -> Result<(Program, Output), String> {
        let command = match variable {
            Variable::Ready(ready) => format!("info-set guestinfo.ready {ready}"),
            Variable::Report => format!("info-set guestinfo.ovf-agent.report {}", short(report)),
        };
        let arguments: Vec<_> = self.before.iter().map(|word| (*word).to_owned()).chain([command]).collect();
        let output = Output::create(root, Path::new(OUTPUT)).map_err(|error| crate::agent::chain(&error))?;
        let start = Start {
            program: &self.program,
            arguments: &arguments,
            variables: &[],
            input: None,
            output: &output,
            limit: None,
        };
        let begun = Program::start(start).and_then(|program| {
            poll.add(&program, TOOL)?;
            Ok(program)
        });
        begun.map(|program| (program, output)).map_err(|error| error.to_string())
    }

    /// It did not go well: once more after a while, with what is newest then.
    fn failed(&mut self, how: &str, now: Moment) {
        // What it had set before nobody can say.
        self.ready = None;
        debug!("cannot set guestinfo by {}: {how}", self.program.display());
        if self.due.failed(now) && !std::mem::replace(&mut self.warned, true) {
            warn!(
                "gave up setting guestinfo by {} until there is news: {how}; what it said is in {OUTPUT}",
                self.program.display()
            );
        }
    }
}

/// The report in one line that VMware takes: where it is too long, without what is least missed.
fn short(report: &Report) -> String {
    let line = |report: &Report| String::from_utf8_lossy(protocol::line(report).trim_ascii()).into_owned();
    let mut text = line(report);
    if text.len() > LONGEST {
        let mut report = report.clone();
        report.changed.clear();
        text = line(&report);
        if text.len() > LONGEST {
            report.unmet.clear();
            text = line(&report);
        }
    }
    text
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes the tool")]
mod tests;
