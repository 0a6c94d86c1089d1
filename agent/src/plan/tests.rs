use super::{Action, Gone, Ids, Past, Plan};
use crate::state::State;
use crate::sys::place::Current;
use crate::template::{Rendered, Rules, Shown};
use crate::units::Verb;
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

fn plan(files: Vec<(Rendered, Ids, Option<Current>)>, leftovers: Vec<std::path::PathBuf>) -> Plan {
    Plan::new(Past { state: &State::default(), first_boot: true }, files, vec![], leftovers)
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
        let plan = plan(vec![(rendered("/a", "a\n", Shown::Content), ids, now)], vec![]);
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
    let plan = plan(files, vec!["/etc/.#ovf-agent.x.b".into()]);
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
        let plan =
            plan(vec![(new, Ids::default(), current("user = a\npassword = oldsecret\n", 0o640, 0))], vec![]);
        let text = format!("{plan}{plan:?}");
        assert!(!text.contains("secret"), "{text}");
    }
}

/// A state that remembers `/a` with this content.
fn remembered(content: &str, ours: bool) -> State {
    let mut state = State::default().with_generation(1).continued();
    let written = state.written(&rendered("/a", content, Shown::Content), Ids::default(), ours);
    state.files.insert("/a".into(), written);
    state
}

#[test]
fn what_rules_keep_is_kept() {
    let rules = |once, keep_edits| Rules { once, keep_edits, ..Rules::default() };
    for (rules, first_boot, remembers, now, want) in [
        (rules(true, false), true, None, None, Action::New),
        (rules(true, false), false, None, None, Action::Kept),
        (rules(true, false), false, Some("old\n"), current("old\n", 0o640, 0), Action::Kept),
        (rules(true, false), false, Some("old\n"), current("new\n", 0o640, 0), Action::Unchanged),
        (rules(false, true), false, Some("old\n"), current("old\n", 0o640, 0), Action::Changed),
        (rules(false, true), false, Some("old\n"), current("mine\n", 0o640, 0), Action::Kept),
        (rules(false, true), false, Some("old\n"), current("old\n", 0o600, 0), Action::Kept),
        // What was there before us is nobody's edit, and what is not there cannot be kept.
        (rules(false, true), false, None, current("mine\n", 0o640, 0), Action::Changed),
        (rules(false, true), false, Some("old\n"), None, Action::New),
    ] {
        let state = remembers.map_or_else(State::default, |content| remembered(content, true));
        let shown = format!("{rules:?} {first_boot} {remembers:?} {now:?}");
        let mut file = rendered("/a", "new\n", Shown::Content);
        file.rules = rules;
        let plan =
            Plan::new(Past { state: &state, first_boot }, vec![(file, Ids::default(), now)], vec![], vec![]);
        assert_eq!(plan.changes[0].action, want, "{shown}");
        assert_eq!(plan.is_empty(), matches!(want, Action::Kept | Action::Unchanged), "{shown}");
        if want == Action::Kept {
            let mut next = state.continued();
            plan.remember(&mut next);
            assert_eq!(
                next.files, state.files,
                "what was written last is still what was written last: {shown}"
            );
        }
    }
}

#[test]
fn a_file_of_no_template_is_removed_if_it_is_ours_and_as_we_left_it() {
    for (keep, ours, now, want) in [
        (None, true, current("old\n", 0o640, 0), Action::Removed),
        (Some(false), true, current("old\n", 0o640, 0), Action::Removed),
        (Some(true), true, current("old\n", 0o640, 0), Action::Kept),
        (None, false, current("old\n", 0o640, 0), Action::Kept),
        (None, true, current("mine\n", 0o640, 0), Action::Kept),
        (Some(false), true, current("old\n", 0o600, 0), Action::Kept),
        (None, true, None, Action::Kept),
    ] {
        let mut state = remembered("old\n", ours);
        state
            .files
            .get_mut(std::path::Path::new("/a"))
            .expect("there")
            .owes
            .units
            .insert("a.service".to_owned(), Verb::Restart);
        let shown = format!("{keep:?} {ours} {now:?}");
        let gone = vec![Gone { path: "/a".into(), keep, current: now }];
        let plan = Plan::new(Past { state: &state, first_boot: false }, vec![], gone, vec![]);
        assert_eq!(plan.removals[0].action, want, "{shown}");
        let removed = want == Action::Removed;
        assert_eq!(plan.has_changes(), removed, "{shown}");
        let text = plan.to_string();
        assert!(text.starts_with(&format!("/a: {want} (")), "{text}");
        assert!(text.ends_with(&format!("{} of 1 file would change\n", u8::from(removed))), "{text}");
        let mut next = state.continued();
        plan.remember(&mut next);
        assert_eq!(next.files.is_empty(), removed, "{shown}");
        assert_eq!(next.owed.units.len(), usize::from(removed), "its unit hears of it: {shown}");
    }
}

#[test]
fn what_we_made_is_remembered_as_ours() {
    for (ours, now, want) in [
        (None, None, true),
        (None, current("image\n", 0o640, 0), false),
        (None, current("new\n", 0o640, 0), false),
        (Some(true), current("new\n", 0o640, 0), true),
        (Some(true), current("old\n", 0o640, 0), true),
        (Some(false), current("old\n", 0o640, 0), false),
    ] {
        let state = ours.map_or_else(State::default, |ours| remembered("old\n", ours));
        let shown = format!("{ours:?} {now:?}");
        let files = vec![(rendered("/a", "new\n", Shown::Content), Ids::default(), now)];
        let plan = Plan::new(Past { state: &state, first_boot: false }, files, vec![], vec![]);
        let mut next = state.continued();
        plan.remember(&mut next);
        let written = &next.files[std::path::Path::new("/a")];
        assert_eq!((written.ours, &written.digest), (want, &next.digest(b"new\n")), "{shown}");
    }
}
