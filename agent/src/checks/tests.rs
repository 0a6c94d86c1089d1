use super::{DIRECTORY, How, Kind, Order, Refusal, forget_gates, slug};
use crate::bus::Bus;
use crate::sys::Root;
use crate::sys::program::Input;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// In a machine of its own, in which there is no systemd.
fn judge(dir: &Path, kind: Kind, argv: &[&str], limit: Duration) -> Result<(), Box<Refusal>> {
    let root = Root::open(dir).expect("a directory");
    let bus = Bus::new(&root).expect("descriptors");
    assert!(bus.systemd().is_none());
    let argv: Vec<_> = argv.iter().map(ToString::to_string).collect();
    let file = dir.join("staged");
    let order = Order::new(&root, kind, "templates/App.conf.tera", &argv, Some(&file), limit)?;
    bus.wait(order.run(&bus)).expect("an epoll set")
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

#[test]
fn a_program_is_judged_by_its_end() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    fs::write(dir.path().join("staged"), "good\n").expect("write");
    // (program, limit, how it ended)
    type Row = (&'static [&'static str], Duration, Result<(), How>);
    let table: [Row; 11] = [
        (&["true"], LONG, Ok(())),
        (&["grep", "-q", "good", "{}"], LONG, Ok(())),
        (&["sh", "-c", "test -f \"$1\"", "sh", "{}"], LONG, Ok(())),
        (&["sh", "-c", "! read line && test $LANG = C && test $(umask) = 0077"], LONG, Ok(())),
        (&["sh", "-c", "test $(env | grep -cE '^(PATH|LANG|PWD|SHLVL|_)=') = $(env | wc -l)"], LONG, Ok(())),
        (&["grep", "-q", "bad", "{}"], LONG, Err(How::Exit(1))),
        (&["sh", "-c", "kill -9 $$"], LONG, Err(How::Signal(9))),
        (&["sleep", "100"], SHORT, Err(How::Late(SHORT))),
        (&["no-such-program"], LONG, Err(How::Missing)),
        (&["/etc/passwd"], LONG, Err(How::Missing)),
        (&[], LONG, Err(How::Missing)),
    ];
    for (argv, limit, want) in table {
        let got = judge(dir.path(), Kind::Check, argv, limit).map_err(|refusal| refusal.how);
        assert_eq!(got, want, "{argv:?}");
    }
}

#[test]
fn a_hook_reads_its_input_once_and_cannot_change_it() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let root = Root::open(dir.path()).expect("a directory");
    let bus = Bus::new(&root).expect("descriptors");
    let script = "test \"$(cat)\" = s3cret && ! read line && test $OVF_A = b && ! echo x >> /proc/self/fd/0 && \
                  test $(env | grep -c s3cret) = 0 && dd if=/dev/zero of=big bs=1M count=17";
    let argv = ["sh".to_owned(), "-c".to_owned(), format!("cd {} && {script}", dir.path().display())];
    for _ in ["once", "again"] {
        let order = Order::new(&root, Kind::Hook, "ready/10-x", &argv, None, LONG).expect("there is a shell");
        let variables = vec![("OVF_A".to_owned(), "b".to_owned())];
        let order = order.told(variables, Input::new(&["s3", "cret\n"]).expect("memory"));
        let ended = bus.wait(order.run(&bus)).expect("an epoll set");
        assert_eq!(ended.map_err(|refusal| refusal.to_string()), Ok(()));
    }
}

#[test]
fn what_it_has_started_ends_with_it() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let started = dir.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; exit $0", started.display());
    for status in ["0", "3"] {
        let _ = judge(dir.path(), Kind::Verify, &["sh", "-c", &script, status], LONG);
        let pid = fs::read_to_string(&started).expect("its number");
        let stat = format!("/proc/{}/stat", pid.trim());
        // Killed is not yet gone, where it is somebody else's child by now.
        let gone = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        let begun = Instant::now();
        while !gone() {
            assert!(begun.elapsed() < LONG, "{pid} is still there");
            std::thread::yield_now();
        }
    }
}

#[test]
fn what_it_prints_is_in_a_file_for_root_alone() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    fs::write(dir.path().join("staged"), "hunter2\n").expect("write");
    let blab = ["sh", "-c", "cat $1; cat $1 >&2; exit $0", "1", "{}"];
    let refusal = judge(dir.path(), Kind::Check, &blab, LONG).expect_err("it refuses");
    let text = format!("{refusal} {refusal:?}");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("check of templates/App.conf.tera: sh ended with exit status 1"), "{text}");
    let output = refusal.output.expect("a file");
    assert_eq!(output, Path::new(DIRECTORY).join("check-app-conf.log"));
    let file = dir.path().join(output.strip_prefix("/").expect("absolute"));
    assert_eq!(fs::read_to_string(&file).expect("its output"), "hunter2\nhunter2\n");
    assert_eq!(fs::metadata(&file).expect("it is there").mode() & 0o777, 0o600);

    // One that is content leaves nothing, not even from before.
    let content = ["sh", "-c", "cat $1", "0", "{}"];
    judge(dir.path(), Kind::Check, &content, LONG).expect("it accepts");
    assert!(!file.exists(), "nothing is left");
}

