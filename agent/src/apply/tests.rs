#![expect(clippy::disallowed_methods, reason = "a test makes the machine that the agent finds")]

use super::{Audience, Error, Heard, Memory, Outcome, apply, interrupted, recover};
use crate::bus::Bus;
use crate::checks::{How, Kind, Refusal};
use crate::plan::{Change, Gone, Ids, Past, Plan};
use crate::state::{self, Owed, State};
use crate::sys::Root;
use crate::sys::place::Places;
use crate::template::{Rendered, Rules, Shown};
use crate::units::{Role, Units, Verb};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use zeroize::Zeroizing;

const STATE: &str = "/var/lib/ovf-agent";

fn rendered(path: &str, content: &str) -> Rendered {
    Rendered {
        template: "templates/t.tera".to_owned(),
        path: path.into(),
        mode: 0o644,
        owner: None,
        group: None,
        content: Zeroizing::new(content.to_owned()),
        shown: Shown::Content,
        rules: Rules::default(),
    }
}

/// A machine with `/etc/a` and `/etc/gone`, which is remembered as ours, and without `/etc/b`.
fn machine() -> (tempfile::TempDir, Root, state::Memory) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    fs::create_dir(dir.path().join("etc")).expect("mkdir");
    let root = Root::open(dir.path()).expect("a directory");
    for name in ["etc/a", "etc/gone"] {
        fs::write(dir.path().join(name), "old").expect("write");
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o644)).expect("chmod");
    }
    let mut state = State::default().with_generation(1).continued();
    let written = state.written(&rendered("/etc/gone", "old"), Ids::default(), true);
    state.files.insert("/etc/gone".into(), written);
    root.make_dir(STATE, 0o700).expect("made");
    state.save(&mut Places::new(&root), Path::new(STATE)).expect("saved");
    let memory = state::Memory::load(&root, Path::new(STATE));
    (dir, root, memory)
}

/// Makes `a` and `b` `new`, and removes `gone`.
fn plan(root: &Root, memory: &state::Memory) -> (Plan, State) {
    let state = &memory.state;
    let current = |path: &str| root.place(path).and_then(|place| place.current(100)).expect("readable");
    let files = ["/etc/b", "/etc/a"].map(|path| (rendered(path, "new"), Ids::default(), current(path)));
    let gone = vec![Gone { path: "/etc/gone".into(), keep: None, current: current("/etc/gone") }];
    let plan = Plan::new(Past { state, first_boot: false }, files.into(), gone, Vec::new());
    let mut after = state.continued().with_generation(2);
    plan.remember(&mut after);
    (plan, after)
}

fn run(root: &Root, before: &state::Memory, (plan, after): &(Plan, State)) -> Result<Outcome, Error> {
    judged(root, before, (plan, after), &mut Verdict::default())
}

fn judged(
    root: &Root,
    before: &state::Memory,
    (plan, after): (&Plan, &State),
    verdict: &mut Verdict,
) -> Result<Outcome, Error> {
    let memory = Memory { before, after };
    at_once(root, apply(root, plan, memory, Path::new(STATE), verdict))
}

fn at_once<T>(root: &Root, work: impl Future<Output = T>) -> T {
    Bus::new(root).and_then(|bus| bus.wait(work)).expect("descriptors")
}

/// An audience that refuses what it is told to, and remembers what it was asked.
#[derive(Default)]
struct Verdict {
    refuse_checks: bool,
    refuse_before: bool,
    refuse_verifies: bool,
    /// What comes of each hearing, the first one last.
    hearings: Vec<Heard>,
    asked: Vec<String>,
}

impl Audience for Verdict {
    async fn check(&mut self, change: &Change, staged: &Path) -> Result<(), Box<Refusal>> {
        let template = &change.rendered.template;
        self.asked.push(format!("check {}", change.rendered.path.display()));
        assert!(staged.is_absolute() && staged.file_name() != change.rendered.path.file_name());
        let refusal = || Refusal::of(Kind::Check, template, &["/bin/check".to_owned()], How::Missing, None);
        if self.refuse_checks { Err(refusal()) } else { Ok(()) }
    }

