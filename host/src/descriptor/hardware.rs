//! Virtual hardware, as far as a package can be wrong in it.
//!
//! Decides what is kept of an Item: what it is, what it hangs on, and which disks and networks it names. What a platform
//! makes of the rest is the platform's.
//!
//! The rules: DSP0243, clause 8; CIM_ResourceAllocationSettingData, whose elements are in alphabetical order and were
//! spelt differently in OVF 0.9.

#![forbid(unsafe_code)]

use roxmltree::Node;

use super::Placed;
use super::names;
use super::reader::{Reader, text};
use crate::finding::Code;
use crate::units;

/// A VirtualHardwareSection.
#[derive(Debug)]
pub struct Hardware {
    /// How the environment may come to the guest.
    pub transports: Vec<String>,
    /// Where that stands, or the section.
    pub at: usize,
    /// Its devices.
    pub items: Vec<Item>,
}

/// An Item of the hardware (CIM_ResourceAllocationSettingData), as far as it matters here.
#[derive(Debug)]
pub struct Item {
    /// Where it begins.
    pub at: usize,
    /// Deployment options that it is for; all of them where there is none.
    pub configurations: Vec<Placed>,
    /// `min`, `max` or `normal`.
    pub bound: Option<String>,
    /// CIM's number: 3 processors, 4 memory, 10 Ethernet, 15 and 16 optical drives, 17 disks.
    pub resource: Option<u64>,
    /// Which kind of it: `E1000`, `lsilogic`.
    pub subtype: String,
    /// Its id among the devices.
    pub instance: Option<String>,
    /// The device that it hangs on.
    pub parent: Option<Placed>,
    /// `ovf:/disk/ID` or `ovf:/file/ID`.
    pub host_resources: Vec<Placed>,
    /// Names of networks.
    pub connections: Vec<Placed>,
    /// How many units.
    pub quantity: Option<u64>,
    /// Bytes or hertz of one unit.
    pub unit: Option<u128>,
}

impl Reader<'_> {
    /// A VirtualHardwareSection.
    pub(super) fn hardware(&mut self, node: Node<'_, '_>, entity: usize) {
        let transport = self.attribute(node, "transport");
        let at = transport.as_ref().map_or(node.range().start, |it| it.at);
        // The prose says blanks, a comment in the schema commas.
        let written = transport.map(|it| it.value).unwrap_or_default();
        let transports =
            written.split([' ', ',', '\t', '\n']).filter(|it| !it.is_empty()).map(str::to_owned).collect();
        let mut items = Vec::new();
        for (name, child) in self.children(node) {
            if matches!(name, "Item" | "EthernetPortItem" | "StorageItem") {
                let item = self.item(child);
                items.push(item);
            }
        }
        self.descriptor.entities[entity].hardware.push(Hardware { transports, at, items });
    }

    fn item(&mut self, node: Node<'_, '_>) -> Item {
        self.known_attributes(node, "Item", names::HARDWARE_ITEM);
        let configurations = self.configurations_of(node);
        let bound = self.attribute(node, "bound").map(|it| it.value);
        let mut item = Item {
            at: node.range().start,
            configurations,
            bound,
            resource: None,
            subtype: String::new(),
            instance: None,
            parent: None,
            host_resources: Vec::new(),
            connections: Vec::new(),
            quantity: None,
            unit: None,
        };
        let mut unit = None;
        for child in node.children().filter(Node::is_element) {
            let value = Placed { value: text(child), at: child.range().start };
            match child.tag_name().name() {
                "ResourceType" => item.resource = self.integer(&value, "ResourceType"),
                "ResourceSubType" if item.subtype.is_empty() => item.subtype = value.value,
                "InstanceID" | "InstanceId" => item.instance = Some(value.value).filter(|it| !it.is_empty()),
                "Parent" => item.parent = Some(value).filter(|it| !it.value.is_empty()),
                "HostResource" => item.host_resources.push(value),
                "Connection" => item.connections.push(value),
                "VirtualQuantity" => item.quantity = self.integer(&value, "VirtualQuantity"),
                "AllocationUnits" => unit = Some(value),
                _ => {}
            }
        }
        if let Some(unit) = unit {
            item.unit = units::parse(&unit.value);
            // What a memory is measured in matters; of others it is a comment.
            if item.unit.is_none() && item.resource == Some(4) {
                let message = "the unit of this memory is not understood; write byte * 2^20 for MiB";
                self.find(Code::UnitUnknown, unit.at, message);
            }
        }
        item
    }

    /// The deployment options that an Item is for.
    pub(super) fn configurations_of(&mut self, node: Node<'_, '_>) -> Vec<Placed> {
        let Some(written) = self.attribute(node, "configuration") else { return Vec::new() };
        let ids = written.value.split_whitespace();
        ids.map(|id| Placed { value: id.to_owned(), at: written.at }).collect()
    }

    fn integer(&mut self, value: &Placed, name: &str) -> Option<u64> {
        let number = value.value.parse().ok();
        // A quantity may be a macro of the deployment's.
        if number.is_none() && !value.value.starts_with("${") {
            self.find(Code::BadQuantity, value.at, format!("{name} is no number; write it in digits alone"));
        }
        number
    }
}
