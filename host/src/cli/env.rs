//! `ovf-host env`: the guests' environments.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::choice::{Words, say};
use super::output::Output;
use super::{Exit, Fault, Result, closed};
use crate::check::Loaded;
use crate::environments::{Environments, system};
use crate::finding::{Code, quoted};
use crate::progress::Progress;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    words: Words,
    /// Do it for this virtual system alone
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Write each document to ID.xml in this directory; otherwise the only one, or that of --id, is printed
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments, out: &mut impl Write) -> Result<Exit> {
    let chosen = arguments.words.read()?;
    let Some(loaded) = chosen.load(Code::concerns_environments)? else { return Ok(Exit::Wrong) };
    let systems = systems(&loaded, arguments.id.as_deref())?;
    let Some(environments) = chosen.environments(&loaded)? else { return Ok(Exit::Wrong) };
    let mut document = String::new();
    match (&arguments.output, &systems[..]) {
        (None, &[system]) => {
            if !write(&environments, system, &loaded, &mut document) {
                return Ok(Exit::Wrong);
            }
            say(&environments.too_large(system, &document, &loaded.source));
            out.write_all(document.as_bytes()).map_err(closed)?;
        }
        (None, _) => {
            let ids: Vec<_> =
                systems.iter().take(9).map(|&it| quoted(&loaded.descriptor.entities[it].id.value)).collect();
            let message = format!(
                "there are {} virtual systems; name one with --id ({}), or a directory for all with --output",
                systems.len(),
                ids.join(", ")
            );
            return Err(Fault::usage(message));
        }
        (Some(directory), systems) => {
            let mut progress = Progress::things(systems.len(), "documents");
            let mut output = Output::of(&loaded);
            for &system in systems {
                if !write(&environments, system, &loaded, &mut document) {
                    return Ok(Exit::Wrong);
                }
                if let Some(finding) = environments.too_large(system, &document, &loaded.source) {
                    progress.erase();
                    say([&finding]);
                }
                let path = output.place(directory, &loaded.descriptor.entities[system].id.value, "xml")?;
                output.write(path, document.as_bytes())?;
                progress.advance(1);
            }
            output.finish()?;
        }
    }
    Ok(Exit::Done)
}

/// The virtual systems that are wanted: the one of this id, or all.
pub(super) fn systems(loaded: &Loaded, id: Option<&str>) -> Result<Vec<usize>> {
    let wrong = |message| Fault { exit: Exit::Wrong, message };
    let systems = match system(&loaded.descriptor, id).map_err(wrong)? {
        Some(system) => vec![system],
        None => loaded.descriptor.systems().collect(),
    };
    match systems.is_empty() {
        true => Err(wrong("there are no virtual systems in the package".to_owned())),
        false => Ok(systems),
    }
}

/// Writes the document of a virtual system into `out`. Answers whether it fits, or has said so.
pub(super) fn write(
    environments: &Environments<'_>,
    system: usize,
    loaded: &Loaded,
    out: &mut String,
) -> bool {
    environments.document(system, &loaded.source, out).map_err(|finding| say([&finding])).is_ok()
}
