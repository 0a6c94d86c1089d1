//! Packages: what holds of every descriptor and every archive.
//!
//! Decides that each has an answer, that no answer has a control character in it, that every place named is in the text, and
//! that environments which are made are read by the agent as they were meant.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::texts;
use nix::sys::memfd::{MFdFlags, memfd_create};
use ovf_agent::environment::parse;
use ovf_host::check::{Wanted, check};
use ovf_host::descriptor::Descriptor;
use ovf_host::environments::{Choice, Environments};
use ovf_host::finding::{Finding, is_command};
use ovf_host::package::digest::Algorithm;
use ovf_host::progress::Progress;
use ovf_host::xml::Source;
use tar::{Builder, EntryType, Header};

/// Pieces that mean something in descriptors, manifests and archives.
pub const SPLINTERS: [&str; 40] = [
    "\"",
    "'",
    "<",
    ">",
    "/>",
    "&amp;",
    "&#9;",
    "${",
    "}",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?a?>",
    "xmlns=\"\" ",
    "xmlns:ovf=\"u\" ",
    "ovf:",
    "VirtualSystem",
    "VirtualSystemCollection",
    "<ProductSection>",
    "ContractSection",
    "ovf:chunkSize=\"1\"",
    "ovf:compression=\"gzip\"",
    "ovf:parentRef=",
    "ovf:required=\"false\"",
    "18446744073709551616",
    "byte * 2^63",
    "ValueMap{\"",
    "MinLen(",
    "../",
    "%2e%2e/",
    "\0",
    "\u{202e}",
    "\u{9b}",
    "\u{feff}",
    "ä",
    "SHA256(",
    ")= ",
    "12 path=a\n",
    "ustar",
];

/// Descriptors that are proper: those of the host's own tests, and the public world's where they are at hand in `../shared`.
///
/// # Errors
/// They cannot be read.
pub fn descriptors() -> io::Result<Vec<Vec<u8>>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths: Vec<PathBuf> = Vec::new();
    for directory in ["host/tests/fixtures", "../shared/examples", "../shared/corpus/descriptors"] {
        let directory = top.join(directory);
        if directory.is_dir() {
            paths.extend(fs::read_dir(directory)?.filter_map(|it| Some(it.ok()?.path())));
        }
    }
    paths.retain(|it| it.extension().is_some_and(|it| it == "ovf"));
    paths.sort();
    paths.iter().map(fs::read).collect()
}

/// Archives that are proper: with a manifest, long names in both dialects, and pieces of a file.
///
/// # Errors
/// They cannot be made.
pub fn archives() -> io::Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for text in descriptors()?.into_iter().filter(|it| it.len() < 20_000) {
        let mut archive = Builder::new(Vec::new());
        let long = format!("{}/disk.vmdk", "d".repeat(150));
        let piece = "disk.vmdk.000000000";
        let mut manifest = String::new();
        for (name, bytes) in
            [("a.ovf", &text[..]), ("disk.vmdk", b"disk"), (&long, b"long"), (piece, b"piece")]
        {
            let digest = Algorithm::Sha256.of(&mut &*bytes, &mut Progress::bytes(0))?;
            manifest.push_str(&format!("SHA256({name})= {digest}\n"));
            let mut header = if all.len() % 2 == 0 { Header::new_gnu() } else { Header::new_ustar() };
            header.set_size(bytes.len() as u64);
            header.set_entry_type(EntryType::Regular);
            archive.append_data(&mut header, name, bytes)?;
        }
        let mut header = Header::new_ustar();
        header.set_size(manifest.len() as u64);
        archive.append_data(&mut header, "a.mf", manifest.as_bytes())?;
        all.push(archive.into_inner()?);
    }
    Ok(all)
}

/// The archive of this number. Of half of them the headers' checksums are those of what the headers have become.
pub fn mutant(bases: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    let mut bytes = texts::mutant(bases, &SPLINTERS, seed, number);
    if number.is_multiple_of(2) {
        for block in bytes.chunks_exact_mut(512).filter(|it| it[257..].starts_with(b"ustar")) {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&it| u32::from(it)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}

/// Looks at a descriptor. Answers how far that went.
///
/// # Panics
/// What has to hold does not.
pub fn descriptor(bytes: &[u8]) -> &'static str {
    let lines = 1 + bytes.iter().filter(|&&byte| byte == b'\n').count();
    let mut findings = Vec::new();
    let reached = look(bytes, &mut findings);
    assert!(reached != "refused" || !findings.is_empty(), "refused without a word");
    for finding in &findings {
        is_decent(finding);
        if let Some(at) = finding.at {
            assert!((1..=lines).contains(&at.line) && at.column >= 1, "{finding}: of {lines} lines");
        }
    }
    reached
}

fn look(bytes: &[u8], findings: &mut Vec<Finding>) -> &'static str {
    let source = match Source::new("a.ovf", bytes.to_vec()) {
        Ok(source) => source,
        Err(finding) => {
            findings.push(finding);
            return "refused";
        }
    };
    let Some(descriptor) = Descriptor::read(&source, findings) else { return "refused" };
    if findings.iter().any(|it| it.code.concerns_environments()) {
        return "read";
    }
    let Some(environments) = Environments::make(&descriptor, &source, Choice::default(), findings) else {
        return "read";
    };
    for system in descriptor.systems().take(20) {
        let mut document = String::new();
        match environments.document(system, &source, &mut document) {
            Err(finding) => findings.push(finding),
            Ok(()) => {
                let id = &descriptor.entities[system].id.value;
                // The agent has bounds of its own, which a contract may break.
                match parse(document.as_bytes()) {
                    Ok((read, _)) => assert_eq!(&read.id, id),
                    Err(error) => assert!(
                        descriptor.entities.iter().any(|it| !it.contracts.is_empty())
                            || error.to_string().contains("more than"),
                        "{error}\n{document}"
                    ),
                }
            }
        }
    }
    "made"
}

/// Looks at an archive with all that is in it. Answers how far that went.
///
/// # Panics
/// What has to hold does not, or there is no memory.
pub fn archive(bytes: &[u8]) -> &'static str {
    let memory = memfd_create("package", MFdFlags::MFD_CLOEXEC).expect("a memory file");
    let file = fs::File::from(memory);
    file.write_all_at(bytes, 0).expect("memory");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut findings = Vec::new();
    let checked = check(Path::new(&path), &Wanted::default(), &mut findings);
    findings.iter().for_each(is_decent);
    match checked {
        Some(_) => "read",
        None => {
            assert!(!findings.is_empty(), "refused without a word");
            "refused"
        }
    }
}

fn is_decent(finding: &Finding) {
    let line = finding.to_string();
    assert!(!line.contains(is_command) && !finding.message.is_empty(), "{line:?}");
}
