//! From elements to an [`Environment`]: what DSP8027 1.0.0 says, and what people write instead.
//!
//! Decides which elements and attributes are ours. An element is ours if it is in the environment's namespace or in
//! none; an attribute likewise, and the namespaced one wins (schema: `attributeFormDefault="qualified"`). Whatever
//! else stands among our elements is somebody else's and passed over, except directly below `Environment`, where it
//! is kept as a [`Section`]. Does not check well-formedness (`xml`).
//!
//! One stack of places runs beside the stack of open elements, so that nothing here recurses.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use zeroize::Zeroizing;

use super::characters::{attribute_value, first_not_blank, push_text};
use super::error::{ErrorKind, Fault, Limit, Lines, shown};
use super::namespaces::Namespace;
use super::prolog::Document;
use super::tag::Attribute;
use super::warnings::{Habit, Warnings};
use super::xml::{Element, Text, Token, Xml};
use super::{
    Adapter, Entity, Environment, MAX_ADAPTERS, MAX_DOCUMENT, MAX_ENTITIES, MAX_PROPERTIES, MAX_SECTIONS,
    NAMESPACE, Platform, Properties, Section, Value,
};

/// Reads a document to its end.
pub(super) fn read(document: Document<'_>) -> Result<(Environment, Warnings), Fault> {
    let text = document.text;
    let mut reader = Reader {
        text,
        lines: Lines::new(text),
        xml: Xml::new(document),
        places: Vec::new(),
        environment: Environment::default(),
        own: Owner::default(),
        sibling: None,
        siblings: HashMap::new(),
        properties: 0,
        entities: 0,
        inherited: 0,
    };
    loop {
        match reader.xml.token()? {
            Token::Open(element) => {
                let place = reader.enter(&element)?;
                reader.places.push(place);
            }
            Token::Close { end } => {
                if let Some(place) = reader.places.pop() {
                    reader.leave(place, end)?;
                }
            }
            Token::Text(at, text) => reader.text(at, &text),
            Token::End => break,
        }
    }
    let Owner { platform, properties, .. } = reader.own;
    Ok((Environment { platform, properties, ..reader.environment }, reader.xml.warnings))
}

/// What an open element is to us.
enum Place<'a> {
    Environment,
    Entity,
    Platform,
    /// Where it begins, and its text so far.
    Field(Field, usize, String),
    Properties,
    Adapters,
    Section(Element<'a>),
    /// A property or an adapter, which have no content, or not ours.
    Other,
}

/// A child of the platform section.
#[derive(Clone, Copy, Debug)]
enum Field {
    Kind,
    Version,
    Vendor,
    Locale,
    Timezone,
}

impl Field {
    /// By element name. The prose of ISO/IEC 17203 has `TimeZone`, the schema `Timezone`.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Kind" => Self::Kind,
            "Version" => Self::Version,
            "Vendor" => Self::Vendor,
            "Locale" => Self::Locale,
            "Timezone" | "TimeZone" => Self::Timezone,
            _ => return None,
        })
    }
}

/// Whose sections these are: the guest's, or one sibling's.
#[derive(Default)]
struct Owner {
    at: usize,
    id: String,
    platform: Platform,
    properties: Properties,
    has_property_section: bool,
}

struct Reader<'a> {
    text: &'a str,
    /// For the lines of sections, which come in order.
    lines: Lines<'a>,
    xml: Xml<'a>,
    places: Vec<Place<'a>>,
    /// Its platform and properties are in `own` until the end.
    environment: Environment,
    own: Owner,
    sibling: Option<Owner>,
    siblings: HashMap<String, usize>,
    /// Counted whether they are kept or not, as the entities.
    properties: usize,
    entities: usize,
    /// Bytes that were added to sections.
    inherited: usize,
}

