//! How guest and platform talk over the virtio-serial port `org.ovf.agent.0`.
//!
//! Decides the messages and their frames: UTF-8 JSON, one object a line, each frame begun *and* ended by a newline.
//! Connections leave no mark in the byte stream, a guest's reboot does not end the host's, and a frame cut short must
//! never swallow the next; the leading newline sees to that. Pure: bytes in, messages out, and the other way round.
//! Memory is bounded whatever the host does: one report, the newest, and a few answers.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::report::{Failure, Part, Report, Versions};
use crate::sys::power::Action;

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
/// Answers that are kept while the host does not read; a host that asks on without reading gets no more.
const ANSWER_LIMIT: usize = 64;

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
}

impl Answer {
    /// It was done.
    pub fn ok(to: String) -> Self {
        Self { to, ok: true, error: None }
    }

    /// It was tried, and failed.
    pub fn failed(to: String, error: Failure) -> Self {
        Self { to, ok: false, error: Some(error) }
    }

    /// It was not understood, or is not done.
    pub fn refused(to: String, code: &str, message: String) -> Self {
        let failure = Failure { stage: Part::Agent, code: code.to_owned(), message, is_final: true };
        Self { to, ok: false, error: Some(failure) }
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
    /// It wants the machine to go down.
    Stop {
        /// Names the request, so that the answer can be told.
        id: String,
        /// How.
        action: Action,
        /// For how long hooks may hold it up, in milliseconds.
        deadline_ms: u64,
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

/// Puts a message into its frame.
fn frame(message: &FromGuest) -> Vec<u8> {
    let mut frame = vec![b'\n'];
    serde_json::to_writer(&mut frame, message).expect("messages are plain data");
    frame.push(b'\n');
    frame
}

/// A report's frame, with the newlines that the wire wants.
fn report_frame(report: &Report) -> Vec<u8> {
    frame(&FromGuest::Report(Box::new(report.clone())))
}

/// A report as a line of a file, in the words in which the platform is told it.
pub fn line(report: &Report) -> Vec<u8> {
    report_frame(report).trim_ascii_start().to_vec()
}

/// Bytes from the host on their way to becoming messages.
#[derive(Default)]
pub struct Inbox {
    line: Zeroizing<Vec<u8>>,
    overlong: bool,
}

impl Inbox {
    /// Takes bytes; gives what they complete: a message, or the answer to what was none.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Result<FromHost, Answer>> {
        let mut messages = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ended = piece.ends_with(b"\n");
            if self.line.len() + piece.len() > LINE_LIMIT {
                self.overlong = true;
                self.line = Zeroizing::default();
            }
            if !self.overlong {
                self.line.extend_from_slice(piece);
            }
            if ended {
                messages.extend(self.end_of_line());
            }
        }
        messages
    }

    /// The host is away: what it began to say has no end.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    fn end_of_line(&mut self) -> Option<Result<FromHost, Answer>> {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.overlong) {
            let message = format!("a line is longer than {LINE_LIMIT} bytes");
            return Some(Err(Answer::refused(String::new(), "LineTooLong", message)));
        }
        let line = line.trim_ascii();
        (!line.is_empty()).then(|| message(line))
    }
}

/// The fields of `ack`, `query`, `reload` and `stop`.
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
        let message = "a line is no JSON object with a type";
        return Err(Answer::refused(String::new(), "NotAMessage", message.to_owned()));
    };
    let fields = || serde_json::from_slice::<Fields>(line).ok();
    let message = match &*kind {
        "ack" => {
            fields().and_then(|it| Some(FromHost::Ack { boot: it.boot?, session: it.session?, seq: it.seq? }))
        }
        "query" => fields().and_then(|it| Some(FromHost::Query { id: it.id? })),
        "reload" => fields().and_then(|it| Some(FromHost::Reload { id: it.id? })),
        "environment" => serde_json::from_slice(line).ok().map(FromHost::Environment),
        STOP => match fields().and_then(|it| Some((it.id?, it.action?, it.deadline_ms))) {
            Some((id, action, deadline_ms)) => return stop(id, &action, deadline_ms),
            None => None,
        },
        _ => {
            let message =
                "the type of this message is not known; there are ack, query, environment, reload and stop"
                    .to_owned();
            return Err(Answer::refused(id.into_owned(), "UnknownRequest", message));
        }
    };
    message.ok_or_else(|| {
        let message = format!("a message of type {kind} lacks a field, or one has another type");
        Answer::refused(id.into_owned(), "BadRequest", message)
    })
}

fn stop(id: String, action: &str, deadline_ms: Option<u64>) -> Result<FromHost, Answer> {
    let Some(action) = Action::ALL.into_iter().find(|it| it.as_str() == action) else {
        let message = "the action of a stop is none that is known; there are poweroff, reboot and halt";
        return Err(Answer::refused(id, "UnknownAction", message.to_owned()));
    };
    let deadline_ms = deadline_ms.unwrap_or(STOP_DEADLINE.as_millis() as u64);
    Ok(FromHost::Stop { id, action, deadline_ms })
}

/// Frames on their way to the host.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The frame that is being written; once begun it is ended, unless the connection ends first.
    current: Vec<u8>,
    written: usize,
    /// Whether the report is to be said. It is put into words when its turn comes: the newest wins, and a host that asks
    /// a thousand times costs no more than it reads.
    report: bool,
    answers: VecDeque<Vec<u8>>,
}

impl Outbox {
    /// Says the report, as it is when its turn comes.
    pub fn report(&mut self) {
        self.report = true;
    }

    /// Says an answer.
    pub fn answer(&mut self, answer: Answer) {
        if self.answers.len() < ANSWER_LIMIT {
            self.answers.push_back(frame(&FromGuest::Answer(answer)));
        }
    }

