//! A guest that was booted once and is continued by many tests.
//!
//! Its memory lies in a memory file. QEMU's `x-ignore-shared` migration leaves shared memory out of the
//! state, so the state is half a megabyte; each restored guest maps the same memory copy-on-write and is
//! there at once. (Memory inside the state takes 20 times as long to load.) Nothing is kept for
//! the next run: booting takes three seconds, and nothing stale can ever be restored.

use crate::machine::{self, Machine, Sockets};
use crate::memory::MemoryFile;
use crate::qmp::Qmp;
use anyhow::{Result, bail};
use serde_json::json;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// How long saving or restoring may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A guest's memory and the state of its devices.
#[derive(Debug)]
pub(crate) struct Saved {
    machine: Machine,
    memory: MemoryFile,
    state: MemoryFile,
}

impl Saved {
    /// Prepares to save `machine`, which must then boot with `memory()` as its memory.
    pub(crate) fn prepare(machine: Machine) -> Result<Saved> {
        Ok(Saved {
            machine,
            memory: MemoryFile::new("guest memory")?,
            state: MemoryFile::new("guest state")?,
        })
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The memory object for the guest that will be saved.
    pub(crate) fn memory(&self) -> String {
        machine::file_memory(&self.memory.path(), true)
    }

    /// A descriptor for the state: to be descriptor 1 (see `qemu`) of each QEMU that restores it.
    pub(crate) fn state(&self) -> Result<std::fs::File> {
        self.state.reopen()
    }

    /// Stops the guest behind `qmp` and saves it.
    pub(crate) fn save(&self, qmp: &mut Qmp) -> Result<()> {
        qmp.execute("stop", json!({}))?;
        leave_memory_out(qmp)?;
        // QEMU 7.2 migrates to descriptors only when they were passed by name, and to files not at all.
        let uri = format!("exec:cat > {}", self.state.path().display());
        qmp.execute("migrate", json!({ "uri": uri }))?;
        migrated(qmp)
    }

    /// The arguments for a QEMU that restores it, with `disc` in its drive.
    ///
    /// What lies in a drive is no part of its state: to the guest the disc has been there all the time. (One
    /// inserted over QMP makes an IDE drive say "no medium" once more and then "medium changed".)
    pub(crate) fn arguments(&self, disc: Option<&Path>, sockets: &Sockets, log: &Path) -> Vec<OsString> {
        let memory = machine::file_memory(&self.memory.path(), false);
        let machine = Machine { disc: disc.map(Path::to_path_buf), ..self.machine.clone() };
        let mut arguments = machine.arguments(&memory, sockets, log);
        arguments.extend(["-incoming".into(), "defer".into()]);
        arguments
    }

    /// Loads the state into the QEMU behind `qmp`; the guest is then stopped where it was saved.
    pub(crate) fn restore(qmp: &mut Qmp) -> Result<()> {
        leave_memory_out(qmp)?;
        qmp.execute("migrate-incoming", json!({ "uri": "fd:1" }))?;
        migrated(qmp)
    }
}

fn leave_memory_out(qmp: &mut Qmp) -> Result<()> {
    let on = |name| json!({ "capability": name, "state": true });
    let capabilities = json!({ "capabilities": [on("x-ignore-shared"), on("events")] });
    qmp.execute("migrate-set-capabilities", capabilities).map(drop)
}

/// Waits until a migration in either direction is complete.
fn migrated(qmp: &mut Qmp) -> Result<()> {
    loop {
        let event = qmp.event("MIGRATION", PATIENCE)?;
        match event["data"]["status"].as_str() {
            Some("completed") => return Ok(()),
            Some("failed") => bail!("QEMU could not save or restore the guest"),
            _ => {}
        }
    }
}
