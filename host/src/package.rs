//! A package: the descriptor and its files, in a directory or in an OVA.
//!
//! Decides what a file of the package is, and that nothing outside of it is ever one: not by the path in a reference, not
//! by a link. An OVA is read where it lies and never unpacked: its headers once, then of each file what is asked for. Does
//! not decide what a file means.
//!
//! The rules: DSP0243, clause 5; the tar format of POSIX 1003.1-1988 (ustar), which it names.

#![forbid(unsafe_code)]

mod archive;
mod exactly;
pub mod certificate;
pub mod digest;
pub mod files;
pub mod manifest;
pub mod path;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::finding::{Code, Finding};
use archive::Archive;
use exactly::{Exactly, Own};

/// A package that is open.
#[derive(Debug)]
pub struct Package {
    store: Store,
    /// The archive or the descriptor, from the root.
    path: PathBuf,
    descriptor: String,
    /// What comes before a name where it is shown, so that editors find the file.
    prefix: String,
}

/// Where the bytes of a file of a package are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// In this file.
    pub path: PathBuf,
    /// From this byte, so many; all of it otherwise.
    pub part: Option<(u64, u64)>,
}

/// A file that is open: what reads it, and how many bytes it has.
pub type Opened<'a> = (Box<dyn Read + 'a>, u64);

/// A file whatever it is called: its device, and its number there.
pub type Identity = (u64, u64);

/// That of a file.
pub fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

#[derive(Debug)]
enum Store {
    Directory(OwnedFd, PathBuf),
    Archive(Archive),
}

impl Package {
    /// Opens the `.ovf` or `.ova` at this path. Which of the two it is says the content, not the name.
    ///
    /// # Errors
    /// Why there is no package to look at.
    pub fn open(path: &Path, findings: &mut Vec<Finding>) -> Result<Self, Finding> {
        let shown = path.display().to_string();
        let unreadable = |error: io::Error| unreadable(&shown, &error);
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() {
            let message = "this is no file; name the .ovf in the directory, or an .ova";
            return Err(Finding::with(shown, Code::Unreadable, message));
        }
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let file = crate::bounded::open(path).map_err(unreadable)?;
        let mut first = [0; 512];
        if metadata.len() >= 512 {
            file.read_exact_at(&mut first, 0).map_err(unreadable)?;
        }
        if archive::is_one(&first) || has_extension(path, "ova") {
            let archive = Archive::read(file, &shown, findings)?;
            let descriptor = archive.descriptor(findings)?;
            let store = Store::Archive(archive);
            return Ok(Self { store, path: absolute, descriptor, prefix: String::new() });
        }
        let Some(name) = path.file_name().and_then(|it| it.to_str()).map(str::to_owned) else {
            let message = "the descriptor's name is not UTF-8; rename it";
            return Err(Finding::with(shown, Code::Unreadable, message));
        };
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let prefix = shown.strip_suffix(name.as_str()).unwrap_or_default().to_owned();
        let store = Store::Directory(
            File::open(directory).map_err(unreadable)?.into(),
            directory.canonicalize().map_err(unreadable)?,
        );
        Ok(Self { store, path: absolute, descriptor: name, prefix })
    }

    /// Makes names of the package in findings what the caller knows them by.
    pub fn show(&self, findings: &mut [Finding]) {
        for finding in findings {
            finding.file.insert_str(0, &self.prefix);
        }
    }

    /// The archive or the descriptor, from the root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor's name.
    pub fn descriptor(&self) -> &str {
        &self.descriptor
    }

    /// The name of the descriptor with another ending, as the manifest and the certificate have it.
    pub fn beside(&self, extension: &str) -> String {
        let stem = self.descriptor.rsplit_once('.').map_or(self.descriptor.as_str(), |(stem, _)| stem);
        format!("{stem}.{extension}")
    }

