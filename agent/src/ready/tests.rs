//! The gates against a table of moments.

use std::time::Duration;

use super::entities::Port;
use super::{Conditions, Gates, Obstacle, Probe, Rendezvous, Siblings, Standing, Task};
use crate::sys::clock::Moment;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const UNIT: usize = 0;
const FILE: usize = 1;
const TCP: usize = 2;

fn conditions() -> Conditions {
    Conditions {
        units: vec!["a.service".to_owned()],
        files: vec!["/run/a".into()],
        tcp: vec!["127.0.0.1:80".parse().expect("an address")],
        http: Vec::new(),
        commands: Vec::new(),
        command_timeout: ms(30_000),
        entities: Vec::new(),
        timeout: ms(10_000),
        recheck: None,
    }
}

fn gates(conditions: &Conditions) -> Gates {
    Gates::new(conditions, &Siblings::default(), ms(0))
}

fn inactive() -> Obstacle {
    Obstacle { code: "UnitInactive", reason: "inactive (dead)".into() }
}

fn activating() -> Obstacle {
    Obstacle { code: "UnitActivating", reason: "activating (start)".into() }
}

fn failed() -> Obstacle {
    Obstacle { code: "UnitFailed", reason: "has failed".into() }
}

fn refused() -> Obstacle {
    Obstacle::connection(&std::io::ErrorKind::ConnectionRefused.into())
}

fn late() -> Obstacle {
    Obstacle::connection(&std::io::ErrorKind::TimedOut.into())
}

/// All gates passed at this moment.
fn ready(conditions: &Conditions, now: Moment) -> Gates {
    let mut gates = gates(conditions);
    gates.tasks(now);
    for (index, is_watched) in [(UNIT, true), (FILE, true), (TCP, false)] {
        gates.outcome(index, Ok(()), is_watched, now);
    }
    assert_eq!(
        (gates.standing(now), gates.next().is_none()),
        (Standing::Ready, conditions.recheck.is_none())
    );
    gates
}

fn codes(gates: &Gates, now: Moment) -> Vec<(String, u64)> {
    gates.unmet(now).into_iter().map(|unmet| (unmet.code, unmet.since_ms)).collect()
}

fn code(code: &str, since_ms: u64) -> (String, u64) {
    (code.to_owned(), since_ms)
}

#[test]
fn what_cannot_be_watched_is_tried_at_growing_intervals() {
    let mut gates = gates(&conditions());
    assert_eq!(gates.tasks(ms(0)).len(), 2, "the unit is told of");
    gates.outcome(FILE, Err(Obstacle::FILE_MISSING), true, ms(0));
    gates.outcome(TCP, Err(refused()), false, ms(0));
    assert_eq!((gates.next(), gates.tasks(ms(49))), (Some(ms(50)), vec![]));
    let tcp = Probe::Tcp("127.0.0.1:80".parse().expect("an address"));
    for (at, next) in [(50, 150), (150, 350), (350, 750), (750, 1550), (1550, 2550), (2550, 3550)] {
        assert_eq!(
            gates.tasks(ms(at)),
            [Task::Try(TCP, tcp.clone())],
            "at {at}, and nothing that is watched"
        );
        gates.outcome(TCP, Err(refused()), false, ms(at));
        assert_eq!(gates.next(), Some(ms(next)));
    }
    assert_eq!(
        codes(&gates, ms(3000)),
        [code("NotTried", 3000), code("FileMissing", 3000), code("ConnectionRefused", 3000)]
    );
    // One that takes long is not tried again at once.
    gates.tasks(ms(3550));
    gates.outcome(TCP, Err(refused()), false, ms(7550));
    assert_eq!(gates.next(), Some(ms(10_000)), "the deadline; the pause is as long as the try");
}

#[test]
fn an_attempt_that_is_not_answered_is_given_up_and_hides_nothing() {
    let mut gates = gates(&conditions());
    gates.tasks(ms(0));
    gates.outcome(FILE, Ok(()), true, ms(0));
    gates.outcome(UNIT, Ok(()), true, ms(0));
    assert_eq!(codes(&gates, ms(10)), [code("NoAnswerYet", 10)]);
    assert_eq!((gates.next(), gates.tasks(ms(4999))), (Some(ms(5000)), vec![]));
    assert_eq!(gates.tasks(ms(5000)), [Task::Abandon(TCP)]);
    gates.outcome(TCP, Err(late()), false, ms(5000));
    assert_eq!(codes(&gates, ms(5001)), [code("ConnectionTimedOut", 1)]);
    let at = gates.next().expect("another try");
    gates.tasks(at);
    assert_eq!(codes(&gates, at)[0].0, "ConnectionTimedOut", "while it is tried again");
}

