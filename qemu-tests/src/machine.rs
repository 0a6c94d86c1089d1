//! The virtual machines that the tests use: which devices they have and how QEMU is told.
//!
//! Decided here and nowhere else: the machine type, the accelerator, the CD drive and the two
//! virtio-serial ports. Not decided here: what runs inside (`initramfs`), how the process is kept
//! (`qemu`). The options are those of QEMU 7.2's `qemu-system-x86_64(1)`, which the other architecture's has as well.

use crate::vsock::Vsock;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The port on which the agent reports, by the name that the protocol gives it.
pub const AGENT_PORT: &str = "org.ovf.agent.0";
/// The port of the control shell, by the name that `guest/control` looks for.
const CONTROL_PORT: &str = "org.ovf.test.0";
/// The `id` of that port's device.
pub(crate) const AGENT_PORT_ID: &str = "agentport";
/// The `id` of the drive that a machine is built with, as QMP's `blockdev-change-medium` takes it.
pub(crate) const DRIVE_ID: &str = "cd0";
/// A guest's memory, unless it asks for more: four guests at once must fit a small machine.
const MEMORY_MIB: u32 = 256;

/// What a machine's processor understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// What nearly all trials are about: `pc` and `q35`.
    X86_64,
    /// QEMU's `virt`, by a device tree; where its options bring UEFI, by ACPI and with SMBIOS.
    Aarch64,
}

impl Arch {
    /// The kernel's name for the serial console.
    pub(crate) fn console(self) -> &'static str {
        match self {
            Arch::X86_64 => "ttyS0",
            Arch::Aarch64 => "ttyAMA0",
        }
    }
}

/// The CD drive that a machine is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// None; one can be plugged in later.
    None,
    /// On the IDE controller of the `pc` machine (`ata_piix` in the guest).
    Ide,
    /// On the AHCI controller of the `q35` machine.
    Ahci,
    /// On a virtio-scsi controller of the `pc` or `virt` machine.
    Scsi,
}

/// A machine: its drive and what lies in it.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its architecture.
    pub arch: Arch,
    /// The drive that it is built with.
    pub drive: Drive,
    /// The image in the drive at power on; `None` leaves the drive empty.
    pub disc: Option<PathBuf>,
    /// Its memory.
    pub memory_mib: u32,
    /// Whether a device in another process shares the memory.
    pub shared: bool,
    /// QEMU's `-cpu`.
    pub cpu: String,
    /// Further options for QEMU, whatever the test is about: `["-smbios", "type=1,manufacturer=Xen"]`.
    pub options: Vec<OsString>,
    /// Further words on the kernel's command line.
    pub kernel: String,
}

/// Where the machine's sockets lie: `<directory>/agent`, `<directory>/control`, `<directory>/console`.
///
/// The names are short because a unix socket's path has at most 107 bytes.
#[derive(Debug, Clone)]
pub(crate) struct Sockets {
    pub(crate) agent: PathBuf,
    pub(crate) control: PathBuf,
    pub(crate) console: PathBuf,
}

impl Sockets {
    pub(crate) fn in_directory(directory: &Path) -> Sockets {
        Sockets {
            agent: directory.join("agent"),
            control: directory.join("control"),
            console: directory.join("console"),
        }
    }
}

/// How guest code is run.
///
/// Always TCG: hosts exist where `/dev/kvm` opens and creates a VM that then never boots Linux, so its
/// presence proves nothing. Whoever wants KVM lets a probe guest boot with it first, and answers here.
fn accelerator() -> &'static str {
    // The translation cache would otherwise take up to a gigabyte of address space for each guest.
    "tcg,tb-size=128"
}

/// A machine without any disc, as the saved guests are.
impl From<Drive> for Machine {
    fn from(drive: Drive) -> Machine {
        Machine {
            arch: Arch::X86_64,
            drive,
            disc: None,
            memory_mib: MEMORY_MIB,
            shared: false,
            cpu: "max".to_owned(),
            options: Vec::new(),
            kernel: String::new(),
        }
    }
}

impl Machine {
    /// The machine with `disc` in its drive from the start.
    pub fn with_disc(drive: Drive, disc: impl Into<PathBuf>) -> Machine {
        Machine { disc: Some(disc.into()), ..Machine::from(drive) }
    }

    /// A machine of the other architecture, with `disc` in a virtio-scsi drive.
    pub fn aarch64(disc: impl Into<PathBuf>) -> Machine {
        // What `max` has beyond this, pointer authentication above all, is slow to emulate.
        let cpu = "cortex-a57".to_owned();
        Machine { arch: Arch::Aarch64, cpu, ..Machine::with_disc(Drive::Scsi, disc) }
    }

    /// The machine with one more option of QEMU's.
    pub fn option(mut self, name: &str, value: impl Into<OsString>) -> Machine {
        self.options.extend([OsString::from(name), value.into()]);
        self
    }

    /// The machine with these words on its kernel's command line.
    pub fn kernel(self, words: &str) -> Machine {
        Machine { kernel: words.to_owned(), ..self }
    }

