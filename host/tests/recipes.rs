//! Folders that come from strangers: what `pack` makes of them, and what it does not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

mod common;
use common::answer;

const SECRET: &str = "root:s3cret:19000:0:99999:7:::\n";

/// A folder beside a file that is nobody's business.
fn folder() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().expect("a directory");
    fs::create_dir(scratch.path().join("folder")).expect("made");
    fs::write(scratch.path().join("shadow"), SECRET.repeat(100)).expect("written");
    scratch
}

fn tool(directory: &Path, line: &str) {
    let mut words = line.split(' ');
    let status = Command::new(words.next().expect("a program")).args(words).current_dir(directory).status();
    assert!(status.expect("it runs").success(), "{line}");
}

fn recipe(scratch: &Path, machine: &str) {
    let text = format!("name = \"a\"\n[machines.m]\nmemory = \"64 MiB\"\n{machine}\n");
    fs::write(scratch.join("folder/appliance.toml"), text).expect("written");
}

fn pack(scratch: &Path, more: &[&str]) -> (String, Option<i32>) {
    answer(scratch, &[&["pack", "folder", "-o", "a.ova"], more].concat())
}

#[test]
fn nothing_outside_of_the_folder_comes_into_the_package() {
    let scratch = folder();
    let inside = scratch.path().join("folder");
    let shadow = scratch.path().join("shadow").display().to_string();
    symlink("../shadow", inside.join("link")).expect("made");
    symlink("..", inside.join("up")).expect("made");
    for (machine, want) in [
        (
            "disks = [\"../shadow\"]",
            "folder/appliance.toml:4:10: error: `../shadow` is outside of this folder",
        ),
        (&format!("disks = [\"{shadow}\"]"), "is outside of this folder"),
        ("disks = [\"link\"]", "`link` is outside of this folder"),
        ("disks = [\"up/shadow\"]", "`up/shadow` is outside of this folder"),
        (
            "licence = \"../shadow\"",
            "folder/appliance.toml:4:11: error: `../shadow` is outside of this folder",
        ),
        ("licence = \"link\"", "`link` is outside of this folder"),
        ("agent = \"/etc\"", "folder/appliance.toml:4:9: error: `/etc` is outside of this folder"),
        ("disks = [\"/dev/zero\"]", "`/dev/zero` is outside of this folder"),
        ("disks = [\".\"]", "it is no regular file"),
        ("licence = \".\"", "it is no regular file"),
        ("disks = [\"99999999999999999999 TiB\"]", "no disk is so large"),
        ("disks = [\"16777217 TiB\"]", "no disk is so large"),
        ("disks = [\"10 GB\"]", "sizes are whole numbers of KiB, MiB, GiB or TiB"),
        ("cpus = 0", "a whole number from 1 to 4294967295 is wanted here"),
        ("start = { order = -1 }", "a whole number from 0 to 65535 is wanted here"),
        ("memory = \"18446744073709551616 KiB\"", "this key is here twice; take one of them away"),
        ("cpus = 18446744073709551616", "error"),
        ("start = { order = 65536 }", "error"),
        ("disks = [\"json:{}\"]", "is not there"),
        ("disks = [\"nbd://example.org/x\"]", "is not there"),
    ] {
        recipe(scratch.path(), machine);
        let (said, status) = pack(scratch.path(), &[]);
        assert!(said.contains(want) && matches!(status, Some(1 | 78)), "{machine}: {status:?} {said}");
        assert!(!scratch.path().join("a.ova").exists() && !said.contains("s3cret"), "{machine}: {said}");
    }
    // Whoever knows what is there may say so.
    recipe(scratch.path(), "disks = [\"../shadow\"]\nlicence = \"link\"");
    assert_eq!(pack(scratch.path(), &["--outside"]), (String::new(), Some(0)));
}

