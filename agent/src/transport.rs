//! How the document reaches the guest.
//!
//! Decides where to look and in which order, and keeps three answers apart: nothing here, here, and here but broken.
//! A place that is broken does not hide a later one that works, and is reported all the same. Which devices are
//! trusted is decided in [`trust`] and [`boot`], how long to look in [`wait`], and what a document means in
//! `environment`.

#![forbid(unsafe_code)]

pub mod boot;
pub mod guestinfo;
mod iso;
mod look;
mod mounted;
mod platform;
mod source;
mod tree;
pub mod trust;
mod volume;
pub mod wait;

use std::fmt;
use std::io;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::environment::MAX_DOCUMENT;
use crate::sys::{self, Root, caller};

pub use look::{Scope, Sighting, look};
pub(crate) use platform::credential;
pub use source::{Method, Settings, Source, Transport};
pub use tree::ExtraFile;
pub use volume::{Place, extract, files};

/// The OVF environment as it was received.
pub struct Document {
    /// Where it came from, as the report names it: `iso:/dev/sr0`.
    pub source: Source,
    /// Every byte of it. Property values are in here in the clear.
    pub bytes: Zeroizing<Vec<u8>>,
    /// What there is to say about other places: broken ones that were passed over, and ignored ones.
    pub asides: Vec<String>,
    /// Whether the caller named its source, instead of having it looked for.
    pub named: bool,
}

impl Document {
    /// One that the host has sent.
    pub fn sent(mut text: Zeroizing<String>) -> Self {
        Self::sent_before(Zeroizing::new(std::mem::take(&mut *text).into_bytes()))
    }

    /// One that the host has sent, to be applied again.
    pub fn sent_before(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self { source: Source::Channel, bytes, asides: Vec::new(), named: true }
    }

    /// `sha256:` and the digest of the document as received, in hexadecimal.
    pub fn digest(&self) -> String {
        digest(&self.bytes)
    }
}

/// The digest of a document's bytes.
pub fn digest(document: &[u8]) -> String {
    let hex: String = Sha256::digest(document).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({}, {} bytes)", self.source, self.bytes.len())
    }
}

/// Here, but broken; or not to be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device, file or directory could not be opened or read at all.
    #[error("cannot look for the OVF environment")]
    Unreadable(#[from] sys::Error),
    /// The device fails under an ISO 9660 image.
    #[error("cannot read the ISO 9660 image on {}: {what}", path.display())]
    Device {
        /// The drive or disk.
        path: PathBuf,
        /// What could not be read.
        what: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// An ISO 9660 image that breaks its own format or our limits.
    #[error("cannot use the ISO 9660 image on {}: {reason}", path.display())]
    Image {
        /// The drive or file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The files that came with the document could not be written.
    #[error("cannot extract the files of the OVF environment")]
    Extract(#[source] sys::Error),
    /// VMware's guestinfo variable cannot be asked for, or is broken.
    #[error(transparent)]
    Guestinfo(#[from] guestinfo::Error),
    /// A drive that was asked for by name has no disc in it.
    #[error("no OVF environment in {0}: the drive is empty")]
    NoMedium(Source),
    /// A source that was asked for by name holds no document.
    #[error("no OVF environment in {0}: {1}")]
    Missing(Source, &'static str),
}

impl Error {
    /// Whether another try may find things better: the device is not there yet, is busy, or has no medium yet.
    pub fn is_temporary(&self) -> bool {
        let kind = match self {
            Self::Unreadable(error) => error.kind(),
            Self::Device { source, .. } => source.kind(),
            Self::NoMedium(_) => return true,
            Self::Missing(..) | Self::Image { .. } | Self::Extract(_) | Self::Guestinfo(_) => return false,
        };
        matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy)
    }
}

/// The machine that is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// Its file tree.
    pub root: &'a Root,
    /// systemd's word for its hypervisor.
    pub vm: &'a str,
}

impl Here<'_> {
    /// VMware's guestinfo variable. A tree that stands for a machine has no port to ask.
    fn guestinfo(&self) -> Result<Option<Zeroizing<Vec<u8>>>, guestinfo::Error> {
        if self.has_guestinfo() { guestinfo::look(self.vm) } else { Ok(None) }
    }

    /// Whether there may be such a variable, and asking for it takes time.
    pub fn has_guestinfo(&self) -> bool {
        self.root.is_system() && self.vm == guestinfo::VMWARE
    }
}

/// Fetches the document from a source that the caller named. Nothing there is an error here, for it was named. With
/// `wait`, a `file:` may be a pipe, whose writer is waited for.
///
/// # Errors
/// The source cannot be read, is broken, or holds no document.
pub fn fetch(here: Here<'_>, source: &Source, method: Method, wait: bool) -> Result<Document, Error> {
    let root = here.root;
    let missing = |why| Error::Missing(source.clone(), why);
    let bytes = match source {
        Source::File(path) => {
            let read = if wait { caller::read } else { caller::read_regular };
            Zeroizing::new(read(path, MAX_DOCUMENT as u64)?)
        }
        Source::Iso(path) => match volume::document(&volume::open_named(path)?, path, method)? {
            volume::Content::Document(bytes) => bytes,
            volume::Content::NoDocument => {
                return Err(missing("no file ovf-env.xml in the root directory of the image"));
            }
            volume::Content::NotIso => return Err(missing("it is not an ISO 9660 image")),
        },
        Source::Guestinfo => here.guestinfo()?.ok_or_else(|| {
            missing("this machine is not VMware's, or its guestinfo.ovfEnv is not set")
        })?,
        Source::FwCfg => platform::fw_cfg(root)?.ok_or_else(|| {
            missing("QEMU was given no -fw_cfg name=opt/org.ovf/env,file=..., or the module qemu_fw_cfg is not loaded")
        })?,
        Source::Credential => platform::document(root)?
            .ok_or_else(|| missing("systemd was given no credential ovf.environment"))?,
        Source::Channel => return Err(missing("the host sends by it when it wants")),
    };
    Ok(Document { source: source.clone(), bytes, asides: Vec::new(), named: true })
}
