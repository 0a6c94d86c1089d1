//! Looks at the places of documents, in the loop: when one begins, who looks, and what is made of it.
//!
//! A drive that hangs holds up whoever opens or reads it, so a child looks, and its answer is an event like any other. Where there
//! is nothing to be looked at that could hang, the loop looks itself. There is one look at a time, and none beside a pass;
//! what the host sends is not kept waiting by it. What a search makes of a look is decided by `Finder`, whether there is
//! anything new, here: what is gone is not empty, and what is as it was is no news, also if it is broken.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use tracing::warn;

use super::{LOOK, Running};
use crate::agent::sight::{self, Sight};
use crate::agent::{Fault, Finder, Result, Step};
use crate::report::Stage;
use crate::sys::clock::{Moment, now};
use crate::sys::work::{Answer, Leaving, Work};
use crate::transport::{Document, Scope, Source};
use crate::watch::Request;

/// So long a look may take: what the kernel gives an optical drive for one command.
const LIMIT: Duration = Duration::from_secs(30);
/// So many children may be held by drives that let nobody go. There is no further look before one has gone.
const MOST_LEAVING: usize = 4;

/// What is known of the places, and who looks at them.
#[derive(Default)]
pub(super) struct Looks {
    under_way: Option<Looking>,
    /// Children that nobody listens to any more, and whether they have answered: the others may be held by a drive.
    leaving: Vec<(Leaving, bool)>,
    /// Those who wait for a pass for which no drive was ready yet.
    postponed: Option<Vec<Request>>,
    /// What the last look gave that gave anything: the document's digest, or why there is none.
    seen: Option<String>,
    /// The source that the guest was configured from. Other devices are nobody's business.
    pinned: Option<Source>,
}

/// A look under way.
struct Looking {
    work: Work,
    purpose: Purpose,
    begin: Moment,
    /// Where it could hang.
    places: Vec<String>,
    /// Whether a device has come or changed since it began.
    again: bool,
}

/// The first search for the document.
pub(super) struct Searching {
    finder: Finder,
    begin: Moment,
    look_at: Moment,
    /// Those who want to hear what becomes of it.
    requests: Vec<Request>,
}

/// What a look is for.
pub(super) enum Purpose {
    /// The first search.
    Search,
    /// Something has changed: a pass if there is another document than before.
    News,
    /// A pass in any case, which these want to hear of.
    Pass(Vec<Request>),
}

impl Looks {
    /// Whether one is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether what is to be found first is being looked for: what the host sends then is applied over it, not instead of it.
    pub(super) fn is_searching(&self) -> bool {
        self.under_way.as_ref().is_some_and(|looking| matches!(looking.purpose, Purpose::Search))
    }

    /// Whether one is under way, or to be done again, that a pass follows.
    pub(super) fn is_for_a_pass(&self) -> bool {
        let is_wanted = |looking: &Looking| matches!(looking.purpose, Purpose::Search | Purpose::Pass(_));
        self.postponed.is_some() || self.under_way.as_ref().is_some_and(is_wanted)
    }

    /// Whether the document came from there.
    pub(super) fn is_from(&self, source: &Source) -> bool {
        self.pinned.as_ref() == Some(source)
    }

    /// Whether what becomes of a device matters.
    pub(super) fn cares_for(&self, device: &Path) -> bool {
        match &self.pinned {
            None => true,
            Some(Source::Iso(pinned)) => pinned == device,
            Some(_) => false,
        }
    }
}

impl Running {
    /// Begins with the first search, or with the source that was named.
    pub(super) fn start(&mut self) {
        if self.is_stopping() {
            return;
        }
        self.remember_pinned();
        if self.options.source.is_some() {
            return self.look(Purpose::Pass(Vec::new()));
        }
        self.search_anew(now(), Vec::new());
        self.look(Purpose::Search);
    }

    /// Which device is looked at from now on. A drive that was named may be named by a link, so any may be it.
    pub(super) fn remember_pinned(&mut self) {
        self.looks.pinned = match &self.options.source {
            Some(Source::Iso(_)) => None,
            Some(named) => Some(named.clone()),
            None => self.machine.as_ref().and_then(|machine| machine.boot.pinned()),
        };
    }

    /// Has the search go by the configuration as it is now.
    fn search_anew(&mut self, begin: Moment, requests: Vec<Request>) {
        let (Some(config), Some(machine)) = (&self.config, &self.machine) else { return };
        let finder = Finder::new(&config.transport, machine.verdict.is_vm(), begin);
        self.searching = Some(Searching { finder, begin, look_at: begin, requests });
    }

