//! The picture of `analyze --svg`: bars over time, one below the other in the order in which they began.
//!
//! Decides how it looks. It needs nothing but itself, and is as light as it can be: what is what stands beside each bar.

#![forbid(unsafe_code)]

use std::fmt::Write;

use super::{TITLES, at, is_moment, label};
use crate::schema::escaped;
use crate::times::{Told, ToldPass, ToldRow};

/// Where the bars begin, and how wide all of them are.
const LEFT: u64 = 20;
const WIDE: u64 = 1160;
/// From one bar to the next.
const ROW: usize = 20;
/// What stands above the bars of a pass, and below.
const HEAD: usize = 80;
/// At most so many lines of time.
const LINES: u64 = 10;
/// A bar that ends beyond this has no room for its label behind it.
const ROOM: u64 = LEFT + WIDE / 2;

/// Draws the passes, one below the other.
pub(super) fn draw(told: &Told<'_>) -> String {
    let height: usize = told.passes.iter().map(|pass| HEAD + pass.rows.len() * ROW).sum();
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        WIDE + 2 * LEFT
    );
    let mut top = 0;
    for (pass, title) in told.passes.iter().zip(TITLES) {
        draw_pass(&mut text, pass, title, told.now, top);
        top += HEAD + pass.rows.len() * ROW;
    }
    text.push_str("</svg>\n");
    text
}

fn draw_pass(out: &mut String, pass: &ToldPass<'_>, title: &str, now: u64, top: usize) {
    let ToldPass { rows, left_out } = pass;
    let begin = rows.first().map_or(0, |row| row.begin);
    let end = rows.iter().map(|row| row.end.unwrap_or(now)).max().unwrap_or(0);
    let span = end.saturating_sub(begin).max(1);
    let x = |time: u64| LEFT + time.saturating_sub(begin).saturating_mul(WIDE) / span;
    let (first, bottom) = (top + HEAD - ROW, top + HEAD - ROW + rows.len() * ROW);
    let more = if *left_out > 0 { format!(", and {left_out} more") } else { String::new() };
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{}\">{title}, since the kernel was started{more}</text>",
        top + 24
    );
    let step = step(span);
    let mut line = begin.div_ceil(step).saturating_mul(step);
    for _ in 0..=LINES {
        if line > end {
            break;
        }
        let _ = writeln!(
            out,
            "<path d=\"M{x} {}V{bottom}\" stroke=\"#ddd\"/>\n<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            first - 8,
            first - 12,
            at(line),
            x = x(line)
        );
        line = line.saturating_add(step);
    }
    for (number, row) in rows.iter().enumerate() {
        let (y, from, to) = (first + number * ROW, x(row.begin), x(row.end.unwrap_or(now)));
        let wide = to.saturating_sub(from).max(2);
        let (label_at, anchor) = match () {
            () if to <= ROOM => (from + wide + 4, "start"),
            () if from > ROOM => (from - 4, "end"),
            () => (from + 4, "start"),
        };
        let _ = writeln!(
            out,
            "<rect x=\"{from}\" y=\"{y}\" width=\"{wide}\" height=\"14\" fill=\"{}\"/>\n<text x=\"{label_at}\" y=\"{}\" \
             text-anchor=\"{anchor}\">{}</text>",
            color(row),
            y + 11,
            escaped(&label(row, now))
        );
    }
}

/// From one line of time to the next: 1, 2 or 5 of something, and no less than is said of a time.
fn step(span: u64) -> u64 {
    let (mut unit, mut factor) = (1000_u64, 1);
    while span / unit.saturating_mul(factor) > LINES {
        (unit, factor) = match factor {
            1 => (unit, 2),
            2 => (unit, 5),
            _ => (unit.saturating_mul(10), 1),
        };
    }
    unit.saturating_mul(factor)
}

/// Whom the time went to: nobody, others, the disk, or us; and moments.
fn color(row: &ToldRow<'_>) -> &'static str {
    match row.what {
        "wait" | "gate" => "#ccd",
        "hook" | "check" | "verify" | "units" | "on-change" => "#fc8",
        "lock" | "write" | "flush" | "rename" | "state" | "sweep" => "#9cf",
        "failed" => "#f66",
        _ if is_moment(row) => "#333",
        _ => "#ada",
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES, step};

    #[test]
    fn lines_of_time_are_few_and_round() {
        for (span, want) in [(1, 1000), (10_000, 1000), (15_000, 2000), (49_000, 5000), (3_000_000, 500_000)]
        {
            assert_eq!(step(span), want, "{span}");
            assert!(span / step(span) <= LINES);
        }
        assert_eq!(step(99_000_000), 10_000_000);
        assert!(u64::MAX / step(u64::MAX) <= LINES);
    }
}
