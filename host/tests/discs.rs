//! Discs, as the agent reads them, and as xorriso does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use ovf_agent::environment::parse;
use ovf_agent::sys::Root;
use ovf_agent::transport::{Here, Method, Source, fetch};

mod common;
use common::answer;

/// A machine whose disc has files of its own and of its parent's.
const DESCRIPTOR: &str = r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/2" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/2"
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
  <References>
    <File ovf:id="rules" ovf:href="rules.conf"/>
    <File ovf:id="script" ovf:href="a%20script.sh"/>
  </References>
  <VirtualSystemCollection ovf:id="all">
    <Info>All</Info>
    <VirtualSystem ovf:id="web/1">
      <Info>Web</Info>
      <ProductSection><Info>P</Info><Property ovf:key="password" ovf:type="string" ovf:password="true" ovf:userConfigurable="true"/></ProductSection>
      <EnvironmentFilesSection><Info>Files</Info>
        <File ovf:fileRef="rules" ovf:path="setup/a-longer-name-than-iso9660-has.conf"/>
        <File ovf:fileRef="script" ovf:path="setup/run.sh"/>
      </EnvironmentFilesSection>
      <VirtualHardwareSection ovf:transport="iso"><Info>Hardware</Info>
        <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>15</rasd:ResourceType></Item>
      </VirtualHardwareSection>
    </VirtualSystem>
    <VirtualSystem ovf:id="db"><Info>DB</Info></VirtualSystem>
  </VirtualSystemCollection>
</Envelope>"#;

fn scratch() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("written");
    write("a.ovf", DESCRIPTOR);
    write("rules.conf", "the rules\n");
    write("a script.sh", "#!/bin/sh\n");
    directory
}

