//! Collecting the facts.
//!
//! Decides what is looked at, and how much of it is kept: facts are sent to people, so of files that hold more than
//! clues only the lines that a rule looks at, and of numbers that identify a machine only what tells a platform. Does
//! not judge. Whatever cannot be read, as many of these by others than root, is left out.
//!
//! Sources: DSP0134 7.1.2.2 for the bit of SMBIOS; the modules that look at each clue for the rest.

#![forbid(unsafe_code)]

use super::{Facts, confidential, container, firmware, platform, xen};
use crate::sys::{Root, cpuid};

/// Files under `/sys/class/dmi/id`: those that the rules look at, and the chassis' vendor, to show people what the
/// machine is.
const DMI: [&str; 12] = [
    "bios_vendor",
    "bios_version",
    "board_name",
    "board_vendor",
    "chassis_asset_tag",
    "chassis_vendor",
    "product_family",
    "product_name",
    "product_serial",
    "product_uuid",
    "product_version",
    "sys_vendor",
];
const DMI_DIRECTORY: &str = "/sys/class/dmi/id";

/// Enough for all but a list of very many devices, which a guest with these names has not.
const LIMIT: u64 = 256 * 1024;
/// `vendor_id` is in the first lines; to make up all of it takes milliseconds where there are many processors.
const CPUINFO_HEAD: usize = 512;

impl Facts {
    /// Collects them from a machine's file tree and, where that is the running machine, from its processor.
    pub fn read(root: &Root) -> Self {
        let mut facts = Self { arch: std::env::consts::ARCH.to_owned(), ..Self::default() };
        if root.is_system() {
            facts.read_cpuid(cpuid::leaf);
        }
        facts.read_dmi(root);
        facts.read_firmware(root);
        facts.read_container(root);
        for path in xen::FILES.into_iter().chain(confidential::FILES) {
            facts.read_file(root, path, |text| Some(text.to_owned()));
        }
        facts.read_dirs(root, [xen::DIRECTORY].into_iter().chain(confidential::PATHS));
        if facts.asks_for_sev_status() {
            let (path, register) = confidential::SEV_STATUS;
            if let Some(Ok(bytes)) = root.read_at(path, register, 8).map(<[u8; 8]>::try_from) {
                let status = format!("{:#x}", u64::from_le_bytes(bytes));
                facts.files.insert(confidential::SEV_STATUS_FACT.to_owned(), status);
            }
        }
        facts
    }

    fn read_dmi(&mut self, root: &Root) {
        if root.exists(DMI_DIRECTORY) {
            for name in DMI {
                let text = read(root, &format!("{DMI_DIRECTORY}/{name}"));
                if let Some(text) = text.and_then(|text| anonymous(name, text.trim_end())) {
                    self.dmi.insert(name.to_owned(), text);
                }
            }
            self.smbios_vm_bit = smbios_vm_bit(root);
        }
    }

    fn read_firmware(&mut self, root: &Root) {
        if root.exists(firmware::TREE) {
            for path in firmware::TREE_FILES {
                self.read_file(root, path, |text| Some(text.to_owned()));
            }
            let nodes = root.list(firmware::TREE).unwrap_or_default();
            let qemu = nodes.into_iter().filter(|name| name.starts_with(firmware::QEMU_NODE));
            self.dirs.extend(qemu.map(|name| format!("{}/{name}", firmware::TREE)));
        }
        self.read_file(root, firmware::SYSINFO, |text| lines(text, &["VM00 Control Program"]));
        // On POWER the lines about the machine come last.
        let cpuinfo = if root.is_system() && !self.arch.starts_with("powerpc") {
            root.read_at(firmware::CPUINFO, 0, CPUINFO_HEAD).map(|bytes| latin1(&bytes))
        } else {
            read(root, firmware::CPUINFO)
        };
        let names = ["vendor_id", "platform", "model", "machine"];
        if let Some(text) = cpuinfo.and_then(|text| lines(&text, &names)) {
            self.files.insert(firmware::CPUINFO.to_owned(), text);
        }
        self.read_file(root, firmware::FADT, firmware::known_fadt);
        // The last resort, for machines that have nothing better.
        if self.dmi.is_empty() {
            self.read_file(root, firmware::PCI_DEVICES, |text| {
                let known =
                    |line: &&str| firmware::PCI.iter().any(|(id, _)| firmware::pci_id(line) == Some(id));
                Some(text.lines().filter(known).map(|line| format!("{line}\n")).collect())
                    .filter(|lines: &String| !lines.is_empty())
            });
        }
        for port in root.list(platform::PORTS).unwrap_or_default() {
            self.read_file(root, &format!("{}/{port}/name", platform::PORTS), |text| Some(text.to_owned()));
        }
    }

