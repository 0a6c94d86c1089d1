//! Findings, in their words.
//!
//! Descriptors are in `fixtures/`, and beside each what is found in it. Packages are made here: broken archives, files that
//! are not what they should be, signatures. All kinds of findings are seen, and `docs/host.md` lists each.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use ovf_host::finding::Code;
use tar::EntryType;

mod common;
use common::{answer, archive, codes, descriptor, kept, whole_archive};

const FILE: EntryType = EntryType::Regular;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn descriptors() -> Vec<String> {
    let names = fs::read_dir(fixtures()).expect("fixtures").map(|it| it.expect("an entry").file_name());
    let mut names: Vec<_> = names.map(|it| it.into_string().expect("UTF-8")).collect();
    names.retain(|it| it.ends_with(".ovf"));
    names.sort();
    names
}

#[test]
fn descriptors_are_told_what_is_wrong_with_them() {
    for name in descriptors() {
        let (text, status) = answer(&fixtures(), &["check", "--descriptor-only", &name]);
        kept(&fixtures().join(&name).with_extension("txt"), &text);
        assert_eq!(status, Some(if text.contains(" error: ") { 78 } else { 0 }), "{name}");
        assert!(!text.contains("s3cret"), "{name}: values are not shown: {text}");
    }
}

/// A scratch directory with a package in it that nothing is wrong with.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        let scratch = Self(tempfile::tempdir().expect("a directory"));
        scratch.write("a.ovf", descriptor(DISK.len()).as_bytes());
        scratch.write("disk.vmdk", DISK);
        scratch
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), bytes).expect("written");
    }

    /// What `check` says of a package, without the two lines that sum it up, and how it ends. That most have no manifest is left out.
    fn check(&self, arguments: &[&str]) -> (Vec<String>, Option<i32>) {
        let (text, status) = answer(self.path(), &[&["check"], arguments].concat());
        (text.lines().filter(|line| codes(line).next().is_some()).map(str::to_owned).collect(), status)
    }

    /// A certificate of its own, with `NAME.key` and `NAME.pem`; signed by another, if there is one.
    fn certificate(&self, name: &str, by: Option<&str>) {
        let request = format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key");
        match by {
            None => self.openssl(&format!("{request} -x509 -days 2 -out {name}.pem")),
            Some(by) => {
                self.openssl(&format!("{request} -out {name}.csr"));
                let end = if name == "leaf" { "CA:FALSE" } else { "CA:TRUE" };
                self.write("extensions", format!("basicConstraints=critical,{end}\n"));
                self.openssl(&format!(
                    "x509 -req -in {name}.csr -CA {by}.pem -CAkey {by}.key -set_serial 1 -days 2 -extfile extensions -out {name}.pem"
                ));
            }
        }
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(self.path()).output();
        let output = output.expect("openssl runs");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn manifest(&self, algorithm: &str) {
        let mut text = String::new();
        for name in ["a.ovf", "disk.vmdk"] {
            let program = format!("{algorithm}sum");
            let output = Command::new(&program).arg(name).current_dir(self.path()).output().expect("it runs");
            let digest = String::from_utf8(output.stdout).expect("UTF-8");
            let digest = digest.split(' ').next().expect("a digest").to_owned();
            text.push_str(&format!("{}({name})= {digest}\n", algorithm.to_uppercase()));
        }
        self.write("a.mf", text);
    }

    /// Signs the manifest by a certificate of this name.
    fn sign(&self, key: &str) {
        self.sign_by(key, "sha256");
    }

    fn sign_by(&self, key: &str, algorithm: &str) {
        self.openssl(&format!("dgst -{algorithm} -sign {key}.key -out signature a.mf"));
        let digits: String = fs::read(self.path().join("signature"))
            .expect("signed")
            .iter()
            .map(|it| format!("{it:02x}"))
            .collect();
        let certificate = fs::read_to_string(self.path().join(format!("{key}.pem"))).expect("made");
        self.write("a.cert", format!("{}(a.mf)= {digits}\n{certificate}", algorithm.to_uppercase()));
    }
}

const DISK: &[u8] = b"not much of a disk";

#[test]
fn a_package_with_nothing_wrong_is_left_alone() {
    let scratch = Scratch::new();
    for algorithm in ["sha256", "sha512"] {
        scratch.manifest(algorithm);
        assert_eq!(scratch.check(&["a.ovf"]), (vec![], Some(0)), "{algorithm}");
        let read = |name: &str| fs::read(scratch.path().join(name)).expect("written");
        let (a, b, c) = (read("a.ovf"), read("a.mf"), read("disk.vmdk"));
        let whole = whole_archive(&[("a.ovf", FILE, &a), ("./a.mf", FILE, &b), ("disk.vmdk", FILE, &c)]);
        scratch.write("a.ova", whole);
        assert_eq!(scratch.check(&["a.ova"]), (vec![], Some(0)), "{algorithm}");
    }
}

