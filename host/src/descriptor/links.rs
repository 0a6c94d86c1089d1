//! What the parts of a descriptor say of each other.
//!
//! Decides whether every name leads somewhere: files, disks and their parents, networks, devices, deployment options,
//! the virtual machines of a StartupSection or a contract. What leads nowhere is said with what was probably meant.
//! Disks, devices, properties and texts are in the submodules.

#![forbid(unsafe_code)]

mod attached;
mod devices;
mod disks;
mod properties;
mod texts;

pub(crate) use texts::{outside, wanted};

use std::collections::{HashMap, HashSet};

use super::{Descriptor, Placed};
use crate::finding::{Code, Few, Finding, quoted};
use crate::package::path::{self, Target};
use crate::suggest;
use crate::xml::Source;

/// Names that are compared with one that leads nowhere.
const MAX_NAMES: usize = 1_000;

/// Compares everything with everything that it names.
pub(super) fn check(descriptor: &Descriptor, source: &Source, findings: &mut Vec<Finding>) {
    let known = Known {
        files: descriptor.files.iter().map(|it| it.id.value.as_str()).collect(),
        hrefs: descriptor
            .files
            .iter()
            .rev()
            .map(|it| (it.href.value.as_str(), it.id.value.as_str()))
            .collect(),
        disks: descriptor.disks.iter().map(|it| it.id.value.as_str()).collect(),
        networks: descriptor.networks.iter().map(|it| it.value.as_str()).collect(),
        configurations: descriptor.configurations.iter().map(|it| it.id.value.as_str()).collect(),
    };
    let mut links = Links { descriptor, source, findings: Few::behind(findings), known };
    links.unique("File", descriptor.files.iter().map(|it| &it.id));
    links.unique("Disk", descriptor.disks.iter().map(|it| &it.id));
    links.unique("Network", descriptor.networks.iter());
    links.unique("Configuration", descriptor.configurations.iter().map(|it| &it.id));
    links.unique("VirtualSystem or VirtualSystemCollection", descriptor.entities.iter().map(|it| &it.id));
    links.files();
    links.disks();
    links.capacities();
    links.devices();
    links.startup();
    links.contracts();
    links.environment_files();
    links.properties();
    links.texts();
}

pub(super) struct Links<'a> {
    descriptor: &'a Descriptor,
    source: &'a Source,
    findings: Few<'a>,
    known: Known<'a>,
}

/// All ids that there are.
struct Known<'a> {
    files: HashSet<&'a str>,
    /// Ids of files by their hrefs.
    hrefs: HashMap<&'a str, &'a str>,
    disks: HashSet<&'a str>,
    networks: HashSet<&'a str>,
    configurations: HashSet<&'a str>,
}

impl<'a> Links<'a> {
    fn find(&mut self, code: Code, at: usize, message: impl Into<String>) {
        self.findings.push(self.source.finding(code, at, message));
    }

