//! What a pass would change, before it changes anything.
//!
//! Decides which files are new, changed, unchanged, kept or removed, by comparing what was rendered with what is there
//! and with what is remembered; and who is to hear of it. Pure: the current files are arguments. How it is shown is decided in [`show`].
//!
//! A file is removed only if we made it and nobody has edited it since; a hand's work is never undone by a rule about
//! absence. One that lay there before us, right or wrong, is not ours to remove.

#![forbid(unsafe_code)]

mod show;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::state::{Owed, State, Written};
use crate::sys::place::Current;
use crate::template::Rendered;
use crate::units::Role;

/// Owner and group as numbers, where they are to be set: in the running system, not in a directory that stands for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ids {
    /// The owner.
    pub owner: Option<u32>,
    /// The group.
    pub group: Option<u32>,
}

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is not there yet.
    New,
    /// Its content, mode or owner differs.
    Changed,
    /// It is right already.
    Unchanged,
    /// It is ours, and should not be there any more.
    Removed,
    /// It is not as the template has it, and stays so.
    Kept,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
            Self::Kept => "kept",
        })
    }
}

/// One file of a plan.
#[derive(Debug)]
pub struct Change {
    /// The file as it should be.
    pub rendered: Rendered,
    /// Its owner and group as it should have them.
    pub ids: Ids,
    /// The file as it is.
    pub current: Option<Current>,
    /// What follows.
    pub action: Action,
    /// Why it is kept.
    pub why: Option<&'static str>,
}

/// A file that we once wrote, or found right, and that is no template's now.
#[derive(Debug)]
pub struct Removal {
    /// The template that made it.
    pub template: String,
    /// Where it is.
    pub path: PathBuf,
    /// The file as it is; `None` where it cannot be looked at.
    pub current: Option<Current>,
    /// What follows: it is removed or kept.
    pub action: Action,
    /// Why.
    pub why: &'static str,
    /// What is to be done when it goes.
    pub owes: Owed,
}

/// A file that is no template's now, as it was found.
#[derive(Debug)]
pub struct Gone {
    /// Where it is.
    pub path: PathBuf,
    /// Whether its template is still there, and says that the file is to stay; `None` where the template is gone.
    pub keep: Option<bool>,
    /// The file as it is; `None` where it cannot be looked at.
    pub current: Option<Current>,
}

/// What earlier passes left to be remembered.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// The state.
    pub state: &'a State,
    /// Whether this is the first boot of the instance.
    pub first_boot: bool,
}

impl Past<'_> {
    /// Whether a file is not as we left it.
    fn edited(&self, current: &Current, written: &Written) -> bool {
        current.mode != written.mode || self.state.digest(&current.content) != written.digest
    }
}

/// Everything that a pass would do.
#[derive(Debug, Default)]
pub struct Plan {
    /// The files, by path.
    pub changes: Vec<Change>,
    /// How many more files are as the last pass left them, which nothing was rendered for.
    pub as_before: usize,
    /// Files that no template makes any more, by path.
    pub removals: Vec<Removal>,
    /// What an interrupted pass left behind, to be removed.
    pub leftovers: Vec<PathBuf>,
    /// Why everything stays as it is, where there is nothing to apply.
    pub kept: Option<&'static str>,
    /// Whether a pass was interrupted, so that files are put right first.
    pub interrupted: bool,
    /// What units are to be.
    pub roles: Vec<Role>,
    /// What earlier passes have left to be done.
    pub debts: Owed,
    /// The hooks that would be run, in their order.
    pub hooks: Vec<String>,
}

impl Plan {
    /// Compares what should be with what is.
    pub fn new(
        past: Past<'_>,
        mut files: Vec<(Rendered, Ids, Option<Current>)>,
        gone: Vec<Gone>,
        leftovers: Vec<PathBuf>,
    ) -> Self {
        files.sort_by(|(a, ..), (b, ..)| a.path.cmp(&b.path));
        let changes = files
            .into_iter()
            .map(|(rendered, ids, current)| {
                let (action, why) = action(past, &rendered, ids, current.as_ref());
                Change { rendered, ids, current, action, why }
            })
            .collect();
        let mut removals: Vec<_> = gone.into_iter().filter_map(|gone| removal(past, gone)).collect();
        removals.sort_by(|a, b| a.path.cmp(&b.path));
        Self { changes, removals, ..Self::sweeping(leftovers) }
    }

