//! `ovf-host set`: guests that run get other parameters.
//!
//! Decides that all or nothing is changed: each guest whose environment is another one now is sent it; when all have applied
//! theirs, what is remembered and the discs follow. Otherwise those that have are sent the one of before. Wherever this ends early,
//! the guests of which it is not known what they have are remembered, and are sent theirs by the next `set`.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::deployed::{self, Deployed, Which, shown, system, write_disc};
use super::{Exit, Fault, Result, complain, given};
use crate::check::Loaded;
use crate::deploy::{Deploy, Sending, Sent};
use crate::deployment::Deployment;
use crate::descriptor::{Descriptor, full_name};
use crate::engine::{Engine, Guest};
use crate::environments::{place, places};
use crate::finding::{printable, quoted};
use crate::secret::Secret;
use crate::show::{Form, Show};
use crate::watch::Watch;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The guest; its own properties are meant first, then those of the collections that it is in
    #[arg(value_name = "GUEST")]
    guest: String,
    /// What properties are from now on
    #[arg(value_name = "KEY=VALUE")]
    values: Vec<Secret>,
    /// What properties are by the lines of a file (`-`: standard input), which others do not see as they see command lines
    #[arg(long = "properties", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What a property is: all that a file has in it (`-`: standard input), be it of several lines
    #[arg(long = "property-file", value_name = "KEY=FILE")]
    whole_files: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// How long guests may take to apply it, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Events as JSON, an object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit> {
    arguments.which.look()?.guest(&arguments.guest)?;
    let mut deployed = arguments.which.open()?;
    let guest = deployed.guest(&arguments.guest)?;
    let Some(environments) = deployed.chosen()?.environments(&deployed.loaded)? else {
        return Ok(Exit::Wrong);
    };
    let before = deployed.guests(&environments)?;
    drop(environments);
    let descriptor = &deployed.loaded.descriptor;
    let (given, origins) =
        given::read(&arguments.files, ("the value", &arguments.values), &arguments.whole_files)?;
    if given.is_empty() {
        return Err(Fault::usage("nothing is given; write KEY=VALUE, or name a file with --properties"));
    }
    let places = places(descriptor);
    let kept = deployed.deployment.record.properties.clone();
    let mut seen = BTreeSet::new();
    for ((key, value), origin) in given.into_iter().zip(&origins) {
        let name = name(descriptor, guest, &key);
        let properties = &mut deployed.deployment.record.properties;
        if let Some(at) = place(&places, &name) {
            if !seen.insert((origin.source, at)) {
                return Err(Fault::usage(format_args!("{} is given twice; give it once", quoted(&name))));
            }
            properties.retain(|(other, _)| place(&places, other) != Some(at));
        }
        properties.push((name, value));
    }
    let Some(environments) = deployed.chosen()?.environments(&deployed.loaded)? else {
        return Ok(Exit::Wrong);
    };
    let after = deployed.guests(&environments)?;
    drop(environments);
    let Deployed { deployment, loaded } = &mut deployed;
    // Until all have applied it, what is remembered is what they had.
    let wanted = std::mem::replace(&mut deployment.record.properties, kept);
    let unsettled = deployment.record.unsettled.clone();
    let is_other =
        |(old, new): &(&Guest, &Guest)| old.document != new.document || unsettled.contains(&new.entity);
    let changed: Vec<_> = before.iter().zip(&after).filter(is_other).collect();

    let mut engine = deployed::engine(&deployment.record, deployment.directory(), &after)?;
    let watch = Watch::new(&after).map_err(system)?;
    let mut show = Show::again(Form::usual(arguments.json), &after, deployment);
    let mut deploy = Deploy::new(&mut *engine, &after, &mut show, watch);
    let running = deploy.attach();
    let documents: BTreeMap<_, _> = changed
        .iter()
        .filter(|(_, new)| running.contains(&new.entity))
        .map(|(_, new)| (new.entity, new.document.clone()))
        .collect();
    deployment.record.unsettled = changed.iter().map(|(_, new)| new.entity).collect();
    save(deployment, "nothing is sent")?;
    let within = Duration::from_secs(arguments.timeout);
    let results = match deploy.send(&documents, within).map_err(system)? {
        Sending::Over(results) => results,
        Sending::NotBegun => {
            show.leave();
            deployment.record.unsettled = unsettled;
            save(deployment, "nothing was sent")?;
            complain("interrupted; nothing was sent");
            return Ok(Exit::Interrupted);
        }
        Sending::Interrupted => {
            show.leave();
            complain(
                "interrupted; guests may have applied it, or may still; another `ovf-host set`, of the same values or of those of before, makes them agree again",
            );
            return Ok(Exit::Interrupted);
        }
    };
    if !results.values().all(is_applied) {
        let back: BTreeMap<_, _> = changed
            .iter()
            .filter(|(old, _)| results.get(&old.entity).is_some_and(is_applied))
            .map(|(old, _)| (old.entity, old.document.clone()))
            .collect();
        let undone = match deploy.send(&back, within).map_err(system)? {
            Sending::Over(results) => results,
            Sending::NotBegun | Sending::Interrupted => BTreeMap::new(),
        };
        show.leave();
        let lost: Vec<_> = back.into_keys().filter(|it| !undone.get(it).is_some_and(is_applied)).collect();
        let fault = refused(loaded, &results, &lost, arguments.timeout);
        let late = results.iter().filter(|(_, it)| **it == Sent::Unanswered).map(|(&guest, _)| guest);
        let open: BTreeSet<_> = unsettled.iter().copied().chain(late).chain(lost).collect();
        deployment.record.unsettled = open.into_iter().collect();
        save(deployment, "which guests may have it all the same is not remembered")?;
        return Err(fault);
    }
    show.leave();
    deployment.record.properties = wanted;
    save(deployment, "the guests have applied it, and it is not remembered; set it again")?;
    let mut has_failed = false;
    for (_, new) in &changed {
        let is_running = running.contains(&new.entity);
        match renew(loaded, &mut *engine, new, is_running) {
            Ok(()) => deployment.record.unsettled.retain(|it| *it != new.entity),
            Err(why) => {
                has_failed = true;
                let has = if is_running { "has applied it, but" } else { "is off, and" };
                complain(format_args!("{} {has} {}", quoted(&new.id), printable(&why)));
            }
        }
    }
    save(deployment, "it is sent to the same guests again by the next set")?;
    if has_failed {
        return Err(Fault::failed(
            "a guest with another disc may have what it had before when it boots again; once the reason is gone, give the same again by `ovf-host set`",
        ));
    }
    if !arguments.json {
        let what = match changed.len() {
            0 => "no guest's environment is another one by this".to_owned(),
            count => super::counted(count, "guest") + " changed",
        };
        show.say(&format!("{what}\n"));
    }
    Ok(shown(&show, Exit::Done))
}

