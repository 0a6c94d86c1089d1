//! The journal: what a pass is about to rename, written and flushed before the first rename.
//!
//! Decides its form, how each file goes from old to new and back, and what may be touched: a file is moved only where
//! its digest says that it is what the pass put or found there. Anything else has been put there by somebody since, and is
//! left. So every step can be repeated, in any order, after any interruption. When a journal is written, which way it goes,
//! and when it is done with is decided in [`super`] and [`super::recovery`].

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TARGET_LIMIT;
use crate::state::salted;
use crate::sys;
use crate::sys::place::{Current, Place, Places, Staged};

const FILE: &str = "journal.json";
const DAMAGED: &str = "journal.json.damaged";
const VERSION: u32 = 1;
const LIMIT: u64 = 64 * 1024 * 1024;

/// A pass that has begun, or is about to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Journal {
    version: u32,
    /// The pass. A state that names it says that the pass is done.
    pub(super) pass: String,
    /// The files, in the order in which they are renamed.
    pub(super) entries: Vec<Entry>,
    /// The state, renamed last.
    pub(super) state: Entry,
}

/// A file that changes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Where it is.
    target: PathBuf,
    /// What lies beside it: before the rename the new file, after it the old one.
    staged: String,
    /// The digest of the old file; `None` where there was none.
    old: Option<String>,
    /// The digest of the new file; `None` where there is to be none.
    new: Option<String>,
}

/// Which files are to be there in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Those of before the pass.
    Old,
    /// Those of the pass.
    New,
}

/// A file that stays as it is, although neither the old nor the new one is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub why: &'static str,
}

/// What is at a place.
#[derive(PartialEq, Eq)]
enum Seen {
    Nothing,
    File(String),
    /// No regular file, or none that can be read.
    Other,
}

impl Seen {
    fn is(&self, digest: &Option<String>) -> bool {
        match (self, digest) {
            (Self::Nothing, None) => true,
            (Self::File(seen), Some(digest)) => seen == digest,
            _ => false,
        }
    }
}

impl Entry {
    /// A staged file and the one that it takes the place of.
    pub(super) fn staged(pass: &str, staged: &Staged, content: &[u8], old: Option<&Current>) -> Self {
        let (mode, uid, gid) = staged.attributes();
        let new = Some(digest(pass, content, mode, uid, gid));
        Self::at(staged.target(), staged.place(), old.map(|old| digest_of(pass, old)), new)
    }

    /// A file that goes.
    pub(super) fn removal(pass: &str, place: &Place, old: &Current) -> Self {
        Self::at(place, &place.twin(pass), Some(digest_of(pass, old)), None)
    }

    fn at(target: &Place, staged: &Place, old: Option<String>, new: Option<String>) -> Self {
        let staged = staged.name().to_string_lossy().into_owned();
        Self { target: target.path().to_path_buf(), staged, old, new }
    }

    fn places(&self, places: &mut Places<'_>) -> sys::Result<(Place, Place)> {
        let target = places.place(&self.target)?;
        let staged = target.beside(OsStr::new(&self.staged));
        Ok((target, staged))
    }

    /// Puts the new file in place of the old one, without a look: both were looked at under the lock.
    pub(super) fn commit(&self, places: &mut Places<'_>) -> sys::Result<()> {
        let (target, staged) = self.places(places)?;
        match (&self.old, &self.new) {
            (Some(_), Some(_)) => staged.exchange(&target),
            (None, _) => staged.rename_to(&target),
            (Some(_), None) => target.rename_to(&staged),
        }
    }

    /// Sees to it that one side's file is there; says so where somebody else's is.
    fn settle(&self, pass: &str, places: &mut Places<'_>, side: Side) -> sys::Result<Option<Left>> {
        let left = |why| Ok(Some(Left { path: self.target.clone(), why }));
        let (wanted, other) = match side {
            Side::Old => (&self.old, &self.new),
            Side::New => (&self.new, &self.old),
        };
        let (target, staged) = match self.places(places) {
            Ok(both) => both,
            Err(error) if is_answer(&error) => return left("the way to it is another now"),
            Err(error) => return Err(error),
        };
        let (here, beside) = (seen(pass, &target)?, seen(pass, &staged)?);
        if here.is(wanted) {
            return Ok(None);
        }
        if !here.is(other) {
            return left("it was changed by hand meanwhile");
        }
        match (wanted, other) {
            (None, _) => {
                // Whatever has our name beside it is ours to remove.
                staged.remove()?;
                target.rename_to(&staged)?;
            }
            _ if !beside.is(wanted) => return left("the other version of it is not there any more"),
            (Some(_), Some(_)) => staged.exchange(&target)?,
            (Some(_), None) => staged.rename_to(&target)?,
        }
        Ok(None)
    }
}

impl Journal {
    pub(super) fn new(pass: &str, entries: Vec<Entry>, state: Entry) -> Self {
        Self { version: VERSION, pass: pass.to_owned(), entries, state }
    }

