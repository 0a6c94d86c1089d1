//! The stop: the start backwards.
//!
//! Decides who is stopped next, how, and when waiting has an end. A guest that is asked to shut down has `stopDelay` to do
//! so, or the policy's time where there is none; then its power is cut. `stopAction="none"` leaves a guest to the very end,
//! where nothing may be left running.

#![forbid(unsafe_code)]

use std::rc::Rc;
use std::time::Duration;

use super::{Moment, Step, StopAction};

/// What is to be done with a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It is asked to shut down, and has this long.
    Ask(usize, Duration),
    /// Its power is cut.
    Cut(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    On,
    Asked(Moment),
    Cut,
    Off,
}

/// A stop that goes on.
#[derive(Debug)]
pub struct Descent {
    steps: Rc<[Step]>,
    states: Vec<State>,
    patience: Duration,
}

impl Descent {
    /// Stops these guests of these steps; who is asked and has no time of its own has this long.
    pub fn new(steps: Vec<Step>, running: impl IntoIterator<Item = usize>, patience: Duration) -> Self {
        let mut states = vec![State::Off; steps.len()];
        for guest in running {
            states[guest] = State::On;
        }
        Self { steps: steps.into(), states, patience }
    }

    /// Goes on, now that these guests are off. Answers what is to be done.
    pub fn handle(&mut self, now: Moment, off: impl IntoIterator<Item = usize>) -> Vec<Order> {
        for guest in off {
            self.states[guest] = State::Off;
        }
        let mut orders = Vec::new();
        if self.visit(0, now, &mut orders) {
            for guest in 0..self.steps.len() {
                if self.states[guest] == State::On {
                    self.cut(guest, &mut orders);
                }
            }
        }
        orders
    }

    /// Whether nobody runs any more.
    pub fn is_over(&self) -> bool {
        self.states.iter().all(|&it| it == State::Off)
    }

    /// When the passing of time alone will change something.
    pub fn next(&self) -> Option<Moment> {
        let until = |(step, state): (&Step, &State)| match *state {
            State::Asked(since) => Some(since + self.limit(step)),
            _ => None,
        };
        self.steps.iter().zip(&self.states).filter_map(until).min()
    }

    fn limit(&self, step: &Step) -> Duration {
        if step.stop_delay.is_zero() { self.patience } else { step.stop_delay }
    }

    fn cut(&mut self, guest: usize, orders: &mut Vec<Order>) {
        self.states[guest] = State::Cut;
        orders.push(Order::Cut(guest));
    }

    /// Goes on with a step. Answers whether it holds up nobody any more.
    fn visit(&mut self, step: usize, now: Moment, orders: &mut Vec<Order>) -> bool {
        if self.steps[step].is_guest {
            return self.guest(step, now, orders);
        }
        if self.steps[step].stop == StopAction::None {
            return true;
        }
        let steps = Rc::clone(&self.steps);
        for group in steps[step].groups.iter().rev() {
            let mut is_through = true;
            for &child in group.iter().rev() {
                is_through &= self.visit(child, now, orders);
            }
            if !is_through {
                return false;
            }
        }
        true
    }

    fn guest(&mut self, guest: usize, now: Moment, orders: &mut Vec<Order>) -> bool {
        match (self.states[guest], self.steps[guest].stop) {
            (State::Off, _) | (State::On, StopAction::None) => true,
            (State::Cut, _) => false,
            (State::On, StopAction::PowerOff) => {
                self.cut(guest, orders);
                false
            }
            (State::On, StopAction::Shutdown) => {
                self.states[guest] = State::Asked(now);
                orders.push(Order::Ask(guest, self.limit(&self.steps[guest])));
                false
            }
            (State::Asked(since), _) => {
                if now >= since + self.limit(&self.steps[guest]) {
                    self.cut(guest, orders);
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
