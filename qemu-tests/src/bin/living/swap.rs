//! Discs that are swapped: when the kernel tells of it, and when the report comes.
//!
//! All moments are the host's. A listener in the guest says on the serial console that the kernel has told, which the host
//! receives within a fraction of a millisecond.

use crate::appliance::{self, document};
use crate::place::PATIENCE;
use crate::{Lines, median, say, wanted};
use anyhow::{Context, Result, ensure};
use qemu_tests::{Bench, Connect, Lab, Vm};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often the kernel looks at the drive, in milliseconds: as udev has it, and four times as often.
const PERIODS: [u64; 2] = [2000, 500];

/// Swaps a disc many times with each of the kernel's periods, and adds medians and the worst in microseconds.
pub(crate) fn measure(directory: &Path, lines: &mut Lines) -> Result<()> {
    let count = wanted("SWAPS", 20)?;
    let lab = Lab::open()?;
    for period in PERIODS {
        say(&format!("swapping the disc {count} times, the kernel looks every {period} ms"));
        let bench = lab.bench()?;
        swaps(&bench, directory, period, count, lines)?;
    }
    Ok(())
}

fn swaps(bench: &Bench<'_>, directory: &Path, period: u64, count: u32, lines: &mut Lines) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(&document(0))?), Connect::BeforeBoot)?;
    vm.put(&appliance::files(directory, "")?.and(appliance::program(directory, "uevents")?))?;
    // The agent leaves a drive alone that is looked at already.
    vm.run(&format!("echo {period} > /sys/block/sr0/events_poll_msecs"))?;
    vm.spawn("exec uevents sr0 > /dev/ttyS0")?;
    let mut console = 0;
    heard(&vm, &mut console, "uevents: listening", PATIENCE)
        .context("the listener in the guest does not start")?;
    vm.spawn("exec ovf-agent run > /run/agent.log 2>&1")?;
    vm.report(|report| report.stage == "ready", PATIENCE)?;

    let (mut told, mut reported, mut own) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=count {
        // Whatever the last swap has told of, and at another moment of the kernel's period each time: by the golden ratio they are
        // spread evenly, however many there are.
        let phase = (f64::from(number) * 0.618_034).fract();
        std::thread::sleep(Duration::from_millis(period).mul_f64(1.0 + phase));
        while heard(&vm, &mut console, "uevent: sr0", Duration::ZERO).is_some() {}
        let disc = bench.environment(&document(number))?;
        let begun = Instant::now();
        vm.change_disc(&disc)?;
        let generation = u64::from(number) + 1;
        let report = vm.report(|report| report.generation == generation, PATIENCE)?;
        let mut last = None;
        while let Some(at) =
            heard(&vm, &mut console, "uevent: sr0", Duration::ZERO).filter(|at| *at < report.at)
        {
            last = Some(at);
        }
        let last = last.context("the report came without a word from the kernel")?;
        ensure!(report.report.source == "iso:/dev/sr0", "the report is of {}", report.report.source);
        told.push((last - begun).as_micros() as u64);
        reported.push((report.at - begun).as_micros() as u64);
        own.push((report.at - last).as_micros() as u64);
        std::fs::remove_file(disc)?;
    }
    for (what, times) in [("told", &mut told), ("reported", &mut reported), ("own", &mut own)] {
        lines.add(&format!("{period}-{what}-median"), median(times));
        lines.add(&format!("{period}-{what}-worst"), times.last().copied().unwrap_or_default());
    }
    Ok(())
}

/// When the next of the console's lines that is `wanted` came; `None` where it does not come `within`.
fn heard(vm: &Vm, next: &mut usize, wanted: &str, within: Duration) -> Option<Instant> {
    let deadline = Instant::now() + within;
    loop {
        let line = vm.console.line(*next, deadline)?;
        *next += 1;
        if line.text.contains(wanted) {
            return Some(line.at);
        }
    }
}
