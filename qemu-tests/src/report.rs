//! What the agent tells the platform, as the tests look at it.
//!
//! The report line is normative in `docs/protocol.md`. This type takes what it knows and ignores the rest,
//! so that a test fails for what it asserts and for nothing else; `line` is all of it, as it came.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// One report.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The guest's boot.
    pub boot: String,
    /// The agent's process.
    pub session: String,
    /// Number of the report in its session.
    pub seq: u64,
    /// The id of the environment; empty where there is none.
    pub id: String,
    /// How far the guest is: `starting`, `configuring`, `waiting`, `ready`, `failed` ...
    pub stage: String,
    /// Whether the guest is ready.
    pub ready: bool,
    /// How many passes have changed something.
    pub generation: u64,
    /// Digest of the document.
    pub environment: Option<String>,
    /// Where the document came from, or `none`.
    pub source: String,
    /// Whether the applied document is newer than that at its source.
    pub stale: bool,
    /// The gates that are not passed yet.
    pub unmet: Vec<Unmet>,
    /// The time left for them, where it is counted.
    pub deadline_ms: Option<u64>,
    /// Why the pass failed.
    pub failure: Option<Failure>,
    /// The files that the pass changed.
    pub changed: Vec<String>,
    /// How many warnings there were.
    pub warnings: u64,
    /// The agent's version.
    pub agent: String,
    /// The hypervisor by its detected name.
    pub hypervisor: String,
    /// The guest's uptime.
    pub uptime_ms: u64,
    /// Microseconds that each stage of the pass took.
    pub took_us: BTreeMap<String, u64>,
    /// The line as it came.
    #[serde(skip)]
    pub line: String,
    r#type: String,
}

/// A gate that is not passed yet, and why.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Unmet {
    /// Which gate.
    pub gate: String,
    /// The reason as a word.
    pub code: String,
    /// The reason as a sentence.
    pub reason: String,
}

/// Why a pass failed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// The stage that failed.
    pub stage: String,
    /// The reason as a word.
    pub code: String,
    /// The reason as a sentence.
    pub message: String,
    /// Whether no retry is scheduled.
    pub r#final: bool,
}

impl Report {
    /// The report in a frame, if it is one.
    pub fn from_line(line: &str) -> Option<Report> {
        let report: Report = serde_json::from_str(line).ok()?;
        (report.r#type == "report").then(|| Report { line: line.to_owned(), ..report })
    }

    /// Whether this is that report, said once more: only the times of such a one may differ.
    pub fn repeats(&self, that: &Report) -> bool {
        (&self.boot, &self.session, self.seq) == (&that.boot, &that.session, that.seq)
    }

    /// The acknowledgement that makes the agent stop sending it again.
    pub fn acknowledgement(&self) -> Value {
        serde_json::json!({ "type": "ack", "boot": self.boot, "session": self.session, "seq": self.seq })
    }
}

/// One readable line: the stage, and why it failed or what it waits for.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stage)?;
        if let Some(Failure { stage, code, message, .. }) = &self.failure {
            return write!(f, " at {stage} ({code}): {message}");
        }
        for (number, Unmet { gate, reason, .. }) in self.unmet.iter().enumerate() {
            write!(f, "{} {gate}: {reason}", if number == 0 { " for" } else { ";" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_reports_are_reports() {
        assert!(Report::from_line(r#"{"type":"answer","to":"1","ok":true}"#).is_none());
        let line = r#"{"type":"report","boot":"b","session":"s","seq":3,"stage":"waiting","later":{"field":1},
            "unmet":[{"gate":"tcp 127.0.0.1:80","reason":"connection refused"}]}"#;
        let report = Report::from_line(line).expect("its type says so");
        assert_eq!(report.line, line);
        assert_eq!(report.to_string(), "waiting for tcp 127.0.0.1:80: connection refused");
        assert_eq!(report.acknowledgement(), json!({"type": "ack", "boot": "b", "session": "s", "seq": 3}));
    }
}
