//! Where a file goes: the directory, held open, and the name in it. All writing happens here.
//!
//! Decides how a file changes; the way to its directory is decided in [`super::walk`]. A *staged* twin is written beside
//! the target, under a name that conf.d-style readers pass over, complete with mode and owner, flushed, then exchanged
//! with it by `renameat2(2)`, after which the staged name holds the old file until the change is finished or undone. A
//! reader sees the old file or the new one, never a part.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::libc::{SYNC_FILE_RANGE_WRITE, SYS_renameat2, sync_file_range, syscall};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fsync, unlinkat};

use super::root::{names_in, read_limited, split};
use super::{Error, Result, Root};

/// What staged twins and backups are called: `.#ovf-agent.<pass>.<name>`. The `.#` is what cron.d, sudoers.d and
/// the run-parts family ignore (an editor's lock file), the rest is how a later pass knows its own.
pub const STAGED_PREFIX: &str = ".#ovf-agent.";

/// A directory, held open, and the name of a file in it, which may or may not exist.
#[derive(Debug)]
pub struct Place {
    dir: Rc<OwnedFd>,
    name: OsString,
    path: PathBuf,
}

/// A regular file as it is now.
#[derive(Clone, PartialEq, Eq)]
pub struct Current {
    /// What is in it.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl std::fmt::Debug for Current {
    /// The content of a configuration file is nobody's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Current({} bytes, {:04o} {}:{})", self.content.len(), self.mode, self.uid, self.gid)
    }
}

/// A complete new file beside its target. Dropped, it is gone again.
#[derive(Debug)]
pub struct Staged {
    place: Place,
    staged: OsString,
    /// Device and inode of what was written.
    identity: (u64, u64),
    replaces: bool,
    armed: bool,
}

/// A new file in place, the old one still at hand.
#[derive(Debug)]
#[must_use = "a committed change is finished or undone"]
pub struct Committed(Staged);

/// A lock, held for as long as this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Places in one tree, of which many may be in the same directory: each directory is held open once.
#[derive(Debug)]
pub struct Places<'a> {
    root: &'a Root,
    open: BTreeMap<PathBuf, Rc<OwnedFd>>,
}

impl<'a> Places<'a> {
    /// No place yet.
    pub fn new(root: &'a Root) -> Self {
        Self { root, open: BTreeMap::new() }
    }

    /// The place of `path`.
    ///
    /// # Errors
    /// As of [`Root::place`].
    pub fn place(&mut self, path: impl AsRef<Path>) -> Result<Place> {
        let path = path.as_ref();
        let (parent, name) = split(path)
            .ok_or_else(|| Error::new("write", path, io::Error::from(io::ErrorKind::InvalidInput)))?;
        let dir = match self.open.get(parent) {
            Some(dir) => Rc::clone(dir),
            None => {
                let dir = self.root.trusted_dir(parent);
                let dir = Rc::new(dir.map_err(|source| Error::new("open the directory", parent, source))?);
                self.open.insert(parent.to_path_buf(), Rc::clone(&dir));
                dir
            }
        };
        Ok(Place { dir, name, path: path.to_path_buf() })
    }
}

impl Root {
    /// The place of `path` in this tree.
    ///
    /// # Errors
    /// Its directory is not there, is no directory, or is reached through a link that is not to be trusted.
    pub fn place(&self, path: impl AsRef<Path>) -> Result<Place> {
        Places::new(self).place(path)
    }

    /// Makes a directory, and those above it, with mode 0755, itself with `mode`. One that exists stays as it is.
    ///
    /// # Errors
    /// One of them cannot be made.
    pub fn make_dir(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        let path = path.as_ref();
        let above: Vec<_> = path.ancestors().take_while(|p| p.parent().is_some()).collect();
        for dir in above.into_iter().rev() {
            let bits = Mode::from_bits_truncate(if dir == path { mode } else { 0o755 });
            let place = self.place(dir)?;
            match mkdirat(place.dir.as_fd(), place.name.as_os_str(), bits) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(Error::new("make the directory", dir, errno)),
            }
        }
        Ok(())
    }

    /// Renames a file within its directory, over one that may be there.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        renameat2(&from.dir, &from.name, &to.dir, &to.name, 0)
            .map_err(|errno| Error::new("rename", &from.path, errno))
    }

    /// Takes a lock file, made where it is not there (flock(2)).
    ///
    /// # Errors
    /// It cannot be made, or another process holds it (`WouldBlock`).
    pub fn lock(&self, path: impl AsRef<Path>) -> Result<Lock> {
        let place = self.place(path)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(place.dir.as_fd(), place.name.as_os_str(), flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| Error::new("open the lock", &place.path, errno))?;
        let file = File::from(fd);
        file.try_lock().map_err(|error| Error::new("take the lock", &place.path, error))?;
        Ok(Lock { _file: file })
    }
}

