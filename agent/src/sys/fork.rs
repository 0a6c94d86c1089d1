//! Work in a child process, of which we get bytes or learn how it ended.
//!
//! For what may kill or hang the process that does it: an instruction that the processor refuses, a host that does not
//! answer. [`work`](super::work) is the same for a loop that goes on meanwhile. The child is a copy of us that does the work, writes its answer into a pipe and is gone; whatever it did to
//! itself (port privileges, signal dispositions) is gone with it. It has a deadline, and is always waited for, so none
//! is left behind, neither running nor as a zombie.
//!
//! What a child of a process with threads may do is nearly nothing (fork(2)): a lock that another thread held would stay
//! locked in it. The agent has one thread, so its child may allocate. A panic in it aborts the child and not us.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, kill, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, pipe2, read, write};
use zeroize::Zeroizing;

use super::clock;

/// What came of the work.
pub(super) enum Outcome {
    /// The bytes it made. They may be secret, so there is no Debug.
    Bytes(Zeroizing<Vec<u8>>),
    /// More bytes than were allowed; none of them was taken.
    TooLarge(u64),
    /// It ended by this signal, without an answer.
    Signal(i32),
    /// It ended without an answer.
    Nothing,
    /// The deadline came first.
    Late,
}

/// The status by which the child tells that it got SIGSEGV: as a shell has it.
const FAULT: i32 = 128 + libc::SIGSEGV;

/// So much memory a child may write beyond what it has inherited: several times the largest answer.
const MEMORY: libc::rlim_t = 128 << 20;

/// Does `work` in a child, for an answer of at most `limit` bytes within `time`.
pub(super) fn in_child(limit: u64, time: Duration, work: impl FnOnce() -> Vec<u8>) -> io::Result<Outcome> {
    let deadline = clock::now() + time;
    let (child, pipe) = start(|_| Ok(()), work)?;
    receive(Child(child), &pipe, limit, deadline)
}

/// Starts a child that does `work`, and whose answer comes through the descriptor: its length in eight bytes, then that
/// many. `settle` comes before the work, with the child's end of the pipe; where it fails there is no work.
pub(super) fn start(
    settle: impl FnOnce(&OwnedFd) -> nix::Result<()>,
    work: impl FnOnce() -> Vec<u8>,
) -> io::Result<(Pid, OwnedFd)> {
    let (from_child, to_parent) = pipe2(OFlag::O_CLOEXEC)?;
    let parent = getpid();
    // Blocked across the fork, and in the child for good: no handler of ours may run there, and write into the
    // descriptors that we share of a signal that we did not get.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    // SAFETY: the agent has one thread (see the module), and the child ends within the next block.
    let forked = unsafe { fork() };
    if let Ok(ForkResult::Child) = forked {
        let _end = Leave;
        if prepare(parent).and_then(|()| settle(&to_parent)).is_ok() {
            send(&to_parent, &work());
        }
        leave(0);
    }
    before.thread_set_mask().expect("a mask that was in force can be set");
    match forked? {
        ForkResult::Parent { child } => Ok((child, from_child)),
        ForkResult::Child => unreachable!("the child has left"),
    }
}

/// Ends the child where a panic unwinds: it must never return into the parent's code.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        leave(0);
    }
}

/// Ends the process at once: no exit handlers, no buffers flushed, for they are the parent's.
fn leave(status: i32) -> ! {
    // SAFETY: _exit(2) takes a number and does not return.
    unsafe { libc::_exit(status) }
}

/// What the child does before the work, so that it ends with its parent, in silence and in bounds.
fn prepare(parent: Pid) -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        leave(0);
    }
    // No core file of what may hold a secret, and nobody else's look into it.
    prctl::set_dumpable(false)?;
    // A limit that is already lower stays: only the privileged may raise it.
    let (_, hard) = getrlimit(Resource::RLIMIT_DATA)?;
    setrlimit(Resource::RLIMIT_DATA, MEMORY.saturating_add(inherited()).min(hard), hard)?;
    // A handler, for the kernel logs a fault without one as if a program had crashed.
    let handler = SigAction::new(SigHandler::Handler(faulted), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only calls _exit(2), which is async-signal-safe (signal-safety(7)).
    unsafe { sigaction(Signal::SIGSEGV, &handler) }?;
    SigSet::from(Signal::SIGSEGV).thread_unblock()
}

/// The bytes that count against the limit already (proc_pid_statm(5): the sixth number, in pages).
fn inherited() -> libc::rlim_t {
    // SAFETY: sysconf(3) takes a number and gives one.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(5).and_then(|pages| pages.parse().ok());
    pages.map_or(0, |pages: libc::rlim_t| pages.saturating_mul(page.unsigned_abs()))
}

extern "C" fn faulted(_: i32) {
    leave(FAULT)
}

