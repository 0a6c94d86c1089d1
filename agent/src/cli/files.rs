//! `env --files` and `env --extract`: the files that came with the document.
//!
//! Decides how they are listed and where they go. Which of them are refused is decided in `transport`.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use crate::printable::text;
use crate::sys::unpack::Unpack;
use crate::transport::{self, Error, ExtraFile, Place};

/// The files as JSON.
pub(super) fn json(files: &[ExtraFile]) -> serde_json::Value {
    let row = |file: &ExtraFile| match file.refused {
        None => json!({ "path": file.path, "bytes": file.len }),
        Some(why) => json!({ "path": file.path, "bytes": file.len, "refused": why }),
    };
    files.iter().map(row).collect()
}

/// The files as lines: length, path, and why one is refused.
pub(super) fn print(out: &mut impl Write, files: &[ExtraFile]) -> io::Result<()> {
    for file in files {
        let refused = file.refused.map(|why| format!("  (refused: it {why})")).unwrap_or_default();
        writeln!(out, "{:>10}  {}{refused}", file.len, text(&file.path))?;
    }
    Ok(())
}

/// Extracts all files, or none, to a new directory.
pub(super) fn extract(place: Place<'_>, target: &Path) -> Result<(), Error> {
    let unpack = Unpack::begin(target).map_err(Error::Extract)?;
    transport::extract(place, |file, bytes| unpack.add(&file.path, bytes))?;
    unpack.finish().map_err(Error::Extract)
}
