//! The secrets that were made for this instance: `generated.json` in the state directory.
//!
//! Decides the file's form, whose its secrets are, and that it is written before the first file that has one of its secrets in it: a pass that fails
//! after that leaves a secret which the next pass uses, never a file with a secret that nobody remembers. Unlike the
//! state, a damaged one is no reason to go on: other secrets would lock a database out of its own data. How a secret is
//! made is decided in `parameters::generate`.
//!
//! They say themselves whose they are. The state says so too, but it is written later, and may be lost: a copy of a guest must
//! not begin with the secrets of the other, and a guest that lost its state must go on with its own. Where both speak of one
//! instance, each may know of it what the other does not.

#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::parameters::Generated;
use crate::state::{Instance, State};
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
    #[serde(default)]
    instance: Instance,
    secrets: Generated,
}

/// Whose secrets are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The guest that we are.
    pub instance: &'a Instance,
    /// The one that the state is of.
    pub known: Option<&'a Instance>,
}

impl Owner<'_> {
    fn owns(self, secrets: &Instance) -> bool {
        match self.known.filter(|known| known.is(secrets)) {
            Some(known) => secrets.clone().or(known.clone()).is(self.instance),
            None => secrets.is(self.instance),
        }
    }
}

/// The secrets that are kept.
#[derive(Debug, Default)]
pub struct Kept {
    /// Those of this instance; none where there is no file.
    pub secrets: Generated,
    /// Whether there are some of another instance, to be forgotten.
    pub foreign: bool,
    /// Whose they are, as far as they say.
    instance: Instance,
}

/// The secrets that are kept.
///
/// # Errors
/// There are some, and they cannot be read.
pub fn load(root: &Root, directory: &Path, owner: Owner<'_>) -> Result<Kept, Error> {
    let path = directory.join(FILE);
    let Some(bytes) = root.read(&path, LIMIT).map_err(Error::Unreadable)?.map(Zeroizing::new) else {
        return Ok(Kept::default());
    };
    match serde_json::from_slice::<File>(&bytes) {
        Ok(file) if file.version == VERSION => match owner.owns(&file.instance) {
            true => Ok(Kept { secrets: file.secrets, foreign: false, instance: file.instance }),
            false => Ok(Kept { foreign: true, ..Kept::default() }),
        },
        // serde's own words would quote them.
        _ => Err(Error::Damaged { path }),
    }
}

/// Keeps more secrets, durably, in place of those of another instance.
///
/// # Errors
/// They cannot be written, or one of them was made by another pass meanwhile; those that were there still are.
pub fn keep(root: &Root, directory: &Path, owner: Owner<'_>, made: &Generated) -> Result<(), Error> {
    let _lock = State::lock(root, directory).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::Busy,
        _ => Error::Unwritable(error),
    })?;
    add(root, directory, owner, made)
}

/// Under the lock.
fn add(root: &Root, directory: &Path, owner: Owner<'_>, made: &Generated) -> Result<(), Error> {
    let kept = load(root, directory, owner)?;
    let secrets = kept.secrets.with(made).ok_or(Error::Busy)?;
    let instance = Instance { boot: None, ..kept.instance.or(owner.instance.clone()) };
    // Room for all of it: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
    serde_json::to_writer(&mut *text, &File { version: VERSION, instance, secrets }).expect("plain data");
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

    use super::{Error, Owner, add, load};
    use crate::parameters::Generated;
    use crate::state::Instance;
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
        let owner = Owner { instance: &Instance::default(), known: None };
        let load = || load(&root, state, owner).map(|kept| kept.secrets);
        let add = |secrets| add(&root, state, owner, secrets);
        assert!(load().expect("none yet").is_empty());
        let (one, other) = (secret(r#"{"a":"s3cret"}"#), secret(r#"{"b":"t"}"#));
        add(&one).expect("kept");
        add(&other).expect("kept");
        assert_eq!(load().expect("there"), secret(r#"{"a":"s3cret","b":"t"}"#));
        let file = dir.path().join("var/lib/ovf-agent/generated.json");
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(matches!(add(&one), Err(Error::Busy)), "another pass was first");

        fs::write(&file, r#"{"version":1,"secrets":{"a":"s3cret""#).expect("write");
        let error = load().expect_err("damaged");
        assert!(matches!(error, Error::Damaged { .. }) && !format!("{error} {error:?}").contains("s3cret"));
        fs::write(&file, r#"{"version":2,"secrets":{}}"#).expect("write");
        assert!(matches!(add(&one), Err(Error::Damaged { .. })), "not overwritten");
    }

    #[test]
    fn secrets_are_one_instances() {
        let is = |machine: &str, environment: &str| {
            let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            Instance { machine: known(machine), environment: known(environment), ..Instance::default() }
        };
        // (whose they say they are, whose the state is, who we are, whether they are ours)
        for (secrets, state, now, ours) in [
            (is("a", "1"), Some(is("a", "1")), is("a", "1"), true),
            (is("a", "1"), None, is("a", "1"), true),
            (is("a", "1"), Some(is("a", "1")), is("a", ""), true),
            (is("a", "1"), Some(is("a", "1")), is("b", "1"), false),
            (is("a", "1"), Some(is("a", "1")), is("a", "2"), false),
            // Made before anybody knew the id; the state has heard of it since.
            (is("", ""), Some(is("", "1")), is("", "2"), false),
            (is("", ""), Some(is("", "1")), is("", "1"), true),
            // A copy that had made its own, and then lost its power before it had a state of its own.
            (is("b", "2"), Some(is("a", "1")), is("b", "2"), true),
            // A state that was lost knows nobody.
            (is("a", "1"), Some(is("", "")), is("a", "1"), true),
            (is("a", "1"), Some(is("", "")), is("b", "1"), false),
        ] {
            let owner = Owner { instance: &now, known: state.as_ref() };
            assert_eq!(owner.owns(&secrets), ours, "{secrets:?} {state:?} {now:?}");
        }
    }

    #[test]
    fn a_copy_forgets_the_others_secrets() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let root = Root::open(dir.path()).expect("a directory");
        let state = Path::new("/var/lib/ovf-agent");
        root.make_dir(state, 0o700).expect("made");
        let [one, copy] =
            ["a", "b"].map(|name| Instance { machine: Some(name.to_owned()), ..Instance::default() });
        let owner = Owner { instance: &one, known: None };
        add(&root, state, owner, &secret(r#"{"a":"s3cret"}"#)).expect("kept");
        let owner = Owner { instance: &copy, known: Some(&one) };
        let kept = load(&root, state, owner).expect("readable");
        assert!(kept.foreign && kept.secrets.is_empty());
        add(&root, state, owner, &Generated::default()).expect("kept");
        let text = fs::read_to_string(dir.path().join("var/lib/ovf-agent/generated.json")).expect("there");
        assert!(!text.contains("s3cret"), "{text}");
        assert!(!load(&root, state, owner).expect("readable").foreign);
    }
}
