//! Packages that are made to cost: each is answered in bounded time and memory, whatever it has a million of.
//!
//! The sizes are such that what costs the square of them, or a copy of each for each, does not come to an end within the
//! bounds. Bounds are generous: other tests run at the same time, and the program is built without optimisation.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tar::EntryType;

mod common;
use common::{archive, whole_archive};

const NAMESPACE: &str = "http://schemas.dmtf.org/ovf/envelope/1";
/// Address space of the program; of its own it needs some ten.
const MEMORY: usize = 900 << 20;
const TIME: Duration = Duration::from_secs(40);

fn envelope(references: &str, rest: &str) -> String {
    format!(
        "<Envelope xmlns=\"{NAMESPACE}\" xmlns:ovf=\"{NAMESPACE}\"><References>{references}</References>{rest}</Envelope>"
    )
}

fn system(inner: &str) -> String {
    format!("<VirtualSystem ovf:id=\"vm\"><Info/>{inner}</VirtualSystem>")
}

fn properties(attributes: &str, inner: &str) -> String {
    system(&format!("<ProductSection {attributes}><Info/>{inner}</ProductSection>"))
}

fn many(count: usize, one: impl Fn(&mut String, usize)) -> String {
    let mut out = String::new();
    (0..count).for_each(|number| one(&mut out, number));
    out
}

/// The same thing, with its number for each `#`.
fn numbered(count: usize, pattern: &str) -> String {
    many(count, |out, number| out.push_str(&pattern.replace('#', &number.to_string())))
}

/// Runs the program within its bounds; answers what it says and how it ends.
fn bounded(directory: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let begun = Instant::now();
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", &TIME.as_secs().to_string(), "sh", "-c", "ulimit -v $0; exec \"$@\""]);
    command.arg((MEMORY >> 10).to_string()).arg(env!("CARGO_BIN_EXE_ovf-host")).args(arguments);
    let output = command.current_dir(directory).stdin(Stdio::null()).output().expect("it runs");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let status = output.status.code();
    let is_answer = matches!(status, Some(0 | 1 | 64 | 78));
    assert!(is_answer, "{arguments:?}: {status:?} after {:?}: {said:.1000}", begun.elapsed());
    (said, status)
}

/// One descriptor, and something that is said of it.
fn descriptor(text: &str, arguments: &[&str], want: &str) {
    let scratch = tempfile::tempdir().expect("a directory");
    fs::write(scratch.path().join("a.ovf"), text).expect("written");
    let (said, _) = bounded(scratch.path(), arguments);
    assert!(said.contains(want), "{said:.2000}, not {want}");
}

const CHECK: &[&str] = &["check", "--descriptor-only", "a.ovf"];

#[test]
fn texts_that_are_nothing_but_large() {
    let annotation = format!("<AnnotationSection><Info/><Annotation>{}", "a ".repeat(8 << 20));
    for (text, want) in [
        ("\n".repeat(60 << 20), "there is no element in it"),
        (envelope("", &system(&"<?a?>".repeat(2_000_001))), "more than 2000000 elements"),
        (envelope("", &system(&"<a/>".repeat(300_000))), "there are more than these 1000 errors"),
        (
            envelope("", &system(&format!("{annotation}</Annotation></AnnotationSection>"))),
            "1 virtual system",
        ),
        (envelope("", &"x".repeat(64 << 20)), "67108864 are the most"),
        (
            envelope("", &system(&format!("<!--> <![CDATA[ -->{}<!-- ]]> -->", "<a>".repeat(100_000)))),
            "more than 100 elements inside each other",
        ),
    ] {
        descriptor(&text, CHECK, want);
    }
}

#[test]
fn names_that_are_long_or_copied_often() {
    let (long, other) = ("ab".repeat(2 << 20), "ba".repeat(2 << 20));
    let disk = format!(
        "<DiskSection><Info/><Disk ovf:diskId=\"d\" ovf:capacity=\"1\" ovf:fileRef=\"{long}\"/></DiskSection>"
    );
    let file = format!("<File ovf:id=\"{other}\" ovf:href=\"x\"/>");
    descriptor(&envelope(&file, &(disk + &system(""))), CHECK, "names no File");
    let one = "<Property ovf:key=\"k#\" ovf:type=\"string\" ovf:value=\"x\"/>";
    let class = format!("ovf:class=\"{}\"", "c".repeat(4 << 20));
    let text = envelope("", &properties(&class, &numbered(1_000, one)));
    descriptor(&text, CHECK, "the names of all properties have more than 16777216 bytes");
    let namespace = format!("xmlns:x=\"{}\" xmlns:ovf=", "u".repeat(1 << 20));
    let text = envelope("", &system(&"<ContractSection/>".repeat(20_000)));
    descriptor(&text.replace("xmlns:ovf=", &namespace), CHECK, "inherit have more than 16777216 bytes");
}

