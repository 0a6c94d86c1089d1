//! Makes a plan true: all of it or nothing, whatever happens meanwhile.
//!
//! Decides the order. Under the lock: stage every file, have it judged, stage the state, flush them all, write the journal,
//! and only then rename the first; flush the directories; have what is in place judged; rename the state, with what is owed
//! to units: from then on an interrupted pass is finished and not taken back. Let units hear of the files; sweep what is
//! old, and the journal last. Before the journal a failure leaves the machine untouched; after it, it is taken back, by us
//! or, if we are gone, by whoever comes next ([`recovery`]). A unit that refuses its file has all files taken back, and those
//! that took theirs hear of the old ones. What the files should be is decided by `plan`; how one file goes from old to new
//! and back by [`journal`].
//!
//! Whoever judges and hears is awaited, so that a loop can drive a pass by steps; the rest is done at once.

#![forbid(unsafe_code)]

mod audience;
mod error;
mod journal;
mod recovery;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::plan::{Change, Plan};
use crate::state::{self, Owed, State};
use crate::sys::clock::now;
use crate::sys::place::{Current, Places, Staged};
use crate::sys::{self, Root, process};
use crate::times::What;
use crate::units::roles;
use error::Why;
use journal::{Entry, Journal, Side};

pub use audience::{Audience, Heard};
pub use error::Error;
pub use journal::Left;
pub use recovery::{Recovered, interrupted, recover};

/// The largest target file that is compared with its new version.
pub const TARGET_LIMIT: u64 = 64 * 1024 * 1024;

/// What is different now.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Files that were written or removed.
    pub changed: Vec<PathBuf>,
    /// What went wrong with those who heard of it, although the files stay; empty if nothing did.
    pub wrong: String,
}

/// What is remembered: as the plan was made from it, and as it is to be.
#[derive(Debug, Clone, Copy)]
pub struct Memory<'a> {
    /// What the plan was made from.
    pub before: &'a state::Memory,
    /// The state after the plan.
    pub after: &'a State,
}

/// Applies a plan and records the state that comes with it.
///
/// # Errors
/// See [`Error`]; unless it says otherwise, every file is as it was.
pub async fn apply(
    root: &Root,
    plan: &Plan,
    memory: Memory<'_>,
    directory: &Path,
    audience: &mut impl Audience,
) -> Result<Outcome, Error> {
    let begin = now();
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
    if memory.before.is_damaged()
        && *memory.after != memory.before.state
        && let Err(error) = State::set_aside(&mut places, directory)
    {
        warn!(stage = "apply", "the lost state cannot be kept, and is replaced: {error}: {}", error.source);
    }
    if !plan.has_changes() {
        if memory.before.is_damaged() || *memory.after != memory.before.state {
            audience.before().await.map_err(|refusal| Error::Refused(vec![*refusal]))?;
            memory.after.save(&mut places, directory).map_err(untouched)?;
        }
        let heard = audience.hear(plan, &memory.after.roles, &memory.after.owed).await;
        owe(memory.after.clone(), heard.left, &mut places, directory);
        return Ok(Outcome { changed: Vec::new(), wrong: heard.wrong });
    }
    audience.took(What::Lock, begin);
    let journal = stage(&mut places, plan, memory.after, directory, audience).await?;
    if let Err(why) = commit(&journal, &mut places, plan, audience).await {
        return Err(undone(undo(&journal, &mut places, directory), why));
    }
    let heard = audience.hear(plan, &memory.after.roles, &memory.after.owed).await;
    if heard.refused {
        return Err(unheard(&journal, &mut places, plan, memory, directory, audience, heard).await);
    }
    let begin = now();
    let swept = journal.finish(&mut places, directory, Side::New);
    audience.took(What::Sweep, begin);
    if let Err(error) = swept {
        // The pass is done, as the state says; the next one sweeps what this one could not.
        warn!(stage = "apply", "{error}: {}", error.source);
    }
    owe(memory.after.clone().with_pass(&journal.pass), heard.left, &mut places, directory);
    Ok(Outcome { changed: plan.paths().map(Path::to_path_buf).collect(), wrong: heard.wrong })
}

