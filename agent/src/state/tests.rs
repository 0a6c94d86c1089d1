#![expect(clippy::disallowed_methods, reason = "a test makes the machine that the agent finds")]

use super::{Instance, Memory, State, salted};
use crate::sys::Root;
use crate::sys::place::Places;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const DIRECTORY: &str = "/var/lib/ovf-agent";

fn machine(state: Option<&str>) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let place = dir.path().join(&DIRECTORY[1..]);
    fs::create_dir_all(&place).expect("mkdir");
    if let Some(state) = state {
        fs::write(place.join("state.json"), state).expect("write");
    }
    let root = Root::open(dir.path()).expect("a directory");
    (dir, root)
}

fn instance(machine: &str, environment: &str, boot: &str) -> Instance {
    let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Instance { machine: known(machine), environment: known(environment), id: None, boot: known(boot) }
}

#[test]
fn a_state_comes_back_as_it_was_written_and_is_roots_alone() {
    let (dir, root) = machine(None);
    let state =
        State { generation: 3, ..State::default() }.continued().with_instance(instance("a", "b", "1"));
    state.save(&mut Places::new(&root), Path::new(DIRECTORY)).expect("saved");
    let memory = Memory::load(&root, Path::new(DIRECTORY));
    assert_eq!((memory.state, memory.trouble), (state, None));
    let meta = fs::metadata(dir.path().join("var/lib/ovf-agent/state.json")).expect("there");
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
}

#[test]
fn version_1_is_taken_over_and_others_are_not() {
    let (_dir, root) = machine(Some(r#"{"version":1,"generation":4,"environment":"sha256:1"}"#));
    let Memory { state, trouble, .. } = Memory::load(&root, Path::new(DIRECTORY));
    assert_eq!((state.generation, state.environment.as_deref(), trouble), (4, Some("sha256:1"), None));
    assert!(!state.is_first_boot(&instance("a", "b", "1")), "it was configured before");
    assert!(state.hooks.begun, "without hooks, but its first boot is over");
    let state = state.with_instance(instance("a", "b", "1"));
    assert!(!state.is_first_boot(&instance("a", "b", "1")), "nor later in the same boot");

    let (_dir, root) = machine(Some(r#"{"version":9,"generation":4,"environment":null}"#));
    let Memory { state, trouble, .. } = Memory::load(&root, Path::new(DIRECTORY));
    assert_eq!(state.generation, 4);
    assert!(trouble.expect("not ours").contains("version 9"));
}

#[test]
fn a_damaged_state_is_kept_for_a_person() {
    let (dir, root) = machine(Some("{"));
    let at = |name: &str| dir.path().join("var/lib/ovf-agent").join(name);
    fs::write(at("state.json.damaged"), "an older one").expect("write");
    let Memory { state: lost, trouble, .. } = Memory::load(&root, Path::new(DIRECTORY));
    assert!(trouble.expect("damaged").contains("it is damaged"));
    assert!(!lost.is_first_boot(&instance("a", "b", "1")) && lost.hooks.begun, "it was configured before");
    State::set_aside(&mut Places::new(&root), Path::new(DIRECTORY)).expect("set aside");
    assert_eq!(fs::read(at("state.json.damaged")).expect("there"), b"{");
    assert!(at("state.json").exists(), "there is a state at any moment");
}

#[test]
fn a_copy_of_a_guest_boots_for_the_first_time() {
    let never = State::default();
    let first = instance("a", "DB1", "1");
    assert!(never.is_first_boot(&first));
    assert!(!never.hooks.begun);
    let mut state = never.with_instance(first).with_generation(1);
    state.hooks.begun = true;
    assert!(state.clone().with_instance(instance("a", "DB1", "2")).hooks.begun);
    for (now, want) in [
        (instance("a", "DB1", "1"), true),
        (instance("a", "DB1", "2"), false),
        (instance("a", "", "2"), false),
        (instance("", "DB1", "2"), false),
        (instance("c", "DB1", "2"), true),
        (instance("a", "DB2", "2"), true),
        (instance("a", "DB1", ""), false),
    ] {
        assert_eq!(state.is_first_boot(&now), want, "{now:?}");
    }
    let copy = state.with_instance(instance("c", "DB1", "2"));
    assert!(
        !copy.hooks.begun
            && copy.is_first_boot(&instance("c", "DB1", "2"))
            && !copy.is_first_boot(&instance("c", "DB1", "3"))
    );
}

#[test]
fn digests_have_a_salt_and_their_parts_stay_apart() {
    assert_ne!(salted("1", &[b"a"]), salted("2", &[b"a"]));
    assert_ne!(salted("1", &[b"a", b"b"]), salted("1", &[b"ab", b""]));
    let [one, two] = [State::default().continued(), State::default().continued()];
    assert_ne!(one.digest(b"secret"), two.digest(b"secret"));
    assert_eq!(one.digest(b"secret"), one.continued().digest(b"secret"));
}
