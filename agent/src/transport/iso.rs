//! An ISO 9660 volume, read in user space by `hadris-iso`.
//!
//! No mount, so no privilege beyond opening the device, no kernel module, no locked tray, and a hostile image meets
//! checked Rust instead of the kernel. Decides which of an image's trees counts, and words what is wrong with one.
//! Which file is the document is decided in `tree`; which devices are looked at, in `trust`.

#![forbid(unsafe_code)]

use std::io;

use hadris_fs::sync::FileSystem;
use hadris_fs::{DirCursor, Error as IsoError, ErrorKind, FileType, MountOptions, NodeId, OpenMode};
use hadris_iso::sync::IsoFs;
use hadris_iso::{IsoId, Namespace};
use hadris_storage::sync::BlockDevice;
use hadris_storage::{BlockIndex, BlockSize};
use zeroize::Zeroizing;

use super::tree::{self, Broken, Defect, Each, Entry, Kind, Node};
use crate::sys::device::Device;

const BLOCK: u32 = 512;
/// Where the first volume descriptor ends: sector 16 of 2,048 bytes (ECMA-119, 6.2.1). What is shorter is no image.
const DESCRIPTORS_END: u64 = 17 * 2048;

impl From<IsoError<io::Error>> for Broken {
    /// One sentence on what is wrong: the library's fixed message, and what to do.
    fn from(error: IsoError<io::Error>) -> Self {
        let what = match hadris_iso::Detail::of(&error) {
            Some(detail) => detail.to_string(),
            None => error.message().to_owned(),
        };
        match error.device_error() {
            // Of an error by number, the library lends a reference only.
            Some(device) => {
                let error = match device.raw_os_error() {
                    Some(number) => io::Error::from_raw_os_error(number),
                    None => io::Error::new(device.kind(), device.to_string()),
                };
                Self::Device { what, error }
            }
            None => Self::Format(what),
        }
    }
}

/// An image whose volume descriptors are readable.
#[derive(Debug)]
pub(super) struct Image<'a> {
    device: &'a Device,
    label: String,
    namespaces: Vec<Namespace>,
}

impl<'a> Image<'a> {
    /// Reads the volume descriptors; `None` where this is no ISO 9660 image.
    pub(super) fn open(device: &'a Device) -> Result<Option<Self>, Broken> {
        if device.len() < DESCRIPTORS_END {
            return Ok(None);
        }
        let image = match IsoFs::mount(Blocks(device), MountOptions::new()) {
            Ok(image) => image,
            Err(error) if error.kind() == ErrorKind::NotRecognized => return Ok(None),
            Err(error) => return Err(IsoError::from(error).into()),
        };
        let label = String::from_utf8_lossy(image.info().id(IsoId::Volume)).into_owned();
        Ok(Some(Self { device, label, namespaces: image.namespaces().iter().collect() }))
    }

    /// The volume identifier, without the blanks that fill it up.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// The document; `None` where the image has none.
    pub(super) fn document(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Broken> {
        // An image can carry up to four trees. The best one should have the document, but a damaged Rock Ridge entry or a
        // writer's slip must not hide what the plain tree shows.
        let mut broken = None;
        for namespace in &self.namespaces {
            match self.tree(*namespace).and_then(|mut tree| tree::document(&mut tree)) {
                Ok(Some(bytes)) => return Ok(Some(bytes)),
                Ok(None) => {}
                // Plainer trees show a link or a device as an empty file, and no tree makes a file smaller.
                Err(defect @ Broken::Defect(Defect::DocumentNoFile | Defect::DocumentTooLarge)) => {
                    return Err(defect);
                }
                Err(error) => broken = broken.or(Some(error)),
            }
        }
        broken.map_or(Ok(None), Err)
    }

    /// The tree that shows most: plainer ones have lost names and links.
    pub(super) fn best_tree(&self) -> Result<impl tree::Tree + use<'a>, Broken> {
        self.tree(self.namespaces.first().copied().unwrap_or(Namespace::Preferred))
    }

    fn tree(&self, namespace: Namespace) -> Result<Tree<'a>, Broken> {
        let image = IsoFs::mount_namespace(Blocks(self.device), MountOptions::new(), namespace);
        Ok(Tree { image: image.map_err(IsoError::from)?, namespace })
    }
}

/// One of an image's trees.
#[derive(Debug)]
struct Tree<'a> {
    image: IsoFs<Blocks<'a>>,
    namespace: Namespace,
}

impl tree::Tree for Tree<'_> {
    fn top(&self) -> Node {
        Node(self.image.root().get())
    }

    fn entries(&mut self, directory: Node, each: &mut Each<'_>) -> Result<(), Broken> {
        let (directory, mut cursor) = (id(directory), DirCursor::START);
        while let Some(entry) = self.image.readdir(directory, cursor)? {
            cursor = entry.next_cursor();
            let kind = match entry.file_type() {
                FileType::File => Kind::File,
                FileType::Dir => Kind::Directory,
                FileType::Symlink => Kind::Link,
                _ => Kind::Special,
            };
            let (name, node) = (entry.name().as_bytes().to_vec(), Node(entry.node().get()));
            each(Entry { name, kind, len: entry.metadata().len(), node })?;
        }
        Ok(())
    }

    fn read(&mut self, file: Node, len: u64) -> Result<Zeroizing<Vec<u8>>, Broken> {
        let file = id(file);
        self.image.open(file, OpenMode::Read)?;
        let mut bytes = Zeroizing::new(vec![0; len as usize]);
        let mut filled = 0;
        while filled < bytes.len() {
            match self.image.read(file, filled as u64, &mut bytes[filled..])? {
                0 => return Err(Broken::Format("a file in it ends before its length".to_owned())),
                count => filled += count,
            }
        }
        Ok(bytes)
    }

    fn is_plain(&self) -> bool {
        self.namespace == Namespace::Primary
    }
}

fn id(node: Node) -> NodeId {
    NodeId::new(node.0).expect("nodes come from this tree, which has no node 0")
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
