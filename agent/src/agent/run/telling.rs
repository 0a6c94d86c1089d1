//! The hooks of a guest that has become ready, in the loop.
//!
//! Performs what `ready_hooks` decides, beside everything else. Where the guest becomes ready again while they still run, those that
//! are due then come after them.

#![forbid(unsafe_code)]

use std::io;
use std::rc::Rc;

use tracing::warn;

use super::{HOOKS, Running};
use crate::bus::{Bus, Conversation};
use crate::sys::clock::Moment;

/// Hooks under way; how many have failed.
pub(super) struct Telling {
    // Dropped first: it speaks by the bus.
    conversation: Conversation<'static, usize>,
    bus: Rc<Bus>,
    /// Whether the guest has become ready again.
    again: bool,
}

impl Telling {
    /// When [`Running::step_hooks`] has something to do, if nothing happens before.
    pub(super) fn next(&self) -> Option<Moment> {
        self.bus.next()
    }
}

impl Running {
    /// The guest has become ready.
    pub(super) fn start_hooks(&mut self) {
        if self.is_stopping() {
            return;
        }
        if let Some(telling) = &mut self.telling {
            telling.again = true;
            return;
        }
        let Some(hooks) = self.ready_hooks.clone().filter(|_| self.root.is_system()) else { return };
        let bus = Bus::new(&self.root).and_then(|bus| self.poll.add(&bus, HOOKS).map(|()| Rc::new(bus)));
        let told = bus.and_then(|bus| {
            let (root, by, times) = (Rc::clone(&self.root), Rc::clone(&bus), self.times.clone());
            let conversation = bus.start(async move { hooks.run(&root, &by, &times).await });
            self.telling = Some(Telling { conversation, bus, again: false });
            self.step_hooks()
        });
        if let Err(error) = told {
            warn!(stage = "hooks", "cannot run hooks: {error}");
        }
    }

    /// Goes on with them as far as that can be now.
    pub(super) fn step_hooks(&mut self) -> io::Result<()> {
        let Some(Telling { conversation, bus, again }) = &mut self.telling else { return Ok(()) };
        let Some(failed) = bus.step(conversation)? else { return Ok(()) };
        let again = *again;
        self.telling = None;
        if failed > 0 {
            self.report(|report| report.warnings += failed);
        }
        if again {
            self.start_hooks();
        }
        Ok(())
    }
}
