//! The `iso` transport: a file `ovf-env.xml` in the root directory of an ISO 9660 image (DSP0243, clause 11.2).
//!
//! Decides which file is the document, whatever kind of names the image has. Reads in user space by `hadris-iso`: no
//! mount, so no privilege beyond opening the device, no kernel module, and no locked tray. Which devices are looked
//! at, and when, is decided by the caller.

#![forbid(unsafe_code)]

use std::io;
use std::path::Path;

use hadris_fs::sync::FileSystem;
use hadris_fs::{DirCursor, Error as IsoError, ErrorKind, MountOptions, NodeId, OpenMode};
use hadris_iso::sync::IsoFs;
use hadris_storage::sync::BlockDevice;
use hadris_storage::{BlockIndex, BlockSize};
use zeroize::Zeroizing;

use super::Error;
use crate::environment::MAX_DOCUMENT;
use crate::sys::device::Device;

/// The document's name, as DSP0243 spells it.
const DOCUMENT: &str = "ovf-env.xml";
/// Directory records read before an image is called broken.
const RECORD_LIMIT: u32 = 10_000;
const BLOCK: u32 = 512;
/// Where the first volume descriptor ends: sector 16 of 2,048 bytes (ECMA-119, 6.2.1). What is shorter is no image.
const DESCRIPTORS_END: u64 = 17 * 2048;

/// What is on a disc.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// The document, byte for byte.
    Document(Zeroizing<Vec<u8>>),
    /// An ISO 9660 image without a document: somebody else's disc.
    NoDocument,
    /// Not an ISO 9660 image.
    NotIso,
}

/// Reads the document from an open device; `path` is its name in errors.
///
/// # Errors
/// The device fails, the image is damaged, or the document is larger than [`MAX_DOCUMENT`].
pub fn read(device: &Device, path: &Path) -> Result<Content, Error> {
    let fail = |error: IsoError<io::Error>| Error::Image { path: path.to_path_buf(), reason: reason(&error) };
    if device.len() < DESCRIPTORS_END {
        return Ok(Content::NotIso);
    }
    let image = match IsoFs::mount(Blocks(device), MountOptions::new()) {
        Ok(image) => image,
        Err(error) if error.kind() == ErrorKind::NotRecognized => return Ok(Content::NotIso),
        Err(error) => return Err(fail(error.into())),
    };
    // An image can carry up to four trees. The best one should have the document, but a damaged Rock Ridge entry or a
    // writer's slip must not hide what the plain tree shows.
    let mut broken = None;
    for namespace in image.namespaces().iter() {
        let outcome = IsoFs::mount_namespace(Blocks(device), MountOptions::new(), namespace)
            .map_err(IsoError::from)
            .and_then(|mut tree| find(&mut tree));
        match outcome {
            Ok(Found::Document(bytes)) => return Ok(Content::Document(bytes)),
            // Plainer trees show a link or a device as an empty file.
            Ok(Found::NoFile) => {
                let reason = "ovf-env.xml in it is not a regular file".to_owned();
                return Err(Error::Image { path: path.to_path_buf(), reason });
            }
            Ok(Found::Nothing) => {}
            Err(error) => broken = broken.or(Some(error)),
        }
    }
    broken.map_or(Ok(Content::NoDocument), |error| Err(fail(error)))
}

type Tree<'a> = IsoFs<Blocks<'a>>;

/// What one tree has under the document's name.
enum Found {
    Document(Zeroizing<Vec<u8>>),
    NoFile,
    Nothing,
}

fn find(tree: &mut Tree<'_>) -> Result<Found, IsoError<io::Error>> {
    let root = tree.root();
    let mut cursor = DirCursor::START;
    let mut similar = None;
    for _ in 0..RECORD_LIMIT {
        let Some(entry) = tree.readdir(root, cursor)? else {
            return similar.map_or(Ok(Found::Nothing), |(node, len)| read_file(tree, node, len));
        };
        cursor = entry.next_cursor();
        let name = entry.name().as_bytes();
        if !is_document(name) || entry.file_type().is_dir() {
            continue;
        }
        if !entry.file_type().is_file() {
            return Ok(Found::NoFile);
        }
        let file = (entry.node(), entry.metadata().len());
        // The name as DSP0243 spells it wins; else the first that is like it.
        if name == DOCUMENT.as_bytes() {
            return read_file(tree, file.0, file.1);
        }
        similar = similar.or(Some(file));
    }
    Err(IsoError::new(ErrorKind::LimitExceeded, "its root directory has more than 10000 records"))
}

