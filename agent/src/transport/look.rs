//! One look at all the places where a document can be.
//!
//! Decides which place comes first, whose documents are passed over, and what is to be said of the others. Which devices
//! count is decided in [`trust`] and [`Boot`]; whether there will be another look, in `wait`.

#![forbid(unsafe_code)]

use std::io;

use tracing::debug;
use zeroize::Zeroizing;

use super::boot::Boot;
use super::source::{Method, Settings, Source, Transport};
use super::trust::{self, Candidate, Kind};
use super::{Document, Error, Here, platform, volume};
use crate::environment::{self, MAX_DOCUMENT};
use crate::sys::Root;
use crate::sys::device::{Device, Medium, is_gone};

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

/// Which places are looked at once the source of this boot is pinned. Until then it is all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All: what is elsewhere is to be reported.
    Everywhere,
    /// The source alone. Other devices are not even opened.
    Pinned,
}

/// Looks once at the places of this machine, until a document is found; where the source of this boot is pinned, at those
/// that `scope` says.
pub fn look(here: Here<'_>, settings: &Settings, boot: &Boot, scope: Scope) -> Sighting {
    let root = here.root;
    let mut look = Look { root, settings, pinned: boot.pinned(), scope, sighting: Sighting::default() };
    for transport in &settings.order {
        match transport {
            transport if look.is_left_out(transport) => {}
            Transport::Iso => look.at_devices(boot),
            // Asking takes processes of its own, and is done only where the answer counts.
            Transport::Guestinfo if look.is_elsewhere(&Source::Guestinfo) => {}
            Transport::Guestinfo => look.offer(Source::Guestinfo, here.guestinfo().map_err(Error::from)),
            Transport::FwCfg => look.offer(Source::FwCfg, platform::fw_cfg(root).map_err(Error::from)),
            Transport::Credential => {
                look.offer(Source::Credential, platform::document(root).map_err(Error::from));
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
    scope: Scope,
    sighting: Sighting,
}

impl Look<'_> {
    /// Whether nothing more is to be found out.
    fn is_over(&self) -> bool {
        self.sighting.document.is_some() && self.pinned.is_none()
    }

    /// Whether the source of this boot is another one.
    fn is_elsewhere(&self, source: &Source) -> bool {
        self.pinned.as_ref().is_some_and(|pinned| pinned != source)
    }

    /// Whether nothing that comes by `transport` is looked at.
    fn is_left_out(&self, transport: &Transport) -> bool {
        let by = |pinned: &Source| match transport {
            Transport::Iso => matches!(pinned, Source::Iso(_)),
            Transport::Guestinfo => *pinned == Source::Guestinfo,
            Transport::FwCfg => *pinned == Source::FwCfg,
            Transport::Credential => *pinned == Source::Credential,
            Transport::File(path) => matches!(pinned, Source::File(pinned) if pinned == path),
        };
        self.scope == Scope::Pinned && self.pinned.as_ref().is_some_and(|pinned| !by(pinned))
    }

    /// Takes what a place has.
    fn offer(&mut self, source: Source, found: Result<Option<Zeroizing<Vec<u8>>>, Error>) {
        let elsewhere = self.is_elsewhere(&source);
        match found {
            Ok(None) => {}
            Ok(Some(bytes)) if is_azures(&bytes) => {
                debug!(stage = "transport", %source, "passed over: the document is Azure's own");
            }
            Ok(Some(_)) if elsewhere => {
                let pinned = self.pinned.as_ref().map(Source::to_string).unwrap_or_default();
                let what = format!("the document in {source}: this guest was configured from {pinned}");
                self.sighting.ignored.push(what);
            }
            Ok(Some(bytes)) => {
                let document = Document { source, bytes, asides: Vec::new(), named: false };
                self.sighting.document.get_or_insert(document);
            }
            Err(error) if elsewhere => {
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
            if self.scope == Scope::Pinned && self.is_elsewhere(&Source::Iso(candidate.path())) {
                continue;
            }
            match self.volume(candidate) {
                Ok(Some((device, label))) => volumes.push((candidate, device, label)),
                Ok(None) => {}
                Err(error) => self.sighting.broken.push(error),
            }
        }
        volumes.sort_by_key(|(candidate, _, label)| (candidate.kind, !trust::is_ours(label)));
        for (candidate, device, label) in volumes {
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
                let found = self.document(candidate, &device);
                self.offer(Source::Iso(path), found);
                if self.is_over() {
                    break;
                }
            }
        }
        self.sighting.seen = candidates;
    }

    /// A device that is readable, and the label of the volume on it; `None` where there is none to be read, or not yet.
    fn volume(&mut self, candidate: &Candidate) -> Result<Option<(Device, String)>, Error> {
        let path = candidate.path();
        let device = match self.root.open_device(&path) {
            Ok(None | Some(Medium::Absent)) => return Ok(None),
            Ok(Some(Medium::NotReady)) => {
                self.sighting.pending = true;
                return Ok(None);
            }
            Ok(Some(Medium::Present(device))) => device,
            // Of a disk that nobody lets us open, nobody says that it is a platform's either.
            Err(error)
                if candidate.kind != Kind::Optical && error.kind() == io::ErrorKind::PermissionDenied =>
            {
                debug!(
                    stage = "transport",
                    device = candidate.name,
                    "passed over: {error}: {}",
                    error.source
                );
                return Ok(None);
            }
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
            Err(_) if self.settings.method != Method::Read => Ok(Some((device, String::new()))),
            outcome => Ok(outcome?.map(|label| (device, label))),
        }
    }

    fn document(
        &mut self,
        candidate: &Candidate,
        device: &Device,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        match volume::document(device, &candidate.path(), self.settings.method) {
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
        is_gone(source) || !self.root.exists(format!("/sys/class/block/{}", candidate.name))
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
