//! `bench-parse DOCUMENT [RUNS]`: what it costs to parse an environment document.
//!
//! Without RUNS it reads the document and parses it once, as a process to be set beside other parsers'. With RUNS it
//! prints the document's bytes, the nanoseconds of processor time that one parse takes (median of RUNS), and the most
//! memory that was in use during one, the document included, in bytes.
//!
//! Uses the agent's allocator and is built with its profile, so that this is the code that ships. Does not know
//! budgets, and does not measure the wiping of an environment that is dropped.

use std::alloc::{GlobalAlloc, Layout};
use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use nix::time::{ClockId, clock_gettime};
use ovf_agent::environment::parse;
use ovf_agent::sys::allocator::Allocator;

/// Bytes that are parsed between two looks at the clock, in as many parses as it takes.
const SAMPLE: usize = 1 << 20;

/// Bytes in use, and their maximum. There is one thread: no need to pay for more.
static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The agent's allocator, counted as it hands memory out: with its header, in steps of 16, 32 at least. A buffer that
/// grows counts twice while it does, although a big one only moves its pages.
struct Counted;

static HEAP: Allocator = Allocator::new();

#[global_allocator]
static ALLOCATOR: Counted = Counted;

impl Counted {
    fn taken(layout: Layout) -> usize {
        (layout.size() + size_of::<usize>()).next_multiple_of(16).max(32)
    }
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: every call is passed on unchanged to an allocator that keeps the trait's promises.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.load(Relaxed) + Self::taken(layout);
        USED.store(used, Relaxed);
        PEAK.store(used.max(PEAK.load(Relaxed)), Relaxed);
        // SAFETY: as above.
        unsafe { HEAP.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.store(USED.load(Relaxed) - Self::taken(layout), Relaxed);
        // SAFETY: as above.
        unsafe { HEAP.dealloc(pointer, layout) }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: bench-parse DOCUMENT [RUNS]";
    let mut arguments = std::env::args_os().skip(1);
    let path = PathBuf::from(arguments.next().ok_or(usage)?);
    let runs =
        arguments.next().map(|runs| runs.to_str().and_then(|it| it.parse::<usize>().ok()).ok_or(usage));
    let runs = runs.transpose()?;

    let document = read(&path)?;
    let Some(runs) = runs.filter(|runs| *runs > 0) else {
        parse(&document)?;
        return Ok(());
    };

    let before = USED.load(Relaxed);
    PEAK.store(before, Relaxed);
    let kept = parse(&document)?;
    let memory = document.len() + PEAK.load(Relaxed) - before;
    drop(kept);

    let times = SAMPLE.div_ceil(document.len().max(1));
    let mut samples = Vec::with_capacity(runs);
    for _ in 0..runs {
        let mut kept = Vec::with_capacity(times);
        let start = processor_time()?;
        for _ in 0..times {
            kept.push(parse(black_box(&document)));
        }
        samples.push((processor_time()? - start) / i64::try_from(times)?);
    }
    samples.sort_unstable();
    report(document.len(), samples[runs / 2], memory);
    Ok(())
}

fn read(path: &PathBuf) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?)
}

/// Nanoseconds of user and system time of this process.
fn processor_time() -> nix::Result<i64> {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn report(bytes: usize, nanoseconds: i64, memory: usize) {
    println!("{bytes} {nanoseconds} {memory}");
}
