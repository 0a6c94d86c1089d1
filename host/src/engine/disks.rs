//! A guest's disks: what the package holds, below a file of the guest's own.
//!
//! Decides that a package is never written and never unpacked: what a guest writes goes into a qcow2 of its own, and what
//! it has not written is read from the image where it lies, in an archive by its place there. Formats are named and never
//! guessed by QEMU, and no image may bring in a file that it names itself: below it is what the descriptor says, or
//! nothing.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::program::{run, said};
use crate::engine::{Guest, Plan};
use crate::machine::{Disk, Format};

/// The machine that disks are made on.
pub(super) trait Ground {
    /// Whether it has this file.
    fn has(&self, path: &Path) -> Result<bool, String>;
    /// Runs a program that ends by itself.
    fn run(&self, words: &[&OsStr]) -> Result<Output, String>;
    /// Keeps a file from all but its owner.
    fn close(&self, path: &Path) -> Result<(), String>;
}

/// This machine.
pub(super) struct Here;

impl Ground for Here {
    fn has(&self, path: &Path) -> Result<bool, String> {
        Ok(path.exists())
    }

    fn run(&self, words: &[&OsStr]) -> Result<Output, String> {
        let (program, words) = words.split_first().ok_or("nothing is to be run")?;
        run(Command::new(program).args(words))
    }

    fn close(&self, path: &Path) -> Result<(), String> {
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|error| error.to_string())
    }
}

/// A guest's own file for a disk, in the deployment's directory.
pub(super) fn overlay(guest: usize, disk: usize) -> String {
    format!("guests/{guest}/disk{disk}.qcow2")
}

/// Makes a guest's own files, where they are not there yet: a second boot goes on with them.
pub(super) fn make(plan: &Plan, guest: &Guest, ground: &dyn Ground) -> Result<(), String> {
    for (number, disk) in guest.machine.disks.iter().enumerate() {
        let path = plan.directory.join(overlay(guest.entity, number));
        if ground.has(&path)? {
            continue;
        }
        let below = match base(disk)? {
            Some(image) => size(&image, ground)?,
            None => 0,
        };
        let bytes = below.max(disk.capacity.unwrap_or(0));
        let words = ["qemu-img", "create", "-q", "-f", "qcow2"].map(OsStr::new);
        let output = ground.run(&[&words[..], &[path.as_os_str(), bytes.to_string().as_ref()]].concat())?;
        if !output.status.success() {
            return Err(format!("its disk {} cannot be made: {}", number + 1, said(&output)));
        }
        // What is written to it is its owner's alone, wherever the deployment lies.
        ground
            .close(&path)
            .map_err(|why| format!("its disk {} cannot be kept from others: {why}", number + 1))?;
    }
    Ok(())
}

/// What is below a guest's own file, for QEMU.
pub(super) fn base(disk: &Disk) -> Result<Option<Value>, String> {
    let mut below: Option<Value> = None;
    for layer in &disk.layers {
        let file = json!({ "driver": "file", "filename": layer.place.path, "read-only": true });
        let file = match layer.place.part {
            // QEMU's sizes are blocks; what an archive has behind its members is blocks, too.
            Some((offset, size)) => json!({
                "driver": "raw", "read-only": true, "offset": offset, "size": size.next_multiple_of(512), "file": file,
            }),
            None => file,
        };
        let driver = match layer.format {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
            Format::Vmdk => "vmdk",
            Format::Vpc => "vpc",
            Format::Vhdx => "vhdx",
        };
        let mut image = json!({ "driver": driver, "read-only": true, "file": file });
        match (layer.format, below.take()) {
            (Format::Qcow2 | Format::Vmdk, backing) => image["backing"] = backing.unwrap_or(Value::Null),
            (_, None) => {}
            (_, Some(_)) => {
                let name = layer.place.path.display();
                return Err(format!(
                    "{name}: an image that differs from another is a VMDK or a qcow2, and this is {driver}"
                ));
            }
        }
        below = Some(image);
    }
    Ok(below)
}

/// The disk that an image makes, in bytes.
fn size(image: &Value, ground: &dyn Ground) -> Result<u64, String> {
    let image = format!("json:{image}");
    let output =
        ground.run(&["qemu-img", "info", "--force-share", "--output=json", &image].map(OsStr::new))?;
    if !output.status.success() {
        return Err(format!("its image cannot be read: {}", said(&output)));
    }
    let info: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("qemu-img info: {error}"))?;
    info["virtual-size"].as_u64().ok_or_else(|| "qemu-img info gives no size".to_owned())
}
