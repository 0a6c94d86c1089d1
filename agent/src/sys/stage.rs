//! A new file beside its target: complete, with mode, owner and label, and flushed, before anybody can take it for the
//! target.
//!
//! Decides what a staged twin is called and what it is made of. Names begin with `.#ovf-agent.`: the `.#` is what
//! cron.d, sudoers.d and the run-parts family ignore (an editor's lock file), the rest is how a later pass knows its own.
//! POSIX ACLs and file attributes (chattr(1)) of the old file are not carried over: a template's mode, owner and group are
//! the whole statement. What a directory's default ACL gives to new files it gives to ours.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::libc::{SYNC_FILE_RANGE_WRITE, sync_file_range};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown};

use super::place::{Place, flush, identity};
use super::{Error, Result, fault, label};

/// What staged twins and backups are called: `.#ovf-agent.<pass>.<name>`.
pub const STAGED_PREFIX: &str = ".#ovf-agent.";

/// A complete new file beside its target. Dropped, it is gone again.
#[derive(Debug)]
pub struct Staged {
    target: Place,
    staged: Place,
    /// Device and inode of what was written.
    identity: (u64, u64),
    /// Permission bits, owner and group as they came out.
    attributes: (u32, u32, u32),
    armed: bool,
}

impl Place {
    /// The place that the twin of this file has in the pass called `pass`.
    pub fn twin(&self, pass: &str) -> Place {
        self.beside(&staged_name(pass, self.name()))
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
        let staged = self.twin(pass);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        fault::step();
        let fd = openat(staged.dir().as_fd(), staged.name(), flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| Error::new("create a file beside", self.path(), errno))?;
        // From here on dropping it removes the file.
        let mut this = Staged { target: self, staged, identity: (0, 0), attributes: (0, 0, 0), armed: true };
        let path = this.target.path().to_path_buf();
        let fail = |action, source: io::Error| Error::new(action, &path, source);
        let mut file = File::from(fd);
        this.identity = identity(&file).map_err(|errno| fail("create a file beside", errno.into()))?;
        // While there is nothing in it yet, and nobody but root may open it.
        if let Some(label) = this.target.label() {
            label::set(&file, label).map_err(|source| fail("set the SELinux label of", source))?;
        }
        fault::step();
        file.write_all(content).map_err(|source| fail("write a new version of", source))?;
        if owner.is_some() || group.is_some() {
            fault::step();
            fchown(file.as_fd(), owner.map(Uid::from_raw), group.map(Gid::from_raw))
                .map_err(|errno| fail("set the owner of", errno.into()))?;
        }
        // After the owner: chown(2) clears set-user-ID bits.
        fault::step();
        fchmod(file.as_fd(), Mode::from_bits_truncate(mode))
            .map_err(|errno| fail("set the mode of", errno.into()))?;
        let stat = fstat(&file).map_err(|errno| fail("look at a new version of", errno.into()))?;
        this.attributes = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
        start_writeback(&file);
        Ok(this)
    }
}

impl Staged {
    /// Where the file is now.
    pub fn place(&self) -> &Place {
        &self.staged
    }

    /// Where the file goes.
    pub fn target(&self) -> &Place {
        &self.target
    }

    /// Permission bits, owner and group that the file has: not all file systems give what was asked for.
    pub fn attributes(&self) -> (u32, u32, u32) {
        self.attributes
    }

    /// Makes the new file durable, under its staged name.
    ///
    /// # Errors
    /// The disk fails, or is full after all.
    pub fn flush(&self) -> Result<()> {
        self.reopen()
            .and_then(flush)
            .map_err(|errno| Error::new("write a new version of", self.target.path(), errno))
    }

    /// Reopened, because a thousand files held open are more than a process may have. Whoever owns the directory may have
    /// put something else there, a FIFO for example, on which an open would wait.
    fn reopen(&self) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = openat(self.staged.dir().as_fd(), self.staged.name(), flags, Mode::empty())?;
        if identity(&fd)? == self.identity { Ok(fd) } else { Err(Errno::ESTALE) }
    }

    /// Renames the new file over its target, of which nothing is kept.
    ///
    /// # Errors
    /// It cannot be renamed; the target is as it was and the staged file gone.
    pub fn replace(mut self) -> Result<()> {
        self.staged.rename_over(&self.target)?;
        self.armed = false;
        Ok(())
    }

    /// Leaves the file where it is, for a journal to tell of.
    pub fn leave(mut self) {
        self.armed = false;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.armed {
            // Nothing can be done about a failure here; the next pass sweeps what is left.
            let _ = self.staged.remove();
        }
    }
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

/// Has the kernel begin to write a file to disk. Only advice: it makes the flushes of many files share one commit of the
/// file system's journal, where each would have cost one (sync_file_range(2), and dpkg does the same).
fn start_writeback(file: &File) {
    if fault::no_flush() {
        return;
    }
    // SAFETY: the descriptor is open; the call takes numbers alone. Its failure changes nothing but speed.
    unsafe { sync_file_range(file.as_raw_fd(), 0, 0, SYNC_FILE_RANGE_WRITE) };
}
