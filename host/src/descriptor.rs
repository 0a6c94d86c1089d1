//! The descriptor: what an envelope says, in the terms of OVF.
//!
//! Decides what is kept of a descriptor, whichever version of OVF it is written in. The submodules read it (`reader` and
//! those beside it), and compare its parts with each other (`links`). What a property's value becomes in a guest is for
//! `environments`.
//!
//! The rules: DSP0243 1.1 and 2.1, the schemas DSP8023; for OVF 0.9 and drafts what their published descriptors have.

#![forbid(unsafe_code)]

mod content;
mod hardware;
mod links;
mod names;
mod product;
mod reader;
mod sections;
mod strings;
mod values;

use crate::assign::Ask;
use crate::finding::Finding;
use crate::property::{Qualifiers, Type};
use crate::xml::Source;
pub use hardware::{Hardware, Item};
pub(crate) use links::{outside, wanted};
pub use names::{ONE as NAMESPACE, TRANSPORTS, Version};
pub(crate) use product::VMWARE;
pub use product::full_name;
pub use strings::{Bundle, Strings, bundle};

/// A text, and the byte of the descriptor at which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T = String> {
    /// What is there.
    pub value: T,
    /// Where.
    pub at: usize,
}

/// A text for people, and its name in the bundles of other languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The text in the descriptor's own language, blanks and line ends made one blank each.
    pub text: String,
    /// The name.
    pub id: Option<Placed>,
}

/// A whole descriptor.
#[derive(Debug)]
pub struct Descriptor {
    /// By its namespace.
    pub version: Version,
    /// The language of its own texts; empty where it does not say.
    pub language: String,
    /// Level of conformance (DSP0243, clause 6): 1 has no extensions, 2 optional ones, 3 required ones.
    pub conformance: u8,
    /// Where the References are, or the envelope.
    pub references: usize,
    /// What the References name.
    pub files: Vec<File>,
    /// The DiskSection.
    pub disks: Vec<Disk>,
    /// Names of the NetworkSection.
    pub networks: Vec<Placed>,
    /// The DeploymentOptionSection.
    pub configurations: Vec<Configuration>,
    /// Virtual systems and collections, parents before their children; the first one is the root.
    pub entities: Vec<Entity>,
    /// Texts in other languages, inline or in files.
    pub bundles: Vec<Bundle>,
    /// Names of all texts.
    pub messages: Vec<Message>,
    /// References to files other than disks': the elements, and the ids.
    pub other_file_refs: Vec<(&'static str, Placed)>,
}

/// A file of the References.
#[derive(Debug)]
pub struct File {
    /// Its id.
    pub id: Placed,
    /// Where it is.
    pub href: Placed,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// How it is compressed: empty, `identity` or `gzip`.
    pub compression: Placed,
    /// The size of the pieces it comes in.
    pub chunk: Option<u64>,
}

/// A disk of the DiskSection.
#[derive(Debug)]
pub struct Disk {
    /// Its id.
    pub id: Placed,
    /// The file with its content; an empty disk has none.
    pub file: Option<Placed>,
    /// The disk of which it holds only the difference.
    pub parent: Option<Placed>,
    /// Bytes; none where it is a macro, or no number.
    pub capacity: Option<u128>,
    /// The property whose value is the capacity.
    pub sized_by: Option<Placed>,
    /// What its file is, as a URI.
    pub format: String,
}

/// A deployment option.
#[derive(Debug)]
pub struct Configuration {
    /// Its id.
    pub id: Placed,
    /// Whether it is meant where nobody chooses.
    pub is_default: bool,
    /// What people call it.
    pub label: Option<Message>,
    /// What it is for.
    pub description: Option<Message>,
}

/// What an entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A virtual machine.
    System,
    /// A group of them.
    Collection,
}

/// A virtual system or collection.
#[derive(Debug)]
pub struct Entity {
    /// Which of the two.
    pub kind: Kind,
    /// Its id.
    pub id: Placed,
    /// The collection that it is in.
    pub parent: Option<usize>,
    /// What is in it, in the descriptor's order.
    pub children: Vec<usize>,
    /// What people call it.
    pub name: Option<Message>,
    /// Its ProductSections.
    pub products: Vec<Product>,
    /// Its StartupSection.
    pub startup: Vec<Startup>,
    /// Whether it has an InstallSection, and then after how many seconds its first boot is to have ended; 0 is never.
    pub install: Option<u64>,
    /// Its hardware; a system may offer several to choose from.
    pub hardware: Vec<Hardware>,
    /// Deployment options that its ResourceAllocationSection names.
    pub reserved_for: Vec<Placed>,
    /// What its disc holds beside the environment.
    pub environment_files: Vec<EnvironmentFile>,
    /// Licences that somebody has to accept.
    pub licences: Vec<Message>,
    /// Annotations.
    pub annotations: Vec<Message>,
    /// CIM's number of the guest's operating system.
    pub operating_system: Option<u64>,
    /// Its ContractSections, each as XML that stands alone.
    pub contracts: Vec<Contract>,
}

