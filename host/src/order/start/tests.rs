//! The start, by sentences and at random.

use std::collections::BTreeMap;
use std::time::Duration;

use arbtest::arbitrary::{Result, Unstructured};

use super::{Event, Moment, Outcome, Policy, Sequence, Trouble, Why};
use crate::order::{Step, StopAction, grouped};

pub(in crate::order) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(in crate::order) fn step(
    parent: Option<usize>,
    is_guest: bool,
    order: u64,
    delay: u64,
    waits: bool,
) -> Step {
    Step {
        parent,
        groups: Vec::new(),
        is_guest,
        order,
        starts: true,
        delay: seconds(delay),
        waits,
        install: None,
        stop: StopAction::PowerOff,
        stop_delay: Duration::ZERO,
    }
}

pub(in crate::order) fn linked(mut steps: Vec<Step>) -> Vec<Step> {
    for index in 0..steps.len() {
        let children = (0..steps.len()).filter(|&it| steps[it].parent == Some(index)).collect();
        steps[index].groups = grouped(&steps, children);
    }
    steps
}

/// The white paper's shop: databases 2 and 3, one after the other, in tier 1; then the web tier, 4.
fn petstore() -> Vec<Step> {
    linked(vec![
        step(None, false, 0, 0, false),
        step(Some(0), false, 1, 120, true),
        step(Some(1), true, 1, 60, true),
        step(Some(1), true, 2, 60, true),
        step(Some(0), true, 2, 120, true),
    ])
}

fn policy() -> Policy {
    Policy { keeps_going: false, passes_late: false, patience: seconds(600), waits_for_all: true }
}

/// What the sequence says to these events, each at its second.
fn told(sequence: &mut Sequence, events: &[(u64, Event)]) -> Vec<Vec<usize>> {
    events.iter().map(|&(at, event)| sequence.handle(seconds(at), event)).collect()
}

#[test]
fn the_databases_are_ready_before_the_web_tier_starts() {
    let mut sequence = Sequence::new(petstore(), policy());
    let got = told(
        &mut sequence,
        &[
            (0, Event::Tick),
            (1, Event::On(2)),
            (9, Event::Ready(2)),
            (10, Event::On(3)),
            (40, Event::Tick),
            (50, Event::Ready(3)),
            (51, Event::On(4)),
            (52, Event::Tick),
        ],
    );
    let nobody: Vec<usize> = vec![];
    let want = [&vec![2], &nobody, &vec![3], &nobody, &nobody, &vec![4], &nobody, &nobody];
    assert_eq!(got.iter().collect::<Vec<_>>(), want);
    assert_eq!((sequence.outcome(), sequence.next(seconds(52))), (Outcome::Running, Some(seconds(171))));
    sequence.handle(seconds(60), Event::Ready(4));
    assert_eq!((sequence.outcome(), sequence.troubles()), (Outcome::Complete, &[][..]));
}

#[test]
fn what_goes_wrong_stops_it_or_is_passed_over() {
    let stops = policy();
    let goes_on = Policy { keeps_going: true, ..policy() };
    let passes = Policy { passes_late: true, ..policy() };
    let late = Why::Late(seconds(60));
    for (name, policy, event, want, next) in [
        ("a failure", &stops, (5, Event::Failed(2)), Some(Why::Failed), vec![]),
        ("a failure, going on", &goes_on, (5, Event::Failed(2)), Some(Why::Failed), vec![3]),
        ("a failure is not lateness", &passes, (5, Event::Failed(2)), Some(Why::Failed), vec![]),
        ("lateness", &stops, (61, Event::Tick), Some(late), vec![]),
        ("lateness, going on", &goes_on, (61, Event::Tick), Some(late), vec![3]),
        ("lateness, passed", &passes, (61, Event::Tick), Some(late), vec![3]),
        ("not yet late", &stops, (60, Event::Tick), None, vec![]),
        ("it powers off", &stops, (5, Event::Off(2)), Some(Why::Off), vec![]),
        ("its QEMU dies", &stops, (5, Event::Lost(2)), Some(Why::Lost), vec![]),
        ("its network ends", &stops, (5, Event::Isolated(2)), Some(Why::Isolated), vec![]),
        ("its network ends, going on", &goes_on, (5, Event::Isolated(2)), Some(Why::Isolated), vec![3]),
        ("it does not start", &stops, (5, Event::NotStarted(2)), Some(Why::NotStarted), vec![]),
        ("it reboots", &stops, (5, Event::Rebooted(2)), None, vec![]),
    ] {
        let mut sequence = Sequence::new(petstore(), policy.clone());
        let got = told(&mut sequence, &[(0, Event::Tick), (1, Event::On(2)), event]);
        assert_eq!(got[2], next, "{name}");
        let troubles: Vec<_> = want.into_iter().map(|why| Trouble { step: 2, why }).collect();
        assert_eq!(sequence.troubles(), troubles, "{name}");
        let is_stopped = want.is_some() && next.is_empty();
        assert_eq!(sequence.outcome() == Outcome::Stopped, is_stopped, "{name}");
    }
}

