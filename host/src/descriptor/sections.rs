//! The sections of the envelope, and those that nobody knows.
//!
//! Decides what References, disks, networks and deployment options are, which sections stand where they may, and what
//! becomes of the others: one that says it must be understood, and is not, makes the package undeployable (DSP0243, 8.1);
//! one that is known and not acted upon is said to be so.

#![forbid(unsafe_code)]

use roxmltree::Node;

use super::names::{self, Place};
use super::reader::Reader;
use super::{Configuration, Disk, File, Placed};
use crate::finding::{Code, quoted};
use crate::suggest;
use crate::units;

impl Reader<'_> {
    /// A section, in the envelope or in an entity.
    pub(super) fn section(
        &mut self,
        node: Node<'_, '_>,
        name: Option<&str>,
        place: Place,
        entity: Option<usize>,
    ) {
        let at = node.range().start;
        let local = node.tag_name().name();
        if local == "ContractSection" {
            return self.contract(node, entity);
        }
        let places = match name {
            Some(names::HARDWARE) => Some(&[Place::System][..]),
            Some(name) => names::SECTIONS.iter().find(|(known, _)| *known == name).map(|(_, places)| *places),
            None => None,
        };
        let (Some(name), Some(places)) = (name, places) else { return self.unknown(node, name) };
        if !places.contains(&place) {
            let message = format!("{name} has no meaning in {}; {}", in_words(place), where_to(places));
            self.find(Code::SectionMisplaced, at, message);
            return;
        }
        match (name, entity) {
            ("DiskSection", _) => self.disks(node),
            ("NetworkSection", _) => self.networks(node),
            ("DeploymentOptionSection", _) => self.configurations(node),
            ("EncryptionSection", _) => {
                let message =
                    "parts of the package are encrypted, which is not supported; decrypt them first";
                self.find(Code::SectionRequired, at, message);
            }
            (name, Some(entity)) if self.entity_section(node, name, entity) => {}
            (name, _) => {
                let message = match name {
                    "ScaleOutSection" => {
                        "ScaleOutSection is not acted upon: there will be one instance".to_owned()
                    }
                    _ => format!("{name} is not acted upon; if it matters, deploy the package where it is"),
                };
                self.find(Code::SectionUnsupported, at, message);
            }
        }
    }

    /// An element that is no section of OVF's.
    fn unknown(&mut self, node: Node<'_, '_>, name: Option<&str>) {
        let at = node.range().start;
        let local = name.unwrap_or_else(|| node.tag_name().name());
        let known = names::SECTIONS.iter().map(|(known, _)| *known);
        let known = known.chain([
            names::HARDWARE,
            "References",
            "VirtualSystem",
            "VirtualSystemCollection",
            "Strings",
        ]);
        let is_required = self.boolean(node, "required").unwrap_or(true);
        let origin = match node.tag_name().namespace() {
            Some(namespace) => format!("of {}", quoted(namespace)),
            None => "in no namespace".to_owned(),
        };
        if is_required {
            self.descriptor.conformance = 3;
            if self.findings.is_over() {
                return;
            }
            let is_bare = node.tag_name().namespace().is_none() && known.clone().any(|it| it == local);
            let meant = match suggest::nearest(local, known).filter(|_| name.is_some()) {
                Some(near) => format!("{} was probably meant", quoted(near)),
                None if is_bare => "put it into the namespace of the Envelope, by its prefix".to_owned(),
                None => "write ovf:required=\"false\" if the package can do without".to_owned(),
            };
            let what = if local.ends_with("Section") { "section" } else { "element" };
            let message = format!(
                "the {what} {} {origin} has to be understood, and is not known here; {meant}",
                quoted(local)
            );
            self.find(Code::SectionRequired, at, message);
        } else {
            let message = format!("the section {} {origin} is ignored, as it allows", quoted(local));
            self.find(Code::SectionIgnored, at, message);
        }
    }

    pub(super) fn references(&mut self, node: Node<'_, '_>) {
        for (name, child) in self.children(node) {
            if name != "File" {
                continue;
            }
            self.children(child);
            let size = self.quantity(child, "size");
            let chunk = self.quantity(child, "chunkSize").filter(|&it| it > 0);
            let compression = self.attribute(child, "compression");
            let compression = compression.unwrap_or(Placed { value: String::new(), at: child.range().start });
            if !matches!(compression.value.as_str(), "" | "identity" | "gzip") {
                let message = format!("the compression {} is not known; gzip is", quoted(&compression.value));
                self.find(Code::FileCompression, compression.at, message);
            }
            let (id, href) = (self.required(child, "id"), self.required(child, "href"));
            if let (Some(id), Some(href)) = (id, href) {
                self.descriptor.files.push(File { id, href, size, compression, chunk });
            }
        }
    }

    fn disks(&mut self, node: Node<'_, '_>) {
        for (name, child) in self.children(node) {
            if name != "Disk" {
                continue;
            }
            self.children(child);
            let file = self.attribute(child, "fileRef").filter(|it| !it.value.is_empty());
            let parent = self.attribute(child, "parentRef").filter(|it| !it.value.is_empty());
            let unit = self.attribute(child, "capacityAllocationUnits");
            let unit = match unit.as_ref().map(|unit| (unit.at, units::parse(&unit.value))) {
                None => Some(1),
                Some((_, Some(unit))) => Some(unit),
                Some((at, None)) => {
                    let message = "the unit of the capacity is not understood; write \"byte * 2^20\" for MiB";
                    self.find(Code::UnitUnknown, at, message);
                    None
                }
            };
            let written = self.required(child, "capacity");
            // DSP0243, 9.1: a capacity may be a property's value.
            let name = |it: &Placed| Some(it.value.trim().strip_prefix("${")?.strip_suffix('}')?.to_owned());
            let sized_by = written.as_ref().and_then(|it| Some(Placed { value: name(it)?, at: it.at }));
            let capacity = written.filter(|_| sized_by.is_none()).and_then(|it| {
                let number: Option<u128> = it.value.trim().parse::<u64>().ok().map(u128::from);
                if number.is_none() {
                    let message = "the capacity is no number; write it in digits, and its unit beside it";
                    self.find(Code::BadQuantity, it.at, message);
                }
                let bytes = number.zip(unit).map(|(number, unit)| number.checked_mul(unit));
                let bytes = bytes.map(|it| it.filter(|&it| it <= u64::MAX.into()));
                if bytes == Some(None) {
                    let message = "the capacity times its unit is more than any disk has (2^64 bytes); correct one of both";
                    self.find(Code::BadQuantity, it.at, message);
                }
                bytes.flatten()
            });
            let format = self.attribute(child, "format").map_or_else(String::new, |it| it.value);
            if let Some(id) = self.required(child, "diskId") {
                self.descriptor.disks.push(Disk { id, file, parent, capacity, sized_by, format });
            }
        }
    }

    fn networks(&mut self, node: Node<'_, '_>) {
        for (name, child) in self.children(node) {
            if name == "Network" {
                self.texts(child);
                if let Some(name) = self.required(child, "name") {
                    self.descriptor.networks.push(name);
                }
            }
        }
    }

    fn configurations(&mut self, node: Node<'_, '_>) {
        for (name, child) in self.children(node) {
            if name != "Configuration" {
                continue;
            }
            let (label, description) = self.texts(child);
            let is_default = self.boolean(child, "default").unwrap_or(false);
            if let Some(id) = self.required(child, "id") {
                self.descriptor.configurations.push(Configuration { id, is_default, label, description });
            }
        }
        let defaults = self.descriptor.configurations.iter().filter(|it| it.is_default);
        if let Some(second) = defaults.skip(1).map(|it| it.id.clone()).next() {
            let message =
                format!("{} is a second default; one of the deployment options is it", quoted(&second.value));
            self.find(Code::SeveralDefaults, second.at, message);
        }
    }

    /// Label and Description.
    pub(super) fn texts(&mut self, node: Node<'_, '_>) -> (Option<super::Message>, Option<super::Message>) {
        let (mut label, mut description) = (None, None);
        for (name, child) in self.children(node) {
            match name {
                "Label" => label = Some(self.message(child)),
                "Description" => description = Some(self.message(child)),
                _ => {}
            }
        }
        (label, description)
    }
}

fn in_words(place: Place) -> &'static str {
    match place {
        Place::Envelope => "the Envelope",
        Place::System => "a VirtualSystem",
        Place::Collection => "a VirtualSystemCollection",
    }
}

fn where_to(places: &[Place]) -> String {
    let all: Vec<_> = places.iter().map(|place| in_words(*place)).collect();
    format!("put it into {}", all.join(" or "))
}
