//! A source that does not tell of its changes: VMware, whose guestinfo can only be read again.
//!
//! Decides when that is, and that it is done only in a guest whose document came from there: any other has no timer. A document that
//! has changed is an event like a swapped disc, and so is one that cannot be read any more. Whether there is anything new is for
//! `looks`.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::Running;
use crate::sys::clock::Moment;
use crate::transport::Source;

impl Running {
    /// Has the source looked at, if it is time to, and finds out when it is the next time.
    pub(super) fn poll_source(&mut self, now: Moment) {
        // What is under way is over with an event.
        if !self.may_begin() {
            return;
        }
        let (Some(machine), Some(config)) = (&self.machine, &self.config) else { return };
        let is_polled = self.is_configured && self.looks.is_from(&Source::Guestinfo);
        let is_vmware = self.root.is_system() && machine.verdict.vm == "vmware";
        let every = if is_polled && is_vmware { config.transport.poll } else { Duration::ZERO };
        let (is_due, next) = due(self.poll_at, every, now);
        self.poll_at = next;
        if is_due {
            self.watch.device_event(now);
        }
    }
}

/// Whether it is time, and when it is the next time; `every` zero is never.
fn due(at: Option<Moment>, every: Duration, now: Moment) -> (bool, Option<Moment>) {
    if every.is_zero() {
        return (false, None);
    }
    let is_due = at.is_some_and(|at| at <= now);
    // From now on, not from when it should have been: a guest that slept for a day is asked once.
    let next = at.filter(|_| !is_due).unwrap_or(now + every).min(now + every);
    (is_due, Some(next))
}

#[cfg(test)]
mod tests {
    use super::due;
    use std::time::Duration;

    const fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn it_is_asked_at_intervals_or_never() {
        for (at, every, now, want) in [
            (None, 0, 100, (false, None)),
            (Some(50), 0, 100, (false, None)),
            (None, 30, 100, (false, Some(130))),
            (Some(130), 30, 129, (false, Some(130))),
            (Some(130), 30, 130, (true, Some(160))),
            (Some(130), 30, 90_000, (true, Some(90_030))),
            // Another configuration asks more often.
            (Some(3700), 30, 100, (false, Some(130))),
        ] {
            assert_eq!(due(at.map(s), s(every), s(now)), (want.0, want.1.map(s)), "{at:?} {every} {now}");
        }
    }
}