    async fn before(&mut self) -> Result<(), Box<Refusal>> {
        self.asked.push("before".to_owned());
        let refusal = || Refusal::of(Kind::Hook, "before-apply/10-x", &[], How::Exit(1), None);
        if self.refuse_before { Err(refusal()) } else { Ok(()) }
    }

    async fn verify(&mut self, template: &str, argv: &[String]) -> Result<(), Box<Refusal>> {
        self.asked.push(format!("verify {}", argv.join(" ")));
        let refusal = || Refusal::of(Kind::Verify, template, argv, How::Missing, None);
        if self.refuse_verifies { Err(refusal()) } else { Ok(()) }
    }

    async fn hear(&mut self, plan: &Plan, roles: &[Role], owed: &Owed) -> Heard {
        let roles: Vec<_> = roles.iter().map(|role| format!("{} {}", role.unit, role.word())).collect();
        let paths = plan.paths().count();
        self.asked.push(format!("hear of {paths} files, {roles:?}, {:?}", owed.units));
        self.hearings.pop().unwrap_or_default()
    }
}

/// What is in `a`, `b` and `gone`.
fn contents(dir: &Path) -> [Option<String>; 3] {
    ["a", "b", "gone"].map(|name| fs::read_to_string(dir.join("etc").join(name)).ok())
}

