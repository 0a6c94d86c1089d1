//! How guest and platform talk over the virtio-serial port `org.ovf.agent.0`.
//!
//! Decides the messages and their frames: UTF-8 JSON, one object a line, each frame begun *and* ended by a newline.
//! Connections leave no mark in the byte stream, a guest's reboot does not end the host's, and a frame cut short must
//! never swallow the next; the leading newline sees to that. Pure: bytes in, messages out, and the other way round.
//! Memory is bounded whatever the host does: one report, the newest, and a few answers; who does not take them is not read
//! either, until he does.

#![forbid(unsafe_code)]

mod frames;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use crate::ready::Unmet;
pub use crate::report::{Failure, Report, Stage};
use crate::report::{Part, Versions};
pub use crate::sys::power::Action;
pub use frames::{Inbox, Outbox, line};

/// The name of the port.
pub const PORT: &str = "org.ovf.agent.0";
/// Versions of the protocol that this agent speaks.
pub const VERSIONS: Versions = Versions { min: 1, max: 1 };
/// Requests that this agent answers.
pub const ACCEPTS: [&str; 4] = ["query", "environment", "reload", STOP];
/// The one that only an agent answers that may take its machine down.
pub const STOP: &str = "stop";
/// For how long hooks may hold the machine up where nobody says.
pub const STOP_DEADLINE: Duration = Duration::from_secs(180);
/// The longest line that is taken from the host, in bytes.
pub const LINE_LIMIT: usize = 16 * 1024 * 1024;
/// The longest line that is said; a report that would be longer is cut.
pub const FRAME_LIMIT: usize = 1024 * 1024;
/// The longest id of a request, in bytes.
pub const ID_LIMIT: usize = 128;

/// What the guest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum FromGuest {
    /// How things stand.
    Report(Box<Report>),
    /// The answer to a request.
    Answer(Answer),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The request's id; empty where it could not be read.
    pub to: String,
    /// Whether it was done.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Where the time went, in the words of [`crate::times`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<String>,
}

impl Answer {
    /// It was done.
    pub fn ok(to: String) -> Self {
        Self { to, ok: true, error: None, times: None }
    }

    /// It was tried, and failed.
    pub fn failed(to: String, error: Failure) -> Self {
        Self { to, ok: false, error: Some(error), times: None }
    }

    /// It was not understood, or is not done.
    pub fn refused(to: String, code: &str, message: String) -> Self {
        let failure = Failure { stage: Part::Agent, code: code.to_owned(), message, is_final: true };
        Self::failed(to, failure)
    }

    /// There is no request of this type.
    pub fn unknown(to: String) -> Self {
        let message =
            "the type of this message is not known; there are ack, query, environment, reload and stop";
        Self::refused(to, "UnknownRequest", message.to_owned())
    }
}

/// What the host says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum FromHost {
    /// It has seen a report.
    Ack {
        /// The report's `boot`.
        boot: String,
        /// The report's `session`.
        session: String,
        /// The report's `seq`.
        seq: u64,
    },
    /// It asks for the report.
    Query {
        /// Names the request, so that the answer can be told.
        id: String,
    },
    /// It sends a document, to be applied in place of the last one.
    Environment(Sent),
    /// It wants configuration and document to be read again.
    Reload {
        /// Names the request, so that the answer can be told.
        id: String,
    },
    /// It asks where the time went. For programs of the same machine.
    Times {
        /// Names the request, so that the answer can be told.
        id: String,
    },
    /// It wants the machine to go down.
    Stop {
        /// Names the request, so that the answer can be told.
        id: String,
        /// How.
        action: Action,
        /// For how long hooks may hold it up, in milliseconds.
        deadline_ms: u64,
        /// The only boot that is meant: a request may lie in the port until the next one.
        boot: Option<String>,
    },
}

/// A document that the host has sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Names the request, so that the answer can be told.
    pub id: String,
    /// All of the document. Property values are in here in the clear.
    pub document: Zeroizing<String>,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sent({:?}, {} bytes)", self.id, self.document.len())
    }
}

/// The fields of `ack`, `query`, `reload`, `times` and `stop`.
#[derive(Deserialize)]
struct Fields {
    boot: Option<String>,
    session: Option<String>,
    seq: Option<u64>,
    id: Option<String>,
    action: Option<String>,
    deadline_ms: Option<u64>,
}

