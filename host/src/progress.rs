//! How far long work is, on the last line of a terminal.
//!
//! Decides whether anybody looks (standard error is a terminal, and no dumb one), when there is something to see (after half
//! a second, since whoever is done sooner needs no bar; then ten times a second at most), and what of it fits into the
//! line. In the end nothing of it is left. Does not decide what work is.
//!
//! Our own: crates for it (indicatif) bring threads, styles and seven more crates. Only the line's width and that of
//! names are somebody else's.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::finding::printable;

const PATIENCE: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_millis(100);
/// Where a terminal does not know how wide it is, as on a serial line.
const USUAL_COLUMNS: usize = 80;
/// Seconds that are worth being told.
const LONGEST: f64 = 100.0 * 3600.0;
/// A line with less left beside the numbers has no bar.
const ROOM_FOR_BAR: usize = 30;
const SHORTEST_BAR: usize = 10;
const WIDEST_BAR: usize = 30;
/// With less left of a name nobody knows it.
const SHORTEST_NAME: usize = 8;
/// So much of a name is worth more than how fast it goes.
const USUAL_NAME: usize = 16;

/// Work, and how much of it is done.
#[derive(Debug)]
pub struct Progress {
    /// What is counted; bytes where that is nothing.
    unit: Option<&'static str>,
    doing: String,
    total: u64,
    done: u64,
    begun: Instant,
    next: Duration,
    is_watched: bool,
    is_shown: bool,
}

impl Progress {
    /// Work on so many bytes.
    pub fn bytes(total: u64) -> Self {
        Self::new(total, None)
    }

    /// Work on so many things, which have a name in the plural.
    pub fn things(total: usize, unit: &'static str) -> Self {
        Self::new(total as u64, Some(unit))
    }

    fn new(total: u64, unit: Option<&'static str>) -> Self {
        let is_watched = io::stderr().is_terminal()
            && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let doing = String::new();
        let begun = Instant::now();
        Self { unit, doing, total, done: 0, begun, next: PATIENCE, is_watched, is_shown: false }
    }

    /// Says what is done from here on: `reading disk.vmdk`. A name in it may come from anywhere.
    pub fn now(&mut self, doing: &str) {
        if self.is_watched {
            self.doing = printable(doing);
        }
    }

    /// More of it is done.
    pub fn advance(&mut self, more: u64) {
        self.reach(self.done + more);
    }

    /// So much of it is done.
    pub fn reach(&mut self, done: u64) {
        self.done = done;
        if !self.is_watched {
            return;
        }
        let elapsed = self.begun.elapsed();
        if elapsed < self.next {
            return;
        }
        self.next = elapsed + INTERVAL;
        self.is_shown = true;
        let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col.into());
        let columns = if columns == 0 { USUAL_COLUMNS } else { columns };
        // One write, so that nobody sees half a line. The last column stays free: some terminals go on to the next line there.
        let shown = format!("\r{}\x1b[K", self.line(columns - 1, elapsed));
        let _ = io::stderr().write_all(shown.as_bytes());
    }

    /// Takes the line away, for other lines to be written; it comes again.
    pub fn erase(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }

    /// What is seen in so many columns: the numbers that fit, by how much they are worth; what is read in the rest, and a bar.
    fn line(&self, columns: usize, elapsed: Duration) -> String {
        let done = self.done.min(self.total);
        let part = |of: usize| (u128::from(done) * of as u128 / u128::from(self.total.max(1))) as usize;
        let percent = format!("{:3} %", part(100));
        let speed = done as f64 / elapsed.as_secs_f64().max(0.001);
        let left = clock((self.total - done) as f64 / speed);
        let (amount, speed) = match self.unit {
            None => (amount(done, self.total), rate(speed)),
            Some(unit) => (format!("{done} of {} {unit}", self.total), String::new()),
        };
        let mut free = columns;
        let mut fitting = |text: &str, kept: usize| {
            if text.is_empty() || text.len() + 2 + kept > free {
                return String::new();
            }
            free -= text.len() + 2;
            format!("  {text}")
        };
        // By their worth here, by their sense in the line.
        let percent = fitting(&percent, 0);
        let amount = fitting(&amount, 0);
        let name = self.doing.width().min(USUAL_NAME);
        let left = fitting(&left, name);
        let speed = fitting(&speed, name);
        let mut bar = String::new();
        if free >= ROOM_FOR_BAR {
            let width = (free - 4).saturating_sub(self.doing.width()).clamp(SHORTEST_BAR, WIDEST_BAR);
            let full = part(width);
            bar = format!("  [{}{}]", "#".repeat(full), " ".repeat(width - full));
            free -= width + 4;
        }
        let line = shortened(&self.doing, free) + &bar + &percent + &amount + &speed + &left;
        line.trim_start().to_owned()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.erase();
    }
}

