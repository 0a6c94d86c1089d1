//! What the platform is told: one report, always whole.
//!
//! Decides the fields, and when a report is new. Reports are levels, not edges: each says all there is to say, so that
//! a host needs only the last one. How they travel is decided by `protocol`; `docs/protocol.md` describes every field.

#![forbid(unsafe_code)]

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ready::Unmet;
use crate::sys::clock::Moment;

/// Where the guest is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The agent runs; it looks for the environment.
    Starting,
    /// It applies an environment.
    Configuring,
    /// The files are right; gates are not passed yet.
    Waiting,
    /// Everything is as it should be.
    Ready,
    /// It was ready, and something is wrong now.
    Degraded,
    /// It will not become ready by itself.
    Failed,
    /// It goes down.
    Stopping,
}

impl Stage {
    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Configuring => "configuring",
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
        }
    }
}

/// The part of the work that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Finding out where we are.
    Detect,
    /// Fetching the document.
    Transport,
    /// Reading the document.
    Environment,
    /// Judging the values.
    Parameters,
    /// Rendering the files.
    Template,
    /// Having the staged files judged.
    Check,
    /// Writing the files.
    Apply,
    /// Having what is in place judged.
    Verify,
    /// Having units take their new files.
    Units,
    /// Running the appliance's own programs.
    Hooks,
    /// Waiting for the gates.
    Gates,
    /// The agent itself, its configuration included.
    Agent,
}

impl Part {
    /// Its name in reports and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Transport => "transport",
            Self::Environment => "environment",
            Self::Parameters => "parameters",
            Self::Template => "template",
            Self::Check => "check",
            Self::Apply => "apply",
            Self::Verify => "verify",
            Self::Units => "units",
            Self::Hooks => "hooks",
            Self::Gates => "gates",
            Self::Agent => "agent",
        }
    }
}

/// Why it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The part of the work.
    pub stage: Part,
    /// The kind of failure, for programs.
    pub code: String,
    /// The whole reason, for people. Holds no property value.
    pub message: String,
    /// Whether no retry is scheduled.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// How long each part of the last pass took, in microseconds. Zero for a part that did not happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    /// Finding out where we are.
    pub detect: u64,
    /// Fetching the document, with the wait for a drive.
    pub transport: u64,
    /// Reading the document.
    pub environment: u64,
    /// Judging the values.
    pub parameters: u64,
    /// Rendering the files and comparing them.
    pub template: u64,
    /// Writing the files.
    pub apply: u64,
    /// Waiting for the gates.
    pub gates: u64,
}

/// Protocol versions that the agent speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Protocol versions.
    pub protocol: Versions,
    /// The kernel's boot id: another one, another boot.
    pub boot: String,
    /// This process of the agent: another one, another agent.
    pub session: String,
    /// Counts the changes that this process has reported, from 1.
    pub seq: u64,
    /// The Environment's id; empty where there is none.
    pub id: String,
    /// Where the guest is.
    pub stage: Stage,
    /// Whether `stage` is `ready`.
    pub ready: bool,
    /// Counts the passes that changed something, over all boots.
    pub generation: u64,
    /// The digest of the document that is applied, as it was received.
    pub environment: Option<String>,
    /// Where it came from: `iso:/dev/sr0`, or `none`.
    pub source: String,
    /// Whether the applied document is newer than the one at its source.
    pub stale: bool,
    /// Gates that are not passed, and why.
    pub unmet: Vec<Unmet>,
    /// Time left for them, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Files that the last pass changed.
    pub changed: Vec<String>,
    /// How many oddities were mended in the document.
    pub warnings: usize,
    /// Requests that the agent answers.
    pub accepts: Vec<String>,
    /// What the platform should expect next: `reboot`, or nothing.
    pub expect: Option<String>,
    /// The agent's version.
    pub agent: String,
    /// systemd's word for the hypervisor.
    pub hypervisor: String,
    /// Time since the machine was started, in milliseconds, when this report was made.
    pub uptime_ms: u64,
    /// How long each part took.
    pub took_us: Took,
}

impl Report {
    /// Takes over what a pass says of itself, and leaves what is the process' own.
    pub fn adopt(&mut self, pass: Self) {
        self.id = pass.id;
        self.generation = pass.generation;
        self.environment = pass.environment;
        self.source = pass.source;
        self.stale = pass.stale;
        self.changed = pass.changed;
        self.warnings = pass.warnings;
    }
}

/// The report as it stands, and when it is to be said again.
#[derive(Debug)]
pub struct Reporter {
    report: Report,
    /// What was last said, without its times.
    said: Report,
    /// When that was, or when this host came.
    since: Moment,
    /// How often it was repeated since then, without an answer; `None` once it was answered.
    repeats: Option<u32>,
}

/// Said again 1, 2, 4 ... 64 seconds after a change, then no more: a host that comes later is an edge of its own.
const LAST_REPEAT: u32 = 6;

impl Reporter {
    /// Starts with a report, which counts as the first change.
    pub fn new(mut report: Report, now: Moment) -> Self {
        report.seq = 1;
        report.uptime_ms = now.as_millis() as u64;
        Self { said: timeless(&report), report, since: now, repeats: Some(0) }
    }

