//! Files that are waited for: told when one comes or goes (inotify(7)).
//!
//! A path is walked as the kernel does it, name by name and through symbolic links, and each directory that a name is looked up in is
//! watched before that. So it is told of as soon as any name on the way leads elsewhere: a link that is turned, a directory that is
//! moved with all that is below it, and the next one that was missing. The walk never leaves the tree: a link of it begins at the
//! tree's own directory, and `..` ends there.
//!
//! A file system that is mounted over a directory is nothing that inotify tells of, but `/proc/self/mountinfo` does (proc(5)). Of the
//! file systems in [`SILENT`], inotify does not tell what others than this kernel's own programs do: who waits for a file there has
//! to look. One that the way merely leads over, to what is mounted further down, is no matter: a mount that is lost is told of.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::stat::Mode;
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

/// Links on one way; the kernel follows as many (path_resolution(7)).
const LINKS: usize = 40;
/// Names on one way, those of its links included, and so the most that is watched for one file.
const NAMES: usize = 256;

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

    /// Watches what the path depends on, which is every name that it is looked up by.
    ///
    /// # Errors
    /// There is something on the way that is not told of.
    fn follow(&self, root: &Root, path: &Path, places: &mut Vec<Place>) -> io::Result<()> {
        let tree = root.resolve(Path::new("/"), OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let mut directory = File::from(tree);
        // Those above it, for `..`.
        let mut above = Vec::new();
        let mut links = 0;
        let mut ahead = Vec::new();
        go_by(path, &mut ahead);
        for _ in 0..NAMES {
            let Some(name) = ahead.pop() else { return Ok(()) };
            match name.as_bytes() {
                b"." => continue,
                b".." => {
                    directory = above.pop().unwrap_or(directory);
                    continue;
                }
                b"/" => {
                    above.truncate(1);
                    directory = above.pop().unwrap_or(directory);
                    continue;
                }
                _ => {}
            }
            let place = Place { directory: self.watch(&directory)?, name };
            let found = find(&directory, &place.name);
            if !places.contains(&place) {
                places.push(place);
            }
            match found? {
                Found::Directory(next) if !ahead.is_empty() => {
                    above.push(std::mem::replace(&mut directory, next));
                }
                _ if is_silent(&directory)? => return Err(io::ErrorKind::Unsupported.into()),
                Found::Link(target) if links < LINKS => {
                    links += 1;
                    go_by(Path::new(&target), &mut ahead);
                }
                // The way ends here, be it with the file; where it ends in a circle, all names of that are watched.
                _ => return Ok(()),
            }
        }
        Err(Errno::ENAMETOOLONG.into())
    }

    /// Watches the names of a directory.
    fn watch(&self, directory: &File) -> io::Result<WatchDescriptor> {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ONLYDIR;
        let by_descriptor = format!("/proc/self/fd/{}", directory.as_raw_fd());
        Ok(self.inotify.add_watch(by_descriptor.as_str(), flags)?)
    }
}

/// What a name stands for.
enum Found {
    Directory(File),
    /// With what it says.
    Link(OsString),
    /// Where no way leads on: nothing, or a file.
    End,
}

/// Looks a name up, which is neither `.` nor `..`, and follows no link.
fn find(directory: &File, name: &OsStr) -> io::Result<Found> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let found = match openat(directory, name, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::ENOENT) => return Ok(Found::End),
        Err(errno) => return Err(errno.into()),
    };
    let kind = found.metadata()?.file_type();
    Ok(if kind.is_dir() {
        Found::Directory(found)
    } else if kind.is_symlink() {
        // An empty path means the link that the descriptor itself is (readlinkat(2)).
        Found::Link(readlinkat(&found, "")?)
    } else {
        Found::End
    })
}

fn is_silent(directory: &File) -> io::Result<bool> {
    Ok(SILENT.contains(&(fstatfs(directory)?.filesystem_type().0 as u32)))
}

