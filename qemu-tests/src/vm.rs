//! One guest: its QEMU, its console, its control shell and the host's end of its port.
//!
//! It puts the parts together in the right order and takes them apart. What a test may do with a guest is
//! here; which guests there are and where their files lie is decided by `lab`.

use crate::console::Console;
use crate::control::{Control, Job, Output};
use crate::debian;
use crate::files::{Files, Tree};
use crate::host::{self, Host, Received};
use crate::machine::{AGENT_PORT, AGENT_PORT_ID, DRIVE_ID, Machine, Sockets};
use crate::memory::MemoryFile;
use crate::qemu::Qemu;
use crate::qmp::Qmp;
use crate::report::Report;
use crate::saved::Saved;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// On the serial console, everything up to "info" from the kernel and all that the guest's programs say
/// (Linux would drop most of it); mitigations would only slow the emulation down.
const KERNEL_ARGUMENTS: &str = "printk.devkmsg=on mitigations=off panic=-1";

/// When the host connects to the agent's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// Before the guest's first instruction.
    BeforeBoot,
    /// Only when the test says so, or never.
    Later,
}

/// What a guest boots from.
pub(crate) struct Boot<'a> {
    pub(crate) qemu: &'a Path,
    pub(crate) kernel: &'a Path,
    /// The archives that make the initramfs, in order.
    pub(crate) initramfs: &'a [&'a [u8]],
    pub(crate) connect: Connect,
}

/// A running guest, which ends when this value does.
///
/// It belongs to the thread that made it (see `qemu`).
#[derive(Debug)]
pub struct Vm {
    /// The platform's end of `org.ovf.agent.0`.
    pub host: Host,
    /// QEMU's monitor.
    pub qmp: Qmp,
    /// The serial console.
    pub console: Arc<Console>,
    /// When the guest began to run: power on, or the continuation of a saved guest.
    pub started: Instant,
    control: Control,
    errors: PathBuf,
    plugged: u32,
    // Last: the sockets above end before their QEMU does.
    _qemu: Qemu,
}

/// What explains a guest's failure; it outlives the guest.
#[derive(Debug)]
pub struct Evidence {
    console: Arc<Console>,
    log: Arc<host::Log>,
    errors: PathBuf,
}

impl Vm {
    /// Boots `machine` from power on, with its files in `directory`.
    pub(crate) fn boot(machine: &Machine, boot: &Boot<'_>, directory: &Path) -> Result<Vm> {
        Vm::boot_with_memory(machine, boot, machine.fresh_memory(), directory)
    }

    /// Boots a machine until its control shell has run `booted`, and saves it.
    pub(crate) fn boot_and_save(
        saved: &Saved,
        boot: &Boot<'_>,
        booted: &str,
        directory: &Path,
    ) -> Result<()> {
        let mut vm = Vm::boot_with_memory(saved.machine(), boot, &saved.memory(), directory)?;
        let result = vm.control.run_at_boot(booted).and_then(|()| saved.save(&mut vm.qmp));
        result.with_context(|| format!("cannot save a booted guest; {}", vm.evidence().text()))
    }

    fn boot_with_memory(machine: &Machine, boot: &Boot<'_>, memory: &str, directory: &Path) -> Result<Vm> {
        let sockets = Sockets::in_directory(directory);
        let initramfs = MemoryFile::holding("initramfs", boot.initramfs)?;
        let mut arguments = machine.arguments(memory, &sockets, &directory.join("console.log"));
        let option = |name: &str, value: OsString| [OsString::from(name), value];
        arguments.extend(option("-kernel", boot.kernel.into()));
        arguments.extend(option("-initrd", initramfs.path().into()));
        let words = format!("console={} {KERNEL_ARGUMENTS} {}", machine.arch.console(), machine.kernel);
        arguments.extend(option("-append", words.into()));
        let (qemu, qmp) = Qemu::start(boot.qemu, &arguments, None, &directory.join("qemu.err"))?;
        Vm::attach(qemu, qmp, &sockets, boot.connect, directory)?.go()
    }

    /// Continues a saved guest with `disc` in its drive, if it has one.
    pub(crate) fn restore(
        saved: &Saved,
        disc: Option<&Path>,
        qemu: &Path,
        connect: Connect,
        directory: &Path,
    ) -> Result<Vm> {
        let sockets = Sockets::in_directory(directory);
        let arguments = saved.arguments(disc, &sockets, &directory.join("console.log"));
        let (qemu, qmp) = Qemu::start(qemu, &arguments, Some(saved.state()?), &directory.join("qemu.err"))?;
        // The saved control shell has its port open and was connected: it must be again before it looks.
        let mut vm = Vm::attach(qemu, qmp, &sockets, connect, directory)?;
        Saved::restore(&mut vm.qmp)?;
        vm.go()
    }

    /// Connects to everything of a QEMU that is not running its guest yet.
    fn attach(qemu: Qemu, qmp: Qmp, sockets: &Sockets, connect: Connect, directory: &Path) -> Result<Vm> {
        let console = UnixStream::connect(&sockets.console)
            .with_context(|| format!("cannot connect to the console at {}", sockets.console.display()))?;
        let mut host = Host::new(&sockets.agent);
        if connect == Connect::BeforeBoot {
            host.connect()?;
        }
        Ok(Vm {
            host,
            qmp,
            console: Console::follow(console),
            started: Instant::now(),
            control: Control::connect(&sockets.control)?,
            errors: directory.join("qemu.err"),
            plugged: 0,
            _qemu: qemu,
        })
    }

