//! The SELinux label of a file that is about to be written.
//!
//! Decides where it comes from: a file that is there and labelled has the right one; else it is the policy's for a regular
//! file of that path, which matchpathcon(8) knows. Without it a file has what the kernel chooses by its directory, which its
//! reader may not be allowed to read, or others may. Where the kernel has no SELinux nothing of this happens; where the
//! policy's tool is missing, or does not answer, it is an error that a pass can live with. A file system whose files all
//! have one label, by its kind or by a `context=` of its mount, takes no other, and needs none.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{fgetxattr, fsetxattr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::read;

use super::{Root, clock, fault};

const NAME: &CStr = c"security.selinux";
/// A label is a few words; the kernel's own limit is a page.
const LIMIT: usize = 4096;
/// There, if the kernel has SELinux and a policy is loaded.
const ENABLED: &str = "/sys/fs/selinux/enforce";
/// Part of Debian's `selinux-utils` and Fedora's `libselinux-utils`.
const POLICY_TOOL: &str = "/usr/sbin/matchpathcon";
/// A look into the policy's files; a hang must not hold up the boot.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether files of this machine have labels.
pub(super) fn are_used(root: &Root) -> bool {
    root.is_system() && root.exists(ENABLED)
}

/// The type of files that nobody has labelled. No policy lets anybody make one.
const UNLABELLED: &[u8] = b"unlabeled_t";

/// The label of an open file; `None` where it has none.
pub(super) fn of(file: impl AsFd) -> Option<Vec<u8>> {
    let mut label = vec![0_u8; LIMIT];
    // SAFETY: the descriptor is open, the name ends in NUL, and the buffer is as long as the length says.
    let length =
        unsafe { fgetxattr(file.as_fd().as_raw_fd(), NAME.as_ptr(), label.as_mut_ptr().cast(), label.len()) };
    label.truncate(usize::try_from(length).ok()?);
    // user:role:type[:range], and a NUL.
    let of_nobody = label.split(|byte| matches!(byte, b':' | 0)).nth(2) == Some(UNLABELLED);
    (!of_nobody).then_some(label)
}

/// Gives an open file a label, where its file system has labels of files.
pub(super) fn set(file: impl AsFd, label: &[u8]) -> io::Result<()> {
    fault::step();
    // SAFETY: the descriptor is open, the name ends in NUL, and the label is as long as the length says.
    let done =
        unsafe { fsetxattr(file.as_fd().as_raw_fd(), NAME.as_ptr(), label.as_ptr().cast(), label.len(), 0) };
    match Errno::result(done) {
        Ok(_) | Err(Errno::EOPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// What the policy says about a path at which nothing is; `None` where it has nothing to say.
///
/// # Errors
/// Its tool is not there, or gives no answer in time.
pub(super) fn by_policy(path: &Path) -> io::Result<Option<Vec<u8>>> {
    ask(POLICY_TOOL, path, PATIENCE)
}

fn ask(tool: &str, path: &Path, patience: Duration) -> io::Result<Option<Vec<u8>>> {
    let mut command = Command::new(tool);
    // Without the type it takes the rules for directories, too.
    command.args(["-n", "-m", "file"]).arg(path);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::other(
            "there is no /usr/sbin/matchpathcon, so the kernel chooses; install the package selinux-utils \
             (Debian) or libselinux-utils",
        ),
        _ => error,
    })?;
    let answer = child.stdout.take().and_then(|pipe| line(&pipe.into(), patience));
    // Whether it is done or hangs: what it said is all that is wanted of it.
    let _ = child.kill();
    let _ = child.wait();
    match answer {
        Some(label) if label == b"<<none>>" => Ok(None),
        // As libselinux writes it: with the NUL at its end.
        Some(label) if !label.is_empty() => Ok(Some([label.as_slice(), b"\0"].concat())),
        _ => Err(io::Error::other("/usr/sbin/matchpathcon gives no answer, so the kernel chooses")),
    }
}

/// All that comes through a pipe until it is closed, without the end of the line.
fn line(pipe: &OwnedFd, patience: Duration) -> Option<Vec<u8>> {
    let deadline = clock::now() + patience;
    let mut text = Vec::new();
    let mut buffer = [0_u8; LIMIT];
    loop {
        let left = deadline.saturating_sub(clock::now());
        let left = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        if poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], left).ok()? == 0 {
            return None;
        }
        match read(pipe, &mut buffer).ok()? {
            0 => return Some(text.trim_ascii_end().to_vec()),
            count if text.len() + count > LIMIT => return None,
            count => text.extend_from_slice(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ask, of};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::{Duration, Instant};

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn the_policy_is_asked_with_an_end_to_it() {
        const NO_ANSWER: &str = "/usr/sbin/matchpathcon gives no answer, so the kernel chooses";
        let dir = tempfile::tempdir().expect("a scratch directory");
        let tool = dir.path().join("tool");
        for (script, patience, want) in [
            (
                "[ \"$*\" = \"-n -m file /etc/a b\" ] && echo system_u:object_r:etc_t:s0",
                SOON,
                Ok(Some("system_u:object_r:etc_t:s0\0")),
            ),
            ("echo '<<none>>'", SOON, Ok(None)),
            ("echo a:b:c; exec >&-; exec sleep 100", SOON, Ok(Some("a:b:c\0"))),
            ("true", SOON, Err(NO_ANSWER)),
            ("exec sleep 100", Duration::from_millis(50), Err(NO_ANSWER)),
            ("exec yes", SOON, Err(NO_ANSWER)),
        ] {
            fs::write(&tool, format!("#!/bin/sh\n{script}\n")).expect("write");
            fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("chmod");
            let begin = Instant::now();
            let label = ask(tool.to_str().expect("text"), Path::new("/etc/a b"), patience);
            let label = label.map_err(|error| error.to_string());
            let want = want.map(|label| label.map(|label| label.as_bytes().to_vec()));
            assert_eq!(label, want.map_err(str::to_owned), "{script}");
            assert!(begin.elapsed() < SOON, "{script}");
        }
        let missing = ask("/none", Path::new("/a"), SOON).expect_err("there is no such tool").to_string();
        assert!(missing.contains("install the package selinux-utils"), "{missing}");
    }

    #[test]
    fn a_file_without_a_label_has_none() {
        let file = tempfile::tempfile().expect("a scratch file");
        // On a machine with SELinux it has one, on others none; both are answers.
        assert!(of(&file).is_none_or(|label| !label.is_empty()));
    }
}
