//! Somebody at the console of a guest: a boot sector under QEMU that says two lines, and then whatever is typed, in the other case.
//!
//! One guest shows all of it in a row. Where there is no QEMU the trial is skipped, and says so.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use ovf_host::console::{End, Seat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

mod common;
use common::{answer, descriptor, host};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let missing = ["qemu-system-x86_64", "qemu-img"].into_iter().find(|it| !there(it));
    let kind = missing.map_or(String::new(), |it| format!("skipped: there is no {it}"));
    let trial = Trial::test("whoever-sits-at-a-console-hears-types-and-leaves", console);
    let trial = trial.with_kind(kind).with_ignored_flag(missing.is_some());
    let trials = vec![trial, Trial::test("what-is-piped-arrives-whole-where-the-guest-is-slow", slow)];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What the guest is, for a processor that has just been switched on.
const SECTOR: [u8; 54] = [
    0xfc, 0x31, 0xc0, 0x8e, 0xd8, // cld; ds = 0
    0xbe, 0x36, 0x7c, // si = the text behind this
    0xac, 0x84, 0xc0, 0x74, 0x05, 0xe8, 0x15, 0x00, 0xeb, 0xf6, // each byte of it, up to a 0: put
    0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf8, // COM1's line status, until there is a byte
    0xba, 0xf8, 0x03, 0xec, 0x34, 0x20, // the byte, in the other case
    0xe8, 0x02, 0x00, 0xeb, 0xed, // put, and again
    0x88, 0xc4, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xfb, // put: line status, until there is room
    0xba, 0xf8, 0x03, 0x88, 0xe0, 0xee, 0xc3, // and the byte
];
const TEXT: &str = "first line\r\nready\r\n";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The package and its deployment, which goes with this.
struct Deployed(tempfile::TempDir);

impl Deployed {
    fn new() -> Self {
        let it = Self(tempfile::tempdir().expect("a directory"));
        let mut sector = [&SECTOR[..], TEXT.as_bytes()].concat();
        sector.resize(510, 0);
        sector.extend([0x55, 0xaa]);
        fs::write(it.path().join("disk.vmdk"), sector).expect("written");
        fs::write(it.path().join("vm.ovf"), descriptor(512)).expect("written");
        it
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// What a command answers, and how it ends.
    fn answer(&self, words: &[&str]) -> (String, Option<i32>) {
        answer(self.path(), &[words, &["--state", "state"]].concat())
    }

    /// Waits until the last thing that the console has said is this.
    fn has_said(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (text, status) = self.answer(&["console", "--log"]);
            assert_eq!(status, Some(0), "{text}");
            if text.ends_with(wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "no {wanted:?} at the end of {text:?}");
        }
    }

    fn spawn(&self, input: Stdio, output: Stdio) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ovf-host"));
        command.args(["console", "vm", "--state", "state"]).current_dir(self.path());
        command.stdin(input).stdout(output).stderr(Stdio::null()).spawn().expect("the program runs")
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        host(self.path(), &["down", "--now", "--state", "state"]);
    }
}

/// A terminal with `ovf-host console` at its other end.
struct Terminal {
    ours: File,
    name: PathBuf,
    child: Child,
}

impl Terminal {
    fn new(deployed: &Deployed) -> Self {
        let ours =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&ours).expect("ours");
        unlockpt(&ours).expect("unlocked");
        let name = PathBuf::from(ptsname(&ours, Vec::new()).expect("a name").to_str().expect("UTF-8"));
        let theirs = || File::options().read(true).write(true).open(&name).expect("it opens");
        let child = deployed.spawn(theirs().into(), theirs().into());
        Self { ours: File::from(ours), name, child }
    }

    fn press(&mut self, keys: &[u8]) {
        self.ours.write_all(keys).expect("typed");
    }

    /// Whether keys go to the program one by one, and no key is a signal.
    fn is_raw(&self) -> bool {
        let theirs = File::options().read(true).open(&self.name).expect("it opens");
        let modes = tcgetattr(&theirs).expect("a terminal").local_modes;
        let cooked = LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHO;
        assert!(modes.contains(cooked) || !modes.intersects(cooked), "half of it: {modes:?}");
        !modes.intersects(cooked)
    }

    fn becomes_raw(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_raw() {
            assert!(Instant::now() < deadline, "it stays as it was");
            thread::yield_now();
        }
    }

    fn shows(&mut self, wanted: &str) -> String {
        shows(&mut self.ours, wanted)
    }
}

/// Reads until this has been said.
fn shows(from: &mut (impl Read + AsFd), wanted: &str) -> String {
    let (mut seen, mut buffer, deadline) = (Vec::new(), [0; 4096], Instant::now() + PATIENCE);
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if text.contains(wanted) {
            return text;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a time");
        let mut sources = [PollFd::new(from, PollFlags::IN)];
        assert!(poll(&mut sources, Some(&left)).is_ok_and(|it| it > 0), "no {wanted:?} in {text:?}");
        let count = from.read(&mut buffer).unwrap_or(0);
        assert!(count > 0, "it ended before {wanted:?}: {text:?}");
        seen.extend_from_slice(&buffer[..count]);
    }
}

