//! What lies in a volume, however it is read: the document, and the files that came with it.
//!
//! Decides which file is the document (DSP0243, clause 11.2: `ovf-env.xml` in the root directory, under any of the names
//! that ISO 9660 makes of that), and which other files may be handed out. OVF 2 puts the files of an
//! EnvironmentFilesSection below `/ovffiles`; OpenXT puts them into the root; so every file counts. Names come from
//! outside: one that could lead out of a directory is refused, and links are never followed.
//! Reading itself is the business of `iso` (in user space) and `mounted` (by the kernel).

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;

use zeroize::Zeroizing;

use crate::environment::MAX_DOCUMENT;
use crate::{printable, sys};

/// The document's name, as DSP0243 spells it.
const DOCUMENT: &str = "ovf-env.xml";
/// Directory records read before a volume is called broken.
pub(super) const MAX_RECORDS: usize = 10_000;
/// The largest file handed out.
pub(super) const MAX_FILE: u64 = 16 << 20;
/// The largest sum of them; extents can overlap, so a small volume could fill a disk.
const MAX_FILES_TOTAL: u64 = 256 << 20;
/// How deep directories may lie in each other (ECMA-119, 6.8.2.1 has 8; Joliet and Rock Ridge allow more).
const MAX_DEPTH: usize = 16;

/// What a directory record stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Link,
    /// A device, FIFO or socket.
    Special,
}

/// How a tree finds a directory or file again; its own business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node(pub(super) u64);

/// A directory record.
#[derive(Debug)]
pub(super) struct Entry {
    /// The name in this tree, a version or final dot included.
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    /// Of a file, in bytes.
    pub(super) len: u64,
    /// How the tree finds it again.
    pub(super) node: Node,
}

/// Receives the records of a directory, until it fails.
pub(super) type Each<'a> = dyn FnMut(Entry) -> Result<(), Defect> + 'a;

