//! ProductSections and their properties.
//!
//! Decides what a Property declares: its key, type, qualifiers and default values, those of single deployment options
//! included. What is mended is said: a missing type is a string, `defaultValue` is what `value` was called in drafts.
//!
//! The rule: DSP0243, 9.5.

#![forbid(unsafe_code)]

use roxmltree::Node;

use super::names::Version;
use super::reader::{Reader, text};
use super::{Placed, Product, Property};
use crate::assign::Ask;
use crate::finding::{Code, quoted};
use crate::property::{Named, Qualifiers, Type};
use crate::suggest;

/// The namespace of VMware's extensions.
pub(crate) const VMWARE: &str = "http://www.vmware.com/schema/ovf";
/// Bytes of the full names of all properties.
const MAX_NAMES: usize = 16 << 20;

/// The name of a property in the guest: `class.key.instance`, without what is empty.
pub fn full_name(product: &Product, property: &Property) -> String {
    let mut name = String::new();
    if !product.class.is_empty() {
        name = format!("{}.", product.class);
    }
    name.push_str(&property.key.value);
    if !product.instance.is_empty() {
        name.push('.');
        name.push_str(&product.instance);
    }
    name
}

impl Reader<'_> {
    /// A ProductSection.
    pub(super) fn product(&mut self, node: Node<'_, '_>, entity: usize) {
        let class = self.attribute(node, "class").map(|it| it.value).unwrap_or_default();
        let instance = self.attribute(node, "instance").map(|it| it.value).unwrap_or_default();
        let mut product = Product {
            class,
            instance,
            product: None,
            vendor: None,
            version: None,
            properties: Vec::new(),
            categories: Vec::new(),
        };
        let mut full = None;
        for (name, child) in self.children(node) {
            match name {
                "Product" => product.product = Some(self.message(child)).filter(|it| !it.text.is_empty()),
                "Vendor" => product.vendor = Some(self.message(child)).filter(|it| !it.text.is_empty()),
                "Version" => product.version = Some(text(child)).filter(|it| !it.is_empty()),
                "FullVersion" => full = Some(text(child)).filter(|it| !it.is_empty()),
                "Category" => product.categories.push((product.properties.len(), self.message(child))),
                "Icon" => {
                    let file = self.attribute(child, "fileRef");
                    self.descriptor.other_file_refs.extend(file.map(|it| ("Icon", it)));
                }
                "Property" => {
                    let Some(property) = self.property(child) else { continue };
                    // A class is written once, and is in the name of each property.
                    self.names += product.class.len() + property.key.value.len() + product.instance.len();
                    if self.names > MAX_NAMES {
                        let message = format!(
                            "the names of all properties have more than {MAX_NAMES} bytes; shorten classes and instances"
                        );
                        self.find(Code::TooLarge, property.key.at, message);
                        break;
                    }
                    product.properties.push(property);
                }
                _ => {}
            }
        }
        product.version = full.or(product.version);
        self.descriptor.entities[entity].products.push(product);
    }

    fn property(&mut self, node: Node<'_, '_>) -> Option<Property> {
        let key = self.required(node, "key");
        let shown = key.as_ref().map_or("the property".to_owned(), |key| quoted(&key.value));
        let kind = self.kind(node, &shown);
        let qualifiers = match self.attribute(node, "qualifiers") {
            Some(written) => {
                let (qualifiers, complaints) = Qualifiers::read(&written.value, &kind);
                for complaint in complaints {
                    self.find(Code::PropertyQualifier, written.at, format!("{shown}: {complaint}"));
                }
                qualifiers
            }
            None => Qualifiers::default(),
        };
        let foreign = node.attribute((VMWARE, "qualifiers")).unwrap_or_default();
        let asks = Ask::read(foreign, self.attribute(node, "type").as_ref().map_or("", |it| &it.value));
        let mut default = self.attribute(node, "value");
        if default.is_none() {
            default = self.attribute(node, "defaultValue");
            if let Some(default) = default.as_ref().filter(|_| self.descriptor.version != Version::Old) {
                let message = format!(
                    "{shown} has ovf:defaultValue, which was a draft's; ovf:value was meant, and is taken for it"
                );
                self.find(Code::OldAttribute, default.at, message);
            }
        }
        let is_configurable = self.boolean(node, "userConfigurable").unwrap_or(false);
        let is_password = self.boolean(node, "password").unwrap_or(false)
            || node.attributes().any(|it| it.name() == "type" && it.value() == "password");
        let mut values = Vec::new();
        for (name, child) in node
            .children()
            .filter(Node::is_element)
            .filter_map(|it| Some((self.name(it)?, it)))
            .collect::<Vec<_>>()
        {
            if name == "Value" {
                self.children(child);
                let (value, configuration) =
                    (self.required(child, "value"), self.attribute(child, "configuration"));
                match (value, configuration) {
                    (Some(value), Some(configuration)) => values.push((configuration, value)),
                    // The first Value without an option is the default where there is no attribute (DSP0243, 9.5).
                    (Some(value), None) if default.is_none() => default = Some(value),
                    _ => {}
                }
            }
        }
        let (label, description) = self.texts(node);
        Some(Property {
            key: key?,
            kind,
            qualifiers,
            asks,
            is_configurable,
            is_password,
            default,
            values,
            label,
            description,
        })
    }

    fn kind(&mut self, node: Node<'_, '_>, shown: &str) -> Type {
        let Some(written) = self.required(node, "type") else { return Type::String };
        match Type::named(&written.value) {
            Named::Standard(kind) => kind,
            Named::Foreign(kind, instead) => {
                let message = format!(
                    "{shown} has the type {}, which is not DSP0243's; it is read as {instead}, write that",
                    quoted(&written.value)
                );
                self.find(Code::PropertyTypeForeign, written.at, message);
                kind
            }
            Named::Unknown if self.findings.is_over() => Type::String,
            Named::Unknown => {
                let message = format!(
                    "{shown} has the type {}, which is not known; {}",
                    quoted(&written.value),
                    suggest::meant(&written.value, Type::NAMES.iter().copied())
                );
                self.find(Code::PropertyTypeUnknown, written.at, message);
                Type::String
            }
        }
    }
}

impl Placed {
    /// The same place, with the text between its blanks, and whether there were any around it.
    pub fn trimmed(&self) -> (&str, bool) {
        let trimmed = self.value.trim();
        (trimmed, trimmed.len() != self.value.len())
    }
}
