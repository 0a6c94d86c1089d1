//! A program of ours in the place of VMware's tool: it notes what it is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::{LONGEST, Moment, Poll, Root, Tool, short};
use crate::ready::Unmet;
use crate::report::tests::sample;
use crate::report::{Report, Stage};
use crate::sys::clock::now;

const SOON: Duration = Duration::from_secs(30);

/// A tool that does `script`, with `$1` what it is told.
fn tool(dir: &Path, script: &str) -> Tool {
    let path = dir.join("tool");
    fs::create_dir_all(dir.join("run")).expect("mkdir");
    fs::write(&path, format!("#!/bin/sh\ncd {}\n{script}\n", dir.display())).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    Tool::new(path, &[])
}

/// Goes on until nothing runs any more; whether that is for now alone.
fn drive(tool: &mut Tool, root: &Root, poll: &Poll, report: &Report) -> Option<Moment> {
    let until = now() + SOON;
    tool.go_on(root, poll, report, now());
    while tool.running.is_some() {
        assert!(now() < until, "it goes on and on");
        poll.wait(Some(SOON)).expect("epoll");
        tool.go_on(root, poll, report, now());
    }
    tool.next()
}

#[test]
fn both_variables_are_set_one_after_the_other_and_ready_only_when_it_changes() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let root = Root::open(dir.path()).expect("a directory");
    let poll = Poll::new().expect("epoll");
    // It fails where another of its kind runs.
    let mut tool = tool(dir.path(), "mkdir one || exit 9; echo \"$1\" | cut -c 1-60 >> told; rmdir one");
    let mut report = sample();
    for (stage, seq) in [(Stage::Starting, 1), (Stage::Waiting, 2), (Stage::Ready, 3)] {
        (report.stage, report.ready, report.seq) = (stage, stage == Stage::Ready, seq);
        for _ in 0..3 {
            tool.said(now());
        }
        assert_eq!(drive(&mut tool, &root, &poll, &report), None);
    }
    let told = fs::read_to_string(dir.path().join("told")).expect("it was told");
    let set = |line: &str| line.split('{').next().unwrap_or_default().trim_end().to_owned();
    let report = "info-set guestinfo.ovf-agent.report";
    assert_eq!(
        told.lines().map(set).collect::<Vec<_>>(),
        [report, "info-set guestinfo.ready false", report, report, "info-set guestinfo.ready true"]
    );
    let left = fs::read_dir(dir.path().join("run/ovf-agent")).expect("a directory").count();
    assert_eq!(left, 0, "one that is content leaves nothing");
}

#[test]
fn one_that_fails_is_tried_again_and_one_that_hangs_is_ended() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let root = Root::open(dir.path()).expect("a directory");
    let poll = Poll::new().expect("epoll");
    let mut fails = tool(dir.path(), "exit 1");
    fails.said(now());
    let begun = now();
    let next = drive(&mut fails, &root, &poll, &sample()).expect("another try");
    assert!(next > begun && next <= now() + Duration::from_secs(1));

    let mut hangs = tool(dir.path(), "exec sleep 1000");
    hangs.said(now());
    hangs.go_on(&root, &poll, &sample(), now());
    let limit = hangs.next().expect("a limit");
    assert!(hangs.running.is_some() && limit > now());
    hangs.go_on(&root, &poll, &sample(), limit);
    assert!(hangs.running.is_none(), "it was ended at its limit");
    assert_eq!(hangs.next(), Some(limit + Duration::from_secs(1)));
}

#[test]
fn a_report_fits_into_a_message() {
    let long = Unmet { gate: "g".repeat(100), code: "c".to_owned(), reason: "r".repeat(1000), since_ms: 0 };
    let changed = vec!["/etc/x".repeat(20); 1000];
    for (report, has) in [
        (Report { changed: changed.clone(), ..sample() }, "\"changed\":[]"),
        (Report { changed, unmet: vec![long; 100], ..sample() }, "\"unmet\":[]"),
        (Report { changed: vec!["/etc/x".to_owned()], ..sample() }, "\"changed\":[\"/etc/x\"]"),
    ] {
        let text = short(&report);
        assert!(text.len() <= LONGEST && text.contains(has) && !text.contains('\n'), "{} bytes", text.len());
    }
}
