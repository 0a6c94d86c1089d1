//! The document for commands that tell what this guest was configured with.
//!
//! Decides that one which the host has outdated, by sending a newer one to the agent, is not taken for what is applied: the newer is
//! in the agent's memory alone, and a value of the old one, such as a password, would be believed. Where the caller names a source,
//! that one is meant.

#![forbid(unsafe_code)]

use super::Common;
use crate::agent::{Fault, Machine, Received, Result};
use crate::config::Config;

/// How the agent is asked for the value of what is named next.
const ASK: &str = "busctl call org.ovf.Agent1 /org/ovf/Agent1 org.ovf.Agent1 GetParameter s";

impl Common {
    /// The document that is applied, or will be with the next pass; `name` is the parameter that is wanted, if it
    /// is one.
    pub(super) fn applied(
        &self,
        machine: &mut Machine,
        config: &Config,
        name: Option<&str>,
    ) -> Result<Option<Received>> {
        let received = self.received(machine, config)?;
        let state = machine.remember(config).state;
        let (is_old, here) = match &received {
            Some(received) if received.named => (false, String::new()),
            Some(received) => {
                let here = format!("; --source {} reads the one that is here", received.source);
                (state.outdates(&received.digest), here)
            }
            None => (state.is_of_the_host(), String::new()),
        };
        if !is_old {
            return Ok(received);
        }
        let name = name.unwrap_or("NAME");
        let message = format!(
            "the host has sent a newer OVF environment than there is here, and the agent alone has it: `{ASK} {name}` asks it \
             for a parameter{here}"
        );
        Err(Fault::not_there(message))
    }
}
