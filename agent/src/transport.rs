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
mod mounted;
mod platform;
mod tree;
pub mod trust;
mod volume;
pub mod wait;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use tracing::debug;
use zeroize::Zeroizing;

use crate::environment::{self, MAX_DOCUMENT};
use crate::sys::{self, Root, caller};
use boot::Boot;
use trust::{Candidate, Devices, Kind};
use wait::Patience;

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
    /// QEMU's firmware configuration: `fwcfg`.
    FwCfg,
    /// A systemd credential: `credential`.
    Credential,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iso(path) => write!(f, "iso:{}", path.display()),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::FwCfg => f.write_str("fwcfg"),
            Self::Credential => f.write_str("credential"),
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "")) {
            (kind @ ("iso" | "file"), "") => Err(format!("`{text}` names no path; write {kind}:PATH")),
            ("iso", path) => Ok(Self::Iso(path.into())),
            ("file", path) => Ok(Self::File(path.into())),
            _ if text == "fwcfg" => Ok(Self::FwCfg),
            _ if text == "credential" => Ok(Self::Credential),
            _ => Err(format!("`{text}` is no source; write iso:PATH, file:PATH, fwcfg or credential")),
        }
    }
}

/// One of the ways by which a document can come, as `[transport] order` spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// `iso`: drives and disks.
    Iso,
    /// `fwcfg`: QEMU's firmware configuration.
    FwCfg,
    /// `credential`: a systemd credential.
    Credential,
    /// `file:PATH`: a file of the guest.
    File(PathBuf),
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "iso" => Ok(Self::Iso),
            None if text == "fwcfg" => Ok(Self::FwCfg),
            None if text == "credential" => Ok(Self::Credential),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(path.into())),
            _ => Err(format!("`{text}` is no transport; write iso, fwcfg, credential or file:/PATH")),
        }
    }
}

/// `[transport.iso] method`: who reads a volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The agent itself.
    #[default]
    Read,
    /// The kernel, for the time of one look.
    Mount,
    /// The agent, and the kernel where that fails.
    Auto,
}

/// `[transport]`: where to look, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to look, the first one first.
    pub order: Vec<Transport>,
    /// Which devices are looked at for `iso`.
    pub devices: Devices,
    /// Who reads them.
    pub method: Method,
    /// How long to look.
    pub patience: Patience,
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
            Self::Missing(..) | Self::Image { .. } | Self::Extract(_) => return false,
        };
        matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy)
    }
}

/// Fetches the document from a source that the caller named. Nothing there is an error here, for it was named. With
/// `wait`, a `file:` may be a pipe, whose writer is waited for.
///
/// # Errors
/// The source cannot be read, is broken, or holds no document.
pub fn fetch(source: &Source, root: &Root, method: Method, wait: bool) -> Result<Document, Error> {
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
        Source::FwCfg => platform::fw_cfg(root)?.ok_or_else(|| {
            missing("QEMU was given no -fw_cfg name=opt/org.ovf/env,file=..., or the module qemu_fw_cfg is not loaded")
        })?,
        Source::Credential => platform::credential(root)?
            .ok_or_else(|| missing("systemd was given no credential ovf.environment"))?,
    };
    Ok(Document { source: source.clone(), bytes, asides: Vec::new(), named: true })
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
    /// Places that are broken: each is to be reported, also where another one worked.
    pub broken: Vec<Error>,
    /// Places that are not to be trusted with a document but have one, and why.
    pub ignored: Vec<String>,
    /// The devices that may hold a document, whether or not they do.
    pub seen: Vec<Candidate>,
}

/// Looks once at every place of this machine, until a document is found. Where the source of this boot is pinned, at all
/// of them: what is elsewhere is to be reported.
pub fn look(root: &Root, settings: &Settings, boot: &Boot) -> Sighting {
    let mut look = Look { root, settings, pinned: boot.pinned(), sighting: Sighting::default() };
    for transport in &settings.order {
        match transport {
            Transport::Iso => look.at_devices(boot),
            Transport::FwCfg => look.offer(Source::FwCfg, platform::fw_cfg(root).map_err(Error::from)),
            Transport::Credential => {
                look.offer(Source::Credential, platform::credential(root).map_err(Error::from));
            }
            Transport::File(path) => {
                let read = root.read(path, MAX_DOCUMENT as u64).map_err(Error::from);
                look.offer(Source::File(path.clone()), read.map(|bytes| bytes.map(Zeroizing::new)));
            }
        }
        if look.is_over() {
            break;
        }
    }
    look.sighting
}

/// A look under way.
struct Look<'a> {
    root: &'a Root,
    settings: &'a Settings,
    pinned: Option<Source>,
    sighting: Sighting,
}

