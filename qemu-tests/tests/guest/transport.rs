//! Where the document is found on real devices, and where it is not.
//!
//! The trust rules have their table without a VM (`tests/transports.rs`); here are those that only the kernel can show:
//! disks of every bus, what the guest makes out of data, what is plugged in later, devices that are slow, that fail and that
//! vanish, and mounting.

use crate::Test;
use crate::appliance::{CONFIGURED, DEFAULTS, DOCUMENT, OPTIONAL_PARAMETERS, appliance, text};
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Variant, Vm, image};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("a labelled disk that was there at boot is read, on any bus", buses),
    ("a labelled disk that is plugged in later is ignored, also by an agent that starts later", late_disk),
    ("what the guest makes out of data is never looked at: partitions, loop, zram", made_here),
    ("a disk on which another stands is not looked at, and is busy for who mounts it by name", held),
    ("a volume that is mounted is read all the same, and leaves nothing behind", mounted),
    ("an image that only the kernel reads is read by `method = \"auto\"`", only_the_kernel),
    ("an agent that is killed while it has a volume mounted leaves nothing behind", killed_while_mounted),
    ("a slow drive is read, one that fails is reported, one that vanishes is passed over", troubled_drives),
    ("QEMU's firmware configuration is a transport", fw_cfg),
    ("adapters have the names of the guest's interfaces", adapters),
];

/// No patience: a trial that finds nothing should say so at once.
const NO_WAIT: &str = "[transport.iso]\nwait = \"0s\"\nsettle = \"0s\"\n";

/// A guest that is not configured yet, without any drive.
fn guest(bench: &Bench<'_>, settings: &str) -> Result<Vm> {
    let mut vm = bench.guest_without_drive(Connect::Later)?;
    vm.put(&appliance(&format!("{OPTIONAL_PARAMETERS}{NO_WAIT}{settings}")))?;
    Ok(vm)
}

/// Configures the guest once, and gives the report and the log.
fn apply(vm: &mut Vm) -> Result<(Value, String)> {
    let output = vm.sh("ovf-agent apply --json --log debug")?;
    let log = String::from_utf8(output.stderr)?;
    let report = serde_json::from_slice(&output.stdout).with_context(|| log.clone())?;
    Ok((report, log))
}

/// What a command says on standard error.
fn complaint(vm: &mut Vm, command: &str) -> Result<String> {
    Ok(String::from_utf8(vm.sh(command)?.stderr)?)
}

#[track_caller]
fn is_configured(vm: &mut Vm, source: &str) -> Result<String> {
    let (report, log) = apply(vm)?;
    assert_eq!(report["source"], source, "{log}");
    let want = if source == "none" { DEFAULTS } else { CONFIGURED };
    assert_eq!(text(vm, "/etc/mydb/mydb.conf")?, want, "{log}");
    Ok(log)
}

/// Waits until the guest's kernel shows a file; a device comes a moment after it was plugged in.
fn appears(vm: &mut Vm, path: &str) -> Result<()> {
    vm.run(&format!("until [ -e {path} ]; do usleep 10000; done")).map(drop)
}

fn buses(bench: &Bench<'_>) -> Result<()> {
    let disc = bench.environment(DOCUMENT)?;
    for (module, device, name) in [
        ("virtio_blk", json!({ "driver": "virtio-blk-pci" }), "vda"),
        ("sd_mod", json!({ "driver": "scsi-hd", "bus": "scsi.0" }), "sda"),
        ("nvme", json!({ "driver": "nvme", "serial": "1" }), "nvme0n1"),
        ("usb_storage", json!({ "driver": "usb-storage", "removable": false }), "sda"),
    ] {
        let mut vm = guest(bench, "")?;
        if module == "usb_storage" {
            vm.run("load xhci_pci sd_mod")?;
            vm.qmp.execute("device_add", json!({ "driver": "qemu-xhci" }))?;
        }
        vm.run(&format!("load {module}"))?;
        vm.plug(device, image(&disc))?;
        appears(&mut vm, &format!("/dev/{name}"))?;
        is_configured(&mut vm, &format!("iso:/dev/{name}"))?;
    }
    Ok(())
}

