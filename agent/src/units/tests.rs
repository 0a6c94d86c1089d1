use super::roles::{Role, State, Step, steps};
use super::settle::{Ended, Outcome};
use super::{Spared, Units, Verb, due, needs_reload, owe, owed, taken_back};
use crate::bus::UnitStatus;
use std::path::Path;
use std::time::Duration;

fn status(load: &str, active: &str, job: &str) -> UnitStatus {
    let job = Some(job.to_owned()).filter(|job| !job.is_empty());
    UnitStatus {
        id: "a.service".to_owned(),
        load: load.to_owned(),
        active: active.to_owned(),
        sub: String::new(),
        job,
    }
}

#[test]
fn what_a_unit_is_owed_depends_on_what_it_does_now() {
    use Spared::{HasFailed, Inactive, Masked, NotFound, Starting, Stopping};
    use Verb::{Recover, Reload, Restart};
    // (asked for, load state, active state, job, what follows)
    let table = [
        (Restart, "loaded", "active", "", Ok("TryRestartUnit")),
        (Reload, "loaded", "active", "", Ok("ReloadOrTryRestartUnit")),
        (Recover, "loaded", "active", "", Ok("RestartUnit")),
        (Restart, "loaded", "reloading", "", Ok("TryRestartUnit")),
        (Restart, "loaded", "active", "reload", Ok("TryRestartUnit")),
        (Restart, "loaded", "activating", "start", Ok("TryRestartUnit")),
        (Restart, "loaded", "active", "stop", Err(Stopping)),
        (Restart, "loaded", "active", "restart", Err(Starting)),
        (Restart, "loaded", "activating", "stop", Err(Stopping)),
        (Restart, "loaded", "deactivating", "", Err(Stopping)),
        (Restart, "loaded", "deactivating", "restart", Err(Starting)),
        (Restart, "loaded", "inactive", "", Err(Inactive)),
        (Restart, "loaded", "inactive", "start", Err(Starting)),
        (Reload, "loaded", "inactive", "start", Err(Starting)),
        (Recover, "loaded", "inactive", "", Err(Inactive)),
        (Restart, "loaded", "failed", "", Err(HasFailed)),
        (Recover, "loaded", "failed", "", Ok("RestartUnit")),
        (Recover, "loaded", "failed", "start", Err(Starting)),
        (Recover, "loaded", "failed", "stop", Err(Stopping)),
        (Restart, "not-found", "inactive", "", Err(NotFound)),
        (Restart, "not-found", "active", "", Err(NotFound)),
        (Recover, "masked", "active", "", Err(Masked)),
        (Restart, "bad-setting", "inactive", "", Err(Inactive)),
    ];
    for (verb, load, active, job, want) in table {
        assert_eq!(due(verb, &status(load, active, job)), want, "{verb:?} {load} {active} {job}");
    }
}

#[test]
fn a_unit_is_asked_once_and_for_the_most() {
    for order in [[Verb::Restart, Verb::Recover, Verb::Reload], [Verb::Reload, Verb::Restart, Verb::Recover]]
    {
        let mut units = Units::new();
        order.into_iter().for_each(|verb| owe(&mut units, "a.service", verb));
        assert_eq!(units, Units::from([("a.service".to_owned(), Verb::Recover)]), "{order:?}");
    }
}

#[test]
fn unit_files_and_what_generators_read_need_a_reload() {
    for (path, want) in [
        ("/etc/systemd/system/a.service", true),
        ("/etc/systemd/system/a.service.d/10-agent.conf", true),
        ("/run/systemd/system/a.timer", true),
        ("/usr/lib/systemd/system/a.service", true),
        ("/etc/fstab", true),
        ("/etc/systemd/system.conf", false),
        ("/etc/systemd/systems", false),
        ("/etc/systemd/network/10-lan.network", false),
        ("/etc/fstab.d/a", false),
        ("/etc/app.conf", false),
    ] {
        assert_eq!(needs_reload([Path::new("/etc/other"), Path::new(path)]), want, "{path}");
    }
    assert!(!needs_reload([]));
}