/// Puts the names of a path before those that are still ahead, of which the next is the last.
fn go_by(path: &Path, ahead: &mut Vec<OsString>) {
    ahead.extend(path.components().rev().map(|part| part.as_os_str().to_owned()));
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::{FileWatch, Look, NAMES};
    use crate::sys::Root;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    const ABSENT: Look = Look { is_there: false, is_watched: true };
    const THERE: Look = Look { is_there: true, is_watched: true };

    /// One that is not told of mounts, which may come and go on this machine meanwhile.
    fn by_inotify() -> FileWatch {
        FileWatch { _mounts: None, ..FileWatch::new().expect("inotify") }
    }

    #[test]
    fn a_file_is_told_of_however_deep_it_comes_and_when_it_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let (root, base) = (Root::open(dir.path()).expect("a root"), dir.path());
        let mut watch = by_inotify();
        let path = Path::new("/a/b/ready");
        assert_eq!(watch.look(&root, 7, path), ABSENT);
        let told = |watch: &mut FileWatch| watch.events().expect("events").contains(&7);
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
        let mut watch = by_inotify();
        assert_eq!(watch.look(&root, 0, Path::new("/data/again")), ABSENT);
        fs::write(base.join("data/ready"), "").expect("written");
        assert!(watch.events().expect("events").contains(&0), "where the links lead");
        assert_eq!(watch.look(&root, 0, Path::new("/data/again")), THERE);
        fs::remove_file(base.join("run/ready")).expect("removed");
        assert!(watch.events().expect("events").contains(&0), "a link on the way");
        assert_eq!(watch.look(&root, 0, Path::new("/data/again")), ABSENT);
    }

    /// A tree with `/run/r1/ready`, an empty `/run/r2`, and `/run/cur` that leads to the first.
    struct Releases {
        dir: tempfile::TempDir,
        root: Root,
        watch: FileWatch,
    }

    impl Releases {
        const READY: &str = "/run/cur/ready";

        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let root = Root::open(dir.path()).expect("a root");
            let mut it = Self { dir, root, watch: by_inotify() };
            fs::create_dir_all(it.at("run/r1")).expect("made");
            fs::create_dir(it.at("run/r2")).expect("made");
            fs::write(it.at("run/r1/ready"), "").expect("written");
            symlink("r1", it.at("run/cur")).expect("a link");
            assert_eq!(it.look(), THERE);
            it
        }

        fn at(&self, path: &str) -> PathBuf {
            self.dir.path().join(path)
        }

        fn look(&mut self) -> Look {
            self.watch.look(&self.root, 0, Path::new(Self::READY))
        }

        /// Turns the link as `ln -sfn` does.
        fn turn(&self, target: &str) {
            symlink(target, self.at("run/new")).expect("a link");
            fs::rename(self.at("run/new"), self.at("run/cur")).expect("moved");
        }

        /// Something has happened that is told of.
        #[track_caller]
        fn expect(&mut self, look: Look, what: &str) {
            assert!(self.watch.events().expect("events").contains(&0), "{what} is told of");
            assert_eq!(self.look(), look, "{what}");
            self.watch.events().expect("events");
        }
    }

    #[test]
    fn a_link_to_a_directory_is_watched_for_where_it_leads() {
        let mut it = Releases::new();
        it.turn("r2");
        it.expect(ABSENT, "another target");
        fs::write(it.at("run/r2/ready"), "").expect("written");
        it.expect(THERE, "a file in it");
        fs::remove_file(it.at("run/r1/ready")).expect("removed");
        assert!(!it.watch.events().expect("events").contains(&0), "it leads there no more");
        it.turn("/run/r1");
        it.expect(ABSENT, "an absolute target");
        it.turn("../../../run/r2");
        it.expect(THERE, "one by way of the tree's own directory");
        fs::rename(it.at("run/r2"), it.at("run/r3")).expect("moved");
        it.expect(ABSENT, "a target that is moved");
    }

    #[test]
    fn a_link_that_leads_nowhere_is_watched_until_it_does() {
        type Break = fn(&Releases);
        let breaks: [(&str, Break); 5] = [
            ("none", |it| fs::remove_file(it.at("run/cur")).expect("removed")),
            ("one that dangles", |it| it.turn("none/of/it")),
            ("one to itself", |it| it.turn("cur")),
            ("a circle", |it| {
                symlink("/run/cur/back", it.at("run/back")).expect("a link");
                it.turn("back");
            }),
            ("a file", |it| {
                fs::write(it.at("run/new"), "").expect("written");
                fs::rename(it.at("run/new"), it.at("run/cur")).expect("moved");
            }),
        ];
        for (name, damage) in breaks {
            let mut it = Releases::new();
            damage(&it);
            it.expect(ABSENT, name);
            it.turn("r1");
            it.expect(THERE, "one that is mended");
        }
    }

    #[test]
    fn a_directory_that_goes_with_those_above_it_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (root, base) = (Root::open(dir.path()).expect("a root"), dir.path());
        fs::create_dir_all(base.join("a/b/c/d")).expect("made");
        fs::write(base.join("a/b/c/d/ready"), "").expect("written");
        let mut watch = by_inotify();
        let path = Path::new("/a/b/c/d/ready");
        for part in ["a", "a/b", "a/b/c"] {
            assert_eq!(watch.look(&root, 0, path), THERE);
            watch.events().expect("events");
            fs::rename(base.join(part), base.join("away")).expect("moved");
            assert!(watch.events().expect("events").contains(&0), "{part} is elsewhere");
            assert_eq!(watch.look(&root, 0, path), ABSENT);
            watch.events().expect("events");
            fs::rename(base.join("away"), base.join(part)).expect("moved");
            assert!(watch.events().expect("events").contains(&0), "{part} is back");
        }
    }

    #[test]
    fn as_many_links_are_followed_as_the_kernel_does_and_names_within_reason() {
        let dir = tempfile::tempdir().expect("a directory");
        let (root, base) = (Root::open(dir.path()).expect("a root"), dir.path());
        for link in 0..41 {
            symlink(format!("{}", link + 1), base.join(link.to_string())).expect("a link");
        }
        let mut watch = by_inotify();
        assert_eq!(watch.look(&root, 1, Path::new("/1")), ABSENT);
        fs::write(base.join("41"), "").expect("written");
        assert!(watch.events().expect("events").contains(&1), "behind 40 links");
        assert_eq!(watch.look(&root, 1, Path::new("/1")), THERE);
        assert_eq!(watch.look(&root, 0, Path::new("/0")), ABSENT, "behind one more");
        assert!(watch.places.values().all(|places| places.len() <= 41));
        fs::create_dir(base.join("a")).expect("made");
        symlink(format!("{}end", "a/../".repeat(NAMES / 2)), base.join("long")).expect("a link");
        assert_eq!(watch.look(&root, 2, Path::new("/long")), Look { is_there: false, is_watched: false });
        assert_eq!(watch.places[&2].len(), 2, "each name is watched once");
    }

    #[test]
    fn the_kernels_own_files_are_not_told_of() {
        let root = Root::open("/").expect("a root");
        let mut watch = by_inotify();
        let look = watch.look(&root, 0, Path::new("/proc/self/status"));
        assert_eq!(look, Look { is_there: true, is_watched: false });
    }
}
