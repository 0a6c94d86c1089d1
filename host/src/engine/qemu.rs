//! Guests that are QEMU processes of this machine.
//!
//! Decides how QEMU is started, spoken to and ended. Each guest is a process in a session of its own, and outlives whoever
//! has started it: a second monitor is for those who come later. QEMU's own `-daemonize` is not used, since its sandbox
//! forbids to fork. Needs no root; nothing is changed but the deployment's directory.
//!
//! The rules: qemu-system(1), QEMU's docs/interop/qmp-spec. QEMU's sandbox is on: packages are from anywhere.

#![forbid(unsafe_code)]

mod arguments;
pub mod gate;
mod hub;
mod monitor;
pub(super) mod network;
mod processes;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use serde_json::json;

use super::program::{last, tail};
use super::{Engine, Life, PATIENCE, Plan, disks};
pub(super) use arguments::model;
pub(super) use hub::Joint;
use monitor::Monitor;
pub use network::Network;
use processes::process;

/// What may differ from one deployment by QEMU to the next.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program.
    pub program: PathBuf,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// What is between the guests and this machine.
    pub network: Network,
}

/// QEMU.
#[derive(Debug)]
pub struct Qemu {
    plan: Plan,
    settings: Settings,
    /// Of those that this command has started, or taken up.
    processes: BTreeMap<usize, Process>,
    /// What joins the guests.
    joint: Joint,
}

/// A QEMU that runs.
#[derive(Debug)]
pub(super) struct Process {
    monitor: Monitor,
    /// Where it is a child of ours.
    child: Option<Child>,
}

/// How long QEMU may take to end once its guest's power is cut.
const END: Duration = Duration::from_secs(10);
/// How soon one that hangs is looked for again.
const LOOK: Duration = Duration::from_millis(50);

impl Qemu {
    /// The engine of a deployment.
    pub fn new(plan: Plan, settings: Settings) -> Self {
        Self { plan, settings, processes: BTreeMap::new(), joint: Joint::default() }
    }

    /// Lets go of a process that has ended, or is about to.
    fn reap(&mut self, guest: usize) {
        if let Some(Process { child: Some(mut child), .. }) = self.processes.remove(&guest) {
            // Its monitor was the last it had open.
            let _ = child.wait();
        }
    }

    /// One command to a guest's QEMU.
    fn command(&mut self, guest: usize, name: &str, arguments: &serde_json::Value) -> Result<(), String> {
        match self.processes.get_mut(&guest) {
            Some(process) => process.monitor.execute(name, arguments, PATIENCE).map(drop),
            None => Monitor::connect(&self.late(guest))?.execute(name, arguments, PATIENCE).map(drop),
        }
    }

    /// The monitor for those who come later.
    fn late(&self, guest: usize) -> PathBuf {
        self.plan.directory.join(socket(guest, "monitor"))
    }
}

impl Engine for Qemu {
    fn prepare(&mut self, _: &dyn Fn() -> bool) -> Result<(), String> {
        for (port, _) in &self.settings.network.published {
            TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).map_err(|error| {
                format!("the port {port} of this machine's loopback cannot be had: {error}; choose another one for --publish")
            })?;
        }
        self.joint = Joint::make(&self.plan, &self.settings.program, &self.settings.network)?;
        Ok(())
    }

    fn start(&mut self, guest: usize) -> Result<(), String> {
        self.reap(guest);
        self.joint.is_there_for(&self.plan, guest)?;
        let it = self.plan.guest(guest);
        disks::make(&self.plan, it, &disks::Here)?;
        let arguments = arguments::arguments(&self.plan, &self.settings, it)?;
        let process =
            spawn(&self.plan, &self.settings.program, &arguments, &format!("guests/{guest}/qemu.log"))?;
        self.processes.insert(guest, process);
        Ok(())
    }

    fn attach(&mut self, guest: usize) -> Result<(), String> {
        let monitor = Monitor::connect(&self.late(guest))?;
        self.processes.insert(guest, Process { monitor, child: None });
        self.joint.find(&self.plan, guest);
        Ok(())
    }

    fn source(&self, guest: usize) -> Option<BorrowedFd<'_>> {
        self.processes.get(&guest).map(|it| it.monitor.as_fd())
    }

    fn shared(&self) -> Option<BorrowedFd<'_>> {
        self.joint.source()
    }

    fn news(&mut self, guest: usize) -> Vec<(usize, Life)> {
        let mut all = Vec::new();
        if let Some(process) = self.processes.get_mut(&guest) {
            let (news, is_over) = process.monitor.news();
            if is_over {
                self.reap(guest);
            }
            all.extend(news.into_iter().map(|it| (guest, it)));
        }
        all.extend(self.joint.news(&self.plan, self.processes.keys().copied()));
        all
    }

    fn joined(&mut self) -> Result<(), String> {
        self.joint.is_whole(&self.plan)
    }

    fn port(&self, guest: usize) -> io::Result<UnixStream> {
        UnixStream::connect(self.plan.directory.join(socket(guest, "port")))
    }

    fn runs(&mut self, guest: usize) -> bool {
        // One that hangs has as many who wait as it takes.
        let is_there = |it: io::Result<UnixStream>| {
            it.map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |_| true)
        };
        self.processes.contains_key(&guest) || is_there(connect(&self.late(guest)))
    }

    fn press(&mut self, guest: usize) -> Result<(), String> {
        self.command(guest, "system_powerdown", &json!({}))
    }

    fn cut(&mut self, guest: usize) -> Result<(), String> {
        if let Some(process) = self.processes.get_mut(&guest) {
            // It may end before it answers.
            let _ = process.monitor.execute("quit", &json!({}), END);
            process.monitor.wait_for_end(Instant::now() + END);
            self.reap(guest);
        }
        end(&self.plan.directory, &socket(guest, "monitor"))
    }

    fn insert(&mut self, guest: usize) -> Result<(), String> {
        let disc = &self.plan.guest(guest).disc;
        let arguments = json!({
            "id": arguments::DRIVE, "filename": disc, "format": "raw", "read-only-mode": "read-only", "force": true,
        });
        self.command(guest, "blockdev-change-medium", &arguments)
    }

    fn clear(&mut self) -> Result<(), String> {
        self.joint.part(&self.plan)
    }

    fn terminal(&self, guest: usize) -> io::Result<UnixStream> {
        UnixStream::connect(self.plan.directory.join(socket(guest, "console")))
    }

    fn record(&self, guest: usize) -> io::Result<fs::File> {
        fs::File::open(self.plan.directory.join(log(guest)))
    }

    fn console(&self, guest: usize, lines: usize) -> Vec<String> {
        let path = self.plan.directory.join(log(guest));
        // A console that cannot be read is told as one that is empty: whoever asks has another error to tell.
        tail(&path).map(|text| last(&text, lines)).unwrap_or_default()
    }
}

