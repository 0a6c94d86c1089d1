//! What attributes hold: texts, numbers, truth values.
//!
//! Decides how one is read, and what is said of one that is missing, is not what it should be, or has no prefix.

#![forbid(unsafe_code)]

use roxmltree::{Attribute, Node};

use super::reader::Reader;
use super::{Placed, names};
use crate::finding::Code;

impl Reader<'_> {
    /// An attribute of OVF's. One without a namespace is taken for it, and that is said.
    pub(super) fn attribute(&mut self, node: Node<'_, '_>, name: &str) -> Option<Placed> {
        let placed =
            |it: Attribute<'_, '_>| Placed { value: it.value().to_owned(), at: it.range_value().start };
        let mut same = node.attributes().filter(|it| it.name() == name);
        if let Some(found) = same.clone().find(|it| names::is_ovf(it.namespace())) {
            return Some(placed(found));
        }
        let bare = same.find(|it| it.namespace().is_none())?;
        let message = format!(
            "the attribute {0} of {1} is in no namespace; write ovf:{0}, as the default namespace is not one of attributes",
            name,
            node.tag_name().name()
        );
        self.find(Code::AttributeNamespace, bare.range().start, message);
        Some(placed(bare))
    }

    /// An attribute that has to be there.
    pub(super) fn required(&mut self, node: Node<'_, '_>, name: &str) -> Option<Placed> {
        let found = self.attribute(node, name);
        if found.is_none() {
            let message = format!("{} has no attribute ovf:{name}; add one", node.tag_name().name());
            self.find(Code::MissingAttribute, node.range().start, message);
        }
        found
    }

    /// A truth value: XML Schema's.
    pub(super) fn boolean(&mut self, node: Node<'_, '_>, name: &str) -> Option<bool> {
        let found = self.attribute(node, name)?;
        match found.value.trim() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            other => {
                let message = match other.to_ascii_lowercase().as_str() {
                    "true" | "yes" | "on" => {
                        format!("ovf:{name} is no truth value; \"true\" was probably meant")
                    }
                    "false" | "no" | "off" => {
                        format!("ovf:{name} is no truth value; \"false\" was probably meant")
                    }
                    _ => format!("ovf:{name} is no truth value; write \"true\" or \"false\""),
                };
                self.find(Code::BadValue, found.at, message);
                None
            }
        }
    }

    /// A number from 0.
    pub(super) fn number(&mut self, node: Node<'_, '_>, name: &str, most: u64) -> Option<u64> {
        self.up_to(node, name, most, Code::BadValue)
    }

    /// Bytes of a file.
    pub(super) fn quantity(&mut self, node: Node<'_, '_>, name: &str) -> Option<u64> {
        self.up_to(node, name, u64::MAX, Code::BadQuantity)
    }

    fn up_to(&mut self, node: Node<'_, '_>, name: &str, most: u64, code: Code) -> Option<u64> {
        let found = self.attribute(node, name)?;
        let number = found.value.trim().parse().ok().filter(|&it: &u64| it <= most);
        if number.is_none() {
            let message = format!("ovf:{name} is no number from 0 to {most}; write one, in digits alone");
            self.find(code, found.at, message);
        }
        number
    }
}