/// Archives of GNU tar and of POSIX's, with names longer than a header has room for.
#[test]
fn every_dialect_of_tar_is_read() {
    let long = format!("{}/disk.vmdk", "d".repeat(180));
    let scratch = Scratch::new();
    scratch.write("a.ovf", descriptor(DISK.len()).replace("disk.vmdk", &long));
    fs::create_dir(scratch.path().join("d".repeat(180))).expect("made");
    scratch.write(&long, DISK);
    for format in ["gnu", "posix"] {
        let output = Command::new("tar")
            .args([&format!("--format={format}"), "-cf", "a.ova", "a.ovf", &long])
            .current_dir(scratch.path())
            .output();
        assert!(output.expect("tar runs").status.success());
        assert_eq!(scratch.check(&["a.ova"]), (vec![], Some(0)), "{format}");
    }
}

/// What is done to an archive, and what is said of it.
type Broken<'a> = (&'a str, Vec<u8>, &'a str);

#[test]
fn broken_archives_are_refused() {
    let ovf = descriptor(DISK.len());
    let (ovf, disk) = (("a.ovf", FILE, ovf.as_bytes()), ("disk.vmdk", FILE, DISK));
    let whole = whole_archive(&[ovf, disk]);
    let mut flipped = whole.clone();
    flipped[3] ^= 1;
    let mut second = whole.clone();
    second[ovf.2.len().next_multiple_of(512) + 512 + 124] = b'x';
    let mut huge = archive(&[ovf, ("disk.vmdk", EntryType::GNULongName, &[b'x'; 70 << 10])]);
    huge.resize(huge.len() + 1024, 0);
    let cut = whole[..whole.len() - 1024 - 500].to_vec();
    let headless = whole[..ovf.2.len().next_multiple_of(512) + 512 + 100].to_vec();
    let entry = |name, kind| whole_archive(&[ovf, (name, kind, b"")]);
    let entry_of = |field: &str, kind| {
        whole_archive(&[ovf, ("fields", kind, field.as_bytes()), ("disk.vmdk", FILE, DISK)])
    };
    let cases: Vec<Broken<'_>> = vec![
        ("empty", vec![], "tar-no-end"),
        ("no end", archive(&[ovf, disk]), "tar-no-end"),
        ("cut inside a file", cut, "tar-truncated"),
        ("cut inside a header", headless, "tar-truncated"),
        ("changed", flipped, "tar-damaged"),
        ("changed later", second, "tar-damaged"),
        ("a name without end", huge, "tar-damaged"),
        ("a symbolic link", entry("disk.vmdk", EntryType::Symlink), "tar-entry-type"),
        ("a hard link", entry("disk.vmdk", EntryType::Link), "tar-entry-type"),
        ("a device", entry("disk.vmdk", EntryType::Char), "tar-entry-type"),
        ("a path upwards", whole_archive(&[ovf, ("../disk.vmdk", FILE, DISK)]), "path-traversal"),
        ("an absolute path", whole_archive(&[ovf, ("/disk.vmdk", FILE, DISK)]), "path-traversal"),
        ("twice", whole_archive(&[ovf, disk, ("./disk.vmdk", FILE, DISK)]), "tar-duplicate"),
        ("no descriptor", whole_archive(&[disk]), "no-descriptor"),
        ("two descriptors", whole_archive(&[ovf, ("b.ovf", FILE, ovf.2)]), "several-descriptors"),
        ("descriptor last", whole_archive(&[disk, ovf]), "descriptor-not-first"),
        ("more", whole_archive(&[ovf, disk, ("more", FILE, b"")]), "extra-file"),
        ("more behind the end", [whole, archive(&[("b", FILE, b"")])].concat(), "tar-behind-end"),
        ("one name for all", entry_of("10 path=a\n", EntryType::XGlobalHeader), "tar-damaged"),
        (
            "a sparse file of POSIX's",
            entry_of("22 GNU.sparse.major=1\n", EntryType::XHeader),
            "tar-entry-type",
        ),
        ("a size of 2^64", entry_of("29 size=18446744073709551616\n", EntryType::XHeader), "tar-damaged"),
        ("a size of 2^63", entry_of("28 size=9223372036854775808\n", EntryType::XHeader), "tar-truncated"),
        ("a name with a line's end", entry_of("12 path=a\nb\n", EntryType::XHeader), "tar-damaged"),
        ("a name upwards", entry_of("16 path=../../a\n", EntryType::XHeader), "path-traversal"),
        ("gzip", b"\x1f\x8b\x08\0 and more".repeat(99), "tar-damaged"),
        ("a file less", whole_archive(&[ovf]), "file-missing"),
        ("another name", whole_archive(&[ovf, ("disk1.vmdk", FILE, DISK)]), "file-missing"),
    ];
    let scratch = Scratch::new();
    let mut said = String::new();
    for (what, bytes, want) in &cases {
        scratch.write("a.ova", bytes);
        let (findings, _) = scratch.check(&["a.ova"]);
        assert!(codes(&findings.join("\n")).any(|code| code == *want), "{what}: {findings:?}");
        said.push_str(&format!("{what}\n  {}\n", findings.join("\n  ")));
    }
    kept(&fixtures().join("archives.txt"), &said);
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
}

