//! The way to another machine: one `ssh` that stays, and others that go through it.
//!
//! Decides that somebody logs in once, by a key and without being asked anything; that sockets there become sockets here, in a
//! directory of their own; that no word is taken by a shell for more than a word; and that all of it is gone with us, however
//! we end.
//!
//! The rules: ssh(1), `-M`, `-S` and `-O`; ssh_config(5).

#![forbid(unsafe_code)]

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use tempfile::TempDir;

use super::connection::Login;
use crate::engine::PATIENCE;
use crate::engine::program::{last, said};

/// The socket of the one that stays.
const CONTROL: &str = "ssh";
/// What `ssh` ends with where it is itself that has failed.
const FAILED: i32 = 255;
/// What a shell ends with where there is no such program.
const ABSENT: i32 = 127;
/// How often somebody looks whether it is there.
const LOOK: Duration = Duration::from_millis(10);

/// Ends `ssh` when whoever has started it ends, and takes the directory away then.
const KEEPER: &str = r#"directory=$1; shift
trap 'kill "$!"' TERM
setpriv --pdeathsig TERM "$@" &
wait "$!"
wait "$!"
rm -rf -- "$directory""#;

/// A connection that stays as long as this is there.
pub(super) struct Ssh {
    login: Login,
    /// Its sockets. Removed by whoever keeps it, too.
    directory: TempDir,
    keeper: Child,
    /// What it has to complain of.
    complaints: File,
}

impl fmt::Debug for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ssh({})", self.login)
    }
}

