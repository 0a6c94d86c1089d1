//! From what the settings say to what is meant, or to a problem at its position.
//!
//! Decides the forms of durations, paths, addresses and words in settings. What the settings are for is decided where
//! they are used.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::merge::Sources;
use super::{Absent, TEXTS, Texts, is_plain_path, plainly};
use crate::problem::Problem;
use crate::transport::Transport;
use crate::transport::trust::Devices;

/// Turns what is wrong with a value of `agent.toml` into problems with a position.
pub(super) struct Complaints<'a> {
    pub(super) sources: &'a Sources,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Complaints<'_> {
    pub(super) fn complain(&mut self, byte: usize, message: impl Into<String>) {
        self.problems.push(self.sources.problem(byte, message));
    }

    /// The values of the sections of [`TEXTS`], in the order of their keys; they have no others.
    pub(super) fn texts(&mut self, sections: [Texts; TEXTS.len()]) -> Vec<Option<Spanned<String>>> {
        let mut found = Vec::new();
        for ((_, keys), section) in TEXTS.iter().zip(sections) {
            found.extend(self.section(keys, section));
        }
        found
    }

    /// The values of a section that has only these keys, in their order.
    pub(super) fn section(&mut self, keys: &[&str], section: Texts) -> Vec<Option<Spanned<String>>> {
        let mut found = vec![None; keys.len()];
        for (key, text) in section {
            match keys.iter().position(|known| *known == key) {
                Some(place) => found[place] = Some(text),
                None => {
                    let keys = keys.join("` or `");
                    let message = format!("unknown field `{key}`, expected `{keys}`");
                    self.complain(text.span().start, plainly(&message));
                }
            }
        }
        found
    }

    /// `[transport.guestinfo] poll`: asking takes a process, so not all the time.
    pub(super) fn poll(&mut self, value: Option<Spanned<String>>) -> Duration {
        let at = value.as_ref().map(|value| value.span().start);
        let poll = self.duration(value, Duration::from_secs(30));
        if let Some(at) = at.filter(|_| !poll.is_zero() && poll < Duration::from_secs(1)) {
            self.complain(at, "this is too often; write \"1s\" or more, or \"0s\" for never");
        }
        poll
    }

    pub(super) fn duration(&mut self, value: Option<Spanned<String>>, default: Duration) -> Duration {
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
    pub(super) fn order(&mut self, words: Option<Vec<Spanned<String>>>) -> Vec<Transport> {
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
    pub(super) fn devices(&mut self, words: Option<Vec<Spanned<String>>>) -> Devices {
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

    pub(super) fn absolute(&mut self, value: Spanned<String>) -> Option<PathBuf> {
        let path = Path::new(value.get_ref());
        if !is_plain_path(path) {
            let message = format!("`{}` {}", path.display(), path_objection(path));
            self.complain(value.span().start, message);
            return None;
        }
        Some(path.to_path_buf())
    }

    /// `[environment] absent`.
    pub(super) fn absent(&mut self, word: Option<Spanned<String>>) -> Absent {
        let Some(word) = word else { return Absent::default() };
        match word.get_ref().as_str() {
            "keep" => Absent::Keep,
            "defaults" => Absent::Defaults,
            "fail" => Absent::Fail,
            other => {
                let message =
                    format!("unknown variant `{other}`, expected one of `keep`, `defaults`, `fail`");
                self.complain(word.span().start, message);
                Absent::default()
            }
        }
    }

    /// `[appliance] version`.
    pub(super) fn version(&mut self, value: Spanned<String>) -> Option<String> {
        let text = value.get_ref();
        if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
            let message = "a version is 1 to 128 bytes of text without control characters, such as \"2.1\"";
            self.complain(value.span().start, message);
            return None;
        }
        Some(value.into_inner())
    }

    pub(super) fn address(&mut self, value: Spanned<String>) -> Option<SocketAddr> {
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

/// What is wrong with a path that is not [`is_plain_path`].
fn path_objection(path: &Path) -> &'static str {
    let text = path.as_os_str().as_encoded_bytes();
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        "must be an absolute path without `..`"
    } else if path.parent().is_none() {
        "names no file"
    } else if text.iter().any(u8::is_ascii_control) {
        "must have no control characters"
    } else if text.ends_with(b"/") {
        "must not end with `/`"
    } else {
        "must be written without `//` and `/./`"
    }
}

/// The longest duration that means anything here, a year; sums of these with the time since boot do not overflow.
const LONGEST: Duration = Duration::from_secs(8760 * 3600);

/// A whole number and a unit: `ms`, `s`, `m` or `h`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
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

#[cfg(test)]
mod tests {
    use super::{parse_duration, path_objection};
    use crate::config::is_plain_path;
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn a_path_is_told_what_is_wrong_with_it() {
        for (path, want) in [
            ("run/x", "must be an absolute path without `..`"),
            ("", "must be an absolute path without `..`"),
            ("/run/../x", "must be an absolute path without `..`"),
            ("/run/..", "must be an absolute path without `..`"),
            ("/", "names no file"),
            ("//", "names no file"),
            ("/run/x/", "must not end with `/`"),
            ("/run/x\n", "must have no control characters"),
            ("/run//x", "must be written without `//` and `/./`"),
            ("/run/./x", "must be written without `//` and `/./`"),
        ] {
            let path = Path::new(path);
            assert_eq!((is_plain_path(path), path_objection(path)), (false, want), "{}", path.display());
        }
    }

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
}
