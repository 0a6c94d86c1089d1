//! `ovf-agent-ready.target` in the loop: systemd's own word for a guest that is ready (systemd/system/ovf-agent-ready.target).
//!
//! Decides when it is started and stopped: it is active while the guest is ready, and not while it waits, is degraded or has
//! failed. What starts with it and what stops with it is for the units to say. While the agent starts or configures, as after
//! a restart of its own, it stays as it was, and so it does until a gate was tried and found shut: after each pass all are tried
//! anew, and what announces the guest is not to be restarted for that. When the machine goes down, systemd stops it. Nobody
//! waits for the jobs: a unit of the target's may wait for us.

#![forbid(unsafe_code)]

use std::io;
use std::rc::Rc;

use tracing::warn;

use super::{Running, TARGET};
use crate::agent::chain;
use crate::bus::{Bus, Conversation, Error};
use crate::ready::Unmet;
use crate::report::Stage;
use crate::sys::clock::Moment;

const UNIT: &str = "ovf-agent-ready.target";

/// What systemd is told of it.
#[derive(Default)]
pub(super) struct Target {
    /// Whether it should be active, once that is known.
    wanted: Option<bool>,
    /// What systemd was told last.
    told: Option<bool>,
    talk: Option<Talk>,
}

struct Talk {
    // Dropped first: it speaks by the bus.
    conversation: Conversation<'static, Result<(), Error>>,
    bus: Rc<Bus>,
}

impl Target {
    /// When [`Running::step_target`] has something to do, if nothing happens before.
    pub(super) fn next(&self) -> Option<Moment> {
        self.talk.as_ref().and_then(|talk| talk.bus.next())
    }
}

impl Running {
    /// The report is news.
    pub(super) fn follow_target(&mut self) {
        let report = self.reporter.report();
        self.target.wanted = match report.stage {
            Stage::Ready => Some(true),
            Stage::Waiting if !report.unmet.iter().any(Unmet::is_known) => self.target.wanted,
            Stage::Waiting | Stage::Degraded | Stage::Failed => Some(false),
            Stage::Starting | Stage::Configuring | Stage::Stopping => self.target.wanted,
        };
        if self.target.talk.is_none()
            && let Err(error) = self.tell_target()
        {
            warn!("cannot tell systemd of {UNIT}: {error}");
        }
    }

    /// Tells systemd, if it does not know.
    fn tell_target(&mut self) -> io::Result<()> {
        let Some(wanted) = self.target.wanted.filter(|wanted| self.target.told != Some(*wanted)) else {
            return Ok(());
        };
        self.target.told = Some(wanted);
        if self.is_stopping() || !Bus::has_systemd(&self.root) {
            return Ok(());
        }
        let bus = Rc::new(Bus::new(&self.root)?);
        self.poll.add(&*bus, TARGET)?;
        let conversation = bus.start(switch(Rc::clone(&bus), wanted));
        self.target.talk = Some(Talk { conversation, bus });
        self.step_target()
    }

    /// Goes on with it as far as that can be now.
    pub(super) fn step_target(&mut self) -> io::Result<()> {
        let Some(Talk { conversation, bus }) = &mut self.target.talk else { return Ok(()) };
        let Some(said) = bus.step(conversation)? else { return Ok(()) };
        self.target.talk = None;
        if let Err(error) = said {
            warn!("{}", chain(&error));
        }
        // The guest may have gone on meanwhile.
        self.tell_target()
    }
}

/// Has it started or stopped, where there is such a unit and it is not that already.
async fn switch(bus: Rc<Bus>, wanted: bool) -> Result<(), Error> {
    let Some(systemd) = bus.systemd() else { return Ok(()) };
    let Some(unit) = systemd.status(UNIT).await?.filter(|unit| unit.load == "loaded") else { return Ok(()) };
    let call = if wanted { "StartUnit" } else { "StopUnit" };
    if (unit.active == "active") == wanted && unit.job.is_none() {
        return Ok(());
    }
    match systemd.queue(call, UNIT).await {
        // A machine that goes down starts nothing any more.
        Err(Error::Refused { .. }) if systemd.goes_down().await?.is_some() => Ok(()),
        queued => queued.map(drop),
    }
}
