//! The gates in the loop: what is watched and tried, and what its outcome means for the report.
//!
//! Performs what `ready` decides. Each attempt and each watch has a token of its own, and none of them keeps the loop waiting:
//! connections do not block, programs and systemd are conversations that go on when their bus has something to do.

#![forbid(unsafe_code)]

mod attempt;
mod waiting;

use tracing::{info, warn};

use super::{GATE, Running};
use crate::agent::Fault;
use crate::checks;
use crate::ready::{Conditions, Siblings, Standing};
use crate::report::{Part, Stage};
use crate::sys::clock::now;
pub(super) use waiting::Waiting;

/// Files are watched by this token, units by that, and gate number n is tried by `ATTEMPT + n`.
const FILES: u64 = GATE;
const UNITS: u64 = GATE + 1;
const ATTEMPT: u64 = GATE + 2;

impl Running {
    /// What gates there are by what is configured and known now.
    fn gates_now(&self) -> Option<(Conditions, Siblings)> {
        let mut conditions = self.config.as_ref()?.ready.clone();
        // They would be this machine's.
        if !self.root.is_system() {
            conditions.units.clear();
            conditions.tcp.clear();
            conditions.http.clear();
            conditions.commands.clear();
            conditions.entities.clear();
        }
        let siblings = self.machine.as_ref().map(|machine| machine.siblings.clone());
        Some((conditions, siblings.unwrap_or_default()))
    }

    /// Has it recorded how far they are.
    pub(super) fn note_gates(&self) {
        if let Some(waiting) = &self.waiting {
            self.times.gates(waiting.begin, waiting.gates.passed());
        }
    }

    /// There are none any more, nor anything that their programs have printed.
    pub(super) fn forget_gates(&mut self) {
        self.waiting = None;
        checks::forget_gates(&self.root);
    }

    /// Begins with the gates anew.
    pub(super) fn wait_for_gates(&mut self) {
        if self.is_stopping() {
            return self.report(|_| ());
        }
        let Some((conditions, siblings)) = self.gates_now() else { return };
        if self.config.as_ref().is_some_and(|config| config.ready != conditions) {
            info!(stage = "gates", "under --root, no gates but those of files are tried");
        }
        // What is left of the earlier ones must not be told by the same tokens.
        self.forget_gates();
        let mut waiting = Waiting::new(&self.root, &self.poll, conditions, siblings);
        if let Err(error) = waiting.step_units() {
            warn!(stage = "gates", "cannot watch units: {error}");
        }
        self.waiting = Some(waiting);
        self.tell_holds();
        self.try_gates();
    }

    /// After a pass that has changed nothing: whether the gates are the same, and the guest was past them once. Those that are not
    /// passed now are tried again.
    pub(super) fn goes_on_with_gates(&mut self) -> bool {
        let from = self.gates_now();
        let Some(waiting) = &mut self.waiting else { return false };
        let is_past = matches!(waiting.gates.standing(now()), Standing::Ready | Standing::Degraded);
        let goes_on = is_past && Some(&waiting.from) == from.as_ref();
        if goes_on {
            waiting.gates.try_again(now());
        }
        goes_on
    }

    /// A pass has left the guest where it was: at `stage`, unless its gates say otherwise by now.
    pub(super) fn back_at(&mut self, stage: Stage) {
        self.reporter.note(|report| report.stage = stage);
        match self.waiting {
            Some(_) => self.try_gates(),
            None => self.report(|_| ()),
        }
    }

    pub(super) fn try_gates(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            if let Err(error) = waiting.go_on(&self.root, &self.poll) {
                warn!(stage = "gates", "cannot go on with the gates: {error}");
            }
            self.judge_gates();
        }
    }

    /// Something has happened to what is watched or tried.
    pub(super) fn gate_event(&mut self, token: u64) {
        let Some(waiting) = &mut self.waiting else { return };
        let gone_on = match token {
            FILES => waiting.look_again(&self.root),
            UNITS => waiting.step_units(),
            token => {
                waiting.step((token - ATTEMPT) as usize);
                Ok(())
            }
        };
        if let Err(error) = gone_on {
            warn!(stage = "gates", "cannot go on with the gates: {error}");
        }
        self.judge_gates();
    }

    /// Says where the guest stands. While a pass is under way that is its business, and the gates are heard when it is over. A
    /// guest that goes down has none any more (`stopping`).
    fn judge_gates(&mut self) {
        let now = now();
        let Some(waiting) = &mut self.waiting else { return };
        let standing = waiting.gates.standing(now);
        if self.passing.is_some() {
            return;
        }
        let before = waiting.said.replace(standing);
        let is_news = before != Some(standing);
        let (unmet, left) = (waiting.gates.unmet(now), waiting.gates.left(now));
        let waited = (now - waiting.begin).as_micros() as u64;
        let deadline_ms = left.map(|left| left.as_millis() as u64);
        let list = || {
            unmet.iter().map(|gate| format!("{}: {}", gate.gate, gate.reason)).collect::<Vec<_>>().join("; ")
        };
        let mut failure = None;
        let stage = match standing {
            Standing::Waiting => {
                if is_news {
                    let names: Vec<_> = unmet.iter().map(|gate| gate.gate.as_str()).collect();
                    info!(stage = "gates", "waiting for {}", names.join(", "));
                }
                Stage::Waiting
            }
            Standing::Ready => Stage::Ready,
            Standing::Degraded => {
                if is_news {
                    warn!(stage = "gates", "not ready any more: {}", list());
                }
                Stage::Degraded
            }
            Standing::TimedOut => {
                if is_news {
                    let fault = Fault::gates(format!("not ready in time: {}", list()));
                    fault.log();
                    failure = Some(fault.for_report());
                }
                Stage::Failed
            }
        };
        let is_over = is_news && matches!(before, None | Some(Standing::Waiting));
        self.report(|report| {
            report.stage = stage;
            report.unmet = unmet;
            report.deadline_ms = deadline_ms;
            if is_over && standing != Standing::Waiting {
                report.took_us.gates = waited;
            }
            if failure.is_some() {
                report.failure = failure;
            } else if stage == Stage::Ready
                && report.failure.as_ref().is_some_and(|it| it.stage == Part::Gates)
            {
                report.failure = None;
            }
        });
        if is_news && standing == Standing::Ready {
            info!(stage = "gates", uptime_ms = now.as_millis() as u64, "ready");
            self.note_gates();
            self.times.ready(now, &self.root);
            self.start_hooks();
        }
    }
}