#[test]
fn an_image_that_names_another_file_is_refused() {
    let scratch = folder();
    let inside = scratch.path().join("folder");
    tool(&inside, "qemu-img create -q -f qcow2 -u -b ../shadow -F raw disk 1M");
    fs::write(
        inside.join("flat"),
        "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 8 FLAT \"../shadow\" 0\n",
    )
    .expect("written");
    // The header of a VMDK that says nothing but where its description is.
    let mut sparse = fs::read(inside.join("flat")).expect("there");
    let mut header = b"KDMV\x01\0\0\0\x03\0\0\0".to_vec();
    header.resize(512, 0);
    header[28] = 1;
    header[36] = 20;
    header.append(&mut sparse);
    fs::write(inside.join("sparse"), header).expect("written");
    for (disk, want) in [
        ("disk", ":4:10: error: the image `disk` cannot be packed: it is the difference to another image"),
        ("flat", ":4:10: error: the image `flat` cannot be packed: it is the description of a VMDK"),
        ("sparse", ":4:10: error: the image `sparse` cannot be packed: it names other files"),
    ] {
        recipe(scratch.path(), &format!("disks = [\"{disk}\"]"));
        let (said, status) = pack(scratch.path(), &["--outside"]);
        assert!(said.contains(want) && status == Some(78), "{disk}: {said}");
        assert!(!scratch.path().join("a.ova").exists(), "{disk}");
    }
    // What is raw is raw, even if its guest has written the header of a qcow2 somewhere behind the beginning.
    let mut raw = vec![0; 1 << 20];
    raw[512..516].copy_from_slice(b"QFI\xfb");
    fs::write(inside.join("raw"), raw).expect("written");
    recipe(scratch.path(), "disks = [\"raw\"]");
    assert_eq!(pack(scratch.path(), &[]), (String::new(), Some(0)));
}

#[test]
fn a_package_takes_the_place_of_no_source() {
    let scratch = folder();
    fs::write(scratch.path().join("folder/disk.ova"), [0; 4096]).expect("written");
    recipe(scratch.path(), "disks = [\"disk.ova\"]");
    let (said, status) = answer(scratch.path(), &["pack", "folder", "-o", "folder/disk.ova"]);
    assert!(
        said.contains("the package would take its place; give it another name") && status == Some(1),
        "{said}"
    );
    symlink("nowhere", scratch.path().join("a.ova")).expect("made");
    let (said, status) = pack(scratch.path(), &[]);
    assert!(said.contains("cannot write a.ova: it is a symbolic link") && status == Some(1), "{said}");
}

