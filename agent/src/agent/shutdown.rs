//! A machine that goes down: its hooks, and who is asked to take it down.
//!
//! Decides that hooks of the moment `stop` run one after the other, each within its own limit and none beyond the moment at which
//! the machine has to go; one that fails is an error in the log and a warning of the report, and the others are run all the
//! same. They are told what those of the last pass were; where this process has applied nothing, that nothing is known.
//!
//! PID 1 is asked, never gone round, as long as there is one that can be asked: systemd for its target, as logind and `systemctl`
//! do, so that units are stopped in their order. Not by its calls `PowerOff`, `Reboot` and `Halt`, which stop no unit; nor by
//! logind, whose inhibitors would hold up what the platform has decided, and which is not in every guest. Any other init is told
//! by the program of that name which each of them brings, since one wants a signal, another a fifo. Whether PID 1 is an init at
//! all, or the script of an initramfs, shows in the signals that it takes (proc_pid_status(5)). In what order this happens, and
//! when, is decided in `run`.

#![forbid(unsafe_code)]

use std::rc::Rc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::chain;
use crate::bus::{self, Bus, Systemd};
use crate::checks::{Kind, Order};
use crate::config::Config;
use crate::hooks::{Call, Hook, Id, Moment, Told};
use crate::report::Report;
use crate::sys::Root;
use crate::sys::clock::{self, now};
use crate::sys::power::Action;

/// Where the scripts of another init say how the machine goes down.
const GOES_DOWN: &str = "/run/ovf-agent/goes-down";
/// A PID 1 that has not answered by then will not.
const ANSWER: Duration = Duration::from_secs(5);
/// For a program that tells init.
const TELLING: Duration = Duration::from_secs(10);
/// So much later than its end systemd may tell us of it.
const GRACE: Duration = Duration::from_secs(1);

/// What hooks were told of the last pass that was applied.
#[derive(Debug, Clone)]
pub(super) struct LastCall {
    pub(super) call: Rc<Call>,
    pub(super) generation: u64,
}

impl LastCall {
    pub(super) fn new(call: Call, generation: u64) -> Self {
        Self { call: Rc::new(call), generation }
    }
}

/// What a conversation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Whether systemd answers, and how the machine goes down, if it does.
    Systemd(bool, Option<Action>),
    /// So many hooks have failed.
    Hooks(usize),
    /// Whether somebody takes the machine down.
    Asked(bool),
}

/// Finds out whether the machine goes down already.
pub(super) async fn look(bus: Rc<Bus>) -> Said {
    let Some(systemd) = bus.systemd() else { return Said::Systemd(false, None) };
    match bus.runtime().within(ANSWER, systemd.goes_down()).await {
        Some(Ok(target)) => Said::Systemd(true, target.map(action)),
        Some(Err(error)) => {
            warn!("{}", chain(&error));
            Said::Systemd(false, None)
        }
        None => Said::Systemd(false, None),
    }
}

/// What an init that cannot be asked has said before it ends us: that the machine goes down, and how. No file is no word, and
/// the agent alone is to end.
pub(super) fn said_by_init(root: &Root) -> Option<Action> {
    let word = root.clue(GOES_DOWN)?;
    Action::ALL.into_iter().find(|action| action.as_str() == word)
}

/// What a target of systemd's means for the platform: another kernel, or other programs, is a reboot as well.
fn action(target: &str) -> Action {
    match target {
        "poweroff.target" => Action::PowerOff,
        "halt.target" => Action::Halt,
        _ => Action::Reboot,
    }
}

/// Asks whoever is PID 1 to take the machine down. One that `is_silent` was asked before.
pub(super) async fn ask(root: Rc<Root>, bus: Rc<Bus>, action: Action, is_silent: bool) -> Said {
    let asked = match bus.systemd() {
        _ if is_silent => Ok(false),
        Some(systemd) => match bus.runtime().within(ANSWER, go_down(&systemd, action)).await {
            Some(asked) => asked.map(|()| true).map_err(|error| chain(&error)),
            None => Ok(false),
        },
        None if listens(&root.clue("/proc/1/status").unwrap_or_default()) => tell(&root, &bus, action).await,
        None => Ok(false),
    };
    Said::Asked(asked.unwrap_or_else(|error| {
        warn!("{error}");
        false
    }))
}

async fn go_down(systemd: &Systemd, action: Action) -> Result<(), bus::Error> {
    match systemd.go_down(&format!("{}.target", action.as_str())).await {
        // Somebody else was first, and that cannot be called off.
        Err(bus::Error::Refused { .. }) if systemd.goes_down().await?.is_some() => Ok(()),
        asked => asked,
    }
}

