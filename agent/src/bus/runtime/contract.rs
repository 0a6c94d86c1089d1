//! The runtime as zbus wants it: `zbus::runtime::traits`, which says what each of these has to do.
//!
//! Decides what zbus is not given: connections of its own making but by a path, and programs. What it would do on another
//! thread is done on this one.

#![forbid(unsafe_code)]

use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use zbus::runtime::traits::{PollIo, Runtime as Contract, TaskHandle};
use zbus::runtime::{Interest, IoSource};

use super::{Boxed, Runtime, Waiting, lock};
use crate::sys::clock::{Moment, now};
use crate::sys::net;

impl Contract for Runtime {
    type RegisteredIoSource = Source;
    type Sleep = Sleep;
    type Task<T>
        = Task<T>
    where
        T: Send + 'static;

    fn register_io_source(&self, source: IoSource) -> io::Result<Source> {
        let name = {
            let mut state = lock(&self.0.state);
            let name = state.name();
            state.sources.insert(name, Waiting::default());
            name
        };
        let source = Source { runtime: self.clone(), name, source };
        self.0.poll.add(&source.source, name)?;
        Ok(source)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let name = lock(&self.0.state).name();
        Sleep { runtime: self.clone(), key: (now() + duration, name) }
    }

    fn spawn<T>(&self, _: &str, future: impl Future<Output = T> + Send + 'static) -> Task<T>
    where
        T: Send + 'static,
    {
        let result = Arc::new(Mutex::new((None, None::<Waker>)));
        let end = Arc::clone(&result);
        let task = async move {
            let value = future.await;
            let waker = {
                let mut end = lock(&end);
                end.0 = Some(value);
                end.1.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        let name = {
            let mut state = lock(&self.0.state);
            let name = state.name();
            if !state.is_over {
                state.tasks.insert(name, Box::pin(task));
            }
            name
        };
        lock(&self.0.woken.0).push_back(name);
        Task { runtime: self.clone(), name, result, detached: false }
    }

    async fn connect_tcp(&self, _: SocketAddr) -> io::Result<IoSource> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn connect_unix(&self, path: &Path) -> io::Result<IoSource> {
        net::connect_unix(path).map(|stream| IoSource::from(OwnedFd::from(stream)))
    }

    fn spawn_process(
        &self,
        _: Command,
        _: Stdio,
        _: Stdio,
        _: Stdio,
    ) -> io::Result<Pin<Box<dyn Future<Output = io::Result<ExitStatus>> + Send + 'static>>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// On this thread: the default would start another. What is asked for so is not asked for here.
    fn spawn_blocking<T>(&self, work: impl FnOnce() -> T + Send + 'static) -> Boxed<T>
    where
        T: Send + 'static,
    {
        Box::pin(ready(work()))
    }
}

/// A descriptor that is watched. Dropped, it no longer is.
pub struct Source {
    runtime: Runtime,
    name: u64,
    source: IoSource,
}

impl PollIo for Source {
    /// First tries, then waits: events are told once for each change (epoll(7)), and one may have been told already.
    fn poll_io<T>(
        &self,
        context: &mut Context<'_>,
        interest: Interest,
        mut operation: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => context.waker().wake_by_ref(),
            outcome => return Poll::Ready(outcome),
        }
        let mut state = lock(&self.runtime.0.state);
        let waiting = state.sources.entry(self.name).or_default();
        match interest {
            Interest::Writable => waiting.write = Some(context.waker().clone()),
            _ => waiting.read = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // An error would mean that it was never in the set.
        let _ = self.runtime.0.poll.remove(&self.source);
        let waiting = lock(&self.runtime.0.state).sources.remove(&self.name);
        drop(waiting);
    }
}

/// A wait. Dropped, it is over.
pub struct Sleep {
    runtime: Runtime,
    key: (Moment, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.key.0 <= now() {
            return Poll::Ready(());
        }
        let before = lock(&self.runtime.0.state).timers.insert(self.key, context.waker().clone());
        drop(before);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = lock(&self.runtime.0.state).timers.remove(&self.key);
        drop(waker);
    }
}

/// A task's end. Dropped, the task is cancelled.
pub struct Task<T> {
    runtime: Runtime,
    name: u64,
    result: Arc<Mutex<(Option<T>, Option<Waker>)>>,
    detached: bool,
}

impl<T: Send + 'static> TaskHandle<T> for Task<T> {
    fn detach(mut self) {
        self.detached = true;
    }
}

impl<T> Future for Task<T> {
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let mut result = lock(&self.result);
        match result.0.take() {
            Some(value) => Poll::Ready(Ok(value)),
            None => {
                result.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if self.detached {
            return;
        }
        let task = {
            let mut state = lock(&self.runtime.0.state);
            if state.polled == Some(self.name) {
                state.polled = None;
            }
            state.tasks.remove(&self.name)
        };
        drop(task);
    }
}
