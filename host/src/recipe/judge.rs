//! What cannot be meant in a recipe, as far as it shows in itself.
//!
//! Decides which names may be, which must be there, and which files; sizes; and that nothing is said twice.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use toml::Spanned;

use super::{Assign, Machine, Recipe, Shared, UNITS, is_beyond, size};
use crate::descriptor::TRANSPORTS;
use crate::finding::quoted;
use crate::package::path;
use crate::property::{Named, Type};
use crate::suggest;

/// Disks of a SCSI controller.
const MOST_DISKS: usize = 15;
/// Characters of a name of files: a name in an archive has 100, and `-disk15.vmdk` is behind it.
const MAX_ID: usize = 80;

/// Judges it.
pub(super) fn judge(recipe: &Recipe, directory: &Path, find: &mut dyn FnMut(usize, String)) {
    Judging { recipe, directory, find }.all();
}

struct Judging<'a> {
    recipe: &'a Recipe,
    directory: &'a Path,
    find: &'a mut dyn FnMut(usize, String),
}

impl Judging<'_> {
    fn all(&mut self) {
        let recipe = self.recipe;
        self.id(&recipe.name, "the name");
        if recipe.machines.is_empty() {
            (self.find)(recipe.name.span().start, "there are no machines; add [machines.NAME]".to_owned());
        }
        for id in recipe.configurations.keys() {
            self.id(id, "the deployment option");
        }
        let mut defaults: Vec<_> = recipe.configurations.iter().filter(|(_, it)| it.default).collect();
        defaults.sort_by_key(|(id, _)| id.span().start);
        for (id, _) in defaults.iter().skip(1) {
            let message = format!("{} is a second default; one of them is it", quoted(id.get_ref()));
            (self.find)(id.span().start, message);
        }
        self.ids();
        self.properties(&recipe.properties);
        for (id, group) in &recipe.groups {
            self.properties(&group.properties);
            let has_machines = recipe
                .machines
                .values()
                .any(|it| it.group.as_ref().is_some_and(|it| it.get_ref() == id.get_ref()));
            if !has_machines {
                let id_quoted = quoted(id.get_ref());
                let message = format!(
                    "no machine is in the group {id_quoted}; write group = {:?} in one",
                    id.get_ref()
                );
                (self.find)(id.span().start, message);
            }
        }
        for machine in recipe.machines.values() {
            self.machine(machine);
        }
    }

    /// Machines, groups and the whole are all known by their ids.
    fn ids(&mut self) {
        let recipe = self.recipe;
        let mut seen: HashMap<&str, &str> = HashMap::new();
        if recipe.is_collection() {
            seen.insert(recipe.name.get_ref(), "the whole appliance");
        }
        let groups = recipe.groups.keys().map(|id| (id, "the group", "a group"));
        let machines = recipe.machines.keys().map(|id| (id, "the machine", "a machine"));
        for (id, what, whose) in groups.chain(machines) {
            self.id(id, what);
            if let Some(other) = seen.insert(id.get_ref(), whose) {
                (self.find)(id.span().start, format!("{what} has the name of {other}; rename one"));
            }
        }
    }

    fn machine(&mut self, machine: &Machine) {
        let recipe = self.recipe;
        self.memory(&machine.memory);
        for disk in machine.disks.iter().filter(|it| size(it.get_ref()).is_none()) {
            if disk.get_ref().trim().is_empty() {
                let message = "an image or a size is wanted here: \"disk.qcow2\", \"4 GiB\"";
                (self.find)(disk.span().start, message.to_owned());
                continue;
            }
            if is_beyond(disk.get_ref()) {
                (self.find)(disk.span().start, "no disk is so large; write a smaller size".to_owned());
                continue;
            }
            let is_number = disk.get_ref().trim_start().starts_with(|it: char| it.is_ascii_digit());
            if is_number && !self.directory.join(disk.get_ref()).exists() {
                let shown = quoted(disk.get_ref());
                let message =
                    format!("{shown} is no size, and no image is there; sizes are whole numbers of {UNITS}");
                (self.find)(disk.span().start, message);
                continue;
            }
            self.there(Path::new(disk.get_ref()), disk.span().start, "the image");
        }
        if let Some(disk) = machine.disks.get(MOST_DISKS) {
            let message =
                format!("{MOST_DISKS} disks are the most that a controller has room for; take this one away");
            (self.find)(disk.span().start, message);
        }
        for transport in &machine.transport {
            let name = transport.get_ref();
            if !TRANSPORTS.contains(&name.as_str()) && !name.contains(':') {
                let meant = suggest::meant(name, TRANSPORTS);
                (self.find)(
                    transport.span().start,
                    format!("there is no transport {}; {meant}", quoted(name)),
                );
            }
        }
        for network in machine.networks.iter().filter(|it| !recipe.networks.contains_key(it.get_ref())) {
            let known = recipe.networks.keys().map(String::as_str);
            self.unknown("network", "networks", network, known);
        }
        let known = recipe.groups.keys().map(|it| it.get_ref().as_str());
        for group in machine.group.iter().filter(|group| known.clone().all(|it| it != group.get_ref())) {
            self.unknown("group", "groups", group, known.clone());
        }
        for (path, what) in [(&machine.agent, "the agent's configuration"), (&machine.licence, "the licence")]
        {
            if let Some(path) = path {
                self.there(path.get_ref(), path.span().start, what);
            }
        }
        let start = machine.start.as_ref().map(|it| ("start", it.span().start));
        let stop = machine.stop.as_ref().map(|it| ("stop", it.span().start));
        for (key, at) in start.into_iter().chain(stop).filter(|_| !recipe.is_collection()) {
            // DSP0243, 9.10: a StartupSection is a collection's.
            let message = format!(
                "there is nobody to {key} this machine before or after, and OVF says it of collections alone; take `{key}` away"
            );
            (self.find)(at, message);
        }
        for (id, otherwise) in &machine.configurations {
            self.configuration(id);
            otherwise.memory.iter().for_each(|it| self.memory(it));
        }
    }

    fn properties(&mut self, properties: &BTreeMap<Spanned<String>, Shared>) {
        for (name, property) in properties {
            let text = name.get_ref();
            if text.is_empty() || text.contains(char::is_whitespace) || text.contains(char::is_control) {
                let message = "the name of a property has no blanks, and is not empty; rename it".to_owned();
                (self.find)(name.span().start, message);
            }
            if let (Some(_), Some(value)) = (&property.default, &property.value) {
                let message = format!(
                    "{} has a `default`, which may be changed, and a `value`, which may not; write one of them",
                    quoted(text)
                );
                (self.find)(value.span().start, message);
            }
            if let Some(kind) =
                property.kind.as_ref().filter(|it| Type::named(it.get_ref()) == Named::Unknown)
            {
                let meant = suggest::meant(kind.get_ref(), Type::NAMES.iter().copied());
                (self.find)(
                    kind.span().start,
                    format!("there is no type {}; {meant}", quoted(kind.get_ref())),
                );
            }
            if let Some(assign) = property.assign.as_ref().filter(|it| *it.get_ref() == Assign::Mac) {
                let message = format!(
                    "{} is of several machines, and the address of a network card of one; write it in that machine's `assign`",
                    quoted(text)
                );
                (self.find)(assign.span().start, message);
            }
            for id in property.configurations.keys() {
                self.configuration(id);
            }
        }
    }

    fn configuration(&mut self, id: &Spanned<String>) {
        let known = self.recipe.configurations.keys().map(|it| it.get_ref().as_str());
        if known.clone().all(|it| it != id.get_ref()) {
            self.unknown("deployment option", "configurations", id, known);
        }
    }

    fn unknown<'n>(
        &mut self,
        what: &str,
        table: &str,
        name: &Spanned<String>,
        known: impl Iterator<Item = &'n str> + Clone,
    ) {
        let meant = suggest::meant(name.get_ref(), known);
        let message = format!("there is no {what} {}; add [{table}.NAME]; {meant}", quoted(name.get_ref()));
        (self.find)(name.span().start, message);
    }

    fn memory(&mut self, memory: &Spanned<String>) {
        if is_beyond(memory.get_ref()) {
            let message = "no machine has so much memory; write a smaller size";
            (self.find)(memory.span().start, message.to_owned());
        } else if size(memory.get_ref()).is_none() {
            (self.find)(
                memory.span().start,
                format!("the memory is no size; write a whole number of {UNITS}: \"512 MiB\""),
            );
        }
    }

    fn there(&mut self, path: &Path, at: usize, what: &str) {
        if !self.directory.join(path).exists() {
            let path = quoted(&path.to_string_lossy());
            (self.find)(at, format!("{what} {path} is not there; paths begin at this file"));
        }
    }

    fn id(&mut self, id: &Spanned<String>, what: &str) {
        let text = id.get_ref();
        let is_plain = text.chars().all(|it| it.is_ascii_alphanumeric() || "._-".contains(it));
        let is_odd = text.starts_with(['.', '-']);
        if text.is_empty() || !is_plain || is_odd || path::inside(text).is_err() {
            let message = format!(
                "{what} {} names files as well; write letters, digits, `-`, `_` and `.`, a letter or digit first",
                quoted(text)
            );
            (self.find)(id.span().start, message);
        } else if text.len() > MAX_ID {
            let message =
                format!("{what} {} names files as well; write {MAX_ID} characters at most", quoted(text));
            (self.find)(id.span().start, message);
        }
    }
}
