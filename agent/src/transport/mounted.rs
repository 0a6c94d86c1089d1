//! An ISO 9660 volume, read by the kernel (`[transport.iso] method = "mount"`).
//!
//! For images that `iso` cannot read, and for whom the kernel's reading is the one that counts. Decides nothing beyond
//! that; how it is mounted is the business of `sys::mount`.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use tracing::debug;
use zeroize::Zeroizing;

use super::tree::{self, Broken, Each, Entry, Kind, Node};
use crate::sys::device::Device;
use crate::sys::mount::{self, Mounted};

/// A volume mounted for one look; it is unmounted with this value.
#[derive(Debug)]
pub(super) struct Volume {
    mounted: Mounted,
    /// The path of each node that was given out.
    paths: Vec<PathBuf>,
}

impl Volume {
    /// Mounts it.
    pub(super) fn mount(device: &Device, path: &Path) -> Result<Self, Broken> {
        let mounted = Mounted::iso9660(device, path)?;
        debug!(stage = "transport", device = %path.display(), options = mounted.options(), "mounted");
        Ok(Self { mounted, paths: vec![PathBuf::new()] })
    }
}

impl tree::Tree for Volume {
    fn top(&self) -> Node {
        Node(0)
    }

    fn entries(&mut self, directory: Node, each: &mut Each<'_>) -> Result<(), Broken> {
        let directory = self.paths[directory.0 as usize].clone();
        for (name, kind) in self.mounted.entries(&directory)? {
            let (kind, len) = match kind {
                mount::Kind::File(len) => (Kind::File, len),
                mount::Kind::Directory => (Kind::Directory, 0),
                mount::Kind::Link => (Kind::Link, 0),
                mount::Kind::Special => (Kind::Special, 0),
            };
            let node = Node(self.paths.len() as u64);
            self.paths.push(directory.join(&name));
            each(Entry { name: name.into_bytes(), kind, len, node })?;
        }
        Ok(())
    }

    fn read(&mut self, file: Node, len: u64) -> Result<Zeroizing<Vec<u8>>, Broken> {
        let bytes = Zeroizing::new(self.mounted.read(&self.paths[file.0 as usize], len)?);
        if (bytes.len() as u64) < len {
            return Err(Broken::Format("a file in it ends before its length".to_owned()));
        }
        Ok(bytes)
    }

    /// The kernel has made the names of a plain tree readable already.
    fn is_plain(&self) -> bool {
        false
    }
}
