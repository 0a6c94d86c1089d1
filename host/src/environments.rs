//! Every guest's environment: what its properties come to.
//!
//! Decides what of all that is given counts, which properties a guest sees, and what it sees of its siblings. What each property
//! comes to, and whether that can be, is for `values`: all of them are checked before there is any document.
//!
//! The rule: DSP0243, 9.5 and clause 11: a guest's own properties and those of its immediate parent, of which its own
//! override the ones of the same class, key and instance; one Entity for each sibling, with what that sibling sees.

#![forbid(unsafe_code)]

pub mod defaults;
mod size;
mod values;

use std::cell::RefCell;
use std::collections::hash_map::{Entry, HashMap};
use std::collections::{BTreeMap, HashSet};

use ovf_agent::environment::{MAX_DOCUMENT, Platform};

use crate::descriptor::{Descriptor, Kind, Product, Property, full_name};
use crate::document;
use crate::finding::{At, Code, Finding, quoted};
use crate::secret::Secret;
use crate::suggest;
use crate::xml::Source;
use values::{Making, own};

/// Where a value was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Which of several sources it is; what a later one says counts.
    pub source: usize,
    /// The file, or the option.
    pub file: String,
    /// The line of the file, or which of several such options.
    pub number: usize,
    /// Whether it is a line.
    pub is_line: bool,
}

impl Origin {
    /// What is found about it. A name is not shown: it may be part of a value that went astray.
    fn finding(&self, code: Code, message: &str) -> Finding {
        match self.is_line {
            true => Finding {
                file: self.file.clone(),
                at: Some(At { line: self.number, column: 1 }),
                code,
                message: message.to_owned(),
            },
            false => Finding::with(&self.file, code, format!("number {}: {message}", self.number)),
        }
    }
}

/// Where values were said of which nobody knows that any more: a deployment's were given by several commands.
const GIVEN: &str = "values given";

/// What whoever deploys decides.
#[derive(Debug, Default)]
pub struct Choice {
    /// The deployment option.
    pub configuration: Option<String>,
    /// Names and values of properties; a name may have an entity's id and a colon before it.
    pub properties: Vec<(String, Secret)>,
    /// Where each of them was said, in their order; where nobody knows any more, the last of several values counts.
    pub origins: Vec<Origin>,
    /// What this platform gives to properties that ask for it, by entity and place in the entity's list. What is given by
    /// name comes before it.
    pub assigned: BTreeMap<(usize, usize), String>,
    /// What the guests are told of their platform.
    pub platform: Platform,
}

/// The environments of a package.
#[derive(Debug)]
pub struct Environments<'a> {
    descriptor: &'a Descriptor,
    platform: Platform,
    /// Of each entity, its own properties.
    own: Vec<Vec<Value<'a>>>,
    /// What siblings see of each other, of those of one parent at a time.
    siblings: RefCell<(usize, HashMap<usize, String>)>,
}

#[derive(Debug)]
struct Value<'a> {
    product: &'a Product,
    property: &'a Property,
    name: String,
    value: String,
    /// Whether it is this whatever anybody decides who deploys.
    is_fixed: bool,
}

impl<'a> Environments<'a> {
    /// Makes them. What is wrong with the choice or with what it comes to is added to the findings, and then there are none.
    pub fn make(
        descriptor: &'a Descriptor,
        source: &Source,
        choice: Choice,
        findings: &mut Vec<Finding>,
    ) -> Option<Self> {
        let known = findings.len();
        let configuration = configuration(descriptor, choice.configuration.as_deref(), findings);
        let mut given = given(descriptor, &choice, findings);
        for (&place, value) in &choice.assigned {
            given.entry(place).or_insert((value, None));
        }
        let own = own(Making::new(descriptor, source, configuration, given, findings));
        (findings.len() == known).then(|| Self::of(descriptor, choice.platform, own))
    }

    fn of(descriptor: &'a Descriptor, platform: Platform, own: Vec<Vec<Value<'a>>>) -> Self {
        Self { descriptor, platform, own, siblings: RefCell::new((0, HashMap::new())) }
    }

