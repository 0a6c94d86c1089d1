//! The example of a host, `examples/host-client.py`, against real guests: it knows nothing but `docs/protocol.md`.
//!
//! What a host can do wrong is tried in `port`, and what the guest says of itself in the modules of what it is about.

use crate::Test;
use crate::appliance::{DOCUMENT, GATE, PARAMETERS, appliance, soon, stage, start_agent, text};
use anyhow::{Context, Result, bail, ensure};
use qemu_tests::{Bench, Connect, Drive, Machine, Vm};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("client: it watches a guest to ready, sends, is refused, asks, reloads and stops it", life),
    ("client: a gate that stays shut is a timeout of its own first, and then the guest's failure", shut),
    (
        "client: it watches over an agent that is killed and over a reset, to ready; what the last boot was asked is not \
         asked of the next",
        restarted,
    ),
    ("client: what was not answered is asked again by the same id, and done once", cut),
];

/// The client, running; it ends by itself, by its `--timeout`.
struct Client {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Drop for Client {
    fn drop(&mut self) {
        // Only where a trial has failed is it not over; then nothing more is wanted of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client {
    fn start(socket: &Path, arguments: &[&str]) -> Result<Client> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/host-client.py");
        let mut child = Command::new("python3")
            .arg(program)
            .arg(socket)
            .args(arguments)
            .args(["--timeout", "60"].iter().filter(|_| !arguments.contains(&"--timeout")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start python3 (Debian package python3)")?;
        let lines = BufReader::new(child.stdout.take().expect("it was asked for"));
        Ok(Client { child, lines })
    }

    /// The next line that has all of this in it.
    fn line(&mut self, parts: &[&str]) -> Result<String> {
        let mut before = String::new();
        loop {
            let mut line = String::new();
            ensure!(self.lines.read_line(&mut line)? > 0, "no line with {parts:?} after {before}");
            if parts.iter().all(|part| line.contains(part)) {
                return Ok(line);
            }
            before.push_str(&line);
        }
    }

    /// Waits for its end; its status, and what it has said since.
    fn end(mut self) -> Result<(i32, String)> {
        let mut said = String::new();
        self.lines.read_to_string(&mut said)?;
        self.child.stderr.take().expect("it was asked for").read_to_string(&mut said)?;
        let status = self.child.wait()?.code().context("it was killed")?;
        Ok((status, said))
    }
}

fn client(vm: &Vm, arguments: &[&str]) -> Result<(i32, String)> {
    Client::start(vm.host.socket(), arguments)?.end()
}

fn life(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::Later)?;
    vm.put(&appliance(PARAMETERS))?;
    // It comes before the agent, and its query waits in the port.
    let watch = Client::start(vm.host.socket(), &["watch"])?;
    start_agent(&mut vm)?;
    let (status, said) = watch.end()?;
    ensure!(status == 0 && said.contains("ready"), "{status}: {said}");

    let good = bench.file(&DOCUMENT.replace("10.20.132.102", "10.0.0.2"))?;
    let (status, said) = client(&vm, &["send", &good.display().to_string()])?;
    ensure!(status == 0 && said.contains("source=channel"), "{status}: {said}");
    assert!(text(&mut vm, "/etc/mydb/mydb.conf")?.contains("10.0.0.2"));

    let bad = bench.file(&DOCUMENT.replace("10.20.132.102", "nowhere"))?;
    let (status, said) = client(&vm, &["send", &bad.display().to_string()])?;
    ensure!(
        status == 3 && said.contains("ParametersInvalid") && said.contains("com.mydb.db.ip"),
        "{status}: {said}"
    );

    let (status, said) = client(&vm, &["query", "--json"])?;
    let report: Value = serde_json::from_str(said.lines().next().context("no report")?)?;
    ensure!(status == 0 && report["ready"] == true && report["generation"] == 2, "{status}: {said}");
    assert_eq!(report["failure"]["code"], "ParametersInvalid");

    let (status, said) = client(&vm, &["reload"])?;
    ensure!(status == 0, "{status}: {said}");

    let (status, said) = client(&vm, &["stop", "poweroff", "--deadline-ms", "5000"])?;
    ensure!(status == 0 && said.contains("stopping"), "{status}: {said}");
    let event = vm.qmp.event("SHUTDOWN", soon())?;
    assert_eq!(event["data"], json!({ "guest": true, "reason": "guest-shutdown" }));
    Ok(())
}

fn shut(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::Later)?;
    vm.put(&appliance(&format!("{PARAMETERS}{GATE}")))?;
    start_agent(&mut vm)?;
    vm.run("until [ -e /etc/mydb/mydb.conf ]; do usleep 10000; done")?;
    let (status, said) = client(&vm, &["watch", "--timeout", "2"])?;
    ensure!(status == 4 && said.contains("file /run/mydb.ready: FileMissing"), "{status}: {said}");
    vm.put(&appliance(&format!("{PARAMETERS}{GATE}timeout = \"1s\"\n")))?;
    let (status, said) = client(&vm, &["reload"])?;
    ensure!(status == 0, "{status}: {said}");
    let (status, said) = client(&vm, &["watch"])?;
    ensure!(status == 3 && said.contains("GatesTimedOut"), "{status}: {said}");
    Ok(())
}

fn restarted(bench: &Bench<'_>) -> Result<()> {
    let files =
        appliance(&format!("{PARAMETERS}{GATE}")).with_program("/etc/rc", "#!/bin/sh\nexec ovf-agent run\n");
    let disc = Machine::with_disc(Drive::Ide, bench.environment(DOCUMENT)?);
    let mut vm = bench.boot(&disc, &files, Connect::Later)?;
    vm.allow_resets()?;
    let mut watch = Client::start(vm.host.socket(), &["watch", "--json"])?;
    let mut seen = Vec::new();
    for way in ["kill", "reset", "open"] {
        let report: Value = serde_json::from_str(&watch.line(&["\"waiting\""])?)?;
        seen.push((report["boot"].clone(), report["session"].clone()));
        match way {
            "kill" => drop(vm.spawn("kill -9 $(pidof ovf-agent); exec ovf-agent run")?),
            "reset" => drop(vm.qmp.execute("system_reset", json!({}))?),
            _ => drop(vm.run(": > /run/mydb.ready")?),
        }
    }
    let [(boot, session), (same, another), (next, last)] = seen.as_slice() else { bail!("{seen:?}") };
    assert!(boot == same && session != another && boot != next && another != last, "{seen:?}");
    let (status, said) = watch.end()?;
    ensure!(status == 0 && said.contains("\"ready\""), "{status}: {said}");
    stopped(&mut vm)
}

fn cut(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::Later)?;
    let slow = "+++\npath = \"/etc/slow.conf\"\ncheck = [\"/bin/slow\", \"{}\"]\n+++\n{{ ip }}\n";
    let wait = "#!/bin/sh\necho once >> /run/checked\nuntil [ -e /run/go ]; do usleep 10000; done\n";
    vm.put(
        &appliance(PARAMETERS)
            .with("/etc/ovf-agent/templates/slow.tera", slow)
            .with_program("/bin/slow", wait),
    )?;
    vm.run(": > /run/go")?;
    start_agent(&mut vm)?;
    ensure!(client(&vm, &["watch"])?.0 == 0);
    vm.run("rm /run/go /run/checked")?;

