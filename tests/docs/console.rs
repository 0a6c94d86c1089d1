//! A `console` block: which commands it has, and whether what was said is what it shows.
//!
//! A line that begins with `$ ` is a command. Where there is a guest, `# ` is a command of root's in it; elsewhere it is nothing but
//! what was said. A backslash at a command's end goes on in the next line. What follows is what it says, both outputs together: a
//! line `...` stands for any number of lines, and `...` in a line for any text.

use std::ops::Range;

use super::markdown::{Block, Place};

/// A command, and what is shown of it.
#[derive(Debug)]
pub(crate) struct Command {
    /// Whether it is run in the guest.
    pub(crate) is_root: bool,
    pub(crate) text: String,
    /// The lines of the page that show what it says, from 0.
    pub(crate) shown: Range<usize>,
    /// What they are.
    pub(crate) says: Vec<String>,
}

/// The commands of a block, or what is wrong with it.
pub(crate) fn commands(block: &Block) -> Result<Vec<Command>, String> {
    let mut found: Vec<Command> = Vec::new();
    let mut is_whole = true;
    let has_root = !matches!(block.place, Place::Desk(_) | Place::Host(_));
    let root = |line: &'_ str| line.strip_prefix("# ").filter(|_| has_root).map(str::to_owned);
    for (position, line) in block.lines.iter().enumerate() {
        let here = block.first + position;
        if !is_whole {
            let last = found.last_mut().expect("it is not whole");
            last.text = format!("{}\n{line}", last.text);
            last.shown = here + 1..here + 1;
        } else if let Some(text) = line.strip_prefix("$ ").map(str::to_owned).or_else(|| root(line)) {
            let is_root = line.starts_with('#');
            let shown = here + 1..here + 1;
            found.push(Command { is_root, text, shown, says: Vec::new() });
        } else {
            let last = found
                .last_mut()
                .ok_or("the first line is no command: it begins with `$ `, or in a guest with `# `")?;
            last.says.push(line.clone());
            last.shown.end = here + 1;
            continue;
        }
        is_whole = !line.ends_with('\\');
    }
    if found.is_empty() { Err("there is no command in it".to_owned()) } else { Ok(found) }
}

/// Whether a command has said what is shown of it.
pub(crate) fn agrees(shown: &[String], said: &[&str]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((first, rest)) if first == "..." => (0..=said.len()).any(|from| agrees(rest, &said[from..])),
        Some((first, rest)) => {
            said.split_first().is_some_and(|(line, others)| is_line(first, line) && agrees(rest, others))
        }
    }
}

fn is_line(shown: &str, said: &str) -> bool {
    let mut parts = shown.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = said.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            let Some((_, after)) = rest.split_once(before) else { return false };
            rest = after;
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

/// What was said in place of these lines of a page, in their order.
pub(crate) type Answers = Vec<(Range<usize>, String)>;

/// The page as it should be.
pub(crate) fn with_answers(text: &str, answers: &Answers) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    // From the end, so that numbers stay right.
    for (range, said) in answers.iter().rev() {
        lines.splice(range.clone(), said.lines());
    }
    lines.join("\n") + "\n"
}

/// A script that runs a command as a terminal would, after one that has ended with `status`.
pub(crate) fn script(command: &str, status: i32) -> String {
    format!("exec 2>&1; (exit {status}); {command}")
}