fn late_disk(bench: &Bench<'_>) -> Result<()> {
    let disc = bench.environment(DOCUMENT)?;
    let virtio = || json!({ "driver": "virtio-blk-pci" });
    let mut vm = guest(bench, "")?;
    vm.run("load virtio_blk")?;
    is_configured(&mut vm, "none")?;
    let id = vm.plug(virtio(), image(&disc))?;
    appears(&mut vm, "/dev/vda")?;
    let log = is_configured(&mut vm, "none")?;
    assert!(log.contains("ignored: the volume `OVF ENV` on /dev/vda: it was not there at boot"), "{log}");
    vm.unplug(&id)?;

    // The same name for another disk: the kernel's number tells them apart.
    let mut vm = guest(bench, "")?;
    vm.run("load virtio_blk")?;
    let id = vm.plug(virtio(), image(&disc))?;
    appears(&mut vm, "/dev/vda")?;
    is_configured(&mut vm, "iso:/dev/vda")?;
    vm.unplug(&id)?;
    vm.run("until [ ! -e /dev/vda ]; do usleep 10000; done")?;
    let intruder = DOCUMENT.replace("10.20.132.102", "10.6.6.6");
    vm.plug(virtio(), image(&bench.environment(&intruder)?))?;
    appears(&mut vm, "/dev/vda")?;
    let (report, log) = apply(&mut vm)?;
    assert_eq!(report["source"], "none", "{log}");
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, CONFIGURED, "what was applied stays");
    Ok(())
}

