//! The packages as machines and people get them: what is in them, what they leave, and what their judges say.
//!
//! They are built first, from the static programs that `make static host` makes, by the tools that `make deb rpm` fetches. Nothing
//! is installed but into directories that go away. The platform's half takes a minute and a half to build and is packed as the agent
//! is, so its packages are judged in the long runs alone (`OVF_TEST_LONG=1`).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether they are built. One test builds them again; nobody reads them meanwhile.
static PACKAGES: Mutex<bool> = Mutex::new(false);

/// The packages that are built.
fn names() -> &'static [&'static str] {
    if is_long() { &["ovf-agent", "ovf-host"] } else { &["ovf-agent"] }
}

fn is_long() -> bool {
    std::env::var_os("OVF_TEST_LONG").is_some()
}

fn hold() -> MutexGuard<'static, bool> {
    let mut held = PACKAGES.lock().unwrap_or_else(PoisonError::into_inner);
    if !*held {
        for name in names() {
            said("sh", &["-c", "packaging/deb/build $0 && packaging/rpm/build $0", name]);
        }
        *held = true;
    }
    held
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// This machine's package of this name, `deb` or `rpm`.
fn package(name: &str, ending: &str) -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    let (deb, rpm) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", "x86_64"),
        "aarch64" => ("arm64", "aarch64"),
        other => panic!("packages for {other} are not built here"),
    };
    let path = top().join("target/package").join(match ending {
        "deb" => format!("{name}_{version}-1_{deb}.deb"),
        _ => format!("{name}-{version}-1.{rpm}.rpm"),
    });
    assert!(path.exists(), "there is no {}", path.display());
    path
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(top())
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; packaging/deps package package-readers"))
}

/// What it prints, where it succeeds.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of ours are text")
}

/// Files below a directory, as `-rw-r--r-- /usr/bin/x`.
fn files(root: &Path) -> BTreeSet<String> {
    said("find", &[text(root), "-type", "f", "-printf", "%M /%P\n"]).lines().map(str::to_owned).collect()
}

#[test]
fn deb_and_rpm_and_make_install_bring_the_same_files() {
    let _held = hold();
    for name in names() {
        bring_the_same_files(name);
    }
}

fn bring_the_same_files(name: &str) {
    let deb: BTreeSet<String> = said("dpkg-deb", &["--contents", text(&package(name, "deb"))])
        .lines()
        .filter(|line| line.starts_with('-'))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert!(["0/0", "root/root"].contains(&words[1]), "{line}");
            format!("{} {}", words[0], words[5].trim_start_matches('.'))
        })
        .collect();
    let form = "[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES}\n]";
    let rpm: BTreeSet<String> = said("rpm", &["-qp", "--qf", form, text(&package(name, "rpm"))])
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words[1], "root/root", "{line}");
            format!("{} {}", words[0], words[2])
        })
        .collect();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    said("packaging/install", &[name, text(scratch.path())]);
    let installed = files(scratch.path());

    // Debian's zsh looks for completions in a directory of its own.
    let deb: BTreeSet<String> =
        deb.iter().map(|line| line.replace("/zsh/vendor-completions/", "/zsh/site-functions/")).collect();
    let only = |these: &BTreeSet<String>| these.difference(&installed).cloned().collect::<Vec<_>>();
    assert_eq!(
        only(&deb),
        [
            format!("-rw-r--r-- /usr/share/doc/{name}/changelog.Debian.gz"),
            format!("-rw-r--r-- /usr/share/lintian/overrides/{name}")
        ]
    );
    assert_eq!(only(&rpm), [format!("-rw-r--r-- /usr/share/licenses/{name}/LICENSE")]);
    assert!(installed.is_subset(&deb), "{installed:#?}\n{deb:#?}");
    // Nothing that is made of .rpm has initramfs-tools.
    let missing: Vec<_> = installed.difference(&rpm).collect();
    assert_eq!(missing.len(), if name == "ovf-agent" { 2 } else { 0 }, "{missing:?}");
    assert!(
        missing.iter().all(|line| line.starts_with("-rwxr-xr-x /usr/share/initramfs-tools/")),
        "{missing:?}"
    );
    assert!(installed.contains(&format!("-rwxr-xr-x /usr/bin/{name}")));
    let dracut = "-rwxr-xr-x /usr/lib/dracut/modules.d/50ovf-agent/module-setup.sh";
    assert_eq!(installed.contains(dracut), name == "ovf-agent");

    said("packaging/install", &["--remove", name, text(scratch.path())]);
    assert_eq!(files(scratch.path()), BTreeSet::new());
    let ours = said("find", &[text(scratch.path()), "-path", &format!("*/*{name}*")]);
    assert_eq!(ours, "", "uninstall leaves directories");
}

