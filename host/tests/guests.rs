//! Guests that real QEMUs run, and nobody boots: what the commands do when something of theirs goes wrong.
//!
//! Their disks are empty, and a trial itself is at the other end of their ports (`guests/port.rs`), so that a guest is there at once
//! and does what is wanted of it. Where there is no QEMU these trials are skipped, and say so.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

mod common;
#[path = "guests/desk.rs"]
mod desk;
#[path = "guests/port.rs"]
mod port;

use desk::{Desk, ends, interrupt};
use port::Behaviour;

type Test = fn() -> Result<(), Failed>;

const TRIALS: &[(&str, Test)] = &[
    ("a-network-that-ends-ends-the-start-and-is-told-by-those-who-come-later", network),
    ("a-set-that-does-not-come-to-its-end-is-told-and-can-be-done-again", set),
    ("a-guest-that-went-between-two-commands-is-gone-from-when-that-was-seen", gone),
    ("who-interrupts-before-anything-is-done-leaves-it-undone", interrupted),
    ("what-cannot-be-written-is-told-and-the-guests-are-none-the-worse", unwritten),
    ("what-is-wrong-with-a-command-is-told-before-anything-is-done", refused),
    ("who-waits-is-told-of-each-that-is-not-ready-and-a-failure-counts-for-more-than-a-delay", wait),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let missing = ["qemu-system-x86_64", "qemu-img"].into_iter().find(|it| !there(it));
    let kind = missing.map_or(String::new(), |it| format!("skipped: there is no {it}"));
    let trial = |&(name, test): &(&str, Test)| {
        Trial::test(name, test).with_kind(kind.clone()).with_ignored_flag(missing.is_some())
    };
    libtest_mimic::run(&arguments, TRIALS.iter().map(trial).collect()).exit_code()
}

fn network() -> Result<(), Failed> {
    let desk = Desk::new();
    let subnet = ["--subnet", "10.77.0.0/24"];
    let (hub, gate) = ("path=s/hub,", "\0gate\0");
    let ended = "reaches no other guest any more: the guests' network has ended";
    let gate_ended = "the gate between the guests' network and this machine has ended";
    for (process, signal, more, wanted) in [
        (hub, "-TERM", &[][..], &format!("{ended}: qemu-system-x86_64: terminating on signal 15")[..]),
        (hub, "-KILL", &subnet, ended),
        (gate, "-KILL", &subnet, gate_ended),
    ] {
        let mut up = desk.up_until(more, "b", "booting");
        desk.signal(process, signal);
        let said = ends(&mut up);
        assert_eq!(up.wait()?.code(), Some(1), "{said}");
        assert!(said.contains(wanted), "{process:?} {signal}: {said}");
        desk.is_clear();
    }

    // Those who come later find it so.
    for (process, wanted) in [(gate, gate_ended), (hub, ended)] {
        desk.up(&subnet);
        desk.signal(process, "-KILL");
        let (said, status) = desk.answer(&["wait", "b", "--timeout", "60"]);
        assert!(said.contains(wanted) && status == Some(1), "{process:?}: {said}");
        let (said, status) = desk.answer(&["status"]);
        let told = wanted.rsplit_once(": ").map_or(wanted, |it| it.1);
        assert!(said.starts_with(&format!("shop: {told}\n")) && status == Some(0), "{process:?}: {said}");
        let (said, status) = desk.answer(&["down", "--now"]);
        assert_eq!(status, Some(0), "{said}");
        desk.is_clear();
    }

    // Nothing of it is left when `down` says so: what takes its time to end is waited for.
    desk.up(&subnet);
    desk.signal(gate, "-STOP");
    let mut down = desk.begin(&["down", "--now"]);
    while !desk.processes(hub).is_empty() {
        thread::yield_now();
    }
    thread::sleep(Duration::from_millis(200));
    assert!(down.try_wait()?.is_none(), "it has not waited");
    desk.signal(gate, "-CONT");
    let said = ends(&mut down);
    assert_eq!(down.wait()?.code(), Some(0), "{said}");
    desk.is_clear();
    Ok(())
}

