//! The way to a directory that is written in.
//!
//! Decides which symbolic links are followed on it: only those where the directory that holds the link, and the link
//! itself, belong to root or to us, and nobody else may write there. A directory that another user owns can therefore
//! not lead a write of root's elsewhere (a swapped `~/.ssh`). Reading is free to follow what it finds inside the root.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::geteuid;

use super::Root;
use super::place::reopen;

/// As many links in a row as the kernel follows (path_resolution(7)).
const MAX_LINKS: u32 = 40;

impl Root {
    /// Opens the directory `path`, if the way to it can be trusted.
    pub(super) fn trusted_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        match self.resolve_without_links(path, flags) {
            Err(Errno::ELOOP) => self.walk(path),
            outcome => Ok(outcome?),
        }
    }

    /// Resolves `path` link by link, judging each.
    fn walk(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut todo: VecDeque<OsString> = parts(path);
        let mut above: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        let mut here = reopen(self.dir())?;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                // Above the root is the root.
                if let Some(dir) = above.pop() {
                    here = dir;
                }
                continue;
            }
            let stat = fstatat(here.as_fd(), name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
            if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFLNK {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let next = openat(here.as_fd(), name.as_os_str(), flags, Mode::empty())?;
                above.push(std::mem::replace(&mut here, next));
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::ELOOP.into());
            }
            if !trusted(&fstat(here.as_fd())?, false) || !trusted(&stat, true) {
                return Err(io::Error::other(format!(
                    "`{}` is a symbolic link in a directory that others may change, so it is not followed",
                    name.display()
                )));
            }
            let target = PathBuf::from(readlinkat(here.as_fd(), name.as_os_str())?);
            if target.is_absolute() {
                above.clear();
                here = reopen(self.dir())?;
            }
            for part in parts(&target).into_iter().rev() {
                todo.push_front(part);
            }
        }
        Ok(here)
    }
}

/// Whether only root or we can have put this there.
fn trusted(stat: &FileStat, link: bool) -> bool {
    let owned = stat.st_uid == 0 || stat.st_uid == geteuid().as_raw();
    let sticky = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits()
        && stat.st_mode & nix::libc::S_ISVTX != 0;
    // The mode of a link means nothing; in a sticky directory nobody else can replace what we or root own.
    owned && (link || sticky || stat.st_mode & 0o022 == 0)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}