#[test]
fn who_was_ready_and_fails_for_good_or_goes_ends_it_as_before() {
    for (event, why) in [(Event::Failed(2), Why::Failed), (Event::Off(2), Why::Off)] {
        for waits_for_all in [true, false] {
            let mut sequence = Sequence::new(petstore(), Policy { waits_for_all, ..policy() });
            let begin =
                [(0, Event::Tick), (1, Event::On(2)), (5, Event::Ready(2)), (6, Event::On(3)), (7, event)];
            told(&mut sequence, &begin);
            assert_eq!(sequence.troubles(), [Trouble { step: 2, why }], "{event:?}");
            assert_eq!(sequence.outcome(), Outcome::Stopped, "{event:?}");
        }
    }
    // A guest that nobody waits for may come and go.
    let mut steps = petstore();
    (steps[2].waits, steps[2].delay) = (false, seconds(30));
    let mut sequence = Sequence::new(steps, Policy { waits_for_all: false, ..policy() });
    told(&mut sequence, &[(0, Event::Tick), (1, Event::On(2)), (5, Event::Ready(2))]);
    assert_eq!(sequence.handle(seconds(6), Event::Off(2)), [3]);
    assert_eq!(sequence.troubles(), []);
}

#[test]
fn who_does_not_wait_for_all_waits_for_nobody_once_the_last_one_is_started() {
    let mut sequence = Sequence::new(petstore(), Policy { waits_for_all: false, ..policy() });
    let begin =
        [(0, Event::Tick), (1, Event::On(2)), (5, Event::Ready(2)), (6, Event::On(3)), (7, Event::Ready(3))];
    assert_eq!(told(&mut sequence, &begin)[4], [4]);
    assert_eq!(sequence.outcome(), Outcome::Running, "it is told to start, and is not yet");
    sequence.handle(seconds(8), Event::On(4));
    assert_eq!(sequence.outcome(), Outcome::Complete, "it is waited for by nobody, whatever its Item says");

    // The second boot of one that installs itself is the one that counts.
    let mut steps = petstore();
    steps[4].install = Some(Duration::ZERO);
    let mut sequence = Sequence::new(steps, Policy { waits_for_all: false, ..policy() });
    told(&mut sequence, &begin);
    sequence.handle(seconds(8), Event::On(4));
    assert_eq!(sequence.outcome(), Outcome::Running);
    assert_eq!(sequence.handle(seconds(20), Event::Off(4)), [4]);
    sequence.handle(seconds(21), Event::On(4));
    assert_eq!(sequence.outcome(), Outcome::Complete);
}

#[test]
fn a_network_that_ends_is_everybodys_trouble() {
    let mut sequence = Sequence::new(petstore(), policy());
    let begin = [(0, Event::Tick), (1, Event::On(2)), (5, Event::Ready(2)), (6, Event::Isolated(2))];
    told(&mut sequence, &begin);
    assert_eq!(sequence.troubles(), [Trouble { step: 2, why: Why::Isolated }]);
    assert_eq!(sequence.outcome(), Outcome::Stopped);
}

#[test]
fn a_reboot_before_its_turn_is_over_makes_a_guest_say_so_again() {
    let mut steps = petstore();
    steps[1].groups = vec![vec![2, 3]];
    let mut sequence = Sequence::new(steps, policy());
    let begin = [(0, Event::Tick), (1, Event::On(2)), (1, Event::On(3)), (5, Event::Ready(2))];
    assert_eq!(told(&mut sequence, &begin)[0], [2, 3]);
    told(&mut sequence, &[(6, Event::Rebooted(2)), (7, Event::Ready(3))]);
    assert!(sequence.handle(seconds(8), Event::Tick).is_empty(), "2 is not ready again");
    assert_eq!(sequence.handle(seconds(9), Event::Ready(2)), [4]);
}