    /// The bytes to be written next; none when all is said. `report` is the report as it stands.
    pub fn pending(&mut self, report: &Report) -> &[u8] {
        if self.written == self.current.len() {
            self.written = 0;
            self.current = if std::mem::take(&mut self.report) {
                report_frame(report)
            } else {
                self.answers.pop_front().unwrap_or_default()
            };
        }
        &self.current[self.written..]
    }

    /// So many of them have been written.
    pub fn wrote(&mut self, count: usize) {
        self.written += count;
    }

    /// The connection is gone, and with it all that was being said; what was said may be lost too.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, FromGuest, FromHost, Inbox, LINE_LIMIT, Outbox, frame};
    use crate::report::tests::sample;
    use crate::sys::power::Action;

    fn ack(seq: u64) -> FromHost {
        FromHost::Ack { boot: "b".to_owned(), session: "s".to_owned(), seq }
    }

    #[test]
    fn lines_become_messages_however_they_are_cut() {
        let text = b"\n{\"type\":\"ack\",\"boot\":\"b\",\"session\":\"s\",\"seq\":7}\n\n{\"type\":\"query\",\"id\":\"1\"}\n";
        for size in [1, 2, 7, text.len()] {
            let mut inbox = Inbox::default();
            let messages: Vec<_> = text.chunks(size).flat_map(|chunk| inbox.take(chunk)).collect();
            assert_eq!(
                messages,
                [Ok(ack(7)), Ok(FromHost::Query { id: "1".to_owned() })],
                "in chunks of {size}"
            );
        }
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
        ] {
            let mut inbox = Inbox::default();
            let got = inbox.take(format!("{line}\n").as_bytes());
            let [Err(Answer { to: got_to, ok: false, error: Some(failure) })] = &got[..] else {
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
        let mut messages = Inbox::default().take(line.as_bytes());
        let Some(Ok(FromHost::Environment(sent))) = messages.pop() else { panic!("{messages:?}") };
        assert_eq!((&*sent.id, &**sent.document), ("8", "<a>\nä \"s3cret\"</a>"));
        assert_eq!(format!("{sent:?}"), "Sent(\"8\", 19 bytes)");
    }

    #[test]
    fn a_stop_has_an_action_and_a_deadline_of_its_own_or_the_usual() {
        for (fields, action, deadline_ms) in [
            (r#""action":"poweroff""#, Action::PowerOff, 180_000),
            (r#""action":"reboot","deadline_ms":null"#, Action::Reboot, 180_000),
            (r#""action":"halt","deadline_ms":0"#, Action::Halt, 0),
        ] {
            let line = format!("{{\"type\":\"stop\",\"id\":\"9\",{fields}}}\n");
            let want = FromHost::Stop { id: "9".to_owned(), action, deadline_ms };
            assert_eq!(Inbox::default().take(line.as_bytes()), [Ok(want)], "{line}");
        }
    }

    #[test]
    fn an_overlong_line_is_refused_and_the_next_is_read() {
        let mut inbox = Inbox::default();
        let piece = vec![b'x'; LINE_LIMIT / 4];
        for _ in 0..5 {
            assert!(inbox.take(&piece).is_empty());
        }
        assert!(inbox.line.len() <= LINE_LIMIT, "memory is bounded");
        let got = inbox.take(b"x\n{\"type\":\"query\",\"id\":\"2\"}\n");
        assert!(
            matches!(&got[0], Err(answer) if answer.error.as_ref().is_some_and(|e| e.code == "LineTooLong"))
        );
        assert_eq!(got[1], Ok(FromHost::Query { id: "2".to_owned() }));
    }

    #[test]
    fn half_a_line_is_forgotten_when_the_host_leaves() {
        let mut inbox = Inbox::default();
        assert!(inbox.take(b"{\"type\":").is_empty());
        inbox.reset();
        assert_eq!(inbox.take(b"{\"type\":\"query\",\"id\":\"3\"}\n").len(), 1);
    }

    #[test]
    fn the_newest_report_wins_but_a_frame_begun_is_ended() {
        let (mut outbox, mut said) = (Outbox::default(), Vec::new());
        let mut report = sample();
        outbox.report();
        let first = outbox.pending(&report)[..5].to_vec();
        outbox.wrote(5);
        said.extend(first);
        for seq in 1..=3 {
            report.seq = seq;
            outbox.report();
        }
        outbox.answer(Answer::ok("9".to_owned()));
        while !outbox.pending(&report).is_empty() {
            let piece = outbox.pending(&report).to_vec();
            outbox.wrote(piece.len());
            said.extend(piece);
        }
        let seqs: Vec<_> = String::from_utf8(said)
            .expect("frames are text")
            .split('\n')
            .filter(|line| !line.is_empty())
            .map(|line| match serde_json::from_str(line).expect(line) {
                FromGuest::Report(report) => report.seq.to_string(),
                FromGuest::Answer(answer) => answer.to,
            })
            .collect();
        assert_eq!(seqs, ["0", "3", "9"]);
    }

    #[test]
    fn a_frame_begins_and_ends_with_a_newline() {
        let frame = frame(&FromGuest::Report(Box::new(sample())));
        assert_eq!((frame.first(), frame.last()), (Some(&b'\n'), Some(&b'\n')));
        assert_eq!(frame.iter().filter(|byte| **byte == b'\n').count(), 2, "and has none inside");
    }

    #[test]
    fn answers_to_a_host_that_does_not_read_are_bounded() {
        let mut outbox = Outbox::default();
        for id in 0..10_000 {
            outbox.answer(Answer::ok(id.to_string()));
        }
        assert!(outbox.answers.len() <= super::ANSWER_LIMIT);
    }
}
