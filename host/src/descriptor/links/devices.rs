//! Devices: the disks, networks and other devices that hardware names.
//!
//! The rules: DSP0243, 8.3 (HostResource), 8.4 (Connection, Parent) and 11.2 (the transport iso wants an optical drive).

#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::Links;
use crate::descriptor::{Hardware, Placed, TRANSPORTS};
use crate::finding::{Code, quoted};

/// What a HostResource names: a disk, or a file.
pub(super) fn resource(value: &str) -> Option<(Option<&str>, Option<&str>)> {
    let path = value.strip_prefix("ovf:").unwrap_or(value);
    let path = path.strip_prefix('/').unwrap_or(path);
    match path.split_once('/')? {
        ("disk", id) => Some((Some(id), None)),
        ("file", id) => Some((None, Some(id))),
        _ => None,
    }
}

impl Links<'_> {
    pub(super) fn devices(&mut self) {
        let descriptor = self.descriptor;
        let mut used = HashSet::new();
        for entity in &descriptor.entities {
            for hardware in &entity.hardware {
                self.hardware(hardware, &entity.id, &mut used);
            }
        }
        // A disk may be there for others to differ from.
        used.extend(descriptor.disks.iter().filter_map(|it| Some(it.parent.as_ref()?.value.as_str())));
        for disk in descriptor
            .disks
            .iter()
            .filter(|it| !it.id.value.is_empty() && !used.contains(it.id.value.as_str()))
        {
            let message =
                format!("no virtual machine uses Disk {}; remove it, or name it", quoted(&disk.id.value));
            self.find(Code::DiskUnused, disk.id.at, message);
        }
        for configuration in descriptor.entities.iter().flat_map(|it| &it.hardware).flat_map(|it| &it.items) {
            for id in &configuration.configurations {
                self.configuration(Code::DanglingOption, "this Item", id);
            }
        }
        for id in descriptor.entities.iter().flat_map(|it| &it.reserved_for) {
            self.configuration(Code::DanglingOption, "this reservation", id);
        }
    }

    /// Whether a deployment option is one.
    pub(super) fn configuration(&mut self, code: Code, who: &str, id: &Placed) {
        if !self.known.configurations.contains(id.value.as_str()) {
            let ids = self.descriptor.configurations.iter().map(|it| it.id.value.as_str());
            let meant = self.meant(&id.value, ids);
            let message = format!(
                "{who} is for the deployment option {}, which there is not; {meant}",
                quoted(&id.value)
            );
            self.find(code, id.at, message);
        }
    }

    fn hardware<'h>(&mut self, hardware: &'h Hardware, system: &Placed, used: &mut HashSet<&'h str>) {
        let descriptor = self.descriptor;
        let disks = || descriptor.disks.iter().map(|it| it.id.value.as_str());
        let files = || descriptor.files.iter().map(|it| it.id.value.as_str());
        let networks = || descriptor.networks.iter().map(|it| it.value.as_str());
        let instances: HashSet<&str> =
            hardware.items.iter().filter_map(|it| it.instance.as_deref()).collect();
        for item in &hardware.items {
            for host in &item.host_resources {
                let (what, id, is_there) = match resource(&host.value) {
                    Some((Some(id), _)) => {
                        used.insert(id);
                        ("Disk", id, self.known.disks.contains(id))
                    }
                    Some((_, Some(id))) => ("File", id, self.known.files.contains(id)),
                    _ => continue,
                };
                if !is_there {
                    let meant =
                        if what == "Disk" { self.meant(id, disks()) } else { self.meant(id, files()) };
                    let message = format!(
                        "the HostResource names the {what} {}, which there is not; {meant}",
                        quoted(id)
                    );
                    let code = if what == "Disk" { Code::DanglingDisk } else { Code::DanglingFile };
                    self.find(code, host.at, message);
                }
            }
            // A connection of another device is no network of the package's.
            for connection in item.connections.iter().filter(|_| item.resource == Some(10)) {
                if !self.known.networks.contains(connection.value.as_str()) {
                    let meant = self.meant(&connection.value, networks());
                    let message = format!(
                        "the Connection {} is no Network of the NetworkSection; {meant}",
                        quoted(&connection.value)
                    );
                    self.find(Code::DanglingNetwork, connection.at, message);
                }
            }
            if let Some(parent) = item.parent.as_ref().filter(|it| !instances.contains(it.value.as_str())) {
                let message = format!(
                    "the Parent {} is no InstanceID of this hardware; correct it, or add the controller",
                    quoted(&parent.value)
                );
                self.find(Code::DanglingHardware, parent.at, message);
            }
        }
        for transport in &hardware.transports {
            if !TRANSPORTS.contains(&transport.as_str()) && !transport.contains(':') {
                let meant = self.meant(transport, TRANSPORTS.into_iter());
                let message = format!("the transport {} is nobody's; {meant}", quoted(transport));
                self.find(Code::TransportUnknown, hardware.at, message);
            }
        }
        let wants_drive = hardware.transports.iter().any(|it| it == "iso");
        let has_drive = hardware.items.iter().any(|it| matches!(it.resource, Some(15 | 16)));
        if wants_drive && !has_drive {
            let message = format!(
                "the environment of {} comes by the transport iso, and there is no CD or DVD drive for it; add an Item \
                 with ResourceType 15",
                quoted(&system.value)
            );
            self.find(Code::NoCdrom, hardware.at, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::resource;

    #[test]
    fn host_resources_name_disks_or_files() {
        for (value, want) in [
            ("ovf:/disk/a b", Some((Some("a b"), None))),
            ("ovf://disk/a", None),
            ("/disk/a", Some((Some("a"), None))),
            ("disk/a", Some((Some("a"), None))),
            ("ovf:/file/a", Some((None, Some("a")))),
            ("whatever", None),
        ] {
            assert_eq!(resource(value), want, "{value}");
        }
    }
}