#[test]
fn an_installation_is_a_boot_of_its_own() {
    let mut steps = petstore();
    steps[2].install = Some(seconds(30));
    let begin = [(0, Event::Tick), (1, Event::On(2)), (20, Event::Ready(2)), (25, Event::Off(2))];
    let mut sequence = Sequence::new(steps.clone(), policy());
    assert_eq!(told(&mut sequence, &begin)[3], [2], "it is started once more");
    told(&mut sequence, &[(26, Event::On(2))]);
    assert_eq!(sequence.deadline(2), Some(seconds(86)), "its time begins with the second boot");
    assert_eq!(sequence.handle(seconds(40), Event::Ready(2)), [3]);

    let mut sequence = Sequence::new(steps, policy());
    told(&mut sequence, &[(0, Event::Tick), (1, Event::On(2)), (31, Event::Tick)]);
    assert_eq!(sequence.troubles(), [Trouble { step: 2, why: Why::InstallLate(seconds(30)) }]);
}

#[test]
fn a_tier_that_is_late_is_so_as_a_whole() {
    let mut steps = petstore();
    steps[1].delay = seconds(10);
    let passes = Policy { passes_late: true, ..policy() };
    let mut sequence = Sequence::new(steps.clone(), policy());
    told(&mut sequence, &[(0, Event::Tick), (1, Event::On(2)), (10, Event::Tick)]);
    assert_eq!(sequence.troubles(), [Trouble { step: 2, why: Why::Late(seconds(10)) }]);

    let mut sequence = Sequence::new(steps, passes);
    told(&mut sequence, &[(0, Event::Tick), (1, Event::On(2))]);
    let mut next = sequence.handle(seconds(10), Event::Tick);
    next.sort_unstable();
    assert_eq!(next, [3, 4], "the next tier begins, and its own next guest is not forgotten");
}

#[test]
fn who_is_not_waited_for_has_its_delay() {
    let guests = linked(vec![
        step(None, false, 0, 0, false),
        step(Some(0), true, 0, 5, false),
        step(Some(0), true, 0, 0, false),
        step(Some(0), true, 1, 0, false),
    ]);
    let mut sequence = Sequence::new(guests, Policy { waits_for_all: false, ..policy() });
    assert_eq!(sequence.handle(seconds(0), Event::Tick), [1, 2]);
    told(&mut sequence, &[(1, Event::On(1)), (1, Event::On(2))]);
    assert_eq!(sequence.next(seconds(1)), Some(seconds(6)));
    assert_eq!(sequence.handle(seconds(6), Event::Tick), [3]);
    sequence.handle(seconds(7), Event::On(3));
    assert_eq!(sequence.outcome(), Outcome::Complete);
}

/// What really happened, as a witness wrote it down.
#[derive(Default)]
struct Witness {
    told: BTreeMap<usize, usize>,
    on: BTreeMap<usize, Moment>,
    was_ready: BTreeMap<usize, bool>,
    /// Failed or late: nobody waits for it under a policy that goes on.
    given_up: Vec<usize>,
    /// How often it has powered itself off.
    off: BTreeMap<usize, usize>,
}

/// A step, and what it is in.
pub(in crate::order) fn line(steps: &[Step], step: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(step), |&it| steps[it].parent)
}

impl Witness {
    /// Whether a step may be behind, for all that was seen: by its own words, its time, or its trouble.
    fn may_be_through(&self, steps: &[Step], step: usize, now: Moment) -> bool {
        let it = &steps[step];
        if !it.starts || self.given_up.contains(&step) {
            return true;
        }
        if it.is_guest {
            let Some(&on) = self.on.get(&step) else { return false };
            // One that nobody waits for may have done its work.
            if !it.waits
                && self.off.get(&step).is_some_and(|&it| it > usize::from(steps[step].install.is_some()))
            {
                return true;
            }
            return if it.waits { self.was_ready[&step] } else { now >= on + it.delay };
        }
        // A collection that is late is behind as a whole, and somebody in it is to blame.
        let is_late = it.waits && self.given_up.iter().any(|&it| line(steps, it).any(|it| it == step));
        is_late || it.groups.iter().flatten().all(|&it| self.may_be_through(steps, it, now))
    }
}

pub(in crate::order) fn tree(u: &mut Unstructured<'_>) -> Result<Vec<Step>> {
    let mut steps = vec![step(None, false, 0, 0, false)];
    for _ in 0..u.int_in_range(1..=11)? {
        let parents: Vec<_> = (0..steps.len()).filter(|&it| !steps[it].is_guest).collect();
        let parent = *u.choose(&parents)?;
        let mut new = step(
            Some(parent),
            u.ratio(3, 4)?,
            u.int_in_range(0..=3)?,
            u.int_in_range(0..=20)?,
            u.arbitrary()?,
        );
        new.starts = u.ratio(7, 8)?;
        new.install = u.ratio(1, 8)?.then(|| seconds(30));
        steps.push(new);
    }
    Ok(linked(steps))
}

