//! What others do in a pass: programs that judge files, and units that hear of them.
//!
//! Decides for how long each is asked, and what it means for the files that somebody cannot do with them; how it is asked, is
//! decided in `checks` and `units`, and when in `apply`. Under a root that stands for another machine nobody is asked, for its
//! programs and units are not running. In a chroot, such as an initramfs makes, programs judge files, and nobody hears of them yet.
//!
//! Files are taken back for whoever was asked because of them, and for a role. Not for a debt of an earlier pass, which would
//! keep all later ones from being applied; and not for a unit that takes longer than we wait: it may be right, and a
//! second restart would make it take longer still.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use tracing::{debug, info};

use super::hooked::Hooked;
use super::{Exit, Fault};
use crate::apply::{Audience, Heard};
use crate::bus::{Bus, Systemd};
use crate::checks::{Kind, Order, Refusal};
use crate::hooks::{Hook, Hooks, Moment};
use crate::plan::{Change, Plan};
use crate::report::Part;
use crate::state::Owed;
use crate::sys::Root;
use crate::sys::clock;
use crate::times::{Times, What};
use crate::units::{self, Ended, Outcome, Role, Wanted, needs_reload, settle};

/// How long a program may take.
const PROGRAM: Duration = Duration::from_secs(30);
/// How long units may take together; systemd itself ends a start after 90 s (`DefaultTimeoutStartSec=`).
const UNITS: Duration = Duration::from_secs(100);

/// The programs and units of the machine that we run on.
pub(super) struct Others<'a> {
    root: &'a Root,
    times: &'a Times,
    bus: &'a Bus,
    hooks: &'a Hooks,
    hooked: &'a Hooked,
    generation: u64,
}

impl<'a> Others<'a> {
    /// Those of the machine in `root`, reached by `bus`, for a pass of this generation.
    pub(super) fn new(
        root: &'a Root,
        times: &'a Times,
        bus: &'a Bus,
        hooks: &'a Hooks,
        hooked: &'a Hooked,
        generation: u64,
    ) -> Self {
        Self { root, times, bus, hooks, hooked, generation }
    }

    /// Runs a hook.
    pub(super) async fn hook(&self, hook: &Hook) -> Result<(), Box<Refusal>> {
        let name = hook.full_name();
        if !self.root.is_up() {
            info!(stage = "hooks", "hook {name} is not run under --root, or in a chroot");
            return Ok(());
        }
        let Some(call) = &self.hooked.call else { return Ok(()) };
        self.times.begins(What::Hook, &name);
        let ended = call.run(self.root, self.bus, hook, self.generation, self.hooks.timeout).await;
        self.times.ends(What::Hook);
        ended?;
        info!(stage = "hooks", "hook {name} is done");
        Ok(())
    }

    async fn run(
        &self,
        kind: Kind,
        subject: &str,
        argv: &[String],
        file: Option<&Path>,
    ) -> Result<(), Box<Refusal>> {
        if !self.root.is_system() {
            info!(stage = "apply", template = subject, "{} is not run under --root", kind.as_str());
            return Ok(());
        }
        debug!(stage = "apply", template = subject, program = argv.first(), "running {}", kind.as_str());
        let what = match kind {
            Kind::Check => What::Check,
            Kind::Verify => What::Verify,
            _ => What::OnChange,
        };
        self.times.begins(what, subject);
        let ended = match Order::new(self.root, kind, subject, argv, file, PROGRAM) {
            Ok(order) => order.run(self.bus).await,
            Err(refusal) => Err(refusal),
        };
        self.times.ends(what);
        ended
    }

    /// Programs are for machines without systemd, as units are for those with it.
    async fn programs(&self, plan: &Plan, owed: &Owed) -> Heard {
        let fresh = plan.owed();
        let mut heard = Heard::default();
        let mut wrong = Vec::new();
        for argv in &owed.on_change {
            let subject = argv.first().map_or("", String::as_str);
            heard.back.on_change.insert(argv.clone());
            if let Err(refusal) = self.run(Kind::OnChange, subject, argv, None).await {
                wrong.push(super::chain(&*refusal));
                heard.left.on_change.insert(argv.clone());
                heard.refused |= fresh.on_change.contains(argv);
            }
        }
        Heard { wrong: wrong.join("; "), ..heard }
    }

