//! An apply that is killed: at each of its steps, and its recovery at each of its own.
//!
//! A step is a call that changes a file system (`agent/src/sys/fault.rs`). A machine of one generation gets another
//! configuration, which changes six files, adds two and takes two away; the pass is killed before step 1, 2, 3 ... until
//! one comes through. After each the next start, without any environment, must leave the files of one generation, all of
//! them, with the state that belongs to them, and nothing else; and a pass with the environment must then come to the new
//! ones and find nothing more to do. What such a kill leaves in a page cache is what is tried here; what a power cut leaves
//! on a disk is tried in guests.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is outside of the agent, and looks at files and starts programs"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_ovf-agent");
const FAULT: &str = "OVF_AGENT_FAULT";

const ENVIRONMENT: &str = r#"<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"
  xmlns:e="http://schemas.dmtf.org/ovf/environment/1" e:id="DB1">
  <PropertySection><Property e:key="name" e:value="db1"/></PropertySection>
</Environment>"#;

/// No environment is ever found but the one that is named; a guest that was never configured fails without.
const SETTINGS: &str = r#"[parameters]
name = { key = "name", type = "string", required = true }
[transport]
order = ["file:/none"]
"#;

/// The directories of the files of each generation: `/opt/c` is no template's in the first.
const FILES: [&[(&str, &str)]; 2] = [
    &[
        ("etc/a/0", "0600"),
        ("etc/a/1", "0644"),
        ("etc/a/2", "0644"),
        ("srv/b/3", "0644"),
        ("srv/b/4", "0644"),
        // The other generation changes its mode alone.
        ("srv/b/5", "0644"),
        ("srv/b/6", "0644"),
        // Its directory has no template in the other generation.
        ("var/d/7", "0644"),
    ],
    &[
        ("etc/a/0", "0600"),
        ("etc/a/1", "0640"),
        ("etc/a/2", "0644"),
        ("srv/b/3", "0644"),
        ("srv/b/4", "0644"),
        ("srv/b/5", "0600"),
        ("etc/a/8", "0644"),
        ("opt/c/9", "0644"),
    ],
];

/// A directory's files: path to mode and content.
type Tree = BTreeMap<PathBuf, (u32, Vec<u8>)>;

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        // Memory, where there is some: thousands of passes flush.
        let dir =
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a scratch directory");
        let bench = Self { dir };
        fs::write(bench.path("env.xml"), ENVIRONMENT).expect("write");
        for (generation, files) in FILES.iter().enumerate() {
            let templates = bench.path(&format!("config{generation}/templates"));
            fs::create_dir_all(&templates).expect("mkdir");
            fs::write(templates.join("../agent.toml"), SETTINGS).expect("write");
            for (path, mode) in *files {
                let text = if path.ends_with('5') { "always {{ name }}" } else { "{{ name }}, GENERATION" };
                let text = text.replace("GENERATION", &generation.to_string());
                let template = format!("+++\npath = \"/{path}\"\nmode = \"{mode}\"\n+++\n{text}\n");
                fs::write(templates.join(format!("{}.tera", path.replace('/', "-"))), template)
                    .expect("write");
            }
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A machine that was never configured.
    fn machine(&self, name: &str) -> PathBuf {
        let root = self.path(name);
        for dir in ["etc/a", "srv/b", "opt/c", "var/d"] {
            fs::create_dir_all(root.join(dir)).expect("mkdir");
        }
        root
    }

    fn agent(
        &self,
        command: &str,
        root: &Path,
        generation: usize,
        source: bool,
        fault: Option<u64>,
    ) -> Output {
        let mut run = Command::new(AGENT);
        run.args([command, "--log", "info", "--root"]).arg(root);
        run.arg("--config").arg(self.path(&format!("config{generation}")));
        if source {
            run.arg("--source").arg(format!("file:{}", self.path("env.xml").display()));
        }
        if let Some(step) = fault {
            run.env(FAULT, format!("kill:{step}"));
        }
        run.output().expect("the agent runs")
    }

    /// Applies the second generation's configuration; `None` where it was killed.
    fn apply(&self, root: &Path, fault: Option<u64>) -> Option<Output> {
        came_through(self.agent("apply", root, 1, true, fault))
    }

    /// What a start without an environment does.
    fn start(&self, root: &Path, fault: Option<u64>) -> Option<Output> {
        came_through(self.agent("apply", root, 1, false, fault))
    }
}

