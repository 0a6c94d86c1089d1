//! The manifest: which files a package has, and the digest of each.
//!
//! Decides what a line of a `.mf` file says, and whether the files are those. Each file is read once, whatever its size; of
//! those that somebody has read before, what was read is compared, and so is what was understood.
//!
//! The rule: DSP0243, 5.1: `SHA256(name)= digits`, a line for each file, the descriptor's among them.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::digest::Algorithm;
use super::{Package, path, unreadable};
use crate::finding::{Code, Few, Finding, quoted};
use crate::progress::Progress;
use crate::suggest;
use crate::xml::Source;

/// The largest manifest in bytes.
pub const MAX_MANIFEST: u64 = 16 << 20;

/// A line of it.
#[derive(Debug)]
struct Entry {
    algorithm: Algorithm,
    name: String,
    digest: String,
    byte: usize,
}

/// The manifest of a package, as it is written.
#[derive(Debug)]
pub struct Manifest {
    /// The text, which is what a certificate signs.
    pub source: Source,
    entries: Vec<Entry>,
    /// Files whose lines are not understood, which has been said.
    unread: BTreeSet<String>,
}

impl Manifest {
    /// Reads it, if there is one.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn of(package: &Package, findings: &mut Vec<Finding>) -> Result<Option<Self>, Finding> {
        let name = package.beside("mf");
        let Some(bytes) = package.read(&name, MAX_MANIFEST)? else { return Ok(None) };
        let source = Source::new(name, bytes)?;
        let (entries, unread) = read(&source, &mut Few::behind(findings));
        Ok(Some(Self { source, entries, unread }))
    }

    /// Compares what was read of a file with its line. Where a signature was asked for, there has to be one.
    ///
    /// # Errors
    /// It is another file, or has no line.
    pub fn holds(&self, name: &str, mut bytes: impl Read, is_asked_for: bool) -> Result<(), Finding> {
        match self.entries.iter().find(|it| it.name == name) {
            Some(entry) => {
                let digest = entry.algorithm.of(&mut bytes, &mut Progress::bytes(0));
                let digest = digest.map_err(|error| unreadable(name, &error))?;
                if digest == entry.digest { Ok(()) } else { Err(entry.mismatch(name, &self.source)) }
            }
            None if is_asked_for => Err(self.uncovered(name)),
            None => Ok(()),
        }
    }

    /// Compares all files. `files` are the names that the descriptor refers to, `texts` the files that have been read.
    pub fn verify(
        &self,
        package: &Package,
        files: &[String],
        texts: &BTreeMap<&str, &Source>,
        is_asked_for: bool,
        findings: &mut Vec<Finding>,
    ) {
        let Self { source, entries, unread } = self;
        let mut findings = Few::behind(findings);
        compare(package, source, entries, texts, &mut findings);
        let named: BTreeSet<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let descriptor = package.descriptor().to_owned();
        for file in std::iter::once(&descriptor).chain(files).filter(|file| !named.contains(file.as_str())) {
            if is_asked_for {
                findings.push(self.uncovered(file));
                continue;
            }
            if unread.contains(file) {
                continue;
            }
            let message = format!(
                "{} has no line here, so nobody would notice if it were changed; add one",
                quoted(file)
            );
            findings.push(Finding::with(&source.file, Code::ManifestIncomplete, message));
        }
    }

    /// A file that a signature of the manifest says nothing about.
    fn uncovered(&self, name: &str) -> Finding {
        let what = if self.unread.contains(name) { "line here that is understood" } else { "line here" };
        let message = format!("{} has no {what}, so nobody has signed it; do not use it", quoted(name));
        Finding::with(&self.source.file, Code::Unsigned, message)
    }
}

impl Entry {
    fn mismatch(&self, name: &str, source: &Source) -> Finding {
        let message = format!(
            "{} is not the file that this {} is of; it was changed or damaged, get it again",
            quoted(name),
            self.algorithm.as_str()
        );
        source.finding(Code::DigestMismatch, self.byte, message)
    }
}

/// The lines of a manifest, and of those that are none the files that they name.
fn read(source: &Source, findings: &mut Few<'_>) -> (Vec<Entry>, BTreeSet<String>) {
    let mut entries: Vec<Entry> = Vec::new();
    let mut unread = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut byte = 0;
    for line in source.text.split_inclusive('\n') {
        let begin = byte;
        byte += line.len();
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        if findings.is_full() {
            break;
        }
        let entry = match entry(line, begin) {
            Ok(entry) => entry,
            Err((name, message)) => {
                unread.extend(name.map(str::to_owned));
                findings.push(source.finding(Code::ManifestSyntax, begin, message));
                continue;
            }
        };
        if !seen.insert(entry.name.clone()) {
            let message = format!("{} has a line already; remove one", quoted(&entry.name));
            findings.push(source.finding(Code::ManifestDuplicate, begin, message));
            continue;
        }
        entries.push(entry);
    }
    if let Some(entry) = entries.iter().find(|entry| entry.algorithm == Algorithm::Sha1) {
        let message = "SHA-1 finds accidents, and no longer attackers; make the manifest with SHA-256";
        findings.push(source.finding(Code::DigestWeak, entry.byte, message));
    }
    (entries, unread)
}

