//! The guest with OpenRC: Debian's, and started as Alpine does it, by busybox as init.
//!
//! `qemu-tests/guest-openrc` makes its image. Decided here: what init runs, and how the control shell is started.

use crate::debian::{Debian, with_any_init};
use crate::tools::Tools;
use anyhow::Result;

/// Alpine's, without terminals.
const INITTAB: &str = "::sysinit:/sbin/openrc sysinit\n::sysinit:/sbin/openrc boot\n::wait:/sbin/openrc default\n\
    ::shutdown:/sbin/openrc shutdown\n";

/// The root file system is there, and nothing else is to be mounted.
const FSTAB: &str = "root / overlay defaults 0 0\n";

/// The image, and what lies over it.
pub(crate) fn prepare(tools: &Tools) -> Result<Debian> {
    let mut files = with_any_init(tools)?
        .with("/etc/inittab", INITTAB)
        .with("/etc/fstab", FSTAB)
        .with_program("/etc/init.d/control", include_str!("../guest/openrc/control"))
        .with_link("/etc/runlevels/sysinit/control", "/etc/init.d/control");
    for name in ["init", "halt", "poweroff", "reboot"] {
        files = files.with_link(&format!("/usr/sbin/{name}"), "/usr/bin/busybox");
    }
    Debian::of(tools, tools.openrc()?, &files)
}
