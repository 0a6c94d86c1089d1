//! `[[units]]`: which services a guest has, by what it was told.
//!
//! Decides the steps from what a unit is to what it should be. Whether `when` is true is decided by the templates' rules
//! before. A mask is one for good, as `systemctl mask` makes it: a boot without an environment keeps the last configuration,
//! and at any boot a unit may be on its way before the agent is.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::bus::UnitStatus;

/// What `[[units]] state` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It runs.
    Started,
    /// It does not run.
    Stopped,
    /// It cannot be started, by nobody, also after the next boot.
    Masked,
}

impl State {
    /// The step that leads there.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Started => "start",
            Self::Stopped => "stop",
            Self::Masked => "mask",
        }
    }
}

/// One of `[[units]]`, with its `when` decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// The unit's name, with its suffix.
    pub unit: String,
    /// What it is when `when` is true.
    pub state: State,
    /// Whether `when` is true, or there is none.
    pub holds: bool,
}

impl Role {
    /// What the unit is to be.
    pub fn word(&self) -> &'static str {
        match (self.state, self.holds) {
            (State::Started, true) => "started",
            (State::Started, false) | (State::Stopped, true) => "stopped",
            (State::Stopped, false) => "left as it is",
            (State::Masked, true) => "masked",
            (State::Masked, false) => "unmasked",
        }
    }
}

/// The roles that are wanted, and of the earlier ones those that are to be undone: a mask would outlive its table.
pub fn all(mut wanted: Vec<Role>, earlier: &[Role]) -> Vec<Role> {
    let is_mask = |role: &&Role| role.state == State::Masked && role.holds;
    let gone: Vec<Role> = earlier
        .iter()
        .filter(is_mask)
        .filter(|role| wanted.iter().all(|other| other.unit != role.unit || other.state == State::Stopped))
        .map(|role| Role { holds: false, ..role.clone() })
        .collect();
    wanted.extend(gone);
    wanted
}

/// A step on the way to a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make it impossible to start.
    Mask,
    /// Make it possible again.
    Unmask,
    /// Start it.
    Start,
    /// Stop it.
    Stop,
}

impl Step {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Unmask => "unmask",
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

/// The steps from what a unit is to its role. The opposite of started is stopped, so that a value that was sent anew can
/// switch a service off; that of stopped is nobody's wish, and that of masked is only that it may be started again.
pub fn steps(role: &Role, status: &UnitStatus) -> Vec<Step> {
    let masked = status.load == "masked";
    let coming = matches!(status.job.as_deref(), Some("start" | "restart" | "reload-or-start"));
    let going = matches!(status.job.as_deref(), Some("stop")) || status.active == "deactivating";
    let runs = matches!(status.active.as_str(), "active" | "activating" | "reloading" | "refreshing");
    let stop = (runs && !going || coming).then_some(Step::Stop);
    match (role.state, role.holds) {
        (State::Started, true) if runs && !going || coming => Vec::new(),
        (State::Started, true) => masked.then_some(Step::Unmask).into_iter().chain([Step::Start]).collect(),
        (State::Started, false) | (State::Stopped, true) => stop.into_iter().collect(),
        (State::Stopped, false) => Vec::new(),
        // What is not there cannot be started either.
        (State::Masked, true) if status.load == "not-found" && stop.is_none() => Vec::new(),
        (State::Masked, true) => (!masked).then_some(Step::Mask).into_iter().chain(stop).collect(),
        (State::Masked, false) => masked.then_some(Step::Unmask).into_iter().collect(),
    }
}
