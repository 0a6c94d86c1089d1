//! What a guest's machine has, for whoever starts it.
//!
//! Decides which of a descriptor's Items make a machine under a deployment option, and what they mean: processors, memory,
//! disks with what lies below them, network cards, a CD drive. Does not decide how an engine makes such things.
//!
//! The rules: DSP0243, clause 8: an Item without a configuration is of all of them, one with a bound is a limit and no
//! device; the first VirtualHardwareSection is the one that is taken. Numbers are CIM's (DSP1042 and its kin).

#![forbid(unsafe_code)]

use crate::check::Loaded;
use crate::descriptor::{Descriptor, Hardware, Item};
use crate::finding::quoted;
use crate::package::path::{Target, resolve};
use crate::package::{Package, Place};

/// Bytes of memory where the descriptor has none.
const USUAL_MEMORY: u64 = 512 << 20;

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Processors.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Disks, the first to boot from.
    pub disks: Vec<Disk>,
    /// Network cards.
    pub cards: Vec<Card>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// What it hangs on.
    pub bus: Bus,
    /// Its content: the base first, then what differs from it, each from the one before. An empty disk has none.
    pub layers: Vec<Layer>,
    /// Bytes that the descriptor gives it; an image may have more.
    pub capacity: Option<u64>,
}

/// An image of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Where its bytes are.
    pub place: Place,
    /// What it is.
    pub format: Format,
}

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The disk's own bytes.
    Raw,
    /// QEMU's.
    Qcow2,
    /// VMware's, in one file.
    Vmdk,
    /// Virtual PC's.
    Vpc,
    /// Hyper-V's.
    Vhdx,
}

/// What a disk hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// IDE.
    Ide,
    /// AHCI.
    Sata,
    /// The LSI Logic controller that nobody says more of.
    Lsi,
    /// LSI Logic SAS.
    LsiSas,
    /// VMware's paravirtual SCSI.
    Pvscsi,
    /// NVM Express.
    Nvme,
    /// Virtio.
    Virtio,
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The network that it is in.
    pub network: String,
    /// Which it is, in lower case: `e1000`, `vmxnet3`.
    pub model: String,
}

impl Machine {
    /// The machine of a virtual system.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub fn of(loaded: &Loaded, system: usize, configuration: Option<&str>) -> Result<Self, String> {
        let entity = &loaded.descriptor.entities[system];
        let Some(hardware) = entity.hardware.first() else {
            return Err("it has no VirtualHardwareSection, and so nothing to start".to_owned());
        };
        let items: Vec<_> = items(hardware, configuration).collect();
        let number = |kind| items.iter().filter(move |it| it.resource == Some(kind));
        // A quantity times a unit may be any number; what no machine has is for the engine to refuse.
        let memory = number(4)
            .filter_map(|it| u128::from(it.quantity?).checked_mul(it.unit.unwrap_or(1 << 20)))
            .fold(0_u128, u128::saturating_add);
        let mut machine = Self {
            cpus: number(3).filter_map(|it| it.quantity).fold(0_u64, u64::saturating_add).max(1),
            memory: if memory == 0 { USUAL_MEMORY } else { u64::try_from(memory).unwrap_or(u64::MAX) },
            disks: Vec::new(),
            cards: Vec::new(),
        };
        for item in &items {
            match item.resource {
                Some(17) => machine.disks.push(disk(loaded, &items, item)?),
                Some(10) => machine.cards.push(Card {
                    network: item.connections.first().map_or_else(String::new, |it| it.value.clone()),
                    model: item.subtype.to_ascii_lowercase(),
                }),
                _ => {}
            }
        }
        Ok(machine)
    }
}

/// The Items that are devices under a deployment option.
fn items<'a>(hardware: &'a Hardware, configuration: Option<&str>) -> impl Iterator<Item = &'a Item> {
    hardware.items.iter().filter(move |item| {
        let is_ours = item.configurations.is_empty()
            || item.configurations.iter().any(|it| Some(it.value.as_str()) == configuration);
        is_ours && item.bound.as_deref().is_none_or(|it| it == "normal")
    })
}

