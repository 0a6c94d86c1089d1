//! The secrets that were made for this instance: `generated.json` in the state directory.
//!
//! Decides the file's form, and that it is written before the first file that has one of its secrets in it: a pass that fails
//! after that leaves a secret which the next pass uses, never a file with a secret that nobody remembers. Unlike the
//! state, a damaged one is no reason to go on: other secrets would lock a database out of its own data. How a secret is
//! made is decided in `parameters::generate`.

#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::parameters::Generated;
use crate::state::State;
use crate::sys::place::Places;
use crate::sys::{self, Root, process};

const FILE: &str = "generated.json";
const VERSION: u32 = 1;
const LIMIT: u64 = 1024 * 1024;

/// Why secrets cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They are there and cannot be read.
    #[error("cannot read the secrets that were generated for this instance")]
    Unreadable(#[source] sys::Error),
    /// They are not as this agent writes them.
    #[error(
        "{} holds the secrets that were generated for this instance, and is damaged or of a later version; restore it, or \
         remove it and have others made",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// They cannot be written.
    #[error("nothing was changed: cannot keep the secrets that were generated for this instance")]
    Unwritable(#[source] sys::Error),
    /// Another pass is under way, or was there first.
    #[error("another ovf-agent is generating secrets; try again when it is done")]
    Busy,
    /// One is asked for before any pass made it.
    #[error("parameter `{0}` has not been generated yet; the first `ovf-agent apply` makes it")]
    NotYet(String),
}

impl Error {
    /// Whether another try may do.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::NotYet(_))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    secrets: Generated,
}

/// The secrets that are kept; none where there is no file.
///
/// # Errors
/// There is one, and it cannot be read.
pub fn load(root: &Root, directory: &Path) -> Result<Generated, Error> {
    let path = directory.join(FILE);
    let Some(bytes) = root.read(&path, LIMIT).map_err(Error::Unreadable)?.map(Zeroizing::new) else {
        return Ok(Generated::default());
    };
    match serde_json::from_slice::<File>(&bytes) {
        Ok(file) if file.version == VERSION => Ok(file.secrets),
        // serde's own words would quote them.
        _ => Err(Error::Damaged { path }),
    }
}

/// Keeps more secrets, durably.
///
/// # Errors
/// They cannot be written, or one of them was made by another pass meanwhile; those that were there still are.
pub fn keep(root: &Root, directory: &Path, made: &Generated) -> Result<(), Error> {
    let _lock = State::lock(root, directory).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::Busy,
        _ => Error::Unwritable(error),
    })?;
    add(root, directory, made)
}

/// Under the lock.
fn add(root: &Root, directory: &Path, made: &Generated) -> Result<(), Error> {
    let secrets = load(root, directory)?.with(made).ok_or(Error::Busy)?;
    // Room for all of it: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
    serde_json::to_writer(&mut *text, &File { version: VERSION, secrets }).expect("plain data");
    write(root, directory, &text).map_err(Error::Unwritable)
}

fn write(root: &Root, directory: &Path, text: &[u8]) -> sys::Result<()> {
    let place = Places::new(root).place(directory.join(FILE))?;
    let staged = place.clone().stage(&process::random_id(), text, 0o600, None, None)?;
    staged.flush()?;
    staged.replace()?;
    place.flush_directory()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test makes the machine that the agent finds")]

    use super::{Error, add, load};
    use crate::parameters::Generated;
    use crate::sys::Root;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn secret(json: &str) -> Generated {
        serde_json::from_str(json).expect(json)
    }

    #[test]
    fn secrets_are_kept_for_root_alone_and_added_to() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let root = Root::open(dir.path()).expect("a directory");
        let state = Path::new("/var/lib/ovf-agent");
        // Without the lock: a child that another test forks meanwhile would hold it on.
        root.make_dir(state, 0o700).expect("made");
        assert!(load(&root, state).expect("none yet").is_empty());
        let (one, other) = (secret(r#"{"a":"s3cret"}"#), secret(r#"{"b":"t"}"#));
        add(&root, state, &one).expect("kept");
        add(&root, state, &other).expect("kept");
        assert_eq!(load(&root, state).expect("there"), secret(r#"{"a":"s3cret","b":"t"}"#));
        let file = dir.path().join("var/lib/ovf-agent/generated.json");
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(matches!(add(&root, state, &one), Err(Error::Busy)), "another pass was first");

        fs::write(&file, r#"{"version":1,"secrets":{"a":"s3cret""#).expect("write");
        let error = load(&root, state).expect_err("damaged");
        assert!(matches!(error, Error::Damaged { .. }) && !format!("{error} {error:?}").contains("s3cret"));
        fs::write(&file, r#"{"version":2,"secrets":{}}"#).expect("write");
        assert!(matches!(add(&root, state, &one), Err(Error::Damaged { .. })), "not overwritten");
    }
}