#[test]
fn every_unit_and_page_that_there_is_gets_installed() {
    let _held = hold();
    let mut tree = BTreeSet::new();
    for name in names() {
        tree.extend(files(&top().join("target/package").join(name).join("tree")));
    }
    let has = |path: &str| tree.iter().any(|line| line.ends_with(path));
    let systemd = top().join("systemd");
    if systemd.exists() {
        for line in files(&systemd) {
            let path = format!("/usr/lib/systemd{}", line.split_once(' ').expect("mode and path").1);
            assert!(has(&path), "{path} is not in {tree:#?}");
        }
    }
    let of_the_agent = [
        "man8/ovf-agent.8.gz",
        "man5/ovf-agent.toml.5.gz",
        "man5/ovf-agent-template.5.gz",
        "man7/ovf-agent-protocol.7.gz",
    ];
    let of_the_host = ["man1/ovf-host.1.gz", "man7/ovf-host-reference.7.gz", "man7/ovf-host-packing.7.gz"];
    for page in of_the_agent.iter().chain(of_the_host.iter().filter(|_| is_long())) {
        assert!(has(page), "{page} is not in {tree:#?}");
    }
}

/// A directory that dpkg takes for a machine.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        for directory in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"] {
            fs::create_dir_all(scratch.path().join(directory)).expect("a scratch machine");
        }
        for file in ["var/lib/dpkg/status", "var/lib/dpkg/available"] {
            fs::write(scratch.path().join(file), "").expect("a scratch machine");
        }
        Self(scratch)
    }

    fn dpkg(&self, arguments: &[&str]) -> String {
        let root = format!("--root={}", self.0.path().display());
        let log = format!("--log={}/dpkg.log", self.0.path().display());
        let always = [&root, &log, "--force-not-root", "--force-script-chrootless"];
        said("dpkg", &[&always, arguments].concat())
    }
}

#[test]
fn the_platforms_deb_recommends_what_it_runs_and_leaves_nothing() {
    let _held = hold();
    if !is_long() {
        return;
    }
    let deb = package("ovf-host", "deb");
    for (field, want) in [("Depends", ""), ("Recommends", "openssl, qemu-utils"), ("Suggests", "ovf-agent")] {
        assert_eq!(said("dpkg-deb", &["--field", text(&deb), field]).trim(), want, "{field}");
    }
    let machine = Machine::new();
    machine.dpkg(&["--install", text(&deb)]);
    let root = machine.0.path();
    let version = said(text(&root.join("usr/bin/ovf-host")), &["--version"]);
    assert_eq!(version.trim(), format!("ovf-host {}", env!("CARGO_PKG_VERSION")));
    machine.dpkg(&["--purge", "ovf-host"]);
    let left = said("find", &[text(root), "-path", "*ovf-host*"]);
    assert_eq!(left, "", "purging leaves files");
}

