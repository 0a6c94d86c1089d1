//! How often a check reads what: each byte of each file once, as `strace` sees it, however many want to know something of it.

use std::fs;
use std::process::Command;

use tar::EntryType::Regular;

mod common;
use common::{Entry, descriptor, whole_archive};

const LARGE: usize = 3 << 20;

/// SHA-256, by another program.
fn digest(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, bytes).expect("written");
    let output = Command::new("sha256sum").arg(file.path()).output().expect("coreutils");
    String::from_utf8(output.stdout).expect("UTF-8")[..64].to_owned()
}

/// A number that stands behind these words in a line of strace's.
fn number(text: &str) -> usize {
    text.trim().parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

#[test]
fn every_byte_is_read_once() {
    let mark = "\u{FEFF}";
    let text = mark.to_owned()
        + &descriptor(LARGE)
            .replace(
                "</References>",
                "<File ovf:id=\"de\" ovf:href=\"./de.xml\"/><File ovf:id=\"eula\" ovf:href=\"eula%20de.txt\"/></References>",
            )
            .replace(
                "</Envelope>",
                "<Strings xml:lang=\"de\" ovf:fileRef=\"de\"/><Strings xml:lang=\"fr\" ovf:fileRef=\"de\">\
                 <Msg ovf:msgid=\"a\" ovf:fileRef=\"eula\"/><Msg ovf:msgid=\"b\" ovf:fileRef=\"eula\"/></Strings></Envelope>",
            );
    let german = "<Strings xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" \
                  xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\" xml:lang=\"de\"/>";
    let disk: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
    let licence = "Sei nett.".repeat(2_000);
    let files = [
        ("disk.vmdk", &disk[..]),
        ("a.ovf", text.as_bytes()),
        ("de.xml", german.as_bytes()),
        ("eula de.txt", licence.as_bytes()),
    ];
    let manifest: String =
        files.iter().map(|(name, bytes)| format!("SHA256({name})= {}\n", digest(bytes))).collect();
    let certificate = "SHA256(a.mf)= 00\n-----BEGIN CERTIFICATE-----\n";
    let (mut members, others): (Vec<Entry<'_>>, Vec<Entry<'_>>) =
        files.iter().map(|(name, bytes)| (*name, Regular, *bytes)).partition(|(name, ..)| *name == "a.ovf");
    members.push(("a.mf", Regular, manifest.as_bytes()));
    members.push(("a.cert", Regular, certificate.as_bytes()));
    members.extend(others);

    let directory = tempfile::tempdir().expect("a directory");
    let archive = whole_archive(&members);
    fs::write(directory.path().join("a.ova"), &archive).expect("written");
    let output = Command::new("strace")
        .args(["-y", "-s0", "-otrace", "-e%desc", env!("CARGO_BIN_EXE_ovf-host"), "check", "a.ova"])
        .current_dir(&directory)
        .output()
        .expect("strace; packaging/deps build installs it");
    let answer = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(answer.contains("certificate-syntax"), "{answer}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!answer.contains("[digest-") && !answer.contains("[manifest-"), "{answer}");

    let mut reads = vec![0_u8; archive.len()];
    let trace = fs::read_to_string(directory.path().join("trace")).expect("a trace");
    for line in trace.lines().filter(|line| line.contains("a.ova>")) {
        let call = line.split('(').next().and_then(|it| it.split_whitespace().last()).expect("a call");
        match call {
            // pread64(3</.../a.ova>, ""..., 512, 1024) = 512
            "pread64" => {
                let (arguments, count) = line.rsplit_once(") = ").expect("a result");
                let at = number(arguments.rsplit_once(", ").expect("where").1);
                reads[at..at + number(count)].iter_mut().for_each(|it| *it += 1);
            }
            "openat" | "close" | "fstat" | "statx" | "newfstatat" | "fcntl" | "fadvise64" => {}
            other => panic!("{other} reads nobody knows what: {line}"),
        }
    }
    for (name, _, bytes) in members {
        let header = format!("{name}\0");
        let mut blocks = (0..archive.len()).step_by(512);
        let begin = blocks.find(|&at| archive[at..].starts_with(header.as_bytes())).expect("a header") + 512;
        let counts = &reads[begin..begin + bytes.len()];
        let wrong = counts.iter().position(|&count| count != 1);
        assert_eq!(wrong.map(|at| (at, counts[at])), None, "{name}: byte, and how often it is read");
    }
}
