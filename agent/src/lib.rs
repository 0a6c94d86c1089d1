//! `ovf-agent`: configures a guest from its OVF environment, and tells the platform when it is ready.
//!
//! The modules are listed in the order in which data flows through them; `ARCHITECTURE.md` has the picture. Nothing
//! left of [`apply`] changes anything, and nothing outside [`sys`] touches the machine.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod detect;
pub mod transport;
pub mod environment;
pub mod parameters;
pub mod template;
pub mod plan;
pub mod apply;
pub mod ready;
pub mod report;
pub mod protocol;
pub mod watch;

pub mod bus;
pub mod units;
pub mod checks;
pub mod hooks;

pub mod agent;
pub mod cli;
pub mod config;
pub mod interfaces;
pub mod log;
pub mod notify;
pub mod printable;
pub mod problem;
pub mod schema;
pub mod secrets;
pub mod state;
pub mod sys;
pub mod times;
