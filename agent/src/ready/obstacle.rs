//! Why a gate is not passed, in a word for programs and a sentence for people.
//!
//! Decides the codes, which `docs/protocol.md` lists, and which of two obstacles tells more. No reason names an address that came
//! from the environment, for it is a property's value.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::io;

use serde::{Deserialize, Serialize};

use crate::bus::UnitStatus;
use crate::checks::{How, Refusal};

/// Why a gate is not passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    pub(super) code: &'static str,
    pub(super) reason: Cow<'static, str>,
}

/// A gate that is not passed, as the report names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// `file /run/mydb.ready`, `tcp 127.0.0.1:5432`.
    pub gate: String,
    /// The kind of obstacle, for programs.
    pub code: String,
    /// The obstacle, for people.
    pub reason: String,
    /// How long this has been the obstacle, in milliseconds.
    pub since_ms: u64,
}

impl Unmet {
    /// Whether it was tried and found shut, and is not just waited for since a pass.
    pub fn is_known(&self) -> bool {
        ![Obstacle::UNTRIED.code, Obstacle::UNANSWERED.code].contains(&&*self.code)
    }
}

impl Obstacle {
    const fn of(code: &'static str, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }

    fn told(code: &'static str, reason: String) -> Self {
        Self { code, reason: Cow::Owned(reason) }
    }

    /// Not tried yet.
    pub(super) const UNTRIED: Self = Self::of("NotTried", "not tried yet");
    /// It is being tried for the first time.
    pub(super) const UNANSWERED: Self = Self::of("NoAnswerYet", "no answer yet");
    /// The file is not there.
    pub const FILE_MISSING: Self = Self::of("FileMissing", "does not exist");
    /// Nobody knows of units.
    pub const NO_SYSTEMD: Self =
        Self::of("NoSystemd", "systemd does not run here; use another gate, or an image with systemd");
    /// systemd does not answer.
    pub const SYSTEMD_SILENT: Self = Self::of("SystemdUnreachable", "systemd is not to be reached");
    /// What answers speaks something else.
    pub const NO_HTTP: Self = Self::of("HttpInvalid", "what it answers is no HTTP");
    /// What answers never comes to the point.
    pub const NO_FINAL: Self =
        Self::of("HttpInvalid", "it sends interim answers (status 1xx), and none of 200 and more");
    /// The environment has no such entity.
    pub(super) const NO_ENTITY: Self =
        Self::of("EntityMissing", "the environment that was applied last has no such entity");
    /// The entity has no such property, or an empty one.
    pub(super) const NO_PROPERTY: Self =
        Self::of("PropertyMissing", "the entity has no such property, or it is empty");
    /// A report has no room for them.
    pub(super) const TOO_MANY: Self =
        Self::of("TooManyEntities", "more than 1000 siblings have the property; name those to wait for");
    /// The property is no address.
    pub(super) const NO_ADDRESS: Self =
        Self::of("AddressInvalid", "the property is no IPv4 or IPv6 address; names are not looked up");
    /// The property is no port.
    pub(super) const NO_PORT: Self = Self::of("PortInvalid", "the property is no port between 1 and 65535");

    /// How much it tells of what keeps the gate shut. What tells more takes the place of what tells less at once.
    pub(super) fn weight(&self) -> u8 {
        match self.code {
            "NotTried" => 0,
            "NoAnswerYet" => 1,
            "UnitActivating" | "UnitInactive" | "UnitDeactivating" => 2,
            _ => 3,
        }
    }

    /// The connection was not made, or broke.
    pub fn connection(error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::ConnectionRefused => "ConnectionRefused",
            io::ErrorKind::TimedOut => "ConnectionTimedOut",
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "Unreachable",
            _ => "ConnectionFailed",
        };
        Self::told(code, error.to_string())
    }

    /// The server answers with a status that is no success.
    pub fn http_status(status: u16) -> Self {
        Self::told("HttpStatus", format!("status {status}"))
    }

    /// The program did not end well.
    pub fn command(refusal: &Refusal) -> Self {
        let code = match refusal.how {
            How::Missing => "CommandMissing",
            How::Late(_) => "CommandTimedOut",
            _ => "CommandFailed",
        };
        Self::told(code, refusal.end())
    }

