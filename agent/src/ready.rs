//! When the guest is ready: gates, and why each is not passed yet.
//!
//! Decides what is tried when, and what is said meanwhile. Pure: it hands out what to try and is told how that went,
//! with the time as an argument; files and sockets are the caller's. A gate that was passed stays passed.

#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sys::clock::Moment;

/// `[ready]`: what must be so before the guest is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    /// Files that must exist.
    pub files: Vec<PathBuf>,
    /// Addresses that must accept a connection.
    pub tcp: Vec<SocketAddr>,
    /// How long all of them together may take.
    pub timeout: Duration,
}

/// The first pause between two tries; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: what a gate's passing can be noticed late by.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What one connection may take; a packet that is dropped on the way is never answered.
const ATTEMPT: Duration = Duration::from_secs(5);

/// What a gate looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The file exists.
    File(PathBuf),
    /// The address accepts a connection.
    Tcp(SocketAddr),
}

impl Probe {
    fn name(&self) -> String {
        match self {
            Self::File(path) => format!("file {}", path.display()),
            Self::Tcp(address) => format!("tcp {address}"),
        }
    }
}

/// Why a gate is not passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    code: &'static str,
    reason: String,
}

impl Obstacle {
    /// Not tried yet.
    fn untried() -> Self {
        Self { code: "NotTried", reason: "not tried yet".to_owned() }
    }

    /// It is being tried for the first time.
    fn unanswered() -> Self {
        Self { code: "NoAnswerYet", reason: "no answer yet".to_owned() }
    }

    /// The file is not there.
    pub fn file_missing() -> Self {
        Self { code: "FileMissing", reason: "does not exist".to_owned() }
    }

    /// The connection was not made.
    pub fn connection(error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::ConnectionRefused => "ConnectionRefused",
            io::ErrorKind::TimedOut => "ConnectionTimedOut",
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "Unreachable",
            _ => "ConnectionFailed",
        };
        Self { code, reason: error.to_string() }
    }
}

/// A gate that is not passed, as the report names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// `file /run/mydb.ready`, `tcp 127.0.0.1:5432`.
    pub gate: String,
    /// The kind of obstacle, for programs.
    pub code: String,
    /// The obstacle, for people.
    pub reason: String,
    /// How long this has been the obstacle, in milliseconds.
    pub since_ms: u64,
}

#[derive(Debug)]
struct Gate {
    probe: Probe,
    state: State,
    obstacle: Obstacle,
    since: Moment,
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Paused { until: Moment },
    Trying { since: Moment },
    Passed,
}

/// What the caller is to do next for a gate, by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Try it, and tell by [`Gates::outcome`].
    Try(usize, Probe),
    /// Give the running attempt up; it has taken too long.
    Abandon(usize),
}

/// All gates of a guest, on the way to being passed.
#[derive(Debug)]
pub struct Gates {
    gates: Vec<Gate>,
    deadline: Moment,
}

impl Gates {
    /// The gates of `conditions`, none of them tried.
    pub fn new(conditions: &Conditions, now: Moment) -> Self {
        let files = conditions.files.iter().cloned().map(Probe::File);
        let tcp = conditions.tcp.iter().copied().map(Probe::Tcp);
        let gates = files
            .chain(tcp)
            .map(|probe| Gate {
                probe,
                state: State::Paused { until: now },
                obstacle: Obstacle::untried(),
                since: now,
                pause: FIRST_PAUSE,
            })
            .collect();
        Self { gates, deadline: now + conditions.timeout }
    }

    /// What is to be done now.
    pub fn tasks(&mut self, now: Moment) -> Vec<Task> {
        let mut tasks = Vec::new();
        for (index, gate) in self.gates.iter_mut().enumerate() {
            match gate.state {
                State::Paused { until } if until <= now => {
                    gate.state = State::Trying { since: now };
                    if gate.obstacle == Obstacle::untried() {
                        gate.obstacle = Obstacle::unanswered();
                    }
                    tasks.push(Task::Try(index, gate.probe.clone()));
                }
                State::Trying { since } if since + ATTEMPT <= now => tasks.push(Task::Abandon(index)),
                _ => {}
            }
        }
        tasks
    }

