//! The process of the hubs, and the gates beside it: made, watched, and taken apart.
//!
//! Decides when guests are joined no more: when that process has ended, or a gate has. What the hubs are is for `network`. A gate
//! is told of by the hubs' monitor, whose end of it is disconnected then; nobody starts either again, since the guests' own ends
//! connect once.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::monitor::{Monitor, SOON};
use super::network::{self, MONITOR, Network};
use super::processes::{gone, process};
use super::{Process, connect, end, spawn};
use crate::engine::program::{last, tail};
use crate::engine::{Life, PATIENCE, Plan};

/// What the hubs' process says.
const LOG: &str = "network.log";
/// What the gates say.
const GATES_LOG: &str = "gate.log";

/// What joins the guests, for whoever waits for them.
#[derive(Debug, Default)]
pub(in crate::engine) struct Joint {
    hub: Hub,
    /// Those of which it was told that they are joined no more.
    told: BTreeSet<usize>,
}

/// What joins the guests, as far as it is known.
#[derive(Debug, Default)]
enum Hub {
    /// Nobody has looked.
    #[default]
    Unknown,
    /// There is none, because no guest has a network card.
    None,
    /// It runs, and is listened to.
    Up(Process),
    /// It runs no more, or not whole, and why.
    Ended(String),
}

impl Joint {
    /// Makes the network that joins the guests, where they have any card: it outlives us until it is taken apart.
    pub(in crate::engine) fn make(plan: &Plan, program: &Path, network: &Network) -> Result<Self, String> {
        let process = join(plan, program, network)?;
        Ok(Self { hub: process.map_or(Hub::None, Hub::Up), told: BTreeSet::new() })
    }

    /// Looks for the one that an earlier command has made, where a guest that is taken up is joined to others.
    pub(in crate::engine) fn find(&mut self, plan: &Plan, guest: usize) {
        if has_cards(plan, guest) {
            self.hub.find(plan);
        }
    }

    /// What can be polled for its news.
    pub(in crate::engine) fn source(&self) -> Option<BorrowedFd<'_>> {
        match &self.hub {
            Hub::Up(process) => Some(process.monitor.as_fd()),
            _ => None,
        }
    }

    /// The news of these guests, each once: that they are joined no more.
    pub(in crate::engine) fn news(
        &mut self,
        plan: &Plan,
        guests: impl IntoIterator<Item = usize>,
    ) -> Vec<(usize, Life)> {
        let Err(why) = self.hub.look(plan) else { return Vec::new() };
        let joined = guests.into_iter().filter(|&it| has_cards(plan, it));
        joined.filter(|&it| self.told.insert(it)).map(|it| (it, Life::Isolated(why.clone()))).collect()
    }

    /// Whether it is as it was made. The error is why it is not.
    pub(in crate::engine) fn is_whole(&mut self, plan: &Plan) -> Result<(), String> {
        self.hub.find(plan);
        self.hub.look(plan)
    }

    /// Whether a guest may be started: what it is to be joined to is there.
    pub(in crate::engine) fn is_there_for(&mut self, plan: &Plan, guest: usize) -> Result<(), String> {
        if has_cards(plan, guest) { self.is_whole(plan) } else { Ok(()) }
    }

    /// Takes it apart, and waits for all that ran in the deployment's directory. Its monitor serves one at a time.
    pub(in crate::engine) fn part(&mut self, plan: &Plan) -> Result<(), String> {
        self.hub = Hub::default();
        end(&plan.directory, MONITOR)?;
        gone(&plan.directory)
    }
}

/// Whether a guest is joined to others.
fn has_cards(plan: &Plan, guest: usize) -> bool {
    !plan.guest(guest).machine.cards.is_empty()
}

