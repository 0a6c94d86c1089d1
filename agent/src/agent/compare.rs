//! Looks at what is where the files should go, so that a plan can be made of it.
//!
//! Decides who owns a file whose template does not say so, and that two templates do not write one file by different
//! paths. Changes nothing; what follows from the comparison is decided by `plan`.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Exit, Fault, Result};
use crate::apply::{self, TARGET_LIMIT};
use crate::plan::{Ids, Plan};
use crate::report::Part;
use crate::sys::accounts::Accounts;
use crate::sys::place::Places;
use crate::sys::{Root, process};
use crate::template::Rendered;

/// Reads what is where the files should go. Under a root that stands for another machine nobody's number is known, so
/// owners are shown and not compared.
pub(super) fn compare(root: &Root, state: &Path, rendered: Vec<Rendered>) -> Result<Plan> {
    let fail = |error: &(dyn std::error::Error + 'static)| {
        Fault::new(Part::Apply, "ApplyFailed", Exit::Failed, error)
    };
    let named = rendered.iter().any(|file| file.owner.is_some() || file.group.is_some());
    let read = || if named { Accounts::read(root) } else { Ok(Accounts::default()) };
    let accounts = root.is_system().then(read).transpose();
    let accounts = accounts.map_err(|error| fail(&error))?;
    let mut files = Vec::new();
    let mut places = Places::new(root);
    let mut taken = BTreeMap::new();
    let (mut leftovers, mut looked_at) = (Vec::new(), BTreeSet::new());
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
        if looked_at.insert(place.directory().to_path_buf()) {
            leftovers.extend(place.leftovers().map_err(target)?);
        }
        files.push((file, ids, current));
    }
    // Where nothing was ever applied there is no state directory, and nothing in it.
    if root.exists(state) {
        let own = places.place(state.join("state")).and_then(|place| place.leftovers());
        leftovers.extend(own.map_err(|error| Fault::outside(&error))?);
    }
    Ok(Plan::new(files, leftovers))
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
