//! The reports and the port in the loop: who is told what and when, and what the host says.
//!
//! Performs what `report` and `protocol` decide.

#![forbid(unsafe_code)]

use tracing::warn;

use super::{PORT, Running};
use crate::agent::chain;
use crate::agent::link::Link;
use crate::protocol::{self, Answer, FromHost};
use crate::report::Report;
use crate::sys::caller;
use crate::sys::clock::now;
use crate::sys::poll::Ready;

impl Running {
    /// Changes the report and, if that is news, says it.
    pub(super) fn report(&mut self, change: impl FnOnce(&mut Report)) {
        if self.reporter.update(now(), change) {
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

    /// Says the report to the host.
    pub(super) fn say(&mut self) {
        self.refresh();
        if let Some(link) = &mut self.link {
            link.outbox.report();
        }
        self.write();
    }

    /// Brings the times in the report up to date; they are no news, but whoever is told should be told the right ones.
    fn refresh(&mut self) {
        let now = now();
        let gates = self.waiting.as_ref().map(|waiting| (waiting.gates.unmet(now), waiting.gates.left(now)));
        self.reporter.note(|report| {
            report.uptime_ms = now.as_millis() as u64;
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
            Ok(messages) => messages.into_iter().for_each(|message| self.answer(message)),
            Err(error) => return self.lost_port(&error),
        }
        self.write();
    }

    fn answer(&mut self, message: Result<FromHost, Answer>) {
        let answer = match message {
            Ok(FromHost::Ack { boot, session, seq }) => {
                return self.reporter.acknowledged(&boot, &session, seq);
            }
            Ok(FromHost::Query { id }) => Answer::ok(id),
            Err(answer) => answer,
        };
        if answer.ok {
            self.refresh();
        }
        if let Some(link) = &mut self.link {
            if answer.ok {
                link.outbox.report();
            }
            link.outbox.answer(answer);
        }
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
