//! A package's guests as KubeVirt's objects.
//!
//! Decides what a guest becomes in a cluster: a VirtualMachine, a Secret with its environment, of which KubeVirt makes the
//! disc, and a DataVolume for each disk. Does not decide when guests start, which no object says; `script` does it. Nothing
//! is asked of a cluster: what is there, and what its networks are called, whoever deploys says.
//!
//! The rules: the API of KubeVirt 1.7 and CDI (`kubevirt.io/v1`, `cdi.kubevirt.io/v1beta1`), against whose types the tests
//! hold all of this. A `secret` volume is an ISO image of the Secret's keys, made by xorriso with Joliet and Rock Ridge when
//! the guest starts. A Secret has at most 1 MiB (Kubernetes: `MaxSecretSize`).

#![forbid(unsafe_code)]

mod base64;
pub mod names;
pub mod script;
pub mod yaml;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::finding::quoted;
use crate::iso::{DOCUMENT, LABEL};
use crate::machine::{Bus, Card, Disk, Machine};
use crate::order::{Step, StopAction};

/// Bytes that a Secret may hold.
pub const MAX_SECRET: usize = 1 << 20;
/// How often a guest is asked whether it is ready, in seconds.
const PERIOD: u64 = 5;

/// A guest that becomes objects.
#[derive(Debug)]
pub struct Guest<'a> {
    /// Its place among the package's entities.
    pub entity: usize,
    /// Its id.
    pub id: &'a str,
    /// What it is called in the cluster.
    pub name: String,
    /// What it has.
    pub machine: Machine,
}

/// Where objects are put, and what they belong to.
#[derive(Debug)]
pub struct Target {
    /// The namespace; otherwise it is whoever applies the objects who chooses.
    pub namespace: Option<String>,
    /// What the package is called, as a label.
    pub part_of: String,
    /// What the package's networks are in the cluster.
    pub networks: BTreeMap<String, Network>,
}

/// A network of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// The pods' own, behind an address translation.
    Pod,
    /// A NetworkAttachmentDefinition.
    Attached(String),
}

/// Where a guest's disk gets its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Somebody uploads it.
    Upload,
    /// It is empty.
    Blank,
}

/// Whether a guest can be one of KubeVirt's at all.
///
/// # Errors
/// Why not, for people.
pub fn judge(guest: &Guest<'_>, target: &Target) -> Result<(), String> {
    for (disk, number) in guest.machine.disks.iter().zip(1..) {
        if disk.layers.iter().any(|it| it.place.path.to_str().is_none()) {
            return Err(format!("the path of disk {number} is not UTF-8; move the package to one that is"));
        }
        if disk.layers.len() > 1 {
            return Err(format!(
                "disk {number} differs from another, and a volume has nothing below it; make one image of them, by `qemu-img convert`"
            ));
        }
        if disk.capacity.is_none() {
            return Err(format!(
                "disk {number} has no ovf:capacity, so nobody knows how large its volume is; add it to the descriptor"
            ));
        }
    }
    let of = |card: &Card| target.networks.get(&card.network);
    if guest.machine.cards.iter().any(|it| of(it).is_none()) {
        return Err(
            "a network card has no Connection, so nobody knows its network; add it to the descriptor"
                .to_owned(),
        );
    }
    if guest.machine.cards.iter().filter(|it| of(it) == Some(&Network::Pod)).count() > 1 {
        return Err(
            "several of its cards are in the pods' network, which has one for each guest; give their networks others with --network"
                .to_owned(),
        );
    }
    Ok(())
}

/// A guest's objects, in the order in which they are needed.
pub fn objects(guest: &Guest<'_>, target: &Target, step: &Step, document: &str) -> Vec<Value> {
    let mut objects = vec![secret(guest, target, document)];
    for (number, disk) in guest.machine.disks.iter().enumerate() {
        objects.push(data_volume(guest, target, number, disk));
    }
    objects.push(virtual_machine(guest, target, step));
    objects
}

/// The volume for one of a guest's disks.
pub fn volume(guest: &Guest<'_>, disk: usize) -> String {
    format!("{}-disk{}", guest.name, disk + 1)
}

/// Where a disk gets its content.
pub fn content(disk: &Disk) -> Content {
    if disk.layers.is_empty() { Content::Blank } else { Content::Upload }
}

fn secret_name(guest: &Guest<'_>) -> String {
    format!("{}-environment", guest.name)
}

fn secret(guest: &Guest<'_>, target: &Target, document: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(guest, target, secret_name(guest)),
        "type": "Opaque",
        // Not stringData, of which server-side apply forgets what is taken away.
        "data": { DOCUMENT: base64::encode(document.as_bytes()) },
    })
}

fn data_volume(guest: &Guest<'_>, target: &Target, number: usize, disk: &Disk) -> Value {
    let mut metadata = metadata(guest, target, volume(guest, number));
    let source = match content(disk) {
        Content::Blank => json!({ "blank": {} }),
        Content::Upload => {
            // It is filled before the guest is there whom the storage would otherwise wait for.
            metadata["annotations"]["cdi.kubevirt.io/storage.bind.immediate.requested"] = "true".into();
            json!({ "upload": {} })
        }
    };
    json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": metadata,
        "spec": {
            "source": source,
            "storage": { "resources": { "requests": { "storage": bytes(disk.capacity.unwrap_or(0)) } } },
        },
    })
}

