//! The reports, the port and the control socket in the loop: who is told what and when, and what they say.
//!
//! Performs what `report` and `protocol` decide.

#![forbid(unsafe_code)]

use std::time::Duration;

use tracing::warn;

use super::{CONTROL, HOST, PORT, Running, Stopping};
use crate::agent::chain;
use crate::agent::link::Link;
use crate::protocol::{self, Answer, FromHost, Sent};
use crate::report::Report;
use crate::sys::caller;
use crate::sys::clock::now;
use crate::sys::poll::Ready;
use crate::watch::Request;

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
        self.say();
    }

    /// Says the report to the host and to whoever is connected here.
    pub(super) fn say(&mut self) {
        self.refresh();
        if let Some(link) = &mut self.link {
            link.outbox.report();
        }
        self.write();
        for client in self.control.clients.values_mut() {
            client.outbox.report();
        }
        self.control.write(self.reporter.report());
    }

    /// Brings the times in the report up to date; they are no news, but whoever is told should be told the right ones.
    fn refresh(&mut self) {
        let now = now();
        let gates = self.waiting.as_ref().map(|waiting| (waiting.gates.unmet(now), waiting.gates.left(now)));
        let stop = self.stopping.as_ref().filter(|it| it.stage().is_some()).map(|it| it.left(now));
        self.reporter.note(|report| {
            report.uptime_ms = now.as_millis() as u64;
            if let Some(left) = stop {
                report.deadline_ms = left.map(|left| left.as_millis() as u64);
            }
            if let Some((unmet, left)) = gates {
                report.unmet = unmet;
                report.deadline_ms = Some(left.as_millis() as u64);
            }
        });
    }

    /// Opens the port if it is there and not open yet.
    pub(super) fn open_port(&mut self) {
        if self.link.is_none() {
            match Link::open(&self.root, &self.poll, PORT) {
                Ok(link) => self.link = link,
                Err(error) => warn!("no reports to the platform: {}", chain(&error)),
            }
        }
    }

    pub(super) fn port_event(&mut self, ready: Ready) {
        let Some(link) = &mut self.link else { return };
        if link.event(ready) {
            self.reporter.new_host(now());
            self.say();
        }
        self.listen();
    }

    /// Reads what the host has said, in turns with everything else, and answers.
    pub(super) fn listen(&mut self) {
        let Some(link) = &mut self.link else { return };
        match link.read() {
            Ok(messages) => messages.into_iter().for_each(|message| self.heard(HOST, message)),
            Err(error) => return self.lost_port(&error),
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
            Ok(FromHost::Stop { id, action, deadline_ms }) => {
                self.stop(from, id, action, Duration::from_millis(deadline_ms));
            }
            Ok(FromHost::Environment(Sent { id, .. }) | FromHost::Reload { id }) if self.is_stopping() => {
                self.too_late(vec![Request { from, id }]);
            }
            Ok(FromHost::Environment(sent)) => self.environment(from, sent),
            Ok(FromHost::Reload { id }) => self.watch.reload(Some(Request { from, id })),
            Err(answer) => self.answer(from, answer),
        }
    }

    /// A document is applied when its turn comes, and answered then; one that is sent once more is not applied once more.
    fn environment(&mut self, from: u64, sent: Sent) {
        let request = Request { from, id: sent.id.clone() };
        if let Some(answer) = self.answered.clone().filter(|answer| from == HOST && answer.to == request.id) {
            return self.answer(from, answer);
        }
        if self.passing.as_ref().is_some_and(|passing| passing.requests.contains(&request)) {
            return;
        }
        if let Some(old) = self.watch.sent(request.clone(), sent).filter(|old| *old != request) {
            let message = "a newer document came before this one was begun with".to_owned();
            self.answer(old.from, Answer::refused(old.id, "Superseded", message));
        }
    }

    /// Answers a request; where it was done, after a report of how things stand then.
    pub(super) fn answer(&mut self, from: u64, answer: Answer) {
        if answer.ok {
            self.refresh();
        }
        let outbox = match from {
            HOST => self.link.as_mut().map(|link| &mut link.outbox),
            // One who asked and left is not answered.
            client => self.control.clients.get_mut(&client).map(|client| &mut client.outbox),
        };
        if let Some(outbox) = outbox {
            if answer.ok {
                outbox.report();
            }
            outbox.answer(answer);
        }
        self.write();
        self.control.write(self.reporter.report());
    }

    /// The control socket, or one who is connected to it, has something.
    pub(super) fn control(&mut self, token: u64) {
        if token == CONTROL {
            self.control.accept(&self.poll);
            return self.say();
        }
        for message in self.control.read(token) {
            self.heard(token, message);
        }
        self.control.write(self.reporter.report());
    }

    fn write(&mut self) {
        let report = self.reporter.report();
        if let Some(Err(error)) = self.link.as_mut().map(|link| link.write(report)) {
            self.lost_port(&error);
        }
    }

    /// The port is gone; one of its name may come again.
    fn lost_port(&mut self, error: &std::io::Error) {
        if let Some(link) = self.link.take() {
            warn!(port = %link.path.display(), "the port is gone: {error}");
        }
    }
}
