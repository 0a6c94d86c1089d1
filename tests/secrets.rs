//! Values that are planted in every place where a value can be, and looked for in everything that the agent leaves.
//!
//! Each machine fails in a way of its own (`secrets/cases.rs`), once with its values declared sensitive and once not. Every
//! command is tried on it with `--log debug`, and nothing that it says may hold a piece of a value, in any form
//! (`secrets/planted.rs`): not standard error, not a report, not standard output unless the command was asked for that
//! value, and no file but the rendered ones and `generated.json`, with their modes. The same holds for a pass that is killed at any of its
//! steps, for the arguments and environments of processes, and for `{:?}` of every type that carries a value.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is outside of the agent, and looks at files and starts programs"
)]

#[path = "secrets/cases.rs"]
mod cases;
#[path = "base64.rs"]
mod encoding;
#[path = "secrets/planted.rs"]
mod planted;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use libtest_mimic::{Arguments, Trial};
use nix::poll::{PollFd, PollFlags, poll};
use ovf_agent::agent;
use ovf_agent::config::{Config, Layers};
use ovf_agent::environment;
use ovf_agent::parameters::Generated;
use ovf_agent::sys::Root;

use cases::Case;
use planted::Needles;

/// What may be shown of values that are not sensitive: what somebody asked to see.
const SHOWING: [&str; 5] = ["env", "get", "plan", "render", "explain"];

