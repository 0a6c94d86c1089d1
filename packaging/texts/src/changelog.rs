//! Debian's changelog, from CHANGELOG.md.
//!
//! Decides nothing: each `## VERSION, DAY` becomes an entry, each `- ` in it a `*`; what a version is introduced with
//! becomes the first. The form is deb-changelog(5)'s.

#![forbid(unsafe_code)]

use std::fmt::Write;

use crate::Result;
use crate::date::Date;

/// Who makes the packages, as deb-changelog(5) wants it.
const MAINTAINER: &str = "ovf-agent maintainers <maintainers@ovf-agent.example>";
/// A line of a change has this many columns at most, behind its indentation.
const WIDTH: usize = 76;

/// That of a package; `now` dates what is not released yet.
pub(crate) fn debian(package: &str, changelog: &str, now: Date) -> Result<String> {
    let mut out = String::new();
    for entry in changelog.split("\n## ").skip(1) {
        let (title, body) = entry.split_once('\n').unwrap_or((entry, ""));
        let Some((version, day)) = title.split_once(", ") else {
            return Err(format!("CHANGELOG.md: `## {title}` is not `## VERSION, DAY`"));
        };
        let date = match day {
            "unreleased" => now,
            day => Date::of_day(day)
                .ok_or_else(|| format!("CHANGELOG.md: `{day}` is neither a day nor `unreleased`"))?,
        };
        let between = if out.is_empty() { "" } else { "\n" };
        let _ = writeln!(out, "{between}{package} ({version}-1) unstable; urgency=medium\n");
        for change in changes(body) {
            fill(&mut out, &change);
        }
        let _ = writeln!(out, "\n -- {MAINTAINER}  {}", date.of_mail());
    }
    if out.is_empty() {
        return Err("CHANGELOG.md has no `## VERSION, DAY`".to_owned());
    }
    Ok(out)
}

/// The paragraphs and items of an entry, each in one line.
fn changes(body: &str) -> Vec<String> {
    let mut changes: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in body.lines() {
        let text = line.trim();
        match text.strip_prefix("- ") {
            Some(text) => changes.push(text.to_owned()),
            None if text.is_empty() => {}
            None if is_open => {
                let change = changes.last_mut().expect("one is open");
                change.push(' ');
                change.push_str(text);
            }
            None => changes.push(text.to_owned()),
        }
        is_open = !text.is_empty();
    }
    changes
}

fn fill(out: &mut String, change: &str) {
    let (mut indent, mut line) = ("  * ", String::new());
    for word in change.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{indent}{line}");
            (indent, line) = ("    ", String::new());
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{indent}{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_become_entries_and_items_changes() {
        let long = "word ".repeat(20);
        let text = format!(
            "# Changelog\n\n## 0.2.0, unreleased\n\nIn short.\n\n- One\n  thing.\n- Another.\n\n## 0.1.0, 2026-11-22\n\n- {long}\n"
        );
        let expected = "ovf-agent (0.2.0-1) unstable; urgency=medium\n\n  * In short.\n  * One thing.\n  * Another.\n\n -- \
            ovf-agent maintainers <maintainers@ovf-agent.example>  Fri, 01 Jan 2027 00:00:00 +0000\n\n\
            ovf-agent (0.1.0-1) unstable; urgency=medium\n\n  * word word word word word word word word word word word \
            word word word word\n    word word word word word\n\n -- ovf-agent maintainers \
            <maintainers@ovf-agent.example>  Sun, 22 Nov 2026 00:00:00 +0000\n";
        assert_eq!(
            debian("ovf-agent", &text, Date::of_day("2027-01-01").expect("a day")).as_deref(),
            Ok(expected)
        );
    }

    #[test]
    fn a_title_of_another_form_is_refused() {
        let now = Date::of_seconds(0);
        for (text, part) in [
            ("# Changelog\n", "no `## VERSION, DAY`"),
            ("# C\n\n## 0.1.0\n", "`## 0.1.0`"),
            ("# C\n\n## 0.1.0, soon\n", "`soon`"),
        ] {
            let message = debian("ovf-agent", text, now).expect_err(text);
            assert!(message.contains(part), "{message}");
        }
    }
}