#[test]
fn each_gate_has_its_turn_however_many_never_answer() {
    for silent in [40, 70, 99] {
        let tcp = (1..=100).map(|port| ([127, 0, 0, 1], port).into()).collect();
        let conditions =
            Conditions { units: vec![], files: vec![], tcp, timeout: ms(20_000), ..conditions() };
        let mut gates = gates(&conditions);
        let mut tried = std::collections::BTreeSet::new();
        let mut running = 0_usize;
        let mut at = ms(0);
        while gates.standing(at) == Standing::Waiting {
            for task in gates.tasks(at) {
                match task {
                    Task::Try(index, _) => {
                        tried.insert(index);
                        running += 1;
                        if index >= silent {
                            running -= 1;
                            gates.outcome(index, Err(refused()), false, at);
                        }
                    }
                    Task::Abandon(index) => {
                        running -= 1;
                        gates.outcome(index, Err(late()), false, at);
                    }
                }
                assert!(running <= 32, "{running} at a time");
            }
            // A millisecond is what it takes the others to answer.
            at = gates.next().expect("the deadline").max(at + ms(1));
        }
        assert_eq!(tried.len(), 100, "{silent} never answer");
    }
}

#[test]
fn the_first_obstacle_is_reported_until_another_tells_more_or_lasts() {
    let mut gates = gates(&conditions());
    gates.tasks(ms(0));
    gates.outcome(FILE, Ok(()), true, ms(0));
    gates.outcome(TCP, Ok(()), false, ms(0));
    let mut see = |at: u64, obstacle: Option<Obstacle>| {
        if let Some(obstacle) = obstacle {
            gates.outcome(UNIT, Err(obstacle), true, ms(at));
        }
        assert_eq!(gates.standing(ms(at)), Standing::Waiting);
        codes(&gates, ms(at)).remove(0)
    };
    assert_eq!(see(10, Some(inactive())), code("UnitInactive", 0));
    assert_eq!(see(500, Some(activating())), code("UnitInactive", 490), "not yet");
    assert_eq!(see(1499, None), code("UnitInactive", 1489));
    assert_eq!(see(1500, None), code("UnitActivating", 1000), "it has lasted, since it began");
    assert_eq!(see(1600, Some(failed())), code("UnitFailed", 0), "it tells more");
    assert_eq!(see(1700, Some(activating())), code("UnitFailed", 100));
    assert_eq!(see(1800, Some(failed())), code("UnitFailed", 200), "a unit that fails and fails");
    assert_eq!(see(1900, Some(activating())), code("UnitFailed", 300));
    assert_eq!(see(2899, None), code("UnitFailed", 1299));
    assert_eq!(see(2900, None), code("UnitActivating", 1000));
}

#[test]
fn a_watched_gate_that_is_lost_counts_again_when_it_has_stayed() {
    let mut gates = ready(&conditions(), ms(0));
    gates.outcome(UNIT, Err(failed()), true, ms(100_000));
    assert_eq!(gates.standing(ms(100_000)), Standing::Degraded);
    assert_eq!((codes(&gates, ms(100_005)), gates.left(ms(100_005))), (vec![code("UnitFailed", 5)], None));
    gates.outcome(UNIT, Ok(()), true, ms(100_100));
    assert_eq!((gates.standing(ms(101_099)), gates.next()), (Standing::Degraded, Some(ms(101_100))));
    assert_eq!((gates.standing(ms(101_100)), gates.next()), (Standing::Ready, None));
    // A service that starts and dies every 100 ms is one loss.
    let mut reports = 0;
    let mut said = (Standing::Ready, vec![]);
    for at in (200_000..230_000).step_by(100) {
        let outcome = if at % 200 == 0 { Err(activating()) } else { Ok(()) };
        gates.outcome(UNIT, outcome, true, ms(at));
        let say =
            (gates.standing(ms(at)), gates.unmet(ms(at)).into_iter().map(|it| it.code).collect::<Vec<_>>());
        reports += u32::from(say != said);
        said = say;
    }
    assert_eq!((reports, said), (1, (Standing::Degraded, vec!["UnitActivating".to_owned()])));
    assert_eq!(gates.standing(ms(230_900)), Standing::Ready, "and in the end it stays");
}

