//! Appliances that configure themselves before the root switch: real initramfs of initramfs-tools, with busybox and with klibc's
//! programs alone, and of dracut, and what the root file system, its first program and the agent that comes later see of it.
//!
//! Each of those boots from power on and takes half a minute, so they belong to the long runs. What the agent makes of a chroot
//! needs no initramfs.

use crate::Test;
use crate::appliance::{
    CONFIGURED, DEFAULTS, DOCUMENT, OPTIONAL_PARAMETERS, PARAMETERS, appliance, stage, text,
};
use crate::service::with_units;
use anyhow::Result;
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Vm};
use std::time::Duration;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[(
    "initramfs: in a chroot files are judged and written, and hooks and programs owed to the machine itself",
    chroot,
)];

/// Its long ones.
pub(crate) const BOOTS: &[(&str, Test)] = &[
    ("initramfs: with initramfs-tools the files are there before systemd starts anything", |bench| {
        configured(bench, "initramfs-tools")
    }),
    ("initramfs: with dracut the files are there before systemd starts anything", |bench| {
        configured(bench, "dracut")
    }),
    ("initramfs: klibc's programs suffice, and without a document the boot goes on without a word", absent),
    (
        "initramfs: with initramfs-tools a document that is refused stops no boot, and is heard of twice",
        |bench| refused(bench, "initramfs-tools"),
    ),
    ("initramfs: with dracut a document that is refused stops no boot, and is heard of twice", |bench| {
        refused(bench, "dracut")
    }),
    ("initramfs: nothing is written below a directory over which a file system is mounted later", elsewhere),
];

/// A generator: systemd runs it before it starts anything (systemd.generator(7)). It keeps what it sees.
const FIRST: &str = "#!/bin/sh\n\
    stat -c '%a %U:%G' /etc/mydb/mydb.conf > /run/first\n\
    cat /etc/mydb/mydb.conf >> /run/first\n\
    while read -r _ at _ options _; do [ \"$at\" = / ] && echo \"${options%%,*}\"; done < /proc/mounts >> /run/first\n\
    ls -A /run/ovf-agent /dev/sr0 >> /run/first 2>&1\n";
/// Shows where it runs: in a unit, so by systemd.
const HOOK: &str = "#!/bin/sh\ncat /proc/self/cgroup > /run/hooked\n";
const SHORT: &str = "[transport.iso]\nwait = \"1s\"\nsettle = \"200ms\"\n";

/// Two systems boot one after the other.
fn in_time() -> Duration {
    Duration::from_secs(300)
}

/// Its template is judged, and two are told of it.
fn chroot(bench: &Bench<'_>) -> Result<()> {
    let judged = "+++\npath = \"/etc/mydb/judged\"\ncheck = [\"/bin/grep\", \"-q\", \"10.20\", \"{}\"]\n\
        on-change = [[\"/bin/touch\", \"/run/heard\"]]\n+++\n{{ ip }}\n";
    let files = appliance(PARAMETERS)
        .with("/etc/ovf-agent/templates/judged.tera", judged)
        .with_program("/etc/ovf-agent/hooks.d/first-boot/10-a", "#!/bin/sh\ncat > /run/hooked\n");
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::Later)?;
    vm.put(&files)?;
    vm.run(
        "mkdir /new && mount -t tmpfs new /new && cp -a /bin /etc /new/
        for at in dev proc sys; do mkdir /new/$at && mount -o bind /$at /new/$at; done
        mkdir -p /new/run /new/var/lib",
    )?;
    let refusing = "sed -i s/10.20/10.30/ /etc/ovf-agent/templates/judged.tera; ovf-agent apply";
    let run = vm.sh(&format!("chroot /new /bin/sh -c '{refusing}'"))?;
    assert_eq!(run.status, 1, "a check refuses: {}", String::from_utf8_lossy(&run.stderr));
    vm.run("! [ -e /new/etc/mydb/mydb.conf ] && cp /etc/ovf-agent/templates/judged.tera /new/etc/ovf-agent/templates/")?;

    vm.run("chroot /new /bin/ovf-agent apply")?;
    assert_eq!(text(&mut vm, "/new/etc/mydb/mydb.conf")?, CONFIGURED);
    assert_eq!(vm.run("stat -c '%a %U:%G' /new/etc/mydb/mydb.conf")?, "640 root:mydb\n");
    assert_eq!(vm.run("ls /new/run")?, "ovf-agent\n", "nobody has heard of it");
    // A second one, as of the next boot, has nothing to do, and forgets nothing.
    let before = vm.run("stat -c %y /new/var/lib/ovf-agent/state.json")?;
    vm.run("chroot /new /bin/ovf-agent apply")?;
    assert_eq!(vm.run("stat -c %y /new/var/lib/ovf-agent/state.json")?, before);

    // The machine itself.
    vm.run("cp -a /new/etc /new/var /")?;
    let run = vm.sh("ovf-agent apply")?;
    let log = String::from_utf8(run.stderr)?;
    assert!(log.contains("wrote 0 of 3 files"), "{log}");
    assert!(text(&mut vm, "/run/hooked")?.contains("\"first_boot\":true"), "{log}");
    vm.run("[ -e /run/heard ]")?;
    Ok(())
}

