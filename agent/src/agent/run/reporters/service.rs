//! The service manager, by sd_notify(3).
//!
//! Decides when it hears what: `STATUS=` with each change, `READY=1` once the first pass is over, `RELOADING=1` and `READY=1`
//! around each later one, and `STOPPING=1`. Nothing of it is left out, for these are edges: a manager that waits for one waits
//! for that one.

#![forbid(unsafe_code)]

use tracing::warn;

use super::teller::Teller;
use crate::agent::run::SERVICE;
use crate::notify::status;
use crate::report::Report;
use crate::sys::clock::{Moment, monotonic_us};
use crate::sys::poll::Poll;
use crate::sys::process;

/// The manager, and what it takes us to do.
pub(super) struct Service {
    teller: Teller,
    phase: Phase,
    status: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Up,
    Reloading,
}

impl Service {
    /// The one who started this process and wants to hear of it, if there is one.
    pub(super) fn of_this_process() -> Option<Self> {
        let address = process::take_notify_socket()?;
        let address = address.parse().inspect_err(|why| warn!("cannot use $NOTIFY_SOCKET: {why}")).ok()?;
        Some(Self::at(Teller::new("the service manager", SERVICE, address)))
    }

    fn at(teller: Teller) -> Self {
        Self { teller, phase: Phase::Starting, status: String::new() }
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.teller.next()
    }

    pub(super) fn go_on(&mut self, poll: &Poll, now: Moment) {
        self.teller.go_on(poll, now);
    }

    /// The report is news; what a person is shown of it may not be.
    pub(super) fn said(&mut self, report: &Report, now: Moment) {
        let status = status(report);
        if status != self.status {
            self.tell(&format!("STATUS={status}\n"), now);
            self.status = status;
        }
    }

    /// A pass begins. The first is part of the start.
    pub(super) fn reloading(&mut self, now: Moment) {
        if self.phase == Phase::Up {
            self.phase = Phase::Reloading;
            self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_us()), now);
        }
    }

    /// No pass is under way.
    pub(super) fn settled(&mut self, report: &Report, now: Moment) {
        if self.phase != Phase::Up {
            self.phase = Phase::Up;
            self.status = status(report);
            self.tell(&format!("READY=1\nSTATUS={}\n", self.status), now);
        }
    }

    /// The process is about to end.
    pub(super) fn stopping(&mut self, now: Moment) {
        self.tell("STOPPING=1\nSTATUS=stopping\n", now);
    }

    fn tell(&mut self, message: &str, now: Moment) {
        self.teller.tell(message.as_bytes().to_vec(), false, now);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    use super::{SERVICE, Service, Teller};
    use crate::report::tests::sample;
    use crate::report::{Report, Stage};
    use crate::sys::poll::Poll;

    /// All that has been said, a message a line.
    fn heard(manager: &UnixDatagram) -> String {
        let (mut said, mut buffer) = (String::new(), [0; 4096]);
        while let Ok(count) = manager.recv(&mut buffer) {
            said += &String::from_utf8_lossy(&buffer[..count]).replace('\n', ";");
            said += "\n";
        }
        said
    }

    #[test]
    fn a_manager_hears_of_the_start_of_each_pass_and_of_the_end() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        manager.set_nonblocking(true).expect("a socket");
        let poll = Poll::new().expect("epoll");
        let address = path.display().to_string().parse().expect("an address");
        let mut service = Service::at(Teller::new("the manager", SERVICE, address));
        let now = Duration::from_secs(1);
        let at = |stage| Report { stage, ..sample() };
        for stage in [Stage::Starting, Stage::Configuring, Stage::Configuring] {
            service.said(&at(stage), now);
            service.reloading(now);
        }
        service.settled(&at(Stage::Failed), now);
        service.settled(&at(Stage::Failed), now);
        service.go_on(&poll, now);
        assert_eq!(
            heard(&manager),
            "STATUS=starting: looking for the OVF environment;\nSTATUS=configuring;\nREADY=1;STATUS=failed;\n"
        );
        service.reloading(now);
        service.reloading(now);
        service.said(&at(Stage::Ready), now);
        service.settled(&at(Stage::Ready), now);
        service.stopping(now);
        service.go_on(&poll, now);
        let said = heard(&manager);
        let (first, rest) = said.split_once('\n').expect("messages");
        let usec = first.strip_prefix("RELOADING=1;MONOTONIC_USEC=").and_then(|rest| rest.strip_suffix(';'));
        assert!(usec.is_some_and(|usec| usec.parse::<u64>().is_ok_and(|usec| usec > 0)), "{first}");
        assert_eq!(rest, "STATUS=ready;\nREADY=1;STATUS=ready;\nSTOPPING=1;STATUS=stopping;\n");
        assert_eq!(service.next(), None, "nothing is left to be done");
    }
}
