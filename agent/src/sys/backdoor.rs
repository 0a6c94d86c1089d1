//! VMware's backdoor: a port whose instructions the hypervisor answers, and over it RPCI's `info-get`.
//!
//! Decides how one key is asked for without harm; which keys, and what the answers mean, is the business of
//! `transport::guestinfo`. The protocol is `vmw_backdoor`'s (docs/decisions/005); nobody here can be sure that there is a
//! VMware: where there is none, the port instruction is a fault, or some device answers, or nobody.
//!
//! So the whole exchange, privileged or not, runs in a child ([`fork`](super::fork)), and the value comes back through a
//! pipe. Only to probe there, and then to ask here, would be less to carry, but then a fault in a later instruction (the
//! data goes by another port than the probe) or a host that stops answering would be ours; and the privilege over all
//! ports, which the child takes with it when it ends, would have to be given back. A look costs one fork.

use std::io;
use std::time::Duration;

use zeroize::Zeroizing;

use super::fork::{Outcome, in_child};

/// How the port is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// With the processor's leave for all ports: iopl(2), for which CAP_SYS_RAWIO is needed and no kernel lockdown.
    Privileged,
    /// Without: VMware answers before the processor asks for leave, unless its owner has restricted that.
    Plain,
}

/// What came of asking for one key.
pub enum Reply {
    /// Its value, which may have no bytes.
    Value(Zeroizing<Vec<u8>>),
    /// VMware knows no such key, or does not tell: `vmw_backdoor` does not say which.
    Absent,
    /// The port can be used, and nobody answers as VMware does.
    NoBackdoor,
    /// The port cannot be used in this way.
    Denied(String),
    /// VMware, or what answers in its place, broke the protocol.
    Failed(String),
    /// A value of more than the limit.
    TooLarge(u64),
    /// No answer in time.
    Late,
}

/// An exchange takes less than a millisecond; a guest that is short of processors may need longer.
const TIME: Duration = Duration::from_secs(2);

// The first byte of what the child sends.
const VALUE: u8 = b'v';
const ABSENT: u8 = b'a';
const NO_BACKDOOR: u8 = b'n';
const DENIED: u8 = b'd';
const FAILED: u8 = b'f';

/// Asks for `key`, for a value of at most `limit` bytes.
///
/// # Errors
/// No child can be started.
pub fn info_get(key: &str, access: Access, limit: u64) -> io::Result<Reply> {
    if cfg!(not(target_arch = "x86_64")) {
        return Ok(Reply::NoBackdoor);
    }
    // One byte more for the tag.
    Ok(reply(in_child(limit + 1, TIME, || exchange(key, access))?))
}

/// Whether the kernel is locked down (kernel_lockdown(7)); `None` where it does not say.
pub fn is_locked_down() -> Option<bool> {
    let modes = std::fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    Some(!modes.contains("[none]"))
}

/// What the child's end means.
fn reply(outcome: Outcome) -> Reply {
    let mut bytes = match outcome {
        Outcome::Bytes(bytes) => bytes,
        Outcome::TooLarge(length) => return Reply::TooLarge(length - 1),
        Outcome::Signal(nix::libc::SIGSEGV) => {
            return Reply::Denied("the processor refuses the port instruction".to_owned());
        }
        // A sandbox that kills for iopl(2) sends SIGSYS (seccomp(2)).
        Outcome::Signal(nix::libc::SIGSYS) => {
            return Reply::Denied("the sandbox kills for the use of ports".to_owned());
        }
        Outcome::Signal(signal) => {
            return Reply::Failed(format!("the process that asked was killed by signal {signal}"));
        }
        Outcome::Nothing => {
            return Reply::Failed("the process that asked ended without an answer".to_owned());
        }
        Outcome::Late => return Reply::Late,
    };
    let reason = |bytes: &[u8]| String::from_utf8_lossy(&bytes[1..]).into_owned();
    match bytes.first() {
        Some(&VALUE) => {
            bytes.remove(0);
            Reply::Value(bytes)
        }
        Some(&ABSENT) => Reply::Absent,
        Some(&NO_BACKDOOR) => Reply::NoBackdoor,
        Some(&DENIED) => Reply::Denied(reason(&bytes)),
        Some(&FAILED) => Reply::Failed(reason(&bytes)),
        _ => Reply::Failed("the process that asked sent no answer that we know".to_owned()),
    }
}

/// The child's part. The errors' texts are `vmw_backdoor`'s own phrases, and hold nothing of what was received.
#[cfg(target_arch = "x86_64")]
fn exchange(key: &str, access: Access) -> Vec<u8> {
    let told = |tag: u8, error: vmw_backdoor::VmwError| {
        let text = error.to_string();
        let text = text.strip_prefix("vmware backdoor error: ").unwrap_or(&text);
        [&[tag], text.as_bytes()].concat()
    };
    let opened = match access {
        Access::Privileged => vmw_backdoor::access_backdoor_privileged(),
        Access::Plain => vmw_backdoor::access_backdoor(),
    };
    let mut backdoor = match opened {
        Ok(backdoor) => backdoor,
        Err(error) => return told(DENIED, error),
    };
    if backdoor.probe_vmware_backdoor().is_err() {
        return vec![NO_BACKDOOR];
    }
    let got = backdoor.open_enhanced_chan().and_then(|mut channel| channel.get_guestinfo(key.as_bytes()));
    match got {
        Ok(Some(value)) => [&[VALUE], value.as_slice()].concat(),
        Ok(None) => vec![ABSENT],
        Err(error) => told(FAILED, error),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn exchange(_: &str, _: Access) -> Vec<u8> {
    vec![NO_BACKDOOR]
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Reply, reply};

    #[test]
    fn a_childs_end_is_a_reply() {
        let bytes = |text: &str| Outcome::Bytes(text.as_bytes().to_vec().into());
        let table = [
            (bytes("v<Environment/>"), "value <Environment/>"),
            (bytes("v"), "value "),
            (bytes("a"), "absent"),
            (bytes("n"), "no backdoor"),
            (bytes("diopl failed"), "denied: iopl failed"),
            (bytes("freply too short (0 bytes)"), "failed: reply too short (0 bytes)"),
            (bytes(""), "failed: the process that asked sent no answer that we know"),
            (bytes("?"), "failed: the process that asked sent no answer that we know"),
            (Outcome::TooLarge(1025), "too large: 1024"),
            (Outcome::Signal(11), "denied: the processor refuses the port instruction"),
            (Outcome::Signal(31), "denied: the sandbox kills for the use of ports"),
            (Outcome::Signal(6), "failed: the process that asked was killed by signal 6"),
            (Outcome::Nothing, "failed: the process that asked ended without an answer"),
            (Outcome::Late, "late"),
        ];
        for (outcome, want) in table {
            let got = match reply(outcome) {
                Reply::Value(value) => format!("value {}", String::from_utf8_lossy(&value)),
                Reply::Absent => "absent".to_owned(),
                Reply::NoBackdoor => "no backdoor".to_owned(),
                Reply::Denied(reason) => format!("denied: {reason}"),
                Reply::Failed(reason) => format!("failed: {reason}"),
                Reply::TooLarge(length) => format!("too large: {length}"),
                Reply::Late => "late".to_owned(),
            };
            assert_eq!(got, want);
        }
    }
}
