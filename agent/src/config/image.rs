//! Whether the image has what its templates and gates name: accounts and programs, and systemd where units are waited for.
//!
//! Decides what counts as there. An account does if `/etc/passwd` or `/etc/group` has it, or a file of sysusers.d(5), which
//! systemd reads before the agent runs. A program does if it can be executed, or if a template writes it; one in a directory
//! that is filled at boot is not judged, nor is an `on-change` where there is systemd, since nobody runs it there. Units are
//! not looked for: generators make some, and a unit that is not there owes nothing. Neither are directories, which
//! tmpfiles.d, units and hooks make in time.

#![forbid(unsafe_code)]

use std::io;
use std::path::Path;

use super::ready::Needs;
use crate::problem::Problem;
use crate::sys::accounts::Accounts;
use crate::sys::{Result, Root, program};
use crate::template::{Need, Needed, TemplateSet};

/// Where accounts are declared, the first of which wins.
const SYSUSERS: [&str; 4] =
    ["/etc/sysusers.d", "/run/sysusers.d", "/usr/local/lib/sysusers.d", "/usr/lib/sysusers.d"];
/// A file of them that is larger declares no accounts.
const LIMIT: u64 = 1024 * 1024;
/// Where PID 1 is in an image with systemd.
const SYSTEMD: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
/// Where units are, the first of which wins (systemd.unit(5)).
const UNITS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// What is reached when the guest is ready.
const READY: &str = "ovf-agent-ready.target";
/// Directories of which an image does not say what is in them.
const FILLED_AT_BOOT: [&str; 7] = ["/dev", "/media", "/mnt", "/proc", "/run", "/sys", "/tmp"];

/// What templates and gates name and the image does not have.
pub(super) fn check(templates: &TemplateSet, gates: &Needs, image: &Root) -> Result<Vec<Problem>> {
    if templates.needs().next().is_none() && gates.is_empty() {
        return Ok(Vec::new());
    }
    let accounts = Accounts::read(image)?;
    let mut declared = Vec::new();
    let mut seen = Vec::new();
    for directory in SYSUSERS {
        for name in image.list(directory)? {
            // A file masks those of its name in later directories.
            if name.ends_with(".conf") && !seen.contains(&name) {
                // A link to /dev/null is none.
                let text =
                    image.read(format!("{directory}/{name}"), LIMIT).ok().flatten().unwrap_or_default();
                String::from_utf8_lossy(&text).lines().for_each(|line| declare(line, &mut declared));
                seen.push(name);
            }
        }
    }
    let is_declared = |kind, name: &str| {
        declared.iter().any(|(other, declared)| (*other, declared.as_str()) == (kind, name))
    };
    let has_systemd = SYSTEMD.iter().any(|path| image.exists(path));
    let missing = |what: &Needed| {
        match what {
        Needed::User(name) => {
            let is_there = accounts.user(name).is_some() || is_declared(Kind::User, name);
            (!is_there).then(|| no_account("owner", name, "user", "/etc/passwd"))
        }
        Needed::Group(name) => {
            let is_there = accounts.group(name).is_some() || is_declared(Kind::Group, name);
            (!is_there).then(|| no_account("group", name, "group", "/etc/group"))
        }
        Needed::Unit(unit) if !has_systemd => Some(format!(
            "{unit}: the image has no systemd, so this gate is never passed; install it, or wait for something else"
        )),
        Needed::Unit(unit) => waits_for_us(image, unit).then(|| {
            format!("{unit} is ordered after {READY}, which waits for this gate; order it after another, or drop the gate")
        }),
        Needed::Program("on-change", _) if has_systemd => None,
        Needed::Program(_, path) if FILLED_AT_BOOT.iter().any(|at| Path::new(path).starts_with(at)) => None,
        Needed::Program(_, path) if templates.paths().any(|written| written == path) => None,
        Needed::Program(key, path) => match program::can_run(image, Path::new(path)) {
            Ok(false) => Some(format!(
                "{key}: {path} is no file that can be executed; make it one (chmod +x), or name another"
            )),
            Err(error) if is_absence(&error) => {
                Some(format!("{key}: the image has no program {path}; install it, or correct the path"))
            }
            // What cannot be looked at may be right.
            Ok(true) | Err(_) => None,
        },
    }
    };
    let problem = |(file, Need { at, what }): (&str, &Need)| Some(Problem::at(file, *at, missing(what)?));
    let gates = gates.iter().map(|(file, need)| (file.as_str(), need));
    Ok(templates.needs().chain(gates).filter_map(problem).collect())
}

/// Whether a unit begins only when the guest is ready. That of the first directory counts, with the drop-ins of all.
fn waits_for_us(image: &Root, unit: &str) -> bool {
    let files = UNITS.iter().map(|directory| format!("{directory}/{unit}"));
    let own = files.clone().find(|file| image.exists(file));
    let drop_ins = files.flat_map(|file| {
        let names = image.list(format!("{file}.d")).unwrap_or_default().into_iter();
        names.filter(|name| name.ends_with(".conf")).map(move |name| format!("{file}.d/{name}"))
    });
    own.into_iter().chain(drop_ins).any(|file| {
        let text = image.read(file, LIMIT).ok().flatten().unwrap_or_default();
        let after = |line: &str| {
            line.split_once('=').is_some_and(|(key, units)| {
                key.trim() == "After" && units.split_whitespace().any(|unit| unit == READY)
            })
        };
        String::from_utf8_lossy(&text).lines().any(after)
    })
}

fn no_account(key: &str, name: &str, kind: &str, file: &str) -> String {
    format!(
        "{key} = \"{name}\": the image has no such {kind}, in {file} or by sysusers.d; add it, or name another"
    )
}

pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    User,
    Group,
}

/// The accounts that a line of sysusers.d(5) makes: `u NAME` a user and its group, `g NAME` a group, `m USER GROUP` both.
fn declare(line: &str, declared: &mut Vec<(Kind, String)>) {
    let mut words = line.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned());
    let kind = words.next().unwrap_or_default();
    let Some(name) = words.next() else { return };
    match kind.trim_end_matches(['!', '-']) {
        "u" => {
            declared.push((Kind::User, name.clone()));
            declared.push((Kind::Group, name));
        }
        "g" => declared.push((Kind::Group, name)),
        "m" => {
            declared.push((Kind::User, name));
            declared.extend(words.next().map(|group| (Kind::Group, group)));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, declare};

    #[test]
    fn lines_of_sysusers_make_accounts() {
        for (line, users, groups) in [
            ("u mydb 120 \"My database\" /var/lib/mydb", &["mydb"][..], &["mydb"][..]),
            ("u! \"mydb\" -:130 -", &["mydb"], &["mydb"]),
            ("g  certs\t-", &[], &["certs"]),
            ("m mydb certs", &["mydb"], &["certs"]),
            ("r - 500-900", &[], &[]),
            ("# u mydb", &[], &[]),
            ("u", &[], &[]),
            ("", &[], &[]),
        ] {
            let mut declared = Vec::new();
            declare(line, &mut declared);
            let of = |kind| {
                declared.iter().filter(move |it| it.0 == kind).map(|it| it.1.as_str()).collect::<Vec<_>>()
            };
            assert_eq!((of(Kind::User), of(Kind::Group)), (users.to_vec(), groups.to_vec()), "{line}");
        }
    }
}