    /// When there is something to do, if nothing happens before.
    pub(super) fn look_at(&self) -> Option<Moment> {
        match &self.looks.under_way {
            Some(looking) => Some(looking.begin + LIMIT),
            None => self.searching.as_ref().map(|searching| searching.look_at),
        }
    }

    /// Does what is due.
    pub(super) fn look_on(&mut self) {
        if self.look_at().is_none_or(|at| at > now()) {
            return;
        }
        match self.looks.under_way.take() {
            None => self.look(Purpose::Search),
            Some(looking) => {
                let (places, limit) = (looking.places.join(" or "), LIMIT.as_secs());
                let fault = Fault::unanswered(format!(
                    "cannot look for the OVF environment: no answer from {places} for {limit} s; see to the storage behind \
                     it on the host, or detach it"
                ));
                self.looked_by_child(looking, Err(fault), false);
            }
        }
    }

    /// Looks, now or as soon as the child has done so.
    pub(super) fn look(&mut self, mut purpose: Purpose) {
        if let Some(postponed) = self.looks.postponed.take() {
            let others = if let Purpose::Pass(requests) = purpose { requests } else { Vec::new() };
            purpose = Purpose::Pass([postponed, others].concat());
        }
        let (Some(config), Some(machine)) = (&self.config, &self.machine) else { return };
        let begin = now();
        let (here, settings, boot) = (machine.here(), &config.transport, &machine.boot);
        let scope = if matches!(purpose, Purpose::News) { Scope::Pinned } else { Scope::Everywhere };
        let source = self.options.source.as_ref();
        let sight = || match source {
            Some(source) => Sight::of_named(here, source, settings),
            None => Sight::of(here, settings, boot, scope),
        };
        let places = match source {
            Some(source) => vec![source.to_string()],
            None => {
                let mut devices = self.candidates();
                devices.retain(|it| scope == Scope::Everywhere || self.looks.cares_for(&it.path()));
                sight::slow_places(here, settings, &devices)
            }
        };
        if places.is_empty() {
            let sight = sight();
            return self.looked(purpose, begin, Ok(sight));
        }
        let fault = |why: String| Fault::unanswered(format!("cannot look for the OVF environment: {why}"));
        if self.looks.leaving.iter().filter(|(_, has_answered)| !has_answered).count() >= MOST_LEAVING {
            let why = format!("no answer from {} to {MOST_LEAVING} earlier looks", places.join(" or "));
            return self.looked(purpose, begin, Err(fault(why)));
        }
        let work = Work::begin(&self.poll, sight::LIMIT, || sight().into_bytes()).and_then(|work| {
            self.poll.add(work.answer(), LOOK)?;
            self.poll.add(work.ended(), LOOK)?;
            Ok(work)
        });
        match work {
            Ok(work) => {
                let looking = Looking { work, purpose, begin, places, again: false };
                self.looks.under_way = Some(looking);
            }
            Err(error) => self.looked(purpose, begin, Err(fault(format!("no process for it: {error}")))),
        }
    }

    /// A child has said something, or has gone.
    pub(super) fn step_look(&mut self) {
        let mut is_free = false;
        self.looks.leaving.retain_mut(|(leaving, has_answered)| {
            let gone = leaving.has_gone();
            is_free |= gone && !*has_answered;
            !gone
        });
        if is_free {
            // What nobody could wait for any longer: the drive has let go.
            self.watch.device_event(now());
        }
        let Some(answer) = self.looks.under_way.as_mut().and_then(|looking| looking.work.step()) else {
            return;
        };
        let Some(looking) = self.looks.under_way.take() else { return };
        let sight = match answer {
            Answer::Bytes(bytes) => Sight::from_bytes(&bytes, self.options.source.as_ref()),
            Answer::Nothing => None,
        };
        let died = || {
            let places = looking.places.join(" or ");
            let why = "the process that looks ended without an answer; the kernel's log may say why";
            Fault::unanswered(format!("cannot look for the OVF environment in {places}: {why}"))
        };
        let sight = sight.ok_or_else(died);
        self.looked_by_child(looking, sight, true);
    }

    fn looked_by_child(&mut self, looking: Looking, sight: Result<Sight>, has_answered: bool) {
        let Looking { work, purpose, begin, again, .. } = looking;
        self.looks.leaving.push((work.end(), has_answered));
        self.looked(purpose, begin, sight);
        if let Some(searching) = self.searching.as_mut().filter(|_| again) {
            searching.look_at = now();
        }
    }

    /// A device has come or changed. Says whether that is for the search to see.
    pub(super) fn search_hears(&mut self) -> bool {
        let Some(searching) = &mut self.searching else { return false };
        searching.finder.device_event(now());
        match &mut self.looks.under_way {
            Some(looking) => looking.again = true,
            None => searching.look_at = now(),
        }
        true
    }

