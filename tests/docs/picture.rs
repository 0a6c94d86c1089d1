//! The picture in README.md: `docs/demo.svg`, made from what the demo has shown in a terminal.
//!
//! The recording is `tests/docs/demo.ansi`, of the program that `make demo` builds and starts:
//!
//!     script -qefc target/debug/demo /dev/null | tr -d '\r' > tests/docs/demo.ansi
//!
//! and with `BLESS=1` this test makes the picture of it. That the demo still prints such lines is seen by the guest tests
//! (`qemu-tests/tests/guest/docs.rs`). The report and the times would make it too long to look at: they are left out.

use std::fmt::Write;

use quick_xml::events::Event;

use crate::terminal::{Line, Span, lines, plain};
use crate::{compare, read, top};

/// The sections that are shown, by the beginning of their heading.
const SHOWN: [&str; 2] = ["A guest configures itself", "The files that it wrote"];
/// Longer lines are broken.
const COLUMNS: usize = 124;
/// The grid, in the picture's units.
const WIDTH: f64 = 7.85;
const HEIGHT: usize = 18;
const MARGIN: usize = 20;
/// Above the first line: the window's bar.
const BAR: usize = 46;

/// The lines that the picture shows.
fn shown(recorded: &str) -> Vec<Line> {
    let prompt = Span { paint: 0, text: "$ make demo".to_owned() };
    let mut found = vec![vec![prompt], Line::new()];
    let mut is_shown = true;
    let all = lines(recorded);
    let last = all.iter().rposition(|line| !line.is_empty()).expect("a line");
    for (number, line) in all.into_iter().enumerate() {
        let text = plain(&line);
        // A heading is bold, at the beginning of its line; the verdict, the last line, is shown as well.
        if line.first().is_some_and(|span| span.paint == 1) && !text.starts_with(' ') {
            is_shown = SHOWN.iter().any(|heading| text.starts_with(heading));
        }
        is_shown |= number == last;
        if is_shown && (!text.is_empty() || found.last().is_some_and(|line| !line.is_empty())) {
            found.push(line);
        }
        if number + 1 == last && !is_shown && found.last().is_some_and(|line| !line.is_empty()) {
            found.push(Line::new());
        }
    }
    found.iter().flat_map(broken).collect()
}

/// A line in lines that are short enough, broken at blanks.
fn broken(line: &Line) -> Vec<Line> {
    let (mut found, mut column) = (vec![Line::new()], 0);
    for span in line {
        for (number, word) in span.text.split_inclusive(' ').enumerate() {
            if column + word.chars().count() > COLUMNS {
                found.push(Line::new());
                column = 0;
            }
            column += word.chars().count();
            let line = found.last_mut().expect("a line");
            match line.last_mut().filter(|_| number > 0) {
                Some(last) => last.text += word,
                None => line.push(Span { paint: span.paint, text: word.to_owned() }),
            }
        }
    }
    found
}

/// How a terminal's colour looks on this background.
fn look(paint: u8) -> &'static str {
    match paint {
        1 => r##"fill="#f0f6fc" font-weight="bold""##,
        2 => r##"fill="#7d8590""##,
        31 => r##"fill="#ff7b72""##,
        32 => r##"fill="#56d364""##,
        36 => r##"fill="#76e3ea""##,
        _ => r##"fill="#c9d1d9""##,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The picture.
fn svg(lines: &[Line]) -> String {
    let columns = lines.iter().map(|line| plain(line).chars().count()).max().unwrap_or_default();
    let width = (columns as f64 * WIDTH).ceil() as usize + 2 * MARGIN;
    let height = lines.len() * HEIGHT + BAR + MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\">\n<title>make demo</title>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#0d1117\"/>\n"
    );
    for (number, colour) in ["#ff5f57", "#febc2e", "#28c840"].into_iter().enumerate() {
        let _ =
            writeln!(out, "<circle cx=\"{}\" cy=\"18\" r=\"5\" fill=\"{colour}\"/>", MARGIN + number * 18);
    }
    out += "<g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"13\">\n";
    for (number, line) in lines.iter().enumerate() {
        let y = BAR + number * HEIGHT;
        let mut column = 0;
        for Span { paint, text } in line {
            let before = text.chars().take_while(|c| *c == ' ').count();
            let word = text.trim();
            // Its place and length are said, so that columns stand below each other in any font.
            if !word.is_empty() {
                let x = MARGIN as f64 + (column + before) as f64 * WIDTH;
                let length = word.chars().count() as f64 * WIDTH;
                let _ = writeln!(
                    out,
                    "<text xml:space=\"preserve\" x=\"{x:.1}\" y=\"{y}\" textLength=\"{length:.1}\" {}>{}</text>",
                    look(*paint),
                    escaped(word)
                );
            }
            column += text.chars().count();
        }
    }
    out + "</g>\n</svg>\n"
}

#[test]
fn the_picture_is_what_was_recorded() {
    let lines = shown(&read(top().join("tests/docs/demo.ansi")));
    let path = top().join("docs/demo.svg");
    let is = if path.exists() { read(&path) } else { String::new() };
    compare(&path, &is, &svg(&lines));
    assert!((20..60).contains(&lines.len()), "{} lines: too few or too many to look at", lines.len());
}

#[test]
fn the_picture_is_well_formed_and_has_all_of_its_lines() {
    let text = read(top().join("docs/demo.svg"));
    let mut reader = quick_xml::Reader::from_str(&text);
    let (mut depth, mut words) = (0, String::new());
    loop {
        match reader.read_event().expect("well-formed XML") {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            Event::Text(it) => words += &it,
            Event::GeneralRef(it) if &*it == "amp" => words.push('&'),
            Event::GeneralRef(it) if &*it == "lt" => words.push('<'),
            Event::GeneralRef(it) if &*it == "gt" => words.push('>'),
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "an element is open");
    let without_blanks = |text: &str| text.split_whitespace().collect::<String>();
    let recorded: String = shown(&read(top().join("tests/docs/demo.ansi"))).iter().map(plain).collect();
    assert_eq!(without_blanks(&words), without_blanks(&format!("make demo {recorded}")));
    for word in ["ovf-agent", "report", "ready", "/etc/mydb/mydb.conf"] {
        assert!(words.contains(word), "no {word} in the picture");
    }
}
