//! The proper input that mutants are made of: images that xorriso packs, and the documents of the golden cases.
//!
//! Decides which variants there are. The images are the same bytes on each run with the same xorriso.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Error};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// The document in each image.
pub const DOCUMENT: &[u8] = include_bytes!("../../../examples/petstore/ovf-env.xml");

/// A value in one of the documents; nothing may show it, however the document is broken.
pub const SECRET: &str = "s3cr3t";

/// The date of all images, and the same of all files in them, directories and links included.
const DATE: &str = "1700000000";
const DATES: &str = "2023111422132000";

/// A proper image.
#[derive(Debug, Clone)]
pub struct Base {
    /// Its variant, in one word.
    pub name: &'static str,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// Name, xorriso's options, and whether there is more in it than the document.
const VARIANTS: [(&str, &[&str], bool); 7] = [
    ("plain", &["--norock", "-iso-level", "1"], false),
    ("rock-ridge", &["-R"], false),
    ("joliet", &["-J", "--norock"], false),
    ("full", &["-J", "-R"], false),
    ("plain-full-disc", &["--norock", "-iso-level", "3"], true),
    ("joliet-full-disc", &["-J", "-joliet-long", "--norock"], true),
    ("full-disc", &["-J", "-joliet-long", "-R"], true),
];

/// An image of each variant.
///
/// # Errors
/// xorriso is missing or fails, or nothing can be written to the directory for temporary files.
pub fn images() -> io::Result<Vec<Base>> {
    let scratch = tempfile::tempdir()?;
    let (small, large) = (scratch.path().join("small"), scratch.path().join("large"));
    file(&small.join("ovf-env.xml"), DOCUMENT)?;
    disc(&large)?;
    let mut bases = Vec::new();
    for (name, options, full_disc) in VARIANTS {
        let image = scratch.path().join(name).with_extension("iso");
        let output = Command::new("xorriso")
            .env("SOURCE_DATE_EPOCH", DATE)
            .env("TZ", "UTC")
            .args(["-no_rc", "-report_about", "WARNING", "-as", "mkisofs", "-V", "OVF ENV", "-no-pad", "-r"])
            .args(["--set_all_file_dates", DATES])
            .args(options)
            .arg("-o")
            .arg(&image)
            .arg(if full_disc { &large } else { &small })
            .output()
            .map_err(|error| Error::new(error.kind(), format!("cannot start xorriso: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::other(format!("xorriso cannot make the {name} image: {said}")));
        }
        bases.push(Base { name, bytes: fs::read(&image)? });
    }
    Ok(bases)
}

/// A disc with everything that a directory record can be: long names that need continuations, links to files and
/// to nowhere, directories in directories, and a root directory of several blocks.
fn disc(directory: &Path) -> io::Result<()> {
    file(&directory.join("ovf-env.xml"), DOCUMENT)?;
    file(&directory.join("ovffiles/setup/cfg.xml"), b"<cfg/>\n")?;
    file(&directory.join("a/b/c/d/e/f/g/h/i/deep"), b"deep\n")?;
    file(&directory.join("empty"), b"")?;
    for number in 0..40 {
        file(&directory.join(format!("another file with a rather long name, number {number}.txt")), b"-\n")?;
    }
    file(&directory.join(format!("{}.xml", "n".repeat(200))), b"long\n")?;
    symlink("ovf-env.xml", directory.join("link"))?;
    symlink(format!("/{}", "target/".repeat(60)), directory.join("long-link"))
}

fn file(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, content)
}

/// The documents of the golden cases, each once, and the example's.
///
/// # Errors
/// They cannot be read.
pub fn documents() -> io::Result<Vec<Vec<u8>>> {
    let secret = format!(
        "<Environment xmlns='http://schemas.dmtf.org/ovf/environment/1' id=''><PropertySection>\
         <Property key='k' value='a{SECRET}&amp;{SECRET}z'/></PropertySection><Entity/></Environment>"
    );
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cases");
    let mut paths: Vec<_> = fs::read_dir(&cases)?
        .filter_map(|case| Some(case.ok()?.path().join("ovf-env.xml")))
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    let mut documents = vec![DOCUMENT.to_vec(), secret.into_bytes()];
    for path in paths {
        let document = fs::read(&path)?;
        if !documents.contains(&document) {
            documents.push(document);
        }
    }
    Ok(documents)
}
