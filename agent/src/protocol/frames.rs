//! Messages as bytes: what is read until it is one, and what is said until it is written.
//!
//! Decides where a frame begins and ends, how long one may be, and what waits to be said. What a line means is decided in
//! `protocol`.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use zeroize::Zeroizing;

use super::{Answer, FRAME_LIMIT, FromGuest, FromHost, message};
use crate::report::Report;

/// With so many answers waiting to be said, or so many bytes of them, nothing more is read, so none is lost and none is too many.
const ANSWER_LIMIT: usize = 64;
const BYTES_LIMIT: usize = 64 * 1024;

/// Puts a message into its frame.
fn frame(message: &FromGuest) -> Vec<u8> {
    let mut frame = vec![b'\n'];
    serde_json::to_writer(&mut frame, message).expect("messages are plain data");
    frame.push(b'\n');
    frame
}

/// A report's frame, with the newlines that the wire wants. Where it would be too long, its lists and the id are halved until
/// it is not.
fn report_frame(report: &Report) -> Vec<u8> {
    let mut report = Box::new(report.clone());
    loop {
        let message = FromGuest::Report(report);
        let frame = frame(&message);
        if frame.len() <= FRAME_LIMIT {
            return frame;
        }
        let FromGuest::Report(long) = message else { return frame };
        report = long;
        report.changed.truncate(report.changed.len() / 2);
        report.unmet.truncate(report.unmet.len() / 2);
        if report.id.len() > 4096 {
            report.id.truncate(report.id.floor_char_boundary(report.id.len() / 2));
        }
    }
}

/// A report as a line of a file, in the words in which the platform is told it.
pub fn line(report: &Report) -> Vec<u8> {
    report_frame(report).trim_ascii_start().to_vec()
}

/// Bytes from the host on their way to becoming messages.
pub struct Inbox {
    line: Zeroizing<Vec<u8>>,
    limit: usize,
    overlong: bool,
}