    /// The files of an archive, in its order; nothing where the package lies in a directory, which may hold anything.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        let members = match &self.store {
            Store::Directory(..) => &[][..],
            Store::Archive(archive) => archive.members(),
        };
        members.iter().map(|member| member.name.as_str())
    }

    /// Where the bytes of a file are, by a name that `path::resolve` has made, for programs that read it themselves.
    ///
    /// # Errors
    /// As [`Package::file`]'s.
    pub fn place(&self, name: &str) -> Result<Option<Place>, Finding> {
        match &self.store {
            Store::Archive(archive) => Ok(archive
                .place(name)
                .map(|(offset, size)| Place { path: self.path.clone(), part: Some((offset, size)) })),
            // What the check of links finds is what a program is told to open.
            Store::Directory(_, directory) => Ok(self.file(name)?.and_then(|_| {
                let path = directory.join(name).canonicalize().ok()?;
                path.starts_with(directory).then_some(Place { path, part: None })
            })),
        }
    }

    /// Opens a file by a name that `path::resolve` has made: its bytes, and how many they are.
    ///
    /// # Errors
    /// It is there and cannot be read, or leads out of the package.
    pub fn file(&self, name: &str) -> Result<Option<Opened<'_>>, Finding> {
        match &self.store {
            Store::Archive(archive) => Ok(archive.file(name).map(|(file, size)| (Box::new(file) as _, size))),
            Store::Directory(directory, _) => {
                let Some(file) = inside(directory, name)? else { return Ok(None) };
                let size = file.metadata().map_err(|error| unreadable(name, &error))?.len();
                Ok(Some((Box::new(Exactly { file: Own(file), at: 0, left: size }), size)))
            }
        }
    }

    /// The files of the package, with those of these names, as the system knows them: nothing is written in their place.
    pub fn identities(&self, names: impl Iterator<Item = String>) -> HashSet<Identity> {
        match &self.store {
            Store::Archive(archive) => archive.whole().metadata().iter().map(identity).collect(),
            Store::Directory(directory, _) => {
                let own = [self.descriptor.clone(), self.beside("mf"), self.beside("cert")];
                let files = own.into_iter().chain(names).filter_map(|name| inside(directory, &name).ok()?);
                files.filter_map(|file| Some(identity(&file.metadata().ok()?))).collect()
            }
        }
    }

    /// All of a small file.
    ///
    /// # Errors
    /// It is there and cannot be read, or is larger than `limit`.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Finding> {
        let Some((file, size)) = self.file(name)? else { return Ok(None) };
        if size > limit {
            let message =
                format!("the file has {size} bytes; {limit} are the most that are read of such a file");
            return Err(Finding::with(name, Code::TooLarge, message));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.take(limit).read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
        Ok(Some(bytes))
    }
}

/// A regular file in a directory or below it. No link leads out, whoever exchanges names while we look; and nothing but a
/// regular file is opened, since a pipe would wait for its other end, and there are devices that act on being opened.
fn inside(directory: &OwnedFd, name: &str) -> Result<Option<File>, Finding> {
    let open = |how: OFlags| {
        let how = how | OFlags::CLOEXEC;
        match openat2(
            directory,
            name,
            how,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        ) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(Errno::XDEV) => {
                let message = "a symbolic link leads out of the package; put the file itself there";
                Err(Finding::with(name, Code::PathTraversal, message))
            }
            Err(error) => Err(unreadable(name, &error.into())),
        }
    };
    let is_regular = |file: &File| file.metadata().is_ok_and(|it| it.is_file());
    let Some(place) = open(OFlags::PATH)? else { return Ok(None) };
    let file = match is_regular(&place) {
        true => open(OFlags::RDONLY | OFlags::NONBLOCK)?,
        false => Some(place),
    };
    match file {
        Some(file) if !is_regular(&file) => {
            let message = "this is no regular file; put the file itself there";
            Err(Finding::with(name, Code::Unreadable, message))
        }
        file => Ok(file),
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|it| it.eq_ignore_ascii_case(extension))
}

/// A file that the system does not let us read.
pub fn unreadable(file: &str, error: &io::Error) -> Finding {
    Finding::with(file, Code::Unreadable, format!("the file cannot be read: {error}"))
}
