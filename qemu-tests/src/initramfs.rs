//! The initramfs that every guest boots from: busybox, the kernel's modules, the agent and `guest/init`.
//!
//! It is not compressed: under emulation unpacking costs more than the bytes. What a test brings along
//! follows as a second archive, which the kernel unpacks over the first.

use crate::files::Files;
use crate::modules;
use crate::tools::Tools;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Users and groups that templates may name as owners.
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nmydb:x:400:400:database:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nmydb:x:400:\n";

/// The archive that all guests share.
pub(crate) fn base(tools: &Tools) -> Result<Vec<u8>> {
    let mut files = Files::new()
        .with_program("/init", include_str!("../guest/init"))
        .with_program("/bin/control", include_str!("../guest/control"))
        .with_program("/bin/load", include_str!("../guest/load"))
        .with_program("/bin/busybox", read(&tools.busybox)?)
        .with_link("/bin/sh", "busybox")
        .with_program("/bin/ovf-agent", read(&tools.agent)?)
        .with("/etc/passwd", PASSWD)
        .with("/etc/group", GROUP);
    for directory in ["/dev", "/proc", "/run", "/sys", "/tmp", "/var/lib"] {
        files = files.with_directory(directory);
    }
    let modules = modules::find(&tools.modules)?;
    files = files.with("/lib/modules/order", order(&modules.wanted));
    for (name, paths) in &modules.on_demand {
        files = files.with(&format!("/lib/modules/{name}.order"), order(paths));
    }
    let all: BTreeSet<_> =
        modules.on_demand.iter().flat_map(|(_, paths)| paths).chain(&modules.wanted).collect();
    for path in all {
        files = files.with(&format!("/lib/modules/{}", file_name(path)), read(path)?);
    }
    files.archive()
}

/// The files to load, a line each.
pub(crate) fn order(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| file_name(path) + "\n").collect()
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
