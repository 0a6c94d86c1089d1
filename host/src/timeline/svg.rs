//! The picture: a lane for each guest, below an axis of time.
//!
//! Decides how it looks. It needs nothing but itself: no script and no font of its own; it is readable on white and on black, by
//! what whoever looks at it prefers. What a span or mark is stands in its title, which browsers show where one points.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Kind, Lane, Mark, Scale, Span, in_order, lanes};
use crate::document::escaped;
use crate::finding::printable;
use crate::show::Event;
use crate::terminal;

/// How wide all of the time is, and what stays free behind it.
const WIDE: u64 = 1000;
const BEHIND: u64 = 100;
/// What stands above the lanes, one lane, its bar, and what stands below.
const HEAD: u64 = 76;
const LANE: u64 = 42;
const BAR: u64 = 18;
const FOOT: u64 = 44;
const MARGIN: u64 = 20;
/// About the width of a letter; and the longest name, in letters.
const LETTER: u64 = 7;
const LONGEST: usize = 28;
/// At most so many lines of time.
const LINES: u64 = 12;

/// Each stage with its colour, in the order of a guest's life.
const COLOURS: [(&str, &str); 8] = [
    ("booting", "#b6bfca"),
    ("starting", "#9cc9f5"),
    ("configuring", "#64a8ec"),
    ("waiting", "#f2c75c"),
    ("ready", "#5cc27c"),
    ("degraded", "#ec9a4e"),
    ("failed", "#ea6a66"),
    ("stopping", "#b59de0"),
];

const STYLE: &str = "text,.set{fill:#1f2328}.ground{fill:#fff}.line{stroke:#d9dee4}text.soft{fill:#59636e}\
    .bar text{fill:#1b1f24}text.wrong{fill:#c62b2b}\
    @media(prefers-color-scheme:dark){text,.set{fill:#e6edf3}.ground{fill:#0d1117}.line{stroke:#2d333b}\
    text.soft{fill:#9198a1}.bar text{fill:#1b1f24}text.wrong{fill:#ff7b72}}";

/// Draws what has happened, until this moment or the last event.
pub fn draw(name: &str, events: &[Event], until: Option<u64>) -> String {
    let events = &in_order(events);
    let last = events.last().map_or(0, |it| it.time_ms);
    let until = until.unwrap_or(last).max(last);
    let lanes = lanes(events);
    let scale = Scale::new(&lanes, events, until);
    let names = lanes.iter().map(|it| terminal::width(&shown(it.guest)) as u64).max().unwrap_or(0);
    let picture = Picture { left: MARGIN + names * (LETTER + 1) + 12, until, scale };
    let (width, height) = (picture.left + WIDE + BEHIND, HEAD + LANE * lanes.len() as u64 + FOOT);
    let heading = heading(name, &lanes, &picture.scale);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n<title>{heading}</title>\n<style>{STYLE}"
    );
    for (word, colour) in COLOURS {
        let _ = write!(out, ".{word}{{fill:{colour}}}");
    }
    let _ = writeln!(
        out,
        "</style>\n<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n\
         <text x=\"{MARGIN}\" y=\"28\" font-size=\"15\" font-weight=\"bold\">{heading}</text>"
    );
    picture.axis(&mut out, lanes.len() as u64);
    for (number, lane) in lanes.iter().enumerate() {
        picture.lane(&mut out, lane, HEAD + LANE * number as u64);
    }
    legend(&mut out, &lanes, height - 16);
    out.push_str("</svg>\n");
    out
}

