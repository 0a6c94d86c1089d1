//! Where guests come from: what all of them share, and the directory of each test.
//!
//! A [`Lab`] is opened once for a run; a [`Bench`] is one test's place in it. Nothing outside the bench's
//! own temporary directory is written.

use crate::appliance::{self, Appliance};
use crate::debian::{self, Debian};
use crate::disk;
use crate::files::Files;
use crate::initramfs;
use crate::iso::{self, Variant};
use crate::machine::{Arch, Drive, Machine};
use crate::openrc;
use crate::saved::Saved;
use crate::tools::Tools;
use crate::vm::{Boot, Connect, Evidence, Vm};
use crate::vsock::Vsock;
use anyhow::{Context, Result, anyhow};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// What all guests of a run share.
#[derive(Debug)]
pub struct Lab {
    /// The programs and files that guests are made of.
    pub tools: Tools,
    initramfs: Vec<u8>,
    with_ide_drive: OnceLock<Result<Saved, String>>,
    without_drive: OnceLock<Result<Saved, String>>,
    debian: OnceLock<Result<Debian, String>>,
    saved_debian: OnceLock<Result<Saved, String>>,
    appliance: OnceLock<Result<Appliance, String>>,
    aarch64: OnceLock<Result<(Tools, Vec<u8>), String>>,
}

/// One test's place: its directory, and its guests' evidence.
#[derive(Debug)]
pub struct Bench<'a> {
    lab: &'a Lab,
    directory: TempDir,
    names: Cell<u32>,
    guests: RefCell<Vec<Evidence>>,
    measured: RefCell<Vec<String>>,
}

impl Lab {
    /// Finds all that is needed; what is missing is named with its remedy.
    pub fn open() -> Result<Lab> {
        let tools = Tools::find(Arch::X86_64)?;
        let initramfs = initramfs::base(&tools).context("cannot make the initramfs")?;
        Ok(Lab {
            tools,
            initramfs,
            with_ide_drive: OnceLock::new(),
            without_drive: OnceLock::new(),
            debian: OnceLock::new(),
            saved_debian: OnceLock::new(),
            appliance: OnceLock::new(),
            aarch64: OnceLock::new(),
        })
    }

    /// A place for one test.
    pub fn bench(&self) -> Result<Bench<'_>> {
        // Short, because the sockets' paths are limited to 107 bytes.
        let directory = tempfile::Builder::new().prefix("ovf-").tempdir_in("/tmp");
        let directory = directory.context("cannot create a directory under /tmp")?;
        Ok(Bench {
            lab: self,
            directory,
            names: Cell::new(0),
            guests: RefCell::default(),
            measured: RefCell::default(),
        })
    }

    /// The saved guest with an empty IDE drive, or without any drive. It is made when first asked for;
    /// other tests that want it wait.
    fn saved(&self, drive: bool) -> Result<&Saved> {
        let (cell, drive) =
            if drive { (&self.with_ide_drive, Drive::Ide) } else { (&self.without_drive, Drive::None) };
        once(cell, || self.save(Machine::from(drive), &self.initramfs, ":"))
    }

    /// What all Debian guests share.
    fn debian(&self) -> Result<&Debian> {
        once(&self.debian, || Debian::prepare(&self.tools).context("cannot make the Debian guest"))
    }

    /// The saved Debian guest with an empty IDE drive; made when first asked for.
    fn saved_debian(&self) -> Result<&Saved> {
        let debian = self.debian()?;
        let machine = || debian.machine(Machine::from(Drive::Ide));
        once(&self.saved_debian, || self.save(machine(), &debian.initramfs, debian::BOOTED))
    }

    /// What all guests of the appliance share.
    fn appliance(&self) -> Result<&Appliance> {
        once(&self.appliance, || Appliance::prepare(&self.tools).context("cannot make the appliance's guest"))
    }

    /// What guests of an architecture are made of, and their initramfs; that of the other one is found when first asked for.
    fn made_of(&self, arch: Arch) -> Result<(&Tools, &[u8])> {
        if arch == Arch::X86_64 {
            return Ok((&self.tools, &self.initramfs));
        }
        let (tools, initramfs) = once(&self.aarch64, || {
            let tools = Tools::find(Arch::Aarch64)?;
            let initramfs = initramfs::base(&tools).context("cannot make the initramfs")?;
            Ok((tools, initramfs))
        })?;
        Ok((tools, initramfs))
    }

    fn save(&self, machine: Machine, initramfs: &[u8], booted: &str) -> Result<Saved> {
        let saved = Saved::prepare(machine)?;
        let bench = self.bench()?;
        let boot = Boot { initramfs: &[initramfs], ..self.boot(Connect::Later) };
        Vm::boot_and_save(&saved, &boot, booted, bench.directory.path())?;
        Ok(saved)
    }

    fn boot(&self, connect: Connect) -> Boot<'_> {
        Boot { qemu: &self.tools.qemu, kernel: &self.tools.kernel, initramfs: &[], connect }
    }
}

