//! An agent on this machine, under a root of its own: documents come by its control socket, as there is no port.

use crate::appliance::DOCUMENT;
use crate::place::{Footprint, PATIENCE, Place, footprint_script, rounds};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long to wait before looking again whether the agent listens: nothing tells.
const PAUSE: Duration = Duration::from_millis(2);

/// A process that is gone with its value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both can fail only if it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A machine's tree with an agent that is ready.
pub(crate) struct Tree {
    agent: Process,
    socket: BufReader<UnixStream>,
    flushes: PathBuf,
    sent: u32,
    generation: u64,
    changed: Vec<String>,
    root: TempDir,
}

impl Tree {
    /// Starts `agent`, with its root below `place`.
    pub(crate) fn start(agent: &Path, directory: &Path, place: &Path) -> Result<Tree> {
        let root = tempfile::Builder::new().prefix("ovf-").tempdir_in(place);
        let root = root.with_context(|| format!("cannot make a directory in {}", place.display()))?;
        std::fs::create_dir_all(root.path().join("etc/mydb/conf.d"))?;
        let document = root.path().join("ovf-env.xml");
        std::fs::write(&document, DOCUMENT)?;
        let log = std::fs::File::create(root.path().join("log"))?;
        // Killed with this process, as guests are.
        let agent = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(agent)
            .arg("run")
            .arg("--root")
            .arg(root.path())
            .arg("--config")
            .arg(directory.join("config"))
            .arg("--source")
            .arg(format!("file:{}", document.display()))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", agent.display()))?;
        let agent = Process(agent);
        let path = root.path().join("run/ovf-agent/control");
        let begun = Instant::now();
        let socket = loop {
            match UnixStream::connect(&path) {
                Ok(socket) => break socket,
                Err(error) if begun.elapsed() > PATIENCE => {
                    return Err(error).with_context(|| format!("cannot connect to {}", path.display()));
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        };
        socket.set_read_timeout(Some(PATIENCE))?;
        let (socket, flushes) = (BufReader::new(socket), directory.join("flushes"));
        let mut tree = Tree { agent, socket, flushes, sent: 0, generation: 0, changed: Vec::new(), root };
        tree.wait(|message| message["stage"] == "ready")?;
        Ok(tree)
    }

    /// The next message that is wanted, and when it came; reports are taken note of.
    fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<(Value, Instant)> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.socket.read_line(&mut line)? == 0 {
                let log = std::fs::read_to_string(self.root.path().join("log")).unwrap_or_default();
                bail!("the agent has gone: {log}");
            }
            let at = Instant::now();
            if line.trim().is_empty() {
                continue;
            }
            let message: Value = serde_json::from_str(&line)?;
            if message["type"] == "report" {
                self.generation = message["generation"].as_u64().unwrap_or_default();
                let changed = message["changed"].as_array().into_iter().flatten();
                self.changed = changed.filter_map(|path| path.as_str().map(str::to_owned)).collect();
            }
            if wanted(&message) {
                return Ok((message, at));
            }
        }
    }
}

impl Place for Tree {
    fn send(&mut self, document: &str) -> Result<Duration> {
        self.sent += 1;
        let (id, generation) = (self.sent.to_string(), self.generation + 1);
        let message = json!({ "type": "environment", "id": id, "document": document });
        let message = format!("\n{message}\n");
        let begun = Instant::now();
        self.socket.get_mut().write_all(message.as_bytes())?;
        let (_, reported) = self.wait(|message| message["generation"] == generation)?;
        let (answer, _) = self.wait(|message| message["type"] == "answer" && message["to"] == id.as_str())?;
        ensure!(answer["ok"] == true && !self.changed.is_empty(), "nothing was applied: {answer}");
        Ok(reported - begun)
    }

    fn footprint(&mut self) -> Result<Footprint> {
        let root = self.root.path().display().to_string();
        let output = Command::new("sh").arg("-c").arg(footprint_script(self.agent.0.id(), &root)).output()?;
        Footprint::parse(&String::from_utf8_lossy(&output.stdout))
    }

    fn disk(&mut self, count: u32) -> Result<Vec<[u64; 2]>> {
        let root = self.root.path();
        let files = self.changed.iter().map(|path| root.join(path.trim_start_matches('/')));
        let mut command = Command::new(&self.flushes);
        command.arg(count.to_string()).arg(root.join("var/lib/ovf-agent")).args(files);
        let output = command.output().context("cannot run flushes")?;
        ensure!(output.status.success(), "flushes: {}", String::from_utf8_lossy(&output.stderr));
        rounds(&String::from_utf8_lossy(&output.stdout))
    }
}
