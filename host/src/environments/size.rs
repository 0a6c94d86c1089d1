//! How large environments are, and whether guestinfo can carry them.
//!
//! Decides that without making the documents, which of n guests have n entities each: what guests have in common is counted
//! once.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use ovf_agent::environment::MAX_DOCUMENT;

use super::{Environments, Value};
use crate::descriptor::{Descriptor, Entity};
use crate::document;
use crate::finding::{Code, Few, Finding, quoted};
use crate::xml::Source;

/// What guestinfo carries (open-vm-tools: 64 KiB a message).
const GUESTINFO: usize = 64 << 10;
/// Its name among the transports.
const NAME: &str = "com.vmware.guestInfo";

/// What all guests of a collection have in common.
struct Common<'e> {
    /// Bytes of all children as siblings.
    entities: usize,
    /// Bytes of a property in a guest's own section, by class, key and instance.
    properties: HashMap<(&'e str, &'e str, &'e str), usize>,
    /// Of all of them.
    total: usize,
}

/// Those of a deployment option that are too large already as the descriptor has them, but for systems that were found before.
pub(super) fn check(
    environments: &Environments<'_>,
    configuration: Option<&str>,
    source: &Source,
    found: &mut HashSet<usize>,
    findings: &mut Few<'_>,
) {
    let descriptor = environments.descriptor;
    let systems: Vec<usize> = descriptor.systems().collect();
    for (&system, length) in systems.iter().zip(environments.lengths(&systems)) {
        if length <= GUESTINFO || found.contains(&system) {
            continue;
        }
        let entity = &descriptor.entities[system];
        let option = configuration.map_or(String::new(), |it| format!(" (deployment option {})", quoted(it)));
        let when = format!(" with its defaults alone{option}");
        let finding = match length > MAX_DOCUMENT {
            true => Some(beyond(descriptor, system, &when, source)),
            false => too_large(entity, &format!("{length} bytes{when}"), source),
        };
        if let Some(finding) = finding {
            found.insert(system);
            findings.push(finding);
        }
    }
}

/// What no guest reads, however it comes to it.
pub(super) fn beyond(descriptor: &Descriptor, system: usize, when: &str, source: &Source) -> Finding {
    let entity = &descriptor.entities[system];
    let remedy = match entity.parent {
        Some(_) => "put fewer machines and properties into one collection",
        None => "shorten its values",
    };
    let message = format!(
        "the environment of {} would have more than {MAX_DOCUMENT} bytes{when}, which is the most that is read; {remedy}",
        quoted(&entity.id.value)
    );
    source.finding(Code::TooLarge, entity.id.at, message)
}

/// Where the transports stand, if guestinfo is one of them.
fn at_guestinfo(entity: &Entity) -> Option<usize> {
    entity.hardware.iter().find(|it| it.transports.iter().any(|it| it == NAME)).map(|it| it.at)
}

fn too_large(entity: &Entity, bytes: &str, source: &Source) -> Option<Finding> {
    let at = at_guestinfo(entity)?;
    let is_alone = entity.hardware.iter().flat_map(|it| &it.transports).all(|it| it == NAME);
    let remedy = if is_alone { "write iso instead" } else { "take it out of ovf:transport" };
    let id = quoted(&entity.id.value);
    let message = format!("the environment of {id} has {bytes}, and {NAME} carries {GUESTINFO}; {remedy}");
    Some(source.finding(Code::EnvironmentSize, at, message))
}