/// What a guest does next, and after how many seconds.
fn deed(u: &mut Unstructured<'_>, guest: usize, is_on: bool) -> Result<(u64, Event)> {
    let after = u.int_in_range(0..=25)?;
    let event = match (is_on, u.int_in_range(0..=15)?) {
        (false, 0) => Event::NotStarted(guest),
        (false, _) => Event::On(guest),
        (true, 0) => Event::Failed(guest),
        (true, 1) => Event::Off(guest),
        (true, 2) => Event::Lost(guest),
        (true, 3) => Event::Rebooted(guest),
        (true, _) => Event::Ready(guest),
    };
    Ok((after, event))
}

/// Random packages, guests and policies. No guest starts before what it waits for, nobody is forgotten, nobody is started
/// twice, and there is always something that the sequence goes on by.
#[test]
fn whatever_happens_the_order_is_kept() {
    arbtest::arbtest(|u| {
        let steps = tree(u)?;
        let policy = Policy {
            keeps_going: u.arbitrary()?,
            passes_late: u.arbitrary()?,
            patience: seconds(40),
            waits_for_all: u.arbitrary()?,
        };
        let mut sequence = Sequence::new(steps.clone(), policy.clone());
        let mut witness = Witness::default();
        let mut coming: Vec<(Moment, Event)> = vec![(Duration::ZERO, Event::Tick)];
        let mut now = Duration::ZERO;
        for _ in 0..400 {
            if sequence.outcome() != Outcome::Running {
                break;
            }
            coming.sort_by_key(|it| std::cmp::Reverse(it.0));
            let timer = sequence.next(now);
            let event = match (coming.last(), timer) {
                (Some(&(at, _)), timer) if timer.is_none_or(|it| at <= it) => coming.pop(),
                (_, Some(timer)) => Some((timer, Event::Tick)),
                (None, None) => panic!("nothing will ever happen: {sequence:#?}"),
                _ => unreachable!("an event is before the timer, or the timer is there"),
            };
            let (at, event) = event.expect("one of the two");
            now = at;
            match event {
                Event::On(guest) => {
                    witness.on.insert(guest, now);
                    witness.was_ready.insert(guest, false);
                }
                Event::Ready(guest) => drop(witness.was_ready.insert(guest, true)),
                Event::Off(guest) => *witness.off.entry(guest).or_default() += 1,
                _ => {}
            }
            let told = sequence.handle(now, event);
            witness.given_up = sequence.troubles().iter().map(|it| it.step).collect();
            for &guest in &told {
                let count = witness.told.entry(guest).or_default();
                *count += 1;
                assert!(
                    *count <= 1 + usize::from(steps[guest].install.is_some()),
                    "{guest} is started again"
                );
                let mut at = Some(guest);
                while let Some(step) = at {
                    assert!(steps[step].starts, "{guest} is not the sequence's to start");
                    let Some(parent) = steps[step].parent else { break };
                    for before in steps[parent].groups.iter().flatten() {
                        if steps[*before].order < steps[step].order {
                            assert!(
                                witness.may_be_through(&steps, *before, now),
                                "{guest} starts before {before} is through: {sequence:#?}"
                            );
                        }
                    }
                    at = Some(parent);
                }
                let (after, event) = deed(u, guest, false)?;
                coming.push((now + seconds(after), event));
            }
            if let Event::On(guest) | Event::Rebooted(guest) | Event::Ready(guest) = event {
                let (after, event) = deed(u, guest, true)?;
                coming.push((now + seconds(1 + after), event));
            }
        }
        assert_ne!(sequence.outcome(), Outcome::Running, "it has no end: {sequence:#?}");
        if sequence.outcome() == Outcome::Complete {
            for (index, step) in steps.iter().enumerate() {
                let is_ours = line(&steps, index).all(|it| steps[it].starts);
                assert_eq!(
                    step.is_guest && is_ours,
                    witness.told.contains_key(&index),
                    "{index} was forgotten: {sequence:#?}"
                );
            }
        }
        let stops =
            sequence.troubles().iter().any(|it| !policy.passes_late || !matches!(it.why, Why::Late(_)));
        assert_eq!(sequence.outcome() == Outcome::Stopped, stops && !policy.keeps_going);
        Ok(())
    })
    .budget_ms(400);
}
