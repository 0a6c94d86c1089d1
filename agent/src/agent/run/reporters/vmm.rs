//! A host that listens at `vmm.notify_socket`, as systemd's do.
//!
//! Decides no more than that the newest message counts: each says all there is to say. Where it listens, and who says `READY=1`
//! there, is found out in `notify::host`.

#![forbid(unsafe_code)]

use tracing::{debug, warn};

use super::teller::Teller;
use crate::agent::run::VMM;
use crate::notify::{for_host, host};
use crate::report::Report;
use crate::sys::Root;
use crate::sys::clock::Moment;
use crate::sys::poll::Poll;

/// The host.
pub(super) struct Vmm {
    teller: Teller,
    says_ready: bool,
}

impl Vmm {
    /// The one that has told this guest where it listens, if any has.
    pub(super) fn of(root: &Root) -> Option<Self> {
        let address = host::address(root)?;
        let says_ready = !host::has_systemd(root);
        debug!(says_ready, "the host listens at {address}");
        let address = address.parse();
        let address =
            address.inspect_err(|why| warn!("cannot use the credential vmm.notify_socket: {why}")).ok()?;
        Some(Self { teller: Teller::new("the host at vmm.notify_socket", VMM, address), says_ready })
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.teller.next()
    }

    pub(super) fn go_on(&mut self, poll: &Poll, now: Moment) {
        self.teller.go_on(poll, now);
    }

    /// The report is news.
    pub(super) fn said(&mut self, report: &Report, now: Moment) {
        self.teller.tell(for_host(report, self.says_ready), true, now);
    }
}
