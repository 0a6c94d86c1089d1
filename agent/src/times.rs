//! Where the time went: when each part of a pass began and ended, since the kernel was started.
//!
//! Decides what is remembered: of the first pass of this boot and of the last, each from what led to it until the guest was
//! ready, so many rows and no more. Holds names of templates, hooks, units and gates, as the report does, and no value. What is
//! written to `/run/ovf-agent` when a pass is over, or the guest ready, is for an agent that is started again, and for `analyze`
//! where none runs. The scale is that of `sys::clock`. How it is shown is decided in `cli::analyze`.

#![forbid(unsafe_code)]

mod told;

use std::cell::RefCell;
use std::fmt::Write;
use std::mem;
use std::rc::Rc;

use crate::printable;
use crate::sys::Root;
use crate::sys::clock::{Moment, now};
use crate::transport::Document;

pub use told::{Told, ToldPass, ToldRow};

const FILE: &str = "/run/ovf-agent/times";
const LIMIT: u64 = 1024 * 1024;
/// Between what is said of one pass and of the next.
const PASS: &str = "\n\n";
/// So many rows are kept of a pass, and so many gates; so much of a name.
const MOST: usize = 256;
const NAME: usize = 120;

/// What took its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The agent is there. A moment.
    Start,
    /// Finding out where we are.
    Detect,
    /// Reading the configuration, and compiling its templates where that has to be done.
    Configuration,
    /// Waiting for a drive, or for a document in one.
    Wait,
    /// The look that gave the document.
    Read,
    /// Parsing the document.
    Environment,
    /// Judging the values.
    Parameters,
    /// Rendering the files and comparing them.
    Templates,
    /// Having the state directory to ourselves, and looking whether anything is another than it was.
    Lock,
    /// Writing the files beside what is there.
    Write,
    /// A template's `check`.
    Check,
    /// A hook.
    Hook,
    /// Having what was written on the disk.
    Flush,
    /// Putting it in place.
    Rename,
    /// A template's `verify`.
    Verify,
    /// Recording what was applied.
    State,
    /// Units that take their files.
    Units,
    /// Programs that do, where there is no systemd.
    OnChange,
    /// Removing what was kept for the way back.
    Sweep,
    /// The pass was applied. A moment.
    Configured,
    /// The pass has failed. A moment.
    Failed,
    /// A gate, from when it was first waited for until it was passed.
    Gate,
    /// The guest is ready. A moment.
    Ready,
}

impl What {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Detect => "detect",
            Self::Configuration => "configuration",
            Self::Wait => "wait",
            Self::Read => "read",
            Self::Environment => "environment",
            Self::Parameters => "parameters",
            Self::Templates => "templates",
            Self::Lock => "lock",
            Self::Write => "write",
            Self::Check => "check",
            Self::Hook => "hook",
            Self::Flush => "flush",
            Self::Rename => "rename",
            Self::Verify => "verify",
            Self::State => "state",
            Self::Units => "units",
            Self::OnChange => "on-change",
            Self::Sweep => "sweep",
            Self::Configured => "configured",
            Self::Failed => "failed",
            Self::Gate => "gate",
            Self::Ready => "ready",
        }
    }
}

/// The record, held by all who have something to put into it.
#[derive(Debug, Clone)]
pub struct Times(Rc<RefCell<Record>>);

#[derive(Debug)]
struct Record {
    /// The kernel's boot id; empty where there is none.
    boot: String,
    /// The first pass of this boot in words, where that is not the last.
    first: Option<String>,
    last: Pass,
    /// When the last look at the places of documents began.
    look: Moment,
}

#[derive(Debug, Default)]
struct Pass {
    rows: Vec<Row>,
    gates: Vec<Row>,
    left_out: usize,
    gates_left_out: usize,
    /// Whether it was applied, or has failed.
    is_over: bool,
}

