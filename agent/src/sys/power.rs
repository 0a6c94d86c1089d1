//! The machine's power: how it goes down, and the system call that takes it down (reboot(2)).
//!
//! The call is for where nobody else can be asked. It ends nothing and unmounts nothing: what is written is on the disks, and
//! that is all (sync(2)).

use std::io;

use nix::sys::reboot::{RebootMode, reboot};
use serde::Serialize;

/// How a machine goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is off then.
    PowerOff,
    /// It boots again.
    Reboot,
    /// It does nothing any more, and is not off.
    Halt,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PowerOff, Self::Reboot, Self::Halt];

    /// Its name: in the protocol, of the program that every init has for it, and of systemd's target.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PowerOff => "poweroff",
            Self::Reboot => "reboot",
            Self::Halt => "halt",
        }
    }
}

/// Takes the machine down, at once. Comes back only with the reason why it does not go.
pub fn down(action: Action) -> io::Error {
    nix::unistd::sync();
    let mode = match action {
        Action::PowerOff => RebootMode::RB_POWER_OFF,
        Action::Reboot => RebootMode::RB_AUTOBOOT,
        Action::Halt => RebootMode::RB_HALT_SYSTEM,
    };
    match reboot(mode) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}
