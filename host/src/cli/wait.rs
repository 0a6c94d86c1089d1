//! `ovf-host wait`: until guests are ready.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use clap::Args;

use super::deployed::{Which, shown, system, tell};
use super::{Exit, Fault, Result};
use crate::deploy::Deploy;
use crate::finding::quoted;
use crate::show::{Form, Show};
use crate::watch::Watch;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Guests to wait for; all of them where none is named
    #[arg(value_name = "GUEST")]
    guests: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// The longest wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Events as JSON, an object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit> {
    let end = Instant::now() + Duration::from_secs(arguments.timeout);
    // A guest that there is not is told at once.
    let known = arguments.which.look()?;
    arguments.guests.iter().try_for_each(|it| known.guest(it).map(drop))?;
    let deployed = arguments.which.open_by(end)?;
    let all = deployed.guests_alone()?;
    let wanted = arguments.guests.iter().map(|it| deployed.guest(it)).collect::<Result<Vec<_>>>()?;
    let guests: Vec<_> =
        all.into_iter().filter(|it| wanted.is_empty() || wanted.contains(&it.entity)).collect();
    let mut engine = deployed.engine(&guests)?;
    let watch = Watch::new(&guests).map_err(system)?;
    let mut show = Show::again(Form::usual(arguments.json), &guests, &deployed.deployment);
    let mut deploy = Deploy::new(&mut *engine, &guests, &mut show, watch);
    let running = deploy.attach();
    if let Some(off) = guests.iter().find(|it| !running.contains(&it.entity)) {
        show.leave();
        return Err(Fault::failed(format_args!("{} is off, and will not be ready", quoted(&off.id))));
    }
    let late = deploy.wait(&running, end.saturating_duration_since(Instant::now())).map_err(system)?;
    show.leave();
    let Some(late) = late else { return Ok(Exit::Interrupted) };
    tell(&deployed.loaded, &*engine, &late);
    // As a start does: one that will not be ready counts for more than one that is late, whoever is told of last.
    let exit = match late.iter().any(|it| it.is_final) {
        true => Exit::Failed,
        false if late.is_empty() => Exit::Done,
        false => Exit::Later,
    };
    Ok(shown(&show, exit))
}