    /// A plan that removes what an interrupted pass left behind, and nothing else.
    pub fn sweeping(mut leftovers: Vec<PathBuf>) -> Self {
        leftovers.sort();
        leftovers.dedup();
        Self { leftovers, ..Self::default() }
    }

    /// How many files it is about.
    pub fn len(&self) -> usize {
        self.files() + self.removals.len()
    }

    /// How many files templates make.
    pub fn files(&self) -> usize {
        self.changes.len() + self.as_before
    }

    /// Whether after it every file that is remembered is as its template has it.
    pub fn makes_all_right(&self) -> bool {
        self.changes.iter().all(|change| change.action != Action::Kept)
            && self.removals.iter().all(|removal| removal.action == Action::Removed)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.leftovers.is_empty() && !self.has_changes()
    }

    /// Whether a file would be written or removed.
    pub fn has_changes(&self) -> bool {
        self.changed().next().is_some() || self.removed().next().is_some()
    }

    /// The files that would be written.
    pub fn changed(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| matches!(change.action, Action::New | Action::Changed))
    }

    /// The files that would be removed.
    pub fn removed(&self) -> impl Iterator<Item = &Removal> {
        self.removals.iter().filter(|removal| removal.action == Action::Removed)
    }

    /// The files that would be written or removed.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let changed = self.changed().map(|change| change.rendered.path.as_path());
        changed.chain(self.removed().map(|removal| removal.path.as_path()))
    }

    /// What is to be done about the files that would change.
    pub fn owed(&self) -> Owed {
        let mut owed = Owed::default();
        self.changed().for_each(|change| owed.add(&Owed::from(&change.rendered.rules)));
        self.removed().for_each(|removal| owed.add(&removal.owes));
        owed
    }

    /// What `next` is to remember, once the plan is applied.
    pub fn remember(&self, next: &mut State) {
        let mut files = BTreeMap::new();
        for Change { rendered, ids, action, .. } in &self.changes {
            let known = next.files.remove(&rendered.path);
            let written = match action {
                Action::Kept | Action::Removed => known,
                Action::New => Some(next.written(rendered, *ids, true)),
                Action::Changed | Action::Unchanged => {
                    Some(next.written(rendered, *ids, known.is_some_and(|known| known.ours)))
                }
            };
            files.extend(written.map(|written| (rendered.path.clone(), written)));
        }
        for Removal { path, .. } in self.removals.iter().filter(|it| it.action != Action::Removed) {
            files.extend(next.files.remove_entry(path));
        }
        next.files = files;
        next.owed.add(&self.owed());
        next.roles.clone_from(&self.roles);
    }
}

fn action(
    past: Past<'_>,
    rendered: &Rendered,
    ids: Ids,
    current: Option<&Current>,
) -> (Action, Option<&'static str>) {
    let same = current.is_some_and(|current| {
        current.content == rendered.content.as_bytes()
            && current.mode == rendered.mode
            && ids.owner.is_none_or(|owner| owner == current.uid)
            && ids.group.is_none_or(|group| group == current.gid)
    });
    let edited = || match (current, past.state.files.get(&rendered.path)) {
        (Some(current), Some(written)) => past.edited(current, written),
        _ => false,
    };
    if same {
        (Action::Unchanged, None)
    } else if rendered.rules.once && !past.first_boot {
        (Action::Kept, Some("it is written in the first boot alone"))
    } else if rendered.rules.keep_edits && edited() {
        (Action::Kept, Some("it was changed by hand since the last pass"))
    } else if current.is_none() {
        (Action::New, None)
    } else {
        (Action::Changed, None)
    }
}

/// What becomes of a file that no template makes any more; `None` where nothing is remembered of it.
fn removal(past: Past<'_>, gone: Gone) -> Option<Removal> {
    let Gone { path, keep, current } = gone;
    let written = past.state.files.get(&path)?;
    let (action, why) = match (&current, keep) {
        (_, Some(true)) => (Action::Kept, "its template is not wanted now, and says absent = \"keep\""),
        _ if !written.ours => (Action::Kept, "no template makes it now, but it was there before"),
        (None, _) => (Action::Kept, "no template makes it now, but it cannot be looked at"),
        (Some(current), _) if past.edited(current, written) => {
            (Action::Kept, "no template makes it now, but it was changed by hand")
        }
        (Some(_), Some(false)) => (Action::Removed, "its template is not wanted now"),
        (Some(_), None) => (Action::Removed, "its template is gone"),
    };
    let Written { template, owes, .. } = written.clone();
    Some(Removal { template, path, current, action, why, owes })
}

#[cfg(test)]
mod tests;
