//! Golden machines: each directory of `tests/cases/` is a machine, an environment, and what must come of them.
//!
//! | file | what it is |
//! |---|---|
//! | `case.toml` | how to run it, see [`Case`]; may be left out |
//! | `root/` | the machine, as far as it matters, with its `/etc/ovf-agent` |
//! | `ovf-env.xml` | the document, packed into an ISO image |
//! | `plan.txt` | what `plan` prints |
//! | `report.json` | what the platform is told; what differs from run to run is masked |
//! | `expected/` | files that are new or changed afterwards; all others must be as they were |
//!
//! Every case runs the real binary: `plan`, which must change nothing; `apply`; and, where that succeeded, both again,
//! which must find nothing to do, and that without rendering anything. `BLESS=1` rewrites the three expectations; the diff
//! is for a person to read.
//! `OVF_AGENT` names another binary to try, for example the static one.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is outside of the agent, and looks at files and starts programs"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;

/// `case.toml`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Case {
    /// Directories to make in the root; git keeps no empty ones.
    dirs: Vec<String>,
    /// Symbolic links to make in the root: name to target.
    links: BTreeMap<String, String>,
    /// Modes of files in the root, octal; 0644 otherwise.
    modes: BTreeMap<String, String>,
    /// How the document is given: `iso` (the default where there is an ovf-env.xml), `drive` (as /dev/sr0 in the root),
    /// `file`, or `none`.
    source: Option<String>,
    /// How xorriso packs it: `full` (Rock Ridge and Joliet, the default), `plain`, `joliet`, `rock-ridge`.
    names: Option<String>,
    /// Cut the image to this many bytes.
    truncate: Option<u64>,
    /// The exit status of `plan` and `apply`.
    exit: i32,
    /// The exit status of `plan`, where it differs: it does not write, so it cannot fail to.
    plan_exit: Option<i32>,
    /// Text that must stand in no output and no report.
    secrets: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
    let mut names: Vec<_> =
        fs::read_dir(&cases).expect("tests/cases").map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    let trials = names
        .into_iter()
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            Trial::test(name, move || run(&path).map_err(Failed::from))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn run(case: &Path) -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|e| e.to_string())?;
    let machine = Machine::build(case, scratch.path())?;
    let bless = std::env::var_os("BLESS").is_some();
    let before = tree(&machine.root)?;
    let all_before = whole_tree(&machine.root)?;

    let plan = machine.agent("plan", None)?;
    expect(whole_tree(&machine.root)? == all_before, "plan changed the machine")?;
    machine.judge(&plan, machine.case.plan_exit.unwrap_or(machine.case.exit))?;
    compare(&case.join("plan.txt"), &machine.masked(&plan.stdout), bless)?;

    let report = scratch.path().join("report.json");
    let apply = machine.agent("apply", Some(&report))?;
    machine.judge(&apply, machine.case.exit)?;
    let told = fs::read_to_string(&report).map_err(|e| format!("no report: {e}"))?;
    machine.no_secret(&told)?;
    compare(&case.join("report.json"), &machine.masked(pretty(&told)?.as_bytes()), bless)?;
    let after = tree(&machine.root)?;
    compare_trees(case, &before, &after, bless)?;
    if machine.case.exit != 0 {
        return expect(after == before, "the machine was changed although apply failed");
    }

    let again = machine.agent("apply", Some(&report))?;
    machine.judge(&again, 0)?;
    let log = String::from_utf8_lossy(&again.stderr);
    let short = ["nothing has changed since the last pass", "the files stay as they are"];
    expect(short.iter().any(|words| log.contains(words)), "the second apply made the files anew")?;
    expect(tree(&machine.root)? == after, "the second apply changed something")?;
    let told: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&report).map_err(|e| e.to_string())?)
            .map_err(|e| e.to_string())?;
    expect(told["changed"] == serde_json::json!([]), "the second report has changes")?;
    let plan = String::from_utf8_lossy(&machine.agent("plan", None)?.stdout).into_owned();
    expect(
        plan.lines().last().is_some_and(|l| l.starts_with("0 of ")),
        &format!("the second plan is not empty:\n{plan}"),
    )
}

struct Machine {
    case: Case,
    scratch: PathBuf,
    root: PathBuf,
    source: Option<String>,
}

