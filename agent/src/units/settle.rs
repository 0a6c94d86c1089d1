//! What systemd is asked to do for a pass, in which order, and what became of it.
//!
//! Decides the order: unit files are read again, roles are switched, and then the units hear of their files. systemd takes
//! care of the order among them (systemd.unit(5), `After=`): all jobs are queued before the first is waited for. A job that
//! waits for our own unit to be started, as that of every service that is ordered after us at boot, is never waited for: it
//! happens when we are done.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use super::roles::{Role, Step, steps};
use super::{Spared, Units, Verb, due};
use crate::bus::{Error, Job, Systemd, UnitStatus};
use crate::sys::clock::{Moment, now};

/// Between two looks whether a job waits for us.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How it ended for one unit.
#[derive(Debug)]
pub enum Ended {
    /// It was done.
    Done,
    /// It was not needed.
    Spared(Spared),
    /// It is queued, and waits for us to be started.
    AfterUs,
    /// The job ended with this result: `failed`, `timeout`, `canceled`, `dependency` and others.
    Job(String),
    /// The job was done, and the unit has failed nevertheless.
    Failed,
    /// It has not ended in time, and goes on.
    Late(Duration),
    /// It could not be asked for.
    Error(Error),
    /// It was not asked for, because systemd could not be talked to before.
    NotAsked,
    /// The unit was masked, and can be started nevertheless: a unit file in `/etc` goes before every mask.
    Unmaskable,
}

/// What became of one unit.
#[derive(Debug)]
pub struct Outcome {
    /// The unit; empty for systemd itself.
    pub unit: String,
    /// `restart`, `reload`, `start`, `stop`, `mask`, `unmask`, `daemon-reload`.
    pub verb: &'static str,
    /// What was asked of it because of its files; nothing where that was not the reason.
    pub asked: Option<Verb>,
    /// How it ended.
    pub ended: Ended,
}

impl Outcome {
    /// Whether what was asked for did not happen.
    pub fn is_failure(&self) -> bool {
        !matches!(self.ended, Ended::Done | Ended::Spared(_) | Ended::AfterUs)
    }

    /// The job's result in systemd's words, or ours where it did not come to a job.
    pub fn result(&self) -> &str {
        match &self.ended {
            Ended::Done => "done",
            Ended::Spared(_) => "not-needed",
            Ended::AfterUs => "queued",
            Ended::Job(result) => result,
            Ended::Failed | Ended::Unmaskable => "failed",
            Ended::Late(_) => "late",
            Ended::Error(_) => "refused",
            Ended::NotAsked => "not-asked",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unit, verb, ended, .. } = self;
        if unit.is_empty() {
            return match ended {
                Ended::Error(error) => write!(f, "{verb}: {error}; journalctl -b _PID=1 may say why"),
                _ => write!(f, "{verb}: {}", self.result()),
            };
        }
        match ended {
            Ended::Done => write!(f, "{verb} of {unit}: done"),
            Ended::Spared(why) => write!(f, "{verb} of {unit} is not needed: {}", why.as_str()),
            Ended::AfterUs => write!(f, "{verb} of {unit} is queued: it is ordered after the agent"),
            Ended::Job(result) => {
                write!(f, "{verb} of {unit} ended with \"{result}\"; journalctl -u {unit} says why")
            }
            Ended::Failed => {
                write!(f, "{unit} has failed after its {verb}; journalctl -u {unit} says why")
            }
            Ended::Late(time) => write!(
                f,
                "{verb} of {unit} has not ended after {} s; journalctl -u {unit} may say why",
                time.as_secs()
            ),
            Ended::Error(error) => {
                write!(f, "{verb} of {unit} failed: {error}; journalctl -u {unit} may say why")
            }
            Ended::NotAsked => {
                write!(f, "{verb} of {unit} was not asked for, since systemd could not be reached")
            }
            Ended::Unmaskable => write!(
                f,
                "{unit} is masked in vain: its unit file lies in /etc/systemd/system, which goes first; put it into \
                 /usr/lib/systemd/system"
            ),
        }
    }
}