/// A ProductSection.
#[derive(Debug)]
pub struct Product {
    /// What comes before the keys.
    pub class: String,
    /// What comes behind them.
    pub instance: String,
    /// Product.
    pub product: Option<Message>,
    /// Vendor.
    pub vendor: Option<Message>,
    /// FullVersion, or else Version.
    pub version: Option<String>,
    /// Its properties.
    pub properties: Vec<Property>,
    /// Its Categories, and the first property of each.
    pub categories: Vec<(usize, Message)>,
}

impl Product {
    /// The Category that a property stands under.
    pub fn category(&self, property: usize) -> Option<&Message> {
        let behind = self.categories.partition_point(|(first, _)| *first <= property);
        self.categories[..behind].last().map(|(_, category)| category)
    }
}

/// A property.
#[derive(Debug)]
pub struct Property {
    /// The key alone.
    pub key: Placed,
    /// What its values are.
    pub kind: Type,
    /// What its values may be.
    pub qualifiers: Qualifiers,
    /// What it wants of the platform.
    pub asks: Option<Ask>,
    /// Whether who deploys may set it.
    pub is_configurable: bool,
    /// Whether its value is a secret.
    pub is_password: bool,
    /// The value where nobody sets it.
    pub default: Option<Placed>,
    /// The same for single deployment options: their ids and values.
    pub values: Vec<(Placed, Placed)>,
    /// What people call it.
    pub label: Option<Message>,
    /// What it is for.
    pub description: Option<Message>,
}

/// An Item of a StartupSection.
#[derive(Debug)]
pub struct Startup {
    /// The child that is meant.
    pub id: Placed,
    /// Its place in the sequence.
    pub order: u64,
    /// Seconds until the next order.
    pub start_delay: u64,
    /// Whether the guest says sooner that it is ready.
    pub waits_for_guest: bool,
    /// `powerOn` or `none`.
    pub start_action: Placed,
    /// Seconds until the previous order.
    pub stop_delay: u64,
    /// `powerOff`, `guestShutdown` or `none`.
    pub stop_action: Placed,
}

/// A file for the guest.
#[derive(Debug)]
pub struct EnvironmentFile {
    /// The file of the References.
    pub file: Placed,
    /// Where the guest finds it, below `ovffiles`.
    pub path: Placed,
}

/// A ContractSection.
#[derive(Debug)]
pub struct Contract {
    /// The element as it stands, with the namespaces that it inherits.
    pub xml: String,
    /// The virtual machines whose addresses it names.
    pub addresses: Vec<Placed>,
    /// The virtual machines and collections that it names elsewhere.
    pub others: Vec<Placed>,
}

impl Descriptor {
    /// Reads a descriptor. What is wrong with it is added to the findings; where there is no envelope at all, that is all.
    pub fn read(source: &Source, findings: &mut Vec<Finding>) -> Option<Self> {
        let tree = match source.tree() {
            Ok(tree) => tree,
            Err(finding) => {
                findings.push(finding);
                return None;
            }
        };
        let descriptor = reader::read(source, &tree, findings)?;
        links::check(&descriptor, source, findings);
        Some(descriptor)
    }

    /// All properties of an entity, in the descriptor's order.
    pub fn properties(&self, entity: usize) -> impl Iterator<Item = (&Product, &Property)> {
        let products = self.entities[entity].products.iter();
        products.flat_map(|product| product.properties.iter().map(move |property| (product, property)))
    }

    /// The virtual machines.
    pub fn systems(&self) -> impl Iterator<Item = usize> {
        (0..self.entities.len()).filter(|&it| self.entities[it].kind == Kind::System)
    }

    /// The deployment option that is meant where nobody chooses: the default, or else the first (DSP0243, 9.8).
    pub fn usual_configuration(&self) -> Option<&str> {
        let usual = self.configurations.iter().find(|it| it.is_default).or(self.configurations.first());
        usual.map(|it| it.id.value.as_str())
    }
}
