//! Guests of a libvirt on another machine, which is reached by ssh and has nothing else in common with this one, with the commands of
//! `docs/platforms.md`.
//!
//! Its sshd is Debian's, which `guest-programs` fetches. It listens where only the trial's own network is, lets root in by one
//! key, and is known by another; both are the trial's.

use super::daemon::Libvirt;
use super::machine::{closed, word_on};
use super::package::FIRST;
use super::said::{Said, kill};
use super::{DOWN, Page, UP};
use anyhow::{Context, Result, bail, ensure};
use qemu_tests::Bench;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The URI that the page has for it.
const SHOWN: &str = "qemu+ssh://root@far/system";
/// What sshd says when it listens.
const LISTENING: &str = "Server listening on 127.0.0.1 port 2222";
const CONFIGURATION: &str = "Port 2222
ListenAddress 127.0.0.1
HostKey /run/ssh/host
AuthorizedKeysFile /run/ssh/authorized
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
";

/// The trial.
pub(super) fn deployed(bench: &Bench<'_>) -> Result<()> {
    let far = Libvirt::far(bench)?;
    let page = Page::read("qemu-tests/tests/guest/libvirt/far.rs")?.with(SHOWN, &uri(&far, "key"));

    let begun = Instant::now();
    let started = page.run(&far, "ovf-host up")?;
    bench.measured(format!("two guests ready after {:.1} s", begun.elapsed().as_secs_f32()));
    started.tells(&UP)?;
    // Both are where the other cannot be seen.
    let package = far.path("package.ova");
    let there = far.island().context("there is no other machine")?.path(&package.display().to_string());
    ensure!(package.exists() && !there.exists(), "the package is seen there");
    let directory = directory(&far)?;
    ensure!(fs::metadata(&directory)?.mode() & 0o7777 == 0o711, "others pass through, and look into nothing");
    closed(&directory)?;
    for address in ["10.77.0.10", "10.77.0.11"] {
        let reached = Said::of(far.inside("/bin/busybox").args(["nc", "-w", "30", address, "7"]).output()?)?;
        reached.is(0, "").with_context(|| format!("{address} is not reached from its machine"))?;
    }
    ensure!(page.run(&far, "ovf-host console")?.out.contains("word first"), "the console");

    // By the channel now, and at the next boot from the disc, which is another one since.
    page.run(&far, "ovf-host set")?;
    let words = words(&far)?;
    ensure!(words == ["first", "second"], "sent: {words:?}");
    let word = word_on(&directory.join("guests/2/environment.iso"))?;
    ensure!(word.contains("second"), "the disc is the one before: {word}");

    let down = page.run(&far, "ovf-host down")?;
    down.tells(&DOWN)?;
    far.is_clear()?;
    parted(&far)
}

/// What comes between: a key that is refused, an interrupt, a connection that ends.
fn parted(far: &Libvirt) -> Result<()> {
    let up = |key: &str| {
        ["up", "package.ova", "--engine", "libvirt", "--connect", &uri(far, key)].map(str::to_owned)
    };
    let refused = far.host(&up("host").each_ref().map(String::as_str))?;
    refused.is(1, "is not to be reached: root@127.0.0.1: Permission denied")?;
    far.is_clear()?;

    let up = up("key");
    let up = up.each_ref().map(String::as_str);
    let running = far.host_until(&up, FIRST, "booting")?;
    kill("INT", running.id())?;
    Said::of(running.wait_with_output()?)?.is(130, "nothing of them is left")?;
    far.is_clear()?;

    let running = far.host_until(&up, FIRST, "booting")?;
    let is_ssh = |id: &u32| fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|it| it.starts_with(b"ssh\0"));
    for id in far.processes().into_iter().filter(is_ssh) {
        kill("TERM", id)?;
    }
    let ended = Said::of(running.wait_with_output()?)?;
    ended.is(1, "libvirt tells nothing of it any more: the connection to root@127.0.0.1:2222 has ended")?;
    ended.is(1, "`ovf-host down --name Shop` ends what is left")?;
    ensure!(far.domains()?.len() == 1, "it runs on: {:?}", far.domains());
    let status = far.host(&["status"])?;
    ensure!(status.out.contains(" off"), "the other one was never started: {}", status.text());
    far.host(&["down", "--now"])?.is(0, "")?;
    far.is_clear()
}