impl Place {
    /// The file that is there now, or `None`.
    ///
    /// # Errors
    /// What is there is not a regular file, cannot be read, or is larger than `limit` bytes.
    pub fn current(&self, limit: u64) -> Result<Option<Current>> {
        let fail = |source: io::Error| Error::new("read", &self.path, source);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = match openat(self.dir.as_fd(), self.name.as_os_str(), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => {
                return Err(fail(io::Error::other(
                    "it is a symbolic link, not a regular file; name the file itself",
                )));
            }
            Err(errno) => return Err(fail(errno.into())),
        };
        let stat = fstat(fd.as_fd()).map_err(|errno| fail(errno.into()))?;
        if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
            return Err(fail(io::Error::other("it is not a regular file")));
        }
        let content = read_limited(File::from(fd), limit).map_err(fail)?;
        Ok(Some(Current { content, mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid }))
    }

    /// The directory that the file is in, as its path names it.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// What tells this place from any other, by whatever path it is reached: the directory, and the name in it.
    ///
    /// # Errors
    /// The directory cannot be looked at.
    pub fn identity(&self) -> Result<(u64, u64, OsString)> {
        let (device, inode) =
            identity(&*self.dir).map_err(|errno| Error::new("look at", self.directory(), errno))?;
        Ok((device, inode, self.name.clone()))
    }

    /// Files in the directory that an interrupted pass left behind. Only files: a pass makes nothing else.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn leftovers(&self) -> Result<Vec<PathBuf>> {
        let parent = self.directory();
        let names = reopen(&self.dir)
            .and_then(|dir| Ok(names_in(dir)?))
            .map_err(|source| Error::new("list", parent, source))?;
        let is_file = |name: &String| {
            fstatat(self.dir.as_fd(), name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits())
        };
        let ours = names.into_iter().filter(|name| name.starts_with(STAGED_PREFIX)).filter(is_file);
        Ok(ours.map(|name| parent.join(name)).collect())
    }

    /// Removes the file; that it is gone already is fine.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self) -> Result<()> {
        match unlinkat(self.dir.as_fd(), self.name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::new("remove", &self.path, errno)),
        }
    }

    /// Writes the new file beside its target, complete but not yet flushed; `pass` tells passes apart. Owner and group
    /// stay those of the process where they are `None`. The target is not touched.
    ///
    /// # Errors
    /// The directory is read-only, the disk full, the owner not to be set: whatever it is, nothing is left behind.
    pub fn stage(
        self,
        pass: &str,
        content: &[u8],
        mode: u32,
        owner: Option<u32>,
        group: Option<u32>,
    ) -> Result<Staged> {
        let staged = staged_name(pass, &self.name);
        let replaces = fstatat(self.dir.as_fd(), self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(self.dir.as_fd(), staged.as_os_str(), flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| Error::new("create a file beside", &self.path, errno))?;
        // From here on dropping it removes the file.
        let mut this = Staged { place: self, staged, identity: (0, 0), replaces, armed: true };
        let path = this.place.path.clone();
        let fail = |action, source: io::Error| Error::new(action, &path, source);
        let mut file = File::from(fd);
        this.identity = identity(&file).map_err(|errno| fail("create a file beside", errno.into()))?;
        file.write_all(content).map_err(|source| fail("write a new version of", source))?;
        if owner.is_some() || group.is_some() {
            fchown(file.as_fd(), owner.map(Uid::from_raw), group.map(Gid::from_raw))
                .map_err(|errno| fail("set the owner of", errno.into()))?;
        }
        // After the owner: chown(2) clears set-user-ID bits.
        fchmod(file.as_fd(), Mode::from_bits_truncate(mode))
            .map_err(|errno| fail("set the mode of", errno.into()))?;
        start_writeback(&file);
        Ok(this)
    }
}

impl Staged {
    /// Makes the new file durable, under its staged name.
    ///
    /// # Errors
    /// The disk fails, or is full after all.
    pub fn flush(&self) -> Result<()> {
        // Reopened, because a thousand files held open are more than a process may have. Whoever owns the directory may
        // have put something else there, a FIFO for example, on which an open would wait.
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        openat(self.place.dir.as_fd(), self.staged.as_os_str(), flags, Mode::empty())
            .and_then(|fd| if identity(&fd)? == self.identity { fsync(fd) } else { Err(Errno::ESTALE) })
            .map_err(|errno| Error::new("write a new version of", &self.place.path, errno))
    }

    /// Puts the new file in the target's place. The old one now has the staged name.
    ///
    /// # Errors
    /// It cannot be renamed; the target is as it was and the staged file gone.
    pub fn commit(self) -> Result<Committed> {
        let flags = if self.replaces { RENAME_EXCHANGE } else { RENAME_NOREPLACE };
        self.rename(&self.staged, &self.place.name, flags)
            .map_err(|errno| Error::new("replace", &self.place.path, errno))?;
        Ok(Committed(self))
    }