#[test]
fn the_more_often_a_gate_is_lost_the_longer_it_has_to_be_good() {
    let mut gates = ready(&conditions(), ms(0));
    let mut at = 100_000;
    for steady in [1, 2, 4, 8, 16, 32, 32] {
        gates.outcome(FILE, Err(Obstacle::FILE_MISSING), true, ms(at));
        assert_eq!(gates.standing(ms(at)), Standing::Degraded);
        gates.outcome(FILE, Ok(()), true, ms(at + 10));
        let back = at + 10 + steady * 1000;
        assert_eq!(gates.standing(ms(back - 1)), Standing::Degraded, "{steady}");
        assert_eq!(gates.standing(ms(back)), Standing::Ready, "{steady}");
        at = back + 10;
    }
    at += 60_000;
    gates.outcome(FILE, Err(Obstacle::FILE_MISSING), true, ms(at));
    gates.outcome(FILE, Ok(()), true, ms(at + 10));
    assert_eq!(gates.standing(ms(at + 1010)), Standing::Ready, "after a minute it is the first time");
}

#[test]
fn what_is_rechecked_is_lost_and_regained_by_one_try() {
    let mut gates = ready(&Conditions { recheck: Some(ms(30_000)), ..conditions() }, ms(0));
    assert_eq!(gates.next(), Some(ms(30_000)));
    assert_eq!(gates.tasks(ms(30_000)).len(), 1, "nothing that is watched");
    gates.outcome(TCP, Err(refused()), false, ms(30_001));
    assert_eq!((gates.standing(ms(30_001)), gates.next()), (Standing::Degraded, Some(ms(60_001))));
    gates.tasks(ms(60_001));
    gates.outcome(TCP, Ok(()), false, ms(60_002));
    assert_eq!((gates.standing(ms(60_002)), gates.next()), (Standing::Ready, Some(ms(90_002))));
}

#[test]
fn a_guest_whose_time_is_over_comes_right_by_what_is_watched() {
    let mut gates = gates(&conditions());
    gates.tasks(ms(0));
    gates.outcome(FILE, Ok(()), true, ms(0));
    gates.outcome(UNIT, Err(failed()), true, ms(0));
    gates.outcome(TCP, Err(refused()), false, ms(9990));
    assert_eq!((gates.left(ms(9999)), gates.next()), (Some(ms(1)), Some(ms(10_000))));
    assert_eq!(
        (gates.standing(ms(10_000)), gates.next()),
        (Standing::TimedOut, None),
        "nothing is tried any more"
    );
    assert_eq!(codes(&gates, ms(10_000)), [code("UnitFailed", 10_000), code("ConnectionRefused", 10)]);
    gates.outcome(UNIT, Ok(()), true, ms(50_000));
    assert_eq!((gates.standing(ms(50_000)), gates.tasks(ms(50_000)).len()), (Standing::TimedOut, 1));
    gates.outcome(TCP, Err(refused()), false, ms(50_001));
    assert_eq!(gates.next(), Some(ms(50_051)), "as at first");
    gates.tasks(ms(50_051));
    gates.outcome(TCP, Ok(()), false, ms(50_052));
    assert_eq!((gates.standing(ms(50_052)), gates.next()), (Standing::Ready, None));
    // And not for ever.
    let mut gates = self::gates(&conditions());
    gates.tasks(ms(0));
    gates.outcome(FILE, Err(Obstacle::FILE_MISSING), true, ms(0));
    gates.outcome(TCP, Err(refused()), false, ms(9990));
    gates.standing(ms(10_000));
    gates.outcome(FILE, Ok(()), true, ms(20_000));
    let mut tries = 0;
    let mut at = ms(20_000);
    while let Some(next) = gates.next() {
        at = at.max(next);
        tries += gates.tasks(at).len();
        gates.outcome(TCP, Err(refused()), false, at);
        gates.standing(at);
    }
    assert!((10..20).contains(&tries) && at < ms(32_000), "{tries} tries until {at:?}");
    assert_eq!(gates.standing(at), Standing::TimedOut);
    // Somebody wants it to be tried.
    gates.try_again(ms(90_000));
    assert_eq!(gates.tasks(ms(90_000)).len(), 1);
}