#[test]
fn a_role_is_reached_in_as_few_steps_as_it_takes() {
    use State::{Masked, Started, Stopped};
    use Step::{Mask, Start, Stop, Unmask};
    // (state, when, load state, active state, job, steps)
    type Row = (State, bool, &'static str, &'static str, &'static str, &'static [Step]);
    let table: &[Row] = &[
        (Started, true, "loaded", "active", "", &[]),
        (Started, true, "loaded", "activating", "start", &[]),
        (Started, true, "loaded", "inactive", "start", &[]),
        (Started, true, "loaded", "inactive", "", &[Start]),
        (Started, true, "loaded", "failed", "", &[Start]),
        (Started, true, "loaded", "active", "stop", &[Start]),
        (Started, true, "masked", "inactive", "", &[Unmask, Start]),
        (Started, true, "not-found", "inactive", "", &[Start]),
        (Started, false, "loaded", "active", "", &[Stop]),
        (Started, false, "loaded", "inactive", "", &[]),
        (Started, false, "masked", "inactive", "", &[]),
        (Stopped, true, "loaded", "active", "", &[Stop]),
        (Stopped, true, "loaded", "active", "stop", &[]),
        (Stopped, true, "loaded", "inactive", "start", &[Stop]),
        (Stopped, true, "loaded", "inactive", "", &[]),
        (Stopped, true, "not-found", "inactive", "", &[]),
        (Stopped, false, "loaded", "inactive", "", &[]),
        (Stopped, false, "loaded", "active", "", &[]),
        (Masked, true, "loaded", "active", "", &[Mask, Stop]),
        (Masked, true, "loaded", "inactive", "start", &[Mask, Stop]),
        (Masked, true, "loaded", "inactive", "", &[Mask]),
        (Masked, true, "masked", "active", "", &[Stop]),
        (Masked, true, "masked", "inactive", "", &[]),
        (Masked, true, "not-found", "inactive", "", &[]),
        (Masked, false, "masked", "inactive", "", &[Unmask]),
        (Masked, false, "loaded", "active", "", &[]),
    ];
    for &(state, holds, load, active, job, want) in table {
        let role = Role { unit: "a.service".to_owned(), state, holds };
        assert_eq!(steps(&role, &status(load, active, job)), want, "{role:?} {load} {active} {job}");
    }
}

#[test]
fn an_outcome_says_what_was_wanted_and_where_the_reason_is() {
    use Verb::{Recover, Reload, Restart};
    // (asked for, how it ended, result, part of the sentence, owed to the next pass, owed when the old files are back)
    let late = Ended::Late(Duration::from_secs(90));
    let table = [
        (Reload, Ended::Done, "done", "reload of a.service: done", None, Some(Reload)),
        (
            Restart,
            Ended::Spared(Spared::Inactive),
            "not-needed",
            "reads the new files when it starts",
            None,
            None,
        ),
        (Restart, Ended::AfterUs, "queued", "it is ordered after the agent", None, None),
        (
            Restart,
            Ended::Job("timeout".to_owned()),
            "timeout",
            "\"timeout\"; journalctl -u a.service says why",
            Some(Recover),
            Some(Recover),
        ),
        (Reload, Ended::Failed, "failed", "journalctl -u a.service", Some(Recover), Some(Recover)),
        (Restart, late, "late", "after 90 s; journalctl -u a.service", Some(Recover), Some(Recover)),
        (Reload, Ended::NotAsked, "not-asked", "systemd could not be reached", Some(Reload), None),
    ];
    let action = |verb| ("a.service".to_owned(), verb);
    for (asked, ended, result, part, next, back) in table {
        let unit = "a.service".to_owned();
        let outcome = Outcome { unit, verb: asked.as_str(), asked: Some(asked), ended };
        let sentence = outcome.to_string();
        assert!(sentence.contains(part), "{sentence}");
        assert_eq!(outcome.result(), result, "{sentence}");
        assert_eq!(outcome.is_failure(), next.is_some(), "{sentence}");
        let outcomes = [outcome];
        assert_eq!(owed(&outcomes), next.map(action).into_iter().collect::<Units>(), "{sentence}");
        assert_eq!(taken_back(&outcomes), back.map(action).into_iter().collect::<Units>(), "{sentence}");
    }
}
