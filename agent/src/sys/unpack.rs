//! A directory of files that appears whole or not at all, at a path that the caller named.
//!
//! It is filled under another name beside its place, flushed, and renamed at the end. What is dropped before that is
//! removed; what a killed process left is removed by the next that unpacks to the same place. Directories are 0700 and
//! files 0600, since nobody has said who may read them.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::syncfs;

use super::{Error, Result};

/// A directory in the making.
#[derive(Debug)]
pub struct Unpack {
    target: PathBuf,
    staged: PathBuf,
    /// Says to others that somebody is still at it; `None` once it is in its place.
    lock: Option<Flock<File>>,
}

impl Unpack {
    /// Begins, if there is nothing at the target.
    ///
    /// # Errors
    /// Something is there, another process is unpacking to it, or nothing can be made beside it.
    pub fn begin(target: &Path) -> Result<Self> {
        let fail = |error| Error::new("make the directory", target, error);
        let Some(name) = target.file_name() else {
            return Err(fail(io::Error::other("it names no new directory")));
        };
        if target.symlink_metadata().is_ok() {
            return Err(fail(io::Error::other("it is there already; name a new directory")));
        }
        let mut own = OsString::from(".#ovf-agent.");
        own.push(name);
        let staged = target.with_file_name(own);
        if staged.symlink_metadata().is_ok() {
            let left = lock(&staged).map_err(fail)?;
            fs::remove_dir_all(&staged).map_err(fail)?;
            drop(left);
        }
        DirBuilder::new().mode(0o700).create(&staged).map_err(fail)?;
        let lock = Some(lock(&staged).map_err(fail)?);
        Ok(Self { target: target.to_path_buf(), staged, lock })
    }

    /// Adds a file, and the directories on the way to it. The path is relative and has plain names only.
    ///
    /// # Errors
    /// It is there already, or cannot be written.
    pub fn add(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let relative = Path::new(path);
        let fail = |error| Error::new("write", self.target.join(relative), error);
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(fail(io::Error::from(io::ErrorKind::InvalidInput)));
        }
        if let Some(parent) = relative.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(self.staged.join(parent)).map_err(fail)?;
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.staged.join(relative))
            .and_then(|mut file| file.write_all(bytes))
            .map_err(fail)
    }

    /// Puts the directory in its place, durably.
    ///
    /// # Errors
    /// It cannot be flushed, or something has come there meanwhile.
    pub fn finish(mut self) -> Result<()> {
        let fail = |error: io::Error| Error::new("put the directory at", &self.target, error);
        if let Some(directory) = &self.lock {
            // One flush for all that was written.
            syncfs(&**directory).map_err(|errno| fail(errno.into()))?;
        }
        fs::rename(&self.staged, &self.target).map_err(fail)?;
        let directory = self.lock.take();
        directory
            .map_or(Ok(()), |directory| directory.sync_all())
            .map_err(|error| Error::new("flush", &self.target, error))
    }
}

/// Takes the lock of a directory that is being filled (flock(2)); it ends with its process.
fn lock(directory: &Path) -> io::Result<Flock<File>> {
    Flock::lock(File::open(directory)?, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => io::Error::other("another process is unpacking to it"),
        errno => errno.into(),
    })
}

impl Drop for Unpack {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // Nobody is left to be told; what failed has been said.
            let _ = fs::remove_dir_all(&self.staged);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Unpack;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let target = dir.path().join("out");
        let unpack = Unpack::begin(&target).expect("nothing is there");
        unpack.add("a/b/c.txt", b"c").expect("written");
        unpack.add("a/b/c.txt", b"c").expect_err("it is there");
        for path in ["../x", "/x", "a/../../x", "./x", ""] {
            unpack.add(path, b"x").expect_err(path);
        }
        assert!(!target.exists());
        drop(unpack);
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0, "nothing is left");

        // What a killed process left behind.
        fs::create_dir_all(dir.path().join(".#ovf-agent.out/old")).expect("mkdir");
        let unpack = Unpack::begin(&target).expect("nobody is at it any more");
        let busy = Unpack::begin(&target).expect_err("somebody is");
        assert_eq!(busy.source.to_string(), "another process is unpacking to it");
        unpack.add("a/b/c.txt", b"c").expect("written");
        unpack.add("d.txt", b"d").expect("written");
        unpack.finish().expect("renamed");
        let mode = |path: &str| fs::metadata(target.join(path)).expect(path).permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("a"), mode("a/b/c.txt")), (0o700, 0o700, 0o600));
        assert_eq!(fs::read_dir(&target).expect("a directory").count(), 2, "nothing of the one before");
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1, "and nothing beside it");
        for taken in [&target, &target.join("d.txt")] {
            Unpack::begin(taken).expect_err("it is there already");
        }
        Unpack::begin("/".as_ref()).expect_err("no name");
    }
}