/// A case's machine in a scratch directory.
struct Machine<'a> {
    case: &'a Case,
    sensitive: bool,
    dir: tempfile::TempDir,
    needles: Needles,
    /// Whether that was done already, so that what was odd at first has been mended.
    applied: bool,
    /// What was there before the agent came.
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl<'a> Machine<'a> {
    fn build(case: &'a Case, sensitive: bool) -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
            fs::write(path, text).expect("write");
        };
        let secret = if sensitive { ", sensitive = true" } else { "" };
        write("root/etc/ovf-agent/agent.toml", &case.settings.replace("SECRET", secret));
        for (name, text) in &case.templates {
            write(&format!("root/etc/ovf-agent/templates/{name}"), text);
        }
        write("root/etc/out/.keep", "");
        symlink("out/.keep", dir.path().join("root/etc/link")).expect("linked");
        for (name, text) in &case.files {
            write(&format!("root/{name}"), text);
            set_mode(&dir.path().join("root").join(name), 0o600);
        }
        write("env.xml", &case.document);
        let before = files(dir.path());
        let needles = Needles::planted();
        Self { case, sensitive, dir, needles, applied: false, before }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).args(["--log", "debug"]).stdin(Stdio::null()).current_dir(self.dir.path());
        command
    }

    /// With the machine and its document.
    fn here(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command
            .args(["--root", "root", "--source"])
            .arg(format!("file:{}", self.dir.path().join("env.xml").display()));
        command
    }

    fn find(&self, text: &[u8], about: &str) {
        if let Some(found) = self.needles.find(text) {
            panic!("{}, sensitive: {}: a value is in {about}:\n{found}", self.case.name, self.sensitive);
        }
    }

    /// Runs a command, and judges what it says and leaves.
    fn run(&self, mut command: Command, arguments: &[&str]) -> Output {
        let output = command.output().expect("the agent runs");
        let about = arguments.join(" ");
        self.find(&output.stderr, &format!("the log of `{about}`"));
        let showing = SHOWING.contains(&arguments[0]) && !self.sensitive && output.status.success();
        if !showing && !arguments.contains(&"--show-sensitive") {
            self.find(&output.stdout, &format!("the output of `{about}`"));
        }
        self.judge_files(&about);
        output
    }

    /// A value is in rendered files and in `generated.json`, and nobody but their owner can read these.
    fn judge_files(&self, about: &str) {
        for (path, content) in files(self.dir.path()) {
            if self.before.get(&path) == Some(&content) {
                continue;
            }
            let shown = path.strip_prefix(self.dir.path()).expect("below").to_path_buf();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let state = shown.starts_with("root/var/lib/ovf-agent");
            let set_aside = name
                .strip_suffix(".damaged")
                .is_some_and(|name| self.before.get(&path.with_file_name(name)) == Some(&content));
            let said_by_a_program = shown.starts_with("root/run/ovf-agent") && name.ends_with(".log");
            let twin =
                name.starts_with(".#ovf-agent.") && !name.contains("state") && !name.contains("journal");
            let holds = if state {
                name == "generated.json" || twin || set_aside
            } else {
                shown.starts_with("root/etc/out") || said_by_a_program
            };
            if !holds {
                self.find(&content, &format!("{} after `{about}`", shown.display()));
            }
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            if self.needles.find(&content).is_some() && !set_aside {
                assert_eq!(
                    mode & 0o077,
                    0,
                    "{}: others can read {} after `{about}`",
                    self.case.name,
                    shown.display()
                );
            }
        }
    }

    /// Everything that the agent can be asked of this machine.
    fn ask_everything(&self) {
        let parameters: toml::Table =
            toml::from_str(&fs::read_to_string(self.root().join("etc/ovf-agent/agent.toml")).expect("there"))
                .expect("TOML");
        let names: Vec<String> =
            parameters["parameters"].as_table().expect("a table").keys().cloned().collect();
        let environment = self.dir.path().join("env.xml").display().to_string();
        let render: &[&str] = &["render", "--env", &environment];
        for arguments in [
            &["check"][..],
            &["check", "--json"],
            &["schema"],
            &["schema", "--ovf"],
            render,
            &[render, &["--json"]].concat(),
            &[render, &["--show-sensitive"]].concat(),
        ] {
            let mut command = self.command(arguments);
            command.args(["--root", "root"]);
            self.run(command, arguments);
        }
        let mut asked: Vec<Vec<&str>> = vec![
            vec!["plan"],
            vec!["plan", "--json"],
            vec!["env"],
            vec!["env", "--json"],
            vec!["env", "--show-sensitive"],
            vec!["env", "--files"],
        ];
        // Each of a few; of a hundred alike, one tells of all.
        for name in names.iter().step_by(names.len().div_ceil(8)) {
            asked.push(vec!["get", name]);
            asked.push(vec!["get", name, "--json"]);
            asked.push(vec!["get", name, "--show-sensitive"]);
        }
        let paths: Vec<String> = self
            .case
            .templates
            .iter()
            .map(|(name, _)| format!("/etc/out/{}", name.trim_end_matches(".tera")))
            .collect();
        for path in paths.iter().step_by(paths.len().div_ceil(4)) {
            asked.push(vec!["explain", path]);
            asked.push(vec!["explain", path, "--json"]);
        }
        for arguments in asked {
            self.run(self.here(&arguments), &arguments);
        }
    }

    /// Applies it, and judges what it says.
    fn apply(&self) {
        let arguments = ["apply", "--json", "--report", "report.json"];
        let output = self.run(self.here(&arguments), &arguments);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(self.case.exit), "{}: {log}", self.case.name);
        for says in &self.case.says {
            let said = log.contains(says.as_str()) || self.applied;
            assert!(said, "{}: {says} is not in\n{log}", self.case.name);
        }
        self.find(&fs::read(self.dir.path().join("report.json")).expect("a report"), "report.json");
    }

    /// The secrets that were made for it.
    fn generated(&self) -> Vec<String> {
        let text =
            fs::read(self.root().join("var/lib/ovf-agent/generated.json")).unwrap_or_else(|_| b"{}".to_vec());
        let kept: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let secrets = kept["secrets"].as_object().into_iter().flat_map(|secrets| secrets.values());
        secrets.map(|secret| secret.as_str().expect("text").to_owned()).collect()
    }

    /// The agent that stays: its reports, its log, and what other processes see of it.
    fn stay(&self) {
        let pipe = self.dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        // Open for writing too, so that the pipe has no end between two reports.
        let mut reports =
            BufReader::new(File::options().read(true).write(true).open(&pipe).expect("the pipe"));
        let mut command = self.here(&["run", "--report", "pipe"]);
        let log = self.dir.path().join("log");
        let mut child = command.stderr(File::create(&log).expect("a file")).spawn().expect("runs");
        loop {
            if reports.buffer().is_empty() {
                let mut ready = [PollFd::new(reports.get_ref().as_fd(), PollFlags::POLLIN)];
                assert_eq!(poll(&mut ready, 20_000_u16).expect("polled"), 1, "{}: no report", self.case.name);
            }
            let mut line = String::new();
            reports.read_line(&mut line).expect("a report");
            self.find(line.as_bytes(), "a report of `run`");
            if line.contains("\"stage\":\"failed\"") || line.contains("\"stage\":\"ready\"") {
                break;
            }
        }
        for seen in ["environ", "cmdline", "comm"] {
            let seen = Path::new("/proc").join(child.id().to_string()).join(seen);
            self.find(&fs::read(&seen).expect("readable"), &seen.display().to_string());
        }
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(child.id() as i32),
            nix::sys::signal::Signal::SIGTERM,
        )
        .expect("sent");
        assert_eq!(child.wait().expect("ended").code(), Some(0));
        fs::remove_file(&pipe).expect("removed");
        self.find(&fs::read(&log).expect("there"), "the log of `run`");
        self.judge_files("run");
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