/// A volume's tree of directories.
pub(super) trait Tree {
    /// The root directory.
    fn top(&self) -> Node;
    /// Gives every record of a directory to `each`.
    fn entries(&mut self, directory: Node, each: &mut Each<'_>) -> Result<(), Broken>;
    /// All of a file.
    fn read(&mut self, file: Node, len: u64) -> Result<Zeroizing<Vec<u8>>, Broken>;
    /// Whether names are those of a plain ISO 9660 tree, which knows no lower case and numbers versions.
    fn is_plain(&self) -> bool;
}

/// Why a volume cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The device failed under it.
    #[error("{what}: {error}")]
    Device { what: String, error: io::Error },
    /// It breaks its own format.
    #[error("{0}; it is damaged or cut short, have it made again")]
    Format(String),
    /// It is not what it should be.
    #[error(transparent)]
    Defect(#[from] Defect),
    /// It could not be mounted, or not read where it is.
    #[error("{}: {}", .0, .0.source)]
    System(#[from] sys::Error),
    /// Whoever was given a file could not take it.
    #[error("{}: {}", .0, .0.source)]
    Taker(sys::Error),
}

/// A volume that is readable, but not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Defect {
    #[error("its directories have more than {MAX_RECORDS} records")]
    TooManyRecords,
    #[error("ovf-env.xml in it is larger than 16 MiB")]
    DocumentTooLarge,
    #[error("ovf-env.xml in it is not a regular file")]
    DocumentNoFile,
    #[error("its directories are more than {MAX_DEPTH} deep")]
    TooDeep,
    #[error("its files together are larger than 256 MiB")]
    FilesTooLarge,
    #[error("`{0}` in it {1}, so none of its files are handed out")]
    Refused(String, &'static str),
}

/// The document of a volume; `None` where it has none.
pub(super) fn document(tree: &mut dyn Tree) -> Result<Option<Zeroizing<Vec<u8>>>, Broken> {
    let mut records = 0;
    let (mut exact, mut similar) = (None, None);
    tree.entries(tree.top(), &mut |entry| {
        count(&mut records)?;
        if !is_document(&entry.name) || entry.kind == Kind::Directory {
            return Ok(());
        }
        // The name as DSP0243 spells it wins; else the first that is like it.
        let place = if entry.name == DOCUMENT.as_bytes() { &mut exact } else { &mut similar };
        place.get_or_insert(entry);
        Ok(())
    })?;
    let Some(entry) = exact.or(similar) else { return Ok(None) };
    if entry.kind != Kind::File {
        return Err(Defect::DocumentNoFile.into());
    }
    if entry.len > MAX_DOCUMENT as u64 {
        return Err(Defect::DocumentTooLarge.into());
    }
    tree.read(entry.node, entry.len).map(Some)
}

/// A file that came with the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraFile {
    /// Its path in the volume, without a slash before it: `ovffiles/setup/cfg.xml`.
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
    /// Why it is not handed out.
    pub refused: Option<&'static str>,
}

/// The files beside the document, in the order of their paths.
pub(super) fn files(tree: &mut dyn Tree) -> Result<Vec<ExtraFile>, Broken> {
    Ok(walk(tree)?.into_iter().map(|(file, _)| file).collect())
}

/// Gives every file beside the document to `take`, in the order of their paths. All of them are looked at before the
/// first is read, so that one that is refused leaves nothing behind.
pub(super) fn extract(
    tree: &mut dyn Tree,
    mut take: impl FnMut(&ExtraFile, &[u8]) -> sys::Result<()>,
) -> Result<(), Broken> {
    let files = walk(tree)?;
    if let Some((file, why)) = files.iter().find_map(|(file, _)| Some((file, file.refused?))) {
        return Err(Defect::Refused(file.path.clone(), why).into());
    }
    if files.iter().map(|(file, _)| file.len).sum::<u64>() > MAX_FILES_TOTAL {
        return Err(Defect::FilesTooLarge.into());
    }
    for (file, node) in files {
        let bytes = tree.read(node, file.len)?;
        take(&file, &bytes).map_err(Broken::Taker)?;
    }
    Ok(())
}

/// Every file but the document, directory by directory without recursion.
fn walk(tree: &mut dyn Tree) -> Result<Vec<(ExtraFile, Node)>, Broken> {
    let plain = tree.is_plain();
    let mut records = 0;
    let (mut found, mut alike) = (Vec::new(), Vec::new());
    let mut names = BTreeMap::new();
    let mut directories = vec![(tree.top(), String::new(), 0)];
    while let Some((directory, path, depth)) = directories.pop() {
        tree.entries(directory, &mut |entry| {
            count(&mut records)?;
            let name = shown(&entry.name, plain);
            let refused = match entry.kind {
                Kind::File | Kind::Directory => objection(&entry.name, &name),
                Kind::Link => Some("is a symbolic link"),
                Kind::Special => Some("is no regular file"),
            };
            let path = format!("{path}{name}");
            if entry.kind == Kind::Directory && refused.is_none() {
                if depth == MAX_DEPTH {
                    return Err(Defect::TooDeep);
                }
                *names.entry(path.clone()).or_insert(0) += 1;
                directories.push((entry.node, path + "/", depth + 1));
                return Ok(());
            }
            let refused = refused.or((entry.len > MAX_FILE).then_some("is larger than 16 MiB"));
            let is_document = depth == 0 && entry.kind == Kind::File && is_document(&entry.name);
            let file = ExtraFile { path, len: entry.len, refused };
            if is_document {
                alike.push((entry.name == DOCUMENT.as_bytes(), file, entry.node));
            } else {
                *names.entry(file.path.clone()).or_insert(0) += 1;
                found.push((file, entry.node));
            }
            Ok(())
        })?;
    }
    // Of several that have a name of the document's, one is it, as in `document`; the others came along.
    let chosen = alike.iter().position(|(exact, ..)| *exact).unwrap_or(0);
    for (index, (_, file, node)) in alike.into_iter().enumerate() {
        if index != chosen {
            *names.entry(file.path.clone()).or_insert(0) += 1;
            found.push((file, node));
        }
    }
    // Writers that number versions keep the older ones; which of two is meant is not for us to guess.
    for (file, _) in &mut found {
        if names[&file.path] > 1 {
            file.refused = file.refused.or(Some("is there twice"));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    Ok(found)
}

fn count(records: &mut usize) -> Result<(), Defect> {
    *records += 1;
    if *records > MAX_RECORDS { Err(Defect::TooManyRecords) } else { Ok(()) }
}

/// Why a name is not to become a file's.
fn objection(raw: &[u8], name: &str) -> Option<&'static str> {
    if str::from_utf8(raw).is_err() {
        return Some("has a name that is not UTF-8");
    }
    if printable::text(name) != name && !name.chars().any(char::is_control) {
        return Some("has an invisible character in its name");
    }
    if name.chars().any(char::is_control) {
        return Some("has a control character in its name");
    }
    match name {
        "" => Some("has no name"),
        "." | ".." => Some("would lead out of its directory"),
        _ if name.contains('/') => Some("has a slash in its name"),
        _ => None,
    }
}

/// A name as it is shown and extracted: what the plain tree adds is taken off, as Linux does (`map=normal`, mount(8)).
fn shown(name: &[u8], plain: bool) -> String {
    let name = String::from_utf8_lossy(name);
    if plain { stem(&name).to_ascii_lowercase() } else { name.into_owned() }
}

/// A name without version and final dot.
fn stem(name: &str) -> &str {
    let name = match name.rsplit_once(';') {
        Some((name, version)) if version.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => name,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether a directory entry is the document. Writers that know no lower case and no `-` make `OVF_ENV.XML;1` of it,
/// and some leave a dot at the end: so without version and final dot, in any case, and `_` is as good as `-`.
fn is_document(name: &[u8]) -> bool {
    let Ok(name) = str::from_utf8(name) else { return false };
    stem(name).replace('_', "-").eq_ignore_ascii_case(DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use zeroize::Zeroizing;

    use super::{
        Broken, Defect, Each, Entry, Kind, MAX_RECORDS, Node, Tree, document, extract, files, is_document,
        shown,
    };

    /// A volume as a table: path of the directory, name, kind and content. No image has to be made, and none could have
    /// all of these. A node is a row's number and one.
    struct Table(Vec<(&'static str, &'static [u8], Kind, Vec<u8>)>);

    impl Tree for Table {
        fn top(&self) -> Node {
            Node(0)
        }

        fn entries(&mut self, directory: Node, each: &mut Each<'_>) -> Result<(), Broken> {
            let path = match directory.0 {
                0 => String::new(),
                number => {
                    let (parent, name, ..) = self.0[number as usize - 1];
                    format!("{parent}{}/", String::from_utf8_lossy(name))
                }
            };
            for (index, (_, name, kind, content)) in
                self.0.iter().enumerate().filter(|(_, row)| row.0 == path)
            {
                let (name, len) = (name.to_vec(), content.len() as u64);
                each(Entry { name, kind: *kind, len, node: Node(index as u64 + 1) })?;
            }
            Ok(())
        }

        fn read(&mut self, file: Node, _: u64) -> Result<Zeroizing<Vec<u8>>, Broken> {
            Ok(Zeroizing::new(self.0[file.0 as usize - 1].3.clone()))
        }

        fn is_plain(&self) -> bool {
            false
        }
    }

    fn defect<T>(outcome: Result<T, Broken>) -> Option<Defect> {
        match outcome {
            Err(Broken::Defect(defect)) => Some(defect),
            _ => None,
        }
    }

    fn row(
        parent: &'static str,
        name: &'static str,
        kind: Kind,
    ) -> (&'static str, &'static [u8], Kind, Vec<u8>) {
        (parent, name.as_bytes(), kind, format!("{parent}{name}").into_bytes())
    }

    #[test]
    fn the_document_is_known_by_any_of_its_names() {
        for name in [
            "ovf-env.xml",
            "OVF_ENV.XML;1",
            "OVF-ENV.XML",
            "ovf_env.xml",
            "Ovf-Env.xml;32767",
            "ovf-env.xml.",
        ] {
            assert!(is_document(name.as_bytes()), "{name}");
        }
        for name in ["", "ovf-env.xml;x", "ovf-env.xml.bak", "ovf-env", "xovf-env.xml", "ovf env.xml", ";1"] {
            assert!(!is_document(name.as_bytes()), "{name}");
        }
        assert!(!is_document(b"ovf-env\xff.xml"));
    }

    #[test]
    fn the_exact_name_wins_and_only_the_root_counts() {
        let mut table = Table(vec![
            row("", "OVF_ENV.XML", Kind::File),
            row("", "ovf-env.xml", Kind::File),
            row("sub/", "ovf-env.xml", Kind::File),
            row("", "sub", Kind::Directory),
        ]);
        let found = document(&mut table).expect("readable").expect("there");
        assert_eq!(found.as_slice(), b"ovf-env.xml");
        table.0.remove(1);
        assert_eq!(document(&mut table).expect("readable").expect("there").as_slice(), b"OVF_ENV.XML");
        table.0.remove(0);
        assert!(document(&mut table).expect("readable").is_none(), "one below a directory is not it");
        table.0.push(row("", "ovf-env.xml", Kind::Link));
        assert_eq!(defect(document(&mut table)), Some(Defect::DocumentNoFile));
    }

    #[test]
    fn a_second_document_is_one_of_the_other_files() {
        let mut table = Table(vec![
            row("", "OVF_ENV.XML", Kind::File),
            row("", "ovf-env.xml", Kind::File),
            row("", "Ovf-Env.xml", Kind::File),
        ]);
        let listed: Vec<_> = files(&mut table).expect("readable").into_iter().map(|file| file.path).collect();
        assert_eq!(listed, ["OVF_ENV.XML", "Ovf-Env.xml"]);
        table.0.remove(1);
        let listed: Vec<_> = files(&mut table).expect("readable").into_iter().map(|file| file.path).collect();
        assert_eq!(listed, ["Ovf-Env.xml"], "the first is the document");
    }

    #[test]
    fn other_files_are_listed_and_dangerous_ones_refused() {
        let mut table = Table(vec![
            row("", "ovf-env.xml", Kind::File),
            row("", "readme.txt", Kind::File),
            row("", "ovffiles", Kind::Directory),
            row("ovffiles/", "setup", Kind::Directory),
            row("ovffiles/setup/", "cfg.xml", Kind::File),
        ]);
        let listed: Vec<_> = files(&mut table).expect("readable").into_iter().map(|file| file.path).collect();
        assert_eq!(listed, ["ovffiles/setup/cfg.xml", "readme.txt"]);
        let mut taken = BTreeMap::new();
        extract(&mut table, |file, bytes| {
            taken.insert(file.path.clone(), bytes.to_vec());
            Ok(())
        })
        .expect("readable");
        assert_eq!(taken["ovffiles/setup/cfg.xml"], b"ovffiles/setup/cfg.xml");
        assert_eq!(taken.len(), 2);

        for (name, kind, why) in [
            ("link", Kind::Link, "is a symbolic link"),
            ("null", Kind::Special, "is no regular file"),
            ("..", Kind::File, "would lead out of its directory"),
            ("..", Kind::Directory, "would lead out of its directory"),
            ("a/b", Kind::File, "has a slash in its name"),
            ("a\nb", Kind::File, "has a control character in its name"),
            ("", Kind::File, "has no name"),
            ("a\u{202e}b", Kind::File, "has an invisible character in its name"),
            ("ovffiles", Kind::File, "is there twice"),
            ("readme.txt", Kind::File, "is there twice"),
        ] {
            table.0.push(row("", name, kind));
            let refused = files(&mut table).expect("readable").into_iter().filter_map(|file| file.refused);
            let refused: BTreeSet<_> = refused.collect();
            assert_eq!(refused, [why].into(), "{name:?}");
            let outcome = extract(&mut table, |_, _| panic!("nothing is handed out beside {name:?}"));
            assert!(matches!(defect(outcome), Some(Defect::Refused(_, said)) if said == why), "{name:?}");
            table.0.pop();
        }
    }

    #[test]
    fn limits_hold() {
        let many = |_| row("", "x", Kind::Special);
        let mut table = Table((0..=MAX_RECORDS).map(many).collect());
        assert_eq!(defect(document(&mut table)), Some(Defect::TooManyRecords));
        assert_eq!(defect(files(&mut table)), Some(Defect::TooManyRecords));
        /// A directory that is its own child.
        struct Ring;
        impl Tree for Ring {
            fn top(&self) -> Node {
                Node(0)
            }
            fn entries(&mut self, node: Node, each: &mut Each<'_>) -> Result<(), Broken> {
                Ok(each(Entry { name: b"self".to_vec(), kind: Kind::Directory, len: 0, node })?)
            }
            fn read(&mut self, _: Node, _: u64) -> Result<Zeroizing<Vec<u8>>, Broken> {
                unreachable!("there is no file")
            }
            fn is_plain(&self) -> bool {
                false
            }
        }
        assert_eq!(defect(files(&mut Ring)), Some(Defect::TooDeep));
    }

    #[test]
    fn a_plain_name_is_shown_as_linux_would() {
        for (name, plain, want) in [
            ("CFG.XML;1", true, "cfg.xml"),
            ("NAME.;1", true, "name"),
            ("CFG.XML;1", false, "CFG.XML;1"),
            ("...", true, ".."),
        ] {
            assert_eq!(shown(name.as_bytes(), plain), want);
        }
    }
}
