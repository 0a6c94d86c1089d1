//! What is wrong with a package, or with the machine that it is to run on.

use super::desk::{Desk, ended};
use super::package::{CARD, collection, descriptor, descriptor_of, guest, guest_with};
use super::signal;
use anyhow::{Context, Result, ensure};
use qemu_tests::Bench;
use std::fs;
use std::net::TcpListener;
use std::process::Command;

/// Only root may read it, so that whoever opens it is found out; but the tests may run as root, too.
const SECRET: &str = "a secret of this machine's, and of no package's\n";

/// Each in turn: none of them needs a guest to boot.
pub(super) fn all(bench: &Bench<'_>) -> Result<()> {
    images(bench)?;
    machine(bench)?;
    died(bench)?;
    full(bench)
}

/// Disks that are none, and disks that lead to other files.
fn images(bench: &Bench<'_>) -> Result<()> {
    let desk = Desk::new(bench, &descriptor_of("image", &guest("only", "silent")))?;
    let secret = desk.path("secret");
    fs::write(&secret, SECRET.repeat(1000))?;
    let image = desk.path("image");
    let convert = |format: &str, more: &[&str]| -> Result<()> {
        let mut command = Command::new("qemu-img");
        command.args(["create", "-q", "-f", format]).args(more).arg(&image).arg("1M");
        ensure!(command.status()?.success(), "qemu-img makes no {format}");
        Ok(())
    };

    desk.run(&["up", "package.ovf"])?.is(78, &["image"])?;
    // What is not what the manifest says.
    fs::write(&image, "changed")?;
    let manifest = desk.path("package.mf");
    fs::write(&manifest, format!("SHA256(image)= {}\n", "0".repeat(64)))?;
    desk.run(&["up", "package.ovf"])?.is(78, &["[digest-mismatch]"])?;
    fs::remove_file(&manifest)?;
    // What begins like an image, and is none.
    fs::write(&image, [&b"QFI\xfb\0\0\0\x03"[..], &[0xff; 60], &[0; 4000]].concat())?;
    desk.run(&["up", "package.ovf"])?.is(1, &["`only` did not start: its image cannot be read: "])?;
    desk.is_clear()?;
    fs::write(
        &image,
        format!("# Disk DescriptorFile\nversion=1\nRW 2048 FLAT \"{}\" 0\n", secret.display()),
    )?;
    desk.run(&["up", "package.ovf"])?
        .is(78, &["`only` cannot be started: ", "is a VMDK whose content is in other files"])?;
    // The same within an image, where its header gives no capacity.
    fs::write(&image, embedded(&secret.display().to_string()))?;
    desk.run(&["up", "package.ovf"])?
        .is(78, &["`only` cannot be started: ", "is a VMDK whose content is in other files"])?;
    fs::remove_file(&image)?;
    let data = desk.path("data");
    convert("qcow2", &["-o", &format!("data_file={},data_file_raw=on", data.display())])?;
    desk.run(&["up", "package.ovf"])?.is(78, &["is a qcow2 whose content is in another file"])?;
    desk.is_clear()?;

    // What lies below an image is what the package says, and not what the image does: here nothing.
    for (format, options) in [("qcow2", "-F"), ("vmdk", "-F")] {
        fs::remove_file(&image)?;
        fs::write(&secret, vec![b'x'; 1 << 20])?;
        let kind = if format == "qcow2" { "raw" } else { "vmdk" };
        if kind == "vmdk" {
            fs::remove_file(&secret)?;
            let made = Command::new("qemu-img")
                .args(["create", "-q", "-f", "vmdk"])
                .arg(&secret)
                .arg("1M")
                .status()?;
            ensure!(made.success(), "qemu-img makes no vmdk");
        }
        convert(format, &["-b", &secret.display().to_string(), options, kind])?;
        let up = desk.run_until(&["up", "package.ovf"], "only", "booting")?;
        for id in desk.processes() {
            let open = fs::read_dir(format!("/proc/{id}/fd"))?
                .flatten()
                .filter_map(|it| fs::read_link(it.path()).ok());
            let open: Vec<_> = open.collect();
            ensure!(open.contains(&image), "the image is not open: {open:?}");
            ensure!(!open.contains(&secret), "{format}: what the image names is open");
        }
        signal(up.id(), "-INT")?;
        ended(up.wait_with_output()?)?.is(130, &[])?;
        desk.is_clear()?;
    }
    Ok(())
}

