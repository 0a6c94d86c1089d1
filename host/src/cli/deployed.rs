//! What the commands for guests that run have in common: which deployment is meant, its package, and its engine.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use sha2::{Digest, Sha256};

use super::choice::{Chosen, say};
use super::output::Output;
use super::{Exit, Fault, Result, complain};
use crate::addresses::Subnet;
use crate::check::{Loaded, load};
use crate::deploy::Problem;
use crate::deployment::{Deployment, Kind, Record, Refusal, Store};
use crate::engine::libvirt::{self, Libvirt};
use crate::engine::qemu::{Network, Qemu, Settings};
use crate::engine::{Engine, Guest, Plan};
use crate::environments::Environments;
use crate::finding::quoted;
use crate::iso;
use crate::machine::Machine;
use crate::package::files::Ids;
use crate::show::Show;

/// How often somebody looks whether another command has done its work.
const AGAIN: Duration = Duration::from_millis(100);

/// Which deployment is meant.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The deployment; where there is only one, that
    #[arg(short, long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Where deployments are kept [default: $OVF_HOST_STATE, else /var/lib/ovf-host for root, ~/.local/state/ovf-host for others]
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
}

impl Which {
    /// The one of this name, in the same place.
    pub(super) fn named(&self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), state: self.state.clone() }
    }

    /// All of them.
    pub(super) fn store(&self) -> Result<Store> {
        Ok(Store::at(self.state.as_deref())?)
    }

    /// The one that is meant, for this command alone; whatever has become of its package.
    pub(super) fn alone(&self) -> Result<Deployment> {
        Ok(self.store()?.open(self.name.as_deref())?)
    }

    /// The one that is meant, for this command alone, and its package.
    pub(super) fn open(&self) -> Result<Deployed> {
        let deployment = self.alone()?;
        let loaded = package(&deployment.record.package)?;
        if digest(&loaded) != deployment.record.descriptor {
            return Err(Fault {
                exit: Exit::Wrong,
                message: format!(
                    "the package {} is not the one that was deployed; `ovf-host down` ends its guests",
                    deployment.record.package.display()
                ),
            });
        }
        Ok(Deployed { deployment, loaded })
    }

    /// The same, once whoever is at work on it has done so; at the latest then.
    pub(super) fn open_by(&self, end: Instant) -> Result<Deployed> {
        loop {
            match self.open() {
                Err(fault) if fault.exit == Exit::Later && Instant::now() < end => thread::sleep(AGAIN),
                other => return other,
            }
        }
    }

    /// The one that is meant, whoever is at work on it.
    pub(super) fn look(&self) -> Result<Deployed> {
        let deployment = self.store()?.look(self.name.as_deref())?;
        let loaded = package(&deployment.record.package)?;
        Ok(Deployed { deployment, loaded })
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Usage(message) => Self { exit: Exit::Usage, message },
            Refusal::Busy(message) => Self { exit: Exit::Later, message },
            Refusal::Failed(message) => Self { exit: Exit::Failed, message },
        }
    }
}

/// A deployment and its package.
#[derive(Debug)]
pub(super) struct Deployed {
    pub(super) deployment: Deployment,
    pub(super) loaded: Loaded,
}

impl Deployed {
    /// What was chosen for it.
    pub(super) fn chosen(&self) -> Result<Chosen> {
        Chosen::again(&self.deployment.record)
    }

    /// Its guests, as they were made.
    pub(super) fn guests_alone(&self) -> Result<Vec<Guest>> {
        match self.chosen()?.environments(&self.loaded)? {
            Some(environments) => self.guests(&environments),
            None => Err(Fault {
                exit: Exit::Wrong,
                message: "the deployment's package has changed since".to_owned(),
            }),
        }
    }

    /// Its guests, with these environments.
    pub(super) fn guests(&self, environments: &Environments<'_>) -> Result<Vec<Guest>> {
        guests(&self.loaded, environments, &self.deployment.record, self.deployment.directory())
    }

