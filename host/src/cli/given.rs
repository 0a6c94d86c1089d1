//! Values of properties, as whoever deploys gives them.
//!
//! Decides how they are written: on the command line, a line each in a file, or as all that a file has in it; and reads each file once,
//! for it may be a pipe. What is behind the first `=` of a line is the value as it stands, its blanks included; blanks around the key are
//! nothing. Which of several values counts is for `environments`. A line that is not understood may be part of a secret: it is told by
//! its number.

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::{Fault, Result};
use crate::bounded;
use crate::environments::Origin;
use crate::secret::Secret;

/// Bytes of a file with values.
const MAX_PROPERTIES: u64 = 16 << 20;

/// Names and values, and where each was said.
type Given = (Vec<(String, Secret)>, Vec<Origin>);

/// All that is given, and where each was said: files first, for the command line comes before them, whose words are called `what`.
pub(super) fn read(files: &[PathBuf], (what, words): (&str, &[Secret]), whole: &[String]) -> Result<Given> {
    let (mut properties, mut origins) = (Vec::new(), Vec::new());
    let values = whole.iter().filter_map(|it| it.split_once('=')).map(|(_, path)| Path::new(path));
    if files.iter().map(PathBuf::as_path).chain(values).filter(|it| is_standard_input(it)).count() > 1 {
        let message = "`-` is there twice, by --properties or --property-file, and standard input can be read once; name files";
        return Err(Fault::usage(message));
    }
    for (source, path) in files.iter().enumerate() {
        let text = text(path)?;
        let shown = path.display().to_string();
        for (number, line) in text.strip_prefix('\u{FEFF}').unwrap_or(&text).lines().enumerate() {
            if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
                properties.push(split(line, &format!("{shown}:{}:", number + 1))?);
                origins.push(Origin { source, file: shown.clone(), number: number + 1, is_line: true });
            }
        }
    }
    let mut said = |option: &str, number| {
        origins.push(Origin { source: files.len(), file: option.to_owned(), number, is_line: false });
    };
    for (number, word) in (1..).zip(words) {
        properties.push(split(word.reveal(), &format!("{what}, number {number},"))?);
        said(what, number);
    }
    for (number, word) in (1..).zip(whole) {
        let Some((key, path)) = word.split_once('=') else {
            return Err(Fault::usage(format_args!("--property-file, number {number}, is not KEY=FILE")));
        };
        let mut text = text(Path::new(path))?;
        if text.ends_with('\n') {
            text.pop();
        }
        properties.push((key.trim().to_owned(), Secret::from(text)));
        said("--property-file", number);
    }
    Ok((properties, origins))
}

fn split(line: &str, place: &str) -> Result<(String, Secret)> {
    match line.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), Secret::from(value))),
        // What has no equals sign may be a secret whose name was forgotten.
        None => Err(Fault::usage(format_args!(
            "{place} is not KEY=VALUE; a value of several lines is given by --property-file"
        ))),
    }
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn text(path: &Path) -> Result<String> {
    let unreadable =
        |error: &dyn fmt::Display| Fault::failed(format_args!("cannot read {}: {error}", path.display()));
    let bytes = match is_standard_input(path) {
        true => bounded::all(io::stdin().lock(), MAX_PROPERTIES),
        // It may well be a pipe, which is waited for.
        false => File::open(path).and_then(|input| bounded::all(input, MAX_PROPERTIES)),
    };
    String::from_utf8(bytes.map_err(|error| unreadable(&error))?).map_err(|_| unreadable(&"it is not UTF-8"))
}
