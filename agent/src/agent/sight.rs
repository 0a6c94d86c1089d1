//! What a look at the places of documents gave, also where another process of ours has looked.
//!
//! `apply` and `plan` look themselves. The loop has a child look ([`sys::work`](crate::sys::work)), for an open or a read may
//! hang as long as a drive does; then this is what comes back, as tagged fields. (Not as JSON: the document's bytes are to
//! come as they are.) Decides how that is written, and whether a look is worth a process: a tenth of a pass, so not where all
//! there is to look at are the kernel's own files.

#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use super::{Fault, Result};
use crate::environment::MAX_DOCUMENT;
use crate::transport::boot::Boot;
use crate::transport::trust::{self, Candidate};
use crate::transport::{self, Document, Here, Scope, Settings, Source, Transport};

/// What comes back at most: the document, and what there is to say.
pub(super) const LIMIT: u64 = MAX_DOCUMENT as u64 + (1 << 20);

/// What a look gave.
#[derive(Debug, Default)]
pub struct Sight {
    /// The first document found.
    pub document: Option<Document>,
    /// Whether there is an optical drive at all.
    pub drives: bool,
    /// Whether a drive has yet to say if there is a disc in it.
    pub pending: bool,
    /// Places that are broken.
    pub broken: Vec<Fault>,
    /// Places that are not to be trusted with a document but have one, and why.
    pub ignored: Vec<String>,
    /// The devices that may hold a document, whether or not they do.
    pub seen: Vec<Candidate>,
}

// What a field is, by the byte in front of it. Its length follows, in eight bytes.
const SOURCE: u8 = b's';
const DOCUMENT: u8 = b'd';
/// Of what is broken: its code, then its message.
const CODE: u8 = b'c';
const MESSAGE: u8 = b'm';
const IGNORED: u8 = b'i';
/// Of a device: its name, then its sequence number, if it has one.
const NAME: u8 = b'n';
const SEQUENCE: u8 = b'q';
/// The last one: whether there are drives, and any that are pending.
const FLAGS: u8 = b'f';

impl Sight {
    /// Looks, and blocks as long as that takes.
    pub(super) fn of(here: Here<'_>, settings: &Settings, boot: &Boot, scope: Scope) -> Self {
        let sighting = transport::look(here, settings, boot, scope);
        let transport::Sighting { document, drives, pending, broken, ignored, seen } = sighting;
        Self { document, drives, pending, broken: broken.into_iter().map(fault).collect(), ignored, seen }
    }

    /// The same of a source that was named. Nothing there is an error.
    pub(super) fn of_named(here: Here<'_>, source: &Source, settings: &Settings) -> Self {
        match transport::fetch(here, source, settings.method, false) {
            Ok(document) => Self { document: Some(document), ..Self::default() },
            Err(error) => Self { broken: vec![fault(error)], ..Self::default() },
        }
    }

    /// As bytes, for another process.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let document = self.document.as_ref().map_or(&[][..], |document| &document.bytes);
        // In one piece, as far as the document goes: a buffer that grows would leave copies of it behind.
        let mut bytes = Vec::with_capacity(document.len() + 4096);
        let mut put = |tag: u8, field: &[u8]| {
            bytes.push(tag);
            bytes.extend_from_slice(&(field.len() as u64).to_ne_bytes());
            bytes.extend_from_slice(field);
        };
        if let Some(Document { source, bytes, .. }) = &self.document {
            put(DOCUMENT, bytes);
            put(SOURCE, source.to_string().as_bytes());
        }
        for fault in &self.broken {
            put(CODE, fault.failure.code.as_bytes());
            put(MESSAGE, fault.for_report().message.as_bytes());
        }
        self.ignored.iter().for_each(|what| put(IGNORED, what.as_bytes()));
        for device in &self.seen {
            put(NAME, device.name.as_bytes());
            if let Some(sequence) = device.sequence {
                put(SEQUENCE, &sequence.to_ne_bytes());
            }
        }
        put(FLAGS, &[self.drives.into(), self.pending.into()]);
        bytes
    }

    /// From those bytes; `None` where they are none of ours, or not all of them.
    pub(super) fn from_bytes(mut bytes: &[u8], named: Option<&Source>) -> Option<Self> {
        let (mut sight, mut code, mut content) = (Self::default(), String::new(), &[][..]);
        loop {
            let (tag, field) = next(&mut bytes)?;
            let text = || String::from_utf8_lossy(field).into_owned();
            match tag {
                DOCUMENT => content = field,
                SOURCE => {
                    // What was named may be spelt in a way that no text can say.
                    let source = named.cloned().or_else(|| text().parse().ok())?;
                    let bytes = Zeroizing::new(content.to_vec());
                    let named = named.is_some();
                    sight.document = Some(Document { source, bytes, asides: Vec::new(), named });
                }
                CODE => code = text(),
                MESSAGE => sight.broken.push(*Fault::seen(&code, text())),
                IGNORED => sight.ignored.push(text()),
                NAME => {
                    let name = text();
                    let kind = trust::kind(&name)?;
                    sight.seen.push(Candidate { name, kind, sequence: None });
                }
                SEQUENCE => {
                    sight.seen.last_mut()?.sequence = Some(u64::from_ne_bytes(field.try_into().ok()?))
                }
                FLAGS => {
                    let [drives, pending] = *field else { return None };
                    return Some(Self { drives: drives != 0, pending: pending != 0, ..sight });
                }
                _ => return None,
            }
        }
    }

    /// The document; `None` where there is none; or, of an error, the first.
    pub(super) fn outcome(self) -> Result<Option<Document>> {
        match (self.document, self.broken.into_iter().next()) {
            (None, Some(fault)) => Err(Box::new(fault)),
            (document, _) => Ok(document),
        }
    }
}

