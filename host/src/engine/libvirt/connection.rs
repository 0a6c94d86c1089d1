//! Which libvirt is meant.
//!
//! Decides which of its URIs can run a deployment: those of QEMU, on this machine or where `ssh` leads. Its other transports
//! bring libvirt alone: `virsh` has no command that reaches a guest's port, without which nobody is ready.
//!
//! The rule: libvirt's "Connection URIs" and "Remote support". What they say of `netcat` and `proxy` means nothing here:
//! `ssh` reaches libvirt's socket by itself.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::finding::quoted;

/// A URI of libvirt's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    uri: String,
    is_system: bool,
    login: Option<Login>,
    socket: Option<PathBuf>,
}

/// Who logs in where, by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    /// The `ssh`.
    pub(super) program: PathBuf,
    pub(super) host: String,
    user: Option<String>,
    port: Option<u16>,
    key: Option<String>,
    known_hosts: Option<String>,
    is_unverified: bool,
}

impl Connection {
    /// Whether it is the machine's libvirt, whose guests are another user's than ours, and not the one of this user.
    pub fn is_system(&self) -> bool {
        self.is_system
    }

    /// Whether it is on another machine than this one.
    pub fn is_far(&self) -> bool {
        self.login.is_some()
    }

    /// Who logs in there, where it is another machine.
    pub(super) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The socket of that libvirt, where it is said.
    pub(super) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Which of libvirt's two for QEMU it is.
    pub(super) fn name(&self) -> &'static str {
        if self.is_system { "system" } else { "session" }
    }

    /// The same libvirt by a socket of this machine's.
    pub(super) fn through(&self, socket: &Path) -> String {
        format!("qemu+unix:///{}?socket={}", self.name(), socket.display())
    }
}

impl Login {
    /// What `ssh` is told each time. Nobody is asked anything, and a machine that is gone is noticed within a minute.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut option = |text: String| words.extend(["-o".to_owned(), text]);
        for text in ["BatchMode=yes", "ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=3"]
        {
            option(text.to_owned());
        }
        if let Some(file) = &self.known_hosts {
            option(format!("UserKnownHostsFile=\"{file}\""));
        }
        if self.is_unverified {
            option("StrictHostKeyChecking=no".to_owned());
        }
        let more =
            [("-l", self.user.clone()), ("-p", self.port.map(|it| it.to_string())), ("-i", self.key.clone())];
        for (name, value) in more {
            words.extend(value.into_iter().flat_map(|it| [name.to_owned(), it]));
        }
        words
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.user.iter().try_for_each(|user| write!(f, "{user}@"))?;
        f.write_str(&self.host)?;
        self.port.iter().try_for_each(|port| write!(f, ":{port}"))
    }
}

impl FromStr for Connection {
    type Err = String;

    fn from_str(uri: &str) -> Result<Self, String> {
        const ONES: &str = "qemu:///system, qemu:///session and qemu+ssh://root@HOST/system are such";
        let shown = quoted(uri);
        let Some((scheme, rest)) = uri.split_once("://") else {
            return Err(format!("{shown} is no URI of libvirt's; {ONES}"));
        };
        let (driver, transport) = scheme.split_once('+').unwrap_or((scheme, "unix"));
        if driver != "qemu" {
            return Err(format!("{shown} leads to another hypervisor than QEMU; {ONES}"));
        }
        let (machine, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut login = match (transport, machine.is_empty()) {
            ("unix", true) => None,
            ("ssh", false) => Some(login(machine).ok_or_else(|| {
                format!("{shown} names no machine for ssh; qemu+ssh://root@HOST/system does")
            })?),
            ("ssh", true) => {
                return Err(format!("{shown} names no machine; qemu+ssh://root@HOST/system does"));
            }
            _ => {
                return Err(format!(
                    "{shown} leads to another machine by libvirt alone, and no virsh reaches the port of a guest there, org.ovf.agent.0, which says when it is ready; take qemu+ssh://"
                ));
            }
        };
        let mut socket = None;
        for word in query.split('&').filter(|it| !it.is_empty()) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let value = decoded(value).ok_or_else(|| format!("{shown}: {} is no value", quoted(value)))?;
            match (name, &mut login) {
                ("socket", _) => socket = Some(PathBuf::from(value)),
                ("command", Some(login)) => login.program = PathBuf::from(value),
                ("keyfile", Some(login)) => login.key = Some(value),
                ("known_hosts", Some(login)) => login.known_hosts = Some(value),
                ("no_verify", Some(login)) => login.is_unverified = value != "0",
                // Nobody is ever asked, and nothing but ssh is there.
                ("no_tty" | "netcat" | "proxy" | "mode", _) => {}
                (name, _) => {
                    return Err(format!(
                        "{shown}: {} is not known here; socket and, for ssh, command, keyfile, known_hosts and no_verify are",
                        quoted(name)
                    ));
                }
            }
        }
        let is_system = match path {
            "system" => true,
            "session" => false,
            _ => return Err(format!("{shown} is none of libvirt's two for QEMU; {ONES}")),
        };
        if is_system && login.is_none() && !rustix::process::geteuid().is_root() {
            return Err(format!(
                "{shown} is for root, since its guests' ports and consoles are; run this by sudo, or take qemu:///session"
            ));
        }
        Ok(Self { uri: uri.to_owned(), is_system, login, socket })
    }
}

