//! QEMU's command line for a guest.
//!
//! Decides which device each part of a machine is: a PC with what the descriptor says, a CD drive with the environment,
//! the agent's port, and a serial console that is kept in a file.

#![forbid(unsafe_code)]

use serde_json::{Value, json};

use ovf_agent::protocol::PORT;

use super::{Settings, log, network, socket};
use crate::addresses;
use crate::engine::{Guest, Plan, disks};
use crate::machine::{Bus, Card};

/// The drive with the environment, by the name that the monitor knows it by.
pub(super) const DRIVE: &str = "environment";
/// What QEMU may not do.
pub(super) const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    fn option(&mut self, name: &str, value: impl Into<String>) {
        self.0.extend([name.to_owned(), value.into()]);
    }
}

/// Two monitors: for who starts it, on its standard input; and at a socket, for those who come later.
pub(super) fn monitors(path: &str) -> [String; 8] {
    let late = format!("socket,id=late,path={path},server=on,wait=off");
    let words = ["-chardev", "socket,id=first,fd=0", "-mon", "chardev=first,mode=control"];
    let later = ["-chardev", &late, "-mon", "chardev=late,mode=control"];
    [words, later].concat().try_into().map(|it: [&str; 8]| it.map(str::to_owned)).expect("eight words")
}

/// The command line.
pub(super) fn arguments(plan: &Plan, settings: &Settings, guest: &Guest) -> Result<Vec<String>, String> {
    let (machine, entity) = (&guest.machine, guest.entity);
    let mut line = Line::default();
    line.0.extend(["-nodefaults", "-no-user-config"].map(str::to_owned));
    line.option("-name", format!("guest={}", escaped(&format!("{}/{}", plan.name, guest.id))));
    line.option("-sandbox", SANDBOX);
    line.option("-machine", format!("pc,accel={}", settings.accelerator));
    line.option("-cpu", "max");
    line.option("-smp", machine.cpus.to_string());
    line.option("-m", format!("{}M", machine.memory.div_ceil(1 << 20)));
    line.option("-display", "none");
    line.option("-vga", "std");
    line.option("-boot", "strict=on");
    line.0.extend(monitors(&socket(entity, "monitor")));

    let chardev =
        |id: &str, more: &str| format!("socket,id={id},path={},server=on,wait=off{more}", socket(entity, id));
    line.option("-chardev", chardev("console", &format!(",logfile={}", log(entity))));
    line.option("-serial", "chardev:console");
    line.option("-device", "virtio-serial-pci");
    line.option("-chardev", chardev("port", ""));
    line.option("-device", format!("virtserialport,chardev=port,name={PORT}"));
    line.option("-device", "virtio-rng-pci");
    line.option("-device", "pvpanic");

    let disc = json!({
        "driver": "raw", "node-name": "disc", "read-only": true,
        "file": { "driver": "file", "filename": guest.disc, "read-only": true },
    });
    line.option("-blockdev", disc.to_string());
    line.option("-device", format!("ide-cd,id={DRIVE},drive=disc,bus=ide.1,unit=1"));
    disks(&mut line, guest)?;
    for (number, card) in machine.cards.iter().enumerate() {
        line.option(
            "-netdev",
            format!(
                "stream,id=net{number},server=off,addr.type=unix,addr.path={}",
                network::cable(entity, number)
            ),
        );
        let mac = addresses::mac(&plan.name, &guest.id, number);
        line.option("-device", format!("{},netdev=net{number},mac={mac}", model(card)));
    }
    Ok(line.0)
}

fn disks(line: &mut Line, guest: &Guest) -> Result<(), String> {
    let mut counts = std::collections::HashMap::new();
    for (number, disk) in guest.machine.disks.iter().enumerate() {
        let node = format!("disk{number}");
        let image = json!({
            "driver": "qcow2", "node-name": node, "discard": "unmap",
            "file": { "driver": "file", "filename": disks::overlay(guest.entity, number) },
            "backing": disks::base(disk)?.unwrap_or(Value::Null),
        });
        line.option("-blockdev", image.to_string());
        let place = counts.entry(format!("{:?}", disk.bus)).or_insert(0);
        let index = *place;
        *place += 1;
        let full = |what: &str, most: usize| match index < most {
            true => Ok(()),
            false => Err(format!("it has more than {most} disks on {what}; put some on another controller")),
        };
        let scsi = |line: &mut Line, controller: &str| {
            if index == 0 {
                line.option("-device", format!("{controller},id=scsi-{controller}"));
            }
            format!("scsi-hd,bus=scsi-{controller}.0,scsi-id={index}")
        };
        let device = match disk.bus {
            Bus::Ide => {
                // The fourth place is the CD drive's.
                full("IDE", 3)?;
                format!("ide-hd,bus=ide.{},unit={}", index / 2, index % 2)
            }
            Bus::Sata => {
                full("SATA", 6)?;
                if index == 0 {
                    line.option("-device", "ahci,id=ahci");
                }
                format!("ide-hd,bus=ahci.{index}")
            }
            Bus::Lsi => {
                full("LSI Logic", 7)?;
                scsi(line, "lsi53c895a")
            }
            Bus::LsiSas => {
                full("LSI Logic SAS", 8)?;
                scsi(line, "mptsas1068")
            }
            Bus::Pvscsi => {
                full("PVSCSI", 64)?;
                scsi(line, "pvscsi")
            }
            Bus::Nvme => format!("nvme,serial=disk{number}"),
            Bus::Virtio => "virtio-blk-pci".to_owned(),
        };
        line.option("-device", format!("{device},drive={node},bootindex={}", number + 1));
    }
    Ok(())
}

/// QEMU's name of a network card. One that QEMU has not is the one that most systems know.
pub(in crate::engine) fn model(card: &Card) -> &'static str {
    match card.model.as_str() {
        it if it.contains("vmxnet3") => "vmxnet3",
        it if it.contains("virtio") => "virtio-net-pci",
        it if it.contains("pcnet") => "pcnet",
        "e1000e" => "e1000e",
        _ => "e1000",
    }
}

/// A text as a value of an option.
fn escaped(text: &str) -> String {
    text.replace(',', ",,")
}