    /// Gives a look up that is under way, for there is something else to do; it will be done again.
    pub(super) fn stop_looking(&mut self) {
        for request in self.looks.postponed.take().unwrap_or_default() {
            self.watch.reload(Some(request));
        }
        let Some(Looking { work, purpose, .. }) = self.looks.under_way.take() else { return };
        self.looks.leaving.push((work.end(), false));
        match purpose {
            Purpose::Search => {}
            Purpose::News => self.watch.device_event(now()),
            Purpose::Pass(requests) if requests.is_empty() => self.watch.reload(None),
            Purpose::Pass(requests) => {
                requests.into_iter().for_each(|request| self.watch.reload(Some(request)));
            }
        }
    }

    /// There is something better than to go on searching. Who waits for what it finds waits for what comes instead.
    pub(super) fn stop_searching(&mut self) -> Vec<Request> {
        let candidates = self.candidates();
        let (Some(searching), Some(machine)) = (self.searching.take(), &mut self.machine) else {
            return Vec::new();
        };
        machine.boot.close(&candidates);
        searching.requests
    }

    /// Somebody has the configuration read again while it is still being searched: what is found is for them, too.
    pub(super) fn search_for(&mut self, requests: Vec<Request>) {
        let Some(mut searching) = self.searching.take() else { return };
        searching.requests.extend(requests);
        self.search_anew(searching.begin, searching.requests);
    }

    /// A look is over.
    fn looked(&mut self, purpose: Purpose, begin: Moment, sight: Result<Sight>) {
        self.note_gates();
        self.times.looks(begin);
        let candidates = if sight.is_err() { self.candidates() } else { Vec::new() };
        let Some(machine) = &mut self.machine else { return };
        let seen = sight.as_ref().map_or(&candidates, |sight| &sight.seen);
        let (document, begin, requests) = match purpose {
            Purpose::Search => {
                let Some(searching) = &mut self.searching else { return };
                if sight.is_err() {
                    machine.boot.close(seen);
                }
                let document = match sight.and_then(|sight| searching.finder.judge(machine, sight, now())) {
                    Ok(Step::LookAt(moment)) => {
                        searching.look_at = moment;
                        return;
                    }
                    Ok(Step::Over(document)) => Ok(document),
                    Err(fault) => Err(fault),
                };
                let requests = std::mem::take(&mut searching.requests);
                let begin = searching.begin;
                self.searching = None;
                (document, begin, Some(requests))
            }
            purpose => {
                if self.options.source.is_none() {
                    machine.boot.close(seen);
                }
                let ignored = sight.as_ref().map_or(&[][..], |sight| &sight.ignored);
                for ignored in ignored {
                    warn!(stage = "transport", "ignored: {ignored}");
                }
                let requests = match purpose {
                    Purpose::Pass(requests) => Some(requests),
                    _ => None,
                };
                // A disc that is just being swapped cannot be read, or is not there: the drive will say more when it is ready.
                let is_pending = sight.as_ref().is_ok_and(|it| it.pending && it.document.is_none());
                if is_pending && self.watch.not_ready(now()) {
                    self.looks.postponed = requests;
                    return;
                }
                (sight.and_then(Sight::outcome), begin, requests)
            }
        };
        let found = match &document {
            Ok(document) => document.as_ref().map(Document::digest),
            Err(fault) => Some(fault.failure.message.clone()),
        };
        let is_news = found.is_some() && found != self.looks.seen;
        let is_lost = found.is_none() && self.has_lost(requests.is_some());
        if (is_news || requests.is_some())
            && !is_lost
            && let Some(machine) = &mut self.machine
        {
            machine.took.transport = self.times.found(begin, document.as_ref().ok().and_then(Option::as_ref));
        }
        if is_news || is_lost {
            self.looks.seen = found;
        }
        match requests {
            Some(requests) if is_lost => self.keep(requests),
            Some(requests) => self.begin(document, requests),
            None if is_news => self.begin(document, Vec::new()),
            None => {}
        }
    }

    /// Whether a look that was to give the document again gave none, although the guest was configured with one.
    fn has_lost(&self, is_wanted: bool) -> bool {
        is_wanted && self.is_configured && self.kept.is_none() && self.reporter.report().environment.is_some()
    }

    /// Everything stays as it is, for what it would be made from is not there. Should it come again, it is news. Gates need no
    /// document.
    fn keep(&mut self, requests: Vec<Request>) {
        let has_failed = self.reporter.report().stage == Stage::Failed;
        let message = "the OVF environment that this guest is configured with is not attached any more, so it cannot be read \
                       again; everything stays as it is: attach it, or send it, again";
        self.gave_up(&Fault::absent(message.to_owned()), requests);
        if has_failed {
            self.wait_for_gates();
        }
    }
}
