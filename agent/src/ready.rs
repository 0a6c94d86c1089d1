//! When the guest is ready: gates, and why each is not passed yet.
//!
//! Decides what is tried when, and what is said meanwhile ([`Gates`]). Pure: it hands out what to try and is told how that went,
//! with the time as an argument; files, units, sockets and programs are the caller's. What an answer by HTTP means is decided in
//! [`http`], whom a rendezvous is with in [`entities`], and what an obstacle is called in [`obstacle`].

#![forbid(unsafe_code)]

pub mod entities;
mod gates;
pub mod http;
pub mod obstacle;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::printable;

pub use entities::{Peer, Rendezvous, Siblings};
pub use gates::{Gates, Hold, Standing, Task};
pub use http::Url;
pub use obstacle::{Obstacle, Unmet};

/// `[ready]`: what must be so before the guest is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    /// Units that must be active.
    pub units: Vec<String>,
    /// Files that must exist.
    pub files: Vec<PathBuf>,
    /// Addresses that must accept a connection.
    pub tcp: Vec<SocketAddr>,
    /// What must answer with success.
    pub http: Vec<Url>,
    /// Programs that must end with exit status 0.
    pub commands: Vec<Vec<String>>,
    /// How long each of them may take.
    pub command_timeout: Duration,
    /// Siblings whose port must accept a connection.
    pub entities: Vec<Rendezvous>,
    /// How long all of them together may take.
    pub timeout: Duration,
    /// How often what cannot be watched is tried once the guest is ready; `None`: never.
    pub recheck: Option<Duration>,
}

/// What a gate looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The unit is active.
    Unit(String),
    /// The file exists.
    File(PathBuf),
    /// The address accepts a connection.
    Tcp(SocketAddr),
    /// It answers with success.
    Http(Url),
    /// The program ends with exit status 0.
    Command(Vec<String>),
    /// The sibling's port accepts a connection.
    Peer(Peer),
    /// Nothing: there is nobody to ask.
    Nobody,
}

/// The longest name of a gate; a program may have any number of arguments.
const NAME: usize = 120;

impl Conditions {
    /// The gates with their names; those of siblings as they are known, and an obstacle where they are not.
    fn gates(&self, siblings: &Siblings) -> Vec<(String, Probe, Option<Obstacle>)> {
        let units = self.units.iter().map(|unit| (format!("unit {unit}"), Probe::Unit(unit.clone())));
        let files =
            self.files.iter().map(|path| (format!("file {}", path.display()), Probe::File(path.clone())));
        let tcp = self.tcp.iter().map(|address| (format!("tcp {address}"), Probe::Tcp(*address)));
        let http = self.http.iter().map(|url| (format!("http {url}"), Probe::Http(url.clone())));
        let commands = self
            .commands
            .iter()
            .map(|argv| (shortened(format!("command {}", argv.join(" "))), Probe::Command(argv.clone())));
        let own = units.chain(files).chain(tcp).chain(http).chain(commands);
        let peers =
            self.entities.iter().flat_map(|rendezvous| siblings.gates(rendezvous)).map(|(name, peer)| {
                match peer {
                    Ok(peer) => (name, Probe::Peer(peer), None),
                    Err(obstacle) => (name, Probe::Nobody, Some(obstacle)),
                }
            });
        let gates = own.map(|(name, probe)| (name, probe, None)).chain(peers);
        gates.map(|(name, probe, obstacle)| (printable::text(&name), probe, obstacle)).collect()
    }
}

fn shortened(mut name: String) -> String {
    if name.len() > NAME {
        name.truncate(name.floor_char_boundary(NAME));
        name.push_str("...");
    }
    name
}

#[cfg(test)]
mod tests;
