//! A directory of files that appears whole or not at all, at a path that the caller named.
//!
//! It is filled under another name beside its place and renamed at the end (rename(2) takes the place of an empty
//! directory, and of no other). What is dropped before that is removed. Directories are 0700 and files 0600, since nobody
//! has said who may read them.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use super::process::random_id;
use super::{Error, Result};

/// A directory in the making.
#[derive(Debug)]
pub struct Unpack {
    target: PathBuf,
    staged: PathBuf,
    done: bool,
}

impl Unpack {
    /// Begins, if the target is not there or is an empty directory.
    ///
    /// # Errors
    /// It is there, or nothing can be made beside it.
    pub fn begin(target: &Path) -> Result<Self> {
        let fail = |error| Error::new("make the directory", target, error);
        if fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(fail(io::Error::other("it is there and not empty; name a new one")));
        }
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let staged = parent.unwrap_or(Path::new(".")).join(format!(".#ovf-agent.{}", random_id()));
        let unpack = Self { target: target.to_path_buf(), staged, done: false };
        unpack.make_dir(Path::new("")).map_err(fail)?;
        Ok(unpack)
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
        if let Some(parent) = relative.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.make_dir(parent).map_err(fail)?;
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.staged.join(relative))
            .and_then(|mut file| file.write_all(bytes))
            .map_err(fail)
    }

    /// Puts the directory in its place.
    ///
    /// # Errors
    /// Something has come there meanwhile.
    pub fn finish(mut self) -> Result<()> {
        fs::rename(&self.staged, &self.target)
            .map_err(|error| Error::new("put the directory at", &self.target, error))?;
        self.done = true;
        Ok(())
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(!path.as_os_str().is_empty()).mode(0o700).create(self.staged.join(path))
    }
}

impl Drop for Unpack {
    fn drop(&mut self) {
        if !self.done {
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

        fs::create_dir(&target).expect("mkdir");
        let unpack = Unpack::begin(&target).expect("an empty directory is as good as none");
        unpack.add("a/b/c.txt", b"c").expect("written");
        unpack.add("d.txt", b"d").expect("written");
        unpack.finish().expect("renamed");
        let mode = |path: &str| fs::metadata(target.join(path)).expect(path).permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("a"), mode("a/b/c.txt")), (0o700, 0o700, 0o600));
        Unpack::begin(&target).expect_err("not empty");
    }
}