async fn tell(root: &Root, bus: &Bus, action: Action) -> Result<bool, String> {
    let argv = [action.as_str().to_owned()];
    let Ok(order) = Order::new(root, Kind::Shutdown, "the machine", &argv, None, TELLING) else {
        return Ok(false);
    };
    order.run(bus).await.map(|()| true).map_err(|refusal| chain(&*refusal))
}

/// Whether PID 1 takes one of the signals that inits take, caught or read from a descriptor: the kernel drops those that it does
/// neither with. A shell that runs a script takes SIGINT and SIGCHLD, so these say nothing; busybox' init is told by others, but
/// shows no more than SIGTSTP while it waits for them (sigtimedwait(2)).
fn listens(status: &str) -> bool {
    // USR1, USR2, TERM, CONT, TSTP and PWR; signal 1 is bit 0 (signal(7)).
    const TOLD_BY: u64 = 1 << 9 | 1 << 11 | 1 << 14 | 1 << 17 | 1 << 19 | 1 << 29;
    let masks = status.lines().filter_map(|line| line.split_once(":\t"));
    masks
        .filter(|(name, _)| matches!(*name, "SigCgt" | "SigBlk"))
        .filter_map(|(_, mask)| u64::from_str_radix(mask, 16).ok())
        .any(|mask| mask & TOLD_BY != 0)
}

/// Hooks that are to be run before the machine goes down, and what they are told.
#[derive(Debug)]
pub(super) struct StopHooks {
    call: Call,
    generation: u64,
    limit: Duration,
    until: clock::Moment,
    list: Vec<Hook>,
}

impl StopHooks {
    /// Those that there are, if any. What is known where nothing was applied, the report says.
    pub(super) fn new(
        config: &Config,
        last: Option<&LastCall>,
        report: &Report,
        action: Action,
        until: clock::Moment,
    ) -> Option<Self> {
        let list: Vec<_> = config.hooks.at(Moment::Stop).cloned().collect();
        if list.is_empty() {
            return None;
        }
        let unapplied = || {
            let told = Told {
                parameters: None,
                derived: None,
                environment: Id { id: &report.id },
                hypervisor: &report.hypervisor,
                first_boot: false,
                version: config.version.as_deref(),
                previous_version: None,
                changed: Vec::new(),
            };
            LastCall::new(Call::new(&told, &config.parameters), report.generation)
        };
        let LastCall { call, generation } = last.cloned().unwrap_or_else(unapplied);
        Some(Self { call: call.of_stop(action), generation, limit: config.hooks.timeout, until, list })
    }

    /// Runs them.
    pub(super) async fn run(self, root: Rc<Root>, bus: Rc<Bus>) -> Said {
        let mut failed = 0;
        for hook in &self.list {
            let name = hook.full_name();
            let left = self.until.saturating_sub(now()).min(self.limit);
            let left = Duration::from_millis(left.as_millis() as u64);
            let wrong = if left.is_zero() {
                format!("hook {name} is not run: the deadline of the stop has passed")
            } else {
                let run = self.call.run(&root, &bus, hook, self.generation, left);
                match bus.runtime().within(left + GRACE, run).await {
                    Some(Ok(())) => {
                        info!(stage = "hooks", "hook {name} is done");
                        continue;
                    }
                    Some(Err(refusal)) => chain(&*refusal),
                    None => format!("hook {name} is given up: systemd does not say what became of it"),
                }
            };
            failed += 1;
            error!(stage = "hooks", code = "HookFailed", "{wrong}");
        }
        Said::Hooks(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::listens;

    #[test]
    fn an_init_takes_signals_and_a_script_does_not() {
        for (who, blocked, caught, want) in [
            ("systemd 252", "7be3c0fe28014a03", "00000001000004ec", true),
            ("busybox init 1.35", "0000000000000000", "0000000000080000", true),
            ("openrc-init, which waits for them", "fffffffe7ffbfeff", "0000000000000000", true),
            ("runit, stopped by SIGCONT and told by SIGINT", "0000000000000000", "0000000000030002", true),
            ("the script of an initramfs", "0000000000000000", "0000000000010002", false),
            ("cat", "0000000000000000", "0000000000000000", false),
        ] {
            let status =
                format!("Name:\tinit\nSigBlk:\t{blocked}\nSigIgn:\t0000000000004a02\nSigCgt:\t{caught}\n");
            assert_eq!(listens(&status), want, "{who}");
        }
        assert!(!listens(""));
    }
}
