//! `ovf-host up`: a package's guests, in order.

#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::choice::{Chosen, Words, say};
use super::deployed::{self, end, shown, system, tell, write_disc};
use super::output::sources;
use super::timeline::Kept;
use super::{Exit, Fault, Result, complain};
use crate::check::{Loaded, verify};
use crate::deploy::{Deploy, Ending};
use crate::deployment::{self, Deployment, Kind, Record, name_of};
use crate::engine::{Engine, Guest, libvirt};
use crate::finding::{Code, Severity, quoted};
use crate::order::{Policy, steps};
use crate::show::{Form, Show};
use crate::watch::Watch;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct Options {
    #[command(flatten)]
    which: deployed::Which,
    /// Start the next ones after a guest that has failed, too, and leave all of them running
    #[arg(long)]
    keep_going: bool,
    /// What follows where a guest is not ready when its startDelay is over
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    on_timeout: OnTimeout,
    /// The longest wait for a guest whose StartupSection has no limit, and for all of them in the end, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Do not read the package's files first, to see whether they are what its manifest says
    #[arg(long)]
    no_verify: bool,
    /// Come back when the last guest is started, and not when all are ready
    #[arg(long)]
    no_wait: bool,
    /// Events as JSON, an object a line
    #[arg(long)]
    json: bool,
    /// What runs the guests
    #[arg(long, value_name = "NAME", default_value = "qemu")]
    engine: EngineName,
    /// Which libvirt, as qemu+ssh://root@HOST/system [default: $LIBVIRT_DEFAULT_URI, else qemu:///system for root, qemu:///session for others]
    #[arg(long, value_name = "URI")]
    connect: Option<String>,
    /// How guests are run: kvm or tcg; kvm where their machine has it
    #[arg(long, value_name = "NAME", env = "OVF_HOST_ACCEL")]
    accelerator: Option<String>,
    /// The QEMU to run
    #[arg(long, value_name = "PROGRAM", default_value = "qemu-system-x86_64")]
    qemu: PathBuf,
    /// A port of this machine's loopback that leads to a guest's, as 8080:10.77.0.10:80
    #[arg(long, value_name = "PORT:ADDRESS:PORT")]
    publish: Vec<String>,
    #[command(flatten)]
    kept: Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnTimeout {
    /// It ends there
    Stop,
    /// The next order begins
    Continue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum EngineName {
    /// Processes of this machine
    Qemu,
    /// Domains of libvirt
    Libvirt,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit> {
    let Arguments { words, options } = arguments;
    let mut chosen = words.read()?;
    let Some(loaded) = chosen.load(Code::concerns_start)? else { return Ok(Exit::Wrong) };
    let root = &loaded.descriptor.entities[0].id.value;
    chosen.name = Some(options.which.name.clone().unwrap_or_else(|| name_of(root)));
    let Some(environments) = chosen.environments(&loaded)? else { return Ok(Exit::Wrong) };
    if !options.no_verify {
        let mut findings = Vec::new();
        verify(&loaded, &mut findings);
        findings.retain(|it| it.code.severity() == Severity::Error);
        if !findings.is_empty() {
            say(&findings);
            return Ok(Exit::Wrong);
        }
    }
    let sources = sources(&loaded);
    options.kept.try_out(&sources)?;
    let store = options.which.store()?;
    store.vet(chosen.name.as_deref().unwrap_or_default())?;
    let record = options.record(&loaded, &chosen)?;
    let directory = store.directory(&record.name);
    let guests = deployed::guests(&loaded, &environments, &record, &directory)?;
    let mut engine = deployed::engine(&record, &directory, &guests)?;
    // From here on an interrupt is seen, and does not end us with something left behind.
    let watch = Watch::new(&guests).map_err(system)?;
    let mut deployment = store.create(record)?;
    let ended = options.start(&loaded, &mut deployment, &mut *engine, &guests, watch);
    let is_drawn = options.kept.draw(deployment.directory(), &sources);
    match ended {
        Ok((exit, true)) => Ok(exit.if_all(is_drawn)),
        Ok((exit, false)) => clear(deployment, &mut *engine, &guests).map(|()| exit),
        Err(fault) => {
            // What went wrong first is what is told.
            if let Err(second) = clear(deployment, &mut *engine, &guests) {
                complain(format_args!("{}", second.message));
            }
            Err(fault)
        }
    }
}

impl Options {
    fn record(&self, loaded: &Loaded, chosen: &Chosen) -> Result<Record> {
        let uri = self.libvirt();
        let (name, key) = (chosen.name.clone().unwrap_or_default(), deployment::key());
        let far = match self.engine {
            EngineName::Qemu => None,
            EngineName::Libvirt => {
                let connection = uri.parse().map_err(Fault::usage)?;
                libvirt::look(&connection, &format!("{name}-{}", &key[..8]), &self.qemu)
                    .map_err(Fault::failed)?
            }
        };
        let has_kvm = || match &far {
            Some(far) => far.has_kvm,
            None => OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok(),
        };
        let accelerator = match self.accelerator.as_deref() {
            Some(name @ ("kvm" | "tcg")) => name,
            Some(name) => {
                return Err(Fault::usage(format_args!(
                    "there is no accelerator {}; kvm and tcg are",
                    quoted(name)
                )));
            }
            None if has_kvm() => "kvm",
            None => "tcg",
        }
        .to_owned();
        let (program, far) = match far {
            Some(far) => (far.program, Some(far.directory)),
            None => (deployed::program(&self.qemu)?, None),
        };
        Ok(Record {
            name,
            key,
            package: loaded.package.path().to_owned(),
            descriptor: deployed::digest(loaded),
            configuration: chosen.configuration.clone(),
            properties: chosen.properties.clone(),
            platform: chosen.platform.clone(),
            engine: match self.engine {
                EngineName::Qemu if self.connect.is_some() => {
                    return Err(Fault::usage("--connect is for --engine libvirt"));
                }
                EngineName::Qemu => Kind::Qemu { program, accelerator },
                EngineName::Libvirt => Kind::Libvirt { connect: uri, program, accelerator, far },
            },
            subnet: chosen.subnet.map(|it| it.to_string()),
            published: self.publish.clone(),
            guests: loaded
                .descriptor
                .systems()
                .map(|it| (it, loaded.descriptor.entities[it].id.value.clone()))
                .collect(),
            steps: steps(&loaded.descriptor),
            unsettled: Vec::new(),
        })
    }

    fn libvirt(&self) -> String {
        let usual = || match rustix::process::geteuid().is_root() {
            true => "qemu:///system",
            false => "qemu:///session",
        };
        let variable = || std::env::var("LIBVIRT_DEFAULT_URI").ok().filter(|it| !it.is_empty());
        self.connect.clone().or_else(variable).unwrap_or_else(|| usual().to_owned())
    }

    /// Starts the guests. Answers how that ended, and whether they run on.
    fn start(
        &self,
        loaded: &Loaded,
        deployment: &mut Deployment,
        engine: &mut dyn Engine,
        guests: &[Guest],
        watch: Watch,
    ) -> Result<(Exit, bool)> {
        for guest in guests {
            deployment.guest(guest.entity).map_err(|error| {
                Fault::failed(format_args!("cannot write {}: {error}", deployment.directory().display()))
            })?;
            write_disc(loaded, guest)?;
        }
        if let Err(why) = engine.prepare(&|| !watch.is_interrupted()) {
            if watch.is_interrupted() {
                complain(format_args!("interrupted; nothing was started, and nothing is left"));
                return Ok((Exit::Interrupted, false));
            }
            return Err(Fault::failed(why));
        }
        let events = deployment.events().map_err(|error| {
            Fault::failed(format_args!("cannot write {}: {error}", deployment.directory().display()))
        })?;
        let mut show = Show::new(Form::usual(self.json), guests, Some(events));
        let policy = Policy {
            keeps_going: self.keep_going,
            passes_late: self.on_timeout == OnTimeout::Continue,
            patience: Duration::from_secs(self.timeout),
            waits_for_all: !self.no_wait,
        };
        let mut deploy = Deploy::new(engine, guests, &mut show, watch);
        let ending = deploy.up(deployment.record.steps.clone(), policy).map_err(system)?;
        show.leave();
        match ending {
            Ending::Complete(problems) => {
                let exit = if problems.is_empty() || !self.keep_going { Exit::Done } else { Exit::Failed };
                tell(loaded, engine, &problems);
                Ok((shown(&show, exit), true))
            }
            Ending::Stopped(problems) => {
                tell(loaded, engine, &problems);
                let exit = if problems.iter().all(|it| !it.is_final) { Exit::Later } else { Exit::Failed };
                Ok((shown(&show, exit), false))
            }
            Ending::Interrupted => {
                complain(format_args!(
                    "interrupted; the power of all guests is cut, and nothing of them is left"
                ));
                Ok((Exit::Interrupted, false))
            }
        }
    }
}

/// Leaves nothing of a deployment.
fn clear(deployment: Deployment, engine: &mut dyn Engine, guests: &[Guest]) -> Result<()> {
    let left = end(engine, guests.iter().map(|it| it.entity));
    let why = left.into_values().next().map_or_else(|| engine.clear(), Err);
    why.map_err(|why| {
        let name = &deployment.record.name;
        Fault::failed(format_args!(
            "{why}; `ovf-host down --name {name}` ends what is left, once that is mended"
        ))
    })?;
    Ok(deployment.remove()?)
}
