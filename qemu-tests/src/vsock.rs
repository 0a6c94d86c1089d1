//! The host's end of a guest's vsock device: `vhost-device-vsock`, which has a unix socket for each port.
//!
//! It knows ports and bytes, not what is said. Guest to host only, and streams only, for the device has nothing else; and a
//! half-close of the guest's does not get through, so one who listens goes by what was said.

use anyhow::{Context, Result, bail};
use std::io::{ErrorKind, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The device of one guest; ended on drop.
#[derive(Debug)]
pub struct Vsock {
    child: Child,
    directory: PathBuf,
}

/// One who listens at a port, accepts everybody and closes no connection.
#[derive(Debug)]
pub struct Listener(Receiver<Heard>);

/// What came by one connection.
#[derive(Debug)]
pub struct Heard {
    /// All that was said.
    pub text: String,
    /// When the connection was made.
    pub at: Instant,
    // Open for as long as somebody keeps what was heard.
    _stream: UnixStream,
}

impl Vsock {
    pub(crate) fn start(program: &Path, directory: &Path) -> Result<Vsock> {
        let socket = directory.join("vhost");
        let vm =
            format!("guest-cid=42,socket={},uds-path={}", socket.display(), directory.join("port").display());
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(["--vm", &vm])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start vhost-device-vsock")?;
        let mut vsock = Vsock { child, directory: directory.to_path_buf() };
        // It tells nobody when it listens, which it does after some milliseconds; and it takes one connection, QEMU's.
        while !listens(&socket)? {
            if let Some(status) = vsock.child.try_wait().context("cannot look at vhost-device-vsock")? {
                bail!("vhost-device-vsock has ended ({status}) instead of listening at {}", socket.display());
            }
            thread::yield_now();
        }
        Ok(vsock)
    }

    /// Where QEMU reaches the device.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("vhost")
    }

    /// Begins to listen at a port. `last` begins the last line of a message.
    pub fn listen(&self, port: u32, last: &'static str) -> Result<Listener> {
        let path = self.directory.join(format!("port_{port}"));
        let listener =
            UnixListener::bind(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
        let (sender, heard) = channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (at, sender) = (Instant::now(), sender.clone());
                // Whoever says half a message and no more keeps nobody else from being heard.
                thread::spawn(move || {
                    let text = read(&mut stream, last);
                    sender.send(Heard { text, at, _stream: stream })
                });
            }
        });
        Ok(Listener(heard))
    }
}

impl Drop for Vsock {
    fn drop(&mut self) {
        // Both can fail only if it has already ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Listener {
    /// Everything that is heard until `wanted` is, this included.
    pub fn until(&self, wanted: impl Fn(&str) -> bool, within: Duration) -> Result<Vec<Heard>> {
        let (until, mut all) = (Instant::now() + within, Vec::new());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let heard = self.0.recv_timeout(left).with_context(|| format!("heard no more than {all:?}"))?;
            let is_last = wanted(&heard.text);
            all.push(heard);
            if is_last {
                return Ok(all);
            }
        }
    }
}

/// Whether somebody listens at `socket`, by the flag that the kernel shows for it (`__SO_ACCEPTCON`).
fn listens(socket: &Path) -> Result<bool> {
    let sockets = std::fs::read_to_string("/proc/net/unix").context("cannot read /proc/net/unix")?;
    let path = socket.to_string_lossy();
    Ok(sockets.lines().any(|line| line.ends_with(&*path) && line.contains(" 00010000 ")))
}

/// Reads until a whole line begins with `last`, or there is nothing more.
fn read(stream: &mut UnixStream, last: &str) -> String {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if text.ends_with('\n') && text.lines().last().is_some_and(|line| line.starts_with(last)) {
            return text.into_owned();
        }
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => bytes.extend(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}
