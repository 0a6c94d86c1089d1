//! A disk's image and its copy in the package, both by `qemu-img`.
//!
//! Decides how the program is asked, and what a person at a terminal sees while it works. That a package has its disks as
//! stream-optimised VMDK is what every platform takes; which format an image has is told to it (`image`).

#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::progress::Progress;
use crate::scratch;

/// Where fewer bytes are free than this, they have run out: a grain of a VMDK, and what belongs to it.
const LITTLE: u64 = 256 << 10;

/// Bytes that the guest sees of it.
///
/// # Errors
/// It is no image that the program reads.
pub(super) fn capacity(image: &Path, format: &str) -> Result<u64, String> {
    let told = qemu_img(image, &["info", "-f", format, "--output=json"], None, |_| {})?;
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap_or_default();
    told["virtual-size"]
        .as_u64()
        .ok_or_else(|| "qemu-img does not say how large this disk is; is it an image?".to_owned())
}

/// Makes a stream-optimised VMDK of it.
///
/// # Errors
/// The program's.
pub(super) fn convert(image: &Path, format: &str, capacity: u64, made: &Path) -> Result<(), String> {
    let mut progress = Progress::bytes(capacity);
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    progress.now(&format!("converting {name}"));
    let arguments = ["convert", "-p", "-f", format, "-O", "vmdk", "-o", "subformat=streamOptimized"];
    qemu_img(image, &arguments, Some(made), |said| {
        if let Some(hundredths) = hundredths(said) {
            progress.reach((u128::from(capacity) * u128::from(hundredths) / 10_000) as u64);
        }
    })?;
    Ok(())
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
) -> Result<Vec<u8>, String> {
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
        Ok((status, said, complaint))
    };
    let (status, said, complaint) = run().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "there is no qemu-img; install it (Debian: qemu-utils)".to_owned(),
        _ => format!("qemu-img cannot be run: {error}"),
    })?;
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint);
        // The program says "Invalid argument" where there is no room for its last block.
        let room = output.and_then(|it| rustix::fs::statvfs(it.parent()?).ok());
        if let Some(room) = room.filter(|it| it.f_bavail.saturating_mul(it.f_frsize) < LITTLE) {
            let left = room.f_bavail * room.f_frsize;
            return Err(format!("there is no room for its copy beside the package: {left} bytes are free"));
        }
        return Err(format!("qemu-img does not take this disk: {}", complaint.trim()));
    }
    Ok(said)
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
