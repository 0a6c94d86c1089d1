//! Those who hold the guest back, in the loop: each has a line to us, and holds until nobody has its other end any more.
//!
//! Decides how many there may be. A holder that dies has let go, as with logind's inhibitors, and it does not matter to a hold
//! whether the bus is still there (docs/decisions/014). What is said of a hold is decided in `ready::gates::hold`.

#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use tracing::debug;

use super::{HOLD, Running};
use crate::bus::object::{Refusal, error};
use crate::ready::Hold;
use crate::sys::clock::now;
use crate::sys::poll::{Ready, line};

/// So many at a time.
const MOST: usize = 16;

/// Those who hold, with their tokens and our end of each line.
#[derive(Default)]
pub(super) struct Holds {
    all: Vec<(u64, Hold, OwnedFd)>,
    next: u64,
}

impl Running {
    /// Somebody holds the guest back for as long as the end that he is given is open.
    pub(super) fn begin_hold(&mut self, who: String, why: String) -> Result<OwnedFd, Refusal> {
        let hold = Hold::new(who, why, now()).map_err(|text| Refusal::new(error::ARGUMENTS, text))?;
        if self.holds.all.len() >= MOST {
            return Err(Refusal::new(error::LIMITS, format!("{MOST} others hold already")));
        }
        let token = HOLD + self.holds.next;
        let made = line().and_then(|(ours, theirs)| {
            self.poll.add(&ours, token)?;
            Ok((ours, theirs))
        });
        let (ours, theirs) =
            made.map_err(|error| Refusal::new(error::FAILED, format!("cannot wait for its end: {error}")))?;
        debug!(stage = "gates", "{} holds the guest back", hold.who());
        self.holds.next += 1;
        self.holds.all.push((token, hold, ours));
        self.hold_gates();
        Ok(theirs)
    }

    /// Somebody may have let go.
    pub(super) fn hold_event(&mut self, ready: Ready) {
        if ready.hangup
            && let Some(place) = self.holds.all.iter().position(|(token, ..)| *token == ready.token)
        {
            let (_, hold, _) = self.holds.all.remove(place);
            debug!(stage = "gates", "{} has let go", hold.who());
            self.hold_gates();
        }
    }

    /// The gates as they are with those who hold.
    fn hold_gates(&mut self) {
        self.tell_holds();
        self.try_gates();
    }

    /// Those who hold are gates of the guest.
    pub(super) fn tell_holds(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            let holds = self.holds.all.iter().map(|(_, hold, _)| hold.clone()).collect();
            waiting.gates.hold(holds, now());
        }
    }
}
