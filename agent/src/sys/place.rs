//! Where a file goes: the directory, held open, and the name in it. All writing happens through places.
//!
//! Decides how a file is looked at, moved and removed; the way to its directory is decided in [`super::walk`], how a new
//! version comes to lie beside it in [`super::stage`]. A file changes by an exchange with its staged twin
//! (`renameat2(2)`), after which the staged name holds the old file: a reader sees the old file or the new one, never a
//! part. In which order files change, and when the old ones go, is decided in `apply`.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::libc::{SYS_renameat2, syscall};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{LinkatFlags, UnlinkatFlags, fsync, linkat, unlinkat};

use super::root::{names_in, read_up_to, split};
pub use super::stage::{STAGED_PREFIX, Staged};
use super::{Error, Result, Root, fault, label, process};

/// A directory, held open, and the name of a file in it, which may or may not exist.
#[derive(Debug, Clone)]
pub struct Place {
    dir: Rc<Directory>,
    name: OsString,
    path: PathBuf,
    /// The SELinux label that a new file there gets; `None` leaves it to the kernel.
    label: Option<Vec<u8>>,
}

/// A directory, held open, and what tells it from any other once somebody has asked.
#[derive(Debug)]
struct Directory {
    fd: OwnedFd,
    identity: OnceCell<(u64, u64)>,
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

/// A lock, held for as long as this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Places in one tree, of which many may be in the same directory: each directory is held open once.
#[derive(Debug)]
pub struct Places<'a> {
    root: &'a Root,
    /// By their paths as texts: to compare paths part by part costs more than all else that is done for a file.
    open: BTreeMap<OsString, Rc<Directory>>,
    labelled: Option<bool>,
    /// Whether the policy answers: one who does not is not asked a thousand times.
    policy_answers: bool,
}

impl<'a> Places<'a> {
    /// No place yet.
    pub fn new(root: &'a Root) -> Self {
        Self { root, open: BTreeMap::new(), labelled: None, policy_answers: true }
    }

    /// The place of `path`.
    ///
    /// # Errors
    /// As of [`Root::place`].
    pub fn place(&mut self, path: impl AsRef<Path>) -> Result<Place> {
        let path = path.as_ref();
        let (parent, name) = split(path)
            .ok_or_else(|| Error::new("write", path, io::Error::from(io::ErrorKind::InvalidInput)))?;
        let dir = match self.open.get(parent.as_os_str()) {
            Some(dir) => Rc::clone(dir),
            None => {
                let fd = self.root.trusted_dir(parent);
                let fd = fd.map_err(|source| Error::new("open the directory", parent, source))?;
                let dir = Rc::new(Directory { fd, identity: OnceCell::new() });
                self.open.insert(parent.into(), Rc::clone(&dir));
                dir
            }
        };
        Ok(Place { dir, name, path: path.to_path_buf(), label: None })
    }

    /// Sees to it that a new version of the file gets its SELinux label: that of the file that is there, else the policy's.
    ///
    /// # Errors
    /// The policy cannot be asked; it is not asked again. A new file gets what the kernel gives it.
    pub fn label(&mut self, place: &mut Place) -> Result<()> {
        if !*self.labelled.get_or_insert_with(|| label::are_used(self.root)) {
            return Ok(());
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(place.dir(), place.name.as_os_str(), flags, Mode::empty());
        place.label = file.ok().and_then(label::of);
        if place.label.is_none() && self.policy_answers {
            let label = label::by_policy(&place.path);
            self.policy_answers = label.is_ok();
            place.label =
                label.map_err(|source| Error::new("ask for the SELinux label of", &place.path, source))?;
        }
        Ok(())
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

    /// Puts a small file below `/run` whole, and makes its directory. Nothing is flushed: it is gone after a power cut anyway.
    ///
    /// # Errors
    /// It cannot be written; what was there still is.
    pub fn note(&self, path: &str, text: &[u8], mode: u32) -> Result<()> {
        let directory = Path::new(path).parent().unwrap_or(Path::new("/run"));
        self.make_dir(directory, 0o755)?;
        self.place(path)?.stage(&process::random_id(), text, mode, None, None)?.replace()
    }

    /// Makes a directory, and those above it, with mode 0755, itself with `mode`, durably. One that exists stays as it is.
    ///
    /// # Errors
    /// One of them cannot be made.
    pub fn make_dir(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        let path = path.as_ref();
        let mut made = Vec::new();
        let above: Vec<_> = path.ancestors().take_while(|p| p.parent().is_some()).collect();
        for dir in above.into_iter().rev() {
            let bits = Mode::from_bits_truncate(if dir == path { mode } else { 0o755 });
            let place = self.place(dir)?;
            if self.resolve(dir, OFlag::O_PATH).is_ok() {
                continue;
            }
            fault::step();
            match mkdirat(place.dir(), place.name.as_os_str(), bits) {
                Ok(()) => {
                    place.grant(bits).map_err(|errno| Error::new("make the directory", dir, errno))?;
                    made.push(place);
                }
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(Error::new("make the directory", dir, errno)),
            }
        }
        // Once all are there: the first flush then does the work of all.
        made.iter().try_for_each(Place::flush_directory)
    }

    /// Takes a lock file, made where it is not there (flock(2)).
    ///
    /// # Errors
    /// It cannot be made, or another process holds it (`WouldBlock`).
    pub fn lock(&self, path: impl AsRef<Path>) -> Result<Lock> {
        let place = self.place(path)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        fault::step();
        let fd = openat(place.dir(), place.name.as_os_str(), flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| Error::new("open the lock", &place.path, errno))?;
        let file = File::from(fd);
        file.try_lock().map_err(|error| Error::new("take the lock", &place.path, error))?;
        Ok(Lock { _file: file })
    }
}

impl Place {
    /// Gives a directory that was just made the mode that the umask of whoever started us has cut.
    fn grant(&self, bits: Mode) -> nix::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        fchmod(openat(self.dir(), self.name.as_os_str(), flags, Mode::empty())?, bits)
    }

    /// The whole path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name in the directory.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    pub(super) fn dir(&self) -> &OwnedFd {
        &self.dir.fd
    }

