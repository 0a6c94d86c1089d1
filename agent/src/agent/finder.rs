//! Looks for the document until it is found or waiting for it is no longer worth it.
//!
//! Puts what a look gave (`sight`), the patience (`transport::wait`) and the kernel's events together. Decides nothing else.

#![forbid(unsafe_code)]

use tracing::{debug, info, warn};

use super::sight::Sight;
use super::{Fault, Machine, Result};
use crate::sys::poll::Poll;
use crate::sys::uevent::{Received, Uevents};
use crate::sys::{Error, clock};
use crate::transport::wait::{Next, Search};
use crate::transport::{Document, Scope, Settings, Source};

/// A search under way.
#[derive(Debug)]
pub struct Finder {
    settings: Settings,
    search: Search,
    told: bool,
    /// Whether somebody may sit there and wonder.
    attended: bool,
}

/// What one look came to.
#[derive(Debug)]
pub enum Step {
    /// It is over: the document, or none.
    Over(Option<Document>),
    /// Look again at this moment, or when a block device comes or changes.
    LookAt(clock::Moment),
}

impl Finder {
    /// Starts now.
    pub fn new(settings: &Settings, is_vm: bool, now: clock::Moment) -> Self {
        Self {
            settings: settings.clone(),
            search: Search::new(settings.patience, is_vm, now),
            told: false,
            attended: false,
        }
    }

    /// A block device came or changed.
    pub fn device_event(&mut self, now: clock::Moment) {
        self.search.device_event(now);
    }

    /// Judges what a look gave.
    ///
    /// # Errors
    /// The time is over, and all that was found is broken.
    pub fn judge(&mut self, machine: &mut Machine, sight: Sight, now: clock::Moment) -> Result<Step> {
        // A drive that is still looking may have what comes before a document of another kind.
        let at_once = |document: &Document| matches!(document.source, Source::Iso(_)) || !sight.pending;
        if !sight.document.as_ref().is_some_and(at_once)
            && let Next::LookAt(moment) = self.search.next(sight.drives, sight.pending, now)
        {
            if !std::mem::replace(&mut self.told, true) {
                let seconds = (moment - now).as_secs_f64();
                let what = if sight.drives { "no document in any drive yet" } else { "no optical drive yet" };
                match self.attended && seconds > 1.0 {
                    true => warn!(stage = "transport", "{what}; waiting up to {seconds:.1} s"),
                    false => info!(stage = "transport", "{what}; waiting up to {seconds:.1} s"),
                }
            }
            machine.times.waits(sight.drives, now);
            return Ok(Step::LookAt(moment));
        }
        machine.boot.close(&sight.seen);
        let asides = asides(&sight);
        let document = sight.outcome()?;
        for aside in &asides {
            warn!(stage = "transport", "{aside}");
        }
        Ok(Step::Over(document.map(|document| Document { asides, ..document })))
    }

    /// Looks until it is over.
    pub(super) fn find(mut self, machine: &mut Machine) -> Result<Option<Document>> {
        let outside = |error| Fault::outside(&Error::new("wait for", "block devices", error));
        self.attended = true;
        let poll = Poll::new().map_err(outside)?;
        // Heard from before the first look, so that nothing comes between the two.
        let uevents = Uevents::listen().inspect_err(|error| debug!("no uevents: {error}")).ok();
        if let Some(uevents) = &uevents {
            poll.add(uevents, 0).map_err(outside)?;
        }
        loop {
            machine.times.looks(clock::now());
            let sight = Sight::of(machine.here(), &self.settings, &machine.boot, Scope::Everywhere);
            match self.judge(machine, sight, clock::now())? {
                Step::Over(document) => return Ok(document),
                Step::LookAt(moment) => {
                    while clock::now() < moment && !uevents.as_ref().is_some_and(block_event) {
                        poll.wait(Some(moment.saturating_sub(clock::now()))).map_err(outside)?;
                    }
                    if clock::now() < moment {
                        self.device_event(clock::now());
                    }
                }
            }
        }
    }
}

/// What there is to say about places that the document did not come from.
fn asides(sight: &Sight) -> Vec<String> {
    let broken = sight.broken.iter().map(|fault| format!("passed over: {}", fault.failure.message));
    broken.chain(sight.ignored.iter().map(|what| format!("ignored: {what}"))).collect()
}

/// Whether an event of a block device has come. Reads all that have, as an edge-triggered wait wants.
fn block_event(uevents: &Uevents) -> bool {
    let mut seen = false;
    loop {
        match uevents.receive() {
            Received::Event(event) => seen |= event.subsystem == "block",
            Received::Lost => seen = true,
            Received::Nothing => return seen,
        }
    }
}