impl Look<'_> {
    /// Whether nothing more is to be found out.
    fn is_over(&self) -> bool {
        self.sighting.document.is_some() && self.pinned.is_none()
    }

    /// Takes what a place has.
    fn offer(&mut self, source: Source, found: Result<Option<Zeroizing<Vec<u8>>>, Error>) {
        let elsewhere = self.pinned.as_ref().filter(|pinned| **pinned != source);
        match found {
            Ok(None) => {}
            Ok(Some(bytes)) if is_azures(&bytes) => {
                debug!(stage = "transport", %source, "passed over: the document is Azure's own");
            }
            Ok(Some(bytes)) => match elsewhere {
                None if self.sighting.document.is_none() => {
                    self.sighting.document =
                        Some(Document { source, bytes, asides: Vec::new(), named: false });
                }
                None => {}
                Some(pinned) => self
                    .sighting
                    .ignored
                    .push(format!("the document in {source}: this guest was configured from {pinned}")),
            },
            Err(error) if elsewhere.is_some() => {
                debug!(stage = "transport", %source, "passed over: {error}");
            }
            Err(error) => self.sighting.broken.push(error),
        }
    }

    /// Looks at drives and disks: optical drives first, and of these the ones whose discs are labelled as platforms
    /// label theirs.
    fn at_devices(&mut self, boot: &Boot) {
        let candidates = match trust::candidates(self.root, self.settings.devices) {
            Ok(candidates) => candidates,
            Err(error) => return self.sighting.broken.push(error.into()),
        };
        let mut volumes = Vec::new();
        for candidate in &candidates {
            self.sighting.drives |= candidate.kind == Kind::Optical;
            match self.label(candidate) {
                Ok(Some(label)) => volumes.push((candidate, label)),
                Ok(None) => {}
                Err(error) => self.sighting.broken.push(error),
            }
        }
        volumes.sort_by_key(|(candidate, label)| (candidate.kind, !trust::is_ours(label)));
        for (candidate, label) in volumes {
            let (name, path) = (&candidate.name, candidate.path());
            if trust::is_foreign(&label) {
                debug!(stage = "transport", device = name, label, "passed over: somebody else's volume");
            } else if candidate.kind != Kind::Optical && !trust::is_ours(&label) {
                debug!(stage = "transport", device = name, label, "passed over: a disk without our label");
            } else if !boot.admits(candidate) {
                let path = path.display();
                self.sighting
                    .ignored
                    .push(format!("the volume `{label}` on {path}: it was not there at boot"));
            } else {
                let found = self.document(candidate);
                self.offer(Source::Iso(path), found);
                if self.is_over() {
                    break;
                }
            }
        }
        self.sighting.seen = candidates;
    }

    /// The label of the volume on a device; `None` where there is none to be read, or not yet.
    fn label(&mut self, candidate: &Candidate) -> Result<Option<String>, Error> {
        let path = candidate.path();
        let device = match self.root.open_device(&path) {
            Ok(None | Some(sys::device::Medium::Absent)) => return Ok(None),
            Ok(Some(sys::device::Medium::NotReady)) => {
                self.sighting.pending = true;
                return Ok(None);
            }
            Ok(Some(sys::device::Medium::Present(device))) => device,
            // It may be let go of; what keeps it busy until nothing is waited for any more is reported.
            Err(error) => {
                self.sighting.pending |= error.kind() == io::ErrorKind::ResourceBusy;
                return Err(error.into());
            }
        };
        match volume::label(&device, &path) {
            Err(error) if self.has_gone(candidate, &error) => Ok(None),
            Err(error) if candidate.kind == Kind::Optical && may_pass(&error) => {
                self.sighting.pending = true;
                Err(error)
            }
            // Of a disk that cannot be read nobody says that it is a platform's.
            Err(_) if candidate.kind != Kind::Optical => Ok(None),
            // The kernel may make more of it.
            Err(_) if self.settings.method != Method::Read => Ok(Some(String::new())),
            outcome => outcome,
        }
    }

    fn document(&mut self, candidate: &Candidate) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let path = candidate.path();
        let Some(sys::device::Medium::Present(device)) = self.root.open_device(&path)? else {
            return Ok(None);
        };
        match volume::document(&device, &path, self.settings.method) {
            Ok(volume::Content::Document(bytes)) => Ok(Some(bytes)),
            Ok(volume::Content::NoDocument | volume::Content::NotIso) => Ok(None),
            Err(error) if self.has_gone(candidate, &error) => Ok(None),
            Err(error) => {
                self.sighting.pending |= may_pass(&error);
                Err(error)
            }
        }
    }

    /// Whether a device failed because it, or its medium, was taken away: then nothing is here.
    fn has_gone(&self, candidate: &Candidate, error: &Error) -> bool {
        let Error::Device { source, .. } = error else { return false };
        sys::device::is_gone(source) || !self.root.exists(format!("/sys/class/block/{}", candidate.name))
    }
}

/// Whether a place should be looked at again while there is patience. First reads of a drive that has just come do fail
/// at times, and one that is being taken away fails before it is gone.
fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Device { .. }) || error.is_temporary()
}

/// Whether this is the document by which Azure provisions its guests: the same root element, and nothing for us in it.
fn is_azures(bytes: &[u8]) -> bool {
    // Its namespace is looked for first, so that nobody else's document is parsed twice.
    let namespace = environment::AZURE_NAMESPACE.as_bytes();
    bytes.windows(namespace.len()).any(|window| window == namespace)
        && environment::parse(bytes).is_ok_and(|(environment, _)| environment.is_azure_provisioning())
}

#[cfg(test)]
mod tests {
    use super::{Source, Transport};

    #[test]
    fn a_source_is_a_kind_and_where_it_is_needed_a_path() {
        for text in ["iso:/dev/sr0", "file:env.xml", "iso:a:b", "fwcfg", "credential"] {
            let source: Source = text.parse().expect(text);
            assert_eq!(source.to_string(), text, "shown as it is written");
        }
        for text in ["", "iso", "iso:", "cd:/dev/sr0", "/dev/sr0", "fwcfg:x", "credential:"] {
            text.parse::<Source>().expect_err(text);
        }
    }

    #[test]
    fn a_transport_is_a_word_or_a_file_of_the_guest() {
        for text in ["iso", "fwcfg", "credential", "file:/etc/ovf-env.xml"] {
            text.parse::<Transport>().expect(text);
        }
        for text in ["", "iso:/dev/sr0", "file", "file:", "file:env.xml", "usb"] {
            text.parse::<Transport>().expect_err(text);
        }
    }
}
