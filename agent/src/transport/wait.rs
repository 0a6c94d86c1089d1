//! How long to look for a document before going on without one.
//!
//! Pure: times and sightings in, the next step out. The rule: a machine that is no VM is not waited for. A VM
//! without any optical drive may still get one, so it is given `wait`. A VM whose drives are empty, or hold somebody
//! else's disc, is given `settle` since the last new block device, because drives come one after the other. What
//! appears later is not lost, but it is no longer worth holding up the boot for.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::sys::clock::Moment;

/// The configured patience (`[transport.iso]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a first optical drive to appear.
    pub wait: Duration,
    /// Without a new block device, once there is a drive.
    pub settle: Duration,
}

/// A drive that does not know yet whether it has a disc gives no event when it does; look again after this long.
const PENDING_INTERVAL: Duration = Duration::from_millis(200);

/// What to do after a look that found no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Look again at this moment, or at the next block device event if that comes first.
    LookAt(Moment),
    /// Go on without a document.
    GiveUp,
}

/// A search under way.
#[derive(Debug)]
pub struct Search {
    patience: Patience,
    is_vm: bool,
    started: Moment,
    changed: Moment,
}

impl Search {
    /// Starts now.
    pub fn new(patience: Patience, is_vm: bool, now: Moment) -> Self {
        Self { patience, is_vm, started: now, changed: now }
    }

    /// A block device came or changed.
    pub fn device_event(&mut self, now: Moment) {
        self.changed = now;
    }

    /// What to do after a look that saw `drives` or not, of which some are still `pending`.
    pub fn next(&self, drives: bool, pending: bool, now: Moment) -> Next {
        let Patience { wait, settle } = self.patience;
        // However busily devices come and go, the boot is not held up for longer than either patience.
        let last = self.started + wait.max(settle);
        let until = match (self.is_vm, drives) {
            (false, _) => return Next::GiveUp,
            (true, false) => self.started + wait,
            (true, true) if pending => last,
            (true, true) => last.min(self.changed + settle),
        };
        if now >= until {
            Next::GiveUp
        } else if pending {
            Next::LookAt(until.min(now + PENDING_INTERVAL))
        } else {
            Next::LookAt(until)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Next, Patience, Search};
    use std::time::Duration;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_boot_waits_as_long_as_the_rule_says() {
        let patience = Patience { wait: ms(10_000), settle: ms(1000) };
        // When the search began, the last event, now, drives, pending; what next.
        for (is_vm, event, now, drives, pending, want) in [
            (false, None, 0, false, false, Next::GiveUp),
            (false, None, 0, true, false, Next::GiveUp),
            (true, None, 0, false, false, Next::LookAt(ms(10_000))),
            (true, None, 10_000, false, false, Next::GiveUp),
            (true, None, 0, true, false, Next::LookAt(ms(1000))),
            (true, None, 1000, true, false, Next::GiveUp),
            (true, Some(900), 1000, true, false, Next::LookAt(ms(1900))),
            (true, Some(9900), 9900, true, false, Next::LookAt(ms(10_000))),
            (true, Some(10_000), 10_000, true, false, Next::GiveUp),
            (true, None, 0, true, true, Next::LookAt(ms(200))),
            (true, None, 9900, true, true, Next::LookAt(ms(10_000))),
            (true, None, 10_000, true, true, Next::GiveUp),
        ] {
            let mut search = Search::new(patience, is_vm, ms(0));
            if let Some(event) = event {
                search.device_event(ms(event));
            }
            let what = format!("vm {is_vm}, event {event:?}, now {now}, drives {drives}, pending {pending}");
            assert_eq!(search.next(drives, pending, ms(now)), want, "{what}");
        }
    }

    #[test]
    fn no_patience_is_no_wait() {
        let search = Search::new(Patience { wait: ms(0), settle: ms(0) }, true, ms(5));
        assert_eq!(search.next(false, false, ms(5)), Next::GiveUp);
        assert_eq!(search.next(true, true, ms(5)), Next::GiveUp);
    }
}
