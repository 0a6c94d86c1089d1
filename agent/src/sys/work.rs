//! Work in a child process that a loop waits for among everything else.
//!
//! For what may hang in the kernel where nobody can say for how long: the open and the reads of a drive. How the child is
//! made and bounded is decided in [`fork`](super::fork); here, how its answer is taken without waiting, and what becomes of a
//! child that the kernel does not let go of: SIGKILL has no effect before the drive answers or its command times out, so
//! nobody waits for it, and a descriptor tells when it has gone (pidfd_open(2), Linux 5.3).
//!
//! What a child has open stays open as long as it lives, whatever becomes of us, and stays in our poll set. So it first
//! lets go of everything that the loop has opened (a port that nobody else may have, the connections of others), and the
//! loop goes on only then.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, read, write};
use zeroize::Zeroizing;

use super::fork;
use super::program::pidfd_open;

/// What came of the work.
pub enum Answer {
    /// The bytes that it made. They may be secret, so there is no Debug.
    Bytes(Zeroizing<Vec<u8>>),
    /// The child ended without them, or they were more than are taken.
    Nothing,
}

/// Work under way. Dropped, it is ended and not waited for.
pub struct Work {
    child: Child,
    pipe: OwnedFd,
    limit: u64,
    length: Vec<u8>,
    bytes: Option<Zeroizing<Vec<u8>>>,
    filled: usize,
}

/// A child that has nothing more to say.
#[derive(Debug)]
pub struct Leaving(Child);

#[derive(Debug)]
struct Child {
    pid: Pid,
    ended: OwnedFd,
    gone: bool,
}

/// The child's word that it has let go of the loop's descriptors.
const SETTLED: [u8; 1] = [b'.'];
/// The length of the answer, in front of it.
const LENGTH: usize = size_of::<u64>();

impl Work {
    /// Begins with it, for an answer of at most `limit` bytes. `first` is the first descriptor that the loop has opened.
    ///
    /// # Errors
    /// There can be no further process, or no more descriptors.
    pub fn begin(first: impl AsFd, limit: u64, work: impl FnOnce() -> Vec<u8>) -> io::Result<Self> {
        let first = first.as_fd().as_raw_fd();
        let settle = |pipe: &OwnedFd| {
            close_from(first, pipe.as_raw_fd());
            write(pipe, &SETTLED).map(drop)
        };
        let (pid, pipe) = fork::start(settle, work)?;
        let ended = pidfd_open(pid.as_raw().unsigned_abs()).inspect_err(|_| {
            // Nothing could tell us of its end. It has done nothing yet that could keep it.
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        })?;
        let child = Child { pid, ended, gone: false };
        // A child that is gone instead is found out by the first step.
        while read(&pipe, &mut [0]) == Err(Errno::EINTR) {}
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { child, pipe, limit, length: Vec::with_capacity(LENGTH), bytes: None, filled: 0 })
    }

    /// What turns readable when [`Self::step`] has something to do.
    pub fn answer(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// What turns readable when the child has ended.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.child.ended.as_fd()
    }

    /// Takes what there is of the answer; all of it, once it has come.
    pub fn step(&mut self) -> Option<Answer> {
        while self.length.len() < LENGTH {
            let mut part = [0; LENGTH];
            let missing = LENGTH - self.length.len();
            match self.take(&mut part[..missing]) {
                Ok(count) if count > 0 => self.length.extend_from_slice(&part[..count]),
                Err(Errno::EAGAIN) => return None,
                _ => return Some(Answer::Nothing),
            }
        }
        let bytes = match self.bytes.take() {
            Some(bytes) => bytes,
            None => {
                let length = u64::from_ne_bytes(self.length[..].try_into().ok()?);
                if length > self.limit {
                    return Some(Answer::Nothing);
                }
                // In one piece: a buffer that grows would leave copies behind.
                Zeroizing::new(vec![0; length as usize])
            }
        };
        self.fill(bytes)
    }

    fn fill(&mut self, mut bytes: Zeroizing<Vec<u8>>) -> Option<Answer> {
        while self.filled < bytes.len() {
            match self.take(&mut bytes[self.filled..]) {
                Ok(count) if count > 0 => self.filled += count,
                Err(Errno::EAGAIN) => {
                    self.bytes = Some(bytes);
                    return None;
                }
                _ => return Some(Answer::Nothing),
            }
        }
        Some(Answer::Bytes(bytes))
    }

    fn take(&self, buffer: &mut [u8]) -> nix::Result<usize> {
        loop {
            match read(&self.pipe, buffer) {
                Err(Errno::EINTR) => {}
                result => return result,
            }
        }
    }

    /// Ends the child, answer or not.
    pub fn end(self) -> Leaving {
        self.child.end();
        Leaving(self.child)
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Work({:?}, {} bytes so far)", self.child, self.filled)
    }
}

