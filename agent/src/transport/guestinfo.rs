//! The document in VMware's `guestinfo.ovfEnv` (transport `com.vmware.guestInfo` of an OVF descriptor).
//!
//! Decides whether to ask, for which keys, and what the answers come to; how a key is asked for without harm is the
//! business of [`sys::backdoor`](crate::sys::backdoor). Not asked: `vmware-rpctool` and `vmtoolsd`, which an image may not
//! have.
//!
//! Only the verdict of `detect` opens this: QEMU's machines answer on the port too. Where the verdict is `vmware` and yet
//! nobody answers, nothing is here. VMware's keys know no case, but what imitates VMware may, and documents were found
//! under both spellings, so the second is asked for where the first does not give a value:
//!
//! | `ovfEnv` | `ovfenv` | it comes to |
//! |---|---|---|
//! | value | not asked | the value |
//! | absent or empty | value | the value |
//! | absent or empty | absent or empty | nothing here |
//! | absent or empty | broken | broken: nobody can say that nothing is here |
//! | broken | value | the value, with a warning |
//! | broken | anything else | broken |
//! | no backdoor | not asked | nothing here |
//! | closed, silent | not asked | broken: another key would fare no better |
//!
//! An exchange that breaks is tried once more: a guest that is moved or saved to a snapshot loses its open channels.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

use tracing::{debug, warn};
use zeroize::Zeroizing;

use crate::environment::MAX_DOCUMENT;
use crate::sys::backdoor::{self, Access, Reply};

/// As open-vmdk and cloud-init ask for it, and as it is found in the wild.
const KEYS: [&str; 2] = ["guestinfo.ovfEnv", "guestinfo.ovfenv"];

/// `detect`'s word for VMware.
pub(super) const VMWARE: &str = "vmware";

/// Here, but broken; or not to be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is closed to this process.
    #[error("cannot reach VMware's backdoor: {reason}; {}", remedy(*.locked_down))]
    Closed {
        /// What was tried, and how it was refused.
        reason: String,
        /// What the kernel says of its lockdown.
        locked_down: Option<bool>,
    },
    /// Nobody answered in time.
    #[error("cannot read {key}: VMware's backdoor does not answer")]
    Silent {
        /// The key that was asked for.
        key: &'static str,
    },
    /// The exchange broke.
    #[error("cannot read {key} by VMware's backdoor: {reason}")]
    Broken {
        /// The key that was asked for.
        key: &'static str,
        /// How it broke.
        reason: String,
    },
    /// The value is no document of ours.
    #[error("cannot use {key}: its value has {length} bytes, and a document at most {MAX_DOCUMENT}")]
    TooLarge {
        /// The key that was asked for.
        key: &'static str,
        /// The length of its value.
        length: u64,
    },
    /// The process that is to ask could not be started.
    #[error("cannot start a process to read {key}")]
    NoProcess {
        /// The key that was to be asked for.
        key: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl Error {
    /// Whether it is about this key alone, so that another may fare better.
    fn is_of_the_key(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::TooLarge { .. })
    }
}

/// What the person can do who finds the port closed.
fn remedy(locked_down: Option<bool>) -> &'static str {
    match locked_down {
        Some(true) => {
            "the kernel is locked down, as Secure Boot has it: attach the environment as an ISO, or save what \
             `vmtoolsd --cmd 'info-get guestinfo.ovfEnv'` prints and name it by --source file:PATH"
        }
        Some(false) => "run as root with CAP_SYS_RAWIO, or attach the environment as an ISO",
        None => {
            "run as root with CAP_SYS_RAWIO; if the kernel is locked down (Secure Boot), attach the environment as \
             an ISO, or save what `vmtoolsd --cmd 'info-get guestinfo.ovfEnv'` prints and name it by \
             --source file:PATH"
        }
    }
}

/// What is known of one key.
#[derive(PartialEq, Eq)]
pub enum Answer {
    /// There is nobody to ask.
    NoBackdoor,
    /// There is no such key, or VMware does not tell.
    Absent,
    /// The key is there, and its value has no more than white space.
    Empty,
    /// Its value.
    Value(Zeroizing<Vec<u8>>),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackdoor => f.write_str("no backdoor"),
            Self::Absent => f.write_str("absent"),
            Self::Empty => f.write_str("empty"),
            Self::Value(value) => write!(f, "{} bytes", value.len()),
        }
    }
}

