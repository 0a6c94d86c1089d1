//! The platform's side of the agent's port: connects, collects reports, acknowledges them.
//!
//! QEMU listens on a unix socket for one client at a time; being connected, late or never is the test's
//! choice. A thread for each connection reads and acknowledges at once, as a real host would, whatever
//! the test is doing meanwhile.

use crate::frames::Frames;
use crate::report::Report;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A report with the circumstances in which it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// When it came.
    pub at: Instant,
    /// Over which connection, counted from 1.
    pub connection: usize,
    /// What it says.
    pub report: Report,
}

/// The platform's end of one guest's port.
#[derive(Debug)]
pub struct Host {
    socket: PathBuf,
    log: Arc<Log>,
    connection: Option<Connection>,
    /// How many connections there have been.
    connections: usize,
    /// The first report that `report` has not looked at yet.
    next: usize,
}

/// What arrived over all connections; shared with the threads that read.
#[derive(Debug, Default)]
pub(crate) struct Log {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Debug)]
struct State {
    frames: Frames,
    reports: Vec<Received>,
    /// Frames that are no reports.
    others: Vec<Value>,
    acknowledge: bool,
    /// The current connection was ended by the other side.
    ended: bool,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    reader: JoinHandle<()>,
}

impl Default for State {
    fn default() -> State {
        State {
            frames: Frames::default(),
            reports: Vec::new(),
            others: Vec::new(),
            acknowledge: true,
            ended: false,
        }
    }
}

impl Host {
    /// A host that will connect to `socket`, but has not.
    pub(crate) fn new(socket: &Path) -> Host {
        let log = Arc::new(Log::default());
        Host { socket: socket.to_path_buf(), log, connection: None, connections: 0, next: 0 }
    }

    /// The port's socket, for a host that is none of ours; this one must not be connected then.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Connects; from now on reports are collected.
    pub fn connect(&mut self) -> Result<()> {
        if self.connection.is_some() {
            bail!("the host is already connected to {}", self.socket.display());
        }
        let attempt = || format!("cannot connect to the agent's port at {}", self.socket.display());
        let stream = UnixStream::connect(&self.socket).with_context(attempt)?;
        // A guest that reads nothing must not stop the test.
        stream.set_write_timeout(Some(Duration::from_secs(60))).with_context(attempt)?;
        let reading = stream.try_clone().with_context(attempt)?;
        self.connections += 1;
        self.log.state().ended = false;
        let (log, connection) = (Arc::clone(&self.log), self.connections);
        let reader = thread::spawn(move || log.read(reading, connection));
        self.connection = Some(Connection { stream, reader });
        Ok(())
    }

    /// Connects without ever reading: what the caller does with the stream is its own business.
    pub fn connect_deaf(&self) -> Result<UnixStream> {
        UnixStream::connect(&self.socket)
            .with_context(|| format!("cannot connect to the agent's port at {}", self.socket.display()))
    }

    /// Disconnects; what the guest sends now is lost.
    pub fn disconnect(&mut self) {
        if let Some(Connection { stream, reader }) = self.connection.take() {
            // Wakes the reader. It fails only if QEMU is gone, which woke the reader already.
            let _ = stream.shutdown(Shutdown::Both);
            // A reader that panicked has nothing more to say.
            let _ = reader.join();
        }
    }

    /// Whether reports are acknowledged from now on; they are unless told otherwise.
    pub fn acknowledge(&self, acknowledge: bool) {
        self.log.state().acknowledge = acknowledge;
    }

    /// Sends `message` as a frame.
    pub fn send(&self, message: &Value) -> Result<()> {
        self.send_bytes(format!("\n{message}\n").as_bytes())
            .with_context(|| format!("cannot send {message} to the agent"))
    }