/// Disks need no temporary files but those beside the package.
#[test]
fn disks_are_packed_whatever_tmpdir_is() {
    let scratch = folder();
    recipe(scratch.path(), "disks = [\"disk.qcow2\"]");
    tool(&scratch.path().join("folder"), "qemu-img create -q -f qcow2 disk.qcow2 1M");
    let output = Command::new(env!("CARGO_BIN_EXE_ovf-host"))
        .args(["pack", "folder", "-o", "a.ova"])
        .current_dir(scratch.path())
        .env("TMPDIR", "/no/such")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An agent that is not one.
#[test]
fn an_agent_that_does_not_answer_is_said_to_be_unusable() {
    let scratch = folder();
    fs::create_dir(scratch.path().join("folder/etc")).expect("made");
    fs::write(scratch.path().join("folder/etc/agent.toml"), "").expect("written");
    recipe(scratch.path(), "agent = \"etc\"");
    let program = scratch.path().join("program");
    for (script, want) in [
        ("kill -9 $$", "is not understood: signal 9 ended it: it says nothing"),
        ("exit 7", "is not understood: it says nothing"),
        ("printf '\\033[2Jno\\nmore\\n' >&2; exit 1", "is not understood: \\u{1b}[2Jno; is it"),
        ("exec yes", "it said more than 16777216 bytes, and was ended"),
        ("exec yes >&2", "it said more than 16777216 bytes, and was ended"),
    ] {
        common::program(
            &program,
            &format!(
                "#!/bin/sh
{script}
"
            ),
        );
        let begun = Instant::now();
        let (said, status) = pack(scratch.path(), &["--agent-program", program.to_str().expect("UTF-8")]);
        assert!(said.contains(want) && status == Some(78), "{script}: {status:?} {said:.1000}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{script}: {:?}", begun.elapsed());
    }
}

/// A key that wants a passphrase is not waited for, and what is no key is said to be none.
#[test]
fn keys_and_authorities_that_are_none_are_named() {
    let scratch = folder();
    recipe(scratch.path(), "");
    let key = "req -x509 -newkey rsa:2048 -keyout key -out pem -days 9 -subj /CN=a -passout pass:s3cret";
    tool(scratch.path(), &format!("openssl {key}"));
    let sign =
        |key: &str, certificate: &str| pack(scratch.path(), &["--key", key, "--certificate", certificate]);
    for (key, certificate, want, exit) in [
        ("key", "pem", "openssl does not read this key", 78),
        ("shadow", "pem", "openssl does not read this key", 78),
        ("folder", "pem", "the key cannot be read: it is no regular file", 78),
        ("none", "pem", "the key cannot be read: No such file", 1),
    ] {
        let (said, status) = sign(key, certificate);
        assert!(said.contains(want) && status == Some(exit), "{key}: {said}");
    }
    tool(scratch.path(), "openssl rsa -in key -passin pass:s3cret -out open");
    for (certificate, want, exit) in [("/dev/zero", "it is no regular file", 78), ("none", "No such file", 1)]
    {
        let (said, status) = sign("open", certificate);
        assert!(said.contains(want) && status == Some(exit), "{certificate}: {said}");
    }
    assert_eq!(sign("open", "pem"), (String::new(), Some(0)));
    for (authorities, want) in [
        (
            "/dev/zero",
            "/dev/zero: error: the certificates of whom to trust cannot be read: it is no regular file",
        ),
        ("none", "none: error: the certificates of whom to trust cannot be read: No such file"),
        ("shadow", "shadow: error: there is no certificate in it, so nobody would be trusted"),
    ] {
        let (said, status) = answer(scratch.path(), &["check", "a.ova", "--ca", authorities]);
        assert!(said.contains(want) && status == Some(1), "{authorities}: {said}");
    }
    let (said, status) = answer(scratch.path(), &["env", "a.ova", "--properties", "/dev/zero"]);
    assert!(
        said.contains("cannot read /dev/zero: it has more than 16777216 bytes") && status == Some(1),
        "{said}"
    );
}

/// What is wrong with a file is told where the recipe names it.
#[test]
fn files_that_cannot_be_packed_are_told_by_their_place() {
    let scratch = folder();
    let inside = scratch.path().join("folder");
    fs::create_dir(inside.join("dir")).expect("made");
    fs::write(inside.join("empty.img"), "").expect("written");
    fs::write(inside.join("licence"), "s3cret\u{1}").expect("written");
    tool(&inside, "mkfifo fifo");
    for (machine, want) in [
        (
            "disks = [\"1 MiB\", \"empty.img\"]",
            ":4:19: error: the image `empty.img` cannot be packed: it is empty",
        ),
        ("disks = [\"dir\"]", ":4:10: error: the image `dir` cannot be packed: it is no regular file"),
        ("disks = [\"fifo\"]", ":4:10: error: the image `fifo` cannot be packed: it is no regular file"),
        ("licence = \"dir\"", ":4:11: error: the licence `dir` cannot be read: it is no regular file"),
        (
            "agent = \".\"",
            ":4:9: error: the agent's configuration `.` is none: there is no agent.toml in it, and as in an image's root none in etc",
        ),
        (
            "agent = \"empty.img\"",
            ":4:9: error: the agent's configuration `empty.img` is none: it is no directory",
        ),
        (
            "licence = \"licence\"",
            ":4:11: error: the licence `licence` has a character that XML forbids; remove it",
        ),
    ] {
        recipe(scratch.path(), machine);
        let (said, status) = pack(scratch.path(), &[]);
        let is_told = said.starts_with(&format!("folder/appliance.toml{want}")) && !said.contains("s3cret");
        assert!(is_told && status == Some(78), "{machine}: {status:?} {said}");
    }
}

/// A recipe whose environments could never be made is refused where it says so.
#[test]
fn what_can_never_be_deployed_is_told_by_its_place() {
    let scratch = folder();
    let text = "name = \"a\"\n[properties]\nq = { value = \"abc\" }\n[groups.g]\nproperties = { p = { type = \"uint8\", value = \"${q}\" } }\n\
                [machines.m]\nmemory = \"64 MiB\"\ngroup = \"g\"\n";
    fs::write(scratch.path().join("folder/appliance.toml"), text).expect("written");
    let (said, status) = pack(scratch.path(), &[]);
    let want =
        "folder/appliance.toml:5:46: error: what the value of `p` comes to is not a number from 0 to 255; ";
    assert!(said.starts_with(want) && status == Some(78), "{status:?} {said}");
    assert!(!scratch.path().join("a.ova").exists());
}

/// qemu-img would read as zeros what is past the end of an image.
#[test]
fn an_image_that_is_damaged_or_cut_off_is_not_packed() {
    let scratch = folder();
    let inside = scratch.path().join("folder");
    let whole: Vec<u8> = (1..=200_u8).cycle().take(6 << 20).collect();
    fs::write(inside.join("whole"), &whole).expect("written");
    fs::write(inside.join("cut"), b"QFI\xfb\0\0\0\x03").expect("written");
    recipe(scratch.path(), "disks = [\"1 MiB\", \"cut\"]");
    let refused = |why: &str, name: &str| {
        let (said, status) = pack(scratch.path(), &[]);
        let want = format!("folder/appliance.toml:4:19: error: the image `cut` cannot be packed: {why}");
        let is_told = said.starts_with(&want) && said.ends_with("; copy or build it again [recipe]\n");
        assert!(is_told && said.lines().count() == 1 && status == Some(78), "{name}: {status:?} {said}");
        assert!(!scratch.path().join("a.ova").exists(), "{name}");
    };
    refused("qemu-img does not take this disk: ", "a header alone");
    for (format, options, why) in [
        ("qcow2", "", "it is damaged or cut off: "),
        ("qcow2", "-o compat=0.10", "it is damaged or cut off: "),
        ("vmdk", "", "it is damaged or cut off: "),
        ("vmdk", "-o subformat=streamOptimized", "it is damaged or cut off: "),
        ("vdi", "", "it is cut off"),
        ("vdi", "-o static=on", "it is cut off"),
        ("vhdx", "", "qemu-img does not take this disk: "),
        ("vpc", "", "qemu-img does not take this disk: "),
    ] {
        let line = format!("qemu-img convert -f raw -O {format} {options} whole cut").replace("  ", " ");
        tool(&inside, &line);
        assert_eq!(pack(scratch.path(), &[]), (String::new(), Some(0)), "{line}");
        fs::remove_file(scratch.path().join("a.ova")).expect("it was there");
        let all = fs::read(inside.join("cut")).expect("made");
        fs::write(inside.join("cut"), &all[..all.len() / 2]).expect("written");
        refused(why, &line);
    }
    tool(&inside, "qemu-img convert -f raw -O qcow2 whole cut");
    let all = fs::read(inside.join("cut")).expect("made");
    fs::write(inside.join("cut"), &all[..1000]).expect("written");
    refused("it is damaged or cut off: ", "the first 1000 bytes");
    tool(&inside, "qemu-img convert -f raw -O vdi whole cut");
    let all = fs::read(inside.join("cut")).expect("made");
    fs::write(inside.join("cut"), &all[..200]).expect("written");
    refused("it is cut off", "half a header");
    // Space that nobody uses, after a crash, is no damage.
    tool(&inside, "qemu-img create -q -f qcow2 cut 1M");
    let mut all = fs::read(inside.join("cut")).expect("made");
    let table = u64::from_be_bytes(all[48..56].try_into().expect("8")) as usize;
    let block = u64::from_be_bytes(all[table..table + 8].try_into().expect("8")) as usize;
    all.resize(all.len().next_multiple_of(65536) + 65536, 0);
    let last = block + 2 * (all.len() / 65536 - 1);
    all[last + 1] = 1;
    fs::write(inside.join("cut"), all).expect("written");
    let status = Command::new("qemu-img").args(["check", "-q", "cut"]).current_dir(&inside).status();
    assert_eq!(status.expect("it runs").code(), Some(3));
    assert_eq!(pack(scratch.path(), &[]), (String::new(), Some(0)));
}
