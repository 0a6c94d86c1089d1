//! A plan as people read it: the dry run, in a stable order, with a unified diff for each file.
//!
//! Who hears of it comes last. Decides what of a file's content is shown: lines that hold a sensitive value, or may have held one, are masked, and of
//! a file that goes nothing is shown.

#![forbid(unsafe_code)]

use std::fmt;

use similar::{ChangeTag, TextDiff};

use super::{Action, Change, Plan, Removal};
use crate::template::{Rendered, Shown};
use crate::units::needs_reload;

/// Lines around a change in a diff.
const CONTEXT: usize = 3;
/// Lines of the longest file that is compared line by line; the time grows with the square of what differs.
const LONGEST: usize = 5000;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = self.kept {
            writeln!(f, "{why}")?;
        }
        if self.interrupted {
            writeln!(
                f,
                "an earlier pass was interrupted: its files would be put right before anything else"
            )?;
        }
        for change in &self.changes {
            write!(f, "{change}")?;
        }
        for Removal { path, template, action, why, .. } in &self.removals {
            writeln!(f, "{}: {action} ({why}; {template})", path.display())?;
        }
        for path in &self.leftovers {
            writeln!(f, "{}: left over from an interrupted pass, would be removed", path.display())?;
        }
        for hook in &self.hooks {
            writeln!(f, "would run: {hook}")?;
        }
        for (subject, what) in self.others() {
            writeln!(f, "{subject}: {what}")?;
        }
        let (total, changed) = (self.len(), self.changed().count() + self.removed().count());
        writeln!(f, "{changed} of {total} {} would change", if total == 1 { "file" } else { "files" })
    }
}

impl Plan {
    /// Who hears of the plan, and what each would do: systemd itself, units, and programs where there is no systemd.
    pub fn others(&self) -> Vec<(String, String)> {
        let mut others = Vec::new();
        if needs_reload(self.paths()) {
            others.push(("systemd".to_owned(), "would read its unit files again".to_owned()));
        }
        others.extend(self.roles.iter().map(|role| (role.unit.clone(), format!("would be {}", role.word()))));
        let fresh = self.owed();
        let mut all = fresh.clone();
        all.add(&self.debts);
        for (unit, verb) in all.units {
            let since = if fresh.units.contains_key(&unit) { "" } else { ", as an earlier pass left undone" };
            others.push((unit, format!("would {} if it runs{since}", verb.as_str())));
        }
        for argv in all.on_change {
            others.push((argv.join(" "), "would be run where there is no systemd".to_owned()));
        }
        others
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rendered { template, path, mode, owner, group, content, shown, rules: _ } = &self.rendered;
        if let Some(why) = self.why {
            return writeln!(f, "{}: {} ({why}; {template})", path.display(), self.action);
        }
        write!(f, "{}: {} (mode {mode:04o}", path.display(), self.action)?;
        if let Some(was) = self.current.as_ref().map(|current| current.mode).filter(|was| was != mode) {
            write!(f, ", was {was:04o}")?;
        }
        for (what, name) in [("owner", owner), ("group", group)] {
            if let Some(name) = name {
                write!(f, ", {what} {name}")?;
            }
        }
        writeln!(f, "; {template})")?;
        if self.action == Action::Unchanged {
            return Ok(());
        }
        let old = self.current.as_ref().map_or(&b""[..], |current| &current.content);
        match str::from_utf8(old) {
            Err(_) => writeln!(f, "  the file that is there is no text"),
            Ok(old) => diff(f, path, self.current.is_some(), old, content, shown),
        }
    }
}

/// A unified diff in which no sensitive value can stand: new lines come from the masked text, and of the old
/// file, whose secrets nobody knows any more, only lines that stay as they are.
fn diff(
    f: &mut fmt::Formatter<'_>,
    path: &std::path::Path,
    exists: bool,
    old: &str,
    new: &str,
    shown: &Shown,
) -> fmt::Result {
    if old == new {
        return Ok(());
    }
    let masked: Option<Vec<&str>> = match shown {
        Shown::Content => None,
        Shown::Masked(text) => Some(text.split_inclusive('\n').collect()),
        Shown::Nothing => Some(Vec::new()),
    };
    let longest = old.lines().count().max(new.lines().count());
    if longest > LONGEST {
        return writeln!(f, "  the content differs; with {longest} lines it is too long for a diff");
    }
    if let Some(lines) = &masked
        && lines.len() != new.split_inclusive('\n').count()
    {
        return writeln!(f, "  the content differs; it depends on a sensitive value and is not shown");
    }
    let diff = TextDiff::from_lines(old, new);
    let before = if exists { path.display().to_string() } else { "/dev/null".to_owned() };
    writeln!(f, "--- {before}\n+++ {}", path.display())?;
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        writeln!(f, "{}", hunk.header())?;
        for change in hunk.iter_changes() {
            let line = match (&masked, change.tag(), change.new_index()) {
                (None, ..) => change.value(),
                (Some(lines), ChangeTag::Equal | ChangeTag::Insert, Some(index)) => lines[index],
                (Some(_), ..) => "(a line that may hold a sensitive value)\n",
            };
            write!(f, "{}{line}", change.tag())?;
            if !line.ends_with('\n') {
                writeln!(f, "\n\\ No newline at end of file")?;
            }
        }
    }
    Ok(())
}
