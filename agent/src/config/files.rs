//! Which files the configuration is made of.
//!
//! Decides where `agent.toml`, `agent.d/*.toml`, `templates/*.tera` and `hooks.d/*/*` are looked for, which of two files of
//! one name counts, and what masks a file: systemd's rules for drop-ins (systemd.unit(5)), so that an image, an administrator and
//! a boot can each have their say without touching the other's files. A problem calls a file by its name below
//! `/etc/ovf-agent`, or below the directory that `--config` names; files elsewhere have their whole path.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;

use crate::hooks::{Hook, Moment};
use crate::problem::{At, Problem, Problems};
use crate::sys::{Root, caller};

/// Where the configuration of a machine is, the first of which wins: the administrator's, this boot's, the image's.
const DIRECTORIES: [&str; 3] = ["/etc/ovf-agent", "/run/ovf-agent", "/usr/lib/ovf-agent"];
/// The main file; it is looked for where what is written outlives a boot.
pub(super) const FILE: &str = "agent.toml";
const DROP_INS: &str = "agent.d";
const TEMPLATES: &str = "templates";
const HOOKS: &str = "hooks.d";
/// A configuration file larger than this was not written by a person.
const LIMIT: u64 = 1024 * 1024;

/// The directories that hold the configuration, by precedence.
#[derive(Debug)]
pub struct Layers {
    layers: Vec<Layer>,
    /// What to say where there is nothing in them.
    nothing: Problem,
}

#[derive(Debug)]
struct Layer {
    directory: Root,
    /// What comes before the names of its files: nothing, or its path and a slash.
    prefix: String,
    /// Whether the main file may be here.
    lasting: bool,
}

/// A text file of the configuration.
#[derive(Debug)]
pub(super) struct TextFile {
    /// What problems call it.
    pub(super) name: String,
    /// All of it.
    pub(super) text: String,
}

/// Whether a problem with a file is one with a template.
pub(crate) fn is_template(file: &str) -> bool {
    let below = DIRECTORIES.iter().find_map(|directory| file.strip_prefix(directory)?.strip_prefix('/'));
    below.unwrap_or(file).starts_with(TEMPLATES)
}

impl Layers {
    /// The configuration of a machine.
    ///
    /// # Errors
    /// One of the directories cannot be opened.
    pub fn of(machine: &Root) -> Result<Self, Problems> {
        let mut layers = Vec::new();
        for path in DIRECTORIES {
            let own = path == DIRECTORIES[0];
            let directory = machine
                .subtree(path)
                .map_err(|error| Problem::with(path, format!("cannot be opened: {}", error.source)))?;
            layers.extend(directory.map(|directory| Layer {
                directory,
                prefix: if own { String::new() } else { format!("{path}/") },
                lasting: !path.starts_with("/run/"),
            }));
        }
        let outside = |path: &str| machine.outside(Path::new(path)).display().to_string();
        let places = format!("{}, in an image into {}", outside(DIRECTORIES[0]), outside(DIRECTORIES[2]));
        Ok(Self { layers, nothing: missing_file(&places) })
    }