fn set() -> Result<(), Failed> {
    let desk = Desk::new();
    desk.up(&[]);
    let (a, b) = (desk.play("a", Behaviour::Ready), desk.play("b", Behaviour::Ready));
    let set = |guest: &str, value: &str, status: i32, wanted: &[&str]| {
        let (said, got) = desk.answer(&["set", guest, value]);
        assert!(wanted.iter().all(|it| said.contains(it)) && got == Some(status), "{got:?} {said}");
    };
    let has = |guest: &str, word: &str| {
        fs::read(desk.disc(guest)).is_ok_and(|it| String::from_utf8_lossy(&it).contains(word))
    };
    let again = "give the same again by `ovf-host set`";
    // Each sees the other's properties.
    set("a", "word=second", 0, &["2 guests changed"]);
    assert!(a.document().contains("second") && has("a", "second"));
    set("a", "word=second", 0, &["no guest's environment is another one by this"]);

    set("a", "wrod=third", 78, &["values given: error: ", "[property-unknown]"]);

    // Its disc cannot be written: what it was sent is remembered, and the next set goes on.
    let aside = desk.path("aside");
    fs::rename(desk.disc("a"), &aside)?;
    fs::create_dir(desk.disc("a"))?;
    set("a", "word=third", 1, &["`a` has applied it, but still has its old disc: cannot write ", again]);
    assert!(a.document().contains("third"));
    let record = desk.record();
    assert_eq!(record["properties"], serde_json::json!([["a:word", "third"]]), "{record}");
    assert_eq!(record["unsettled"], serde_json::json!([1]), "{record}");
    fs::remove_dir(desk.disc("a"))?;
    set("a", "word=third", 0, &["1 guest changed"]);
    assert!(a.document().contains("third") && has("a", "third"));
    assert!(desk.record().get("unsettled").is_none(), "{}", desk.record());

    // Interrupted: who knows what it has. What it had before is sent, although it is nothing else than what is remembered.
    a.behave(Behaviour::Mute);
    let mut interrupted = desk.begin(&["set", "a", "word=fourth"]);
    assert!(a.document().contains("fourth"));
    interrupt(&interrupted);
    let said = ends(&mut interrupted);
    assert!(
        said.contains("interrupted; guests may have applied it, or may still; another `ovf-host set`"),
        "{said}"
    );
    assert_eq!(interrupted.wait()?.code(), Some(130));
    assert!(has("a", "third"));
    a.behave(Behaviour::Ready);
    set("a", "word=third", 0, &["2 guests changed"]);
    assert!(a.document().contains("third"));

    // What is late may still come.
    a.behave(Behaviour::Mute);
    let (said, status) = desk.answer(&["set", "a", "word=fifth", "--timeout", "1"]);
    assert!(
        said.contains("`a` has not answered within 1 s; it may still apply it") && status == Some(75),
        "{said}"
    );
    assert!(a.document().contains("fifth") && desk.record()["unsettled"] == serde_json::json!([1]));
    desk.answer(&["down", "--now"]);
    desk.is_clear();

    // The drive does not take it; who else is meant is none the worse.
    drop((a, b));
    fs::write(desk.path("no-drive"), "")?;
    desk.up(&[]);
    let (a, b) = (desk.play("a", Behaviour::Ready), desk.play("b", Behaviour::Ready));
    let refused =
        "`b` has applied it, but its drive does not take the new disc: QEMU's blockdev-change-medium: ";
    for _ in 0..2 {
        set("b", "word=second", 1, &[refused, again]);
        assert!(b.document().contains("second") && has("b", "second"));
    }
    assert!(a.document().contains("second") && has("a", "second"));
    assert_eq!(desk.record()["unsettled"], serde_json::json!([2]));
    desk.answer(&["down", "--now"]);
    desk.is_clear();
    Ok(())
}

