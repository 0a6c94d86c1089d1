//! What must be there before any guest can start: programs, the guest kernel, the agent.
//!
//! Each is looked for once; what is missing is named together with what brings it, and nothing is skipped.

use crate::files::Files;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Where everything is.
#[derive(Debug)]
pub struct Tools {
    /// QEMU for the guests' architecture.
    pub qemu: PathBuf,
    /// Makes the ISO images.
    pub xorriso: PathBuf,
    /// The guests' user land; static, since nothing else is in there.
    pub busybox: PathBuf,
    /// The guest kernel as ELF.
    pub kernel: PathBuf,
    /// Its modules' directory.
    pub modules: PathBuf,
    /// The static agent under test.
    pub agent: PathBuf,
    /// A directory for each of Debian's programs that some tests run, looked for when a test asks for one.
    programs: PathBuf,
}

impl Tools {
    /// Finds everything, or tells the first thing that is missing and its remedy; but what comes by
    /// `guest-programs` and `guest-debian` is looked for only when a test asks for it.
    pub fn find() -> Result<Tools> {
        let workspace = workspace();
        let (kernel, programs) =
            (workspace.join("target/guest/kernel"), workspace.join("target/guest/programs"));
        Ok(Tools {
            qemu: program("qemu-system-x86_64", "qemu-system-x86")?,
            xorriso: program("xorriso", "xorriso")?,
            busybox: program("busybox", "busybox-static")?,
            kernel: existing(kernel.join("vmlinux"), "qemu-tests/guest-kernel")?,
            modules: only_entry(&kernel.join("lib/modules"))?,
            agent: agent(workspace)?,
            programs,
        })
    }

    /// A program of Debian's by its name, with its loader and libraries, for a guest.
    pub(crate) fn program(&self, name: &str) -> Result<Files> {
        Files::new().with_tree(&existing(self.programs.join(name), "qemu-tests/guest-programs")?)
    }

    /// An example of the agent's, as a static program.
    pub(crate) fn example(&self, name: &str) -> Result<PathBuf> {
        let examples = workspace().join("target/static/examples");
        existing(examples.join(name), &format!("packaging/static/build --example {name}"))
    }

    /// The device that brings vsock to a guest.
    pub(crate) fn vsock(&self) -> Result<PathBuf> {
        let path = "target/guest/vhost-device-vsock/bin/vhost-device-vsock";
        existing(workspace().join(path), "qemu-tests/host-vsock")
    }

    /// The root file system of the Debian guest.
    pub(crate) fn debian(&self) -> Result<PathBuf> {
        existing(workspace().join("target/guest/debian/root.squashfs"), "qemu-tests/guest-debian")
    }
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// The static agent: what `OVF_AGENT` names, else where `make static` leaves it.
fn agent(workspace: &Path) -> Result<PathBuf> {
    let built = || workspace.join("target/static/ovf-agent");
    existing(std::env::var_os("OVF_AGENT").map_or_else(built, PathBuf::from), "make static")
}

fn program(name: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not installed; remedy: apt-get install {package}"))
}

fn existing(path: PathBuf, remedy: &str) -> Result<PathBuf> {
    if !path.exists() {
        bail!("{} is missing; remedy: {remedy}", path.display());
    }
    Ok(path)
}

fn only_entry(directory: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match entries.with_context(|| format!("cannot list {}", directory.display()))?.as_slice() {
        [entry] => Ok(entry.path()),
        entries => bail!("{} has {} entries instead of one", directory.display(), entries.len()),
    }
}