    fn read_container(&mut self, root: &Root) {
        for path in container::FILES {
            self.read_file(root, path, |text| Some(text.to_owned()));
        }
        // The marks' contents are of no use, and podman's names the image.
        for (path, _) in container::MARKS {
            if root.exists(path) {
                self.files.insert((*path).to_owned(), String::new());
            }
        }
        self.read_file(root, container::ENVIRON, |text| {
            container::variable(text).map(|name| format!("container={name}\0"))
        });
        self.read_file(root, container::STATUS, |text| lines(text, &["TracerPid", "VxID"]));
        if let Some(tracer) = self.line(container::STATUS, "TracerPid").filter(|pid| *pid != "0") {
            let comm = format!("/proc/{tracer}/comm");
            self.read_file(root, &comm, |text| Some(text.to_owned()));
        }
        self.read_dirs(root, container::DIRECTORIES);
        let pid = root.link(container::PID_NAMESPACE);
        // Of systemd's settings only those that mean to hide the machine change these two (PrivatePIDs=,
        // ProtectControlGroups=private); Docker with the host's PIDs still changes the second. Where they cannot be
        // read: assume the usual case, since this only ever speaks against a container.
        let cgroup = root.link("/proc/self/ns/cgroup");
        self.init_namespaces = pid.as_ref().is_none_or(|ns| ns == container::INITIAL_PID)
            && cgroup.is_none_or(|ns| ns == container::INITIAL_CGROUP);
        self.files.extend(pid.map(|ns| (container::PID_NAMESPACE.to_owned(), ns)));
    }

    fn read_file(&mut self, root: &Root, path: &str, keep: impl Fn(&str) -> Option<String>) {
        if let Some(text) = read(root, path).and_then(|text| keep(&text)) {
            self.files.insert(path.to_owned(), text);
        }
    }

    fn read_dirs<'a>(&mut self, root: &Root, paths: impl IntoIterator<Item = &'a str>) {
        self.dirs.extend(paths.into_iter().filter(|path| root.exists(path)).map(str::to_owned));
    }
}

fn read(root: &Root, path: &str) -> Option<String> {
    Some(latin1(&root.read(path, LIMIT).ok()??))
}

/// Any bytes as text, a character for each.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The `name : value` lines with these names, once each.
fn lines(text: &str, names: &[&str]) -> Option<String> {
    let find = |name: &&str| {
        text.lines().find(|line| line.split_once(':').is_some_and(|(key, _)| key.trim() == *name))
    };
    let kept: String = names.iter().filter_map(find).map(|line| format!("{line}\n")).collect();
    (!kept.is_empty()).then_some(kept)
}

/// A field without what makes this machine known: of the UUID the first group, of the serial number a platform's part.
fn anonymous(field: &str, text: &str) -> Option<String> {
    match field {
        "product_uuid" => text.split('-').next().map(str::to_owned),
        "product_serial" if text.starts_with(platform::GOOGLE_SERIAL) => {
            Some(format!("{}*", platform::GOOGLE_SERIAL))
        }
        "product_serial" => {
            text.ends_with(platform::SERIAL_DOMAIN).then(|| format!("*{}", platform::SERIAL_DOMAIN))
        }
        _ => Some(text.to_owned()),
    }
}

/// SMBIOS type 0, byte 0x13, bit 4. The file is for root only. Set proves a VM; clear proves nothing.
fn smbios_vm_bit(root: &Root) -> Option<bool> {
    let raw = root.read("/sys/firmware/dmi/entries/0-0/raw", 4096).ok()??;
    let length = usize::from(*raw.get(1)?);
    (length >= 0x14).then(|| raw.get(0x13).map(|byte| byte & (1 << 4) != 0))?
}