    /// The guest of this id.
    pub(super) fn guest(&self, id: &str) -> Result<usize> {
        let entities = &self.loaded.descriptor.entities;
        let systems: Vec<_> = self.loaded.descriptor.systems().collect();
        let found = systems.iter().find(|&&it| entities[it].id.value == id);
        found.copied().ok_or_else(|| {
            let meant = crate::suggest::meant(id, systems.iter().map(|&it| entities[it].id.value.as_str()));
            Fault::usage(format_args!("there is no guest {}; {meant}", quoted(id)))
        })
    }

    /// What runs its guests.
    pub(super) fn engine(&self, guests: &[Guest]) -> Result<Box<dyn Engine>> {
        engine(&self.deployment.record, self.deployment.directory(), guests)
    }
}

/// The guests of a deployment as far as they are known without its package: enough to hear and to stop them.
pub(super) fn known(deployment: &Deployment) -> Vec<Guest> {
    let guest = |(entity, id): &(usize, String)| Guest {
        entity: *entity,
        id: id.clone(),
        machine: Machine { cpus: 1, memory: 0, disks: Vec::new(), cards: Vec::new() },
        disc: disc(deployment.directory(), *entity),
        document: String::new().into(),
    };
    deployment.record.guests.iter().map(guest).collect()
}

/// Where a guest's disc is.
fn disc(directory: &Path, entity: usize) -> PathBuf {
    directory.join(format!("guests/{entity}/environment.iso"))
}

/// What tells a package from another one that has come to its place.
pub(super) fn digest(loaded: &Loaded) -> String {
    let digest = Sha256::digest(loaded.source.text.as_bytes());
    digest.iter().map(|it| format!("{it:02x}")).collect()
}

/// The package at this path, as far as it can be deployed.
fn package(path: &Path) -> Result<Loaded> {
    let mut findings = Vec::new();
    let loaded = load(path, &mut findings);
    loaded.ok_or_else(|| {
        say(&findings);
        Fault::failed(format_args!(
            "the deployment's package {} cannot be read any more; put it back, or end the guests with `ovf-host down`",
            path.display()
        ))
    })
}

/// The guests of a package, with these environments.
pub(super) fn guests(
    loaded: &Loaded,
    environments: &Environments<'_>,
    record: &Record,
    directory: &Path,
) -> Result<Vec<Guest>> {
    let descriptor = &loaded.descriptor;
    let usual = descriptor.usual_configuration();
    let configuration = record.configuration.as_deref().or(usual);
    let mut guests = Vec::new();
    for entity in descriptor.systems() {
        let id = descriptor.entities[entity].id.value.clone();
        let machine = Machine::of(loaded, entity, configuration).map_err(|why| Fault {
            exit: Exit::Wrong,
            message: format!("{} cannot be started: {why}", quoted(&id)),
        })?;
        let disc = disc(directory, entity);
        let mut document = String::new();
        environments.document(entity, &loaded.source, &mut document).map_err(|finding| {
            say([&finding]);
            Fault { exit: Exit::Wrong, message: format!("{} cannot be started", quoted(&id)) }
        })?;
        let document = document.into();
        guests.push(Guest { entity, id, machine, disc, document });
    }
    Ok(guests)
}

/// The engine of a deployment.
pub(super) fn engine(record: &Record, directory: &Path, guests: &[Guest]) -> Result<Box<dyn Engine>> {
    let (name, key) = (record.name.clone(), record.key.clone());
    let plan = Plan { name, key, directory: directory.to_owned(), guests: guests.to_vec() };
    let subnet = record.subnet.as_deref().map(str::parse::<Subnet>).transpose().map_err(Fault::usage)?;
    let published = record.published.iter().map(|it| published(it, subnet)).collect::<Result<Vec<_>>>()?;
    if let Some(twice) =
        (1..published.len()).find(|&at| published[..at].iter().any(|it| it.0 == published[at].0))
    {
        return Err(Fault::usage(format_args!("--publish has the port {} twice", published[twice].0)));
    }
    let network = Network { subnet, published };
    match record.engine.clone() {
        Kind::Qemu { program, accelerator } => {
            Ok(Box::new(Qemu::new(plan, Settings { program, accelerator, network })))
        }
        Kind::Libvirt { connect, program, accelerator, far } => {
            let connection = connect.parse().map_err(Fault::usage)?;
            let settings = libvirt::Settings { connection, program, accelerator, network, far };
            Ok(Box::new(Libvirt::new(plan, settings).map_err(Fault::failed)?))
        }
    }
}