fn disk(loaded: &Loaded, items: &[&Item], item: &Item) -> Result<Disk, String> {
    let parent = items
        .iter()
        .find(|it| it.instance.is_some() && it.instance == item.parent.as_ref().map(|it| it.value.clone()));
    let bus = parent.map_or(Bus::Virtio, |it| bus(it));
    let Some(resource) = item.host_resources.first() else {
        return Err("a disk has no HostResource; it names the image, as ovf:/disk/ID".to_owned());
    };
    let path = resource.value.trim_start_matches("ovf:").trim_start_matches('/');
    let (kind, id) = path.split_once('/').unwrap_or(("", path));
    let (mut layers, mut capacity, mut sized_by) = (Vec::new(), None, None);
    let descriptor = &loaded.descriptor;
    if kind == "file" {
        layers.push(layer(&loaded.package, descriptor, id, "")?);
    } else {
        let mut next = Some(id);
        while let Some(id) = next {
            let found = descriptor.disks.iter().find(|it| it.id.value == id);
            let disk = found.ok_or_else(|| format!("there is no disk {}", quoted(id)))?;
            if layers.len() > descriptor.disks.len() {
                return Err(format!("the disks below {} lead in a circle", quoted(id)));
            }
            if let Some(file) = &disk.file {
                layers.insert(0, layer(&loaded.package, descriptor, &file.value, &disk.format)?);
            }
            capacity = capacity.or(disk.capacity.and_then(|it| u64::try_from(it).ok()));
            sized_by = sized_by.or(disk.sized_by.as_ref());
            next = disk.parent.as_ref().map(|it| it.value.as_str());
        }
    }
    if layers.is_empty()
        && capacity.is_none()
        && let Some(property) = sized_by
    {
        return Err(format!(
            "the capacity of the disk {} is the property {}'s, which ovf-host does not look up; write the number of it into the descriptor",
            quoted(id),
            quoted(&property.value)
        ));
    }
    if layers.is_empty() && capacity.is_none() {
        return Err(format!("the disk {} has neither content nor a capacity", quoted(id)));
    }
    Ok(Disk { bus, layers, capacity })
}

/// What a controller is to us.
fn bus(controller: &Item) -> Bus {
    let subtype = controller.subtype.to_ascii_lowercase();
    match controller.resource {
        Some(5) => Bus::Ide,
        Some(6) if subtype.contains("sas") => Bus::LsiSas,
        Some(6) if subtype.contains("virtualscsi") || subtype.contains("pvscsi") => Bus::Pvscsi,
        Some(6 | 20) if subtype.contains("virtio") => Bus::Virtio,
        Some(6) => Bus::Lsi,
        Some(20) if subtype.contains("nvme") => Bus::Nvme,
        Some(20) => Bus::Sata,
        _ => Bus::Virtio,
    }
}

fn layer(package: &Package, descriptor: &Descriptor, id: &str, uri: &str) -> Result<Layer, String> {
    let file = descriptor.files.iter().find(|it| it.id.value == id);
    let file = file.ok_or_else(|| format!("there is no file {}", quoted(id)))?;
    if file.chunk.is_some() || file.compression.value == "gzip" {
        let message = "is compressed or in pieces, and is not started from as it is; make it one image, by `gunzip` or `cat`";
        return Err(format!("the file {} {message}, and correct its File", quoted(id)));
    }
    let place = match resolve(&file.href.value) {
        Target::Inside(name) => {
            package.place(&name).map_err(|it| format!("{}: {}", quoted(&it.file), it.message))?
        }
        _ => None,
    };
    let place = place.ok_or_else(|| format!("the file {} is not in the package", quoted(id)))?;
    let format = format(package, file, uri)?;
    Ok(Layer { place, format })
}

/// What an image is: by its first bytes, and where these are no format's, by what the descriptor says. An image that leads
/// to other files of the machine it is started on is refused: packages are from anywhere.
fn format(package: &Package, file: &crate::descriptor::File, uri: &str) -> Result<Format, String> {
    let mut first = Vec::new();
    if let Target::Inside(name) = resolve(&file.href.value)
        && let Some((reader, _)) =
            package.file(&name).map_err(|it| format!("{}: {}", quoted(&it.file), it.message))?
    {
        use std::io::Read;
        reader.take(512).read_to_end(&mut first).map_err(|it| format!("{name} cannot be read: {it}"))?;
    }
    let name = quoted(&file.href.value);
    // A VMDK whose header has no capacity has a descriptor within it, which names files as one that is a file does.
    let is_empty = first.get(12..20).is_none_or(|it| it == [0; 8]);
    if first.starts_with(b"# Disk DescriptorFile") || first.starts_with(b"KDMV") && is_empty {
        let message =
            "is a VMDK whose content is in other files; make one image of it, by `qemu-img convert -O vmdk`";
        return Err(format!("{name} {message}"));
    }
    if first.starts_with(b"QFI\xfb") {
        // Version 3 has flags of features that a reader must know; bit 2 is data in another file.
        let version = first.get(4..8).map(|it| u32::from_be_bytes(it.try_into().expect("four bytes")));
        let flags = first.get(72..80).map(|it| u64::from_be_bytes(it.try_into().expect("eight bytes")));
        if version >= Some(3) && flags.is_some_and(|it| it & 4 != 0) {
            return Err(format!(
                "{name} is a qcow2 whose content is in another file; make one image of it, by `qemu-img convert`"
            ));
        }
        return Ok(Format::Qcow2);
    }
    if first.starts_with(b"KDMV") {
        return Ok(Format::Vmdk);
    }
    if first.starts_with(b"vhdxfile") {
        return Ok(Format::Vhdx);
    }
    if first.starts_with(b"conectix") || uri.to_ascii_lowercase().contains("vhd") {
        return Ok(Format::Vpc);
    }
    let says_other = ["vmdk", "qcow"].iter().any(|it| uri.to_ascii_lowercase().contains(it));
    if says_other {
        return Err(format!("{name} is not the image that its Disk's ovf:format says; it may be damaged"));
    }
    Ok(Format::Raw)
}