#[derive(Debug)]
struct Row {
    what: What,
    name: String,
    begin: Moment,
    /// `None` as long as it goes on.
    end: Option<Moment>,
}

impl Times {
    /// An agent has started on the machine in `root`, then.
    pub fn new(root: &Root, begin: Moment) -> Self {
        let boot = root.boot_id();
        let first = left(root).and_then(|text| text.split(PASS).nth(1).map(str::to_owned));
        let times = Self(Rc::new(RefCell::new(Record { boot, first, last: Pass::default(), look: begin })));
        times.moment(What::Start, begin);
        times
    }

    fn push(&self, what: What, name: &str, begin: Moment, end: Option<Moment>) {
        let Pass { rows, left_out, .. } = &mut self.0.borrow_mut().last;
        keep(rows, left_out, Row { what, name: shown(name), begin, end });
    }

    /// Since `begin` it was this; for how long, in microseconds.
    pub fn took(&self, what: What, begin: Moment) -> u64 {
        let end = now();
        self.push(what, "", begin, Some(end));
        micros(end - begin)
    }

    /// It begins, and goes on until [`Self::ends`].
    pub fn begins(&self, what: What, name: &str) {
        self.push(what, name, now(), None);
    }

    /// It ends.
    pub fn ends(&self, what: What) {
        self.ends_at(what, now());
    }

    fn ends_at(&self, what: What, end: Moment) {
        let rows = &mut self.0.borrow_mut().last.rows;
        if let Some(row) = rows.iter_mut().rev().find(|row| row.what == what && row.end.is_none()) {
            row.end = Some(end);
        }
    }

    /// A look at the places of documents has begun, then.
    pub fn looks(&self, begin: Moment) {
        self.0.borrow_mut().look = begin;
    }

    /// There is no document yet, with a drive or without any, and somebody waits.
    pub fn waits(&self, has_drive: bool, now: Moment) {
        let name = if has_drive { "a document" } else { "a drive" };
        let is_same = |row: &Row| row.what == What::Wait && row.end.is_none() && row.name == name;
        if !self.0.borrow().last.rows.last().is_some_and(is_same) {
            self.ends_at(What::Wait, now);
            self.push(What::Wait, name, now, None);
        }
    }

    /// The last look is over, and what it gave is for a pass; how long it was looked for since `begin`, in microseconds.
    pub fn found(&self, begin: Moment, document: Option<&Document>) -> u64 {
        let (look, now) = (self.0.borrow().look, now());
        self.pass_begins(look);
        let name = document.map_or_else(String::new, |document| document.source.to_string());
        self.push(What::Read, &name, look, Some(now));
        micros(now - begin)
    }

    /// What happens from now on belongs to the next pass, unless that has begun already.
    pub fn pass_begins(&self, now: Moment) {
        self.ends_at(What::Wait, now);
        let mut record = self.0.borrow_mut();
        if record.last.is_over {
            let pass = mem::take(&mut record.last);
            if record.first.is_none() {
                record.first = Some(pass.to_text());
            }
        }
    }

    /// The pass is over.
    pub fn pass_ends(&self, is_applied: bool, root: &Root) {
        if mem::replace(&mut self.0.borrow_mut().last.is_over, true) {
            return;
        }
        self.moment(if is_applied { What::Configured } else { What::Failed }, now());
        self.save(root);
    }