fn virtual_machine(guest: &Guest<'_>, target: &Target, step: &Step) -> Value {
    let machine = &guest.machine;
    let (mut disks, mut volumes) = (Vec::new(), Vec::new());
    for (number, disk) in machine.disks.iter().enumerate() {
        let name = format!("disk{}", number + 1);
        disks.push(json!({ "name": name, "bootOrder": number + 1, "disk": { "bus": bus(disk.bus) } }));
        volumes.push(json!({ "name": name, "dataVolume": { "name": volume(guest, number) } }));
    }
    disks.push(json!({ "name": "environment", "cdrom": { "bus": "sata", "readonly": true } }));
    volumes.push(json!({
        "name": "environment",
        "secret": { "secretName": secret_name(guest), "volumeLabel": LABEL },
    }));

    let (mut interfaces, mut networks) = (Vec::new(), Vec::new());
    for (number, card) in machine.cards.iter().enumerate() {
        let name = format!("net{}", number + 1);
        let (binding, network) = match &target.networks[&card.network] {
            Network::Pod => ("masquerade", json!({ "name": name, "pod": {} })),
            Network::Attached(it) => ("bridge", json!({ "name": name, "multus": { "networkName": it } })),
        };
        interfaces.push(json!({ "name": name, "model": model(card), binding: {} }));
        networks.push(network);
    }

    let mut devices = json!({ "disks": disks, "rng": {} });
    let mut spec = json!({
        "domain": {
            "cpu": { "cores": machine.cpus },
            "memory": { "guest": bytes(machine.memory) },
        },
        "readinessProbe": { "guestAgentPing": {}, "periodSeconds": PERIOD },
        "volumes": volumes,
    });
    if interfaces.is_empty() {
        // Otherwise it would get one in the pods' network.
        devices["autoattachPodInterface"] = false.into();
    } else {
        devices["interfaces"] = interfaces.into();
        spec["networks"] = networks.into();
    }
    spec["domain"]["devices"] = devices;
    if step.stop == StopAction::Shutdown && !step.stop_delay.is_zero() {
        spec["terminationGracePeriodSeconds"] = step.stop_delay.as_secs().into();
    }
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": metadata(guest, target, guest.name.clone()),
        "spec": {
            // Starting a Halted one makes it Always, and applying the objects again would halt it.
            "runStrategy": "Manual",
            "template": { "metadata": { "labels": labels(guest, target) }, "spec": spec },
        },
    })
}

fn metadata(guest: &Guest<'_>, target: &Target, name: String) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), name.into());
    if let Some(namespace) = &target.namespace {
        metadata.insert("namespace".to_owned(), namespace.as_str().into());
    }
    metadata.insert("labels".to_owned(), labels(guest, target));
    metadata.insert("annotations".to_owned(), json!({ "ovf-host/id": guest.id }));
    Value::Object(metadata)
}

fn labels(guest: &Guest<'_>, target: &Target) -> Value {
    json!({ "app.kubernetes.io/name": guest.name, "app.kubernetes.io/part-of": target.part_of })
}

/// What a disk hangs on. KubeVirt has no IDE, no LSI Logic and no NVMe.
fn bus(bus: Bus) -> &'static str {
    match bus {
        Bus::Ide | Bus::Sata => "sata",
        Bus::Lsi | Bus::LsiSas | Bus::Pvscsi => "scsi",
        Bus::Nvme | Bus::Virtio => "virtio",
    }
}

/// A network card, of those that KubeVirt has. VMware's is none of them.
fn model(card: &Card) -> &'static str {
    match card.model.as_str() {
        it if it.contains("virtio") || it.contains("vmxnet") => "virtio",
        it if it.contains("pcnet") => "pcnet",
        "e1000e" => "e1000e",
        _ => "e1000",
    }
}

/// A quantity of Kubernetes's: no less than so many bytes.
fn bytes(count: u64) -> String {
    const GIB: u64 = 1 << 30;
    match count {
        0 => "1Mi".to_owned(),
        it if it.is_multiple_of(GIB) => format!("{}Gi", it / GIB),
        it => format!("{}Mi", it.div_ceil(1 << 20)),
    }
}

/// What `NAME=NETWORK` says, where the package has these networks.
///
/// # Errors
/// It says nothing that can be, for people.
pub fn network<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Result<(String, Network), String> {
    // A network's name may have an equals sign; what is behind the last one may not.
    let Some((name, what)) = word.rsplit_once('=') else {
        return Err(format!("{} is not NAME=NETWORK", quoted(word)));
    };
    if !known.clone().into_iter().any(|it| it == name) {
        return Err(format!(
            "no guest is in a network {}; {}",
            quoted(name),
            crate::suggest::meant(name, known)
        ));
    }
    if what == "pod" {
        return Ok((name.to_owned(), Network::Pod));
    }
    let (namespace, definition) = what.split_once('/').unzip();
    let parts = [namespace, Some(definition.unwrap_or(what))];
    if !parts.into_iter().flatten().all(names::is_subdomain) {
        return Err(format!(
            "{} is neither `pod` nor the name of a NetworkAttachmentDefinition, with its namespace and a slash before it or not",
            quoted(what)
        ));
    }
    Ok((name.to_owned(), Network::Attached(what.to_owned())))
}

#[cfg(test)]
mod tests;
