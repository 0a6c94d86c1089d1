//! The stop, by sentences and at random.

use std::time::Duration;

use super::{Descent, Order};
use crate::order::start::tests::{line, linked, seconds, step, tree};
use crate::order::{Step, StopAction};

const PATIENCE: Duration = Duration::from_secs(180);

/// Two databases, then the web tier, each asked to shut down; and a guest that is none of the sequence's.
fn shop() -> Vec<Step> {
    let mut steps = linked(vec![
        step(None, false, 0, 0, false),
        step(Some(0), true, 1, 0, true),
        step(Some(0), true, 1, 0, true),
        step(Some(0), true, 2, 0, true),
        step(Some(0), true, 3, 0, true),
    ]);
    for step in &mut steps {
        (step.stop, step.stop_delay) = (StopAction::Shutdown, seconds(20));
    }
    steps[2].stop_delay = Duration::ZERO;
    steps[4].stop = StopAction::None;
    steps
}

#[test]
fn the_last_is_stopped_first_and_its_power_is_cut_when_its_time_is_over() {
    let mut stop = Descent::new(shop(), 1..=4, PATIENCE);
    assert_eq!(stop.handle(seconds(0), []), [Order::Ask(3, seconds(20))]);
    assert_eq!(stop.next(), Some(seconds(20)));
    assert_eq!(stop.handle(seconds(19), []), []);
    assert_eq!(stop.handle(seconds(20), []), [Order::Cut(3)]);
    assert_eq!((stop.next(), stop.handle(seconds(20), [])), (None, vec![]));
    let both = [Order::Ask(2, PATIENCE), Order::Ask(1, seconds(20))];
    assert_eq!(stop.handle(seconds(21), [3]), both, "one without a time of its own has the usual");
    assert_eq!(stop.handle(seconds(22), [1]), []);
    assert_eq!(stop.handle(seconds(23), [2]), [Order::Cut(4)], "who is not asked goes last");
    assert!(!stop.is_over());
    assert_eq!((stop.handle(seconds(24), [4]), stop.is_over()), (vec![], true));
}

#[test]
fn who_does_not_run_holds_up_nobody() {
    let mut stop = Descent::new(shop(), [2], PATIENCE);
    assert_eq!(stop.handle(seconds(0), []), [Order::Ask(2, PATIENCE)]);
    assert_eq!((stop.handle(seconds(1), [2]), stop.is_over()), (vec![], true));
}

/// Random packages. Nobody is stopped before those of a higher order beside it are off, and in the end all are.
#[test]
fn whatever_the_order_it_is_kept_and_nobody_is_left() {
    arbtest::arbtest(|u| {
        let mut steps = tree(u)?;
        for step in &mut steps {
            step.stop = *u.choose(&[StopAction::PowerOff, StopAction::Shutdown, StopAction::None])?;
            step.stop_delay = seconds(u.int_in_range(0..=9)?);
        }
        let mut running: Vec<_> = (0..steps.len()).filter(|&it| steps[it].is_guest).collect();
        let mut stop = Descent::new(steps.clone(), running.iter().copied(), PATIENCE);
        let mut going: Vec<(Duration, usize)> = Vec::new();
        let (mut now, mut off) = (Duration::ZERO, None);
        while !stop.is_over() {
            for order in stop.handle(now, off.take()) {
                let (Order::Ask(guest, _) | Order::Cut(guest)) = order;
                let is_last = line(&steps, guest).any(|it| steps[it].stop == StopAction::None);
                let mut at = guest;
                while let Some(parent) = steps[at].parent {
                    let later: Vec<_> = steps[parent]
                        .groups
                        .iter()
                        .flatten()
                        .filter(|&&it| steps[it].order > steps[at].order && steps[it].is_guest)
                        .filter(|it| running.contains(it) && steps[**it].stop != StopAction::None)
                        .collect();
                    assert!(is_last || later.is_empty(), "{guest} is stopped before {later:?}: {steps:#?}");
                    at = parent;
                }
                let obeys = matches!(order, Order::Cut(_)) || u.arbitrary()?;
                if obeys {
                    going.push((now + seconds(u.int_in_range(0..=12)?), guest));
                }
            }
            if stop.is_over() {
                break;
            }
            going.sort_by_key(|it| std::cmp::Reverse(it.0));
            match (going.last().copied(), stop.next()) {
                (Some((at, guest)), timer) if timer.is_none_or(|it| at <= it) => {
                    going.pop();
                    running.retain(|&it| it != guest);
                    (now, off) = (at, Some(guest));
                }
                (_, Some(timer)) => now = timer,
                _ => panic!("nothing will ever happen: {stop:#?}"),
            }
        }
        assert!(running.is_empty(), "{running:?} are left");
        Ok(())
    })
    .budget_ms(200);
}
