//! 100,000 broken images and 100,000 broken documents, and broken properties, templates, values and packages: none may stop
//! the agent or the host, keep it, or fill its memory.
//!
//! Decides what harm is: a panic, ten seconds for one mutant, more than 64 MiB. Not timed otherwise. Which mutants there
//! are is decided in `hostile`. A mutant that does harm is written to target/hostile, and told by seed and number:
//! `OVF_MUTANT=NUMBER cargo test -p hostile` looks at that one alone.

#![expect(unsafe_code, reason = "a global allocator that counts")]
#![expect(clippy::print_stdout, reason = "a test says what it counted")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use hostile::drive::{Drive, Found};
use hostile::{SEED, bases, documents, images, packages, parameters, templates, texts};
use ovf_agent::environment::{self, parse};

const MUTANTS: u64 = 100_000;
/// Of what takes longer to look at, as many as take a few seconds.
const PROPERTIES: u64 = 30_000;
const TEMPLATES: u64 = 20_000;
const VALUES: u64 = 10_000;
/// Live bytes at once, the input not counted.
const MEMORY: usize = 64 << 20;
/// For one mutant, on any machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Counts the bytes that this thread has and had at most. Growing counts as both the old and the new piece.
struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

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

/// Shown to the watchdog: the number of the mutant that is being looked at, and since when.
struct Watch {
    number: AtomicU64,
    since: Mutex<Instant>,
}

/// Looks at every mutant; says how often what came of it, and the most memory.
fn all<T: Debug>(
    kind: &'static str,
    count: u64,
    mutant: impl Fn(u64) -> Vec<u8> + Sync,
    mut look: impl FnMut(&[u8]) -> T,
    word: impl Fn(&T) -> &'static str,
) -> BTreeMap<&'static str, u64> {
    let only = std::env::var("OVF_MUTANT").ok().map(|text| text.parse().expect("OVF_MUTANT is a number"));
    let range = only.map_or(0..count, |number| number..number + 1);
    let watch = Watch { number: AtomicU64::new(u64::MAX), since: Mutex::new(Instant::now()) };
    let mut words = BTreeMap::new();
    let (mut most, mut which) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| watchdog(kind, &watch, &mutant));
        for number in range {
            let input = mutant(number);
            *watch.since.lock().expect("nothing panics with it") = Instant::now();
            watch.number.store(number, Ordering::SeqCst);
            let before = LIVE.get();
            PEAK.set(before);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let outcome = look(&input);
                // What is logged must be harmless to format, too.
                let shown = format!("{outcome:?}").len();
                (outcome, shown)
            }));
            let used = PEAK.get() - before;
            match outcome {
                Ok((outcome, _)) => *words.entry(word(&outcome)).or_default() += 1,
                Err(panic) => harm(kind, number, &input, &format!("panics: {}", message(&*panic))),
            }
            if used > MEMORY {
                harm(kind, number, &input, &format!("needs {used} bytes, more than {MEMORY}"));
            }
            if used > most {
                (most, which) = (used, number);
            }
        }
        watch.number.store(DONE, Ordering::SeqCst);
    });
    println!("{kind}: {words:?}; at most {} KiB, for number {which}", most / 1024);
    if only.is_some() {
        words.clear();
    }
    words
}

const DONE: u64 = u64::MAX - 1;

/// Ends the tests when one mutant takes too long: a thread that hangs cannot be ended alone.
fn watchdog(kind: &str, watch: &Watch, mutant: &impl Fn(u64) -> Vec<u8>) {
    loop {
        thread::sleep(Duration::from_millis(100));
        let number = watch.number.load(Ordering::SeqCst);
        if number == DONE {
            return;
        }
        let waited = watch.since.lock().expect("nothing panics with it").elapsed();
        if number != u64::MAX && waited > PATIENCE {
            let told = tell(kind, number, &mutant(number), "takes longer than 10 s");
            // Not by print: the test's own output is kept back until it ends, which it will not.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes());
            process::abort();
        }
    }
}

fn harm(kind: &str, number: u64, input: &[u8], what: &str) -> ! {
    // The watchdog would wait for ever for a thread that is gone, so all ends here.
    let told = tell(kind, number, input, what);
    let _ = std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes());
    process::exit(101);
}

fn tell(kind: &str, number: u64, input: &[u8], what: &str) -> String {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../hostile");
    let path: PathBuf = directory.join(format!("{kind}-{number}"));
    let kept = fs::create_dir_all(&directory).and_then(|()| fs::write(&path, input));
    let kept = kept.map_or_else(|error| format!("cannot be written: {error}"), |()| "kept".to_owned());
    format!(
        "{kind} {number} of seed {SEED:#x} {what}\n  {kept}: {}\n  again: OVF_MUTANT={number} cargo test -p hostile {kind}\n",
        path.display()
    )
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}

#[test]
fn images_do_no_harm() {
    let bases: Vec<_> =
        bases::images().expect("xorriso makes images").into_iter().map(|it| it.bytes).collect();
    let mut drive = Drive::new().expect("a memory file");
    let words = all(
        "images",
        MUTANTS,
        |number| images::mutant(&bases, SEED, number),
        |image| {
            drive.insert(image).expect("memory");
            let found = drive.read();
            let _ = drive.extract();
            if let Found::Document(document) = &found {
                assert!(document.len() <= environment::MAX_DOCUMENT, "{} bytes", document.len());
            }
            found
        },
        |found| match found {
            Found::Document(bytes) if bytes == bases::DOCUMENT => "read",
            Found::Document(_) => "read otherwise",
            Found::Nothing => "nothing",
            Found::Broken(_) => "refused",
        },
    );
    each_is_met(&words, MUTANTS, &["read", "read otherwise", "nothing", "refused"]);
}

