//! Hooks: the appliance builder's own programs, for what files cannot express.
//!
//! Decides at which moments there are any, and which of them are due in a pass ([`Remembered::due`]). What each is told is decided
//! in [`call`], and what of it a program of theirs is answered in [`heard`]; where they are looked for, in `config`; how a program is run, in `checks`; when, in `agent`.
//!
//! A hook that is due is owed until it has succeeded: that is in the state before the first file changes, so that neither a
//! failure nor a power cut lets one be forgotten, and none that has succeeded is run again for the same reason.

#![forbid(unsafe_code)]

mod call;
mod heard;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::problem::Problem;

pub use call::{Call, Id, Told};
pub use heard::Heard;

/// When a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Before the first file changes.
    BeforeApply,
    /// Once for an instance, when its files are there and its units have heard of them.
    FirstBoot,
    /// After files or the appliance's version have changed.
    AfterApply,
    /// When the guest has become ready.
    Ready,
    /// Before the guest goes down.
    Stop,
}

impl Moment {
    /// All of them, in the order in which they come.
    pub const ALL: [Self; 5] =
        [Self::BeforeApply, Self::FirstBoot, Self::AfterApply, Self::Ready, Self::Stop];

    /// The name of its directory.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeApply => "before-apply",
            Self::FirstBoot => "first-boot",
            Self::AfterApply => "after-apply",
            Self::Ready => "ready",
            Self::Stop => "stop",
        }
    }
}

/// One program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When it is run.
    pub moment: Moment,
    /// Its file's name.
    pub name: String,
    /// Where it is in the machine that we run on.
    pub path: PathBuf,
}

impl Hook {
    /// What people and the state call it: `first-boot/10-keys`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.moment.as_str(), self.name)
    }
}

/// All hooks of an appliance.
#[derive(Debug, Default)]
pub struct Hooks {
    /// In the order in which they are run.
    pub list: Vec<Hook>,
    /// What lies among them and is never run.
    pub idle: Vec<Problem>,
    /// How long each may take.
    pub timeout: Duration,
}

impl Hooks {
    /// Those of one moment.
    pub fn at(&self, moment: Moment) -> impl Iterator<Item = &Hook> {
        self.list.iter().filter(move |hook| hook.moment == moment)
    }

    /// Those that are owed, in the order in which they are run. One that is not there any more is owed no longer.
    pub fn owed<'a, 'b>(
        &'a self,
        remembered: &'b Remembered,
    ) -> impl Iterator<Item = &'a Hook> + use<'a, 'b> {
        self.list.iter().filter(|hook| remembered.owes(hook))
    }
}

/// What is remembered from pass to pass about hooks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remembered {
    /// The appliance's version in the last pass.
    pub version: Option<String>,
    /// The version before that, for as long as hooks are owed which are to be told of it.
    pub previous: Option<String>,
    /// Whether this instance had its first pass, so that a hook added later is none of its first boot.
    pub begun: bool,
    /// The hooks that are to be run, by their full names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<String>,
}

/// What a pass asks of hooks.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The appliance's version.
    pub version: Option<&'a str>,
    /// Whether files change.
    pub changes: bool,
    /// Whether they are run at all: not under a root that stands for another machine, or is still to start.
    pub can_run: bool,
}

impl Remembered {
    /// Of a guest that was configured, but of which no more is known.
    pub fn of_a_configured_guest() -> Self {
        Self { begun: true, ..Self::default() }
    }

    fn owes(&self, hook: &Hook) -> bool {
        self.owed.contains(&hook.full_name())
    }

    /// The appliance's version before this pass, as hooks are told.
    pub fn previous_version(&self) -> Option<&str> {
        if self.owed.is_empty() { self.version.as_deref() } else { self.previous.as_deref() }
    }

    /// Whether a pass runs the hooks before and after it, and what is to be remembered once its files are there.
    pub fn due(&self, hooks: &Hooks, asked: Asked<'_>) -> (bool, Self) {
        let applies = asked.changes || self.version.as_deref() != asked.version;
        let due = |hook: &&Hook| match hook.moment {
            Moment::FirstBoot => !self.begun || self.owes(hook),
            Moment::AfterApply => applies || self.owes(hook),
            _ => false,
        };
        let owed: Vec<_> = hooks.list.iter().filter(due).map(Hook::full_name).collect();
        let previous = self.previous_version().filter(|_| !owed.is_empty()).map(str::to_owned);
        let version = asked.version.map(str::to_owned);
        (applies, Self { version, previous, begun: self.begun || asked.can_run, owed })
    }

    /// The same after a hook has succeeded.
    pub fn done(&mut self, hook: &Hook) {
        self.owed.retain(|owed| *owed != hook.full_name());
        if self.owed.is_empty() {
            self.previous = None;
        }
    }

    /// The same for a new instance: it has everything of its own first boot before it.
    pub fn begin_again(&mut self) {
        self.begun = false;
    }
}

#[cfg(test)]
mod tests;
