//! What must be there before any guest can start: programs, the guest kernel, the agent.
//!
//! Each is looked for once; what is missing is named together with what brings it, and nothing is skipped.

use crate::files::Files;
use crate::machine::Arch;
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
    /// Where programs for guests are, in `inside`.
    products: PathBuf,
    /// A directory for each of Debian's programs that some tests run, looked for when a test asks for one.
    programs: PathBuf,
}

impl Tools {
    /// Finds everything for guests of an architecture, or tells the first thing that is missing and its remedy; but what
    /// comes by `guest-programs` and `guest-debian` is looked for only when a test asks for it.
    pub fn find(arch: Arch) -> Result<Tools> {
        let workspace = workspace();
        let (guest, products) = (workspace.join("target/guest"), workspace.join("target/static"));
        let (qemu, package, kernel, fetch) = match arch {
            Arch::X86_64 => {
                ("qemu-system-x86_64", "qemu-system-x86", guest.join("kernel"), "qemu-tests/guest-kernel")
            }
            Arch::Aarch64 => (
                "qemu-system-aarch64",
                "qemu-system-arm",
                guest.join("aarch64/kernel"),
                "ARCH=aarch64 qemu-tests/guest-kernel",
            ),
        };
        Ok(Tools {
            qemu: program(qemu, package)?,
            xorriso: program("xorriso", "xorriso")?,
            busybox: match arch {
                Arch::X86_64 => program("busybox", "busybox-static")?,
                Arch::Aarch64 => existing(kernel.join("busybox"), fetch)?,
            },
            kernel: existing(kernel.join("vmlinux"), fetch)?,
            modules: only_entry(&kernel.join("lib/modules"))?,
            agent: match arch {
                Arch::X86_64 => agent(workspace)?,
                Arch::Aarch64 => existing(products.join("aarch64/ovf-agent"), "make static ARCH=aarch64")?,
            },
            products: match arch {
                Arch::X86_64 => products,
                Arch::Aarch64 => products.join("aarch64"),
            },
            programs: guest.join("programs"),
        })
    }

    /// A program of Debian's by its name, with its loader and libraries, for a guest.
    pub(crate) fn program(&self, name: &str) -> Result<Files> {
        Files::new().with_tree(&existing(self.programs.join(name), "qemu-tests/guest-programs")?)
    }

    /// The platform's half, for the host itself: what `OVF_HOST` names, else where cargo leaves it.
    pub(crate) fn host(&self) -> Result<PathBuf> {
        let built = || workspace().join("target/debug/ovf-host");
        existing(std::env::var_os("OVF_HOST").map_or_else(built, PathBuf::from), "cargo build -p ovf-host")
    }

    /// UEFI for guests of the other architecture, as QEMU's `-bios` takes it.
    pub(crate) fn uefi(&self) -> Result<PathBuf> {
        existing(self.kernel.with_file_name("uefi"), "ARCH=aarch64 qemu-tests/guest-kernel")
    }

    /// A program of `qemu-tests/inside`, static.
    pub(crate) fn inside(&self, name: &str) -> Result<PathBuf> {
        let remedy = "packaging/static/build --inside, with ARCH=aarch64 for guests of that";
        existing(self.products.join("inside").join(name), remedy)
    }

    /// The device that brings vsock to a guest.
    pub(crate) fn vsock(&self) -> Result<PathBuf> {
        let path = "target/guest/vhost-device-vsock/bin/vhost-device-vsock";
        existing(workspace().join(path), "qemu-tests/host-vsock")
    }

    /// An initramfs, or the root file system that belongs to it.
    pub(crate) fn initramfs(&self, name: &str) -> Result<PathBuf> {
        existing(workspace().join("target/guest/initramfs").join(name), "qemu-tests/guest-initramfs")
    }

    /// The directory of an appliance's image: the example's own, or one beside it.
    pub(crate) fn appliance(&self, kind: &str) -> Result<PathBuf> {
        let directory = workspace().join("target/guest").join(kind);
        existing(directory.join("disk.raw"), "make deb, then OVF_TEST_LONG=1 qemu-tests/guest-appliance")?;
        Ok(directory)
    }

    /// The root file system of the guest with OpenRC.
    pub(crate) fn openrc(&self) -> Result<PathBuf> {
        existing(workspace().join("target/guest/openrc/root.squashfs"), "qemu-tests/guest-openrc")
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
