//! Messages to one who listens at a socket, one after the other.
//!
//! Decides how many are kept, how long one may take, and what becomes of one that does not get there. How it gets there is the
//! business of `sys::notify`.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tracing::{debug, warn};

use crate::notify::due::Due;
use crate::sys::clock::Moment;
use crate::sys::notify::{Address, Far, Message};
use crate::sys::poll::Poll;

/// One message may take this long, with the time in which the other end may close.
const LIMIT: Duration = Duration::from_secs(5);
/// So many are kept for one who does not read.
const MOST: usize = 16;

/// Who is told, and what.
pub(super) struct Teller {
    /// Who it is, for the log.
    who: &'static str,
    token: u64,
    address: Address,
    /// The kind of socket that is tried.
    kind: usize,
    messages: VecDeque<Vec<u8>>,
    due: Due,
    /// The first of `messages` on its way, and when it is given up.
    under_way: Option<(Message, Moment)>,
    /// All of it has been taken; it is kept for the other end to close, as long as there is nothing else to say.
    said: Option<(Message, Moment)>,
    warned: bool,
}

impl Teller {
    pub(super) fn new(who: &'static str, token: u64, address: Address) -> Self {
        Self {
            who,
            token,
            address,
            kind: 0,
            messages: VecDeque::new(),
            due: Due::default(),
            under_way: None,
            said: None,
            warned: false,
        }
    }

    /// Has something to say, behind what is not said yet or in its place. Where there is too much, a mere status is left out first.
    pub(super) fn tell(&mut self, message: Vec<u8>, instead: bool, now: Moment) {
        if instead
            && let Some((first, _)) = &mut self.under_way
            && first.instead(&message)
        {
            self.messages = [message].into();
            return self.due.refresh();
        }
        // What is on its way is the first.
        let kept = usize::from(self.under_way.is_some());
        if instead {
            self.messages.truncate(kept);
        } else if self.messages.len() == MOST {
            let is_status = |message: &Vec<u8>| message.starts_with(b"STATUS=");
            let least = self.messages.iter().skip(kept).position(is_status).unwrap_or_default();
            self.messages.remove(kept + least);
        }
        self.messages.push_back(message);
        self.due.news(now);
    }

    /// When [`Self::go_on`] has something to do, if no event comes before.
    pub(super) fn next(&self) -> Option<Moment> {
        let limit = |on_the_way: &Option<(Message, Moment)>| on_the_way.as_ref().map(|(_, limit)| *limit);
        // What is due waits for what is under way.
        let next = limit(&self.under_way).or(self.due.at());
        next.into_iter().chain(limit(&self.said)).min()
    }

    /// Goes on as far as that can be now.
    pub(super) fn go_on(&mut self, poll: &Poll, now: Moment) {
        if let Some((message, limit)) = &mut self.said
            && (*limit <= now || !matches!(message.go_on(), Ok(Far::Said)))
        {
            self.said = None;
        }
        loop {
            if self.under_way.is_none() {
                if self.messages.is_empty() || !self.due.begin(now) {
                    return;
                }
                match self.begin(poll) {
                    Ok(message) => self.under_way = Some((message, now + LIMIT)),
                    Err(error) => {
                        self.failed(&error, now);
                        continue;
                    }
                }
            }
            let Some((message, limit)) = &mut self.under_way else { return };
            match message.go_on() {
                Ok(Far::OnTheWay) if *limit > now => return,
                Ok(Far::OnTheWay) => self.failed(&io::ErrorKind::TimedOut.into(), now),
                Err(error) => self.failed(&error, now),
                Ok(far) => {
                    self.messages.pop_front();
                    let done = self.under_way.take();
                    self.said = done.filter(|_| far == Far::Said);
                    if !self.messages.is_empty() {
                        self.due.news(now);
                    }
                }
            }
        }
    }

    /// Begins with the first message.
    fn begin(&self, poll: &Poll) -> io::Result<Message> {
        let text = self.messages.front().cloned().unwrap_or_default();
        let message = Message::begin(&self.address, self.kind, text)?;
        poll.add(&message, self.token)?;
        Ok(message)
    }

    /// It did not get there: another kind of socket is tried at once, where there is one; else all of it after a while.
    fn failed(&mut self, error: &io::Error, now: Moment) {
        debug!("cannot tell {}: {error}", self.who);
        self.under_way = None;
        self.kind += 1;
        if !self.kind.is_multiple_of(self.address.kinds()) {
            self.due.again(now);
        } else if self.due.failed(now) {
            self.messages.clear();
            if !std::mem::replace(&mut self.warned, true) {
                warn!("gave up telling {} until there is news: {error}", self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests;
