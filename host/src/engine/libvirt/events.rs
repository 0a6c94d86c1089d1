//! What becomes of domains: the lines of one `virsh event`.
//!
//! Decides which of libvirt's events mean that a guest is off, lost or boots again, and that none is missed: libvirt tells
//! only what happens once somebody listens, and `virsh` does not say when it does. So a domain that is there is changed in
//! something that means nothing, until that is heard of.
//!
//! The rules: virsh(1), `event`; libvirt's virDomainEventType and its kin, in the words of virsh's
//! tools/virsh-domain-event.c.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Virsh;
use crate::engine::{Life, PATIENCE, drain};

/// `virsh event`, which runs as long as this is there.
#[derive(Debug)]
pub(super) struct Events {
    child: Child,
    stream: UnixStream,
    pending: Vec<u8>,
    /// Domains whose QEMU was told by this machine to end.
    ended: BTreeSet<String>,
    /// What it has said of its own trouble.
    trouble: Option<String>,
}

/// How long a change may take to be heard of before it is made again.
const AGAIN: Duration = Duration::from_millis(200);

impl Events {
    /// Listens. The domain is one that is there.
    pub(super) fn begin(virsh: &Virsh, domain: &str, uuid: &str) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("virsh event cannot be run: {error}");
        let (here, there) = UnixStream::pair().map_err(cannot)?;
        // It sees only when it next has something to say that nobody listens any more; so it ends with us, however we do.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).args(virsh.line()).args(["event", "--all", "--loop"]);
        command.env("LC_ALL", "C").stdin(Stdio::null()).process_group(0);
        let errors = there.try_clone().map_err(cannot)?;
        command.stdout(OwnedFd::from(there)).stderr(OwnedFd::from(errors));
        let child = command.spawn().map_err(cannot)?;
        drop(command);
        let mut events =
            Self { child, stream: here, pending: Vec::new(), ended: BTreeSet::new(), trouble: None };
        events.wait_until_heard(virsh, domain, uuid)?;
        Ok(events)
    }

    fn wait_until_heard(&mut self, virsh: &Virsh, domain: &str, uuid: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        self.stream.set_read_timeout(Some(AGAIN)).map_err(|error| error.to_string())?;
        while Instant::now() < deadline {
            virsh.run(["metadata", uuid, "urn:ovf-host", "--live", "--key", "ovf", "--set", "<heard/>"])?;
            while let Some(line) = self.line()? {
                if event(&line) == Some((domain, "metadata-change", "type element, uri urn:ovf-host")) {
                    return Ok(());
                }
                self.hear_trouble(&line);
            }
        }
        Err("virsh event tells nothing".to_owned())
    }

    /// The next line, a byte at a time: what comes after it is for whoever polls. None where it does not come yet.
    fn line(&mut self) -> Result<Option<String>, String> {
        let mut byte = [0];
        loop {
            match self.stream.read(&mut byte) {
                Ok(0) => return Err(self.why()),
                Ok(_) if byte == [b'\n'] => {
                    return Ok(Some(
                        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned(),
                    ));
                }
                Ok(_) => self.pending.push(byte[0]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(error) => return Err(format!("virsh event: {error}")),
            }
        }
    }

    /// What has become of domains since the last look, and if that was the last of it, why.
    pub(super) fn news(&mut self) -> (Vec<(String, Life)>, Option<String>) {
        let is_over = drain(&mut self.stream, &mut self.pending);
        let mut news = Vec::new();
        while let Some(end) = self.pending.iter().position(|&it| it == b'\n') {
            let line: Vec<_> = self.pending.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            match event(&line) {
                Some((domain, kind, detail)) => news.extend(
                    life(&mut self.ended, domain, kind, detail).map(|life| (domain.to_owned(), life)),
                ),
                None => self.hear_trouble(&line),
            }
        }
        (news, is_over.then(|| self.why()))
    }

    /// What it says of its own trouble; the first is the reason for the others.
    fn hear_trouble(&mut self, line: &str) {
        let said = line.strip_prefix("error: ").map(str::to_owned);
        self.trouble = self.trouble.take().or(said);
    }

    /// Why it has ended.
    fn why(&self) -> String {
        self.trouble.clone().unwrap_or_else(|| "virsh event has ended".to_owned())
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // One that has ended already is only waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An event's domain, kind and details. Names of ours have no marks in them.
fn event(line: &str) -> Option<(&str, &str, &str)> {
    let (kind, rest) = line.strip_prefix("event '")?.split_once("' for domain ")?;
    let (domain, detail) = rest.split_once(": ").unwrap_or((rest, ""));
    let domain = domain.strip_prefix('\'').and_then(|it| it.strip_suffix('\'')).unwrap_or(domain);
    Some((domain, kind, detail))
}

/// What an event means. That a guest is off is told once its QEMU has gone, too: until then its disks are in use.
fn life(ended: &mut BTreeSet<String>, domain: &str, kind: &str, detail: &str) -> Option<Life> {
    let lost = |why: &str| Some(Life::Lost(why.to_owned()));
    match (kind, detail) {
        ("reboot", _) => Some(Life::Rebooted),
        ("lifecycle", "Shutdown Finished after host request") => {
            ended.insert(domain.to_owned());
            None
        }
        ("lifecycle", "Stopped Shutdown") if ended.remove(domain) => lost("this machine has ended its QEMU"),
        ("lifecycle", "Stopped Shutdown") => Some(Life::Off),
        ("lifecycle", "Stopped Destroyed") => lost("somebody has cut its power, by libvirt"),
        ("lifecycle", "Stopped Failed") => lost("its QEMU has ended"),
        ("lifecycle", "Stopped Crashed" | "Crashed Panicked") => lost("its kernel has panicked"),
        ("lifecycle", other) if other.starts_with("Stopped ") => {
            Some(Life::Lost(format!("libvirt says of it: {other}")))
        }
        ("io-error-reason", detail) if detail.contains(" pause ") => match detail.ends_with("enospc") {
            true => lost("no space is left for what it writes"),
            false => lost("its disk fails"),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{event, life};
    use crate::engine::Life;

    #[test]
    fn lines_are_events() {
        for (line, want) in [
            (
                "event 'lifecycle' for domain 'a-b': Stopped Failed",
                Some(("a-b", "lifecycle", "Stopped Failed")),
            ),
            (
                "event 'lifecycle' for domain a-b: Started Booted",
                Some(("a-b", "lifecycle", "Started Booted")),
            ),
            ("event 'reboot' for domain 'a-b'", Some(("a-b", "reboot", ""))),
            ("error: Disconnected from qemu:///session due to end of file", None),
            ("events received: 13", None),
            ("", None),
        ] {
            assert_eq!(event(line), want, "{line}");
        }
    }

    #[test]
    fn a_guest_is_off_by_itself_or_lost() {
        let lost = |why: &str| Some(Life::Lost(why.to_owned()));
        for (lines, want) in [
            (
                &["lifecycle: Shutdown Finished after guest request", "lifecycle: Stopped Shutdown"][..],
                Some(Life::Off),
            ),
            (&["lifecycle: Shutdown Finished", "lifecycle: Stopped Shutdown"], Some(Life::Off)),
            (
                &["lifecycle: Shutdown Finished after host request", "lifecycle: Stopped Shutdown"],
                lost("this machine has ended its QEMU"),
            ),
            (&["lifecycle: Stopped Failed"], lost("its QEMU has ended")),
            (&["lifecycle: Stopped Saved"], lost("libvirt says of it: Stopped Saved")),
            (&["reboot: "], Some(Life::Rebooted)),
            (&["lifecycle: Suspended Paused"], None),
            (&["lifecycle: Resumed Unpaused"], None),
            (
                &["io-error-reason: /x/disk0.qcow2 (ide0-0-0) pause due to enospc"],
                lost("no space is left for what it writes"),
            ),
            (&["io-error-reason: /x/disk0.qcow2 (ide0-0-0) report due to "], None),
        ] {
            let mut ended = BTreeSet::new();
            let last = lines.iter().filter_map(|line| {
                let (kind, detail) = line.split_once(": ").expect("both");
                life(&mut ended, "a", kind, detail)
            });
            assert_eq!(last.last(), want, "{lines:?}");
        }
    }
}
