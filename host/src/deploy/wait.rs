//! The wait for guests that run.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use super::{Deed, Deploy, Observer, Problem};
use crate::order::Why;

impl<O: Observer> Deploy<'_, O> {
    /// Waits until these guests are ready, or will not be, or the time is over. Answers who is not, and why; none where it
    /// was interrupted.
    ///
    /// # Errors
    /// The system does not let us wait.
    pub fn wait(&mut self, guests: &[usize], within: Duration) -> io::Result<Option<Vec<Problem>>> {
        let end = self.watch.now() + within;
        let mut open: BTreeSet<usize> = guests.iter().copied().collect();
        let mut problems = Vec::new();
        open.retain(|it| !self.reports.get(it).is_some_and(|it| it.ready));
        while !open.is_empty() && self.watch.now() < end {
            let Some(deeds) = self.next(Some(end))? else { return Ok(None) };
            for (guest, deed) in deeds {
                let why = match deed {
                    Deed::Report(report) => {
                        self.refresh(guest, &report);
                        if report.ready {
                            open.remove(&guest);
                        }
                        super::has_failed(&report).then_some(Why::Failed)
                    }
                    Deed::Lied => Some(Why::Lied),
                    Deed::Off => Some(Why::Off),
                    Deed::Lost => Some(Why::Lost),
                    Deed::Isolated => Some(Why::Isolated),
                    Deed::Answer(_) | Deed::Rebooted => None,
                };
                if let Some(why) = why.filter(|_| open.remove(&guest)) {
                    problems.push(self.problem(guest, why));
                }
            }
        }
        problems.extend(open.into_iter().map(|guest| self.problem(guest, Why::Late(within))));
        Ok(Some(problems))
    }
}