#[test]
fn a_sibling_that_nobody_knows_is_an_obstacle_and_nothing_to_try() {
    let rendezvous =
        Rendezvous { entity: Some("DB2".to_owned()), key: "ip".to_owned(), port: Port::Number(5432) };
    let conditions =
        Conditions { units: vec![], files: vec![], tcp: vec![], entities: vec![rendezvous], ..conditions() };
    let mut gates = gates(&conditions);
    assert_eq!((gates.tasks(ms(0)), gates.next()), (vec![], Some(ms(10_000))));
    let unmet = gates.unmet(ms(5)).remove(0);
    assert_eq!((unmet.gate.as_str(), unmet.code.as_str()), ("entity DB2 ip:5432", "EntityMissing"));
    assert_eq!((gates.standing(ms(10_000)), gates.next()), (Standing::TimedOut, None));
    let nothing = Conditions { entities: vec![], ..conditions };
    assert_eq!(self::gates(&nothing).standing(ms(0)), Standing::Ready, "a guest without gates is ready");
}

#[test]
fn a_gate_has_a_name_that_fits_into_a_line() {
    let long = vec!["/usr/bin/check".to_owned(), "x".repeat(500)];
    let conditions = Conditions { commands: vec![long], ..conditions() };
    let names: Vec<_> = gates(&conditions).unmet(ms(0)).into_iter().map(|unmet| unmet.gate).collect();
    assert_eq!(names[..3], ["unit a.service", "file /run/a", "tcp 127.0.0.1:80"]);
    assert!(names[3].starts_with("command /usr/bin/check xxx") && names[3].len() < 130, "{names:?}");
}

#[test]
fn a_hold_is_a_gate_that_comes_and_goes() {
    let hold =
        |who: &str, at: u64| super::Hold::new(who.to_owned(), "loads".to_owned(), ms(at)).expect("words");
    // Before the guest is ready.
    let mut gates = Gates::new(&Conditions { tcp: Vec::new(), ..conditions() }, &Siblings::default(), ms(0));
    gates.hold(vec![hold("a", 0)], ms(0));
    gates.outcome(UNIT, Ok(()), true, ms(10));
    gates.outcome(FILE, Ok(()), true, ms(10));
    assert_eq!(gates.standing(ms(20)), Standing::Waiting);
    assert_eq!(codes(&gates, ms(20)), [code("Held", 20)]);
    assert_eq!(gates.unmet(ms(20))[0].gate, "hold a");
    assert_eq!(gates.next(), Some(ms(10_000)), "the end of the wait, and nothing before");
    assert_eq!(gates.standing(ms(10_000)), Standing::TimedOut);
    gates.hold(Vec::new(), ms(11_000));
    assert_eq!(gates.standing(ms(11_000)), Standing::Ready);
    // After it.
    gates.hold(vec![hold("a", 12_000), hold("b", 12_500)], ms(12_500));
    assert_eq!(gates.standing(ms(13_000)), Standing::Degraded);
    assert_eq!(codes(&gates, ms(13_000)), [code("Held", 1000), code("Held", 500)]);
    gates.hold(vec![hold("b", 12_500)], ms(13_000));
    assert_eq!(gates.standing(ms(13_000)), Standing::Degraded);
    gates.hold(Vec::new(), ms(13_000));
    assert_eq!(gates.standing(ms(13_000)), Standing::Ready);
    assert_eq!(gates.next(), None);
}

/// What nobody tried any more may have waited for the holder.
#[test]
fn gates_are_tried_again_when_somebody_lets_go_too_late() {
    let mut gates = gates(&conditions());
    gates.hold(vec![super::Hold::new("a".to_owned(), "loads".to_owned(), ms(0)).expect("words")], ms(0));
    gates.outcome(UNIT, Ok(()), true, ms(10));
    gates.outcome(FILE, Ok(()), true, ms(10));
    gates.tasks(ms(10));
    gates.outcome(TCP, Err(refused()), false, ms(9990));
    assert_eq!(gates.standing(ms(10_000)), Standing::TimedOut);
    assert_eq!(gates.tasks(ms(20_000)), []);
    gates.hold(Vec::new(), ms(20_000));
    assert_eq!(
        gates.tasks(ms(20_000)),
        [Task::Try(TCP, Probe::Tcp("127.0.0.1:80".parse().expect("an address")))]
    );
    gates.outcome(TCP, Ok(()), false, ms(20_010));
    assert_eq!(gates.standing(ms(20_010)), Standing::Ready);
}