#[test]
fn lists_whose_square_is_large() {
    let category = numbered(40_000, "<Category ovf:msgid=\"#\"/>");
    let strings = "<Strings xml:lang=\"a\"/>".repeat(40_000);
    let bundles = envelope("", &(properties("", &category) + &strings));
    descriptor(&bundles, CHECK, "lacks 40000 of 40000 texts, `0` the first");
    let collection = format!(
        "<VirtualSystemCollection ovf:id=\"all\"><Info/><ContractSection>{}</ContractSection>{}</VirtualSystemCollection>",
        numbered(20_000, "<a ovf:id=\"x#\"/>"),
        numbered(20_000, "<VirtualSystem ovf:id=\"#\"><Info/></VirtualSystem>")
    );
    descriptor(&envelope("", &collection), CHECK, "the contract names `x0`, which is no virtual machine");
    let disks = numbered(50_000, "<Disk ovf:diskId=\"#\" ovf:capacity=\"1\" ovf:parentRef=\"x#\"/>")
        .replace("parentRef=\"x", "parentRef=\"1");
    let disks = format!("<DiskSection><Info/>{disks}</DiskSection>");
    descriptor(&envelope("", &(disks + &system(""))), CHECK, "there are more than these 1000 errors");
    let property = |qualifiers: &str| {
        let property = format!(
            "<Property ovf:key=\"k\" ovf:type=\"string\" ovf:userConfigurable=\"true\" ovf:qualifiers=\"{qualifiers}\"/>"
        );
        envelope("", &properties("", &property))
    };
    descriptor(&property(&"a()".repeat(2 << 20)), CHECK, "the qualifier `a` is not known");
    descriptor(&property(&format!("ValueMap{{{}}}", ",".repeat(20 << 20))), CHECK, "more than 4096 values");
    let macros =
        format!("<Property ovf:key=\"k\" ovf:type=\"string\" ovf:value=\"{}\"/>", "${}".repeat(2 << 20));
    descriptor(&envelope("", &properties("", &macros)), CHECK, "there are more than these 1000 errors");
}

/// `${a}${a}` of the parent, which is `${a}${a}` of its own parent.
#[test]
fn macros_that_double_with_each_collection() {
    let mut inner = system("");
    for level in (0..60).rev() {
        let value = if level == 0 { "x" } else { "${a}${a}" };
        inner = format!(
            "<VirtualSystemCollection ovf:id=\"c{level}\"><Info/><ProductSection><Info/>\n<Property ovf:key=\"a\" \
             ovf:type=\"string\" ovf:value=\"{value}\"/></ProductSection>{inner}</VirtualSystemCollection>"
        );
    }
    let want = "a.ovf:26:52: error: what the values of all properties come to, up to that of `a`, is more than 16 MiB";
    descriptor(&envelope("", &inner), &["env", "a.ovf"], want);
}

/// Every sibling is an Entity, and each has all that the parent has.
#[test]
fn environments_that_grow_with_every_sibling() {
    let text = envelope(
        "",
        &format!(
            "<VirtualSystemCollection ovf:id=\"all\"><Info/><ProductSection><Info/>{}</ProductSection>{}</VirtualSystemCollection>",
            numbered(20_000, "<Property ovf:key=\"k#\" ovf:type=\"string\" ovf:value=\"xxxxxxxx\"/>"),
            numbered(20_000, "<VirtualSystem ovf:id=\"#\"><Info/></VirtualSystem>")
        ),
    );
    let want = "the environment of `0` would have more than 16777216 bytes";
    descriptor(&text, &["env", "a.ovf", "--id", "0"], want);
    descriptor(&text, &["env", "a.ovf", "--output", "out"], want);
}

