//! Files that exist only in memory and end with this process, for QEMU to open by path.

use anyhow::{Context, Result};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// An anonymous file.
#[derive(Debug)]
pub(crate) struct MemoryFile(File);

impl MemoryFile {
    pub(crate) fn new(name: &str) -> Result<MemoryFile> {
        let attempt = || format!("cannot create the memory file {name}");
        let file = memfd_create(name, MFdFlags::MFD_CLOEXEC).with_context(attempt)?;
        Ok(MemoryFile(file.into()))
    }

    pub(crate) fn holding(name: &str, parts: &[&[u8]]) -> Result<MemoryFile> {
        let mut file = MemoryFile::new(name)?;
        for part in parts {
            std::io::Write::write_all(&mut file.0, part).with_context(|| format!("cannot fill {name}"))?;
        }
        Ok(file)
    }

    /// A path that other processes of this user can open while this value lives.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }

    /// Opens it once more, at its beginning.
    pub(crate) fn reopen(&self) -> Result<File> {
        let path = self.path();
        let open = File::options().read(true).write(true).open(&path);
        open.with_context(|| format!("cannot open {}", path.display()))
    }
}
