//! What is written: whole or not at all, its owner's alone, and never in the place of something else.

#![expect(clippy::print_stdout, reason = "a test says what it could not try")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod common;
use common::{answer, host};

const NAMESPACE: &str = "http://schemas.dmtf.org/ovf/envelope/1";

/// A package of two machines, one of which has the id `a`.
fn package() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().expect("a directory");
    let text = format!(
        "<Envelope xmlns=\"{NAMESPACE}\" xmlns:ovf=\"{NAMESPACE}\"><References><File ovf:id=\"f\" ovf:href=\"b.xml\"/></References>\
         <VirtualSystemCollection ovf:id=\"all\"><Info/><ProductSection><Info/><Property ovf:key=\"k\" ovf:type=\"string\" \
         ovf:userConfigurable=\"true\"/></ProductSection><VirtualSystem ovf:id=\"a\"><Info/></VirtualSystem>\
         <VirtualSystem ovf:id=\"b\"><Info/></VirtualSystem></VirtualSystemCollection></Envelope>"
    );
    fs::write(scratch.path().join("a.ovf"), text).expect("written");
    fs::write(scratch.path().join("b.xml"), "of the package").expect("written");
    scratch
}

/// All names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory").map(|it| it.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|it| it.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn files_with_passwords_are_their_owners_alone() {
    let scratch = package();
    let umask = |line: &str| {
        let line = format!("umask 0; exec {} {line}", env!("CARGO_BIN_EXE_ovf-host"));
        assert!(Command::new("sh").args(["-c", &line]).current_dir(&scratch).status().expect("sh").success());
    };
    umask("env a.ovf --property k=s3cret --output out");
    umask("iso a.ovf --property k=s3cret --output out");
    umask("iso a.ovf --property k=s3cret --id a --output out/one.iso");
    assert_eq!(names(&scratch.path().join("out")), ["a.iso", "a.xml", "b.iso", "b.xml", "one.iso"]);
    for name in names(&scratch.path().join("out")) {
        let mode = fs::metadata(scratch.path().join("out").join(&name)).expect("there").mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn only_regular_files_are_replaced_and_none_of_the_package() {
    let scratch = package();
    let path = |name: &str| scratch.path().join(name);
    let iso = |output: &str| answer(scratch.path(), &["iso", "a.ovf", "--id", "a", "-o", output]);
    fs::write(path("old"), "old").expect("written");
    assert_eq!(iso("old"), (String::new(), Some(0)));
    assert!(fs::metadata(path("old")).expect("there").len() > 1000);

    symlink("old", path("link")).expect("made");
    symlink("nowhere", path("dangling")).expect("made");
    fs::hard_link(path("a.ovf"), path("same")).expect("made");
    fs::create_dir(path("directory")).expect("made");
    assert!(Command::new("mkfifo").arg(path("pipe")).status().expect("mkfifo").success());
    let before = names(scratch.path());
    for (output, want) in [
        ("link", "cannot write link: it is a symbolic link; name the file itself"),
        ("dangling", "cannot write dangling: it is a symbolic link"),
        ("directory", "cannot write directory: it is a directory; name a file"),
        ("pipe", "cannot write pipe: it is a device, a pipe or a socket"),
        ("/dev/null", "cannot write /dev/null: it is a device"),
        ("a.ovf", "cannot write a.ovf: it is a file that this is made of; name another one"),
        ("b.xml", "cannot write b.xml: it is a file that this is made of"),
        ("same", "cannot write same: it is a file that this is made of"),
        ("no/such/place.iso", "cannot write no/such/place.iso: No such file or directory"),
    ] {
        let (said, status) = iso(output);
        assert!(said.contains(want) && status == Some(1), "{output}: {said}");
    }
    assert!(fs::metadata("/dev/null").is_ok_and(|it| !it.is_file()));
    // Of two environments one would take the place of the package's file: neither is written.
    let (said, status) = answer(scratch.path(), &["env", "a.ovf", "--output", "."]);
    assert!(
        said.contains("cannot write ./b.xml: it is a file that this is made of") && status == Some(1),
        "{said}"
    );
    assert_eq!(names(scratch.path()), before);
    // A directory that was made for nothing goes.
    let (_, status) = answer(scratch.path(), &["iso", "a.ovf", "-o", "new/deep/er", "--property", "k=\u{1}"]);
    assert_eq!((status, path("new").exists()), (Some(78), false));
}

#[test]
fn answers_that_nobody_hears_are_errors() {
    let scratch = package();
    let events = "{\"time_ms\":1,\"guest\":\"a\",\"event\":\"power on\"}\n";
    fs::write(scratch.path().join("events"), events).expect("written");
    for arguments in [
        &["check", "a.ovf"][..],
        &["check", "--json", "a.ovf"],
        &["env", "a.ovf", "--id", "a"],
        &["status", "--state", "none"],
        &["status", "--state", "none", "--json"],
        &["timeline", "--events", "events"],
        &["--version"],
        &["up", "--help"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").expect("there");
        let output = Command::new(env!("CARGO_BIN_EXE_ovf-host"))
            .args(arguments)
            .current_dir(&scratch)
            .stdout(full)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("cannot write the answer: No space left on device"), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        // Somebody who has heard enough: the answer is larger than a pipe.
        fs::write(
            scratch.path().join("many.ovf"),
            fs::read_to_string(scratch.path().join("a.ovf")).expect("there").replace(
                "<References>",
                &format!("<References>{}", "<File ovf:id=\"f\" ovf:href=\"x\"/>".repeat(2_000)),
            ),
        )
        .expect("written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_ovf-host"))
            .args(["check", "many.ovf"])
            .current_dir(&scratch)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        child.stdout.take().expect("piped").read_exact(&mut [0; 10]).expect("ten bytes");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(
            (output.status.code(), output.stderr.len()),
            (Some(1), 0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Runs a script as root of a namespace of its own, where it may mount; none where that is not allowed.
fn in_namespace(directory: &Path, script: &str) -> Option<(String, bool)> {
    let unshare = |options: &[&str], script: &str| {
        Command::new("unshare").args(options).args(["sh", "-ec", script]).current_dir(directory).output().ok()
    };
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let way = ways
        .into_iter()
        .find(|it| unshare(it, "mount -t tmpfs none /mnt").is_some_and(|output| output.status.success()));
    let Some(way) = way else {
        println!("not tried: nobody here may mount");
        return None;
    };
    let output = unshare(way, script).expect("it runs");
    Some((String::from_utf8_lossy(&output.stderr).into_owned(), output.status.success()))
}

#[test]
fn a_full_disk_is_left_as_it_was() {
    let scratch = package();
    fs::create_dir(scratch.path().join("full")).expect("made");
    let host = env!("CARGO_BIN_EXE_ovf-host");
    let script = format!(
        "mount -t tmpfs -o size=200k none full; cp a.ovf b.xml full
         {host} iso a.ovf -o full/isos && exit 1
         {host} env a.ovf --property k=$(head -c 90000 /dev/zero | tr '\\0' x) -o full/envs && exit 1
         ls -A full | tr '\\n' ' ' >&2"
    );
    let Some((said, is_done)) = in_namespace(scratch.path(), &script) else { return };
    assert!(is_done && said.matches("No space left on device").count() == 2, "{said}");
    assert!(said.ends_with("a.ovf b.xml "), "{said}");
}

#[test]
fn a_place_that_is_not_ours_is_named() {
    let scratch = package();
    fs::create_dir(scratch.path().join("place")).expect("made");
    let script = format!(
        "mount -t tmpfs -o ro none place; {} iso a.ovf --id a -o place/a.iso",
        env!("CARGO_BIN_EXE_ovf-host")
    );
    let Some((said, is_done)) = in_namespace(scratch.path(), &script) else { return };
    assert!(said.contains("cannot write place/a.iso: Read-only file system") && !is_done, "{said}");
}

/// A `qemu-img` that says when it has begun, and goes on for ever.
fn slow(directory: &Path) {
    let program = directory.join("bin/qemu-img");
    fs::create_dir(directory.join("bin")).expect("made");
    common::program(
        &program,
        "#!/bin/sh\nfor it; do :; done\necho begun > \"$it\"\nmkdir -p begun\nexec sleep 1000\n",
    );
    fs::write(
        directory.join("appliance.toml"),
        "name = \"a\"\n[machines.m]\nmemory = \"64 MiB\"\ndisks = [\"disk\"]\n",
    )
    .expect("written");
    fs::write(directory.join("disk"), [0; 4096]).expect("written");
}

#[test]
fn a_signal_leaves_nothing_behind() {
    for signal in ["INT", "TERM", "HUP"] {
        let scratch = tempfile::tempdir().expect("a directory");
        slow(scratch.path());
        let path =
            format!("{}:{}", scratch.path().join("bin").display(), std::env::var("PATH").expect("set"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_ovf-host"))
            .args(["pack", ".", "-o", "a.ova"])
            .current_dir(&scratch)
            .env("PATH", path)
            .stdin(Stdio::null())
            .spawn()
            .expect("it runs");
        let begun = Instant::now();
        while !scratch.path().join("begun").exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "it never begins");
            std::thread::yield_now();
        }
        assert!(names(scratch.path()).iter().any(|it| it.starts_with(".tmp")), "it works beside the output");
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().expect("kill").success());
        let status = child.wait().expect("it ends");
        assert!(std::os::unix::process::ExitStatusExt::signal(&status).is_some(), "{signal}: {status}");
        assert_eq!(names(scratch.path()), ["appliance.toml", "begun", "bin", "disk"], "{signal}");
        // What it had started is over, too: it had this directory for its own.
        let running = Command::new("sh")
            .args([
                "-c",
                "ls -l /proc/[0-9]*/cwd 2>&- | grep -F -- \"$0\" || :",
                &scratch.path().display().to_string(),
            ])
            .output()
            .expect("sh");
        assert_eq!(String::from_utf8_lossy(&running.stdout), "", "{signal}");
    }
}

/// Neither is a directory that was made for what is not there yet.
#[test]
fn a_signal_leaves_no_directory_behind() {
    let scratch = tempfile::tempdir().expect("a directory");
    let long = "x".repeat(70_000);
    let text = format!(
        r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><References/>
<VirtualSystemCollection ovf:id="c"><Info/><VirtualSystem ovf:id="a"><Info/></VirtualSystem><VirtualSystem ovf:id="b"><Info/>
<ProductSection><Info/><Property ovf:key="p" ovf:type="string" ovf:value="{long}"/></ProductSection>
<VirtualHardwareSection ovf:transport="com.vmware.guestInfo"><Info/></VirtualHardwareSection></VirtualSystem></VirtualSystemCollection></Envelope>"#
    );
    fs::write(scratch.path().join("a.ovf"), text).expect("written");
    // A pipe that is full: the first document is made, and to say that the second one is large takes for ever.
    let (hears, mut says) = std::io::pipe().expect("a pipe");
    says.write_all(&[b'x'; 64 << 10]).expect("as many as it holds");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ovf-host"))
        .args(["env", "a.ovf", "-o", "new/er"])
        .current_dir(&scratch)
        .stdin(Stdio::null())
        .stderr(says)
        .spawn()
        .expect("it runs");
    let begun = Instant::now();
    while !scratch.path().join("new/er").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it never begins");
        std::thread::yield_now();
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().expect("kill").success());
    let status = child.wait().expect("it ends");
    assert!(std::os::unix::process::ExitStatusExt::signal(&status).is_some(), "{status}");
    assert_eq!(names(scratch.path()), ["a.ovf"]);
    drop(hears);
}

/// Whose id makes no file name is said, and so is a directory that cannot be, without names that nobody has given.
#[test]
fn what_cannot_be_a_file_is_said() {
    let scratch = tempfile::tempdir().expect("a directory");
    let long = "i".repeat(300);
    let descriptor = common::descriptor(0).replace("ovf:id=\"vm\"", &format!("ovf:id=\"{long}\""));
    fs::write(scratch.path().join("a.ovf"), descriptor).expect("written");
    fs::write(scratch.path().join("disk.vmdk"), "").expect("written");
    let (said, status) = answer(scratch.path(), &["env", "a.ovf", "-o", "new"]);
    let want = format!("ovf-host: the id `{}…` makes a file name of more than 255 bytes; ", &long[..80]);
    assert!(said.starts_with(&want) && status == Some(1), "{status:?} {said}");
    assert_eq!(names(scratch.path()), ["a.ovf", "disk.vmdk"]);
    let (said, status) = answer(scratch.path(), &["iso", "a.ovf", "-o", "no/such/a.iso"]);
    let want = "ovf-host: cannot write no/such/a.iso: No such file or directory (os error 2)\n";
    assert_eq!((said.as_str(), status), (want, Some(1)));
}

#[test]
fn two_runs_into_one_directory_do_not_disturb_each_other() {
    let scratch = package();
    let start = |value: &str| {
        Command::new(env!("CARGO_BIN_EXE_ovf-host"))
            .args(["env", "a.ovf", "--property", &format!("k={value}"), "-o", "out"])
            .current_dir(&scratch)
            .spawn()
            .expect("it runs")
    };
    for _ in 0..20 {
        let mut both = [start("one"), start("two")];
        assert!(both.iter_mut().all(|it| it.wait().expect("it ends").success()));
        for name in ["a.xml", "b.xml"] {
            let text = fs::read_to_string(scratch.path().join("out").join(name)).expect("there");
            let (one, two) = (text.contains("\"one\""), text.contains("\"two\""));
            assert!(text.ends_with("</Environment>\n") && one != two, "{text}");
        }
        assert_eq!(names(&scratch.path().join("out")), ["a.xml", "b.xml"]);
    }
}

/// Names that would move a terminal's cursor, in whatever the program says of them.
#[test]
fn nothing_that_is_said_moves_a_cursor() {
    let scratch = package();
    let nasty = "\u{1b}[2J\u{9b}31m\r\u{7}\u{202e}x";
    let text = fs::read_to_string(scratch.path().join("a.ovf")).expect("there");
    let inside = nasty.replace(['\u{1b}', '\u{7}'], "").replace('\r', "&#13;");
    fs::write(scratch.path().join("n.ovf"), text.replace("=\"a\"", &format!("=\"a{inside}\"")))
        .expect("written");
    fs::write(scratch.path().join(format!("{nasty}.ovf")), text.replace("b.xml", "c.xml")).expect("written");
    let descriptor = format!("{nasty}.ovf");
    for arguments in [
        &["check", "n.ovf"][..],
        &["check", "--json", "n.ovf"],
        &["check", "--lang", nasty, "n.ovf"],
        &["check", &descriptor],
        &["env", &descriptor, "--id", nasty],
        &["env", &descriptor, "--configuration", nasty],
        &["env", &descriptor, "--property", &format!("{nasty}=1")],
        &["env", &descriptor, "--platform", nasty],
        &["iso", &descriptor, "--id", "a", "-o", &format!("no/{nasty}")],
        &["pack", nasty, "-o", "x.ova"],
        &["env", "a.ovf", "--id", "a", "--property", &format!("k={}", "\u{9b}31m\u{85}")],
        &[nasty],
        &["check", &format!("--{nasty}")],
    ] {
        let output = host(scratch.path(), arguments);
        let said = String::from_utf8(output.stdout).expect("UTF-8")
            + &String::from_utf8(output.stderr).expect("UTF-8");
        let moves = |it: char| (it.is_control() && it != '\n') || it == '\u{202e}';
        assert!(!said.is_empty() && !said.contains(moves), "{arguments:?}: {said:?}");
    }
}
