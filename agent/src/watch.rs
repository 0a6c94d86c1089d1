//! When the guest is configured anew: because of an event, because the host or somebody here wants it, or because the last
//! pass failed and another may not.
//!
//! Pure: events and times in, the cause of the next pass out. Decides the order, the quiet that is waited for after an event
//! of a device (libata tells of one swap twice), and how often a pass is repeated. Whether there is anything new is for
//! whoever looks; what a pass does, for `agent`.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::protocol::Sent;
use crate::sys::clock::Moment;

/// So long after the last event of a device it is looked at.
const QUIET: Duration = Duration::from_millis(100);
/// But not later than this after the first.
const LONGEST_QUIET: Duration = Duration::from_secs(2);
/// A drive that does not know yet what is in it is looked at again after this long, so many times.
const NOT_READY: Duration = Duration::from_millis(500);
const MOST_LOOKS: u32 = 20;
/// A pass that failed is repeated after 1, 2, 4 ... seconds, so many times; the longest pause is the sixth.
const MOST_RETRIES: u32 = 10;
const LONGEST_PAUSE: u32 = 6;

/// Who is to be answered when a pass is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whose it is: a number of the caller's.
    pub from: u64,
    /// Its id.
    pub id: String,
}

/// Why there is to be another pass.
#[derive(Debug, PartialEq, Eq)]
pub enum Cause {
    /// Something about a device has changed: if there is another document than before, it is to be applied.
    Look,
    /// Somebody has sent a document.
    Sent(Request, Sent),
    /// Somebody wants configuration and document to be read again: these, who want to hear of it, and others.
    Reload(Vec<Request>),
    /// The last pass failed, and may not fail again.
    Retry,
}

/// What is to be done, and when.
#[derive(Debug, Default)]
pub struct Watch {
    /// When to look, and when at the latest.
    look: Option<(Moment, Moment)>,
    /// Looks in a row that found a drive not ready.
    looks: u32,
    sent: Option<(Request, Sent)>,
    reload: Option<Vec<Request>>,
    retry: Option<Moment>,
    /// Passes in a row that failed.
    failures: u32,
}

impl Watch {
    /// A device that may hold the document has come or changed.
    pub fn device_event(&mut self, now: Moment) {
        let latest = self.look.map_or(now + LONGEST_QUIET, |(_, latest)| latest);
        self.look = Some((latest.min(now + QUIET), latest));
        self.looks = 0;
    }

    /// A drive was not ready when it was looked at. Returns whether it will be looked at again.
    pub fn not_ready(&mut self, now: Moment) -> bool {
        if self.look.is_none() && self.looks < MOST_LOOKS {
            self.looks += 1;
            self.look = Some((now + NOT_READY, now + NOT_READY));
        }
        self.look.is_some()
    }

    /// Somebody has sent a document. Returns whose was not begun with and is not needed any more.
    pub fn sent(&mut self, request: Request, sent: Sent) -> Option<Request> {
        self.sent.replace((request, sent)).map(|(request, _)| request)
    }

    /// Somebody wants everything to be read again.
    pub fn reload(&mut self, request: Option<Request>) {
        self.reload.get_or_insert_default().extend(request);
    }

    /// Those who want that and have to wait.
    pub fn reloads(&self) -> &[Request] {
        self.reload.as_deref().unwrap_or_default()
    }

