//! Texts and their translations.
//!
//! Decides which translations are of nothing, most likely because a name is misspelt, which stand there twice, and which texts a language
//! lacks. Bundles that are files are compared by whoever reads them.

#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashSet};

use super::{Links, MAX_NAMES};
use crate::descriptor::{Bundle, Descriptor, Placed};
use crate::finding::{Code, Few, quoted};
use crate::suggest;
use crate::xml::Source;

impl Links<'_> {
    pub(super) fn texts(&mut self) {
        let wanted = wanted(self.descriptor);
        for bundle in &self.descriptor.bundles {
            let given = ids(bundle).map(|id| id.value.as_str()).collect();
            unused(&wanted, ids(bundle), &given, self.source, &mut self.findings);
            if bundle.file.is_none() {
                missing(&wanted, &given, &bundle.language, (self.source, bundle.at), &mut self.findings);
            }
        }
    }
}

/// Compares a bundle that is a file, `read`, with the names that are `wanted`, and with what `inline` says of it.
pub(crate) fn outside(
    wanted: &BTreeSet<&str>,
    inline: &Bundle,
    read: &Bundle,
    source: &Source,
    findings: &mut Few<'_>,
) {
    let given: HashSet<&str> = ids(inline).chain(ids(read)).map(|id| id.value.as_str()).collect();
    unused(wanted, ids(read), &given, source, findings);
    let (there, here) = (&inline.language, &read.language);
    if !there.is_empty() && !here.is_empty() && !there.eq_ignore_ascii_case(here) {
        let message = format!(
            "the texts say that they are in {}, and the descriptor that they are in {}; correct one of both",
            quoted(here),
            quoted(there)
        );
        findings.push(source.finding(Code::BundleLanguage, read.at, message));
    }
    let language = if there.is_empty() { here } else { there };
    missing(wanted, &given, language, (source, read.at), findings);
}

/// The names of all texts that there are to translate.
pub(crate) fn wanted(descriptor: &Descriptor) -> BTreeSet<&str> {
    descriptor.messages.iter().filter_map(|it| Some(it.id.as_ref()?.value.as_str())).collect()
}

/// The names of a bundle's texts.
fn ids(bundle: &Bundle) -> impl Iterator<Item = &Placed> {
    bundle.texts.iter().map(|(id, _)| id).chain(bundle.text_files.iter().map(|(id, _)| id))
}

fn unused<'b>(
    wanted: &BTreeSet<&str>,
    ids: impl Iterator<Item = &'b Placed>,
    given: &HashSet<&str>,
    source: &Source,
    findings: &mut Few<'_>,
) {
    let mut seen = HashSet::new();
    for id in ids {
        if !seen.insert(id.value.as_str()) {
            let message = format!("the text {} is there already; remove one", quoted(&id.value));
            findings.push(source.finding(Code::MessageDuplicate, id.at, message));
        } else if !wanted.contains(id.value.as_str()) {
            let near = if findings.is_full() { 0 } else { MAX_NAMES };
            // What has its text already is not meant; what goes on where this ends is.
            let lacking = || wanted.iter().copied().filter(|it| !given.contains(it)).take(near);
            let longer: Vec<_> = lacking()
                .filter(|it| it.strip_prefix(id.value.as_str()).is_some_and(|rest| rest.starts_with('.')))
                .take(3)
                .map(quoted)
                .collect();
            let meant = match suggest::nearest(&id.value, lacking()) {
                _ if !longer.is_empty() => format!("{} was probably meant", longer.join(" or ")),
                Some(near) => format!("{} was probably meant", quoted(near)),
                None => "remove it".to_owned(),
            };
            let message = format!("nothing uses the text {}; {meant}", quoted(&id.value));
            findings.push(source.finding(Code::MessageUnused, id.at, message));
        }
    }
}

fn missing(
    wanted: &BTreeSet<&str>,
    given: &HashSet<&str>,
    language: &str,
    (source, at): (&Source, usize),
    findings: &mut Few<'_>,
) {
    // All that is missing is not looked for: there may be as many bundles as texts.
    let missing = wanted.len() - given.iter().filter(|it| wanted.contains(*it)).count();
    let Some(first) = wanted.iter().find(|it| !given.contains(*it)) else { return };
    let language =
        if language.is_empty() { "a bundle without a language".to_owned() } else { quoted(language) };
    let message = format!(
        "{language} lacks {missing} of {} texts, {} the first; those stay as they are",
        wanted.len(),
        quoted(first)
    );
    findings.push(source.finding(Code::MessageMissing, at, message));
}