/// What a line says, or else the file that it names, if it does, and why it is no line.
fn entry(line: &str, byte: usize) -> Result<Entry, (Option<&str>, String)> {
    let parts = line.split_once('(').and_then(|(algorithm, rest)| {
        let (name, digest) = rest.rsplit_once(")=").or_else(|| rest.rsplit_once(") ="))?;
        Some((algorithm.trim(), name, digest.trim().to_ascii_lowercase()))
    });
    let Some((written, name, digest)) = parts else {
        return Err((None, "this is no line of a manifest; write SHA256(name)= and the digits".to_owned()));
    };
    let Some(algorithm) = Algorithm::named(written) else {
        let message =
            format!("digests by {} are not read, only SHA256, SHA512 and SHA1; take SHA256", quoted(written));
        return Err((Some(name), message));
    };
    if digest.len() != algorithm.digits() || !digest.bytes().all(|it| it.is_ascii_hexdigit()) {
        let message = format!(
            "this is no {} digest, which has {} digits from 0 to f; make the line anew",
            algorithm.as_str(),
            algorithm.digits()
        );
        return Err((Some(name), message));
    }
    Ok(Entry { algorithm, name: name.to_owned(), digest, byte })
}

fn compare(
    package: &Package,
    source: &Source,
    entries: &[Entry],
    texts: &BTreeMap<&str, &Source>,
    findings: &mut Few<'_>,
) {
    let mut opened = Vec::new();
    let mut total: u64 = 0;
    for entry in entries {
        let name = match path::inside(&entry.name) {
            Ok(name) => name,
            Err(why) => {
                let message = format!("{} {why}; a manifest names files of the package", quoted(&entry.name));
                findings.push(source.finding(Code::PathTraversal, entry.byte, message));
                continue;
            }
        };
        match package.file(&name) {
            Ok(Some((_, size))) => {
                total = total.saturating_add(size);
                opened.push((entry, name));
            }
            Ok(None) if findings.is_full() => {}
            Ok(None) => {
                let meant = match suggest::nearest(&name, package.members()) {
                    Some(near) => format!("{} was probably meant", quoted(near)),
                    None => "add the file, or remove the line".to_owned(),
                };
                let message = format!("{} is not in the package; {meant}", quoted(&name));
                findings.push(source.finding(Code::ManifestMissingFile, entry.byte, message));
            }
            Err(finding) => {
                let message = format!("{}: {}", quoted(&name), finding.message);
                findings.push(source.finding(finding.code, entry.byte, message));
            }
        }
    }
    let mut progress = Progress::bytes(total);
    for (entry, name) in opened {
        progress.now(&format!("reading {name}"));
        let mut digest = |file: &mut dyn Read| {
            entry.algorithm.of(file, &mut progress).map_err(|error| unreadable(&name, &error))
        };
        let digest = match texts.get(name.as_str()) {
            Some(text) => digest(&mut text.bytes()),
            None => match package.file(&name) {
                Ok(Some((mut file, _))) => digest(&mut *file),
                Ok(None) => continue,
                Err(finding) => Err(finding),
            },
        };
        match digest {
            Ok(digest) if digest == entry.digest => {}
            Ok(_) => findings.push(entry.mismatch(&name, source)),
            Err(finding) => findings.push(finding),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::finding::Few;
    use crate::xml::Source;

    #[test]
    fn a_line_names_a_file_and_its_digest() {
        let (one, two) = ("a".repeat(40), "B".repeat(64));
        let text = format!(
            "SHA1(a (1).ovf)= {one}\r\nsha256(b)={two}\n\nSHA256(c)= {one}\nMD5(d)= {one}\nSHA1(a (1).ovf)= {one}\n"
        );
        let source = Source::new("a.mf", text.into_bytes()).expect("UTF-8");
        let mut findings = Vec::new();
        let (entries, unread) = read(&source, &mut Few::behind(&mut findings));
        let names: Vec<_> = entries.into_iter().map(|it| (it.name, it.digest)).collect();
        assert_eq!(unread, ["c", "d"].map(str::to_owned).into());
        assert_eq!(names, [("a (1).ovf".to_owned(), one), ("b".to_owned(), two.to_lowercase())]);
        let places: Vec<_> = findings.iter().map(|it| (it.code.as_str(), it.at.map(|at| at.line))).collect();
        let syntax = "manifest-syntax";
        assert_eq!(
            places,
            [(syntax, Some(4)), (syntax, Some(5)), ("manifest-duplicate", Some(6)), ("digest-weak", Some(1))]
        );
        assert_eq!(
            [&findings[0].message, &findings[1].message],
            [
                "this is no SHA256 digest, which has 64 digits from 0 to f; make the line anew",
                "digests by `MD5` are not read, only SHA256, SHA512 and SHA1; take SHA256"
            ]
        );
    }
}