fn interrupted() -> Result<(), Failed> {
    let desk = Desk::new();
    // While the last guest is started, and nobody is waited for.
    let mut up = desk.begin_as("interrupt", &["up", "shop.ovf", "--qemu", "./qemu", "--no-wait"]);
    let said = ends(&mut up);
    assert!(said.contains("interrupted; the power of all guests is cut"), "{said}");
    assert_eq!(up.wait()?.code(), Some(130));
    desk.is_clear();
    fs::remove_file(desk.path("interrupt"))?;

    // While they are listened to, who say nothing.
    desk.up(&[]);
    for (words, wanted) in [
        (&["set", "a", "word=second"][..], "interrupted; nothing was sent"),
        (&["down"], "interrupted; nobody was asked to stop"),
        (&["wait"], ""),
    ] {
        let mut command = desk.begin(words);
        desk.catches_interrupts(&command);
        interrupt(&command);
        let said = ends(&mut command);
        assert!(said.contains(wanted), "{words:?}: {said}");
        assert_eq!(command.wait()?.code(), Some(130), "{words:?}");
    }
    assert_eq!(desk.happened("sent"), [""; 0]);
    assert_eq!(desk.happened("stopping"), [""; 0]);
    assert_eq!(desk.record()["properties"], serde_json::json!([]));

    // While they stop, who were asked and do not.
    let (_a, _b) = (desk.play("a", Behaviour::Ready), desk.play("b", Behaviour::Ready));
    let mut down = desk.begin(&["down", "--timeline", "all.svg"]);
    while desk.happened("stopping").is_empty() {
        thread::yield_now();
    }
    interrupt(&down);
    let said = ends(&mut down);
    assert!(said.contains("interrupted; the power of the guests that still ran is cut"), "{said}");
    assert_eq!(down.wait()?.code(), Some(130));
    let picture = fs::read_to_string(desk.path("all.svg"))?;
    assert_eq!(picture.matches(">off at ").count(), 2, "{picture}");
    desk.is_clear();
    Ok(())
}

fn wait() -> Result<(), Failed> {
    let desk = Desk::new();
    // With a gate, which nobody misses.
    desk.up(&["--subnet", "10.77.0.0/24"]);
    let (a, b) = (desk.play("a", Behaviour::Failed), desk.play("b", Behaviour::Waits));
    let wait = |words: &[&str], status: i32, wanted: &[&str]| {
        let (said, got) = desk.answer(&[&["wait", "--timeout", "1"], words].concat());
        let has_no_more = said.matches("ovf-host: ").count() == wanted.len();
        assert!(
            wanted.iter().all(|it| said.contains(it)) && has_no_more && got == Some(status),
            "{got:?} {said}"
        );
    };
    let failed = |id: &str| format!("ovf-host: `{id}` failed: ParametersInvalid: `ip` is none\n");
    let late = |id: &str| {
        format!(
            "ovf-host: `{id}` was not ready after 1 s; its last word was: waiting: file /run/never is not there\n"
        )
    };
    wait(&[], 1, &[&failed("a"), &late("b")]);
    wait(&["b"], 75, &[&late("b")]);
    wait(&["a"], 1, &[&failed("a")]);
    // Whoever is told of last.
    a.behave(Behaviour::Waits);
    b.behave(Behaviour::Failed);
    wait(&[], 1, &[&failed("b"), &late("a")]);
    b.behave(Behaviour::Waits);
    wait(&[], 75, &[&late("a"), &late("b")]);
    a.behave(Behaviour::Ready);
    wait(&["a"], 0, &[]);
    b.behave(Behaviour::Ready);
    wait(&[], 0, &[]);
    // Whom nobody believes any more; nor does it fill a disk.
    let is_none = |why: &str| format!("ovf-host: `b` is not trusted: it {why}\n");
    b.behave(Behaviour::Contradicts);
    wait(&["b"], 1, &[&is_none("says that it is ready, and that its stage is `waiting`")]);
    b.behave(Behaviour::Babbles);
    let (said, status) = desk.answer(&["wait", "b", "--timeout", "60"]);
    let wanted = is_none("has said more than 10000 reports, each another");
    assert!(said.contains(&wanted) && status == Some(1), "{status:?} {said:.2000}");
    assert!(desk.happened("report").len() < 11_000);
    desk.answer(&["down", "--now"]);
    desk.is_clear();
    Ok(())
}