#[test]
fn files_that_are_one_or_many() {
    let scratch = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(scratch.path().join(name), text).expect("written");
    // A thousand texts that are one file, which is not read a thousand times.
    let texts = numbered(1_000, "<Msg ovf:msgid=\"#\" ovf:fileRef=\"f\"/>");
    let strings = format!("{}<Strings xml:lang=\"a\">{texts}</Strings>", system(""));
    write("a.ovf", &envelope("<File ovf:id=\"f\" ovf:href=\"text\"/>", &strings));
    write("text", &"x".repeat(40 << 20));
    let (said, _) = bounded(scratch.path(), &["check", "a.ovf"]);
    let much = "error: all texts in files have more than 67108864 bytes";
    let told: Vec<_> = said.lines().filter(|it| it.contains(much)).collect();
    assert!(matches!(told[..], [one] if one.starts_with("a.ovf:")), "{said:.2000}");
    // Thousands of references to the same pieces, and to files that are not there.
    let pieces = numbered(10_000, "<File ovf:id=\"p#\" ovf:href=\"piece\" ovf:chunkSize=\"1\"/>");
    write(
        "a.ovf",
        &envelope(&(pieces + &numbered(50_000, "<File ovf:id=\"m#\" ovf:href=\"m#\"/>")), &system("")),
    );
    for number in 0..2_000 {
        write(&format!("piece.{number:09}"), "x");
    }
    let (said, _) = bounded(scratch.path(), &["check", "a.ovf"]);
    assert!(said.contains("is not in the package"), "{said:.2000}");
    // A manifest of as many lines as fit.
    write("a.ovf", &envelope("", &system("")));
    write("a.mf", &numbered(150_000, &format!("SHA256(f#)= {}\n", "a".repeat(64))));
    let (said, _) = bounded(scratch.path(), &["check", "a.ovf"]);
    assert!(
        said.contains("a.mf:1:1: error: `f0` is not in the package") && said.lines().count() < 1_100,
        "{said:.2000}"
    );
    write("a.mf", &"x\n".repeat(8 << 20));
    let (said, _) = bounded(scratch.path(), &["check", "a.ovf"]);
    assert!(
        said.contains("a.mf:1:1: error: this is no line of a manifest") && said.lines().count() < 1_100,
        "{said:.2000}"
    );
}

/// A gigabyte, as a file with holes, in an archive, and by a pipe.
#[test]
fn a_gigabyte_is_refused_before_it_is_read() {
    let scratch = tempfile::tempdir().expect("a directory");
    let make = |name: &str, bytes: &[u8], size: u64| {
        let path = scratch.path().join(name);
        fs::write(&path, bytes).expect("written");
        fs::File::options().write(true).open(path).and_then(|it| it.set_len(size)).expect("a hole");
    };
    let most = "the file has 1073741824 bytes; 67108864 are the most";
    make("a.ovf", b"<", 1 << 30);
    let mut header = archive(&[("a.ovf", EntryType::Regular, b"")]);
    header[124..136].copy_from_slice(b"10000000000\0");
    let block: &mut [u8; 512] = header.as_mut_slice().try_into().expect("a block");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&it| u32::from(it)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    make("a.ova", &header, (1 << 30) + 1536);
    for name in ["a.ovf", "a.ova"] {
        for command in [&["check", name][..], &["env", name]] {
            let begun = Instant::now();
            let (said, status) = bounded(scratch.path(), command);
            assert!(said.contains(most) && status == Some(78), "{command:?}: {said}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{command:?}: {:?}", begun.elapsed());
        }
    }
    let (said, status) = bounded(scratch.path(), &["check", "/dev/zero"]);
    assert!(said.contains("/dev/zero: error: this is no file") && status == Some(1), "{said}");
    let pipe = format!("yes | {} check /dev/stdin", env!("CARGO_BIN_EXE_ovf-host"));
    let output = Command::new("timeout").args(["20", "sh", "-c", &pipe]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("/dev/stdin: error: this is no file"), "{said}");
}

#[test]
fn archives_of_nothing_but_headers() {
    let scratch = tempfile::tempdir().expect("a directory");
    let path = scratch.path().join("a.ova");
    let first = archive(&[("a.ovf", EntryType::Regular, b"<")]);
    let directory = archive(&[("d/", EntryType::Directory, b"")]);
    fs::write(&path, [first.clone(), directory.repeat(300_000)].concat()).expect("written");
    let (said, _) = bounded(scratch.path(), &["check", "a.ova"]);
    assert!(said.contains("more than 300000 headers"), "{said:.2000}");
    let mut bytes = first;
    for number in 0..400 {
        let mut name = String::new();
        write!(name, "{number}/{}", "n".repeat(60_000)).expect("a name");
        bytes.extend(archive(&[
            ("l", EntryType::GNULongName, name.as_bytes()),
            ("f", EntryType::Regular, b""),
        ]));
    }
    fs::write(&path, bytes).expect("written");
    let (said, _) = bounded(scratch.path(), &["check", "a.ova"]);
    assert!(said.contains("the names in the archive have more than 16777216 bytes"), "{said:.2000}");
    fs::write(&path, whole_archive(&[("l", EntryType::GNULongName, &[b'n'; 70_000])])).expect("written");
    let (said, _) = bounded(scratch.path(), &["check", "a.ova"]);
    assert!(said.contains("70000 bytes of names; 65536 are the most"), "{said:.2000}");
}
