//! What the appliance builder says: `agent.toml` and the templates beside it.
//!
//! Decides which keys there are, what they default to, and that an unknown one is refused with its position; a typo
//! that is silently ignored is found by the customer. Does not look at any environment. Which files there are is
//! decided in [`files`], what several of them mean together in [`merge`].

#![forbid(unsafe_code)]

mod complaints;
mod files;
mod image;
mod interpreter;
mod merge;
mod reads;
mod ready;
mod roles;
mod templates;
pub(crate) mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use complaints::Complaints;
pub(crate) use complaints::parse_duration;
pub use files::Layers;
pub(crate) use files::is_template;
use merge::Sources;
use roles::RawRole;
use templates::Templates;

use crate::hooks::Hooks;
use crate::parameters::{Declaration, Declared, Objection};
use crate::problem::{At, Problem, Problems};
use crate::ready::Conditions;
use crate::sys::{self, Root};
use crate::template::{DerivedSource, nearest};
use crate::transport;
use crate::transport::wait::Patience;
use crate::units::Role;

/// Where the agent keeps its state if nothing else is said.
pub(crate) const STATE: &str = "/var/lib/ovf-agent";

/// The whole configuration, read and valid in itself.
#[derive(Debug)]
pub struct Config {
    /// What the appliance understands.
    pub parameters: Declared,
    /// What to do where there is no environment.
    pub absent: Absent,
    /// Where to look for an environment, and how.
    pub transport: transport::Settings,
    /// What must be so before the guest is ready.
    pub ready: Conditions,
    /// What they name of an image.
    gate_needs: ready::Needs,
    /// Gates that are legal and hardly meant.
    gate_doubts: Vec<Problem>,
    /// Where the agent keeps its state, inside the root.
    pub state: PathBuf,
    /// The guest's own property that tells an instance from others, if there is to be one.
    pub instance_id: Option<String>,
    /// The appliance's own version.
    pub version: Option<String>,
    /// What is run at which moment.
    pub hooks: Hooks,
    templates: Templates,
    /// Whether a person at the console is told how far the guest is.
    pub issue: bool,
    /// What units are to be, where the `when` of each is true.
    pub roles: Vec<Role>,
}

/// `[environment] absent`: what to do where there is no environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Absent {
    /// Keep what was applied last; a guest that was never configured gets the parameters' defaults.
    #[default]
    Keep,
    /// Apply the parameters' defaults.
    Defaults,
    /// Fail.
    Fail,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    parameters: BTreeMap<String, Spanned<Declaration>>,
    derived: BTreeMap<String, Spanned<String>>,
    environment: Texts,
    transport: RawTransport,
    ready: ready::RawReady,
    report: RawReport,
    state: Texts,
    hooks: Texts,
    appliance: Texts,
    units: Vec<RawRole>,
}

/// A section whose values are all texts. One type for all of these is worth 3 KiB for each.
type Texts = BTreeMap<String, Spanned<String>>;

/// Such sections, and the keys that each has.
pub(crate) const TEXTS: [(&str, &[&str]); 4] = [
    ("environment", &["absent"]),
    ("state", &["directory", "instance-id"]),
    ("hooks", &["timeout"]),
    ("appliance", &["version"]),
];

