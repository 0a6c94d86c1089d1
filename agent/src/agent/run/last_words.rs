//! What the host hears when the agent has died: one report, said in its place by a process that then goes.
//!
//! Decides what is said, and for how long it is tried. Who starts it, and when, is the business of the units in `systemd/`; what
//! became of the agent is in the variables that systemd sets (systemd.exec(5), "Environment Variables Set or Propagated by the
//! Service Manager"). A host that is away is not waited for: the next agent, or nobody, tells him.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::agent::link::{self, Link};
use crate::agent::{Exit, Fault, Machine, Result, new_report};
use crate::protocol::{Answer, FromHost};
use crate::report::{Failure, Part, Report, Stage};
use crate::sys::clock::now;
use crate::sys::poll::Poll;
use crate::sys::process::{self, End};
use crate::sys::{Error, Root};

/// For a host to say that it has heard. One that reads says so within a millisecond.
const HEARING: Duration = Duration::from_secs(2);
const PORT: u64 = 0;
/// systemd's word for a limit of time that was passed.
const TIMEOUT: &str = "timeout";

/// Tells the host that the agent is gone, unless it ended in order.
///
/// # Errors
/// Nobody says how it ended, or the port is in use.
pub fn tell(root: Root, is_final: bool) -> Result<Exit> {
    let end = process::end_of_service(is_final);
    match &end {
        None if !is_final => {
            let message =
                "report-failure is for ExecStopPost= of the agent's unit, where systemd says how it ended";
            return Err(Fault::usage(message.to_owned()));
        }
        Some(end) if end.result == "success" => return Ok(Exit::Done),
        _ => {}
    }
    // The unit has no time limit but that of its stop, and what is stopped is not started again.
    let is_final = is_final || end.as_ref().is_some_and(|end| end.result == TIMEOUT);
    let machine = Machine::new(root);
    let report = Report {
        stage: Stage::Failed,
        failure: Some(Failure {
            stage: Part::Agent,
            code: "AgentDied".to_owned(),
            message: message(end.as_ref(), is_final),
            is_final,
        }),
        accepts: Vec::new(),
        ..new_report(&machine)
    };
    match link::find(&machine.root) {
        Some(port) => say(&machine.root, &report, port),
        None => Ok(Exit::Done),
    }
}

fn message(end: Option<&End>, is_final: bool) -> String {
    let how = match end {
        None => "has failed".to_owned(),
        Some(End { result, .. }) if result == TIMEOUT => {
            return "the agent did not stop in time, and was killed".to_owned();
        }
        Some(End { result, code, status }) => match code.as_str() {
            "exited" => format!("ended with exit status {status}"),
            "killed" if result == "oom-kill" => "was killed, for memory was short".to_owned(),
            "killed" => format!("was killed by SIG{status}"),
            "dumped" => format!("crashed with SIG{status}"),
            _ => format!("has failed ({result})"),
        },
    };
    let next = match is_final {
        true => "is not started again; journalctl -u ovf-agent says why",
        false => "is started again",
    };
    format!("the agent {how}, and {next}")
}

/// Says it until the host has heard, or is not there, or the time is over.
fn say(root: &Root, report: &Report, port: std::path::PathBuf) -> Result<Exit> {
    let outside = |error| Fault::outside(&Error::new("talk to", "the host", error));
    let poll = Poll::new().map_err(outside)?;
    let mut link = Link::open(root, &poll, PORT, port).map_err(|error| Fault::outside(&error))?;
    link.outbox.report();
    let until = now() + HEARING;
    loop {
        let left = until.saturating_sub(now());
        if left.is_zero() {
            return Ok(Exit::Done);
        }
        for ready in poll.wait(Some(left)).map_err(outside)? {
            link.event(ready);
        }
        if !link.has_host() {
            return Ok(Exit::Done);
        }
        link.write(report).map_err(outside)?;
        link.begin();
        while let Some(said) = link.next().map_err(outside)? {
            match said {
                Ok(FromHost::Ack { boot, session, seq }) => {
                    if (boot, session, seq) == (report.boot.clone(), report.session.clone(), report.seq) {
                        return Ok(Exit::Done);
                    }
                }
                Ok(FromHost::Times { id }) => link.outbox.answer(Answer::unknown(id)),
                Ok(FromHost::Environment(sent)) => link.outbox.answer(refused(sent.id)),
                Ok(FromHost::Query { id } | FromHost::Reload { id } | FromHost::Stop { id, .. }) => {
                    link.outbox.answer(refused(id));
                }
                Err(answer) => link.outbox.answer(answer),
            }
        }
        link.write(report).map_err(outside)?;
    }
}

fn refused(id: String) -> Answer {
    Answer::refused(id, "AgentDied", "the agent is gone; ask the next one".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{End, message};

    #[test]
    fn it_says_what_systemd_knows() {
        let end = |result: &str, code: &str, status: &str| {
            Some(End { result: result.to_owned(), code: code.to_owned(), status: status.to_owned() })
        };
        for (end, is_final, want) in [
            (
                end("oom-kill", "killed", "KILL"),
                false,
                "the agent was killed, for memory was short, and is started again",
            ),
            (end("timeout", "killed", "KILL"), true, "the agent did not stop in time, and was killed"),
            (end("signal", "killed", "KILL"), false, "the agent was killed by SIGKILL, and is started again"),
            (
                end("core-dump", "dumped", "SEGV"),
                false,
                "the agent crashed with SIGSEGV, and is started again",
            ),
            (
                end("exit-code", "exited", "226"),
                true,
                "the agent ended with exit status 226, and is not started again; journalctl -u ovf-agent says why",
            ),
            (
                end("resources", "", ""),
                true,
                "the agent has failed (resources), and is not started again; journalctl -u ovf-agent says why",
            ),
            (None, true, "the agent has failed, and is not started again; journalctl -u ovf-agent says why"),
        ] {
            assert_eq!(message(end.as_ref(), is_final), want);
        }
    }
}