    /// The program cannot be run.
    pub fn not_run(error: &io::Error) -> Self {
        Self::told("CommandFailed", format!("cannot be run: {error}"))
    }
}

/// What stands between a unit and being active; nothing if it is.
pub fn unit(status: Option<&UnitStatus>) -> Result<(), Obstacle> {
    const NO_UNIT: Obstacle = Obstacle::of("UnitNotFound", "there is no such unit");
    let Some(UnitStatus { load, active, sub, job, .. }) = status else { return Err(NO_UNIT) };
    let (code, word) = match (active.as_str(), load.as_str()) {
        ("active" | "reloading" | "refreshing", _) => return Ok(()),
        ("activating", _) => ("UnitActivating", "activating"),
        ("deactivating", _) => ("UnitDeactivating", "deactivating"),
        (_, "not-found") => return Err(NO_UNIT),
        (_, "masked") => return Err(Obstacle::of("UnitMasked", "is masked")),
        ("failed" | "maintenance", _) => {
            return Err(Obstacle::of("UnitFailed", "has failed; `systemctl status` tells why"));
        }
        (_, "loaded") => ("UnitInactive", "inactive"),
        (_, load) => {
            return Err(Obstacle::told("UnitInvalid", format!("systemd cannot load it ({load})")));
        }
    };
    let queued =
        if code == "UnitInactive" && job.as_deref() == Some("start") { ", its start is queued" } else { "" };
    Err(Obstacle::told(code, format!("{word} ({sub}){queued}")))
}

#[cfg(test)]
mod tests {
    use super::{Obstacle, UnitStatus, unit};
    use std::io::{Error, ErrorKind};

    #[test]
    fn a_unit_is_there_when_it_is_active() {
        for (load, active, sub, job, want) in [
            ("loaded", "active", "running", None, None),
            ("loaded", "active", "exited", None, None),
            ("loaded", "reloading", "reload", None, None),
            // A unit file that was removed, or broken, under a service that runs.
            ("not-found", "active", "running", None, None),
            ("bad-setting", "active", "running", None, None),
            ("loaded", "activating", "auto-restart", None, Some("UnitActivating: activating (auto-restart)")),
            ("loaded", "deactivating", "stop", None, Some("UnitDeactivating: deactivating (stop)")),
            ("loaded", "inactive", "dead", None, Some("UnitInactive: inactive (dead)")),
            (
                "loaded",
                "inactive",
                "dead",
                Some("start"),
                Some("UnitInactive: inactive (dead), its start is queued"),
            ),
            (
                "loaded",
                "failed",
                "failed",
                None,
                Some("UnitFailed: has failed; `systemctl status` tells why"),
            ),
            ("not-found", "failed", "failed", None, Some("UnitNotFound: there is no such unit")),
            ("not-found", "inactive", "dead", None, Some("UnitNotFound: there is no such unit")),
            ("masked", "inactive", "dead", None, Some("UnitMasked: is masked")),
            (
                "bad-setting",
                "inactive",
                "dead",
                None,
                Some("UnitInvalid: systemd cannot load it (bad-setting)"),
            ),
        ] {
            let text = |text: &str| text.to_owned();
            let status = UnitStatus {
                id: text("a.service"),
                load: text(load),
                active: text(active),
                sub: text(sub),
                job: job.map(text),
            };
            let said = unit(Some(&status)).err().map(|it| format!("{}: {}", it.code, it.reason));
            assert_eq!(said.as_deref(), want, "{load} {active} {sub}");
        }
        assert_eq!(unit(None).expect_err("no name of a unit").code, "UnitNotFound");
    }

    #[test]
    fn a_connection_fails_in_several_ways() {
        for (kind, want) in [
            (ErrorKind::ConnectionRefused, "ConnectionRefused"),
            (ErrorKind::TimedOut, "ConnectionTimedOut"),
            (ErrorKind::NetworkUnreachable, "Unreachable"),
            (ErrorKind::HostUnreachable, "Unreachable"),
            (ErrorKind::ConnectionReset, "ConnectionFailed"),
        ] {
            assert_eq!(Obstacle::connection(&Error::from(kind)).code, want);
        }
    }
}