/// A text in so many columns. Of a name that is too long its end is left, which tells disks apart.
fn shortened(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    if columns < SHORTEST_NAME {
        return String::new();
    }
    let (mut width, mut begin) = (1, text.len());
    for (at, character) in text.char_indices().rev() {
        width += character.width().unwrap_or(0);
        if width > columns {
            break;
        }
        begin = at;
    }
    format!("…{}", &text[begin..])
}

/// `4.2 of 10.7 GB`: both in the unit of the whole.
fn amount(done: u64, total: u64) -> String {
    let (unit, by) = unit(total as f64);
    format!("{:.1} of {:.1} {unit}", done as f64 / by, total as f64 / by)
}

/// `1.2 GB/s`; nothing as long as nobody knows.
fn rate(bytes: f64) -> String {
    let (unit, by) = unit(bytes);
    if bytes > 0.0 { format!("{:.1} {unit}/s", bytes / by) } else { String::new() }
}

fn unit(bytes: f64) -> (&'static str, f64) {
    let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6)];
    units.into_iter().find(|(_, by)| bytes >= *by).unwrap_or(("kB", 1e3))
}

/// `0:07 left`, `1:02:03 left`; nothing where it is too long to be true. A part of a second is one, so that nothing takes no time.
fn clock(seconds: f64) -> String {
    if !(0.0..LONGEST).contains(&seconds) {
        return String::new();
    }
    let seconds = seconds.ceil() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02} left"),
        _ => format!("{hours}:{minutes:02}:{seconds:02} left"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use unicode_width::UnicodeWidthStr;

    use super::Progress;

    fn line(doing: &str, done: u64, total: u64, columns: usize) -> String {
        let mut progress = Progress::bytes(total);
        progress.doing = doing.to_owned();
        progress.done = done;
        progress.line(columns, Duration::from_secs(4))
    }

    #[test]
    fn a_line_has_what_fits() {
        const GB: u64 = 1_000_000_000;
        let german = "reading Größenübersicht der Straßenbahn-Haltestellen.vmdk";
        for (doing, done, total, columns, want) in [
            (
                "reading disk.vmdk",
                4 * GB,
                10 * GB,
                119,
                "reading disk.vmdk  [############                  ]   40 %  4.0 of 10.0 GB  1.0 GB/s  0:06 left",
            ),
            (
                "reading disk.vmdk",
                4 * GB,
                10 * GB,
                79,
                "reading disk.vmdk  [#####         ]   40 %  4.0 of 10.0 GB  1.0 GB/s  0:06 left",
            ),
            (german, 4 * GB, 10 * GB, 59, "…enbahn-Haltestellen.vmdk   40 %  4.0 of 10.0 GB  0:06 left"),
            (german, 0, 10 * GB, 40, "…altestellen.vmdk    0 %  0.0 of 10.0 GB"),
            ("reading 磁盘映像一.vmdk", 5 * GB, 10 * GB, 36, "…映像一.vmdk   50 %  5.0 of 10.0 GB"),
            ("reading disk.vmdk", 4 * GB, 10 * GB, 20, "…ng disk.vmdk   40 %"),
            ("reading disk.vmdk", 4 * GB, 10 * GB, 7, "40 %"),
            ("reading disk.vmdk", 4 * GB, 10 * GB, 3, ""),
            ("reading disk.vmdk", 4 * GB, 10 * GB, 0, ""),
            // A file that has grown, none at all, and one that takes its time.
            ("", 30 * GB, 10 * GB, 60, "100 %  10.0 of 10.0 GB  2.5 GB/s  0:00 left"),
            ("", 0, 0, 30, "0 %  0.0 of 0.0 kB"),
            ("", 1_000_000, 20 * GB, 60, "0 %  0.0 of 20.0 GB  250.0 kB/s  22:13:16 left"),
        ] {
            let line = line(doing, done, total, columns);
            assert!(line.width() <= columns, "{columns}: {line}");
            assert_eq!(line, want, "{columns}");
        }
        let mut documents = Progress::things(1_000, "documents");
        documents.done = 500;
        let line = documents.line(79, Duration::from_secs(1));
        assert_eq!(line, "[###############               ]   50 %  500 of 1000 documents  0:01 left");
    }

    #[test]
    fn no_line_is_wider_than_its_terminal() {
        for columns in 0..200 {
            for doing in
                ["", "reading disk.vmdk", "reading 磁盘映像一号机的第二块磁盘映像.vmdk", "e\u{301}\u{301}"]
            {
                for done in [0, 1, 999_999_999, u64::MAX] {
                    let line = line(doing, done, u64::MAX, columns);
                    assert!(line.width() <= columns, "{columns}: {line}");
                }
            }
        }
    }
}