/// A way to VMware's keys.
pub trait Channel {
    /// Asks for the value of one key.
    ///
    /// # Errors
    /// It cannot be asked for, or the exchange broke.
    fn get(&mut self, key: &'static str) -> Result<Answer, Error>;
}

/// Looks for the document; `vm` is the verdict's word. `None` is: nothing here.
///
/// # Errors
/// VMware is here, but cannot be asked, or its answer cannot be used.
pub fn look(vm: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    if vm != VMWARE { Ok(None) } else { look_in(&mut Backdoor) }
}

/// The table of this module.
fn look_in(channel: &mut impl Channel) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let mut broken = None;
    for key in KEYS {
        match ask(channel, key) {
            Ok(Answer::Value(value)) => {
                if let Some(error) = broken {
                    warn!(stage = "transport", "passed over: {error}");
                }
                return Ok(Some(value));
            }
            Ok(Answer::NoBackdoor) => {
                debug!(stage = "transport", "no backdoor answers, though this looks like VMware");
                break;
            }
            Ok(answer @ (Answer::Absent | Answer::Empty)) => debug!(stage = "transport", "{key}: {answer:?}"),
            Err(error) => {
                let of_the_key = error.is_of_the_key();
                broken.get_or_insert(error);
                if !of_the_key {
                    break;
                }
            }
        }
    }
    broken.map_or(Ok(None), Err)
}

/// Asks for one key, once more where the exchange broke, and tells an empty value from one.
fn ask(channel: &mut impl Channel, key: &'static str) -> Result<Answer, Error> {
    let answer = match channel.get(key) {
        Err(Error::Broken { reason, .. }) => {
            debug!(stage = "transport", "{key}: {reason}; asking again");
            channel.get(key)?
        }
        answer => answer?,
    };
    Ok(match answer {
        // A NUL: a C string's end, which some who set the key count as part of it.
        Answer::Value(value) if value.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) => {
            Answer::Empty
        }
        answer => answer,
    })
}

/// The real channel: privileged, and where that is refused, plain, which VMware answers too.
struct Backdoor;

impl Channel for Backdoor {
    fn get(&mut self, key: &'static str) -> Result<Answer, Error> {
        let ask = |access| {
            let asked = backdoor::info_get(key, access, MAX_DOCUMENT as u64);
            asked.map_err(|source| Error::NoProcess { key, source })
        };
        match ask(Access::Privileged)? {
            Reply::Denied(privileged) => {
                debug!(stage = "transport", "{key}: {privileged}; asking without privilege");
                match ask(Access::Plain)? {
                    Reply::Denied(plain) => Err(Error::Closed {
                        reason: format!("{privileged}, and without privilege {plain}"),
                        locked_down: backdoor::is_locked_down(),
                    }),
                    reply => answer(key, reply),
                }
            }
            reply => answer(key, reply),
        }
    }
}

