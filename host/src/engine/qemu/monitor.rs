//! QEMU's monitor: commands, answers, and what becomes of the guest.
//!
//! Decides which of QEMU's events mean that a guest is off, lost or boots again. The protocol is one JSON object a line.

#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::engine::{Life, PATIENCE, drain};

/// A connection to a monitor.
#[derive(Debug)]
pub(super) struct Monitor {
    stream: UnixStream,
    pending: Vec<u8>,
    /// Events that came before an answer.
    events: Vec<Value>,
    /// QEMU has said that the guest is off.
    is_off: bool,
}

/// How long a QEMU that runs may take to greet: it does so at once, unless it hangs.
pub(super) const SOON: Duration = Duration::from_secs(5);

impl Monitor {
    /// Connects to one that runs.
    pub(super) fn connect(socket: &Path) -> Result<Self, String> {
        let stream = super::connect(socket)
            .map_err(|error| format!("cannot connect to QEMU's monitor {}: {error}", socket.display()))?;
        Self::greet_within(stream, SOON)
    }

    /// Takes the greeting, and begins. A monitor that serves somebody else does not greet.
    pub(super) fn greet(stream: UnixStream) -> Result<Self, String> {
        Self::greet_within(stream, PATIENCE)
    }

    /// The same where it has to be soon.
    pub(super) fn greet_within(stream: UnixStream, within: Duration) -> Result<Self, String> {
        let mut monitor = Self { stream, pending: Vec::new(), events: Vec::new(), is_off: false };
        monitor.message(Instant::now() + within)?;
        monitor.execute("qmp_capabilities", &json!({}), within)?;
        Ok(monitor)
    }

    /// Executes a command, and gives what it returns.
    pub(super) fn execute(
        &mut self,
        command: &str,
        arguments: &Value,
        within: Duration,
    ) -> Result<Value, String> {
        let deadline = Instant::now() + within;
        let cannot = |error: std::io::Error| format!("QEMU's monitor: {command}: {error}");
        self.stream.set_nonblocking(false).map_err(cannot)?;
        self.stream.set_write_timeout(Some(within)).map_err(cannot)?;
        let request = json!({ "execute": command, "arguments": arguments });
        self.stream.write_all(format!("{request}\n").as_bytes()).map_err(cannot)?;
        loop {
            let mut message = self.message(deadline).map_err(|it| format!("{command}: {it}"))?;
            if let Some(result) = message.get_mut("return") {
                return Ok(result.take());
            }
            if let Some(error) = message.get("error") {
                return Err(format!("QEMU's {command}: {}", error["desc"].as_str().unwrap_or("it refuses")));
            }
            self.events.push(message);
        }
    }

    /// Waits until QEMU has closed the connection.
    pub(super) fn wait_for_end(&mut self, deadline: Instant) {
        while self.message(deadline).is_ok() {}
    }

    /// The events since the last look, and whether QEMU has closed the connection.
    pub(super) fn events(&mut self) -> (Vec<Value>, bool) {
        let is_over = drain(&mut self.stream, &mut self.pending);
        while let Some(message) = self.next() {
            self.events.extend(message.ok());
        }
        (std::mem::take(&mut self.events), is_over)
    }

    /// What has become of the guest since the last look, and whether that was the last of it.
    pub(super) fn news(&mut self) -> (Vec<Life>, bool) {
        let (events, is_over) = self.events();
        let mut news: Vec<_> = events.iter().filter_map(|event| self.life(event)).collect();
        if is_over {
            news.push(if self.is_off { Life::Off } else { Life::Lost("its QEMU has ended".to_owned()) });
        }
        (news, is_over)
    }

    /// What an event means. That a guest is off is told once QEMU has gone, too: until then its disks are in use.
    fn life(&mut self, event: &Value) -> Option<Life> {
        let data = &event["data"];
        match event["event"].as_str()? {
            "SHUTDOWN" => {
                self.is_off = data["guest"] == true && data["reason"] != "guest-panic";
                None
            }
            "RESET" if data["guest"] == true => Some(Life::Rebooted),
            "GUEST_PANICKED" => Some(Life::Lost("its kernel has panicked".to_owned())),
            "BLOCK_IO_ERROR" if data["action"] == "stop" => {
                let why = if data["nospace"] == true {
                    "no space is left for what it writes".to_owned()
                } else {
                    format!("its disk fails: {}", data["reason"].as_str().unwrap_or("for an unknown reason"))
                };
                Some(Life::Lost(why))
            }
            _ => None,
        }
    }

    fn message(&mut self, deadline: Instant) -> Result<Value, String> {
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(message) = self.next() {
                return message;
            }
            // A time of zero would be for ever.
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut buffer));
            match read {
                Ok(0) => return Err("QEMU has ended".to_owned()),
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err("QEMU does not answer".to_owned());
                }
                Err(error) => return Err(format!("QEMU's monitor: {error}")),
            }
        }
    }

    /// The next message that is whole.
    fn next(&mut self) -> Option<Result<Value, String>> {
        let end = self.pending.iter().position(|&it| it == b'\n')?;
        let line: Vec<_> = self.pending.drain(..=end).collect();
        Some(serde_json::from_slice(&line).map_err(|_| "QEMU says what is no JSON".to_owned()))
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
