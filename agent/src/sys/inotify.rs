//! Files that are waited for: told when one comes or goes (inotify(7)).
//!
//! A file that is not there cannot be watched, so the deepest directory of its path is that is there, and the next one once it
//! comes. Where the last part is a symbolic link, so is what it leads to. A file system that is mounted over a directory is nothing
//! that inotify tells of, but `/proc/self/mountinfo` does (proc(5)). Of the file systems in [`SILENT`], inotify does not tell
//! what others than this kernel's own programs do: who waits for a file there has to look.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::statfs::fstatfs;

use super::Root;
use super::poll::Poll;

/// procfs, sysfs, debugfs, cgroup 1 and 2, NFS, SMB (three numbers), FUSE and virtiofs, 9P, CephFS, and VirtualBox's and VMware's
/// shared folders (linux/magic.h).
const SILENT: [u32; 14] = [
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x0027_e0eb,
    0x6367_7270,
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x786f_4256,
    0xbacb_acbc,
];

/// Links that lead to links.
const HOPS: usize = 8;
/// How often a directory may change while it is looked at.
const TRIES: usize = 16;

const INOTIFY: u64 = 0;
const MOUNTS: u64 = 1;

/// Files by number.
#[derive(Debug)]
pub struct FileWatch {
    poll: Poll,
    inotify: Inotify,
    /// Polled and never read.
    _mounts: Option<File>,
    places: BTreeMap<usize, Vec<Place>>,
}

/// A directory that is watched, and what in it matters.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    directory: WatchDescriptor,
    name: OsString,
}

/// What there is to say of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether something is there.
    pub is_there: bool,
    /// Whether it will be told when that changes.
    pub is_watched: bool,
}