fn wanted(contents: [&str; 3]) -> [Option<String>; 3] {
    contents.map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn assert_clean(dir: &Path) {
    for place in ["etc", "var/lib/ovf-agent"] {
        for entry in fs::read_dir(dir.join(place)).expect("listed") {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            assert!(!name.starts_with(".#") && name != "journal.json", "{place}/{name} is left over");
        }
    }
}

const OLD: [&str; 3] = ["old", "", "old"];
const NEW: [&str; 3] = ["new", "new", ""];

#[test]
fn a_plan_is_applied_and_recorded() {
    let (dir, root, before) = machine();
    assert_eq!(run(&root, &before, &plan(&root, &before)).expect("applied").changed.len(), 3);
    assert_eq!(contents(dir.path()), wanted(NEW));
    let state::Memory { state, trouble, .. } = state::Memory::load(&root, Path::new(STATE));
    assert_eq!((state.generation, state.files.len(), trouble), (2, 2, None));
    assert!(!state.pass.is_empty());
    assert_clean(dir.path());
}

#[test]
fn a_plan_that_was_overtaken_changes_nothing() {
    for path in ["etc/a", "etc/b", "etc/gone"] {
        let (dir, root, before) = machine();
        let made = plan(&root, &before);
        fs::write(dir.path().join(path), "theirs").expect("write");
        let was = contents(dir.path());
        let error = run(&root, &before, &made).expect_err("overtaken");
        assert!(
            matches!(&error, Error::Overtaken { path: found } if found.ends_with(&path[4..])),
            "{error:?}"
        );
        assert_eq!(contents(dir.path()), was);
        assert_clean(dir.path());
    }
    let (_dir, root, before) = machine();
    let made = plan(&root, &before);
    before.state.clone().with_generation(7).save(&mut Places::new(&root), Path::new(STATE)).expect("saved");
    let error = run(&root, &before, &made).expect_err("another pass was quicker");
    assert!(matches!(error, Error::Overtaken { .. }), "{error:?}");
}

/// A pass as it is after its journal was written and `renames` of its renames were made.
fn begun(renames: usize) -> (tempfile::TempDir, Root) {
    let (dir, root, before) = machine();
    let mut places = Places::new(&root);
    let (plan, after) = plan(&root, &before);
    let journal =
        at_once(&root, super::stage(&mut places, &plan, &after, Path::new(STATE), &mut Verdict::default()))
            .expect("staged");
    let entries = journal.entries.iter().chain([&journal.state]);
    entries.take(renames).try_for_each(|entry| entry.commit(&mut places)).expect("renamed");
    assert!(interrupted(&root, Path::new(STATE)));
    (dir, root)
}

#[test]
fn an_interrupted_pass_is_taken_back_or_finished() {
    for renames in 0..=4 {
        let (dir, root) = begun(renames);
        let recovered = recover(&root, Path::new(STATE)).expect("recovered").expect("interrupted");
        assert_eq!((recovered.finished, recovered.left), (renames == 4, Vec::new()), "{renames}");
        let want = if renames == 4 { NEW } else { OLD };
        assert_eq!(contents(dir.path()), wanted(want), "after {renames} renames");
        assert_eq!(
            state::Memory::load(&root, Path::new(STATE)).state.generation,
            if renames == 4 { 2 } else { 1 }
        );
        assert_clean(dir.path());
        assert!(recover(&root, Path::new(STATE)).expect("nothing to do").is_none());
    }
}

#[test]
fn what_was_changed_by_hand_meanwhile_stays() {
    for (renames, name) in (0..=4).flat_map(|renames| ["a", "b", "gone"].map(|name| (renames, name))) {
        for theirs in [Some("theirs"), None] {
            let (dir, root) = begun(renames);
            let path = dir.path().join("etc").join(name);
            let was = fs::read_to_string(&path).ok();
            match theirs {
                Some(text) => fs::write(&path, text).expect("write"),
                None if was.is_some() => fs::remove_file(&path).expect("removed"),
                None => continue,
            }
            let recovered = recover(&root, Path::new(STATE)).expect("recovered").expect("interrupted");
            let now = fs::read_to_string(&path).ok();
            let shown = format!("{name} after {renames} renames, {theirs:?}: {now:?}");
            let finished = renames == 4;
            let want = if finished { NEW } else { OLD }
                [["a", "b", "gone"].iter().position(|n| *n == name).expect("one")];
            match theirs {
                Some(text) => {
                    assert_eq!(now.as_deref(), Some(text), "{shown}");
                    assert_eq!(recovered.left.len(), 1, "{shown}");
                }
                // What is not there may be what was not there before, or what will not be.
                None => {
                    assert_eq!(recovered.left.len(), usize::from(now.unwrap_or_default() != want), "{shown}")
                }
            }
            assert_clean(dir.path());
        }
    }
}

#[test]
fn a_mode_tells_one_version_from_another() {
    let (dir, root, before) = machine();
    let mut file = rendered("/etc/a", "old");
    file.mode = 0o600;
    let current = root.place("/etc/a").and_then(|place| place.current(100)).expect("readable");
    let plan = Plan::new(
        Past { state: &before.state, first_boot: false },
        vec![(file, Ids::default(), current)],
        vec![],
        vec![],
    );
    let mut places = Places::new(&root);
    let journal = at_once(
        &root,
        super::stage(&mut places, &plan, &before.state, Path::new(STATE), &mut Verdict::default()),
    )
    .expect("staged");
    journal.entries[0].commit(&mut places).expect("renamed");
    let mode = || fs::metadata(dir.path().join("etc/a")).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    recover(&root, Path::new(STATE)).expect("recovered");
    assert_eq!(mode(), 0o644);
}

#[test]
fn a_journal_that_cannot_be_read_is_set_aside() {
    for text in ["{", r#"{"version":9,"pass":"1","entries":[],"state":{"target":"/a","staged":"b"}}"#] {
        let (dir, root, _) = machine();
        fs::write(dir.path().join("var/lib/ovf-agent/journal.json"), text).expect("write");
        assert!(recover(&root, Path::new(STATE)).expect("no error").is_none());
        assert!(dir.path().join("var/lib/ovf-agent/journal.json.damaged").exists());
        assert!(!interrupted(&root, Path::new(STATE)));
    }
}

#[test]
fn a_directory_that_has_become_a_link_elsewhere_is_not_followed() {
    let (dir, root) = begun(3);
    let at = |name: &str| dir.path().join(name);
    fs::rename(at("etc"), at("etc.old")).expect("renamed");
    fs::create_dir(at("victim")).expect("mkdir");
    for name in ["a", "b"] {
        fs::write(at("victim").join(name), "new").expect("write");
    }
    symlink("victim", at("etc")).expect("symlink");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
    let recovered = recover(&root, Path::new(STATE)).expect("recovered").expect("interrupted");
    assert_eq!(recovered.left.len(), 3, "{recovered:?}");
    assert_eq!(fs::read(at("victim/a")).expect("there"), b"new");
}

#[test]
fn a_failure_among_the_renames_takes_back_those_before_it() {
    let (dir, root, before) = machine();
    let mut places = Places::new(&root);
    let (plan, after) = plan(&root, &before);
    let journal =
        at_once(&root, super::stage(&mut places, &plan, &after, Path::new(STATE), &mut Verdict::default()))
            .expect("staged");
    // It was not there when it was staged, and is when it is to be renamed; entries are in the order of paths.
    fs::write(dir.path().join("etc/b"), "theirs").expect("write");
    let mut verdict = Verdict::default();
    let why =
        at_once(&root, super::commit(&journal, &mut places, &plan, &mut verdict)).expect_err("in the way");
    assert_eq!(contents(dir.path()), wanted(["new", "theirs", "old"]), "the first is in place already");
    let error = super::undone(super::undo(&journal, &mut places, Path::new(STATE)), why);
    assert!(matches!(&error, Error::Left { left, .. } if left.len() == 1), "{error:?}");
    assert_eq!(contents(dir.path()), wanted(["old", "theirs", "old"]));
    assert_clean(dir.path());
}

#[test]
fn what_a_judge_refuses_is_not_there_afterwards() {
    let (dir, root, before) = machine();
    let (mut plan, after) = plan(&root, &before);
    for change in &mut plan.changes {
        change.rendered.rules.verify = Some(vec!["/bin/verify".to_owned(), "-t".to_owned()]);
    }
    for (refuse_checks, refuse_before, refuse_verifies, asked) in [
        (true, false, false, vec!["check /etc/a", "check /etc/b"]),
        (false, true, false, vec!["check /etc/a", "check /etc/b", "before"]),
        (false, false, true, vec!["check /etc/a", "check /etc/b", "before", "verify /bin/verify -t"]),
    ] {
        let mut judge = Verdict { refuse_checks, refuse_before, refuse_verifies, ..Verdict::default() };
        let error = judged(&root, &before, (&plan, &after), &mut judge).expect_err("refused");
        let Error::Refused(refusals) = &error else { panic!("{error:?}") };
        assert_eq!(refusals.len(), if refuse_checks { 2 } else { 1 }, "each file; one program once");
        assert_eq!(judge.asked, asked);
        assert_eq!(contents(dir.path()), wanted(["old", "", "old"]));
        assert_clean(dir.path());
    }
    let mut judge = Verdict::default();
    judged(&root, &before, (&plan, &after), &mut judge).expect("accepted");
    assert_eq!(contents(dir.path()), wanted(["new", "new", ""]));
}

fn restart(unit: &str, verb: Verb) -> Owed {
    Owed { units: Units::from([(unit.to_owned(), verb)]), ..Owed::default() }
}

#[test]
fn a_unit_that_refuses_has_the_files_taken_back_and_hears_of_the_old_ones() {
    let again = || restart("a.service", Verb::Recover);
    // (what is owed after the hearing of the old files, what went wrong in it, what stays owed)
    for (left, wrong, owed) in [(Owed::default(), "", Owed::default()), (again(), "still broken", again())] {
        let (dir, root, before) = machine();
        let (plan, mut after) = plan(&root, &before);
        after.owed = restart("a.service", Verb::Restart);
        after.roles =
            vec![Role { unit: "b.service".to_owned(), state: crate::units::State::Started, holds: true }];
        let refusal = Heard { left: again(), back: again(), wrong: "broken".to_owned(), refused: true };
        let answer = Heard { left, wrong: wrong.to_owned(), refused: true, ..Heard::default() };
        let mut verdict = Verdict { hearings: vec![answer, refusal], ..Verdict::default() };
        let error = judged(&root, &before, (&plan, &after), &mut verdict).expect_err("refused");
        let more = if wrong.is_empty() { "" } else { "; and with the files of before: still broken" };
        assert_eq!(error.to_string(), format!("nothing was changed: broken{more}"));
        assert_eq!(
            verdict.asked[3..],
            [
                "hear of 3 files, [\"b.service started\"], {\"a.service\": Restart}",
                "hear of 3 files, [], {\"a.service\": Recover}",
            ],
            "the second time as it was before"
        );
        assert_eq!(contents(dir.path()), wanted(OLD));
        let state = state::Memory::load(&root, Path::new(STATE)).state;
        let mut want = before.state;
        want.owed = owed;
        assert_eq!(state, want);
        assert_clean(dir.path());
    }
}

#[test]
fn what_is_owed_outlives_a_pass_that_is_interrupted_while_units_hear_of_it() {
    // It dies while they hear of the new files, and while they hear of the old ones.
    for hearings in [1, 2] {
        let (dir, root, before) = machine();
        let (plan, mut after) = plan(&root, &before);
        after.owed = restart("a.service", Verb::Restart);
        let back = restart("a.service", Verb::Recover);
        let refusal = Heard { back: back.clone(), refused: true, ..Heard::default() };
        let mut dying = Dying { hearings, refusal };
        let memory = Memory { before: &before, after: &after };
        let bus = Bus::new(&root).expect("descriptors");
        let mut pass = bus.start(apply(&root, &plan, memory, Path::new(STATE), &mut dying));
        assert!(bus.step(&mut pass).expect("epoll").is_none(), "it waits for them");
        drop(pass);
        recover(&root, Path::new(STATE)).expect("recovered");
        let (want, owed) = if hearings == 1 { (NEW, after.owed) } else { (OLD, back) };
        assert_eq!(contents(dir.path()), wanted(want), "{hearings}");
        assert_eq!(state::Memory::load(&root, Path::new(STATE)).state.owed, owed, "{hearings}");
        assert_clean(dir.path());
    }
}

#[test]
fn a_pass_that_is_interrupted_while_it_is_taken_back_is_taken_back() {
    let (dir, root) = begun(4);
    // As it was before, with what is owed for the way back; the files are still to follow.
    let mut before = State::default().with_generation(1);
    before.owed = restart("a.service", Verb::Recover);
    before.save(&mut Places::new(&root), Path::new(STATE)).expect("saved");
    let recovered = recover(&root, Path::new(STATE)).expect("recovered").expect("interrupted");
    assert_eq!((recovered.finished, recovered.left), (false, Vec::new()));
    assert_eq!(contents(dir.path()), wanted(OLD));
    assert_eq!(state::Memory::load(&root, Path::new(STATE)).state, before);
    assert_clean(dir.path());
}

/// One that never ends with its last hearing.
struct Dying {
    hearings: usize,
    refusal: Heard,
}

impl Audience for Dying {
    async fn before(&mut self) -> Result<(), Box<Refusal>> {
        Ok(())
    }

    async fn check(&mut self, _: &Change, _: &Path) -> Result<(), Box<Refusal>> {
        Ok(())
    }

    async fn verify(&mut self, _: &str, _: &[String]) -> Result<(), Box<Refusal>> {
        Ok(())
    }

    async fn hear(&mut self, _: &Plan, _: &[Role], _: &Owed) -> Heard {
        self.hearings -= 1;
        if self.hearings == 0 {
            std::future::pending::<()>().await;
        }
        std::mem::take(&mut self.refusal)
    }
}