/// The appliance on the disk of a guest.
fn files(configuration: &str) -> Files {
    with_units(configuration)
        .with_program("/usr/lib/systemd/system-generators/first", FIRST)
        .with_program("/etc/ovf-agent/hooks.d/first-boot/10-a", HOOK)
}

fn boot(bench: &Bench<'_>, initramfs: &str, document: Option<&str>, files: &Files) -> Result<Vm> {
    let machine = match document {
        Some(document) => Machine::with_disc(Drive::Ide, bench.environment(document)?),
        None => Machine::from(Drive::None),
    };
    bench.boot_disk(initramfs, &machine, files, Connect::BeforeBoot)
}

/// What the kernel's log has of the initramfs at these levels. Not the journal: what dracut's journald has kept lies below the machine
/// id that it had made up.
fn said(vm: &mut Vm, levels: &str) -> Result<String> {
    vm.run(&format!("dmesg --notime --level {levels} | grep '^ovf-agent: initramfs: ' || true"))
}

fn configured(bench: &Bench<'_>, initramfs: &str) -> Result<()> {
    let mut vm = boot(bench, initramfs, Some(DOCUMENT), &files(PARAMETERS))?;
    let report = vm.report(stage("ready"), in_time())?.report;
    assert_eq!((report.generation, report.changed.as_slice()), (1, &[][..]), "nothing was left to do");
    assert_eq!(report.source, "iso:/dev/sr0");
    vm.booted()?;

    // As the template has it; the root is as the initramfs had mounted it, and nothing else is left.
    let first = text(&mut vm, "/run/first")?;
    let (seen, rest) = first.split_at(first.len().min("640 root:mydb\n".len() + CONFIGURED.len()));
    assert_eq!(seen, format!("640 root:mydb\n{CONFIGURED}"));
    assert!(rest.starts_with("ro\n"), "{rest}");
    assert!(rest.contains("/run/ovf-agent") && rest.contains("No such file"), "{rest}");
    let below = "for at in dev proc sys run; do findmnt --noheadings --output TARGET --target /$at; done";
    assert_eq!(vm.run(below)?, "/dev\n/proc\n/sys\n/run\n");
    assert_eq!(vm.run("ls -A /var/lib/ovf-agent")?.matches("state.json").count(), 1);

    let words = said(&mut vm, "info")?;
    assert!(words.contains("is done"), "{words}");
    assert_eq!(said(&mut vm, "warn,err")?, "");
    // Hooks have waited for the system that they are for.
    assert!(text(&mut vm, "/run/hooked")?.contains("ovf-agent-hook"), "the hook ran too early");
    assert_eq!(text(&mut vm, "/run/mydb.saw")?, CONFIGURED);
    bench.measured(vm.run("systemd-analyze time | head -n 1")?.trim());
    Ok(())
}

fn absent(bench: &Bench<'_>) -> Result<()> {
    let mut vm = boot(bench, "klibc", None, &files(&format!("{OPTIONAL_PARAMETERS}{SHORT}")))?;
    let report = vm.report(stage("ready"), in_time())?.report;
    assert_eq!((report.source.as_str(), report.generation), ("none", 1));
    vm.booted()?;
    assert!(text(&mut vm, "/run/first")?.starts_with(&format!("640 root:mydb\n{DEFAULTS}ro\n")));
    assert!(said(&mut vm, "info")?.contains("is done"));
    assert_eq!(said(&mut vm, "warn,err")?, "");
    Ok(())
}

fn refused(bench: &Bench<'_>, initramfs: &str) -> Result<()> {
    let document = DOCUMENT.replace("10.20.132.102", "hunter2");
    let mut vm = boot(bench, initramfs, Some(&document), &files(PARAMETERS))?;
    // The running system's agent tells the host.
    let report = vm.report(stage("failed"), in_time())?.report;
    let failure = report.failure.expect("a report of a failure has one");
    assert!(failure.message.contains("com.mydb.db.ip"), "{failure:?}");
    vm.run("systemctl is-system-running --wait || true; systemctl is-active multi-user.target")?;
    let first = text(&mut vm, "/run/first")?;
    assert!(!first.contains("listen"), "nothing was written: {first}");
    // Both the reason and what becomes of it, as errors, which a quiet console shows, too.
    let errors = said(&mut vm, "err")?;
    assert!(errors.contains("com.mydb.db.ip"), "{errors}");
    assert!(errors.contains("not configured yet (exit status 78); the boot goes on"), "{errors}");
    let console = vm.console.text();
    assert!(console.contains("ovf-agent: initramfs: "), "it is on the console");
    assert!(!console.contains("hunter2"), "no value is on the console");
    Ok(())
}

fn elsewhere(bench: &Bench<'_>) -> Result<()> {
    let fstab = "/dev/vda / ext4 defaults 0 1\ntmpfs /var tmpfs defaults 0 0\n";
    let mut vm =
        boot(bench, "initramfs-tools", Some(DOCUMENT), &files(PARAMETERS).with("/etc/fstab", fstab))?;
    vm.report(stage("ready"), in_time())?;
    let warned = said(&mut vm, "warn,err")?;
    assert!(warned.contains("/var is not mounted yet"), "{warned}");
    assert!(!text(&mut vm, "/run/first")?.contains("listen"), "nothing was written before");
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, CONFIGURED, "but after");
    Ok(())
}