    /// The machine with a hard disk, which holds `image` and appears as the next `vd*`; any kind of disk that
    /// QEMU knows by `device`, for example `virtio-blk-pci`, `scsi-hd,bus=scsi.0` or `nvme,serial=1`.
    pub fn with_disk(self, device: &str, image: &Path) -> Machine {
        let id = format!("disk{}", self.options.len());
        self.option("-drive", format!("if=none,id={id},format=raw,readonly=on,file={}", escaped(image)))
            .option("-device", format!("{device},drive={id}"))
    }

    /// The machine with a hard disk that it writes: what it has written is in `image` for the next one that has it.
    pub fn with_writable_disk(self, device: &str, image: &Path) -> Machine {
        let id = format!("disk{}", self.options.len());
        // The image ends with its test: nothing has to survive this machine.
        self.option("-drive", format!("if=none,id={id},format=raw,cache=unsafe,file={}", escaped(image)))
            .option("-device", format!("{device},drive={id}"))
    }

    /// The machine with a vsock device.
    pub fn with_vsock(self, vsock: &Vsock) -> Machine {
        let machine = Machine { shared: true, ..self };
        machine
            .option("-chardev", format!("socket,id=vsock,path={}", escaped(&vsock.socket())))
            .option("-device", "vhost-user-vsock-pci,chardev=vsock")
    }

    /// What the memory is made of where nobody says otherwise: private and zeroed, or in a file that others can map.
    pub(crate) fn fresh_memory(&self) -> &'static str {
        if self.shared { "memory-backend-memfd,share=on" } else { "memory-backend-ram" }
    }

    /// QEMU's arguments for this machine, stopped before its first instruction, with QMP on descriptor
    /// 0 (see `qemu`).
    ///
    /// `memory` is the object that backs the guest's memory, with the id `ram`. The console's text is
    /// also kept in `log`, for somebody who looks while the test runs.
    pub(crate) fn arguments(&self, memory: &str, sockets: &Sockets, log: &Path) -> Vec<OsString> {
        let kind = match (self.arch, self.drive) {
            (Arch::Aarch64, _) => "virt",
            (Arch::X86_64, Drive::Ahci) => "q35",
            (Arch::X86_64, Drive::None | Drive::Ide | Drive::Scsi) => "pc",
        };
        let mut line = Line::default();
        line.word("-S -nodefaults -no-user-config -no-reboot -display none -smp 1");
        line.option("-cpu", &self.cpu);
        line.option("-accel", accelerator());
        line.option("-machine", format!("{kind},memory-backend=ram"));
        line.option("-m", self.memory_mib.to_string());
        line.option("-object", format!("{memory},id=ram,size={}M", self.memory_mib));
        line.option("-chardev", "socket,id=qmp,fd=0");
        line.option("-mon", "chardev=qmp,mode=control");

        line.socket("console", &sockets.console, Some(log));
        line.option("-serial", "chardev:console");
        line.option("-device", "virtio-serial-pci");
        line.socket("agent", &sockets.agent, None);
        line.option("-device", format!("virtserialport,chardev=agent,id={AGENT_PORT_ID},name={AGENT_PORT}"));
        line.socket("control", &sockets.control, None);
        line.option("-device", format!("virtserialport,chardev=control,id=controlport,name={CONTROL_PORT}"));

        // On every machine, because a drive can be plugged in only here: IDE and AHCI know no hotplug.
        line.option("-device", "virtio-scsi-pci,id=scsi");
        if let Some(device) = match self.drive {
            Drive::None => None,
            Drive::Ide | Drive::Ahci => Some("ide-cd"),
            Drive::Scsi => Some("scsi-cd,bus=scsi.0"),
        } {
            let disc = self.disc.as_ref().map(|path| format!(",format=raw,file={}", escaped(path)));
            line.option("-drive", format!("if=none,id=disc,readonly=on{}", disc.unwrap_or_default()));
            line.option("-device", format!("{device},drive=disc,id={DRIVE_ID}"));
        }
        line.0.extend(self.options.iter().cloned());
        line.0
    }
}

/// The arguments for `-object`: memory that begins as `file`, shared with it or copied on write.
pub(crate) fn file_memory(file: &Path, share: bool) -> String {
    let share = if share { "on" } else { "off" };
    format!("memory-backend-file,mem-path={},share={share}", escaped(file))
}

/// A command line in the making.
#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn word(&mut self, words: &str) {
        self.0.extend(words.split(' ').map(OsString::from));
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.extend([OsString::from(name), value.into()]);
    }

    fn socket(&mut self, id: &str, path: &Path, log: Option<&Path>) {
        let log = log.map(|path| format!(",logfile={}", escaped(path))).unwrap_or_default();
        let path = escaped(path);
        self.option("-chardev", format!("socket,id={id},path={path},server=on,wait=off{log}"));
    }
}

/// A path inside a comma-separated QEMU option: commas are doubled.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}
