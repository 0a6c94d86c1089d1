//! Whether the kernel can start the hooks of an image: programs, and scripts whose first line names an interpreter (execve(2)).
//!
//! Decides what is said of those that it cannot. Whether a file is a hook at all is decided in `files`; what is registered by
//! binfmt_misc is not known to an image, and taken for nothing.

#![forbid(unsafe_code)]

use std::path::Path;

use super::image::is_absence;
use crate::hooks::{Hook, Hooks};
use crate::printable;
use crate::problem::Problem;
use crate::sys::{Root, program};

/// So much of a file the kernel looks at (`BINPRM_BUF_SIZE`).
const HEAD: usize = 256;

/// Those that cannot be started; their interpreters are looked for where the image is at hand.
pub(super) fn check(hooks: &Hooks, image: Option<&Root>) -> Vec<Problem> {
    let Ok(machine) = Root::open("/") else { return Vec::new() };
    let problem = |hook: &Hook| {
        let head = machine.read_at(&hook.path, 0, HEAD)?;
        Some(Problem::with(format!("hooks.d/{}", hook.full_name()), objection(&head, image)?))
    };
    hooks.list.iter().filter_map(problem).collect()
}

fn objection(head: &[u8], image: Option<&Root>) -> Option<String> {
    if head.starts_with(b"\x7fELF") {
        return None;
    }
    let line = head.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next());
    let line = String::from_utf8_lossy(line.unwrap_or_default());
    let name = line.trim_start_matches([' ', '\t']).split([' ', '\t', '\0']).next().unwrap_or_default();
    if !name.starts_with('/') {
        let message = "cannot be started: its first line names no interpreter; begin it with #!/bin/sh, or another's absolute path";
        return Some(message.to_owned());
    }
    let is_missing = match program::can_run(image?, Path::new(name)) {
        Ok(can_run) => !can_run,
        // What cannot be looked at may be right.
        Err(error) => is_absence(&error),
    };
    let name = printable::text(name);
    let message = || {
        format!(
            "cannot be started: the image has no program {name}; install it, or name another in its first line"
        )
    };
    is_missing.then(message)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes the image that it looks at")]
mod tests {
    use super::{Root, objection};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_hook_is_a_program_or_names_one() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).expect("made");
        for (name, mode) in [("sh", 0o755), ("text", 0o644)] {
            fs::write(bin.join(name), "").expect("written");
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(mode)).expect("set");
        }
        let image = Root::open(dir.path()).expect("a directory");
        for (head, without_image, with_image) in [
            (&b"\x7fELF\x02"[..], None, None),
            (b"#!/bin/sh\n", None, None),
            (b"#! \t/bin/sh -e\nexit", None, None),
            (b"#!/bin/sh", None, None),
            (b"", Some("names no interpreter"), Some("names no interpreter")),
            (b"echo\n#!/bin/sh\n", Some("names no interpreter"), Some("names no interpreter")),
            (b"#!\n/bin/sh", Some("names no interpreter"), Some("names no interpreter")),
            (b"#!sh\n", Some("names no interpreter"), Some("names no interpreter")),
            (b"#!/bin/sh\r\n", None, Some("no program /bin/sh\\u{d};")),
            (b"#!/usr/bin/python3\n", None, Some("no program /usr/bin/python3;")),
            (b"#!/bin/text\n", None, Some("no program /bin/text;")),
        ] {
            for (image, want) in [(None, without_image), (Some(&image), with_image)] {
                let got = objection(head, image);
                let is_right = match (&got, want) {
                    (Some(got), Some(want)) => got.contains(want),
                    (got, want) => got.is_none() && want.is_none(),
                };
                assert!(is_right, "{:?}: {got:?}, {want:?}", String::from_utf8_lossy(head));
            }
        }
    }
}