/// Starts a QEMU in a session of its own, and greets its monitor: then all that it was to make is made, or it has ended
/// and says why.
fn spawn(plan: &Plan, program: &Path, arguments: &[String], log: &str) -> Result<Process, String> {
    let cannot = |error: io::Error| match error.kind() {
        // The program itself was looked for already.
        ErrorKind::NotFound => "setsid is not there; install it (Debian: util-linux)".to_owned(),
        _ => format!("{} cannot be started: {error}", program.display()),
    };
    let log = plan.directory.join(log);
    let errors =
        fs::File::create(&log).map_err(|error| format!("cannot write {}: {error}", log.display()))?;
    // One end of a pair is its standard input: there is no path to wait for, and nobody else has it.
    let (here, there) = UnixStream::pair().map_err(cannot)?;
    let mut command = Command::new("setsid");
    command.arg(program).args(arguments).current_dir(&plan.directory);
    command.stdin(OwnedFd::from(there)).stdout(Stdio::null()).stderr(errors);
    let mut child = command.spawn().map_err(cannot)?;
    drop(command);
    match Monitor::greet(here) {
        Ok(monitor) => Ok(Process { monitor, child: Some(child) }),
        Err(why) => {
            // One that hangs is ended; one that has ended is not the worse for it.
            let _ = child.kill();
            let _ = child.wait();
            let said = tail(&log).ok().and_then(|text| last(&text, 1).pop());
            Err(format!("{}: {}", program.display(), said.unwrap_or(why)))
        }
    }
}

/// Has the QEMU with this monitor end, and waits until it has: its last sign is that nobody listens any more. One that does not
/// is killed.
fn end(directory: &Path, socket: &str) -> Result<(), String> {
    let path = directory.join(socket);
    let (mut deadline, mut is_killed) = (Instant::now() + END, false);
    loop {
        match connect(&path) {
            Ok(stream) => {
                // One that is about to end does not answer; then it is looked for again.
                let left = deadline.saturating_duration_since(Instant::now());
                if let Ok(mut monitor) = Monitor::greet_within(stream, left) {
                    let _ = monitor.execute("quit", &json!({}), left);
                    monitor.wait_for_end(deadline);
                }
            }
            // It lives, and takes no more connections.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK),
            Err(_) => return Ok(()),
        }
        if Instant::now() > deadline {
            let process = process(directory, &format!("path={socket},")).filter(|_| !is_killed);
            let killed = process.is_some_and(|it| kill_process(it, Signal::KILL).is_ok());
            if !killed {
                return Err(format!("the QEMU behind {} does not end; kill it", path.display()));
            }
            (deadline, is_killed) = (Instant::now() + END, true);
        }
    }
}

/// Connects to a QEMU. Does not wait for one that hangs: as many as it would take already wait there.
fn connect(path: &Path) -> io::Result<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A socket of a guest's, in the deployment's directory. Names are short: a path of a socket has at most 107 bytes.
pub(in crate::engine) fn socket(guest: usize, name: &str) -> String {
    format!("s/{guest}.{name}")
}

/// What a guest's console has said.
pub(in crate::engine) fn log(guest: usize) -> String {
    format!("guests/{guest}/console.log")
}