impl FileWatch {
    /// One that watches nothing.
    ///
    /// # Errors
    /// The kernel has no more of it for us.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        poll.add(&inotify, INOTIFY)?;
        // Without /proc, mounts are not noticed.
        let mounts = File::open("/proc/self/mountinfo").ok();
        if let Some(mounts) = &mounts {
            poll.add(mounts, MOUNTS)?;
        }
        Ok(Self { poll, inotify, _mounts: mounts, places: BTreeMap::new() })
    }

    /// Looks for the file, and watches its path from then on under this number.
    pub fn look(&mut self, root: &Root, number: usize, path: &Path) -> Look {
        let before = self.places.remove(&number).unwrap_or_default();
        let mut places = Vec::new();
        let is_watched = self.follow(root, path, &mut places).is_ok();
        // After that, so that nothing is lost between.
        let is_there = root.exists(path);
        self.places.insert(number, places);
        for Place { directory, .. } in before {
            if !self.places.values().flatten().any(|place| place.directory == directory) {
                // One whose directory is gone is gone already.
                let _ = self.inotify.rm_watch(directory);
            }
        }
        Look { is_there, is_watched }
    }

    /// The numbers of those that may have come or gone.
    ///
    /// # Errors
    /// Never in practice.
    pub fn events(&mut self) -> io::Result<BTreeSet<usize>> {
        let mut touched = BTreeSet::new();
        for ready in self.poll.wait(Some(std::time::Duration::ZERO))? {
            if ready.token == MOUNTS {
                touched.extend(self.places.keys());
            }
        }
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Ok(touched),
                Err(errno) => return Err(errno.into()),
            };
            for event in events {
                // Without a name it is about the directory itself, or about all where too much has happened.
                let is_all = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                let is_about = |place: &Place| {
                    place.directory == event.wd && event.name.as_ref().is_none_or(|name| *name == place.name)
                };
                let about = self.places.iter().filter(|(_, places)| is_all || places.iter().any(is_about));
                touched.extend(about.map(|(number, _)| *number));
            }
        }
    }

    /// Watches what the path depends on.
    fn follow(&self, root: &Root, path: &Path, places: &mut Vec<Place>) -> io::Result<()> {
        let mut path = path.to_owned();
        for _ in 0..HOPS {
            let (directory, name) = self.deepest(root, &path, places)?;
            let link = directory.join(&name);
            let Some(target) = root.link(&link) else { return Ok(()) };
            let rest = path.strip_prefix(&link).map(Path::to_owned).unwrap_or_default();
            path = plain(&directory.join(target).join(rest));
        }
        Err(Errno::ELOOP.into())
    }

    /// Watches the deepest directory of the path that is there; says which it is, and what is to come in it.
    fn deepest(&self, root: &Root, path: &Path, places: &mut Vec<Place>) -> io::Result<(PathBuf, OsString)> {
        let find = || {
            path.ancestors().skip(1).find_map(|directory| {
                let fd = root.resolve(directory, OFlag::O_PATH | OFlag::O_DIRECTORY).ok()?;
                let next = path.strip_prefix(directory).ok()?.components().next()?;
                Some((fd, directory.to_owned(), next.as_os_str().to_owned()))
            })
        };
        for _ in 0..TRIES {
            let (fd, directory, name) = find().ok_or(Errno::ENOENT)?;
            if SILENT.contains(&(fstatfs(&fd)?.filesystem_type().0 as u32)) {
                return Err(io::ErrorKind::Unsupported.into());
            }
            let flags = AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_MOVE
                | AddWatchFlags::IN_DELETE_SELF
                | AddWatchFlags::IN_MOVE_SELF
                | AddWatchFlags::IN_ONLYDIR;
            let by_descriptor = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let watch = self.inotify.add_watch(by_descriptor.as_str(), flags)?;
            // The next part of the path may have come before it was watched.
            if find().is_some_and(|(_, now, _)| now == directory) {
                places.push(Place { directory: watch, name: name.clone() });
                return Ok((directory, name));
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

/// The path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{FileWatch, Look};
    use crate::sys::Root;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    const ABSENT: Look = Look { is_there: false, is_watched: true };
    const THERE: Look = Look { is_there: true, is_watched: true };

    #[test]
    fn a_file_is_told_of_however_deep_it_comes_and_when_it_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let (root, base) = (Root::open(dir.path()).expect("a root"), dir.path());
        let mut watch = FileWatch::new().expect("inotify");
        let path = Path::new("/a/b/ready");
        assert_eq!(watch.look(&root, 7, path), ABSENT);
        // What is mounted elsewhere meanwhile may be told of.
        let told = |watch: &mut FileWatch| watch.events().expect("events").contains(&7);
        told(&mut watch);
        fs::create_dir(base.join("a")).expect("made");
        assert!(told(&mut watch), "the first directory");
        assert_eq!(watch.look(&root, 7, path), ABSENT);
        fs::create_dir(base.join("a/b")).expect("made");
        assert!(told(&mut watch), "the second");
        assert_eq!(watch.look(&root, 7, path), ABSENT);
        fs::write(base.join("a/b/ready"), "").expect("written");
        assert!(told(&mut watch), "the file");
        assert_eq!(watch.look(&root, 7, path), THERE);
        fs::rename(base.join("a/b"), base.join("a/c")).expect("moved");
        assert!(told(&mut watch), "its directory is elsewhere");
        assert_eq!(watch.look(&root, 7, path), ABSENT);
        fs::rename(base.join("a/c"), base.join("a/b")).expect("moved");
        assert!(told(&mut watch), "and back");
        assert_eq!(watch.look(&root, 7, path), THERE);
        fs::remove_file(base.join("a/b/ready")).expect("removed");
        assert!(told(&mut watch), "it is gone");
    }

    #[test]
    fn a_link_is_followed_within_the_root() {
        let dir = tempfile::tempdir().expect("a directory");
        let (root, base) = (Root::open(dir.path()).expect("a root"), dir.path());
        fs::create_dir(base.join("data")).expect("made");
        fs::create_dir(base.join("run")).expect("made");
        symlink("/data/ready", base.join("run/ready")).expect("a link");
        symlink("../run/ready", base.join("data/again")).expect("a link");
        let mut watch = FileWatch::new().expect("inotify");
        assert_eq!(watch.look(&root, 0, Path::new("/data/again")), ABSENT);
        fs::write(base.join("data/ready"), "").expect("written");
        assert!(watch.events().expect("events").contains(&0), "where the links lead");
        assert_eq!(watch.look(&root, 0, Path::new("/data/again")), THERE);
        fs::remove_file(base.join("run/ready")).expect("removed");
        assert!(watch.events().expect("events").contains(&0), "a link on the way");
        assert_eq!(watch.look(&root, 0, Path::new("/data/again")), ABSENT);
        symlink("again", base.join("data/ready2")).expect("a link");
        symlink("loop", base.join("data/loop")).expect("a link");
        assert!(!watch.look(&root, 1, Path::new("/data/loop")).is_watched, "a circle is nothing to watch");
    }

    #[test]
    fn the_kernels_own_files_are_not_told_of() {
        let root = Root::open("/").expect("a root");
        let mut watch = FileWatch::new().expect("inotify");
        let look = watch.look(&root, 0, Path::new("/proc/self/status"));
        assert_eq!(look, Look { is_there: true, is_watched: false });
    }
}
