//! ISO images with a guest's environment, in the variants that platforms make.
//!
//! The images are made by xorriso; their names and labels follow DSP0243 section 11 (ISO transport): the
//! document is `ovf-env.xml` in the root directory.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which names an image carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Rock Ridge and Joliet: what platforms make today.
    Full,
    /// ISO 9660 level 1 alone: `OVF_ENV.XML;1`.
    Plain,
    /// Joliet without Rock Ridge.
    Joliet,
    /// Rock Ridge without Joliet.
    RockRidge,
}

impl Variant {
    fn options(self) -> &'static [&'static str] {
        match self {
            Variant::Full => &["-rational-rock", "-joliet"],
            Variant::Plain => &["-iso-level", "1"],
            Variant::Joliet => &["-joliet"],
            Variant::RockRidge => &["-rational-rock"],
        }
    }
}

/// Makes an image with `files` (name and content) at `<directory>/<name>.iso`.
pub(crate) fn make(
    xorriso: &Path,
    directory: &Path,
    name: &str,
    variant: Variant,
    files: &[(&str, &[u8])],
) -> Result<PathBuf> {
    let content = directory.join(format!("{name}.files"));
    for (file, bytes) in files {
        let path = content.join(file);
        let parent = path.parent().unwrap_or(&content);
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let image = directory.join(format!("{name}.iso"));
    let output = Command::new(xorriso)
        // Not the user's .xorrisorc, and no word unless something is wrong.
        .args(["-no_rc", "-report_about", "WARNING", "-as", "mkisofs", "-V", "OVF ENV"])
        .args(variant.options())
        .arg("-o")
        .arg(&image)
        .arg(&content)
        .output()
        .with_context(|| format!("cannot start {}", xorriso.display()))?;
    if !output.status.success() {
        bail!("xorriso cannot make {}: {}", image.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(image)
}
