//! Where a trial deploys: a package, a directory of deployments, and what is left of them.

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::Bench;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tempfile::TempDir;

/// What the guests' drivers are.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_console", "virtio_blk", "ata_piix", "sr_mod"];

/// The disk, in its directory and in that of the package.
const DISK: &str = "disk.raw";

/// A trial's place.
pub(super) struct Desk {
    directory: TempDir,
    host: PathBuf,
    _disk: Arc<TempDir>,
}

/// What a command has said, and how it has ended.
pub(super) struct Said {
    /// What it has answered.
    pub(super) out: String,
    /// What it has complained of.
    pub(super) errors: String,
    /// Its exit status.
    pub(super) status: Option<i32>,
}

impl Desk {
    /// A package of this descriptor, beside the disk that its guests boot from.
    pub(super) fn new(bench: &Bench<'_>, descriptor: &str) -> Result<Self> {
        let [(_, agent), (_, host)] = bench.products()?;
        // Short, because the sockets' paths are limited to 107 bytes.
        let directory = tempfile::Builder::new().prefix("ovf-").tempdir_in("/tmp")?;
        let disk = disk(&agent)?;
        fs::write(directory.path().join("package.ovf"), descriptor)?;
        // Both lie in /tmp; a package's file may be no symbolic link.
        fs::hard_link(disk.path().join(DISK), directory.path().join(DISK))?;
        Ok(Self { directory, host, _disk: disk })
    }

    /// A path below its directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command of ovf-host's in this place.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.host);
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        command.env("OVF_HOST_STATE", self.path("state")).env("OVF_HOST_ACCEL", "tcg").env_remove("TERM");
        command
    }

    /// Runs it to its end.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Said> {
        ended(self.command(arguments).output().context("ovf-host does not run")?)
    }

    /// Runs `up` or another command that tells of events, until this guest has come so far.
    pub(super) fn run_until(&self, arguments: &[&str], guest: &str, word: &str) -> Result<Child> {
        let mut command = self.command(arguments);
        let mut child = command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let events = BufReader::new(child.stdout.take().context("it has a standard output")?);
        let is_there = |line: &str| event(line).is_some_and(|it| it == (guest.to_owned(), word.to_owned()));
        for line in events.lines() {
            if is_there(&line?) {
                return Ok(child);
            }
        }
        bail!("{guest} was never {word}: {}", ended(child.wait_with_output()?)?.text())
    }

    /// What has happened in a deployment: guests, and their stages or what became of them.
    pub(super) fn events(&self, name: &str) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.path("state").join(name).join("events.jsonl")).unwrap_or_default();
        text.lines().filter_map(event).collect()
    }

    /// What a guest's console has said.
    pub(super) fn console(&self, name: &str, guest: usize) -> String {
        let path = self.path("state").join(name).join(format!("guests/{guest}/console.log"));
        fs::read(path).map(|it| String::from_utf8_lossy(&it).into_owned()).unwrap_or_default()
    }

    /// Resets a guest, as its hardware would be.
    pub(super) fn reset(&self, name: &str, guest: usize) -> Result<()> {
        let mut stream =
            UnixStream::connect(self.path("state").join(name).join(format!("s/{guest}.monitor")))?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        for command in ["qmp_capabilities", "system_reset"] {
            writeln!(stream, "{{\"execute\":\"{command}\"}}")?;
            lines
                .find(|line| line.as_ref().is_ok_and(|it| it.contains("\"return\"")))
                .context("no answer")??;
        }
        Ok(())
    }

    /// The processes that work in the deployments' directories, by their ids.
    pub(super) fn processes(&self) -> Vec<u32> {
        let state = self.path("state");
        let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
        let ids = all.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        ids.filter(|id| fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|it| it.starts_with(&state)))
            .collect()
    }

    /// Nothing runs, and no file is left.
    pub(super) fn is_clear(&self) -> Result<()> {
        let names: Vec<_> = fs::read_dir(self.path("state")).into_iter().flatten().flatten().collect();
        ensure!(names.is_empty(), "left: {names:?}");
        ensure!(self.processes().is_empty(), "still running: {:?}", self.processes());
        Ok(())
    }
}

impl Drop for Desk {
    /// Whatever a failed trial has left is ended, by id.
    fn drop(&mut self) {
        for id in self.processes() {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        }
    }
}

impl Said {
    /// All of it, for whoever looks for a mistake.
    pub(super) fn text(&self) -> String {
        format!("status {:?}\n{}{}", self.status, self.out, self.errors)
    }

    /// It has ended so, and said all of these.
    pub(super) fn is(&self, status: i32, wanted: &[&str]) -> Result<()> {
        ensure!(self.status == Some(status), "status {status} was wanted: {}", self.text());
        for text in wanted {
            ensure!(self.errors.contains(text), "{text:?} was wanted: {}", self.text());
        }
        Ok(())
    }
}

/// What a command that has ended has said.
pub(super) fn ended(output: Output) -> Result<Said> {
    let Output { status, stdout, stderr } = output;
    Ok(Said { out: String::from_utf8(stdout)?, errors: String::from_utf8(stderr)?, status: status.code() })
}

/// An event's guest, and its stage or what it is.
pub(super) fn event(line: &str) -> Option<(String, String)> {
    let event: Value = serde_json::from_str(line).ok()?;
    let word = event["stage"].as_str().or(event["event"].as_str())?;
    Some((event["guest"].as_str()?.to_owned(), word.to_owned()))
}

/// The directory with the disk: made once for trials that run side by side, and gone with the last of them.
fn disk(agent: &Path) -> Result<Arc<TempDir>> {
    static MADE: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(disk) = made.upgrade() {
        return Ok(disk);
    }
    let disk = Arc::new(make(agent)?);
    *made = Arc::downgrade(&disk);
    Ok(disk)
}

fn make(agent: &Path) -> Result<TempDir> {
    let directory = tempfile::Builder::new().prefix("ovf-").tempdir_in("/tmp")?;
    let (tree, image) = (directory.path().join("tree"), directory.path().join(DISK));
    crate::disk::make("deployed", (agent, &[]), &MODULES, &tree, &image)?;
    Ok(directory)
}
