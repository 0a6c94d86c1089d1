//! The members of an OVA.
//!
//! Decides where in the archive each file is, and refuses what an OVA cannot have: links, devices, two members of one
//! name, names that lead elsewhere, and an archive that was cut off, which is seen before gigabytes are read. Headers are
//! the crate `tar`'s, with the long names of GNU and POSIX; the walk is our own, since the crate's takes names of any
//! length into memory and passes over an end of file.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use tar::{EntryType, Header, PaxExtensions};

use super::exactly::{Exactly, Lent};
use super::{path, unreadable};
use crate::finding::{Code, Finding, quoted};

const BLOCK: u64 = 512;
/// Bytes of a long name or of POSIX's further fields.
const MAX_FIELDS: u64 = 64 << 10;
/// Headers of an archive, those of directories and of long names included; and bytes of all names in it.
const MAX_HEADERS: usize = 300_000;
const MAX_NAMES: usize = 16 << 20;
/// Bytes behind the end mark that are looked at.
const MAX_TAIL: u64 = 1 << 20;

/// Whether this first block is a tar header.
pub(super) fn is_one(block: &[u8; 512]) -> bool {
    has_checksum(block) && &block[257..262] == b"ustar"
}

/// An archive whose headers have been read.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    shown: String,
    members: Vec<Member>,
    by_name: BTreeMap<String, usize>,
}

/// A file in it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    offset: u64,
    size: u64,
}

impl Archive {
    /// Reads the headers.
    pub(super) fn read(file: File, shown: &str, findings: &mut Vec<Finding>) -> Result<Self, Finding> {
        let length = file.metadata().map_err(|error| unreadable(shown, &error))?.len();
        let mut walk = Walk { file: &file, shown, length, at: 0, headers: 0 };
        let (mut archive, mut names) = (Vec::new(), 0);
        let mut by_name = BTreeMap::new();
        while let Some(member) = walk.next(findings)? {
            if by_name.insert(member.name.clone(), archive.len()).is_some() {
                let message = format!("{} is in the archive twice; remove one", quoted(&member.name));
                return Err(Finding::with(shown, Code::TarDuplicate, message));
            }
            names += member.name.len();
            archive.push(member);
            if names > MAX_NAMES {
                let message =
                    format!("the names in the archive have more than {MAX_NAMES} bytes; this is no OVA");
                return Err(Finding::with(shown, Code::TarDamaged, message));
            }
        }
        Ok(Self { file, shown: shown.to_owned(), members: archive, by_name })
    }

    /// The name of the descriptor, which should come first.
    pub(super) fn descriptor(&self, findings: &mut Vec<Finding>) -> Result<String, Finding> {
        let is_descriptor = |name: &str| name.to_ascii_lowercase().ends_with(".ovf") && !name.contains('/');
        let mut found = self.members.iter().enumerate().filter(|(_, member)| is_descriptor(&member.name));
        let Some((index, first)) = found.next() else {
            let message = "there is no .ovf in the archive; an OVA begins with one";
            return Err(Finding::with(&self.shown, Code::NoDescriptor, message));
        };
        if let Some((_, second)) = found.next() {
            let (first, second) = (quoted(&first.name), quoted(&second.name));
            let message = format!("both {first} and {second} are descriptors; an OVA has one");
            return Err(Finding::with(&self.shown, Code::SeveralDescriptors, message));
        }
        if index > 0 {
            let message = format!(
                "{} comes before the descriptor {}, which a platform that reads a stream needs first; pack it first",
                quoted(&self.members[0].name),
                quoted(&first.name)
            );
            findings.push(Finding::with(&self.shown, Code::DescriptorNotFirst, message));
        }
        Ok(first.name.clone())
    }

    /// The members, in the archive's order.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Where in the archive the bytes of a member are, and how many.
    pub(super) fn place(&self, name: &str) -> Option<(u64, u64)> {
        let member = &self.members[*self.by_name.get(name)?];
        Some((member.offset, member.size))
    }

