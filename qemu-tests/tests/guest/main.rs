//! The tests that only a real guest can be.
//!
//! Each trial is a sentence that must be true. `cargo test -p qemu-tests --test guest -- --list` shows them all,
//! and a part of a name runs those that have it. A failure comes with the guest's console and the
//! reports that the host saw; the time of every trial is printed at the end.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test runner talks to the terminal")]

mod aarch64;
mod analyze;
mod appliance;
mod apply;
mod boot;
mod cases;
mod client;
mod dbus;
mod debian;
mod demo;
mod deploy;
mod detect;
mod disk;
mod docs;
mod drives;
mod environment;
mod gates;
mod guestinfo;
mod harness;
mod hooks;
mod hazards;
mod hotplug;
mod image;
mod initramfs;
mod kubevirt;
mod libvirt;
mod life;
mod mounting;
mod openrc;
mod pass;
mod platform;
mod port;
mod power;
mod reporters;
mod selinux;
mod service;
mod stop;
mod transport;
mod units;
mod walk;
mod watch;

use libtest_mimic::{Arguments, Trial};
use qemu_tests::{Bench, Lab};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A test: it gets its own place and makes its guests there.
type Test = fn(&Bench<'_>) -> anyhow::Result<()>;

/// How long each trial took, its name, and what it measured.
type Times = Arc<Mutex<Vec<(Duration, &'static str, String)>>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A fifth of all time is waited for something that takes its time: one more than there are processors.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(processors + 1);
    // Listing needs no guest, so nothing has to be there for it.
    let lab = match arguments.list {
        true => None,
        false => match Lab::open() {
            Ok(lab) => Some(Arc::new(lab)),
            Err(error) => {
                eprintln!("cannot start guests: {error:#}");
                return ExitCode::FAILURE;
            }
        },
    };
    let times = Times::default();
    // The long ones first, so that none of them is left running alone at the end.
    let groups = [
        if is_long() { aarch64::TRIALS } else { &[] },
        if is_long() { initramfs::BOOTS } else { &[] },
        image::TRIALS,
        if is_long() { image::LONG_TRIALS } else { &[] },
        if is_long() { openrc::BOOTS } else { &[] },
        libvirt::TRIALS,
        deploy::TRIALS,
        detect::TRIALS,
        life::TRIALS,
        debian::TRIALS,
        selinux::TRIALS,
        service::TRIALS,
        dbus::TRIALS,
        kubevirt::TRIALS,
        mounting::TRIALS,
        demo::TRIALS,
        docs::TRIALS,
        hazards::TRIALS,
        apply::TRIALS,
        power::TRIALS,
        units::TRIALS,
        drives::TRIALS,
        reporters::TRIALS,
        watch::TRIALS,
        pass::TRIALS,
        platform::TRIALS,
        port::TRIALS,
        walk::TRIALS,
        client::TRIALS,
        transport::TRIALS,
        boot::TRIALS,
        hotplug::TRIALS,
        environment::TRIALS,
        gates::TRIALS,
        analyze::TRIALS,
        guestinfo::TRIALS,
        cases::TRIALS,
        harness::TRIALS,
        hooks::TRIALS,
        stop::TRIALS,
        initramfs::TRIALS,
    ];
    let obstacle = libvirt::obstacle().map(|it| format!("skipped: {it}"));
    let islands = libvirt::ISLANDS.iter().map(|(name, test)| {
        let trial = trial(name, *test, &lab, &times).with_ignored_flag(obstacle.is_some());
        trial.with_kind(obstacle.as_deref().unwrap_or_default())
    });
    let others = groups.concat().into_iter().map(|(name, test)| trial(name, test, &lab, &times));
    let trials = islands.chain(others).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);

    let mut times = std::mem::take(&mut *times.lock().expect("no trial panics while it adds its time"));
    times.sort();
    for (time, name, measured) in times.iter().rev() {
        let measured = if measured.is_empty() { String::new() } else { format!("  ({measured})") };
        println!("{:7.2} s  {name}{measured}", time.as_secs_f64());
    }
    conclusion.exit_code()
}

/// Whether there is time for everything (`make test-all`).
pub(crate) fn is_long() -> bool {
    std::env::var_os("OVF_TEST_LONG").is_some()
}

fn trial(name: &'static str, test: Test, lab: &Option<Arc<Lab>>, times: &Times) -> Trial {
    let (lab, times) = (lab.clone(), Arc::clone(times));
    Trial::test(name, move || {
        let bench = lab.as_ref().expect("trials run only where they are not just listed").bench()?;
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| test(&bench)));
        let entry = (begun.elapsed(), name, bench.measurements());
        times.lock().expect("no trial panics while it adds its time").push(entry);
        let failure = match result {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => format!("{error:#}"),
            // The panic's own message, with its line, has been printed already.
            Err(_) => "an assertion failed; its message is above".to_owned(),
        };
        Err(format!("{failure}{}", bench.evidence()).into())
    })
}
