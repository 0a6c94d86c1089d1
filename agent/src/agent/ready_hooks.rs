//! The hooks of a guest that has become ready.
//!
//! Decides that they run one after the other, beside the loop, which goes on with them when their bus has something to do. The
//! guest is ready whatever becomes of them; one that fails is an error in the log and a warning of the report, and the
//! others are run all the same. They are told what those of the last pass were.

#![forbid(unsafe_code)]

use std::time::Duration;

use tracing::{error, info};

use super::chain;
use super::shutdown::LastCall;
use crate::bus::Bus;
use crate::hooks::{Hook, Hooks, Moment};
use crate::sys::Root;
use crate::times::{Times, What};

/// Hooks that wait for the guest to be ready, and what they are told.
#[derive(Debug)]
pub(super) struct ReadyHooks {
    told: LastCall,
    limit: Duration,
    list: Vec<Hook>,
}

impl ReadyHooks {
    /// Those of a pass, if there are any.
    pub(super) fn new(hooks: &Hooks, told: Option<LastCall>) -> Option<Self> {
        let list: Vec<_> = hooks.at(Moment::Ready).cloned().collect();
        let told = told.filter(|_| !list.is_empty())?;
        Some(Self { told, limit: hooks.timeout, list })
    }

    /// Runs them; how many have failed.
    pub(super) async fn run(&self, root: &Root, bus: &Bus, times: &Times) -> usize {
        let LastCall { call, generation } = &self.told;
        let mut failed = 0;
        for hook in &self.list {
            times.begins(What::Hook, &hook.full_name());
            let ended = call.run(root, bus, hook, *generation, self.limit).await;
            times.ends(What::Hook);
            match ended {
                Ok(()) => info!(stage = "hooks", "hook {} is done", hook.full_name()),
                Err(refusal) => {
                    failed += 1;
                    error!(stage = "hooks", code = "HookFailed", "{}", chain(&*refusal));
                }
            }
        }
        failed
    }
}