impl Environments<'_> {
    /// A document that one of its guest's transports cannot carry.
    pub fn too_large(&self, system: usize, document: &str, source: &Source) -> Option<Finding> {
        let bytes = format!("{} bytes", document.len());
        let entity = &self.descriptor.entities[system];
        too_large(entity, &bytes, source).filter(|_| document.len() > GUESTINFO)
    }

    /// Bytes of these systems' documents.
    fn lengths(&self, systems: &[usize]) -> Vec<usize> {
        let entities = &self.descriptor.entities;
        let mut contracts = vec![0; entities.len()];
        for (index, entity) in entities.iter().enumerate() {
            let own: usize = entity.contracts.iter().map(|it| it.xml.len() + "  \n".len()).sum();
            contracts[index] = own + entity.parent.map_or(0, |parent| contracts[parent]);
        }
        let mut commons: HashMap<usize, Common<'_>> = HashMap::new();
        let one = |system: &usize| {
            let entity = &entities[*system];
            let parent =
                entity.parent.map(|parent| &*commons.entry(parent).or_insert_with(|| self.common(parent)));
            let (count, bytes) = self.section(*system, parent);
            let mut frame = String::new();
            document::begin(&mut frame, &entity.id.value, &self.platform);
            document::properties(&mut frame, 1, std::iter::empty());
            document::end(&mut frame);
            let siblings = parent.map_or(0, |it| it.entities - self.sibling(*system, (count, bytes)));
            frame.len() + bytes + contracts[*system] + siblings
        };
        systems.iter().map(one).collect()
    }

    fn common(&self, parent: usize) -> Common<'_> {
        let lines = self.own[parent].iter().map(|it| (exact(it), line(it)));
        let properties: HashMap<_, _> = lines.collect();
        let total = self.own[parent].iter().map(line).sum();
        let mut common = Common { entities: 0, properties, total };
        let children = &self.descriptor.entities[parent].children;
        common.entities = children.iter().map(|&it| self.sibling(it, self.section(it, Some(&common)))).sum();
        common
    }

    /// How many properties an entity sees, and their bytes in its own section.
    fn section(&self, entity: usize, parent: Option<&Common<'_>>) -> (usize, usize) {
        let own = &self.own[entity];
        let bytes: usize = own.iter().map(line).sum();
        let Some(parent) = parent else { return (own.len(), bytes) };
        let mine: HashSet<_> = own.iter().map(exact).collect();
        let hidden: Vec<usize> = mine.iter().filter_map(|it| parent.properties.get(it).copied()).collect();
        (
            own.len() + parent.properties.len() - hidden.len(),
            bytes + parent.total - hidden.iter().sum::<usize>(),
        )
    }

    /// Bytes of an entity as a sibling: its lines are one level deeper.
    fn sibling(&self, entity: usize, (count, bytes): (usize, usize)) -> usize {
        let mut frame = String::new();
        document::entity(&mut frame, &self.descriptor.entities[entity].id.value, std::iter::empty());
        frame.len() + bytes + count * "  ".len()
    }
}

fn exact<'e>(value: &'e Value<'_>) -> (&'e str, &'e str, &'e str) {
    (&value.product.class, &value.property.key.value, &value.product.instance)
}

/// Bytes of a property in a guest's own section.
fn line(value: &Value<'_>) -> usize {
    document::line(2, &value.name, &value.value).len()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ovf_agent::environment::Platform;

    use super::super::{Choice, Environments};
    use crate::descriptor::Descriptor;
    use crate::xml::Source;

    /// Whatever a descriptor has in it that its guests are told.
    #[test]
    fn what_is_counted_is_what_is_written() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let mut counted = 0;
        for name in ["a-whole-appliance.ovf", "properties.ovf", "shop.ovf", "sections.ovf"] {
            let bytes = std::fs::read(fixtures.join(name)).expect(name);
            let source = Source::new(name, bytes).expect(name);
            let descriptor = Descriptor::read(&source, &mut Vec::new()).expect(name);
            let choice = Choice { platform: Platform::default(), ..Choice::default() };
            let Some(environments) = Environments::make(&descriptor, &source, choice, &mut Vec::new()) else {
                continue;
            };
            let systems: Vec<_> = descriptor.systems().collect();
            for (system, length) in systems.iter().zip(environments.lengths(&systems)) {
                let mut document = String::new();
                environments.document(*system, &source, &mut document).expect("not too large");
                assert_eq!(length, document.len(), "{name}");
                counted += 1;
            }
        }
        assert!(counted > 3, "{counted}");
    }
}
