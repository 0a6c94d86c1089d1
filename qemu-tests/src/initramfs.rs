//! The initramfs that every guest boots from: busybox, the kernel's modules, the agent and `guest/init`.
//!
//! It is not compressed: under emulation unpacking costs more than the bytes. What a test brings along
//! follows as a second archive, which the kernel unpacks over the first.

use crate::files::Files;
use crate::modules;
use crate::tools::Tools;
use anyhow::{Context, Result};
use std::path::Path;

/// Users and groups that templates may name as owners.
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nmydb:x:400:400:database:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nmydb:x:400:\n";

/// The archive that all guests share.
pub(crate) fn base(tools: &Tools) -> Result<Vec<u8>> {
    let mut files = Files::new()
        .with_program("/init", include_str!("../guest/init"))
        .with_program("/bin/control", include_str!("../guest/control"))
        .with_program("/bin/busybox", read(&tools.busybox)?)
        .with_link("/bin/sh", "busybox")
        .with_program("/bin/ovf-agent", read(&tools.agent)?)
        .with("/etc/passwd", PASSWD)
        .with("/etc/group", GROUP);
    for directory in ["/dev", "/proc", "/run", "/sys", "/tmp", "/var/lib"] {
        files = files.with_directory(directory);
    }
    let mut order = String::new();
    for path in modules::needed(&tools.modules)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files = files.with(&format!("/lib/modules/{name}"), read(&path)?);
        order.extend([name.as_str(), "\n"]);
    }
    files.with("/lib/modules/order", order).archive()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