/// `None` where it was killed; anything but that and success is a failure.
fn came_through(output: Output) -> Option<Output> {
    if output.status.signal() == Some(9) {
        return None;
    }
    assert!(output.status.success(), "{}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    Some(output)
}

fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let meta = fs::symlink_metadata(&path).expect("there");
            if meta.is_dir() {
                todo.push(path);
            } else if meta.is_file() {
                let short = path.strip_prefix(root).expect("below").to_path_buf();
                found.insert(short, (meta.permissions().mode() & 0o7777, fs::read(&path).expect("readable")));
            }
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("mkdir");
    fs::set_permissions(to, fs::metadata(from).expect("there").permissions()).expect("chmod");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

/// What belongs to a generation: its files, and what the state says of them.
fn want(generation: usize) -> Tree {
    let content = |path: &str| match path.ends_with('5') {
        true => "always db1\n".to_owned(),
        false => format!("db1, {generation}\n"),
    };
    let file = |(path, mode): &(&str, &str)| {
        let mode = u32::from_str_radix(mode, 8).expect("octal");
        (PathBuf::from(path), (mode, content(path).into_bytes()))
    };
    FILES[generation].iter().map(file).collect()
}

/// Which generation's files are there, all of them and nothing else but the state that tells of them.
fn generation(root: &Path) -> Result<usize, String> {
    let mut found = tree(root);
    let state: Value = match found.remove(Path::new("var/lib/ovf-agent/state.json")) {
        Some((mode, bytes)) => {
            assert_eq!(mode, 0o600);
            serde_json::from_slice(&bytes).map_err(|error| format!("the state is damaged: {error}"))?
        }
        None => Value::Null,
    };
    found.remove(Path::new("var/lib/ovf-agent/lock"));
    let names = || found.keys().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
    let at = (0..2)
        .find(|generation| found == want(*generation))
        .ok_or_else(|| format!("a mixture: {}", names()))?;
    if state["generation"] != at + 1 {
        return Err(format!(
            "the files of generation {}, and the state says {}",
            at + 1,
            state["generation"]
        ));
    }
    let remembered: Vec<_> =
        state["files"].as_object().map(|files| files.keys().cloned().collect()).unwrap_or_default();
    let mut there: Vec<_> = found.keys().map(|path| format!("/{}", path.display())).collect();
    there.sort();
    if remembered != there {
        return Err(format!("the state remembers {remembered:?}, and there are {there:?}"));
    }
    Ok(at)
}

/// The machine comes to the new generation, and has nothing to do then.
fn assert_goes_on(bench: &Bench, root: &Path, about: &str) {
    bench.apply(root, None).expect("not killed");
    assert_eq!(generation(root), Ok(1), "{about}, after the next pass");
    let plan = bench.agent("plan", root, 1, true, None);
    let text = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(text.ends_with("0 of 8 files would change\n"), "{about}: the plan is not empty: {text}");
    assert!(!text.contains("left over"), "{about}: {text}");
}

/// Does `work` for 1, 2, 3 ..., several at a time, until it says that there is no more.
fn for_each_step(work: impl Fn(u64) -> bool + Sync) -> u64 {
    let next = AtomicUsize::new(1);
    let end = AtomicUsize::new(usize::MAX);
    std::thread::scope(|scope| {
        let worker = || {
            loop {
                let step = next.fetch_add(1, Ordering::Relaxed);
                if step >= end.load(Ordering::Relaxed) {
                    return;
                }
                if !work(step as u64) {
                    end.fetch_min(step, Ordering::Relaxed);
                }
            }
        };
        let workers = std::thread::available_parallelism().map_or(4, usize::from);
        let all: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        all.into_iter().for_each(|worker| worker.join().expect("its message is above"));
    });
    end.into_inner() as u64 - 1
}

/// Tries what is left after each kill of a pass, and after each kill of the start that follows.
#[test]
#[expect(clippy::print_stdout, reason = "how much was tried, for whoever asks with --nocapture")]
fn a_pass_that_is_killed_at_any_step_leaves_all_old_or_all_new() {
    let bench = Bench::new();
    let base = bench.machine("base");
    came_through(bench.agent("apply", &base, 0, true, None)).expect("not killed");
    assert_eq!(generation(&base), Ok(0));
    let (mixtures, olds, starts) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));

    let steps = for_each_step(|step| {
        let crashed = bench.path(&format!("crashed-{step}"));
        copy(&base, &crashed);
        if bench.apply(&crashed, Some(step)).is_some() {
            assert_eq!(generation(&crashed), Ok(1), "step {step}: nothing was killed");
            return false;
        }
        mixtures.fetch_add(usize::from(generation(&crashed).is_err()), Ordering::Relaxed);

        let root = bench.path(&format!("started-{step}"));
        copy(&crashed, &root);
        bench.start(&root, None).expect("not killed");
        let side = generation(&root).unwrap_or_else(|trouble| panic!("killed at step {step}: {trouble}"));
        olds.fetch_add(1 - side, Ordering::Relaxed);
        bench.start(&root, None).expect("not killed");
        assert_eq!(generation(&root), Ok(side), "step {step}: the second start changes nothing");
        assert_goes_on(&bench, &root, &format!("killed at step {step}"));
        fs::remove_dir_all(&root).expect("removed");

        for again in 1.. {
            let about = format!("killed at step {step}, and at step {again} of the start that followed");
            copy(&crashed, &root);
            let killed = bench.start(&root, Some(again)).is_none();
            if killed {
                starts.fetch_add(1, Ordering::Relaxed);
                bench.start(&root, None).expect("not killed");
                assert_eq!(generation(&root), Ok(side), "{about}");
            }
            fs::remove_dir_all(&root).expect("removed");
            if !killed {
                break;
            }
        }
        fs::remove_dir_all(&crashed).expect("removed");
        true
    });

    let (mixtures, olds, starts) = (mixtures.into_inner(), olds.into_inner() as u64, starts.into_inner());
    println!(
        "{steps} steps, {mixtures} of them leave a mixture; {olds} are taken back; {starts} starts were killed, too"
    );
    // That both ways are gone, and that there was something to mend: else nothing is shown by this.
    assert!(steps > 60 && mixtures > 40 && olds > 40 && steps - olds > 10 && starts > 400, "{steps} steps");
}

