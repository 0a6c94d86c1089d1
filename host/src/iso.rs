//! The disc: an ISO image with a guest's environment, and the files that come with it.
//!
//! Decides what the image is like: Joliet and Rock Ridge, since readers know one or the other; the label that readers look
//! for; and that the same environment makes the same image, byte for byte.
//!
//! The rules: DSP0243, 11.2 (`ovf-env.xml` in the root) and 9.16 (further files below `ovffiles`); the label is VMware's.

#![forbid(unsafe_code)]

use hadris_fs::{Content, Node, PathError, Permissions, SetAttr, Tree};
use hadris_iso::{IsoId, IsoOptions};
use hadris_storage::{BlockSize, MemDevice};

/// The label.
pub const LABEL: &str = "OVF ENV";
/// The environment's name on the disc.
pub const DOCUMENT: &str = "ovf-env.xml";
/// Where further files are.
pub const FILES: &str = "ovffiles";
/// Bytes of all files on a disc: it is made in memory.
pub const MAX_FILES: u64 = 256 << 20;

/// A file for the guest: its path below `ovffiles`, and its bytes.
pub type Attached = (String, Vec<u8>);

/// An image with this document, and these files.
///
/// # Errors
/// A path that a disc cannot have.
pub fn image(document: &str, files: Vec<Attached>) -> Result<Vec<u8>, PathError> {
    let mut tree = Tree::new();
    let file = |bytes: Vec<u8>, mode| {
        Node::file(Content::bytes(bytes)).with_attrs(SetAttr::new().with_permissions(Permissions::new(mode)))
    };
    // The agent reads as root; wherever the disc is mounted, property values are nobody else's.
    tree.insert(DOCUMENT, file(document.into(), 0o400))?;
    for (path, bytes) in files {
        tree.insert(format!("{FILES}/{path}"), file(bytes, 0o444))?;
    }
    let options = IsoOptions::default()
        .with_id(IsoId::Volume, LABEL)
        .with_id(IsoId::Application, "OVF-HOST")
        .with_joliet()
        .with_rock_ridge();
    let size = hadris_iso::plan(&tree, &options)?.size();
    let size = usize::try_from(size).map_err(|_| PathError::from(hadris_fs::ErrorKind::NoSpace))?;
    let block = BlockSize::new(2048).expect("a power of two");
    let mut device = MemDevice::new(vec![0_u8; size], block);
    hadris_iso::sync::write(&mut device, &tree, &options)?;
    Ok(device.into_inner())
}
