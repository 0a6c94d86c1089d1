//! The smallest client of QEMU's machine protocol that the tests need: commands, answers, events.
//!
//! It decides nothing about machines. The protocol is QEMU's `docs/interop/qmp-spec`: one JSON object a
//! line, a greeting, `qmp_capabilities`, then `execute`/`return`/`error` with events between them.

use crate::wire::Wire;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long QEMU may take for any one command; none that the tests use takes a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to QEMU's monitor.
#[derive(Debug)]
pub struct Qmp {
    wire: Wire,
    events: VecDeque<Value>,
}

impl Qmp {
    /// Takes the greeting and enters command mode.
    ///
    /// QEMU greets once it has made all of its devices and sockets, so after this they can be used.
    pub(crate) fn greet(stream: UnixStream) -> Result<Qmp> {
        let mut qmp = Qmp { wire: Wire::new(stream), events: VecDeque::new() };
        let greeting = qmp.message(Instant::now() + PATIENCE).context("QEMU does not greet")?;
        if greeting.get("QMP").is_none() {
            bail!("expected QEMU's greeting, got {greeting}");
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Executes `command` and gives what it returns; events that come first are kept.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let attempt = || format!("QMP {command} {arguments}");
        let request = json!({ "execute": command, "arguments": arguments });
        self.wire.send(format!("{request}\n").as_bytes(), PATIENCE).with_context(attempt)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut message = self.message(deadline).with_context(attempt)?;
            if let Some(result) = message.get_mut("return") {
                return Ok(result.take());
            }
            if let Some(error) = message.get("error") {
                bail!("{}: {}", attempt(), error["desc"].as_str().unwrap_or("error without a description"));
            }
            self.events.push_back(message);
        }
    }

    /// The first event called `name` that came or comes `within`; earlier events of other names are
    /// dropped, so successive calls follow the order in which things happened.
    pub fn event(&mut self, name: &str, within: Duration) -> Result<Value> {
        let deadline = Instant::now() + within;
        loop {
            let event = match self.events.pop_front() {
                Some(event) => event,
                None => self.message(deadline).with_context(|| format!("waiting for QMP event {name}"))?,
            };
            if event["event"] == name {
                return Ok(event);
            }
        }
    }

    fn message(&mut self, deadline: Instant) -> Result<Value> {
        let line = self.wire.line(deadline)?;
        serde_json::from_slice(&line)
            .with_context(|| format!("not a QMP message: {}", String::from_utf8_lossy(&line)))
    }
}