#[test]
fn a_first_pass_that_is_killed_at_any_step_leaves_all_or_nothing() {
    let bench = Bench::new();
    let steps = for_each_step(|step| {
        let root = bench.machine(&format!("machine-{step}"));
        let killed = bench.apply(&root, Some(step)).is_none();
        let recovered = bench.agent("apply", &root, 1, false, None);
        let files: Tree = tree(&root)
            .into_iter()
            .filter(|(path, _)| !path.starts_with("var/lib") && !path.to_string_lossy().contains("/.#"))
            .collect();
        assert!(files.is_empty() || files == want(1), "step {step}: {:?}", files.keys());
        // A guest that was never configured needs its environment.
        assert_eq!(recovered.status.success(), !files.is_empty(), "step {step}");
        bench.apply(&root, None).expect("not killed");
        let state = fs::read(root.join("var/lib/ovf-agent/state.json")).expect("there");
        let state: Value = serde_json::from_slice(&state).expect("whole");
        assert_eq!(state["generation"], 1, "step {step}");
        let names: Vec<_> =
            tree(&root).into_keys().filter(|path| path.to_string_lossy().contains("/.#")).collect();
        assert!(names.is_empty(), "step {step}: {names:?}");
        killed
    });
    assert!(steps > 60, "{steps} steps");
}

#[test]
fn a_file_of_somebody_else_is_no_reason_to_fail_and_is_not_overwritten() {
    let bench = Bench::new();
    let base = bench.machine("base");
    came_through(bench.agent("apply", &base, 0, true, None)).expect("not killed");
    for_each_step(|step| {
        let root = bench.path(&format!("machine-{step}"));
        copy(&base, &root);
        let killed = bench.apply(&root, Some(step)).is_none();
        fs::write(root.join("etc/a/2"), "by hand").expect("write");
        let output = bench.start(&root, None).expect("not killed");
        assert_eq!(fs::read(root.join("etc/a/2")).expect("there"), b"by hand", "step {step}");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let interrupted = log.contains("an earlier pass was interrupted");
        assert_eq!(
            interrupted,
            log.contains("/etc/a/2 stays as it is: it was changed by hand"),
            "step {step}: {log}"
        );
        killed
    });
}

