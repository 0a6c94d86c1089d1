//! The state as it was read, and by what it is known again.
//!
//! Decides what becomes of one that cannot be used, and whether what was read still is what is there. A pass looks at the
//! state more than once: while the configuration is read, when it begins, and when it has the lock. Only what has changed in
//! between is parsed again; else the bytes are compared, which is exact and costs next to nothing.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::{Path, PathBuf};

use super::{FILE, Instance, LIMIT, State, VERSION};
use crate::hooks;
use crate::sys::Root;

/// What is remembered of earlier passes.
#[derive(Clone, PartialEq, Eq)]
pub struct Memory {
    /// The state, or what is left of one that cannot be used.
    pub state: State,
    /// What is wrong with it, if it cannot be used.
    pub trouble: Option<String>,
    path: PathBuf,
    /// The file as it was read: `None` where that was impossible, `Some(None)` where there is none.
    bytes: Option<Option<Vec<u8>>>,
}

/// Without the bytes: a file that is no state can hold anything.
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("state", &self.state)
            .field("trouble", &self.trouble)
            .finish_non_exhaustive()
    }
}

impl Memory {
    /// Reads the state in `directory`. Changes nothing.
    pub fn load(root: &Root, directory: &Path) -> Self {
        let path = directory.join(FILE);
        // Of a guest that was configured: whatever else is lost, this is not its first boot.
        let hooks = hooks::Remembered::of_a_configured_guest();
        let mut state = State { instance: Some(Instance::default()), hooks, ..State::default() };
        let (bytes, trouble) = match root.read(&path, LIMIT) {
            Ok(None) => {
                state = State::default();
                (Some(None), None)
            }
            Ok(Some(bytes)) => {
                let trouble = match serde_json::from_slice::<State>(&bytes) {
                    // Version 1 had a generation and the document's digest; all else begins empty.
                    Ok(read) if (1..=VERSION).contains(&read.version) => {
                        state = State { version: VERSION, ..read };
                        None
                    }
                    Ok(read) => {
                        // What it counts, it will have counted in any version.
                        state.generation = read.generation;
                        Some(format!("it has version {}, and this agent writes {VERSION}", read.version))
                    }
                    Err(_) => Some("it is damaged".to_owned()),
                };
                (Some(Some(bytes)), trouble)
            }
            Err(error) => (None, Some(error.source.to_string())),
        };
        let trouble = trouble.map(|trouble| format!("{}: {trouble}", path.display()));
        Self { state, trouble, path, bytes }
    }

    /// Whether the state cannot be used.
    pub fn is_damaged(&self) -> bool {
        self.trouble.is_some()
    }

    /// Whether the file still is as it was read.
    pub fn is_current(&self, root: &Root) -> bool {
        root.read(&self.path, LIMIT).ok() == self.bytes
    }

    /// The state in `directory` now: this one, if it still is.
    pub fn again(self, root: &Root, directory: &Path) -> Self {
        match self.path.parent() == Some(directory) && self.is_current(root) {
            true => self,
            false => Self::load(root, directory),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes the file that is read")]
mod tests {
    use super::Memory;
    use crate::sys::Root;
    use std::fs;
    use std::path::Path;

    const DIRECTORY: &str = "/var/lib/ovf-agent";

    #[test]
    fn a_state_is_known_again_by_its_bytes() {
        let (one, other) = (r#"{"version":2,"generation":1}"#, r#"{"version":2,"generation":1 }"#);
        // `None` is no file, and an empty text a directory in its place.
        let files = [None, Some(one), Some(other), Some("{"), Some("}"), Some("")];
        let dir = tempfile::tempdir().expect("a scratch directory");
        let root = Root::open(dir.path()).expect("a directory");
        let place = dir.path().join("var/lib/ovf-agent");
        let path = place.join("state.json");
        let become_file = |file: Option<&str>| {
            let _ = fs::remove_dir_all(&place);
            fs::create_dir_all(&place).expect("made");
            match file {
                None => {}
                Some("") => fs::create_dir(&path).expect("made"),
                Some(text) => fs::write(&path, text).expect("written"),
            }
        };
        for (before, was) in files.iter().enumerate() {
            become_file(*was);
            let mut memory = Memory::load(&root, Path::new(DIRECTORY));
            assert_eq!(memory.is_damaged(), matches!(*was, Some("{" | "}" | "")), "{was:?}");
            // By this it is seen whether it was read again.
            memory.state.agent = "kept".to_owned();
            for (after, is) in files.iter().enumerate() {
                become_file(*is);
                assert_eq!(memory.is_current(&root), before == after, "{was:?} {is:?}");
                let again = memory.clone().again(&root, Path::new(DIRECTORY));
                assert_eq!(again.state.agent == "kept", before == after, "{was:?} {is:?}");
                assert!(before == after || again == Memory::load(&root, Path::new(DIRECTORY)));
                let elsewhere = memory.clone().again(&root, Path::new("/elsewhere"));
                assert_eq!(elsewhere, Memory::load(&root, Path::new("/elsewhere")), "{was:?} {is:?}");
            }
        }
    }
}
