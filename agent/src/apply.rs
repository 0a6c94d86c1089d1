//! Makes a plan true: all of it or nothing, whatever happens meanwhile.
//!
//! Decides the order. Under the lock: stage every file, have it judged, stage the state, flush them all, write the journal,
//! and only then rename the first; flush the directories; have what is in place judged; rename the state, which is the
//! moment at which the pass is done; sweep what is old, and the journal last. Before the journal a failure leaves the machine untouched; after it, it is taken back, by us or, if
//! we are gone, by whoever comes next ([`recovery`]). What the files should be is decided by `plan`; how one file goes
//! from old to new and back by [`journal`].

#![forbid(unsafe_code)]

mod journal;
mod recovery;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::checks::Refusal;
use crate::plan::{Change, Plan};
use crate::state::State;
use crate::sys::place::{Current, Places, Staged};
use crate::sys::{self, Root, process};
use journal::{Entry, Journal, Side};

pub use journal::Left;
pub use recovery::{Recovered, interrupted, recover};

/// The largest target file that is compared with its new version.
pub const TARGET_LIMIT: u64 = 64 * 1024 * 1024;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another pass is under way.
    #[error("another ovf-agent is applying; try again when it is done")]
    Busy(#[source] sys::Error),
    /// Somebody changed a file after the plan was made.
    #[error("{} was changed while the plan for it was made; try again", path.display())]
    Overtaken {
        /// The first such file.
        path: PathBuf,
    },
    /// A file could not be staged, renamed or recorded.
    #[error("nothing was changed: {template}: {what}{}", remedy(what))]
    Target {
        /// The template whose file it is.
        template: String,
        /// What could not be done.
        what: sys::Error,
    },
    /// Programs do not accept the files.
    #[error("nothing was changed: {}", refusals(.0))]
    Refused(Vec<Refusal>),
    /// Something around the files could not be done.
    #[error("nothing was changed: {what}{}", remedy(what))]
    Untouched {
        /// What could not be done.
        what: sys::Error,
    },
    /// A failure after the first rename was taken back, except for files that somebody changed meanwhile.
    #[error("{what}{}; what was written is taken back, but not {}", remedy(what), list(left))]
    Left {
        /// What could not be done.
        what: sys::Error,
        /// The files.
        left: Vec<Left>,
    },
    /// A failure after the first rename could not be taken back.
    #[error(
        "{what}{}; and what was written cannot be taken back: {back}{}; the next pass tries again",
        remedy(what),
        remedy(back)
    )]
    HalfDone {
        /// What could not be done.
        what: sys::Error,
        /// What keeps it from being taken back.
        back: sys::Error,
    },
    /// An earlier pass that was interrupted can neither be taken back nor finished.
    #[error("an earlier pass was interrupted, and its files cannot be put right: {what}{}", remedy(what))]
    Interrupted {
        /// What could not be done.
        what: sys::Error,
    },
}

/// What is different now.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Files that were written or removed.
    pub changed: Vec<PathBuf>,
}

/// What is remembered: as the plan was made from it, and as it is to be.
#[derive(Debug, Clone, Copy)]
pub struct Memory<'a> {
    /// The state that the plan was made from.
    pub before: &'a State,
    /// Whether that is what was left of a state that cannot be used.
    pub damaged: bool,
    /// The state after the plan.
    pub after: &'a State,
}

/// Whoever judges files for a pass.
pub trait Judge {
    /// Whether a staged file may be put in place; it has all that the file will have but its name.
    ///
    /// # Errors
    /// It may not.
    fn check(&mut self, change: &Change, staged: &Path) -> Result<(), Box<Refusal>>;

    /// Whether what is in place is right, before it is final.
    ///
    /// # Errors
    /// It is not.
    fn verify(&mut self, template: &str, argv: &[String]) -> Result<(), Box<Refusal>>;
}

/// Why the renames were not finished.
#[derive(Debug)]
enum Why {
    System(sys::Error),
    Refused(Vec<Refusal>),
}

impl From<sys::Error> for Why {
    fn from(error: sys::Error) -> Self {
        Self::System(error)
    }
}

impl Why {
    fn untouched(self) -> Error {
        match self {
            Self::System(what) => Error::Untouched { what },
            Self::Refused(refusals) => Error::Refused(refusals),
        }
    }

