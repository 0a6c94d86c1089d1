//! Gives the same broken images to several readers of ISO 9660, and counts what becomes of them.
//!
//! Decides what is counted: the document found, byte for byte; panics; hangs (it reads the image over and over, or
//! gives no answer in ten seconds); processes that ended without an answer; the most memory at once, the image not
//! counted. Each reader runs in processes of its own, with a limit to their memory, so that one that falls is started
//! again behind what it fell over. Which images there are is decided in `hostile`.
//!
//! `iso-readers [MUTANTS]` prints the tables; `iso-readers worker ...` is what it starts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use hostile::{SEED, bases, images};
use nix::sys::resource::{Resource, setrlimit};
use readers::{Endless, Outcome, READERS};

mod readers;

/// A reader that wants more than this ends without an answer.
const ADDRESS_SPACE: u64 = 4 << 30;
/// Into how many pieces the work of a reader is cut, so that none is kept waiting by a slow one.
const PIECES: u64 = 16;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [word, reader, from, to] if word == "worker" => {
            worker(number(reader) as usize, number(from), number(to))
        }
        [] => tables(100_000),
        [mutants] => tables(number(mutants)),
        _ => Err(io::Error::other("usage: iso-readers [MUTANTS]")),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Counts the bytes that this thread has, and had at most.
struct Counting;

// SAFETY: every call is passed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.get().wrapping_add(layout.size());
        LIVE.set(live);
        PEAK.set(PEAK.get().max(live));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().wrapping_sub(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads the mutants of these numbers; a line for each: what became of it, the bytes it took, where it panicked.
fn worker(reader: usize, from: u64, to: u64) -> io::Result<()> {
    let bases: Vec<_> = bases::images()?.into_iter().map(|base| base.bytes).collect();
    setrlimit(Resource::RLIMIT_AS, ADDRESS_SPACE, ADDRESS_SPACE)?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |at| {
            let file = at.file().rsplit_once("/src/").map_or(at.file(), |(_, file)| file);
            format!("{file}:{}", at.line())
        });
        PLACE.set(place);
    }));
    let read = READERS[reader].1;
    let mut out = io::stdout().lock();
    for number in from..to {
        let image = images::mutant(&bases, SEED, number);
        let before = LIVE.get();
        PEAK.set(before);
        readers::begin();
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&image)));
        let (word, place) = match &outcome {
            Ok(Outcome::File(_, bytes)) if bytes == bases::DOCUMENT => ("found", String::new()),
            Ok(Outcome::File(..)) => ("other", String::new()),
            Ok(Outcome::Nothing) => ("nothing", String::new()),
            Ok(Outcome::Refused) => ("refused", String::new()),
            Err(thrown) if thrown.is::<Endless>() => ("hang", String::new()),
            Err(_) => ("panic", PLACE.take()),
        };
        writeln!(out, "{word} {} {place}", PEAK.get().saturating_sub(before))?;
        out.flush()?;
    }
    Ok(())
}

#[derive(Default)]
struct Score {
    words: BTreeMap<String, u64>,
    places: BTreeMap<String, u64>,
    most: u64,
}

impl Score {
    fn of(&self, word: &str) -> u64 {
        self.words.get(word).copied().unwrap_or_default()
    }

    fn add(&mut self, other: Self) {
        for (word, count) in other.words {
            *self.words.entry(word).or_default() += count;
        }
        for (place, count) in other.places {
            *self.places.entry(place).or_default() += count;
        }
        self.most = self.most.max(other.most);
    }

    fn note(&mut self, line: &str) {
        let mut parts = line.splitn(3, ' ');
        let word = parts.next().unwrap_or_default();
        *self.words.entry(word.to_owned()).or_default() += 1;
        self.most = self.most.max(parts.next().map_or(0, number));
        if word == "panic" {
            *self.places.entry(parts.next().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
}

/// Lets a reader read the mutants of these numbers.
fn score(reader: usize, from: u64, to: u64) -> io::Result<Score> {
    let mut score = Score::default();
    let mut next = from;
    while next < to {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["worker", &reader.to_string(), &next.to_string(), &to.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (tell, told) = mpsc::channel();
        let lines =
            thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let start = next;
        let fate = loop {
            match told.recv_timeout(PATIENCE) {
                Ok(line) => {
                    score.note(&line);
                    next += 1;
                }
                Err(RecvTimeoutError::Timeout) => break "hang",
                Err(RecvTimeoutError::Disconnected) => break "ended",
            }
        };
        child.kill()?;
        let status = child.wait()?;
        let _ = lines.join();
        if next < to {
            if next == start && fate == "ended" && status.code().is_some() {
                return Err(io::Error::other(format!("a worker ends at once: {status}")));
            }
            *score.words.entry(fate.to_owned()).or_default() += 1;
            next += 1;
        }
    }
    Ok(score)
}

/// Lets all readers read all mutants, on all processors.
fn all_scores(mutants: u64) -> io::Result<Vec<Score>> {
    let piece = mutants.div_ceil(PIECES).max(1);
    let jobs: Vec<(usize, u64)> = (0..READERS.len())
        .flat_map(|it| (0..mutants).step_by(piece as usize).map(move |from| (it, from)))
        .collect();
    let scores = Mutex::new(READERS.map(|_| Score::default()));
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<()> {
        while let Some(&(reader, from)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let part = score(reader, from, (from + piece).min(mutants))?;
            scores.lock().expect("no panic")[reader].add(part);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..thread::available_parallelism().map_or(1, usize::from)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|it| it.join().expect("no panic"))
    })?;
    Ok(scores.into_inner().expect("no panic").into())
}

fn tables(mutants: u64) -> io::Result<()> {
    println!("The name under which each reader shows the document:\n");
    print!("{:<18}", "variant");
    READERS.iter().for_each(|(name, _)| print!(" {name:<22}"));
    println!();
    for base in bases::images()? {
        print!("{:<18}", base.name);
        for (_, read) in READERS {
            readers::begin();
            let name = match read(&base.bytes) {
                Outcome::File(name, bytes) if bytes == bases::DOCUMENT => name,
                Outcome::File(..) => "other bytes".to_owned(),
                Outcome::Nothing => "-".to_owned(),
                Outcome::Refused => "refused".to_owned(),
            };
            print!(" {name:<22}");
        }
        println!();
    }

    let scores = all_scores(mutants)?;
    println!("\nWhat becomes of {mutants} mutants (seed {SEED:#x}):\n");
    println!(
        "{:<22} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>12}",
        "reader", "found", "other", "nothing", "refused", "panics", "hangs", "ended", "memory, KiB"
    );
    for ((name, _), score) in READERS.iter().zip(&scores) {
        print!("{name:<22}");
        for word in ["found", "other", "nothing", "refused", "panic", "hang", "ended"] {
            print!(" {:>8}", score.of(word));
        }
        println!(" {:>12}", score.most / 1024);
    }
    for ((name, _), score) in READERS.iter().zip(&scores).filter(|(_, score)| !score.places.is_empty()) {
        println!("\n{name} panics at");
        let mut places: Vec<_> = score.places.iter().collect();
        places.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (place, count) in places.iter().take(5) {
            println!("{count:>8}  {place}");
        }
    }
    Ok(())
}