/// `user@host:port`, `host`, `[::1]:22`.
fn login(machine: &str) -> Option<Login> {
    let (user, machine) = machine.rsplit_once('@').map_or((None, machine), |(user, it)| (Some(user), it));
    let (host, port) = match machine.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => machine.split_once(':').map_or((machine, None), |(host, port)| (host, Some(port))),
    };
    let user = user.map(decoded).map_or(Some(None), |it| it.map(Some))?;
    // A password would be one that nobody takes.
    if user.as_deref().is_some_and(|it| it.contains(':')) {
        return None;
    }
    let is_plain = |it: &str| !it.is_empty() && !it.starts_with('-') && !it.contains(char::is_control);
    (is_plain(host) && user.as_deref().is_none_or(is_plain)).then_some(())?;
    Some(Login {
        program: "ssh".into(),
        host: host.to_owned(),
        user,
        port: port.map(str::parse).transpose().ok()?,
        key: None,
        known_hosts: None,
        is_unverified: false,
    })
}

/// A part of a URI as it is meant: `%20` is a blank.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok().filter(|it| !it.contains(['\0', '\n']))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Connection;

    #[test]
    fn qemu_of_this_machine_is_one() {
        for uri in ["qemu:///session", "qemu+unix:///session?socket=/run/x/libvirt-sock"] {
            let connection = uri.parse::<Connection>().expect(uri);
            assert!(!connection.is_system() && !connection.is_far(), "{uri}");
            assert_eq!(connection.to_string(), uri);
        }
        for (uri, want) in [
            ("", "is no URI"),
            ("/var/run/libvirt", "is no URI"),
            ("xen:///system", "another hypervisor"),
            ("test:///default", "another hypervisor"),
            ("qemu://far/session", "by libvirt alone"),
            ("qemu+tls:///system", "by libvirt alone"),
            ("qemu+ssh:///system", "names no machine"),
            ("qemu+ssh://-oProxyCommand=id/system", "names no machine"),
            ("qemu+ssh://root@/system", "names no machine"),
            ("qemu+ssh://far:x/system", "names no machine"),
            ("qemu+ssh://root:secret@far/system", "names no machine"),
            ("qemu+ssh://far/system?keyfile=%zz", "is no value"),
            ("qemu+ssh://far/system?pkipath=/x", "`pkipath` is not known here"),
            ("qemu:///session?keyfile=/x", "`keyfile` is not known here"),
            ("qemu:///embed?root=/x", "is not known here"),
            ("qemu:///", "none of libvirt's two"),
        ] {
            let why = uri.parse::<Connection>().expect_err(uri);
            assert!(why.contains(want), "{uri}: {why}");
        }
    }

    #[test]
    fn ssh_is_told_what_the_uri_says() {
        let words = |uri: &str| {
            let connection = uri.parse::<Connection>().expect(uri);
            let login = connection.login().expect("far").clone();
            (login.host.clone(), login.words()[8..].join(" "), login.to_string())
        };
        let known =
            |host: &str, words: &str, shown: &str| (host.to_owned(), words.to_owned(), shown.to_owned());
        assert_eq!(words("qemu+ssh://far/system"), known("far", "", "far"));
        assert_eq!(
            words("qemu+ssh://a%40b@[fe80::1]:2222/session"),
            known("fe80::1", "-l a@b -p 2222", "a@b@fe80::1:2222")
        );
        assert_eq!(
            words("qemu+ssh://root@far/system?keyfile=/k%20k&no_tty=1&known_hosts=/h&no_verify=1"),
            known(
                "far",
                "-o UserKnownHostsFile=\"/h\" -o StrictHostKeyChecking=no -l root -i /k k",
                "root@far"
            )
        );
        let far: Connection = "qemu+ssh://far/system?socket=/s&command=/my/ssh".parse().expect("far");
        assert!(far.is_far() && far.is_system());
        assert_eq!(far.socket(), Some(Path::new("/s")));
        assert_eq!(far.login().map(|it| it.program.as_path()), Some(Path::new("/my/ssh")));
        assert_eq!(far.through(Path::new("/t/libvirt")), "qemu+unix:///system?socket=/t/libvirt");
    }
}
