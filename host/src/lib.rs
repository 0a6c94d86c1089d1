//! `ovf-host`: the platform's half of OVF. It checks packages, and makes the environment of every guest in them.
//!
//! The modules are listed in the order in which data flows through them. Of the agent it shares `environment` and
//! `protocol`, and nothing else: what an appliance declares is asked of the appliance's own agent.

#![forbid(unsafe_code)]

pub mod package;
pub mod xml;
pub mod descriptor;
pub mod property;
pub mod macros;
pub mod check;
pub mod environments;
pub mod document;
pub mod iso;
pub mod appliance;
pub mod recipe;
pub mod pack;
pub mod machine;
pub mod addresses;
pub mod assign;
pub mod engine;
pub mod deploy;
pub mod deployment;
pub mod watch;
pub mod order;
pub mod port;
pub mod console;
pub mod kubevirt;

pub mod cli;
pub mod finding;
pub mod secret;
pub mod show;
pub mod timeline;
pub mod program;
pub mod progress;
pub mod scratch;
pub mod bounded;
pub mod suggest;
pub mod terminal;
pub mod units;
