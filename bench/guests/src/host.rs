//! The loop of `ovf-host up`, with an engine that tells another process to play the guest.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ovf_host::deploy::{Deploy, Ending};
use ovf_host::engine::{Engine, Guest, Life};
use ovf_host::machine::Machine;
use ovf_host::order::{Policy, Step, StopAction};
use ovf_host::show::{Form, Show};
use ovf_host::watch::Watch;

use crate::Shape;

/// Guests that another process plays.
#[derive(Debug)]
struct Played {
    socket: PathBuf,
    /// Who is started is said here.
    control: UnixStream,
}

impl Played {
    /// A connection that says first what it is for.
    fn connect(socket: &Path, what: &str) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(socket)?;
        writeln!(stream, "{what}")?;
        Ok(stream)
    }
}

impl Engine for Played {
    fn prepare(&mut self, _: &dyn Fn() -> bool) -> Result<(), String> {
        Ok(())
    }

    fn start(&mut self, guest: usize) -> Result<(), String> {
        writeln!(self.control, "{guest}").map_err(|error| error.to_string())
    }

    fn attach(&mut self, _: usize) -> Result<(), String> {
        Ok(())
    }

    fn source(&self, _: usize) -> Option<BorrowedFd<'_>> {
        None
    }

    fn news(&mut self, _: usize) -> Vec<(usize, Life)> {
        Vec::new()
    }

    fn port(&self, guest: usize) -> io::Result<UnixStream> {
        Self::connect(&self.socket, &guest.to_string())
    }

    fn runs(&mut self, _: usize) -> bool {
        true
    }

    fn press(&mut self, _: usize) -> Result<(), String> {
        Ok(())
    }

    fn cut(&mut self, _: usize) -> Result<(), String> {
        Ok(())
    }

    fn insert(&mut self, _: usize) -> Result<(), String> {
        Ok(())
    }

    fn clear(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn terminal(&self, _: usize) -> io::Result<UnixStream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn record(&self, _: usize) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn console(&self, _: usize, _: usize) -> Vec<String> {
        Vec::new()
    }
}

/// Starts the guests, and waits until the last is ready.
pub(crate) fn wait(socket: &str, count: usize, shape: Shape, directory: &str) -> Result<(), Box<dyn Error>> {
    let guest = |entity: usize| Guest {
        entity,
        id: format!("guest{entity}"),
        machine: Machine { cpus: 1, memory: 0, disks: Vec::new(), cards: Vec::new() },
        disc: PathBuf::new(),
        document: String::new().into(),
    };
    let guests: Vec<_> = (1..=count).map(guest).collect();
    let mut engine =
        Played { socket: socket.into(), control: Played::connect(Path::new(socket), "control")? };
    let events = File::create(Path::new(directory).join("events.jsonl"))?;
    let mut show = Show::new(Form::Lines, &guests, Some(events));
    let watch = Watch::new(&guests)?;
    let patience = Duration::from_secs(60);
    let policy = Policy { keeps_going: false, passes_late: false, patience, waits_for_all: true };
    let ending = Deploy::new(&mut engine, &guests, &mut show, watch).up(steps(count, shape), policy)?;
    match ending {
        Ending::Complete(problems) if problems.is_empty() => Ok(()),
        other => Err(format!("the guests are not ready: {other:?}").into()),
    }
}

/// The collection, and the guests in it.
fn steps(count: usize, shape: Shape) -> Vec<Step> {
    let step = |is_guest: bool, groups: Vec<Vec<usize>>| Step {
        parent: is_guest.then_some(0),
        groups,
        is_guest,
        order: 0,
        starts: true,
        delay: Duration::ZERO,
        waits: is_guest,
        install: None,
        stop: StopAction::PowerOff,
        stop_delay: Duration::ZERO,
    };
    let groups = match shape {
        Shape::Together => vec![(1..count).collect(), vec![count]],
        Shape::Chain => (1..=count).map(|it| vec![it]).collect(),
    };
    let guests = (1..=count).map(|_| step(true, Vec::new()));
    [step(false, groups)].into_iter().chain(guests).collect()
}
