//! `docs/errors.md`: every refusal of the golden cases, why a document is refused, and messages that are the agent's.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{compare, read, top};

/// What is refused, in the words of the reports.
struct Refused {
    /// The case's name as a sentence.
    sentence: String,
    stage: String,
    code: String,
    /// Each message, with the line that it is about.
    messages: Vec<(String, Option<String>)>,
}

/// The golden cases that are refused, each message once, in the order of their names.
fn refused() -> Vec<Refused> {
    let mut cases: Vec<PathBuf> = fs::read_dir(top().join("tests/cases"))
        .expect("cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    cases.sort();
    let name = |case: &PathBuf| Some(case.file_name()?.to_str()?.strip_prefix("refused-")?.replace('-', " "));
    let mut found = Vec::new();
    for (case, name) in cases.iter().filter_map(|case| Some((case, name(case)?))) {
        let report: Value = serde_json::from_str(&read(case.join("report.json"))).expect("JSON");
        let failure = |field: &str| report["failure"][field].as_str().expect("text").to_owned();
        let message = failure("message").replace("SCRATCH/", "");
        let messages =
            parts(&message).into_iter().map(|part| (part.to_owned(), line_of(case, part))).collect();
        let word = |word: &str| match word {
            "doctype" | "ini" | "iso" | "toml" => word.to_uppercase(),
            word => word.to_owned(),
        };
        let name = name.split(' ').map(word).collect::<Vec<_>>().join(" ");
        let mut letters = name.chars();
        let first = letters.next().expect("a name").to_uppercase();
        let sentence = first.chain(letters).collect();
        found.push(Refused { sentence, stage: failure("stage"), code: failure("code"), messages });
    }
    found
}

/// A message about several things, in parts.
fn parts(message: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for line in message.lines() {
        let mut rest = line;
        while let Some(at) = rest.find("; parameter `") {
            parts.push(&rest[..at]);
            rest = &rest[at + 2..];
        }
        parts.push(rest);
    }
    parts
}

/// The line of the case's machine that a message is about.
fn line_of(case: &Path, message: &str) -> Option<String> {
    let (file, line) = match message.split_once(" is refused: line ") {
        Some((_, place)) => (case.join("ovf-env.xml"), place.split_once(',')?.0),
        None => {
            let (file, rest) = message.split_once(':')?;
            let file = match file.strip_prefix('/') {
                Some(whole) => case.join("root").join(whole),
                None => case.join("root/etc/ovf-agent").join(file),
            };
            (file, rest.split_once(':')?.0)
        }
    };
    let number: usize = line.parse().ok()?;
    let text = String::from_utf8_lossy(&fs::read(file).ok()?).into_owned();
    let line = text.lines().nth(number.checked_sub(1)?)?.trim().to_owned();
    Some(line).filter(|line| !line.is_empty() && line.chars().all(|c| !c.is_control()))
}

/// The part of `errors.md` for messages of this stage and code.
fn section(cases: &[Refused], stage: &str, code: &str) -> String {
    let mut out = String::new();
    for case in cases.iter().filter(|case| case.stage == stage && case.code == code) {
        let _ = writeln!(out, "**{}**\n\n```text", case.sentence);
        let mut last = None;
        for (message, line) in &case.messages {
            if line.is_some() && *line != last {
                let _ = writeln!(out, "{}", line.as_deref().unwrap_or_default());
                last.clone_from(line);
            }
            let _ = writeln!(out, "    {message}");
        }
        let _ = writeln!(out, "```\n");
    }
    out
}

#[test]
fn every_refusal_of_the_golden_cases_is_listed() {
    let path = top().join("docs/errors.md");
    let text = read(&path);
    let cases = refused();
    let mut out = String::new();
    let mut listed = 0;
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("<!-- refused: ") {
        let (place, after) = after.split_once(" -->\n").expect("the mark ends");
        let (stage, code) = place.split_once(' ').expect("a stage and a code");
        let (_, after) = after.split_once("<!-- end -->").expect("an end");
        let made = section(&cases, stage, code);
        assert!(!made.is_empty(), "no case is refused with {stage} {code}");
        listed += cases.iter().filter(|case| case.stage == stage && case.code == code).count();
        let _ = write!(out, "{before}<!-- refused: {place} -->\n\n{made}<!-- end -->");
        rest = after;
    }
    out += rest;
    let (before, after) = out.split_once("<!-- documents -->\n").expect("a place for documents");
    let (_, after) = after.split_once("<!-- end -->").expect("an end");
    let out = format!("{before}<!-- documents -->\n\n{}<!-- end -->{after}", documents_are_refused_for());
    let places: Vec<_> = cases.iter().map(|case| format!("{} {}", case.stage, case.code)).collect();
    assert_eq!(listed, cases.len(), "errors.md has no place for one of {places:?}");
    compare(&path, &text, &out);
}

/// Why a document is refused, from the type that has all reasons: `#[error("...")]` above each.
fn documents_are_refused_for() -> String {
    let source = texts_on_one_line(&read(top().join("agent/src/environment/error.rs")));
    let (_, kinds) = source.split_once("pub enum ErrorKind {").expect("the type");
    let (kinds, limits) = kinds.split_once("\n}\n").expect("its end");
    let mut out = String::new();
    for message in kinds.split("#[error(").skip(1) {
        let message = literal(message);
        if message != "{0}; send less" {
            let _ = writeln!(out, "{}", variable(&message));
        }
    }
    // The one that is left out has these in the place of its name.
    let (_, limits) = limits.split_once("impl fmt::Display for Limit").expect("the limits");
    let (limits, _) = limits.split_once("\n}\n").expect("their end");
    for limit in limits.split("write!(").skip(1) {
        let (_, message) = limit.split_once("f,").expect("a formatter");
        let _ = writeln!(out, "{}; send less", variable(&literal(message)));
    }
    format!("```text\n{out}```\n\n")
}

/// The text of the first literal.
fn literal(source: &str) -> String {
    let (_, text) = source.split_once('"').expect("a text");
    let mut letters = text.chars();
    let mut found = String::new();
    while let Some(c) = letters.next().filter(|c| *c != '"') {
        found.push(if c == '\\' { letters.next().expect("an escape") } else { c });
    }
    found
}

/// A message with its variable parts left open; constants of the source are no variables for a reader, but numbers.
fn variable(message: &str) -> String {
    let mut out = String::new();
    let mut rest = message.replace("{NAMESPACE}", ovf_agent::environment::NAMESPACE);
    while let Some((before, after)) = rest.clone().split_once('{') {
        let (_, after) = after.split_once('}').expect("a brace");
        out += before;
        out.push('…');
        rest = after.to_owned();
    }
    out + &rest
}

/// The agent's source without comments, its texts on one line each.
fn source() -> String {
    let mut all = String::new();
    let mut todo = vec![top().join("agent/src")];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
                let text = read(&path);
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                all += &code.collect::<Vec<_>>().join("\n");
            }
        }
    }
    texts_on_one_line(&all).replace("\\\"", "\"")
}

/// A backslash at a line's end goes on behind the blanks of the next.
fn texts_on_one_line(source: &str) -> String {
    let mut lines = source.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

#[test]
fn messages_in_tables_are_the_agents() {
    let text = read(top().join("docs/errors.md"));
    let source = source();
    let (mut messages, mut about) = (0, false);
    for row in text.lines() {
        about = row.starts_with("| message |") || about && row.starts_with('|');
        if !about || !row.starts_with("| `") {
            continue;
        }
        let message = row.trim_start_matches("| `").split("` |").next().expect("a cell");
        // What differs each time stands for itself.
        for fixed in message.split('…').map(str::trim).filter(|fixed| !fixed.is_empty()) {
            assert!(source.contains(fixed), "no message has {fixed:?}: {row}");
        }
        messages += 1;
    }
    assert!(messages > 20, "{messages} messages");
}
