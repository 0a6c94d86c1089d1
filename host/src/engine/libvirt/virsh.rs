//! `virsh`, a command at a time.
//!
//! Decides that none of them is waited for forever, that an interrupt at the terminal ends none of them, and which of their
//! words is the reason.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::process::Command;

use super::Connection;
use crate::engine::program::{run, said};

/// `virsh`, for one libvirt.
#[derive(Debug)]
pub(super) struct Virsh {
    uri: String,
}

/// Seconds that a command may take. The first one of a libvirt that has just begun waits until that has tried every QEMU.
const PATIENCE: &str = "120";
/// How `timeout` ends where the program has not, and where there is none.
const LATE: i32 = 124;
const ABSENT: i32 = 127;

impl Virsh {
    /// Connects, so that it is known whether anybody is there.
    pub(super) fn connect(connection: &Connection, uri: String) -> Result<Self, String> {
        let virsh = Self { uri };
        virsh.run(["uri"]).map_err(|why| match why.contains("virsh is not there") {
            true => why,
            false => format!("there is no libvirt at {connection}: {why}"),
        })?;
        Ok(virsh)
    }

    /// What a command says.
    pub(super) fn run(&self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String, String> {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", PATIENCE]).args(self.line()).args(words);
        let output = run(command.env("LC_ALL", "C"))?;
        match output.status.code() {
            Some(0) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            Some(ABSENT) => Err("virsh is not there; install it (Debian: libvirt-clients)".to_owned()),
            Some(LATE) => Err(format!("libvirt does not answer within {PATIENCE} s")),
            _ => Err(said(&output).trim_start_matches("error: ").to_owned()),
        }
    }

    /// The words before a command.
    pub(super) fn line(&self) -> [&str; 4] {
        ["virsh", "--quiet", "--connect", &self.uri]
    }
}