impl Ssh {
    /// Logs in.
    pub(super) fn open(login: &Login) -> Result<Self, String> {
        let cannot = |error: io::Error| match error.kind() {
            ErrorKind::NotFound => "setpriv is not there; install it (Debian: util-linux)".to_owned(),
            _ => format!("ssh cannot be run: {error}"),
        };
        let directory = tempfile::Builder::new()
            .prefix("ovf-host-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(place())
            .map_err(cannot)?;
        let complaints = tempfile::tempfile().map_err(cannot)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "sh", "-c", KEEPER, "ssh"]).arg(directory.path());
        command.arg(&login.program).args(["-M", "-N", "-T", "-o", "ControlPersist=no"]).arg("-S");
        command.arg(directory.path().join(CONTROL)).args(login.words()).arg("--").arg(&login.host);
        // An interrupt at the terminal is for us.
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(complaints.try_clone().map_err(cannot)?);
        let keeper = command.spawn().map_err(cannot)?;
        let mut ssh = Self { login: login.clone(), directory, keeper, complaints };
        let deadline = Instant::now() + PATIENCE;
        while !ssh.socket(CONTROL).exists() {
            if ssh.keeper.try_wait().map_err(cannot)?.is_some() {
                let why = match ssh.complaint() {
                    words if words.is_empty() => "ssh has ended without a word".to_owned(),
                    words => words,
                };
                return Err(format!(
                    "{login} is not to be reached: {why}; ssh has to log in there without asking anything, by a key or an agent"
                ));
            }
            if Instant::now() > deadline {
                return Err(format!("{login} is not to be reached within {} s", PATIENCE.as_secs()));
            }
            thread::sleep(LOOK);
        }
        Ok(ssh)
    }

    /// Where a socket of this name is on this machine.
    pub(super) fn socket(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Leads sockets of this machine to sockets there, which may not be there yet.
    pub(super) fn forward<'a>(
        &self,
        sockets: impl IntoIterator<Item = (String, &'a Path)>,
    ) -> Result<(), String> {
        let mut command = self.command();
        command.args(["-O", "forward"]);
        for (name, path) in sockets {
            command.arg("-L").arg(format!("{}:{}", end(&self.socket(&name)), end(path)));
        }
        let output = self.output(command.arg("--").arg(&self.login.host))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("{} leads to no sockets: {}", self.login, said(&output))),
        }
    }

    /// Runs a script of `sh` there, with these words as its arguments.
    pub(super) fn script(&self, script: &str, words: &[&str]) -> Result<Output, String> {
        self.output(&mut self.script_command(script, words))
    }

    /// The same, to be run by somebody else.
    pub(super) fn script_command(&self, script: &str, words: &[&str]) -> Command {
        let mut line = format!("exec sh -c {} ovf-host", quoted(script));
        for word in words {
            line.push(' ');
            line.push_str(&quoted(word));
        }
        let mut command = self.command();
        command.arg("-T").arg("--").arg(&self.login.host).arg(line);
        command
    }

    /// What a program there answers that ends by itself; where it fails, why.
    pub(super) fn answer(&self, script: &str, words: &[&str]) -> Result<Vec<u8>, String> {
        let output = self.script(script, words)?;
        self.judged(&output)?;
        Ok(output.stdout)
    }

    /// Whether something has gone well there.
    pub(super) fn judged(&self, output: &Output) -> Result<(), String> {
        match output.status.code() {
            Some(0) => Ok(()),
            Some(FAILED) => Err(self.ended(&self.reason(output))),
            // A login that is none says so as if it were an answer.
            _ if output.stderr.is_empty() => {
                let text = String::from_utf8_lossy(&output.stdout);
                Err(format!("on {}: {}", self.login, last(&text, 1).pop().unwrap_or_else(|| said(output))))
            }
            _ => Err(format!("on {}: {}", self.login, said(output))),
        }
    }

    /// Whether it has failed since there is no such program.
    pub(super) fn is_absent(output: &Output) -> bool {
        output.status.code() == Some(ABSENT)
    }

    /// An `ssh` that goes through the one that stays, or not at all.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.login.program);
        command.arg("-S").arg(self.socket(CONTROL));
        command.args(["-o", "ControlMaster=no", "-o", "ProxyCommand=false"]).args(self.login.words());
        command.env("LC_ALL", "C").process_group(0).stdin(Stdio::null());
        command
    }

    fn output(&self, command: &mut Command) -> Result<Output, String> {
        command.output().map_err(|error| format!("ssh cannot be run: {error}"))
    }

    /// Why it does not work any more: what the one that stays has complained of, otherwise what this one says.
    fn reason(&self, output: &Output) -> String {
        match self.complaint() {
            words if words.is_empty() => said(output),
            words => words,
        }
    }

    /// Why it has ended, if it has, or does within this time.
    pub(super) fn end(&self, within: Duration) -> Option<String> {
        let deadline = Instant::now() + within;
        while self.socket(CONTROL).exists() {
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(LOOK);
        }
        Some(self.ended(&self.complaint()))
    }

    fn ended(&self, why: &str) -> String {
        let separator = if why.is_empty() { "" } else { ": " };
        format!("the connection to {} has ended{separator}{why}", self.login)
    }

    /// The last complaint.
    fn complaint(&self) -> String {
        let mut bytes = [0; 4096];
        // Where it cannot be read, there is none: whoever asks has another error to tell.
        let length = self.complaints.metadata().map_or(0, |it| it.len());
        let begin = length.saturating_sub(bytes.len() as u64);
        let count = self.complaints.read_at(&mut bytes, begin).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[..count]);
        last(&text, 1).pop().unwrap_or_default()
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        if let Some(id) = i32::try_from(self.keeper.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.keeper.wait();
    }
}

/// Where sockets can be: paths of them have 107 bytes, of which `ssh` takes some while it makes one, and what is no plain word
/// means something to it, or to libvirt.
fn place() -> PathBuf {
    const LONGEST: usize = 60;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let usual = std::env::temp_dir();
    let is_fit = usual.to_str().is_some_and(|it| it.len() <= LONGEST && it.chars().all(is_plain));
    if is_fit { usual } else { "/tmp".into() }
}

/// An end of what is forwarded: a colon would end it, but not one behind a backslash.
fn end(path: &Path) -> String {
    path.display().to_string().replace('\\', r"\\").replace(':', r"\:")
}

/// A word for a shell, whatever is in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::quoted;

    #[test]
    fn a_shell_takes_a_word_for_a_word() {
        for word in ["", "a b", "it's", "$(id) `id` \\ \"x\" !1 * ~\n-n", "''", "ä"] {
            let said = Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(word))).output();
            assert_eq!(String::from_utf8(said.expect("sh").stdout).expect("UTF-8"), word);
        }
    }
}
