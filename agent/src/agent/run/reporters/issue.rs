//! A person at the console: a file of issue(5) that agetty(8) shows above the login prompt.
//!
//! Decides that it is there as long as the guest is not ready, or not well, and this process says so; a guest that is as it should
//! be has nothing to tell, and nobody would read it.

#![forbid(unsafe_code)]

use tracing::warn;

use crate::agent::chain;
use crate::notify;
use crate::report::Report;
use crate::sys::{self, Root};

const FILE: &str = "/run/issue.d/50-ovf-agent.issue";

/// What is in the file; an earlier process may have left one.
#[derive(Debug, Default)]
pub(super) struct Issue {
    written: Option<Option<String>>,
    warned: bool,
}

impl Issue {
    /// The report is news, or nobody is to be told of it.
    pub(super) fn said(&mut self, root: &Root, report: Option<&Report>) {
        let text = report.and_then(notify::issue);
        if self.written.as_ref() == Some(&text) {
            return;
        }
        if let Err(error) = put(root, text.as_deref())
            && !std::mem::replace(&mut self.warned, true)
        {
            warn!("nobody is told at the console: {}", chain(&error));
        }
        self.written = Some(text);
    }
}

fn put(root: &Root, text: Option<&str>) -> sys::Result<()> {
    match text {
        Some(text) => root.note(FILE, text.as_bytes(), 0o644),
        None if root.exists(FILE) => root.place(FILE)?.remove(),
        None => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test looks at the file")]
mod tests {
    use super::{Issue, Root};
    use crate::report::tests::sample;
    use crate::report::{Report, Stage};
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    const DIRECTORY: &str = "/run/issue.d";

    #[test]
    fn the_file_is_there_until_the_guest_is_ready_and_is_written_when_it_changes() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let root = Root::open(dir.path()).expect("a directory");
        let directory = dir.path().join(&DIRECTORY[1..]);
        let file = directory.join("50-ovf-agent.issue");
        let at = |stage| Report { stage, ..sample() };
        fs::create_dir_all(dir.path().join("run")).expect("mkdir");

        let mut issue = Issue::default();
        issue.said(&root, Some(&at(Stage::Configuring)));
        assert_eq!(fs::read_to_string(&file).expect("text"), "ovf-agent: configuring\n\n");
        let inode = fs::metadata(&file).expect("a file").ino();
        issue.said(&root, Some(&at(Stage::Configuring)));
        assert_eq!(fs::metadata(&file).expect("a file").ino(), inode, "no news");
        issue.said(&root, Some(&at(Stage::Failed)));
        assert_ne!(fs::metadata(&file).expect("a file").ino(), inode, "a reader has the old or the new one");
        assert_eq!(fs::metadata(&file).expect("a file").mode() & 0o777, 0o644);

        // Of a process that was killed.
        Issue::default().said(&root, None);
        assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 0);
        issue.said(&root, Some(&at(Stage::Waiting)));
        issue.said(&root, Some(&at(Stage::Ready)));
        assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 0, "all is well");
    }
}