/// A disk image with one partition, which holds `content`.
fn partitioned(content: &Path, to: PathBuf) -> Result<PathBuf> {
    const SECTOR: usize = 512;
    const START: usize = 2048;
    let content = std::fs::read(content)?;
    let mut disk = vec![0; START * SECTOR];
    // One entry of the table of a master boot record: type 0x83, first sector, number of sectors; then the signature.
    disk[446 + 4] = 0x83;
    disk[446 + 8..446 + 12].copy_from_slice(&(START as u32).to_le_bytes());
    disk[446 + 12..446 + 16].copy_from_slice(&((content.len() / SECTOR) as u32).to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk.extend(content);
    std::fs::write(&to, disk)?;
    Ok(to)
}

fn made_here(bench: &Bench<'_>) -> Result<()> {
    let disc = bench.environment(DOCUMENT)?;
    let mut vm = guest(bench, "")?;
    vm.run("load virtio_blk loop zram")?;
    let disk = partitioned(&disc, disc.with_extension("disk"))?;
    vm.plug(json!({ "driver": "virtio-blk-pci" }), image(&disk))?;
    appears(&mut vm, "/dev/vda1")?;
    vm.put(&Files::new().with("/tmp/env.iso", std::fs::read(&disc)?))?;
    vm.run("losetup /dev/loop0 /tmp/env.iso")?;
    vm.run("echo 4M > /sys/block/zram0/disksize && dd if=/tmp/env.iso of=/dev/zram0 bs=4k 2> /dev/null")?;
    for device in ["vda1", "loop0", "zram0"] {
        let named = vm.run(&format!("ovf-agent get ip --source iso:/dev/{device}"))?;
        assert_eq!(named, "10.20.132.102\n", "{device} has it, for somebody who names it");
    }
    let log = is_configured(&mut vm, "none")?;
    assert!(!log.contains("ignored"), "none of them is worth a word: {log}");

    // The partition was there at boot, and an appliance may say that it counts.
    let mut vm = guest(bench, "devices = [\"optical\", \"partitions\"]\n")?;
    vm.run("load virtio_blk")?;
    vm.plug(json!({ "driver": "virtio-blk-pci" }), image(&disk))?;
    appears(&mut vm, "/dev/vda1")?;
    is_configured(&mut vm, "iso:/dev/vda1")?;
    Ok(())
}

fn held(bench: &Bench<'_>) -> Result<()> {
    let disc = bench.environment(DOCUMENT)?;
    let mut vm = guest(bench, "method = \"mount\"\n")?;
    vm.put(&bench.program("dmsetup")?)?;
    vm.run("load virtio_blk dm_mod")?;
    vm.plug(json!({ "driver": "virtio-blk-pci" }), image(&disc))?;
    appears(&mut vm, "/dev/vda")?;
    vm.run(
        "size=$(cat /sys/block/vda/size) &&
        dmsetup --noudevsync --noudevrules create held --readonly --table \"0 $size linear /dev/vda 0\"",
    )?;
    // device-mapper lets nobody else have the disk whole.
    let said = vm.sh("ovf-agent get ip --source iso:/dev/vda")?;
    assert_eq!(said.status, 75, "{said:?}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("cannot mount /dev/vda"), "{said:?}");
    assert_eq!(vm.run("ovf-agent get ip --source iso:/dev/dm-0")?, "10.20.132.102\n");
    is_configured(&mut vm, "none")?;
    Ok(())
}

/// A guest with the document in its drive, which is to be mounted.
fn mounting(bench: &Bench<'_>, disc: &Path) -> Result<Vm> {
    let mut vm = bench.guest(Some(disc), Connect::Later)?;
    vm.put(&appliance(&format!("{OPTIONAL_PARAMETERS}{NO_WAIT}method = \"mount\"\n")))?;
    Ok(vm)
}

/// Swaps the disc without force, which a locked tray would refuse: so nothing has the volume mounted any more.
#[track_caller]
fn is_unmounted(vm: &mut Vm, mounts: &str, disc: &Path) -> Result<()> {
    assert_eq!(vm.run("cat /proc/mounts")?, mounts);
    vm.change_disc(disc)
}

fn mounted(bench: &Bench<'_>) -> Result<()> {
    let files = [("ovf-env.xml", DOCUMENT.as_bytes()), ("ovffiles/a.txt", b"file")];
    let disc = bench.iso(Variant::Full, &files)?;
    let mut vm = mounting(bench, &disc)?;
    let mounts = vm.run("cat /proc/mounts")?;
    let log = is_configured(&mut vm, "iso:/dev/sr0")?;
    assert!(log.contains("options=ro,nosuid,nodev,noexec"), "what the kernel says of the mount: {log}");
    assert_eq!(vm.run("ovf-agent env --files")?, "         4  ovffiles/a.txt\n");
    assert_eq!(
        vm.run("ovf-agent env --extract /tmp/out > /dev/null && cat /tmp/out/ovffiles/a.txt")?,
        "file"
    );
    // On the paths of failure, too.
    let empty = bench.iso(Variant::Full, &[("other", b"")])?;
    vm.change_disc(&empty)?;
    vm.run("until ovf-agent get ip --source iso:/dev/sr0 2>&1 | grep -q 'no file ovf-env.xml'; do usleep 10000; done")?;
    is_unmounted(&mut vm, &mounts, &disc)?;

    for variant in [Variant::Plain, Variant::Joliet, Variant::RockRidge] {
        let disc = bench.iso(variant, &[("ovf-env.xml", DOCUMENT.as_bytes())])?;
        let mut vm = mounting(bench, &disc)?;
        is_configured(&mut vm, "iso:/dev/sr0")?;
        is_unmounted(&mut vm, &mounts, &empty)?;
    }
    // Without the privilege, and without a block device, an error says so.
    let mut vm = mounting(bench, &disc)?;
    vm.run("chmod 0666 /dev/sr0; chmod 0755 /etc/ovf-agent")?;
    let said = complaint(&mut vm, "su -s /bin/sh mydb -c 'ovf-agent get ip'")?;
    assert!(said.contains("mounting needs CAP_SYS_ADMIN"), "{said}");
    vm.put(&Files::new().with("/tmp/env.iso", std::fs::read(&disc)?))?;
    let said = complaint(&mut vm, "ovf-agent get ip --source iso:/tmp/env.iso")?;
    assert!(said.contains("cannot mount /tmp/env.iso: it is no block device"), "{said}");
    Ok(())
}

/// A disc with this document, which the agent cannot read and Linux can.
pub(crate) fn disc_for_the_kernel(bench: &Bench<'_>, document: &str) -> Result<PathBuf> {
    let disc = bench.iso(Variant::Plain, &[("ovf-env.xml", document.as_bytes())])?;
    // A writer that leaves out the big-endian half of the file's length (ECMA-119, 7.3.3): Linux reads the other one.
    let mut bytes = std::fs::read(&disc)?;
    let name = bytes.windows(11).position(|window| window == b"OVF_ENV.XML").context("the name")?;
    bytes[name - 33 + 14..name - 33 + 18].fill(0);
    std::fs::write(&disc, bytes)?;
    Ok(disc)
}

fn only_the_kernel(bench: &Bench<'_>) -> Result<()> {
    let disc = disc_for_the_kernel(bench, DOCUMENT)?;
    let mut vm = bench.guest(Some(&disc), Connect::Later)?;
    vm.put(&appliance(&format!("{OPTIONAL_PARAMETERS}{NO_WAIT}")))?;
    let (report, log) = apply(&mut vm)?;
    assert_eq!(report["failure"]["code"], "ImageBroken", "{log}");
    vm.put(&appliance(&format!("{OPTIONAL_PARAMETERS}{NO_WAIT}method = \"auto\"\n")))?;
    let log = is_configured(&mut vm, "iso:/dev/sr0")?;
    assert!(log.contains("read by mounting it, since invalid directory record"), "{log}");
    Ok(())
}

/// A drive that does so many reads in a second.
fn slow(vm: &mut Vm, disc: &Path, reads: u32) -> Result<String> {
    let limits = json!({ "iops-total": reads, "iops-total-max": reads });
    let group = json!({ "qom-type": "throttle-group", "id": format!("slow{reads}"), "limits": limits });
    vm.qmp.execute("object-add", group)?;
    let block = json!({
        "driver": "throttle", "throttle-group": format!("slow{reads}"), "read-only": true, "file": image(disc),
    });
    vm.plug(json!({ "driver": "scsi-cd", "bus": "scsi.0" }), block)
}

fn killed_while_mounted(bench: &Bench<'_>) -> Result<()> {
    let disc = bench.environment(DOCUMENT)?;
    let mut vm = guest(bench, "method = \"mount\"\n")?;
    let mounts = vm.run("cat /proc/mounts")?;
    let drive = slow(&mut vm, &disc, 4)?;
    appears(&mut vm, "/dev/sr0")?;
    // The kernel counts a mounted file system's inodes in its slab; isofs has one once it is mounted.
    let agent = vm.spawn("exec ovf-agent apply > /run/log 2>&1")?;
    vm.run(&format!(
        "until ls -l /proc/{}/fd 2> /dev/null | grep -q ' -> /$'; do usleep 10000; done; kill -9 {0}",
        agent.pid
    ))?;
    assert_ne!(vm.wait(&agent, crate::appliance::soon())?, 0);
    assert_eq!(vm.run("cat /proc/mounts")?, mounts);
    // A mounted drive cannot be let go of; this one is.
    vm.unplug(&drive)?;
    vm.run("until [ ! -e /dev/sr0 ]; do usleep 10000; done")?;
    Ok(())
}

fn troubled_drives(bench: &Bench<'_>) -> Result<()> {
    let disc = bench.environment(DOCUMENT)?;
    let mut vm = guest(bench, "")?;
    slow(&mut vm, &disc, 8)?;
    appears(&mut vm, "/dev/sr0")?;
    is_configured(&mut vm, "iso:/dev/sr0")?;

    // Every read fails: an error that names the drive; and a drive that works is used all the same.
    let mut vm = guest(bench, "")?;
    let failing = json!({
        "driver": "blkdebug", "read-only": true, "image": { "driver": "file", "filename": disc },
        "inject-error": [{ "event": "read_aio", "errno": 5 }],
    });
    let failing = json!({ "driver": "raw", "read-only": true, "file": failing });
    vm.plug(json!({ "driver": "scsi-cd", "bus": "scsi.0", "rerror": "report" }), failing)?;
    appears(&mut vm, "/dev/sr0")?;
    let (report, log) = apply(&mut vm)?;
    assert_eq!(report["failure"]["code"], "SourceUnreadable", "{log}");
    assert!(report["failure"]["message"].as_str().is_some_and(|text| text.contains("/dev/sr0")), "{log}");
    vm.plug_drive(&disc)?;
    appears(&mut vm, "/dev/sr1")?;
    let log = is_configured(&mut vm, "iso:/dev/sr1")?;
    assert!(log.contains("passed over: cannot read the ISO 9660 image on /dev/sr0"), "{log}");

    // Taken away in the middle of a read: with a little patience it is seen to have gone.
    let mut vm = guest(bench, "")?;
    let settings = format!("{OPTIONAL_PARAMETERS}[transport.iso]\nwait = \"3s\"\nsettle = \"1s\"\n");
    vm.put(&appliance(&settings))?;
    let drive = slow(&mut vm, &disc, 1)?;
    appears(&mut vm, "/dev/sr0")?;
    let agent = vm.spawn("exec ovf-agent apply --json --report /run/report.json > /dev/kmsg 2>&1")?;
    vm.run(&format!(
        "until ls -l /proc/{}/fd 2> /dev/null | grep -q /dev/sr0; do usleep 10000; done",
        agent.pid
    ))?;
    vm.unplug(&drive)?;
    assert_eq!(vm.wait(&agent, crate::appliance::soon())?, 0);
    let report: Value = serde_json::from_slice(&vm.get("/run/report.json")?)?;
    assert_eq!((&report["source"], &report["failure"]), (&json!("none"), &Value::Null), "{report}");
    Ok(())
}

fn fw_cfg(bench: &Bench<'_>) -> Result<()> {
    let document = bench.environment(DOCUMENT)?.with_extension("files").join("ovf-env.xml");
    let option = format!("name=opt/org.ovf/env,file={}", document.display());
    let machine = Machine::from(Drive::None).option("-fw_cfg", option);
    let files = appliance(&format!("{OPTIONAL_PARAMETERS}{NO_WAIT}"));
    let mut vm = bench.boot(&machine, &files, Connect::Later)?;
    let said = complaint(&mut vm, "ovf-agent get ip --source fwcfg")?;
    assert!(said.contains("the module qemu_fw_cfg is not loaded"), "{said}");
    vm.run("load qemu_fw_cfg")?;
    assert_eq!(vm.run("ovf-agent get ip --source fwcfg")?, "10.20.132.102\n");
    let said = complaint(&mut vm, "su -s /bin/sh mydb -c 'ovf-agent get ip --source fwcfg'")?;
    assert!(said.contains("opt/org.ovf/env/raw: Permission denied"), "{said}");
    is_configured(&mut vm, "fwcfg")?;
    Ok(())
}

fn adapters(bench: &Bench<'_>) -> Result<()> {
    let section = r#"<ve:EthernetAdapterSection xmlns:ve="http://www.vmware.com/schema/ovfenv">
        <ve:Adapter ve:mac="00:50:56:01:02:03" ve:network="front" ve:unitNumber="7"/>
        <ve:Adapter ve:mac="00:50:56:01:02:04" ve:network="back" ve:unitNumber="8"/>
        </ve:EthernetAdapterSection></Environment>"#;
    let document = DOCUMENT.replace("</Environment>", section);
    let mut vm = bench.guest(Some(&bench.environment(&document)?), Connect::Later)?;
    let template = "+++\npath = \"/etc/mydb/net\"\nescape = \"ini\"\n+++\n\
        {% for a in adapters %}net = {{ a.network }} {{ a.ifname | default(value=\"absent\") }}\n{% endfor %}";
    let files = appliance(OPTIONAL_PARAMETERS).with("/etc/ovf-agent/templates/net.tera", template);
    vm.put(&files)?;
    vm.run("load virtio_net")?;
    vm.qmp.execute("device_add", json!({ "driver": "virtio-net-pci", "mac": "00:50:56:01:02:03" }))?;
    appears(&mut vm, "/sys/class/net/eth0/address")?;
    let shown: Value = serde_json::from_str(&vm.run("ovf-agent env --json")?)?;
    assert_eq!(
        shown["adapters"],
        json!([
            { "mac": "00:50:56:01:02:03", "network": "front", "unit": 7, "ifname": "eth0" },
            { "mac": "00:50:56:01:02:04", "network": "back", "unit": 8, "ifname": null },
        ])
    );
    apply(&mut vm)?;
    assert_eq!(text(&mut vm, "/etc/mydb/net")?, "net = front eth0\nnet = back absent\n");
    Ok(())
}
