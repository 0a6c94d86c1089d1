//! A set of files with their modes: what goes into a guest, and what is found in one.
//!
//! Both ways use newc cpio archives (kernel: Documentation/driver-api/early-userspace/buffer-format.rst):
//! the initramfs is one, `cpio` in the guest unpacks and packs others, and no second format is needed.

use anyhow::{Context, Result};
use cpio::newc;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

/// Type bits of a mode, as in inode(7).
const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change, in seconds.
    pub mtime: u32,
    /// A regular file's bytes, a link's target, a directory's `None`.
    pub bytes: Option<Vec<u8>>,
}

/// Files by their paths; a tree in a guest has paths relative to it, `.` being itself.
pub type Tree = BTreeMap<String, File>;

/// Files to put into a guest, owned by root.
#[derive(Debug, Clone, Default)]
pub struct Files(BTreeMap<String, (u32, Vec<u8>)>);

impl Files {
    /// None yet.
    pub fn new() -> Files {
        Files::default()
    }

    /// With a file at the absolute `path`, mode 0644; the directories above it come with it.
    pub fn with(self, path: &str, content: impl Into<Vec<u8>>) -> Files {
        self.entry(path, REGULAR | 0o644, content.into())
    }

    /// With a program at the absolute `path`, mode 0755.
    pub fn with_program(self, path: &str, content: impl Into<Vec<u8>>) -> Files {
        self.entry(path, REGULAR | 0o755, content.into())
    }

    /// With a symbolic link at the absolute `path`.
    pub fn with_link(self, path: &str, target: &str) -> Files {
        self.entry(path, SYMLINK | 0o777, target.into())
    }

    /// With an empty directory at the absolute `path`, mode 0755.
    pub fn with_directory(self, path: &str) -> Files {
        self.entry(path, DIRECTORY | 0o755, Vec::new())
    }

    /// With these, too; of two at the same path, theirs.
    pub fn and(mut self, others: Files) -> Files {
        self.0.extend(others.0);
        self
    }

    /// The same below the absolute `directory`.
    pub fn below(self, directory: &str) -> Files {
        let directory = directory.trim_start_matches('/');
        Files(self.0.into_iter().map(|(path, entry)| (format!("{directory}/{path}"), entry)).collect())
    }

    /// With every file below `directory` on this machine, at its path relative to it; who may execute one there, may
    /// in the guest.
    pub fn with_tree(mut self, directory: &Path) -> Result<Files> {
        use std::os::unix::fs::PermissionsExt;
        let mut left = vec![directory.to_path_buf()];
        while let Some(path) = left.pop() {
            let attempt = || format!("cannot read {}", path.display());
            let metadata = std::fs::metadata(&path).with_context(attempt)?;
            if metadata.is_dir() {
                for entry in std::fs::read_dir(&path).with_context(attempt)? {
                    left.push(entry.with_context(attempt)?.path());
                }
            } else {
                let name = path.strip_prefix(directory).unwrap_or(&path).to_string_lossy();
                let mode = REGULAR | (metadata.permissions().mode() & 0o777);
                self = self.entry(&name, mode, std::fs::read(&path).with_context(attempt)?);
            }
        }
        Ok(self)
    }

    fn entry(mut self, path: &str, mode: u32, content: Vec<u8>) -> Files {
        self.0.insert(path.trim_start_matches('/').to_owned(), (mode, content));
        self
    }

    /// Each by its path without the first slash, with its mode and a file's bytes or a link's target; each directory before what
    /// lies in it.
    pub(crate) fn in_order(&self) -> BTreeMap<&str, (u32, Option<&[u8]>)> {
        let mut entries = BTreeMap::new();
        for path in self.0.keys() {
            entries.extend(ancestors(path).map(|directory| (directory, (DIRECTORY | 0o755, None))));
        }
        let content = |mode: u32, content| (mode & TYPE != DIRECTORY).then_some(content);
        entries.extend(
            self.0.iter().map(|(path, (mode, bytes))| (path.as_str(), (*mode, content(*mode, &bytes[..])))),
        );
        entries
    }

