//! From elements to an [`Environment`]: what DSP8027 1.0.0 says, and what people write instead.
//!
//! Decides which elements are ours: those in the environment's namespace or in none. Whatever else stands
//! among them is somebody else's and passed over, except directly below `Environment`, where it is kept as a
//! [`Section`](super::Section). Does not check well-formedness (`xml`) nor choose among attributes
//! (`attributes`).
//!
//! One stack of places runs beside the stack of open elements, so that nothing here recurses.
#![forbid(unsafe_code)]

use super::attributes::{self, is_ours};
use super::characters::{first_not_blank, push_text};
use super::error::{ErrorKind, Fault, Limit, Lines};
use super::index::Index;
use super::namespaces::Namespace;
use super::platform::Field;
use super::prolog::Document;
use super::section;
use super::warnings::{Habit, Warnings};
use super::xml::{Element, Text, Token, Xml};
use super::{
    Adapter, Entity, Environment, MAX_ADAPTERS, MAX_DOCUMENT, MAX_ENTITIES, MAX_PROPERTIES, MAX_SECTIONS,
    NAMESPACE, Platform, Properties,
};
use crate::printable::name as shown;

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
        siblings: Index::default(),
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
    /// Of `environment.entities`, by id.
    siblings: Index,
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
        // Another namespace is another kind of document, or a misspelt one of which no attribute would be
        // found: either way a guest that silently gets no properties is the worse answer.
        if !is_ours(element.namespace) {
            let uri = shown(self.xml.namespaces.uri(element.namespace));
            return Fault::at(element.at, ErrorKind::ForeignEnvironment(uri));
        }
        self.note_namespace(element);
        let id = attributes::text(&mut self.xml, Namespace::ENVIRONMENT, "id").unwrap_or_default();
        if id.contains(char::is_control) {
            return Fault::at(element.at, ErrorKind::ControlInId("Environment"));
        }
        self.environment.id = id;
        Ok(Place::Environment)
    }

    fn entity(&mut self, element: &Element<'a>) -> Result<Place<'a>, Fault> {
        self.entities += 1;
        if self.entities > MAX_ENTITIES {
            return Fault::at(element.at, ErrorKind::Limit(Limit::Entities));
        }
        let id = attributes::text(&mut self.xml, Namespace::ENVIRONMENT, "id");
        if id.is_none() {
            let message = || "an entity has no attribute `id`; its id is taken as empty".to_owned();
            self.xml.warnings.add(element.at, message);
        }
        let id = id.unwrap_or_default();
        if id.contains(char::is_control) {
            return Fault::at(element.at, ErrorKind::ControlInId("Entity"));
        }
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
        let Some((key, value)) = attributes::property(&mut self.xml, at)? else { return Ok(()) };
        let owner = self.sibling.as_mut().unwrap_or(&mut self.own);
        if owner.properties.insert(&key, value) {
            let message = || format!("property `{}` is given again; the last one counts", shown(&key));
            self.xml.warnings.add(at, message);
        }
        Ok(())
    }

    fn adapter(&mut self, at: usize) -> Result<(), Fault> {
        if self.environment.adapters.len() == MAX_ADAPTERS {
            return Fault::at(at, ErrorKind::Limit(Limit::Adapters));
        }
        let mut text = |name| attributes::text(&mut self.xml, Namespace::VMWARE, name);
        let (mac, network, unit) = (text("mac"), text("network"), text("unitNumber"));
        let warnings = &mut self.xml.warnings;
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
                let owner = self.sibling.as_mut().unwrap_or(&mut self.own);
                if let Err(odd) = field.set(&mut owner.platform, &content) {
                    self.xml.warnings.add(at, || odd);
                }
            }
            Place::Entity => self.sibling_complete(),
            Place::Section(element) => self.section(&element, end)?,
            _ => {}
        }
        Ok(())
    }

    fn sibling_complete(&mut self) {
        let Some(Owner { at, id, platform, properties, .. }) = self.sibling.take() else { return };
        let platform = (platform != Platform::default()).then(|| Box::new(platform));
        let entities = &mut self.environment.entities;
        if let Some(place) = self.siblings.enter(entities.len(), &id, |place| &entities[place].id) {
            self.xml
                .warnings
                .add(at, || format!("entity `{}` is given again; the last one counts", shown(&id)));
            entities[place] = Entity { id, platform, properties };
        } else {
            entities.push(Entity { id, platform, properties });
        }
    }

    fn section(&mut self, element: &Element<'a>, end: usize) -> Result<(), Fault> {
        let namespaces = &self.xml.namespaces;
        let (line, _) = self.lines.locate(element.at);
        let (section, added) = section::cut(self.text, element, end, line, namespaces, self.xml.depth() + 1);
        // Otherwise a long namespace and many small sections would make much out of little.
        self.inherited += added;
        let sections = &mut self.environment.sections;
        if sections.len() == MAX_SECTIONS || self.inherited > MAX_DOCUMENT {
            return Fault::at(element.at, ErrorKind::Limit(Limit::Sections));
        }
        sections.push(section);
        Ok(())
    }
}
