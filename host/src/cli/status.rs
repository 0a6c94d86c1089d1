//! `ovf-host status`: how the guests of a deployment are.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::deployed::{Which, engine, known, system};
use super::{Exit, Fault, Result, closed, complain};
use crate::deploy::{Deploy, Observer, What, detail};
use crate::deployment::{self, Deployment, Refusal};
use crate::engine::Guest;
use crate::finding::printable;
use crate::order::Moment;
use crate::show::{Event, Form, Show};
use crate::terminal;
use crate::watch::Watch;

/// How long agents may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The deployment; all of them where none is named
    #[arg(value_name = "NAME", conflicts_with = "name")]
    deployment: Option<String>,
    #[command(flatten)]
    which: Which,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
}

/// How a guest is.
struct Row {
    guest: String,
    state: String,
    generation: Option<u64>,
    detail: String,
}

/// Writes down who is gone, and nothing else: whoever asks again and again fills no disk by it.
struct Absent(Show);

impl Observer for Absent {
    fn note(&mut self, now: Moment, guest: &Guest, what: &What<'_>) {
        if matches!(what, What::Gone) {
            self.0.note(now, guest, what);
        }
    }

    fn idle(&mut self, _: Moment) -> Option<Moment> {
        None
    }
}

pub(super) fn run(mut arguments: Arguments, out: &mut impl Write) -> Result<Exit> {
    arguments.which.name = arguments.deployment.take().or(arguments.which.name.take());
    let store = arguments.which.store()?;
    let names = match &arguments.which.name {
        Some(name) => vec![name.clone()],
        None => store.names()?,
    };
    let (mut all, mut faults) = (Vec::new(), Vec::new());
    for name in names {
        let seen = match arguments.which.named(&name).alone() {
            Ok(deployment) => live(&deployment),
            // Somebody is at work on it: what has happened so far is told.
            Err(fault) if fault.exit == Exit::Later => {
                store.find(Some(&name)).map(|directory| (told(&directory), None)).map_err(Refusal::into)
            }
            Err(fault) => Err(fault),
        };
        match seen {
            Ok((rows, network)) => all.push((name, rows, network)),
            Err(fault) => faults.push(fault),
        }
    }
    if arguments.json {
        let row = |it: &Row| json!({ "guest": it.guest, "state": it.state, "generation": it.generation, "detail": it.detail });
        let deployment = |(name, rows, network): &(String, Vec<Row>, Option<String>)| json!({ "name": name, "network": network, "guests": rows.iter().map(row).collect::<Vec<_>>() });
        let answer = json!({ "deployments": all.iter().map(deployment).collect::<Vec<_>>() });
        writeln!(out, "{answer:#}").map_err(closed)?;
        return ended(faults);
    }
    for (name, rows, network) in &all {
        let network = network.as_ref().map_or(String::new(), |it| format!(": {}", printable(it)));
        writeln!(out, "{name}{network}").map_err(closed)?;
        let width = rows.iter().map(|it| terminal::width(&printable(&it.guest))).max().unwrap_or(0).min(24);
        for row in rows {
            let generation = row.generation.map_or(String::new(), |it| format!("generation {it}"));
            let line = format!(
                "  {}  {:<11} {generation:<13} {}",
                terminal::padded(&printable(&row.guest), width),
                row.state,
                printable(&row.detail)
            );
            writeln!(out, "{}", line.trim_end()).map_err(closed)?;
        }
    }
    if all.is_empty() && faults.is_empty() {
        writeln!(out, "nothing is deployed").map_err(closed)?;
    }
    ended(faults)
}

/// Says of all but the last what is wrong with them, and of that by the command's own end: the others have been told of.
fn ended(mut faults: Vec<Fault>) -> Result<Exit> {
    let last = faults.pop();
    faults.into_iter().for_each(|it| complain(it.message));
    last.map_or(Ok(Exit::Done), Err)
}

/// What the guests themselves say, and what has become of their network.
fn live(deployment: &Deployment) -> Result<(Vec<Row>, Option<String>)> {
    let guests = known(deployment);
    let mut engine = engine(&deployment.record, deployment.directory(), &guests)?;
    let watch = Watch::new(&guests).map_err(system)?;
    let mut absent = Absent(Show::again(Form::Silent, &guests, deployment));
    let mut deploy = Deploy::new(&mut *engine, &guests, &mut absent, watch);
    let running = deploy.attach();
    deploy.listen(&running, PATIENCE).map_err(system)?;
    let row = |guest: &Guest| {
        let report = deploy.report(guest.entity);
        let (state, detail) = match (running.contains(&guest.entity), report) {
            (false, _) => ("off".to_owned(), String::new()),
            (true, None) => ("silent".to_owned(), "it runs, and says nothing on its port".to_owned()),
            (true, Some(report)) => (report.stage.as_str().to_owned(), detail(report)),
        };
        Row { guest: guest.id.clone(), state, generation: report.map(|it| it.generation), detail }
    };
    let rows = guests.iter().map(row).collect();
    // Where nobody runs there is nothing to join.
    let network = if running.is_empty() { None } else { engine.joined().err() };
    Ok((rows, network))
}

/// What was written down of the guests, by whoever is at work on them.
fn told(directory: &Path) -> Vec<Row> {
    let text = deployment::told(directory);
    let mut rows: Vec<Row> = Vec::new();
    for event in text.lines().filter_map(|it| serde_json::from_str::<Event>(it).ok()) {
        let state = event.stage.unwrap_or(event.event);
        let row = Row { guest: event.guest, state, generation: event.generation, detail: event.detail };
        match rows.iter_mut().find(|it| it.guest == row.guest) {
            Some(known) => *known = row,
            None => rows.push(row),
        }
    }
    rows
}
