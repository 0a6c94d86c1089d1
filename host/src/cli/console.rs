//! `ovf-host console`: somebody at a guest's console.
//!
//! Decides that nothing of the deployment is changed by it, so that it is open beside all other commands, `up` too; and that
//! one at a time sits at a guest, since a serial line has one other end.

#![forbid(unsafe_code)]

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use clap::Args;

use super::deployed::Which;
use super::{Exit, Fault, Result, closed, complain};
use crate::console::{End, Seat};
use crate::descriptor::Descriptor;
use crate::finding::{printable, quoted};

/// Lines that were said before and are shown first.
const LINES: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The guest; where there is only one, that
    #[arg(value_name = "GUEST")]
    guest: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Print what the console has said so far, and end
    #[arg(long)]
    log: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit> {
    let deployed = arguments.which.look()?;
    let guest = match &arguments.guest {
        Some(id) => deployed.guest(id)?,
        None => only(&deployed.loaded.descriptor)?,
    };
    let engine = deployed.engine(&deployed.guests_alone()?)?;
    let id = quoted(&deployed.loaded.descriptor.entities[guest].id.value);
    if arguments.log {
        let file = engine.record(guest).map_err(|error| absent(&id, &error))?;
        return print(file).map(|()| Exit::Done);
    }
    let _lock = alone(deployed.deployment.directory(), guest, &id)?;
    // Connected before the lines are read: what is said meanwhile is rather seen twice than not at all.
    let stream = engine.terminal(guest).map_err(|error| absent(&id, &error))?;
    let (stdin, mut stdout) = (io::stdin(), io::stdout());
    let is_person = stdin.is_terminal();
    if is_person {
        for line in engine.console(guest, LINES) {
            writeln!(stdout, "{line}").map_err(closed)?;
        }
        complain(format_args!("this is the console of {id}; Ctrl-] leaves it"));
    }
    let ended = {
        let seat = Seat::take(stdin.as_fd()).map_err(|error| {
            Fault::failed(format_args!("this terminal cannot be made the console's: {error}"))
        })?;
        seat.sit(stream, &mut stdout)
    };
    if is_person {
        // The guest may have left the cursor anywhere.
        writeln!(io::stderr()).unwrap_or_default();
    }
    match ended.map_err(closed)? {
        End::Left => Ok(Exit::Done),
        End::Closed => {
            complain(format_args!("{id} does not run any more"));
            Ok(Exit::Done)
        }
        End::Interrupted => Ok(Exit::Interrupted),
    }
}

/// The only guest.
fn only(descriptor: &Descriptor) -> Result<usize> {
    let systems: Vec<_> = descriptor.systems().collect();
    match systems[..] {
        [guest] => Ok(guest),
        _ => {
            let ids: Vec<_> =
                systems.iter().take(9).map(|&it| quoted(&descriptor.entities[it].id.value)).collect();
            Err(Fault::usage(format_args!(
                "there are {} guests, {}; say which",
                systems.len(),
                ids.join(", ")
            )))
        }
    }
}

/// Nobody else sits there as long as this is open.
fn alone(directory: &Path, guest: usize, id: &str) -> Result<File> {
    let path = directory.join(format!("guests/{guest}/console.lock"));
    let cannot = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => Fault { exit: Exit::Later, message: format!("{id} is not started yet") },
        _ => Fault::failed(format_args!("cannot open {}: {error}", path.display())),
    };
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Fault {
            exit: Exit::Later,
            message: format!("somebody else is at the console of {id}; it has room for one"),
        }),
        Err(TryLockError::Error(error)) => Err(cannot(error)),
    }
}

/// Why there is no console.
fn absent(id: &str, error: &io::Error) -> Fault {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            Fault { exit: Exit::Later, message: format!("{id} does not run") }
        }
        _ => Fault::failed(format_args!("the console of {id} cannot be opened: {error}")),
    }
}

/// What was said: as it is, but to a terminal, which it could make do anything.
fn print(mut file: File) -> Result<()> {
    let mut stdout = io::stdout().lock();
    if !stdout.is_terminal() {
        return io::copy(&mut file, &mut stdout).map(drop).map_err(closed);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(closed)?;
    for line in String::from_utf8_lossy(&bytes).lines() {
        writeln!(stdout, "{}", printable(line.trim_end_matches('\r'))).map_err(closed)?;
    }
    Ok(())
}