fn binary() -> std::ffi::OsString {
    std::env::var_os("OVF_AGENT").unwrap_or_else(|| env!("CARGO_BIN_EXE_ovf-agent").into())
}

/// Path and content of every regular file.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let kind = fs::symlink_metadata(&path).expect("there").file_type();
            if kind.is_dir() {
                todo.push(path);
            } else if kind.is_file() {
                found.insert(path.clone(), fs::read(path).expect("readable"));
            }
        }
    }
    found
}

/// A whole machine's trial.
fn try_case(case: &Case, sensitive: bool) {
    let mut machine = Machine::build(case, sensitive);
    machine.ask_everything();
    machine.apply();
    if case.exit == 0 {
        // Once more, when there is something that was applied; and what the guest has made is a secret, too.
        machine.applied = true;
        let holds = |(path, content): (PathBuf, Vec<u8>)| {
            path.starts_with(machine.root().join("etc/out")) && machine.needles.find(&content).is_some()
        };
        assert!(files(machine.dir.path()).into_iter().any(holds), "{}: nothing was planted", case.name);
        machine.needles = Needles::of(planted::all().chain(machine.generated()));
        machine.apply();
        machine.ask_everything();
    }
    machine.stay();
}

/// A pass that is killed at each of its steps: what lies about then, and what the next one says of it.
fn interrupted() {
    let case = cases::with_older_secrets();
    let (mut steps, mut twins) = (0, 0);
    loop {
        let machine = Machine::build(&case, true);
        let mut command = machine.here(&["apply"]);
        command.env("OVF_AGENT_FAULT", format!("kill:{}", steps + 1));
        let output = machine.run(command, &["apply"]);
        if output.status.signal() != Some(9) {
            break;
        }
        steps += 1;
        let holds = |(path, content): &(PathBuf, Vec<u8>)| {
            path.display().to_string().contains("/out/.#ovf-agent.")
                && machine.needles.find(content).is_some()
        };
        twins += files(machine.dir.path()).into_iter().filter(holds).count();
        machine.run(machine.here(&["plan"]), &["plan"]);
        machine.apply();
    }
    // Else nothing is shown by this.
    assert!(steps > 20 && twins > 10, "{steps} steps, {twins} twins");
}

/// Programs that show all that they see: their own arguments and environment and the agent's go to a file, and what they
/// are to judge to their output.
const JUDGE: &str = r#"#!/bin/sh
for process in $$ $PPID; do
    cat /proc/$process/environ /proc/$process/cmdline
done >> /seen
cat /etc/out/a "$2"
cat /etc/out/a "$2" >&2
[ "$1" != "$(cat /fails)" ]
"#;

/// Makes a machine of a directory, in namespaces of its own, and runs the agent there.
const INSIDE: &str = r#"
for dir in usr bin sbin lib lib32 lib64 libx32 proc; do
    if [ -L "/$dir" ]; then
        ln -sfn "$(readlink "/$dir")" "$1/$dir"
    elif [ -d "/$dir" ]; then
        mkdir -p "$1/$dir"
        mount --rbind "/$dir" "$1/$dir"
    fi
done
mkdir "$1/dev"
: > "$1/dev/null"
mount --bind /dev/null "$1/dev/null"
mount --bind "$2" "$1/agent"
exec chroot "$1" /agent apply --log debug --json --source file:/env.xml
"#;

/// How to get namespaces here, if there is a way: as any user, or as root where users may not.
fn namespaces() -> Option<Vec<&'static str>> {
    [vec!["--user", "--map-root-user", "--mount"], vec!["--mount"]].into_iter().find(|options| {
        let try_it = Command::new("unshare").args(options).args(["mount", "--bind", "/tmp", "/tmp"]).output();
        try_it.is_ok_and(|output| output.status.success())
    })
}