/// A VMDK of one file, whose header leads to a descriptor within it that names another file.
fn embedded(other: &str) -> Vec<u8> {
    let mut image = vec![0; 4096];
    image[..4].copy_from_slice(b"KDMV");
    image[4..8].copy_from_slice(&1_u32.to_le_bytes());
    // The descriptor's place and size, in sectors.
    image[28..36].copy_from_slice(&1_u64.to_le_bytes());
    image[36..44].copy_from_slice(&2_u64.to_le_bytes());
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 64 FLAT \"{other}\" 0\n"
    );
    image[512..512 + text.len()].copy_from_slice(text.as_bytes());
    image
}

/// What this machine has not, or has not free.
fn machine(bench: &Bench<'_>) -> Result<()> {
    let desk = Desk::new(bench, &descriptor(&guest_with("only", "silent", "", CARD)))?;
    desk.run(&["up", "package.ovf", "--qemu", "qemu-of-nobody"])?
        .is(1, &["qemu-of-nobody is not there; install it (Debian: qemu-system-x86)"])?;
    fs::write(desk.path("file"), "")?;
    desk.run(&["up", "package.ovf", "--state", "file/state"])?.is(1, &["cannot make", "file/state"])?;
    desk.run(&["up", "package.ovf", "--accelerator", "xen"])?
        .is(64, &["there is no accelerator `xen`; kvm and tcg are"])?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let publish = format!("{}:10.77.0.10:80", taken.local_addr()?.port());
    desk.run(&["up", "package.ovf", "--subnet", "10.77.0.0/24", "--publish", &publish])?.is(
        1,
        &[&format!("the port {} of this machine's loopback cannot be had: ", taken.local_addr()?.port())],
    )?;
    desk.is_clear()
}

/// A guest's QEMU ends while it is waited for.
fn died(bench: &Bench<'_>) -> Result<()> {
    let desk = Desk::new(bench, &descriptor(&guest("only", "silent")))?;
    let up = desk.run_until(&["up", "package.ovf"], "only", "booting")?;
    let [id] = desk.processes()[..] else { anyhow::bail!("one guest is one process") };
    signal(id, "-KILL")?;
    ended(up.wait_with_output()?)?.is(1, &["`only` was lost: its QEMU has ended"])?;
    desk.is_clear()
}

/// The disk with the deployments is full: at once, and when a guest writes.
fn full(bench: &Bench<'_>) -> Result<()> {
    let items = [
        ("only", r#"ovf:order="1" ovf:waitingForGuest="true""#),
        ("next", r#"ovf:order="1" ovf:waitingForGuest="true""#),
    ];
    // Both have their disks before one of them fills what is left, and the other one is waited for meanwhile.
    let guests = [guest("only", "fills"), guest("next", "unmet")];
    let desk = Desk::new(bench, &descriptor(&collection("edges", &items, &guests)))?;
    let state = desk.path("state");
    fs::create_dir(&state)?;
    for (size, wanted) in
        [("64k", "No space left on device"), ("6m", "was lost: no space is left for what it writes")]
    {
        let script = "mount -t tmpfs -o size=$1 none state && shift && \"$@\"; status=$?; ls -A state >&2; exit $status";
        let host = desk.command(&[]).get_program().to_owned();
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", size]).arg(host);
        command.args(["up", "package.ovf"]).current_dir(state.parent().context("it has one")?);
        command.env("OVF_HOST_STATE", &state).env("OVF_HOST_ACCEL", "tcg").env_remove("TERM");
        let up = ended(command.output()?)?;
        up.is(1, &[wanted])?;
        ensure!(!up.errors.ends_with("edges\n"), "{size}: its directory is left: {}", up.text());
        desk.is_clear()?;
    }
    Ok(())
}
