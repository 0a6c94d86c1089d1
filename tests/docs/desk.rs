//! A directory in which the commands of a page are run, as anybody, one after the other.
//!
//! Decides what a command finds there: the files that the page shows, the programs that are to be tried, and `examples`, which is the
//! repository's, to be read. Which blocks are run so is decided by those who have this module: `follow` and `host/tests/docs.rs`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::console;

/// An empty directory in which a page is followed.
pub(crate) struct Desk {
    dir: tempfile::TempDir,
    status: i32,
}

impl Desk {
    /// With these programs in its PATH, by name and place, and the examples below `top`.
    pub(crate) fn new(top: &Path, programs: &[(&str, &Path)]) -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        for name in ["bin", "desk"] {
            fs::create_dir_all(dir.path().join(name)).expect("mkdir");
        }
        for (name, place) in programs {
            symlink(place, dir.path().join("bin").join(name)).expect("linked");
        }
        let examples = top.join("examples").canonicalize().expect("examples");
        symlink(examples, dir.path().join("desk/examples")).expect("linked");
        Self { dir, status: 0 }
    }

    /// Where a file of it is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("desk").join(name)
    }

    /// Puts a file there.
    pub(crate) fn put(&self, file: &str, text: &str) {
        write(&self.path(file), text);
    }

    /// What a terminal shows of a command.
    pub(crate) fn run(&mut self, command: &str) -> String {
        let path = std::env::var("PATH").expect("PATH");
        let output = Command::new("sh")
            .args(["-c", &console::script(command, self.status)])
            .current_dir(self.path(""))
            .env_clear()
            .env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()))
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .expect("sh runs");
        self.status = output.status.code().expect("not killed");
        String::from_utf8(output.stdout).expect("text")
    }
}

/// Writes a file, and makes the directories that it is in. A script can be executed.
pub(crate) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
    fs::write(path, text).expect("written");
    if text.starts_with("#!") {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
}
