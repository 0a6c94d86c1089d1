//! The pass: from the machine and its document to files that are right.
//!
//! Decides how the boxes are put together, and turns what each can fail with into one [`Fault`], so that every pass ends
//! in a report. The commands take as much of it as they need; [`run`] is the loop around it.

#![forbid(unsafe_code)]

mod compare;
mod fault;
mod finder;
mod hearing;
mod hooked;
mod link;
mod others;
mod ready_hooks;
mod received;
mod rendering;
pub mod run;
mod shutdown;
mod sight;
mod unchanged;
mod valued;
pub mod values;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use tracing::{debug, info, warn};

use crate::apply;
use crate::bus::Bus;
use crate::config::{Absent, Config};
use crate::detect::{Facts, Verdict};
use crate::hooks::Moment;
use crate::plan::{Past, Plan};
use crate::protocol;
use crate::ready::Siblings;
use crate::report::{Part, Report, Stage, Took};
use crate::secrets;
use crate::state::{Memory, State};
use crate::sys::accounts::Accounts;
use crate::sys::{Error, Root, clock, process};
use crate::template::DerivedValues;
use crate::times::{Times, What};
use crate::transport::boot::Boot;
use crate::transport::{self, Document, Here, Source};

pub use fault::{Exit, Fault, Result, chain};
pub use finder::{Finder, Step};
use hooked::Hooked;
use others::Others;
use ready_hooks::ReadyHooks;
pub use received::Received;
use shutdown::LastCall;
pub use unchanged::load;
use valued::Made;
use values::Values;

/// The machine that a pass works on: its file tree, and what it was found to be.
#[derive(Debug)]
pub struct Machine {
    /// Its file tree.
    pub root: Rc<Root>,
    /// What it was found to be.
    pub verdict: Verdict,
    /// How long the parts took so far.
    pub took: Took,
    /// When they were.
    pub times: Times,
    /// What is remembered of this boot.
    pub boot: Boot,
    /// The digest of the last document that was found, and not sent by the host.
    pub found: Option<String>,
    /// What gates need to know of the document that was applied last.
    pub siblings: Siblings,
    /// What the last pass knew, if it was applied.
    values: Option<Values>,
    /// What is to be run once the guest is ready.
    ready_hooks: Option<ReadyHooks>,
    /// The state, where the configuration was read by it: the next pass has it at hand.
    memory: Option<Memory>,
    /// What is told to those that are run before the machine goes down.
    last_call: Option<LastCall>,
}

impl Machine {
    /// Looks at the machine.
    pub fn new(root: Root) -> Self {
        let begin = clock::now();
        let times = Times::new(&root, begin);
        let verdict = Facts::read(&root).verdict();
        let Verdict { vm, container, platform, confidential, decided_by } = &verdict;
        info!(
            stage = "detect",
            hypervisor = vm,
            container,
            platform,
            confidential,
            decided_by,
            "detected {vm}"
        );
        let took = Took { detect: times.took(What::Detect, begin), ..Took::default() };
        Self {
            boot: Boot::load(&root),
            root: Rc::new(root),
            verdict,
            took,
            times,
            found: None,
            siblings: Siblings::default(),
            values: None,
            ready_hooks: None,
            memory: None,
            last_call: None,
        }
    }

    /// Whether it is ours to take down: the machine that we run on, as root, and no container, whose host is no
    /// platform of ours.
    fn may_go_down(&self) -> bool {
        self.root.is_system() && process::euid() == 0 && self.verdict.container.is_none()
    }