    /// The report as it stands.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Changes the report, to be said with the next [`Reporter::update`].
    pub fn note<T>(&mut self, change: impl FnOnce(&mut Report) -> T) -> T {
        change(&mut self.report)
    }

    /// Changes the report, and says whether there is news since it was last said. Times that merely go on are none.
    pub fn update(&mut self, now: Moment, change: impl FnOnce(&mut Report)) -> bool {
        change(&mut self.report);
        self.report.ready = self.report.stage == Stage::Ready;
        self.report.uptime_ms = now.as_millis() as u64;
        let current = timeless(&self.report);
        let news = current != self.said;
        if news {
            self.report.seq += 1;
            self.said = current;
            self.since = now;
            self.repeats = Some(0);
        }
        news
    }

    /// The host has seen report `seq` of the process that `boot` and `session` name.
    pub fn acknowledged(&mut self, boot: &str, session: &str, seq: u64) {
        let Report { boot: ours, session: this, seq: current, .. } = &self.report;
        if (boot, session, seq) == (ours, this, *current) {
            self.repeats = None;
        }
    }

    /// A host has come: whatever an earlier one answered, this one is told until it answers itself.
    pub fn new_host(&mut self, now: Moment) {
        self.since = now;
        self.repeats = Some(0);
    }

    /// When to say it again, if ever.
    pub fn repeat_at(&self) -> Option<Moment> {
        let repeats = self.repeats.filter(|repeats| *repeats <= LAST_REPEAT)?;
        Some(self.since + Duration::from_secs(1 << repeats))
    }

    /// Whether it is time to say it again; if so, that counts as said.
    pub fn repeat(&mut self, now: Moment) -> bool {
        let due = self.repeat_at().is_some_and(|at| at <= now);
        if let Some(repeats) = self.repeats.as_mut().filter(|_| due) {
            *repeats += 1;
        }
        due
    }
}

/// A report without what changes by time alone.
fn timeless(report: &Report) -> Report {
    let mut report = report.clone();
    report.seq = 0;
    report.uptime_ms = 0;
    report.deadline_ms = None;
    for unmet in &mut report.unmet {
        unmet.since_ms = 0;
    }
    report
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Report, Reporter, Stage, Took, Versions};
    use std::time::Duration;

    /// A report of which every part is set.
    pub(crate) fn sample() -> Report {
        Report {
            protocol: Versions { min: 1, max: 1 },
            boot: "b".to_owned(),
            session: "s".to_owned(),
            seq: 0,
            id: "DB1".to_owned(),
            stage: Stage::Starting,
            ready: false,
            generation: 0,
            environment: None,
            source: "none".to_owned(),
            stale: false,
            unmet: Vec::new(),
            deadline_ms: None,
            failure: None,
            changed: Vec::new(),
            warnings: 0,
            accepts: Vec::new(),
            expect: None,
            agent: "0".to_owned(),
            hypervisor: "kvm".to_owned(),
            uptime_ms: 0,
            took_us: Took::default(),
        }
    }

    const fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn only_news_counts() {
        let mut reporter = Reporter::new(sample(), s(1));
        assert!(!reporter.update(s(2), |_| ()), "time alone is no news");
        assert!(!reporter.update(s(2), |r| r.deadline_ms = Some(5)), "nor is a deadline that comes closer");
        reporter.note(|r| r.id = "DB2".to_owned());
        assert_eq!(reporter.report().seq, 1, "what is only noted is not counted");
        assert!(reporter.update(s(3), |r| r.stage = Stage::Ready));
        let report = reporter.report();
        assert_eq!((report.seq, report.ready, report.uptime_ms), (2, true, 3000));
        reporter.note(|r| r.id = "DB3".to_owned());
        assert!(reporter.update(s(4), |_| ()), "and is news when it is said");
    }

    #[test]
    fn a_report_is_repeated_until_it_is_acknowledged() {
        let mut reporter = Reporter::new(sample(), s(10));
        for at in [11, 12, 14, 18, 26, 42, 74] {
            assert_eq!(reporter.repeat_at(), Some(s(at)));
            assert!(!reporter.repeat(s(at) - Duration::from_millis(1)));
            assert!(reporter.repeat(s(at)));
        }
        assert_eq!(reporter.repeat_at(), None, "then silence");
        reporter.update(s(100), |r| r.stage = Stage::Failed);
        assert_eq!(reporter.repeat_at(), Some(s(101)), "a change begins anew");
        for (boot, session, seq) in [("x", "s", 2), ("b", "x", 2), ("b", "s", 1)] {
            reporter.acknowledged(boot, session, seq);
            assert!(reporter.repeat_at().is_some(), "an answer to something else: {boot} {session} {seq}");
        }
        reporter.acknowledged("b", "s", 2);
        assert_eq!(reporter.repeat_at(), None);
        reporter.new_host(s(200));
        assert_eq!(reporter.repeat_at(), Some(s(201)), "another host has not answered");
        assert_eq!(reporter.report().seq, 2, "but is told nothing new");
    }
}
