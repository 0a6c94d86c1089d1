//! Whoever else hears of the report, beside the host at the port: the service manager, a host that listens as systemd's do,
//! VMware, and a person at the console.
//!
//! Each is fed from the one place where the report is said (`talk`), is told the newest, and is on its own: one that is away,
//! full or slow costs a few tries, and nobody waits for it. Decides who there is, and what the end of a pass means for the service
//! manager. The words are `notify`'s.
//!
//! The service manager hears `READY=1` when the first pass is over, *whatever came of it*. It is a pass that succeeded which makes a
//! guest configured; but the rest of the boot waits for this word, without a time limit where the unit says so, and a guest that
//! is not configured has to come up so far that somebody can look into it, and stays to be told a better document. Retries go on
//! beside the boot. Which of the two it is, is in `STATUS=`, and asked for by `ovf-agent status --wait configured`
//! (docs/decisions/013).

#![forbid(unsafe_code)]

mod issue;
mod service;
mod teller;
mod tool;
mod vmm;

use super::Running;
use crate::detect::Verdict;
use crate::report::{Report, Stage};
use crate::sys::Root;
use crate::sys::clock::{Moment, now};
use crate::sys::poll::Poll;
use issue::Issue;
use service::Service;
use tool::Tool;
use vmm::Vmm;

/// Those who hear of the report.
#[derive(Default)]
pub(super) struct Reporters {
    service: Option<Service>,
    vmm: Option<Vmm>,
    tool: Option<Tool>,
    issue: Option<Issue>,
}

impl Reporters {
    /// Finds out who there is. Under a root that stands for another machine it is only who started us.
    pub(super) fn of(root: &Root, verdict: &Verdict) -> Self {
        let service = Service::of_this_process();
        match root.is_system() {
            true => {
                Self { service, vmm: Vmm::of(root), tool: Tool::of(verdict), issue: Some(Issue::default()) }
            }
            false => Self { service, ..Self::default() },
        }
    }

    /// When [`Self::go_on`] has something to do, if nothing happens before.
    pub(super) fn next(&self) -> Option<Moment> {
        let service = self.service.as_ref().and_then(Service::next);
        let vmm = self.vmm.as_ref().and_then(Vmm::next);
        let tool = self.tool.as_ref().and_then(Tool::next);
        [service, vmm, tool].into_iter().flatten().min()
    }

    /// Goes on with what is under way and begins what is due, as far as that can be now.
    pub(super) fn go_on(&mut self, root: &Root, poll: &Poll, report: &Report) {
        let now = now();
        if let Some(service) = &mut self.service {
            service.go_on(poll, now);
        }
        if let Some(vmm) = &mut self.vmm {
            vmm.go_on(poll, now);
        }
        if let Some(tool) = &mut self.tool {
            tool.go_on(root, poll, report, now);
        }
    }
}

impl Running {
    /// The report is news.
    pub(super) fn tell_reporters(&mut self) {
        let (now, report) = (now(), self.reporter.report());
        if let Some(service) = &mut self.reporters.service {
            service.said(report, now);
        }
        if let Some(vmm) = &mut self.reporters.vmm {
            vmm.said(report, now);
        }
        if let Some(tool) = &mut self.reporters.tool {
            tool.said(now);
        }
        if let Some(issue) = &mut self.reporters.issue {
            // Where the configuration is broken nobody has said that a person is not to be told.
            let is_wanted = self.config.as_ref().map_or(report.stage == Stage::Failed, |config| config.issue);
            issue.said(&self.root, is_wanted.then_some(report));
        }
        self.reporters.go_on(&self.root, &self.poll, report);
    }

    /// One of them has an event, or is due.
    pub(super) fn reporters_go_on(&mut self) {
        self.reporters.go_on(&self.root, &self.poll, self.reporter.report());
    }

    /// A later pass begins.
    pub(super) fn pass_begins(&mut self) {
        self.note_gates();
        self.times.pass_begins(now());
        if let Some(service) = &mut self.reporters.service {
            service.reloading(now());
            service.go_on(&self.poll, now());
        }
    }

    /// To be asked before each wait: once nothing is searched for and no pass is under way, whoever waits for its end hears.
    pub(super) fn settled(&mut self) {
        if self.searching.is_none()
            && self.passing.is_none()
            && !self.looks.is_for_a_pass()
            && let Some(service) = &mut self.reporters.service
        {
            service.settled(self.reporter.report(), now());
            service.go_on(&self.poll, now());
        }
    }

    /// The process is about to end.
    pub(super) fn reporters_stop(&mut self) {
        if let Some(service) = &mut self.reporters.service {
            service.stopping(now());
            service.go_on(&self.poll, now());
        }
        if let Some(issue) = &mut self.reporters.issue {
            issue.said(&self.root, None);
        }
    }
}
