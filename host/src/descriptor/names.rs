//! Namespaces, elements and attributes of OVF.
//!
//! Decides which namespaces are OVF's, and which elements and attributes there are in any version of it, so that what is
//! misspelt can be told from what is somebody's extension.
//!
//! The rules: the schemas DSP8023 1.0, 1.1 and 2.0; the drafts' namespace is in the white paper DSP2017 1.0.0, VMware's in
//! its OVF tools of that time.

#![forbid(unsafe_code)]

/// A version of OVF, by the namespace of its envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// VMware's 0.9.
    Old,
    /// A draft of 1.0.
    Draft,
    /// 1.0 and 1.1.
    One,
    /// 2.0 and later.
    Two,
}

/// The namespace of OVF 1.
pub const ONE: &str = "http://schemas.dmtf.org/ovf/envelope/1";
/// The namespace of schema instances: `xsi:type`.
pub(super) const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// The namespaces of bundles of texts that are files of their own.
pub(super) const STRINGS: [&str; 2] =
    ["http://schemas.dmtf.org/ovf/strings/1", "http://schema.dmtf.org/ovf/strings/1"];

const NAMESPACES: [(&str, Version); 4] = [
    ("http://www.vmware.com/schema/ovf/1/envelope", Version::Old),
    ("http://schemas.dmtf.org/ovf/1/envelope", Version::Draft),
    (ONE, Version::One),
    ("http://schemas.dmtf.org/ovf/envelope/2", Version::Two),
];

impl Version {
    /// The version of an envelope in this namespace.
    pub fn of(namespace: &str) -> Option<Self> {
        NAMESPACES.iter().find(|(uri, _)| *uri == namespace).map(|(_, version)| *version)
    }

    /// All namespaces of envelopes.
    pub fn namespaces() -> impl Iterator<Item = &'static str> + Clone {
        NAMESPACES.iter().map(|(uri, _)| *uri)
    }

    /// Whether elements in no namespace are OVF's below such an envelope: before the standard, the schemas gave their
    /// namespace to the root alone (`elementFormDefault="unqualified"`), and who wrote everything with it was read as well.
    pub(super) fn has_bare_elements(self) -> bool {
        matches!(self, Self::Old | Self::Draft)
    }

    /// As people say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Old => "OVF 0.9",
            Self::Draft => "a draft of OVF 1.0",
            Self::One => "OVF 1",
            Self::Two => "OVF 2",
        }
    }
}

/// Whether elements and attributes of this namespace are OVF's, of any version: descriptors of OVF 1 have sections of
/// OVF 2 in them.
pub(super) fn is_ovf(namespace: Option<&str>) -> bool {
    namespace.is_some_and(|it| Version::of(it).is_some())
}

/// Whether this namespace is one that OVF's own schemas use.
pub(super) fn is_standard(namespace: &str) -> bool {
    namespace.starts_with("http://schemas.dmtf.org/")
        || namespace.starts_with("http://www.w3.org/")
        || is_ovf(Some(namespace))
}

/// Where sections may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the envelope.
    Envelope,
    /// In a VirtualSystem.
    System,
    /// In a VirtualSystemCollection.
    Collection,
}

use Place::{Collection, Envelope, System};

/// The sections of OVF, and where they may stand.
pub(super) const SECTIONS: [(&str, &[Place]); 17] = [
    ("AnnotationSection", &[System, Collection]),
    ("BootDeviceSection", &[System]),
    ("DeploymentOptionSection", &[Envelope]),
    ("DiskSection", &[Envelope]),
    ("EncryptionSection", &[Envelope]),
    ("EnvironmentFilesSection", &[System, Collection]),
    ("EulaSection", &[System, Collection]),
    ("InstallSection", &[System]),
    ("NetworkSection", &[Envelope]),
    ("OperatingSystemSection", &[System]),
    ("PlacementGroupSection", &[Envelope]),
    ("PlacementSection", &[System, Collection]),
    ("ProductSection", &[System, Collection]),
    ("ResourceAllocationSection", &[Collection]),
    ("ScaleOutSection", &[Collection]),
    ("SharedDiskSection", &[Envelope]),
    ("StartupSection", &[Collection]),
];

/// The section of a system's hardware, which 1.0 allows in a system alone.
pub(super) const HARDWARE: &str = "VirtualHardwareSection";

/// The attributes and children that an element may have, beside those that extend it. Elements that are not here have
/// texts alone, or CIM's elements.
pub(super) fn shape(element: &str) -> Option<(&'static [&'static str], &'static [&'static str])> {
    Some(match element {
        "References" => (&[], &["File"]),
        "File" => (&["id", "href", "size", "compression", "chunkSize", "fileRef", "path"], &[]),
        "DiskSection" => (&["required"], &["Info", "Disk"]),
        "Disk" => (
            &[
                "diskId",
                "fileRef",
                "capacity",
                "capacityAllocationUnits",
                "format",
                "populatedSize",
                "parentRef",
            ],
            &[],
        ),
        "NetworkSection" => (&["required"], &["Info", "Network"]),
        "Network" => (&["name"], &["Description", "NetworkPortProfile", "NetworkPortProfileURI"]),
        "DeploymentOptionSection" => (&["required"], &["Info", "Configuration"]),
        "Configuration" => (&["id", "default"], &["Label", "Description"]),
        "ProductSection" => (
            &["required", "class", "instance"],
            &[
                "Info",
                "Product",
                "Vendor",
                "Version",
                "FullVersion",
                "ProductUrl",
                "VendorUrl",
                "AppUrl",
                "Icon",
                "Category",
                "Property",
            ],
        ),
        "Property" => (
            &["key", "type", "qualifiers", "userConfigurable", "value", "password"],
            &["Label", "Description", "Value"],
        ),
        "Value" => (&["value", "configuration"], &[]),
        "StartupSection" => (&["required"], &["Info", "Item"]),
        "InstallSection" => (&["required", "initialBootStopDelay"], &["Info"]),
        "AnnotationSection" => (&["required"], &["Info", "Annotation"]),
        "EulaSection" => (&["required"], &["Info", "License"]),
        "OperatingSystemSection" => (&["required", "id", "version"], &["Info", "Description"]),
        "VirtualHardwareSection" => {
            (&["required", "transport", "id"], &["Info", "System", "Item", "EthernetPortItem", "StorageItem"])
        }
        "EnvironmentFilesSection" => (&["required", "transport"], &["Info", "File"]),
        "Strings" => (&["fileRef"], &["Msg"]),
        "Msg" => (&["msgid", "fileRef"], &[]),
        "Info" | "Name" | "Label" | "Description" | "Category" | "Product" | "Vendor" | "License"
        | "Annotation" => (&["msgid"], &[]),
        _ => return None,
    })
}

/// How environments get into guests; of others DSP0243 wants a URI for a name.
pub const TRANSPORTS: [&str; 2] = ["iso", "com.vmware.guestInfo"];

/// Attributes of Items in a StartupSection.
pub(super) const STARTUP_ITEM: &[&str] =
    &["id", "order", "startDelay", "waitingForGuest", "stopDelay", "startAction", "stopAction"];
/// Attributes of Items in hardware.
pub(super) const HARDWARE_ITEM: &[&str] = &["required", "configuration", "bound"];
