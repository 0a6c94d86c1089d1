//! The platform's end of a guest's port.
//!
//! Decides what is taken from a guest and what is said to it: reports, of which the newest is acknowledged, and answers to
//! requests. A guest is not trusted: a line has a longest, and a report of another guest or in words that the protocol
//! does not have is an offence. Whether that ends a start is for `deploy`.
//!
//! The rule: docs/protocol.md. Nothing here blocks; whoever polls says when there is something to read or room to write.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use ovf_agent::protocol::{Answer, FRAME_LIMIT, FromGuest, FromHost, Report, Stage, VERSIONS};
use zeroize::Zeroizing;

use crate::finding::quoted;

/// What a guest has said.
#[derive(Debug)]
pub enum Heard {
    /// How it stands.
    Report(Box<Report>),
    /// The answer to a request.
    Answer(Answer),
    /// What no guest may say, in words for people.
    Offence(String),
}

/// A port that is connected.
#[derive(Debug)]
pub struct Port {
    stream: UnixStream,
    /// The guest that is meant to be at the other end.
    id: String,
    pending: Vec<u8>,
    /// A line was too long, and its end has not come.
    is_skipping: bool,
    /// Frames that are to be written, and how much of the first one is. A document may be among them.
    out: VecDeque<Zeroizing<Vec<u8>>>,
    written: usize,
    /// Of the newest report; an older one is nobody's concern.
    ack: Option<FromHost>,
}

impl Port {
    /// The port of the guest with this id.
    ///
    /// # Errors
    /// The stream cannot be made not to block.
    pub fn new(stream: UnixStream, id: &str) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            id: id.to_owned(),
            pending: Vec::new(),
            is_skipping: false,
            out: VecDeque::new(),
            written: 0,
            ack: None,
        })
    }

    /// Says something, as soon as there is room.
    pub fn say(&mut self, message: &FromHost) {
        self.out.push_back(frame(message));
    }

    /// Whether there is something to write.
    pub fn has_more(&self) -> bool {
        self.ack.is_some() || !self.out.is_empty()
    }

    /// Writes as much as there is room for.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn write(&mut self) -> io::Result<()> {
        while self.has_more() {
            if self.out.is_empty()
                && let Some(ack) = self.ack.take()
            {
                self.out.push_back(frame(&ack));
            }
            let Some(first) = self.out.front() else { break };
            match self.stream.write(&first[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.written == first.len() {
                self.out.pop_front();
                self.written = 0;
            }
        }
        Ok(())
    }

    /// Reads what there is, at most so much that other guests are not forgotten.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn read(&mut self) -> io::Result<Vec<Heard>> {
        let mut heard = Vec::new();
        let mut buffer = [0; 64 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.take(&buffer[..count], &mut heard),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(heard)
    }

    fn take(&mut self, bytes: &[u8], heard: &mut Vec<Heard>) {
        for piece in bytes.split_inclusive(|&it| it == b'\n') {
            let (line, is_whole) = match piece.split_last() {
                Some((b'\n', line)) => (line, true),
                _ => (piece, false),
            };
            if !self.is_skipping {
                self.pending.extend_from_slice(line);
                if self.pending.len() > FRAME_LIMIT {
                    self.pending = Vec::new();
                    self.is_skipping = true;
                    heard.push(Heard::Offence(format!("it says a line of more than {FRAME_LIMIT} bytes")));
                }
            }
            if is_whole {
                if !self.is_skipping {
                    heard.extend(self.message());
                }
                self.pending.clear();
                self.is_skipping = false;
            }
        }
    }

    /// The message in the line that has come. What is no object was torn, and means nothing.
    fn message(&mut self) -> Option<Heard> {
        let any: serde_json::Value =
            serde_json::from_slice(&self.pending).ok().filter(serde_json::Value::is_object)?;
        let kind = any["type"].as_str().unwrap_or_default().to_owned();
        if kind == "report" {
            let speaks = |end: &str| any["protocol"][end].as_u64();
            let (min, max) = (speaks("min").unwrap_or(0), speaks("max").unwrap_or(0));
            if u64::from(VERSIONS.max) < min || u64::from(VERSIONS.min) > max {
                let message =
                    format!("it speaks versions {min} to {max} of the protocol, and this ovf-host version 1");
                return Some(Heard::Offence(message));
            }
        }
        // What this version does not know is for another host.
        if !matches!(kind.as_str(), "report" | "answer") {
            return None;
        }
        match serde_json::from_value(any) {
            Ok(FromGuest::Answer(answer)) => Some(Heard::Answer(answer)),
            Ok(FromGuest::Report(report)) if !report.id.is_empty() && report.id != self.id => {
                let message = format!(
                    "it calls itself {}; it was given another guest's environment",
                    quoted(&report.id)
                );
                Some(Heard::Offence(message))
            }
            Ok(FromGuest::Report(report)) if report.ready != (report.stage == Stage::Ready) => {
                let ready = if report.ready { "ready" } else { "not ready" };
                let stage = report.stage.as_str();
                Some(Heard::Offence(format!("it says that it is {ready}, and that its stage is `{stage}`")))
            }
            Ok(FromGuest::Report(report)) => {
                let (boot, session) = (report.boot.clone(), report.session.clone());
                self.ack = Some(FromHost::Ack { boot, session, seq: report.seq });
                Some(Heard::Report(report))
            }
            // The parser quotes what it read, however long that is.
            Err(error) => {
                Some(Heard::Offence(format!("it says a {kind} that is none: {}", quoted(&error.to_string()))))
            }
        }
    }
}

fn frame(message: &FromHost) -> Zeroizing<Vec<u8>> {
    let mut frame = vec![b'\n'];
    serde_json::to_writer(&mut frame, message).expect("memory takes everything");
    frame.push(b'\n');
    Zeroizing::new(frame)
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests;
