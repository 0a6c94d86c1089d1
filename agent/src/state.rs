//! What the agent remembers from pass to pass: `state.json` in the state directory.
//!
//! Decides the file's form. It is versioned, readable by root alone, and replaced whole. A damaged one is set aside and
//! forgotten: memory is a help, never a reason not to boot.

#![forbid(unsafe_code)]

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sys::place::{Lock, Places, Staged};
use crate::sys::{self, Root, process};

const FILE: &str = "state.json";
const DAMAGED: &str = "state.json.damaged";
const LOCK: &str = "lock";
const VERSION: u32 = 1;
const LIMIT: u64 = 1024 * 1024;

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// Counts the passes that changed something; 0: this guest was never configured.
    pub generation: u64,
    /// The digest of the applied document; `None` where defaults were applied.
    pub environment: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        Self { version: VERSION, generation: 0, environment: None }
    }
}

impl State {
    /// The same after another document was applied.
    pub fn with_environment(&self, environment: Option<String>) -> Self {
        Self { environment, ..self.clone() }
    }

    /// The same after another generation.
    pub fn with_generation(&self, generation: u64) -> Self {
        Self { generation, ..self.clone() }
    }

    /// Reads the state, and says what is wrong with it if it cannot be used. Changes nothing.
    pub fn load(root: &Root, directory: &Path) -> (Self, Option<String>) {
        let path = directory.join(FILE);
        let mut lost = Self::default();
        let trouble = match root.read(&path, LIMIT) {
            Ok(None) => return (Self::default(), None),
            Ok(Some(bytes)) => match serde_json::from_slice::<Self>(&bytes) {
                Ok(state) if state.version == VERSION => return (state, None),
                Ok(state) => {
                    let trouble =
                        format!("it has version {}, and this agent writes {VERSION}", state.version);
                    // What it counts, it will have counted in any version.
                    lost.generation = state.generation;
                    trouble
                }
                Err(_) => "it is damaged".to_owned(),
            },
            Err(error) => error.source.to_string(),
        };
        (lost, Some(format!("{}: {trouble}", path.display())))
    }

    /// Puts a state that cannot be used out of the way, for a person to look at.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn set_aside(root: &Root, directory: &Path) -> sys::Result<()> {
        root.rename(&directory.join(FILE), &directory.join(DAMAGED))
    }

    /// Writes the state beside the old one, to be committed with the files that it tells of.
    ///
    /// # Errors
    /// It cannot be written; the old one is still there.
    pub fn stage(&self, places: &mut Places<'_>, directory: &Path, pass: &str) -> sys::Result<Staged> {
        let text = serde_json::to_vec(self).expect("plain data");
        places.place(directory.join(FILE))?.stage(pass, &text, 0o600, None, None)
    }

    /// Replaces the state on disk, durably.
    ///
    /// # Errors
    /// It cannot be written; the old one is still there.
    pub fn save(&self, root: &Root, directory: &Path) -> sys::Result<()> {
        root.make_dir(directory, 0o700)?;
        let staged = self.stage(&mut Places::new(root), directory, &process::random_id())?;
        staged.flush()?;
        let committed = staged.commit()?;
        committed.flush()?;
        committed.finish();
        Ok(())
    }

    /// Takes the lock that keeps two passes apart; it is held until the value is dropped.
    ///
    /// # Errors
    /// Another process holds it, or the state directory cannot be written.
    pub fn lock(root: &Root, directory: &Path) -> sys::Result<Lock> {
        root.make_dir(directory, 0o700)?;
        root.lock(directory.join(LOCK))
    }
}
