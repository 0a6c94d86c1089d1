//! A program as a unit of its own that exists for one run (systemd-run(1), org.freedesktop.systemd1(5)).
//!
//! Decides its sandbox, which is milder than the agent's. What it must allow was learnt from what check programs do:
//! `nginx -t` opens its log and its PID file for writing, and resolves names; `sshd -t` and `postfix check` look at
//! directories under `/run` and `/var`. So `/usr`, `/boot` and `/etc` can only be read, the homes too, and the network stays.
//! It has no `PrivateTmp=`: that would be ordered after systemd-tmpfiles-setup.service, and the agent is early in the boot.
//! It has no default dependencies for the same reason: it would wait for sysinit.target, and that for us.
//!
//! A hook, and one that hears of a change, is not confined at all: it is there to do work that nobody foresaw.
//!
//! Its output goes by a descriptor to a file that we have made, as its input comes from memory by one: `truncate:PATH` is not older than systemd 248, and would
//! make the file for everybody to read. It is gone when it has ended (`CollectMode=`), so how it ended is taken from the
//! changes that systemd tells of before it tells that the job is over.

#![forbid(unsafe_code)]

use std::time::Duration;

use zbus::{Fd, OwnedVariant, Variant};

use super::{Cause, How, Kind, Order};
use crate::bus::{Changes, Error, Systemd};
use crate::sys::process;
use crate::sys::program::{LANG, PATH};

/// So much later than its own deadline systemd may tell us of it.
const GRACE: Duration = Duration::from_secs(15);

// siginfo's codes (sigaction(2)).
const EXITED: i32 = 1;
const KILLED: i32 = 2;
const DUMPED: i32 = 3;

const SIGKILL: i32 = 9;

/// Runs it to its end.
pub(super) async fn run(systemd: &Systemd, order: &Order) -> Result<(), (How, Option<Cause>)> {
    let not_run = |error: Error| (How::NotRun, Some(error.into()));
    let unit = format!("ovf-agent-{}-{}.service", order.kind.as_str(), process::random_id());
    let mut changes = systemd.changes(&unit).await.map_err(not_run)?;
    let job = systemd.start_transient(&unit, properties(order)).await.map_err(not_run)?;
    match systemd.runtime().within(order.limit + GRACE, systemd.end(job)).await {
        Some(Ok(result)) if result == "done" => Ok(()),
        Some(Ok(result)) if result == "timeout" => Err((How::Late(order.limit), None)),
        Some(Ok(result)) => Err((how(&mut changes, order, result).await, None)),
        Some(Err(error)) => Err(not_run(error)),
        None => {
            // It waits for something, as at a shutdown, and is not to begin after we have given up.
            let _ = systemd.stop(&unit).await;
            Err((How::Late(order.limit), None))
        }
    }
}

async fn how(changes: &mut Changes, order: &Order, result: String) -> How {
    let changed = changes.so_far().await;
    let number = |name| changed.get(name).and_then(|value: &OwnedVariant| i32::try_from(value).ok());
    let of_service = changed.get("Result").and_then(|value| <&str>::try_from(value).ok());
    match (number("ExecMainCode"), number("ExecMainStatus")) {
        _ if of_service == Some("timeout") => How::Late(order.limit),
        (Some(EXITED), Some(status)) => How::Exit(status),
        (Some(KILLED | DUMPED), Some(signal)) => How::Signal(signal),
        _ => How::Result(of_service.map_or(result, str::to_owned)),
    }
}

/// All of these are known to systemd 239 and newer.
fn properties(order: &Order) -> Vec<(&'static str, Variant<'_>)> {
    let program = order.program.display().to_string();
    // systemd would put variables of the environment into them (systemd.service(5), "Command lines").
    let arguments = order.arguments.iter().map(|argument| argument.replace('$', "$$"));
    let argv: Vec<String> = [order.name.clone()].into_iter().chain(arguments).collect();
    let mut environment = vec![format!("PATH={PATH}"), format!("LANG={LANG}")];
    environment.extend(order.variables.iter().map(|(name, value)| format!("{name}={value}")));
    let micros = |time: Duration| Variant::from(time.as_micros() as u64);
    let mut properties: Vec<(&str, Variant<'_>)> = vec![
        ("Description", format!("{} of {}", order.kind.as_str(), order.subject).into()),
        ("Type", "oneshot".into()),
        ("ExecStart", vec![(program, argv, false)].into()),
        ("DefaultDependencies", false.into()),
        ("CollectMode", "inactive-or-failed".into()),
        ("TimeoutStartUSec", micros(order.limit)),
        ("TimeoutStopUSec", micros(Duration::from_secs(5))),
        ("KillSignal", SIGKILL.into()),
        ("StandardOutputFileDescriptor", Fd::from(&order.output).into()),
        ("StandardErrorFileDescriptor", Fd::from(&order.output).into()),
        ("Environment", environment.into()),
        ("UMask", 0o077_u32.into()),
        ("LimitCORE", 0_u64.into()),
    ];
    properties.push(match &order.input {
        Some(input) => ("StandardInputFileDescriptor", Fd::from(input).into()),
        None => ("StandardInput", "null".into()),
    });
    if order.kind == Kind::Gate {
        // It fails until the guest is ready, which is no news for the journal (systemd.exec(5): PID 1's own messages count).
        properties.push(("LogLevelMax", 2_i32.into()));
    }
    if let Some(limit) = order.file_limit() {
        properties.extend([
            ("LimitFSIZE", (limit << 10).into()),
            ("NoNewPrivileges", true.into()),
            ("ProtectSystem", "full".into()),
            ("ProtectHome", "read-only".into()),
            ("ProtectControlGroups", true.into()),
            ("ProtectKernelModules", true.into()),
            ("ProtectKernelTunables", true.into()),
            ("LockPersonality", true.into()),
            ("RestrictRealtime", true.into()),
        ]);
    }
    properties
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use zbus::Variant;

    use super::properties;
    use crate::checks::{Kind, Order};
    use crate::sys::Root;

    #[test]
    fn what_judges_has_a_limit_for_what_it_writes() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let root = Root::open(dir.path()).expect("a directory");
        for (kind, want) in [
            (Kind::Gate, Some(65_536)),
            (Kind::Check, Some(16_777_216)),
            (Kind::Verify, Some(16_777_216)),
            (Kind::OnChange, None),
            (Kind::Hook, None),
        ] {
            let argv = ["true".to_owned()];
            let order = Order::new(&root, kind, "1", &argv, None, Duration::ZERO).expect("there is one");
            let properties = properties(&order);
            let limit = properties.iter().find(|(name, _)| *name == "LimitFSIZE").map(|(_, limit)| limit);
            assert_eq!(limit, want.map(Variant::U64).as_ref(), "{kind:?}");
        }
    }
}
