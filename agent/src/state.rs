//! What the agent remembers from pass to pass: `state.json` in the state directory.
//!
//! Decides the file's form. It is versioned, readable by root alone, and replaced whole. A damaged one is set aside and
//! forgotten: memory is a help, never a reason not to boot. What is remembered of files are digests, salted, so that the
//! state does not tell a guessed password from another.

#![forbid(unsafe_code)]

mod digest;
mod files;
mod input;
mod instance;
mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hooks;
use crate::plan::Ids;
use crate::ready::Siblings;
use crate::sys::place::{Lock, Place, Places, Staged};
use crate::sys::{self, Root, process};
use crate::template::{Rendered, Rules};
use crate::units::{Role, Units, Verb, owe};

pub use digest::{Digest, salted};
pub use input::Input;
pub use instance::Instance;
pub use memory::Memory;

const FILE: &str = "state.json";
const DAMAGED: &str = "state.json.damaged";
const LOCK: &str = "lock";
/// How the state spells [`crate::transport::Source::Channel`].
const CHANNEL: &str = "channel";
const VERSION: u32 = 2;
/// A record is some 200 bytes; nobody has so many templates.
const LIMIT: u64 = 64 * 1024 * 1024;

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// Counts the passes that changed something; 0: this guest was never configured.
    pub generation: u64,
    /// The digest of the applied document; `None` where defaults were applied.
    pub environment: Option<String>,
    /// Where the applied document came from.
    #[serde(default)]
    pub source: Option<String>,
    /// The digest of the document that an older source had when the host sent the applied one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beneath: Option<String>,
    /// The version of the agent that wrote this.
    #[serde(default)]
    pub agent: String,
    /// The last pass that changed files: with it in place, that pass is done.
    #[serde(default)]
    pub pass: String,
    /// Who this guest is, and in which boot that was first seen.
    #[serde(default)]
    pub instance: Option<Instance>,
    /// Makes the digests of this state other than those of any other.
    #[serde(default)]
    salt: String,
    /// The files as they were written, or found right.
    #[serde(default, deserialize_with = "files::read")]
    pub files: BTreeMap<PathBuf, Written>,
    /// What the last pass was made from, if it left every file as its template has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    /// What is still to be done about changed files.
    #[serde(default, skip_serializing_if = "Owed::is_empty")]
    pub owed: Owed,
    /// What units are to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// What gates need to know of the applied document.
    #[serde(default, skip_serializing_if = "Siblings::is_empty")]
    pub siblings: Siblings,
    /// What there is to know about hooks. An older agent had none.
    #[serde(default = "hooks::Remembered::of_a_configured_guest")]
    pub hooks: hooks::Remembered,
}

/// A file as it was written, or found right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The template that made it.
    pub template: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group, where they were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<(u32, u32)>,
    /// The salted digest of its content.
    pub digest: String,
    /// Whether we made it; one that was right before we came is not ours to remove.
    pub ours: bool,
    /// Whether it stays where its template does not want it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// What is to be done when it goes.
    #[serde(default, skip_serializing_if = "Owed::is_empty")]
    pub owes: Owed,
}

/// Actions that follow a change of files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Owed {
    /// What units are to do.
    #[serde(skip_serializing_if = "Units::is_empty")]
    pub units: Units,
    /// Programs to run, where there is no systemd.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub on_change: BTreeSet<Vec<String>>,
}

impl Owed {
    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty() && self.on_change.is_empty()
    }

    /// Owes these, too.
    pub fn add(&mut self, more: &Self) {
        more.units.iter().for_each(|(unit, verb)| owe(&mut self.units, unit, *verb));
        self.on_change.extend(more.on_change.iter().cloned());
    }
}

impl From<&Rules> for Owed {
    fn from(rules: &Rules) -> Self {
        let mut units = Units::new();
        rules.reload.iter().for_each(|unit| owe(&mut units, unit, Verb::Reload));
        rules.restart.iter().for_each(|unit| owe(&mut units, unit, Verb::Restart));
        Self { units, on_change: rules.on_change.iter().cloned().collect() }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            generation: 0,
            environment: None,
            source: None,
            beneath: None,
            agent: String::new(),
            pass: String::new(),
            instance: None,
            salt: String::new(),
            files: BTreeMap::new(),
            input: None,
            owed: Owed::default(),
            roles: Vec::new(),
            siblings: Siblings::default(),
            hooks: hooks::Remembered::default(),
        }
    }
}

impl State {
    /// The same, as this agent goes on with it.
    pub fn continued(&self) -> Self {
        let mut next = Self { agent: env!("CARGO_PKG_VERSION").to_owned(), ..self.clone() };
        if next.salt.is_empty() {
            next.salt = process::random_id() + &process::random_id();
        }
        next
    }