    /// As a newc archive, each directory before what lies in it.
    pub(crate) fn archive(&self) -> Result<Vec<u8>> {
        let mut archive = Vec::new();
        for (inode, (path, (mode, content))) in (1..).zip(self.in_order()) {
            let content = content.unwrap_or_default();
            let attempt = || format!("cannot put {path} ({} bytes) into an archive", content.len());
            let size = u32::try_from(content.len()).with_context(attempt)?;
            // Without distinct inode numbers unpackers take the files for one file's hard links.
            let entry = newc::Builder::new(path).ino(inode).mode(mode).nlink(1);
            let mut writer = entry.write(&mut archive, size);
            std::io::Write::write_all(&mut writer, content).with_context(attempt)?;
            writer.finish().with_context(attempt)?;
        }
        newc::trailer(&mut archive).context("cannot end an archive")?;
        // The kernel wants archives that follow each other to begin at multiples of four.
        archive.resize(archive.len().next_multiple_of(4), 0);
        Ok(archive)
    }
}

/// The directories above `path`, outermost first.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// The tree in a newc `archive`.
pub(crate) fn tree(mut archive: &[u8]) -> Result<Tree> {
    let mut tree = Tree::new();
    loop {
        let mut reader = newc::Reader::new(archive).context("not a cpio archive")?;
        if reader.entry().is_trailer() {
            return Ok(tree);
        }
        let entry = reader.entry();
        let (path, kind) = (entry.name().to_owned(), entry.mode() & TYPE);
        let (mode, uid, gid, mtime) = (entry.mode() & !TYPE, entry.uid(), entry.gid(), entry.mtime());
        let mut content = Vec::new();
        reader.read_to_end(&mut content).with_context(|| format!("cannot read {path} from an archive"))?;
        archive = reader.finish().with_context(|| format!("cannot pass over {path} in an archive"))?;
        let bytes = (kind != DIRECTORY).then_some(content);
        tree.insert(path, File { mode, uid, gid, mtime, bytes });
    }
}

/// The paths that differ between two trees, for a short failure message.
pub fn differences<'a>(one: &'a Tree, other: &'a Tree) -> Vec<&'a str> {
    let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    paths.into_iter().filter(|path| one.get(*path) != other.get(*path)).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_here_becomes_files_there() {
        let directory = tempfile::tempdir().expect("there is a place for temporary files");
        let below = directory.path().join("usr/bin");
        std::fs::create_dir_all(&below).expect("the directory is empty");
        std::fs::write(below.join("a"), "a").expect("the directory is there");
        std::fs::set_permissions(below.join("a"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("the file is ours");
        std::fs::write(directory.path().join("b"), "b").expect("the directory is there");
        let files = Files::new().with_tree(directory.path()).expect("all of it can be read");
        let tree = tree(&files.and(Files::new().with("/b", "other")).archive().expect("small files fit"));
        let tree = tree.expect("it was just made");
        assert_eq!(tree.keys().collect::<Vec<_>>(), ["b", "usr", "usr/bin", "usr/bin/a"]);
        assert_eq!((tree["usr/bin/a"].mode, tree["usr/bin/a"].bytes.as_deref()), (0o755, Some(&b"a"[..])));
        assert_eq!(tree["b"].bytes.as_deref(), Some(&b"other"[..]));
    }

    #[test]
    fn an_archive_holds_its_files_below_their_directories() {
        let files =
            Files::new().with("/etc/a/b.conf", "b\n").with_program("/bin/c", "c").with_link("/d", "bin/c");
        let tree = tree(&files.archive().expect("small files fit")).expect("it was just made");
        let seen: Vec<(&str, u32, Option<&[u8]>)> =
            tree.iter().map(|(path, file)| (path.as_str(), file.mode, file.bytes.as_deref())).collect();
        assert_eq!(
            seen,
            [
                ("bin", 0o755, None),
                ("bin/c", 0o755, Some(&b"c"[..])),
                ("d", 0o777, Some(b"bin/c")),
                ("etc", 0o755, None),
                ("etc/a", 0o755, None),
                ("etc/a/b.conf", 0o644, Some(b"b\n")),
            ]
        );
    }

    #[test]
    fn differences_name_what_is_new_gone_or_changed() {
        let file = |text: &str| File { mode: 0o644, uid: 0, gid: 0, mtime: 1, bytes: Some(text.into()) };
        let before =
            Tree::from([("same".into(), file("1")), ("gone".into(), file("1")), ("x".into(), file("1"))]);
        let after =
            Tree::from([("same".into(), file("1")), ("new".into(), file("1")), ("x".into(), file("2"))]);
        assert_eq!(differences(&before, &after), ["gone", "new", "x"]);
    }
}