/// The message in a line, or the answer to what is none. Not the parser's own words: they quote what they read. The type is
/// read first, so that a large document is not kept twice.
fn message(line: &[u8]) -> Result<FromHost, Answer> {
    #[derive(Deserialize)]
    struct Any<'a> {
        #[serde(rename = "type", borrow, default)]
        kind: Cow<'a, str>,
        #[serde(borrow, default)]
        id: Cow<'a, str>,
    }
    let Ok(Any { kind, id }) = serde_json::from_slice::<Any<'_>>(line) else {
        let message = "a line is no JSON object with a type, or its id is no string";
        return Err(Answer::refused(String::new(), "NotAMessage", message.to_owned()));
    };
    if id.len() > ID_LIMIT {
        let message = format!("the id of a message is longer than {ID_LIMIT} bytes");
        return Err(Answer::refused(String::new(), "BadRequest", message));
    }
    // An answer to nobody could not be told from those to lines without an id.
    let is_named = |id: &Option<String>| id.as_deref() != Some("");
    let fields = || serde_json::from_slice::<Fields>(line).ok().filter(|it| is_named(&it.id));
    let message = match &*kind {
        "ack" => {
            fields().and_then(|it| Some(FromHost::Ack { boot: it.boot?, session: it.session?, seq: it.seq? }))
        }
        "query" => fields().and_then(|it| Some(FromHost::Query { id: it.id? })),
        "times" => fields().and_then(|it| Some(FromHost::Times { id: it.id? })),
        "reload" => fields().and_then(|it| Some(FromHost::Reload { id: it.id? })),
        "environment" if id.is_empty() => None,
        "environment" => serde_json::from_slice(line).ok().map(FromHost::Environment),
        STOP => match fields() {
            Some(Fields { id: Some(id), action: Some(action), deadline_ms, boot, .. }) => {
                return stop(id, &action, deadline_ms, boot);
            }
            _ => None,
        },
        _ => return Err(Answer::unknown(id.into_owned())),
    };
    message.ok_or_else(|| {
        let message = format!("a message of type {kind} lacks a field, or one has another type or is empty");
        Answer::refused(id.into_owned(), "BadRequest", message)
    })
}

fn stop(
    id: String,
    action: &str,
    deadline_ms: Option<u64>,
    boot: Option<String>,
) -> Result<FromHost, Answer> {
    let Some(action) = Action::ALL.into_iter().find(|it| it.as_str() == action) else {
        let message = "the action of a stop is none that is known; there are poweroff, reboot and halt";
        return Err(Answer::refused(id, "UnknownAction", message.to_owned()));
    };
    let deadline_ms = deadline_ms.unwrap_or(STOP_DEADLINE.as_millis() as u64);
    Ok(FromHost::Stop { id, action, deadline_ms, boot })
}

#[cfg(test)]
mod tests {
    use super::{Answer, FromHost, ID_LIMIT, Inbox, LINE_LIMIT};
    use crate::sys::power::Action;

    pub(super) fn inbox() -> Inbox {
        Inbox::new(LINE_LIMIT)
    }

    /// All that these bytes complete.
    pub(super) fn all(inbox: &mut Inbox, mut bytes: &[u8]) -> Vec<Result<FromHost, Answer>> {
        std::iter::from_fn(|| inbox.take(&mut bytes)).collect()
    }

    pub(super) fn code(message: &Result<FromHost, Answer>) -> &str {
        message.as_ref().err().and_then(|answer| answer.error.as_ref()).map_or("", |error| &error.code)
    }

