//! The control shell's host half: runs scripts in the guest, moves files in and out.
//!
//! The wire format is described where its other half is, in `guest/control`. Requests follow each other;
//! what must run beside them is spawned as a job.

use crate::files::{self, Files, Tree};
use crate::wire::Wire;
use anyhow::{Context, Result, bail};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long a script may take unless the caller says otherwise: far more than any needs, so that a
/// loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(180);

/// The same where a whole boot comes first.
const BOOT_PATIENCE: Duration = Duration::from_secs(180);

/// A guest's control shell.
#[derive(Debug)]
pub struct Control {
    wire: Wire,
    requests: u64,
    jobs: u32,
}

/// What a script left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status as the shell counts: 128 + N for signal N.
    pub status: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// A program that runs in the guest beside the requests.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its process.
    pub pid: u32,
    directory: String,
}

impl Control {
    pub(crate) fn connect(socket: &std::path::Path) -> Result<Control> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("cannot connect to the control shell at {}", socket.display()))?;
        Ok(Control { wire: Wire::new(stream), requests: 0, jobs: 0 })
    }

    /// Runs `script` with the guest's shell, whatever its status.
    pub fn sh(&mut self, script: &str) -> Result<Output> {
        self.request(script, &[], PATIENCE)
    }

    /// Runs `script`, which must succeed, and gives its standard output.
    pub fn run(&mut self, script: &str) -> Result<String> {
        self.run_with(script, &[]).map(|output| String::from_utf8_lossy(&output).into_owned())
    }

    /// Runs `script`, which must succeed, as soon as the guest has booted so far that its control shell runs.
    pub(crate) fn run_at_boot(&mut self, script: &str) -> Result<()> {
        let output = self.request(script, &[], BOOT_PATIENCE)?;
        succeeded(script, output).map(drop)
    }

    /// Starts `script` beside the requests; its last command should be `exec`, so that its process is the
    /// job's. Its output is kept for `output`.
    pub fn spawn(&mut self, script: &str) -> Result<Job> {
        self.jobs += 1;
        let directory = format!("/run/control/job-{}", self.jobs);
        // Opening a fifo waits for its other end: `started` gives the pid without anybody polling for it,
        // and `ended` holds the status until somebody asks.
        let starter = format!(
            "mkdir {directory}; cd {directory}; mkfifo started ended; cat > script\n\
             {{ (cd /; exec setsid sh -c 'echo $$ > {directory}/started; . {directory}/script') \
                < /dev/null > output 2>&1; echo $? > ended; }} > /dev/null 2>&1 &\n\
             cat started"
        );
        let pid = self.run_with(&starter, script.as_bytes())?;
        let pid = String::from_utf8_lossy(&pid);
        let pid = pid.trim().parse().with_context(|| format!("not a pid: {pid:?}"))?;
        Ok(Job { pid, directory })
    }

    /// Waits until `job` ends, and gives its status.
    pub fn wait(&mut self, job: &Job, within: Duration) -> Result<i32> {
        let script = format!("cat {}/ended", job.directory);
        let output =
            self.request(&script, &[], within).with_context(|| format!("waiting for {job:?} to end"))?;
        let status = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        status.parse().with_context(|| format!("not a status: {status:?}"))
    }

    /// What `job` wrote so far.
    pub fn output(&mut self, job: &Job) -> Result<String> {
        self.run(&format!("cat {}/output", job.directory))
    }

    /// Puts `files` into the guest.
    pub fn put(&mut self, files: &Files) -> Result<()> {
        self.run_with("cpio -idu 2>/dev/null", &files.archive()?)
            .map(drop)
            .context("cannot put files into the guest")
    }

    /// The bytes of one file in the guest.
    pub fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        self.run_with(&format!("cat '{path}'"), &[])
    }

    /// Everything under `directory` in the guest, itself included as `.`.
    pub fn tree(&mut self, directory: &str) -> Result<Tree> {
        let archive =
            self.run_with(&format!("cd '{directory}' && find . | cpio -o -H newc 2>/dev/null"), &[])?;
        files::tree(&archive).with_context(|| format!("cannot read the tree under {directory} in the guest"))
    }

    fn run_with(&mut self, script: &str, input: &[u8]) -> Result<Vec<u8>> {
        succeeded(script, self.request(script, input, PATIENCE)?)
    }

    fn request(&mut self, script: &str, input: &[u8], within: Duration) -> Result<Output> {
        self.exchange(script, input, within).with_context(|| format!("control shell: {script}"))
    }

    fn exchange(&mut self, script: &str, input: &[u8], within: Duration) -> Result<Output> {
        let deadline = Instant::now() + within;
        self.requests += 1;
        let mut request =
            format!("{} {} {}\n{script}", self.requests, script.len(), input.len()).into_bytes();
        request.extend_from_slice(input);
        self.wire.send(&request, within)?;
        loop {
            let line = self.wire.line(deadline)?;
            let line = String::from_utf8_lossy(&line);
            let numbers: Vec<usize> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
            let &[id, status, out, err] = numbers.as_slice() else { bail!("not an answer: {line:?}") };
            let stdout = self.wire.bytes(out, deadline)?;
            let stderr = self.wire.bytes(err, deadline)?;
            // The answer to a request that was given up before comes late and is passed over.
            if u64::try_from(id)? == self.requests {
                return Ok(Output { status: i32::try_from(status)?, stdout, stderr });
            }
        }
    }
}

/// The standard output of `script`, unless it failed.
fn succeeded(script: &str, output: Output) -> Result<Vec<u8>> {
    if output.status != 0 {
        bail!(
            "in the guest, exit status {}: {script}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output.stdout)
}