/// All that systemd is to do for a pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whether it reads its unit files again before all else.
    pub reload: bool,
    /// What units are to be.
    pub roles: Vec<Role>,
    /// What units are to do about their files.
    pub units: Units,
}

impl Wanted {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        !self.reload && self.roles.is_empty() && self.units.is_empty()
    }
}

/// Does it all, waiting at most `limit` for the jobs. What fails for one unit does not keep it from the others; when systemd
/// is not to be reached any more, the rest is [`Ended::NotAsked`]. So each action has an outcome.
pub async fn settle(systemd: Systemd, wanted: Wanted, limit: Duration) -> Vec<Outcome> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let Wanted { reload, roles, units } = wanted;
    let mut settling =
        Settling { systemd, own_job: None, jobs: Vec::new(), outcomes: Vec::new(), is_over: false };
    if reload {
        settling.reload().await;
    }
    match settling.systemd.own_job().await {
        _ if settling.is_over => {}
        Ok(job) => settling.own_job = job,
        Err(error) => settling.ended("", "conversation", None, Ended::Error(error)),
    }
    // Before the roles change anything.
    let mut known = Vec::new();
    for (unit, verb) in units {
        if let Some(status) = settling.status(&unit, verb.as_str(), Some(verb)).await {
            known.push((unit, verb, status));
        }
    }
    let switched = settling.switch(roles).await;
    // Of one that is called by two of its names, what is most.
    known.sort_by_key(|(_, verb, _)| Reverse(*verb));
    let mut seen = Vec::new();
    for (unit, verb, status) in known {
        settling.act(&unit, verb, status, &switched, &mut seen).await;
    }
    settling.wait(limit).await;
    settling.outcomes
}

/// Why a job's end is not known: an error, or the time is over.
type Late = Option<Error>;

struct Settling {
    systemd: Systemd,
    own_job: Option<Job>,
    jobs: Vec<(String, &'static str, Option<Verb>, Job)>,
    outcomes: Vec<Outcome>,
    /// Whether systemd is not to be reached any more.
    is_over: bool,
}

impl Settling {
    fn ended(&mut self, unit: &str, verb: &'static str, asked: Option<Verb>, ended: Ended) {
        self.is_over |= matches!(ended, Ended::Error(Error::Connection(_) | Error::Late { .. }));
        self.outcomes.push(Outcome { unit: unit.to_owned(), verb, asked, ended });
    }

    async fn reload(&mut self) {
        let done = self.systemd.reload().await;
        self.ended("", "daemon-reload", None, done.map_or_else(Ended::Error, |()| Ended::Done));
    }

    /// What the unit does now; where that is not to be had, its outcome is clear.
    async fn status(&mut self, unit: &str, verb: &'static str, asked: Option<Verb>) -> Option<UnitStatus> {
        if self.is_over {
            self.ended(unit, verb, asked, Ended::NotAsked);
            return None;
        }
        match self.systemd.status(unit).await {
            Ok(Some(status)) => return Some(status),
            Ok(None) => self.ended(unit, verb, asked, Ended::Spared(Spared::NotFound)),
            Err(error) => self.ended(unit, verb, asked, Ended::Error(error)),
        }
        None
    }

    async fn queue(&mut self, call: &'static str, unit: &str, verb: &'static str, asked: Option<Verb>) {
        if self.is_over {
            return self.ended(unit, verb, asked, Ended::NotAsked);
        }
        match self.systemd.queue(call, unit).await {
            Ok(job) => self.jobs.push((unit.to_owned(), verb, asked, job)),
            Err(error) => self.ended(unit, verb, asked, Ended::Error(error)),
        }
    }