    /// The archive itself.
    pub(super) fn whole(&self) -> &File {
        &self.file
    }

    /// The bytes of a member, and how many they are.
    pub(super) fn file(&self, name: &str) -> Option<(impl Read + '_, u64)> {
        let member = &self.members[*self.by_name.get(name)?];
        Some((Exactly { file: Lent(&self.file), at: member.offset, left: member.size }, member.size))
    }
}

/// From header to header.
struct Walk<'a> {
    file: &'a File,
    shown: &'a str,
    length: u64,
    at: u64,
    headers: usize,
}

/// What headers before a member say of it.
#[derive(Default)]
struct Fields {
    name: Option<String>,
    size: Option<u64>,
}

impl Walk<'_> {
    fn next(&mut self, findings: &mut Vec<Finding>) -> Result<Option<Member>, Finding> {
        let mut fields = Fields::default();
        loop {
            let at = self.at;
            let Some(block) = self.block(findings)? else { return Ok(None) };
            if at == 0 && block.starts_with(&[0x1F, 0x8B]) {
                let message =
                    "the archive is compressed by gzip, which an OVA never is; unpack it with gunzip";
                return Err(Finding::with(self.shown, Code::TarDamaged, message));
            }
            if !has_checksum(&block) {
                let message = format!(
                    "the header at byte {at} is damaged: its checksum is another; the archive was changed, or is no OVA"
                );
                return Err(Finding::with(self.shown, Code::TarDamaged, message));
            }
            let header = Header::from_byte_slice(&block);
            let damaged = |what: &str| {
                let message = format!("the header at byte {at} is damaged: {what}; make the archive again");
                Finding::with(self.shown, Code::TarDamaged, message)
            };
            // A header that says more of the next file has a size of its own.
            let kind = header.entry_type();
            let is_about_next = matches!(
                kind,
                EntryType::XHeader
                    | EntryType::XGlobalHeader
                    | EntryType::GNULongName
                    | EntryType::GNULongLink
            );
            let size = match fields.size.take_if(|_| !is_about_next) {
                Some(size) => size,
                None => header.entry_size().map_err(|_| damaged("its size is no number"))?,
            };
            let name = match fields.name.take_if(|_| !is_about_next) {
                Some(name) => name,
                None => String::from_utf8(header.path_bytes().into_owned())
                    .map_err(|_| damaged("its name is not UTF-8"))?,
            };
            let end = self.at.checked_add(size).ok_or_else(|| damaged("its size is too large"))?;
            if end > self.length {
                let message = format!(
                    "the archive ends inside {}: {} bytes of {size} are there; it was cut off, get it again",
                    quoted(&name),
                    self.length - self.at
                );
                return Err(Finding::with(self.shown, Code::TarTruncated, message));
            }
            let offset = self.at;
            self.at = end.next_multiple_of(BLOCK);
            match kind {
                EntryType::Regular | EntryType::Continuous => {
                    let name = path::inside(&name).map_err(|why| {
                        let message = format!(
                            "the archive's entry {} at byte {at} {why}; pack it under its name alone",
                            quoted(&name)
                        );
                        Finding::with(self.shown, Code::PathTraversal, message)
                    })?;
                    return Ok(Some(Member { name, offset, size }));
                }
                EntryType::Directory => fields = Fields::default(),
                EntryType::GNULongName => {
                    let bytes = self.fields(offset, size)?;
                    let name = bytes.split(|&byte| byte == 0).next().unwrap_or_default().to_vec();
                    fields.name =
                        Some(String::from_utf8(name).map_err(|_| damaged("its name is not UTF-8"))?);
                }
                EntryType::XHeader => {
                    let bytes = self.fields(offset, size)?;
                    for field in PaxExtensions::new(&bytes) {
                        let field = field.map_err(|_| damaged("its further fields are none"))?;
                        let value = field.value().map_err(|_| damaged("a further field is not UTF-8"))?;
                        match field.key_bytes() {
                            b"path" => fields.name = Some(value.to_owned()),
                            b"size" => {
                                let size = value.parse().map_err(|_| damaged("its size is no number"))?;
                                fields.size = Some(size);
                            }
                            key if key.starts_with(b"GNU.sparse.") => {
                                let message = "the archive has a sparse file, whose name and size are not the ones that \
                                               others see; pack it without --sparse";
                                return Err(Finding::with(self.shown, Code::TarEntryType, message));
                            }
                            _ => {}
                        }
                    }
                }
                EntryType::XGlobalHeader => {
                    let bytes = self.fields(offset, size)?;
                    for field in PaxExtensions::new(&bytes) {
                        let field = field.map_err(|_| damaged("its further fields are none"))?;
                        if matches!(field.key_bytes(), b"path" | b"size" | b"linkpath") {
                            return Err(damaged("it gives all files one name or size"));
                        }
                    }
                }
                EntryType::GNULongLink => {}
                other => {
                    let what = match other {
                        EntryType::Symlink => "a symbolic link",
                        EntryType::Link => "a hard link",
                        EntryType::GNUSparse => "a sparse file",
                        EntryType::Char | EntryType::Block => "a device",
                        EntryType::Fifo => "a pipe",
                        _ => "of an unknown kind",
                    };
                    let message = format!(
                        "the archive's entry {} at byte {at} is {what}; pack the file itself",
                        quoted(&name)
                    );
                    return Err(Finding::with(self.shown, Code::TarEntryType, message));
                }
            }
        }
    }

    /// The next header; none at the end.
    fn block(&mut self, findings: &mut Vec<Finding>) -> Result<Option<[u8; 512]>, Finding> {
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            let message = format!("the archive has more than {MAX_HEADERS} headers; this is no OVA");
            return Err(Finding::with(self.shown, Code::TarDamaged, message));
        }
        let left = self.length.saturating_sub(self.at);
        let mut block = [0; BLOCK as usize];
        if left == 0 {
            let message = "the archive has no end mark; it may have been cut off between two files";
            findings.push(Finding::with(self.shown, Code::TarNoEnd, message));
            return Ok(None);
        }
        if left < BLOCK {
            let message = format!(
                "the archive ends inside the header at byte {}; it was cut off, get it again",
                self.at
            );
            return Err(Finding::with(self.shown, Code::TarTruncated, message));
        }
        self.file.read_exact_at(&mut block, self.at).map_err(|error| unreadable(self.shown, &error))?;
        self.at += BLOCK;
        if block.iter().any(|&byte| byte != 0) {
            return Ok(Some(block));
        }
        let tail = self.length.saturating_sub(self.at).min(MAX_TAIL);
        let mut bytes = vec![0; tail as usize];
        self.file.read_exact_at(&mut bytes, self.at).map_err(|error| unreadable(self.shown, &error))?;
        if bytes.iter().any(|&byte| byte != 0) {
            let message = "there is something behind the archive's end, which is not looked at; other programs may see files there";
            findings.push(Finding::with(self.shown, Code::TarBehindEnd, message));
        }
        Ok(None)
    }

    fn fields(&self, offset: u64, size: u64) -> Result<Vec<u8>, Finding> {
        if size > MAX_FIELDS {
            let message =
                format!("the header at byte {offset} has {size} bytes of names; {MAX_FIELDS} are the most");
            return Err(Finding::with(self.shown, Code::TarDamaged, message));
        }
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, offset).map_err(|error| unreadable(self.shown, &error))?;
        Ok(bytes)
    }
}

/// The sum of the header's bytes, its own field counted as blanks.
fn has_checksum(block: &[u8; 512]) -> bool {
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, &byte)| if (148..156).contains(&at) { 32 } else { byte.into() })
        .sum();
    Header::from_byte_slice(block).cksum().is_ok_and(|it| it == sum)
}
