//! A disk's image and its copy in the package, both by `qemu-img`.
//!
//! Decides how the program is asked, what a person at a terminal sees while it works, and that a damaged image is not packed:
//! `qemu-img convert` reads what is past the end of a file as zeros, and says nothing. That a package has its disks as
//! stream-optimised VMDK is what every platform takes; which format an image has is told to it (`image`).

#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use crate::finding::Code;
use crate::progress::Progress;
use crate::scratch;

/// Where fewer bytes are free than this, they have run out: a grain of a VMDK, and what belongs to it.
const LITTLE: u64 = 256 << 10;

/// What `qemu-img check` ends with where a format has no checks, and where there is nothing but space that nobody uses.
const UNCHECKED: i32 = 63;
const LEAKS: i32 = 3;

/// Why an image is not packed: whether the image is at fault, or something else, and the words.
pub(super) type Fault = (Code, String);

/// Bytes that the guest sees of it.
///
/// # Errors
/// It is no image that the program reads.
pub(super) fn capacity(image: &Path, format: &str) -> Result<u64, Fault> {
    let said = qemu_img(image, &["info", "-f", format, "--output=json"], None, |_| {})?;
    if !said.status.success() {
        return Err(said.fault("qemu-img does not take this disk"));
    }
    let told: serde_json::Value = serde_json::from_slice(&said.answer).unwrap_or_default();
    told["virtual-size"].as_u64().ok_or_else(|| {
        (Code::Recipe, "qemu-img does not say how large this disk is; is it an image?".to_owned())
    })
}

/// Sees that all is there that the image says it has, as far as its format tells.
///
/// # Errors
/// It is not.
pub(super) fn check(image: &Path, format: &str) -> Result<(), Fault> {
    let said = qemu_img(image, &["check", "-f", format, "--output=json"], None, |_| {})?;
    match said.status.code() {
        Some(0 | LEAKS | UNCHECKED) => Ok(()),
        _ => Err(said.fault("it is damaged or cut off")),
    }
}

/// Makes a stream-optimised VMDK of it.
///
/// # Errors
/// The program's.
pub(super) fn convert(image: &Path, format: &str, capacity: u64, made: &Path) -> Result<(), Fault> {
    let mut progress = Progress::bytes(capacity);
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    progress.now(&format!("converting {name}"));
    let arguments = ["convert", "-p", "-f", format, "-O", "vmdk", "-o", "subformat=streamOptimized"];
    let said = qemu_img(image, &arguments, Some(made), |said| {
        if let Some(hundredths) = hundredths(said) {
            progress.reach((u128::from(capacity) * u128::from(hundredths) / 10_000) as u64);
        }
    })?;
    if said.status.success() {
        return Ok(());
    }
    // The program says "Invalid argument" where there is no room for its last block.
    let room = made.parent().and_then(|it| rustix::fs::statvfs(it).ok());
    if let Some(room) = room.filter(|it| it.f_bavail.saturating_mul(it.f_frsize) < LITTLE) {
        let left = room.f_bavail * room.f_frsize;
        let message = format!("there is no room for its copy beside the package: {left} bytes are free");
        return Err((Code::Unreadable, message));
    }
    // The image's fault as well as that of either place: the program does not tell them apart.
    Err((Code::Unreadable, format!("qemu-img does not convert this disk: {}", said.complaint.trim())))
}

/// What the program has said.
struct Said {
    status: ExitStatus,
    answer: Vec<u8>,
    complaint: String,
}

impl Said {
    /// What is wrong with the image, in the first of the program's lines.
    fn fault(&self, what: &str) -> Fault {
        if self.complaint.contains("Failed to get") && self.complaint.contains(" lock") {
            return (Code::Unreadable, "another program writes to it; end that first".to_owned());
        }
        let first =
            self.complaint.lines().find(|it| !it.trim().is_empty()).unwrap_or("qemu-img does not say why");
        let first = first.trim_start_matches("qemu-img: ").trim_start_matches("ERROR: ");
        (Code::Recipe, format!("{what}: {}; copy or build it again", first.trim().trim_end_matches('.')))
    }
}

/// How far the program says it is: `    (12.34/100%)`, and a carriage return.
fn hundredths(said: &[u8]) -> Option<u64> {
    let said = std::str::from_utf8(said).ok()?;
    let (before, _) = said.rsplit_once("/100%)")?;
    let (whole, part) = before.rsplit_once('(')?.1.split_once('.')?;
    Some(whole.parse::<u64>().ok()?.min(100) * 100 + part.parse::<u64>().ok()?.min(99))
}

fn qemu_img(
    image: &Path,
    arguments: &[&str],
    output: Option<&Path>,
    mut hear: impl FnMut(&[u8]),
) -> Result<Said, Fault> {
    // A name with a colon would be a protocol to qemu-img.
    let plain = |path: &Path| if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) };
    let mut run = || {
        let mut program = Command::new("qemu-img");
        program
            .process_group(0)
            .args(arguments)
            .arg(plain(image))
            .args(output.map(plain))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A signal that ends us ends it.
        let (mut child, _known) = scratch::start(&mut program)?;
        let mut answers = child.stdout.take().expect("a pipe");
        let mut complaints = child.stderr.take().expect("a pipe");
        // The second pipe could fill up while the first one is read.
        let complaint = thread::spawn(move || {
            let mut complaint = Vec::new();
            complaints.read_to_end(&mut complaint).map(|_| complaint)
        });
        let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let count = answers.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            said.extend_from_slice(&buffer[..count]);
            hear(&said);
        }
        let status = child.wait()?;
        let complaint = complaint.join().expect("it only reads")?;
        let complaint = String::from_utf8_lossy(&complaint).into_owned();
        Ok(Said { status, answer: said, complaint })
    };
    run().map_err(|error: io::Error| {
        let message = match error.kind() {
            io::ErrorKind::NotFound => "there is no qemu-img; install it (Debian: qemu-utils)".to_owned(),
            _ => format!("qemu-img cannot be run: {error}"),
        };
        (Code::Unreadable, message)
    })
}

#[cfg(test)]
mod tests {
    use super::hundredths;

    #[test]
    fn the_programs_last_word_counts() {
        for (said, want) in [
            (&b"    (0.00/100%)\r    (12.34/100%)\r"[..], Some(1234)),
            (b"    (0.00/100%)\r    (12.3", Some(0)),
            (b"    (100.00/100%)\r\n", Some(10_000)),
            (b"(-1.00/100%)", None),
            (b"{}", None),
        ] {
            assert_eq!(hundredths(said), want, "{}", String::from_utf8_lossy(said));
        }
    }
}
