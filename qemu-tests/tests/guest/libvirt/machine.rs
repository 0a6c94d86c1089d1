//! Guests of a machine's libvirt: what is otherwise with it than with a user's, which is tried in full.
//!
//! Guests are another user's processes, their networks are libvirt's own, and this machine is in the first of them.

use super::daemon::{Libvirt, listens};
use super::{DOWN, UP};
use anyhow::{Context, Result, ensure};
use qemu_tests::Bench;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Instant;

/// The user and the group that guests run as: those of `island`.
const GUESTS: u32 = 64055;

/// The trial.
pub(super) fn deployed(bench: &Bench<'_>) -> Result<()> {
    let libvirt = Libvirt::of_machine(bench)?;
    let begun = Instant::now();
    let up = ["up", "package.ova", "--engine", "libvirt", "--connect", "qemu:///system"];
    let started = libvirt.host(&[&up[..], &["--subnet", "10.77.0.0/24"]].concat())?;
    started.is(0, "")?;
    bench.measured(format!("two guests ready after {:.1} s", begun.elapsed().as_secs_f32()));
    started.tells(&UP)?;

    let networks = libvirt.networks()?;
    let [lan] = &networks[..] else { anyhow::bail!("one network: {networks:?}") };
    let definition = libvirt.virsh(&["net-dumpxml", lan])?;
    ensure!(!definition.contains("<forward"), "it is isolated: {definition}");
    for address in ["10.77.0.10", "10.77.0.11"] {
        let reached = libvirt.shell(&format!("/bin/busybox nc -w 30 {address} 7"))?;
        reached.is(0, "").with_context(|| format!("{address} is not reached"))?;
    }
    let said = libvirt.host(&["console", "Web", "--log"])?;
    ensure!(said.out.contains("word first"), "{}", said.text());
    listens(&libvirt.kept("Shop/s/2.console"))?;
    are_closed(&libvirt)?;

    // Sent by the channel, and by a disc that QEMU can read.
    let before = disc(&libvirt)?;
    libvirt.host(&["set", "Web", "word=second"])?.is(0, "")?;
    ensure!(libvirt.words(2)? == ["first", "second"], "sent: {:?}", libvirt.words(2));
    let after = disc(&libvirt)?;
    ensure!(before.contains("first") && after.contains("second"), "the disc is the one before");
    are_closed(&libvirt)?;

    let down = libvirt.host(&["down"])?;
    down.is(0, "")?;
    down.tells(&DOWN)?;
    libvirt.is_clear()?;
    ensure!(fs::metadata(libvirt.path("package.ova"))?.uid() == 0, "the package has stayed its owner's");
    Ok(())
}

/// The environment on the disc that is in the drive of `Web`.
fn disc(libvirt: &Libvirt) -> Result<String> {
    let domains = libvirt.domains()?;
    let web = domains.iter().find(|it| it.starts_with("Shop-Web-")).context("there is no domain of Web")?;
    let blocks = libvirt.virsh(&["domblklist", web])?;
    let path = blocks.lines().find_map(|it| it.trim().strip_prefix("hdd "));
    let name = path.and_then(|it| it.trim().strip_prefix("/var/lib/ovf-host/"));
    word_on(&libvirt.kept(name.with_context(|| format!("no disc of ours: {blocks}"))?))
}

/// The guest's own property on a disc.
pub(super) fn word_on(disc: &Path) -> Result<String> {
    let bytes = fs::read(disc)?;
    let text = String::from_utf8_lossy(&bytes);
    let property = text.lines().find(|it| it.contains(r#"key="word""#)).context("no `word` on the disc")?;
    Ok(property.to_owned())
}

/// The guests' processes are the other user's, who has of the deployment what a guest needs and may write no more than that; nobody
/// else reads any of it.
fn are_closed(libvirt: &Libvirt) -> Result<()> {
    let is_guest = |id: &&u32| {
        fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|it| it.windows(11).any(|it| it == b"guest=Shop-"))
    };
    let guests = libvirt.processes();
    let guests: Vec<_> =
        guests.iter().filter(is_guest).map(|id| fs::metadata(format!("/proc/{id}"))).collect();
    ensure!(guests.len() == 2, "{} processes of guests", guests.len());
    for guest in guests {
        ensure!(guest?.uid() == GUESTS, "a guest runs as somebody else");
    }
    let directory = libvirt.kept("Shop");
    ensure!(fs::metadata(&directory)?.mode() & 0o7777 == 0o711, "others pass through, and look into nothing");
    closed(&directory)?;
    for guest in [1, 2] {
        let owner = |name: &str| {
            Ok::<_, std::io::Error>(fs::metadata(directory.join(format!("guests/{guest}/{name}")))?.uid())
        };
        ensure!(owner("disk0.qcow2")? == GUESTS, "its disk is the guest's");
        ensure!(
            owner("domain.xml")? == 0 && owner("console.log")? == 0,
            "what it is, and what it has said, is not"
        );
    }
    Ok(())
}

/// All below a directory is closed to others.
pub(super) fn closed(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, it) = (entry.path(), entry.metadata()?);
        // Whoever connects to a socket needs to be let write to it.
        let open = match it.file_type() {
            kind if kind.is_dir() => 0o066,
            kind if kind.is_socket() => 0o002,
            _ => 0o077,
        };
        ensure!(it.mode() & open == 0, "{} is open: {:o}", path.display(), it.mode());
        if it.is_dir() {
            closed(&path)?;
        }
    }
    Ok(())
}
