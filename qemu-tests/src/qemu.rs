//! One QEMU process: started with its monitor connected, and gone when its value is gone.
//!
//! It knows descriptors and the process, not machines (`machine`) or guests (`vm`).

use crate::qmp::Qmp;
use anyhow::{Context, Result, anyhow};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running QEMU, killed on drop.
#[derive(Debug)]
pub(crate) struct Qemu {
    child: Child,
    errors: PathBuf,
}

impl Qemu {
    /// Starts `program` with `arguments` and gives it with its monitor, greeted.
    ///
    /// The monitor is one end of a socket pair on the child's descriptor 0: there is no path to wait for
    /// and nobody else can connect. Descriptor 1 is `state`, if any, for `-incoming fd:1`: standard
    /// streams are inherited without clearing close-on-exec, which another thread's child would see.
    pub(crate) fn start(
        program: &Path,
        arguments: &[OsString],
        state: Option<File>,
        errors: &Path,
    ) -> Result<(Qemu, Qmp)> {
        let (here, there) = UnixStream::pair().context("cannot make a socket pair for QEMU's monitor")?;
        let stderr = File::create(errors).with_context(|| format!("cannot create {}", errors.display()))?;
        // setpriv sets PR_SET_PDEATHSIG and becomes QEMU: a harness that is killed leaves no guest. The
        // signal comes when the *thread* that starts QEMU ends, so a guest stays in its test's thread.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .stdin(OwnedFd::from(there))
            .stdout(state.map_or_else(Stdio::null, Stdio::from))
            .stderr(stderr)
            // Its own group: an interrupt at the terminal is for the harness; the guest ends with it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let qemu = Qemu { child, errors: errors.to_path_buf() };
        match Qmp::greet(here) {
            Ok(qmp) => Ok((qemu, qmp)),
            Err(error) => {
                Err(error.context(anyhow!("{} did not start: {}", program.display(), qemu.errors())))
            }
        }
    }

    /// What QEMU wrote on its standard error so far.
    fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors)
            .unwrap_or_else(|error| format!("(cannot read {}: {error})", self.errors.display()))
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both can fail only if it has already ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