    /// The same after another document was applied, or the defaults.
    pub fn with_document(
        self,
        environment: Option<String>,
        source: Option<String>,
        beneath: Option<String>,
    ) -> Self {
        Self { environment, source, beneath, ..self }
    }

    /// Whether a document found in its usual place is older than the applied one, which the host has sent since.
    pub fn outdates(&self, digest: &str) -> bool {
        self.is_of_the_host() && self.beneath.as_deref() == Some(digest)
    }

    /// Whether the host has sent the applied document.
    pub fn is_of_the_host(&self) -> bool {
        self.source.as_deref() == Some(CHANNEL)
    }

    /// The same after another generation.
    pub fn with_generation(self, generation: u64) -> Self {
        Self { generation, ..self }
    }

    /// The same as the pass called `pass` leaves it.
    pub fn with_pass(self, pass: &str) -> Self {
        Self { pass: pass.to_owned(), ..self }
    }

    /// What is to be remembered of a file that is as it should be; `ours` where we made it.
    pub fn written(&self, file: &Rendered, ids: Ids, ours: bool) -> Written {
        Written {
            template: file.template.clone(),
            mode: file.mode,
            ids: ids.owner.zip(ids.group),
            digest: self.digest(file.content.as_bytes()),
            ours,
            keep: file.rules.keep_absent,
            owes: Owed::from(&file.rules),
        }
    }

    /// The salted digest of a file's content.
    pub fn digest(&self, content: &[u8]) -> String {
        salted(&self.salt, &[content])
    }

    /// Whether this boot is the first of `instance`: nothing was applied in an earlier one.
    pub fn is_first_boot(&self, instance: &Instance) -> bool {
        match &self.instance {
            Some(known) => !known.is(instance) || known.boot.is_some() && known.boot == instance.boot,
            // An older agent remembered generations and no instance.
            None => self.generation == 0,
        }
    }

    /// The same, with what is now known of the instance.
    pub fn with_instance(mut self, instance: Instance) -> Self {
        let first = self.is_first_boot(&instance);
        if self.instance.as_ref().is_some_and(|known| !known.is(&instance)) {
            self.hooks.begin_again();
        }
        self.instance = Some(match self.instance {
            Some(known) if known.is(&instance) => known.or(instance),
            _ if first => instance,
            _ => Instance { boot: None, ..instance },
        });
        self
    }

    /// Keeps a state that cannot be used under another name, for a person to look at. By a link where that can be, so that
    /// there is a state, good or bad, at any moment: its absence would mean a guest that was never configured.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn set_aside(places: &mut Places<'_>, directory: &Path) -> sys::Result<()> {
        let (place, aside) = (places.place(directory.join(FILE))?, places.place(directory.join(DAMAGED))?);
        aside.remove()?;
        place.link(OsStr::new(DAMAGED)).or_else(|_| place.rename_over(&aside))
    }

    /// Writes a state, as [`Self::to_bytes`] gives it, beside the old one, to be put in place with the files that it tells of.
    ///
    /// # Errors
    /// It cannot be written; the old one is still there.
    pub fn stage(bytes: &[u8], places: &mut Places<'_>, directory: &Path, pass: &str) -> sys::Result<Staged> {
        Self::place(places, directory)?.stage(pass, bytes, 0o600, None, None)
    }

    /// The state as it is on disk.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data")
    }

    /// Where the state is.
    ///
    /// # Errors
    /// Its directory is not there.
    pub fn place(places: &mut Places<'_>, directory: &Path) -> sys::Result<Place> {
        places.place(directory.join(FILE))
    }

    /// Replaces the state on disk, durably. The caller has the lock.
    ///
    /// # Errors
    /// It cannot be written; the old one is still there.
    pub fn save(&self, places: &mut Places<'_>, directory: &Path) -> sys::Result<()> {
        let staged = Self::stage(&self.to_bytes(), places, directory, &process::random_id())?;
        staged.flush()?;
        staged.replace()?;
        Self::place(places, directory)?.flush_directory()
    }

    /// Takes the lock that keeps two passes apart; it is held until the value is dropped.
    ///
    /// # Errors
    /// Another process holds it, or the state directory cannot be written.
    pub fn lock(root: &Root, directory: &Path) -> sys::Result<Lock> {
        let lock = directory.join(LOCK);
        match root.lock(&lock) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                root.make_dir(directory, 0o700)?;
                root.lock(&lock)
            }
            taken => taken,
        }
    }
}

#[cfg(test)]
mod tests;
