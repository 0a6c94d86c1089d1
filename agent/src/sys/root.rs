//! A machine's file tree: the real one (`/`) or a directory that stands for one.
//!
//! Decides how a path inside it is resolved: by `openat2(2)` with `RESOLVE_IN_ROOT`, so that no `..`, symbolic
//! link or mount of procfs inside the tree leads out of it (Linux 5.6 and newer). The tree is total: configuration,
//! targets, state, `/sys`, `/proc` and `/dev` are all read through it, and nothing is read beside it.
//! What may be *written* where is decided in [`super::place`].

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, readlinkat};
use nix::sys::stat::Mode;

use super::device::{Device, Medium};
use super::port::Port;
use super::{Error, Result};

/// The file tree of a machine. Paths given to its methods are absolute, as they are inside that machine.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// The tree below `path`.
    ///
    /// # Errors
    /// `path` is not a directory that can be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let dir = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| Error::new("open the directory", path, errno))?;
        Ok(Self { dir, path: path.to_path_buf() })
    }

    /// The tree below a directory of this one; `None` where that is not there.
    ///
    /// # Errors
    /// It is there but cannot be opened, or is no directory.
    pub fn subtree(&self, path: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = path.as_ref();
        match self.resolve(path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Ok(dir) => Ok(Some(Self { dir, path: self.outside(path) })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Error::new("open the directory", path, errno)),
        }
    }

    /// Whether this is the machine we run on, and not a directory that stands for one.
    pub fn is_system(&self) -> bool {
        self.path == Path::new("/")
    }

    /// Whether programs and units of the machine run. In a chroot files, owners and devices are the machine's own, but it is still to
    /// start.
    pub fn is_up(&self) -> bool {
        self.is_system() && !super::process::is_in_chroot()
    }

    /// A path of this tree as a path of the machine we run on, to show to people.
    pub fn outside(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Writes a setting of the kernel's, as in `/sys`: into what is there, and at once.
    ///
    /// # Errors
    /// There is no such setting, or it takes another value only.
    pub(super) fn set(&self, path: impl AsRef<Path>, value: &str) -> Result<()> {
        let path = path.as_ref();
        let error = |source| Error::new("set", path, source);
        let fd = self.resolve(path, OFlag::O_WRONLY).map_err(|errno| error(errno.into()))?;
        File::from(fd).write_all(value.as_bytes()).map_err(error)
    }

    /// The contents of a file of at most `limit` bytes; `None` where there is none.
    ///
    /// # Errors
    /// It is there, but cannot be read, or is larger than `limit`.
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> Result<Option<Vec<u8>>> {
        let path = path.as_ref();
        // O_NONBLOCK, so that a FIFO put in a file's place cannot hold the boot up.
        let fd = match self.resolve(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(errno) => return Err(Error::new("read", path, errno)),
        };
        read_regular(File::from(fd), limit).map(Some).map_err(|source| Error::new("read", path, source))
    }

    /// At most `length` bytes of a file from `offset` on, in one read; `None` where they cannot be had. For clues in files
    /// that are long to make up in full (`/proc/cpuinfo`), or that are addressed (`/dev/cpu/0/msr`).
    pub fn read_at(&self, path: impl AsRef<Path>, offset: u64, length: usize) -> Option<Vec<u8>> {
        let fd = self.resolve(path.as_ref(), OFlag::O_RDONLY | OFlag::O_NONBLOCK).ok()?;
        let mut bytes = vec![0; length];
        let read = File::from(fd).read_at(&mut bytes, offset).ok()?;
        bytes.truncate(read);
        Some(bytes)
    }

    /// The contents of a small text file, such as those of `/proc` and `/sys`, without the blanks around them.
    /// Absent, unreadable and not text are all `None`: for clues, of which one more or less decides nothing.
    pub fn clue(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = self.read(path, 64 * 1024).ok()??;
        Some(String::from_utf8(bytes).ok()?.trim().to_owned())
    }

    /// Which boot this is (random(4)); empty where the kernel does not say.
    pub fn boot_id(&self) -> String {
        self.clue("/proc/sys/kernel/random/boot_id").unwrap_or_default()
    }

    /// The names in a directory, sorted; none where there is no such directory.
    ///
    /// # Errors
    /// It is there but cannot be read.
    pub fn list(&self, path: impl AsRef<Path>) -> Result<Vec<String>> {
        let path = path.as_ref();
        match self.resolve(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Ok(dir) => names_in(dir).map_err(|errno| Error::new("list", path, errno)),
            Err(Errno::ENOENT) => Ok(Vec::new()),
            Err(errno) => Err(Error::new("list", path, errno)),
        }
    }

    /// What a file that no symbolic link leads to has: its permission bits and its length; `None` where there is no regular
    /// file, or only one behind a link.
    ///
    /// # Errors
    /// That cannot be found out.
    pub fn own_file(&self, path: impl AsRef<Path>) -> Result<Option<(u32, u64)>> {
        let path = path.as_ref();
        let error = |source| Error::new("look at", path, source);
        match self.resolve_without_links(path, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
            Ok(fd) => {
                let metadata = File::from(fd).metadata().map_err(error)?;
                Ok(metadata.is_file().then(|| (metadata.mode() & 0o7777, metadata.len())))
            }
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            Err(errno) => Err(error(errno.into())),
        }
    }

    /// Whether something is at `path`.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.resolve(path.as_ref(), OFlag::O_PATH).is_ok()
    }

    /// What a symbolic link says, without following it; `None` where there is none, also for `/proc`'s magic links
    /// of a process that has gone.
    pub fn link(&self, path: impl AsRef<Path>) -> Option<String> {
        let link = self.resolve(path.as_ref(), OFlag::O_PATH | OFlag::O_NOFOLLOW).ok()?;
        // An empty path means the link that the descriptor itself is (readlinkat(2)).
        readlinkat(link.as_fd(), "").ok()?.into_string().ok()
    }

    /// Opens a disk or optical drive of this machine without locking it; `None` where there is no such node.
    ///
    /// # Errors
    /// It is there but cannot be opened.
    pub fn open_device(&self, path: impl AsRef<Path>) -> Result<Option<Medium>> {
        let path = path.as_ref();
        match self.resolve(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            Ok(fd) => {
                Device::from_file(File::from(fd)).map(Some).map_err(|source| Error::new("read", path, source))
            }
            // sr_mod answers so for a drive without a disc where O_NONBLOCK does not help.
            Err(Errno::ENOMEDIUM) => Ok(Some(Medium::Absent)),
            Err(Errno::ENOENT | Errno::ENXIO | Errno::ENODEV) => Ok(None),
            Err(errno) => Err(Error::new("open", path, errno)),
        }
    }

    /// Opens a virtio-serial port of this machine for reading and writing, without ever blocking.
    ///
    /// # Errors
    /// It is not there yet, or another process has it open (`EBUSY`).
    pub fn open_port(&self, path: impl AsRef<Path>) -> Result<Port> {
        let path = path.as_ref();
        match self.resolve(path, OFlag::O_RDWR | OFlag::O_NONBLOCK) {
            Ok(fd) => Ok(Port::new(File::from(fd))),
            Err(errno) => Err(Error::new("open the port", path, errno)),
        }
    }

    /// Opens `path` inside this tree.
    pub(super) fn resolve(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        self.open2(path, flags, ResolveFlag::RESOLVE_IN_ROOT)
    }

    /// Opens `path` inside this tree if no component of it is a symbolic link.
    pub(super) fn resolve_without_links(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        self.open2(path, flags, ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS)
    }

    /// The tree's own directory.
    pub(super) fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    fn open2(&self, path: &Path, flags: OFlag, resolve: ResolveFlag) -> nix::Result<OwnedFd> {
        // RESOLVE_IN_ROOT would make `..` harmless; refusing it keeps what people read and what happens the same.
        if has_parent(path) {
            return Err(Errno::EINVAL);
        }
        let relative = path.strip_prefix("/").unwrap_or(path);
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        loop {
            let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
            match openat2(self.dir.as_fd(), relative, how) {
                // EAGAIN: something was renamed or mounted while the kernel looked (openat2(2)).
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                outcome => return outcome,
            }
        }
    }
}