/// The child's side: the length, then the bytes. Nobody is told of a failure: a short answer is none.
fn send(pipe: &OwnedFd, bytes: &[u8]) {
    for part in [&(bytes.len() as u64).to_ne_bytes()[..], bytes] {
        let mut rest = part;
        while !rest.is_empty() {
            match write(pipe, rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }
}

/// The parent's side.
fn receive(child: Child, pipe: &OwnedFd, limit: u64, deadline: clock::Moment) -> io::Result<Outcome> {
    let mut length = [0_u8; 8];
    match fill(pipe, &mut length, deadline)? {
        Filled::Whole => {}
        Filled::Short => return Ok(child.ending()),
        Filled::Late => return Ok(Outcome::Late),
    }
    let length = u64::from_ne_bytes(length);
    if length > limit {
        return Ok(Outcome::TooLarge(length));
    }
    // In one piece: a buffer that grows would leave copies behind.
    let mut bytes = Zeroizing::new(vec![0; length as usize]);
    Ok(match fill(pipe, &mut bytes, deadline)? {
        Filled::Whole => Outcome::Bytes(bytes),
        Filled::Short => child.ending(),
        Filled::Late => Outcome::Late,
    })
}

enum Filled {
    Whole,
    Short,
    Late,
}

/// Reads until `buffer` is full, the other end is closed or the time is over.
fn fill(pipe: &OwnedFd, buffer: &mut [u8], deadline: clock::Moment) -> io::Result<Filled> {
    let mut filled = 0;
    while filled < buffer.len() {
        let left = deadline.saturating_sub(clock::now());
        // Rounded up, so that the last wait does not end before the deadline.
        let left = PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], left) {
            Ok(0) => return Ok(Filled::Late),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        match read(pipe, &mut buffer[filled..]) {
            Ok(0) => return Ok(Filled::Short),
            Ok(count) => filled += count,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(Filled::Whole)
}

/// A child that has not been waited for yet. When dropped it is ended and waited for.
struct Child(Pid);

impl Child {
    /// How a child ended that closed its pipe, which it does by ending.
    fn ending(self) -> Outcome {
        let status = wait(self.0);
        std::mem::forget(self);
        match status {
            Ok(WaitStatus::Signaled(_, signal, _)) => Outcome::Signal(signal as i32),
            Ok(WaitStatus::Exited(_, FAULT)) => Outcome::Signal(libc::SIGSEGV),
            _ => Outcome::Nothing,
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Not waited for yet, so the number is still this child's.
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = wait(self.0);
    }
}

fn wait(child: Pid) -> nix::Result<WaitStatus> {
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            status => return status,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::errno::Errno;
    use nix::libc;
    use nix::sys::wait::{WaitPidFlag, waitpid};
    use nix::unistd::Pid;

    use super::super::clock;
    use super::{Outcome, in_child};

    const LIMIT: u64 = 1 << 20;
    const SOON: Duration = Duration::from_secs(20);

    fn show(outcome: &Outcome) -> String {
        match outcome {
            Outcome::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Outcome::TooLarge(length) => format!("too large: {length}"),
            Outcome::Signal(signal) => format!("signal {signal}"),
            Outcome::Nothing => "nothing".to_owned(),
            Outcome::Late => "late".to_owned(),
        }
    }

    fn raise(signal: i32) -> Vec<u8> {
        // SAFETY: raise(3) takes a number; it is the child that gets the signal.
        unsafe { libc::raise(signal) };
        Vec::new()
    }

    fn more_than(bytes: usize) -> Vec<u8> {
        let taken = Vec::<u8>::new().try_reserve_exact(bytes);
        if taken.is_err() { b"not allowed".to_vec() } else { Vec::new() }
    }

    #[test]
    fn an_answer_arrives_whole_or_not_at_all() {
        // (what the child does, what is known of it)
        type Work = fn() -> Vec<u8>;
        let table: [(&str, Work, &str); 9] = [
            ("nothing to say", Vec::new, "0 bytes"),
            ("more than a pipe holds", || vec![7; LIMIT as usize], "1048576 bytes"),
            ("one byte too many", || vec![7; LIMIT as usize + 1], "too large: 1048577"),
            ("a fault", || raise(libc::SIGSEGV), "signal 11"),
            ("killed", || raise(libc::SIGKILL), "signal 9"),
            ("signals that we handle do not reach it", || raise(libc::SIGTERM), "0 bytes"),
            ("more memory than allowed", || more_than(1 << 30), "11 bytes"),
            ("it ends early", || super::leave(3), "nothing"),
            ("a panic", || std::panic::resume_unwind(Box::new(())), "nothing"),
        ];
        for (name, work, want) in table {
            let outcome = in_child(LIMIT, SOON, work).expect(name);
            assert_eq!(show(&outcome), want, "{name}");
        }
        let outcome = in_child(LIMIT, SOON, || b"abc".to_vec()).expect("a child");
        assert!(matches!(outcome, Outcome::Bytes(bytes) if bytes.as_slice() == b"abc"));
    }

    #[test]
    fn a_port_instruction_without_privilege_is_a_fault_of_the_child() {
        #[cfg(target_arch = "x86_64")]
        {
            // CMOS memory's index port: reading it changes nothing, wherever it should be allowed.
            let read = || {
                // SAFETY: without privilege the processor refuses this instruction; that is what is tried.
                unsafe { std::arch::asm!("in al, 0x70", out("al") _) };
                Vec::new()
            };
            let outcome = in_child(LIMIT, SOON, read).expect("a child");
            assert_eq!(show(&outcome), "signal 11");
        }
    }

    #[test]
    fn a_child_that_hangs_is_ended_at_the_deadline_and_leaves_no_zombie() {
        let mut child = 0;
        let begun = clock::now();
        let hang = || loop {
            // SAFETY: pause(2) takes nothing and waits for a signal.
            unsafe { libc::pause() };
        };
        let outcome = in_child(LIMIT, Duration::from_millis(50), hang).expect("a child");
        assert_eq!(show(&outcome), "late");
        assert!(clock::now() - begun < SOON, "it waited for {:?}", clock::now() - begun);

        // A child that tells its number before it hangs in the middle of its answer.
        let tell = || std::process::id().to_ne_bytes().to_vec();
        if let Outcome::Bytes(bytes) = in_child(LIMIT, SOON, tell).expect("a child") {
            child = i32::from_ne_bytes(bytes[..4].try_into().expect("four bytes"));
        }
        assert!(child > 0, "the child told its number");
        let waited = waitpid(Pid::from_raw(child), Some(WaitPidFlag::WNOHANG));
        assert_eq!(waited, Err(Errno::ECHILD), "it has been waited for");
    }
}