fn refused() -> Result<(), Failed> {
    let desk = Desk::new();
    let says = |words: &[&str], status: i32, wanted: &str| {
        let (said, got) = desk.answer(words);
        assert!(said.contains(wanted) && got == Some(status), "{words:?}: {got:?} {said}");
    };
    let up = |more: &[&'static str]| [&["up", "shop.ovf", "--qemu", "./qemu"], more].concat();
    let (subnet, port) = (["--subnet", "10.77.0.0/24"], "--publish");
    for wrong in ["0:10.77.0.10:80", "80:10.77.0.10:0"] {
        says(&up(&[&subnet[..], &[port, wrong]].concat()), 64, "is not PORT:ADDRESS:PORT");
    }
    let twice = [port, "8080:10.77.0.10:80", port, "8080:10.77.0.11:80"];
    says(&up(&[&subnet[..], &twice].concat()), 64, "--publish has the port 8080 twice");
    for (address, why) in [
        ("10.77.0.1", "is this machine's own; name a guest's"),
        ("10.77.0.255", "is no machine's of the subnet; name a guest's"),
    ] {
        let wrong = format!("8080:{address}:80");
        let (said, status) = desk.answer(&[&up(&subnet)[..], &[port, &wrong]].concat());
        assert_eq!((said, status), (format!("ovf-host: --publish: {address} {why}\n"), Some(64)));
    }
    // Guests would start in another order than their package means.
    let text = fs::read_to_string(desk.path("shop.ovf"))?;
    let section = r#"<StartupSection><Info/><Item ovf:id="c" ovf:order="1"/></StartupSection></VirtualSystemCollection>"#;
    fs::write(desk.path("shop.ovf"), text.replace("</VirtualSystemCollection>", section))?;
    says(&up(&[]), 78, "[dangling-startup]");
    let sized = text.replace(r#"ovf:fileRef="image" ovf:capacity="1048576""#, r#"ovf:capacity="${word}""#);
    fs::write(desk.path("shop.ovf"), sized)?;
    says(
        &up(&[]),
        78,
        "the capacity of the disk `disk` is the property `word`'s, which ovf-host does not look up",
    );
    fs::write(desk.path("shop.ovf"), &text)?;
    desk.is_clear();

    desk.up(&[]);
    says(&up(&[]), 64, "there is a deployment `shop` already; end it with `ovf-host down shop`");
    says(&["set", "a", "word=second", "a:word=third"], 64, "`a:word` is given twice");
    says(&["set", "a", "word"], 64, "ovf-host: the value, number 1, is not KEY=VALUE");
    says(&["set", "a", "word=second", "--timeout", "0"], 64, "0 is not in 1..");
    says(&["wait", "--timeout", "0"], 64, "0 is not in 1..");
    // One that cannot be read hides no other.
    fs::create_dir(desk.path("state/broken"))?;
    fs::write(desk.path("state/broken/lock"), "")?;
    fs::write(desk.path("state/broken/deployment.json"), "{")?;
    says(&["status"], 1, "shop\n  a  silent");
    says(&["status"], 1, "state/broken/deployment.json");
    says(&up(&["--name", "broken"]), 64, "there is a deployment `broken` already; ");
    says(&up(&["--name", "broken"]), 64, "is broken, or of another version of ovf-host");
    fs::remove_dir_all(desk.path("state/broken"))?;
    // Nor is one passed over that somebody else may not look into.
    let mode = |name: &str, mode: u32| fs::set_permissions(desk.path(name), fs::Permissions::from_mode(mode));
    fs::copy(env!("CARGO_BIN_EXE_ovf-host"), desk.path("ovf-host"))?;
    mode(".", 0o755)?;
    mode("state/shop", 0)?;
    let mut other = match rustix::process::geteuid().is_root() {
        true => Command::new("setpriv"),
        false => Command::new("env"),
    };
    if rustix::process::geteuid().is_root() {
        other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    }
    other.args(["./ovf-host", "status", "--state", "state"]).current_dir(desk.path("."));
    let output = other.output()?;
    mode("state/shop", 0o700)?;
    let said = String::from_utf8(output.stderr)?;
    assert!(said.contains("/state/shop/") && said.contains("Permission denied"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    says(&["down", "--now"], 0, "");
    desk.is_clear();
    Ok(())
}

fn gone() -> Result<(), Failed> {
    let desk = Desk::new();
    let goes = || {
        desk.up(&[]);
        desk.play("b", Behaviour::Ready);
        desk.signal("path=s/1.monitor,", "-KILL");
        while UnixStream::connect(desk.path("state/shop/s/1.monitor")).is_ok() {
            thread::yield_now();
        }
    };
    let drawn = |words: &[&str], wanted: &[(&str, usize)]| {
        let (said, status) = desk.answer(&[&["down", "--timeline", "all.svg"], words].concat());
        assert_eq!(status, Some(0), "{said}");
        let picture = fs::read_to_string(desk.path("all.svg")).expect("drawn");
        for (text, count) in wanted {
            assert_eq!(picture.matches(text).count(), *count, "{text}: {picture}");
        }
        desk.is_clear();
    };

    // Whoever sees it first writes it down, and nobody else.
    goes();
    for _ in 0..2 {
        let (said, status) = desk.answer(&["status"]);
        assert!(said.contains("  a  off\n") && status == Some(0), "{said}");
        assert_eq!(desk.happened("gone"), ["a"]);
    }
    let (said, status) = desk.answer(&["wait"]);
    assert_eq!((said.as_str(), status), ("ovf-host: `a` is off, and will not be ready\n", Some(1)));
    assert_eq!(desk.happened("gone"), ["a"]);
    drawn(&["--now"], &[(">seen gone at ", 1), (">off at ", 1)]);

    goes();
    let (said, status) = desk.answer(&["wait"]);
    assert!(
        said.contains("a: gone: it was not there any more when it was looked for") && status == Some(1),
        "{said}"
    );
    drawn(&["--timeout", "1"], &[(">seen gone at ", 1), (">off at ", 1)]);

    goes();
    drawn(&["--timeout", "1"], &[(">seen gone at ", 1), (">off at ", 1)]);
    desk.up(&[]);
    drawn(&["--now"], &[(">seen gone at ", 0), (">off at ", 2)]);
    Ok(())
}

fn unwritten() -> Result<(), Failed> {
    let desk = Desk::new();
    let full = || fs::File::options().write(true).open("/dev/full").expect("there");
    let unheard = || std::io::pipe().expect("a pipe").1;
    let up = &["up", "shop.ovf", "--qemu", "./qemu", "--no-wait"];
    let wanted = "ovf-host: cannot write what has happened: No space left on device (os error 28); the guests are none the worse\n";
    for json in [&["--json"][..], &[]] {
        let run = |words: &[&str], out: Stdio| desk.answer_to(&[words, json].concat(), out);
        assert_eq!(run(up, full().into()), (wanted.to_owned(), Some(1)));
        let (_a, _b) = (desk.play("a", Behaviour::Ready), desk.play("b", Behaviour::Ready));
        assert_eq!(run(&["wait"], full().into()), (wanted.to_owned(), Some(1)));
        // Whoever has heard enough.
        assert_eq!(run(&["wait"], unheard().into()), (String::new(), Some(0)));
        assert_eq!(run(&["set", "a", "word=second"], unheard().into()), (String::new(), Some(0)));
        let (said, status) = run(&["set", "a", "word=third"], full().into());
        assert_eq!((said.as_str(), status), (wanted, Some(1)));
        assert_eq!(desk.record()["properties"], serde_json::json!([["a:word", "third"]]));
        assert_eq!(run(&["down", "--timeout", "1"], full().into()), (wanted.to_owned(), Some(1)));
        desk.is_clear();
    }

    // A picture that was asked for, too: refused before anything is done, and later no harm to the guests.
    fs::write(desk.path("kept.svg"), "kept")?;
    symlink("kept.svg", desk.path("link.svg"))?;
    let refuses = |words: &[&str]| {
        for (name, why) in [
            ("/dev/full", "it is a device, a pipe or a socket; name a file"),
            ("link.svg", "it is a symbolic link; name the file itself"),
            ("shop.ovf", "it is a file that this is made of; name another one"),
            ("nowhere/all.svg", "No such file or directory (os error 2)"),
        ] {
            let (said, status) = desk.answer_to(&[words, &["--timeline", name]].concat(), Stdio::null());
            assert_eq!(
                (said, status),
                (format!("ovf-host: cannot write {name}: {why}\n"), Some(1)),
                "{words:?}"
            );
        }
    };
    refuses(up);
    desk.is_clear();
    desk.up(&[]);
    refuses(&["down", "--now"]);
    assert_eq!(desk.processes("path=s/1.monitor,").len(), 1);
    fs::create_dir(desk.path("pictures"))?;
    let mut down = desk.begin(&["down", "--timeout", "1", "--timeline", "pictures/all.svg"]);
    while desk.happened("stopping").is_empty() {
        thread::yield_now();
    }
    fs::remove_dir(desk.path("pictures")).expect("empty");
    let said = ends(&mut down);
    assert_eq!(said, "ovf-host: cannot write pictures/all.svg: No such file or directory (os error 2)\n");
    assert_eq!(down.wait()?.code(), Some(1));
    desk.is_clear();

    // Nothing is left of one that had nothing to draw.
    let (said, status) = desk.answer(&["up", "shop.ovf", "--qemu", "/nope", "--timeline", "new.svg"]);
    assert!(said.contains("/nope is not there") && status == Some(1), "{said}");
    assert!(!desk.path("new.svg").exists());
    Ok(())
}