/// What all of it comes to.
fn heading(name: &str, lanes: &[Lane<'_>], scale: &Scale) -> String {
    let ready = |it: &Lane<'_>| it.marks.iter().find(|it| it.kind == Kind::Ready).map(|it| it.time);
    let all: Option<Vec<_>> = lanes.iter().map(ready).collect();
    let end = match all.and_then(|it| it.into_iter().max()) {
        Some(last) => format!(", all ready after {}", length(last - scale.first)),
        None => String::new(),
    };
    format!("{}: {} guest{}{end}", text(name), lanes.len(), if lanes.len() == 1 { "" } else { "s" })
}

struct Picture {
    /// Where the lanes begin.
    left: u64,
    until: u64,
    scale: Scale,
}

impl Picture {
    /// The place of so many milliseconds of what is drawn.
    fn x(&self, drawn: u64) -> u64 {
        let place = u128::from(drawn) * u128::from(WIDE) / u128::from(self.scale.end().max(1));
        self.left + u64::try_from(place).unwrap_or(WIDE)
    }

    fn at(&self, time: u64) -> u64 {
        self.x(self.scale.place(time))
    }

    fn axis(&self, out: &mut String, lanes: u64) {
        let step = step(self.scale.end());
        let (top, bottom) = (HEAD - 14, HEAD + LANE * lanes);
        for stretch in &self.scale.stretches {
            if stretch.is_cut {
                let (x, lasted) =
                    (self.x(stretch.at + stretch.drawn() / 2), length(stretch.to - stretch.from));
                say(out, "soft", (x, top - 6, "middle"), &format!("⋯ {lasted} ⋯"), "");
                continue;
            }
            let mut time = stretch.from.div_ceil(step).saturating_mul(step);
            while time <= stretch.to && time < u64::MAX {
                let x = self.x(stretch.at + time - stretch.from);
                let _ = writeln!(out, "<path class=\"line\" d=\"M{x} {top}V{bottom}\"/>");
                say(out, "soft", (x, top - 6, "middle"), &format!("{} s", time / 1000), "");
                time = time.saturating_add(step);
            }
        }
    }

    fn lane(&self, out: &mut String, lane: &Lane<'_>, top: u64) {
        let bar = top + 16;
        let middle = bar + BAR / 2 + 5;
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\" font-weight=\"bold\">{}</text>",
            self.left - 12,
            text(&shown(lane.guest))
        );
        for span in &lane.spans {
            self.span(out, span, bar);
        }
        for mark in &lane.marks {
            self.mark(out, mark, (top + 11, middle));
        }
    }

    /// What is a part of the start and the change stands above the bar, and how it ended behind it.
    fn mark(&self, out: &mut String, mark: &Mark<'_>, (above, middle): (u64, u64)) {
        let (x, since) = (self.at(mark.time), length(mark.time - self.scale.first));
        match mark.kind {
            Kind::On => {}
            Kind::Ready => say(out, "soft", (x, above, "end"), &format!("ready at {since}"), mark.detail),
            Kind::Set => {
                let _ = writeln!(
                    out,
                    "<path class=\"set\" d=\"M{} {}h8l-4 8z\"/>",
                    x.saturating_sub(4),
                    above - 7
                );
                say(out, "soft", (x + 8, above, "start"), "set", mark.detail);
            }
            Kind::Off => say(out, "soft", (x + 6, middle, "start"), &format!("off at {since}"), mark.detail),
            Kind::Gone => {
                say(out, "wrong", (x + 6, middle, "start"), &format!("seen gone at {since}"), mark.detail);
            }
            Kind::Wrong => say(out, "wrong", (x + 6, middle, "start"), &format!("✕ at {since}"), mark.detail),
        }
    }

    fn span(&self, out: &mut String, span: &Span<'_>, bar: u64) {
        let to = span.to.unwrap_or(self.until);
        let from = self.at(span.from);
        let width = self.at(to).saturating_sub(from).max(2);
        let (word, lasted) = (text(span.word), length(to - span.from));
        // A stage that is not known yet is one all the same.
        let class = COLOURS.iter().map(|it| it.0).find(|it| *it == span.word).unwrap_or("booting");
        let colon = if span.detail.is_empty() { "" } else { ": " };
        let _ = write!(
            out,
            "<g class=\"bar\"><title>{word}, {lasted}{colon}{}</title>\
             <rect class=\"{class}\" x=\"{from}\" y=\"{bar}\" width=\"{width}\" height=\"{BAR}\"/>",
            text(span.detail)
        );
        let said = [format!("{word} {lasted}"), word];
        if let Some(said) = said.iter().find(|it| it.chars().count() as u64 * LETTER + 8 <= width) {
            let (x, y) = (from + width / 2, bar + BAR / 2 + 4);
            let _ = write!(
                out,
                "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" font-size=\"12\">{said}</text>"
            );
        }
        out.push_str("</g>\n");
    }
}

/// A text of ours at this place, with more in its title.
fn say(out: &mut String, class: &str, (x, y, anchor): (u64, u64, &str), said: &str, more: &str) {
    let title = if more.is_empty() { String::new() } else { format!("<title>{}</title>", text(more)) };
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{title}{said}</text>"
    );
}

/// The colours that are there.
fn legend(out: &mut String, lanes: &[Lane<'_>], y: u64) {
    let words: BTreeSet<_> = lanes.iter().flat_map(|it| &it.spans).map(|it| it.word).collect();
    let mut x = MARGIN;
    for (word, _) in COLOURS.iter().filter(|it| words.contains(it.0)) {
        let _ =
            writeln!(out, "<rect class=\"{word}\" x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\"/>", y - 11);
        say(out, "soft", (x + 17, y, "start"), word, "");
        x += 17 + (word.len() as u64 + 3) * LETTER;
    }
}

/// From one line of time to the next: 1, 2 or 5 of something, and no less than a second.
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

/// `4.9 s`, `30 min`, `2 h`.
fn length(ms: u64) -> String {
    match ms {
        0..600_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        600_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

fn shown(guest: &str) -> String {
    terminal::cut(&printable(guest), LONGEST)
}

/// A text of anybody's, in XML.
fn text(any: &str) -> String {
    escaped(&printable(any)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{LINES, length, step};

    #[test]
    fn lines_of_time_are_few_and_round() {
        for (span, want) in [(0, 1000), (13_000, 2000), (26_000, 5000), (3_000_000, 500_000)] {
            assert_eq!(step(span), want, "{span}");
            assert!(span / step(span) <= LINES);
        }
        assert!(u64::MAX / step(u64::MAX) <= LINES);
    }

    #[test]
    fn a_length_is_said_as_people_say_it() {
        let said = [0, 4_949, 599_999, 600_000, 7_200_000].map(length);
        assert_eq!(said, ["0.0 s", "4.9 s", "599.9 s", "10 min", "2 h"]);
    }
}
