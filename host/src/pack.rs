//! Making an OVA from a recipe.
//!
//! Decides the order of the work and of the archive: disks become stream-optimised VMDK by `qemu-img`, properties are what
//! each machine's agent declares, the manifest is SHA-256. Nothing is there under the
//! name that was asked for before all of it is, and before it has been checked like anybody's package.
//!
//! The rules: DSP0243, clause 5: the descriptor first, then manifest and certificate, then the files in the order of the
//! References.

#![forbid(unsafe_code)]

mod descriptor;
mod product;
mod properties;
mod disk;
mod image;
mod place;
mod sign;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::appliance::{Appliance, Declared};
use crate::bounded;
use crate::check::{self, Wanted};
use crate::document::is_forbidden;
use crate::finding::{Code, Finding, Severity, quoted};
use crate::package::certificate::Authorities;
use crate::package::digest::Algorithm;
use crate::package::identity;
use crate::progress::Progress;
use crate::recipe::{Machine, Recipe, size};
use crate::scratch;
use crate::xml::Source;
use properties::Properties;
use sign::Signer;

/// Bytes of a licence.
const MAX_LICENCE: u64 = 1 << 20;
/// Bytes that are copied before the progress is told.
const PIECE: u64 = 64 << 20;

/// How it is made.
#[derive(Debug)]
pub struct Making<'a> {
    /// Where the recipe is.
    pub directory: &'a Path,
    /// The archive.
    pub output: &'a Path,
    /// Whether the recipe may name files outside of its folder.
    pub may_leave: bool,
    /// The private key and the certificate that sign it, in PEM.
    pub signer: Option<(&'a Path, &'a Path)>,
    /// The program that is asked for what appliances declare.
    pub agent: &'a Path,
}

/// A disk as it goes into the package.
#[derive(Debug)]
pub struct Made {
    /// Its id, and the beginning of its file's name.
    id: String,
    /// The file, unless it is empty: its name, and how many bytes it has.
    file: Option<(String, u64)>,
    /// Bytes that the guest sees.
    capacity: u64,
}

/// Makes the package; answers warnings and notes of its own check.
///
/// # Errors
/// What kept it from being made.
pub fn pack(making: &Making<'_>) -> Result<Vec<Finding>, Vec<Finding>> {
    let (recipe, text) = Recipe::read(making.directory, making.may_leave)?;
    let properties = properties(making, &recipe, &text)?;
    let one = |finding: Finding| vec![finding];
    // Now, and not after hours of work.
    let signer = making.signer.map(|(key, certificate)| Signer::new(key, certificate));
    let signer = signer.transpose().map_err(one)?;
    let output = making.output.display().to_string();
    let written = |error: io::Error| {
        vec![Finding::with(&output, Code::Unreadable, format!("the package cannot be written: {error}"))]
    };
    let beside = making.output.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scratch = scratch::Directory::new(Some(beside)).map_err(written)?;

    let mut machines = Vec::new();
    for (id, machine) in &recipe.machines {
        let disks = disks(making, &text, id.get_ref(), machine, scratch.path()).map_err(one)?;
        let licence =
            machine.licence.as_ref().map(|it| licence(making, &text, it)).transpose().map_err(one)?;
        machines.push(descriptor::Part { id: id.get_ref(), machine, disks, licence });
    }
    let name = recipe.name.get_ref();
    let descriptor = format!("{name}.ovf");
    let envelope = descriptor::write(&recipe, &machines, &properties);
    fs::write(scratch.path().join(&descriptor), &envelope).map_err(written)?;
    let files = machines.iter().flat_map(|it| &it.disks).filter_map(|it| Some(it.file.as_ref()?.0.clone()));
    let files: Vec<String> = files.collect();

    let manifest = manifest(scratch.path(), &descriptor, &files).map_err(written)?;
    let mut members = vec![descriptor.clone(), format!("{name}.mf")];
    fs::write(scratch.path().join(&members[1]), manifest).map_err(written)?;
    if let Some(signer) = signer {
        let signed = signer.sign(&scratch.path().join(&members[1]), &members[1]).map_err(one)?;
        members.push(format!("{name}.cert"));
        fs::write(scratch.path().join(&members[2]), signed).map_err(written)?;
    }
    members.extend(files);
    let archive = archive(beside, scratch.path(), &members).map_err(written)?;

    let mut findings = Vec::new();
    let wanted = Wanted {
        // Whether others trust them is theirs to say.
        authorities: making.signer.map(|(_, path)| Authorities::read(path)).transpose().map_err(one)?,
        appliances: appliances(making, &recipe),
        agent: making.agent.to_owned(),
        ..Wanted::default()
    };
    check::check(archive.path(), &wanted, &mut findings);
    let own = archive.path().display().to_string();
    for finding in findings.iter_mut().filter(|it| it.file == own) {
        finding.file.clone_from(&output);
    }
    place::told(&mut findings, &descriptor, &envelope, &recipe, &text);
    findings.sort();
    if findings.iter().any(|it| it.code.severity() == Severity::Error) {
        return Err(findings);
    }
    archive.close().keep(making.output).map_err(written)?;
    Ok(findings)
}

