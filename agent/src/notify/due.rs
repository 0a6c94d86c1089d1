//! When something is to be said: at once where it is new, and again after a while where that did not go well.
//!
//! Pure. Decides that the newest counts, and that one who cannot be told is left alone until there is news.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::sys::clock::Moment;

/// Tried again 1, 2, 4 ... 32 seconds after a failure, then no more: somebody who listens by then has other ways to ask.
const MOST: u32 = 6;

/// Whether something is to be said, and when.
#[derive(Debug, Default)]
pub struct Due {
    at: Option<Moment>,
    /// Tries since there was news that have failed.
    failures: u32,
}

impl Due {
    /// There is news.
    pub fn news(&mut self, now: Moment) {
        *self = Self { at: Some(now), failures: 0 };
    }

    /// There is news, which is said with what is being said.
    pub fn refresh(&mut self) {
        self.failures = 0;
    }

    /// It could not be said in one way, and is tried in another.
    pub fn again(&mut self, now: Moment) {
        self.at = Some(now);
    }

    /// When to say it, if at all.
    pub fn at(&self) -> Option<Moment> {
        self.at
    }

    /// Whether it is to be said now; if so, that has been begun.
    pub fn begin(&mut self, now: Moment) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }

    /// It could not be said. Returns whether there will be no other try; news that have come meanwhile are one.
    pub fn failed(&mut self, now: Moment) -> bool {
        if self.at.is_none() && self.failures < MOST {
            self.at = Some(now + Duration::from_secs(1 << self.failures));
            self.failures += 1;
        }
        self.at.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::Due;
    use std::time::Duration;

    const fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn what_cannot_be_said_is_tried_for_a_while_and_news_begin_anew() {
        let mut due = Due::default();
        assert!(!due.begin(s(5)), "there is nothing to say");
        due.news(s(10));
        assert!(due.begin(s(10)) && !due.begin(s(10)));
        let mut now = s(10);
        for pause in [1, 2, 4, 8, 16, 32] {
            assert!(!due.failed(now));
            assert_eq!(due.at(), Some(now + s(pause)));
            assert!(!due.begin(now), "not yet");
            now += s(pause);
            assert!(due.begin(now));
        }
        assert!(due.failed(now) && due.at().is_none(), "then no more");
        due.news(now);
        assert!(due.begin(now));
        due.news(now + s(1));
        assert!(!due.failed(now + s(2)));
        assert_eq!(due.at(), Some(now + s(1)), "what is new does not wait for what failed");
    }
}
