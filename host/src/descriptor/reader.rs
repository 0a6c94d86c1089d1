//! From elements to the model: the envelope, and what every element is read by.
//!
//! Decides which elements are OVF's, what is said of elements and attributes that are misspelt, and the order of the envelope.
//! What attributes hold is in `values`; what single sections mean is in the modules beside this one.

#![forbid(unsafe_code)]

use roxmltree::{Document, Node};

use super::names::{self, Place, Version};
use super::{Descriptor, Kind, Message};
use crate::finding::{Code, Few, Finding, quoted};
use crate::suggest;
use crate::xml::Source;

/// Reads an envelope.
pub(super) fn read(source: &Source, tree: &Document<'_>, findings: &mut Vec<Finding>) -> Option<Descriptor> {
    let root = tree.root_element();
    let namespace = root.tag_name().namespace().unwrap_or_default();
    let version = Version::of(namespace);
    let (true, Some(version)) = (root.tag_name().name() == "Envelope", version) else {
        let at = root.range().start;
        let message = if root.tag_name().name() == "Envelope" {
            let meant = suggest::meant(namespace, Version::namespaces());
            format!("Envelope is in the namespace {}, which is not OVF's; {meant}", quoted(namespace))
        } else {
            format!(
                "the root element is {}, not an OVF Envelope; name a descriptor",
                quoted(root.tag_name().name())
            )
        };
        findings.push(source.finding(Code::NotAnEnvelope, at, message));
        return None;
    };
    let descriptor = Descriptor {
        version,
        language: super::strings::language(root),
        conformance: 1,
        references: root.range().start,
        files: Vec::new(),
        disks: Vec::new(),
        networks: Vec::new(),
        configurations: Vec::new(),
        entities: Vec::new(),
        bundles: Vec::new(),
        messages: Vec::new(),
        other_file_refs: Vec::new(),
    };
    let mut reader = Reader { source, findings: Few::behind(findings), descriptor, contracts: 0, names: 0 };
    reader.version(root);
    reader.envelope(root);
    reader.conform(tree);
    Some(reader.descriptor)
}

/// What is read so far.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source,
    pub(super) findings: Few<'a>,
    pub(super) descriptor: Descriptor,
    /// Bytes of contracts so far.
    pub(super) contracts: usize,
    /// Bytes of full names of properties so far.
    pub(super) names: usize,
}

