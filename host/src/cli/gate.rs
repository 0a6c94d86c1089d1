//! `ovf-host gate`: the process of `engine::qemu::gate`, which the engine starts beside its hub. Nobody else does.

#![forbid(unsafe_code)]

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::Args;

use super::{Exit, Fault, Result};
use crate::engine::qemu::gate;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    hub: PathBuf,
    user: PathBuf,
    host: Ipv4Addr,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit> {
    let Arguments { hub, user, host } = arguments;
    let passed = gate::run(hub, user, *host);
    passed
        .map(|()| Exit::Done)
        .map_err(|error| Fault::failed(format_args!("the gate to the guests' network: {error}")))
}