    fn error(self) -> sys::Error {
        match self {
            Self::System(what) => what,
            Self::Refused(refusals) => {
                let list: Vec<_> = refusals.iter().map(ToString::to_string).collect();
                sys::Error::new("have verified", "the files", std::io::Error::other(list.join("; ")))
            }
        }
    }
}

/// Applies a plan and records the state that comes with it.
///
/// # Errors
/// See [`Error`]; unless it says otherwise, every file is as it was.
pub fn apply(
    root: &Root,
    plan: &Plan,
    memory: Memory<'_>,
    directory: &Path,
    judge: &mut dyn Judge,
) -> Result<Outcome, Error> {
    let untouched = |what| Error::Untouched { what };
    let _lock = lock(root, directory, untouched)?;
    let mut places = Places::new(root);
    not_overtaken(root, &mut places, plan, memory, directory)?;
    for leftover in &plan.leftovers {
        // Somebody's litter is no reason not to configure.
        if let Err(error) = places.place(leftover).and_then(|place| place.remove()) {
            warn!(stage = "apply", "{error}: {}", error.source);
        }
    }
    if memory.damaged
        && memory.after != memory.before
        && let Err(error) = State::set_aside(&mut places, directory)
    {
        warn!(stage = "apply", "the lost state cannot be kept, and is replaced: {error}: {}", error.source);
    }
    if !plan.has_changes() {
        if memory.damaged || memory.after != memory.before {
            memory.after.save(&mut places, directory).map_err(untouched)?;
        }
        return Ok(Outcome::default());
    }
    let journal = stage(&mut places, plan, memory.after, directory, judge)?;
    match commit(&journal, &mut places, plan, judge) {
        Ok(()) => {}
        Err(why) => return Err(take_back(&journal, &mut places, directory, why)),
    }
    if let Err(error) = journal.finish(&mut places, directory, Side::New) {
        // The pass is done, as the state says; the next one sweeps what this one could not.
        warn!(stage = "apply", "{error}: {}", error.source);
    }
    let written = plan.changed().map(|change| &change.rendered.path);
    Ok(Outcome { changed: written.chain(plan.removed().map(|removal| &removal.path)).cloned().collect() })
}

fn lock(
    root: &Root,
    directory: &Path,
    otherwise: impl Fn(sys::Error) -> Error,
) -> Result<sys::place::Lock, Error> {
    State::lock(root, directory).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => Error::Busy(error),
        _ => otherwise(error),
    })
}

/// A plan is made without the lock, which a pass that changes nothing need not take; so what it was made from is looked
/// at once more.
fn not_overtaken(
    root: &Root,
    places: &mut Places<'_>,
    plan: &Plan,
    memory: Memory<'_>,
    directory: &Path,
) -> Result<(), Error> {
    let overtaken = |path: &Path| Err(Error::Overtaken { path: path.to_path_buf() });
    if interrupted(root, directory) || State::load(root, directory).0 != *memory.before {
        return overtaken(directory);
    }
    let mut same = |path: &Path, template: &str, was: Option<&Current>| {
        let now = places.place(path).and_then(|place| place.current(TARGET_LIMIT));
        match now.map_err(|what| failed(template, what))?.as_ref() == was {
            true => Ok(()),
            false => overtaken(path),
        }
    };
    for Change { rendered, current, .. } in &plan.changes {
        same(&rendered.path, &rendered.template, current.as_ref())?;
    }
    plan.removed().try_for_each(|file| same(&file.path, &file.template, file.current.as_ref()))
}

