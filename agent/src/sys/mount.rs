//! An ISO 9660 volume, mounted for the time of one look.
//!
//! Decides how: as a detached mount (fsopen(2) and fsmount(2), Linux 5.2), which has no mount point and is in nobody's
//! mount table. It ends with its descriptor: on every path, a killed process's included. A mount at a directory was
//! rejected: it would need one, somebody to see it, and somebody to clean up. While it lasts, the drive's tray is locked.
//!
//! Who may not mount has it done by a process that may do nothing else, see [`service`].

mod service;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::libc;
use nix::sys::stat::{SFlag, fstatat};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::device::Device;
use super::root::{names_in, read_limited};
use super::{Error, Result};

pub use service::serve;

// linux/mount.h
const FSOPEN_CLOEXEC: libc::c_ulong = 1;
const FSCONFIG_SET_FLAG: libc::c_ulong = 0;
const FSCONFIG_SET_STRING: libc::c_ulong = 1;
const FSCONFIG_CMD_CREATE: libc::c_ulong = 6;
const FSMOUNT_CLOEXEC: libc::c_ulong = 1;
const MOUNT_ATTR_RDONLY: libc::c_ulong = 0x1;
const MOUNT_ATTR_NOSUID: libc::c_ulong = 0x2;
const MOUNT_ATTR_NODEV: libc::c_ulong = 0x4;
const MOUNT_ATTR_NOEXEC: libc::c_ulong = 0x8;

/// A mounted volume; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    top: OwnedFd,
    device: PathBuf,
}

/// What a name in a mounted volume stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of this many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, FIFO or socket.
    Special,
}

impl Mounted {
    /// Mounts the volume on an open block device, `ro,nosuid,nodev,noexec`. Needs CAP_SYS_ADMIN, or the service that has it,
    /// and a kernel with isofs.
    ///
    /// # Errors
    /// The kernel does not mount it, or the service does not answer; `path` is the device's name in the message.
    pub fn iso9660(device: &Device, path: &Path) -> Result<Self> {
        let top = match mount(device.as_fd()) {
            Err(Errno::EPERM) => service::ask(device.as_fd()),
            outcome => outcome.map_err(reason),
        };
        let device = path.to_path_buf();
        match top {
            Ok(top) => Ok(Self { top, device }),
            Err(source) => Err(Error { action: "mount", path: device, source }),
        }
    }

    /// The mount's options, as the kernel tells them: `ro,nosuid,nodev,noexec`.
    pub fn options(&self) -> String {
        let flags = fstatvfs(&self.top).map_or(FsFlags::empty(), |stat| stat.flags());
        let names = [
            (FsFlags::ST_RDONLY, "ro"),
            (FsFlags::ST_NOSUID, "nosuid"),
            (FsFlags::ST_NODEV, "nodev"),
            (FsFlags::ST_NOEXEC, "noexec"),
        ];
        let set = names.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| name);
        set.collect::<Vec<_>>().join(",")
    }

    /// The names in a directory of the volume, and what they stand for; `""` is its root. Names that are no UTF-8 are
    /// left out.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn entries(&self, directory: &Path) -> Result<Vec<(String, Kind)>> {
        let fail = |errno: Errno| self.error("list", directory, errno);
        let names = names_in(self.open(directory, OFlag::O_RDONLY | OFlag::O_DIRECTORY).map_err(fail)?);
        let within = self.open(directory, OFlag::O_PATH | OFlag::O_DIRECTORY).map_err(fail)?;
        let kind = |name: &str| -> nix::Result<Kind> {
            let stat = fstatat(&within, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            Ok(match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
                SFlag::S_IFREG => Kind::File(stat.st_size as u64),
                SFlag::S_IFDIR => Kind::Directory,
                SFlag::S_IFLNK => Kind::Link,
                _ => Kind::Special,
            })
        };
        let named = names.map_err(fail)?.into_iter().map(|name| kind(&name).map(|kind| (name, kind)));
        named.collect::<nix::Result<_>>().map_err(fail)
    }

    /// All of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// It cannot be read, or is larger.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>> {
        let file = self.open(path, OFlag::O_RDONLY).map_err(|errno| self.error("read", path, errno))?;
        read_limited(file.into(), limit).map_err(|error| self.error("read", path, error))
    }

    fn open(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        openat2(&self.top, path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve))
    }

    fn error(&self, action: &'static str, path: &Path, source: impl Into<io::Error>) -> Error {
        Error::new(action, self.device.join(path), source)
    }
}

/// What to do about it, where that is known.
fn reason(errno: Errno) -> io::Error {
    match errno {
        Errno::EPERM => io::Error::new(io::ErrorKind::PermissionDenied, "mounting needs CAP_SYS_ADMIN"),
        Errno::ENODEV => io::Error::other("the kernel has no isofs; load it, or have it built in"),
        Errno::ENOTBLK => io::Error::other("it is no block device, and only those can be mounted"),
        errno => errno.into(),
    }
}

fn mount(device: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    // The device that was judged, not what its name may mean by now.
    let source = format!("/proc/self/fd/{}", device.as_raw_fd());
    let source = CString::new(source).expect("a number and a fixed text");
    // SAFETY: fsopen(2) reads a string and gives a new descriptor.
    let context =
        unsafe { descriptor(libc::syscall(libc::SYS_fsopen, c"iso9660".as_ptr(), FSOPEN_CLOEXEC)) }?;
    configure(&context, FSCONFIG_SET_STRING, Some(c"source"), Some(&source))?;
    configure(&context, FSCONFIG_SET_FLAG, Some(c"ro"), None)?;
    configure(&context, FSCONFIG_CMD_CREATE, None, None)?;
    let attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    let context = context.as_fd().as_raw_fd();
    // SAFETY: fsmount(2) takes an open descriptor and integers, and gives a new descriptor.
    unsafe { descriptor(libc::syscall(libc::SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes)) }
}

fn configure(
    context: &OwnedFd,
    command: libc::c_ulong,
    key: Option<&CStr>,
    value: Option<&CStr>,
) -> nix::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    let context = context.as_fd().as_raw_fd();
    // SAFETY: fsconfig(2) takes an open descriptor and strings that outlive the call, or null where the command wants none.
    let outcome = unsafe {
        libc::syscall(libc::SYS_fsconfig, context, command, pointer(key), pointer(value), 0 as libc::c_long)
    };
    Errno::result(outcome).map(drop)
}

/// The descriptor that a system call gave.
///
/// # Safety
/// If not negative, it must be a new descriptor that nobody else owns.
unsafe fn descriptor(outcome: libc::c_long) -> nix::Result<OwnedFd> {
    let fd = Errno::result(outcome)?;
    // SAFETY: the caller says so.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}
