//! What others do in a pass: programs that judge files, and units that hear of them.
//!
//! Decides when each is asked and for how long; how, is decided in `checks` and `units`. Under a root that stands for another
//! machine nobody is asked, for its programs and units are not running. A unit that cannot take its new file stays owed:
//! the state says so, and the next pass asks again.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tracing::{debug, info};

use super::{Exit, Fault, Result};
use crate::apply::Judge;
use crate::bus::{Bus, Work};
use crate::checks::{Kind, Order, Refusal};
use crate::plan::{Change, Plan};
use crate::report::Part;
use crate::state::Owed;
use crate::sys::clock::now;
use crate::sys::{Error, Root};
use crate::units::{self, UnitAction, Verb, needs_reload, once_each, settle};

/// How long a program may take.
const PROGRAM: Duration = Duration::from_secs(30);
/// How long units may take together; systemd itself ends a start after 90 s (`DefaultTimeoutStartSec=`).
const UNITS: Duration = Duration::from_secs(100);

/// The programs and units of the machine that we run on.
pub(super) struct Others<'a> {
    root: &'a Root,
    /// Made when somebody is first asked: most passes ask nobody.
    bus: Option<Bus>,
}

impl<'a> Others<'a> {
    /// Those of the machine in `root`.
    pub(super) fn new(root: &'a Root) -> Self {
        Self { root, bus: None }
    }

    fn bus(&mut self) -> std::io::Result<&Bus> {
        if self.bus.is_none() {
            self.bus = Some(Bus::new(self.root)?);
        }
        Ok(self.bus.as_ref().expect("made above"))
    }

    fn run(
        &mut self,
        kind: Kind,
        subject: &str,
        argv: &[String],
        file: Option<&Path>,
    ) -> std::result::Result<(), Box<Refusal>> {
        if !self.root.is_system() {
            info!(stage = "apply", template = subject, "{} is not run under --root", kind.as_str());
            return Ok(());
        }
        debug!(stage = "apply", template = subject, program = argv.first(), "running {}", kind.as_str());
        let order = Order::new(self.root, kind, subject, argv, file, PROGRAM)?;
        let driven = self.bus().and_then(|bus| {
            let work: Work<_> = bus.start(order.run(bus));
            // The order has a limit of its own, after which it says how it ended.
            bus.wait(&work, now() + PROGRAM + PROGRAM)
        });
        match driven {
            Ok(Some(ended)) => ended,
            Ok(None) => Err(Refusal::late(kind, subject, argv, PROGRAM)),
            Err(error) => Err(Refusal::not_run(kind, subject, argv, Error::new("wait for", subject, error))),
        }
    }

    /// Lets everybody hear of a pass to whom that is owed, also by earlier ones; what is still owed afterwards, and what
    /// went wrong.
    pub(super) fn settle(&mut self, plan: &Plan, owed: Owed) -> (Owed, Result<()>) {
        let fail = |message: String| Err(Fault::units(message));
        let Owed { restart, reload, recover, on_change } = &owed;
        let has_systemd = match self.bus() {
            Ok(bus) => bus.systemd(),
            Err(error) => return (owed, fail(format!("cannot talk to anybody: {error}"))),
        };
        let Some(systemd) = has_systemd else {
            // Programs are for machines without systemd, as units are for those with it.
            let mut left = Owed::default();
            let mut wrong = Vec::new();
            for argv in on_change {
                let subject = argv.first().cloned().unwrap_or_default();
                if let Err(refusal) = self.run(Kind::OnChange, &subject, argv, None) {
                    wrong.push(super::chain(&*refusal));
                    left.on_change.insert(argv.clone());
                }
            }
            let outcome = if wrong.is_empty() { Ok(()) } else { fail(wrong.join("; ")) };
            return (left, outcome);
        };
        let with = |verb| move |unit: &String| UnitAction { unit: unit.clone(), verb };
        let actions = restart
            .iter()
            .map(with(Verb::Restart))
            .chain(reload.iter().map(with(Verb::Reload)))
            .chain(recover.iter().map(with(Verb::Recover)));
        let changed = plan.changed().map(|change| change.rendered.path.as_path());
        let paths = changed.chain(plan.removed().map(|removal| removal.path.as_path()));
        let asked =
            units::Owed { reload: needs_reload(paths), roles: Vec::new(), actions: once_each(actions) };
        let everything = asked.actions.clone();
        let driven = self.bus().and_then(|bus| {
            let work = bus.start(settle(systemd, asked, UNITS));
            bus.wait(&work, now() + UNITS + PROGRAM)
        });
        let outcomes = match driven {
            Ok(Some(outcomes)) => outcomes,
            Ok(None) => return (owed_of(&everything), fail("systemd does not answer".to_owned())),
            Err(error) => return (owed_of(&everything), fail(format!("cannot wait for systemd: {error}"))),
        };
        for outcome in &outcomes {
            info!(stage = "units", unit = outcome.unit, result = outcome.result(), "{outcome}");
        }
        let failures = outcomes.iter().filter(|outcome| outcome.is_failure());
        let wrong: Vec<_> = failures.map(ToString::to_string).collect();
        let outcome = if wrong.is_empty() { Ok(()) } else { fail(wrong.join("; ")) };
        (owed_of(&units::owed(&outcomes)), outcome)
    }
}

/// Unit actions as the state has them.
fn owed_of(actions: &[UnitAction]) -> Owed {
    let of = |verb| actions.iter().filter(|it| it.verb == verb).map(|it| it.unit.clone()).collect();
    Owed {
        restart: of(Verb::Restart),
        reload: of(Verb::Reload),
        recover: of(Verb::Recover),
        on_change: BTreeSet::new(),
    }
}

impl Judge for Others<'_> {
    fn check(&mut self, change: &Change, staged: &Path) -> std::result::Result<(), Box<Refusal>> {
        match &change.rendered.rules.check {
            Some(argv) => self.run(Kind::Check, &change.rendered.template, argv, Some(staged)),
            None => Ok(()),
        }
    }

    fn verify(&mut self, template: &str, argv: &[String]) -> std::result::Result<(), Box<Refusal>> {
        self.run(Kind::Verify, template, argv, None)
    }
}

impl Fault {
    /// A program does not accept a file.
    pub(super) fn refused(refusals: &[Refusal]) -> Box<Self> {
        let list: Vec<_> = refusals.iter().map(|refusal| super::chain(refusal)).collect();
        let verify = refusals.iter().any(|refusal| refusal.kind == Kind::Verify);
        let (part, code) = if verify { (Part::Verify, "VerifyFailed") } else { (Part::Check, "CheckFailed") };
        Self::said(part, code, Exit::Failed, format!("nothing was changed: {}", list.join("; ")))
    }

    /// Units, or programs in their place, did not take their new files.
    fn units(message: String) -> Box<Self> {
        let message = format!("the files are written, but not everybody has taken them: {message}");
        Self::said(Part::Units, "UnitFailed", Exit::Failed, message)
    }
}
