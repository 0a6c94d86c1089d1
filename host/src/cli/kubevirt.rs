//! `ovf-host kubevirt`: the guests as KubeVirt's objects.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::choice::{Chosen, Words};
use super::env::{systems, write};
use super::output::Output;
use super::{Exit, Fault, Result, closed};
use crate::check::Loaded;
use crate::finding::{Code, printable, quoted};
use crate::kubevirt::{Guest, MAX_SECRET, Network, Target, judge, names, network, objects, script, yaml};
use crate::machine::Machine;
use crate::order::steps;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct Options {
    /// Do it for this virtual system alone
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Put the objects into this namespace
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// What one of the package's networks is: a NetworkAttachmentDefinition, or `pod`; otherwise the definition of its name
    #[arg(long = "network", value_name = "NAME=NETWORK")]
    networks: Vec<String>,
    /// Write NAME.yaml for each guest in this directory, with upload.sh and start.sh; otherwise all of it is printed
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments, out: &mut impl Write) -> Result<Exit> {
    let Arguments { words, options } = arguments;
    let chosen = words.read()?;
    let Some(loaded) = chosen.load(Code::concerns_start)? else { return Ok(Exit::Wrong) };
    let systems = systems(&loaded, options.id.as_deref())?;
    let Some(environments) = chosen.environments(&loaded)? else { return Ok(Exit::Wrong) };
    let guests = options.guests(&loaded, &chosen, systems)?;
    let target = options.target(&loaded, &guests)?;
    let steps = steps(&loaded.descriptor);
    let mut document = String::new();
    // All that can be refused is refused before there is anything.
    for guest in &guests {
        judge(guest, &target).map_err(|why| refused(guest, &why))?;
        if has_files(&loaded, guest.entity) {
            let why = "its EnvironmentFilesSection has files, and a disc of KubeVirt's has no directory for them; \
                       write its disc by `ovf-host iso`, and attach that";
            return Err(refused(guest, why));
        }
        if !write(&environments, guest.entity, &loaded, &mut document) {
            return Ok(Exit::Wrong);
        }
        if document.len() > MAX_SECRET {
            let why = format!(
                "its environment has {} bytes, and a Secret at most {MAX_SECRET}; write its disc by `ovf-host iso`, and attach that",
                document.len()
            );
            return Err(refused(guest, &why));
        }
    }
    let mut text = |guest: &Guest<'_>| {
        let step = &steps[guest.entity];
        // It was written before, so it can be.
        write(&environments, guest.entity, &loaded, &mut document)
            .then(|| objects(guest, &target, step, &document).iter().map(yaml::document).collect::<Vec<_>>())
    };
    let upload = script::upload(&guests, &target);
    let start = script::start(&guests, &target, &steps);
    let Some(directory) = &options.output else {
        out.write_all(comments(&target, upload.as_deref(), &start).as_bytes()).map_err(closed)?;
        for guest in &guests {
            for object in text(guest).into_iter().flatten() {
                write!(out, "---\n{object}").map_err(closed)?;
            }
        }
        return Ok(Exit::Done);
    };
    let mut output = Output::of(&loaded);
    for guest in &guests {
        let path = output.place(directory, &guest.name, "yaml")?;
        output.write(path, text(guest).unwrap_or_default().join("---\n").as_bytes())?;
    }
    for (name, script) in [("upload", upload), ("start", Some(start))] {
        let path = output.place(directory, name, "sh")?;
        script.map_or(Ok(()), |it| output.write(path, it.as_bytes()))?;
    }
    output.finish()?;
    Ok(Exit::Done)
}

impl Options {
    fn guests<'a>(&self, loaded: &'a Loaded, chosen: &Chosen, systems: Vec<usize>) -> Result<Vec<Guest<'a>>> {
        let descriptor = &loaded.descriptor;
        let configuration = chosen.configuration.as_deref().or(descriptor.usual_configuration());
        // A guest is called the same, whether all are printed or one.
        let all: Vec<_> = descriptor.systems().collect();
        let ids: Vec<_> = all.iter().map(|&it| descriptor.entities[it].id.value.as_str()).collect();
        let names: BTreeMap<_, _> = all.iter().copied().zip(names::unique(&ids, "guest")).collect();
        let guest = |entity: usize| {
            let id = descriptor.entities[entity].id.value.as_str();
            let machine = Machine::of(loaded, entity, configuration).map_err(|why| Fault {
                exit: Exit::Wrong,
                message: format!("{} cannot be started: {why}", quoted(id)),
            })?;
            Ok(Guest { entity, id, name: names[&entity].clone(), machine })
        };
        systems.into_iter().map(guest).collect()
    }

    fn target(&self, loaded: &Loaded, guests: &[Guest<'_>]) -> Result<Target> {
        if let Some(name) = self.namespace.as_deref().filter(|it| !names::is_label(it)) {
            return Err(Fault::usage(format_args!(
                "{} is no name of a namespace: a-z, 0-9 and hyphens make one, 63 at most",
                quoted(name)
            )));
        }
        let all = guests.iter().flat_map(|it| &it.machine.cards).map(|it| it.network.as_str());
        let all: Vec<_> = all.filter(|it| !it.is_empty()).collect::<BTreeSet<_>>().into_iter().collect();
        let definitions = names::unique(&all, "network").into_iter().map(Network::Attached);
        let mut networks: BTreeMap<_, _> = all.iter().map(|it| (*it).to_owned()).zip(definitions).collect();
        let mut said = BTreeSet::new();
        for word in &self.networks {
            let (name, network) = network(word, all.iter().copied()).map_err(Fault::usage)?;
            if !said.insert(name.clone()) {
                return Err(Fault::usage(format_args!(
                    "--network has {} twice; give it once",
                    quoted(&name)
                )));
            }
            networks.insert(name, network);
        }
        let part_of = names::label(&loaded.descriptor.entities[0].id.value, "appliance");
        Ok(Target { namespace: self.namespace.clone(), part_of, networks })
    }
}

fn refused(guest: &Guest<'_>, why: &str) -> Fault {
    Fault { exit: Exit::Wrong, message: format!("{} cannot be one of KubeVirt's: {why}", quoted(guest.id)) }
}

/// Whether a guest's disc holds more than its environment.
fn has_files(loaded: &Loaded, entity: usize) -> bool {
    let entities = &loaded.descriptor.entities;
    let line = [Some(entity), entities[entity].parent];
    line.into_iter().flatten().any(|it| !entities[it].environment_files.is_empty())
}

/// What is done by hand, as comments.
fn comments(target: &Target, upload: Option<&str>, start: &str) -> String {
    let mut text = format!(
        "# The guests of {}, as KubeVirt's objects. The Secrets hold property values.\n\
         # kubectl apply --server-side --filename=-\n",
        target.part_of
    );
    for script in upload.into_iter().chain([start]) {
        text.push_str("#\n");
        for line in script.lines().skip(1) {
            // A line of the script's may have what a reader of YAML takes for an end of it.
            let _ = writeln!(text, "# {}", printable(line));
        }
    }
    text
}