    fn go(mut self) -> Result<Vm> {
        self.started = Instant::now();
        self.qmp.execute("cont", json!({}))?;
        Ok(self)
    }

    /// The first report that matches; see [`Host::report`].
    pub fn report(&mut self, wanted: impl Fn(&Report) -> bool, within: Duration) -> Result<Received> {
        self.host.report(wanted, within)
    }

    /// Waits until the boot of a Debian guest is over; a unit that failed is an error.
    pub fn booted(&mut self) -> Result<()> {
        self.control.run_at_boot(debian::BOOTED)
    }

    /// Runs `script` in the guest, whatever its status.
    pub fn sh(&mut self, script: &str) -> Result<Output> {
        self.control.sh(script)
    }

    /// Runs `script` in the guest, which must succeed, and gives its standard output.
    pub fn run(&mut self, script: &str) -> Result<String> {
        self.control.run(script)
    }

    /// Starts `script` in the guest; end it with `exec`, so that its process is the job's.
    pub fn spawn(&mut self, script: &str) -> Result<Job> {
        self.control.spawn(script)
    }

    /// Waits until a job ends, and gives its status.
    pub fn wait(&mut self, job: &Job, within: Duration) -> Result<i32> {
        self.control.wait(job, within)
    }

    /// What a job wrote so far.
    pub fn output(&mut self, job: &Job) -> Result<String> {
        self.control.output(job)
    }

    /// Puts files into the guest.
    pub fn put(&mut self, files: &Files) -> Result<()> {
        self.control.put(files)
    }

    /// The bytes of a file in the guest.
    pub fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        self.control.get(path)
    }

    /// Everything under a directory in the guest.
    pub fn tree(&mut self, directory: &str) -> Result<Tree> {
        self.control.tree(directory)
    }

    /// Changes the disc in the drive that the machine was built with.
    ///
    /// The guest's kernel notices when it next looks, and an IDE drive then says "no medium" first.
    pub fn change_disc(&mut self, disc: &Path) -> Result<()> {
        let arguments = json!({ "id": DRIVE_ID, "filename": disc, "format": "raw" });
        self.qmp.execute("blockdev-change-medium", arguments).map(drop)
    }

    /// Plugs in a further optical drive with `disc` in it.
    pub fn plug_drive(&mut self, disc: &Path) -> Result<()> {
        self.plug(json!({ "driver": "scsi-cd", "bus": "scsi.0" }), image(disc)).map(drop)
    }

    /// Plugs in `device` on top of `block`, both as QMP's `device_add` and `blockdev-add` take them, but for the names
    /// that connect them; the device's `id`, for [`Vm::unplug`].
    pub fn plug(&mut self, mut device: Value, mut block: Value) -> Result<String> {
        self.plugged += 1;
        let (node, id) = (format!("disc{}", self.plugged), format!("plugged{}", self.plugged));
        block["node-name"] = node.as_str().into();
        self.qmp.execute("blockdev-add", block)?;
        device["drive"] = node.into();
        device["id"] = id.as_str().into();
        self.qmp.execute("device_add", device)?;
        Ok(id)
    }

    /// Takes a device away, and waits until the guest has let go of it.
    pub fn unplug(&mut self, id: &str) -> Result<()> {
        self.qmp.execute("device_del", json!({ "id": id }))?;
        loop {
            let deleted = self.qmp.event("DEVICE_DELETED", Duration::from_secs(20))?;
            if deleted["data"]["device"] == id {
                return Ok(());
            }
        }
    }

    /// Lets the guest's resets be resets; else QEMU ends with the first.
    pub fn allow_resets(&mut self) -> Result<()> {
        self.qmp.execute("set-action", json!({ "reboot": "reset" })).map(drop)
    }

    /// Does something while no instruction of the guest's is executed.
    pub fn while_stopped<T>(&mut self, work: impl FnOnce(&mut Vm) -> Result<T>) -> Result<T> {
        self.qmp.execute("stop", json!({}))?;
        let result = work(self)?;
        self.qmp.execute("cont", json!({}))?;
        Ok(result)
    }

    /// Takes the agent's port away from the guest.
    pub fn unplug_port(&mut self) -> Result<()> {
        self.unplug(AGENT_PORT_ID)
    }

    /// Gives the agent's port back to the guest; the host's connection has stayed.
    pub fn plug_port(&mut self) -> Result<()> {
        let port = json!({
            "driver": "virtserialport", "chardev": "agent", "id": AGENT_PORT_ID, "name": AGENT_PORT,
        });
        self.qmp.execute("device_add", port).map(drop)
    }

    /// What explains a failure of this guest.
    pub fn evidence(&self) -> Evidence {
        Evidence { console: Arc::clone(&self.console), log: self.host.log(), errors: self.errors.clone() }
    }
}

/// A block device that holds an image and cannot be written, for [`Vm::plug`].
pub fn image(path: &Path) -> Value {
    json!({ "driver": "raw", "read-only": true, "file": { "driver": "file", "filename": path } })
}

impl Evidence {
    /// The console's last lines, the reports, and what QEMU said.
    pub fn text(&self) -> String {
        const LINES: usize = 60;
        let console = self.console.text();
        let lines: Vec<&str> = console.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        let errors = std::fs::read_to_string(&self.errors).unwrap_or_default();
        let reports = self.log.summary();
        format!(
            "the host saw {reports}\n--- console, last {LINES} lines\n{last}\n--- qemu's errors\n{errors}---"
        )
    }
}