#[test]
fn documents_do_no_harm() {
    let bases = bases::documents().expect("the golden cases");
    let words = all(
        "documents",
        MUTANTS,
        |number| documents::mutant(&bases, SEED, number),
        |document| {
            let outcome = parse(document);
            let lines = 1 + document.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
            let inside = |line: u32, column: u32| line >= 1 && line as usize <= lines && column >= 1;
            let mut shown = format!("{outcome:?}");
            match &outcome {
                Ok((_, warnings)) => {
                    for warning in warnings {
                        assert!(inside(warning.line, warning.column), "{warning} is outside of the document");
                        shown += &warning.to_string();
                    }
                }
                Err(error) => {
                    assert!(inside(error.line, error.column), "{error} is outside of the document");
                    shown += &error.to_string();
                }
            }
            if is_in_values_alone(document) {
                assert!(!shown.contains(bases::SECRET), "a value is shown: {shown}");
            }
            outcome
        },
        |outcome| match outcome {
            Ok((_, warnings)) if warnings.is_empty() => "read",
            Ok(_) => "read with warnings",
            Err(_) => "refused",
        },
    );
    each_is_met(&words, MUTANTS, &["read", "read with warnings", "refused"]);
}

/// Each look of these panics where something does not hold.
fn all_hold(
    kind: &'static str,
    count: u64,
    mutant: impl Fn(u64) -> Vec<u8> + Sync,
    look: impl Fn(&[u8]) -> &'static str,
    wanted: &[&str],
) {
    let words = all(kind, count, mutant, look, |word| word);
    each_is_met(&words, count, wanted);
}

#[test]
fn properties_do_no_harm_and_are_read_as_they_are_written() {
    let wanted = ["accepted", "refused", "not set", "not declared"];
    let bases = parameters::bases();
    let mutant = |number| parameters::mutant(&bases, SEED, number);
    all_hold("properties", PROPERTIES, mutant, parameters::look, &wanted);
}

#[test]
fn templates_do_no_harm_and_tell_no_secret() {
    let desk = templates::Desk::default();
    let bases = templates::bases().expect("the golden cases");
    let wanted = ["rendered", "not rendered", "refused"];
    let mutant = |number| texts::mutant(&bases, &templates::SPLINTERS, SEED, number);
    all_hold("templates", TEMPLATES, mutant, |text| desk.look(text), &wanted);
}

#[test]
fn values_are_read_back_from_every_format() {
    let desk = templates::Desk::default();
    let wanted = ["carried by all", "carried by some", "carried by few"];
    let bases = templates::values();
    let mutant = |number| texts::mutant(&bases, &templates::SPLINTERS, SEED, number);
    all_hold("values", VALUES, mutant, |text| desk.escape(text), &wanted);
}

/// Of packages a hundred times as many where there is time.
fn packages() -> u64 {
    if std::env::var_os("OVF_TEST_LONG").is_some() { 1_000_000 } else { 10_000 }
}

#[test]
fn descriptors_do_no_harm() {
    let bases = packages::descriptors().expect("they are at hand");
    let mutant = |number| texts::mutant(&bases, &packages::SPLINTERS, SEED, number);
    all_hold("descriptors", packages(), mutant, packages::descriptor, &["refused", "read", "made"]);
}

#[test]
fn archives_do_no_harm() {
    let bases = packages::archives().expect("they are made");
    let mutant = |number| packages::mutant(&bases, SEED, number);
    all_hold("archives", packages(), mutant, packages::archive, &["refused", "read"]);
}

/// Whether the secret still stands in values alone: a document that was broken so that it is a key or an id now may be
/// told of by that name.
fn is_in_values_alone(document: &[u8]) -> bool {
    let text = String::from_utf8_lossy(document);
    let mut parts = text.split("value='");
    let outside = |part: &str| part.split_once('\'').is_some_and(|(_, rest)| rest.contains(bases::SECRET));
    !parts.next().unwrap_or_default().contains(bases::SECRET) && !parts.any(outside)
}

#[test]
fn the_largest_documents_do_no_harm() {
    for (what, document) in documents::largest(environment::MAX_DOCUMENT) {
        let before = LIVE.get();
        PEAK.set(before);
        let outcome = parse(&document);
        let used = PEAK.get() - before;
        println!("16 MiB of {what}: {} KiB", used / 1024);
        assert!(outcome.is_ok(), "16 MiB of {what}: {:?}", outcome.err());
        assert!(used <= MEMORY, "16 MiB of {what} need {used} bytes, more than {MEMORY}");
    }
}

/// Mutants that all have one end try nothing: each way must be taken by one in a thousand.
fn each_is_met(words: &BTreeMap<&'static str, u64>, of: u64, wanted: &[&str]) {
    for word in wanted.iter().filter(|_| !words.is_empty()) {
        assert!(words.get(word).is_some_and(|count| *count >= of / 1000), "{word:?} is too rare: {words:?}");
    }
}
