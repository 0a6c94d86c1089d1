//! Files for guests: the paths that they are to have on the disc.
//!
//! Decides which paths cannot be: of one guest's files, which are its own and its parent's, each has a path of its own, and
//! none is a directory of another.
//!
//! The rule: DSP0243, 9.16.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound::{Excluded, Unbounded};

use super::Links;
use crate::descriptor::{Entity, Kind};
use crate::finding::{Code, quoted};
use crate::package::path;

/// Paths as they are written. In their order, what is below one comes right behind it.
type Paths<'a> = BTreeMap<String, &'a str>;

fn paths(entity: &Entity) -> Paths<'_> {
    let files = entity.environment_files.iter().map(|it| it.path.value.as_str());
    files.filter_map(|it| Some((key(&path::inside(it).ok()?), it))).collect()
}

/// A path whose parts are divided by what comes before every character.
fn key(path: &str) -> String {
    path.to_lowercase().replace('/', "\0")
}

/// The path that is a directory of this one, of the entity's own or the parent's; or one of the parent's that is below this.
fn clash<'a>(path: &str, own: &Paths<'a>, parent: Option<&Paths<'a>>) -> Option<&'a str> {
    let is_below = |path: &str, above: &str| path.strip_prefix(above).is_some_and(|it| it.starts_with('\0'));
    let above = |paths: &Paths<'a>| {
        paths
            .range::<str, _>((Unbounded, Excluded(path)))
            .next_back()
            .filter(|it| is_below(path, it.0))
            .map(|it| *it.1)
    };
    let below = |paths: &Paths<'a>| {
        paths
            .range::<str, _>((Excluded(path), Unbounded))
            .next()
            .filter(|it| is_below(it.0, path))
            .map(|it| *it.1)
    };
    above(own).or_else(|| above(parent?)).or_else(|| below(parent?))
}

impl Links<'_> {
    pub(super) fn environment_files(&mut self) {
        let descriptor = self.descriptor;
        let known: Vec<Paths<'_>> = descriptor.entities.iter().map(paths).collect();
        for (index, entity) in descriptor.entities.iter().enumerate() {
            let mut seen = HashSet::new();
            for file in &entity.environment_files {
                match path::inside(&file.path.value) {
                    Ok(path) if !seen.insert(path.to_lowercase()) => {
                        let message = format!(
                            "{} is the path of another file for this guest; rename one",
                            quoted(&file.path.value)
                        );
                        self.find(Code::EnvironmentFile, file.path.at, message);
                    }
                    // What every file system and the extension Rock Ridge have.
                    Ok(path) if path.len() > 1_000 || path.split('/').any(|it| it.len() > 255) => {
                        let message = format!(
                            "the path {} is longer than 1000 bytes, or a name in it than 255; shorten it",
                            quoted(&file.path.value)
                        );
                        self.find(Code::EnvironmentFile, file.path.at, message);
                    }
                    Ok(path) => {
                        if let Some(other) =
                            clash(&key(&path), &known[index], entity.parent.map(|it| &known[it]))
                        {
                            let message = format!(
                                "{} and {} cannot both be: what is a file has no files below it; rename one",
                                quoted(&file.path.value),
                                quoted(other)
                            );
                            self.find(Code::EnvironmentFile, file.path.at, message);
                        }
                    }
                    Err(why) => {
                        let message =
                            format!("the path {} {why}; write one below ovffiles", quoted(&file.path.value));
                        self.find(Code::EnvironmentFile, file.path.at, message);
                    }
                }
            }
            let has_files = !entity.environment_files.is_empty() && entity.kind == Kind::System;
            if has_files && !entity.hardware.iter().any(|it| it.transports.iter().any(|it| it == "iso")) {
                let message = format!(
                    "files for {} can come by the transport iso alone; add ovf:transport=\"iso\" to its hardware",
                    quoted(&entity.id.value)
                );
                self.find(Code::EnvironmentFile, entity.environment_files[0].file.at, message);
            }
        }
    }
}