/// What `cell` holds, made when first asked for; others that ask meanwhile wait. A failure is remembered.
fn once<T>(cell: &OnceLock<Result<T, String>>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    let made = cell.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    made.as_ref().map_err(|error| anyhow!("{error}"))
}

impl Bench<'_> {
    /// Makes an ISO image of `files`, name and content each.
    pub fn iso(&self, variant: Variant, files: &[(&str, &[u8])]) -> Result<PathBuf> {
        iso::make(&self.lab.tools.xorriso, self.directory.path(), &self.name("iso"), variant, files)
    }

    /// Makes a file on the host with this content, for an option of QEMU's.
    pub fn file(&self, content: &str) -> Result<PathBuf> {
        let path = self.directory.path().join(self.name("file"));
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The usual image: the document alone.
    pub fn environment(&self, document: &str) -> Result<PathBuf> {
        self.iso(Variant::Full, &[("ovf-env.xml", document.as_bytes())])
    }

    /// A program of Debian's that `guest-programs` brings, with all that it needs, to boot a guest with.
    pub fn program(&self, name: &str) -> Result<Files> {
        self.lab.tools.program(name)
    }

    /// A program of `qemu-tests/inside`, by its name.
    pub fn inside(&self, name: &str) -> Result<Files> {
        self.inside_of(Arch::X86_64, name)
    }

    /// The same for guests of an architecture.
    pub fn inside_of(&self, arch: Arch, name: &str) -> Result<Files> {
        let (tools, _) = self.lab.made_of(arch)?;
        let program = initramfs::read(&tools.inside(name)?)?;
        Ok(Files::new().with_program(&format!("/usr/local/bin/{name}"), program))
    }

    /// The programs of this tree by their names, to be run on the host: the agent, and the platform's half.
    pub fn products(&self) -> Result<[(&'static str, PathBuf); 2]> {
        let tools = &self.lab.tools;
        Ok([("ovf-agent", tools.agent.clone()), ("ovf-host", tools.host()?)])
    }

    /// A vsock device, for [`Machine::with_vsock`].
    pub fn vsock(&self) -> Result<Vsock> {
        Vsock::start(&self.lab.tools.vsock()?, &self.guest_directory()?)
    }

    /// UEFI for a machine of the other architecture, for QEMU's `-bios`.
    pub fn uefi(&self) -> Result<PathBuf> {
        self.lab.made_of(Arch::Aarch64)?.0.uefi()
    }

    /// Boots a machine from power on with `files` over the initramfs; an `/etc/rc` among them is started.
    pub fn boot(&self, machine: &Machine, files: &Files, connect: Connect) -> Result<Vm> {
        let directory = self.guest_directory()?;
        let extra = files.archive()?;
        let (tools, initramfs) = self.lab.made_of(machine.arch)?;
        let boot =
            Boot { qemu: &tools.qemu, kernel: &tools.kernel, initramfs: &[initramfs, &extra], connect };
        self.watched(Vm::boot(machine, &boot, &directory)?)
    }

    /// Continues the saved guest that has an IDE drive, with `disc` in it or empty.
    pub fn guest(&self, disc: Option<&Path>, connect: Connect) -> Result<Vm> {
        self.restored(self.lab.saved(true)?, disc, connect)
    }

    /// Continues the saved guest that has no drive.
    pub fn guest_without_drive(&self, connect: Connect) -> Result<Vm> {
        self.restored(self.lab.saved(false)?, None, connect)
    }

    /// Boots Debian on a machine from power on, with `files` over its root file system. It gives the guest at once;
    /// [`Vm::booted`] waits for the boot to be over.
    pub fn boot_debian(&self, machine: &Machine, files: &Files, connect: Connect) -> Result<Vm> {
        let (debian, directory) = (self.lab.debian()?, self.guest_directory()?);
        let extra = debian::with_files(files)?;
        let boot = Boot { initramfs: &[&debian.initramfs, &extra], ..self.lab.boot(connect) };
        self.watched(Vm::boot(&debian.machine(machine.clone()), &boot, &directory)?)
    }

    /// Boots the guest with OpenRC (`guest-openrc` makes it). Otherwise as [`boot_debian`](Self::boot_debian), but for
    /// [`Vm::booted`], which asks systemd.
    pub fn boot_openrc(&self, machine: &Machine, files: &Files, connect: Connect) -> Result<Vm> {
        let (openrc, directory) = (openrc::prepare(&self.lab.tools)?, self.guest_directory()?);
        let extra = debian::with_files(files)?;
        let boot = Boot { initramfs: &[&openrc.initramfs, &extra], ..self.lab.boot(connect) };
        self.watched(Vm::boot(&openrc.machine(machine.clone()), &boot, &directory)?)
    }

    /// Boots a Debian with an ordinary disk, by the initramfs of this name (`guest-initramfs` makes them); `files` are on the
    /// disk. Otherwise as [`boot_debian`](Self::boot_debian).
    pub fn boot_disk(&self, name: &str, machine: &Machine, files: &Files, connect: Connect) -> Result<Vm> {
        let directory = self.guest_directory()?;
        let disk = disk::prepare(&self.lab.tools, files, &directory)?;
        let initramfs = initramfs::read(&self.lab.tools.initramfs(name)?)?;
        let boot = Boot { initramfs: &[&initramfs], ..self.lab.boot(connect) };
        self.watched(Vm::boot(&disk::machine(machine.clone(), &disk), &boot, &directory)?)
    }

    /// Continues the saved Debian guest, whose boot is over, with `disc` in its IDE drive or an empty one.
    pub fn debian(&self, disc: Option<&Path>, connect: Connect) -> Result<Vm> {
        self.restored(self.lab.saved_debian()?, disc, connect)
    }

    /// A disk of the appliance's, as it was made; a `kind` is a directory that `qemu-tests/guest-appliance` made.
    pub fn appliance_disk(&self, kind: &str) -> Result<PathBuf> {
        let path = self.directory.path().join(self.name("disk"));
        appliance::copy(&self.lab.tools.appliance(kind)?, &path)?;
        Ok(path)
    }

    /// The agent's package with a higher version, as `/run/upgrade.deb` of the appliance.
    pub fn appliance_upgrade(&self) -> Result<Files> {
        appliance::upgrade(&self.lab.tools.appliance("appliance")?)
    }

    /// Boots the appliance from `disk` on a machine, from power on; [`Vm::booted`] waits for the boot to be over.
    pub fn boot_appliance(&self, machine: &Machine, disk: &Path, connect: Connect) -> Result<Vm> {
        let (appliance, directory) = (self.lab.appliance()?, self.guest_directory()?);
        let boot = Boot { initramfs: &[&appliance.initramfs], ..self.lab.boot(connect) };
        self.watched(Vm::boot(&appliance::machine(machine, disk), &boot, &directory)?)
    }

    /// Notes something that was measured, to be shown beside the test's time.
    pub fn measured(&self, what: impl Into<String>) {
        self.measured.borrow_mut().push(what.into());
    }

    /// What was measured.
    pub fn measurements(&self) -> String {
        self.measured.borrow().join("; ")
    }

    /// What explains a failure of this test's guests.
    pub fn evidence(&self) -> String {
        let guests = self.guests.borrow();
        guests.iter().map(|guest| format!("\n{}", guest.text())).collect()
    }

    fn restored(&self, saved: &Saved, disc: Option<&Path>, connect: Connect) -> Result<Vm> {
        let directory = self.guest_directory()?;
        self.watched(Vm::restore(saved, disc, &self.lab.tools.qemu, connect, &directory)?)
    }

    fn watched(&self, vm: Vm) -> Result<Vm> {
        self.guests.borrow_mut().push(vm.evidence());
        Ok(vm)
    }

    fn guest_directory(&self) -> Result<PathBuf> {
        let path: PathBuf = Path::new(self.directory.path()).join(self.name("vm"));
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    fn name(&self, kind: &str) -> String {
        self.names.set(self.names.get() + 1);
        format!("{kind}{}", self.names.get())
    }
}