    let (between, listener) = between(&vm)?;
    let document = bench.file(&DOCUMENT.replace("10.20.132.102", "10.0.0.2"))?;
    let send = Client::start(&between, &["send", &document.display().to_string()])?;
    let mut ways = pass(listener.accept()?.0, vm.host.socket(), None)?;
    let before = ways.said("environment")?;
    vm.run("until [ -e /run/checked ]; do usleep 10000; done")?;
    drop(ways);
    let mut ways = pass(listener.accept()?.0, vm.host.socket(), None)?;
    let after = ways.said("environment")?;
    vm.run(": > /run/go")?;
    let (status, said) = send.end()?;
    ensure!(status == 0, "{status}: {said}");
    assert_eq!(vm.run("cat /run/checked")?, "once\n");
    assert_eq!(before, after);
    drop(ways);
    vm.host.connect()?;
    assert_eq!(vm.report(stage("ready"), soon())?.report.generation, 2);
    Ok(())
}

/// A stop gets lost with its boot; the next boot is not stopped.
fn stopped(vm: &mut Vm) -> Result<()> {
    let (between, listener) = between(vm)?;
    let stop = Client::start(&between, &["stop", "reboot"])?;
    pass(listener.accept()?.0, vm.host.socket(), Some("stop"))?.said("stop")?;
    vm.qmp.execute("system_reset", json!({}))?;
    let mut ways = pass(listener.accept()?.0, vm.host.socket(), Some("stop"))?;
    let (status, why) = stop.end()?;
    ensure!(status == 6, "{status}: {why}");
    let more = ways.said("stop");
    ensure!(more.is_err(), "{more:?}");
    Ok(())
}

/// A socket for a client that is not to speak with QEMU itself.
fn between(vm: &Vm) -> Result<(PathBuf, UnixListener)> {
    let path = vm.host.socket().with_extension("between");
    let listener = UnixListener::bind(&path)?;
    // For `accept` too, should the client not come.
    UnixStream::from(OwnedFd::from(listener.try_clone()?)).set_read_timeout(Some(soon()))?;
    Ok((path, listener))
}

/// Two threads that copy between a client and the port, until one side hangs up.
struct Ways {
    client: UnixStream,
    port: UnixStream,
    messages: Receiver<Value>,
}

/// Begins to copy. A message of the type `lost` is not passed on: the client is hung up on in place of that.
fn pass(client: UnixStream, port: &Path, lost: Option<&'static str>) -> Result<Ways> {
    let port = UnixStream::connect(port)?;
    let (mut from, mut to) = (port.try_clone()?, client.try_clone()?);
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    let (mut from, mut to) = (BufReader::new(client.try_clone()?), port.try_clone()?);
    let (said, messages) = mpsc::channel();
    thread::spawn(move || {
        let mut line = Vec::new();
        while let Ok(1..) = from.read_until(b'\n', &mut line) {
            let message = serde_json::from_slice::<Value>(&line).unwrap_or_default();
            let is_lost = lost.is_some_and(|lost| message["type"] == lost);
            // A trial that waits for no more has let go of its end.
            let _ = said.send(message);
            if is_lost || to.write_all(&line).is_err() {
                break;
            }
            line.clear();
        }
        hang_up(from.get_ref(), &to);
    });
    Ok(Ways { client, port, messages })
}

/// Ends both connections; one that is over already cannot be.
fn hang_up(client: &UnixStream, port: &UnixStream) {
    let _ = (client.shutdown(Shutdown::Both), port.shutdown(Shutdown::Both));
}

impl Ways {
    /// The next message of this type that the client says; it is on its way to the port then.
    fn said(&mut self, kind: &str) -> Result<Value> {
        loop {
            let message = self.messages.recv_timeout(soon()).with_context(|| format!("no {kind}"))?;
            if message["type"] == kind {
                return Ok(message);
            }
        }
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        hang_up(&self.client, &self.port);
    }
}