fn answer(key: &'static str, reply: Reply) -> Result<Answer, Error> {
    match reply {
        Reply::Value(value) => Ok(Answer::Value(value)),
        Reply::Absent => Ok(Answer::Absent),
        Reply::NoBackdoor => Ok(Answer::NoBackdoor),
        Reply::Denied(reason) => Err(Error::Closed { reason, locked_down: backdoor::is_locked_down() }),
        Reply::Failed(reason) => Err(Error::Broken { key, reason }),
        Reply::TooLarge(length) => Err(Error::TooLarge { key, length }),
        Reply::Late => Err(Error::Silent { key }),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Answer, Channel, Error, KEYS, Reply, answer, ask, look, look_in};

    const PLANTED: &[u8] = b"<Environment planted='s3cret-in-guestinfo'/>";

    /// Gives the answers of a script, in order, and remembers what it was asked for.
    struct Script {
        answers: Vec<Result<Answer, Error>>,
        asked: Vec<&'static str>,
    }

    impl Script {
        /// One letter for each answer; capitals are about no key in particular.
        fn new(script: &str) -> Self {
            let key = KEYS[0];
            let answers = script.chars().map(|letter| match letter {
                'v' => Ok(Answer::Value(PLANTED.to_vec().into())),
                'a' => Ok(Answer::Absent),
                'e' => Ok(Answer::Value(Vec::new().into())),
                's' => Ok(Answer::Value(b" \r\n\t\0".to_vec().into())),
                'b' => Err(Error::Broken { key, reason: "erpc open failed".to_owned() }),
                'l' => Err(Error::TooLarge { key, length: 1 << 25 }),
                'N' => Ok(Answer::NoBackdoor),
                'C' => Err(Error::Closed { reason: "iopl failed".to_owned(), locked_down: Some(true) }),
                'S' => Err(Error::Silent { key }),
                'P' => Err(Error::NoProcess { key, source: io::ErrorKind::OutOfMemory.into() }),
                other => panic!("no answer is written {other}"),
            });
            Self { answers: answers.rev().collect(), asked: Vec::new() }
        }
    }

    impl Channel for Script {
        fn get(&mut self, key: &'static str) -> Result<Answer, Error> {
            self.asked.push(key);
            self.answers.pop().expect("asked more often than the script has answers")
        }
    }

    #[test]
    fn two_keys_come_to_one_outcome() {
        // (the answers one after the other, what it comes to)
        let table = [
            ("v", "value"),
            ("av", "value"),
            ("ev", "value"),
            ("sv", "value"),
            ("aa", "nothing"),
            ("ae", "nothing"),
            ("ea", "nothing"),
            ("ss", "nothing"),
            ("N", "nothing"),
            ("aN", "nothing"),
            // A broken exchange is tried once more, for each key.
            ("bv", "value"),
            ("baa", "nothing"),
            ("bbv", "value"),
            ("bbbv", "value"),
            ("bba", "cannot read"),
            ("bbe", "cannot read"),
            ("bbbb", "cannot read"),
            ("bbN", "cannot read"),
            ("abb", "cannot read"),
            ("abv", "value"),
            ("lv", "value"),
            ("la", "cannot use"),
            ("al", "cannot use"),
            ("lbb", "cannot use"),
            // Nothing that another key could change.
            ("C", "cannot reach"),
            ("aC", "cannot reach"),
            ("bC", "cannot reach"),
            ("S", "cannot read"),
            ("bS", "cannot read"),
            ("P", "cannot start"),
            ("lS", "cannot use"),
        ];
        for (script, want) in table {
            let mut channel = Script::new(script);
            let got = match look_in(&mut channel) {
                Ok(Some(value)) if value.as_slice() == PLANTED => "value".to_owned(),
                Ok(Some(_)) => "another value".to_owned(),
                Ok(None) => "nothing".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(got.starts_with(want), "{script}: {got}, not {want}");
            assert!(channel.answers.is_empty(), "{script}: asked only for {:?}", channel.asked);
        }
    }

    #[test]
    fn both_spellings_are_asked_for_in_order() {
        let mut channel = Script::new("aa");
        assert!(matches!(look_in(&mut channel), Ok(None)));
        assert_eq!(channel.asked, ["guestinfo.ovfEnv", "guestinfo.ovfenv"]);
    }

    #[test]
    fn absent_empty_and_a_value_are_told_apart() {
        for (script, want) in [("a", "absent"), ("e", "empty"), ("s", "empty"), ("N", "no backdoor")] {
            let got = ask(&mut Script::new(script), KEYS[0]).expect(script);
            assert_eq!(format!("{got:?}"), want, "{script}");
        }
    }

    #[test]
    fn only_vmware_is_asked() {
        // Whoever asked here would touch a port of the machine that runs the tests.
        for vm in ["none", "qemu", "kvm", "oracle", "VMware", "vmware ", ""] {
            assert!(matches!(look(vm), Ok(None)), "{vm}");
        }
    }

    #[test]
    fn no_value_is_in_what_is_shown() {
        let value = || Answer::Value(PLANTED.to_vec().into());
        assert_eq!(format!("{:?}", value()), format!("{} bytes", PLANTED.len()));
        let shown = [
            format!("{:?}", ask(&mut Script::new("v"), KEYS[0])),
            format!("{:?}", answer(KEYS[0], Reply::Value(PLANTED.to_vec().into()))),
            format!("{:?}", Script { answers: vec![Ok(value())], asked: Vec::new() }.get(KEYS[0])),
        ];
        for text in shown {
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn a_closed_port_says_what_to_do() {
        let table = [
            (Some(true), "the kernel is locked down"),
            (Some(false), "run as root with CAP_SYS_RAWIO, or"),
            (None, "if the kernel is locked down"),
        ];
        for (locked_down, want) in table {
            let error = Error::Closed { reason: "iopl failed".to_owned(), locked_down };
            let text = error.to_string();
            assert!(text.contains("iopl failed") && text.contains(want) && text.contains("ISO"), "{text}");
        }
    }
}