/// What is done to the files of a package, and what is said of it.
type Spoiled = (&'static str, fn(&Scratch), &'static str);

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let cases: &[Spoiled] = &[
        ("no disk", |it| fs::remove_file(it.path().join("disk.vmdk")).expect("there"), "file-missing"),
        ("another size", |it| it.write("a.ovf", descriptor(1)), "file-size"),
        (
            "another disk",
            |it| {
                it.manifest("sha256");
                it.write("disk.vmdk", b"not MUCH of a disk");
            },
            "digest-mismatch",
        ),
        ("a line that is none", |it| it.write("a.mf", "SHA256 disk.vmdk\n"), "manifest-syntax"),
        (
            "a line twice",
            |it| {
                it.manifest("sha256");
                it.write("a.mf", fs::read_to_string(it.path().join("a.mf")).expect("there").repeat(2));
            },
            "manifest-duplicate",
        ),
        ("a line less", |it| it.write("a.mf", ""), "manifest-incomplete"),
        (
            "a line too many",
            |it| it.write("a.mf", format!("SHA1(disk1.vmdk)= {}\n", "0".repeat(40))),
            "manifest-missing-file",
        ),
        (
            "a line upwards",
            |it| it.write("a.mf", format!("SHA1(../disk.vmdk)= {}\n", "0".repeat(40))),
            "path-traversal",
        ),
        ("SHA-1", |it| it.manifest("sha1"), "digest-weak"),
        ("a certificate alone", |it| it.write("a.cert", ""), "certificate-without-manifest"),
        (
            "a certificate that is none",
            |it| {
                it.manifest("sha256");
                it.write("a.cert", "hello\n");
            },
            "certificate-syntax",
        ),
        (
            "a link out of the package",
            |it| {
                fs::remove_file(it.path().join("disk.vmdk")).expect("there");
                symlink("/etc/passwd", it.path().join("disk.vmdk")).expect("made");
            },
            "path-traversal",
        ),
        (
            "a directory",
            |it| {
                fs::remove_file(it.path().join("disk.vmdk")).expect("there");
                fs::create_dir(it.path().join("disk.vmdk")).expect("made");
            },
            "unreadable",
        ),
        (
            "a pipe that nobody writes to",
            |it| {
                fs::remove_file(it.path().join("disk.vmdk")).expect("there");
                mkfifo(&it.path().join("disk.vmdk"));
            },
            "unreadable",
        ),
        (
            "a link that the manifest names",
            |it| {
                it.manifest("sha256");
                fs::remove_file(it.path().join("disk.vmdk")).expect("there");
                symlink("/etc/passwd", it.path().join("disk.vmdk")).expect("made");
            },
            "path-traversal",
        ),
        (
            "texts in a pipe",
            |it| {
                fs::remove_file(it.path().join("disk.vmdk")).expect("there");
                mkfifo(&it.path().join("disk.vmdk"));
                it.write(
                    "a.ovf",
                    descriptor(4).replace("</Envelope>", "<Strings ovf:fileRef=\"file\"/></Envelope>"),
                );
            },
            "unreadable",
        ),
        (
            "texts without end",
            |it| {
                it.write(
                    "a.ovf",
                    descriptor(1 << 30).replace("</Envelope>", "<Strings ovf:fileRef=\"file\"/></Envelope>"),
                );
                fs::File::options()
                    .write(true)
                    .open(it.path().join("disk.vmdk"))
                    .and_then(|it| it.set_len(1 << 30))
                    .expect("grown");
            },
            "too-large",
        ),
        ("a manifest that is a pipe", |it| mkfifo(&it.path().join("a.mf")), "unreadable"),
        (
            "a link to a device",
            |it| {
                fs::remove_file(it.path().join("disk.vmdk")).expect("there");
                symlink("/dev/zero", it.path().join("disk.vmdk")).expect("made");
            },
            "path-traversal",
        ),
        (
            "a directory that leads out",
            |it| {
                it.write("a.ovf", descriptor(DISK.len()).replace("disk.vmdk", "d/passwd"));
                symlink("/etc", it.path().join("d")).expect("made");
            },
            "path-traversal",
        ),
        (
            "a link in a circle",
            |it| {
                fs::remove_file(it.path().join("disk.vmdk")).expect("there");
                symlink("disk.vmdk", it.path().join("disk.vmdk")).expect("made");
            },
            "unreadable",
        ),
        (
            "a large descriptor",
            |it| {
                fs::File::options()
                    .write(true)
                    .open(it.path().join("a.ovf"))
                    .and_then(|it| it.set_len(1 << 30))
                    .expect("grown")
            },
            "too-large",
        ),
        (
            "a bundle that is none",
            |it| {
                it.write("disk.vmdk", "<a/>");
                it.write(
                    "a.ovf",
                    descriptor(4).replace("</Envelope>", "<Strings ovf:fileRef=\"file\"/></Envelope>"),
                );
            },
            "bundle-malformed",
        ),
        ("no such language", |_| {}, "language-missing"),
        ("no descriptor", |it| fs::remove_file(it.path().join("a.ovf")).expect("there"), "unreadable"),
    ];
    let mut said = String::new();
    for (what, change, want) in cases {
        let scratch = Scratch::new();
        change(&scratch);
        let (findings, _) = scratch.check(&["a.ovf", "--lang", "de"]);
        assert!(codes(&findings.join("\n")).any(|code| code == *want), "{what}: {findings:?}");
        let findings: Vec<_> = findings
            .iter()
            .filter(|it| *want == "language-missing" || !it.contains("language-missing"))
            .collect();
        said.push_str(&format!("{what}\n"));
        for finding in findings {
            said.push_str(&format!("  {finding}\n"));
        }
    }
    kept(&fixtures().join("files.txt"), &said);
}