#[test]
fn a_gate_may_print_little_and_hears_of_it() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let log = dir.path().join("run/ovf-agent/gate-app-conf.log");
    let print = |count: u32| format!("head -c {count} /dev/zero");
    let file = dir.path().join("big");
    let write = format!("exec dd if=/dev/zero of={} bs=65537 count=1", file.display());
    for (script, want) in [
        (print(65_535) + "; exit 3", How::Exit(3)),
        (format!("exec {}", print(65_537)), How::Talkative(64)),
        // The shell's own end says nothing of the kind, nor does that of one who takes no notice of the signal.
        (print(1 << 20) + "; exit 1", How::Talkative(64)),
        (format!("trap '' XFSZ; {}; kill -9 $$", print(1 << 20)), How::Talkative(64)),
        (write, How::Large(64)),
    ] {
        let refusal = judge(dir.path(), Kind::Gate, &["sh", "-c", &script], LONG).expect_err("it refuses");
        assert_eq!(refusal.how, want, "{script}");
        assert!(fs::metadata(&log).expect("its output").len() <= 65_536);
    }
    // Its last try takes what it said with it; so does the end of the gate.
    judge(dir.path(), Kind::Gate, &["echo", "good"], LONG).expect("it accepts");
    assert!(!log.exists());
    let root = Root::open(dir.path()).expect("a directory");
    forget_gates(&root);
    let names = ["gate-1.log", "gate-12.log", "gate-a.log", "check-1.log", "gate-1"];
    names.iter().for_each(|name| fs::write(log.with_file_name(name), "").expect("write"));
    forget_gates(&root);
    let left = names.map(|name| log.with_file_name(name).exists());
    assert_eq!(left, [false, false, true, true, true]);
}

#[test]
fn what_judges_a_file_may_print_more() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let argv = ["sh", "-c", "head -c 1000000 /dev/zero; exit 1"];
    let refusal = judge(dir.path(), Kind::Check, &argv, LONG).expect_err("it refuses");
    assert_eq!(refusal.how, How::Exit(1));
}

#[test]
fn a_refusal_says_what_to_do() {
    let refusal = |kind, how, output: bool| Refusal {
        kind,
        subject: "templates/a.tera".to_owned(),
        program: "/usr/sbin/nginx".to_owned(),
        how,
        output: output.then(|| "/run/ovf-agent/verify-a.log".into()),
        source: None,
    };
    for (refusal, want) in [
        (
            refusal(Kind::Check, How::Missing, false),
            "check of templates/a.tera: there is no program /usr/sbin/nginx; install it, or correct `check`",
        ),
        (
            refusal(Kind::Verify, How::Signal(11), true),
            "verify of templates/a.tera: /usr/sbin/nginx was ended by signal 11; what it said is in \
             /run/ovf-agent/verify-a.log",
        ),
        (
            refusal(Kind::OnChange, How::Late(Duration::from_millis(1500)), true),
            "on-change of templates/a.tera: /usr/sbin/nginx did not end within 1.5 s; what it said is in \
             /run/ovf-agent/verify-a.log",
        ),
        (
            refusal(Kind::Verify, How::Talkative(64), true),
            "verify of templates/a.tera: /usr/sbin/nginx printed more than 64 KiB, and may not; what it said is in \
             /run/ovf-agent/verify-a.log",
        ),
        (refusal(Kind::Check, How::NotRun, false), "check of templates/a.tera: cannot run /usr/sbin/nginx"),
        (
            refusal(Kind::Check, How::Exit(226), false),
            "check of templates/a.tera: the sandbox of /usr/sbin/nginx could not be made (exit status 226)",
        ),
        (
            refusal(Kind::Hook, How::Exit(3), true),
            "hook templates/a.tera ended with exit status 3; what it said is in /run/ovf-agent/verify-a.log",
        ),
        (
            refusal(Kind::Hook, How::Missing, false),
            "hook templates/a.tera cannot be run; is its file executable, and the interpreter in its first line there?",
        ),
    ] {
        assert_eq!(refusal.to_string(), want);
    }
}

#[test]
fn a_name_for_files_and_units_is_made_of_the_templates() {
    for (kind, name, want) in [
        (Kind::Check, "templates/nginx.conf.tera", "nginx-conf"),
        (Kind::Verify, "/etc/ovf-agent/templates/A b.tera", "a-b"),
        (Kind::Check, "x", "x"),
        (Kind::Check, "templates/ä.tera", "-"),
        (Kind::Hook, "first-boot/10-x.sh", "first-boot-10-x-sh"),
    ] {
        assert_eq!(slug(kind, name), want, "{name}");
    }
}
