//! One attempt at a gate: a connection, a question, or a program, under way.
//!
//! Decides how each is begun with and gone on with; how long it may take is `ready`'s to say, and a program's own.

#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::bus::{Bus, Conversation};
use crate::checks::{Kind, Order, Refusal};
use crate::ready::http::Exchange;
use crate::ready::{Obstacle, Probe};
use crate::sys::Root;
use crate::sys::clock::Moment;
use crate::sys::net::{Connecting, connect_start};

/// What is under way.
pub(super) enum Attempt {
    Connection(Connecting),
    Question(Exchange<Connecting>, bool),
    Program(Conversation<'static, Result<(), Box<Refusal>>>, Bus),
}

impl Attempt {
    /// Begins with it, and has its descriptor watched.
    pub(super) fn start(
        root: &Root,
        index: usize,
        probe: &Probe,
        limit: Duration,
        watch: impl Fn(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<Self, Obstacle> {
        let connect = |address: SocketAddr| {
            let connecting = connect_start(address).and_then(|it| watch(it.as_fd()).map(|()| it));
            connecting.map_err(|error| Obstacle::connection(&error))
        };
        match probe {
            Probe::Tcp(address) => connect(*address).map(Self::Connection),
            Probe::Peer(peer) => connect(peer.reveal()).map(Self::Connection),
            Probe::Http(url) => Ok(Self::Question(Exchange::new(connect(url.address())?, url), false)),
            Probe::Command(argv) => {
                let number = (index + 1).to_string();
                let order = Order::new(root, Kind::Gate, &number, argv, None, limit);
                let order = order.map_err(|refusal| Obstacle::command(&refusal))?;
                let bus = Bus::new(root).and_then(|bus| watch(bus.as_fd()).map(|()| bus));
                let bus = bus.map_err(|error| Obstacle::not_run(&error))?;
                Ok(Self::Program(bus.start(order.run(&bus)), bus))
            }
            Probe::Unit(_) | Probe::File(_) | Probe::Nobody => unreachable!("these are watched"),
        }
    }

    /// When [`Self::step`] has something to do although nothing has happened.
    pub(super) fn next(&self) -> Option<Moment> {
        match self {
            Self::Program(_, bus) => bus.next(),
            _ => None,
        }
    }

    /// Goes on as far as that can be now; what came of it, once something has.
    pub(super) fn step(&mut self) -> Option<Result<(), Obstacle>> {
        match self {
            Self::Connection(connecting) => outcome(connecting),
            Self::Question(exchange, is_connected) => {
                if !*is_connected {
                    match outcome(exchange.stream())? {
                        Ok(()) => *is_connected = true,
                        failed => return Some(failed),
                    }
                }
                exchange.step()
            }
            Self::Program(conversation, bus) => match bus.step(conversation) {
                Ok(ended) => ended.map(|ended| ended.map_err(|refusal| Obstacle::command(&refusal))),
                Err(error) => Some(Err(Obstacle::not_run(&error))),
            },
        }
    }
}

fn outcome(connecting: &Connecting) -> Option<Result<(), Obstacle>> {
    match connecting.outcome() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        outcome => Some(outcome.map_err(|error| Obstacle::connection(&error))),
    }
}
