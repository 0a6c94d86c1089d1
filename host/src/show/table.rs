//! The table.
//!
//! Decides how it is drawn over the last one, in one write, and which guests it shows where there are more than lines.

#![forbid(unsafe_code)]

use super::{IDLE, Row};
use crate::finding::printable;
use crate::order::Moment;
use crate::terminal;

/// Lines beside the guests': the heading, the rest, and the one that the cursor is in.
const OTHERS: usize = 3;

/// The text that draws it over one of so many lines, and how many lines it has.
pub(super) fn draw(rows: &[&Row], now: Moment, drawn: usize) -> (String, usize) {
    let (columns, lines) = terminal::size();
    let (shown, rest) = choose(rows, lines.saturating_sub(OTHERS).max(1));
    let mut out = if drawn > 0 { format!("\x1b[{drawn}A\r") } else { String::new() };
    let width = shown.iter().map(|it| terminal::width(&printable(&it.id))).max().unwrap_or(0).clamp(5, 24);
    let mut count = 0;
    let mut line = |text: &str, state: Option<(usize, &str)>| {
        // The last column stays free: some terminals go on to the next line there.
        out.push_str(&painted(&terminal::cut(text.trim_end(), columns.saturating_sub(1)), state));
        out.push_str("\x1b[K\n");
        count += 1;
    };
    line(&format!("{}  {:<11} {:>6}", terminal::padded("guest", width), "state", "for"), None);
    for row in shown {
        let since =
            if row.state == IDLE { String::new() } else { format!("{} s", (now - row.since).as_secs()) };
        let id = terminal::padded(&printable(&row.id), width);
        let text = format!("{id}  {:<11} {since:>6}  {}", row.state, printable(&row.detail));
        line(&text, Some((id.len() + 2, &row.state)));
    }
    if !rest.is_empty() {
        line(&format!("and {rest}"), None);
    }
    out.push_str("\x1b[J");
    (out, count)
}

/// A line with the colour of the state that stands at this place in it. Where the line was cut before its end, it has none.
fn painted(line: &str, state: Option<(usize, &str)>) -> String {
    let has_colours = std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    let state = state.filter(|_| has_colours);
    let colour = |state: &str| match state {
        "ready" => Some(32),
        "starting" | "configuring" | "waiting" | "degraded" => Some(33),
        "failed" | "lost" | "gone" | "not started" | "not trusted" | "no network" => Some(31),
        "off" => Some(2),
        _ => None,
    };
    let parts = state.and_then(|(at, word)| {
        let (before, from) = line.split_at_checked(at)?;
        Some((before, word, from.strip_prefix(word)?, colour(word)?))
    });
    match parts {
        Some((before, word, after, colour)) => format!("{before}\x1b[{colour}m{word}\x1b[m{after}"),
        None => line.to_owned(),
    }
}

/// Those that are shown, and the others in words: `12 ready, 3 -`.
fn choose<'a>(rows: &[&'a Row], most: usize) -> (Vec<&'a Row>, String) {
    if rows.len() <= most {
        return (rows.to_vec(), String::new());
    }
    // What nothing more is expected of is shown last.
    let worth = |it: &Row| match it.state.as_str() {
        "ready" | "off" => 1,
        IDLE => 2,
        _ => 0,
    };
    let mut by_worth: Vec<_> = (0..rows.len()).collect();
    by_worth.sort_by_key(|&it| worth(rows[it]));
    let (shown, rest) = by_worth.split_at(most);
    let mut shown = shown.to_vec();
    shown.sort_unstable();
    let mut counts = std::collections::BTreeMap::new();
    for &it in rest {
        *counts.entry(if rows[it].state == IDLE { "not started" } else { &rows[it].state }).or_insert(0) += 1;
    }
    let words: Vec<_> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    (shown.into_iter().map(|it| rows[it]).collect(), words.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Row, choose, draw, painted};

    fn row(id: &str, state: &str, detail: &str) -> Row {
        Row {
            id: id.to_owned(),
            state: state.to_owned(),
            since: Duration::from_secs(2),
            detail: detail.to_owned(),
        }
    }

    #[test]
    fn a_table_is_drawn_over_the_last_one() {
        let rows = [row("DB1", "waiting", "tcp 127.0.0.1:5432 refused\x1b[2J"), row("WebTier", "-", "")];
        let (text, lines) = draw(&rows.iter().collect::<Vec<_>>(), Duration::from_secs(9), 3);
        let want = "\x1b[3A\rguest    state          for\x1b[K\n\
                    DB1      \x1b[33mwaiting\x1b[m        7 s  tcp 127.0.0.1:5432 refused\\u{1b}[2J\x1b[K\n\
                    WebTier  -\x1b[K\n\x1b[J";
        assert_eq!((text.as_str(), lines), (want, 3));
    }

    #[test]
    fn a_state_that_is_cut_has_no_colour() {
        for (line, want) in [
            ("a  ready  1 s", "a  \x1b[32mready\x1b[m  1 s"),
            ("a  rea…", "a  rea…"),
            ("…", "…"),
            ("a  booting", "a  booting"),
        ] {
            let state = if line.ends_with("booting") { "booting" } else { "ready" };
            assert_eq!(painted(line, Some((3, state))), want);
        }
    }

    #[test]
    fn those_that_something_is_expected_of_are_shown_first() {
        let mut rows: Vec<_> = (0..50).map(|it| row(&format!("g{it}"), "ready", "")).collect();
        rows[30] = row("g30", "waiting", "");
        rows.extend((50..60).map(|it| row(&format!("g{it}"), "-", "")));
        let all: Vec<_> = rows.iter().collect();
        let (shown, rest) = choose(&all, 3);
        let ids: Vec<_> = shown.iter().map(|it| it.id.as_str()).collect();
        assert_eq!((ids, rest.as_str()), (vec!["g0", "g1", "g30"], "10 not started, 47 ready"));
    }
}