/// All of a regular file that may have `limit` bytes. Anything else could keep its reader waiting; and an empty FIFO, or
/// /dev/null, would pass for an empty file.
pub(super) fn read_regular(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => read_up_to(file, metadata.len(), limit),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// All of a file that may have `limit` bytes.
pub(super) fn read_limited(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len();
    read_up_to(file, len, limit)
}

/// All of a file whose size is said to be `len`, and which may have `limit` bytes.
pub(super) fn read_up_to(mut file: File, len: u64, limit: u64) -> io::Result<Vec<u8>> {
    // One byte more than it should have: a file that then gives exactly its size has ended, and need not be asked again.
    // Those of /proc say 0, those of /sys a page.
    let mut bytes = vec![0; len.min(limit) as usize + 1];
    let read = match file.read(&mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
        read => read?,
    };
    bytes.truncate(read);
    if read as u64 != len || len == 0 {
        file.take(limit + 1 - read as u64).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// The names in an open directory, sorted, without `.` and `..`; names that are no UTF-8 are not ours.
pub(super) fn names_in(dir: OwnedFd) -> nix::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::from_fd(dir)?.iter() {
        let entry = entry?;
        // One that is no UTF-8 is there, and cannot be opened by this name; whoever wants it says so.
        let name = entry.file_name().to_string_lossy();
        if name != "." && name != ".." {
            names.push(name.into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether `..` is a part of the path; by its bytes, because this is asked of every file.
fn has_parent(path: &Path) -> bool {
    path.as_os_str().as_bytes().split(|byte| *byte == b'/').any(|part| part == b"..")
}

/// A path's directory and file name, if it has both and is absolute.
pub(super) fn split(path: &Path) -> Option<(&Path, OsString)> {
    if !path.is_absolute() || has_parent(path) {
        return None;
    }
    Some((path.parent()?, path.file_name()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::Root;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn nothing_leads_out_of_the_tree() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        fs::create_dir_all(dir.path().join("in/etc")).expect("mkdir");
        fs::write(dir.path().join("secret"), "outside").expect("write");
        fs::write(dir.path().join("in/secret"), "inside").expect("write");
        for (name, target) in [("abs", "/secret"), ("up", "../../../secret"), ("far", "../secret")] {
            symlink(target, dir.path().join("in/etc").join(name)).expect("symlink");
        }
        let root = Root::open(dir.path().join("in")).expect("a directory");
        for name in ["abs", "up", "far"] {
            let read = root.read(format!("/etc/{name}"), 100).expect(name).expect(name);
            assert_eq!(read, b"inside", "{name} must resolve inside the tree");
        }
        assert!(root.read("/etc/../../secret", 100).is_err(), "`..` in a path is refused");
        assert_eq!(root.read("/etc/none", 100).expect("absent is no error"), None);
        assert!(root.read("/secret", 3).is_err(), "the limit holds");
        assert_eq!(root.read_at("/etc/up", 2, 3).as_deref(), Some(b"sid".as_slice()), "a part of it");
        assert_eq!(root.read_at("/none", 0, 3), None);
        assert_eq!(root.list("/etc").expect("a directory"), ["abs", "far", "up"]);
        fs::set_permissions(dir.path().join("in/secret"), fs::Permissions::from_mode(0o750)).expect("chmod");
        assert_eq!(root.own_file("/secret").expect("a file"), Some((0o750, 6)));
        symlink("etc", dir.path().join("in/link")).expect("symlink");
        fs::write(dir.path().join("in/etc/file"), "").expect("write");
        for none in ["/etc/abs", "/etc", "/link/file", "/none", "/secret/none"] {
            assert_eq!(root.own_file(none).expect(none), None, "{none} is no file, or behind a link");
        }
        assert!(root.list("/none").expect("absent is empty").is_empty());
    }
}
