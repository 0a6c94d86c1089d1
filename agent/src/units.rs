//! Which units hear of a pass.
//!
//! Decides what a unit is owed. One that is not running, or whose start is still to come, owes nothing: it will read the new
//! file. One that runs is restarted or reloaded, once, however many files ask for it. What its role is, is decided in
//! [`roles`]; that all of it happens, and how it ended, in [`settle`]; how systemd is asked, in `bus`; which files changed, in
//! `plan`. The words for what units do are systemd's (systemd.unit(5), org.freedesktop.systemd1(5)).

#![forbid(unsafe_code)]

pub mod roles;
pub mod settle;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::bus::UnitStatus;

pub use roles::{Role, State};
pub use settle::{Ended, Outcome, Wanted, settle};

/// What a unit is to do about a file. The later one includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Read it again: by its own means if it has any, else by a restart.
    Reload,
    /// Restart, if it runs.
    Restart,
    /// Restart, also if it has failed: it ran before a pass of ours let it fail.
    Recover,
}

impl Verb {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Restart | Self::Recover => "restart",
        }
    }
}

/// What units are owed, each once, with the most that anybody asks of it.
pub type Units = BTreeMap<String, Verb>;

/// Adds what one unit is owed.
pub fn owe(units: &mut Units, unit: &str, verb: Verb) {
    match units.get_mut(unit) {
        Some(known) => *known = verb.max(*known),
        None => drop(units.insert(unit.to_owned(), verb)),
    }
}

/// What is still owed after these outcomes, for the next pass to pay: a unit that failed is owed a restart also where it is
/// down now, for it ran before we asked.
pub fn owed(outcomes: &[Outcome]) -> Units {
    collected(outcomes, |outcome| {
        let verb = if matches!(outcome.ended, Ended::NotAsked) { outcome.asked? } else { Verb::Recover };
        outcome.is_failure().then_some(verb)
    })
}

/// What units are owed when the old files are back: those that read the new ones read again, and those that failed on
/// them are restarted. The others know the old files only.
pub fn taken_back(outcomes: &[Outcome]) -> Units {
    collected(outcomes, |outcome| match &outcome.ended {
        Ended::Done => outcome.asked,
        Ended::Spared(_) | Ended::AfterUs | Ended::NotAsked => None,
        _ => Some(Verb::Recover),
    })
}

/// What units are owed that were asked because of their files.
fn collected(outcomes: &[Outcome], verb: impl Fn(&Outcome) -> Option<Verb>) -> Units {
    let mut units = Units::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.asked.is_some()) {
        if let Some(verb) = verb(outcome) {
            owe(&mut units, &outcome.unit, verb);
        }
    }
    units
}

/// Where systemd looks for units and drop-ins (systemd.unit(5)), and what its own generators make units of: a change there
/// is noticed only by a reload. Generators' output is not listed: only a reload makes it.
const UNIT_FILES: [&str; 10] = [
    "/etc/systemd/system",
    "/etc/systemd/system.control",
    "/run/systemd/system",
    "/run/systemd/system.control",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/etc/fstab",
    "/etc/crypttab",
    "/etc/containers/systemd",
];

/// Whether systemd has to read its unit files again because one of these changed.
pub fn needs_reload<'a>(changed: impl IntoIterator<Item = &'a Path>) -> bool {
    changed.into_iter().any(|path| UNIT_FILES.iter().any(|place| path.starts_with(place)))
}

/// Why a unit owes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spared {
    /// It does not run.
    Inactive,
    /// It has failed before, and nobody wants it restarted now.
    HasFailed,
    /// It is being stopped.
    Stopping,
    /// It is about to be started, or started again.
    Starting,
    /// There is no such unit here.
    NotFound,
    /// It is masked.
    Masked,
    /// It is one of `[[units]]`, and was started or stopped for that.
    Role,
}

impl Spared {
    fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "it does not run, and reads the new files when it starts",
            Self::HasFailed => "it has failed before, and reads the new files when it starts",
            Self::Stopping => "it is being stopped, and reads the new files when it starts",
            Self::Starting => "it is about to start, and reads the new files then",
            Self::NotFound => "there is no such unit",
            Self::Masked => "it is masked",
            Self::Role => "its role has just changed",
        }
    }
}

/// The method for what a unit is owed, if it is owed anything.
///
/// # Errors
/// Why it owes nothing.
pub fn due(verb: Verb, status: &UnitStatus) -> Result<&'static str, Spared> {
    match status.load.as_str() {
        "not-found" => return Err(Spared::NotFound),
        "masked" => return Err(Spared::Masked),
        _ => {}
    }
    match (status.active.as_str(), status.job.as_deref()) {
        // One that is stopped for good, as all are when the machine goes down, must not be kept by us.
        (_, Some("stop")) => Err(Spared::Stopping),
        // A restart that waits will do for ours.
        ("active" | "reloading" | "refreshing", Some("restart" | "try-restart")) => Err(Spared::Starting),
        // Also one that is being started: it may have read the old file already.
        ("active" | "reloading" | "refreshing" | "activating", _) => Ok(match verb {
            Verb::Reload => "ReloadOrTryRestartUnit",
            Verb::Restart => "TryRestartUnit",
            Verb::Recover => "RestartUnit",
        }),
        ("failed", None) if verb == Verb::Recover => Ok("RestartUnit"),
        (_, Some("start" | "restart" | "reload-or-start")) => Err(Spared::Starting),
        ("failed", _) => Err(Spared::HasFailed),
        ("deactivating", _) => Err(Spared::Stopping),
        _ => Err(Spared::Inactive),
    }
}

#[cfg(test)]
mod tests;
