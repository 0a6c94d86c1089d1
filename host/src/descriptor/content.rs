//! Virtual systems and collections, and the sections that are theirs.
//!
//! Decides what is kept of a VirtualSystem or VirtualSystemCollection beside its hardware and its properties.

#![forbid(unsafe_code)]

use roxmltree::Node;

use super::names::{self, Place};
use super::reader::Reader;
use super::{Contract, Entity, EnvironmentFile, Kind, Placed, Startup};
use crate::finding::Code;

/// Bytes of all contracts.
const MAX_CONTRACTS: usize = 16 << 20;

impl Reader<'_> {
    /// A system or collection with all that is in it.
    pub(super) fn entity(&mut self, node: Node<'_, '_>, kind: Kind, parent: Option<usize>) {
        let element = if kind == Kind::System { "VirtualSystem" } else { "VirtualSystemCollection" };
        self.known_attributes(node, element, &["id"]);
        let id = self.required(node, "id").unwrap_or(Placed { value: String::new(), at: node.range().start });
        let index = self.descriptor.entities.len();
        self.descriptor.entities.push(Entity {
            kind,
            id,
            parent,
            children: Vec::new(),
            name: None,
            products: Vec::new(),
            startup: Vec::new(),
            install: None,
            hardware: Vec::new(),
            reserved_for: Vec::new(),
            environment_files: Vec::new(),
            licences: Vec::new(),
            annotations: Vec::new(),
            operating_system: None,
            contracts: Vec::new(),
        });
        if let Some(parent) = parent {
            self.descriptor.entities[parent].children.push(index);
        }
        let place = if kind == Kind::System { Place::System } else { Place::Collection };
        for child in node.children().filter(Node::is_element) {
            match self.name(child) {
                Some("Info") => drop(self.message(child)),
                Some("Name") => {
                    let name = self.message(child);
                    self.descriptor.entities[index].name = Some(name).filter(|it| !it.text.is_empty());
                }
                Some("VirtualSystem") if kind == Kind::Collection => {
                    self.entity(child, Kind::System, Some(index))
                }
                Some("VirtualSystemCollection") if kind == Kind::Collection => {
                    self.entity(child, Kind::Collection, Some(index));
                }
                name => self.section(child, name, place, Some(index)),
            }
        }
    }

    /// A section of an entity's. Answers whether it is one that is acted upon.
    pub(super) fn entity_section(&mut self, node: Node<'_, '_>, name: &str, index: usize) -> bool {
        match name {
            "ProductSection" => self.product(node, index),
            "StartupSection" => self.startup(node, index),
            "InstallSection" => {
                self.children(node);
                let delay = self.number(node, "initialBootStopDelay", u16::MAX.into()).unwrap_or(0);
                self.descriptor.entities[index].install = Some(delay);
            }
            "EulaSection" | "AnnotationSection" => {
                for (child, text) in self.children(node) {
                    let message = self.message(text);
                    let entity = &mut self.descriptor.entities[index];
                    match child {
                        "License" => entity.licences.push(message),
                        "Annotation" => entity.annotations.push(message),
                        _ => {}
                    }
                }
            }
            "OperatingSystemSection" => {
                self.texts(node);
                let number = self.number(node, "id", u16::MAX.into());
                if number.is_none() && self.attribute(node, "id").is_none() {
                    self.required(node, "id");
                }
                self.descriptor.entities[index].operating_system = number;
            }
            names::HARDWARE => self.hardware(node, index),
            // A reservation is the platform's to grant; what it is for is a name like others.
            "ResourceAllocationSection" => {
                for (_, item) in self.children(node).into_iter().filter(|(child, _)| *child == "Item") {
                    let options = self.configurations_of(item);
                    self.descriptor.entities[index].reserved_for.extend(options);
                }
            }
            "EnvironmentFilesSection" => {
                for (child, file) in self.children(node) {
                    if child != "File" {
                        continue;
                    }
                    let (id, path) = (self.required(file, "fileRef"), self.required(file, "path"));
                    if let (Some(file), Some(path)) = (id, path) {
                        self.descriptor.entities[index]
                            .environment_files
                            .push(EnvironmentFile { file, path });
                    }
                }
            }
            _ => return false,
        }
        true
    }

    fn startup(&mut self, node: Node<'_, '_>, index: usize) {
        // OVF 1.0's delays are longs; whatever the version, a day is more than anybody waits.
        let longest = u16::MAX.into();
        for (name, item) in self.children(node) {
            if name != "Item" {
                continue;
            }
            self.known_attributes(item, "Item", names::STARTUP_ITEM);
            let at = item.range().start;
            let order = self.number(item, "order", longest);
            if order.is_none() && self.attribute(item, "order").is_none() {
                self.required(item, "order");
            }
            let mut action = |name: &str, usual: &str, known: &[&str]| {
                let action = self.attribute(item, name).unwrap_or(Placed { value: usual.to_owned(), at });
                if !known.contains(&action.value.as_str()) {
                    let message = format!(
                        "{} is no {name}; {}",
                        crate::finding::quoted(&action.value),
                        crate::suggest::meant(&action.value, known.iter().copied())
                    );
                    self.find(Code::StartupAction, action.at, message);
                }
                action
            };
            let start_action = action("startAction", "powerOn", &["powerOn", "none"]);
            let stop_action = action("stopAction", "powerOff", &["powerOff", "guestShutdown", "none"]);
            let item = Startup {
                id: match self.required(item, "id") {
                    Some(id) => id,
                    None => continue,
                },
                order: order.unwrap_or(0),
                start_delay: self.number(item, "startDelay", longest).unwrap_or(0),
                waits_for_guest: self.boolean(item, "waitingForGuest").unwrap_or(false),
                start_action,
                stop_delay: self.number(item, "stopDelay", longest).unwrap_or(0),
                stop_action,
            };
            self.descriptor.entities[index].startup.push(item);
        }
    }

    /// A contract, whosever it is: carried to the guests, whose agents know what to do with it.
    pub(super) fn contract(&mut self, node: Node<'_, '_>, entity: Option<usize>) {
        let is_required = self.boolean(node, "required").unwrap_or(true);
        self.descriptor.conformance = if is_required { 3 } else { self.descriptor.conformance.max(2) };
        let Some(entity) = entity else {
            let message = "a contract in the Envelope is nobody's; put it into a VirtualSystem or VirtualSystemCollection";
            let code = if is_required { Code::SectionRequired } else { Code::SectionMisplaced };
            self.find(code, node.range().start, message);
            return;
        };
        let (mut addresses, mut others) = (Vec::new(), Vec::new());
        for node in node.descendants().skip(1).filter(Node::is_element) {
            // An `id` without prefix is of a virtual machine where that is asked for; elsewhere whoever wrote the contract knows.
            let is_ours = node.attributes().any(|it| it.name() == "id" && names::is_ovf(it.namespace()));
            if ["SrcAddr", "DstAddr"].contains(&node.tag_name().name()) {
                addresses.extend(self.attribute(node, "id"));
            } else if is_ours {
                others.extend(self.attribute(node, "id"));
            }
        }
        // What it inherits may be longer than itself, and there may be many.
        if self.contracts > MAX_CONTRACTS {
            return;
        }
        let xml = alone(node, &self.source.text);
        self.contracts += xml.len();
        if self.contracts > MAX_CONTRACTS {
            let message = format!(
                "the contracts with the namespaces that they inherit have more than {MAX_CONTRACTS} bytes; declare \
                 namespaces in the elements that need them"
            );
            self.find(Code::TooLarge, node.range().start, message);
            return;
        }
        self.descriptor.entities[entity].contracts.push(Contract { xml, addresses, others });
    }
}

/// An element as it stands, with the namespaces that it inherits.
fn alone(node: Node<'_, '_>, text: &str) -> String {
    let element = &text[node.range()];
    let end = element.find(|it: char| it.is_whitespace() || matches!(it, '>' | '/')).unwrap_or(element.len());
    let own = crate::xml::declared(element);
    let mut whole = element[..end].to_owned();
    for namespace in node.parent().into_iter().flat_map(|it| it.namespaces()) {
        let prefix = namespace.name().unwrap_or_default();
        if own.contains(prefix) || prefix == "xml" {
            continue;
        }
        let colon = if prefix.is_empty() { "" } else { ":" };
        whole.push_str(&format!(" xmlns{colon}{prefix}=\"{}\"", crate::document::escaped(namespace.uri())));
    }
    whole + &element[end..]
}
