//! Looks at what is where the files should go, so that a plan can be made of it.
//!
//! Decides who owns a file whose template does not say so, that two templates do not write one file by different paths,
//! and where leftovers are looked for: in every directory that a template names, or named when the state was written.
//! Changes nothing; what follows from the comparison is decided by `plan`.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Exit, Fault, Result};
use crate::apply::{self, TARGET_LIMIT};
use crate::config::Config;
use crate::plan::{Gone, Ids, Past, Plan};
use crate::report::Part;
use crate::state::{State, Written};
use crate::sys::accounts::Accounts;
use crate::sys::place::{Current, Place, Places};
use crate::sys::{self, Root, process};
use crate::template::{Output, Rendered};
use crate::units::{Role, roles};

/// What tells a file from any other, by whatever path it is reached.
type Identity = (u64, u64, OsString);

/// Reads what is where the files should go. Under a root that stands for another machine nobody's number is known, so
/// owners are shown and not compared: there are no `accounts`.
pub(super) fn compare(
    root: &Root,
    config: &Config,
    past: Past<'_>,
    output: Output,
    accounts: Option<sys::Result<Accounts>>,
) -> Result<Plan> {
    let Output { files: rendered, absent, conditions, .. } = output;
    let fail = |error: &(dyn std::error::Error + 'static)| {
        Fault::new(Part::Apply, "ApplyFailed", Exit::Failed, error)
    };
    let named = rendered.iter().any(|file| file.owner.is_some() || file.group.is_some());
    let accounts = match accounts {
        Some(Err(error)) if named => return Err(fail(&error)),
        accounts => accounts.map(sys::Result::unwrap_or_default),
    };
    let templates = config.templates().map_err(|problems| Fault::configuration(&problems))?;
    let mut files = Vec::new();
    let mut places = Places::new(root);
    let mut taken = BTreeMap::new();
    let mut leftovers = Leftovers::default();
    for file in rendered {
        let ids = match &accounts {
            None => Ids::default(),
            Some(accounts) => ids(accounts, &file).map_err(|error| fail(&error))?,
        };
        let target = |what| fail(&apply::Error::Target { template: file.template.clone(), what });
        let place = places.place(&file.path).map_err(target)?;
        if let Some(other) = taken.insert(place.identity().map_err(target)?, file.template.clone()) {
            return Err(fail(&SameFile { template: file.template.clone(), other }));
        }
        let current = place.current(TARGET_LIMIT).map_err(target)?;
        leftovers.beside(&place).map_err(target)?;
        files.push((file, ids, current));
    }
    let said: BTreeMap<&Path, bool> =
        absent.iter().map(|absent| (absent.path.as_path(), absent.keep)).collect();
    let keep = |path: &Path, written: &Written| {
        // The file of an element that is gone is no template's to speak of; what its template said then holds.
        let then = || templates.has(&written.template).then_some(written.keep);
        said.get(path).copied().or_else(then)
    };
    let gone = gone(past, &files, &taken, &keep, &mut places);
    let leftovers = leftovers.of(root, &config.state, past.state, &mut places)?;
    let holds = |unit: &str| conditions.get(unit).copied().unwrap_or(true);
    let roles = config.roles.iter().map(|role| Role { holds: holds(&role.unit), ..role.clone() });
    Ok(Plan {
        roles: roles::all(roles.collect(), &past.state.roles),
        ..Plan::new(past, files, gone, leftovers)
    })
}

/// What is left over beside these paths and in the directories that are remembered: for a guest without an environment.
pub(super) fn leftovers<'a>(
    root: &Root,
    directory: &Path,
    state: &State,
    paths: impl Iterator<Item = &'a Path>,
) -> Result<Vec<PathBuf>> {
    let mut places = Places::new(root);
    let mut leftovers = Leftovers::default();
    for path in paths {
        leftovers.perhaps_beside(&mut places, path);
    }
    leftovers.of(root, directory, state, &mut places)
}

