//! In which order guests start and stop: what the StartupSections say, as state machines.
//!
//! Decides whose turn it is. [`Sequence`] starts a package's guests, [`Descent`] stops them; both are pure: what happens and
//! what time it is comes in, whom to start or stop goes out. How guests are started, and how they speak, is for `engine` and
//! `port`.
//!
//! The rules: DSP0243, 9.10 (StartupSection: ascending order, the same order together, the reverse to stop; a child without
//! an Item has order 0) and 9.11 (InstallSection). What `waitingForGuest` means is left to platforms: here `startDelay` is then
//! the longest wait, and without it the whole wait. A nested collection is one thing: it is begun when it is its turn, and
//! is through when all in it is.

#![forbid(unsafe_code)]

mod start;
mod stop;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::descriptor::{Descriptor, Kind, Startup};
pub use start::{Event, Outcome, Policy, Sequence, Trouble, Why};
pub use stop::{Descent, Order};

/// Time since the sequence began.
pub type Moment = Duration;

/// What the order says of one virtual system or collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The collection that it is in, by its place in the list of steps, where it comes first.
    pub parent: Option<usize>,
    /// What is in it, by order: one list for all that start together. None where it is a guest.
    pub groups: Vec<Vec<usize>>,
    /// Whether it is a guest, and not a collection.
    pub is_guest: bool,
    /// Its place in the sequence.
    pub order: u64,
    /// Whether the sequence starts it.
    pub starts: bool,
    /// How long it holds up the next order; where it is waited for, how long at most. Zero is no limit then but the policy's.
    pub delay: Duration,
    /// Whether the next order waits until the guest says that it is ready.
    pub waits: bool,
    /// Whether there is a first boot that ends by the guest's powering off, and how long that may take; zero is for ever.
    pub install: Option<Duration>,
    /// How it is stopped.
    pub stop: StopAction,
    /// How long its stopping may hold up the previous order; then its power is cut.
    pub stop_delay: Duration,
}

/// How a guest is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopAction {
    /// Its power is cut.
    PowerOff,
    /// It is asked to shut down.
    Shutdown,
    /// Not by the sequence.
    None,
}

/// The steps of a package, one for each of its entities, at the same places.
pub fn steps(descriptor: &Descriptor) -> Vec<Step> {
    let mut steps: Vec<_> = descriptor
        .entities
        .iter()
        .map(|entity| Step {
            parent: entity.parent,
            groups: Vec::new(),
            is_guest: entity.kind == Kind::System,
            order: 0,
            starts: true,
            delay: Duration::ZERO,
            waits: false,
            install: entity.install.map(Duration::from_secs),
            // The schema's default is to cut the power. Whoever has a StartupSection has read it; nobody else has asked for that.
            stop: StopAction::Shutdown,
            stop_delay: Duration::ZERO,
        })
        .collect();
    for entity in &descriptor.entities {
        for item in &entity.startup {
            let child = entity.children.iter().find(|&&it| descriptor.entities[it].id.value == item.id.value);
            // `check` says of an item that names nothing.
            if let Some(&child) = child {
                steps[child].set(item);
            }
        }
    }
    for (index, entity) in descriptor.entities.iter().enumerate() {
        steps[index].groups = grouped(&steps, entity.children.clone());
    }
    steps
}

/// Children by their order, each in the descriptor's within it.
fn grouped(steps: &[Step], mut children: Vec<usize>) -> Vec<Vec<usize>> {
    children.sort_by_key(|&it| steps[it].order);
    children.chunk_by(|&a, &b| steps[a].order == steps[b].order).map(<[usize]>::to_vec).collect()
}

impl Step {
    fn set(&mut self, item: &Startup) {
        self.order = item.order;
        self.starts = item.start_action.value != "none";
        self.delay = Duration::from_secs(item.start_delay);
        self.waits = item.waits_for_guest;
        self.stop = match item.stop_action.value.as_str() {
            "guestShutdown" => StopAction::Shutdown,
            "none" => StopAction::None,
            _ => StopAction::PowerOff,
        };
        self.stop_delay = Duration::from_secs(item.stop_delay);
    }
}

/// The guests in a step: itself, or all that are in the collection.
fn guests(steps: &[Step], step: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let mut open = vec![step];
    while let Some(step) = open.pop() {
        if steps[step].is_guest {
            found.push(step);
        }
        open.extend(steps[step].groups.iter().flatten());
    }
    found
}