/// The deployment's directory there, as it is seen from here.
fn directory(far: &Libvirt) -> Result<PathBuf> {
    let above = far.island().context("there is no other machine")?.path("/var/lib/ovf-host");
    let all = fs::read_dir(&above)?.map(|it| Ok(it?.path())).collect::<Result<Vec<_>>>()?;
    let [only] = &all[..] else { bail!("one directory: {all:?}") };
    let name = only.file_name().unwrap_or_default().display().to_string();
    ensure!(name.starts_with("Shop-") && name.len() == "Shop-".len() + 8, "its name: {name}");
    Ok(only.clone())
}

/// The words that `Web` has said on its console.
fn words(far: &Libvirt) -> Result<Vec<String>> {
    let said = far.host(&["console", "Web", "--log"])?;
    said.is(0, "")?;
    Ok(said.out.lines().filter_map(|it| it.trim().strip_prefix("word ").map(str::to_owned)).collect())
}

/// The URI of its libvirt, for whoever has this key. Nothing that surrounds the tests is `ssh`'s business.
fn uri(far: &Libvirt, key: &str) -> String {
    let [key, hosts, ssh] = [key, "hosts", "bin/ssh-alone"].map(|it| far.path(it).display().to_string());
    format!("qemu+ssh://root@127.0.0.1:2222/system?keyfile={key}&known_hosts={hosts}&command={ssh}")
}

/// Its sshd, for which keys are made when there are none yet.
pub(super) fn sshd(far: &Libvirt) -> Result<Command> {
    let island = far.island().context("there is no other machine")?;
    let place = island.path("/run/ssh");
    if !place.exists() {
        fs::create_dir(&place)?;
        fs::create_dir(island.path("/run/sshd"))?;
        for name in ["host", "key"] {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(far.path(name));
            let status = command.stdin(Stdio::null()).status();
            let status = status.context("ssh-keygen is missing: packaging/deps libvirt")?;
            ensure!(status.success(), "ssh-keygen makes no key");
        }
        fs::copy(far.path("host"), place.join("host"))?;
        fs::copy(far.path("key.pub"), place.join("authorized"))?;
        fs::write(place.join("config"), CONFIGURATION)?;
        let host = fs::read_to_string(far.path("host.pub"))?;
        fs::write(far.path("hosts"), format!("[127.0.0.1]:2222 {host}"))?;
        copy(&place.join("program"))?;
        let alone = far.put("bin/ssh-alone", "#!/bin/sh\nexec ssh -F none \"$@\"\n")?;
        fs::set_permissions(alone, fs::Permissions::from_mode(0o755))?;
    }
    // By its own loader, with its own libraries, and without another of either for each connection.
    let program = "/run/ssh/program";
    let mut command = far.inside(&format!("{program}/lib64/ld-linux-x86-64.so.2"));
    let libraries = ["lib", "usr/lib"].map(|it| format!("{program}/{it}/x86_64-linux-gnu")).join(":");
    command.args(["--inhibit-cache", "--library-path", &libraries, &format!("{program}/usr/sbin/sshd")]);
    command.args(["-r", "-D", "-e", "-f", "/run/ssh/config"]);
    Ok(command)
}

/// Whether it listens, by what it has said.
pub(super) fn listens(said: &str) -> bool {
    said.contains(LISTENING)
}

fn copy(to: &Path) -> Result<()> {
    let program = crate::docs::top().join("target/guest/programs/sshd");
    let status = Command::new("cp").arg("-R").arg(&program).arg(to).status()?;
    ensure!(status.success(), "{} is missing: qemu-tests/guest-programs", program.display());
    Ok(())
}
