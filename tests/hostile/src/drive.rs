//! An image in memory, put before the agent's own reader as a file.
//!
//! Decides nothing: it is the one place that knows how the agent is asked to read an image. The reader takes a file
//! and not a slice, so that is what it gets, by its name below /proc: no code in the product is there for this alone.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};
use ovf_agent::sys::Root;
use ovf_agent::transport::{Error, Here, Method, Place, Source, extract, fetch};

/// What the agent makes of an image.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// The document.
    Document(Vec<u8>),
    /// An image without a document, or no image.
    Nothing,
    /// An image that cannot be used, and why.
    Broken(String),
}

/// A drive for one image after the other.
#[derive(Debug)]
pub struct Drive {
    memory: File,
    source: Source,
    root: Root,
}

impl Drive {
    /// An empty drive.
    ///
    /// # Errors
    /// The kernel gives no memory file.
    pub fn new() -> io::Result<Self> {
        let memory = File::from(memfd_create(c"image", MFdFlags::MFD_CLOEXEC)?);
        let source = Source::Iso(format!("/proc/self/fd/{}", memory.as_raw_fd()).into());
        let root = Root::open(Path::new("/")).map_err(io::Error::other)?;
        Ok(Self { memory, source, root })
    }

    /// Puts an image in.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn insert(&mut self, image: &[u8]) -> io::Result<()> {
        self.memory.set_len(0)?;
        self.memory.write_all_at(image, 0)
    }

    /// Lets the agent read the image.
    pub fn read(&self) -> Found {
        let here = Here { root: &self.root, vm: "none" };
        match fetch(here, &self.source, Method::Read, false) {
            Ok(document) => Found::Document(document.bytes.to_vec()),
            Err(Error::Missing(..)) => Found::Nothing,
            Err(error) => Found::Broken(error.to_string()),
        }
    }

    /// Lets the agent take out the files that came with the document; how many, or why none.
    ///
    /// # Errors
    /// The image cannot be read, or has a file that is refused.
    pub fn extract(&self) -> Result<usize, String> {
        let place = Place { source: &self.source, root: None, method: Method::Read };
        let mut taken = 0;
        let taking = extract(place, |_, _| {
            taken += 1;
            Ok(())
        });
        taking.map(|()| taken).map_err(|error| error.to_string())
    }
}
