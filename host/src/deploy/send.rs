//! Guests that are sent another environment.
//!
//! Decides that a document is sent by the port first, since an agent answers there, and that whoever does not take it
//! leaves all as they were: those that have taken theirs are sent the one of before.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use ovf_agent::protocol::{FromHost, Sent as Document};

use super::{Deed, Deploy, Observer, What};
use crate::secret::Secret;

/// What a guest accepts that takes documents.
const ENVIRONMENT: &str = "environment";

/// What came of a document that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// It is applied, and this is the guest's generation since then.
    Applied(u64),
    /// It is not, and why.
    Refused(String),
    /// Nobody has answered in time.
    Unanswered,
}

/// How it went to send documents.
#[derive(Debug)]
pub enum Sending {
    /// What became of each.
    Over(BTreeMap<usize, Sent>),
    /// It was interrupted before anything was sent.
    NotBegun,
    /// It was interrupted when all were sent, and not all answered.
    Interrupted,
}

impl<O: Observer> Deploy<'_, O> {
    /// Sends documents, and waits until all are answered or the time is over.
    ///
    /// # Errors
    /// The system does not let us wait.
    pub fn send(&mut self, documents: &BTreeMap<usize, Secret>, within: Duration) -> io::Result<Sending> {
        let guests: Vec<_> = documents.keys().copied().collect();
        let end = self.watch.now() + within;
        if self.listen(&guests, within)?.is_none() {
            return Ok(Sending::NotBegun);
        }
        // By the request's name, and by the process that it was made to: another one has never heard of it.
        let mut open: BTreeMap<usize, (String, Option<String>)> = BTreeMap::new();
        for (&guest, document) in documents {
            let request = self.ask_for(guest, document);
            open.insert(guest, request);
            self.note(guest, &What::Sent);
        }
        let mut results = BTreeMap::new();
        open.retain(|guest, _| {
            let takes =
                self.reports.get(guest).is_none_or(|it| it.accepts.iter().any(|it| it == ENVIRONMENT));
            if !takes {
                let why = "it takes no other environment while it runs".to_owned();
                results.insert(*guest, Sent::Refused(why));
            }
            takes
        });
        while !open.is_empty() && self.watch.now() < end {
            let Some(deeds) = self.next(Some(end))? else { return Ok(Sending::Interrupted) };
            for (guest, deed) in deeds {
                match deed {
                    Deed::Answer(answer) if open.get(&guest).is_some_and(|it| it.0 == answer.to) => {
                        open.remove(&guest);
                        let why = answer.error.map(|it| format!("{}: {}", it.code, it.message));
                        let refused =
                            || Sent::Refused(why.unwrap_or_else(|| "it gives no reason".to_owned()));
                        // A report comes before the answer, and is of the document.
                        let generation = self.reports.get(&guest).map_or(0, |it| it.generation);
                        results.insert(guest, if answer.ok { Sent::Applied(generation) } else { refused() });
                    }
                    Deed::Off | Deed::Lost | Deed::Lied => {
                        open.remove(&guest);
                        let why = self.reasons.get(&guest).cloned();
                        results.insert(guest, Sent::Refused(why.unwrap_or_else(|| "it went off".to_owned())));
                    }
                    Deed::Report(report)
                        if open.get(&guest).is_some_and(|it| it.1.as_ref() != Some(&report.session)) =>
                    {
                        let request = self.ask_for(guest, &documents[&guest]);
                        open.insert(guest, request);
                    }
                    _ => {}
                }
            }
        }
        results.extend(open.into_keys().map(|guest| (guest, Sent::Unanswered)));
        Ok(Sending::Over(results))
    }

    fn ask_for(&mut self, guest: usize, document: &Secret) -> (String, Option<String>) {
        let id = self.watch.name();
        let request = Document { id: id.clone(), document: document.text() };
        self.watch.say(guest, &FromHost::Environment(request));
        (id, self.reports.get(&guest).map(|it| it.session.clone()))
    }
}
