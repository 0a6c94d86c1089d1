//! `analyze`: where the time went.
//!
//! Decides the form: a table for each pass with its total and what took longest, the same as JSON, and by [`svg`] a picture. What
//! is recorded is decided in `times`. All of it is made as one text, for it is short and not asked for often.

#![forbid(unsafe_code)]

mod svg;

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use super::{Common, written};
use crate::agent::{Exit, Fault, Result};
use crate::times::{Told, ToldRow};

/// So many are named of those that took longest.
const LONGEST: usize = 3;
/// What the passes are called, in this order.
const TITLES: [&str; 2] = ["first pass of this boot", "last pass"];

impl Common {
    pub(super) fn analyze(&self, out: &mut impl Write, is_drawn: bool) -> Result<Exit> {
        let text = self.times()?;
        let Some(told) = Told::new(&text) else {
            let message = "the ovf-agent that runs here is another version than this command; restart it";
            return Err(Fault::not_there(message.to_owned()));
        };
        let shown = match () {
            () if self.json => json(&told),
            () if is_drawn => svg::draw(&told),
            () => table(&told),
        };
        out.write_all(shown.as_bytes()).or_else(written)?;
        Ok(Exit::Done)
    }
}

/// For how long, also where it is not over.
fn took(row: &ToldRow<'_>, now: u64) -> u64 {
    row.end.unwrap_or(now).saturating_sub(row.begin)
}

/// Whether it is a moment, and took no time of its own.
fn is_moment(row: &ToldRow<'_>) -> bool {
    matches!(row.what, "start" | "configured" | "failed" | "ready")
}

fn label(row: &ToldRow<'_>, now: u64) -> String {
    let ToldRow { what, name, .. } = row;
    let blank = if name.is_empty() { "" } else { " " };
    let time = if is_moment(row) { at(row.begin) } else { time(took(row, now)) };
    format!("{what}{blank}{name} {time}{}", open(row))
}

