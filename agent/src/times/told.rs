//! The record of [`super`] as whoever asked for it reads it.
//!
//! Decides what is no such text. It is said and read by programs of one version, so nothing in it is there for another.

#![forbid(unsafe_code)]

use super::PASS;

/// What was said in words.
#[derive(Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// The kernel's boot id.
    pub boot: &'a str,
    /// When it was said, in microseconds since the kernel was started, as all times.
    pub now: u64,
    /// The first pass of this boot, and the last, where that is another.
    pub passes: Vec<ToldPass<'a>>,
}

/// What was said of a pass.
#[derive(Debug, PartialEq, Eq)]
pub struct ToldPass<'a> {
    /// How many more rows there were.
    pub left_out: u64,
    /// In the order in which they began.
    pub rows: Vec<ToldRow<'a>>,
}

/// What was said of a part of it.
#[derive(Debug, PartialEq, Eq)]
pub struct ToldRow<'a> {
    /// What it was ([`What::as_str`]).
    pub what: &'a str,
    /// Its name; may be empty.
    pub name: &'a str,
    /// When it began.
    pub begin: u64,
    /// When it was over; `None` where it was not.
    pub end: Option<u64>,
}

impl<'a> Told<'a> {
    /// Reads it.
    pub fn new(text: &'a str) -> Option<Self> {
        let (head, passes) = text.split_once(PASS)?;
        let (boot, now) = head.split_once(' ')?;
        let mut told = Self { boot, now: now.parse().ok()?, passes: Vec::new() };
        for pass in passes.split(PASS) {
            let mut lines = pass.split('\n');
            let left_out = lines.next()?.parse().ok()?;
            let mut rows = Vec::new();
            for line in lines {
                let mut words = line.splitn(4, ' ');
                let (begin, end) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                let end = Some(end).filter(|end| *end > 0);
                rows.push(ToldRow { what: words.next()?, name: words.next()?, begin, end });
            }
            told.passes.push(ToldPass { left_out, rows });
        }
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::Told;

    #[test]
    fn what_nobody_said_is_nothing() {
        for text in ["", "b", "b x", "b 1", "b 1\n\n", "b 1\n\nx", "b 1\n\n0\n1 2", "b 1\n\n0\n1 -2 read a"] {
            assert_eq!(Told::new(text), None, "{text:?}");
        }
        let told = Told::new("b 1\n\n0\n1 0 read ").expect("well said");
        assert_eq!((told.boot, told.now, told.passes[0].rows[0].end), ("b", 1, None));
    }
}