impl<'a> Reader<'a> {
    fn enter(&mut self, element: &Element<'a>) -> Result<Place<'a>, Fault> {
        let name = element.local;
        let Some(parent) = self.places.last() else { return self.root(element) };
        let ours = is_ours(element.namespace);
        let place = match parent {
            Place::Environment if ours && name == "Entity" => self.entity(element)?,
            Place::Environment | Place::Entity if ours && name == "PropertySection" => {
                self.property_section(element.at);
                Place::Properties
            }
            Place::Environment | Place::Entity if ours && name == "PlatformSection" => Place::Platform,
            Place::Environment
                if element.namespace == Namespace::VMWARE && name == "EthernetAdapterSection" =>
            {
                Place::Adapters
            }
            Place::Environment | Place::Entity if ours && name == "Property" => {
                self.xml.warnings.habit(Habit::StrayProperty, element.at, || {
                    "a `Property` outside of a `PropertySection` was ignored; move it into one".to_owned()
                });
                Place::Other
            }
            Place::Environment => return Ok(Place::Section(*element)),
            Place::Platform if ours => match Field::named(name) {
                Some(field) => Place::Field(field, element.at, String::new()),
                None => return Ok(Place::Other),
            },
            Place::Properties if ours && name == "Property" => {
                self.property(element.at)?;
                Place::Other
            }
            Place::Adapters if element.namespace == Namespace::VMWARE && name == "Adapter" => {
                self.adapter(element.at)?;
                Place::Other
            }
            _ => return Ok(Place::Other),
        };
        self.note_namespace(element);
        Ok(place)
    }

    /// Called for elements that were taken for ours.
    fn note_namespace(&mut self, element: &Element<'_>) {
        if element.namespace == Namespace::NONE {
            let name = element.local;
            self.xml.warnings.habit(Habit::BareElement, element.at, || {
                format!("`{name}` has no namespace; taken for one of `{NAMESPACE}`")
            });
        }
    }

    fn root(&mut self, element: &Element<'a>) -> Result<Place<'a>, Fault> {
        if element.local != "Environment" {
            return Fault::at(element.at, ErrorKind::NotEnvironment(shown(element.name)));
        }
        // Another namespace is another kind of document, or a misspelt one of which no attribute would be found:
        // either way a guest that silently gets no properties is the worse answer.
        if !is_ours(element.namespace) {
            let uri = shown(self.xml.namespaces.uri(element.namespace));
            return Fault::at(element.at, ErrorKind::ForeignEnvironment(uri));
        }
        self.note_namespace(element);
        let Xml { attributes, warnings, .. } = &mut self.xml;
        if let Some(id) = find(attributes, warnings, Namespace::ENVIRONMENT, "id") {
            self.environment.id = attribute_value(id.raw).into_owned();
        }
        Ok(Place::Environment)
    }

    fn entity(&mut self, element: &Element<'a>) -> Result<Place<'a>, Fault> {
        self.entities += 1;
        if self.entities > MAX_ENTITIES {
            return Fault::at(element.at, ErrorKind::Limit(Limit::Entities));
        }
        let Xml { attributes, warnings, .. } = &mut self.xml;
        let id = match find(attributes, warnings, Namespace::ENVIRONMENT, "id") {
            Some(id) => attribute_value(id.raw).into_owned(),
            None => {
                warnings.add(element.at, || {
                    "an entity has no attribute `id`; its id is taken as empty".to_owned()
                });
                String::new()
            }
        };
        self.sibling = Some(Owner { at: element.at, id, ..Owner::default() });
        Ok(Place::Entity)
    }

    fn property_section(&mut self, at: usize) {
        let owner = self.sibling.as_mut().unwrap_or(&mut self.own);
        if std::mem::replace(&mut owner.has_property_section, true) {
            self.xml.warnings.add(at, || "another `PropertySection`; merged with the one before".to_owned());
        }
    }

    fn property(&mut self, at: usize) -> Result<(), Fault> {
        self.properties += 1;
        if self.properties > MAX_PROPERTIES {
            return Fault::at(at, ErrorKind::Limit(Limit::Properties));
        }
        let Xml { attributes, warnings, namespaces, .. } = &mut self.xml;
        let key = find(attributes, warnings, Namespace::ENVIRONMENT, "key").or_else(|| {
            let name = find(attributes, warnings, Namespace::ENVIRONMENT, "name")?;
            warnings.habit(Habit::NameForKey, name.at, || {
                format!("a property has `{}` instead of `key`; taken for its key", shown(name.name))
            });
            Some(name)
        });
        let value = find(attributes, warnings, Namespace::ENVIRONMENT, "value");
        let (key, value) = match (key, value) {
            (Some(key), Some(value)) => (attribute_value(key.raw), value),
            // Not the same as an empty value: the sender says nothing, so nothing may be made of it.
            (Some(key), None) => {
                return Fault::at(at, ErrorKind::MissingValue(shown(&attribute_value(key.raw))));
            }
            (None, value) => {
                let Some(foreign) = attributes.iter().find(|it| {
                    matches!(it.local, "key" | "value")
                        && !matches!(
                            it.namespace,
                            Namespace::NONE | Namespace::ENVIRONMENT | Namespace::ASSUMED
                        )
                }) else {
                    return Fault::at(at, ErrorKind::MissingKey);
                };
                // Our value with somebody else's key is an extension of theirs (any attribute is allowed here). If
                // neither is ours, the author has misspelt the namespace, and every property would be lost.
                if value.is_none() {
                    let uri = shown(namespaces.uri(foreign.namespace));
                    return Fault::at(foreign.at, ErrorKind::ForeignProperty(uri));
                }
                let name = foreign.name;
                warnings.add(at, || {
                    format!("a property has `{}` of another namespace as key; ignored", shown(name))
                });
                return Ok(());
            }
        };
        let value = Value::from(attribute_value(value.raw).into_owned());
        let owner = self.sibling.as_mut().unwrap_or(&mut self.own);
        if owner.properties.insert(&key, value) {
            warnings.add(at, || format!("property `{}` is given again; the last one counts", shown(&key)));
        }
        Ok(())
    }

    fn adapter(&mut self, at: usize) -> Result<(), Fault> {
        if self.environment.adapters.len() == MAX_ADAPTERS {
            return Fault::at(at, ErrorKind::Limit(Limit::Adapters));
        }
        let Xml { attributes, warnings, .. } = &mut self.xml;
        let mut text = |name| {
            find(attributes, warnings, Namespace::VMWARE, name).map(|it| attribute_value(it.raw).into_owned())
        };
        let (mac, network, unit) = (text("mac"), text("network"), text("unitNumber"));
        if mac.is_none() {
            warnings.add(at, || "an adapter has no attribute `mac`; taken as empty".to_owned());
        }
        let number = unit.as_ref().and_then(|it| it.trim().parse().ok());
        if unit.is_some() && number.is_none() {
            warnings.add(at, || "the unit number of an adapter is not a number; ignored".to_owned());
        }
        let (mac, network) = (mac.unwrap_or_default(), network.unwrap_or_default());
        self.environment.adapters.push(Adapter { mac, network, unit: number });
        Ok(())
    }

    fn text(&mut self, at: usize, text: &Text<'_>) {
        let section = match self.places.last_mut() {
            Some(Place::Field(_, _, content)) => {
                match text {
                    Text::Plain(text) | Text::Cdata(text) => push_text(text, content),
                    Text::Reference(character) => content.push(*character),
                }
                return;
            }
            Some(Place::Environment) => "Environment",
            Some(Place::Entity) => "Entity",
            Some(Place::Platform) => "PlatformSection",
            Some(Place::Properties) => "PropertySection",
            _ => return,
        };
        // What a template left there, most likely.
        let offset = if let Text::Plain(text) = text { first_not_blank(text) } else { Some(0) };
        if let Some(offset) = offset {
            let message = || format!("text directly in `{section}` was ignored; properties are elements");
            self.xml.warnings.habit(Habit::Text, at + offset, message);
        }
    }

    fn leave(&mut self, place: Place<'a>, end: usize) -> Result<(), Fault> {
        match place {
            Place::Field(field, at, content) => {
                self.field(field, at, content.trim_matches([' ', '\t', '\r', '\n']));
            }
            Place::Entity => self.sibling_complete(),
            Place::Section(element) => self.section(&element, end)?,
            _ => {}
        }
        Ok(())
    }

    fn field(&mut self, field: Field, at: usize, content: &str) {
        let platform = &mut self.sibling.as_mut().unwrap_or(&mut self.own).platform;
        let warnings = &mut self.xml.warnings;
        let slot = match field {
            Field::Kind => &mut platform.kind,
            Field::Version => &mut platform.version,
            Field::Vendor => &mut platform.vendor,
            Field::Locale => &mut platform.locale,
            Field::Timezone => {
                platform.timezone = content.parse().ok();
                if platform.timezone.is_none() {
                    warnings.add(at, || "`Timezone` is not a number of minutes; ignored".to_owned());
                }
                return;
            }
        };
        if slot.replace(content.to_owned()).is_some() {
            warnings.add(at, || format!("`{field:?}` is given again; the last one counts"));
        }
    }

    fn sibling_complete(&mut self) {
        let Some(Owner { at, id, platform, properties, .. }) = self.sibling.take() else { return };
        let entities = &mut self.environment.entities;
        if let Some(index) = self.siblings.get(&id) {
            self.xml
                .warnings
                .add(at, || format!("entity `{}` is given again; the last one counts", shown(&id)));
            entities[*index] = Entity { id, platform, properties };
        } else {
            self.siblings.insert(id.clone(), entities.len());
            entities.push(Entity { id, platform, properties });
        }
    }

    fn section(&mut self, element: &Element<'a>, end: usize) -> Result<(), Fault> {
        let namespaces = &self.xml.namespaces;
        let namespace = namespaces.uri(element.namespace);
        let mut declarations = String::new();
        for (prefix, uri) in namespaces.inherited(self.xml.depth() + 1) {
            let colon = if prefix.is_empty() { "" } else { ":" };
            declarations.extend([" xmlns", colon, prefix, "=\""]);
            for character in uri.chars() {
                match character {
                    '&' => declarations.push_str("&amp;"),
                    '<' => declarations.push_str("&lt;"),
                    '"' => declarations.push_str("&quot;"),
                    '\t' => declarations.push_str("&#9;"),
                    '\n' => declarations.push_str("&#10;"),
                    '\r' => declarations.push_str("&#13;"),
                    _ => declarations.push(character),
                }
            }
            declarations.push('"');
        }
        // Otherwise a long namespace and many small sections would make much out of little.
        self.inherited += declarations.len() + namespace.len();
        let sections = &mut self.environment.sections;
        if sections.len() == MAX_SECTIONS || self.inherited > MAX_DOCUMENT {
            return Fault::at(element.at, ErrorKind::Limit(Limit::Sections));
        }
        let (before, after) = self.text[element.at..end].split_at(1 + element.name.len());
        let mut xml = Zeroizing::new(String::with_capacity(before.len() + declarations.len() + after.len()));
        xml.extend([before, &declarations, after]);
        let (line, _) = self.lines.locate(element.at);
        sections.push(Section { namespace: namespace.to_owned(), name: element.local.to_owned(), line, xml });
        Ok(())
    }
}

/// Whether elements of this namespace may be the environment's.
fn is_ours(namespace: Namespace) -> bool {
    matches!(namespace, Namespace::NONE | Namespace::ENVIRONMENT | Namespace::ASSUMED)
}

/// The attribute of this name in its namespace, else the one in none, else (for the environment's) the one with an
/// undeclared prefix that usually means it, else the one in the descriptor's namespace: `ovf:id`, `ovf:key` and
/// `ovf:value` are the same things there, and IBM's generator writes `ovf:id` here.
fn find<'x, 'a>(
    attributes: &'x [Attribute<'a>],
    warnings: &mut Warnings,
    home: Namespace,
    local: &str,
) -> Option<&'x Attribute<'a>> {
    let rank = |attribute: &&Attribute<'_>| match attribute.namespace {
        it if it == home => 0,
        Namespace::NONE => 1,
        Namespace::ASSUMED => 2,
        _ => 3,
    };
    let possible = |it: &&Attribute<'_>| {
        let descriptor = matches!(it.namespace, Namespace::ENVELOPE_1 | Namespace::ENVELOPE_2);
        let lenient = home == Namespace::ENVIRONMENT && (it.namespace == Namespace::ASSUMED || descriptor);
        it.local == local && (it.namespace == home || it.namespace == Namespace::NONE || lenient)
    };
    let found = attributes.iter().filter(possible).min_by_key(rank)?;
    let habit = match rank(&found) {
        1 => Habit::BareAttribute,
        3 => Habit::EnvelopeAttribute,
        _ => return Some(found),
    };
    warnings.habit(habit, found.at, || {
        format!(
            "the attribute `{}` is not in the namespace `{}`; taken for one that is",
            shown(found.name),
            if home == Namespace::VMWARE { super::VMWARE_NAMESPACE } else { NAMESPACE }
        )
    });
    Some(found)
}
