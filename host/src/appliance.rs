//! What an appliance declares, beside what the descriptor offers it.
//!
//! Decides which properties nobody reads, which parameters nothing feeds, and where the two disagree on types, qualifiers and
//! secrecy: what the descriptor lets through, the guest must take, or it is refused at the first boot and not before. What an
//! appliance declares is asked of its own agent (`declared`); a parameter that it calls `Required.` in a Description is required.

#![forbid(unsafe_code)]

mod compare;
mod declared;
mod empty;
mod refused;
mod tries;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

pub use declared::{Declared, Read};

use crate::descriptor::{Descriptor, Property, full_name};
use crate::environments::defaults;
use crate::finding::{Code, Few, Finding, quoted};
use crate::macros::{Found, Names};
use crate::property::{Piece, pieces};
use crate::suggest;
use crate::xml::Source;

/// An appliance: the virtual system that it is, or each that is not named, and where its configuration is.
#[derive(Debug, Clone)]
pub struct Appliance {
    /// The virtual system.
    pub id: Option<String>,
    /// A directory with `agent.toml`, or a whole image.
    pub directory: PathBuf,
}

/// The place of a property: the entity, and where in its list.
type Place = (usize, usize);
/// What an entity sees, by name.
type Visible<'a> = BTreeMap<String, (Place, &'a Property)>;

/// Compares a descriptor with its appliances. What is found in them, and not in the package, is answered.
pub fn check(
    descriptor: &Descriptor,
    source: &Source,
    appliances: &[Appliance],
    program: &Path,
    findings: &mut Vec<Finding>,
) -> Vec<Finding> {
    let mut elsewhere = Vec::new();
    let mut comparing = Comparing {
        descriptor,
        source,
        findings: Few::behind(findings),
        visible: HashMap::new(),
        names: HashMap::new(),
        tries: HashMap::new(),
        seen: HashSet::new(),
        read: HashSet::new(),
    };
    let environments = match appliances {
        [] => Vec::new(),
        _ => defaults::each(descriptor, source).collect(),
    };
    let named: HashSet<&str> = appliances.iter().filter_map(|it| it.id.as_deref()).collect();
    let id = |system: usize| descriptor.entities[system].id.value.as_str();
    for Appliance { id: wanted, directory } in appliances {
        let is_meant =
            |&it: &usize| wanted.as_deref().map_or(!named.contains(id(it)), |wanted| id(it) == wanted);
        let systems: Vec<_> = descriptor.systems().filter(is_meant).collect();
        let shown = directory.display().to_string();
        if let (Some(wanted), []) = (wanted, &systems[..]) {
            let meant = suggest::meant(wanted, descriptor.systems().map(id).collect::<Vec<_>>());
            let message = format!("there is no virtual system {}; {meant}", quoted(wanted));
            elsewhere.push(Finding::with(&shown, Code::AgentUnknownMachine, message));
            continue;
        }
        let declared = match Declared::ask(directory, program) {
            Ok(declared) => declared,
            Err(found) => {
                elsewhere.extend(found);
                continue;
            }
        };
        let Some(parameters) = declared.parameters() else {
            let message = "what `ovf-agent schema --ovf` prints is not understood; is it another program?";
            elsewhere.push(Finding::with(&shown, Code::AgentUnusable, message));
            continue;
        };
        for system in systems {
            comparing.system(system, &parameters, &declared.reads);
            comparing.empty(system, &parameters, &environments);
            comparing.tried(system, (directory, program), &parameters);
            comparing.refused(system, (directory, program), &environments);
        }
    }
    if !appliances.is_empty() {
        comparing.macros();
        comparing.unread();
    }
    elsewhere
}

struct Comparing<'a, 'b> {
    descriptor: &'a Descriptor,
    source: &'b Source,
    findings: Few<'b>,
    visible: HashMap<usize, Visible<'a>>,
    /// What the macros of an entity's children mean.
    names: HashMap<usize, Names<'a>>,
    /// What an agent has refused of documents that it was given.
    tries: HashMap<(PathBuf, String), BTreeMap<String, String>>,
    /// What the guests see whose appliances are at hand.
    seen: HashSet<Place>,
    /// What anybody reads.
    read: HashSet<Place>,
}