    /// The gates of the last pass, waited for since `begin`: their names, and since when they are passed. Those of an earlier one,
    /// and what becomes of them once the guest was ready, are not part of it.
    pub fn gates<'a>(&self, begin: Moment, all: impl Iterator<Item = (&'a str, Option<Moment>)>) {
        let Pass { rows, gates, gates_left_out, .. } = &mut self.0.borrow_mut().last;
        let is_earlier = rows.first().is_none_or(|first| begin < first.begin);
        if is_earlier || rows.iter().any(|row| row.what == What::Ready) {
            return;
        }
        gates.clear();
        *gates_left_out = 0;
        for (name, end) in all {
            keep(gates, gates_left_out, Row { what: What::Gate, name: shown(name), begin, end });
        }
    }

    /// The guest is ready.
    pub fn ready(&self, now: Moment, root: &Root) {
        self.moment(What::Ready, now);
        self.save(root);
    }

    /// However many rows there are.
    fn moment(&self, what: What, now: Moment) {
        let row = Row { what, name: String::new(), begin: now, end: Some(now) };
        self.0.borrow_mut().last.rows.push(row);
    }

    /// All of it in words, as [`Told`] reads them.
    pub fn to_text(&self) -> String {
        let Record { boot, first, last, .. } = &*self.0.borrow();
        let mut text = format!("{boot} {}", micros(now()));
        for pass in [first.as_deref(), Some(&last.to_text())].into_iter().flatten() {
            text.push_str(PASS);
            text.push_str(pass);
        }
        text
    }

    /// Where there is a boot that it is of.
    fn save(&self, root: &Root) {
        let text = self.to_text();
        if text.starts_with(' ') {
            return;
        }
        // Where it cannot be kept, a pass is none the worse for it.
        let _ = root.note(FILE, text.as_bytes(), 0o600);
    }
}

/// On one line, and not too long.
fn shown(name: &str) -> String {
    printable::text(&name[..name.floor_char_boundary(NAME)])
}

fn keep(rows: &mut Vec<Row>, left_out: &mut usize, row: Row) {
    if rows.len() < MOST {
        rows.push(row);
    } else {
        *left_out += 1;
    }
}

impl Pass {
    /// Rows are in the order in which they began, but for the gates, which began together.
    fn to_text(&self) -> String {
        let mut text = (self.left_out + self.gates_left_out).to_string();
        let gates = self.gates.first().map_or(Moment::MAX, |gate| gate.begin);
        let (before, after) = self.rows.split_at(self.rows.partition_point(|row| row.begin <= gates));
        for Row { what, name, begin, end } in before.iter().chain(&self.gates).chain(after) {
            // 0 was before the kernel.
            let end = end.map_or(0, micros);
            let _ = write!(text, "\n{} {end} {} {name}", micros(*begin), what.as_str());
        }
        text
    }
}

fn micros(moment: Moment) -> u64 {
    moment.as_micros() as u64
}

