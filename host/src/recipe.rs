//! `appliance.toml`: what an appliance is made of.
//!
//! Decides what a builder may write, and what is said of what cannot be meant, by line and column: what stands alone is judged
//! in `judge`, what depends on the agents of the machines in `pack`.

#![forbid(unsafe_code)]

mod judge;
mod read;
mod outside;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::units;

/// The file.
pub const FILE: &str = "appliance.toml";

/// A whole appliance.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// Names the descriptor, and of several machines the collection.
    pub name: Spanned<String>,
    /// What people call it.
    pub product: Option<String>,
    /// Who makes it.
    pub vendor: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Sizes to choose from when it is deployed.
    #[serde(default)]
    pub configurations: BTreeMap<Spanned<String>, Configuration>,
    /// The networks that machines are on, and what they are for.
    #[serde(default)]
    pub networks: BTreeMap<String, Network>,
    /// What is asked for once, for all machines, by its name in the guests.
    #[serde(default)]
    pub properties: BTreeMap<Spanned<String>, Shared>,
    /// Groups of machines, by their ids.
    #[serde(default)]
    pub groups: BTreeMap<Spanned<String>, Group>,
    /// The machines, by their ids.
    pub machines: BTreeMap<Spanned<String>, Machine>,
}

/// A size to choose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Configuration {
    /// What people call it.
    pub label: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Whether it is meant where nobody chooses.
    #[serde(default)]
    pub default: bool,
}

/// A property of the whole appliance, or of a group. What is not said here is as a machine's agent declares it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Shared {
    /// DSP0243's type.
    #[serde(rename = "type")]
    pub kind: Option<Spanned<String>>,
    /// DSP0243's qualifiers.
    pub qualifiers: Option<String>,
    /// What people call it.
    pub label: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it is a secret.
    pub password: Option<bool>,
    /// What it is where nobody says otherwise.
    pub default: Option<Spanned<String>>,
    /// What it is; nobody is asked.
    pub value: Option<Spanned<String>>,
    /// What the platform gives it, where it can; nobody has to be asked then.
    pub assign: Option<Spanned<Assign>>,
    /// The default of single deployment options.
    #[serde(default)]
    pub configurations: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// What a property can ask a platform for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assign {
    /// An address of its own.
    Address,
    /// The mask of the network.
    Netmask,
    /// How many bits of an address are the network's.
    Prefix,
    /// Where other networks are reached.
    Gateway,
    /// The address of the first network card.
    Mac,
}

/// A group of machines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Group {
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// What its machines are told, and no others.
    #[serde(default)]
    pub properties: BTreeMap<Spanned<String>, Shared>,
    /// When it is started.
    #[serde(default)]
    pub start: Start,
    /// How it is stopped.
    #[serde(default)]
    pub stop: Stop,
}

/// A network.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Network {
    /// What it is for.
    #[serde(default)]
    pub description: String,
}

/// A virtual machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Machine {
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// Its memory: `512 MiB`.
    pub memory: Spanned<String>,
    /// Its processors.
    #[serde(default = "one")]
    pub cpus: NonZeroU32,
    /// Its disks, the first to boot from: an image, in any format of qemu-img's, or the size of an empty one: `4 GiB`.
    #[serde(default)]
    pub disks: Vec<Spanned<String>>,
    /// The networks it is on, one for each card.
    #[serde(default)]
    pub networks: Vec<Spanned<String>>,
    /// Where its agent's configuration is: a directory with `agent.toml`, or an image's root.
    pub agent: Option<Spanned<PathBuf>>,
    /// How it may get its environment.
    #[serde(default = "iso")]
    pub transport: Vec<Spanned<String>>,
    /// CIM's number of its operating system; 1 is another one.
    #[serde(default = "other")]
    pub operating_system: u16,
    /// A text that somebody has to accept.
    pub licence: Option<Spanned<PathBuf>>,
    /// When it is started, if others are there.
    pub start: Option<Spanned<Start>>,
    /// How it is stopped, if others are there.
    pub stop: Option<Spanned<Stop>>,
    /// The group that it is in.
    pub group: Option<Spanned<String>>,
    /// What it is told, and nobody is asked: values of its parameters, by their names in the guest.
    #[serde(default)]
    pub values: BTreeMap<Spanned<String>, Spanned<String>>,
    /// What the platform gives to its parameters, by their names in the guest.
    #[serde(default)]
    pub assign: BTreeMap<Spanned<String>, Assign>,
    /// What is otherwise in single deployment options.
    #[serde(default)]
    pub configurations: BTreeMap<Spanned<String>, Otherwise>,
}

