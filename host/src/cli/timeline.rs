//! `ovf-host timeline`: what has happened to a deployment's guests, as a picture; and the option of others to draw it.
//!
//! Decides where it comes from: the deployment's own events, or such as `--json` of other commands has printed.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::deployed::Which;
use super::output::{try_out, write_for_all};
use super::{Exit, Fault, Result, closed, complain};
use crate::deployment::EVENTS;
use crate::finding::quoted;
use crate::package::{Identity, identity};
use crate::show::Event;
use crate::timeline::draw;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The deployment; where there is only one, that
    #[arg(value_name = "NAME", conflicts_with = "name")]
    deployment: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Events that were kept, as the option --json prints them, instead of a deployment's
    #[arg(long, value_name = "FILE", conflicts_with_all = ["deployment", "state"])]
    events: Option<PathBuf>,
    /// The picture; otherwise standard output
    #[arg(short, long, value_name = "FILE.svg")]
    output: Option<PathBuf>,
}

pub(super) fn run(mut arguments: Arguments, out: &mut impl Write) -> Result<Exit> {
    let (picture, source) = match &arguments.events {
        Some(path) => {
            (draw(arguments.which.name.as_deref().unwrap_or("guests"), &events(path)?, None), path.clone())
        }
        None => {
            arguments.which.name = arguments.deployment.take().or(arguments.which.name.take());
            let directory = arguments.which.store()?.find(arguments.which.name.as_deref())?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_millis() as u64);
            let source = directory.join(EVENTS);
            (draw(&name(&directory), &events(&source)?, Some(now)), source)
        }
    };
    match &arguments.output {
        Some(path) => write_for_all(path, &picture, &only(&source))?,
        None => out.write_all(picture.as_bytes()).map_err(closed)?,
    }
    Ok(Exit::Done)
}

/// The option of commands that end a deployment, or may.
#[derive(Debug, Args)]
pub(super) struct Kept {
    /// Draw what has happened to the guests, as SVG
    #[arg(long, value_name = "FILE.svg")]
    timeline: Option<PathBuf>,
}

impl Kept {
    /// Whether the picture can be written, before there is anything to draw; in the place of these files it is not.
    pub(super) fn try_out(&self, package: &HashSet<Identity>) -> Result<()> {
        self.timeline.as_ref().map_or(Ok(()), |path| try_out(path, package))
    }

    /// Draws what has happened in the deployment of this directory, if that is wanted. Answers whether it could be; the guests are
    /// none the worse where it could not.
    pub(super) fn draw(&self, directory: &Path, package: &HashSet<Identity>) -> bool {
        let Some(path) = &self.timeline else { return true };
        let drawn = events(&directory.join(EVENTS)).map(|it| draw(&name(directory), &it, None));
        let written = drawn.and_then(|it| write_for_all(path, &it, package));
        if let Err(fault) = &written {
            complain(crate::finding::printable(&fault.message));
        }
        written.is_ok()
    }
}

/// What tells this file from others, where it is there.
pub(super) fn only(path: &Path) -> HashSet<Identity> {
    fs::metadata(path).iter().map(identity).collect()
}

fn name(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn events(path: &Path) -> Result<Vec<Event>> {
    let text = fs::read_to_string(path)
        .map_err(|error| Fault::failed(format_args!("cannot read {}: {error}", path.display())))?;
    // The last line may be half written by whoever is at work.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().enumerate().filter(|(_, it)| !it.trim().is_empty());
    let read = lines.map(|(number, line)| {
        serde_json::from_str(line).map_err(|_| Fault {
            exit: Exit::Wrong,
            message: format!("{}:{}: this is no event", quoted(&path.to_string_lossy()), number + 1),
        })
    });
    read.collect()
}
