//! The files that a descriptor refers to.
//!
//! Decides whether they are there, in the size that the descriptor says, in pieces if it says so; and which files of an
//! archive belong to nothing. Nothing is read here.
//!
//! The rule: DSP0243, 7.1; pieces of a file are named with nine digits.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use super::Package;
use super::path::{self, Target};
use crate::descriptor::{Descriptor, File};
use crate::finding::{Code, Few, Finding, quoted};
use crate::suggest;
use crate::xml::Source;

/// Pieces of one file.
const MAX_PIECES: u64 = 1_000_000;

/// Looks for all files. Answers the names of those that there are.
pub fn check(
    package: &Package,
    descriptor: &Descriptor,
    source: &Source,
    findings: &mut Vec<Finding>,
) -> Vec<String> {
    let mut names = Vec::new();
    let mut findings = Few::behind(findings);
    // What was found of a name, in pieces or not: a million references may be to one file.
    let mut looked: HashMap<(String, bool), Result<Option<u64>, Finding>> = HashMap::new();
    for file in &descriptor.files {
        // Other targets are the descriptor's to complain of.
        let Target::Inside(name) = path::resolve(&file.href.value) else { continue };
        let is_in_pieces = file.chunk.is_some();
        let found = looked.entry((name.clone(), is_in_pieces)).or_insert_with(|| match is_in_pieces {
            true => pieces(package, &name, &mut names),
            false => single(package, &name, &mut names),
        });
        match found {
            Err(finding) => findings.push(named(finding.clone(), file, source)),
            Ok(None) if findings.is_full() => {}
            Ok(None) => findings.push(missing(package, file, &name, source)),
            Ok(Some(size)) => {
                if let Some(want) = file.size.filter(|want| want != size) {
                    let message = format!(
                        "File {} has {size} bytes, and ovf:size says {want}; it was changed, or the size was not written again",
                        quoted(&file.id.value)
                    );
                    findings.push(source.finding(Code::FileSize, file.href.at, message));
                }
            }
        }
    }
    // Pieces of one file may be a file of their own as well.
    let mut seen = HashSet::new();
    names.retain(|name: &String| seen.insert(name.clone()));
    let own = [package.descriptor().to_owned(), package.beside("mf"), package.beside("cert")];
    for name in package.members().filter(|name| !seen.contains(*name) && !own.iter().any(|it| it == name)) {
        let message =
            format!("nothing refers to {}; leave it out, or add it to the References", quoted(name));
        findings.push(source.finding(Code::ExtraFile, descriptor.references, message));
    }
    names
}

fn single(package: &Package, name: &str, names: &mut Vec<String>) -> Result<Option<u64>, Finding> {
    let size = package.file(name)?.map(|(_, size)| size);
    names.extend(size.map(|_| name.to_owned()));
    Ok(size)
}

fn pieces(package: &Package, name: &str, names: &mut Vec<String>) -> Result<Option<u64>, Finding> {
    let mut total = None;
    for number in 0..MAX_PIECES {
        let piece = format!("{name}.{number:09}");
        let Some((_, size)) = package.file(&piece)? else { break };
        total = Some(u64::saturating_add(total.unwrap_or(0), size));
        names.push(piece);
    }
    Ok(total)
}

/// A finding about a file of the package, by the place of the File that names it. What is wrong inside of a text has its own.
fn named(finding: Finding, file: &File, source: &Source) -> Finding {
    if finding.at.is_some() {
        return finding;
    }
    let message = format!("File {}: {}: {}", quoted(&file.id.value), quoted(&finding.file), finding.message);
    source.finding(finding.code, file.href.at, message)
}

fn missing(package: &Package, file: &File, name: &str, source: &Source) -> Finding {
    let first = if file.chunk.is_some() { format!("{name}.000000000") } else { name.to_owned() };
    let meant = match suggest::nearest(name, package.members()) {
        Some(near) => format!("{} was probably meant", quoted(near)),
        None => "put it there, or correct the href".to_owned(),
    };
    let message =
        format!("File {}: {} is not in the package; {meant}", quoted(&file.id.value), quoted(&first));
    source.finding(Code::FileMissing, file.href.at, message)
}

/// Files by their ids, and the text that names them.
#[derive(Debug)]
pub struct Ids<'a> {
    files: HashMap<&'a str, &'a File>,
    source: &'a Source,
}

impl<'a> Ids<'a> {
    /// Those of a descriptor; of several of one id the first.
    pub fn of(descriptor: &'a Descriptor, source: &'a Source) -> Self {
        let files = descriptor.files.iter().rev().map(|it| (it.id.value.as_str(), it)).collect();
        Self { files, source }
    }

    /// The name of the file of this id, unless it is no name in a package.
    pub fn name(&self, id: &str) -> Option<String> {
        match path::resolve(&self.files.get(id)?.href.value) {
            Target::Inside(name) => Some(name),
            _ => None,
        }
    }

    /// All bytes of the file of this id, if there is one in the package.
    ///
    /// # Errors
    /// It cannot be read, or is larger than `limit`.
    pub fn bytes(&self, package: &Package, id: &str, limit: u64) -> Result<Option<Vec<u8>>, Finding> {
        let (Some(name), Some(file)) = (self.name(id), self.files.get(id)) else { return Ok(None) };
        package.read(&name, limit).map_err(|finding| named(finding, file, self.source))
    }
}
