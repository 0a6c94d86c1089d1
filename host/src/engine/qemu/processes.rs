//! The processes of a deployment: QEMUs, hubs and gates.
//!
//! Decides which of this machine's processes these are: all of them work in the deployment's directory. No file says so, since its
//! numbers could be those of others by the time that somebody reads it.

#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::END;

/// Waits until no process of a deployment's is there any more. One that ends closes its sockets first, and has its memory and its
/// directory for a while longer; gates end when the hubs have.
pub(super) fn gone(directory: &Path) -> Result<(), String> {
    // Others may stand in the directory, such as somebody's shell. One that ends has no command line any more.
    let is_ours = |words: &str| words.is_empty() || words.contains("path=s/") || words.contains("\0gate\0");
    let deadline = Instant::now() + END;
    while let Some(process) = processes(directory, is_ours).next() {
        if Instant::now() > deadline {
            return Err(format!("the process {process} in {} does not end; kill it", directory.display()));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The process that works in this directory and has this in its command line, whose words end with a NUL each.
pub(super) fn process(directory: &Path, words: &str) -> Option<Pid> {
    processes(directory, |it| it.contains(words)).next()
}

/// The processes that work in this directory and have such a command line.
fn processes(directory: &Path, is_wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = Pid> {
    // What the kernel calls it, whatever links lead there.
    let directory = fs::canonicalize(directory).ok();
    let all = fs::read_dir("/proc").into_iter().flatten();
    let ids = all.filter_map(|it| it.ok()?.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(move |id| {
        fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|it| Some(it) == directory)
            && fs::read(format!("/proc/{id}/cmdline"))
                .is_ok_and(|it| is_wanted(&String::from_utf8_lossy(&it)))
    })
    .filter_map(Pid::from_raw)
}