    /// Sends what is no frame, or many.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
        let connection = self.connection.as_ref().ok_or_else(|| anyhow!("the host is not connected"))?;
        (&connection.stream)
            .write_all(bytes)
            .with_context(|| format!("cannot send {} bytes to the agent", bytes.len()))
    }

    /// The first report that matches, of those that came since the last one given, or come `within`.
    ///
    /// Each report is looked at once, so calls in a row follow the order of events. One that is said again over the same
    /// connection is no event: an agent may do that whenever it cannot tell whether somebody has come.
    pub fn report(&mut self, wanted: impl Fn(&Report) -> bool, within: Duration) -> Result<Received> {
        self.look(within, |one, before| {
            let is_it =
                |other: &Received| other.connection == one.connection && one.report.repeats(&other.report);
            wanted(&one.report) && !before.iter().any(is_it)
        })
    }

    /// The same, and one that is said again counts.
    pub fn any_report(&mut self, wanted: impl Fn(&Report) -> bool, within: Duration) -> Result<Received> {
        self.look(within, |one, _| wanted(&one.report))
    }

    /// `wanted` gets the report and those that were passed over or given.
    fn look(
        &mut self,
        within: Duration,
        wanted: impl Fn(&Received, &[Received]) -> bool,
    ) -> Result<Received> {
        let next = &mut self.next;
        self.log.wait("report", within, |state| {
            let (before, news) = state.reports.split_at(*next);
            let found = news.iter().position(|one| wanted(one, before));
            *next += found.map_or(news.len(), |at| at + 1);
            found.map(|at| news[at].clone())
        })
    }

    /// Passes over the reports that came so far: `report` then gives only later ones.
    pub fn skip(&mut self) {
        self.next = self.log.state().reports.len();
    }

    /// The answer to the request `id`, waiting for it.
    pub fn answer(&self, id: &str, within: Duration) -> Result<Value> {
        self.log.wait("answer", within, |state| {
            state.others.iter().find(|frame| frame["type"] == "answer" && frame["to"] == id).cloned()
        })
    }

    /// All answers so far, in the order in which they came.
    pub fn answers(&self) -> Vec<Value> {
        self.log.state().others.iter().filter(|frame| frame["type"] == "answer").cloned().collect()
    }

    /// Every report so far.
    pub fn reports(&self) -> Vec<Received> {
        self.log.state().reports.clone()
    }

    /// How many lines were no frame, and how many frames did not begin with a newline.
    pub fn flaws(&self) -> (usize, usize) {
        let state = self.log.state();
        (state.frames.torn, state.frames.unannounced)
    }

    /// What arrives here, for whoever explains a failure.
    pub(crate) fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.disconnect();
    }
}

impl Log {
    /// Number of reports so far with one line for each, as failures show them.
    pub(crate) fn summary(&self) -> String {
        self.state().summary()
    }

    /// What `find` finds, as soon as it does.
    fn wait<T>(&self, what: &str, within: Duration, mut find: impl FnMut(&State) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + within;
        let mut state = self.state();
        loop {
            if let Some(found) = find(&state) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.ended {
                let why = if state.ended { "before the connection ended" } else { "in time" };
                bail!("the {what} that was waited for did not come {why} ({within:?}); {}", state.summary());
            }
            state = self.grown.wait_timeout(state, left).expect("readers hold the lock without panic").0;
        }
    }

    /// Reads frames from one connection until it ends.
    fn read(&self, mut stream: UnixStream, connection: usize) {
        let mut chunk = [0; 16 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            let at = Instant::now();
            let mut state = self.state();
            let mut answers = String::new();
            for line in state.frames.push(&chunk[..count]) {
                let Some(report) = Report::from_line(&line) else {
                    state.others.extend(serde_json::from_str(&line));
                    continue;
                };
                if state.acknowledge {
                    answers.push_str(&format!("\n{}\n", report.acknowledgement()));
                }
                state.reports.push(Received { at, connection, report });
            }
            drop(state);
            self.grown.notify_all();
            // Without the lock: a guest that does not read must not stop the test. If the guest is gone the
            // next read says so.
            let _ = stream.write_all(answers.as_bytes());
        }
        let mut state = self.state();
        state.frames.disconnect();
        state.ended = true;
        self.grown.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("readers hold the lock without panic")
    }
}

impl State {
    fn summary(&self) -> String {
        let mut text = format!("{} reports, {} torn frames", self.reports.len(), self.frames.torn);
        for Received { connection, report, .. } in &self.reports {
            let Report { seq, uptime_ms, .. } = report;
            text.push_str(&format!("\n  connection {connection}, seq {seq}, up {uptime_ms} ms: {report}"));
        }
        text
    }
}
