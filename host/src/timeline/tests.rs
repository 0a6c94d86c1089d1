//! What becomes of events, and that the picture is XML whatever they say.

use super::{CUT, Kind, Mark, Scale, Span, draw, lanes};
use crate::show::Event;

fn event(time_ms: u64, guest: &str, what: &str, detail: &str) -> Event {
    let (event, stage) = match what.strip_prefix("report ") {
        Some(stage) => ("report", Some(stage.to_owned())),
        None => (what, None),
    };
    Event {
        time_ms,
        guest: guest.to_owned(),
        event: event.to_owned(),
        stage,
        ready: None,
        generation: None,
        detail: detail.to_owned(),
    }
}

/// A guest that starts, is sent to, and stops; another that is lost.
fn life() -> Vec<Event> {
    let of = |&(time, guest, what, detail): &(u64, &str, &str, &str)| event(time, guest, what, detail);
    [
        (1000, "a", "power on", ""),
        (1100, "a", "booting", ""),
        (6000, "a", "report starting", ""),
        (6200, "a", "report waiting", "tcp refused; file missing"),
        (6500, "a", "report waiting", "tcp refused"),
        (7000, "a", "report ready", ""),
        (7000, "b", "power on", ""),
        (7100, "b", "lost", "killed by signal 9"),
        (90_000, "a", "report ready", ""),
        (90_100, "a", "sent", "another environment"),
        (90_200, "a", "report degraded", "tcp refused"),
        (90_300, "a", "report ready", ""),
        (91_000, "a", "stopping", "it was asked"),
        (91_500, "a", "off", ""),
    ]
    .iter()
    .map(of)
    .collect()
}

#[test]
fn events_become_spans_and_marks() {
    let events = life();
    let lanes = lanes(&events);
    let span = |word, from, to, detail| Span { word, from, to: Some(to), detail };
    assert_eq!(lanes.iter().map(|it| it.guest).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(
        lanes[0].spans,
        [
            span("booting", 1000, 6000, ""),
            span("starting", 6000, 6200, ""),
            span("waiting", 6200, 7000, "tcp refused; file missing"),
            span("ready", 7000, 90_200, ""),
            span("degraded", 90_200, 90_300, "tcp refused"),
            span("ready", 90_300, 91_000, ""),
            span("stopping", 91_000, 91_500, "it was asked"),
        ]
    );
    let mark = |time, kind, detail| Mark { time, kind, detail };
    assert_eq!(
        lanes[0].marks,
        [
            mark(1000, Kind::On, ""),
            mark(7000, Kind::Ready, ""),
            mark(90_100, Kind::Set, "another environment"),
            mark(91_500, Kind::Off, "")
        ]
    );
    assert_eq!(lanes[1].marks[1], mark(7100, Kind::Wrong, "killed by signal 9"));
}

#[test]
fn a_long_calm_is_cut_and_a_long_wait_is_not() {
    let events = life();
    let scale = Scale::new(&lanes(&events), &events, 91_500);
    assert_eq!(scale.stretches.iter().map(|it| it.is_cut).collect::<Vec<_>>(), [false, true, false]);
    let places = [500, 1000, 7100, 90_000, 91_500, 99_999].map(|it| scale.place(it));
    assert_eq!(places, [0, 0, 6100, 6100 + CUT, 6100 + CUT + 1500, 6100 + CUT + 1500]);

    let waits = [event(0, "a", "power on", ""), event(60_000, "a", "report ready", "")];
    assert_eq!(Scale::new(&lanes(&waits), &waits, 60_000).end(), 60_000);
}

#[test]
fn the_picture_has_each_span_where_it_was() {
    let picture = draw("shop", &life(), None);
    let document = roxmltree::Document::parse(&picture).expect("XML");
    let has = |text: &str| document.descendants().any(|it| it.is_text() && it.text() == Some(text));
    for text in
        ["a", "b", "ready at 6.0 s", "set", "off at 90.5 s", "✕ at 6.1 s", "⋯ 82.9 s ⋯", "booting 5.0 s"]
    {
        assert!(has(text), "{text}: {picture}");
    }
    assert!(has("waiting, 0.8 s: tcp refused; file missing"), "{picture}");
    // 10.6 s are drawn in 1000: from 5 s on for 0.2 s.
    let bars: Vec<_> =
        document.descendants().filter(|it| it.attribute("class") == Some("starting")).collect();
    assert_eq!((bars[0].attribute("x"), bars[0].attribute("width")), (Some("511"), Some("19")), "{picture}");
}

#[test]
fn a_guest_that_has_gone_is_drawn_up_to_when_that_was_seen() {
    let events = [
        event(0, "a", "power on", ""),
        event(1000, "a", "report ready", ""),
        event(5000, "a", "gone", "it was not there any more"),
        event(9000, "b", "power on", ""),
    ];
    let all = lanes(&events);
    assert_eq!(all[0].spans[1], Span { word: "ready", from: 1000, to: Some(5000), detail: "" });
    let gone = Mark { time: 5000, kind: Kind::Gone, detail: "it was not there any more" };
    assert_eq!(all[0].marks.last(), Some(&gone));
    assert!(draw("shop", &events, None).contains(">seen gone at 5.0 s<"));
}

#[test]
fn a_clock_that_is_put_back_moves_nothing() {
    let events =
        [event(5000, "a", "power on", ""), event(1000, "a", "report ready", ""), event(7000, "a", "off", "")];
    let picture = draw("shop", &events, None);
    assert!(picture.contains(">ready at 0.0 s<") && picture.contains(">off at 2.0 s<"), "{picture}");
}

#[test]
fn the_picture_is_xml_whatever_guests_say() {
    let hostile = "<b>&\"']]>\u{1}\u{1b}[2J\u{202e}";
    let events = [
        event(u64::MAX - 1, hostile, "power on", hostile),
        event(5, hostile, &format!("report {hostile}"), hostile),
        event(7, "b", hostile, hostile),
    ];
    for events in [&events[..], &[]] {
        for until in [None, Some(0), Some(u64::MAX)] {
            let picture = draw(hostile, events, until);
            let document =
                roxmltree::Document::parse(&picture).unwrap_or_else(|error| panic!("{error}: {picture}"));
            assert!(document.descendants().all(|it| !it.has_tag_name("script") && !it.has_tag_name("b")));
        }
    }
}