    fn rename(&self, from: &OsStr, to: &OsStr, flags: u32) -> nix::Result<()> {
        renameat2(&self.place.dir, from, &self.place.dir, to, flags)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.armed {
            // Nothing can be done about a failure here; the next pass sweeps what is left.
            let _ = unlinkat(self.place.dir.as_fd(), self.staged.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

impl Committed {
    /// The directory that the file is in, as its path names it.
    pub fn directory(&self) -> &Path {
        self.0.place.directory()
    }

    /// Makes the rename durable, and those of all files in the same directory.
    ///
    /// # Errors
    /// The directory cannot be flushed.
    pub fn flush(&self) -> Result<()> {
        fsync(self.0.place.dir.as_fd())
            .map_err(|errno| Error::new("flush the directory of", &self.0.place.path, errno))
    }

    /// Takes the change back: the old file returns, or none is there if there was none.
    ///
    /// # Errors
    /// It cannot be renamed back; the old file is kept under the staged name.
    pub fn undo(mut self) -> Result<()> {
        let staged = &mut self.0;
        let flags = if staged.replaces { RENAME_EXCHANGE } else { RENAME_NOREPLACE };
        if let Err(errno) = staged.rename(&staged.place.name, &staged.staged, flags) {
            staged.armed = false;
            return Err(Error::new("restore", &staged.place.path, errno));
        }
        Ok(())
    }

    /// Accepts the change: the old file is removed when this value is dropped.
    pub fn finish(mut self) {
        if !self.0.replaces {
            // Renamed, not exchanged: the staged name is already gone.
            self.0.armed = false;
        }
    }
}

/// Device and inode.
fn identity(fd: impl AsFd) -> nix::Result<(u64, u64)> {
    fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// The staged name of a file: its own where that fits into the 255 bytes of a name, else its beginning and a number that
/// tells it from others that begin so.
fn staged_name(pass: &str, name: &OsStr) -> OsString {
    let mut staged = OsString::from(format!("{STAGED_PREFIX}{pass}."));
    if staged.len() + name.len() <= 255 {
        staged.push(name);
        return staged;
    }
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let beginning: String = name.to_string_lossy().chars().take(40).collect();
    staged.push(format!("{beginning}.{:016x}", hasher.finish()));
    staged
}

// linux/fs.h
const RENAME_NOREPLACE: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;

/// renameat2(2), which neither musl 1.2.3 nor nix for musl has.
fn renameat2(from: &OwnedFd, old: &OsStr, to: &OwnedFd, new: &OsStr, flags: u32) -> nix::Result<()> {
    let result = old.with_nix_path(|old| {
        new.with_nix_path(|new| {
            let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
            // SAFETY: the descriptors are open, the names end in NUL, and both outlive the call.
            unsafe { syscall(SYS_renameat2, from, old.as_ptr(), to, new.as_ptr(), flags) }
        })
    })??;
    Errno::result(result).map(drop)
}

/// Has the kernel begin to write a file to disk. Only advice: it makes the flushes of many files share one commit of the
/// file system's journal, where each would have cost one (sync_file_range(2), and dpkg does the same).
fn start_writeback(file: &File) {
    // SAFETY: the descriptor is open; the call takes numbers alone. Its failure changes nothing but speed.
    unsafe { sync_file_range(file.as_raw_fd(), 0, 0, SYNC_FILE_RANGE_WRITE) };
}

/// The same directory through a descriptor of its own that can be read, listed and flushed.
pub(super) fn reopen(dir: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(dir.as_fd(), ".", flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::{Root, STAGED_PREFIX};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn scratch() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("a scratch directory");
        for name in ["etc/db", "victim", "home/.ssh"] {
            fs::create_dir_all(dir.path().join(name)).expect("mkdir");
        }
        let root = Root::open(dir.path()).expect("a directory");
        (dir, root)
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(path)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_link_is_followed_only_where_nobody_else_could_have_put_it() {
        let (dir, root) = scratch();
        let at = |name: &str| dir.path().join(name);
        symlink("/victim", at("etc/ours")).expect("symlink");
        symlink("/victim", at("home/theirs")).expect("symlink");
        symlink("../../home/theirs", at("etc/db/chain")).expect("symlink");
        symlink("loop", at("etc/loop")).expect("symlink");
        symlink("../../../../etc/db", at("etc/up")).expect("symlink");
        fs::set_permissions(at("home"), fs::Permissions::from_mode(0o777)).expect("chmod");
        for (path, allowed) in [
            ("/etc/db/f", true),
            ("/etc/ours/f", true),
            ("/etc/up/f", true),
            ("/home/theirs/f", false),
            ("/etc/db/chain/f", false),
            ("/etc/loop/f", false),
            // A real directory of another user's is no way elsewhere.
            ("/home/.ssh/f", true),
        ] {
            let outcome = root.place(path).and_then(|place| place.stage("1", b"x", 0o600, None, None));
            assert_eq!(outcome.is_ok(), allowed, "{path}: {outcome:?}");
        }
        fs::set_permissions(at("home"), fs::Permissions::from_mode(0o1777)).expect("chmod");
        assert!(
            root.place("/home/theirs/f").is_ok(),
            "in a sticky directory nobody can replace what is ours"
        );
        for path in ["etc/db/f", "/etc/../f", "/"] {
            assert!(root.place(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_staged_file_is_complete_and_goes_when_it_is_dropped() {
        let (dir, root) = scratch();
        let db = dir.path().join("etc/db");
        let staged =
            root.place("/etc/db/f").and_then(|p| p.stage("7", b"new", 0o640, None, None)).expect("staged");
        let name = format!("{STAGED_PREFIX}7.f");
        assert_eq!(names(&db), [name.as_str()]);
        let meta = fs::metadata(db.join(&name)).expect("there");
        assert_eq!((meta.permissions().mode() & 0o7777, meta.len()), (0o640, 3));
        assert_eq!(root.place("/etc/db/f").and_then(|p| p.leftovers()).expect("listed").len(), 1);
        drop(staged);
        assert!(names(&db).is_empty());
    }

    #[test]
    fn what_somebody_put_in_the_staged_files_place_is_not_waited_for() {
        let (dir, root) = scratch();
        let staged =
            root.place("/etc/db/f").and_then(|p| p.stage("7", b"new", 0o640, None, None)).expect("staged");
        staged.flush().expect("flushed");
        let path = dir.path().join(format!("etc/db/{STAGED_PREFIX}7.f"));
        fs::rename(&path, dir.path().join("etc/db/ours")).expect("renamed");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        staged.flush().expect_err("a FIFO without a reader");
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "theirs").expect("write");
        staged.flush().expect_err("another file");
    }

    #[test]
    fn a_change_is_undone_or_finished() {
        for (old, undo) in [(Some("old"), true), (Some("old"), false), (None, true), (None, false)] {
            let (dir, root) = scratch();
            let file = dir.path().join("etc/db/f");
            if let Some(old) = old {
                fs::write(&file, old).expect("write");
            }
            let place = root.place("/etc/db/f").expect("a place");
            let committed = place
                .stage("1", b"new", 0o644, None, None)
                .and_then(super::Staged::commit)
                .expect("committed");
            committed.flush().expect("flushed");
            assert_eq!(fs::read(&file).expect("there"), b"new");
            if undo {
                committed.undo().expect("undone");
            } else {
                committed.finish();
            }
            let want = if undo { old } else { Some("new") };
            assert_eq!(fs::read_to_string(&file).ok().as_deref(), want, "{old:?}, undo {undo}");
            assert_eq!(
                names(&dir.path().join("etc/db")).len(),
                usize::from(want.is_some()),
                "nothing is left over"
            );
        }
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_not_overwritten() {
        let (dir, root) = scratch();
        let file = dir.path().join("etc/db/f");
        let staged =
            root.place("/etc/db/f").and_then(|p| p.stage("1", b"new", 0o644, None, None)).expect("staged");
        fs::write(&file, "theirs").expect("write");
        staged.commit().expect_err("not there when the plan was made");
        assert_eq!(fs::read(&file).expect("there"), b"theirs");
        assert_eq!(names(&dir.path().join("etc/db")), ["f"]);
    }

    #[test]
    fn only_a_regular_file_is_a_target() {
        let (dir, root) = scratch();
        symlink("/etc/passwd", dir.path().join("etc/db/link")).expect("symlink");
        fs::create_dir(dir.path().join("etc/db/dir")).expect("mkdir");
        fs::write(dir.path().join("etc/db/big"), "12345").expect("write");
        let current = |name: &str| root.place(format!("/etc/db/{name}")).and_then(|place| place.current(4));
        assert!(current("none").expect("absent is no error").is_none());
        for name in ["link", "dir", "big"] {
            current(name).expect_err(name);
        }
    }

    #[test]
    fn directories_are_made_and_locks_exclude() {
        let (dir, root) = scratch();
        root.make_dir("/var/lib/a", 0o700).expect("made");
        root.make_dir("/var/lib/a", 0o755).expect("there already");
        let mode = fs::metadata(dir.path().join("var/lib/a")).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "and as it was");
        let held = root.lock("/var/lib/a/lock").expect("free");
        let error = root.lock("/var/lib/a/lock").expect_err("held");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        drop(held);
        root.lock("/var/lib/a/lock").expect("free again");
    }
}
