//! Files that commands write.
//!
//! Decides that they appear whole and together or not at all, are readable by their owner alone from their first byte where
//! property values are in them, what they may take the place of, and which file name an entity's id makes.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Fault, Result};
use crate::check::Loaded;
use crate::finding::quoted;
use crate::package::path::{self, Target};
use crate::package::{Identity, identity};
use crate::scratch::{Closed, File, Made};

/// Bytes of all files of one run: a thousand guests see a thousand siblings each, and a stranger says how many there are.
const MAX_BYTES: u64 = 16 << 30;

/// Bytes of a file's name on every file system.
const MAX_NAME: usize = 255;

/// The file for an id: letters, digits and plain marks as they are, all else as percent escapes.
pub(super) fn name(id: &str, extension: &str) -> String {
    let mut name = String::new();
    for (at, character) in id.char_indices() {
        match character {
            '.' if at == 0 => name.push_str("%2E"),
            '.' | '-' | '_' | ' ' => name.push(character),
            _ if character.is_alphanumeric() => name.push(character),
            _ => {
                let mut bytes = [0; 4];
                name.extend(character.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")));
            }
        }
    }
    format!("{name}.{extension}")
}

/// The files of one run: all of them get their names, or none.
#[derive(Debug)]
pub(super) struct Output {
    /// What they must not take the place of.
    package: HashSet<Identity>,
    // In this order they are dropped: what is in a directory goes before it.
    files: Vec<(Closed, PathBuf)>,
    /// Directories that were made for them, and go if nothing comes of it.
    directories: Vec<Made>,
    bytes: u64,
}

impl Output {
    /// Beside this package.
    pub(super) fn of(loaded: &Loaded) -> Self {
        Self { package: sources(loaded), files: Vec::new(), directories: Vec::new(), bytes: 0 }
    }

    /// The file for an id in a directory, which is made if it is not there.
    pub(super) fn place(&mut self, directory: &Path, id: &str, extension: &str) -> Result<PathBuf> {
        let name = name(id, extension);
        if name.len() > MAX_NAME {
            return Err(Fault::failed(format_args!(
                "the id {} makes a file name of more than {MAX_NAME} bytes; make that one alone, with --id, into a file that you name",
                quoted(id)
            )));
        }
        if !directory.is_dir() {
            if directory.exists() {
                return Err(Fault::failed(format_args!(
                    "{} is no directory; name one, in which each machine gets a file",
                    directory.display()
                )));
            }
            self.directories.push(Made::new(directory).map_err(|error| {
                Fault::failed(format_args!("cannot make the directory {}: {error}", directory.display()))
            })?);
        }
        Ok(directory.join(name))
    }

    /// Writes a file, which does not have its name yet.
    pub(super) fn write(&mut self, path: PathBuf, bytes: &[u8]) -> Result<()> {
        replaceable(&path, &self.package)?;
        self.bytes += bytes.len() as u64;
        if self.bytes > MAX_BYTES {
            return Err(Fault::failed(format_args!(
                "{}: all files would have more than {MAX_BYTES} bytes; make those of one guest at a time, with --id",
                path.display()
            )));
        }
        let mut file = File::new(beside(&path)).map_err(|error| cannot(&path, &error))?;
        file.file().write_all(bytes).map_err(|error| cannot(&path, &error))?;
        self.files.push((file.close(), path));
        Ok(())
    }

    /// Gives all of them their names.
    pub(super) fn finish(mut self) -> Result<()> {
        self.directories.drain(..).for_each(Made::keep);
        for (file, path) in std::mem::take(&mut self.files) {
            file.keep(&path).map_err(|error| cannot(&path, &error))?;
        }
        Ok(())
    }
}

/// The files of a package.
pub(super) fn sources(loaded: &Loaded) -> HashSet<Identity> {
    let names = loaded.descriptor.files.iter().filter_map(|it| match path::resolve(&it.href.value) {
        Target::Inside(name) => Some(name),
        _ => None,
    });
    loaded.package.identities(names)
}

/// Whether a file can be written there, before there is anything to write.
pub(super) fn try_out(path: &Path, sources: &HashSet<Identity>) -> Result<()> {
    replaceable(path, sources)?;
    File::for_all(beside(path)).map(drop).map_err(|error| cannot(path, &error))
}

/// Writes a file in which no property is: whoever may read others' files may read it.
pub(super) fn write_for_all(path: &Path, text: &str, sources: &HashSet<Identity>) -> Result<()> {
    replaceable(path, sources)?;
    let write = || {
        let mut file = File::for_all(beside(path))?;
        file.file().write_all(text.as_bytes())?;
        file.close().keep(path)
    };
    write().map_err(|error| cannot(path, &error))
}

/// The directory of a file.
pub(crate) fn beside(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn cannot(path: &Path, error: &io::Error) -> Fault {
    Fault::failed(format_args!("cannot write {}: {error}", path.display()))
}

/// Whether a file may take the place of what is there: nothing, or a regular file that is not read by this very run. A new
/// file in the place of `/dev/null`, or of a link that leads anywhere, was hardly meant.
pub(super) fn replaceable(path: &Path, sources: &HashSet<Identity>) -> Result<()> {
    let why = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot(path, &error)),
        Ok(there) if there.is_symlink() => "it is a symbolic link; name the file itself",
        Ok(there) if there.is_dir() => "it is a directory; name a file",
        Ok(there) if !there.is_file() => "it is a device, a pipe or a socket; name a file",
        Ok(there) if sources.contains(&identity(&there)) => {
            "it is a file that this is made of; name another one"
        }
        Ok(_) => return Ok(()),
    };
    Err(Fault::failed(format_args!("cannot write {}: {why}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn every_id_makes_a_file_name() {
        for (id, want) in [
            ("DB 1", "DB 1.xml"),
            ("../a/b", "%2E.%2Fa%2Fb.xml"),
            ("a%b\n", "a%25b%0A.xml"),
            ("größe", "größe.xml"),
            ("", ".xml"),
        ] {
            assert_eq!(name(id, "xml"), want, "{id}");
        }
    }
}