impl Inbox {
    /// Takes lines of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { line: Zeroizing::default(), limit, overlong: false }
    }

    /// Takes bytes as far as the first line that says something, and gives that: a message, or the answer to what was
    /// none. The rest stays in `bytes`.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Option<Result<FromHost, Answer>> {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.line.len() + piece.len() > self.limit {
                self.overlong = true;
                self.line = Zeroizing::default();
            }
            if !self.overlong {
                self.room(piece.len());
                self.line.extend_from_slice(piece);
            }
            *bytes = rest.get(1..).unwrap_or_default();
            if end.is_some()
                && let Some(message) = self.end_of_line()
            {
                return Some(message);
            }
        }
        None
    }

    /// The host is away: what it began to say has no end.
    pub fn reset(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Has room for so many more bytes: twice as much as before, but no more than the limit, for what is dropped is wiped whole.
    fn room(&mut self, more: usize) {
        let (needed, line) = (self.line.len() + more, &mut self.line);
        if needed > line.capacity() {
            let capacity = (2 * line.capacity()).clamp(needed, self.limit.max(needed));
            let grows_by = capacity - line.len();
            line.reserve_exact(grows_by);
        }
    }

    fn end_of_line(&mut self) -> Option<Result<FromHost, Answer>> {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.overlong) {
            let message = format!("a line is longer than {} bytes", self.limit);
            return Some(Err(Answer::refused(String::new(), "LineTooLong", message)));
        }
        let line = line.trim_ascii();
        (!line.is_empty()).then(|| message(line))
    }
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
        self.answers.push_back(frame(&FromGuest::Answer(answer)));
    }

    /// Whether so many answers wait to be said that nothing more should be asked.
    pub fn is_full(&self) -> bool {
        let bytes: usize = self.answers.iter().map(Vec::len).sum();
        self.answers.len() >= ANSWER_LIMIT || bytes >= BYTES_LIMIT
    }

    /// Drops the oldest answer if there are too many.
    pub fn make_room(&mut self) {
        if self.is_full() {
            self.answers.pop_front();
        }
    }

    /// Whether there is nothing to be said.
    pub fn is_empty(&self) -> bool {
        !self.report && self.answers.is_empty() && self.written == self.current.len()
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
    use super::{ANSWER_LIMIT, Outbox, frame, report_frame};
    use crate::protocol::tests::{all, code, inbox};
    use crate::protocol::{Answer, FRAME_LIMIT, FromGuest, FromHost, LINE_LIMIT};
    use crate::report::tests::sample;

    fn ack(seq: u64) -> FromHost {
        FromHost::Ack { boot: "b".to_owned(), session: "s".to_owned(), seq }
    }

    #[test]
    fn lines_become_messages_however_they_are_cut() {
        let text = b"\n{\"type\":\"ack\",\"boot\":\"b\",\"session\":\"s\",\"seq\":7}\n\n{\"type\":\"query\",\"id\":\"1\"}\n";
        for size in [1, 2, 7, text.len()] {
            let mut inbox = inbox();
            let messages: Vec<_> = text.chunks(size).flat_map(|chunk| all(&mut inbox, chunk)).collect();
            assert_eq!(
                messages,
                [Ok(ack(7)), Ok(FromHost::Query { id: "1".to_owned() })],
                "in chunks of {size}"
            );
        }
    }

    #[test]
    fn an_overlong_line_is_refused_and_the_next_is_read() {
        let mut inbox = inbox();
        let piece = vec![b'x'; LINE_LIMIT / 4];
        for _ in 0..5 {
            assert!(all(&mut inbox, &piece).is_empty());
            assert!(inbox.line.capacity() <= LINE_LIMIT, "memory is bounded");
        }
        assert_eq!(inbox.line.capacity(), 0, "and given back as soon as it is known to be in vain");
        let got = all(&mut inbox, b"x\n{\"type\":\"query\",\"id\":\"2\"}\n");
        assert_eq!(code(&got[0]), "LineTooLong");
        assert_eq!(got[1], Ok(FromHost::Query { id: "2".to_owned() }));
    }

    #[test]
    fn half_a_line_is_forgotten_when_the_host_leaves() {
        let mut inbox = inbox();
        assert!(all(&mut inbox, b"{\"type\":").is_empty());
        inbox.reset();
        assert_eq!(all(&mut inbox, b"{\"type\":\"query\",\"id\":\"3\"}\n").len(), 1);
    }

    /// Frames of which the end is missing, with anything between them, in pieces of any size: nothing is taken but what was said
    /// whole, in that order, and a frame that was said whole always is. A beginning is missing only where reading begins (an
    /// agent that was killed lost what it had not read): behind a missing end, the two together could be well-formed.
    #[test]
    fn whatever_is_torn_no_whole_frame_is_lost_and_no_torn_one_taken() {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        // Marsaglia's xorshift64: the same numbers each time.
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as usize % below
        };
        let (mut lost, mut torn) = (0, 0);
        for round in 0..20_000 {
            // Each frame's id, and whether it must be taken, or must not; one that lacks its newline alone may be.
            let (mut bytes, mut said) = (Vec::new(), Vec::new());
            for number in 0..1 + random(8) {
                let id = format!("{round}-{number}");
                let frame = match random(4) {
                    0 => format!("\n{{\"type\":\"query\",\"id\":\"{id}\"}}\n"),
                    1 => format!(
                        "\n{{\"type\":\"reload\",\"id\":\"{id}\",\"x\":{{\"id\":\"no\",\"type\":\"query\"}}}}\n"
                    ),
                    2 => format!(
                        "\n{{\"type\":\"environment\",\"id\":\"{id}\",\"document\":\"<a>\\n{{\\\"type\\\":1}}</a>\"}}\n"
                    ),
                    _ => format!("\n{{\"id\":\"{id}\",\"type\":\"query\"}}\n"),
                };
                let (begin, end) = match random(4) {
                    0 => (0, random(frame.len())),
                    1 if number == 0 => (2 + random(frame.len() - 2), frame.len()),
                    _ => (0, frame.len()),
                };
                bytes.extend_from_slice(&frame.as_bytes()[begin..end]);
                let must = match (begin, frame.len() - end) {
                    (0, 0) => Some(true),
                    (0, 1) => None,
                    _ => Some(false),
                };
                torn += usize::from(must == Some(false));
                said.push((id, must));
                if random(8) == 0 {
                    let noise = (0..random(40)).map(|_| random(256) as u8);
                    // What could make a whole frame of a torn one would be no noise.
                    bytes.extend(noise.filter(|byte| !b"\"}".contains(byte)));
                }
            }
            let (mut inbox, mut taken, mut rest) = (inbox(), Vec::new(), &bytes[..]);
            while !rest.is_empty() {
                let (piece, others) = rest.split_at(1 + random(rest.len().min(200)));
                for message in all(&mut inbox, piece) {
                    match message {
                        Ok(FromHost::Query { id } | FromHost::Reload { id }) => taken.push(id),
                        Ok(FromHost::Environment(sent)) => taken.push(sent.id),
                        Ok(FromHost::Ack { .. } | FromHost::Stop { .. } | FromHost::Times { .. }) => {
                            panic!("nobody said so")
                        }
                        Err(_) => lost += 1,
                    }
                }
                rest = others;
            }
            let mut next = taken.iter().peekable();
            for (id, must) in said {
                let is_taken = next.next_if(|it| **it == id).is_some();
                assert!(
                    must.is_none_or(|must| must == is_taken),
                    "{id}: {:?}",
                    String::from_utf8_lossy(&bytes)
                );
            }
            assert_eq!(next.next(), None, "{:?}", String::from_utf8_lossy(&bytes));
        }
        assert!(torn > 20_000 && lost > 10_000, "{torn} were torn, and {lost} lines refused");
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
    fn who_takes_no_answers_is_full_of_them() {
        let mut outbox = Outbox::default();
        let answers = (0..).take_while(|id: &u32| {
            outbox.answer(Answer::ok(id.to_string()));
            !outbox.is_full()
        });
        assert_eq!(answers.count() + 1, ANSWER_LIMIT);
        let bytes = outbox.pending(&sample()).len();
        outbox.wrote(bytes);
        assert!(!outbox.is_full() && !outbox.is_empty());
    }

    #[test]
    fn a_report_is_cut_before_its_line_is_too_long() {
        let mut report = sample();
        report.id = "ü".repeat(1 << 20);
        report.changed = vec!["/etc/".repeat(100); 10_000];
        let frame = report_frame(&report);
        assert!(frame.len() <= FRAME_LIMIT, "{}", frame.len());
        let FromGuest::Report(said) = serde_json::from_slice(&frame).expect("a frame") else { panic!() };
        assert!(!said.changed.is_empty() && said.id.starts_with('ü'), "as much as there is room for");
    }
}
