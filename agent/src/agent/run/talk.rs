//! The reports, the port and the control socket in the loop: who is told what and when, and what they say.
//!
//! Performs what `report` and `protocol` decide.

#![forbid(unsafe_code)]

use std::time::Duration;

use tracing::warn;

use super::{CONTROL, HOST, OBJECT, Running, Stopping};
use crate::agent::chain;
use crate::protocol::{self, Answer, FromHost, Sent};
use crate::report::{Report, Stage};
use crate::sys::caller;
use crate::sys::clock::now;
use crate::sys::poll::Ready;
use crate::transport::digest;
use crate::watch::Request;

/// So many requests to read everything again are kept while they cannot be met.
const MOST_RELOADS: usize = 64;

/// The last document that the host has sent: by which name, its digest, and what came of it.
pub(super) struct Asked {
    id: String,
    digest: String,
    answer: Option<Answer>,
}

impl Running {
    /// Changes the report and, if that is news, says it.
    pub(super) fn report(&mut self, change: impl FnOnce(&mut Report)) {
        let stopping = self.stopping.as_ref().and_then(Stopping::stage);
        let news = self.reporter.update(now(), |report| {
            change(report);
            // Whatever else happens meanwhile.
            report.stage = stopping.unwrap_or(report.stage);
        });
        if news {
            self.said();
        }
    }

    /// Says the report to everybody who is to hear it when it changes.
    pub(super) fn said(&mut self) {
        if let Some(path) = &self.options.report
            && let Err(error) = caller::write(path, &protocol::line(self.reporter.report()), false)
        {
            warn!("{}", chain(&error));
        }
        self.tell_reporters();
        self.follow_target();
        self.tell_bus();
        self.say();
    }

    /// Says the report to the host and to whoever is connected here.
    pub(super) fn say(&mut self) {
        for client in self.control.clients.values_mut() {
            client.outbox.report();
        }
        self.tell_host();
    }

    /// Says the report to the host, who may have heard it before.
    pub(super) fn tell_host(&mut self) {
        if let Some(link) = &mut self.link {
            link.outbox.report();
        }
        self.write();
    }

    /// Brings the times in the report up to date; they are no news, but whoever is told should be told the right ones.
    fn refresh(&mut self) {
        let now = now();
        let waiting = self.waiting.as_ref().filter(|_| self.reporter.report().stage != Stage::Configuring);
        let gates = waiting.map(|waiting| (waiting.gates.unmet(now), waiting.gates.left(now)));
        let stop = self.stopping.as_ref().filter(|it| it.stage().is_some()).map(|it| it.left(now));
        self.reporter.note(|report| {
            report.uptime_ms = now.as_millis() as u64;
            if let Some(left) = stop {
                report.deadline_ms = left.map(|left| left.as_millis() as u64);
            }
            if let Some((unmet, left)) = gates {
                report.unmet = unmet;
                report.deadline_ms = left.map(|left| left.as_millis() as u64);
            }
        });
    }

    pub(super) fn port_event(&mut self, ready: Ready) {
        let Some(link) = &mut self.link else { return };
        if link.event(ready) {
            self.reporter.new_host(now());
            self.tell_host();
        }
        self.write();
        self.listen();
    }

    /// Reads what the host has said, in turns with everything else, and answers.
    pub(super) fn listen(&mut self) {
        self.link.iter_mut().for_each(|link| link.begin());
        while let Some(link) = &mut self.link {
            match link.next() {
                Ok(Some(message)) => self.heard(HOST, message),
                Ok(None) => break,
                Err(error) => return self.lost_port(&error),
            }
        }
        self.write();
    }