    /// The configuration in one directory, whatever the machine has.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn only(path: &Path) -> Result<Self, Problems> {
        let name = path.display().to_string();
        // Hooks are run from another directory than ours.
        let directory = Root::open(caller::absolute(path))
            .map_err(|error| Problem::with(name.as_str(), format!("cannot be opened: {}", error.source)))?;
        let layer = Layer { directory, prefix: String::new(), lasting: true };
        Ok(Self { layers: vec![layer], nothing: missing_file(&name) })
    }

    /// The main file and the drop-ins, in the order in which they are merged.
    ///
    /// # Errors
    /// There is no main file, or one of them cannot be read.
    pub(super) fn settings(&self) -> Result<Vec<TextFile>, Problems> {
        let mut files = vec![self.main()?.ok_or_else(|| self.nothing.clone())?];
        let mut problems = Vec::new();
        files.extend(self.all(DROP_INS, |name| is_visible(name, ".toml"), &mut problems));
        Problems::unless_none(problems, files)
    }

    /// The templates, by name.
    pub(super) fn templates(&self, problems: &mut Vec<Problem>) -> Vec<TextFile> {
        self.all(TEMPLATES, |name| is_visible(name, ".tera"), problems)
    }

    /// The hooks, in the order in which they are run, and what lies among them and is none: that would never be run, and
    /// nobody would notice.
    pub(super) fn hooks(&self, problems: &mut Vec<Problem>) -> (Vec<Hook>, Vec<Problem>) {
        let (mut hooks, mut idle) = (Vec::new(), Vec::new());
        for (name, layer) in self.names(HOOKS, |name| !is_litter(name), problems) {
            if !Moment::ALL.iter().any(|moment| moment.as_str() == name) {
                let moments = Moment::ALL.map(Moment::as_str).join(", ");
                let message = format!("is no directory of hooks; there are {moments}");
                idle.push(Problem::with(layer.name(&format!("{HOOKS}/{name}")), message));
            }
        }
        for moment in Moment::ALL {
            let directory = format!("{HOOKS}/{}", moment.as_str());
            for (name, layer) in self.names(&directory, |name| !is_litter(name), problems) {
                let path = format!("{directory}/{name}");
                let why = match layer.directory.own_file(&path) {
                    Ok(Some((_, 0))) => continue,
                    Ok(None) if layer.is_masked(&path) => continue,
                    Ok(Some((mode, _))) if mode & 0o111 != 0 => {
                        let path = layer.directory.outside(Path::new(&path));
                        hooks.push(Hook { moment, name, path });
                        continue;
                    }
                    Ok(Some(_)) => "is not executable, and never run; make it so, or take it away",
                    Ok(None) => {
                        "is no file of its own, and never run; put the program itself there, or a script"
                    }
                    Err(_) => "cannot be looked at, and is never run",
                };
                idle.push(Problem::with(layer.name(&path), why));
            }
        }
        (hooks, idle)
    }

    /// A main file that is empty, or masked, is one that says nothing.
    fn main(&self) -> Result<Option<TextFile>, Problem> {
        for layer in self.layers.iter().filter(|layer| layer.lasting) {
            if layer.is_masked(FILE) {
                return Ok(Some(TextFile { name: layer.name(FILE), text: String::new() }));
            }
            if let Some(file) = layer.read(FILE)? {
                return Ok(Some(file));
            }
            if layer.is_stray(FILE) {
                return Err(layer.stray(FILE));
            }
        }
        Ok(None)
    }

    /// The names in one subdirectory of all layers that are wanted, each with the first layer that has it.
    fn names(
        &self,
        directory: &str,
        wanted: fn(&str) -> bool,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<String, &Layer> {
        let mut by_name: BTreeMap<String, &Layer> = BTreeMap::new();
        for layer in &self.layers {
            match layer.directory.list(directory) {
                Ok(names) if names.is_empty() && layer.is_stray(directory) => {
                    problems.push(layer.stray(directory));
                }
                Ok(names) => names.into_iter().filter(|name| wanted(name)).for_each(|name| {
                    by_name.entry(name).or_insert(layer);
                }),
                Err(error) => problems.push(Problem::with(
                    layer.name(directory),
                    format!("cannot be listed: {}", error.source),
                )),
            }
        }
        by_name
    }

    /// The files of one subdirectory of all layers, by name; of several of one name the first layer's. A problem with one
    /// does not hide those of the others.
    fn all(&self, directory: &str, wanted: fn(&str) -> bool, problems: &mut Vec<Problem>) -> Vec<TextFile> {
        let mut files = Vec::new();
        for (name, layer) in self.names(directory, wanted, problems) {
            let path = format!("{directory}/{name}");
            match layer.read(&path) {
                Ok(Some(file)) if file.text.is_empty() => {}
                Ok(Some(file)) => files.push(file),
                // Asked only here: from inside the directory that link leads nowhere.
                _ if layer.is_masked(&path) => {}
                Ok(None) => problems.push(layer.stray(&path)),
                Err(problem) => problems.push(problem),
            }
        }
        files
    }
}

/// A name that begins with a dot is an editor's.
fn is_visible(name: &str, suffix: &str) -> bool {
    name.ends_with(suffix) && !name.starts_with('.')
}

/// What editors and package managers leave beside a file, with its mode.
fn is_litter(name: &str) -> bool {
    name.starts_with('.')
        || name.ends_with('~')
        || [".dpkg-", ".rpm", ".ucf-"]
            .iter()
            .any(|mark| name.rfind('.').is_some_and(|at| name[at..].starts_with(mark)))
}

fn missing_file(places: &str) -> Problem {
    let remedy = format!("is not there; put it into {places}, or name another directory by --config");
    Problem::with(FILE, remedy)
}

impl Layer {
    /// What a problem calls a file of this layer.
    fn name(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Whether a file is a link that masks it. An empty one does so too, which is seen when it is read.
    fn is_masked(&self, path: &str) -> bool {
        self.directory.link(path).is_some_and(|target| target == "/dev/null")
    }

    /// Whether something is a link that leads nowhere, as one out of this directory does.
    fn is_stray(&self, path: &str) -> bool {
        !self.is_masked(path) && self.directory.link(path).is_some() && !self.directory.exists(path)
    }

    fn stray(&self, path: &str) -> Problem {
        let message = match path.contains(char::REPLACEMENT_CHARACTER) {
            true => "has a name that is no UTF-8; give it another",
            false => {
                "is a link to something outside of the configuration directory, or to nothing; put the file itself there, \
                 or mask it by a link to /dev/null"
            }
        };
        Problem::with(self.name(path), message)
    }

    /// A text file; `None` where it is not there.
    fn read(&self, path: &str) -> Result<Option<TextFile>, Problem> {
        let name = self.name(path);
        let bytes = self
            .directory
            .read(path, LIMIT)
            .map_err(|error| Problem::with(&name, format!("cannot be read: {}", error.source)))?;
        let Some(bytes) = bytes else { return Ok(None) };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(TextFile { name, text })),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
                Err(Problem::at(name, At::of(&text, good), "is not UTF-8 text"))
            }
        }
    }
}