    #[test]
    fn what_is_no_message_is_answered_without_quoting_it() {
        for (line, to, code) in [
            ("secret", "", "NotAMessage"),
            ("[1]", "", "NotAMessage"),
            ("\"secret\"", "", "NotAMessage"),
            ("{\"type\":\"secret\",\"id\":\"5\"}", "5", "UnknownRequest"),
            ("{\"id\":\"5\"}", "5", "UnknownRequest"),
            ("{\"type\":\"ack\",\"seq\":\"secret\"}", "", "BadRequest"),
            ("{\"type\":\"query\"}", "", "BadRequest"),
            ("{\"type\":\"environment\",\"id\":\"7\",\"document\":[\"secret\"]}", "7", "BadRequest"),
            ("{\"type\":\"environment\",\"document\":\"secret\"}", "", "BadRequest"),
            ("{\"type\":\"stop\",\"id\":\"9\"}", "9", "BadRequest"),
            ("{\"type\":\"stop\",\"id\":\"9\",\"action\":\"secret\"}", "9", "UnknownAction"),
            ("{\"type\":\"stop\",\"id\":\"9\",\"action\":\"halt\",\"deadline_ms\":-1}", "9", "BadRequest"),
            ("\u{0}{", "", "NotAMessage"),
            ("{\"type\":\"query\",\"id\":\"\"}", "", "BadRequest"),
            ("{\"type\":\"query\",\"id\":5}", "", "NotAMessage"),
            ("{\"type\":\"query\",\"id\":\"5\",\"id\":\"6\"}", "", "NotAMessage"),
        ] {
            let got = all(&mut inbox(), format!("{line}\n").as_bytes());
            let [Err(Answer { to: got_to, ok: false, error: Some(failure), .. })] = &got[..] else {
                panic!("{line}: {got:?}");
            };
            assert_eq!((got_to.as_str(), failure.code.as_str()), (to, code), "{line}");
            assert!(!failure.message.contains("secret"), "{line}: {}", failure.message);
        }
    }

    #[test]
    fn a_document_is_taken_as_it_is_and_not_shown() {
        let line =
            "{\"type\":\"environment\",\"id\":\"8\",\"document\":\"<a>\\n\\u00e4 \\\"s3cret\\\"</a>\"}\n";
        let mut messages = all(&mut inbox(), line.as_bytes());
        let Some(Ok(FromHost::Environment(sent))) = messages.pop() else { panic!("{messages:?}") };
        assert_eq!((&*sent.id, &**sent.document), ("8", "<a>\nä \"s3cret\"</a>"));
        assert_eq!(format!("{sent:?}"), "Sent(\"8\", 19 bytes)");
    }

    #[test]
    fn a_stop_has_an_action_and_a_deadline_of_its_own_or_the_usual() {
        for (fields, action, deadline_ms, boot) in [
            (r#""action":"poweroff""#, Action::PowerOff, 180_000, None),
            (r#""action":"reboot","deadline_ms":null"#, Action::Reboot, 180_000, None),
            (r#""action":"halt","deadline_ms":0,"boot":"c1""#, Action::Halt, 0, Some("c1".to_owned())),
        ] {
            let line = format!("{{\"type\":\"stop\",\"id\":\"9\",{fields}}}\n");
            let want = FromHost::Stop { id: "9".to_owned(), action, deadline_ms, boot };
            assert_eq!(all(&mut inbox(), line.as_bytes()), [Ok(want)], "{line}");
        }
    }

    #[test]
    fn an_id_has_a_longest() {
        for (kind, rest) in [
            ("query", ""),
            ("reload", ""),
            ("environment", ",\"document\":\"\""),
            ("stop", ",\"action\":\"halt\""),
            ("other", ""),
        ] {
            let line = |length| format!("{{\"type\":\"{kind}\",\"id\":\"{}\"{rest}}}\n", "x".repeat(length));
            let longest = all(&mut inbox(), line(ID_LIMIT).as_bytes());
            assert!(longest[0].is_ok() || code(&longest[0]) == "UnknownRequest", "{kind}: {longest:?}");
            let longer = all(&mut inbox(), line(ID_LIMIT + 1).as_bytes());
            assert!(matches!(&longer[0], Err(answer) if answer.to.is_empty()), "{kind}: {longer:?}");
        }
    }

    /// Neither is followed inwards: what reads them does not call itself.
    #[test]
    fn depth_costs_nothing() {
        for open in ["[", "{\"a\":"] {
            let deep = open.repeat(1_000_000);
            let got = all(
                &mut inbox(),
                format!("{deep}\n{{\"type\":\"query\",\"id\":\"1\",\"x\":{deep}\n").as_bytes(),
            );
            assert_eq!(got.iter().map(code).collect::<Vec<_>>(), ["NotAMessage", "NotAMessage"]);
        }
        let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
        let line = format!("{{\"type\":\"query\",\"id\":\"1\",\"x\":{open}{close}}}\n");
        assert_eq!(all(&mut inbox(), line.as_bytes()), [Ok(FromHost::Query { id: "1".to_owned() })]);
    }
}