    /// A pass has succeeded: nothing has to be repeated.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.retry = None;
    }

    /// A pass has failed. Returns whether it will be repeated; `can_pass` says whether that may help.
    pub fn failed(&mut self, can_pass: bool, now: Moment) -> bool {
        let again = can_pass && self.failures < MOST_RETRIES;
        self.retry = again.then(|| now + Duration::from_secs(1 << self.failures.min(LONGEST_PAUSE)));
        self.failures += 1;
        again
    }

    /// When [`Self::next`] has something, if nothing happens before.
    pub fn at(&self, is_looking: bool) -> Option<Moment> {
        if self.sent.is_some() || self.reload.is_some() && !is_looking {
            return Some(Moment::ZERO);
        }
        if is_looking {
            return None;
        }
        let look = self.look.map(|(at, _)| at);
        look.into_iter().chain(self.retry).min()
    }

    /// What is to be done now. To be asked while no pass is under way. While places are being looked at, all that needs
    /// another look has to wait; what was sent has not.
    pub fn next(&mut self, now: Moment, is_looking: bool) -> Option<Cause> {
        if let Some((request, sent)) = self.sent.take() {
            return Some(Cause::Sent(request, sent));
        }
        if is_looking {
            return None;
        }
        if let Some(requests) = self.reload.take() {
            (self.look, self.retry) = (None, None);
            return Some(Cause::Reload(requests));
        }
        if self.retry.is_some_and(|at| at <= now) {
            // It looks as well.
            (self.look, self.retry) = (None, None);
            return Some(Cause::Retry);
        }
        if self.look.is_some_and(|(at, _)| at <= now) {
            self.look = None;
            return Some(Cause::Look);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, MOST_LOOKS, Request, Watch};
    use crate::protocol::Sent;
    use std::time::Duration;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn request(id: &str) -> Request {
        Request { from: 7, id: id.to_owned() }
    }

    fn sent(id: &str) -> Sent {
        Sent { id: id.to_owned(), document: "<Environment/>".to_owned().into() }
    }

    #[test]
    fn events_of_a_device_are_waited_out_but_not_for_ever() {
        let mut watch = Watch::default();
        assert_eq!((watch.at(false), watch.next(ms(0), false)), (None, None));
        watch.device_event(ms(1000));
        watch.device_event(ms(1200));
        assert_eq!((watch.at(false), watch.next(ms(1299), false)), (Some(ms(1300)), None));
        assert_eq!((watch.next(ms(1300), false), watch.at(false)), (Some(Cause::Look), None));
        for event in (2000..6000).step_by(50) {
            watch.device_event(ms(event));
        }
        assert_eq!(watch.at(false), Some(ms(4000)), "a drive that never rests is looked at all the same");
    }

    #[test]
    fn a_drive_that_is_not_ready_is_looked_at_again_for_a_while() {
        let mut watch = Watch::default();
        let mut now = ms(0);
        for _ in 0..MOST_LOOKS {
            assert!(watch.not_ready(now));
            now = watch.at(false).expect("another look");
            assert_eq!(watch.next(now, false), Some(Cause::Look));
        }
        assert!(!watch.not_ready(now));
        assert_eq!(watch.at(false), None);
        watch.device_event(now);
        assert_eq!(watch.next(now + ms(300), false), Some(Cause::Look));
        assert!(watch.not_ready(now), "an event begins anew");
    }

    #[test]
    fn the_newest_document_counts_and_comes_first() {
        let mut watch = Watch::default();
        watch.device_event(ms(0));
        watch.reload(None);
        watch.reload(Some(request("3")));
        assert_eq!(watch.sent(request("1"), sent("1")), None);
        assert_eq!(watch.sent(request("2"), sent("2")), Some(request("1")));
        assert_eq!(watch.at(false), Some(ms(0)), "at once");
        assert_eq!(watch.at(true), Some(ms(0)), "also while a drive hangs");
        assert_eq!(watch.next(ms(1), false), Some(Cause::Sent(request("2"), sent("2"))));
        assert_eq!((watch.at(true), watch.next(ms(1), true)), (None, None), "a look at a time");
        assert_eq!(
            watch.next(ms(1), false),
            Some(Cause::Reload(vec![request("3")])),
            "one for all who want it"
        );
        assert_eq!(watch.next(ms(1000), false), None, "which has looked, too");
    }

    #[test]
    fn what_failed_is_repeated_less_and_less_often_and_then_no_more() {
        let mut watch = Watch::default();
        let mut now = ms(0);
        for pause in [1, 2, 4, 8, 16, 32, 64, 64, 64, 64] {
            assert!(watch.failed(true, now));
            assert_eq!(watch.at(false), Some(now + ms(pause * 1000)));
            now += ms(pause * 1000);
            assert_eq!(watch.next(now, false), Some(Cause::Retry));
        }
        assert!(!watch.failed(true, now) && watch.at(false).is_none());
        watch.succeeded();
        assert!(!watch.failed(false, now), "where it does not help it is not done");
        assert!(watch.failed(true, now), "a success begins anew");
        watch.succeeded();
        assert_eq!(watch.at(false), None);
    }
}