/// Checks, verifies and those that hear of a change, each failing once, and none.
fn programs(namespaces: &[&str]) {
    let case = cases::with_programs();
    for fails in ["check", "verify", "on-change", "nothing"] {
        let mut machine = Machine::build(&case, true);
        let root = machine.root();
        let inside = |name: &str| root.join(name);
        // A copy could not be started while a child of another test's has it open for writing.
        fs::write(inside("agent"), "").expect("written");
        fs::copy(machine.dir.path().join("env.xml"), inside("env.xml")).expect("copied");
        fs::write(inside("judge"), JUDGE).expect("written");
        set_mode(&inside("judge"), 0o755);
        fs::write(inside("fails"), fails).expect("written");
        machine.before = files(machine.dir.path());
        let mut command = Command::new("unshare");
        command
            .args(namespaces)
            .args(["sh", "-ec", INSIDE, "sh"])
            .arg(&root)
            .arg(binary())
            .stdin(Stdio::null());
        let output = machine.run(command, &["apply"]);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(i32::from(fails != "nothing")), "{fails}: {log}");
        assert!(
            fails == "nothing"
                || log.contains("/judge ended with exit status 1; what it said is in /run/ovf-agent/"),
            "{log}"
        );
        // That they did run, that they saw something, and that it was kept for root.
        let seen = fs::read(inside("seen")).expect("written by the program");
        assert!(String::from_utf8_lossy(&seen).contains("/judge\0"), "{fails}");
        let kept: Vec<_> = files(&inside("run/ovf-agent"))
            .into_iter()
            .filter(|(path, _)| path.extension().is_some())
            .collect();
        assert_eq!(kept.len(), usize::from(fails != "nothing"), "{fails}: {kept:?}");
        assert!(
            kept.iter().all(|(_, said)| machine.needles.find(said).is_some()),
            "{fails}: it said nothing"
        );
    }
}

/// What the types that carry values show of themselves.
fn debug_output() {
    fn shown(what: &str, it: &dyn Debug) {
        for text in [format!("{it:?}"), format!("{it:#?}")] {
            if let Some(found) = Needles::planted().find(text.as_bytes()) {
                panic!("a value is in the Debug output of {what}:\n{found}");
            }
        }
    }
    for case in [cases::about_secrets(), cases::cases()].concat() {
        let machine = Machine::build(&case, true);
        let root = Root::open(machine.root()).expect("a directory");
        let config = match Layers::of(&root).and_then(|layers| Config::load(&layers)) {
            Ok(config) => config,
            Err(problems) => {
                shown("Problems", &problems);
                continue;
            }
        };
        shown("Config", &config);
        let mut agent = agent::Machine::new(root);
        let source =
            format!("file:{}", machine.dir.path().join("env.xml").display()).parse().expect("a source");
        let document = agent.document(&config, Some(&source)).expect("read").expect("there");
        shown("Document", &document);
        let environment = match environment::parse(&document.bytes) {
            Ok((environment, warnings)) => {
                shown("Warnings", &warnings);
                environment
            }
            Err(error) => {
                shown("environment::Error", &error);
                shown("Fault", &agent.environment(document).map(drop));
                continue;
            }
        };
        shown("Environment", &environment);
        let received = agent.environment(document).expect("the same");
        shown("Received", &received);
        match config.parameters.evaluate(Some(&environment), &Generated::default()) {
            Ok((parameters, made)) => {
                shown("Parameters", &parameters);
                for (name, value) in parameters.iter() {
                    shown(name, value);
                }
                shown("Generated", &made);
            }
            Err(violations) => shown("Violations", &violations),
        }
        for (name, _) in &case.templates {
            let path = PathBuf::from(format!("/etc/out/{}", name.trim_end_matches(".tera")));
            shown("Explained", &agent.explain(&config, Some(&received), &path));
        }
        let memory = agent.remember(&config);
        shown("Memory", &memory);
        let prepared = agent.prepare(&config, memory, Some(received));
        shown("Prepared", &prepared);
        if let Ok(prepared) = &prepared {
            shown("Plan", &prepared.plan);
            shown(
                "Rendered",
                &prepared.plan.changes.iter().map(|change| &change.rendered).collect::<Vec<_>>(),
            );
        }
        shown("Machine", &agent);
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = vec![Trial::test("a-piece-of-a-value-is-found-in-every-form", || {
        planted::check();
        Ok(())
    })];
    trials.push(Trial::test("a-pass-that-is-killed-tells-no-value", || {
        interrupted();
        Ok(())
    }));
    let namespaces = namespaces();
    let kind = if namespaces.is_some() { "" } else { "skipped: there are no namespaces for users here" };
    let there = namespaces.is_some();
    let inside = Trial::test("programs-are-told-no-value-and-what-they-say-is-for-root", move || {
        programs(&namespaces.unwrap_or_default());
        Ok(())
    });
    trials.push(inside.with_kind(kind).with_ignored_flag(!there));
    trials.push(Trial::test("debug-output-shows-no-value", || {
        debug_output();
        Ok(())
    }));
    let secret = cases::about_secrets().into_iter().map(|case| (case, true));
    let open = cases::about_others().into_iter().map(|case| (case, false));
    let both = cases::cases().into_iter().flat_map(|case| [(case.clone(), true), (case, false)]);
    for (case, sensitive) in secret.chain(open).chain(both) {
        let kind = if sensitive { "sensitive" } else { "not-sensitive" };
        let name = format!("{}-{kind}", case.name.replace(' ', "-"));
        trials.push(Trial::test(name, move || {
            try_case(&case, sensitive);
            Ok(())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