    pub(super) fn label(&self) -> Option<&[u8]> {
        self.label.as_deref()
    }

    /// The place with another name in the same directory.
    pub fn beside(&self, name: &OsStr) -> Self {
        let (dir, path) = (Rc::clone(&self.dir), self.path.with_file_name(name));
        Self { dir, name: name.to_owned(), path, label: None }
    }

    /// The file that is there now, or `None`.
    ///
    /// # Errors
    /// What is there is not a regular file, cannot be read, or is larger than `limit` bytes.
    pub fn current(&self, limit: u64) -> Result<Option<Current>> {
        let fail = |source: io::Error| Error::new("read", &self.path, source);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = match openat(self.dir(), self.name.as_os_str(), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => {
                return Err(fail(io::Error::other(
                    "it is a symbolic link, not a regular file; name the file itself",
                )));
            }
            // A socket.
            Err(Errno::ENXIO) => return Err(fail(io::Error::other("it is not a regular file"))),
            Err(errno) => return Err(fail(errno.into())),
        };
        let stat = fstat(fd.as_fd()).map_err(|errno| fail(errno.into()))?;
        if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
            return Err(fail(io::Error::other("it is not a regular file")));
        }
        let content = read_up_to(File::from(fd), stat.st_size as u64, limit).map_err(fail)?;
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
        let (device, inode) = match self.dir.identity.get() {
            Some(known) => *known,
            None => {
                let looked = identity(self.dir());
                let looked = looked.map_err(|errno| Error::new("look at", self.directory(), errno))?;
                *self.dir.identity.get_or_init(|| looked)
            }
        };
        Ok((device, inode, self.name.clone()))
    }

    /// Files in the directory that an interrupted pass left behind. Only files: a pass makes nothing else.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn leftovers(&self) -> Result<Vec<PathBuf>> {
        let parent = self.directory();
        let names = reopen(self.dir())
            .and_then(|dir| Ok(names_in(dir)?))
            .map_err(|source| Error::new("list", parent, source))?;
        let is_file = |name: &String| {
            fstatat(self.dir(), name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
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
        fault::step();
        match unlinkat(self.dir(), self.name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::new("remove", &self.path, errno)),
        }
    }

    /// Exchanges this file with another of the same directory; both must be there.
    ///
    /// # Errors
    /// They cannot be exchanged, and are as they were.
    pub fn exchange(&self, target: &Self) -> Result<()> {
        self.rename(target, RENAME_EXCHANGE, "replace")
    }

    /// Gives this file another name of the same directory, at which nothing may be.
    ///
    /// # Errors
    /// Something is there, or it cannot be renamed.
    pub fn rename_to(&self, target: &Self) -> Result<()> {
        self.rename(target, RENAME_NOREPLACE, "rename a file to")
    }

    /// Gives this file another name of the same directory; what was there is gone.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn rename_over(&self, target: &Self) -> Result<()> {
        self.rename(target, 0, "replace")
    }

    fn rename(&self, target: &Self, flags: u32, action: &'static str) -> Result<()> {
        fault::step();
        renameat2(self.dir(), &self.name, target.dir(), &target.name, flags)
            .map_err(|errno| Error::new(action, &target.path, errno))
    }

    /// Gives the file a second name in its directory, at which nothing may be.
    ///
    /// # Errors
    /// Something is there, or the file system has no such links.
    pub fn link(&self, name: &OsStr) -> Result<()> {
        fault::step();
        linkat(self.dir(), self.name.as_os_str(), self.dir(), name, LinkatFlags::empty())
            .map_err(|errno| Error::new("give a second name to", &self.path, errno))
    }

    /// Makes all that happened to names in this file's directory durable.
    ///
    /// # Errors
    /// The directory cannot be flushed.
    pub fn flush_directory(&self) -> Result<()> {
        flush(self.dir()).map_err(|errno| Error::new("flush the directory of", &self.path, errno))
    }
}

/// fsync(2), as a step.
pub(super) fn flush(fd: impl AsFd) -> nix::Result<()> {
    fault::step();
    if fault::no_flush() { Ok(()) } else { fsync(fd) }
}

/// Device and inode.
pub(super) fn identity(fd: impl AsFd) -> nix::Result<(u64, u64)> {
    fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
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

/// The same directory through a descriptor of its own that can be read, listed and flushed.
pub(super) fn reopen(dir: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(dir.as_fd(), ".", flags, Mode::empty())?)
}

#[cfg(test)]
mod tests;
