//! Why a plan was not applied, in words that name what would mend it.

#![forbid(unsafe_code)]

use std::io::ErrorKind;
use std::path::PathBuf;

use super::Left;
use crate::checks::Refusal;
use crate::sys::{self, process};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another pass is under way.
    #[error("another ovf-agent is applying; try again when it is done")]
    Busy(#[source] sys::Error),
    /// Somebody changed a file after the plan was made.
    #[error("{} was changed while the plan for it was made; try again", path.display())]
    Overtaken {
        /// The first such file.
        path: PathBuf,
    },
    /// A file could not be staged, renamed or recorded.
    #[error("nothing was changed: {template}: {what}{}", remedy(what))]
    Target {
        /// The template whose file it is.
        template: String,
        /// What could not be done.
        what: sys::Error,
    },
    /// Programs do not accept the files.
    #[error("nothing was changed: {}", refusals(.0))]
    Refused(Vec<Refusal>),
    /// Something around the files could not be done.
    #[error("nothing was changed: {what}{}", remedy(what))]
    Untouched {
        /// What could not be done.
        what: sys::Error,
    },
    /// Somebody cannot do with the new files, so those of before are back.
    #[error("nothing was changed: {wrong}{}", with_old(again))]
    Unheard {
        /// What went wrong.
        wrong: String,
        /// What went wrong with the files of before; empty if nothing did.
        again: String,
    },
    /// A failure after the first rename was taken back, except for files that somebody changed meanwhile.
    #[error("{what}; what was written is taken back, but not {}", list(left))]
    Left {
        /// What went wrong.
        what: String,
        /// The files.
        left: Vec<Left>,
    },
    /// A failure after the first rename could not be taken back.
    #[error(
        "{what}; and what was written cannot be taken back: {back}{}; the next pass tries again",
        remedy(back)
    )]
    HalfDone {
        /// What went wrong.
        what: String,
        /// What keeps it from being taken back.
        back: sys::Error,
    },
    /// An earlier pass that was interrupted can neither be taken back nor finished.
    #[error("an earlier pass was interrupted, and its files cannot be put right: {what}{}", remedy(what))]
    Interrupted {
        /// What could not be done.
        what: sys::Error,
    },
}

/// Why what was renamed cannot stay.
#[derive(Debug)]
pub(super) enum Why {
    System(sys::Error),
    Refused(Vec<Refusal>),
    Unheard { wrong: String, again: String },
}

impl From<sys::Error> for Why {
    fn from(error: sys::Error) -> Self {
        Self::System(error)
    }
}

impl Why {
    /// The error where everything is as it was.
    pub(super) fn untouched(self) -> Error {
        match self {
            Self::System(what) => Error::Untouched { what },
            Self::Refused(refusals) => Error::Refused(refusals),
            Self::Unheard { wrong, again } => Error::Unheard { wrong, again },
        }
    }

    /// The reason, where that is not all there is to say.
    pub(super) fn text(self) -> String {
        match self {
            Self::System(what) => format!("{what}{}", remedy(&what)),
            Self::Refused(list) => refusals(&list),
            Self::Unheard { wrong, again } => format!("{wrong}{}", with_old(&again)),
        }
    }
}

/// The reason, and what would mend it where that is known.
fn remedy(error: &sys::Error) -> String {
    let hint = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            "; create the directory in the image, or change the template's path"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "; mount the file system for writing before the agent runs, or let its unit write there \
             (ovf-agent check --emit-paths-dropin)"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room on the file system",
        ErrorKind::PermissionDenied if process::euid() == 0 && error.is_denied() => {
            "; a security module, such as SELinux, denies it: the kernel's log says which rule is missing"
        }
        ErrorKind::PermissionDenied if process::euid() == 0 => {
            "; it may be immutable (lsattr shows an i, chattr -i takes it away)"
        }
        ErrorKind::PermissionDenied => "; run the agent as root",
        ErrorKind::ResourceBusy | ErrorKind::CrossesDevices => {
            "; something is mounted on it: unmount that, or have a template write what is mounted there"
        }
        ErrorKind::InvalidInput if error.action == "replace" => {
            "; its file system cannot exchange two files (renameat2): put the file on one that can"
        }
        _ => "",
    };
    format!(": {}{hint}", error.source)
}

fn refusals(list: &[Refusal]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn with_old(wrong: &str) -> String {
    if wrong.is_empty() { String::new() } else { format!("; and with the files of before: {wrong}") }
}

fn list(left: &[Left]) -> String {
    left.iter().map(|Left { path, why }| format!("{} ({why})", path.display())).collect::<Vec<_>>().join(", ")
}
