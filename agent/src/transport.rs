//! How the document reaches the guest.
//!
//! Decides where to look and in which order, and keeps three answers apart: nothing here, here, and here but broken.
//! What a document means is the business of `environment`; how long to look is decided in [`wait`].

#![forbid(unsafe_code)]

pub mod iso;
pub mod wait;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::environment::MAX_DOCUMENT;
use crate::sys::{self, caller};

/// The OVF environment as it was received.
pub struct Document {
    /// Where it came from, as the report names it: `iso:/dev/sr0`.
    pub source: Source,
    /// Every byte of it. Property values are in here in the clear.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl Document {
    /// `sha256:` and the digest of the document as received, in hexadecimal.
    pub fn digest(&self) -> String {
        let hex: String =
            Sha256::digest(self.bytes.as_slice()).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({}, {} bytes)", self.source, self.bytes.len())
    }
}

/// A place that can hold a document, as `--source` and the report spell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An ISO 9660 image or drive: `iso:PATH`.
    Iso(PathBuf),
    /// The document itself: `file:PATH`.
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iso(path) => write!(f, "iso:{}", path.display()),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, path) = text.split_once(':').unwrap_or((text, ""));
        match (kind, path) {
            ("iso" | "file", "") => Err(format!("`{text}` names no path; write {kind}:PATH")),
            ("iso", path) => Ok(Self::Iso(path.into())),
            ("file", path) => Ok(Self::File(path.into())),
            _ => Err(format!("`{text}` is no source; write iso:PATH or file:PATH")),
        }
    }
}

/// Here, but broken; or not to be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device, file or directory could not be opened or read at all.
    #[error("cannot look for the OVF environment")]
    Unreadable(#[from] sys::Error),
    /// An ISO 9660 image that breaks its own format or our limits, or a device that fails under it.
    #[error("cannot use the ISO 9660 image on {}: {reason}", path.display())]
    Image {
        /// The drive or file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A drive that was asked for by name has no disc in it.
    #[error("no OVF environment in {0}: the drive is empty")]
    NoMedium(Source),
    /// A source that was asked for by name holds no document.
    #[error("no OVF environment in {0}: {1}")]
    Missing(Source, &'static str),
}

impl Error {
    /// Whether another try may find things better: the device is not there yet, or has no medium yet.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreadable(error) => {
                matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ResourceBusy)
            }
            Self::NoMedium(_) => true,
            Self::Missing(..) | Self::Image { .. } => false,
        }
    }
}

/// Fetches the document from a source that the caller named. Nothing there is an error here, for it was named. With
/// `wait`, a `file:` may be a pipe, whose writer is waited for.
///
/// # Errors
/// The source cannot be read, is broken, or holds no document.
pub fn fetch(source: &Source, wait: bool) -> Result<Document, Error> {
    match source {
        Source::File(path) => {
            let read = if wait { caller::read } else { caller::read_regular };
            let bytes = Zeroizing::new(read(path, MAX_DOCUMENT as u64)?);
            Ok(Document { source: source.clone(), bytes })
        }
        Source::Iso(path) => {
            let missing = |why| Error::Missing(source.clone(), why);
            let device = match sys::device::Device::open_named(path)? {
                sys::device::Medium::Present(device) => device,
                sys::device::Medium::Absent | sys::device::Medium::NotReady => {
                    return Err(Error::NoMedium(source.clone()));
                }
            };
            match iso::read(&device, path)? {
                iso::Content::Document(bytes) => Ok(Document { source: source.clone(), bytes }),
                iso::Content::NoDocument => {
                    Err(missing("no file ovf-env.xml in the root directory of the image"))
                }
                iso::Content::NotIso => Err(missing("it is not an ISO 9660 image")),
            }
        }
    }
}

/// What a look at all the places gave.
#[derive(Debug, Default)]
pub struct Sighting {
    /// The first document found.
    pub document: Option<Document>,
    /// Whether there is an optical drive at all.
    pub drives: bool,
    /// Whether a drive has yet to say if there is a disc in it.
    pub pending: bool,
    /// Places that are broken: each is to be reported, also where a later one worked.
    pub broken: Vec<Error>,
}

/// Looks once at every place of this machine.
pub fn look(root: &sys::Root) -> Sighting {
    let mut sighting = Sighting::default();
    for path in optical_drives(root, &mut sighting.broken) {
        sighting.drives = true;
        match look_at(root, &path) {
            Ok(Look::Document(bytes)) => {
                let source = Source::Iso(path);
                sighting.document = Some(Document { source, bytes });
                break;
            }
            Ok(Look::Nothing) => {}
            Ok(Look::Pending) => sighting.pending = true,
            Err(error) => sighting.broken.push(error),
        }
    }
    sighting
}

enum Look {
    Document(Zeroizing<Vec<u8>>),
    Nothing,
    Pending,
}

fn look_at(root: &sys::Root, path: &Path) -> Result<Look, Error> {
    Ok(match root.open_device(path)? {
        None | Some(sys::device::Medium::Absent) => Look::Nothing,
        Some(sys::device::Medium::NotReady) => Look::Pending,
        Some(sys::device::Medium::Present(device)) => match iso::read(&device, path)? {
            iso::Content::Document(bytes) => Look::Document(bytes),
            iso::Content::NoDocument | iso::Content::NotIso => Look::Nothing,
        },
    })
}

/// The SCSI and ATA optical drives, `sr0` first. `/sys` says which block devices exist, not `/dev`: a node may be left
/// over, and what is no block device has no place there.
fn optical_drives(root: &sys::Root, broken: &mut Vec<Error>) -> Vec<PathBuf> {
    let names = root.list("/sys/class/block").unwrap_or_else(|error| {
        broken.push(error.into());
        Vec::new()
    });
    let mut drives: Vec<(u32, PathBuf)> =
        names.iter().filter_map(|name| Some((drive_number(name)?, Path::new("/dev").join(name)))).collect();
    drives.sort();
    drives.into_iter().map(|(_, path)| path).collect()
}

/// The number of an optical drive by its kernel name: `sr0` is 0; `None` for any other block device.
pub fn drive_number(name: &str) -> Option<u32> {
    name.strip_prefix("sr")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Source, drive_number};

    #[test]
    fn a_source_is_a_kind_and_a_path() {
        for text in ["iso:/dev/sr0", "file:env.xml", "iso:a:b"] {
            let source: Source = text.parse().expect(text);
            assert_eq!(source.to_string(), text, "shown as it is written");
        }
        for text in ["", "iso", "iso:", "cd:/dev/sr0", "/dev/sr0"] {
            text.parse::<Source>().expect_err(text);
        }
    }

    #[test]
    fn only_optical_drives_have_a_drive_number() {
        for (name, want) in
            [("sr0", Some(0)), ("sr11", Some(11)), ("sr", None), ("sda", None), ("sr0p1", None)]
        {
            assert_eq!(drive_number(name), want, "{name}");
        }
    }
}