fn fault(error: transport::Error) -> Fault {
    *Box::<Fault>::from(error)
}

/// Takes the next field, and its tag.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag], rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (field, rest) = rest.split_at_checked(usize::try_from(u64::from_ne_bytes(*length)).ok()?)?;
    *bytes = rest;
    Some((tag, field))
}

/// Where a look could hang, to be shown to people; empty where it cannot.
pub(super) fn slow_places(here: Here<'_>, settings: &Settings, candidates: &[Candidate]) -> Vec<String> {
    let place = |transport: &Transport| match transport {
        Transport::Iso => candidates.iter().map(|device| device.path().display().to_string()).collect(),
        Transport::Guestinfo if here.has_guestinfo() => vec![Source::Guestinfo.to_string()],
        Transport::File(path) => vec![path.display().to_string()],
        Transport::Guestinfo | Transport::FwCfg | Transport::Credential => Vec::new(),
    };
    settings.order.iter().flat_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::{Candidate, Document, Fault, Sight, Source, trust};

    fn sight() -> Sight {
        let bytes = b"<Environment>\n\0\xff</Environment>".to_vec().into();
        let source = Source::Iso("/dev/sr0".into());
        Sight {
            document: Some(Document { source, bytes, asides: Vec::new(), named: false }),
            drives: true,
            pending: false,
            broken: vec![*Fault::unanswered("no answer\nfrom /dev/sr1".to_owned())],
            ignored: vec!["the volume `a`".to_owned()],
            seen: vec![Candidate { name: "vdb".into(), kind: trust::Kind::Disk, sequence: Some(7) }],
        }
    }

    #[test]
    fn what_a_child_has_seen_is_what_we_see() {
        let got = Sight::from_bytes(&sight().into_bytes(), None).expect("our own");
        let want = sight();
        assert_eq!(
            got.document.map(|it| (it.source, it.bytes)),
            want.document.map(|it| (it.source, it.bytes))
        );
        assert_eq!((got.drives, got.pending), (true, false));
        assert_eq!(got.broken[0].failure, want.broken[0].failure);
        assert!(got.broken[0].can_pass());
        assert_eq!((got.ignored, got.seen), (want.ignored, want.seen));
        let nothing = Sight::from_bytes(&Sight::default().into_bytes(), None).expect("our own");
        assert!(nothing.document.is_none() && nothing.broken.is_empty());
    }

    #[test]
    fn bytes_that_are_cut_short_or_not_ours_are_nothing() {
        let bytes = sight().into_bytes();
        for end in 0..bytes.len() {
            assert!(Sight::from_bytes(&bytes[..end], None).is_none(), "{end} of {}", bytes.len());
        }
        assert!(Sight::from_bytes(&bytes[1..], None).is_none());
        assert!(Sight::from_bytes(b"{\"drives\":true}\n", None).is_none());
        let named = Source::File("/run/env.xml".into());
        let document = Sight::from_bytes(&bytes, Some(&named)).and_then(|sight| sight.document);
        assert!(document.is_some_and(|document| document.named && document.source == named));
    }
}