/// Files that are remembered, and that no template makes now. That one of them cannot be looked at is no reason to leave
/// the others unconfigured.
fn gone(
    past: Past<'_>,
    files: &[(Rendered, Ids, Option<Current>)],
    taken: &BTreeMap<Identity, String>,
    keep: &dyn Fn(&Path, &Written) -> Option<bool>,
    places: &mut Places<'_>,
) -> Vec<Gone> {
    let made: BTreeSet<&Path> = files.iter().map(|(file, ..)| file.path.as_path()).collect();
    let mut gone = Vec::new();
    for (path, written) in past.state.files.iter().filter(|(path, _)| !made.contains(path.as_path())) {
        let (path, keep) = (path.clone(), keep(path, written));
        let looked =
            places.place(&path).and_then(|place| Ok((place.identity()?, place.current(TARGET_LIMIT)?)));
        match looked {
            // A template makes it by another path, or somebody has removed it.
            Ok((identity, _)) if taken.contains_key(&identity) => {}
            Ok((_, None)) => {}
            Ok((_, Some(current))) => gone.push(Gone { path, keep, current: Some(current) }),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(_) => gone.push(Gone { path, keep, current: None }),
        }
    }
    gone
}

/// What interrupted passes left behind, each directory looked at once.
#[derive(Default)]
pub(super) struct Leftovers {
    looked_at: BTreeSet<OsString>,
    found: Vec<PathBuf>,
}

impl Leftovers {
    pub(super) fn beside(&mut self, place: &Place) -> sys::Result<()> {
        let directory = place.directory().as_os_str();
        if !self.looked_at.contains(directory) {
            self.looked_at.insert(directory.to_owned());
            self.found.extend(place.leftovers()?);
        }
        Ok(())
    }

    /// A directory that is gone, or behind a link by now, has nothing that we could remove.
    fn perhaps_beside(&mut self, places: &mut Places<'_>, path: &Path) {
        if path.parent().is_some_and(|parent| !self.looked_at.contains(parent.as_os_str()))
            && let Ok(place) = places.place(path)
        {
            let _ = self.beside(&place);
        }
    }

    /// Those, and what is in the directories that are remembered, and in the agent's own.
    pub(super) fn of(
        mut self,
        root: &Root,
        directory: &Path,
        state: &State,
        places: &mut Places<'_>,
    ) -> Result<Vec<PathBuf>> {
        for path in state.files.keys() {
            self.perhaps_beside(places, path);
        }
        // Where nothing was ever applied there is no state directory, and nothing in it.
        if root.exists(directory) {
            let own = places.place(directory.join("state")).and_then(|place| self.beside(&place));
            own.map_err(|error| Fault::outside(&error))?;
        }
        Ok(self.found)
    }
}

/// Two templates write one file, by different paths.
#[derive(Debug, thiserror::Error)]
#[error("{template}: writes the same file as {other}, by another path; one file has one template")]
struct SameFile {
    template: String,
    other: String,
}

/// The account that a template names is not there.
#[derive(Debug, thiserror::Error)]
#[error("{template}: there is no {kind} `{name}`; add it to the image, or change the template")]
struct NoAccount {
    template: String,
    kind: &'static str,
    name: String,
}

/// Owner and group as numbers. What a template does not name is the agent's own.
fn ids(accounts: &Accounts, file: &Rendered) -> std::result::Result<Ids, NoAccount> {
    let number = |kind, name: &Option<String>, find: &dyn Fn(&str) -> Option<u32>| match name {
        None => Ok(None),
        Some(name) => find(name).map(Some).ok_or_else(|| NoAccount {
            template: file.template.clone(),
            kind,
            name: name.clone(),
        }),
    };
    Ok(Ids {
        owner: number("user", &file.owner, &|name| accounts.user(name))?.or(Some(process::euid())),
        group: number("group", &file.group, &|name| accounts.group(name))?.or(Some(process::egid())),
    })
}
