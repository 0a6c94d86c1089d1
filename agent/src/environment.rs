//! The OVF environment document: what the platform says about this guest and its siblings.
//!
//! Decides what a document means: which elements and attributes are ours (by namespace URI, never by prefix),
//! which mistakes are mended with a warning and which refuse the whole document. A guest configured from half
//! a document is worse than one that says why it was not configured, so there is no partial result.
//!
//! Does not decide where a document comes from (`transport`), what its values mean (`parameters`: here every
//! value is a string and every key is opaque, never split at dots), or whether a document that is well-formed
//! but not meant for us should be passed over (see [`Environment::is_azure_provisioning`]).
//!
//! The rules: elements and attributes from DSP8027 1.0.0, their meaning from DSP0243 clause 11,
//! well-formedness from XML 1.0 (fifth edition) and Namespaces in XML 1.0. quick-xml only finds where tokens
//! end; everything that makes a document well-formed is checked in the submodules, which know lines and
//! columns.
//!
//! Property values are secrets: they are wiped when dropped and appear in no error, warning or debug output.
#![forbid(unsafe_code)]

mod attributes;
mod characters;
mod error;
mod index;
mod markup;
mod namespaces;
mod platform;
mod prolog;
mod properties;
mod reader;
mod section;
mod tag;
#[cfg(test)]
mod tests;
mod warnings;
mod words;
mod xml;

use std::fmt;

use zeroize::Zeroizing;

pub use error::{Error, ErrorKind, Limit};
pub use properties::{Properties, Value};
pub use warnings::Warning;

/// Namespace of the environment in every version of OVF (DSP8027).
pub const NAMESPACE: &str = "http://schemas.dmtf.org/ovf/environment/1";
/// Namespace of VMware's sections inside the environment.
pub const VMWARE_NAMESPACE: &str = "http://www.vmware.com/schema/ovfenv";
/// Namespace of the sections that Azure puts into a document with the same root element.
pub const AZURE_NAMESPACE: &str = "http://schemas.microsoft.com/windowsazure";

/// Bytes that a document may have; a transport need not read further.
pub const MAX_DOCUMENT: usize = 16 << 20;
/// Elements that may be open at once.
pub const MAX_DEPTH: usize = 64;
/// Attributes that one element may have, namespace declarations included.
pub const MAX_ATTRIBUTES: usize = 64;
/// Properties that a document may have, those of entities included.
pub const MAX_PROPERTIES: usize = 100_000;
/// Entities that a document may have.
pub const MAX_ENTITIES: usize = 100_000;
/// Adapters that a document may have.
pub const MAX_ADAPTERS: usize = 1_000;
/// Unknown sections that a document may have.
pub const MAX_SECTIONS: usize = 1_000;

/// A whole document, as it applies to this guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Id of this virtual system in the descriptor; empty where the platform sends none, as vSphere does.
    pub id: String,
    /// What the document says about the hypervisor.
    pub platform: Platform,
    /// This guest's own properties, those of its parent collection merged in by the platform.
    pub properties: Properties,
    /// The siblings, each id once, in document order.
    pub entities: Vec<Entity>,
    /// Network adapters, where the platform is VMware's.
    pub adapters: Vec<Adapter>,
    /// Sections that are not ours to understand.
    pub sections: Vec<Section>,
}

impl Environment {
    /// Whether this is the document with which Azure provisions a guest: same root element, but its data is
    /// in a section of Microsoft's, and there are no properties.
    #[must_use]
    pub fn is_azure_provisioning(&self) -> bool {
        self.properties.is_empty()
            && self.entities.is_empty()
            && self
                .sections
                .iter()
                .any(|it| it.namespace == AZURE_NAMESPACE && it.name == "ProvisioningSection")
    }
}

/// A sibling virtual system or collection, with the properties that it sees itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entity {
    /// The sibling's id in the descriptor; empty where the document has none.
    pub id: String,
    /// The sibling's platform; usually absent, and so it takes no room.
    pub platform: Option<Box<Platform>>,
    /// The sibling's properties.
    pub properties: Properties,
}

/// The platform section: what the document says about the hypervisor. Every field is optional information.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// Product, for example `VMware ESXi`.
    pub kind: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its vendor.
    pub vendor: Option<String>,
    /// Language and country, in whatever notation the platform uses: `en`, `en_US` and `US` are all met.
    pub locale: Option<String>,
    /// Minutes from UTC, east positive.
    pub timezone: Option<i32>,
}

/// One network adapter, from VMware's `EthernetAdapterSection`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adapter {
    /// Hardware address as written; empty where the document has none.
    pub mac: String,
    /// Name of the network it is attached to.
    pub network: String,
    /// Unit number on the virtual PCI bus; vSphere 4 does not send it.
    pub unit: Option<u32>,
}

/// An element directly below `Environment` that this module does not understand, kept for whoever does.
#[derive(Clone, PartialEq, Eq)]
pub struct Section {
    /// Namespace URI; empty if the element has none.
    pub namespace: String,
    /// Local name.
    pub name: String,
    /// Line of the document on which the section starts.
    pub line: u32,
    /// The element as it stands in the document, with the namespace declarations added that it inherits from
    /// `Environment`, so that it parses alone; they can bring it above [`MAX_ATTRIBUTES`]. Not carried over: inherited `xml:lang`, `xml:space` and
    /// `xml:base`, and the declared XML version. It may hold secrets (VMware's service tokens).
    pub xml: Zeroizing<String>,
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

/// Reads a document. Time is linear in its length; memory is a few times that, and bounded by the limits
/// above.
///
/// # Errors
/// The first defect met that is not mended, with its line and column.
pub fn parse(bytes: &[u8]) -> Result<(Environment, Vec<Warning>), Error> {
    let document = prolog::open(bytes)?;
    let text = document.padded;
    match reader::read(document) {
        Ok((environment, warnings)) => Ok((environment, warnings.locate(text))),
        Err(fault) => Err(fault.locate(text)),
    }
}
