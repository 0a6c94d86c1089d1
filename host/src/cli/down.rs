//! `ovf-host down`: the guests of a deployment stop, the other way round, and nothing of them is left.

#![forbid(unsafe_code)]

use std::time::Duration;

use clap::Args;

use super::deployed::{Which, end, engine, known, shown, system};
use super::timeline::{Kept, only};
use super::{Exit, Fault, Result, complain};
use crate::deploy::{Deploy, Observer, Stop, What};
use crate::finding::quoted;
use crate::order::Moment;
use crate::show::{Form, Show};
use crate::watch::Watch;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The deployment; where there is only one, that
    #[arg(value_name = "NAME", conflicts_with = "name")]
    deployment: Option<String>,
    #[command(flatten)]
    which: Which,
    /// How long a guest may take to shut down whose StartupSection has no stopDelay, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    timeout: u64,
    /// Cut the power of all guests at once
    #[arg(long)]
    now: bool,
    /// Events as JSON, an object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    kept: Kept,
}

pub(super) fn run(mut arguments: Arguments) -> Result<Exit> {
    arguments.which.name = arguments.deployment.take().or(arguments.which.name.take());
    let deployment = arguments.which.alone()?;
    let package = only(&deployment.record.package);
    arguments.kept.try_out(&package)?;
    let guests = known(&deployment);
    let mut engine = engine(&deployment.record, deployment.directory(), &guests)?;
    let form = if arguments.now && !arguments.json { Form::Silent } else { Form::usual(arguments.json) };
    let mut show = Show::again(form, &guests, &deployment);
    let mut cut = Vec::new();
    let mut is_cut_short = false;
    if arguments.now {
        for guest in &guests {
            match engine.runs(guest.entity) {
                true => cut.push(guest),
                false => show.note(Moment::ZERO, guest, &What::Gone),
            }
        }
    } else {
        let watch = Watch::new(&guests).map_err(system)?;
        let mut deploy = Deploy::new(&mut *engine, &guests, &mut show, watch);
        let running = deploy.attach();
        let patience = Duration::from_secs(arguments.timeout);
        let stopped = deploy.down(deployment.record.steps.clone(), &running, patience).map_err(system)?;
        show.leave();
        match stopped {
            Stop::Over => {}
            Stop::CutShort => is_cut_short = true,
            Stop::Untouched => {
                complain("interrupted; nobody was asked to stop");
                return Ok(Exit::Interrupted);
            }
        }
    }
    // Whoever runs now was not to be stopped by the sequence, or did not stop.
    let left = end(&mut *engine, guests.iter().map(|it| it.entity));
    for guest in cut.into_iter().filter(|it| !left.contains_key(&it.entity)) {
        show.note(Moment::ZERO, guest, &What::Cut);
    }
    if let Some((guest, why)) = left.into_iter().next() {
        let id = guests.iter().find(|it| it.entity == guest).map_or("", |it| &it.id);
        return Err(Fault::failed(format_args!("{} cannot be stopped: {why}", quoted(id))));
    }
    engine.clear().map_err(Fault::failed)?;
    let is_drawn = arguments.kept.draw(deployment.directory(), &package);
    deployment.remove()?;
    if is_cut_short {
        complain("interrupted; the power of the guests that still ran is cut, and nothing of them is left");
        return Ok(Exit::Interrupted);
    }
    Ok(shown(&show, Exit::Done.if_all(is_drawn)))
}
