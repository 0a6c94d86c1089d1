//! `[[units]]`: which services a guest has.
//!
//! Decides which tables make sense: one for each unit, of which that of a later file counts, and none for the agent itself.
//! What follows from a role is decided in `units::roles`.

#![forbid(unsafe_code)]

use serde::Deserialize;
use toml::Spanned;

use super::complaints::Complaints;
use crate::template::{ConditionSource, unit_objection};
use crate::units::{Role, State};

/// One table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRole {
    name: Spanned<String>,
    state: State,
    when: Option<Spanned<String>>,
}

/// The roles, as they are where each `when` is true, and these.
pub(super) fn roles(tables: Vec<RawRole>, at: &mut Complaints<'_>) -> (Vec<Role>, Vec<ConditionSource>) {
    let mut roles: Vec<(Role, Option<ConditionSource>, &str)> = Vec::new();
    for RawRole { name, state, when } in tables {
        let byte = name.span().start;
        let unit = name.into_inner();
        let (file, start) = at.sources.file(byte);
        let own = unit.starts_with("ovf-agent").then(|| format!("`{unit}` is the agent itself"));
        if let Some(wrong) = unit_objection(&unit).or(own) {
            at.complain(byte, wrong);
            continue;
        }
        let condition = when.map(|when| ConditionSource::new(&file.name, &unit, when, &file.text, start));
        match roles.iter().position(|(known, ..)| known.unit == unit) {
            Some(known) if roles[known].2 == file.name => {
                at.complain(
                    byte,
                    format!("`{unit}` has a [[units]] table already in this file; a unit has one"),
                );
            }
            Some(known) => drop(roles.remove(known)),
            None => {}
        }
        roles.push((Role { unit, state, holds: true }, condition, &file.name));
    }
    let (roles, conditions): (Vec<_>, Vec<_>) =
        roles.into_iter().map(|(role, condition, _)| (role, condition)).unzip();
    (roles, conditions.into_iter().flatten().collect())
}