/// `8080:10.77.0.10:80`: a port of this machine's loopback, and where it leads.
fn published(text: &str, subnet: Option<Subnet>) -> Result<(u16, SocketAddrV4)> {
    let parsed = text
        .split_once(':')
        .and_then(|(port, address)| Some((port.parse::<u16>().ok()?, address.parse::<SocketAddrV4>().ok()?)));
    let wrong =
        || Fault::usage(format_args!("{} is not PORT:ADDRESS:PORT, as in 8080:10.77.0.10:80", quoted(text)));
    let (port, address) = parsed.filter(|it| it.0 != 0 && it.1.port() != 0).ok_or_else(wrong)?;
    let why = match subnet {
        None => "is in no subnet of the deployment's; name it with --subnet",
        Some(it) if *address.ip() == it.host() => "is this machine's own; name a guest's",
        Some(it) if !it.contains(*address.ip()) => "is no machine's of the subnet; name a guest's",
        Some(_) => return Ok((port, address)),
    };
    Err(Fault::usage(format_args!("--publish: {} {why}", address.ip())))
}

/// Writes a guest's disc.
pub(super) fn write_disc(loaded: &Loaded, guest: &Guest) -> Result<()> {
    let Some(files) =
        super::iso::further_files(loaded, &Ids::of(&loaded.descriptor, &loaded.source), guest.entity)?
    else {
        return Err(Fault { exit: Exit::Wrong, message: "a file for a guest cannot be read".to_owned() });
    };
    let image = iso::image(guest.document.reveal(), files).map_err(|error| {
        Fault::failed(format_args!("cannot make the disc of {}: {error}", quoted(&guest.id)))
    })?;
    let mut output = Output::of(loaded);
    output.write(guest.disc.clone(), &image)?;
    output.finish()
}

/// An error of the system's, while guests are waited for.
pub(super) fn system(error: io::Error) -> Fault {
    Fault::failed(format_args!("the system does not let us wait for guests: {error}"))
}

/// How a command ends that was to end so, once all is shown: where it could not be, nobody has seen all that was done.
pub(super) fn shown(show: &Show, exit: Exit) -> Exit {
    if let Some(error) = show.fault() {
        complain(format_args!("cannot write what has happened: {error}; the guests are none the worse"));
    }
    exit.if_all(show.fault().is_none())
}

/// Says who held up a start or a wait, why, and what its console has said last.
pub(super) fn tell(loaded: &Loaded, engine: &dyn Engine, problems: &[Problem]) {
    for problem in problems {
        let id = &loaded.descriptor.entities[problem.entity].id.value;
        complain(format_args!("{} {}", quoted(id), crate::finding::printable(&problem.why)));
        say_console(engine, id, problem.entity);
    }
}

/// Columns of a console's line that are shown: a guest may write one without end.
const CONSOLE: usize = 400;

/// Writes the last lines of a guest's console below an error that they may explain.
fn say_console(engine: &dyn Engine, id: &str, entity: usize) {
    let lines = engine.console(entity, 12);
    if !lines.is_empty() {
        complain(format_args!("the last lines of {}'s console:", quoted(id)));
        for line in lines {
            let line = crate::finding::printable(&line);
            complain(format_args!("    {}", crate::terminal::cut(&line, CONSOLE)));
        }
    }
}

/// Whether anything of these guests is left, once all of them are cut.
pub(super) fn end(
    engine: &mut dyn Engine,
    guests: impl IntoIterator<Item = usize>,
) -> BTreeMap<usize, String> {
    let cut = guests.into_iter().filter_map(|guest| Some((guest, engine.cut(guest).err()?)));
    cut.collect()
}

/// The program of this name, from the root: what is started later is what was found now.
pub(super) fn program(name: &Path) -> Result<PathBuf> {
    let found = match name.components().count() {
        1 => std::env::var_os("PATH")
            .and_then(|path| std::env::split_paths(&path).map(|it| it.join(name)).find(|it| it.is_file())),
        _ => fs::canonicalize(name).ok(),
    };
    found.ok_or_else(|| {
        Fault::failed(format_args!("{} is not there; install it (Debian: qemu-system-x86)", name.display()))
    })
}
