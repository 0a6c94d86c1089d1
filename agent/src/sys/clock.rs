//! The clock: one monotonic time scale, read here and handed on as an argument.
//!
//! `CLOCK_BOOTTIME` and not `CLOCK_MONOTONIC`, because a gate's deadline goes on while a guest is suspended, and
//! because time since boot is what the report calls `uptime_ms` (clock_gettime(2)).

use std::time::Duration;

/// A moment, as the time since the machine was started.
pub type Moment = Duration;

/// Now.
pub fn now() -> Moment {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    Duration::from(time)
}

/// Now on the scale that service managers count in, `CLOCK_MONOTONIC`, in microseconds: it stands while a guest is suspended.
pub fn monotonic_us() -> u128 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("it is always there");
    Duration::from(time).as_micros()
}