fn xorriso(directory: &Path, arguments: &[&str]) -> String {
    let output =
        Command::new("xorriso").args(arguments).current_dir(directory).output().expect("xorriso runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8") + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_disc_is_read_by_the_agent() {
    let scratch = scratch();
    let given =
        ["iso", "a.ovf", "--id", "web/1", "--property", "password=s3cret & \"more\"", "-o", "web.iso"];
    assert_eq!(answer(scratch.path(), &given), (String::new(), Some(0)));
    let root = Root::open("/").expect("it is there");
    let here = Here { root: &root, vm: "none" };
    let source = Source::Iso(scratch.path().join("web.iso"));
    let document = fetch(here, &source, Method::Read, false).expect("the agent reads it");
    let (read, warnings) = parse(&document.bytes).expect("a document");
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(read.id, "web/1");
    assert_eq!(read.properties.get("password").map(|it| it.reveal()), Some("s3cret & \"more\""));
    let document = answer(scratch.path(), &[&["env"], &given[1..6]].concat()).0;
    assert_eq!(parse(document.as_bytes()).expect("a document").0, read, "the disc has what env prints");
}

#[test]
fn a_disc_is_read_by_xorriso() {
    let scratch = scratch();
    let made = answer(scratch.path(), &["iso", "a.ovf", "--id", "web/1", "-o", "web.iso"]);
    assert_eq!(made, (String::new(), Some(0)));
    // Rock Ridge's names and modes.
    let listed = xorriso(scratch.path(), &["-indev", "web.iso", "-toc", "-find", "/", "-exec", "lsdl", "--"]);
    for (mode, path) in [
        ("-r--------", "'/ovf-env.xml'"),
        ("-r--r--r--", "'/ovffiles/setup/a-longer-name-than-iso9660-has.conf'"),
        ("-r--r--r--", "'/ovffiles/setup/run.sh'"),
    ] {
        assert!(listed.lines().any(|it| it.starts_with(mode) && it.ends_with(path)), "{path}: {listed}");
    }
    assert!(listed.contains("Volume id    : 'OVF ENV'"), "{listed}");
    // Joliet's.
    let joliet = xorriso(scratch.path(), &["-read_fs", "norock", "-indev", "web.iso", "-find", "/"]);
    for path in ["'/ovf-env.xml'", "'/ovffiles/setup/run.sh'"] {
        assert!(joliet.lines().any(|it| it == path), "{path}: {joliet}");
    }
    xorriso(scratch.path(), &["-osirrox", "on", "-indev", "web.iso", "-extract", "/ovffiles", "out"]);
    assert_eq!(fs::read_to_string(scratch.path().join("out/setup/run.sh")).expect("there"), "#!/bin/sh\n");
}

#[test]
fn the_same_environment_makes_the_same_disc() {
    let scratch = scratch();
    for name in ["one", "two"] {
        assert_eq!(answer(scratch.path(), &["iso", "a.ovf", "-o", name]), (String::new(), Some(0)));
    }
    for name in ["web%2F1.iso", "db.iso"] {
        let read = |directory: &str| fs::read(scratch.path().join(directory).join(name)).expect("made");
        assert!(read("one") == read("two"), "{name} differs");
    }
    let no_room = "ovf-host: a.ovf is no directory; name one, in which each machine gets a file\n";
    assert_eq!(answer(scratch.path(), &["iso", "a.ovf", "-o", "a.ovf"]), (no_room.to_owned(), Some(1)));
}

#[test]
fn a_disc_without_its_files_is_not_made() {
    let scratch = scratch();
    fs::remove_file(scratch.path().join("rules.conf")).expect("there");
    let (text, status) = answer(scratch.path(), &["iso", "a.ovf", "--id", "web/1", "-o", "web.iso"]);
    let want = "ovf-host: the package has errors that environments do not depend on; `ovf-host check` shows them\n\
                ovf-host: the file `rules` for the guest `web/1` is not in the package; `ovf-host check` says more\n";
    assert_eq!((text.as_str(), status), (want, Some(78)));
    assert!(!scratch.path().join("web.iso").exists());
    symlink("/etc/passwd", scratch.path().join("rules.conf")).expect("made");
    let a_ovf = scratch.path().join("a.ovf");
    let a_ovf = a_ovf.to_str().expect("UTF-8");
    let (text, status) = answer(scratch.path(), &["iso", a_ovf, "--id", "web/1", "-o", "web.iso"]);
    let line = 1 + DESCRIPTOR.lines().position(|it| it.contains("rules.conf")).expect("there");
    let want = format!("{a_ovf}:{line}:");
    assert!(text.contains(&want) && text.contains("a symbolic link leads out"), "{want}, not {text}");
    assert_eq!(status, Some(78));
    assert!(!scratch.path().join("web.iso").exists());
}

/// What a guest is given is what the manifest was made for.
#[test]
fn a_disc_is_not_made_of_files_that_were_changed() {
    let scratch = scratch();
    let path = |name: &str| scratch.path().join(name);
    let digest = Command::new("sha256sum").arg(path("rules.conf")).output().expect("it runs").stdout;
    let digest = String::from_utf8(digest).expect("UTF-8")[..64].to_owned();
    fs::write(path("a.mf"), format!("SHA256(rules.conf)= {digest}\n")).expect("written");
    let iso = || answer(scratch.path(), &["iso", "a.ovf", "--id", "web/1", "-o", "web.iso"]);
    assert_eq!(iso(), (String::new(), Some(0)));
    fs::write(path("rules.conf"), "other rules").expect("written");
    fs::remove_file(path("web.iso")).expect("made");
    let (text, status) = iso();
    assert!(status == Some(78) && text.contains("[digest-mismatch]"), "{text}");
    assert!(!path("web.iso").exists());
}

/// Paths of a stranger's: each comes onto the disc as it is, or is refused by name; none ends the program otherwise.
#[test]
fn hostile_paths_are_written_or_refused() {
    let scratch = scratch();
    let long = "n".repeat(300);
    let deep = "d/".repeat(200);
    let many = "x/".repeat(5_000);
    for (paths, want) in [
        (&["a;1", "A;1"][..], Some("is the path of another file")),
        (
            &["a", "a/b"],
            Some(
                "`a/b` and `a` cannot both be: what is a file has no files below it; rename one [environment-file]",
            ),
        ),
        (&["ä.txt", "A\u{308}.txt"], None),
        (&["😀", "\u{fffd}", "a?b", "a*b", "a:b", "con", "a. ", ".a"], None),
        (&["ovf-env.xml", "../ovf-env.xml"], Some("has `..` in it")),
        (&["/etc/passwd"], Some("is absolute")),
        (&["a\\b"], None),
        (&[&long], Some("or a name in it than 255")),
        (&[&(deep + "f")], None),
        (&[&(many + "f")], Some("longer than 1000 bytes")),
        (&[&format!("{}1", &long[..100]), &format!("{}2", &long[..100])], None),
        (&["a b", "a%20b", "a&#10;b"], Some("has a control character in it")),
    ] {
        let files: String =
            paths.iter().map(|path| format!("<File ovf:fileRef=\"rules\" ovf:path=\"{path}\"/>")).collect();
        let begin = DESCRIPTOR.find("<File ovf:fileRef=\"rules\"").expect("there");
        let end = DESCRIPTOR.find("</EnvironmentFilesSection>").expect("there");
        let text = format!("{}{files}{}", &DESCRIPTOR[..begin], &DESCRIPTOR[end..]);
        fs::write(scratch.path().join("b.ovf"), text).expect("written");
        let _ = fs::remove_file(scratch.path().join("b.iso"));
        let (said, status) = answer(scratch.path(), &["iso", "b.ovf", "--id", "web/1", "-o", "b.iso"]);
        let shown: String = format!("{paths:?}").chars().take(80).collect();
        match (status, want) {
            (Some(0), None) => {
                let listed = xorriso(scratch.path(), &["-indev", "b.iso", "-find", "/", "-type", "f"]);
                let count = listed.lines().filter(|it| it.starts_with("'/ovffiles/")).count();
                assert_eq!(count, paths.len(), "{shown}: {listed}");
            }
            (Some(1 | 78), Some(want)) => {
                assert!(said.contains(want), "{shown}: {said}");
                assert!(!scratch.path().join("b.iso").exists(), "{shown}");
            }
            _ => panic!("{shown}: {status:?} {said:.2000}"),
        }
    }
}

/// A guest's files are its own and its parent's.
#[test]
fn no_file_is_a_directory_of_another() {
    let scratch = tempfile::tempdir().expect("a directory");
    for (parent, child, want) in [
        ("a/b", "A", Some("a.ovf:7:33: error: `A` and `a/b` cannot both be")),
        ("a", "a/b/c", Some("a.ovf:7:33: error: `a/b/c` and `a` cannot both be")),
        ("a", "a", None),
        ("a", "a b", None),
        ("a/b", "a/c", None),
    ] {
        let text = format!(
            r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/2" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/2"><References>
<File ovf:id="f" ovf:href="f"/></References><VirtualSystemCollection ovf:id="c"><Info/>
<EnvironmentFilesSection ovf:required="false" ovf:transport="iso"><Info/>
<File ovf:fileRef="f" ovf:path="{parent}"/>
</EnvironmentFilesSection><VirtualSystem ovf:id="v"><Info/>
<EnvironmentFilesSection ovf:required="false" ovf:transport="iso"><Info/>
<File ovf:fileRef="f" ovf:path="{child}"/>
</EnvironmentFilesSection><VirtualHardwareSection ovf:transport="iso"><Info/></VirtualHardwareSection></VirtualSystem></VirtualSystemCollection></Envelope>"#
        );
        fs::write(scratch.path().join("a.ovf"), text).expect("written");
        fs::write(scratch.path().join("f"), "f").expect("written");
        for command in [&["check", "a.ovf"][..], &["env", "a.ovf"], &["iso", "a.ovf", "-o", "a.iso"]] {
            let (said, status) = answer(scratch.path(), command);
            match want {
                Some(want) => assert!(said.contains(want) && status == Some(78), "{command:?}: {said}"),
                None => assert!(status == Some(0), "{command:?}: {said}"),
            }
        }
    }
}