#[test]
fn pieces_of_a_file_are_put_together() {
    let scratch = Scratch::new();
    let text = descriptor(DISK.len()).replace("ovf:href=", "ovf:chunkSize=\"10\" ovf:href=");
    scratch.write("a.ovf", text);
    scratch.write("disk.vmdk.000000000", &DISK[..10]);
    scratch.write("disk.vmdk.000000001", &DISK[10..]);
    assert_eq!(scratch.check(&["a.ovf"]), (vec![], Some(0)));
    scratch.write("disk.vmdk.000000001", b"");
    let (findings, status) = scratch.check(&["a.ovf"]);
    assert_eq!((codes(&findings.join("\n")).collect::<Vec<_>>(), status), (vec!["file-size"], Some(78)));
}

/// What is asked for, in the language of a bundle that stands in the descriptor, is a file of the package, or has a text that is one.
#[test]
fn texts_are_shown_in_the_language_that_is_asked_for() {
    let scratch = Scratch::new();
    let own = "<ProductSection><Info>P</Info><Property ovf:key=\"ip\" ovf:type=\"string\" ovf:userConfigurable=\"true\">\
               <Label ovf:msgid=\"ip.label\">Address</Label><Description ovf:msgid=\"ip.description\">Of the service</Description>\
               </Property></ProductSection></VirtualSystem>\
               <Strings xml:lang=\"da-DK\"><Msg ovf:msgid=\"ip.label\">Adresse</Msg>\
               <Msg ovf:msgid=\"ip.description\" ovf:fileRef=\"text\"/></Strings>\
               <Strings xml:lang=\"de-DE\" ovf:fileRef=\"de\"/></Envelope>";
    let files = "</References>";
    let text = descriptor(DISK.len()).replacen("</VirtualSystem>\n</Envelope>", own, 1);
    assert!(text.contains("da-DK"), "{text}");
    let more = "<File ovf:id=\"de\" ovf:href=\"de.xml\"/><File ovf:id=\"text\" ovf:href=\"da/ip.txt\"/></References>";
    scratch.write("a.ovf", text.replacen(files, more, 1));
    fs::create_dir(scratch.path().join("da")).expect("made");
    scratch.write("da/ip.txt", "Tjenestens\n");
    let bundle = |namespace: &str, root: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns:ovf=\"{namespace}\" xmlns=\"{namespace}\" xml:lang=\"de-DE\">\
             <Msg ovf:msgid=\"ip.label\">Anschrift</Msg><Msg ovf:msgid=\"ip.description\">Des Dienstes</Msg></{root}>\n"
        )
    };
    for (namespace, root) in [
        ("http://schemas.dmtf.org/ovf/envelope/1", "Strings"),
        ("http://schemas.dmtf.org/ovf/strings/1", "Bundle"),
    ] {
        scratch.write("de.xml", bundle(namespace, root));
        for (language, want) in [
            ("de-DE", "property ip of vm: Anschrift: Des Dienstes"),
            ("de", "property ip of vm: Anschrift: Des Dienstes"),
            ("da-DK", "property ip of vm: Adresse: Tjenestens"),
            ("fr", "property ip of vm: Address: Of the service"),
        ] {
            let (text, status) = answer(scratch.path(), &["check", "a.ovf", "--lang", language]);
            assert!(text.lines().any(|line| line.trim() == want), "{language}: {text}");
            let found: Vec<_> = codes(&text).collect();
            let wanted = if language == "fr" { vec!["language-missing"] } else { vec![] };
            assert_eq!((found, status), (wanted, Some(0)), "{language}: {text}");
        }
    }
}

