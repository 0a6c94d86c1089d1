use super::{Root, STAGED_PREFIX};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn scratch() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    for name in ["etc/db", "victim", "home/.ssh"] {
        fs::create_dir_all(dir.path().join(name)).expect("mkdir");
    }
    let root = Root::open(dir.path()).expect("a directory");
    (dir, root)
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_link_is_followed_only_where_nobody_else_could_have_put_it() {
    let (dir, root) = scratch();
    let at = |name: &str| dir.path().join(name);
    symlink("/victim", at("etc/ours")).expect("symlink");
    symlink("/victim", at("home/theirs")).expect("symlink");
    symlink("../../home/theirs", at("etc/db/chain")).expect("symlink");
    symlink("loop", at("etc/loop")).expect("symlink");
    symlink("../../../../etc/db", at("etc/up")).expect("symlink");
    fs::set_permissions(at("home"), fs::Permissions::from_mode(0o777)).expect("chmod");
    for (path, allowed) in [
        ("/etc/db/f", true),
        ("/etc/ours/f", true),
        ("/etc/up/f", true),
        ("/home/theirs/f", false),
        ("/etc/db/chain/f", false),
        ("/etc/loop/f", false),
        // A real directory of another user's is no way elsewhere.
        ("/home/.ssh/f", true),
    ] {
        let outcome = root.place(path).and_then(|place| place.stage("1", b"x", 0o600, None, None));
        assert_eq!(outcome.is_ok(), allowed, "{path}: {outcome:?}");
    }
    fs::set_permissions(at("home"), fs::Permissions::from_mode(0o1777)).expect("chmod");
    assert!(root.place("/home/theirs/f").is_ok(), "in a sticky directory nobody can replace what is ours");
    for path in ["etc/db/f", "/etc/../f", "/"] {
        assert!(root.place(path).is_err(), "{path}");
    }
}

#[test]
fn a_staged_file_is_complete_and_goes_when_it_is_dropped() {
    let (dir, root) = scratch();
    let db = dir.path().join("etc/db");
    let staged =
        root.place("/etc/db/f").and_then(|p| p.stage("7", b"new", 0o640, None, None)).expect("staged");
    let name = format!("{STAGED_PREFIX}7.f");
    assert_eq!(names(&db), [name.as_str()]);
    let meta = fs::metadata(db.join(&name)).expect("there");
    assert_eq!((meta.permissions().mode() & 0o7777, meta.len()), (0o640, 3));
    assert_eq!(root.place("/etc/db/f").and_then(|p| p.leftovers()).expect("listed").len(), 1);
    drop(staged);
    assert!(names(&db).is_empty());
}

#[test]
fn what_somebody_put_in_the_staged_files_place_is_not_waited_for() {
    let (dir, root) = scratch();
    let staged =
        root.place("/etc/db/f").and_then(|p| p.stage("7", b"new", 0o640, None, None)).expect("staged");
    staged.flush().expect("flushed");
    let path = dir.path().join(format!("etc/db/{STAGED_PREFIX}7.f"));
    fs::rename(&path, dir.path().join("etc/db/ours")).expect("renamed");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    staged.flush().expect_err("a FIFO without a reader");
    fs::remove_file(&path).expect("removed");
    fs::write(&path, "theirs").expect("write");
    staged.flush().expect_err("another file");
}

#[test]
fn a_file_is_exchanged_with_its_twin_and_back() {
    let (dir, root) = scratch();
    let file = dir.path().join("etc/db/f");
    fs::write(&file, "old").expect("write");
    let place = root.place("/etc/db/f").expect("a place");
    let staged = place.clone().stage("1", b"new", 0o644, None, None).expect("staged");
    let twin = staged.place().clone();
    staged.leave();
    twin.exchange(&place).expect("exchanged");
    place.flush_directory().expect("flushed");
    assert_eq!(fs::read(&file).expect("there"), b"new");
    twin.exchange(&place).expect("and back");
    assert_eq!(fs::read(&file).expect("there"), b"old");
    twin.remove().expect("removed");
    twin.remove().expect("gone already");
    assert_eq!(names(&dir.path().join("etc/db")), ["f"]);
}

#[test]
fn a_hard_link_keeps_the_old_file_under_its_other_name() {
    let (dir, root) = scratch();
    let (file, other) = (dir.path().join("etc/db/f"), dir.path().join("victim/f"));
    fs::write(&other, "old").expect("write");
    fs::hard_link(&other, &file).expect("linked");
    let staged = root.place("/etc/db/f").and_then(|p| p.stage("1", b"new", 0o644, None, None));
    staged.and_then(super::Staged::replace).expect("replaced");
    assert_eq!(
        (fs::read(&file).expect("there"), fs::read(&other).expect("there")),
        (b"new".into(), b"old".into())
    );
}

#[test]
fn a_file_that_appears_meanwhile_is_not_overwritten() {
    let (dir, root) = scratch();
    let file = dir.path().join("etc/db/f");
    let place = root.place("/etc/db/f").expect("a place");
    let staged = place.clone().stage("1", b"new", 0o644, None, None).expect("staged");
    fs::write(&file, "theirs").expect("write");
    staged.place().rename_to(&place).expect_err("not there when the plan was made");
    drop(staged);
    assert_eq!(fs::read(&file).expect("there"), b"theirs");
    assert_eq!(names(&dir.path().join("etc/db")), ["f"]);
}

#[test]
fn only_a_regular_file_is_a_target() {
    let (dir, root) = scratch();
    symlink("/etc/passwd", dir.path().join("etc/db/link")).expect("symlink");
    fs::create_dir(dir.path().join("etc/db/dir")).expect("mkdir");
    fs::write(dir.path().join("etc/db/big"), "12345").expect("write");
    let current = |name: &str| root.place(format!("/etc/db/{name}")).and_then(|place| place.current(4));
    assert!(current("none").expect("absent is no error").is_none());
    for name in ["link", "dir", "big"] {
        current(name).expect_err(name);
    }
}

#[test]
fn directories_are_made_and_locks_exclude() {
    let (dir, root) = scratch();
    root.make_dir("/var/lib/a", 0o700).expect("made");
    root.make_dir("/var/lib/a", 0o755).expect("there already");
    let mode = fs::metadata(dir.path().join("var/lib/a")).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "and as it was");
    let held = root.lock("/var/lib/a/lock").expect("free");
    let error = root.lock("/var/lib/a/lock").expect_err("held");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    drop(held);
    root.lock("/var/lib/a/lock").expect("free again");
}
