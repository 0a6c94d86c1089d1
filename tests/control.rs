//! The control socket of a running agent, with programs at the other end that misuse it: that never read, say nothing sensible,
//! say too much, and are too many. `docs/protocol.md` says what they may expect.
//!
//! The agent runs on a scratch directory; nothing here needs a VM or root, and nothing outside the directory is touched.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is outside of the agent, and looks at files and starts programs"
)]

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// What no answer takes, also on a loaded machine.
const LONG: Duration = Duration::from_secs(30);

/// An agent that runs on a machine of its own.
struct Agent {
    process: Child,
    machine: tempfile::TempDir,
}

/// A command of the agent's, for the machine in this directory.
fn command(machine: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovf-agent"));
    command.args(arguments).arg("--root").arg(machine.join("root"));
    command
}

impl Agent {
    fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a scratch directory"))
    }

    fn start_in(machine: tempfile::TempDir) -> Self {
        let write = |name: &str, text: &str| {
            let path = machine.path().join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(path, text).expect("written");
        };
        let template = "+++\npath = \"/etc/a\"\n+++\n{{ ip }}\n";
        write(
            "root/etc/ovf-agent/agent.toml",
            "[parameters]\nip = { key = \"ip\", type = \"ipv4\", default = \"192.0.2.1\" }\n",
        );
        write("root/etc/ovf-agent/templates/a.tera", template);
        write("env.xml", "<Environment xmlns=\"http://schemas.dmtf.org/ovf/environment/1\"/>");
        let mut command = command(machine.path(), &["run"]);
        command.arg("--source").arg(format!("file:{}", machine.path().join("env.xml").display()));
        let process = command.stderr(Stdio::null()).spawn().expect("runs");
        let agent = Self { process, machine };
        ask(&agent.connect(), "first");
        agent.until_ready();
        agent
    }

    fn socket(&self) -> PathBuf {
        self.machine.path().join("root/run/ovf-agent/control")
    }

    /// Connects as soon as the agent listens.
    fn connect(&self) -> UnixStream {
        let begin = std::time::Instant::now();
        let stream = loop {
            match UnixStream::connect(self.socket()) {
                Ok(stream) => break stream,
                Err(error) => assert!(begin.elapsed() < LONG, "{error}"),
            }
            std::thread::yield_now();
        };
        stream.set_read_timeout(Some(LONG)).expect("set");
        stream.set_write_timeout(Some(LONG)).expect("set");
        stream
    }

    /// Waits as other programs do, by its own command.
    fn until_ready(&self) {
        self.tell(&["status", "--wait", "ready", "--timeout", "30s"]);
    }

    /// Has a command of the agent's done.
    fn tell(&self, arguments: &[&str]) {
        let output = command(self.machine.path(), arguments).output().expect("runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// What it has in memory now, and had at most, in KiB.
    fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let number = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).expect(name);
            line.split_whitespace().nth(1).and_then(|it| it.parse().ok()).expect(line)
        };
        (number("VmRSS:"), number("VmHWM:"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is said, frame by frame, until nobody says anything for too long.
fn frames(stream: &UnixStream) -> impl Iterator<Item = Value> {
    let lines = BufReader::new(stream).lines().map(|line| line.expect("something more is said"));
    lines.filter(|line| !line.is_empty()).map(|line| serde_json::from_str(&line).expect(&line))
}

/// Reads frames until the answer to `id`; all of them.
fn until_answer(stream: &UnixStream, id: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for frame in frames(stream) {
        let is_answer = frame["type"] == "answer" && frame["to"] == id;
        all.push(frame);
        if is_answer {
            return all;
        }
    }
    panic!("hung up on before the answer to {id}; {} frames", all.len());
}

fn query(id: impl ToString) -> Vec<u8> {
    format!("\n{}\n", json!({ "type": "query", "id": id.to_string() })).into_bytes()
}

fn ask(mut stream: &UnixStream, id: &str) -> Vec<Value> {
    stream.write_all(&query(id)).expect("taken");
    until_answer(stream, id)
}

fn code(frame: &Value) -> Option<&str> {
    frame["error"]["code"].as_str()
}

/// Says this again and again, until it is not taken for longer than an agent that reads would need.
fn fill(mut stream: &UnixStream, bytes: &[u8]) {
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("set");
    let mut taken = 0;
    while let Ok(count) = stream.write(bytes) {
        taken += count;
        assert!(taken < 64 << 20, "it reads on, though nobody takes its answers: {taken} bytes");
    }
    stream.set_write_timeout(Some(LONG)).expect("set");
}

#[test]
fn sixteen_who_never_read_keep_nobody_waiting_and_the_next_is_hung_up_on() {
    let agent = Agent::start();
    let (before, _) = agent.memory();
    let mut deaf: Vec<UnixStream> = (0..15).map(|_| agent.connect()).collect();
    for stream in &deaf {
        fill(stream, &query("nobody reads the answer").repeat(100));
    }
    let reads = agent.connect();
    assert_eq!(ask(&reads, "the sixteenth").last().expect("frames")["ok"], true);
    let mut next = agent.connect();
    let mut nothing = Vec::new();
    match next.read_to_end(&mut nothing) {
        Ok(_) => assert!(nothing.is_empty(), "the 17th is told nothing"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    // What there is to do is done meanwhile.
    fs::write(
        agent.machine.path().join("root/etc/ovf-agent/templates/a.tera"),
        "+++\npath = \"/etc/b\"\n+++\nx\n",
    )
    .expect("written");
    (&reads).write_all(b"\n{\"type\":\"reload\",\"id\":\"again\"}\n").expect("taken");
    assert_eq!(until_answer(&reads, "again").last().expect("frames")["ok"], true);
    assert!(agent.machine.path().join("root/etc/b").exists());
    // Each who reads in the end has all his answers.
    let last = deaf.pop().expect("fifteen");
    drop(deaf);
    let mut asking = last.try_clone().expect("cloned");
    let asker = std::thread::spawn(move || asking.write_all(&query("the end")));
    let frames = until_answer(&last, "the end");
    asker.join().expect("no panic").expect("taken");
    assert!(frames.iter().filter(|frame| frame["type"] == "answer").count() > 100);
    assert!(frames.iter().any(|frame| frame["type"] == "report" && frame["generation"] == 2));
    // And there is room again.
    agent.until_ready();
    let (_, most) = agent.memory();
    assert!(most < before + 4 * 1024, "{most} KiB at most, {before} before");
}

/// What a gate that is not passed leaves of a pass, and one that is; of the first pass, by an agent that was started again, too.
#[test]
fn where_the_time_went_is_told_while_it_goes_and_afterwards() {
    let agent = Agent::start();
    let analyze = |arguments: &[&str]| {
        let output =
            command(agent.machine.path(), &[&["analyze"], arguments].concat()).output().expect("runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let table = analyze(&[]);
    for word in ["detect", "templates", "flush", "configured", "ready"] {
        assert_eq!(table.matches(&format!("  {word}\n")).count(), 1, "{word} in {table}");
    }
    assert!(table.starts_with("first pass of this boot\n") && !table.contains("last pass"), "{table}");
    let write = |name: &str, text: &str| {
        fs::write(agent.machine.path().join("root/etc").join(name), text).expect("written");
    };
    let gated = "[parameters]\nip = { key = \"ip\", type = \"ipv4\", default = \"192.0.2.1\" }\n[ready]\nfiles = [\"/etc/<go>\"]\n";
    write("ovf-agent/agent.toml", gated);
    agent.tell(&["reload"]);
    let last = |json: &str| serde_json::from_str::<Value>(json).expect(json)["passes"][1]["rows"].clone();
    let rows = last(&analyze(&["--json"]));
    let whats: Vec<_> =
        rows.as_array().expect("a list").iter().filter_map(|row| row["what"].as_str()).collect();
    let want = ["configuration", "read", "environment", "parameters", "templates", "configured", "gate"];
    assert_eq!(whats, want);
    let gate = &rows[want.len() - 1];
    assert_eq!((&gate["name"], &gate["end_us"]), (&json!("file /etc/<go>"), &Value::Null));
    let picture = agent.machine.path().join("picture.svg");
    fs::write(&picture, analyze(&["--svg"])).expect("written");
    let lint = Command::new("xmllint").arg("--noout").arg(&picture).output();
    let lint = lint.expect("xmllint runs; apt-get install libxml2-utils");
    assert!(lint.status.success(), "{lint:?}");
    write("<go>", "");
    agent.until_ready();
    let rows = last(&analyze(&["--json"]));
    assert_eq!(rows[want.len()]["what"], "ready", "{rows}");
    assert!(rows[want.len() - 1]["end_us"].as_u64() <= rows[want.len()]["end_us"].as_u64(), "{rows}");
}

/// The host has the report; this is for whoever looks around in the guest. Neither is too much at once.
#[test]
fn who_asks_where_the_time_went_and_never_reads_costs_little() {
    let agent = Agent::start();
    let (before, _) = agent.memory();
    let deaf: Vec<UnixStream> = (0..15).map(|_| agent.connect()).collect();
    for stream in &deaf {
        fill(stream, &b"\n{\"type\":\"times\",\"id\":\"1\"}\n".repeat(100));
    }
    let reads = agent.connect();
    (&reads).write_all(b"\n{\"type\":\"times\",\"id\":\"1\"}\n").expect("taken");
    let answer = until_answer(&reads, "1").pop().expect("frames");
    assert!(answer["times"].as_str().is_some_and(|times| times.contains(" flush ")), "{answer}");
    let (_, most) = agent.memory();
    assert!(most < before + 6 * 1024, "{most} KiB at most, {before} before");
}

#[test]
fn where_the_time_went_outlives_the_agent_until_the_next_boot() {
    let machine = tempfile::tempdir().expect("a scratch directory");
    let analyze = || command(machine.path(), &["analyze", "--json"]).output().expect("runs");
    let write = |name: &str, text: &str| {
        let path = machine.path().join("root").join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, text).expect("written");
    };
    write("proc/sys/kernel/random/boot_id", "one\n");
    write("etc/ovf-agent/agent.toml", "[environment]\nabsent = \"defaults\"\n");
    fs::create_dir(machine.path().join("root/run")).expect("made");
    let nothing = analyze();
    let error = String::from_utf8_lossy(&nothing.stderr);
    assert!(nothing.status.code() == Some(75) && error.contains("ovf-agent apply"), "{nothing:?}");
    write("env.xml", "<Environment xmlns=\"http://schemas.dmtf.org/ovf/environment/1\"/>");
    let source = format!("file:{}", machine.path().join("root/env.xml").display());
    for _ in 0..2 {
        let apply = command(machine.path(), &["apply", "--source", &source]).output().expect("runs");
        assert!(apply.status.success(), "{apply:?}");
    }
    let times: Value = serde_json::from_slice(&analyze().stdout).expect("JSON");
    let rows = |pass: usize| times["passes"][pass]["rows"].as_array().expect("rows").len();
    assert!(rows(0) > 5 && rows(1) > 5, "{times}");
    write("proc/sys/kernel/random/boot_id", "two\n");
    assert_eq!(analyze().status.code(), Some(75), "of another boot");
}

#[test]
fn what_is_no_message_or_too_long_is_refused_and_the_next_is_heard() {
    let agent = Agent::start();
    let (before, _) = agent.memory();
    let noise: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, bytes, want) in [
        ("zeros", vec![0; 100_000], "NotAMessage"),
        ("noise", noise, "NotAMessage"),
        ("short", b"x\n".repeat(20_000), "NotAMessage"),
        ("long", vec![b'x'; 20 << 20], "LineTooLong"),
        ("deep", b"[".repeat(500_000), "NotAMessage"),
        (
            "id",
            format!("{{\"type\":\"reload\",\"id\":\"{}\"}}", "x".repeat(200_000)).into_bytes(),
            "BadRequest",
        ),
    ] {
        let stream = agent.connect();
        let mut writing = stream.try_clone().expect("cloned");
        let writer = std::thread::spawn(move || {
            writing.write_all(&bytes).and_then(|()| writing.write_all(&query("after it")))
        });
        let frames = until_answer(&stream, "after it");
        writer.join().expect("no panic").expect("taken");
        let refused = frames.iter().find_map(code);
        assert_eq!(refused, Some(want), "{name}");
        // Half a line, and gone.
        (&stream).write_all(b"\n{\"type\":").expect("taken");
    }
    ask(&agent.connect(), "last");
    let (after, most) = agent.memory();
    assert!(most < before + 6 * 1024, "{most} KiB at most, {before} before");
    assert!(after < before + 2 * 1024, "{after} KiB, {before} before");
}

/// One pass for all that were there when it began, and no more of them than may wait.
#[test]
fn five_thousand_reloads_are_answered_each() {
    let agent = Agent::start();
    let stream = agent.connect();
    let mut writing = stream.try_clone().expect("cloned");
    let reloads: Vec<u8> = (0..5_000)
        .flat_map(|id| format!("\n{}\n", json!({ "type": "reload", "id": id.to_string() })).into_bytes())
        .collect();
    let writer = std::thread::spawn(move || writing.write_all(&reloads));
    // One that is refused is answered before those that wait, so the last answer may be any one's.
    let mut answers = std::collections::BTreeMap::new();
    for frame in frames(&stream).filter(|frame| frame["type"] == "answer") {
        let id: usize = frame["to"].as_str().and_then(|to| to.parse().ok()).expect("an id of ours");
        let is_refused = frame["ok"] == false && code(&frame) == Some("Busy");
        assert!(frame["ok"] == true || is_refused, "{frame}");
        assert!(answers.insert(id, is_refused).is_none(), "{id} is answered twice");
        if answers.len() == 5_000 {
            break;
        }
    }
    writer.join().expect("no panic").expect("taken");
    assert!(answers.values().take(64).all(|is_refused| !is_refused), "so many may wait");
    (&stream).write_all(b"\n{\"type\":\"reload\",\"id\":\"again\"}\n").expect("taken");
    let last = until_answer(&stream, "again");
    assert!(last.last().is_some_and(|answer| answer["ok"] == true), "{last:?}");
}

#[test]
fn who_waits_for_ready_waits_for_a_process_that_is_not_there_yet() {
    let machine = tempfile::tempdir().expect("a scratch directory");
    fs::create_dir(machine.path().join("root")).expect("made");
    let wait = ["status", "--wait", "ready", "--timeout", "30s"];
    let waiting = command(machine.path(), &wait).stdout(Stdio::piped()).spawn().expect("runs");
    let agent = Agent::start_in(machine);
    let output = waiting.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let mut next = command(agent.machine.path(), &["run"]);
    let next = next.output().expect("runs");
    assert_eq!(next.status.code(), Some(75), "there is one already: {next:?}");
    assert_eq!(ask(&agent.connect(), "still there").last().expect("frames")["ok"], true);
}

#[test]
fn a_reload_applies_what_is_new_to_what_was_sent_last() {
    let agent = Agent::start();
    let stream = agent.connect();
    let document = "<Environment xmlns=\"http://schemas.dmtf.org/ovf/environment/1\" xmlns:e=\"http://schemas.dmtf.org/ovf/environment/1\"><PropertySection><Property e:key=\"ip\" e:value=\"192.0.2.9\"/></PropertySection></Environment>";
    let request = json!({ "type": "environment", "id": "sent", "document": document });
    (&stream).write_all(format!("\n{request}\n").as_bytes()).expect("taken");
    assert_eq!(until_answer(&stream, "sent").last().expect("frames")["ok"], true);
    let path = |name: &str| agent.machine.path().join("root/etc").join(name);
    fs::write(path("ovf-agent/templates/a.tera"), "+++\npath = \"/etc/a\"\n+++\nip {{ ip }}\n")
        .expect("written");
    agent.tell(&["reload"]);
    assert_eq!(fs::read_to_string(path("a")).expect("read"), "ip 192.0.2.9\n");
    // What lies at the usual place is not what lay there then, so it is newer.
    fs::write(agent.machine.path().join("env.xml"), document.replace(".9", ".10")).expect("written");
    agent.tell(&["reload"]);
    assert_eq!(fs::read_to_string(path("a")).expect("read"), "ip 192.0.2.10\n");
}

#[test]
fn a_document_that_the_host_has_outdated_is_not_taken_for_what_is_applied() {
    let agent = Agent::start();
    let here = agent.machine.path().join("root/sys/firmware/qemu_fw_cfg/by_name/opt/org.ovf/env/raw");
    fs::create_dir_all(here.parent().expect("a directory")).expect("made");
    fs::copy(agent.machine.path().join("env.xml"), &here).expect("copied");
    let get = |more: &[&str]| {
        let output = command(agent.machine.path(), &[&["get", "ip"], more].concat()).output().expect("runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    assert_eq!(get(&[]), (Some(0), "192.0.2.1\n".to_owned()));
    let stream = agent.connect();
    let document = "<Environment xmlns=\"http://schemas.dmtf.org/ovf/environment/1\" xmlns:e=\"http://schemas.dmtf.org/ovf/environment/1\"><PropertySection><Property e:key=\"ip\" e:value=\"192.0.2.9\"/></PropertySection></Environment>";
    let request = json!({ "type": "environment", "id": "sent", "document": document });
    (&stream).write_all(format!("\n{request}\n").as_bytes()).expect("taken");
    assert_eq!(until_answer(&stream, "sent").last().expect("frames")["ok"], true);
    let refused = |arguments: &[&str], remedies: &[&str]| {
        let output = command(agent.machine.path(), arguments).output().expect("runs");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(75), 0), "{arguments:?}: {output:?}");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(said.contains("the host has sent a newer OVF environment"), "{said}");
        remedies.iter().for_each(|remedy| assert!(said.contains(remedy), "{said}"));
    };
    refused(&["get", "ip"], &["org.ovf.Agent1 GetParameter s ip`", "--source fwcfg"]);
    refused(&["env"], &["GetParameter s NAME`", "--source fwcfg"]);
    refused(&["explain", "/etc/a"], &["--source fwcfg"]);
    // Files are not sent, so those are asked for that lie where the document does; with this one there are none.
    let files = command(agent.machine.path(), &["env", "--files"]).output().expect("runs");
    assert_eq!(files.status.code(), Some(0), "{files:?}");
    assert_eq!(
        get(&["--source", "fwcfg"]),
        (Some(0), "192.0.2.1\n".to_owned()),
        "it was named, so it is meant"
    );
    fs::remove_file(&here).expect("removed");
    refused(&["get", "ip"], &["org.ovf.Agent1 GetParameter s ip`"]);
    // One that is not what lay there then is newer than what was sent.
    fs::write(&here, document.replace(".9", ".10")).expect("written");
    assert_eq!(get(&[]), (Some(0), "192.0.2.10\n".to_owned()));
}