    /// Somebody has said something: the host, or a client of the control socket.
    pub(super) fn heard(&mut self, from: u64, message: Result<FromHost, Answer>) {
        match message {
            Ok(FromHost::Ack { boot, session, seq }) => {
                if from == HOST {
                    self.reporter.acknowledged(&boot, &session, seq);
                }
            }
            Ok(FromHost::Query { id }) => self.answer(from, Answer::ok(id)),
            Ok(FromHost::Times { id }) if from == HOST => self.answer(from, Answer::unknown(id)),
            Ok(FromHost::Times { id }) => {
                self.note_gates();
                let times = Some(self.times.to_text());
                self.answer(from, Answer { times, ..Answer::ok(id) });
            }
            Ok(FromHost::Stop { id, boot: Some(boot), .. }) if boot != self.reporter.report().boot => {
                let message = "this is another boot than the one that was to be stopped";
                self.answer(from, Answer::refused(id, "OtherBoot", message.to_owned()));
            }
            Ok(FromHost::Stop { id, action, deadline_ms, .. }) => {
                self.stop(from, id, action, Duration::from_millis(deadline_ms));
            }
            Ok(FromHost::Environment(Sent { id, .. }) | FromHost::Reload { id }) if self.is_stopping() => {
                self.too_late(vec![Request { from, id }]);
            }
            Ok(FromHost::Environment(sent)) => self.environment(from, sent),
            Ok(FromHost::Reload { id }) => self.wants_reload(Request { from, id }),
            Err(answer) => self.answer(from, answer),
        }
    }

    /// A document is applied when its turn comes, and answered then; one that is sent once more is not applied once more. Once more
    /// is by the same name and the same text: there are hosts that count from 1 whenever they start.
    fn environment(&mut self, from: u64, sent: Sent) {
        let request = Request { from, id: sent.id.clone() };
        if from == HOST {
            let digest = digest(sent.document.as_bytes());
            if let Some(asked) = &self.asked
                && (&asked.id, &asked.digest) == (&request.id, &digest)
            {
                if let Some(answer) = asked.answer.clone() {
                    self.answer(from, answer);
                }
                return;
            }
            self.asked = Some(Asked { id: request.id.clone(), digest, answer: None });
        }
        if let Some(old) = self.watch.sent(request.clone(), sent).filter(|old| *old != request) {
            let message = "a newer document came before this one was begun with".to_owned();
            self.answer(old.from, Answer::refused(old.id, "Superseded", message));
        }
    }

    fn wants_reload(&mut self, request: Request) {
        let waiting = self.watch.reloads();
        if waiting.contains(&request) {
            return;
        }
        if waiting.len() < MOST_RELOADS {
            return self.watch.reload(Some(request));
        }
        let message =
            format!("{MOST_RELOADS} others wait for the same; ask again when one of them is answered");
        self.answer(request.from, Answer::refused(request.id, "Busy", message));
    }

    /// Answers a request; where it was done, after a report of how things stand then. It is said before the next wait.
    pub(super) fn answer(&mut self, from: u64, answer: Answer) {
        if from == HOST
            && let Some(asked) = self.asked.as_mut().filter(|asked| asked.id == answer.to)
        {
            asked.answer = Some(answer.clone());
        }
        let outbox = match from {
            HOST => self.link.as_mut().map(|link| &mut link.outbox),
            OBJECT => return self.answer_bus(&answer),
            // One who asked and left is not answered.
            client => self.control.clients.get_mut(&client).map(|client| &mut client.outbox),
        };
        if let Some(outbox) = outbox {
            if answer.ok {
                outbox.report();
            }
            outbox.answer(answer);
        }
    }

    /// The control socket, or one who is connected to it, has something.
    pub(super) fn control(&mut self, token: u64) {
        if token == CONTROL {
            self.control.accept(&self.poll);
        } else {
            self.write();
            self.control.begin(token);
            while let Some(message) = self.control.next(token) {
                self.heard(token, message);
            }
        }
        self.write();
    }

    /// Says what there is to be said, as far as it is taken.
    pub(super) fn write(&mut self) {
        let has_news = self.link.as_ref().is_some_and(|link| link.has_host() && !link.outbox.is_empty());
        if !has_news && self.control.clients.values().all(|client| client.outbox.is_empty()) {
            return;
        }
        self.refresh();
        self.control.write(self.reporter.report());
        let report = self.reporter.report();
        if let Some(Err(error)) = self.link.as_mut().map(|link| link.write(report)) {
            self.lost_port(&error);
        }
    }
}