/// How it ends; it must.
fn ends(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("a child").is_none() {
        assert!(Instant::now() < deadline, "it goes on");
        thread::yield_now();
    }
    child.wait().expect("an end").code()
}

fn console() -> Result<(), Failed> {
    let deployed = Deployed::new();
    let up = ["up", "vm.ovf", "--no-wait", "--accelerator", "tcg"];
    let (text, status) = deployed.answer(&up);
    assert_eq!(status, Some(0), "{text}");

    // At a terminal: keys one by one, none of which is a signal here, until Ctrl-].
    deployed.has_said(TEXT);
    let mut first = Terminal::new(&deployed);
    first.shows("ready");
    first.becomes_raw();
    first.press(b"a\x03b");
    first.shows("A#B");
    // Nobody else, but other commands meanwhile.
    let (text, status) = deployed.answer(&["console"]);
    let busy = "ovf-host: somebody else is at the console of `vm`; it has room for one\n";
    assert_eq!((text.as_str(), status), (busy, Some(75)));
    let (text, status) = deployed.answer(&["status"]);
    assert!(text.contains("vm") && status == Some(0), "{text}");
    first.press(b"c\x1dd");
    assert_eq!(ends(&mut first.child), Some(0));
    assert!(!first.is_raw());

    // What was typed last before somebody left is answered, and what was said before is shown first.
    deployed.has_said("A#BC");
    let mut second = Terminal::new(&deployed);
    let seen = second.shows("A#BC");
    assert!(seen.contains("first line"), "{seen:?}");
    let pid = Pid::from_child(&second.child);
    second.becomes_raw();
    kill_process(pid, Signal::TERM).expect("a signal");
    assert_eq!(ends(&mut second.child), Some(130));
    assert!(!second.is_raw());

    // A terminal that hangs up.
    let mut third = Terminal::new(&deployed);
    third.shows("A#BC");
    third.becomes_raw();
    let Terminal { ours, mut child, .. } = third;
    drop(ours);
    assert_eq!(ends(&mut child), Some(0));

    // No terminal: bytes are copied, an escape is none, and the end of the input is not the end.
    let mut copy = deployed.spawn(Stdio::piped(), Stdio::piped());
    copy.stdin.take().expect("a pipe").write_all(b"long\x1d").expect("typed");
    let mut output = copy.stdout.take().expect("a pipe");
    shows(&mut output, "LONG\x3d");
    kill_process(Pid::from_child(&copy), Signal::INT).expect("a signal");
    assert_eq!(ends(&mut copy), Some(130));

    // All that was said; to a pipe as it was.
    deployed.has_said(&format!("{TEXT}A#BCLONG\x3d"));
    let (text, status) = deployed.answer(&["console", "mv"]);
    assert!(text.contains("there is no guest `mv`; there is only `vm`") && status == Some(64), "{text}");

    // The guest goes off under somebody.
    let mut last = Terminal::new(&deployed);
    last.shows("LONG");
    last.becomes_raw();
    let (text, status) = deployed.answer(&["down", "--now"]);
    assert_eq!((text.as_str(), status), ("", Some(0)));
    assert_eq!(ends(&mut last.child), Some(0));
    assert!(!last.is_raw());
    let (text, status) = deployed.answer(&["console"]);
    assert!(text.contains("nothing is deployed") && status == Some(64), "{text}");
    Ok(())
}

fn slow() -> Result<(), Failed> {
    let all: Vec<u8> = (0..1_000_000_u32).map(|it| (it % 251) as u8).collect();
    let (input, mut pipe) = std::io::pipe()?;
    let (console, mut guest) = UnixStream::pair()?;
    let (end, heard) = thread::scope(|scope| {
        let (is_full, begins) = std::sync::mpsc::channel();
        let all = &all;
        scope.spawn(move || {
            for part in all.chunks(3001) {
                // One part after the other, until nobody takes any more.
                let begun = Instant::now();
                while ioctl_fionread(&pipe).expect("a pipe") > 0 {
                    if begun.elapsed() > Duration::from_millis(100) {
                        // Once is enough.
                        let _ = is_full.send(());
                    }
                    thread::yield_now();
                }
                pipe.write_all(part).expect("a reader");
            }
        });
        // It reads when nobody takes any more from the pipe, and says nothing until it has all of it.
        let heard = scope.spawn(move || {
            begins.recv().expect("there is more than anybody keeps");
            let (mut heard, mut some) = (Vec::new(), [0; 1000]);
            while heard.len() < all.len() {
                let count = guest.read(&mut some).expect("a stream");
                assert!(count > 0, "it ended after {} bytes", heard.len());
                heard.extend_from_slice(&some[..count]);
            }
            guest.write_all(b"all").expect("somebody listens");
            heard
        });
        let mut said = Vec::new();
        let end = Seat::take(input.as_fd()).and_then(|it| it.sit(console, &mut said));
        assert_eq!(said, b"all");
        (end, heard.join().expect("no panic"))
    });
    assert_eq!(end?, End::Closed);
    assert!(heard == all, "other bytes");
    Ok(())
}