#[test]
fn run_mends_an_interrupted_pass_before_it_looks_for_an_environment() {
    let bench = Bench::new();
    let base = bench.machine("base");
    came_through(bench.agent("apply", &base, 0, true, None)).expect("not killed");
    for_each_step(|step| {
        let root = bench.path(&format!("machine-{step}"));
        copy(&base, &root);
        let killed = bench.apply(&root, Some(step)).is_none();
        if !root.join("var/lib/ovf-agent/journal.json").exists() {
            return killed;
        }
        let plan = bench.agent("plan", &root, 1, true, None);
        assert!(
            String::from_utf8_lossy(&plan.stdout).starts_with("an earlier pass was interrupted"),
            "{plan:?}"
        );
        let mut run = Command::new(AGENT);
        run.args(["run", "--root"]).arg(&root).arg("--config").arg(bench.path("config1"));
        let mut run = run.stderr(Stdio::piped()).spawn().expect("the agent runs");
        let log = BufReader::new(run.stderr.take().expect("a pipe")).lines();
        let mut lines = log.map(|line| line.expect("text"));
        // What is logged later is of the search.
        let mended =
            lines.find(|line| line.contains("was interrupted") || line.contains("no OVF environment"));
        let generation = generation(&root);
        run.kill().expect("killed");
        run.wait().expect("ended");
        assert!(mended.is_some_and(|line| line.contains("was interrupted")), "step {step}");
        assert!(generation.is_ok(), "step {step}: {generation:?}");
        true
    });
}

#[test]
fn a_configuration_that_was_broken_meanwhile_keeps_no_pass_from_being_mended() {
    let bench = Bench::new();
    let base = bench.machine("base");
    let config = |generation: usize, more: &str| {
        let text = format!("{SETTINGS}[state]\ndirectory = \"/var/d/state\"\n{more}");
        fs::write(bench.path(&format!("config{generation}/agent.toml")), text).expect("write");
    };
    config(0, "");
    config(1, "");
    came_through(bench.agent("apply", &base, 0, true, None)).expect("not killed");
    let files = |root: &Path| {
        let mut files = tree(root);
        files.retain(|path, _| !path.starts_with("var/d/state"));
        files
    };
    assert_eq!(files(&base), want(0));
    let mixtures = AtomicUsize::new(0);
    for_each_step(|step| {
        let root = bench.path(&format!("machine-{step}"));
        copy(&base, &root);
        let killed = bench.apply(&root, Some(step)).is_none();
        let is_whole = |files: &Tree| *files == want(0) || *files == want(1);
        if killed && root.join("var/d/state/journal.json").exists() {
            mixtures.fetch_add(usize::from(!is_whole(&files(&root))), Ordering::Relaxed);
            let broken = bench.path(&format!("broken-{step}"));
            copy(&bench.path("config1"), &broken);
            let text = fs::read_to_string(broken.join("agent.toml")).expect("there") + "nonsense = 1\n";
            fs::write(broken.join("agent.toml"), text).expect("write");
            let mut apply = Command::new(AGENT);
            let output = apply.args(["apply", "--root"]).arg(&root).arg("--config").arg(broken).output();
            assert_eq!(output.expect("the agent runs").status.code(), Some(78), "step {step}");
            assert!(is_whole(&files(&root)), "step {step}: {:?}", files(&root).keys());
        }
        killed
    });
    assert!(mixtures.into_inner() > 10);
}

/// The check of `packaging/static/verify` is worth something: this binary has what it looks for.
#[test]
fn only_a_binary_for_tests_can_be_made_to_fail() {
    let verify = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/static/verify");
    let output = Command::new(verify).arg(AGENT).output().expect("packaging/static/verify runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(FAULT), "{said}");
}