fn is_applied(sent: &Sent) -> bool {
    matches!(sent, Sent::Applied(_))
}

fn save(deployment: &Deployment, follows: &str) -> Result<()> {
    deployment.save().map_err(|error| {
        Fault::failed(format_args!("cannot write {}: {error}; {follows}", deployment.directory().display()))
    })
}

/// Says who does not take it, and who has not taken back what it had before. Answers how the command ends.
fn refused(loaded: &Loaded, results: &BTreeMap<usize, Sent>, lost: &[usize], timeout: u64) -> Fault {
    let id = |guest: usize| quoted(&loaded.descriptor.entities[guest].id.value);
    for (&guest, result) in results {
        match result {
            Sent::Applied(_) => {}
            Sent::Refused(why) => {
                complain(format_args!("{} does not take it: {}", id(guest), printable(why)));
            }
            Sent::Unanswered => {
                complain(format_args!(
                    "{} has not answered within {timeout} s; it may still apply it",
                    id(guest)
                ));
            }
        }
    }
    for &guest in lost {
        complain(format_args!("{} has not taken back what it had before", id(guest)));
    }
    let is_refused = results.values().any(|it| matches!(it, Sent::Refused(_)));
    let message = match (results.values().any(is_applied), lost) {
        (false, _) => "nothing is changed here, and each has its old disc",
        (true, []) => "nothing is changed here; what others had applied is taken back",
        (true, _) => "nothing is changed here; another `ovf-host set` makes the guests agree again",
    };
    Fault { exit: if is_refused { Exit::Wrong } else { Exit::Later }, message: message.to_owned() }
}

/// Gives a guest the disc of its new environment. The error is what it has instead.
fn renew(
    loaded: &Loaded,
    engine: &mut dyn Engine,
    guest: &Guest,
    is_running: bool,
) -> std::result::Result<(), String> {
    write_disc(loaded, guest).map_err(|it| format!("still has its old disc: {}", it.message))?;
    if is_running {
        let inserted = engine.insert(guest.entity);
        inserted.map_err(|why| format!("its drive does not take the new disc: {why}"))?;
    }
    Ok(())
}

/// The name by which a guest's property is meant: its own, or the nearest collection's that has it.
fn name(descriptor: &Descriptor, guest: usize, key: &str) -> String {
    let line = std::iter::successors(Some(guest), |&it| descriptor.entities[it].parent);
    for entity in line {
        if descriptor.properties(entity).any(|(product, property)| full_name(product, property) == key) {
            return format!("{}:{key}", descriptor.entities[entity].id.value);
        }
    }
    key.to_owned()
}
