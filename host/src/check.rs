//! Checking a package: all of it, in order.
//!
//! Decides what is looked at, and when it is no use to go on. Each finding is made elsewhere.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::appliance::{self, Appliance};
use crate::assign;
use crate::descriptor::{Bundle, Descriptor, Strings, bundle, outside, wanted};
use crate::environments::defaults;
use crate::finding::{Code, Few, Finding, quoted};
use crate::package::Package;
use crate::package::certificate::{self, Authorities, Signer};
use crate::package::files::{self, Ids};
use crate::package::manifest::Manifest;
use crate::xml::{MAX_TEXT, Source};

/// A package, and what was read of it.
#[derive(Debug)]
pub struct Loaded {
    /// Its files.
    pub package: Package,
    /// The descriptor's text.
    pub source: Source,
    /// What it says.
    pub descriptor: Descriptor,
    /// The manifest, for who reads further files, once `vouch` has looked at it.
    pub manifest: Option<Manifest>,
    /// Whether files have to be signed.
    pub is_signature_asked_for: bool,
}

impl Loaded {
    /// Whether what was read of a file is what the manifest says.
    ///
    /// # Errors
    /// It is not.
    pub fn holds(&self, name: &str, bytes: impl Read) -> Result<(), Finding> {
        self.manifest.as_ref().map_or(Ok(()), |it| it.holds(name, bytes, self.is_signature_asked_for))
    }
}

/// Opens a package and reads its descriptor. Where that is no use, the findings say why.
pub fn load(path: &Path, findings: &mut Vec<Finding>) -> Option<Loaded> {
    let package = match Package::open(path, findings) {
        Ok(package) => package,
        Err(finding) => {
            findings.push(finding);
            return None;
        }
    };
    let opened = findings.len();
    let read = read(&package, findings);
    package.show(&mut findings[opened..]);
    let (source, descriptor) = read?;
    Some(Loaded { package, source, descriptor, manifest: None, is_signature_asked_for: false })
}

fn read(package: &Package, findings: &mut Vec<Finding>) -> Option<(Source, Descriptor)> {
    let name = package.descriptor();
    let source = package.read(name, MAX_TEXT).and_then(|bytes| match bytes {
        Some(bytes) => Source::new(name, bytes),
        None => Err(Finding::with(name, Code::Unreadable, "the descriptor has gone")),
    });
    match source {
        Ok(source) => {
            let descriptor = Descriptor::read(&source, findings)?;
            Some((source, descriptor))
        }
        Err(finding) => {
            findings.push(finding);
            None
        }
    }
}

/// What can be said of a package without reading all of it: whether its files are there, whether the descriptor is what the manifest
/// says, and, where authorities are named, whether somebody trusted has signed that. Disks are looked at by `check` alone.
pub fn vouch(loaded: &mut Loaded, authorities: Option<&Authorities>, findings: &mut Vec<Finding>) {
    let known = findings.len();
    let Loaded { package, source, descriptor, .. } = &*loaded;
    files::check(package, descriptor, source, findings);
    match Manifest::of(package, findings) {
        Ok(manifest) => {
            if authorities.is_some() {
                certificate::verify(package, manifest.as_ref().map(|it| &it.source), authorities, findings);
            }
            (loaded.manifest, loaded.is_signature_asked_for) = (manifest, authorities.is_some());
            findings.extend(loaded.holds(&loaded.source.file, loaded.source.bytes()).err());
        }
        Err(finding) => findings.push(finding),
    }
    loaded.package.show(&mut findings[known..]);
}

/// What [`vouch`] leaves out: whether the files are of their sizes, and each what the manifest says. All of them are read.
pub fn verify(loaded: &Loaded, findings: &mut Vec<Finding>) {
    let known = findings.len();
    let Loaded { package, source, descriptor, .. } = loaded;
    let names = files::check(package, descriptor, source, findings);
    if let Some(manifest) = &loaded.manifest {
        let texts = [(&*source.file, source)].into();
        manifest.verify(package, &names, &texts, loaded.is_signature_asked_for, findings);
    }
    package.show(&mut findings[known..]);
}

/// What is wanted of a check.
#[derive(Debug, Default)]
pub struct Wanted {
    /// The descriptor alone, as long as there are no files yet.
    pub descriptor_only: bool,
    /// Texts in this language.
    pub language: Option<String>,
    /// Certificates of those who are trusted.
    pub authorities: Option<Authorities>,
    /// Appliances to compare it with.
    pub appliances: Vec<Appliance>,
    /// The program that is asked for what they declare.
    pub agent: PathBuf,
}

/// A package that was checked.
#[derive(Debug)]
pub struct Checked {
    /// What was read of it.
    pub loaded: Loaded,
    /// Its texts.
    pub strings: Strings,
    /// Who has signed it, if the signature is one.
    pub signer: Option<Signer>,
}