impl Leaving {
    /// Whether it has gone, and nothing of it is left. Its descriptor tells when to ask.
    pub fn has_gone(&mut self) -> bool {
        self.0.reap();
        self.0.gone
    }
}

impl Child {
    fn end(&self) {
        // Not waited for yet, so the number is still this child's.
        if !self.gone {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
    }

    fn reap(&mut self) {
        if !self.gone {
            let status = waitpid(self.pid, Some(WaitPidFlag::WNOHANG));
            self.gone = !matches!(status, Ok(WaitStatus::StillAlive) | Err(Errno::EINTR));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
        self.reap();
    }
}

/// Closes every descriptor from `first` on but `kept`. A kernel that cannot (before Linux 5.9) leaves them open: all of it
/// is a precaution for a child that never ends.
fn close_from(first: i32, kept: i32) {
    let close = |from: i32, to: u32| {
        let (from, to) = (from as libc::c_ulong, to as libc::c_ulong);
        // SAFETY: the numbers are descriptors of the child, which ends by _exit(2) and drops nothing that owns one.
        unsafe { libc::syscall(libc::SYS_close_range, from, to, 0 as libc::c_ulong) };
    };
    if first < kept {
        close(first, (kept - 1) as u32);
    }
    close(first.max(kept + 1), u32::MAX);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::libc;
    use nix::unistd::pipe;

    use super::super::clock;
    use super::super::poll::{Poll, wait_for};
    use super::{Answer, Work};

    const LIMIT: u64 = 1 << 20;
    const SOON: Duration = Duration::from_secs(20);

    /// Begins as the loop does: its poll set is its first descriptor.
    fn begin(poll: &Poll, work: impl FnOnce() -> Vec<u8>) -> Work {
        Work::begin(poll, LIMIT, work).expect("a child")
    }

    fn show(mut work: Work) -> String {
        let deadline = clock::now() + SOON;
        let answer = loop {
            if let Some(answer) = work.step() {
                break answer;
            }
            assert!(clock::now() < deadline, "no answer in time");
            wait_for(work.answer(), Some(SOON)).expect("a wait");
        };
        let said = match answer {
            Answer::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Answer::Nothing => "nothing".to_owned(),
        };
        let mut leaving = work.end();
        while !leaving.has_gone() {
            assert!(clock::now() < deadline, "it does not go");
            wait_for(&leaving.0.ended, Some(SOON)).expect("a wait");
        }
        said
    }

    fn hang() -> Vec<u8> {
        loop {
            // SAFETY: pause(2) takes nothing and waits for a signal.
            unsafe { libc::pause() };
        }
    }

    #[test]
    fn an_answer_comes_whole_or_not_at_all() {
        type Make = fn() -> Vec<u8>;
        let table: [(&str, Make, &str); 5] = [
            ("nothing to say", Vec::new, "0 bytes"),
            ("more than a pipe holds", || vec![7; LIMIT as usize], "1048576 bytes"),
            ("one byte too many", || vec![7; LIMIT as usize + 1], "nothing"),
            (
                "killed",
                || {
                    // SAFETY: raise(3) takes a number; it is the child that gets the signal.
                    unsafe { libc::raise(libc::SIGKILL) };
                    Vec::new()
                },
                "nothing",
            ),
            ("a panic", || std::panic::resume_unwind(Box::new(())), "nothing"),
        ];
        let poll = Poll::new().expect("a poll set");
        for (name, work, want) in table {
            assert_eq!(show(begin(&poll, work)), want, "{name}");
        }
    }

    #[test]
    fn a_child_that_hangs_keeps_nobody_waiting_and_holds_nothing_of_the_loop() {
        let poll = Poll::new().expect("a poll set");
        let (ours, theirs) = pipe().expect("a pipe");
        let mut work = begin(&poll, hang);
        assert!(work.step().is_none());
        // Its copy of the other end is closed, so ours is the last.
        drop(theirs);
        assert_eq!(nix::unistd::read(&ours, &mut [0]), Ok(0), "nobody else has it open");
        let begun = clock::now();
        drop(work);
        assert!(clock::now() - begun < SOON);
    }
}