/// What is otherwise in one deployment option.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Otherwise {
    /// The memory.
    pub memory: Option<Spanned<String>>,
    /// The processors.
    pub cpus: Option<NonZeroU32>,
    /// The values of its parameters.
    #[serde(default)]
    pub values: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// When a machine is started.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Start {
    /// Its place in the sequence.
    pub order: u16,
    /// Seconds until the next.
    pub delay: u16,
    /// Whether the next may start sooner, once this one says that it is ready.
    pub wait_for_guest: bool,
}

/// How a machine is stopped.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stop {
    /// Seconds until the previous one.
    pub delay: u16,
    /// What is done to it.
    pub action: StopAction,
}

impl Default for Stop {
    fn default() -> Self {
        Self { delay: 0, action: StopAction::Shutdown }
    }
}

/// What is done to a machine that is stopped.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopAction {
    /// It is asked to.
    Shutdown,
    /// It is switched off.
    PowerOff,
    /// Nothing.
    None,
}

impl StopAction {
    /// As a StartupSection has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "guestShutdown",
            Self::PowerOff => "powerOff",
            Self::None => "none",
        }
    }
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn iso() -> Vec<Spanned<String>> {
    vec![Spanned::new(0..0, "iso".to_owned())]
}

fn other() -> u16 {
    1
}

impl Recipe {
    /// Whether there is a collection around the machines.
    pub fn is_collection(&self) -> bool {
        self.machines.len() > 1 || !self.groups.is_empty() || !self.properties.is_empty()
    }

    /// The deployment options, in the order of the file: where none is the default, the first one is.
    pub fn configurations(&self) -> Vec<(&str, &Configuration)> {
        in_order(&self.configurations)
    }
}

/// What a table has, in the order of the file.
pub fn in_order<T>(table: &BTreeMap<Spanned<String>, T>) -> Vec<(&str, &T)> {
    let mut all: Vec<_> = table.iter().collect();
    all.sort_by_key(|(name, _)| name.span().start);
    all.into_iter().map(|(name, value)| (name.get_ref().as_str(), value)).collect()
}

/// The units of sizes.
pub const UNITS: &str = "KiB, MiB, GiB or TiB";

/// Bytes of `512 MiB`.
pub fn size(text: &str) -> Option<u64> {
    let (number, factor) = parts(text)?;
    let bytes = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (bytes > 0).then_some(bytes)
}

/// Whether this is a size that nothing has.
pub fn is_beyond(text: &str) -> bool {
    parts(text).is_some_and(|(number, factor)| {
        !number.is_empty() && number.parse::<u64>().ok().and_then(|it| it.checked_mul(factor)).is_none()
    })
}

/// A number, and how many bytes its unit has.
fn parts(text: &str) -> Option<(&str, u64)> {
    let (number, unit) = text.trim().split_at(text.trim().find(|it: char| !it.is_ascii_digit())?);
    let factor = match unit.trim() {
        "KiB" => "byte * 2^10",
        "MiB" => "byte * 2^20",
        "GiB" => "byte * 2^30",
        "TiB" => "byte * 2^40",
        _ => return None,
    };
    Some((number, u64::try_from(units::parse(factor)?).ok()?))
}

#[cfg(test)]
mod tests;