    /// What an entity sees: the parent's properties, then its own.
    pub fn properties(&self, entity: usize) -> Vec<(&str, &str)> {
        let exact = |it: &Value<'a>| (&*it.product.class, &*it.property.key.value, &*it.product.instance);
        let own = &self.own[entity];
        let mine: HashSet<_> = own.iter().map(exact).collect();
        let parent = self.descriptor.entities[entity].parent.map_or(&[][..], |parent| &self.own[parent]);
        let inherited = parent.iter().filter(|it| !mine.contains(&exact(it)));
        inherited.chain(own).map(|it| (it.name.as_str(), it.value.as_str())).collect()
    }

    /// Writes the document of a virtual system in place of what `out` held. One text for a thousand documents with a thousand
    /// siblings each spares half a gigabyte of new pages.
    ///
    /// # Errors
    /// It would be larger than what the agent reads: each sibling adds to it, with all that their parent has.
    pub fn document(&self, system: usize, source: &Source, out: &mut String) -> Result<(), Finding> {
        let entity = &self.descriptor.entities[system];
        let large = || size::beyond(self.descriptor, system, "", source);
        let fits = |properties: &[(&str, &str)]| {
            properties.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= MAX_DOCUMENT
        };
        out.clear();
        document::begin(out, &entity.id.value, &self.platform);
        let properties = self.properties(system);
        if !fits(&properties) {
            return Err(large());
        }
        document::properties(out, 1, properties.into_iter());
        let mut contracts = Vec::new();
        let mut at = Some(system);
        while let Some(index) = at {
            contracts.extend(&self.descriptor.entities[index].contracts);
            at = self.descriptor.entities[index].parent;
        }
        for contract in contracts {
            out.push_str("  ");
            out.push_str(&contract.xml);
            out.push('\n');
        }
        if let Some(parent) = entity.parent {
            let (of, known) = &mut *self.siblings.borrow_mut();
            if *of != parent {
                (*of, *known) = (parent, HashMap::new());
            }
            for &sibling in self.descriptor.entities[parent].children.iter().filter(|&&it| it != system) {
                let seen = match known.entry(sibling) {
                    Entry::Occupied(seen) => seen.into_mut(),
                    Entry::Vacant(place) => {
                        let properties = self.properties(sibling);
                        if !fits(&properties) {
                            return Err(large());
                        }
                        let mut seen = String::new();
                        let id = &self.descriptor.entities[sibling].id.value;
                        document::entity(&mut seen, id, properties.into_iter());
                        place.insert(seen)
                    }
                };
                out.push_str(seen);
                if out.len() > MAX_DOCUMENT {
                    return Err(large());
                }
            }
        }
        document::end(out);
        if out.len() > MAX_DOCUMENT { Err(large()) } else { Ok(()) }
    }
}

fn configuration<'a>(
    descriptor: &'a Descriptor,
    wanted: Option<&str>,
    findings: &mut Vec<Finding>,
) -> Option<&'a str> {
    let Some(wanted) = wanted else { return descriptor.usual_configuration() };
    let ids = descriptor.configurations.iter().map(|it| it.id.value.as_str());
    let found = ids.clone().find(|it| *it == wanted);
    if found.is_none() {
        let meant = suggest::meant(wanted, ids);
        let message = format!("there is no deployment option {}; {meant}", quoted(wanted));
        findings.push(Finding::with("--configuration", Code::ConfigurationUnknown, message));
    }
    found
}

/// Properties by their names: the entities, and the places in their lists.
pub type Places = HashMap<String, Vec<(usize, usize)>>;

/// All properties, by the names that they can be given by: in the guest, and with the entity's id before it.
pub fn places(descriptor: &Descriptor) -> Places {
    let mut by_name = Places::new();
    for (index, entity) in descriptor.entities.iter().enumerate() {
        for (place, (product, property)) in descriptor.properties(index).enumerate() {
            let name = full_name(product, property);
            by_name.entry(format!("{}:{name}", entity.id.value)).or_default().push((index, place));
            by_name.entry(name).or_default().push((index, place));
        }
    }
    by_name
}

