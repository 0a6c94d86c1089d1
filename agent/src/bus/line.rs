//! A connection to systemd, and what comes by it unasked: the ends of jobs, and changes of units.
//!
//! Decides which signals are kept, and for how long. All others, and without a broker every client gets them all, are
//! dropped as they come.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use futures_core::Stream;
use zbus::message::Type as Kind;
use zbus::runtime::traits::Runtime as _;
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant, connection};

use super::runtime::{Runtime, Task};
use super::socket::Peer;
use super::systemd::{MANAGER, PROPERTIES};
use crate::sys::net;

/// So many ends of jobs are remembered: at boot there are some hundred jobs, and each signal comes once.
const REMEMBERED: usize = 4096;

/// A connection, and what it told of jobs.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) connection: Connection,
    jobs: Arc<Mutex<Jobs>>,
    // Ends when the last line does.
    _listener: Arc<Task<()>>,
}

#[derive(Default)]
struct Jobs {
    ended: BTreeMap<u32, String>,
    waiting: Vec<Waker>,
    closed: bool,
}

/// Changes of one unit's properties, as they are told from now on.
pub struct Changes(MessageStream);

impl Line {
    /// Connects, and listens to what systemd tells of jobs.
    pub(super) async fn connect(socket: &Path, runtime: &Runtime) -> zbus::Result<Self> {
        let stream = net::connect_unix(socket)?;
        let peer = Peer::new(stream, runtime)?;
        let builder = connection::Builder::socket(peer).p2p().runtime(runtime.clone());
        let connection = builder.build().await?;
        let rule =
            MatchRule::builder().msg_type(Kind::Signal).interface(MANAGER).member("JobRemoved").build()?;
        let stream = MessageStream::for_match_rule(rule, &connection, None).await?;
        let jobs = Arc::<Mutex<Jobs>>::default();
        // A task of its own: what nobody takes out of the stream would keep the answers waiting behind it.
        let listener = runtime.spawn("ends of jobs", collect(stream, Arc::clone(&jobs)));
        Ok(Line { connection, jobs, _listener: Arc::new(listener) })
    }

    /// How a job ended, which may have been before; nothing if systemd is gone.
    pub(super) async fn end(&self, job: u32) -> Option<String> {
        poll_fn(|context| {
            let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(result) = jobs.ended.remove(&job) {
                return Poll::Ready(Some(result));
            }
            if jobs.closed {
                return Poll::Ready(None);
            }
            jobs.waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Changes {
    /// Those of the unit with this object.
    pub(super) async fn of(connection: &Connection, object: String) -> zbus::Result<Self> {
        let rule = MatchRule::builder()
            .msg_type(Kind::Signal)
            .interface(PROPERTIES)
            .member("PropertiesChanged")
            .path(object)
            .build()?;
        MessageStream::for_match_rule(rule, connection, None).await.map(Self)
    }

    /// What has changed since it was asked before, by property; later values replace earlier ones.
    pub async fn so_far(&mut self) -> BTreeMap<String, OwnedVariant> {
        let mut changed = BTreeMap::new();
        while let Some(message) = poll_fn(|context| match Pin::new(&mut self.0).poll_next(context) {
            Poll::Ready(message) => Poll::Ready(message),
            Poll::Pending => Poll::Ready(None),
        })
        .await
        {
            type Body = (String, BTreeMap<String, OwnedVariant>, Vec<String>);
            if let Ok((_, properties, _)) = message.and_then(|message| message.body().deserialize::<Body>()) {
                changed.extend(properties);
            }
        }
        changed
    }
}

/// Remembers the ends of all jobs, since that of ours may come before the answer that has its number.
async fn collect(mut stream: MessageStream, jobs: Arc<Mutex<Jobs>>) {
    loop {
        let message = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await;
        type Body = (u32, OwnedObjectPath, String, String);
        let mut jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match message {
            Some(Ok(message)) => {
                if let Ok((id, _, _, result)) = message.body().deserialize::<Body>() {
                    jobs.ended.insert(id, result);
                    while jobs.ended.len() > REMEMBERED {
                        jobs.ended.pop_first();
                    }
                }
            }
            Some(Err(_)) | None => jobs.closed = true,
        }
        let (waiting, closed) = (std::mem::take(&mut jobs.waiting), jobs.closed);
        drop(jobs);
        waiting.into_iter().for_each(Waker::wake);
        if closed {
            return;
        }
    }
}
