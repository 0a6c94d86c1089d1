//! A guest as libvirt's XML.
//!
//! Decides which device each part of a machine is, as `qemu::arguments` does: the same PC, with the same disks, card models
//! and addresses. Everything that libvirt would otherwise look for in an image is said: formats, and what lies below.
//!
//! The rules: libvirt's "Domain XML format"; its "QEMU command-line passthrough" for cards where it has no networks.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::Path;

use ovf_agent::protocol::PORT;
use sha2::{Digest, Sha256};

use super::{Settings, network};
use crate::addresses;
use crate::deployment::name_of;
use crate::document::escaped;
use crate::engine::qemu::network::cable;
use crate::engine::qemu::{log, model, socket};
use crate::engine::{Guest, Plan, disks};
use crate::machine::{Bus, Disk, Format, Layer};

/// The drive with the environment: the last place of IDE's four.
pub(super) const DRIVE: &str = "hdd";
/// PCI places of a PC's root bus; libvirt fills them from below.
const PLACES: usize = 32;
/// How many of them cards may have that libvirt does not know of.
const CARDS: usize = 8;

/// What is a deployment's own among all that libvirt has.
pub(super) fn digest(plan: &Plan, words: &[&str]) -> String {
    let mut digest = Sha256::new();
    digest.update(&plan.key);
    for word in words {
        digest.update([0]);
        digest.update(word);
    }
    digest.finalize().iter().map(|it| format!("{it:02x}")).collect()
}

/// The name of a guest's domain: for people, and in events.
pub(super) fn name(plan: &Plan, guest: &Guest) -> String {
    let own = digest(plan, &["guest", &guest.entity.to_string()]);
    format!("{}-{}-{}", plan.name, name_of(&guest.id), &own[..8])
}

/// The UUID of a guest's domain: one of version 8, whose bits are anybody's own.
pub(super) fn uuid(plan: &Plan, guest: &Guest) -> String {
    let it = digest(plan, &["guest", &guest.entity.to_string()]);
    format!("{}-{}-8{}-8{}-{}", &it[..8], &it[8..12], &it[12..15], &it[15..18], &it[18..30])
}

/// The definition of a guest's domain.
pub(super) fn domain(plan: &Plan, settings: &Settings, guest: &Guest) -> Result<String, String> {
    let mut out = String::new();
    write(&mut out, plan, settings, guest)?;
    Ok(out)
}

/// Writing to a text does not fail; what fails is what is written.
struct Out<'a>(&'a mut String);

impl Out<'_> {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(line);
        self.0.push('\n');
    }
}

