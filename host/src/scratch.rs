//! What is there for a while: directories and files that are not whole yet, and programs that make them.
//!
//! Decides that nothing of it stays, whether a command ends well, badly, or by a signal that asks for its end (SIGINT,
//! SIGTERM, SIGHUP). Of `kill -9` nobody hears: then a `.tmp...` beside the output is left, and a program that was running.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::finding::quoted;

/// How long a program may take to end that was killed: it does so at once, unless a disk hangs that it writes to.
const END: Duration = Duration::from_secs(5);

/// What is there now. Whoever holds it knows that nothing is added.
#[derive(Debug)]
struct There {
    paths: BTreeMap<u64, PathBuf>,
    /// Directories that were made for what others are to have.
    made: BTreeMap<u64, PathBuf>,
    programs: BTreeMap<u64, u32>,
    next: u64,
}

static THERE: Mutex<There> =
    Mutex::new(There { paths: BTreeMap::new(), made: BTreeMap::new(), programs: BTreeMap::new(), next: 0 });

fn there() -> MutexGuard<'static, There> {
    THERE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Something that is known as long as this is.
#[derive(Debug)]
pub struct Known(u64);

impl Drop for Known {
    fn drop(&mut self) {
        let mut there = there();
        there.paths.remove(&self.0);
        there.made.remove(&self.0);
        there.programs.remove(&self.0);
    }
}

/// A directory that goes with this.
#[derive(Debug)]
pub struct Directory {
    // In this order they are dropped: it is known until it has gone.
    directory: tempfile::TempDir,
    _known: Known,
}

impl Directory {
    /// A new one, readable by its owner alone, in another, or where such directories are.
    ///
    /// # Errors
    /// The system's.
    pub fn new(parent: Option<&Path>) -> io::Result<Self> {
        let mut there = there();
        let directory = match parent {
            Some(parent) => tempfile::tempdir_in(parent),
            None => tempfile::tempdir(),
        };
        let directory = directory.map_err(plainly)?;
        let known = there.remember(directory.path());
        Ok(Self { directory, _known: known })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Directories under names of their own, which go with this unless they are kept, or somebody else has put something into them.
#[derive(Debug)]
pub struct Made {
    // The outermost first.
    paths: Vec<PathBuf>,
    _known: Vec<Known>,
}

impl Made {
    /// Makes a directory, and those around it that are not there.
    ///
    /// # Errors
    /// The system's.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let mut there = there();
        let absent = directory.ancestors().take_while(|it| !it.as_os_str().is_empty() && !it.exists());
        let mut paths: Vec<_> = absent.map(Path::to_owned).collect();
        paths.reverse();
        let known = paths.iter().map(|it| there.remember_made(it)).collect();
        let made = fs::create_dir_all(directory);
        // To forget them, where not all could be made, takes the lock again.
        drop(there);
        let directories = Self { paths, _known: known };
        made.map(|()| directories)
    }

    /// Something is in them now, or soon.
    pub fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.paths.iter().rev() {
            let _ = fs::remove_dir(path);
        }
    }
}

/// A file that goes with this, unless it is kept under a name of its own.
#[derive(Debug)]
pub struct File {
    file: tempfile::NamedTempFile,
    _known: Known,
}

impl File {
    /// A new one, readable by its owner alone, in a directory.
    ///
    /// # Errors
    /// The system's.
    pub fn new(parent: &Path) -> io::Result<Self> {
        Self::made(tempfile::Builder::new().prefix(".tmp"), parent)
    }

    /// The same for others as well, as far as the process's mask lets them.
    ///
    /// # Errors
    /// The system's.
    pub fn for_all(parent: &Path) -> io::Result<Self> {
        let mode = fs::Permissions::from_mode(0o666);
        Self::made(tempfile::Builder::new().prefix(".tmp").permissions(mode), parent)
    }

    fn made(builder: &tempfile::Builder<'_, '_>, parent: &Path) -> io::Result<Self> {
        let mut there = there();
        let file = builder.tempfile_in(parent).map_err(plainly)?;
        let known = there.remember(file.path());
        Ok(Self { file, _known: known })
    }

    /// To write to.
    pub fn file(&mut self) -> &mut fs::File {
        self.file.as_file_mut()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Closed, for there may be thousands.
    pub fn close(self) -> Closed {
        Closed { path: self.file.into_temp_path(), _known: self._known }
    }
}

/// A file that is written.
#[derive(Debug)]
pub struct Closed {
    path: tempfile::TempPath,
    _known: Known,
}

impl Closed {
    /// Gives it its name, in the place of a file that has it now.
    ///
    /// # Errors
    /// The system's.
    pub fn keep(self, path: &Path) -> io::Result<()> {
        self.path.persist(path).map_err(|error| error.error)
    }
}

impl There {
    fn remember(&mut self, path: &Path) -> Known {
        self.next += 1;
        self.paths.insert(self.next, path.to_owned());
        Known(self.next)
    }

    fn remember_made(&mut self, path: &Path) -> Known {
        self.next += 1;
        self.made.insert(self.next, path.to_owned());
        Known(self.next)
    }
}

/// What the system says, without a name that was made up.
fn plainly(error: io::Error) -> io::Error {
    match error.to_string().rsplit_once(" at path \"") {
        Some((said, _)) => io::Error::new(error.kind(), said.to_owned()),
        None => error,
    }
}

/// Starts a program that leads a group of its own.
///
/// # Errors
/// The system's.
pub(crate) fn start(command: &mut Command) -> io::Result<(Child, Known)> {
    let mut there = there();
    let child = command.spawn()?;
    there.next += 1;
    let number = there.next;
    there.programs.insert(number, child.id());
    Ok((child, Known(number)))
}

/// Why nothing can be where such things are, and what to do.
pub fn unwritten(error: &io::Error) -> String {
    let place = quoted(&env::temp_dir().to_string_lossy());
    format!("temporary files cannot be written in {place}: {error}; name another directory by TMPDIR")
}

/// From now on, a signal that asks for our end takes all of it along.
///
/// # Errors
/// The system's.
pub fn guard() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Held to the end: nothing new begins, and who has just lost a program waits here.
            let there = there();
            let programs = there.programs.values().filter_map(|&it| Pid::from_raw(i32::try_from(it).ok()?));
            let programs: Vec<_> = programs.collect();
            for &group in &programs {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let deadline = Instant::now() + END;
            for program in programs {
                while runs(program) && Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(2));
                }
            }
            for path in there.paths.values() {
                remove(path);
            }
            for path in there.made.values().rev() {
                let _ = fs::remove_dir(path);
            }
            let _ = emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

/// Whether a program of ours has not ended. Who has started it may be waiting for it, too, and is to hear how it ended.
fn runs(program: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::Pid(program), options), Ok(None))
}

/// Somebody may be putting files there at this very moment.
fn remove(path: &Path) {
    for _ in 0..100 {
        let gone = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        if gone.is_ok() || !path.exists() {
            return;
        }
    }
}
