//! The drawing of what has happened: of a demo's events, kept here, it is the README's picture; and what is no event is refused.
//!
//! `BLESS=1` draws the picture anew. The events are those of `make demo`: its deployment's `events.jsonl`, just before `down` ends.

use std::fs;
use std::path::Path;

mod common;
use common::{answer, host};

const EVENTS: &str = "tests/fixtures/demo.jsonl";

#[test]
fn the_picture_is_drawn_from_what_was_recorded() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = host(here, &["timeline", "--events", EVENTS, "--name", "PetStore"]);
    let drawn = String::from_utf8(output.stdout).expect("UTF-8");
    let path = here.join("../docs/demo.svg");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &drawn).expect("written");
    }
    assert!(output.status.success());
    assert_eq!(fs::read_to_string(path).expect("there"), drawn, "BLESS=1 draws it anew");

    // Each guest is there, was ready and ended, in the order of the package.
    let text = fs::read_to_string(here.join(EVENTS)).expect("there");
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what}"));
    let first = ["DB1", "DB2", "WebTier"].map(|it| at(&format!("\"guest\":\"{it}\",\"event\":\"power on\"")));
    assert!(first.is_sorted(), "{first:?}");
    assert_eq!(drawn.matches(">ready at ").count(), 3, "{drawn}");
    assert_eq!(drawn.matches(">off at ").count(), 2, "{drawn}");
    assert_eq!(drawn.matches(">seen gone at ").count(), 1, "{drawn}");
    assert_eq!(drawn.matches(">set<").count(), 3, "{drawn}");
}

#[test]
fn what_is_no_event_is_refused_by_its_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let event = "{\"time_ms\":1,\"guest\":\"a\",\"event\":\"power on\"}\n";
    fs::write(directory.path().join("events"), format!("{event}{{}}\n{event}")).expect("written");
    let (text, status) = answer(directory.path(), &["timeline", "--events", "events"]);
    assert_eq!((text.as_str(), status), ("ovf-host: `events`:2: this is no event\n", Some(78)));

    // The last one may be half written.
    fs::write(directory.path().join("events"), format!("{event}{{\"time")).expect("written");
    let (text, status) = answer(directory.path(), &["timeline", "--events", "events", "--output", "a.svg"]);
    assert_eq!((text.as_str(), status), ("", Some(0)));
    assert!(fs::read_to_string(directory.path().join("a.svg")).expect("drawn").starts_with("<svg "));

    // No picture takes the place of what it is made of.
    let refused = "ovf-host: cannot write events: it is a file that this is made of; name another one\n";
    let (text, status) = answer(directory.path(), &["timeline", "--events", "events", "--output", "events"]);
    assert_eq!((text.as_str(), status), (refused, Some(1)));

    let (text, status) = answer(directory.path(), &["timeline", "--state", "nowhere"]);
    assert!(text.contains("nothing is deployed") && status == Some(64), "{text}");
}
