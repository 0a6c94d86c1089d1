//! `ovf-host iso`: the discs.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;

use super::choice::{Words, say};
use super::env::{systems, write};
use super::output::Output;
use super::{Exit, Fault, Result};
use crate::check::Loaded;
use crate::finding::{Code, Finding, quoted};
use crate::iso::{Attached, MAX_FILES, image};
use crate::package::files::Ids;
use crate::package::path;
use crate::progress::Progress;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    words: Words,
    /// Do it for this virtual system alone
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The image to write, of the only virtual system or that of --id; of several, the directory for ID.iso each
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit> {
    let chosen = arguments.words.read()?;
    let Some(loaded) = chosen.load(Code::concerns_environments)? else { return Ok(Exit::Wrong) };
    let systems = systems(&loaded, arguments.id.as_deref())?;
    let Some(environments) = chosen.environments(&loaded)? else { return Ok(Exit::Wrong) };
    let mut progress = Progress::things(systems.len(), "discs");
    let mut output = Output::of(&loaded);
    let ids = Ids::of(&loaded.descriptor, &loaded.source);
    let mut document = String::new();
    for &system in &systems {
        let id = &loaded.descriptor.entities[system].id.value;
        let Some(files) = further_files(&loaded, &ids, system)? else { return Ok(Exit::Wrong) };
        if !write(&environments, system, &loaded, &mut document) {
            return Ok(Exit::Wrong);
        }
        let image = image(&document, files).map_err(|error| {
            Fault::failed(format_args!("cannot make the disc of {}: {error}", quoted(id)))
        })?;
        let path = match systems.len() {
            1 => arguments.output.clone(),
            _ => output.place(&arguments.output, id, "iso")?,
        };
        output.write(path, &image)?;
        progress.advance(1);
    }
    output.finish()?;
    Ok(Exit::Done)
}

/// The files of a system's EnvironmentFilesSection and its parent's, by their paths; none if one is not there, which has
/// been said.
pub(super) fn further_files(loaded: &Loaded, ids: &Ids<'_>, system: usize) -> Result<Option<Vec<Attached>>> {
    let entities = &loaded.descriptor.entities;
    let parent = entities[system].parent.map_or(&[][..], |it| &entities[it].environment_files);
    let (mut all, mut total): (Vec<Attached>, u64) = (Vec::new(), 0);
    let mut places = HashSet::new();
    let tell = |mut finding: Finding| {
        loaded.package.show(std::slice::from_mut(&mut finding));
        say([&finding]);
    };
    for file in entities[system].environment_files.iter().chain(parent) {
        // Both are sound, or the descriptor's errors would have stopped this.
        let Ok(place) = path::inside(&file.path.value) else { continue };
        if !places.insert(place.clone()) {
            continue;
        }
        match ids.bytes(&loaded.package, &file.file.value, MAX_FILES.saturating_sub(total)) {
            Ok(Some(bytes)) => {
                let name = ids.name(&file.file.value).unwrap_or_default();
                if let Err(finding) = loaded.holds(&name, &bytes[..]) {
                    tell(finding);
                    return Ok(None);
                }
                total += bytes.len() as u64;
                all.push((place, bytes));
            }
            Ok(None) => {
                let message = format!(
                    "the file {} for the guest {} is not in the package; `ovf-host check` says more",
                    quoted(&file.file.value),
                    quoted(&entities[system].id.value)
                );
                return Err(Fault { exit: Exit::Wrong, message });
            }
            Err(finding) => {
                tell(finding);
                return Ok(None);
            }
        }
    }
    Ok(Some(all))
}