/// What was left by a pass of this boot, in words; `None` where that is nothing.
pub fn left(root: &Root) -> Option<String> {
    let text = String::from_utf8(root.read(FILE, LIMIT).ok()??).ok()?;
    let is_of_this = text.split_once(' ')?.0 == root.boot_id();
    is_of_this.then_some(text).filter(|text| !text.starts_with(' '))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes the machine it looks at")]
mod tests {
    use super::{MOST, Times, Told, What, left};
    use crate::transport::boot::tests::machine;
    use crate::transport::{Document, Source};
    use std::fs;
    use std::time::Duration;

    const fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    /// What happened in each pass.
    fn words(text: &str) -> Vec<String> {
        let told = Told::new(text).expect(text);
        let word = |row: &super::ToldRow<'_>| {
            let open = if row.end.is_none() { "..." } else { "" };
            format!("{} {}", row.what, row.name).trim_end().to_owned() + open
        };
        let pass = |pass: &super::ToldPass<'_>| pass.rows.iter().map(word).collect::<Vec<_>>().join(", ");
        told.passes.iter().map(pass).collect()
    }

    #[test]
    fn the_first_pass_stays_and_the_last_is_replaced() {
        let (_dir, root) = machine();
        let times = Times::new(&root, s(1));
        times.looks(s(1));
        times.waits(false, s(1));
        times.waits(false, s(1));
        times.waits(true, s(1));
        assert_eq!(words(&times.to_text()), ["start, wait a drive, wait a document..."]);
        let source = Source::Iso("/dev/sr0".into());
        times.found(s(1), Some(&Document { source, ..Document::sent(Default::default()) }));
        times.begins(What::Hook, "ready/a");
        times.pass_ends(true, &root);
        times.pass_ends(false, &root);
        let first = "start, wait a drive, wait a document, read iso:/dev/sr0, hook ready/a..., configured";
        assert_eq!(words(&times.to_text()), [first]);
        for _ in 0..2 {
            times.pass_begins(s(1));
            times.begins(What::Units, "a.service");
            times.ends(What::Units);
            times.pass_begins(s(1));
            times.pass_ends(false, &root);
        }
        assert_eq!(words(&times.to_text()), [first, "units a.service, failed"]);
    }

    #[test]
    fn gates_are_those_of_the_last_pass_until_the_guest_is_ready() {
        let (_dir, root) = machine();
        let times = Times::new(&root, s(1));
        times.pass_ends(true, &root);
        times.gates(s(0), [("earlier", None)].into_iter());
        times.gates(s(2), [("a", None), ("b", None)].into_iter());
        times.gates(s(2), [("a", Some(s(4))), ("b\n", None)].into_iter());
        let end = words(&times.to_text())[0].clone();
        assert!(end.contains("gate a, gate b\\u{a}..."), "{end}");
        times.ready(s(5), &root);
        times.gates(s(2), [("a", None)].into_iter());
        let text = times.to_text();
        let told = Told::new(&text).expect(&text);
        let a = told.passes[0].rows.iter().find(|row| row.name == "a").expect("a gate");
        assert_eq!((a.what, a.begin, a.end), ("gate", 2_000_000, Some(4_000_000)));
        assert!(words(&text)[0].contains("ready"), "{text}");
    }

    #[test]
    fn so_many_rows_are_kept_and_no_more() {
        let (_dir, root) = machine();
        let times = Times::new(&root, s(1));
        for _ in 0..1000 {
            times.begins(What::Check, &"ü".repeat(1000));
            times.ends(What::Check);
        }
        let names: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
        for _ in 0..2 {
            times.gates(s(1), names.iter().map(|name| (&**name, None)));
        }
        times.pass_ends(true, &root);
        times.ready(s(1), &root);
        let text = times.to_text();
        let pass = &Told::new(&text).expect(&text).passes[0];
        assert_eq!((pass.rows.len(), pass.left_out), (2 * MOST + 2, 2 * (1000 - MOST as u64) + 1));
        assert!(words(&text)[0].contains("configured") && words(&text)[0].contains("ready"));
        assert!(text.len() < 64 * 1024, "{}", text.len());
    }

    #[test]
    fn an_agent_that_is_started_again_knows_the_first_pass_of_this_boot() {
        let (dir, root) = machine();
        assert_eq!(left(&root), None);
        let times = Times::new(&root, s(1));
        times.found(s(1), None);
        times.pass_ends(true, &root);
        let kept = left(&root).expect("kept");
        assert_eq!(words(&kept), ["start, read, configured"]);
        assert_eq!(words(&Times::new(&root, s(1)).to_text()), ["start, read, configured", "start"]);

        let file = dir.path().join("run/ovf-agent/times");
        for damaged in ["", "{", " 1", "second 1\n\n0", "\u{0}"] {
            fs::write(&file, damaged).expect("write");
            assert_eq!(left(&root), None, "{damaged}");
            assert_eq!(words(&Times::new(&root, s(1)).to_text()), ["start"], "{damaged}");
        }
        times.save(&root);
        fs::write(dir.path().join("proc/sys/kernel/random/boot_id"), "second\n").expect("write");
        assert_eq!(left(&root), None, "of another boot");
        fs::write(dir.path().join("proc/sys/kernel/random/boot_id"), "\n").expect("write");
        Times::new(&root, s(1)).save(&root);
        assert_eq!(left(&root), None, "there is no boot that it could be of");
    }
}
