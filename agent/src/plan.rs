//! What a pass would change, before it changes anything.
//!
//! Decides which files are new, changed or unchanged, by comparing what was rendered with what is there. Pure: the
//! current files are arguments. Its Display is the dry run, in a stable order, with a unified diff for each file; lines
//! that hold a sensitive value, or may have held one, are masked.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;

use similar::{ChangeTag, TextDiff};

use crate::sys::place::Current;
use crate::template::{Rendered, Shown};

/// Lines around a change in a diff.
const CONTEXT: usize = 3;
/// Lines of the longest file that is compared line by line; the time grows with the square of what differs.
const LONGEST: usize = 5000;

/// Owner and group as numbers, where they are to be set: in the running system, not in a directory that stands for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ids {
    /// The owner.
    pub owner: Option<u32>,
    /// The group.
    pub group: Option<u32>,
}

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is not there yet.
    New,
    /// Its content, mode or owner differs.
    Changed,
    /// It is right already.
    Unchanged,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        })
    }
}

/// One file of a plan.
#[derive(Debug)]
pub struct Change {
    /// The file as it should be.
    pub rendered: Rendered,
    /// Its owner and group as it should have them.
    pub ids: Ids,
    /// The file as it is.
    pub current: Option<Current>,
    /// What follows.
    pub action: Action,
}

/// Everything that a pass would do.
#[derive(Debug, Default)]
pub struct Plan {
    /// The files, by path.
    pub changes: Vec<Change>,
    /// What an interrupted pass left behind, to be removed.
    pub leftovers: Vec<PathBuf>,
    /// Whether everything stays as it is because there is no environment.
    pub kept: bool,
}

impl Plan {
    /// Compares what should be with what is.
    pub fn new(mut files: Vec<(Rendered, Ids, Option<Current>)>, mut leftovers: Vec<PathBuf>) -> Self {
        files.sort_by(|(a, ..), (b, ..)| a.path.cmp(&b.path));
        leftovers.sort();
        leftovers.dedup();
        let changes = files
            .into_iter()
            .map(|(rendered, ids, current)| {
                let action = action(&rendered, ids, current.as_ref());
                Change { rendered, ids, current, action }
            })
            .collect();
        Self { changes, leftovers, kept: false }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.leftovers.is_empty() && self.changed().next().is_none()
    }

    /// The files that would be written.
    pub fn changed(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.action != Action::Unchanged)
    }
}

fn action(rendered: &Rendered, ids: Ids, current: Option<&Current>) -> Action {
    let Some(current) = current else { return Action::New };
    let same = current.content == rendered.content.as_bytes()
        && current.mode == rendered.mode
        && ids.owner.is_none_or(|owner| owner == current.uid)
        && ids.group.is_none_or(|group| group == current.gid);
    if same { Action::Unchanged } else { Action::Changed }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kept {
            writeln!(f, "no OVF environment: the files stay as they are")?;
        }
        for change in &self.changes {
            write!(f, "{change}")?;
        }
        for path in &self.leftovers {
            writeln!(f, "{}: left over from an interrupted pass, would be removed", path.display())?;
        }
        let (total, changed) = (self.changes.len(), self.changed().count());
        writeln!(f, "{changed} of {total} {} would change", if total == 1 { "file" } else { "files" })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rendered { template, path, mode, owner, group, content, shown, rules: _ } = &self.rendered;
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

#[cfg(test)]
mod tests {
    use super::{Action, Ids, Plan};
    use crate::sys::place::Current;
    use crate::template::{Rendered, Rules, Shown};
    use zeroize::Zeroizing;

    fn rendered(path: &str, content: &str, shown: Shown) -> Rendered {
        Rendered {
            template: "templates/t.tera".to_owned(),
            path: path.into(),
            mode: 0o640,
            owner: Some("db".to_owned()),
            group: None,
            content: Zeroizing::new(content.to_owned()),
            shown,
            rules: Rules::default(),
        }
    }

    fn current(content: &str, mode: u32, uid: u32) -> Option<Current> {
        Some(Current { content: content.into(), mode, uid, gid: 0 })
    }

    #[test]
    fn a_file_is_compared_in_content_mode_and_owner() {
        let db = Ids { owner: Some(7), group: None };
        for (now, ids, want) in [
            (None, db, Action::New),
            (current("a\n", 0o640, 7), db, Action::Unchanged),
            (current("b\n", 0o640, 7), db, Action::Changed),
            (current("a\n", 0o644, 7), db, Action::Changed),
            (current("a\n", 0o640, 8), db, Action::Changed),
            (current("a\n", 0o640, 8), Ids::default(), Action::Unchanged),
        ] {
            let shown = format!("{now:?} {ids:?}");
            let plan = Plan::new(vec![(rendered("/a", "a\n", Shown::Content), ids, now)], vec![]);
            assert_eq!(plan.changes[0].action, want, "{shown}");
            assert_eq!(plan.is_empty(), want == Action::Unchanged, "{shown}");
        }
    }

    #[test]
    fn a_plan_shows_what_would_change_in_order() {
        let files = vec![
            (rendered("/b", "same\n", Shown::Content), Ids::default(), current("same\n", 0o640, 0)),
            (rendered("/a", "1\nnew\n3", Shown::Content), Ids::default(), current("1\n2\n3\n", 0o600, 0)),
        ];
        let plan = Plan::new(files, vec!["/etc/.#ovf-agent.x.b".into()]);
        let want = "\
/a: changed (mode 0640, was 0600, owner db; templates/t.tera)
--- /a
+++ /a
@@ -1,3 +1,3 @@
 1
-2
-3
+new
+3
\\ No newline at end of file
/b: unchanged (mode 0640, owner db; templates/t.tera)
/etc/.#ovf-agent.x.b: left over from an interrupted pass, would be removed
1 of 2 files would change
";
        assert_eq!(plan.to_string(), want);
    }

    #[test]
    fn no_sensitive_value_old_or_new_is_shown() {
        let masked = "user = a\npassword = ********\n";
        for shown in [Shown::Masked(masked.to_owned()), Shown::Masked("x".to_owned()), Shown::Nothing] {
            let new = rendered("/a", "user = a\npassword = newsecret\n", shown);
            let plan = Plan::new(
                vec![(new, Ids::default(), current("user = a\npassword = oldsecret\n", 0o640, 0))],
                vec![],
            );
            let text = format!("{plan}{plan:?}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