impl<'a> Comparing<'a, '_> {
    /// What an entity sees: where it is declared.
    fn visible(&mut self, entity: usize) -> &Visible<'a> {
        let descriptor = self.descriptor;
        self.visible.entry(entity).or_insert_with(|| {
            let mut all = BTreeMap::new();
            for entity in descriptor.entities[entity].parent.into_iter().chain([entity]) {
                for (place, (product, property)) in descriptor.properties(entity).enumerate() {
                    all.insert(full_name(product, property), ((entity, place), property));
                }
            }
            all
        })
    }

    /// What macros mean in the children of an entity.
    fn names(&mut self, entity: usize) -> &Names<'a> {
        let descriptor = self.descriptor;
        self.names.entry(entity).or_insert_with(|| Names::of(descriptor, entity))
    }

    fn find(&mut self, code: Code, at: usize, message: String) {
        self.findings.push(self.source.finding(code, at, message));
    }

    /// A virtual system and its appliance.
    fn system(&mut self, system: usize, parameters: &BTreeMap<String, Property>, reads: &[Read]) {
        let visible = self.visible(system).clone();
        let id = &self.descriptor.entities[system].id;
        for (name, wanted) in parameters {
            match visible.get(name) {
                Some((place, property)) => {
                    self.read.insert(*place);
                    compare::both(name, wanted, property, self.source, &mut self.findings);
                }
                None => {
                    let names = visible.keys().map(String::as_str);
                    self.findings.push(compare::unfed(name, wanted, id, names, self.source));
                }
            }
        }
        let (own, of_siblings): (Vec<_>, Vec<_>) = reads.iter().partition(|it| it.entity.is_none());
        for Read { key, parameter, .. } in &own {
            let Some((place, property)) = visible.get(key) else { continue };
            self.read.insert(*place);
            if let Some(parameter) = parameter
                && !own.iter().any(|it| it.key == *key && it.used)
            {
                let message = format!(
                    "nothing of the appliance uses the parameter {}, which {} feeds: no template, hook, unit or gate; remove both, \
                     unless a program asks the agent for it",
                    quoted(parameter),
                    quoted(key)
                );
                self.find(Code::AgentUnused, property.key.at, message);
            }
        }
        for read in of_siblings {
            self.sibling(system, read);
        }
        self.seen.extend(visible.into_values().map(|(place, _)| place));
    }

    /// A property of a sibling's, or of all of them.
    fn sibling(&mut self, system: usize, Read { key, entity, parameter, .. }: &Read) {
        let descriptor = self.descriptor;
        let id = |entity: usize| descriptor.entities[entity].id.value.as_str();
        let parent = descriptor.entities[system].parent;
        let children = parent.map_or(&[][..], |parent| &descriptor.entities[parent].children);
        let siblings = children.iter().copied().filter(|&it| it != system);
        let wanted = entity.as_deref().unwrap_or("*");
        // One image may be several machines, each of which may be asked for by the others.
        if wanted == id(system) {
            return;
        }
        let meant: Vec<usize> = siblings.clone().filter(|&it| wanted == "*" || id(it) == wanted).collect();
        let mut is_there = false;
        for &sibling in &meant {
            if let Some((place, _)) = self.visible(sibling).get(key).copied() {
                self.read.insert(place);
                is_there = true;
            }
        }
        if is_there || (wanted == "*" && meant.is_empty()) {
            return;
        }
        let whose = match parameter {
            Some(parameter) => format!("the parameter {} of {}", quoted(parameter), quoted(id(system))),
            None => format!("a gate of {}", quoted(id(system))),
        };
        let message = match &meant[..] {
            [] => {
                let meant = suggest::meant(wanted, siblings.map(id).collect::<Vec<_>>());
                format!("{whose} asks for {}, which is no sibling of its machine; {meant}", quoted(wanted))
            }
            all => {
                let names: Vec<String> = self.visible(all[0]).keys().cloned().collect();
                let who = if wanted == "*" { "any sibling".to_owned() } else { quoted(wanted) };
                let meant = suggest::meant(key, names.iter().map(String::as_str));
                format!("{whose} asks {who} for {}, which is no property of it; {meant}", quoted(key))
            }
        };
        self.find(Code::AgentUnfed, descriptor.entities[system].id.at, message);
    }

    /// What others take in is read, whoever reads those.
    fn macros(&mut self) {
        let descriptor = self.descriptor;
        for (index, entity) in descriptor.entities.iter().enumerate() {
            let Some(parent) = entity.parent else { continue };
            for (_, property) in descriptor.properties(index) {
                let values = property.values.iter().map(|(_, value)| value).chain(&property.default);
                for piece in values.flat_map(|value| pieces(&value.value)) {
                    if let Piece::Macro(name) = piece
                        && let Found::One(place) = self.names(parent).find(name)
                    {
                        self.read.insert((parent, place));
                    }
                }
            }
        }
    }

    fn unread(&mut self) {
        let unread: Vec<Place> = self.seen.difference(&self.read).copied().collect();
        for (entity, place) in unread {
            if self.findings.is_full() {
                break;
            }
            let (product, property) =
                self.descriptor.properties(entity).nth(place).expect("a place in the list");
            let message = format!(
                "no parameter reads {}; declare one with this key, or remove the property",
                quoted(&full_name(product, property))
            );
            self.find(Code::AgentUnread, property.key.at, message);
        }
    }
}
