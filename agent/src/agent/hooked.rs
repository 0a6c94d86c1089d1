//! The hooks of a pass: what is due and told, and that it is done.
//!
//! Decides when each is run: those before the first file changes from within `apply`, which takes a failure for a refusal; those
//! after it under the same lock, one by one, each remembered as soon as it has succeeded. The first that fails ends them, for the
//! next may build on it; what is left is owed to the next pass. Which hooks are due is decided in `hooks`.

#![forbid(unsafe_code)]

use std::io::ErrorKind;

use tracing::warn;

use super::others::Others;
use super::{Exit, Fault, Machine, Received, Result, apply_fault, chain};
use crate::apply;
use crate::config::Config;
use crate::hooks::{Asked, Call, Hook, Id, Moment, Told};
use crate::parameters::Parameters;
use crate::plan::Plan;
use crate::report::Part;
use crate::state::{Memory, State};
use crate::sys::place::Places;
use crate::template::DerivedValues;

/// What a pass asks of hooks.
#[derive(Debug, Default)]
pub(super) struct Hooked {
    /// Whether those before it are run.
    pub(super) before: bool,
    /// What they are told; nothing where there are none.
    pub(super) call: Option<Call>,
}

impl Machine {
    /// Decides which hooks the pass runs, names them in the plan, and has them remembered in the state after it.
    pub(super) fn hooked(
        &self,
        config: &Config,
        plan: &mut Plan,
        next: &mut State,
        first_boot: bool,
        values: (&Parameters, &DerivedValues),
        received: Option<&Received>,
    ) -> Hooked {
        for problem in &config.hooks.idle {
            warn!(stage = "hooks", "{problem}");
        }
        let version = config.version.as_deref();
        let asked = Asked { version, changes: plan.has_changes(), can_run: self.root.is_up() };
        let (before, remembered) = next.hooks.due(&config.hooks, asked);
        let call = (!config.hooks.list.is_empty()).then(|| {
            let changed = plan.changed().map(|change| change.rendered.path.as_path());
            let told = Told {
                parameters: Some(values.0),
                derived: Some(values.1),
                environment: Id { id: received.map_or("", |received| &received.environment.id) },
                hypervisor: self.verdict.vm,
                first_boot,
                version,
                previous_version: next.hooks.previous_version(),
                changed: changed.chain(plan.removed().map(|removal| removal.path.as_path())).collect(),
            };
            Call::new(&told, &config.parameters)
        });
        let first = config.hooks.at(Moment::BeforeApply).filter(|_| before);
        plan.hooks = first.chain(config.hooks.owed(&remembered)).map(Hook::full_name).collect();
        next.hooks = remembered;
        Hooked { before, call }
    }

    /// Runs the hooks that are owed, by this pass or an earlier one.
    pub(super) async fn pay_hooks(&self, config: &Config, others: &Others<'_>) -> Result<()> {
        let _lock = State::lock(&self.root, &config.state).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => apply_fault(&apply::Error::Busy(error)),
            _ => Fault::outside(&error),
        })?;
        // Another pass may have run them meanwhile.
        let mut state = Memory::load(&self.root, &config.state).state;
        let owed: Vec<&Hook> = config.hooks.owed(&state.hooks).collect();
        for hook in owed {
            if let Err(refusal) = others.hook(hook).await {
                let message =
                    format!("the files are written, but {}; the next pass runs it again", chain(&*refusal));
                return Err(Fault::said(Part::Hooks, "HookFailed", Exit::Failed, message));
            }
            state.hooks.done(hook);
            if let Err(error) = state.save(&mut Places::new(&self.root), &config.state) {
                warn!(stage = "hooks", "cannot record that, so it is run again: {}", chain(&error));
            }
        }
        Ok(())
    }
}
