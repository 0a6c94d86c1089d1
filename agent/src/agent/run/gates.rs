//! The gates in the loop: what is tried, and what its outcome means for the report.
//!
//! Performs what `ready` decides.

#![forbid(unsafe_code)]

use tracing::info;

use super::{GATE, Running};
use crate::agent::Fault;
use crate::ready::{Gates, Obstacle, Probe, Task};
use crate::report::Stage;
use crate::sys::clock::{Moment, now};
use crate::sys::net::connect_start;

/// The gates, and since when they are waited for.
pub(super) struct Waiting {
    pub(super) gates: Gates,
    pub(super) begin: Moment,
}

impl Running {
    pub(super) fn try_gates(&mut self) {
        let now = now();
        let Some(Waiting { gates, .. }) = &mut self.waiting else { return };
        for task in gates.tasks(now) {
            match task {
                Task::Try(index, Probe::File(path)) => {
                    let there = self.root.exists(&path);
                    gates.outcome(index, there.then_some(()).ok_or_else(Obstacle::file_missing), now);
                }
                Task::Try(index, Probe::Tcp(address)) => {
                    let attempt = connect_start(address).and_then(|connecting| {
                        self.poll.add(&connecting, GATE + index as u64).map(|()| connecting)
                    });
                    match attempt {
                        Ok(connecting) => {
                            self.probes.insert(index, connecting);
                        }
                        Err(error) => {
                            gates.outcome(index, Err(Obstacle::connection(&error)), now);
                        }
                    }
                }
                Task::Abandon(index) => {
                    self.probes.remove(&index);
                    let timed_out = std::io::Error::from(std::io::ErrorKind::TimedOut);
                    gates.outcome(index, Err(Obstacle::connection(&timed_out)), now);
                }
            }
        }
        self.judge_gates();
    }

    /// A connection attempt of a gate has an outcome.
    pub(super) fn connected(&mut self, index: usize) {
        let Some(connecting) = self.probes.remove(&index) else { return };
        if let Some(Waiting { gates, .. }) = &mut self.waiting {
            gates.outcome(index, connecting.finish().map_err(|error| Obstacle::connection(&error)), now());
            self.judge_gates();
        }
    }

    fn judge_gates(&mut self) {
        let now = now();
        let Some(Waiting { gates, begin }) = &self.waiting else { return };
        let (unmet, left, passed) = (gates.unmet(now), gates.left(now), gates.passed());
        let waited = (now - *begin).as_micros() as u64;
        if passed {
            self.waiting = None;
            self.report(|report| {
                report.stage = Stage::Ready;
                report.unmet.clear();
                report.deadline_ms = None;
                report.took_us.gates = waited;
            });
            info!(stage = "gates", uptime_ms = now.as_millis() as u64, "ready");
            self.start_hooks();
        } else if left.is_zero() {
            let list: Vec<_> = unmet.iter().map(|gate| format!("{}: {}", gate.gate, gate.reason)).collect();
            let fault = Fault::gates(format!("not ready in time: {}", list.join("; ")));
            self.reporter.note(|report| {
                report.unmet = unmet;
                report.took_us.gates = waited;
            });
            self.fail(&fault);
        } else {
            if self.reporter.report().stage != Stage::Waiting {
                let names: Vec<_> = unmet.iter().map(|gate| gate.gate.as_str()).collect();
                info!(stage = "gates", "waiting for {}", names.join(", "));
            }
            self.report(|report| {
                report.stage = Stage::Waiting;
                report.unmet = unmet;
                report.deadline_ms = Some(left.as_millis() as u64);
            });
        }
    }
}