impl Hub {
    /// Looks for the one that an earlier command has made, unless it is known.
    fn find(&mut self, plan: &Plan) {
        if !matches!(self, Self::Unknown) {
            return;
        }
        let directory = &plan.directory;
        if !directory.join(LOG).exists() {
            *self = Self::None;
            return;
        }
        let monitor =
            connect(&directory.join(MONITOR)).map_err(|_| hubs_have_ended(directory)).and_then(|it| {
                Monitor::greet_within(it, SOON).map_err(|why| format!("the guests' network hangs: {why}"))
            });
        *self = match monitor {
            Err(why) => Self::Ended(why),
            Ok(_) if !gates_run(directory) => Self::Ended(gate_has_ended(directory)),
            Ok(monitor) => Self::Up(Process { monitor, child: None }),
        };
    }

    /// Looks whether there is news. The error is why the guests are joined no more.
    fn look(&mut self, plan: &Plan) -> Result<(), String> {
        if let Self::Up(process) = self {
            let (events, is_over) = process.monitor.events();
            let is_gate = |id: &str| id.starts_with(network::OUTSIDE) || id.starts_with(network::INSIDE);
            let has_gate_ended = events.iter().any(|it| {
                it["event"] == "NETDEV_STREAM_DISCONNECTED"
                    && it["data"]["netdev-id"].as_str().is_some_and(is_gate)
            });
            if is_over {
                if let Some(child) = &mut process.child {
                    // Its monitor was the last it had open.
                    let _ = child.wait();
                }
                *self = Self::Ended(hubs_have_ended(&plan.directory));
            } else if has_gate_ended {
                *self = Self::Ended(gate_has_ended(&plan.directory));
            }
        }
        match self {
            Self::Ended(why) => Err(why.clone()),
            _ => Ok(()),
        }
    }
}

fn hubs_have_ended(directory: &Path) -> String {
    explained("the guests' network has ended", &directory.join(LOG))
}

fn gate_has_ended(directory: &Path) -> String {
    explained("the gate between the guests' network and this machine has ended", &directory.join(GATES_LOG))
}

/// What has happened, and the last that was said before; a warning is no reason.
fn explained(what: &str, log: &Path) -> String {
    let text = tail(log).unwrap_or_default();
    let reasons: Vec<_> = text.lines().filter(|it| !it.contains(": warning: ")).collect();
    let reason = last(&reasons.join("\n"), 1).pop();
    reason.map_or(what.to_owned(), |it| format!("{what}: {it}"))
}

/// Whether each gate that was opened is there: its sockets are, as long as the hubs are.
fn gates_run(directory: &Path) -> bool {
    let gates = (0..).map(|hub| network::gate(hub)[0].clone());
    let mut gates = gates.take_while(|it| directory.join(it).exists());
    gates.all(|it| process(directory, &format!("\0gate\0{it}\0")).is_some())
}

/// Makes the hubs' process, where they are wanted, and the gates.
fn join(plan: &Plan, program: &Path, network: &Network) -> Result<Option<Process>, String> {
    let Some(arguments) = network::arguments(plan, network) else { return Ok(None) };
    let cannot = |it: String| format!("the guests' network cannot be made: {it}");
    let process = spawn(plan, program, &arguments, LOG).map_err(cannot)?;
    await_sockets(plan, network).map_err(cannot)?;
    open_gates(plan, network).map_err(|error| cannot(error.to_string()))?;
    Ok(Some(process))
}

/// Waits until the network can be connected to: QEMU makes these sockets beside its monitor, and may greet before they are
/// there. A guest's QEMU connects once, and would be without a network.
fn await_sockets(plan: &Plan, network: &Network) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    for socket in network::sockets(plan, network) {
        while !plan.directory.join(&socket).exists() {
            if Instant::now() > deadline {
                return Err(format!("QEMU does not make {socket}"));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

/// Starts the gates between the guests' networks and this machine: this program again, each in a session of its own. They
/// end with the hubs.
fn open_gates(plan: &Plan, network: &Network) -> io::Result<()> {
    let log = plan.directory.join(GATES_LOG);
    for words in network::gates(plan, network) {
        let errors = File::options().append(true).create(true).open(&log)?;
        let mut command = Command::new("setsid");
        command.arg(std::env::current_exe()?).arg("gate").args(words).current_dir(&plan.directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn()?;
    }
    Ok(())
}
