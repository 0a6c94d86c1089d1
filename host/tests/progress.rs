//! What a person at a terminal sees of a long check, and what nobody else does.
//!
//! The packages have a disk of 64 GiB, of which nothing is on any disk. So a check of it lasts until the test cuts it off
//! while it is being read, whatever the machine.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use unicode_width::UnicodeWidthStr;

mod common;
use common::descriptor;

const SIZE: u64 = 64 << 30;
/// With a character that turns the writing around, wide ones, and letters of two bytes.
const NAME: &str = "Größe\u{202e} 磁盘映像一.vmdk";

/// A package with a disk of `SIZE` of zeros.
fn package() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("written");
    write("long.ovf", &descriptor(1));
    write("long.mf", &format!("SHA256({NAME})= {}\n", "0".repeat(64)));
    write("disk.vmdk", "x");
    let disk = File::create(directory.path().join(NAME)).expect("a file");
    disk.set_len(SIZE).expect("a file system with sparse files");
    directory
}

fn check(directory: &Path, term: Option<&str>, stderr: Stdio) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovf-host"));
    command.args(["check", "--json", "long.ovf"]).current_dir(directory);
    match term {
        Some(term) => command.env("TERM", term),
        None => command.env_remove("TERM"),
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().expect("the program runs")
}

/// The end of the disk, wherever it is being read.
fn cut_off(directory: &Path) {
    let disk = File::options().write(true).open(directory.join(NAME)).expect("the disk");
    disk.set_len(0).expect("no bytes");
}

/// A terminal so wide, of which one end is the program's and the other one ours.
fn terminal(columns: u16) -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("ours");
    unlockpt(&ours).expect("unlocked");
    let path = ptsname(&ours, Vec::new()).expect("a name");
    let theirs =
        File::options().read(true).write(true).open(path.to_str().expect("UTF-8")).expect("it opens");
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&theirs, size).expect("a size");
    (File::from(ours), theirs)
}

/// What the program has written to its terminal before it let go of it. A terminal whose other end is closed is an error to
/// whoever reads.
fn all(mut terminal: File, mut seen: impl FnMut(&[u8])) -> String {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = terminal.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
        seen(&bytes);
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// The answer of a check that has ended: that the disk became shorter.
fn cut_short(child: Child) {
    ended(child, 1, "it became shorter while it was read");
}

fn ended(mut child: Child, status: i32, want: &str) {
    let mut answer = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut answer).expect("UTF-8");
    assert_eq!(child.wait().expect("an end").code(), Some(status), "{answer}");
    assert!(answer.contains(want), "{answer}");
    assert!(!answer.contains('\u{1b}'), "{answer}");
}

#[test]
fn a_terminal_has_one_line_of_it_and_in_the_end_none() {
    for columns in [110, 44, 12, 0] {
        let directory = package();
        let (ours, theirs) = terminal(columns);
        let begun = Instant::now();
        let child = check(directory.path(), Some("xterm"), theirs.into());
        let (mut first, mut fifth) = (None, None);
        let seen = all(ours, |bytes| {
            first.get_or_insert_with(|| begun.elapsed());
            if fifth.is_none() && bytes.iter().filter(|&&it| it == b'\r').count() >= 5 {
                fifth = Some(begun.elapsed());
                cut_off(directory.path());
            }
        });
        cut_short(child);

        // Half a second, and then a tenth for each; whatever else the machine does makes it only later.
        let (first, fifth) = (first.expect("a line"), fifth.expect("five lines"));
        assert!(
            first >= Duration::from_millis(500) && fifth >= Duration::from_millis(900),
            "{first:?}, {fifth:?}"
        );
        let lines: Vec<_> = seen.split('\r').collect();
        assert_eq!((lines[0], lines[lines.len() - 1]), ("", "\u{1b}[K"), "{seen:?}");
        let limit = if columns == 0 { 80 } else { columns };
        for line in &lines[1..] {
            let text = line.strip_suffix("\u{1b}[K").unwrap_or_else(|| panic!("{line:?}"));
            assert!(!text.contains('\u{1b}') && text.width() < limit.into(), "{columns}: {line:?}");
        }
        let line = lines[2];
        match columns {
            110 => {
                for part in ["reading Größe\\u{202e} 磁盘映像一.vmdk  [", "of 68.7 GB  ", "B/s  ", " left"]
                {
                    assert!(line.contains(part), "{part}: {line:?}");
                }
            }
            44 => assert!(line.contains("像一.vmdk") && line.contains('…'), "{line:?}"),
            12 => assert!(line.ends_with(" %\u{1b}[K"), "{line:?}"),
            _ => assert!(line.contains(" left"), "{line:?}"),
        }
    }
}

#[test]
fn nobody_else_sees_any_of_it() {
    let directory = package();
    let mut children = Vec::new();
    let mut outputs = Vec::new();
    for term in [Some("dumb"), Some(""), None] {
        let (ours, theirs) = terminal(80);
        children.push(check(directory.path(), term, theirs.into()));
        outputs.push(ours);
    }
    let to_file = tempfile::tempfile().expect("a file");
    children.push(check(directory.path(), Some("xterm"), to_file.try_clone().expect("the same").into()));
    // A bar comes after half a second of reading, and here it must not come.
    thread::sleep(Duration::from_millis(1200));
    for child in &mut children {
        assert!(child.try_wait().expect("a child").is_none(), "it reads, or there is nothing to see");
    }
    cut_off(directory.path());
    children.into_iter().for_each(cut_short);
    for output in outputs {
        assert_eq!(all(output, |_| {}), "");
    }
    assert_eq!(to_file.read_at(&mut [0], 0).expect("a file"), 0);
}

#[test]
fn who_is_done_at_once_shows_nothing() {
    let directory = package();
    cut_off(directory.path());
    let (ours, theirs) = terminal(80);
    let child = check(directory.path(), Some("xterm"), theirs.into());
    assert_eq!(all(ours, |_| {}), "");
    ended(child, 78, "digest-mismatch");
}