impl Reader<'_> {
    pub(super) fn find(&mut self, code: Code, at: usize, message: impl Into<String>) {
        self.findings.push(self.source.finding(code, at, message));
    }

    /// Whether more would not be shown: then nobody looks for what was meant, either.
    pub(super) fn is_full(&self) -> bool {
        self.findings.is_full()
    }

    fn version(&mut self, root: Node<'_, '_>) {
        let at = root.range().start;
        match self.descriptor.version {
            Version::Draft => {
                let message = format!(
                    "the namespace {} is a draft's; write {}",
                    quoted(root.tag_name().namespace().unwrap_or_default()),
                    quoted(names::ONE)
                );
                self.find(Code::NamespaceDraft, at, message);
            }
            Version::Old => {
                let message = format!(
                    "this is OVF 0.9, which came before the standard; for other platforms write it in {}",
                    quoted(names::ONE)
                );
                self.find(Code::NamespaceOld, at, message);
            }
            Version::One | Version::Two => {}
        }
    }

    fn envelope(&mut self, root: Node<'_, '_>) {
        let mut has_references = false;
        for node in root.children().filter(Node::is_element) {
            match self.name(node) {
                Some("References") => {
                    has_references = true;
                    self.descriptor.references = node.range().start;
                    self.references(node);
                }
                Some(name @ ("VirtualSystem" | "VirtualSystemCollection")) => {
                    let kind = if name == "VirtualSystem" { Kind::System } else { Kind::Collection };
                    match self.descriptor.entities.first().map(|it| quoted(&it.id.value)) {
                        None => self.entity(node, kind, None),
                        Some(first) => self.second(node, name, &first),
                    }
                }
                Some("Strings") => self.strings(node),
                name => self.section(node, name, Place::Envelope, None),
            }
        }
        let at = root.range().start;
        if self.descriptor.entities.is_empty() {
            let message = "the Envelope has neither a VirtualSystem nor a VirtualSystemCollection; add one";
            self.find(Code::MissingElement, at, message);
        }
        if !has_references {
            self.find(
                Code::MissingElement,
                at,
                "the Envelope has no References; add them, empty if there are no files",
            );
        }
    }

    /// An envelope is of one virtual system or collection (DSP8023): which of two was meant, nobody knows.
    fn second(&mut self, node: Node<'_, '_>, name: &str, first: &str) {
        let id = self.attribute(node, "id").map(|it| it.value).unwrap_or_default();
        let message = format!(
            "{name} {} stands beside {first}, and an Envelope has one; put all into a VirtualSystemCollection",
            quoted(&id)
        );
        self.find(Code::SeveralRoots, node.range().start, message);
    }

    /// Level 2 is whatever extends OVF; level 3 has been found where sections are.
    fn conform(&mut self, tree: &Document<'_>) {
        let is_foreign = |namespace: Option<&str>| namespace.is_some_and(|it| !names::is_standard(it));
        let extends = tree.descendants().filter(Node::is_element).any(|node| {
            is_foreign(node.tag_name().namespace()) || node.attributes().any(|it| is_foreign(it.namespace()))
        });
        self.descriptor.conformance = self.descriptor.conformance.max(1 + u8::from(extends));
    }

    /// The local name of an element of OVF's. OVF 0.9 has one element for all sections, and says by `xsi:type` which.
    pub(super) fn name<'d>(&self, node: Node<'d, '_>) -> Option<&'d str> {
        let is_ours = match node.tag_name().namespace() {
            None => self.descriptor.version.has_bare_elements(),
            namespace => names::is_ovf(namespace),
        };
        if !is_ours {
            return None;
        }
        let name = node.tag_name().name();
        if !matches!(name, "Section" | "Content") {
            return Some(name);
        }
        let kind = node.attribute((names::XSI, "type")).unwrap_or(name);
        let kind = kind.rsplit_once(':').map_or(kind, |(_, local)| local);
        Some(kind.strip_suffix("_Type").unwrap_or(kind))
    }

    /// The elements of OVF's in this one, with their names.
    pub(super) fn children<'d, 't>(&mut self, node: Node<'d, 't>) -> Vec<(&'d str, Node<'d, 't>)> {
        let name = self.name(node).unwrap_or_default();
        let known = names::shape(name).map(|(_, children)| children);
        let mut all = Vec::new();
        for child in node.children().filter(Node::is_element) {
            let Some(local) = self.name(child) else { continue };
            if let Some(known) = known
                && !known.contains(&local)
                && !self.is_full()
            {
                let meant = suggest::meant(local, known.iter().copied());
                let message = format!("{name} has no element {}; {meant}", quoted(local));
                self.find(Code::UnknownElement, child.range().start, message);
            }
            all.push((local, child));
        }
        self.attributes(node, name);
        all
    }

    /// Says which attributes there are not.
    fn attributes(&mut self, node: Node<'_, '_>, element: &str) {
        if let Some((known, _)) = names::shape(element) {
            self.known_attributes(node, element, known);
        }
    }

    pub(super) fn known_attributes(&mut self, node: Node<'_, '_>, element: &str, known: &[&str]) {
        for attribute in node.attributes() {
            let is_ours = attribute.namespace().is_none_or(|it| names::is_ovf(Some(it)));
            let name = attribute.name();
            if !is_ours || known.contains(&name) || (element, name) == ("Property", "defaultValue") {
                continue;
            }
            if self.is_full() {
                return;
            }
            let absent = |it: &&&str| !node.attributes().any(|other| other.name() == **it);
            let meant = match suggest::nearest(name, known.iter().filter(absent).copied()) {
                Some(near) => format!("{} was probably meant", quoted(near)),
                None => "remove it, or put it into a namespace of your own".to_owned(),
            };
            let message = format!("{element} has no attribute {}; {meant}", quoted(name));
            self.find(Code::UnknownAttribute, attribute.range().start, message);
        }
    }

    /// A text for people.
    pub(super) fn message(&mut self, node: Node<'_, '_>) -> Message {
        let id = self.attribute(node, "msgid").filter(|it| !it.value.is_empty());
        let message = Message { text: text(node), id };
        self.descriptor.messages.push(message.clone());
        message
    }
}

/// The text in an element, its blanks and line ends made one blank each.
pub(super) fn text(node: Node<'_, '_>) -> String {
    let all: String = node.descendants().filter(Node::is_text).filter_map(|it| it.text()).collect();
    let mut out = String::with_capacity(all.len());
    for word in all.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}
