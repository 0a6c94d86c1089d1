//! What the appliance builder says: `agent.toml` and the templates beside it.
//!
//! Decides which keys there are, what they default to, and that an unknown one is refused with its position; a typo
//! that is silently ignored is found by the customer. Does not look at any environment. The directory is
//! `/etc/ovf-agent`, or what `--config` says.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::parameters::{Declaration, Declared, Objection};
use crate::problem::{At, Problem, Problems};
use crate::ready;
use crate::sys::Root;
use crate::template::{TemplateSet, TemplateSource};
use crate::transport::trust::Devices;
use crate::transport::wait::Patience;
use crate::transport::{self, Transport};

/// Where the configuration is in a machine.
pub const DIRECTORY: &str = "/etc/ovf-agent";
const FILE: &str = "agent.toml";
/// The directory of templates in it.
pub const TEMPLATES: &str = "templates";
const TEMPLATE_SUFFIX: &str = ".tera";
/// A configuration file larger than this was not written by a person.
const LIMIT: u64 = 1024 * 1024;

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
    pub ready: ready::Conditions,
    /// Where the agent keeps its state, inside the root.
    pub state: PathBuf,
    /// The templates, compiled and checked against the declared names.
    pub templates: TemplateSet,
}

/// `[environment] absent`: what to do where there is no environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    environment: RawEnvironment,
    transport: RawTransport,
    ready: RawReady,
    state: RawState,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct RawEnvironment {
    absent: Absent,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct RawTransport {
    order: Option<Vec<Spanned<String>>>,
    iso: RawIso,
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
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct RawReady {
    files: Vec<Spanned<String>>,
    tcp: Vec<Spanned<String>>,
    timeout: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct RawState {
    directory: Option<Spanned<String>>,
}

impl Config {
    /// Reads and checks the configuration directory.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(directory: &Root) -> Result<Self, Problems> {
        let text = read_text(directory, Path::new(FILE))?.ok_or_else(|| {
            let directory = directory.outside(Path::new(""));
            let directory = directory.display();
            let remedy =
                format!("is not there; put it into {directory}, or name another directory by --config");
            Problem::with(FILE, remedy)
        })?;
        let raw: Raw = toml::from_str(&text).map_err(|error| toml_problem(FILE, &text, 0, &error))?;
        let mut problems = Vec::new();
        let mut at = Complaints { text: &text, problems: &mut problems };

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
        let transport = transport::Settings {
            order: at.order(raw.transport.order),
            devices: at.devices(iso.devices),
            method: iso.method,
            patience: Patience {
                wait: at.duration(iso.wait, Duration::from_secs(10)),
                settle: at.duration(iso.settle, Duration::from_secs(1)),
            },
        };
        let ready = ready::Conditions {
            files: raw.ready.files.into_iter().filter_map(|path| at.absolute(path)).collect(),
            tcp: raw.ready.tcp.into_iter().filter_map(|address| at.address(address)).collect(),
            timeout: at.duration(raw.ready.timeout, Duration::from_secs(300)),
        };
        let state = raw
            .state
            .directory
            .and_then(|path| at.absolute(path))
            .unwrap_or_else(|| PathBuf::from("/var/lib/ovf-agent"));

        let sources = read_templates(directory, &mut problems);
        let templates = TemplateSet::compile(sources, &declared, &mut problems);
        for (file, path) in templates.paths() {
            if path.starts_with(&state) || state.starts_with(path) {
                let message =
                    format!("writes {}, which is the agent's own ([state] directory)", path.display());
                problems.push(Problem::with(file, message));
            }
        }
        let config =
            Self { parameters: declared, absent: raw.environment.absent, transport, ready, state, templates };
        Problems::unless_none(problems, config)
    }
}

/// Turns what is wrong with a value of `agent.toml` into problems with a position.
struct Complaints<'a> {
    text: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Complaints<'_> {
    fn complain(&mut self, byte: usize, message: impl Into<String>) {
        self.problems.push(Problem::at(FILE, At::of(self.text, byte), message));
    }

    fn duration(&mut self, value: Option<Spanned<String>>, default: Duration) -> Duration {
        let Some(value) = value else { return default };
        parse_duration(value.get_ref()).unwrap_or_else(|| {
            let message = format!(
                "`{}` is no duration up to 8760h; write \"500ms\", \"10s\" or \"2m\"",
                value.get_ref()
            );
            self.complain(value.span().start, message);
            default
        })
    }

    /// `[transport] order`; by default every transport that needs no path.
    fn order(&mut self, words: Option<Vec<Spanned<String>>>) -> Vec<Transport> {
        let Some(words) = words else {
            return vec![Transport::Iso, Transport::Guestinfo, Transport::FwCfg, Transport::Credential];
        };
        let mut order = Vec::new();
        for word in words {
            match word.get_ref().parse() {
                Ok(transport) if order.contains(&transport) => {
                    self.complain(word.span().start, format!("`{}` is there already", word.get_ref()));
                }
                Ok(transport) => order.push(transport),
                Err(message) => self.complain(word.span().start, message),
            }
        }
        order
    }

    /// `[transport.iso] devices`.
    fn devices(&mut self, words: Option<Vec<Spanned<String>>>) -> Devices {
        let Some(words) = words else { return Devices::default() };
        let mut devices = Devices { optical: false, labelled: false, partitions: false };
        for word in words {
            match word.get_ref().as_str() {
                "optical" => devices.optical = true,
                "labelled" => devices.labelled = true,
                "partitions" => devices.partitions = true,
                other => {
                    let message =
                        format!("`{other}` is no kind of device; there are optical, labelled, partitions");
                    self.complain(word.span().start, message);
                }
            }
        }
        devices
    }

    fn absolute(&mut self, value: Spanned<String>) -> Option<PathBuf> {
        let path = Path::new(value.get_ref());
        if !is_plain_path(path) {
            let message = format!("`{}` must be an absolute path without `..`", path.display());
            self.complain(value.span().start, message);
            return None;
        }
        Some(path.to_path_buf())
    }

    fn address(&mut self, value: Spanned<String>) -> Option<SocketAddr> {
        let address = value.get_ref().parse();
        if address.is_err() {
            let message = format!(
                "`{}` is no address and port; write them as numbers, \"127.0.0.1:5432\" or \"[::1]:80\"",
                value.get_ref()
            );
            self.complain(value.span().start, message);
        }
        address.ok()
    }
}

/// Whether a path names one file below the root, whatever is there: absolute, and nothing to be resolved in it.
pub fn is_plain_path(path: &Path) -> bool {
    use std::path::Component::{Normal, RootDir};
    path.is_absolute()
        && path.file_name().is_some()
        && path.components().all(|part| matches!(part, RootDir | Normal(_)))
        && !path.as_os_str().as_encoded_bytes().ends_with(b"/")
        && !path.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_control)
}

