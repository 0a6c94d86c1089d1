//! Mounting for a process that may not: by one that may do that alone, and has no other business.
//!
//! Decides how the two talk. systemd listens at a socket of root's, and starts the other process for each connection
//! (`systemd/system/ovf-agent-mount.socket`). What goes there is the open device, so the one that was judged is the one that is
//! mounted; what comes back is the mount, which is a descriptor too (unix(7), `SCM_RIGHTS`). Nothing of the volume is read by that
//! process, nothing is left in a file, and the mount ends with whoever asked for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use super::{Error, Result, mount, reason};
use crate::sys::net;

/// Where systemd listens.
const SOCKET: &str = "/run/ovf-agent/mount";
/// For an answer. The process is ended before (`TimeoutStartSec=` of its unit), unless a drive does not let go of it.
const ANSWER: Duration = Duration::from_secs(60);
/// The answer: an error's number, or this and the mount.
const MOUNTED: i32 = 0;

/// Has it mounted.
pub(super) fn ask(device: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let stream = net::connect_unix(Path::new(SOCKET)).map_err(|_| {
        let what = "mounting needs CAP_SYS_ADMIN, or ovf-agent-mount.socket, which does not listen here";
        io::Error::new(io::ErrorKind::PermissionDenied, what)
    })?;
    let mut number = [0; size_of::<i32>()];
    let mut talk = || {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(ANSWER))?;
        net::send(stream.as_fd(), &[0], &[device])?;
        net::receive(stream.as_fd(), &mut number)
    };
    match talk() {
        Ok((4, Some(mount))) => Ok(mount),
        Ok((4, None)) => Err(reason(Errno::from_raw(i32::from_ne_bytes(number)))),
        _ => Err(io::Error::other(
            "ovf-agent-mount@.service does not answer; journalctl -u 'ovf-agent-mount@*' says why",
        )),
    }
}

/// Mounts for the one who is connected to our standard input.
///
/// # Errors
/// Nobody is, or he has not given us a device. That it cannot be mounted is his to say.
pub fn serve() -> Result<()> {
    let stdin = io::stdin();
    let answer = |device: OwnedFd| match mount(device.as_fd()) {
        Ok(mount) => net::send(stdin.as_fd(), &MOUNTED.to_ne_bytes(), &[mount.as_fd()]),
        Err(errno) => net::send(stdin.as_fd(), &(errno as i32).to_ne_bytes(), &[]),
    };
    let asked = net::receive(stdin.as_fd(), &mut [0]);
    let answered = asked.and_then(|(_, device)| answer(device.ok_or(io::ErrorKind::InvalidInput)?));
    answered.map(drop).map_err(|error| Error::new("take a device from", "standard input", error))
}
