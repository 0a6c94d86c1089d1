//! What another machine has for a deployment, before there is one.
//!
//! Decides where the deployment is to be there, and which of its programs run the guests. Does not change anything there.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::Connection;
use super::ssh::Ssh;
use crate::deployment::{SOCKET, SOCKETS};

/// What another machine has for a deployment.
#[derive(Debug)]
pub struct Found {
    /// The directory that the deployment is to have there.
    pub directory: PathBuf,
    /// Its QEMU.
    pub program: PathBuf,
    /// Whether it has KVM.
    pub has_kvm: bool,
}

/// The user's number, where deployments are, whether there is KVM, and where the program is.
const LOOK: &str = r#"id -u
printf '%s\n' "${OVF_HOST_STATE:-}" "${XDG_STATE_HOME:-$HOME/.local/state}"
if test -w /dev/kvm; then echo kvm; else echo tcg; fi
if ! command -v qemu-img > /dev/null; then echo "qemu-img is not there; install it (Debian: qemu-utils)" >&2; exit 1; fi
command -v -- "$1" || exit 127"#;

/// What another machine has for a deployment that is to be called so there: deployments of several machines meet, and may have one
/// name.
///
/// # Errors
/// It is not to be reached, or cannot run guests.
pub fn look(connection: &Connection, name: &str, qemu: &Path) -> Result<Option<Found>, String> {
    let Some(login) = connection.login() else { return Ok(None) };
    let ssh = Ssh::open(login)?;
    let program = qemu.to_str().ok_or_else(|| format!("{} is not UTF-8", qemu.display()))?;
    let output = ssh.script(LOOK, &[program])?;
    if Ssh::is_absent(&output) {
        return Err(format!("{program} is not there on {login}; install it (Debian: qemu-system-x86)"));
    }
    ssh.judged(&output)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Whoever logs in may be greeted; the answer is what comes last.
    let lines: Vec<_> = text.lines().rev().take(5).collect();
    let [program, kvm, home, state, user] = lines[..] else {
        return Err(format!("on {login}: the shell does not answer what it is asked"));
    };
    if connection.is_system() && user != "0" {
        return Err(format!(
            "{connection} is for root, since its guests' ports and consoles are; log in as root, as in qemu+ssh://root@HOST/system"
        ));
    }
    let above = match (state, connection.is_system()) {
        ("", true) => PathBuf::from("/var/lib/ovf-host"),
        ("", false) => Path::new(home).join("ovf-host"),
        (state, _) => state.into(),
    };
    let directory = above.join(name);
    if !directory.is_absolute() || directory.as_os_str().len() + SOCKET > SOCKETS {
        return Err(format!(
            "on {login}: {} is no path for sockets, which have to be absolute and short; set OVF_HOST_STATE there",
            directory.display()
        ));
    }
    Ok(Some(Found { directory, program: program.into(), has_kvm: kvm == "kvm" }))
}