/// The longest duration that means anything here, a year; sums of these with the time since boot do not overflow.
const LONGEST: Duration = Duration::from_secs(8760 * 3600);

/// A whole number and a unit: `ms`, `s`, `m` or `h`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        _ => return None,
    };
    (duration <= LONGEST).then_some(duration)
}

/// What the TOML reader found, at its position. Its message speaks of the file's own text alone.
pub(crate) fn toml_problem(file: &str, text: &str, line_offset: usize, error: &toml::de::Error) -> Problem {
    // Its message can have a second line, with what would have been right.
    let message = error.message().replace('\n', "; ");
    match error.span() {
        Some(span) => {
            let at = At::of(text, span.start);
            Problem::at(file, At { line: at.line + line_offset, ..at }, message)
        }
        None => Problem::with(file, message),
    }
}

/// A text file of the configuration directory; `None` where it is not there.
fn read_text(directory: &Root, path: &Path) -> Result<Option<String>, Problem> {
    let name = path.display().to_string();
    let bytes = directory
        .read(path, LIMIT)
        .map_err(|error| Problem::with(&name, format!("cannot be read: {}", error.source)))?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
        Problem::at(&name, At::of(&text, good), "is not UTF-8 text")
    })
}

/// The templates of the directory by name. A problem with one does not hide those of the others.
fn read_templates(directory: &Root, problems: &mut Vec<Problem>) -> Vec<TemplateSource> {
    let names = directory.list(Path::new(TEMPLATES)).unwrap_or_else(|error| {
        problems.push(Problem::with(TEMPLATES, format!("cannot be listed: {}", error.source)));
        Vec::new()
    });
    let mut sources = Vec::new();
    // A name that begins with a dot is an editor's.
    let wanted = |name: &String| name.ends_with(TEMPLATE_SUFFIX) && !name.starts_with('.');
    for name in names.into_iter().filter(wanted) {
        let file = format!("{TEMPLATES}/{name}");
        match read_text(directory, Path::new(&file)) {
            Ok(Some(text)) => sources.push(TemplateSource { file, text }),
            Ok(None) => {
                let message = "is a link to something outside of the configuration directory; put the file itself there";
                problems.push(Problem::with(file, message));
            }
            Err(problem) => problems.push(problem),
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::{is_plain_path, parse_duration};
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, want) in [
            ("500ms", Some(Duration::from_millis(500))),
            ("10s", Some(Duration::from_secs(10))),
            ("0s", Some(Duration::ZERO)),
            ("2m", Some(Duration::from_secs(120))),
            ("1h", Some(Duration::from_secs(3600))),
            ("10", None),
            ("", None),
            ("s", None),
            ("1.5s", None),
            ("10 s", None),
            ("-1s", None),
            ("99999999999999999999s", None),
            ("9999999999999999999h", None),
            ("8760h", Some(Duration::from_secs(31_536_000))),
            ("8761h", None),
        ] {
            assert_eq!(parse_duration(text), want, "{text}");
        }
    }

    #[test]
    fn a_plain_path_names_one_file() {
        for (path, want) in [
            ("/etc/a", true),
            ("/a b", true),
            ("etc/a", false),
            ("/etc/../a", false),
            ("/etc/", false),
            ("/etc/a\0b", false),
            ("/etc/a\nb", false),
            ("/", false),
            ("", false),
        ] {
            assert_eq!(is_plain_path(Path::new(path)), want, "{path:?}");
        }
    }
}
