//! Environments before anything is given, for whoever checks a package.
//!
//! Decides which deployment options make a difference to them, and what is wrong with them already. What is missing is empty,
//! as nobody has been asked yet.

#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashSet};

use ovf_agent::environment::Platform;

use super::values::{Making, own};
use super::{Environments, size};
use crate::descriptor::Descriptor;
use crate::finding::{Few, Finding, quoted};
use crate::xml::Source;

/// Deployment options that are tried; nobody offers so many.
const OPTIONS: usize = 32;

/// What is wrong with them whatever is given: values that cannot be, and documents that are too large.
pub fn check(descriptor: &Descriptor, source: &Source, findings: &mut Vec<Finding>) {
    let mut findings = Few::behind(findings);
    let usual = descriptor.usual_configuration();
    let (mut faults, mut large) = (BTreeSet::new(), HashSet::new());
    for (configuration, environments, found) in all(descriptor, source) {
        let option = configuration.filter(|it| Some(*it) != usual);
        for mut finding in found.into_iter().filter(|it| faults.insert((it.at, it.code))) {
            if let Some(option) = option {
                finding.message.push_str(&format!(" (deployment option {})", quoted(option)));
            }
            findings.push(finding);
        }
        size::check(&environments, configuration, source, &mut large, &mut findings);
    }
}

/// Those of the usual deployment option, of each other one that some property has a value for, and of one that none has.
pub fn each<'a>(
    descriptor: &'a Descriptor,
    source: &Source,
) -> impl Iterator<Item = (Option<&'a str>, Environments<'a>)> {
    all(descriptor, source).map(|(configuration, environments, _)| (configuration, environments))
}

fn all<'a>(
    descriptor: &'a Descriptor,
    source: &Source,
) -> impl Iterator<Item = (Option<&'a str>, Environments<'a>, Vec<Finding>)> {
    let all = (0..descriptor.entities.len()).flat_map(|it| descriptor.properties(it));
    let named = all.flat_map(|(_, property)| property.values.iter().map(|(option, _)| option.value.as_str()));
    let usual = descriptor.usual_configuration();
    let mut others: BTreeSet<&str> = named.collect();
    let mut known = descriptor.configurations.iter().map(|it| it.id.value.as_str());
    let unnamed = known.find(|it| !others.contains(it) && Some(*it) != usual);
    others.extend(unnamed);
    others.retain(|it| Some(*it) != usual);
    let others = others.into_iter().take(OPTIONS).map(Some);
    [usual].into_iter().chain(others).map(move |configuration| {
        let mut findings = Vec::new();
        let own = own(Making::untold(descriptor, source, configuration, &mut findings));
        (configuration, Environments::of(descriptor, Platform::default(), own), findings)
    })
}
