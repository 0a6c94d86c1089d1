//! What an appliance's own agent says of it.
//!
//! Decides how the agent is asked, and what its answers are here: `ovf-agent check --json` refuses an appliance, by the places in
//! its files, or lists the properties that it reads; `ovf-agent schema --ovf` prints its parameters as the ProductSections that a
//! descriptor would need. Templates are read by the agent alone.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde::Deserialize;

use crate::descriptor::{Descriptor, Property, full_name};
use crate::finding::{At, Code, Finding};
use crate::program::{Limits, Program, complaint};
use crate::scratch;
use crate::xml::Source;

/// Where an agent has its configuration: in a directory of its own, or in an image.
const PLACES: [&str; 4] =
    ["agent.toml", "etc/ovf-agent/agent.toml", "run/ovf-agent/agent.toml", "usr/lib/ovf-agent/agent.toml"];

/// What an agent may take: it answers at once.
pub(super) const AGENT: Limits = Limits { time: Some(Duration::from_secs(60)), bytes: 16 << 20 };

/// What an appliance's agent says of it.
#[derive(Debug)]
pub struct Declared {
    /// The ProductSections that a descriptor would need (`ovf-agent schema --ovf`).
    pub sections: String,
    /// The properties that are read (`ovf-agent check --json`).
    pub reads: Vec<Read>,
}

/// A property that an agent reads.
#[derive(Debug, Deserialize)]
pub struct Read {
    /// Its name in the guest.
    pub key: String,
    /// The sibling whose it is; `*` is every one.
    pub entity: Option<String>,
    /// The parameter that it feeds.
    pub parameter: Option<String>,
    /// Whether anything of the appliance uses that.
    pub used: bool,
}

/// The answer of `ovf-agent check --json`.
#[derive(Deserialize)]
struct Checked {
    problems: Vec<Problem>,
    properties: Vec<Read>,
}

#[derive(Deserialize)]
struct Problem {
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
}

impl Declared {
    /// Asks for it.
    ///
    /// # Errors
    /// The agent refuses the appliance, and why, or cannot be asked.
    pub fn ask(directory: &Path, program: &Path) -> Result<Self, Vec<Finding>> {
        let shown = directory.display().to_string();
        let cannot = |why: String| vec![Finding::with(&shown, Code::AgentUnusable, why)];
        // This machine's fault, and not the appliance's.
        let unable = |why: String| vec![Finding::with(&shown, Code::Unreadable, why)];
        let run = |words: &[&str]| -> Result<Output, Vec<Finding>> {
            command(program, directory, words, None).run(AGENT).map_err(|error| {
                let message = format!(
                    "{} cannot be run: {error}; install ovf-agent, or name it with --agent-program",
                    program.display()
                );
                // One that runs, and answers without end or not at all, is another program.
                if error.raw_os_error().is_some() { unable(message) } else { cannot(message) }
            })
        };
        if !directory.is_dir() {
            let message = "there is no such directory; name one with agent.toml, or an image's root";
            return Err(vec![Finding::with(&shown, Code::Unreadable, message)]);
        }
        if let Some(why) = Self::lacks(directory) {
            return Err(cannot(why.to_owned()));
        }
        // What it is asked later is handed to it in a file.
        scratch::File::new(&env::temp_dir()).map_err(|error| unable(scratch::unwritten(&error)))?;
        let output = run(&["check", "--json"])?;
        let strange = |said: &Output| {
            let first = complaint(said);
            let first = first.trim_start_matches("ovf-agent: ");
            cannot(format!(
                "what `{}` answers is not understood: {first}; is it an older agent?",
                program.display()
            ))
        };
        let Ok(Checked { problems, properties }) = serde_json::from_slice(&output.stdout) else {
            return Err(strange(&output));
        };
        if !problems.is_empty() {
            let finding = |it: Problem| Finding {
                // Below the directory, or as the image itself has it.
                file: directory.join(it.file.trim_start_matches('/')).display().to_string(),
                at: it.line.zip(it.column).map(|(line, column)| At { line, column }),
                code: Code::AgentUnusable,
                message: it.message,
            };
            return Err(problems.into_iter().map(finding).collect());
        }
        let output = run(&["schema", "--ovf"])?;
        if !output.status.success() {
            return Err(strange(&output));
        }
        Ok(Self { sections: String::from_utf8_lossy(&output.stdout).into_owned(), reads: properties })
    }

    /// Why there is no configuration of an agent there. The agent would tell it by options that only itself has.
    pub fn lacks(directory: &Path) -> Option<&'static str> {
        if !directory.is_dir() {
            return Some("it is no directory; name one with agent.toml, or an image's root");
        }
        let message = "there is no agent.toml in it, and as in an image's root none in etc/ovf-agent, run/ovf-agent or \
                       usr/lib/ovf-agent; name a directory with agent.toml, or an image's root";
        PLACES.iter().all(|it| !may_be_there(directory, it)).then_some(message)
    }

    /// The parameters that the guest's own properties feed, as properties, by their names in the guest.
    pub(super) fn parameters(&self) -> Option<BTreeMap<String, Property>> {
        let text = format!(
            "<Envelope xmlns=\"{0}\" xmlns:ovf=\"{0}\"><References/><VirtualSystem ovf:id=\"appliance\"><Info/>{1}\
             </VirtualSystem></Envelope>",
            crate::descriptor::NAMESPACE,
            self.sections
        );
        let source = Source::new("schema", text.into_bytes()).ok()?;
        let mut descriptor = Descriptor::read(&source, &mut Vec::new())?;
        let mut all = BTreeMap::new();
        for mut product in std::mem::take(&mut descriptor.entities[0].products) {
            for property in std::mem::take(&mut product.properties) {
                all.insert(full_name(&product, &property), property);
            }
        }
        Some(all)
    }
}

/// Whether the agent might find this. A link in an image leads through the image's root: the agent follows it, we do not.
fn may_be_there(directory: &Path, place: &str) -> bool {
    let mut path = directory.to_owned();
    for name in Path::new(place) {
        path.push(name);
        match path.symlink_metadata() {
            Ok(it) if it.is_symlink() => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        }
    }
    true
}

/// An agent that is to look at an appliance: a directory with `agent.toml`, or a whole image.
pub(super) fn command(program: &Path, directory: &Path, words: &[&str], file: Option<&Path>) -> Program {
    let place = if directory.join("agent.toml").is_file() { "--config" } else { "--root" };
    let words = words.iter().map(OsStr::new).chain(file.map(Path::as_os_str));
    Program::new(program).arguments(words.chain([OsStr::new(place), directory.as_os_str()]))
}
