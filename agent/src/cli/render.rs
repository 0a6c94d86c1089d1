//! `render`: what templates come to with values of the caller's, wherever they are tried.
//!
//! Decides whose values these are (a document, single values, or the defaults), and how files are shown. Nothing is looked
//! for, and no target is looked at: it works where the image is built. What a file is, `template` decides as in a pass.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Common, print_json, written};
use crate::agent::{Exit, Fault, Result};
use crate::config::Config;
use crate::environment::{self, Entity, Environment, MAX_DOCUMENT, Properties, Value};
use crate::interfaces::Interfaces;
use crate::parameters::Generated;
use crate::printable;
use crate::problem::Problem;
use crate::sys::{Root, caller};
use crate::template::{Output, Rendered, Shown, Surroundings};

#[derive(Debug, Args)]
pub(super) struct Render {
    /// Take values from this OVF environment document
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
    /// Give a parameter this value, by its name or by its property's key; can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Show the values of sensitive parameters too
    #[arg(long)]
    show_sensitive: bool,
    /// This template alone, and nothing but its text: mydb.conf, or the path that it writes
    template: Option<String>,
}

fn pair(text: &str) -> std::result::Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Common {
    pub(super) fn render(&self, out: &mut impl Write, wanted: &Render) -> Result<Exit> {
        let root = self.root()?;
        let mut config = self.config(&root)?;
        if let Some(name) = &wanted.template
            && !config.keep_only(name)
        {
            return Err(Fault::usage(format!("`{name}` is no template, and no path that one writes")));
        }
        let environment = values(&config, wanted)?;
        let output = rendered(&config, &root, environment.as_ref())?;
        if self.json {
            return print_json(out, &json(&output, wanted.show_sensitive));
        }
        print(out, &output, wanted).or_else(written)?;
        Ok(Exit::Done)
    }
}

/// The document, with the single values put over it; `None` where there is neither.
fn values(config: &Config, wanted: &Render) -> Result<Option<Environment>> {
    let mut environment = match &wanted.env {
        None if wanted.set.is_empty() => return Ok(None),
        None => Environment::default(),
        Some(path) => {
            let bytes = caller::read(path, MAX_DOCUMENT as u64).map_err(|error| Fault::outside(&error))?;
            let parsed = environment::parse(&bytes).map_err(|error| {
                let problem = Problem::with(path.display().to_string(), error.to_string());
                Fault::configuration(&problem.into())
            })?;
            parsed.0
        }
    };
    for (name, value) in &wanted.set {
        let (key, entity) = config.parameters.source(name).unwrap_or((name, None));
        if entity.is_none() && config.parameters.name_of_key(key).is_none() {
            let known: Vec<_> = config.parameters.names().collect();
            let message = format!(
                "--set: `{name}` is no declared parameter, nor the key of one; there are {}",
                known.join(", ")
            );
            return Err(Fault::usage(message));
        }
        let properties = match entity {
            Some("*") => {
                let message = format!("--set: `{name}` is of all siblings; give a document by --env");
                return Err(Fault::usage(message));
            }
            None => &mut environment.properties,
            Some(id) => sibling(&mut environment.entities, id),
        };
        let others = properties.iter().map(|(key, value)| (key, value.clone()));
        *properties = others.chain([(key, Value::from(value.clone()))]).collect();
    }
    Ok(Some(environment))
}

fn sibling<'a>(entities: &'a mut Vec<Entity>, id: &str) -> &'a mut Properties {
    let place = entities.iter().position(|entity| entity.id == id).unwrap_or_else(|| {
        entities.push(Entity { id: id.to_owned(), ..Entity::default() });
        entities.len() - 1
    });
    &mut entities[place].properties
}

fn rendered(config: &Config, root: &Root, environment: Option<&Environment>) -> Result<Output> {
    // A secret that is to be generated is another one each time, and kept nowhere.
    let (parameters, _) = config
        .parameters
        .evaluate(environment, &Generated::default())
        .map_err(|violations| Fault::parameters(&violations, environment.is_some()))?;
    let nowhere = Environment::default();
    let environment = environment.unwrap_or(&nowhere);
    let surroundings = Surroundings {
        platform: &environment.platform,
        hypervisor: "none",
        environment_id: &environment.id,
        adapters: &environment.adapters,
        interfaces: &Interfaces::read(root),
    };
    let templates = config.templates().map_err(|problems| Fault::configuration(&problems))?;
    let output = templates.render(&config.parameters, &parameters, surroundings);
    output.map_err(|problems| Fault::rendering(&problems))
}

/// What may be seen of a file.
fn content(file: &Rendered, show_sensitive: bool) -> Option<&str> {
    match &file.shown {
        _ if show_sensitive => Some(&file.content),
        Shown::Content => Some(&file.content),
        Shown::Masked(text) => Some(text),
        Shown::Nothing => None,
    }
}

fn json(output: &Output, show_sensitive: bool) -> serde_json::Value {
    let files = output.files.iter().map(|file| {
        json!({
            "path": file.path,
            "template": file.template,
            "mode": format!("{:04o}", file.mode),
            "owner": file.owner,
            "group": file.group,
            "content": content(file, show_sensitive),
        })
    });
    let absent = output
        .absent
        .iter()
        .map(|absent| json!({ "path": absent.path, "template": absent.template, "keep": absent.keep }));
    json!({ "files": files.collect::<Vec<_>>(), "absent": absent.collect::<Vec<_>>() })
}

fn print(out: &mut impl Write, output: &Output, wanted: &Render) -> io::Result<()> {
    let alone = wanted.template.is_some() && output.files.len() == 1;
    for (index, file) in output.files.iter().enumerate() {
        if !alone {
            let gap = if index == 0 { "" } else { "\n" };
            writeln!(out, "{gap}==> {} (mode {:04o}; {})", file.path.display(), file.mode, file.template)?;
        }
        match content(file, wanted.show_sensitive) {
            Some(text) if text.ends_with('\n') || text.is_empty() => write!(out, "{}", shown(text))?,
            Some(text) => writeln!(out, "{}", shown(text))?,
            None => writeln!(out, "(depends on a sensitive value; add --show-sensitive to see it)")?,
        }
    }
    for absent in &output.absent {
        writeln!(out, "==> {}: not to be ({})", absent.path.display(), absent.template)?;
    }
    Ok(())
}

/// A file's text for a terminal; tabs stay.
fn shown(text: &str) -> String {
    text.split('\t').map(printable::lines).collect::<Vec<_>>().join("\t")
}