/// Remembers what is still owed, where that is another than the state says. Where it cannot be remembered, what was done is
/// done once more; that is all.
fn owe(mut state: State, left: Owed, places: &mut Places<'_>, directory: &Path) {
    if state.owed == left {
        return;
    }
    state.owed = left;
    if let Err(error) = state.save(places, directory) {
        warn!(stage = "apply", "cannot record what is done: {error}: {}", error.source);
    }
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
    if interrupted(root, directory) || !memory.before.is_current(root) {
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
async fn stage(
    places: &mut Places<'_>,
    plan: &Plan,
    state: &State,
    directory: &Path,
    audience: &mut impl Audience,
) -> Result<Journal, Error> {
    let untouched = |what| Error::Untouched { what };
    let begin = now();
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
    audience.took(What::Write, begin);
    let mut refusals = Vec::new();
    for (change, file) in plan.changed().zip(&staged) {
        refusals.extend(audience.check(change, file.place().path()).await.err().map(|refusal| *refusal));
    }
    if !refusals.is_empty() {
        return Err(Error::Refused(refusals));
    }
    audience.before().await.map_err(|refusal| Error::Refused(vec![*refusal]))?;
    let begin = now();
    for file in plan.removed() {
        let place = places.place(&file.path).map_err(|what| failed(&file.template, what))?;
        entries.extend(file.current.as_ref().map(|current| Entry::removal(&pass, &place, current)));
    }
    let place = State::place(places, directory).map_err(untouched)?;
    let old = place.current(u64::MAX - 1).map_err(untouched)?;
    let bytes = state.to_bytes();
    let file = State::stage(&bytes, places, directory, &pass).map_err(untouched)?;
    let entry = Entry::staged(&pass, &file, &bytes, old.as_ref());
    staged.push(file);
    let journal = Journal::new(&pass, entries, entry);
    let written = journal.stage(places, directory).map_err(untouched)?;
    staged.iter().chain([&written]).try_for_each(Staged::flush).map_err(untouched)?;
    Journal::begin(places, directory, written).map_err(untouched)?;
    audience.took(What::Flush, begin);
    staged.into_iter().for_each(Staged::leave);
    Ok(journal)
}

fn stage_file(places: &mut Places<'_>, change: &Change, pass: &str) -> sys::Result<Staged> {
    let Change { rendered, ids, .. } = change;
    let mut place = places.place(&rendered.path)?;
    if let Err(error) = places.label(&mut place) {
        warn!(stage = "apply", "{error}: {}", error.source);
    }
    place.stage(pass, rendered.content.as_bytes(), rendered.mode, ids.owner, ids.group)
}

/// The renames: the files, and when these are durable and judged to be right the state.
async fn commit(
    journal: &Journal,
    places: &mut Places<'_>,
    plan: &Plan,
    audience: &mut impl Audience,
) -> Result<(), Why> {
    let begin = now();
    journal.entries.iter().try_for_each(|entry| entry.commit(places))?;
    journal.flush(places)?;
    audience.took(What::Rename, begin);
    verify(plan, audience).await?;
    let begin = now();
    journal.state.commit(places)?;
    journal.flush_state(places)?;
    audience.took(What::State, begin);
    Ok(())
}

/// Each program once, however many files ask for it.
async fn verify(plan: &Plan, audience: &mut impl Audience) -> Result<(), Why> {
    let mut asked = BTreeSet::new();
    let mut refusals = Vec::new();
    for Change { rendered, .. } in plan.changed() {
        if let Some(argv) = &rendered.rules.verify
            && asked.insert(argv)
        {
            let verdict = audience.verify(&rendered.template, argv).await;
            refusals.extend(verdict.err().map(|refusal| *refusal));
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(Why::Refused(refusals)) }
}

/// Undoes what was done of a journal; which files are not as they were nevertheless.
fn undo(journal: &Journal, places: &mut Places<'_>, directory: &Path) -> sys::Result<Vec<Left>> {
    let left = journal.settle(places, Side::Old)?;
    journal.finish(places, directory, Side::Old)?;
    Ok(left)
}

fn undone(undone: sys::Result<Vec<Left>>, why: Why) -> Error {
    match undone {
        Ok(left) if left.is_empty() => why.untouched(),
        Ok(left) => Error::Left { what: why.text(), left },
        Err(back) => Error::HalfDone { what: why.text(), back },
    }
}

/// Undoes a pass that was done already, because somebody cannot do with its files, and lets everybody hear of the old ones.
async fn unheard(
    journal: &Journal,
    places: &mut Places<'_>,
    plan: &Plan,
    memory: Memory<'_>,
    directory: &Path,
    audience: &mut impl Audience,
    heard: Heard,
) -> Error {
    let wrong = heard.wrong;
    let mut before = memory.before.state.clone();
    before.owed.add(&heard.back);
    // Whoever finds this knows that the pass is not done, and who has to hear of the old files. What was left of a damaged
    // state is not worth it: that comes back with the files.
    if !memory.before.is_damaged()
        && let Err(back) = before.save(places, directory)
    {
        return Error::HalfDone { what: wrong, back };
    }
    let outcome = undo(journal, places, directory);
    let again = match &outcome {
        Ok(_) => {
            let roles = roles::all(before.roles.clone(), &memory.after.roles);
            audience.hear(plan, &roles, &before.owed).await
        }
        Err(_) => Heard { left: before.owed.clone(), ..Heard::default() },
    };
    if !memory.before.is_damaged() {
        owe(before, again.left, places, directory);
    }
    undone(outcome, Why::Unheard { wrong, again: again.wrong })
}

fn failed(template: &str, what: sys::Error) -> Error {
    Error::Target { template: template.to_owned(), what }
}

#[cfg(test)]
mod tests;