/// The properties of all machines, which their agents are asked for.
fn properties(making: &Making<'_>, recipe: &Recipe, text: &Source) -> Result<Properties, Vec<Finding>> {
    let mut declared = BTreeMap::new();
    for (id, machine) in &recipe.machines {
        let all = match &machine.agent {
            Some(directory) => {
                let place = making.directory.join(directory.get_ref());
                if let Some(why) = Declared::lacks(&place) {
                    let shown = quoted(&directory.get_ref().to_string_lossy());
                    let message = format!("the agent's configuration {shown} is none: {why}");
                    return Err(vec![text.finding(Code::Recipe, directory.span().start, message)]);
                }
                let asked = Declared::ask(&place, making.agent)?;
                properties::declared(&asked.sections)
            }
            None => Vec::new(),
        };
        declared.insert(id.get_ref().clone(), all);
    }
    let mut findings = Vec::new();
    let all = Properties::of(recipe, &declared, &mut |at, message| {
        findings.push(text.finding(Code::Recipe, at, message));
    });
    if findings.is_empty() { Ok(all) } else { Err(findings) }
}

/// The machines that have an agent, and where that is.
fn appliances(making: &Making<'_>, recipe: &Recipe) -> Vec<Appliance> {
    let one = |(id, machine): (&Spanned<String>, &Machine)| {
        let directory = making.directory.join(machine.agent.as_ref()?.get_ref());
        Some(Appliance { id: Some(id.get_ref().clone()), directory })
    };
    recipe.machines.iter().filter_map(one).collect()
}

/// Whose fault it is that a file cannot be taken: the system's, which does not open it, or that of whoever named it, since it
/// is not what is wanted there.
fn fault(error: &io::Error, wrong: Code) -> Code {
    if error.raw_os_error().is_some() { Code::Unreadable } else { wrong }
}

/// The text that somebody has to accept.
fn licence(making: &Making<'_>, text: &Source, path: &Spanned<PathBuf>) -> Result<String, Finding> {
    let bad = |code, message: String| {
        let shown = quoted(&path.get_ref().to_string_lossy());
        text.finding(code, path.span().start, format!("the licence {shown} {message}"))
    };
    let licence = bounded::text(&making.directory.join(path.get_ref()), MAX_LICENCE);
    let licence =
        licence.map_err(|error| bad(fault(&error, Code::Recipe), format!("cannot be read: {error}")))?;
    match is_forbidden(&licence) {
        true => Err(bad(Code::Recipe, "has a character that XML forbids; remove it".to_owned())),
        false => Ok(licence),
    }
}

/// The disks of a machine; their files are in the scratch directory.
fn disks(
    making: &Making<'_>,
    text: &Source,
    id: &str,
    machine: &Machine,
    scratch: &Path,
) -> Result<Vec<Made>, Finding> {
    let mut all = Vec::new();
    let output = fs::metadata(making.output).ok().map(|it| identity(&it));
    for (number, disk) in machine.disks.iter().enumerate() {
        let id = format!("{id}-disk{}", number + 1);
        if let Some(capacity) = size(disk.get_ref()) {
            all.push(Made { id, file: None, capacity });
            continue;
        }
        let image = making.directory.join(disk.get_ref());
        let bad = |(code, message): disk::Fault| {
            let message = format!("the image {} cannot be packed: {message}", quoted(disk.get_ref()));
            text.finding(code, disk.span().start, message)
        };
        let format =
            image::format(&image).map_err(|error| bad((fault(&error, Code::Recipe), error.to_string())))?;
        if output.is_some() && fs::metadata(&image).ok().map(|it| identity(&it)) == output {
            let message = "the package would take its place; give it another name".to_owned();
            return Err(bad((Code::Unreadable, message)));
        }
        let name = format!("{id}.vmdk");
        let made = scratch.join(&name);
        let capacity = disk::capacity(&image, format).map_err(bad)?;
        disk::check(&image, format).map_err(bad)?;
        disk::convert(&image, format, capacity, &made).map_err(bad)?;
        let bytes = fs::metadata(&made).map_err(|error| bad((Code::Unreadable, error.to_string())))?.len();
        all.push(Made { id, file: Some((name, bytes)), capacity });
    }
    Ok(all)
}

fn manifest(directory: &Path, descriptor: &str, files: &[String]) -> io::Result<String> {
    let mut progress = Progress::bytes(total(directory, files)?);
    let mut text = String::new();
    for name in std::iter::once(descriptor).chain(files.iter().map(String::as_str)) {
        progress.now(&format!("reading {name}"));
        let digest = Algorithm::Sha256.of(&mut File::open(directory.join(name))?, &mut progress)?;
        text.push_str(&format!("SHA256({name})= {digest}\n"));
    }
    Ok(text)
}

/// Bytes of all these files.
fn total(directory: &Path, files: &[String]) -> io::Result<u64> {
    files.iter().map(|name| Ok(fs::metadata(directory.join(name))?.len())).sum()
}

/// An archive of these files, with nothing in it of who made it, and when.
fn archive(beside: &Path, directory: &Path, members: &[String]) -> io::Result<scratch::File> {
    let mut made = scratch::File::for_all(beside)?;
    let file = made.file();
    let mut progress = Progress::bytes(total(directory, members)?);
    for name in members {
        progress.now(&format!("packing {name}"));
        let mut member = File::open(directory.join(name))?;
        let length = member.metadata()?.len();
        let mut header = tar::Header::new_ustar();
        header.set_path(name)?;
        header.set_size(length);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        file.write_all(header.as_bytes())?;
        let mut copied = 0;
        while copied < length {
            // From file to file, so that the kernel copies, or a file system lets both have the same blocks.
            let piece = PIECE.min(length - copied);
            if io::copy(&mut Read::take(&mut member, piece), &mut *file)? != piece {
                return Err(io::Error::other(format!("{} has changed", quoted(name))));
            }
            copied += piece;
            progress.advance(piece);
        }
        let filling = copied.next_multiple_of(512) - copied;
        file.write_all(&vec![0; filling as usize])?;
    }
    file.write_all(&[0; 1024])?;
    Ok(made)
}