impl Machine {
    fn build(dir: &Path, scratch: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(dir.join("case.toml")).unwrap_or_default();
        let case: Case = toml::from_str(&text).map_err(|e| format!("case.toml: {e}"))?;
        let root = scratch.join("root");
        copy(&dir.join("root"), &root)?;
        for name in &case.dirs {
            fs::create_dir_all(root.join(name)).map_err(says(name))?;
        }
        for (name, target) in &case.links {
            symlink(target, root.join(name)).map_err(says(name))?;
        }
        for (name, mode) in &case.modes {
            let mode = u32::from_str_radix(mode, 8).map_err(|e| format!("{mode}: {e}"))?;
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).map_err(says(name))?;
        }
        let document = dir.join("ovf-env.xml");
        let kind = case.source.clone().unwrap_or_else(|| "iso".to_owned());
        let source = match kind.as_str() {
            "none" => None,
            "file" => Some(format!("file:{}", document.display())),
            "iso" | "drive" => {
                let drive = root.join("dev/sr0");
                let image = if kind == "drive" { drive } else { scratch.join("env.iso") };
                iso(dir, &image, case.names.as_deref().unwrap_or("full"))?;
                if let Some(len) = case.truncate {
                    let file = fs::File::options().write(true).open(&image).map_err(says("the image"))?;
                    file.set_len(len).map_err(says("the image"))?;
                }
                (kind == "iso").then(|| format!("iso:{}", image.display()))
            }
            other => return Err(format!("case.toml: source = {other:?}")),
        };
        Ok(Self { case, scratch: scratch.to_path_buf(), root, source })
    }

    fn agent(&self, command: &str, report: Option<&Path>) -> Result<Output, String> {
        let binary = std::env::var_os("OVF_AGENT").unwrap_or_else(|| env!("CARGO_BIN_EXE_ovf-agent").into());
        let mut run = Command::new(&binary);
        run.arg(command).arg("--root").arg(&self.root).args(["--log", "debug"]);
        if let Some(source) = &self.source {
            run.arg("--source").arg(source);
        }
        if let Some(report) = report {
            run.arg("--report").arg(report);
        }
        run.output().map_err(|e| format!("cannot run {}: {e}", binary.display()))
    }

    /// The exit status is right, and nothing secret was said.
    fn judge(&self, output: &Output, want: i32) -> Result<(), String> {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        self.no_secret(&out)?;
        self.no_secret(&err)?;
        expect(output.status.code() == Some(want), &format!("{}, not {want}\n{out}{err}", output.status))
    }

    fn no_secret(&self, text: &str) -> Result<(), String> {
        let leak = self.case.secrets.iter().find(|secret| text.contains(secret.as_str()));
        leak.map_or(Ok(()), |secret| Err(format!("the secret {secret:?} is in:\n{text}")))
    }

    /// Text without the names of scratch files.
    fn masked(&self, text: &[u8]) -> String {
        let case = self.source.as_ref().and_then(|s| s.strip_prefix("file:")).map(str::to_owned);
        let mut text = String::from_utf8_lossy(text).replace(&self.scratch.display().to_string(), "SCRATCH");
        if let Some(path) = case {
            text = text.replace(&path, "ovf-env.xml");
        }
        text
    }
}