    /// What `transport` needs to know of it.
    fn here(&self) -> Here<'_> {
        Here { root: &self.root, vm: self.verdict.vm }
    }

    /// Gets the document: from the source that was named, or by looking and waiting as the configuration says. Blocks;
    /// [`run`] has a loop of its own.
    ///
    /// # Errors
    /// The source is broken; or, where it was named, has no document.
    pub fn document(&mut self, config: &Config, source: Option<&Source>) -> Result<Option<Document>> {
        let begin = clock::now();
        self.times.looks(begin);
        let document = match source {
            Some(source) => Some(transport::fetch(self.here(), source, config.transport.method, true)?),
            None => Finder::new(&config.transport, self.verdict.is_vm(), begin).find(self)?,
        };
        self.took.transport = self.times.found(begin, document.as_ref());
        Ok(document)
    }

    /// What is remembered of earlier passes; one that cannot be read is as good as none, and is set aside by the next
    /// pass that writes.
    pub fn remember(&mut self, config: &Config) -> Memory {
        let memory = match self.memory.take() {
            Some(memory) => memory.again(&self.root, &config.state),
            None => Memory::load(&self.root, &config.state),
        };
        if let Some(trouble) = &memory.trouble {
            warn!(stage = "apply", "the state of earlier passes is lost: {trouble}");
        }
        memory
    }

    /// One whole pass, as far as it comes, put into `report` as it goes: a failure leaves there what is applied, and
    /// which document it happened with. Its gates are the business of [`run`]. Blocks; [`run`] has a loop of its own.
    ///
    /// # Errors
    /// The first part that fails; one that `document` brings along included.
    pub fn pass(
        &mut self,
        config: &Config,
        document: impl FnOnce(&mut Self) -> Result<Option<Document>>,
        report: &mut Report,
    ) -> Result<()> {
        let unavailable = |error| Fault::outside(&Error::new("wait for", "events", error));
        let bus = Bus::new(&self.root).map_err(unavailable)?;
        bus.wait(self.pass_by_steps(&bus, config, document, report)).map_err(unavailable)?.flatten()
    }

    /// The same, to be driven by `bus`. The first result is whether the document was applied; the second, whether all who
    /// hear of the files have taken them.
    async fn pass_by_steps(
        &mut self,
        bus: &Bus,
        config: &Config,
        document: impl FnOnce(&mut Self) -> Result<Option<Document>>,
        report: &mut Report,
    ) -> Result<Result<()>> {
        let outcome = self.try_pass(bus, config, document, report).await;
        self.times.pass_ends(matches!(outcome, Ok(Ok(()))), &self.root);
        // Also after a failure: which disks were there at boot does not depend on it.
        if let Err(error) = self.boot.save(&self.root) {
            warn!(stage = "transport", "cannot remember what was there at boot: {}", chain(&error));
            report.warnings += 1;
        }
        outcome
    }

    /// Puts the files of a pass right that was interrupted: before anything looks at them, and whether or not there is an
    /// environment this time. `state` is the state directory. Returns how many stay as somebody left them meanwhile.
    ///
    /// # Errors
    /// That cannot be done.
    pub fn recover(&self, state: &Path) -> Result<usize> {
        let recovered = apply::recover(&self.root, state).map_err(|error| apply_fault(&error))?;
        Ok(recovered.map_or(0, |recovered| recovered.left.len()))
    }

    async fn try_pass(
        &mut self,
        bus: &Bus,
        config: &Config,
        document: impl FnOnce(&mut Self) -> Result<Option<Document>>,
        report: &mut Report,
    ) -> Result<Result<()>> {
        let left = self.recover(&config.state)?;
        report.warnings = left;
        let memory = self.remember(config);
        report.generation = memory.state.generation;
        report.environment.clone_from(&memory.state.environment);
        let document = document(self)?;
        if let Some(document) = &document {
            report.source = document.source.to_string();
        }
        report.stale = false;
        let found =
            document.as_ref().filter(|document| !document.named).map(|document| document.source.clone());
        let received = document.map(|document| self.environment(document)).transpose()?;
        if let Some(received) = &received {
            report.id.clone_from(&received.environment.id);
            report.warnings = left + received.warnings.len() + received.asides.len();
        }
        let prepared = self.prepare(config, memory, received)?;
        if prepared.stale {
            report.source = Source::Channel.to_string();
            report.stale = true;
        }
        let (applied, settled) = self.apply(bus, config, &prepared).await?;
        if let Some(source) = &found {
            self.boot.pin(source);
        }
        self.siblings = prepared.next.siblings;
        self.values = prepared.values;
        let call = prepared.hooked.call.map(|call| LastCall::new(call, applied.generation));
        self.ready_hooks = ReadyHooks::new(&config.hooks, call.clone());
        // It holds secrets, and is kept only where there is a hook to be told.
        self.last_call = call.or(self.last_call.take()).filter(|_| config.hooks.at(Moment::Stop).count() > 0);
        report.generation = applied.generation;
        report.environment = applied.environment;
        report.changed = applied.changed.iter().map(|path| path.display().to_string()).collect();
        Ok(settled)
    }

    /// Decides what should be and compares it with what is. Changes nothing.
    ///
    /// # Errors
    /// A value breaks a rule, a template cannot be rendered with it, or a target cannot be looked at.
    pub fn prepare(
        &mut self,
        config: &Config,
        memory: Memory,
        received: Option<Received>,
    ) -> Result<Prepared> {
        let state = &memory.state;
        let instance = self.instance(config, received.as_ref());
        let owner = secrets::Owner { instance: &instance, known: state.instance.as_ref() };
        let past = Past { state, first_boot: state.is_first_boot(&instance) };
        if state.instance.as_ref().is_some_and(|known| !known.is(&instance)) {
            info!(stage = "detect", "this guest is a copy of another, and boots for the first time");
        }
        let first_boot = past.first_boot;
        let interrupted = apply::interrupted(&self.root, &config.state);
        // One that is named is meant.
        let found = received.as_ref().filter(|received| !received.named);
        let stale = found.is_some_and(|received| state.outdates(&received.digest));
        let kept = match (&received, config.absent) {
            _ if stale => {
                Some("the host has sent a newer OVF environment than this one: the files stay as they are")
            }
            (Some(_), _) => None,
            (None, Absent::Fail) => {
                let message = "no OVF environment was found, and [environment] absent = \"fail\"; attach one, or allow \
                               its absence";
                return Err(Fault::absent(message.to_owned()));
            }
            // A state that cannot be read is the state of a guest that was configured.
            (None, Absent::Keep) if state.generation > 0 || memory.is_damaged() => {
                Some("no OVF environment: the files stay as they are")
            }
            (None, Absent::Keep | Absent::Defaults) => {
                info!(stage = "transport", "no OVF environment; the parameters' defaults apply");
                None
            }
        };
        if let Some(why) = kept {
            info!(stage = "transport", "{why}");
            let templates = config.templates().map_err(|problems| Fault::configuration(&problems))?;
            let leftovers = compare::leftovers(&self.root, &config.state, state, templates.paths())?;
            let (roles, debts) = (state.roles.clone(), state.owed.clone());
            let plan = Plan { kept, interrupted, roles, debts, ..Plan::sweeping(leftovers) };
            let ((made, hooked, values), next) = (Default::default(), state.clone());
            return Ok(Prepared { plan, first_boot, stale, made, hooked, values, next, memory });
        }
        let (parameters, made) = self.parameters_of(config, received.as_ref(), owner)?;
        let digest = received.as_ref().map(|received| received.digest.clone());
        let source = received.as_ref().map(|received| received.source.to_string());
        let sent = received.as_ref().is_some_and(|received| received.source == Source::Channel);
        // Where the host sends one after the other, what they stand above is still the same.
        let beneath = self.found.clone().or_else(|| state.beneath.clone()).filter(|_| sent);
        let mut next = state.continued().with_instance(instance).with_document(digest, source, beneath);
        let siblings = received.as_ref().map(|it| Siblings::of(&it.environment, &config.ready.entities));
        next.siblings = siblings.unwrap_or_default();
        let begin = clock::now();
        // Everything that a file is made from is read once, so that what is remembered of it is what it was made from.
        let interfaces = self.interfaces(received.as_ref());
        let surroundings = self.surroundings(received.as_ref(), &interfaces);
        let accounts = self.root.is_system().then(|| Accounts::read(&self.root));
        let input = unchanged::input(config, &next, &parameters, surroundings, accounts.as_ref());
        let unchanged = self.unchanged(config, &memory, input.as_ref()).filter(|_| !interrupted);
        let (plan, derived) = match unchanged {
            Some(plan) => (plan, DerivedValues::default()),
            None => {
                let mut rendered = rendering::render(config, &parameters, surroundings)?;
                let derived = std::mem::take(&mut rendered.derived);
                let plan = compare::compare(&self.root, config, past, rendered, accounts)?;
                plan.remember(&mut next);
                next.input = input.filter(|_| plan.makes_all_right());
                (plan, derived)
            }
        };
        let mut plan = Plan { interrupted, debts: state.owed.clone(), ..plan };
        let values = (&parameters, &derived);
        let hooked = self.hooked(config, &mut plan, &mut next, first_boot, values, received.as_ref());
        self.took.template = self.times.took(What::Templates, begin);
        let values = Some(Values::new(config, parameters, received.map(|received| received.environment)));
        Ok(Prepared { plan, first_boot, stale, made, hooked, values, memory, next })
    }

    /// Makes it so. The second result is that of those who hear of the files: these stay, whatever it is.
    ///
    /// # Errors
    /// Something could not be written, or is not accepted; unless the message says otherwise, nothing was changed.
    async fn apply(
        &mut self,
        bus: &Bus,
        config: &Config,
        prepared: &Prepared,
    ) -> Result<(Applied, Result<()>)> {
        let begin = clock::now();
        let Prepared { plan, made, hooked, memory, next, .. } = prepared;
        let state = &memory.state;
        made.keep(&self.root, &config.state, state.instance.as_ref())?;
        // A guest whose image already has the right files is configured by its first pass all the same.
        let advances = plan.has_changes() || state.generation == 0 && !plan.changes.is_empty();
        let generation = state.generation.saturating_add(u64::from(advances));
        let mut after = next.clone().with_generation(generation);
        // Under a root that stands for another machine nobody runs who could hear of it.
        if !self.root.is_system() {
            (after.owed, after.roles) = Default::default();
        }
        let mut others = Others::new(&self.root, &self.times, bus, &config.hooks, hooked, generation);
        let mut outcome = apply::Outcome::default();
        if !plan.is_empty() || after != *state || !after.owed.is_empty() || !after.roles.is_empty() {
            let memory = apply::Memory { before: memory, after: &after };
            match apply::apply(&self.root, plan, memory, &config.state, &mut others).await {
                Ok(done) => outcome = done,
                Err(error @ apply::Error::Refused(_)) => return Err(apply_fault(&error)),
                // The files are right, which is what counts; the next pass compares them again.
                Err(error) if plan.is_empty() && !advances && after.hooks == state.hooks => {
                    warn!(stage = "apply", "cannot record what was found: {}", chain(&error));
                }
                Err(error) => return Err(apply_fault(&error)),
            }
        }
        self.took.apply = (clock::now() - begin).as_micros() as u64;
        let apply::Outcome { changed, wrong } = outcome;
        let (total, removed) = (plan.files(), plan.removed().count());
        info!(stage = "apply", generation, removed, "wrote {} of {total} files", changed.len() - removed);
        for change in plan.changed() {
            let file = &change.rendered;
            debug!(stage = "apply", template = file.template, path = %file.path.display(), "wrote");
        }
        for file in plan.removed() {
            debug!(stage = "apply", template = file.template, path = %file.path.display(), "removed");
        }
        let settled = match wrong.is_empty() {
            true if after.hooks.owed.is_empty() || !self.root.is_up() => Ok(()),
            true => self.pay_hooks(config, &others).await,
            false => {
                Err(Fault::units(format!("the files are right, but not everybody has taken them: {wrong}")))
            }
        };
        Ok((Applied { generation, changed, environment: next.environment.clone() }, settled))
    }
}