    /// Tells how an attempt went. Whether what the report would say has changed by it.
    pub fn outcome(&mut self, index: usize, outcome: Result<(), Obstacle>, now: Moment) -> bool {
        let gate = &mut self.gates[index];
        match outcome {
            Ok(()) => {
                gate.state = State::Passed;
                true
            }
            Err(obstacle) => {
                gate.state = State::Paused { until: now + gate.pause };
                gate.pause = (gate.pause * 2).min(LONGEST_PAUSE);
                let changed = gate.obstacle != obstacle;
                if changed {
                    gate.obstacle = obstacle;
                    gate.since = now;
                }
                changed
            }
        }
    }

    /// The gates that are not passed, and why.
    pub fn unmet(&self, now: Moment) -> Vec<Unmet> {
        self.gates
            .iter()
            .filter(|gate| gate.state != State::Passed)
            .map(|gate| Unmet {
                gate: gate.probe.name(),
                code: gate.obstacle.code.to_owned(),
                reason: gate.obstacle.reason.clone(),
                since_ms: now.saturating_sub(gate.since).as_millis() as u64,
            })
            .collect()
    }

    /// Whether all are passed.
    pub fn passed(&self) -> bool {
        self.gates.iter().all(|gate| gate.state == State::Passed)
    }

    /// The time left, zero once the timeout is over.
    pub fn left(&self, now: Moment) -> Duration {
        self.deadline.saturating_sub(now)
    }

    /// When there is something to do next, at the latest the deadline.
    pub fn next(&self) -> Moment {
        let due = self.gates.iter().filter_map(|gate| match gate.state {
            State::Paused { until } => Some(until),
            State::Trying { since } => Some(since + ATTEMPT),
            State::Passed => None,
        });
        due.min().map_or(self.deadline, |due| due.min(self.deadline))
    }
}

#[cfg(test)]
mod tests {
    use super::{Conditions, Gates, Obstacle, Probe, Task};
    use std::time::Duration;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn gates() -> Gates {
        let conditions = Conditions {
            files: vec!["/run/a".into()],
            tcp: vec!["127.0.0.1:80".parse().expect("an address")],
            timeout: ms(10_000),
        };
        Gates::new(&conditions, ms(0))
    }

    #[test]
    fn a_gate_is_tried_at_growing_intervals() {
        let mut gates = gates();
        assert_eq!(gates.tasks(ms(0)).len(), 2);
        assert!(gates.outcome(0, Err(Obstacle::file_missing()), ms(0)), "the first obstacle is news");
        assert_eq!(gates.next(), ms(50));
        assert_eq!(gates.tasks(ms(49)), [], "not yet");
        for (at, next) in [(50, 150), (150, 350), (350, 750), (750, 1550), (1550, 2550), (2550, 3550)] {
            assert_eq!(gates.tasks(ms(at)), [Task::Try(0, Probe::File("/run/a".into()))], "at {at}");
            assert!(!gates.outcome(0, Err(Obstacle::file_missing()), ms(at)), "the same obstacle is no news");
            assert_eq!(gates.next(), ms(next));
        }
        assert_eq!(gates.unmet(ms(3000))[0].since_ms, 3000);
    }

    #[test]
    fn an_attempt_that_is_not_answered_is_given_up() {
        let mut gates = gates();
        gates.tasks(ms(0));
        assert!(gates.outcome(0, Ok(()), ms(0)));
        assert_eq!((gates.next(), gates.tasks(ms(4999))), (ms(5000), vec![]));
        assert_eq!(gates.tasks(ms(5000)), [Task::Abandon(1)]);
        let timed_out = std::io::Error::from(std::io::ErrorKind::TimedOut);
        assert!(gates.outcome(1, Err(Obstacle::connection(&timed_out)), ms(5000)));
        let unmet = gates.unmet(ms(5001));
        assert_eq!(
            (unmet.len(), &*unmet[0].gate, &*unmet[0].code),
            (1, "tcp 127.0.0.1:80", "ConnectionTimedOut")
        );
    }

    #[test]
    fn all_gates_passed_is_ready_and_time_runs_out() {
        let mut gates = gates();
        gates.tasks(ms(0));
        gates.outcome(0, Ok(()), ms(1));
        assert!(!gates.passed());
        gates.outcome(1, Ok(()), ms(2));
        assert!(gates.passed());
        assert_eq!((gates.left(ms(4000)), gates.left(ms(20_000))), (ms(6000), ms(0)));
        assert!(gates.unmet(ms(5)).is_empty());
    }
}
