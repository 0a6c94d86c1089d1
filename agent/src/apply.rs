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
    for change in &plan.changes {
        up_to_date(&mut places, change)?;
    }
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

/// A plan is made without the lock, which a pass that changes nothing need not take; so what it was made from is looked
/// at once more.
fn up_to_date(places: &mut Places<'_>, change: &Change) -> Result<(), Error> {
    let path = &change.rendered.path;
    let current = places.place(path).and_then(|place| place.current(TARGET_LIMIT));
    match current.map_err(|what| change.failed(what))? == change.current {
        true => Ok(()),
        false => Err(Error::Overtaken { path: path.clone() }),
    }
}

fn stage(places: &mut Places<'_>, change: &Change, pass: &str) -> Result<Staged, Error> {
    let rendered = &change.rendered;
    let content = rendered.content.as_bytes();
    places
        .place(&rendered.path)
        .and_then(|place| place.stage(pass, content, rendered.mode, change.ids.owner, change.ids.group))
        .map_err(|what| change.failed(what))
}

impl Change {
    fn failed(&self, what: sys::Error) -> Error {
        Error::Target { template: self.rendered.template.clone(), what }
    }
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

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test makes the machine that the agent finds")]

    use super::{Error, Outcome, apply};
    use crate::plan::{Ids, Plan};
    use crate::state::State;
    use crate::sys::Root;
    use crate::template::{Rendered, Rules, Shown};
    use std::fs;
    use std::path::Path;
    use zeroize::Zeroizing;

    const STATE: &str = "/var/lib/ovf-agent";

    fn rendered(path: &str, content: &str) -> Rendered {
        Rendered {
            template: "templates/t.tera".to_owned(),
            path: path.into(),
            mode: 0o644,
            owner: None,
            group: None,
            content: Zeroizing::new(content.to_owned()),
            shown: Shown::Content,
            rules: Rules::default(),
        }
    }

    /// A machine with `/etc/a` and `/etc/b`, and the plan that makes both `new`.
    fn machine() -> (tempfile::TempDir, Root, Plan) {
        let dir = tempfile::tempdir().expect("a scratch directory");
        fs::create_dir(dir.path().join("etc")).expect("mkdir");
        let root = Root::open(dir.path()).expect("a directory");
        let files = ["/etc/a", "/etc/b"].map(|path| {
            fs::write(dir.path().join(&path[1..]), "old").expect("write");
            let current = root.place(path).and_then(|place| place.current(100)).expect("readable");
            (rendered(path, "new"), Ids::default(), current)
        });
        let plan = Plan::new(files.into(), Vec::new());
        (dir, root, plan)
    }

    fn contents(dir: &Path) -> [String; 2] {
        ["a", "b"].map(|name| fs::read_to_string(dir.join("etc").join(name)).expect("there"))
    }

    fn run(root: &Root, plan: &Plan) -> Result<Outcome, Error> {
        apply(root, plan, Some(&State::default().with_generation(1)), Path::new(STATE))
    }

    #[test]
    fn a_plan_is_applied_and_recorded() {
        let (dir, root, plan) = machine();
        assert_eq!(run(&root, &plan).expect("applied").changed.len(), 2);
        assert_eq!(contents(dir.path()), ["new", "new"]);
        assert_eq!(State::load(&root, Path::new(STATE)).0.generation, 1);
        assert_eq!(fs::read_dir(dir.path().join("etc")).expect("listed").count(), 2, "nothing is left over");
    }

    #[test]
    fn a_plan_that_was_overtaken_changes_nothing() {
        let (dir, root, plan) = machine();
        fs::write(dir.path().join("etc/b"), "theirs").expect("write");
        let error = run(&root, &plan).expect_err("overtaken");
        assert!(matches!(&error, Error::Overtaken { path } if path == Path::new("/etc/b")), "{error:?}");
        assert_eq!(contents(dir.path()), ["old", "theirs"]);
    }

    #[test]
    fn what_was_renamed_is_taken_back() {
        let (dir, root, _) = machine();
        let staged = ["/etc/a", "/etc/c"].map(|path| {
            root.place(path).and_then(|place| place.stage("1", b"new", 0o644, None, None)).expect("staged")
        });
        // The second was not there when it was staged, and is when it is to be renamed.
        fs::write(dir.path().join("etc/c"), "theirs").expect("write");
        let mut done = Vec::new();
        let what = super::commit(staged.into(), &mut done).expect_err("in the way");
        assert_eq!(contents(dir.path()), ["new", "old"], "the first is in place already");
        let error = super::take_back(done, what);
        assert!(matches!(error, Error::Untouched { .. }), "{error:?}");
        assert_eq!(contents(dir.path()), ["old", "old"]);
        assert_eq!(fs::read(dir.path().join("etc/c")).expect("there"), b"theirs");
        assert_eq!(fs::read_dir(dir.path().join("etc")).expect("listed").count(), 3, "nothing is left over");
    }
}