fn read_file(tree: &mut Tree<'_>, node: NodeId, len: u64) -> Result<Found, IsoError<io::Error>> {
    if len > MAX_DOCUMENT as u64 {
        return Err(IsoError::new(ErrorKind::FileTooLarge, "ovf-env.xml in it is larger than 16 MiB"));
    }
    tree.open(node, OpenMode::Read)?;
    let mut bytes = Zeroizing::new(vec![0; len as usize]);
    let mut filled = 0;
    while filled < bytes.len() {
        match tree.read(node, filled as u64, &mut bytes[filled..])? {
            0 => return Err(IsoError::new(ErrorKind::Corrupt, "ovf-env.xml ends before its length")),
            count => filled += count,
        }
    }
    Ok(Found::Document(bytes))
}

/// Whether a directory entry is the document. Writers that know no lower case and no `-` make `OVF_ENV.XML;1` of it,
/// and some leave a dot at the end: so without version and final dot, in any case, and `_` is as good as `-`.
fn is_document(name: &[u8]) -> bool {
    let Ok(name) = str::from_utf8(name) else { return false };
    let name = match name.rsplit_once(';') {
        Some((name, version)) if version.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => name,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.replace('_', "-").eq_ignore_ascii_case(DOCUMENT)
}

/// One sentence on what is wrong: the library's fixed message, the device's own error where there is one, and what to do.
fn reason(error: &IsoError<io::Error>) -> String {
    let what = match hadris_iso::Detail::of(error) {
        Some(detail) => detail.to_string(),
        None => error.message().to_owned(),
    };
    match (error.device_error(), error.kind()) {
        (Some(device), _) => format!("{what}: {device}"),
        (None, ErrorKind::FileTooLarge | ErrorKind::LimitExceeded) => what,
        (None, _) => format!("{what}; it is damaged or cut short, have it made again"),
    }
}

/// A device as hadris-iso wants to see it.
#[derive(Debug)]
struct Blocks<'a>(&'a Device);

impl hadris_io::ErrorType for Blocks<'_> {
    type Error = io::Error;
}

impl BlockDevice for Blocks<'_> {
    fn block_size(&self) -> BlockSize {
        BlockSize::new(BLOCK).expect("not zero")
    }

    fn block_count(&self) -> u64 {
        self.0.len() / u64::from(BLOCK)
    }

    fn read_blocks(&mut self, first: BlockIndex, buffer: &mut [u8]) -> Result<(), IsoError<io::Error>> {
        let past_end = || IsoError::new(ErrorKind::Corrupt, "a pointer lies outside the image");
        let offset = first.get().checked_mul(u64::from(BLOCK)).ok_or_else(past_end)?;
        let end = offset.checked_add(buffer.len() as u64).ok_or_else(past_end)?;
        if end > self.0.len() {
            return Err(past_end());
        }
        self.0.read_at(buffer, offset).map_err(|error| IsoError::device(error, "the device cannot be read"))
    }
}

#[cfg(test)]
mod tests {
    use super::is_document;

    #[test]
    fn the_document_is_known_by_any_of_its_names() {
        for name in [
            "ovf-env.xml",
            "OVF_ENV.XML;1",
            "OVF-ENV.XML",
            "ovf_env.xml",
            "Ovf-Env.xml;32767",
            "ovf-env.xml.",
        ] {
            assert!(is_document(name.as_bytes()), "{name}");
        }
        for name in ["", "ovf-env.xml;x", "ovf-env.xml.bak", "ovf-env", "xovf-env.xml", "ovf env.xml", ";1"] {
            assert!(!is_document(name.as_bytes()), "{name}");
        }
        assert!(!is_document(b"ovf-env\xff.xml"));
    }
}
