//! Other programs: openssl, qemu-img, an appliance's agent.
//!
//! Decides how one is run: with nothing to read, for a limited time, and with an answer of limited length. One that takes
//! longer or says more is ended with all that it started. A signal that ends us ends it, too (`scratch`).

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::scratch;

/// What a program may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time; none where it may work for hours.
    pub time: Option<Duration>,
    /// Bytes that it says, on each of standard output and standard error.
    pub bytes: u64,
}

/// A program that is to be run.
#[derive(Debug)]
pub struct Program(Command);

impl Program {
    /// The one of this name, or at this path.
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(name);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        Self(command)
    }

    /// With these arguments as well.
    pub fn arguments<S: AsRef<OsStr>>(mut self, all: impl IntoIterator<Item = S>) -> Self {
        self.0.args(all);
        self
    }

    /// In this directory.
    pub fn within(mut self, directory: &Path) -> Self {
        self.0.current_dir(directory);
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It cannot be started, or took more than its limits.
    pub fn run(mut self, limits: Limits) -> io::Result<Output> {
        let (mut child, _known) = scratch::start(&mut self.0)?;
        let output = Self::hear(&mut child, limits);
        if output.is_err() {
            end(&child);
        }
        // Where it has been reaped already, this is what was reaped.
        let status = child.wait();
        let (stdout, stderr) = output?;
        Ok(Output { status: status?, stdout, stderr })
    }

    /// What it says until it closes both ends and is over.
    fn hear(child: &mut Child, limits: Limits) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let deadline = limits.time.map(|time| Instant::now() + time);
        let out = listen(child.stdout.take().expect("piped"), limits.bytes);
        let err = listen(child.stderr.take().expect("piped"), limits.bytes);
        let answer = (wait(&out, deadline, limits)?, wait(&err, deadline, limits)?);
        // It has closed both; to end takes it no time, unless it is up to something.
        while deadline.is_some_and(|it| Instant::now() < it) && child.try_wait()?.is_none() {
            thread::sleep(Duration::from_millis(2));
        }
        match deadline {
            Some(_) if child.try_wait()?.is_none() => Err(late(limits)),
            _ => Ok(answer),
        }
    }
}

fn listen(end: impl Read + Send + 'static, bytes: u64) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let _ = sender.send(crate::bounded::all(end, bytes));
    });
    receiver
}

fn wait(
    answer: &Receiver<io::Result<Vec<u8>>>,
    deadline: Option<Instant>,
    limits: Limits,
) -> io::Result<Vec<u8>> {
    let heard = match deadline {
        None => answer.recv().map_err(|_| RecvTimeoutError::Disconnected),
        Some(deadline) => answer.recv_timeout(deadline.saturating_duration_since(Instant::now())),
    };
    match heard {
        Ok(Err(error)) if error.kind() == io::ErrorKind::Other => {
            Err(io::Error::other(format!("it said more than {} bytes, and was ended", limits.bytes)))
        }
        Ok(heard) => heard,
        Err(_) => Err(late(limits)),
    }
}

fn late(limits: Limits) -> io::Error {
    let seconds = limits.time.unwrap_or_default().as_secs_f64();
    io::Error::other(format!("it was not done within {seconds} s, and was ended"))
}

/// Ends a program, and what it has started.
pub(crate) fn end(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// How a program ended that did not end well, and the first line of what it said.
pub fn complaint(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let first: String = said
        .lines()
        .map(str::trim)
        .find(|it| !it.is_empty())
        .unwrap_or("it says nothing")
        .chars()
        .take(400)
        .collect();
    match ended_by(output.status) {
        Some(signal) => format!("signal {signal} ended it: {first}"),
        None => first,
    }
}

fn ended_by(status: ExitStatus) -> Option<i32> {
    status.signal()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Limits, Program, complaint};

    const LIMITS: Limits = Limits { time: Some(Duration::from_millis(500)), bytes: 1000 };

    fn shell(script: &str) -> std::io::Result<std::process::Output> {
        Program::new("/bin/sh").arguments(["-c", script]).run(LIMITS)
    }

    #[test]
    fn a_program_answers_or_is_ended() {
        let output = shell("echo out; echo err >&2; exit 3").expect("it runs");
        assert_eq!(
            (&output.stdout[..], &output.stderr[..], output.status.code()),
            (&b"out\n"[..], &b"err\n"[..], Some(3))
        );
        assert_eq!(complaint(&output), "err");
        assert_eq!(complaint(&shell("kill -9 $$").expect("it runs")), "signal 9 ended it: it says nothing");
        for (script, want) in [
            ("exec sleep 1000", "it was not done within 0.5 s"),
            ("sleep 1000 & sleep 1000", "it was not done within 0.5 s"),
            // Its child holds the pipes.
            ("sleep 1000 & exit 0", "it was not done within 0.5 s"),
            ("exec sleep 1000 >&- 2>&-", "it was not done within 0.5 s"),
            ("while :; do echo x; done", "it said more than 1000 bytes"),
            ("while :; do echo x >&2; done", "it said more than 1000 bytes"),
        ] {
            let begun = Instant::now();
            let said = shell(script).expect_err(script).to_string();
            assert!(said.starts_with(want), "{script}: {said}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{script}: {:?}", begun.elapsed());
        }
        assert_eq!(shell("exec cat").expect("there is nothing to read").status.code(), Some(0));
    }
}
