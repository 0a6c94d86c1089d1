//! What has happened to a deployment's guests, as lanes over time.
//!
//! Decides what of the events is a span, a mark or the end of a lane, and how times become places: hours in which nothing is under
//! way are drawn as seconds. How it looks is for `svg`.

#![forbid(unsafe_code)]

mod svg;

use crate::show::Event;
pub use svg::draw;

/// A guest.
#[derive(Debug)]
struct Lane<'a> {
    guest: &'a str,
    spans: Vec<Span<'a>>,
    marks: Vec<Mark<'a>>,
}

/// A time in which a guest was the same.
#[derive(Debug, PartialEq, Eq)]
struct Span<'a> {
    /// The stage, or what is before the first report and after the last.
    word: &'a str,
    from: u64,
    /// None as long as it goes on.
    to: Option<u64>,
    detail: &'a str,
}

/// A moment of a guest's.
#[derive(Debug, PartialEq, Eq)]
struct Mark<'a> {
    time: u64,
    kind: Kind,
    detail: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    On,
    Ready,
    Set,
    Off,
    /// It had gone already when somebody looked.
    Gone,
    /// It went otherwise than it should.
    Wrong,
}

/// The same events, none of them before the one that was written down before it: a clock may be put back.
fn in_order(events: &[Event]) -> Vec<Event> {
    let mut events = events.to_vec();
    for at in 1..events.len() {
        events[at].time_ms = events[at].time_ms.max(events[at - 1].time_ms);
    }
    events
}

/// The lanes, in the order in which guests come up in the events.
fn lanes(events: &[Event]) -> Vec<Lane<'_>> {
    let mut lanes: Vec<Lane<'_>> = Vec::new();
    for event in events {
        let place = lanes.iter().position(|it| it.guest == event.guest).unwrap_or_else(|| {
            lanes.push(Lane { guest: &event.guest, spans: Vec::new(), marks: Vec::new() });
            lanes.len() - 1
        });
        lanes[place].add(event);
    }
    lanes
}

impl<'a> Lane<'a> {
    fn add(&mut self, event: &'a Event) {
        let mut mark = |kind| self.marks.push(Mark { time: event.time_ms, kind, detail: &event.detail });
        match event.event.as_str() {
            "power on" => {
                mark(Kind::On);
                self.turn("booting", event);
            }
            "booting" | "rebooting" => self.turn("booting", event),
            "sent" => mark(Kind::Set),
            "off" => {
                mark(Kind::Off);
                self.end(event.time_ms);
            }
            "gone" => {
                mark(Kind::Gone);
                self.end(event.time_ms);
            }
            "lost" | "not started" => {
                mark(Kind::Wrong);
                self.end(event.time_ms);
            }
            // It goes on.
            "not trusted" | "no network" => mark(Kind::Wrong),
            other => {
                let word = event.stage.as_deref().unwrap_or(other);
                let was = self.spans.last().filter(|it| it.to.is_none()).map(|it| it.word);
                if word == "ready" && !matches!(was, Some("ready" | "degraded")) {
                    mark(Kind::Ready);
                }
                self.turn(word, event);
            }
        }
    }

    /// The guest is in another way from now on. What a stage says first says most of it: then nothing is passed yet.
    fn turn(&mut self, word: &'a str, event: &'a Event) {
        if self.spans.last().is_some_and(|it| it.to.is_none() && it.word == word) {
            return;
        }
        self.end(event.time_ms);
        self.spans.push(Span { word, from: event.time_ms, to: None, detail: &event.detail });
    }

    fn end(&mut self, time: u64) {
        if let Some(last) = self.spans.last_mut().filter(|it| it.to.is_none()) {
            last.to = Some(time);
        }
    }

    /// Whether nothing is expected of the guest at this time and after it, until its next event.
    fn is_calm(&self, time: u64) -> bool {
        let now = self.spans.iter().rev().find(|it| it.from <= time);
        now.is_none_or(|it| {
            it.to.is_some_and(|to| to <= time) || matches!(it.word, "ready" | "degraded" | "failed")
        })
    }
}

/// Times, and where they are drawn, both in milliseconds from the first event.
#[derive(Debug)]
struct Scale {
    first: u64,
    stretches: Vec<Stretch>,
}

#[derive(Debug, PartialEq, Eq)]
struct Stretch {
    from: u64,
    to: u64,
    at: u64,
    is_cut: bool,
}

/// A longer time in which nothing is under way is cut, and so much of it is drawn.
const LONG: u64 = 10_000;
const CUT: u64 = 3000;

impl Scale {
    fn new(lanes: &[Lane<'_>], events: &[Event], until: u64) -> Self {
        let first = events.first().map_or(until, |it| it.time_ms);
        let times: Vec<_> = events.iter().map(|it| it.time_ms).chain([until.max(first)]).collect();
        let mut scale = Self { first, stretches: Vec::new() };
        for pair in times.windows(2) {
            let is_cut = pair[1] - pair[0] > LONG && lanes.iter().all(|it| it.is_calm(pair[0]));
            let at = scale.end();
            match scale.stretches.last_mut().filter(|it| !it.is_cut && !is_cut) {
                Some(last) => last.to = pair[1] - first,
                None => {
                    scale.stretches.push(Stretch { from: pair[0] - first, to: pair[1] - first, at, is_cut });
                }
            }
        }
        scale
    }

    /// All of what is drawn.
    fn end(&self) -> u64 {
        self.stretches.last().map_or(0, |it| it.at + it.drawn())
    }

    /// Where a moment is drawn.
    fn place(&self, time: u64) -> u64 {
        let time = time.saturating_sub(self.first);
        let Some(stretch) = self.stretches.iter().rev().find(|it| it.from <= time) else { return 0 };
        let within = time.min(stretch.to) - stretch.from;
        let length = (stretch.to - stretch.from).max(1);
        stretch.at
            + u64::try_from(u128::from(within) * u128::from(stretch.drawn()) / u128::from(length))
                .unwrap_or(0)
    }
}

impl Stretch {
    fn drawn(&self) -> u64 {
        if self.is_cut { CUT } else { self.to - self.from }
    }
}

#[cfg(test)]
mod tests;