    fn place(places: &mut Places<'_>, directory: &Path) -> sys::Result<Place> {
        places.place(directory.join(FILE))
    }

    /// The journal of a pass that is not done; one that cannot be read is an error's text.
    pub(super) fn read(
        places: &mut Places<'_>,
        directory: &Path,
    ) -> sys::Result<Option<Result<Self, String>>> {
        let Some(current) = Self::place(places, directory)?.current(LIMIT)? else { return Ok(None) };
        Ok(Some(match serde_json::from_slice::<Self>(&current.content) {
            Ok(journal) if journal.version == VERSION => Ok(journal),
            Ok(journal) => Err(format!("it has version {}, and this agent knows {VERSION}", journal.version)),
            Err(_) => Err("it is damaged".to_owned()),
        }))
    }

    /// Whether there is a journal.
    pub(super) fn exists(root: &sys::Root, directory: &Path) -> bool {
        root.exists(directory.join(FILE))
    }

    /// Puts a journal that cannot be used out of the way.
    pub(super) fn set_aside(places: &mut Places<'_>, directory: &Path) -> sys::Result<()> {
        let aside = places.place(directory.join(DAMAGED))?;
        Self::place(places, directory)?.rename_over(&aside)?;
        aside.flush_directory()
    }

    /// Writes it beside its place, to be flushed with the files that it tells of.
    pub(super) fn stage(&self, places: &mut Places<'_>, directory: &Path) -> sys::Result<Staged> {
        let text = serde_json::to_vec(self).expect("plain data");
        Self::place(places, directory)?.stage(&self.pass, &text, 0o600, None, None)
    }

    /// Puts it in place, durably. From here on the pass can be taken back or finished by whoever comes next.
    pub(super) fn begin(places: &mut Places<'_>, directory: &Path, staged: Staged) -> sys::Result<()> {
        staged.replace()?;
        Self::place(places, directory)?.flush_directory()
    }

    /// Makes the renames of the files durable, each directory once.
    pub(super) fn flush(&self, places: &mut Places<'_>) -> sys::Result<()> {
        let mut flushed = BTreeSet::new();
        for entry in &self.entries {
            if flushed.insert(entry.target.parent()) {
                // One that has gone meanwhile holds nothing of ours.
                if let Ok(place) = places.place(&entry.target) {
                    place.flush_directory()?;
                }
            }
        }
        Ok(())
    }

    /// Sees to it that all files of one side are there and will be after a power cut, the state before the others where
    /// the way is back: from then on nothing says that the pass is done.
    pub(super) fn settle(&self, places: &mut Places<'_>, side: Side) -> sys::Result<Vec<Left>> {
        let mut left = Vec::new();
        if side == Side::Old {
            self.state.settle(&self.pass, places, side)?;
            self.flush_state(places)?;
        }
        for entry in self.entries.iter().rev() {
            left.extend(entry.settle(&self.pass, places, side)?);
        }
        self.flush(places)?;
        Ok(left)
    }

    pub(super) fn flush_state(&self, places: &mut Places<'_>) -> sys::Result<()> {
        places.place(&self.state.target)?.flush_directory()
    }

    /// Removes what lies beside the files, and then the journal itself. Not flushed: a journal that a power cut brings back
    /// is found to be done with once more.
    pub(super) fn finish(&self, places: &mut Places<'_>, directory: &Path, side: Side) -> sys::Result<()> {
        // A new file that stays has left its staged name.
        let beside = |entry: &&Entry| side == Side::Old || entry.old.is_some();
        for entry in self.entries.iter().chain([&self.state]).filter(beside) {
            if let Ok((_, staged)) = entry.places(places) {
                staged.remove()?;
            }
        }
        Self::place(places, directory)?.remove()
    }
}

fn seen(pass: &str, place: &Place) -> sys::Result<Seen> {
    match place.current(TARGET_LIMIT) {
        Ok(None) => Ok(Seen::Nothing),
        Ok(Some(current)) => Ok(Seen::File(digest_of(pass, &current))),
        Err(error) if is_answer(&error) => Ok(Seen::Other),
        Err(error) => Err(error),
    }
}

/// Whether an error tells what is there, rather than that it cannot be told now: a disk that fails to answer must not
/// have its files given up.
fn is_answer(error: &sys::Error) -> bool {
    let about_path = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    about_path || error.source.raw_os_error().is_none()
}

fn digest_of(pass: &str, file: &Current) -> String {
    digest(pass, &file.content, file.mode, file.uid, file.gid)
}

/// Tells a file from any other, also where only its mode or owner differs.
fn digest(pass: &str, content: &[u8], mode: u32, uid: u32, gid: u32) -> String {
    let attributes = [mode, uid, gid].map(u32::to_le_bytes);
    salted(pass, &[content, attributes.as_flattened()])
}
