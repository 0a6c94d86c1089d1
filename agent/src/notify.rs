//! What is told of the report besides the report itself: to the service manager, to a host that listens as systemd's do, and to
//! a person.
//!
//! Decides the words. They are made of the report, in which there is no property value; names and reasons in it may come from
//! outside, so they are shown as [`printable`] has it. Who listens is found out in [`host`]; when something is said, and how often
//! it is tried, in `agent::run::reporters`. The messages are those of sd_notify(3).

#![forbid(unsafe_code)]

pub mod due;
pub mod host;

use std::fmt::Write;

use crate::printable;
use crate::report::{Report, Stage};

/// The longest reason: a line of a terminal or two. The whole of it is in the log and in the report.
const LONGEST: usize = 240;

/// Where the guest is and what keeps it, in one line: `waiting: tcp 127.0.0.1:5432: Connection refused, and 2 more`.
pub fn status(report: &Report) -> String {
    let stage = report.stage.as_str();
    let mut reason = match (report.stage, &report.failure) {
        (Stage::Starting, _) => "looking for the OVF environment".to_owned(),
        (Stage::Waiting | Stage::Degraded, _) if !report.unmet.is_empty() => {
            let (first, more) = (&report.unmet[0], report.unmet.len() - 1);
            let mut reason = format!("{}: {}", first.gate, first.reason);
            if more > 0 {
                let _ = write!(reason, ", and {more} more");
            }
            reason
        }
        (Stage::Failed, Some(failure)) => format!("{}: {}", failure.stage.as_str(), failure.message),
        (Stage::Ready | Stage::Waiting | Stage::Degraded, Some(failure)) => {
            format!("as before, for the last pass failed: {}: {}", failure.stage.as_str(), failure.message)
        }
        _ => return stage.to_owned(),
    };
    // A problem a line, where there are several.
    reason = printable::text(&reason.replace('\n', "; "));
    if reason.len() > LONGEST {
        reason.truncate(reason.floor_char_boundary(LONGEST));
        reason.push_str(" ...");
    }
    format!("{stage}: {reason}")
}

/// What a host hears. `says_ready` is whether nobody else in the guest says so.
pub fn for_host(report: &Report, says_ready: bool) -> Vec<u8> {
    let ready = if says_ready && report.ready { "READY=1\n" } else { "" };
    let failure = report.failure.as_ref().map_or("", |failure| &failure.code);
    let Report { seq, generation, .. } = report;
    let (stage, status) = (report.stage.as_str(), status(report));
    format!(
        "{ready}STATUS={status}\nX_OVF_AGENT_STAGE={stage}\nX_OVF_AGENT_FAILURE={failure}\n\
         X_OVF_AGENT_GENERATION={generation}\nX_OVF_AGENT_SEQ={seq}\n"
    )
    .into_bytes()
}

/// What a person reads above the login prompt; nothing where all is well. agetty(8) takes a backslash for the begin of an
/// escape, unless there are two.
pub fn issue(report: &Report) -> Option<String> {
    if report.stage == Stage::Ready && report.failure.is_none() {
        return None;
    }
    let more = match report.stage {
        Stage::Failed | Stage::Degraded => "ovf-agent: `ovf-agent status` and the log tell more\n",
        _ => "",
    };
    Some(format!("ovf-agent: {}\n{more}\n", status(report).replace('\\', "\\\\")))
}

#[cfg(test)]
mod tests {
    use super::{for_host, issue, status};
    use crate::ready::Unmet;
    use crate::report::tests::sample;
    use crate::report::{Failure, Part, Report, Stage};

    fn at(stage: Stage, unmet: &[(&str, &str)], failure: Option<&str>) -> Report {
        let unmet = unmet.iter().map(|(gate, reason)| Unmet {
            gate: (*gate).to_owned(),
            code: "ConnectionRefused".to_owned(),
            reason: (*reason).to_owned(),
            since_ms: 5,
        });
        let failure = failure.map(|message| Failure {
            stage: Part::Parameters,
            code: "ParametersInvalid".to_owned(),
            message: message.to_owned(),
            is_final: true,
        });
        Report { stage, ready: stage == Stage::Ready, unmet: unmet.collect(), failure, ..sample() }
    }

    #[test]
    fn the_state_is_one_line() {
        let gates = [("tcp 127.0.0.1:80", "refused"), ("file /run/a", "does not exist")];
        for (report, want) in [
            (at(Stage::Starting, &[], None), "starting: looking for the OVF environment"),
            (at(Stage::Configuring, &[], None), "configuring"),
            (at(Stage::Waiting, &gates, None), "waiting: tcp 127.0.0.1:80: refused, and 1 more"),
            (at(Stage::Degraded, &gates[1..], None), "degraded: file /run/a: does not exist"),
            (at(Stage::Ready, &[], None), "ready"),
            (
                at(Stage::Ready, &[], Some("x is wrong")),
                "ready: as before, for the last pass failed: parameters: x is wrong",
            ),
            (
                at(Stage::Failed, &gates, Some("a.toml:1:2: x\na.toml:3:4: \u{1b}[2J")),
                "failed: parameters: a.toml:1:2: x; a.toml:3:4: \\u{1b}[2J",
            ),
            (at(Stage::Stopping, &gates, None), "stopping"),
        ] {
            assert_eq!(status(&report), want);
        }
        let long = status(&at(Stage::Failed, &[], Some(&"größe ".repeat(1000))));
        assert!(long.len() < 300 && long.ends_with(" ..."), "{long}");
    }

    #[test]
    fn a_host_hears_of_ready_where_nobody_else_says_so() {
        let ready = Report { seq: 7, generation: 3, ..at(Stage::Ready, &[], None) };
        let fields = "STATUS=ready\nX_OVF_AGENT_STAGE=ready\nX_OVF_AGENT_FAILURE=\nX_OVF_AGENT_GENERATION=3\n\
                      X_OVF_AGENT_SEQ=7\n";
        let said = |report: &Report, says| String::from_utf8(for_host(report, says)).expect("text");
        assert_eq!(said(&ready, true), format!("READY=1\n{fields}"));
        assert_eq!(said(&ready, false), fields);
        let failed = said(&at(Stage::Failed, &[], Some("a\nREADY=1")), true);
        assert!(!failed.lines().any(|line| line == "READY=1"), "a reason is no field: {failed}");
        assert!(failed.contains("\nX_OVF_AGENT_FAILURE=ParametersInvalid\n"), "{failed}");
    }

    #[test]
    fn a_person_is_told_what_is_not_well_and_agetty_takes_nothing_for_an_escape() {
        assert_eq!(issue(&at(Stage::Ready, &[], None)), None);
        let waiting = issue(&at(Stage::Waiting, &[("file /run/a", "does not exist")], None));
        assert_eq!(waiting.as_deref(), Some("ovf-agent: waiting: file /run/a: does not exist\n\n"));
        let failed = issue(&at(Stage::Failed, &[], Some("\\d \u{7}"))).expect("a reason to look");
        assert!(failed.starts_with("ovf-agent: failed: parameters: \\\\d \\\\u{7}\n"), "{failed}");
        assert!(issue(&at(Stage::Ready, &[], Some("x"))).is_some(), "ready, but not well");
    }
}
