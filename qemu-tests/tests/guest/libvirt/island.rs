//! A machine of the trial's own, as far as a libvirt of root's can tell: namespaces, which `island` makes.
//!
//! Nothing of the machine that they are on changes, and it sees neither the bridges nor the packet filter's rules within. They are
//! for root, and want bridges, tap devices and the packet filter of the kernel; elsewhere trials in them are skipped.

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Namespaces, as long as this is there.
pub(super) struct Island {
    holder: Child,
}

/// Why there can be none here.
pub(crate) fn obstacle() -> Option<String> {
    if !geteuid().is_root() {
        return Some("this is not root".to_owned());
    }
    let why = format!("{:#}", Island::start(None).err()?);
    Some(format!("no namespaces for libvirt: {}", why.lines().last().unwrap_or_default()))
}

impl Island {
    /// Makes them; this directory is empty there.
    pub(super) fn start(hidden: Option<&Path>) -> Result<Self> {
        let script = crate::docs::top().join("qemu-tests/tests/guest/libvirt/island");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net"]).arg(&script).args(hidden);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().context("unshare does not run")?;
        let mut said = String::new();
        BufReader::new(holder.stdout.take().context("it has a standard output")?).read_line(&mut said)?;
        if said.trim_end() != "ready" {
            let errors = holder.wait_with_output()?.stderr;
            bail!("{} fails: {}", script.display(), String::from_utf8_lossy(&errors).trim_end());
        }
        Ok(Self { holder })
    }

    /// A path in them, as it is seen from outside.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.holder.id()))
    }

    /// The beginning of a command line that runs there, in this directory.
    pub(super) fn inside(&self, directory: &Path) -> Command {
        let mut command = self.beside();
        command.arg(format!("--mount={}", self.namespace("mnt")));
        command.arg(format!("--wdns={}", directory.display()));
        command
    }

    /// That of one which has the network in common with them, and nothing else.
    pub(super) fn beside(&self) -> Command {
        let mut command = Command::new("/usr/bin/nsenter");
        command.arg(format!("--net={}", self.namespace("net")));
        command
    }

    fn namespace(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.holder.id())
    }

    /// Processes on the network, beside the one that holds it and sshd's for a connection: by their ids.
    pub(super) fn processes(&self) -> Vec<u32> {
        let (Ok(ours), Ok(all)) = (fs::read_link(self.namespace("net")), fs::read_dir("/proc")) else {
            return Vec::new();
        };
        let ids = all.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        let is_there = |id: &u32| fs::read_link(format!("/proc/{id}/ns/net")).is_ok_and(|it| it == ours);
        // What is left of a connection ends when it is seen to be over.
        let is_session =
            |id: &u32| fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|it| it.starts_with(b"sshd: "));
        ids.filter(|id| *id != self.holder.id() && is_there(id) && !is_session(id)).collect()
    }

    /// Its network interfaces, by their names.
    pub(super) fn interfaces(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(format!("/proc/{}/net/dev", self.holder.id()))?;
        let name = |line: &str| line.split_once(':').map(|it| it.0.trim().to_owned());
        Ok(text.lines().filter_map(name).collect())
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