fn open(row: &ToldRow<'_>) -> &'static str {
    if row.end.is_none() { " (not over)" } else { "" }
}

/// Since the kernel was started.
fn at(micros: u64) -> String {
    format!("{}.{:03} s", micros / 1_000_000, micros / 1000 % 1000)
}

fn time(micros: u64) -> String {
    match micros {
        0..1_000_000 => format!("{}.{} ms", micros / 1000, micros / 100 % 10),
        _ => at(micros),
    }
}

fn table(told: &Told<'_>) -> String {
    let mut text = String::new();
    for (pass, title) in told.passes.iter().zip(TITLES) {
        let blank = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{blank}{title}\n\n       begin        time  what");
        let begin = pass.rows.first().map_or(0, |row| row.begin);
        let mut total = String::new();
        let mut longest = Vec::new();
        for (index, row) in pass.rows.iter().enumerate() {
            let took = Duration::from_micros(took(row, told.now));
            let time_of_it = match is_moment(row) {
                false => {
                    longest.push((took, index));
                    time(took.as_micros() as u64)
                }
                true if row.what == "start" => String::new(),
                true => {
                    let comma = if total.is_empty() { "" } else { ", " };
                    let after = time(row.begin.saturating_sub(begin));
                    let _ = write!(total, "{comma}{} after {after}", row.what);
                    String::new()
                }
            };
            let what = format!("{:12} {}{}", row.what, row.name, open(row));
            let _ = writeln!(text, "{:>12}  {time_of_it:>10}  {}", at(row.begin), what.trim_end());
        }
        if pass.left_out > 0 {
            let _ = writeln!(text, "{:26}{} more", "", pass.left_out);
        }
        if total.is_empty() {
            total.push_str("not over yet");
        }
        longest.sort_unstable();
        let _ = write!(text, "\n{total}");
        let mut before = ", longest: ";
        for (_, index) in longest.iter().rev().take(LONGEST) {
            let _ = write!(text, "{before}{}", label(&pass.rows[*index], told.now));
            before = "; ";
        }
        text.push('\n');
    }
    text
}

/// A row on each line, for people who look at it, too.
fn json(told: &Told<'_>) -> String {
    let string = |text: &str| Value::from(text).to_string();
    let mut text =
        format!("{{\n  \"boot\": {},\n  \"now_us\": {},\n  \"passes\": [", string(told.boot), told.now);
    for (index, pass) in told.passes.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}\n    {{ \"left_out\": {}, \"rows\": [", pass.left_out);
        for (index, ToldRow { what, name, begin, end }) in pass.rows.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let end = Value::from(*end);
            let name = string(name);
            let _ = write!(
                text,
                "{comma}\n      {{ \"what\": \"{what}\", \"name\": {name}, \"begin_us\": {begin}, \"end_us\": {end} }}"
            );
        }
        text.push_str("\n    ] }");
    }
    text.push_str("\n  ]\n}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::{json, svg, table};
    use crate::times::Told;
    use serde_json::Value;

    /// A boot that waited for its drive, and goes on to wait for a gate; and what came later.
    const TEXT: &str = "\
b 10291100

0
1204000 1204000 start\u{20}
1204010 1207110 detect\u{20}
1208000 3208500 wait a drive
3208500 3221000 read iso:/dev/sr0
3230000 3290000 hook first-boot/<b>&\\u{1b}[1m
3291000 3291000 configured\u{20}
3291100 0 gate unit mydb.service

7
9000000 9000040 read channel
9000100 9000100 failed ";

    fn told() -> Told<'static> {
        Told::new(TEXT).expect("well said")
    }

    #[test]
    fn a_table_has_every_row_and_what_took_longest() {
        let want = "\
first pass of this boot

       begin        time  what
     1.204 s              start
     1.204 s      3.1 ms  detect
     1.208 s     2.000 s  wait         a drive
     3.208 s     12.5 ms  read         iso:/dev/sr0
     3.230 s     60.0 ms  hook         first-boot/<b>&\\u{1b}[1m
     3.291 s              configured
     3.291 s     7.000 s  gate         unit mydb.service (not over)

configured after 2.087 s, longest: gate unit mydb.service 7.000 s (not over); wait a drive 2.000 s; \
hook first-boot/<b>&\\u{1b}[1m 60.0 ms

last pass

       begin        time  what
     9.000 s      0.0 ms  read         channel
     9.000 s              failed
                          7 more

failed after 0.1 ms, longest: read channel 0.0 ms
";
        assert_eq!(table(&told()), want);
        let begun =
            Told::new("b 2000000\n\n0\n1000000 1000000 start \n1000000 0 wait a drive").expect("well said");
        assert!(table(&begun).ends_with("\nnot over yet, longest: wait a drive 1.000 s (not over)\n"));
        let refused = Told::new("b 2000000\n\n0\n1000000 1000000 start \n1000000 1000000 failed ");
        assert!(table(&refused.expect("well said")).ends_with("\nfailed after 0.0 ms\n"));
    }

    #[test]
    fn the_data_are_the_same() {
        let data: Value = serde_json::from_str(&json(&told())).expect("JSON");
        assert_eq!((&data["boot"], &data["now_us"]), (&"b".into(), &10_291_100.into()));
        let (first, last) = (&data["passes"][0]["rows"], &data["passes"][1]["rows"]);
        assert_eq!((first.as_array().map(Vec::len), last.as_array().map(Vec::len)), (Some(7), Some(2)));
        assert_eq!(first[4]["name"], "first-boot/<b>&\\u{1b}[1m");
        assert_eq!((&first[3]["begin_us"], &first[3]["end_us"]), (&3_208_500.into(), &3_221_000.into()));
        assert_eq!((&first[6]["end_us"], &data["passes"][1]["left_out"]), (&Value::Null, &7.into()));
        let alone = Told::new("b 1\n\n0").expect("well said");
        let data: Value = serde_json::from_str(&json(&alone)).expect("JSON");
        assert_eq!(data["passes"], serde_json::json!([{ "left_out": 0, "rows": [] }]));
    }

    #[test]
    fn a_picture_is_xml_and_has_every_row() {
        let picture = svg::draw(&told());
        let mut reader = quick_xml::Reader::from_str(&picture);
        while reader.read_event().expect("well-formed") != quick_xml::events::Event::Eof {}
        for want in [
            ">start 1.204 s</text>",
            ">wait a drive 2.000 s</text>",
            ">hook first-boot/&lt;b&gt;&amp;\\u{1b}[1m 60.0 ms</text>",
            ">gate unit mydb.service 7.000 s (not over)</text>",
            ">configured 3.291 s</text>",
            "7 more",
        ] {
            assert!(picture.contains(want), "{want}: {picture}");
        }
    }

    #[test]
    fn whatever_is_said_is_shown() {
        for text in [
            "b 0\n\n0",
            "b 0\n\n0\n5 5 read a",
            "b 0\n\n0\n0 18446744073709551615 read a\n18446744073709551615 1 x y\n7 0 gate z",
        ] {
            let told = Told::new(text).expect(text);
            assert!(svg::draw(&told).ends_with("</svg>\n") && json(&told).ends_with("}\n"), "{text}");
            table(&told);
        }
    }
}