    /// What was probably meant. Where there are thousands of findings, nobody reads that of each, and to look for it takes time.
    fn meant<'n>(&self, given: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
        match !self.findings.is_full() {
            true => suggest::meant(given, names.take(MAX_NAMES)),
            false => "correct it".to_owned(),
        }
    }

    fn unique(&mut self, what: &str, ids: impl Iterator<Item = &'a Placed>) {
        let mut seen = HashMap::new();
        for id in ids {
            if id.value.is_empty() {
                self.find(Code::BadValue, id.at, format!("the id of this {what} is empty; give it one"));
                continue;
            }
            if id.value.chars().any(char::is_control) {
                let message = format!("the id of this {what} has a control character; remove it");
                self.find(Code::BadValue, id.at, message);
            }
            if let Some(first) = seen.insert(id.value.as_str(), id.at) {
                let line = self.source.at(first).line;
                let message =
                    format!("{} is the id of another {what}, on line {line}; rename one", quoted(&id.value));
                self.find(Code::DuplicateId, id.at, message);
            }
        }
    }

    fn file_ids(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.descriptor.files.iter().map(|it| it.id.value.as_str())
    }

    fn files(&mut self) {
        let descriptor = self.descriptor;
        let mut used: HashSet<&str> = HashSet::new();
        let disks =
            descriptor.disks.iter().filter_map(|disk| Some(("Disk", &disk.id.value, disk.file.as_ref()?)));
        for (what, name, file) in disks {
            used.insert(&file.value);
            self.file_ref(&format!("{what} {}", quoted(name)), file);
        }
        for (element, file) in &descriptor.other_file_refs {
            used.insert(&file.value);
            self.file_ref(element, file);
        }
        for entity in &descriptor.entities {
            for file in &entity.environment_files {
                used.insert(&file.file.value);
                self.file_ref(&format!("{} for the guest", quoted(&file.path.value)), &file.file);
            }
            for item in entity.hardware.iter().flat_map(|it| &it.items) {
                used.extend(item.host_resources.iter().filter_map(|it| devices::resource(&it.value)?.1));
            }
        }
        let mut hrefs: HashMap<&str, &super::File> = HashMap::new();
        for file in &descriptor.files {
            match path::resolve(&file.href.value) {
                Target::Inside(_) => {}
                Target::Remote => {
                    let message = format!(
                        "File {} is elsewhere on the network, and not fetched",
                        quoted(&file.id.value)
                    );
                    self.find(Code::FileRemote, file.href.at, message);
                }
                Target::Scheme(scheme) => {
                    let message = format!(
                        "the href of File {} begins with {}, which is not supported; write a path beside the descriptor",
                        quoted(&file.id.value),
                        quoted(&format!("{scheme}:"))
                    );
                    self.find(Code::FileScheme, file.href.at, message);
                }
                Target::Outside(why) => {
                    let message = format!(
                        "the href of File {} {why}; write a path beside or below the descriptor",
                        quoted(&file.id.value)
                    );
                    self.find(Code::PathTraversal, file.href.at, message);
                }
            }
            if let Some(first) = hrefs.insert(&file.href.value, file) {
                let sizes = if first.size.zip(file.size).is_some_and(|(a, b)| a != b) {
                    ", of another size"
                } else {
                    ""
                };
                let message = format!(
                    "File {} has the href of File {}{sizes}; one of them was probably meant to be another file",
                    quoted(&file.id.value),
                    quoted(&first.id.value)
                );
                self.find(Code::FileSame, file.href.at, message);
            }
            if !used.contains(file.id.value.as_str()) {
                let message = format!("nothing uses File {}; remove it, or name it", quoted(&file.id.value));
                self.find(Code::FileUnused, file.id.at, message);
            }
        }
    }

    fn file_ref(&mut self, who: &str, file: &Placed) {
        if self.known.files.contains(file.value.as_str()) {
            return;
        }
        let meant = match self.known.hrefs.get(file.value.as_str()) {
            Some(id) => format!("{} is that file's id", quoted(id)),
            None => match self.meant(&file.value, self.file_ids()) {
                meant if file.value.contains('.') && !meant.contains(" was probably meant") => {
                    "add a File with that href to References, and write its id here".to_owned()
                }
                meant => meant,
            },
        };
        let message =
            format!("{who}: the fileRef {} names no File in References; {meant}", quoted(&file.value));
        self.find(Code::DanglingFile, file.at, message);
    }

    fn startup(&mut self) {
        let descriptor = self.descriptor;
        let ids: HashMap<&str, usize> =
            descriptor.entities.iter().enumerate().map(|(index, it)| (it.id.value.as_str(), index)).collect();
        for entity in &descriptor.entities {
            let children = || entity.children.iter().map(|&it| descriptor.entities[it].id.value.as_str());
            let own: HashSet<&str> = children().collect();
            let mut seen = HashSet::new();
            for item in &entity.startup {
                let id = item.id.value.as_str();
                if own.contains(id) {
                    if !seen.insert(id) {
                        let message = format!("{} has an Item already; remove one", quoted(id));
                        self.find(Code::DuplicateId, item.id.at, message);
                    }
                    continue;
                }
                let meant = match ids.get(id).map(|&it| descriptor.entities[it].parent) {
                    Some(Some(parent)) => {
                        let parent = quoted(&descriptor.entities[parent].id.value);
                        format!("it is in {parent}, whose StartupSection would start it")
                    }
                    Some(None) => "it is the collection itself".to_owned(),
                    None => self.meant(id, children()),
                };
                let message =
                    format!("the Item {} names nothing in {}; {meant}", quoted(id), quoted(&entity.id.value));
                self.find(Code::DanglingStartup, item.id.at, message);
            }
        }
    }

    fn contracts(&mut self) {
        let descriptor = self.descriptor;
        let ids: HashSet<&str> = descriptor.entities.iter().map(|it| it.id.value.as_str()).collect();
        let systems: Vec<_> =
            descriptor.systems().map(|it| descriptor.entities[it].id.value.as_str()).collect();
        let machines: HashSet<&str> = systems.iter().copied().collect();
        let contracts = || descriptor.entities.iter().flat_map(|it| &it.contracts);
        // A collection has no address.
        let addresses = contracts().flat_map(|it| &it.addresses).map(|id| (id, true));
        for (id, is_address) in addresses.chain(contracts().flat_map(|it| &it.others).map(|id| (id, false))) {
            let is_there = ids.contains(id.value.as_str());
            if is_there && (!is_address || machines.contains(id.value.as_str())) {
                continue;
            }
            let meant = match is_there {
                true => "it is a collection; name the machines in it".to_owned(),
                false => self.meant(&id.value, systems.iter().copied()),
            };
            let message = format!(
                "the contract names {}, which is no virtual machine here; {meant}",
                quoted(&id.value)
            );
            self.find(Code::DanglingContract, id.at, message);
        }
    }
}
