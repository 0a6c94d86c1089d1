//! What the tests share: the program, and packages to try it on.

#![allow(dead_code, reason = "each test program uses its part")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the program in a directory.
pub(crate) fn host(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ovf-host"))
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

/// Writes a program. A child does: as long as we, or a child of another test's, have a program open, it cannot be started.
pub(crate) fn program(path: &Path, text: &str) {
    let write = "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\"";
    let status = Command::new("sh").args(["-c", write]).arg(path).arg(text).status().expect("sh");
    assert!(status.success(), "{}", path.display());
}

/// What it answers, and how it ends.
pub(crate) fn answer(directory: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let output = host(directory, arguments);
    let text = String::from_utf8(output.stdout).expect("UTF-8")
        + std::str::from_utf8(&output.stderr).expect("UTF-8");
    (text, output.status.code())
}

/// The codes in brackets at the ends of lines; that most of our packages have no manifest is left out.
pub(crate) fn codes(text: &str) -> impl Iterator<Item = &str> {
    let all = text.lines().filter_map(|line| line.strip_suffix(']')?.rsplit_once(" ["));
    all.map(|(_, code)| code).filter(|it| *it != "manifest-missing")
}

/// Compares a text with the one that is kept, or keeps it where BLESS is set.
pub(crate) fn kept(path: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, text).expect("written");
    }
    let want = fs::read_to_string(path).unwrap_or_default();
    let differs = |(a, b): &(&str, &str)| a != b;
    let first = text.lines().chain(["(the end)"]).zip(want.lines().chain(["(the end)"])).find(differs);
    assert!(text == want, "{}: {first:#?}; BLESS=1 keeps what is there now", path.display());
}

/// A descriptor of one machine with one disk, whose file has so many bytes.
pub(crate) fn descriptor(size: usize) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
  <References>
    <File ovf:id="file" ovf:href="disk.vmdk" ovf:size="{size}"/>
  </References>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:diskId="disk" ovf:fileRef="file" ovf:capacity="1048576"/>
  </DiskSection>
  <VirtualSystem ovf:id="vm">
    <Info>A machine</Info>
    <VirtualHardwareSection>
      <Info>Hardware</Info>
      <Item><rasd:HostResource>ovf:/disk/disk</rasd:HostResource><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType></Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"#
    )
}

/// An entry of an archive: its name as it is written, its kind, and its bytes.
pub(crate) type Entry<'a> = (&'a str, tar::EntryType, &'a [u8]);

/// An archive of these entries, whatever is in them, without an end mark.
pub(crate) fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes
}

/// The same with the end mark.
pub(crate) fn whole_archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = archive(entries);
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}