/// A Category is of the properties behind it.
#[test]
fn properties_have_their_categories() {
    let scratch = Scratch::new();
    let property = |key: &str| {
        format!("<Property ovf:key=\"{key}\" ovf:type=\"real32\" ovf:userConfigurable=\"true\"/>")
    };
    let own = format!(
        "<ProductSection><Info>P</Info>{}<Category>Net</Category>{}{}<Category>Rest</Category>{}</ProductSection></VirtualSystem>\n</Envelope>",
        property("a"),
        property("b"),
        property("c"),
        property("d")
    );
    scratch.write("a.ovf", descriptor(DISK.len()).replacen("</VirtualSystem>\n</Envelope>", &own, 1));
    let (text, _) = answer(scratch.path(), &["check", "a.ovf", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let all = said["package"]["entities"][0]["properties"].as_array().expect("a list");
    let categories: Vec<_> = all.iter().map(|it| it["category"].as_str()).collect();
    assert_eq!(categories, [None, Some("Net"), Some("Net"), Some("Rest")]);
    assert!(all.iter().all(|it| it["type"] == "real32"), "{text}");
}

/// What is wrong with texts is said wherever they are.
#[test]
fn texts_in_files_are_compared_as_well() {
    let scratch = Scratch::new();
    let own = "<Name ovf:msgid=\"vm.name\">A</Name></VirtualSystem><Strings xml:lang=\"fr\" ovf:fileRef=\"fr\"/>\
               <Strings><Msg ovf:msgid=\"other\">Andere</Msg></Strings></Envelope>";
    let text = descriptor(DISK.len()).replacen("</VirtualSystem>\n</Envelope>", own, 1);
    let text = text.replacen("</References>", "<File ovf:id=\"fr\" ovf:href=\"fr.xml\"/></References>", 1);
    scratch.write("a.ovf", text.replacen("<Envelope ", "<Envelope xml:lang=\"en-US\" ", 1));
    scratch.write(
        "fr.xml",
        "<Strings xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\" xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" xml:lang=\"de\">\n\
         <Msg ovf:msgid=\"vm.nam\">A</Msg>\n<Msg ovf:msgid=\"vm.nam\">B</Msg></Strings>\n",
    );
    let (findings, _) = scratch.check(&["a.ovf", "--lang", "en"]);
    let of_file: Vec<_> = findings.iter().filter(|it| it.starts_with("fr.xml:")).collect();
    let want = [
        "fr.xml:1:1: note: the texts say that they are in `de`, and the descriptor that they are in `fr`; ",
        "fr.xml:1:1: note: `fr` lacks 1 of 1 texts, `vm.name` the first; ",
        "fr.xml:2:17: note: nothing uses the text `vm.nam`; `vm.name` was probably meant [message-unused]",
        "fr.xml:3:17: note: the text `vm.nam` is there already; remove one [message-duplicate]",
    ];
    assert_eq!(of_file.len(), want.len(), "{findings:?}");
    for (found, want) in of_file.iter().zip(want) {
        assert!(found.starts_with(want), "{found}");
    }
    let of_nobody =
        findings.iter().any(|it| it.contains("note: a bundle without a language lacks 1 of 1 texts"));
    assert!(of_nobody && !findings.iter().any(|it| it.contains("language-missing")), "{findings:?}");
    assert!(findings.iter().any(|it| it.ends_with("[bundle-language]")), "{findings:?}");
}

#[test]
fn a_signature_is_one_or_is_none() {
    let scratch = Scratch::new();
    scratch.manifest("sha256");
    let make = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj";
    for name in ["maker", "other"] {
        scratch.openssl(&format!("{make} /CN={name} -keyout {name}.key -out {name}.pem"));
    }
    let codes_of = |arguments: &[&str]| {
        let (findings, status) = scratch.check(arguments);
        (codes(&findings.join("\n")).map(str::to_owned).collect::<Vec<_>>(), status)
    };
    let one = |code: &str, status| (vec![code.to_owned()], Some(status));
    scratch.sign("maker");
    assert_eq!(codes_of(&["a.ovf", "--ca", "maker.pem"]), (vec![], Some(0)));
    assert_eq!(codes_of(&["a.ovf"]), one("signer-unknown", 0));
    assert_eq!(codes_of(&["a.ovf", "--ca", "other.pem"]), one("signer-untrusted", 78));
    // Where it cannot be told who is trusted, nothing is judged.
    scratch.write("none.pem", "");
    assert_eq!(codes_of(&["a.ovf", "--ca", "none.pem"]), one("unreadable", 1));
    assert_eq!(codes_of(&["a.ovf", "--ca", "not-there.pem"]), one("unreadable", 1));

    for algorithm in ["sha1", "sha512", "sha256"] {
        scratch.sign_by("maker", algorithm);
        assert_eq!(codes_of(&["a.ovf", "--ca", "maker.pem"]), (vec![], Some(0)), "{algorithm}");
    }

    // Another's signature under the maker's certificate.
    let signed = fs::read_to_string(scratch.path().join("a.cert")).expect("signed");
    scratch.sign("other");
    let forged = fs::read_to_string(scratch.path().join("a.cert")).expect("signed");
    let line = forged.lines().next().expect("a line");
    scratch.write("a.cert", signed.replacen(signed.lines().next().expect("a line"), line, 1));
    assert_eq!(codes_of(&["a.ovf", "--ca", "maker.pem"]), one("signature-invalid", 78));

    // The maker's signature, and a manifest that was changed afterwards.
    scratch.write("a.cert", &signed);
    let manifest = fs::read_to_string(scratch.path().join("a.mf")).expect("made");
    scratch.write("a.mf", format!("{manifest}\n"));
    assert_eq!(codes_of(&["a.ovf", "--ca", "maker.pem"]), one("signature-invalid", 78));
    scratch.write("a.mf", manifest);

    // Without openssl nobody can tell.
    let output = Command::new(env!("CARGO_BIN_EXE_ovf-host"))
        .args(["check", "a.ovf"])
        .current_dir(scratch.path())
        .env("PATH", scratch.path())
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(
        (codes(&text).collect::<Vec<_>>(), output.status.code()),
        (vec!["signature-unverified"], Some(0))
    );
    let output = Command::new(env!("CARGO_BIN_EXE_ovf-host"))
        .args(["check", "a.ovf", "--ca", "maker.pem"])
        .current_dir(scratch.path())
        .env("PATH", scratch.path())
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let found: Vec<_> = codes(&text).collect();
    assert_eq!((found, output.status.code()), (vec!["unsigned", "signature-unverified"], Some(78)));

    // What this machine keeps openssl from is no pass either.
    scratch.write("a.cert", forged);
    for more in [&[][..], &["--ca", "maker.pem"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_ovf-host"))
            .args(["check", "a.ovf"])
            .args(more)
            .current_dir(scratch.path())
            .env("TMPDIR", "/no/such")
            .output()
            .expect("it runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let want = "a.cert:1:1: error: the signature could not be verified: temporary files cannot be written in `/no/such`: \
                    No such file or directory (os error 2); name another directory by TMPDIR [unreadable]\n";
        assert!(text.starts_with(want) && output.status.code() == Some(1), "{more:?}: {text}");
    }
}

/// What a manifest of digests that are not read lacks is not its lines.
#[test]
fn digests_that_are_not_read_are_named() {
    let scratch = Scratch::new();
    scratch.certificate("maker", None);
    for (algorithm, shown) in [("md5", "MD5"), ("sha384", "SHA384")] {
        scratch.manifest(algorithm);
        let line = |at| {
            format!(
                "a.mf:{at}:1: error: digests by `{shown}` are not read, only SHA256, SHA512 and SHA1; take SHA256 [manifest-syntax]"
            )
        };
        assert_eq!(scratch.check(&["a.ovf"]), (vec![line(1), line(2)], Some(78)));
        scratch.sign("maker");
        let (text, status) = answer(scratch.path(), &["env", "a.ovf", "--ca", "maker.pem"]);
        let want = "`a.ovf` has no line here that is understood, so nobody has signed it";
        assert!(text.contains(want) && status == Some(78), "{text}");
        fs::remove_file(scratch.path().join("a.cert")).expect("made");
    }
}

/// Whoever asks for a signature does not take what has none.
#[test]
fn what_nobody_signed_is_not_taken_where_a_signature_is_asked_for() {
    let scratch = Scratch::new();
    scratch.certificate("maker", None);
    let (text, status) = answer(scratch.path(), &["check", "a.ovf"]);
    assert!(status == Some(0) && text.contains("[manifest-missing]"), "{text}");
    let said = |arguments: &[&str]| {
        let (findings, status) = scratch.check(arguments);
        (codes(&findings.join("\n")).map(str::to_owned).collect::<Vec<_>>(), status)
    };
    let asked = ["a.ovf", "--ca", "maker.pem"];
    let unsigned = (vec!["unsigned".to_owned()], Some(78));
    assert_eq!(said(&asked), unsigned, "without a manifest");
    scratch.manifest("sha256");
    assert_eq!(said(&asked), unsigned, "without a certificate");
    scratch.sign("maker");
    assert_eq!(said(&asked), (vec![], Some(0)));
    // A signature of a manifest says nothing of a file that is not in it.
    let manifest = fs::read_to_string(scratch.path().join("a.mf")).expect("made");
    scratch.write("a.mf", manifest.lines().next().expect("the descriptor's").to_owned() + "\n");
    scratch.sign("maker");
    assert_eq!(said(&asked), unsigned, "a disk that is not in the manifest");

    let (text, status) =
        answer(scratch.path(), &["check", "a.ovf", "--ca", "maker.pem", "--descriptor-only"]);
    assert!(status == Some(64) && text.contains("'--descriptor-only'"), "{status:?}: {text}");
}

/// A signer whom an authority vouches for, with and without the one between them.
#[test]
fn authorities_vouch_for_signers() {
    let scratch = Scratch::new();
    scratch.manifest("sha256");
    for (name, by) in [("root", None), ("between", Some("root")), ("leaf", Some("between")), ("other", None)]
    {
        scratch.certificate(name, by);
    }
    let pem = |name: &str| fs::read_to_string(scratch.path().join(format!("{name}.pem"))).expect("made");
    scratch.sign("leaf");
    let alone = fs::read_to_string(scratch.path().join("a.cert")).expect("signed");
    for (what, certificate, trusted) in [
        ("a chain", format!("{alone}{}", pem("between")), &["root", "between", "leaf"][..]),
        ("the signer alone", alone, &["between", "leaf"]),
    ] {
        scratch.write("a.cert", certificate);
        for name in ["root", "between", "leaf", "other"] {
            let (findings, status) = scratch.check(&["a.ovf", "--ca", &format!("{name}.pem")]);
            match trusted.contains(&name) {
                true => assert_eq!((findings, status), (vec![], Some(0)), "{what}, {name}"),
                false => {
                    let found: Vec<_> = findings.iter().flat_map(|it| codes(it)).collect();
                    assert_eq!((found, status), (vec!["signer-untrusted"], Some(78)), "{what}, {name}");
                    assert!(findings[0].contains("issuer certificate"), "{what}, {name}: {findings:?}");
                }
            }
        }
    }
    for (arguments, trusted) in [
        (&["check", "a.ovf", "--json"][..], serde_json::Value::Null),
        (&["check", "a.ovf", "--json", "--ca", "leaf.pem"], true.into()),
        (&["check", "a.ovf", "--json", "--ca", "other.pem"], false.into()),
    ] {
        let (text, _) = answer(scratch.path(), arguments);
        let said: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(said["signer"], serde_json::json!({ "subject": "CN=leaf", "trusted": trusted }), "{text}");
    }
}

/// Environments are made of a descriptor, which is what its maker wrote.
#[test]
fn environments_are_not_made_of_what_was_changed() {
    let scratch = Scratch::new();
    for name in ["maker", "other"] {
        scratch.certificate(name, None);
    }
    let env = |more: &[&str]| {
        let (text, status) = answer(scratch.path(), &[&["env", "a.ovf"], more].concat());
        (codes(&text).map(str::to_owned).collect::<Vec<_>>(), status)
    };
    let one = |code: &str, status| (vec![code.to_owned()], Some(status));
    assert_eq!(env(&[]), (vec![], Some(0)));
    assert_eq!(env(&["--ca", "maker.pem"]), one("unsigned", 78));
    scratch.manifest("sha256");
    scratch.sign("maker");
    assert_eq!(env(&["--ca", "maker.pem"]), (vec![], Some(0)));
    assert_eq!(env(&["--ca", "other.pem"]), one("signer-untrusted", 78));
    assert_eq!(env(&["--ca", "not-there.pem"]), one("unreadable", 1));
    // A disk is looked at by `check`, and one that is not there is said.
    scratch.write("disk.vmdk", DISK.to_ascii_uppercase());
    assert_eq!(env(&["--ca", "maker.pem"]), (vec![], Some(0)));
    fs::remove_file(scratch.path().join("disk.vmdk")).expect("there");
    let (text, status) = answer(scratch.path(), &["env", "a.ovf"]);
    assert!(status == Some(0) && text.contains("errors that environments do not depend on"), "{text}");
    scratch.write("a.ovf", descriptor(DISK.len()).replace("A machine", "Another machine"));
    assert_eq!(env(&[]), one("digest-mismatch", 78));
    assert_eq!(env(&["--ca", "maker.pem"]), one("digest-mismatch", 78));
}

/// What is wrong with hardware alone is no guest's to know.
/// Of two roots, nobody is given the environment of the one that happens to be first.
#[test]
fn of_two_roots_no_environment_is_made() {
    for id in [&["--id", "b"][..], &[]] {
        let (text, status) = answer(&fixtures(), &[&["env", "two-roots.ovf"], id].concat());
        assert_eq!(
            (codes(&text).collect::<Vec<_>>(), status),
            (vec!["several-roots"; 2], Some(78)),
            "{text}"
        );
    }
}

#[test]
fn environments_do_not_depend_on_hardware() {
    for (from, to) in [
        ("<rasd:ResourceType>17", "<rasd:VirtualQuantity>lots</rasd:VirtualQuantity><rasd:ResourceType>17"),
        ("ovf:capacity=\"1048576\"", "ovf:capacity=\"big\""),
        ("ovf:capacity=\"1048576\"", "ovf:capacity=\"${none}\""),
        ("ovf:size=\"18\"", "ovf:size=\"abc\""),
        ("<Item>", "<Item ovf:configuration=\"none\">"),
    ] {
        let scratch = Scratch::new();
        let text = descriptor(DISK.len());
        assert!(text.contains(from), "{from}");
        scratch.write("a.ovf", text.replace(from, to));
        assert_eq!(scratch.check(&["a.ovf"]).1, Some(78), "{to}");
        let (text, status) = answer(scratch.path(), &["env", "a.ovf"]);
        assert!(
            status == Some(0) && text.contains("errors that environments do not depend on"),
            "{to}: {text}"
        );
    }
}

/// Whoever is out of date still has signed, and it is said.
#[test]
fn an_old_certificate_is_said_to_be_old() {
    let scratch = Scratch::new();
    scratch.manifest("sha256");
    scratch.openssl("req -newkey rsa:2048 -nodes -subj /CN=old -keyout old.key -out old.csr");
    scratch.write("index", "");
    scratch.write("ca.conf", "[ca]\ndefault_ca=a\n[a]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\npolicy=p\ndefault_md=sha256\n[p]\ncommonName=supplied\n");
    scratch.openssl(
        "ca -batch -config ca.conf -selfsign -keyfile old.key -in old.csr -out old.pem -notext \
         -startdate 20200101000000Z -enddate 20200102000000Z",
    );
    scratch.sign("old");
    let (findings, status) = scratch.check(&["a.ovf"]);
    let found: Vec<_> = codes(&findings.join("\n")).map(str::to_owned).collect();
    assert_eq!((found, status), (vec!["signer-expired".to_owned(), "signer-unknown".to_owned()], Some(0)));
}

/// Every kind of finding is in one of the texts that are kept, or in a test that looks for it by name.
#[test]
fn every_kind_of_finding_is_seen() {
    let mut seen =
        BTreeSet::from(["manifest-missing", "message-duplicate", "bundle-language"].map(str::to_owned));
    for entry in fs::read_dir(fixtures()).expect("fixtures") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|it| it == "txt") {
            let text = fs::read_to_string(path).expect("UTF-8");
            seen.extend(codes(&text).map(str::to_owned));
        }
    }
    let tests = [
        include_str!("findings.rs"),
        include_str!("environments.rs"),
        include_str!("appliances.rs"),
        include_str!("types.rs"),
        include_str!("packing.rs"),
        include_str!("hostile.rs"),
    ]
    .concat();
    for code in Code::ALL {
        let name = code.as_str();
        assert!(seen.contains(name) || tests.contains(&format!("\"{name}\"")), "{name} is seen nowhere");
    }
}

#[test]
fn the_documentation_lists_every_kind() {
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/host.md"))
        .expect("it is there");
    let listed: Vec<_> = docs
        .lines()
        .skip_while(|line| *line != "## Findings")
        .filter(|line| line.starts_with("| `"))
        .collect();
    let row =
        |code: &Code| format!("| `{}` | {} | {} |", code.as_str(), code.severity().as_str(), code.meaning());
    for (number, code) in Code::ALL.iter().enumerate() {
        assert_eq!(listed.get(number).copied(), Some(row(code).as_str()), "docs/host.md");
    }
    assert_eq!(listed.len(), Code::ALL.len());
}