    /// Switches roles; returns the units that changed.
    async fn switch(&mut self, roles: Vec<Role>) -> Vec<String> {
        let mut todo = Vec::new();
        for role in roles {
            if let Some(status) = self.status(&role.unit, role.state.as_str(), None).await {
                todo.push((steps(&role, &status), status.id, role.unit));
            }
        }
        // The masks first, for one reload makes them all known.
        let mut masks = Vec::new();
        for (steps, _, unit) in &todo {
            for step in steps {
                let done = match step {
                    Step::Mask => self.systemd.mask(unit).await,
                    Step::Unmask => self.systemd.unmask(unit).await,
                    Step::Start | Step::Stop => continue,
                };
                match done {
                    Ok(()) => masks.push((unit.clone(), *step)),
                    Err(error) => self.ended(unit, step.as_str(), None, Ended::Error(error)),
                }
            }
        }
        if !masks.is_empty() {
            self.reload().await;
        }
        for (unit, step) in masks {
            let now = self.systemd.status(&unit).await.ok().flatten().unwrap_or_default();
            let in_vain = step == Step::Mask && now.load != "masked";
            self.ended(&unit, step.as_str(), None, if in_vain { Ended::Unmaskable } else { Ended::Done });
        }
        let mut switched = Vec::new();
        for (steps, id, unit) in todo {
            for step in steps {
                match step {
                    Step::Start => self.queue("StartUnit", &unit, step.as_str(), None).await,
                    Step::Stop => self.queue("StopUnit", &unit, step.as_str(), None).await,
                    Step::Mask | Step::Unmask => continue,
                }
                switched.push(id.clone());
            }
        }
        switched
    }

    async fn act(
        &mut self,
        unit: &str,
        verb: Verb,
        status: UnitStatus,
        switched: &[String],
        seen: &mut Vec<String>,
    ) {
        let word = verb.as_str();
        if switched.contains(&status.id) {
            return self.ended(unit, word, Some(verb), Ended::Spared(Spared::Role));
        }
        match due(verb, &status) {
            Err(why) => self.ended(unit, word, Some(verb), Ended::Spared(why)),
            // The same one, by another of its names.
            Ok(_) if seen.contains(&status.id) => {}
            Ok(call) => {
                seen.push(status.id);
                self.queue(call, unit, word, Some(verb)).await;
            }
        }
    }

    /// How a job ended; nothing where it waits for us. That is asked again and again, since a restart first stops, for which it
    /// waits for nobody, and only then turns into a start.
    async fn end(&self, job: Job, until: Moment) -> Option<Result<String, Late>> {
        let mut pause = FIRST_PAUSE;
        loop {
            let left = until.saturating_sub(now());
            let time = if self.own_job.is_some() { pause.min(left) } else { left };
            let ended = self.systemd.runtime().within(time, self.systemd.end(job)).await;
            match ended {
                Some(Ok(result)) => return Some(Ok(result)),
                Some(Err(error)) => return Some(Err(Some(error))),
                None => {}
            }
            if let Some(own) = self.own_job
                && self.systemd.waits_for(job, own).await.unwrap_or(false)
            {
                return None;
            }
            if now() >= until {
                return Some(Err(None));
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn wait(&mut self, limit: Duration) {
        let until = now() + limit;
        for (unit, verb, asked, job) in std::mem::take(&mut self.jobs) {
            let systemd = self.systemd.clone();
            let ended = match self.end(job, until).await {
                None => Ended::AfterUs,
                Some(Err(None)) => Ended::Late(limit),
                Some(Err(Some(error))) => Ended::Error(error),
                Some(Ok(result)) if result == "done" || result == "skipped" => {
                    // A simple service may be done with its start, and over.
                    let status = systemd.status(&unit).await.ok().flatten().unwrap_or_default();
                    if status.active == "failed" && verb != "stop" { Ended::Failed } else { Ended::Done }
                }
                Some(Ok(result)) => Ended::Job(result),
            };
            self.ended(&unit, verb, asked, ended);
        }
    }
}