/// The keys of `[transport.guestinfo]`, which is of the same type.
pub(crate) const GUESTINFO: [&str; 1] = ["poll"];

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct RawTransport {
    order: Option<Vec<Spanned<String>>>,
    iso: RawIso,
    guestinfo: Texts,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct RawIso {
    devices: Option<Vec<Spanned<String>>>,
    method: transport::Method,
    wait: Option<Spanned<String>>,
    settle: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawReport {
    issue: Option<bool>,
}

impl Config {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(layers: &Layers) -> Result<Self, Problems> {
        Self::load_unless(layers, |_, _| false)
    }

    /// The same, without compiling the templates where `is_known` says so of the state directory and [`Config::digest`]: that
    /// this program has compiled them already, and found nothing wrong.
    ///
    /// # Errors
    /// Everything else that is wrong with it.
    pub fn load_unless(
        layers: &Layers,
        is_known: impl FnOnce(&Path, &[u8]) -> bool,
    ) -> Result<Self, Problems> {
        let sources = Sources::new(layers.settings()?);
        let raw: Raw = sources.read().map_err(Problems)?;
        let mut problems = Vec::new();
        let mut at = Complaints { sources: &sources, problems: &mut problems };

        let mut declared = Declared::default();
        for (name, declaration) in raw.parameters {
            let position = declaration.span().start;
            if let Err(objections) = declared.insert(name, declaration.into_inner()) {
                for Objection { at: byte, message } in objections {
                    at.complain(byte.unwrap_or(position), message);
                }
            }
        }
        let iso = raw.transport.iso;
        let poll = at.section(&GUESTINFO, raw.transport.guestinfo).pop().flatten();
        let transport = transport::Settings {
            order: at.order(raw.transport.order),
            devices: at.devices(iso.devices),
            method: iso.method,
            patience: Patience {
                wait: at.duration(iso.wait, Duration::from_secs(10)),
                settle: at.duration(iso.settle, Duration::from_secs(1)),
            },
            poll: at.poll(poll),
        };
        let (ready, gate_needs, gate_doubts) = ready::ready(raw.ready, &declared, &mut at);
        let mut texts = at.texts([raw.environment, raw.state, raw.hooks, raw.appliance]).into_iter();
        let [absent, state, instance_id, timeout, version] = std::array::from_fn(|_| texts.next().flatten());
        let absent = at.absent(absent);
        let state = state.and_then(|path| at.absolute(path));
        let state = state.unwrap_or_else(|| STATE.into());
        // What cloud-init and cloudbase-init read.
        let instance_id = instance_id.map_or_else(|| "instance-id".to_owned(), Spanned::into_inner);
        let instance_id = Some(instance_id).filter(|key| !key.is_empty());
        let timeout = at.duration(timeout, Duration::from_secs(60));
        let version = version.and_then(|version| at.version(version));

        let (roles, conditions) = roles::roles(raw.units, &mut at);
        let derived = raw.derived.into_iter().map(|(name, value)| {
            let (file, start) = sources.file(value.span().start);
            DerivedSource::new(&file.name, name, value, &file.text, start)
        });
        let derived = derived.collect();
        let texts = layers.templates(&mut problems);
        let digest = templates::digest(&sources, &texts);
        let from = templates::Sources { templates: texts, derived, conditions };
        let templates = Templates::new(from, digest);
        if !problems.is_empty() || !digest.is_some_and(|digest| is_known(&state, &digest)) {
            templates.compile(&declared, &state, &mut problems);
        }
        let (list, idle) = layers.hooks(&mut problems);
        let hooks = Hooks { list, idle, timeout };
        let config = Self {
            parameters: declared,
            absent,
            transport,
            ready,
            gate_needs,
            gate_doubts,
            state,
            instance_id,
            version,
            hooks,
            templates,
            issue: raw.report.issue.unwrap_or(true),
            roles,
        };
        Problems::unless_none(problems, config)
    }

    /// What would be wrong with it in an image, though it is valid in itself: conditions that are never true, derived values
    /// that look as if they lacked their braces, gates that are hardly meant, hooks that cannot be started, and, where the image is at hand, accounts and
    /// programs that it does not have.
    ///
    /// # Errors
    /// The image's accounts cannot be read.
    pub fn lint(&self, image: Option<&Root>) -> sys::Result<Vec<Problem>> {
        let templates = match self.templates() {
            Ok(templates) => templates,
            Err(Problems(problems)) => return Ok(problems),
        };
        let mut problems = templates.lint(&self.parameters);
        problems.extend(self.gate_doubts.iter().cloned());
        problems.extend(interpreter::check(&self.hooks, image));
        if let Some(image) = image {
            problems.extend(image::check(templates, &self.gate_needs, image)?);
        }
        problems.sort();
        Ok(problems)
    }
}

/// Where the agent keeps its state, as far as a configuration that is broken tells: what an interrupted pass has left is there,
/// and is put right whatever else is wrong.
pub fn state_directory(layers: &Layers) -> PathBuf {
    let text = layers.settings().ok().and_then(|files| Sources::new(files).text("state", "directory"));
    text.map(PathBuf::from).filter(|path| is_plain_path(path)).unwrap_or_else(|| STATE.into())
}

/// What the reader says of a text, for the schema's test to compare with.
#[cfg(test)]
pub(crate) fn syntax(text: &str) -> Result<(), values::Error> {
    values::parse::<Raw>(text).map(drop)
}

/// Whether a path names one file below the root, whatever is there: absolute, and nothing to be resolved in it.
pub fn is_plain_path(path: &Path) -> bool {
    use std::path::Component::{Normal, RootDir};
    path.is_absolute()
        && path.file_name().is_some()
        && path.components().all(|part| matches!(part, RootDir | Normal(_)))
        && ![&b"/"[..], b"/."].iter().any(|end| path.as_os_str().as_encoded_bytes().ends_with(end))
        && !path.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_control)
        // One file is written in one way, so that two that are one are seen to be.
        && !["//", "/./"].iter().any(|twice| path.to_string_lossy().contains(twice))
}

/// What the TOML reader found, at its position. Its message speaks of the file's own text alone.
pub(crate) fn toml_problem(file: &str, text: &str, line_offset: usize, error: &values::Error) -> Problem {
    let message = plainly(&error.message);
    match error.at {
        Some(byte) => {
            let at = At::of(text, byte);
            Problem::at(file, At { line: at.line + line_offset, ..at }, message)
        }
        None => Problem::with(file, message),
    }
}

/// What the reader's words are to somebody who writes TOML and no Rust.
const WORDS: [(&str, &str); 5] = [
    ("\n", "; "),
    ("expected struct Declaration", "expected { key = \"...\", type = \"...\" }"),
    ("expected a sequence", "expected a list; write [\"...\"]"),
    ("expected a string", "expected text; write it between quotes"),
    (
        "unexpected leading zero, expected nothing",
        "a number does not begin with 0; write text between quotes",
    ),
];

/// What the TOML reader says, with what may have been meant by an unknown key.
pub(crate) fn plainly(message: &str) -> String {
    // A value in the wrong place may be a secret; its position tells which it is.
    let masked = message.strip_prefix("invalid ").and_then(|said| {
        let (said, expected) = said.rsplit_once(", expected ")?;
        let kind = said[..said.find(['"', '`'])?].trim_end();
        Some(format!("invalid {kind}, expected {expected}"))
    });
    let message = masked.as_deref().unwrap_or(message);
    let mut message = WORDS.iter().fold(message.to_owned(), |said, (from, to)| said.replace(from, to));
    if message.starts_with("unknown field ") {
        // unknown field `x`, expected one of `a`, `b`
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        if let Some((unknown, known)) = quoted.split_first()
            && let Some(near) = nearest(unknown, known)
        {
            message = format!("{message}; did you mean `{near}`?");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::{is_plain_path, plainly};
    use std::path::Path;

    #[test]
    fn the_readers_words_are_put_plainly() {
        for (said, want) in [
            (
                "unknown field `modus`, expected one of `path`, `mode`",
                "unknown field `modus`, expected one of `path`, `mode`; did you mean `mode`?",
            ),
            ("unknown field `x`, expected `absent`", "unknown field `x`, expected `absent`"),
            (
                "invalid type: string \"a\", expected a sequence",
                "invalid type: string, expected a list; write [\"...\"]",
            ),
            (
                "invalid type: integer `5`, expected a string",
                "invalid type: integer, expected text; write it between quotes",
            ),
            (
                "invalid type: string \"a`, expected \\\"b\\\", expected a string\", expected a boolean",
                "invalid type: string, expected a boolean",
            ),
            ("invalid length 3, expected a pair", "invalid length 3, expected a pair"),
        ] {
            assert_eq!(plainly(said), want);
        }
    }

    #[test]
    fn a_plain_path_names_one_file() {
        for (path, want) in [
            ("/etc/a", true),
            ("/a b", true),
            ("etc/a", false),
            ("/etc/../a", false),
            ("/etc//a", false),
            ("/etc/./a", false),
            ("/etc/", false),
            ("/etc/.", false),
            ("/etc/a\0b", false),
            ("/etc/a\nb", false),
            ("/", false),
            ("", false),
        ] {
            assert_eq!(is_plain_path(Path::new(path)), want, "{path:?}");
        }
    }
}
