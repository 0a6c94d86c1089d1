//! What units are, and whenever that changes.
//!
//! Decides when systemd is asked: once for all units, then for one whose properties have changed, for all after it has read its unit
//! files again, and for all by a new connection where it has closed the old one, as it does when it executes itself anew. Changes that
//! come faster than it is asked are one. What a unit's state means is decided in `ready`.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use zbus::message::Type as Kind;
use zbus::runtime::traits::Runtime as _;
use zbus::{MatchRule, Message, MessageStream};

use super::Error;
use super::systemd::{MANAGER, PROPERTIES, Systemd, UnitStatus, object};

/// How long systemd may be away before that is told; executing itself anew takes it a fraction of that.
const AWAY: Duration = Duration::from_secs(10);
/// The first and the longest pause before it is connected to again.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

/// What is told of units.
#[derive(Debug)]
pub enum Told {
    /// What the unit is that has this place in the list; nothing if that is no name of a unit.
    Unit(usize, Option<UnitStatus>),
    /// systemd has not been there for some time.
    Away,
}

/// What has changed and is not told yet.
#[derive(Default)]
struct Heard {
    /// The objects of each unit, by its own name and by its first: an alias is told of by the latter.
    objects: Vec<[String; 2]>,
    due: BTreeSet<usize>,
    is_over: bool,
    waiting: Option<Waker>,
}

type Shared = Arc<Mutex<Heard>>;

fn lock(heard: &Shared) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Systemd {
    /// Tells what these units are, and whenever that changes. It goes on for ever.
    pub async fn follow(self, units: Vec<String>, mut tell: impl FnMut(Told)) {
        let (mut pause, mut away) = (PAUSES[0], Duration::ZERO);
        loop {
            let mut is_answered = false;
            let told = |index, status| {
                is_answered = true;
                tell(Told::Unit(index, status));
            };
            let ended = self.follow_by_one_line(&units, told).await;
            if is_answered {
                (pause, away) = (PAUSES[0], Duration::ZERO);
            } else if ended.is_err() && away >= AWAY {
                tell(Told::Away);
            }
            self.runtime().sleep(pause).await;
            away += pause;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    /// The same as long as one connection lasts.
    async fn follow_by_one_line(
        &self,
        units: &[String],
        mut tell: impl FnMut(usize, Option<UnitStatus>),
    ) -> Result<(), Error> {
        let line = self.line().await?;
        let rule = MatchRule::builder().msg_type(Kind::Signal).build().map_err(Error::Connection)?;
        let stream = MessageStream::for_match_rule(rule, &line.connection, None).await;
        let stream = stream.map_err(Error::Connection)?;
        let objects = units.iter().map(|unit| [object(unit), String::new()]).collect();
        let due = (0..units.len()).collect();
        let heard: Shared = Arc::new(Mutex::new(Heard { objects, due, ..Heard::default() }));
        // A task of its own: what nobody takes out of the stream would keep the answers waiting behind it. It ends when it is dropped.
        let _ear = self.runtime().spawn("changes of units", listen(stream, Arc::clone(&heard)));
        while let Some(due) = next(&heard).await {
            for index in due {
                let status = self.status(&units[index]).await?;
                if let Some(status) = &status {
                    lock(&heard).objects[index][1] = object(&status.id);
                }
                tell(index, status);
            }
        }
        Ok(())
    }
}

/// Those of which something has changed, once there are any; nothing if systemd is gone.
async fn next(heard: &Shared) -> Option<BTreeSet<usize>> {
    poll_fn(|context| {
        let mut heard = lock(heard);
        if heard.is_over {
            return Poll::Ready(None);
        }
        if heard.due.is_empty() {
            heard.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Some(std::mem::take(&mut heard.due)))
    })
    .await
}

async fn listen(mut stream: MessageStream, shared: Shared) {
    loop {
        let message = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await;
        let mut heard = lock(&shared);
        match message {
            Some(Ok(message)) => heard.take(&message),
            Some(Err(_)) | None => heard.is_over = true,
        }
        let is_over = heard.is_over;
        let waiting = (is_over || !heard.due.is_empty()).then(|| heard.waiting.take()).flatten();
        drop(heard);
        waiting.into_iter().for_each(Waker::wake);
        if is_over {
            return;
        }
    }
}

impl Heard {
    fn take(&mut self, message: &Message) {
        let header = message.header();
        let (Some(interface), Some(member)) = (header.interface(), header.member()) else { return };
        match (interface.as_str(), member.as_str()) {
            (PROPERTIES, "PropertiesChanged") => {
                let Some(path) = header.path().map(|path| path.as_str()) else { return };
                let of_it = |(_, names): &(usize, &[String; 2])| names.iter().any(|name| name == path);
                self.due.extend(self.objects.iter().enumerate().filter(of_it).map(|(index, _)| index));
            }
            // It says so twice: that it begins, and that it is done. The second is what counts, and the first does no harm.
            (MANAGER, "Reloading") => self.due.extend(0..self.objects.len()),
            _ => {}
        }
    }
}
