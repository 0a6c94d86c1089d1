//! The appliance that is measured, as `bench/appliance` makes it, and the documents that it is sent.

use anyhow::{Context, Result};
use qemu_tests::Files;
use std::path::Path;

/// The environment of the PetStore's first database.
pub(crate) const DOCUMENT: &str = include_str!("../../../../examples/petstore/ovf-env.xml");

/// The address in it that each document has another of.
const ADDRESS: &str = "192.0.2.11";

/// The document number `number`: every other is the same, and those between differ. All addresses have the same length,
/// so that nothing grows but what should not.
pub(crate) fn document(number: u32) -> String {
    let address = match number.is_multiple_of(2) {
        true => "10.100.100.100".to_owned(),
        false => format!("10.101.{}.{}", 100 + number / 200 % 100, 100 + number / 2 % 100),
    };
    DOCUMENT.replace(ADDRESS, &address)
}

/// The appliance below `directory` as it is baked into an image, with `more` in its `agent.toml`.
pub(crate) fn files(directory: &Path, more: &str) -> Result<Files> {
    let config = directory.join("config");
    let mut files = Files::new()
        .with("/etc/ovf-agent/agent.toml", text(&config.join("agent.toml"))? + more)
        .with_directory("/etc/mydb/conf.d");
    let templates = config.join("templates");
    for entry in
        std::fs::read_dir(&templates).with_context(|| format!("cannot list {}", templates.display()))?
    {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files = files.with(&format!("/etc/ovf-agent/templates/{name}"), text(&entry.path())?);
    }
    Ok(files)
}

/// A program of the bench's own, for a guest.
pub(crate) fn program(directory: &Path, name: &str) -> Result<Files> {
    let path = directory.join(name);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Files::new().with_program(&format!("/bin/{name}"), bytes))
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