/// An I/O error and what it was about.
fn says(what: &str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// Packs `ovf-env.xml`, and what is in `disc/`, into an image.
fn iso(dir: &Path, image: &Path, names: &str) -> Result<(), String> {
    let mut run = Command::new("xorriso");
    run.args(["-as", "mkisofs", "-quiet", "-V", "OVF ENV"]);
    match names {
        "full" => run.args(["-J", "-R"]),
        "joliet" => run.args(["-J", "--norock"]),
        "rock-ridge" => run.arg("-R"),
        "plain" => run.args(["--norock", "-iso-level", "1"]),
        other => return Err(format!("case.toml: names = {other:?}")),
    };
    run.arg("-o").arg(image);
    for source in ["ovf-env.xml", "disc"].map(|name| dir.join(name)) {
        if source.exists() {
            run.arg(source);
        }
    }
    if let Some(parent) = image.parent() {
        fs::create_dir_all(parent).map_err(|e| e.to_string())?;
    }
    let output = run.output().map_err(|e| format!("cannot run xorriso (Debian package xorriso): {e}"))?;
    expect(output.status.success(), &String::from_utf8_lossy(&output.stderr))
}

/// A report for people to read, without what differs from run to run.
fn pretty(report: &str) -> Result<String, String> {
    let mut report: serde_json::Value = serde_json::from_str(report).map_err(|e| format!("{e}: {report}"))?;
    for field in ["boot", "session", "seq", "uptime_ms", "took_us", "agent"] {
        expect(!report[field].is_null(), &format!("the report has no {field}"))?;
        report[field] = "masked".into();
    }
    Ok(format!("{report:#}\n"))
}

/// Path to mode and content of every file, link and directory.
type Tree = BTreeMap<PathBuf, (u32, Vec<u8>)>;

/// Without the agent's own state, and its directory's parents, which come with it.
fn tree(root: &Path) -> Result<Tree, String> {
    let mut found = whole_tree(root)?;
    found.retain(|path, _| {
        !path.starts_with("var/lib/ovf-agent") && !["var", "var/lib"].iter().any(|own| path == Path::new(own))
    });
    Ok(found)
}

fn whole_tree(root: &Path) -> Result<Tree, String> {
    let mut found = Tree::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(path) = todo.pop() {
        let short = path.strip_prefix(root).expect("below the root").to_path_buf();
        let meta = fs::symlink_metadata(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let content = if meta.is_dir() {
            for entry in fs::read_dir(&path).map_err(|e| e.to_string())? {
                todo.push(entry.map_err(|e| e.to_string())?.path());
            }
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).map_err(|e| e.to_string())?.into_os_string().into_encoded_bytes()
        } else {
            fs::read(&path).map_err(|e| e.to_string())?
        };
        if short != Path::new("") {
            found.insert(short, (meta.mode(), content));
        }
    }
    Ok(found)
}

/// What is new or changed must be what is in `expected/`; the name there ends in the mode:
/// `mydb.conf@0640`.
fn compare_trees(case: &Path, before: &Tree, after: &Tree, bless: bool) -> Result<(), String> {
    let expected = case.join("expected");
    let difference: BTreeMap<String, &Vec<u8>> = after
        .iter()
        .filter(|(path, state)| before.get(*path) != Some(state))
        .map(|(path, (mode, content))| (format!("{}@{:04o}", path.display(), mode & 0o7777), content))
        .collect();
    if bless {
        if expected.exists() {
            fs::remove_dir_all(&expected).map_err(|e| e.to_string())?;
        }
        for (name, content) in &difference {
            let path = expected.join(name);
            fs::create_dir_all(path.parent().expect("below expected")).map_err(|e| e.to_string())?;
            fs::write(path, content).map_err(|e| e.to_string())?;
        }
        return Ok(());
    }
    let wanted = if expected.exists() { tree(&expected)? } else { Tree::new() };
    let wanted: BTreeMap<String, &Vec<u8>> = wanted
        .iter()
        .filter(|(_, (mode, _))| mode & 0o170_000 == 0o100_000)
        .map(|(path, (_, content))| (path.display().to_string(), content))
        .collect();
    if let Some(path) = before.keys().find(|path| !after.contains_key(*path)) {
        // Leftovers of an interrupted pass are the only files that may go.
        expect(path.to_string_lossy().contains("/.#ovf-agent."), &format!("{} is gone", path.display()))?;
    }
    for name in wanted.keys().chain(difference.keys()) {
        let shown = |found: Option<&&Vec<u8>>| {
            found.map_or("(nothing)".to_owned(), |content| String::from_utf8_lossy(content).into_owned())
        };
        let (want, got) = (wanted.get(name), difference.get(name));
        expect(want == got, &format!("{name} should be\n{}\nand is\n{}", shown(want), shown(got)))?;
    }
    Ok(())
}

fn compare(file: &Path, got: &str, bless: bool) -> Result<(), String> {
    if bless {
        return fs::write(file, got).map_err(|e| e.to_string());
    }
    let want = fs::read_to_string(file).map_err(|e| format!("{}: {e}; BLESS=1 writes it", file.display()))?;
    expect(want == got, &format!("{} should be\n{want}\nand is\n{got}", file.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let says = |e: std::io::Error| format!("{}: {e}", from.display());
    fs::create_dir_all(to).map_err(says)?;
    for entry in fs::read_dir(from).map_err(says)? {
        let entry = entry.map_err(says)?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(says)?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).map_err(says)?;
            fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).map_err(says)?;
        }
    }
    Ok(())
}

fn expect(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}
