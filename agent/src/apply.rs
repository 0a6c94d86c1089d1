//! Makes a plan true: all of it or nothing.
//!
//! Decides the order: lock, sweep what an interrupted pass left, stage every file and the state, flush them, and only then
//! rename the first. Any failure before that leaves the machine untouched; one after it takes back what was done. The
//! state is renamed last, while the old files are still at hand, so that it never tells of files that are not there. What the files should be
//! is decided by `plan`; how one file changes by `sys::place`.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::plan::{Change, Plan};
use crate::state::State;
use crate::sys::place::{Committed, Places, Staged};
use crate::sys::{self, Root, process};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another pass is under way.
    #[error("another ovf-agent is applying; try again when it is done")]
    Busy(#[source] sys::Error),
    /// A file could not be staged, renamed or recorded.
    #[error("nothing was changed: {template}: {what}{}", remedy(what))]
    Target {
        /// The template whose file it is.
        template: String,
        /// What could not be done.
        what: sys::Error,
    },
    /// Something around the files could not be done.
    #[error("nothing was changed: {what}{}", remedy(what))]
    Untouched {
        /// What could not be done.
        what: sys::Error,
    },
    /// A failure after the first rename could not be taken back in full.
    #[error("{what}, and these files could not be restored: {}", list(left))]
    HalfDone {
        /// What could not be done.
        what: sys::Error,
        /// The files that are new while others are old.
        left: Vec<PathBuf>,
    },
}

/// What is different now.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Files that were written, by path.
    pub changed: Vec<PathBuf>,
}

/// Applies a plan, and records `state` with it, if there is a new one.
///
/// # Errors
/// See [`Error`]; unless it is [`Error::HalfDone`], every file is as it was.
pub fn apply(root: &Root, plan: &Plan, state: Option<&State>, directory: &Path) -> Result<Outcome, Error> {
    let _lock = State::lock(root, directory).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => Error::Busy(error),
        _ => Error::Untouched { what: error },
    })?;
    let untouched = |what| Error::Untouched { what };
    for leftover in &plan.leftovers {
        // Somebody's litter is no reason not to configure.
        if let Err(error) = root.place(leftover).and_then(|place| place.remove()) {
            warn!(stage = "apply", "{error}: {}", error.source);
        }
    }
    if plan.changed().next().is_none() && state.is_none() {
        return Ok(Outcome::default());
    }
    let pass = process::random_id();
    let mut places = Places::new(root);
    // Dropping what is staged removes it: an error here leaves nothing behind.
    let mut staged =
        plan.changed().map(|change| stage(&mut places, change, &pass)).collect::<Result<Vec<_>, _>>()?;
    if let Some(state) = state {
        staged.push(state.stage(&mut places, directory, &pass).map_err(untouched)?);
    }
    staged.iter().try_for_each(Staged::flush).map_err(untouched)?;
    let mut done = Vec::new();
    match commit(staged, &mut done) {
        Ok(()) => {
            done.into_iter().for_each(Committed::finish);
            Ok(Outcome { changed: plan.changed().map(|change| change.rendered.path.clone()).collect() })
        }
        Err(what) => Err(take_back(done, what)),
    }
}

fn stage(places: &mut Places<'_>, change: &Change, pass: &str) -> Result<Staged, Error> {
    let rendered = &change.rendered;
    let content = rendered.content.as_bytes();
    places
        .place(&rendered.path)
        .and_then(|place| place.stage(pass, content, rendered.mode, change.ids.owner, change.ids.group))
        .map_err(|what| Error::Target { template: rendered.template.clone(), what })
}

fn commit(staged: Vec<Staged>, done: &mut Vec<Committed>) -> sys::Result<()> {
    for file in staged {
        done.push(file.commit()?);
    }
    // One flush makes all renames of a directory durable.
    let mut flushed = BTreeSet::new();
    done.iter().filter(|file| flushed.insert(file.directory())).try_for_each(Committed::flush)
}

/// Undoes renames, the last first.
fn take_back(done: Vec<Committed>, what: sys::Error) -> Error {
    let left: Vec<PathBuf> =
        done.into_iter().rev().filter_map(|file| file.undo().err()).map(|error| error.path).collect();
    if left.is_empty() { Error::Untouched { what } } else { Error::HalfDone { what, left } }
}

/// The reason, and what would mend it where that is known.
fn remedy(error: &sys::Error) -> String {
    use std::io::ErrorKind;
    let hint = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            "; create the directory in the image, or change the template's path"
        }
        ErrorKind::ReadOnlyFilesystem => "; mount the file system for writing before the agent runs",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room on the file system",
        ErrorKind::PermissionDenied => "; run the agent as root",
        _ => "",
    };
    format!(": {}{hint}", error.source)
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