fn apply_fault(error: &apply::Error) -> Box<Fault> {
    use apply::Error::{Busy, Overtaken, Refused, Unheard};
    match error {
        Refused(refusals) => Fault::refused(refusals),
        Unheard { .. } => Fault::units(chain(error)),
        Busy(_) | Overtaken { .. } => Fault::new(Part::Apply, "ApplyFailed", Exit::TryAgain, error),
        _ => Fault::new(Part::Apply, "ApplyFailed", Exit::Failed, error),
    }
}

/// What a pass would do.
#[derive(Debug)]
pub struct Prepared {
    /// The files.
    pub plan: Plan,
    /// Whether this is the first boot of this instance, be it new or a copy.
    pub first_boot: bool,
    /// Whether the document that was found is older than the applied one.
    pub stale: bool,
    made: Made,
    hooked: Hooked,
    values: Option<Values>,
    memory: Memory,
    next: State,
}

/// What applying a plan did.
struct Applied {
    generation: u64,
    changed: Vec<PathBuf>,
    environment: Option<String>,
}

/// A report about `machine` in which nothing has happened yet.
pub fn new_report(machine: &Machine) -> Report {
    Report {
        protocol: protocol::VERSIONS,
        boot: machine.root.boot_id(),
        session: process::random_id(),
        seq: 1,
        id: String::new(),
        stage: Stage::Starting,
        ready: false,
        generation: 0,
        environment: None,
        source: "none".to_owned(),
        stale: false,
        unmet: Vec::new(),
        deadline_ms: None,
        failure: None,
        changed: Vec::new(),
        warnings: 0,
        accepts: protocol::ACCEPTS
            .into_iter()
            .filter(|request| *request != protocol::STOP || machine.may_go_down())
            .map(str::to_owned)
            .collect(),
        expect: None,
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        hypervisor: machine.verdict.vm.to_owned(),
        uptime_ms: clock::now().as_millis() as u64,
        took_us: machine.took,
    }
}