#[test]
fn the_deb_asks_for_nothing_and_leaves_nothing() {
    let _held = hold();
    let deb = package("ovf-agent", "deb");
    for field in ["Depends", "Pre-Depends", "Recommends"] {
        assert_eq!(said("dpkg-deb", &["--field", text(&deb), field]).trim(), "", "{field}");
    }
    let machine = Machine::new();
    let root = machine.0.path();
    fs::create_dir_all(root.join("var/lib/ovf-agent")).expect("a scratch machine");
    let dpkg = |arguments: &[&str]| machine.dpkg(arguments);
    dpkg(&["--install", text(&deb)]);
    let version = said(text(&root.join("usr/bin/ovf-agent")), &["--version"]);
    assert_eq!(version.trim(), format!("ovf-agent {}", env!("CARGO_PKG_VERSION")));
    let conffiles = dpkg(&["--status", "ovf-agent"]);
    assert!(conffiles.contains("\n /etc/ovf-agent/README "), "{conffiles}");

    // The one unit that the preset names starts at boot, and whoever has switched it off is not asked again.
    let links = || said("find", &[text(&root.join("etc/systemd")), "-type", "l", "-printf", "%P %l\n"]);
    let enabled = "system/sysinit.target.wants/ovf-agent.service /lib/systemd/system/ovf-agent.service\n";
    assert_eq!(links().replace(" /usr/lib/", " /lib/"), enabled);
    fs::remove_file(root.join("etc/systemd/system/sysinit.target.wants/ovf-agent.service"))
        .expect("disabling");
    dpkg(&["--install", text(&deb)]);
    assert_eq!(links(), "", "an upgrade enables what was disabled");

    // What the agent keeps survives the package's removal and an upgrade, but no purge.
    let state = root.join("var/lib/ovf-agent/state.json");
    fs::write(&state, "{}").expect("a state");
    dpkg(&["--install", text(&deb)]);
    dpkg(&["--remove", "ovf-agent"]);
    assert!(state.exists() && root.join("etc/ovf-agent/README").exists());
    assert!(!root.join("usr/bin/ovf-agent").exists());
    // A new beginning; and removing leaves nothing that would point nowhere.
    dpkg(&["--install", text(&deb)]);
    assert_eq!(links().replace(" /usr/lib/", " /lib/"), enabled);
    dpkg(&["--remove", "ovf-agent"]);
    assert_eq!(links(), "", "removing leaves links");
    dpkg(&["--purge", "ovf-agent"]);
    let left = said("find", &[text(root), "-path", "*ovf-agent*"]);
    assert_eq!(left, "", "purging leaves files");
}

#[test]
fn the_rpms_ask_for_a_shell_at_most() {
    let _held = hold();
    for name in names() {
        let asked = said("rpm", &["-qp", "--requires", text(&package(name, "rpm"))]);
        // Each scriptlet asks for it.
        let is_other = |line: &&str| !line.starts_with("rpmlib(") && !line.starts_with("config(");
        let asked: BTreeSet<&str> = asked.lines().filter(is_other).collect();
        let want: &[&str] = if *name == "ovf-agent" { &["/bin/sh"] } else { &[] };
        assert_eq!(asked, want.iter().copied().collect(), "{name}");
        said("rpm", &["--checksig", "--nosignature", text(&package(name, "rpm"))]);
    }
}

#[test]
fn the_same_source_makes_the_same_bytes() {
    let _held = hold();
    for name in names() {
        let read = |ending| fs::read(package(name, ending)).expect("a package");
        let (deb, rpm) = (read("deb"), read("rpm"));
        // Another day, another mask, another time zone, and the same files with other dates.
        let again = "umask 077; export TZ=Pacific/Auckland LANG=C HOME=${HOME-/}; \
             packaging/deb/build $0 && packaging/rpm/build $0";
        said("sh", &["-c", again, name]);
        assert!(read("deb") == deb, "the .deb of {name} is another one");
        assert!(read("rpm") == rpm, "the .rpm of {name} is another one");
        let program = top().join("target/package").join(name).join("tree/usr/bin").join(name);
        let mode = fs::metadata(program).expect("the program").permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }
}

