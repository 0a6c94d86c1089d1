//! The transports for platforms that make no ISO: a document in QEMU's firmware configuration, or in a systemd
//! credential.
//!
//! Decides where they are in the file tree; both are files that the kernel or PID 1 has put there before the agent
//! starts, so nothing is waited for. QEMU's `-fw_cfg name=opt/org.ovf/env,file=...` is shown by the kernel's
//! qemu_fw_cfg (Documentation/ABI/testing/sysfs-firmware-qemu_fw_cfg), which must be loaded. A system credential
//! comes by SMBIOS, fw_cfg or the kernel's command line and is kept by PID 1 (systemd.exec(5), `LoadCredential=`); one that
//! the unit was given itself goes first.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::environment::MAX_DOCUMENT;
use crate::sys::{self, Root, process};

/// The document in the firmware configuration.
const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/org.ovf/env/raw";
/// Where PID 1 keeps the system's credentials.
const SYSTEM_CREDENTIALS: &str = "/run/credentials/@system";
/// The name of the credential with the document.
const CREDENTIAL: &str = "ovf.environment";

/// What a look at one of them came to: the document, or nothing.
type Look = sys::Result<Option<Zeroizing<Vec<u8>>>>;

/// The document in QEMU's firmware configuration.
///
/// # Errors
/// It is there, but cannot be read, or is too large.
pub(super) fn fw_cfg(root: &Root) -> Look {
    Ok(root.read(FW_CFG, MAX_DOCUMENT as u64)?.map(Zeroizing::new))
}

/// The document in a systemd credential.
///
/// # Errors
/// It is there, but cannot be read, or is too large.
pub(super) fn document(root: &Root) -> Look {
    credential(root, CREDENTIAL, MAX_DOCUMENT as u64)
}

/// A systemd credential of at most `limit` bytes.
///
/// # Errors
/// It is there, but cannot be read, or is too large.
pub(crate) fn credential(root: &Root, name: &str, limit: u64) -> Look {
    // What the service manager gave to this process says nothing about a tree that is another machine's.
    let own = process::credentials_directory().filter(|_| root.is_system());
    let directories = own.into_iter().chain([PathBuf::from(SYSTEM_CREDENTIALS)]);
    for path in directories.map(|directory| directory.join(name)) {
        if let Some(bytes) = root.read(&path, limit)? {
            return Ok(Some(Zeroizing::new(bytes)));
        }
    }
    Ok(None)
}
