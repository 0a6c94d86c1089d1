//! Programs that engines run, and what they leave to be read.
//!
//! Decides that an interrupt at the terminal ends none of them, and which of their words is their reason.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// How much of a console is looked through for its last lines.
pub(super) const TAIL: u64 = 64 << 10;

/// Runs a program that ends by itself.
pub(super) fn run(command: &mut Command) -> Result<Output, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    // An interrupt at the terminal is for us, and not for what we start.
    command.stdin(Stdio::null()).process_group(0).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{program} is not there; install it (Debian: qemu-system-x86, qemu-utils)")
        }
        _ => format!("{program} cannot be run: {error}"),
    })
}

/// What a program says of its failure: its last line, or how it ended.
pub(super) fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let mut lines = text.lines().rev().map(str::trim).filter(|it| !it.is_empty());
    lines.next().map_or_else(|| format!("it ended with {}", output.status), str::to_owned)
}

/// The end of a file, as far as last lines are looked for.
pub(super) fn tail(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines of a text that are not empty.
pub(super) fn last(text: &str, count: usize) -> Vec<String> {
    let lines: Vec<_> = text.lines().map(str::trim_end).filter(|it| !it.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|it| (*it).to_owned()).collect()
}
