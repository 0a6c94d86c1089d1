//! Turns an appliance's directory into the files of its guest.
//!
//! It is what an image builder does: the agent's configuration goes to `/etc/ovf-agent`, the program to
//! `/usr/sbin`, and the directories that the templates write into are there.

use anyhow::{Context, Result};
use qemu_tests::Files;
use std::path::{Path, PathBuf};

/// The guest's start, as a service manager would order it: the program after its configuration.
///
/// The agent keeps a copy of its report in a file; in these stages all files are written.
const RC: &str = r#"#!/bin/sh
ovf-agent run --report /run/report.json &
until grep -Eq '"stage":"(waiting|ready)"' /run/report.json 2>/dev/null; do usleep 20000; done
exec /usr/sbin/database
"#;

/// The files of the appliance in `directory`.
pub(crate) fn files(directory: &Path) -> Result<Files> {
    let mut files = Files::new().with_program("/etc/rc", RC);
    files = files.with_program("/usr/sbin/database", read(&directory.join("database"))?);
    let configuration = directory.join("agent");
    for path in below(&configuration)? {
        let content = read(&path)?;
        for target in targets(&content) {
            files = files.with_directory(target);
        }
        let name = path.strip_prefix(&configuration).unwrap_or(&path).display();
        files = files.with(&format!("/etc/ovf-agent/{name}"), content.clone());
    }
    Ok(files)
}

/// The directories of the files that a template says it writes (`path = "/etc/..."` in its front matter).
fn targets(content: &[u8]) -> Vec<&str> {
    let lines = str::from_utf8(content).unwrap_or_default().lines();
    let paths =
        lines.filter_map(|line| line.strip_prefix("path")?.trim_start().strip_prefix('=')?.split('"').nth(1));
    paths
        .filter_map(|path| path.rsplit_once('/'))
        .map(|(directory, _)| directory)
        .filter(|d| !d.is_empty())
        .collect()
}

/// Every file below `directory`.
fn below(directory: &Path) -> Result<Vec<PathBuf>> {
    let attempt = || format!("cannot list {}", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(attempt)? {
        let path = entry.with_context(attempt)?.path();
        if path.is_dir() {
            files.extend(below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