/// The only property of a name: its entity, and its place in the entity's list.
pub fn place(places: &Places, name: &str) -> Option<(usize, usize)> {
    match places.get(name).map(Vec::as_slice) {
        Some(&[place]) => Some(place),
        _ => None,
    }
}

/// What is given and where it was said, by entity and place of the property in it.
type Given<'a> = HashMap<(usize, usize), (&'a str, Option<&'a Origin>)>;

fn given<'a>(descriptor: &Descriptor, choice: &'a Choice, findings: &mut Vec<Finding>) -> Given<'a> {
    let by_name = places(descriptor);
    let mut all: Given<'a> = HashMap::new();
    for (number, (name, value)) in choice.properties.iter().enumerate() {
        let value = value.reveal();
        let origin = choice.origins.get(number);
        let mut find = |code, message: &str| {
            findings.push(match origin {
                Some(origin) => origin.finding(code, message),
                None => Finding::with(GIVEN, code, message),
            });
        };
        let place = match by_name.get(name).map(Vec::as_slice) {
            Some([place]) => *place,
            Some(several) => {
                let who: Vec<_> = several
                    .iter()
                    .take(4)
                    .map(|(entity, _)| quoted(&format!("{}:{name}", descriptor.entities[*entity].id.value)))
                    .collect();
                let message = format!(
                    "{} properties are called {}; write {}",
                    several.len(),
                    quoted(name),
                    who.join(" or ")
                );
                find(Code::PropertyUnknown, &message);
                continue;
            }
            None => {
                let mut names: Vec<_> =
                    by_name.keys().map(String::as_str).filter(|it| !it.contains(':')).collect();
                names.sort_unstable();
                // The name that was given may be the second line of a key's PEM.
                let meant = suggest::meant(name, names);
                find(Code::PropertyUnknown, &format!("this names no property of the package; {meant}"));
                continue;
            }
        };
        let (_, property) =
            descriptor.properties(place.0).nth(place.1).expect("a place in the entity's list");
        if !property.is_configurable {
            let message = format!(
                "{} is not ovf:userConfigurable: its value is the appliance builder's; leave it out, or change the descriptor",
                quoted(name)
            );
            find(Code::PropertyFixed, &message);
            continue;
        }
        if document::is_forbidden(value) {
            let message = format!(
                "the value for {} has a character that XML forbids; encode it as base64",
                quoted(name)
            );
            find(Code::PropertyValue, &message);
            continue;
        }
        let before = all.insert(place, (value, origin)).and_then(|(_, before)| before);
        if let Some((before, now)) = before.zip(origin).filter(|(before, now)| before.source == now.source) {
            let first = if now.is_line && before.is_line {
                format!(", first on line {}", before.number)
            } else {
                String::new()
            };
            find(Code::PropertyTwice, &format!("{} is given twice{first}; give it once", quoted(name)));
        }
    }
    all
}

/// The system of this id, or the only one.
///
/// # Errors
/// There is none, or it has to be said which.
pub fn system(descriptor: &Descriptor, id: Option<&str>) -> Result<Option<usize>, String> {
    let systems: Vec<_> = descriptor.systems().collect();
    let ids = systems.iter().map(|&it| descriptor.entities[it].id.value.as_str());
    match id {
        Some(id) => match systems.iter().find(|&&it| descriptor.entities[it].id.value == id) {
            Some(&found) => Ok(Some(found)),
            None if descriptor.entities.iter().any(|it| it.id.value == id && it.kind == Kind::Collection) => {
                Err(format!("{} is a collection; an environment is of one virtual system", quoted(id)))
            }
            None => Err(format!("there is no virtual system {}; {}", quoted(id), suggest::meant(id, ids))),
        },
        None => Ok(systems.first().copied().filter(|_| systems.len() == 1)),
    }
}
