//! What zbus runs on: tasks, timers and descriptors, all polled by the one thread that asks for it.
//!
//! Decides which task is polled when: one that was woken, in the order of the waking, and nothing else. It never waits:
//! whoever drives it waits for [`Runtime`]'s descriptor and for [`Runtime::next`], and then calls [`Runtime::step`]. The
//! descriptor is an epoll set, which can itself be in the loop's epoll set (epoll(7)), so the loop needs one token however
//! many descriptors there are. What zbus is handed is in [`contract`].
//!
//! zbus may call from any thread, hence the locks. There is one thread here, and none of them is held while a task runs,
//! wakes or is dropped, since each of these may come back in.

#![forbid(unsafe_code)]

mod contract;

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use zbus::runtime::traits::{PollIo, Runtime as Contract};
use zbus::runtime::{Interest, IoSource};

use crate::sys::clock::{Moment, now};
use crate::sys::poll;

pub(super) use contract::{Source, Task};

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
    /// Whether no task is taken any more.
    is_over: bool,
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
        let cancelled = state.polled.take().is_none() || state.is_over;
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

    /// Waits for the descriptor or the next timer, whichever is first.
    pub(super) fn wait(&self) -> io::Result<()> {
        poll::wait_for(self, self.next().map(|next| next.saturating_sub(now())))
    }

    /// Ends every task, and takes no further one: a connection of zbus's that is dropped begins some, which would hold it for
    /// ever, as all tasks hold what holds them.
    pub(super) fn shut_down(&self) {
        let tasks = {
            let mut state = lock(&self.0.state);
            state.is_over = true;
            std::mem::take(&mut state.tasks)
        };
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
