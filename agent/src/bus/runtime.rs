//! What zbus runs on: tasks, timers and descriptors, all polled by the one thread that asks for it.
//!
//! Decides which task is polled when: one that was woken, in the order of the waking, and nothing else. It never waits:
//! whoever drives it waits for [`Runtime`]'s descriptor and for [`Runtime::next`], and then calls [`Runtime::step`]. The
//! descriptor is an epoll set, which can itself be in the loop's epoll set (epoll(7)), so the loop needs one token however
//! many descriptors there are. The contract is that of `zbus::runtime::traits`.
//!
//! zbus may call from any thread, hence the locks. There is one thread here, and none of them is held while a task runs,
//! wakes or is dropped, since each of these may come back in.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn, ready};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use zbus::runtime::traits::{PollIo, Runtime as Contract, TaskHandle};
use zbus::runtime::{Interest, IoSource};

use crate::sys::clock::{Moment, now};
use crate::sys::{net, poll};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Tasks, timers and descriptors. Clones are the same one.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    poll: poll::Poll,
    state: Mutex<State>,
    woken: Arc<Woken>,
}

/// The tasks to poll. Apart from the rest, so that a wake needs no other lock.
#[derive(Default)]
struct Woken(Mutex<VecDeque<u64>>);

#[derive(Default)]
struct State {
    /// What the next task, timer or descriptor is called.
    next: u64,
    /// Those that are not being polled just now.
    tasks: BTreeMap<u64, Boxed<()>>,
    /// The task that is being polled, until it is cancelled.
    polled: Option<u64>,
    sources: BTreeMap<u64, Waiting>,
    timers: BTreeMap<(Moment, u64), Waker>,
}

/// Who waits for a descriptor.
#[derive(Default)]
struct Waiting {
    read: Option<Waker>,
    write: Option<Waker>,
}

impl State {
    fn name(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runtime {
    /// One without any task.
    ///
    /// # Errors
    /// The kernel has no more descriptors for us.
    pub fn new() -> io::Result<Self> {
        let (state, woken) = Default::default();
        Ok(Self(Arc::new(Shared { poll: poll::Poll::new()?, state, woken })))
    }

    /// Does all that can be done now.
    ///
    /// # Errors
    /// Never in practice.
    pub fn step(&self) -> io::Result<()> {
        loop {
            let ready = self.0.poll.wait(Some(Duration::ZERO))?;
            let mut wakers = Vec::new();
            {
                let mut state = lock(&self.0.state);
                for event in ready {
                    let Some(waiting) = state.sources.get_mut(&event.token) else { continue };
                    if event.readable || event.hangup {
                        wakers.extend(waiting.read.take());
                    }
                    if event.writable || event.hangup {
                        wakers.extend(waiting.write.take());
                    }
                }
                let now = now();
                while let Some(timer) = state.timers.first_entry().filter(|timer| timer.key().0 <= now) {
                    wakers.push(timer.remove());
                }
            }
            wakers.into_iter().for_each(Waker::wake);
            // Those that are woken now; whom they wake comes after the descriptors have been looked at again.
            let woken = std::mem::take(&mut *lock(&self.0.woken.0));
            if woken.is_empty() {
                return Ok(());
            }
            woken.into_iter().for_each(|task| self.poll_task(task));
        }
    }

    fn poll_task(&self, name: u64) {
        let mut task = {
            let mut state = lock(&self.0.state);
            // One that has ended or was cancelled.
            let Some(task) = state.tasks.remove(&name) else { return };
            state.polled = Some(name);
            task
        };
        let waker = Waker::from(Arc::new(TaskWaker { name, woken: Arc::clone(&self.0.woken) }));
        let pending = task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        let mut state = lock(&self.0.state);
        let cancelled = state.polled.take().is_none();
        if pending && !cancelled {
            state.tasks.insert(name, task);
        } else {
            drop(state);
            drop(task);
        }
    }

    /// When [`Self::step`] has something to do again although the descriptor is not ready.
    pub fn next(&self) -> Option<Moment> {
        if !lock(&self.0.woken.0).is_empty() {
            return Some(Moment::ZERO);
        }
        lock(&self.0.state).timers.first_key_value().map(|((moment, _), _)| *moment)
    }

    /// Waits for the descriptor, the next timer or `until`, whichever is first.
    pub(super) fn wait(&self, until: Moment) -> io::Result<()> {
        let until = self.next().map_or(until, |next| next.min(until));
        poll::wait_for(self, until.saturating_sub(now()))
    }

    /// Ends every task. They hold what holds them, so they would never end by themselves.
    pub(super) fn shut_down(&self) {
        let tasks = std::mem::take(&mut lock(&self.0.state).tasks);
        drop(tasks);
    }

    /// What `future` comes to, or nothing if `time` is over first.
    pub async fn within<T>(&self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut sleep = self.sleep(time);
        poll_fn(|context| {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                return Poll::Ready(Some(value));
            }
            Pin::new(&mut sleep).poll(context).map(|()| None)
        })
        .await
    }

    /// What `operation` comes to, tried at once and whenever `fd` has turned readable, until it does not say
    /// [`io::ErrorKind::WouldBlock`].
    pub(crate) async fn when_readable<T>(
        &self,
        fd: OwnedFd,
        mut operation: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        let source = self.register_io_source(IoSource::from(fd))?;
        poll_fn(|context| source.poll_io(context, Interest::Readable, &mut operation)).await
    }
}

impl AsFd for Runtime {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.poll.as_fd()
    }
}

struct TaskWaker {
    name: u64,
    woken: Arc<Woken>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut woken = lock(&self.woken.0);
        if !woken.contains(&self.name) {
            woken.push_back(self.name);
        }
    }
}

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
            state.tasks.insert(name, Box::pin(task));
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

impl<T> Task<T> {
    /// What it came to, once it has ended.
    pub(super) fn take(&self) -> Option<T> {
        lock(&self.result).0.take()
    }
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