#[test]
fn lintian_and_rpmlint_have_nothing_to_say() {
    let _held = hold();
    let fail = "--fail-on=error,warning";
    for name in names() {
        let lintian =
            said("lintian", &["--allow-root", "--tag-display-limit=0", fail, text(&package(name, "deb"))]);
        assert_eq!(lintian.lines().filter(|line| !line.starts_with("N:")).count(), 0, "{lintian}");
        let rpmlint = said("rpmlint", &["-c", "packaging/rpm/rpmlint.toml", text(&package(name, "rpm"))]);
        assert!(rpmlint.contains(" 0 errors, 0 warnings"), "{rpmlint}");
    }
}

#[test]
fn mandoc_has_nothing_to_say_of_the_pages() {
    let _held = hold();
    for name in names() {
        let texts = top().join("target/package").join(name).join("texts/man");
        let pages = said("find", &[text(&texts), "-type", "f"]);
        assert!(pages.lines().count() >= 4, "{pages}");
        for page in pages.lines() {
            // Style: a line of over 80 bytes, in an example or the one line that a summary has.
            assert_eq!(said("mandoc", &["-Tlint", "-Wwarning", page]), "", "{page}");
        }
    }
}

#[test]
fn shells_complete_commands_and_options() {
    let _held = hold();
    let of_the_agent = [
        ("ovf-agent sta", "status"),
        ("ovf-agent status --wa", "--wait"),
        ("ovf-agent status --wait re", "ready"),
        ("ovf-agent --ro", "--root"),
        ("ovf-agent apply --log de", "debug"),
        ("ovf-agent env --ex", "--extract"),
    ];
    let of_the_host =
        [("ovf-host ch", "check"), ("ovf-host check --la", "--lang"), ("ovf-host iso --pl", "--platform")];
    for name in names() {
        complete(name, if *name == "ovf-agent" { &of_the_agent } else { &of_the_host });
    }
}

fn complete(name: &str, lines: &[(&str, &str)]) {
    let tree = top().join("target/package").join(name).join("tree/usr/share");
    let script = |path: &str| text(&tree.join(path)).to_owned();
    let bash = script(&format!("bash-completion/completions/{name}"));
    for (words, expected) in lines {
        let complete = "source \"$1\"; read -ra COMP_WORDS <<< \"$2\"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
             spec=$(complete -p $3); spec=${spec#*-F }; ${spec%% *} $3 \"${COMP_WORDS[-1]}\" \
             \"${COMP_WORDS[-2]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let answer = said("bash", &["-uc", complete, "bash", &bash, words, name]);
        assert_eq!(answer.trim(), *expected, "bash: {words}");
        let complete = "source $argv[1]; complete -C $argv[2]";
        let answer = said(
            "fish",
            &[
                "--no-config",
                "-c",
                complete,
                &script(&format!("fish/vendor_completions.d/{name}.fish")),
                words,
            ],
        );
        let first: Vec<&str> = answer.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(first, [*expected], "fish: {words}");
    }
    let zsh = script(&format!("zsh/site-functions/_{name}"));
    assert_eq!(said("zsh", &["-n", &zsh]), "");
    let directory = zsh.trim_end_matches(&format!("/_{name}"));
    let knows = "fpath=($1 $fpath); autoload -Uz compinit; compinit -D -u; print $_comps[$2]";
    assert_eq!(said("zsh", &["-fc", knows, "zsh", directory, name]).trim(), format!("_{name}"));
    // The tests run on Debian, whose zsh is to find what the .deb installs.
    let looked = said("zsh", &["-fc", "print -l $fpath"]);
    let contents = said("dpkg-deb", &["--contents", text(&package(name, "deb"))]);
    let place = contents.lines().find_map(|line| line.split_once(" .")?.1.strip_suffix(&format!("/_{name}")));
    assert!(
        looked.lines().any(|directory| Some(directory) == place),
        "zsh does not look into {place:?}: {looked}"
    );
}