/// Everything up to the journal. Dropping what is staged removes it: an error here leaves nothing behind.
fn stage(
    places: &mut Places<'_>,
    plan: &Plan,
    state: &State,
    directory: &Path,
    judge: &mut dyn Judge,
) -> Result<Journal, Error> {
    let untouched = |what| Error::Untouched { what };
    let pass = process::random_id();
    let state = state.clone().with_pass(&pass);
    let mut staged = Vec::new();
    let mut entries = Vec::new();
    for change in plan.changed() {
        let file =
            stage_file(places, change, &pass).map_err(|what| failed(&change.rendered.template, what))?;
        entries.push(Entry::staged(
            &pass,
            &file,
            change.rendered.content.as_bytes(),
            change.current.as_ref(),
        ));
        staged.push(file);
    }
    let judged = plan.changed().zip(&staged).map(|(change, file)| judge.check(change, file.place().path()));
    let refusals: Vec<_> = judged.filter_map(Result::err).map(|refusal| *refusal).collect();
    if !refusals.is_empty() {
        return Err(Error::Refused(refusals));
    }
    for file in plan.removed() {
        let place = places.place(&file.path).map_err(|what| failed(&file.template, what))?;
        entries.extend(file.current.as_ref().map(|current| Entry::removal(&pass, &place, current)));
    }
    let place = State::place(places, directory).map_err(untouched)?;
    let old = place.current(u64::MAX - 1).map_err(untouched)?;
    let file = state.stage(places, directory, &pass).map_err(untouched)?;
    let entry = Entry::staged(&pass, &file, &state.to_bytes(), old.as_ref());
    staged.push(file);
    let journal = Journal::new(&pass, entries, entry);
    let written = journal.stage(places, directory).map_err(untouched)?;
    staged.iter().chain([&written]).try_for_each(Staged::flush).map_err(untouched)?;
    Journal::begin(places, directory, written).map_err(untouched)?;
    staged.into_iter().for_each(Staged::leave);
    Ok(journal)
}

fn stage_file(places: &mut Places<'_>, change: &Change, pass: &str) -> sys::Result<Staged> {
    let Change { rendered, ids, .. } = change;
    let place = places.place(&rendered.path)?;
    let label = places.label(&place);
    let staged = place.stage(pass, rendered.content.as_bytes(), rendered.mode, ids.owner, ids.group)?;
    label.map_or(Ok(()), |label| staged.set_label(&label))?;
    Ok(staged)
}

/// The renames: the files, and when these are durable and judged to be right the state.
fn commit(journal: &Journal, places: &mut Places<'_>, plan: &Plan, judge: &mut dyn Judge) -> Result<(), Why> {
    journal.entries.iter().try_for_each(|entry| entry.commit(places))?;
    journal.flush(places)?;
    verify(plan, judge)?;
    journal.state.commit(places)?;
    Ok(journal.flush_state(places)?)
}

/// Each program once, however many files ask for it.
fn verify(plan: &Plan, judge: &mut dyn Judge) -> Result<(), Why> {
    let mut asked = BTreeSet::new();
    let mut refusals = Vec::new();
    for Change { rendered, .. } in plan.changed() {
        if let Some(argv) = &rendered.rules.verify
            && asked.insert(argv)
        {
            refusals.extend(judge.verify(&rendered.template, argv).err().map(|refusal| *refusal));
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(Why::Refused(refusals)) }
}

/// Undoes what was done of a journal.
fn take_back(journal: &Journal, places: &mut Places<'_>, directory: &Path, why: Why) -> Error {
    let settled = journal.settle(places, Side::Old);
    match settled.and_then(|left| journal.finish(places, directory, Side::Old).map(|()| left)) {
        Ok(left) if left.is_empty() => why.untouched(),
        Ok(left) => Error::Left { what: why.error(), left },
        Err(back) => Error::HalfDone { what: why.error(), back },
    }
}

fn failed(template: &str, what: sys::Error) -> Error {
    Error::Target { template: template.to_owned(), what }
}

/// The reason, and what would mend it where that is known.
fn remedy(error: &sys::Error) -> String {
    let hint = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            "; create the directory in the image, or change the template's path"
        }
        ErrorKind::ReadOnlyFilesystem => "; mount the file system for writing before the agent runs",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room on the file system",
        ErrorKind::PermissionDenied if process::euid() == 0 => {
            "; it may be immutable (lsattr shows an i, chattr -i takes it away)"
        }
        ErrorKind::PermissionDenied => "; run the agent as root",
        ErrorKind::ResourceBusy | ErrorKind::CrossesDevices => {
            "; something is mounted on it: unmount that, or have a template write what is mounted there"
        }
        ErrorKind::InvalidInput if error.action == "replace" => {
            "; its file system cannot exchange two files (renameat2): put the file on one that can"
        }
        _ => "",
    };
    format!(": {}{hint}", error.source)
}

fn refusals(list: &[Refusal]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn list(left: &[Left]) -> String {
    left.iter().map(|Left { path, why }| format!("{} ({why})", path.display())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