    async fn units(&self, systemd: Systemd, plan: &Plan, roles: &[Role], owed: &Owed) -> Heard {
        let wanted =
            Wanted { reload: needs_reload(plan.paths()), roles: roles.to_vec(), units: owed.units.clone() };
        let names: Vec<&str> = wanted.units.keys().map(String::as_str).collect();
        if !wanted.is_empty() {
            self.times.begins(What::Units, &names.join(", "));
        }
        let outcomes = settle(systemd, wanted, UNITS).await;
        self.times.ends(What::Units);
        for outcome in &outcomes {
            info!(stage = "units", unit = outcome.unit, result = outcome.result(), "{outcome}");
        }
        let fresh = plan.owed();
        let failures: Vec<_> = outcomes.iter().filter(|outcome| outcome.is_failure()).collect();
        let owed = |units| Owed { units, ..Owed::default() };
        Heard {
            left: owed(units::owed(&outcomes)),
            back: owed(units::taken_back(&outcomes)),
            wrong: failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            refused: failures.iter().any(|outcome| is_refusal(outcome, &fresh)),
        }
    }
}

/// Whether the new files cannot stay for what became of a unit, where `fresh` is owed for them alone.
fn is_refusal(outcome: &Outcome, fresh: &Owed) -> bool {
    let of_files = outcome.asked.is_none() || fresh.units.contains_key(&outcome.unit);
    outcome.is_failure() && of_files && !matches!(outcome.ended, Ended::Late(_))
}

impl Audience for Others<'_> {
    async fn before(&mut self) -> Result<(), Box<Refusal>> {
        for hook in self.hooks.at(Moment::BeforeApply).filter(|_| self.hooked.before) {
            self.hook(hook).await?;
        }
        Ok(())
    }

    async fn check(&mut self, change: &Change, staged: &Path) -> Result<(), Box<Refusal>> {
        match &change.rendered.rules.check {
            Some(argv) => self.run(Kind::Check, &change.rendered.template, argv, Some(staged)).await,
            None => Ok(()),
        }
    }

    async fn verify(&mut self, template: &str, argv: &[String]) -> Result<(), Box<Refusal>> {
        self.run(Kind::Verify, template, argv, None).await
    }

    fn took(&mut self, what: What, begin: clock::Moment) {
        self.times.took(what, begin);
    }

    async fn hear(&mut self, plan: &Plan, roles: &[Role], owed: &Owed) -> Heard {
        match self.bus.systemd() {
            _ if !self.root.is_system() => Heard::default(),
            // Units will read the new files when they start. What programs make of files is still to be made.
            _ if !self.root.is_up() => {
                let mut left = plan.debts.clone();
                left.on_change.extend(owed.on_change.iter().cloned());
                Heard { left, ..Heard::default() }
            }
            Some(systemd) => self.units(systemd, plan, roles, owed).await,
            None => self.programs(plan, owed).await,
        }
    }
}

impl Fault {
    /// A program does not accept a file, or that one changes.
    pub(super) fn refused(refusals: &[Refusal]) -> Box<Self> {
        let list: Vec<_> = refusals.iter().map(|refusal| super::chain(refusal)).collect();
        // They are all of one kind: the first kind that refuses ends the pass.
        let (part, code) = match refusals.first().map(|refusal| refusal.kind) {
            Some(Kind::Hook) => (Part::Hooks, "HookFailed"),
            Some(Kind::Verify) => (Part::Verify, "VerifyFailed"),
            _ => (Part::Check, "CheckFailed"),
        };
        Self::said(part, code, Exit::Failed, format!("nothing was changed: {}", list.join("; ")))
    }

    /// Units, or programs in their place, did not take their files.
    pub(super) fn units(message: String) -> Box<Self> {
        Self::said(Part::Units, "UnitFailed", Exit::Failed, message)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, Outcome, Owed, UNITS, is_refusal};
    use crate::units::{Spared, Units, Verb};

    #[test]
    fn files_are_taken_back_for_a_refusal_and_not_for_a_debt_or_a_delay() {
        let fresh =
            Owed { units: Units::from([("new.service".to_owned(), Verb::Restart)]), ..Owed::default() };
        let failed = || Ended::Job("failed".to_owned());
        for (unit, asked, ended, want) in [
            ("new.service", Some(Verb::Restart), failed(), true),
            ("new.service", Some(Verb::Restart), Ended::Failed, true),
            ("new.service", Some(Verb::Restart), Ended::NotAsked, true),
            ("new.service", Some(Verb::Restart), Ended::Late(UNITS), false),
            ("new.service", Some(Verb::Restart), Ended::AfterUs, false),
            ("new.service", Some(Verb::Restart), Ended::Spared(Spared::NotFound), false),
            ("new.service", Some(Verb::Restart), Ended::Done, false),
            ("debt.service", Some(Verb::Recover), failed(), false),
            ("role.service", None, failed(), true),
            ("role.service", None, Ended::Unmaskable, true),
            ("", None, Ended::Done, false),
        ] {
            let outcome = Outcome { unit: unit.to_owned(), verb: "restart", asked, ended };
            assert_eq!(is_refusal(&outcome, &fresh), want, "{outcome}");
        }
    }
}
