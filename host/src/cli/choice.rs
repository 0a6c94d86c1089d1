//! What whoever deploys a package says: which one, and what it is told.
//!
//! Decides what may be said on the command line, and which packages are taken. How values are given is in `given`.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use ovf_agent::environment::Platform;

use super::{Exit, Fault, Result, given, verdict};
use crate::addresses::Subnet;
use crate::assign::assign;
use crate::check::{Loaded, load, vouch};
use crate::deployment::{Record, name_of};
use crate::document;
use crate::environments::{Choice, Environments, Origin};
use crate::finding::{Code, Finding, quoted};
use crate::package::certificate::Authorities;
use crate::secret::Secret;

/// What is said on the command line.
#[derive(Debug, Args)]
pub(super) struct Words {
    /// The .ovf or .ova
    #[arg(value_name = "PACKAGE")]
    package: PathBuf,
    /// Set a property, by its name in the guest: class.key.instance, with `ID:` before it where several have it
    #[arg(long = "property", value_name = "KEY=VALUE")]
    properties: Vec<Secret>,
    /// Set properties by the lines of a file (`-`: standard input), which others do not see as they see command lines
    #[arg(long = "properties", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Set a property to all that a file has in it (`-`: standard input), be it of several lines
    #[arg(long = "property-file", value_name = "KEY=FILE")]
    whole_files: Vec<String>,
    /// Choose a deployment option; otherwise it is the descriptor's default
    #[arg(long, value_name = "ID")]
    configuration: Option<String>,
    /// Tell guests of their platform: kind, version, vendor, locale, timezone (minutes from UTC, east positive)
    #[arg(long = "platform", value_name = "NAME=VALUE")]
    platform: Vec<String>,
    /// Give properties that ask for an address one of these; the first is this machine's
    #[arg(long, value_name = "ADDRESS/BITS")]
    subnet: Option<Subnet>,
    /// Take the package only if somebody has signed it for whom a certificate in this PEM file vouches
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// What was chosen.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) package: PathBuf,
    pub(super) configuration: Option<String>,
    pub(super) properties: Vec<(String, Secret)>,
    /// Where each of them was said; nowhere in particular where an earlier command has kept them.
    origins: Vec<Origin>,
    authorities: Option<PathBuf>,
    pub(super) platform: Vec<String>,
    pub(super) subnet: Option<Subnet>,
    /// The deployment's name; the package's own id makes one otherwise.
    pub(super) name: Option<String>,
}

impl Words {
    /// Reads what they name.
    pub(super) fn read(self) -> Result<Chosen> {
        let (properties, origins) =
            given::read(&self.files, ("--property", &self.properties), &self.whole_files)?;
        let Self { package, configuration, platform, subnet, ca: authorities, .. } = self;
        let name = None;
        Ok(Chosen { package, configuration, properties, origins, authorities, platform, subnet, name })
    }
}

impl Chosen {
    /// What an earlier command has chosen.
    pub(super) fn again(record: &Record) -> Result<Self> {
        Ok(Self {
            package: record.package.clone(),
            configuration: record.configuration.clone(),
            properties: record.properties.clone(),
            origins: Vec::new(),
            authorities: None,
            platform: record.platform.clone(),
            subnet: record.subnet.as_deref().map(str::parse).transpose().map_err(Fault::usage)?,
            name: Some(record.name.clone()),
        })
    }

    /// Reads the package; none if it has what is fatal to what it is read for, which has been said.
    pub(super) fn load(&self, is_fatal: fn(Code) -> bool) -> Result<Option<Loaded>> {
        let authorities = self.authorities.as_deref().map(Authorities::read).transpose();
        let authorities = authorities.map_err(|finding| {
            say([&finding]);
            Fault::failed("")
        })?;
        let mut findings = Vec::new();
        let mut loaded = load(&self.package, &mut findings);
        if let Some(loaded) = &mut loaded {
            vouch(loaded, authorities.as_ref(), &mut findings);
        }
        findings.sort();
        let (fatal, others): (Vec<_>, Vec<_>) = findings.into_iter().partition(|it| is_fatal(it.code));
        say(&fatal);
        if verdict(&fatal) == Exit::Failed {
            return Err(Fault::failed(""));
        }
        if !fatal.is_empty() {
            return Ok(None);
        }
        if verdict(&others) != Exit::Done {
            let message =
                "the package has errors that environments do not depend on; `ovf-host check` shows them";
            let _ = writeln!(io::stderr(), "ovf-host: {message}");
        }
        Ok(loaded)
    }

    /// Makes the environments; none if that is not possible, which has been said.
    pub(super) fn environments<'a>(&self, loaded: &'a Loaded) -> Result<Option<Environments<'a>>> {
        let descriptor = &loaded.descriptor;
        let usual = || name_of(&descriptor.entities[0].id.value);
        let name = self.name.clone().unwrap_or_else(usual);
        let assigned = match self.subnet {
            Some(subnet) => assign(descriptor, subnet, &name).map_err(Fault::usage)?,
            None => Default::default(),
        };
        let choice = Choice {
            configuration: self.configuration.clone(),
            properties: self.properties.clone(),
            origins: self.origins.clone(),
            assigned,
            platform: self.platform()?,
        };
        let mut findings = Vec::new();
        let environments = Environments::make(descriptor, &loaded.source, choice, &mut findings);
        say(&findings);
        Ok(environments)
    }

    fn platform(&self) -> Result<Platform> {
        let mut platform = Platform {
            kind: Some("ovf-host".to_owned()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..Platform::default()
        };
        let mut said = BTreeSet::new();
        for word in &self.platform {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            if !said.insert(name) {
                return Err(Fault::usage(format_args!("the platform's {} is said twice", quoted(name))));
            }
            if document::is_forbidden(value) {
                return Err(Fault::usage(format_args!(
                    "the platform's {} has a character that XML forbids; leave it out",
                    quoted(name)
                )));
            }
            let text = Some(value.to_owned()).filter(|it| !it.is_empty());
            match name {
                "kind" => platform.kind = text,
                "version" => platform.version = text,
                "vendor" => platform.vendor = text,
                "locale" => platform.locale = text,
                "timezone" => {
                    let minutes = value
                        .parse()
                        .map_err(|_| Fault::usage("the timezone is no number of minutes from UTC"))?;
                    platform.timezone = Some(minutes);
                }
                _ => {
                    let known = ["kind", "version", "vendor", "locale", "timezone"];
                    let meant = crate::suggest::meant(name, known);
                    return Err(Fault::usage(format_args!("a platform has no {}; {meant}", quoted(name))));
                }
            }
        }
        Ok(platform)
    }
}

/// Says findings that are no answers.
pub(super) fn say<'a>(findings: impl IntoIterator<Item = &'a Finding>) {
    for finding in findings {
        let _ = writeln!(io::stderr(), "{finding}");
    }
}