fn write(out: &mut String, plan: &Plan, settings: &Settings, guest: &Guest) -> Result<(), String> {
    let (machine, entity) = (&guest.machine, guest.entity);
    let kind = if settings.accelerator == "kvm" { "kvm" } else { "qemu" };
    let title = format!("{}/{}", plan.name, guest.id).replace(char::is_control, " ");
    let inside = |name: String| path(&plan.directory.join(name));
    let mut out = Out(out);
    out.line(format_args!(
        r#"<domain type="{kind}" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">"#
    ));
    out.line(format_args!("  <name>{}</name>", escaped(&name(plan, guest))));
    out.line(format_args!("  <uuid>{}</uuid>", uuid(plan, guest)));
    out.line(format_args!("  <title>{}</title>", escaped(&title)));
    out.line(format_args!(r#"  <memory unit="MiB">{}</memory>"#, machine.memory.div_ceil(1 << 20)));
    out.line(format_args!("  <vcpu>{}</vcpu>", machine.cpus));
    out.line(format_args!(r#"  <os><type arch="x86_64" machine="pc">hvm</type></os>"#));
    out.line(format_args!("  <features><acpi/><apic/></features>"));
    out.line(format_args!(r#"  <cpu mode="maximum"/>"#));
    out.line(format_args!("  <on_poweroff>destroy</on_poweroff>"));
    out.line(format_args!("  <on_reboot>restart</on_reboot>"));
    out.line(format_args!("  <on_crash>destroy</on_crash>"));
    out.line(format_args!("  <devices>"));
    out.line(format_args!("    <emulator>{}</emulator>", path(&settings.program)?));
    disks(&mut out, plan, guest, settings.connection.is_far())?;
    out.line(format_args!(r#"    <disk type="file" device="cdrom">"#));
    out.line(format_args!(r#"      <driver name="qemu" type="raw"/>"#));
    out.line(format_args!(r#"      <source file="{}"/>"#, path(&guest.disc)?));
    out.line(format_args!(r#"      <target dev="{DRIVE}" bus="ide"/>"#));
    out.line(format_args!("      <readonly/>"));
    out.line(format_args!("    </disk>"));
    out.line(format_args!(r#"    <controller type="usb" model="none"/>"#));
    // As without libvirt: `ovf-host console` connects to it. (`virsh console` wants a terminal, which nobody else can have.)
    out.line(format_args!(r#"    <serial type="unix">"#));
    out.line(format_args!(r#"      <source mode="bind" path="{}"/>"#, inside(socket(entity, "console"))?));
    out.line(format_args!(r#"      <log file="{}" append="on"/>"#, inside(log(entity))?));
    out.line(format_args!("    </serial>"));
    out.line(format_args!(r#"    <channel type="unix">"#));
    out.line(format_args!(r#"      <source mode="bind" path="{}"/>"#, inside(socket(entity, "port"))?));
    out.line(format_args!(r#"      <target type="virtio" name="{PORT}"/>"#));
    out.line(format_args!("    </channel>"));
    out.line(format_args!(r#"    <rng model="virtio"><backend model="random">/dev/urandom</backend></rng>"#));
    out.line(format_args!(r#"    <video><model type="vga"/></video>"#));
    out.line(format_args!(r#"    <memballoon model="none"/>"#));
    let cards: Vec<_> = machine.cards.iter().enumerate().collect();
    if settings.connection.is_system() {
        for (number, card) in cards {
            out.line(format_args!(r#"    <interface type="network">"#));
            out.line(format_args!(
                r#"      <mac address="{}"/>"#,
                addresses::mac(&plan.name, &guest.id, number)
            ));
            out.line(format_args!(
                r#"      <source network="{}"/>"#,
                escaped(&network::name(plan, &card.network))
            ));
            // libvirt's own word for a card is QEMU's, but for virtio's.
            out.line(format_args!(r#"      <model type="{}"/>"#, model(card).trim_end_matches("-net-pci")));
            out.line(format_args!("    </interface>"));
        }
        out.line(format_args!("  </devices>"));
    } else {
        out.line(format_args!("  </devices>"));
        if cards.len() > CARDS {
            return Err(format!("it has more than {CARDS} network cards"));
        }
        out.line(format_args!("  <qemu:commandline>"));
        for (number, card) in cards {
            let end = inside(cable(entity, number))?;
            let mac = addresses::mac(&plan.name, &guest.id, number);
            // QEMU would choose a place that libvirt has chosen for another device.
            let place = PLACES - 1 - number;
            for word in [
                "-netdev",
                &format!(
                    "stream,id=ovf{number},server=off,addr.type=unix,addr.path={}",
                    end.replace(',', ",,")
                ),
                "-device",
                &format!("{},netdev=ovf{number},mac={mac},bus=pci.0,addr={place:#x}", model(card)),
            ] {
                out.line(format_args!(r#"    <qemu:arg value="{word}"/>"#));
            }
        }
        out.line(format_args!("  </qemu:commandline>"));
    }
    out.line(format_args!("</domain>"));
    Ok(())
}

fn disks(out: &mut Out<'_>, plan: &Plan, guest: &Guest, is_brought: bool) -> Result<(), String> {
    // How many there are on each kind of bus, and of each kind of name; and the SCSI controllers, in their order.
    let (mut buses, mut names, mut controllers) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (number, disk) in guest.machine.disks.iter().enumerate() {
        let index = next(&mut buses, format!("{:?}", disk.bus));
        let full = |what: &str, most: usize| match index < most {
            true => Ok(()),
            false => Err(format!("it has more than {most} disks on {what}; put some on another controller")),
        };
        let mut scsi = |out: &mut Out<'_>, model: &str| {
            if !controllers.contains(&disk.bus) {
                let it = controllers.len();
                out.line(format_args!(r#"    <controller type="scsi" index="{it}" model="{model}"/>"#));
                controllers.push(disk.bus);
            }
            controllers.iter().position(|it| *it == disk.bus).unwrap_or_default()
        };
        let drive = |controller: usize, bus: usize, target: usize, unit: usize| {
            format!(
                r#"      <address type="drive" controller="{controller}" bus="{bus}" target="{target}" unit="{unit}"/>"#
            )
        };
        let (prefix, bus, place) = match disk.bus {
            Bus::Ide => {
                // The fourth place is the CD drive's.
                full("IDE", 3)?;
                ("hd", "ide", Some(drive(0, index / 2, 0, index % 2)))
            }
            Bus::Sata => {
                full("SATA", 6)?;
                ("sd", "sata", Some(drive(0, 0, 0, index)))
            }
            Bus::Lsi => {
                full("LSI Logic", 7)?;
                ("sd", "scsi", Some(drive(scsi(out, "lsilogic"), 0, 0, index)))
            }
            Bus::LsiSas => {
                full("LSI Logic SAS", 8)?;
                ("sd", "scsi", Some(drive(scsi(out, "lsisas1068"), 0, index, 0)))
            }
            Bus::Pvscsi => {
                full("PVSCSI", 64)?;
                ("sd", "scsi", Some(drive(scsi(out, "vmpvscsi"), 0, index, 0)))
            }
            Bus::Nvme => {
                return Err(format!(
                    "its disk {} is on NVMe, which libvirt has only for drives of this machine's; take --engine qemu, or put it on another controller",
                    number + 1
                ));
            }
            Bus::Virtio => ("vd", "virtio", None),
        };
        let letters = letters(next(&mut names, prefix.to_owned()));
        let own = plan.directory.join(disks::overlay(guest.entity, number));
        out.line(format_args!(r#"    <disk type="file" device="disk">"#));
        out.line(format_args!(r#"      <driver name="qemu" type="qcow2" discard="unmap"/>"#));
        out.line(format_args!(r#"      <source file="{}"/>"#, path(&own)?));
        below(out, disk, is_brought)?;
        out.line(format_args!(r#"      <target dev="{prefix}{letters}" bus="{bus}"/>"#));
        if let Some(place) = place {
            out.line(format_args!("{place}"));
        }
        out.line(format_args!(r#"      <boot order="{}"/>"#, number + 1));
        out.line(format_args!("    </disk>"));
    }
    Ok(())
}

/// What is below a guest's own file. The last one says that nothing is below it: else libvirt asks the image.
fn below(out: &mut Out<'_>, disk: &Disk, is_brought: bool) -> Result<(), String> {
    for layer in disk.layers.iter().rev() {
        image(out, layer, is_brought)?;
    }
    out.line(format_args!("      <backingStore/>"));
    for _ in &disk.layers {
        out.line(format_args!("      </backingStore>"));
    }
    Ok(())
}

fn image(out: &mut Out<'_>, layer: &Layer, is_brought: bool) -> Result<(), String> {
    let format = match layer.format {
        Format::Raw => "raw",
        Format::Qcow2 => "qcow2",
        Format::Vmdk => "vmdk",
        Format::Vpc => "vpc",
        Format::Vhdx => "vhdx",
    };
    out.line(format_args!(r#"      <backingStore type="file">"#));
    out.line(format_args!(r#"      <format type="{format}"/>"#));
    out.line(format_args!(r#"      <source file="{}">"#, path(&layer.place.path)?));
    // A package stays its owner's: libvirt would give it to the user who runs guests, as it may what was brought there.
    if !is_brought {
        out.line(format_args!(r#"        <seclabel model="dac" relabel="no"/>"#));
    }
    if let Some((offset, size)) = layer.place.part {
        // QEMU's sizes are blocks; what an archive has behind its members is blocks, too.
        let size = size.next_multiple_of(512);
        out.line(format_args!(
            r#"        <slices><slice type="storage" offset="{offset}" size="{size}"/></slices>"#
        ));
    }
    out.line(format_args!("      </source>"));
    Ok(())
}

/// The number of this one among those of its kind.
fn next(counts: &mut BTreeMap<String, usize>, kind: String) -> usize {
    let count = counts.entry(kind).or_insert(0);
    *count += 1;
    *count - 1
}

/// `a` to `z`, `aa` and so on.
fn letters(number: usize) -> String {
    let last = char::from(b'a' + (number % 26) as u8);
    match number / 26 {
        0 => last.to_string(),
        more => letters(more - 1) + &last.to_string(),
    }
}

fn path(path: &Path) -> Result<String, String> {
    match path.to_str() {
        Some(text) if !crate::document::is_forbidden(text) => Ok(escaped(text).into_owned()),
        _ => Err(format!("{} cannot be written in libvirt's XML; move or rename it", path.display())),
    }
}

#[cfg(test)]
mod tests;
