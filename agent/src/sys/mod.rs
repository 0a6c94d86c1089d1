//! The outside world: files, devices, sockets, signals, randomness and the clock.
//!
//! Decides *how* to touch them safely, never *whether*: policy lives in the modules that call. It is the only
//! place where `unsafe` and the disallowed functions of `clippy.toml` may stand, so that a test that gives the
//! rest of the agent another [`Root`] has given it another machine.
//!
//! Errors carry what was attempted and on what; the operating system's reason is their source.

#![allow(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "this is where the outside world is")]

pub mod accounts;
pub mod allocator;
pub mod backdoor;
pub mod caller;
pub mod clock;
pub mod control;
pub mod cpuid;
pub mod crash;
pub mod device;
mod fault;
mod fork;
pub mod inotify;
mod label;
pub mod mount;
pub mod net;
pub mod notify;
pub mod place;
pub mod poll;
pub mod port;
pub mod power;
pub mod process;
pub mod program;
mod root;
pub mod signals;
mod stage;
pub mod uevent;
pub mod unpack;
mod walk;
pub mod work;

use std::io;
use std::path::{Path, PathBuf};

pub use root::Root;

/// Something outside could not be done: Display names the attempt and its operand, the source the reason.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct Error {
    /// What was attempted, as a verb that the path can follow: `read`, `create a file in`.
    pub action: &'static str,
    /// The operand, as the caller named it.
    pub path: PathBuf,
    /// The operating system's reason.
    pub source: io::Error,
}

impl Error {
    /// An error of `action` on `path`; takes whatever turns into an [`io::Error`].
    pub fn new(action: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self { action, path: path.as_ref().to_path_buf(), source: source.into() }
    }

    /// The reason's kind.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Whether it is the reason that security modules, such as SELinux, give to root, whom nothing else denies in this way.
    pub fn is_denied(&self) -> bool {
        self.source.raw_os_error() == Some(nix::errno::Errno::EACCES as i32)
    }
}

/// The result of touching the outside.
pub type Result<T> = std::result::Result<T, Error>;