/// Checks a package. Answers it, as far as it could be read.
pub fn check(path: &Path, wanted: &Wanted, findings: &mut Vec<Finding>) -> Option<Checked> {
    let loaded = load(path, findings)?;
    let known = findings.len();
    let Loaded { package, source, descriptor, .. } = &loaded;
    let (bundles, texts) = bundles(package, descriptor, source, findings);
    let mut signer = None;
    if !wanted.descriptor_only {
        let names = files::check(package, descriptor, source, findings);
        let authorities = wanted.authorities.as_ref();
        match Manifest::of(package, findings) {
            Ok(manifest) => {
                match &manifest {
                    Some(manifest) => {
                        let texts = texts.values().chain([source]).map(|it| (&*it.file, it)).collect();
                        manifest.verify(package, &names, &texts, authorities.is_some(), findings);
                    }
                    None => {
                        let message = format!(
                            "there is no {}, so nobody would notice if a file were changed or damaged; make one",
                            quoted(&package.beside("mf"))
                        );
                        findings.push(Finding::with(&source.file, Code::ManifestMissing, message));
                    }
                }
                let manifest = manifest.as_ref().map(|it| &it.source);
                signer = certificate::verify(package, manifest, authorities, findings);
            }
            // No signature is one of a manifest that nobody can read.
            Err(finding) => findings.push(finding),
        }
    }
    defaults::check(descriptor, source, findings);
    assign::check(descriptor, source, findings);
    let elsewhere = appliance::check(descriptor, source, &wanted.appliances, &wanted.agent, findings);
    let strings = match wanted.language.as_deref() {
        None => Strings::default(),
        Some(language) => Strings::of(&bundles, &descriptor.language, language).unwrap_or_else(|| {
            let there: Vec<_> =
                bundles.iter().map(|it| quoted(&it.language)).filter(|it| it != "``").take(9).collect();
            let there = match there.is_empty() {
                true => "they stay as they are".to_owned(),
                false => format!("there are {}", there.join(", ")),
            };
            let message = format!("there are no texts in {}; {there}", quoted(language));
            findings.push(Finding::with(&source.file, Code::LanguageMissing, message));
            Strings::default()
        }),
    };
    package.show(&mut findings[known..]);
    findings.extend(elsewhere);
    // The findings about one file stand together, as whoever mends it wants them.
    findings.sort();
    findings.dedup();
    Some(Checked { loaded, strings, signer })
}

/// All bundles, those in files included, and these files by their names. Each is read once, whoever refers to it.
fn bundles(
    package: &Package,
    descriptor: &Descriptor,
    source: &Source,
    findings: &mut Vec<Finding>,
) -> (Vec<Bundle>, BTreeMap<String, Source>) {
    let mut texts = BTreeMap::new();
    let mut all = Vec::new();
    let mut findings = Few::behind(findings);
    let ids = Ids::of(descriptor, source);
    let wanted = wanted(descriptor);
    // All texts together have as many bytes as one file may have: a thousand may be one file.
    let mut left = Some(MAX_TEXT as usize);
    for inline in &descriptor.bundles {
        let mut whole = inline.clone();
        if let Some(file) = &inline.file
            && let Some(source) = text(package, &ids, &file.value, &mut texts, &mut findings)
        {
            match bundle(source) {
                Ok(read) => {
                    outside(&wanted, inline, &read, source, &mut findings);
                    if whole.language.is_empty() {
                        whole.language = read.language;
                    }
                    whole.texts.extend(read.texts);
                }
                Err(finding) => findings.push(finding),
            }
        }
        for (id, file) in &inline.text_files {
            if let Some(read) = text(package, &ids, &file.value, &mut texts, &mut findings) {
                // The first one that is too much says so for those behind it.
                let Some(enough) = left else { continue };
                left = enough.checked_sub(read.text.len());
                match left {
                    Some(_) => whole.texts.push((id.clone(), read.text.trim().to_owned())),
                    None => {
                        let message =
                            format!("all texts in files have more than {MAX_TEXT} bytes; shorten them");
                        findings.push(source.finding(Code::TooLarge, file.at, message));
                    }
                }
            }
        }
        all.push(whole);
    }
    (all, texts)
}

/// The text of the file of this id; none if it is not there, which whoever looks for files says, or if it is no text.
fn text<'a>(
    package: &Package,
    ids: &Ids<'_>,
    id: &str,
    texts: &'a mut BTreeMap<String, Source>,
    findings: &mut Few<'_>,
) -> Option<&'a Source> {
    match texts.entry(ids.name(id)?) {
        Entry::Occupied(text) => Some(text.into_mut()),
        Entry::Vacant(place) => {
            let bytes = ids.bytes(package, id, MAX_TEXT).transpose()?;
            match bytes.and_then(|bytes| Source::new(place.key(), bytes)) {
                Ok(source) => Some(place.insert(source)),
                Err(finding) => {
                    findings.push(finding);
                    None
                }
            }
        }
    }
}
