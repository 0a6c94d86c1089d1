//! Where we run: facts first, then a verdict.
//!
//! Decides which hypervisor the guest runs on, in which container, on top of which platform and how confidentially, in
//! the words of systemd-detect-virt(1). Collecting ([`Facts::read`]) changes nothing and never fails: a clue that
//! cannot be read is a clue less. Judging ([`Facts::verdict`]) is pure, so that facts that somebody sent in can be
//! judged anywhere (`detect --facts FILE`). What is known of the world stands in tables, each row with its source;
//! their order of trust is in `rules`. Does not decide what to do about any of it.
//!
//! | module | decides by |
//! |---|---|
//! | `facts` | nothing: it collects |
//! | `cpuid`, `dmi`, `xen`, `firmware` | one kind of clue each to the hypervisor |
//! | `rules` | which of these is believed |
//! | `container`, `platform`, `confidential` | the other three answers |

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod facts;
mod cpuid;
mod dmi;
mod xen;
mod firmware;
mod rules;
mod container;
mod platform;
mod confidential;
#[cfg(test)]
mod tests;

/// What can be seen of the machine. This is the `facts` object of `detect --json` and the input of `detect --facts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// As `uname -m` says.
    pub arch: String,
    /// CPUID leaf 1, ECX bit 31; `None` where there is no CPUID.
    pub hypervisor_bit: Option<bool>,
    /// Leaf (`0x40000000`) to `[EAX, EBX, ECX, EDX]`, each leaf that was read.
    pub cpuid: BTreeMap<String, [u32; 4]>,
    /// `/sys/class/dmi/id/*` by file name.
    pub dmi: BTreeMap<String, String>,
    /// The "virtual machine" bit of SMBIOS type 0; `None` where it cannot be read.
    pub smbios_vm_bit: Option<bool>,
    /// Other small files that were consulted, by absolute path, as Latin-1. Of those that may hold more than a clue,
    /// only the lines that the rules look at; of a symbolic link, what it says.
    pub files: BTreeMap<String, String>,
    /// Directories that were consulted and exist.
    pub dirs: Vec<String>,
    /// Whether the reader runs in the machine's initial namespaces.
    pub init_namespaces: bool,
}

/// What the facts amount to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// The hypervisor, in systemd's word; `none` on bare metal.
    pub vm: &'static str,
    /// The container manager, if we run in a container.
    pub container: Option<&'static str>,
    /// What runs on top of the hypervisor: a cloud, a management product. A cloud's bare metal has one, too.
    pub platform: Option<&'static str>,
    /// The kind of confidential guest, if it is one.
    pub confidential: Option<&'static str>,
    /// The clue that decided.
    pub decided_by: String,
}

impl Verdict {
    /// Whether this is a virtual machine of any kind.
    pub fn is_vm(&self) -> bool {
        self.vm != "none"
    }
}

impl Facts {
    /// Judges the facts.
    pub fn verdict(&self) -> Verdict {
        Tables::KNOWN.judge(self)
    }

    /// A DMI string without the blanks that firmware pads with; empty where there is none.
    fn dmi(&self, field: &str) -> &str {
        self.dmi.get(field).map_or("", |text| text.trim_end())
    }

    /// A small file's text without the line's end.
    fn file(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(|text| text.trim_end())
    }

    /// Whether something is at `path`: as a directory, a file, or the directory of a file.
    fn exists(&self, path: &str) -> bool {
        let below = |file: &String| {
            file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.dirs.iter().any(below) || self.files.keys().any(below)
    }

    /// The value of a `name : value` line of a file, of the first such line.
    fn line<'a>(&'a self, path: &str, name: &str) -> Option<&'a str> {
        self.files.get(path)?.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim())
        })
    }
}

/// How a row looks at a text.
#[derive(Debug, Clone, Copy)]
enum Match {
    Is(&'static str),
    Starts(&'static str),
    Ends(&'static str),
}

impl Match {
    fn holds(self, text: &str) -> bool {
        match self {
            Self::Is(whole) => text == whole,
            Self::Starts(start) => text.starts_with(start),
            Self::Ends(end) => text.ends_with(end),
        }
    }
}

/// A word, or no answer; and the clue that spoke.
type Clue = Option<(&'static str, String)>;

/// All that is known of hypervisors, containers and platforms. A value, so that a test can take each row away and see
/// that it is missed.
#[derive(Debug, Clone, Copy)]
struct Tables<'t> {
    signatures: &'t [cpuid::Signature],
    dmi_pairs: &'t [dmi::Pair],
    dmi_prefixes: &'t [dmi::Prefix],
    device_trees: &'t [firmware::DeviceTree],
    acpi: &'t [firmware::Acpi],
    pci: &'t [firmware::Pci],
    managers: &'t [&'static str],
    marks: &'t [container::Mark],
    cgroups: &'t [container::Cgroup],
    releases: &'t [&'static str],
    platforms: &'t [platform::Platform],
    confidential: &'t [confidential::Row],
}

impl Tables<'static> {
    const KNOWN: Self = Self {
        signatures: cpuid::SIGNATURES,
        dmi_pairs: dmi::PAIRS,
        dmi_prefixes: dmi::PREFIXES,
        device_trees: firmware::DEVICE_TREES,
        acpi: firmware::ACPI,
        pci: firmware::PCI,
        managers: container::MANAGERS,
        marks: container::MARKS,
        cgroups: container::CGROUPS,
        releases: container::RELEASES,
        platforms: platform::PLATFORMS,
        confidential: confidential::ROWS,
    };
}

impl Tables<'_> {
    fn judge(&self, facts: &Facts) -> Verdict {
        let (vm, mut decided_by) =
            self.vm(facts).unwrap_or_else(|| ("none", "no sign of a hypervisor".to_owned()));
        let container = self.container(facts).map(|(word, clue)| {
            decided_by.push_str("; container by ");
            decided_by.push_str(&clue);
            word
        });
        Verdict {
            vm,
            container,
            platform: self.platform(facts),
            confidential: self.confidential(facts),
            decided_by,
        }
    }
}
