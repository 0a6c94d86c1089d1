//! The machine that libvirt is on, as far as a deployment's files and sockets are concerned.
//!
//! Decides what is asked of it, whichever it is, and how this machine answers, where the deployment's directory is all there
//! is. Another one is `far`.

#![forbid(unsafe_code)]

use std::fmt::Debug;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::engine::Plan;
use crate::engine::disks::{self, Ground};
use crate::engine::program::tail;
use crate::engine::qemu::{log, socket};

/// A machine with a libvirt.
pub(super) trait Site: Debug {
    /// Where disks are made.
    fn ground(&self) -> &dyn Ground;
    /// Makes what there is to be of a deployment before its guests, and goes on as long as that is wanted.
    fn prepare(&self, plan: &Plan, is_wanted: &dyn Fn() -> bool) -> Result<(), String>;
    /// Makes room for a guest, with this disc, which is on this machine.
    fn bring(&self, guest: usize, disc: &Path) -> Result<(), String>;
    /// Where a guest's socket is to be connected to.
    fn socket(&self, guest: usize, what: &str) -> PathBuf;
    /// The end of what a guest's console has said.
    fn tail(&self, guest: usize) -> io::Result<String>;
    /// All that it has said.
    fn record(&self, guest: usize) -> io::Result<File>;
    /// Removes what is not in the deployment's own directory.
    fn clear(&self) -> Result<(), String>;
    /// An error of libvirt's, or the one behind it.
    fn explained(&self, why: String) -> String;
}

/// This machine.
#[derive(Debug)]
pub(super) struct Here {
    directory: PathBuf,
    is_system: bool,
}

impl Here {
    /// This machine, for a deployment in this directory.
    pub(super) fn new(directory: &Path, is_system: bool) -> Self {
        Self { directory: directory.to_owned(), is_system }
    }

    /// Directories are closed to all but their owner; the machine's libvirt has its guests run as another user, who has to pass
    /// through, to files that stay closed.
    fn open(&self, part: &str) -> Result<(), String> {
        let path = self.directory.join(part);
        if !self.is_system {
            return Ok(());
        }
        fs::set_permissions(&path, Permissions::from_mode(0o711))
            .map_err(|error| format!("cannot open {} to libvirt: {error}", path.display()))
    }
}

impl Site for Here {
    fn ground(&self) -> &dyn Ground {
        &disks::Here
    }

    fn prepare(&self, _: &Plan, _: &dyn Fn() -> bool) -> Result<(), String> {
        ["", "s", "guests"].iter().try_for_each(|it| self.open(it))
    }

    fn bring(&self, guest: usize, _: &Path) -> Result<(), String> {
        self.open(&format!("guests/{guest}"))
    }

    fn socket(&self, guest: usize, what: &str) -> PathBuf {
        self.directory.join(socket(guest, what))
    }

    fn tail(&self, guest: usize) -> io::Result<String> {
        tail(&self.directory.join(log(guest)))
    }

    fn record(&self, guest: usize) -> io::Result<File> {
        File::open(self.directory.join(log(guest)))
    }

    fn clear(&self) -> Result<(), String> {
        Ok(())
    }

    fn explained(&self, why: String) -> String {
        if self.is_system && why.contains("Permission denied") {
            return format!(
                "{why}; the guests of qemu:///system run as another user: keep packages, and with --state deployments, where all may pass through and packages be read, as in /var/lib/libvirt"
            );
        }
        why
    }
}
