//! How the records of files are read.
//!
//! Decides nothing but the way: all of them first, and then the map, of which one by one would be half of what reading a state
//! costs. Paths are compared part by part, and each new one with ten others.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};

use super::Written;

type Files = BTreeMap<PathBuf, Written>;

/// Reads a map; of two records of one path the later counts.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Files, D::Error> {
    deserializer.deserialize_map(Records)
}

struct Records;

impl<'de> Visitor<'de> for Records {
    type Value = Files;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files, A::Error> {
        let mut records = Vec::new();
        while let Some(record) = map.next_entry()? {
            records.push(record);
        }
        Ok(records.into_iter().collect())
    }
}
