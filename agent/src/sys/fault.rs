//! A process that dies at a chosen step, and a disk that is not flushed: for tests of what an interrupted pass leaves.
//!
//! Every call that changes a file system is a *step*, and says so here before it is made. `OVF_AGENT_FAULT=kill:N` kills
//! the process (SIGKILL, as a power cut would) before step N; `OVF_AGENT_FAULT=nosync` leaves out every flush, and
//! what hastens it, which is the control of the tests with power cuts: they must notice. Of all this a release has nothing
//! (`packaging/static/verify` looks for the name): no root daemon reads an environment variable to hurt itself.

/// The variable; also what tells a binary with faults from one without.
#[cfg(debug_assertions)]
const VARIABLE: &str = "OVF_AGENT_FAULT";

/// A call that changes a file system is about to be made.
#[cfg(debug_assertions)]
pub(super) fn step() {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    static KILL_AT: OnceLock<Option<u64>> = OnceLock::new();
    static STEPS: AtomicU64 = AtomicU64::new(0);
    let kill_at = KILL_AT.get_or_init(|| std::env::var(VARIABLE).ok()?.strip_prefix("kill:")?.parse().ok());
    if *kill_at == Some(STEPS.fetch_add(1, Relaxed) + 1) {
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::SIGKILL);
    }
}

/// Whether flushes are left out.
#[cfg(debug_assertions)]
pub(super) fn no_flush() -> bool {
    use std::sync::OnceLock;

    static NO_FLUSH: OnceLock<bool> = OnceLock::new();
    *NO_FLUSH.get_or_init(|| std::env::var(VARIABLE).is_ok_and(|value| value == "nosync"))
}

/// A call that changes a file system is about to be made.
#[cfg(not(debug_assertions))]
pub(super) fn step() {}

/// Whether flushes are left out.
#[cfg(not(debug_assertions))]
pub(super) fn no_flush() -> bool {
    false
}
