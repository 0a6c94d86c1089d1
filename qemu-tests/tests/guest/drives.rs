//! The drive of a guest that runs: swapped, taken away, slow or dead, on every bus, with and without udev; and the drives that
//! are nobody's business.

use crate::appliance::{
    CONFIGURED, DEFAULTS, DOCUMENT, OPTIONAL_PARAMETERS, appliance, hang_up, soon, stage, start_agent, text,
};
use crate::{Test, is_long};
use anyhow::{Context, Result, bail};
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Report, Vm, image};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("drives: one without an answer for 30 s is reported, and read when it lets go", dead),
    ("drives: a hundred swaps in a row, none is missed", hundred),
    ("drives: beside udev a swap is applied, at the second try of the host's", udev),
    (
        "drives: a swapped disc is applied on IDE, of two within a poll the last, and no tray is ever locked",
        ide,
    ),
    ("drives: the same on AHCI", ahci),
    ("drives: the same on virtio-scsi, plugged in when the guest was ready", scsi),
    ("drives: the same on USB, plugged in when the guest was ready", usb),
    ("drives: one that does a read in a second keeps nobody waiting, and its document is applied", slow),
    ("drives: a disc or drive that is gone leaves all as it is, and a reload for its return", gone),
    ("drives: others and their discs are no reason for a look, and are not opened", others),
];

const SETTINGS: &str = "/etc/mydb/mydb.conf";
/// No patience: a guest without a document is ready at once.
const NO_WAIT: &str = "[transport.iso]\nwait = \"0s\"\nsettle = \"0s\"\n";

fn document(ip: &str) -> String {
    DOCUMENT.replace("10.20.132.102", ip)
}

fn settings(ip: &str) -> String {
    format!("listen = {ip}\nlog = warning\nprimary = true\n")
}

fn generation(number: u64) -> impl Fn(&Report) -> bool {
    move |report| report.generation == number && report.stage == "ready"
}

/// What a drive stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bus {
    Ide,
    Ahci,
    Scsi,
    Usb,
}

/// A guest that is configured from its drive, and that drive.
struct Driven {
    vm: Vm,
    drive: String,
    generation: u64,
}

impl Bus {
    /// A guest that is configured from a disc with the usual document in a drive on this bus. Where the bus allows it, the drive
    /// comes when the guest is ready without one.
    fn driven(self, bench: &Bench<'_>) -> Result<Driven> {
        let disc = bench.environment(DOCUMENT)?;
        let appliance = appliance(&format!("{OPTIONAL_PARAMETERS}{NO_WAIT}"));
        let (mut vm, drive, generation_then) = match self {
            Bus::Ide | Bus::Ahci => {
                let mut vm = match self {
                    Bus::Ide => bench.guest(Some(&disc), Connect::BeforeBoot)?,
                    _ => {
                        let machine = Machine::with_disc(Drive::Ahci, &disc);
                        bench.boot(&machine, &Files::new(), Connect::BeforeBoot)?
                    }
                };
                vm.put(&appliance)?;
                vm.run("until [ -e /dev/sr0 ]; do usleep 10000; done")?;
                start_agent(&mut vm)?;
                (vm, "cd0".to_owned(), 1)
            }
            Bus::Scsi | Bus::Usb => {
                let mut vm = bench.guest_without_drive(Connect::BeforeBoot)?;
                vm.put(&appliance)?;
                vm.run("load xhci_pci usb_storage")?;
                start_agent(&mut vm)?;
                assert_eq!(vm.report(stage("ready"), soon())?.report.source, "none");
                let plugged = Instant::now();
                let drive =
                    if self == Bus::Usb { plug_usb(&mut vm, &disc)? } else { plug_scsi(&mut vm, &disc)? };
                vm.report(generation(2), soon())?;
                bench.measured(format!("{} ms from the plug", plugged.elapsed().as_millis()));
                (vm, drive, 2)
            }
        };
        if generation_then == 1 {
            vm.report(generation(1), soon())?;
        }
        assert_eq!(text(&mut vm, SETTINGS)?, CONFIGURED);
        assert_eq!(
            vm.run("cat /sys/block/sr0/events_poll_msecs")?,
            "2000\n",
            "the kernel looks, as beside udev"
        );
        Ok(Driven { vm, drive, generation: generation_then })
    }
}

fn plug_scsi(vm: &mut Vm, disc: &Path) -> Result<String> {
    vm.plug(json!({ "driver": "scsi-cd", "bus": "scsi.0" }), image(disc))
}

/// A drive on USB is two devices: what speaks the bus's protocol, and what that is told.
fn plug_usb(vm: &mut Vm, disc: &Path) -> Result<String> {
    vm.qmp.execute("device_add", json!({ "driver": "qemu-xhci" }))?;
    vm.qmp.execute("device_add", json!({ "driver": "usb-bot", "id": "bot" }))?;
    let drive = vm.plug(json!({ "driver": "scsi-cd", "bus": "bot.0" }), image(disc))?;
    vm.qmp.execute("qom-set", json!({ "path": "bot", "property": "attached", "value": true }))?;
    Ok(drive)
}

/// Changes the disc without force, which a locked tray does not allow.
fn change(vm: &mut Vm, drive: &str, disc: &Path) -> Result<()> {
    let arguments = json!({ "id": drive, "filename": disc, "format": "raw" });
    vm.qmp.execute("blockdev-change-medium", arguments).map(drop)
}

/// Has every read of a drive's wait: so many requests and so many bytes a second; 0 is as many as there are.
fn throttle(vm: &mut Vm, drive: &str, requests: u64, bytes: u64) -> Result<()> {
    let mut limits = json!({ "id": drive, "iops": requests, "bps": bytes });
    for none in ["iops_rd", "iops_wr", "bps_rd", "bps_wr"] {
        limits[none] = 0.into();
    }
    vm.qmp.execute("block_set_io_throttle", limits).map(drop)
}

/// Asks for the report, and says how long the answer took.
fn query(vm: &mut Vm, id: &str) -> Result<Duration> {
    let asked = Instant::now();
    vm.host.send(&json!({ "type": "query", "id": id }))?;
    assert_eq!(vm.host.answer(id, soon())?["ok"], true);
    Ok(asked.elapsed())
}

/// The kernel tells of a change in these drives and disks.
fn tell(vm: &mut Vm, names: &str) -> Result<()> {
    vm.run(&format!("for name in {names}; do echo change > /sys/class/block/$name/uevent; done")).map(drop)
}

fn swaps(bench: &Bench<'_>, bus: Bus) -> Result<()> {
    let Driven { mut vm, drive, generation: before } = bus.driven(bench)?;
    let mut times = Vec::new();
    for (count, ip) in ["10.0.0.2", "10.0.0.3", "10.0.0.4"].into_iter().enumerate() {
        let begun = Instant::now();
        change(&mut vm, &drive, &bench.environment(&document(ip))?)?;
        let report = vm.report(generation(before + 1 + count as u64), soon())?.report;
        times.push(begun.elapsed().as_millis());
        assert_eq!(
            (report.source.as_str(), &report.changed[..]),
            ("iso:/dev/sr0", &[SETTINGS.to_owned()][..])
        );
        assert_eq!(text(&mut vm, SETTINGS)?, settings(ip));
    }
    bench.measured(format!("swap to report {times:?} ms"));

    // Two within one poll. Should the kernel have looked just between them, it has seen both.
    let (first, last) =
        (bench.environment(&document("10.0.0.5"))?, bench.environment(&document("10.0.0.6"))?);
    change(&mut vm, &drive, &first)?;
    change(&mut vm, &drive, &last)?;
    vm.report(|report| report.generation > before + 3 && report.stage == "ready", soon())?;
    while text(&mut vm, SETTINGS)? != settings("10.0.0.6") {
        vm.report(generation(before + 5), soon())?;
    }
    Ok(())
}

fn ide(bench: &Bench<'_>) -> Result<()> {
    swaps(bench, Bus::Ide)
}

fn ahci(bench: &Bench<'_>) -> Result<()> {
    swaps(bench, Bus::Ahci)
}

fn scsi(bench: &Bench<'_>) -> Result<()> {
    swaps(bench, Bus::Scsi)
}

fn usb(bench: &Bench<'_>) -> Result<()> {
    swaps(bench, Bus::Usb)
}

fn hundred(bench: &Bench<'_>) -> Result<()> {
    let buses: &[Bus] = if is_long() { &[Bus::Ide, Bus::Ahci, Bus::Scsi, Bus::Usb] } else { &[Bus::Ide] };
    for bus in buses {
        let Driven { mut vm, drive, generation: before } = bus.driven(bench)?;
        vm.run("echo 20 > /sys/block/sr0/events_poll_msecs")?;
        let ips = ["10.0.0.2", "10.0.0.3"];
        let discs = [bench.environment(&document(ips[0]))?, bench.environment(&document(ips[1]))?];
        let mut times = Vec::new();
        for count in 0..100 {
            let begun = Instant::now();
            change(&mut vm, &drive, &discs[count % 2])?;
            let report = vm.report(|report| report.generation > before + count as u64, soon())?.report;
            assert_eq!(report.generation, before + 1 + count as u64, "{bus:?}: each is applied once");
            times.push(begun.elapsed().as_millis());
        }
        assert_eq!(text(&mut vm, SETTINGS)?, settings(ips[1]));
        assert_eq!(vm.run("pidof ovf-agent | wc -w")?, "1\n", "no child is left behind");
        times.sort_unstable();
        bench.measured(format!("{bus:?}: median {} ms, worst {} ms", times[50], times[99]));
    }
    Ok(())
}

/// Beside udev the tray is locked by udev, and opened when the host asks for it: a host tries again.
pub(crate) fn change_beside_udev(vm: &mut Vm, drive: &str, disc: &Path) -> Result<u32> {
    for tries in 1..1000 {
        match change(vm, drive, disc) {
            Ok(()) => return Ok(tries),
            Err(error) if error.to_string().contains("locked") => {
                vm.qmp.event("DEVICE_TRAY_MOVED", soon()).context("udev opens the tray")?;
            }
            Err(error) => return Err(error),
        }
    }
    bail!("the tray stays locked")
}

fn udev(bench: &Bench<'_>) -> Result<()> {
    let buses = [Bus::Ide, Bus::Scsi, Bus::Ahci, Bus::Usb];
    for bus in &buses[..if is_long() { 4 } else { 2 }] {
        let disc = bench.environment(DOCUMENT)?;
        let mut vm = match bus {
            Bus::Ide => bench.debian(Some(&disc), Connect::BeforeBoot)?,
            Bus::Scsi | Bus::Usb => bench.debian(None, Connect::BeforeBoot)?,
            Bus::Ahci => {
                let machine = Machine::with_disc(Drive::Ahci, &disc);
                bench.boot_debian(&machine, &Files::new(), Connect::BeforeBoot)?
            }
        };
        if *bus == Bus::Ahci {
            vm.booted()?;
        }
        vm.put(&appliance(OPTIONAL_PARAMETERS))?;
        // The saved guest has an empty drive, sr0.
        let (drive, name) = match bus {
            Bus::Ide | Bus::Ahci => ("cd0".to_owned(), "sr0"),
            Bus::Scsi => (plug_scsi(&mut vm, &disc)?, "sr1"),
            Bus::Usb => (plug_usb(&mut vm, &disc)?, "sr1"),
        };
        vm.run(&format!("until [ -e /dev/{name} ]; do usleep 10000; done; udevadm settle"))?;
        start_agent(&mut vm)?;
        vm.report(generation(1), soon())?;
        let mut times = Vec::new();
        for (count, ip) in ["10.0.0.2", "10.0.0.3"].into_iter().enumerate() {
            let disc = bench.environment(&document(ip))?;
            let begun = Instant::now();
            let tries = change_beside_udev(&mut vm, &drive, &disc)?;
            vm.report(generation(2 + count as u64), soon())?;
            times.push((tries, begun.elapsed().as_millis()));
            assert_eq!(text(&mut vm, SETTINGS)?, settings(ip));
        }
        bench.measured(format!("{bus:?}: (tries, ms) {times:?}"));
        let own = vm.run(&format!("cat /sys/block/{name}/events_poll_msecs"))?;
        assert_eq!(own, "-1\n", "udev has set it for all drives");
    }
    Ok(())
}

fn slow(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&appliance(OPTIONAL_PARAMETERS))?;
    throttle(&mut vm, "cd0", 1, 0)?;
    start_agent(&mut vm)?;
    vm.report(stage("starting"), soon())?;
    let mut slowest = Duration::ZERO;
    let mut asked = 0;
    while !vm.host.reports().iter().any(|it| it.report.stage == "ready") {
        asked += 1;
        slowest = slowest.max(query(&mut vm, &format!("boot {asked}"))?);
    }
    let report = vm.report(stage("ready"), soon())?.report;
    let took = report.took_us["transport"];
    bench.measured(format!(
        "read in {} ms; slowest of {asked} answers {} ms",
        took / 1000,
        slowest.as_millis()
    ));
    assert!(took > 1_000_000, "it was slow: {took} µs");
    assert!(slowest.as_micros() < took.into(), "a query was answered after {slowest:?}");
    assert_eq!(text(&mut vm, SETTINGS)?, CONFIGURED);

    // In the midst of our reads the tray is not locked, and what the host sends is applied.
    let in_the_midst = "until [ $(pidof ovf-agent | wc -w) -gt 1 ]; do usleep 10000; done";
    change(&mut vm, "cd0", &bench.environment(&document("10.0.0.2"))?)?;
    vm.run(in_the_midst)?;
    let sent = Instant::now();
    vm.host.send(&json!({ "type": "environment", "id": "sent", "document": document("10.0.0.3") }))?;
    assert_eq!(vm.host.answer("sent", soon())?["ok"], true);
    bench.measured(format!("sent and applied in {} ms", sent.elapsed().as_millis()));
    assert_eq!(text(&mut vm, SETTINGS)?, settings("10.0.0.3"));
    vm.run(in_the_midst)?;
    change(&mut vm, "cd0", &bench.environment(&document("10.0.0.4"))?)?;
    vm.report(|report| report.source == "iso:/dev/sr0" && report.generation > 2, soon())?;
    while text(&mut vm, SETTINGS)? != settings("10.0.0.4") {
        vm.report(|report| report.stage == "ready", soon())?;
    }
    Ok(())
}

fn dead(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest_without_drive(Connect::BeforeBoot)?;
    vm.put(&appliance(OPTIONAL_PARAMETERS))?;
    // On virtio-scsi, where the kernel's driver waits for as long as QEMU does.
    let drive = plug_scsi(&mut vm, &bench.environment(DOCUMENT)?)?;
    vm.run("until [ -e /dev/sr0 ]; do usleep 10000; done")?;
    throttle(&mut vm, &drive, 0, 1)?;
    start_agent(&mut vm)?;
    vm.report(stage("starting"), soon())?;
    let answered = query(&mut vm, "1")?;
    assert!(answered < Duration::from_secs(10), "a query was answered after {answered:?}");
    let report = vm.report(stage("failed"), soon())?.report;
    let failure = report.failure.context("a failure")?;
    assert_eq!(
        (failure.stage.as_str(), failure.code.as_str()),
        ("transport", "SourceUnreadable"),
        "{failure:?}"
    );
    assert!(!failure.r#final && failure.message.contains("no answer from /dev/sr0 for 30 s"), "{failure:?}");
    throttle(&mut vm, &drive, 0, 0)?;
    let released = Instant::now();
    let report = vm.report(stage("ready"), soon())?.report;
    bench.measured(format!("ready {} ms after it lets go", released.elapsed().as_millis()));
    assert_eq!((report.source.as_str(), report.generation), ("iso:/dev/sr0", 1));
    assert_eq!(text(&mut vm, SETTINGS)?, CONFIGURED);
    Ok(())
}

fn gone(bench: &Bench<'_>) -> Result<()> {
    let more = Files::new()
        .with("/etc/ovf-agent/templates/more.tera", "+++\npath = \"/etc/mydb/more\"\n+++\n{{ ip }}\n");
    let appliance = appliance(&format!("{OPTIONAL_PARAMETERS}{NO_WAIT}"));
    let disc = bench.environment(DOCUMENT)?;
    let mut vm = bench.guest(None, Connect::BeforeBoot)?;
    vm.put(&appliance)?;
    start_agent(&mut vm)?;
    assert_eq!(vm.report(generation(1), soon())?.report.source, "none");
    assert_eq!(text(&mut vm, SETTINGS)?, DEFAULTS);
    // The drive was empty, and is watched all the same.
    change(&mut vm, "cd0", &disc)?;
    let report = vm.report(generation(2), soon())?.report;
    assert_eq!((report.source.as_str(), text(&mut vm, SETTINGS)?.as_str()), ("iso:/dev/sr0", CONFIGURED));

    // Taken out: what is gone is not empty. To read it again cannot be done, which is said.
    vm.qmp.execute("eject", json!({ "id": "cd0" }))?;
    vm.put(&more)?;
    let reload = vm.sh("ovf-agent reload")?;
    let said = String::from_utf8(reload.stderr)?;
    assert!(reload.status == 1 && said.contains("is not attached any more"), "{}: {said}", reload.status);
    let missing = |report: &Report| {
        report.failure.as_ref().is_some_and(|failure| failure.code == "EnvironmentNotFound")
    };
    let report = vm.report(missing, soon())?.report;
    assert_eq!((report.stage.as_str(), report.generation), ("ready", 2));
    assert_eq!((report.source.as_str(), report.id.as_str()), ("iso:/dev/sr0", "DB1"));
    let applied = report.environment;
    hang_up(&mut vm)?;
    query(&mut vm, "after SIGHUP")?;
    assert_eq!(text(&mut vm, SETTINGS)?, CONFIGURED);
    // With the same disc, what was to be read again is.
    change(&mut vm, "cd0", &disc)?;
    let report = vm.report(generation(3), soon())?.report;
    assert_eq!((&report.changed[..], report.environment), (&["/etc/mydb/more".to_owned()][..], applied));
    assert!(report.failure.is_none());

    // The same with the whole drive; another one in its place is the drive then.
    let Driven { mut vm, drive, .. } = Bus::Scsi.driven(bench)?;
    vm.unplug(&drive)?;
    vm.run("until [ ! -e /dev/sr0 ]; do usleep 10000; done")?;
    assert_eq!(vm.sh("ovf-agent reload")?.status, 1);
    assert_eq!(text(&mut vm, SETTINGS)?, CONFIGURED);
    let drive = plug_scsi(&mut vm, &bench.environment(&document("10.0.0.2"))?)?;
    let report = vm.report(generation(3), soon())?.report;
    assert!(report.failure.is_none());
    assert_eq!(text(&mut vm, SETTINGS)?, settings("10.0.0.2"));
    change(&mut vm, &drive, &bench.environment(&document("10.0.0.3"))?)?;
    vm.report(generation(4), soon())?;
    assert_eq!(text(&mut vm, SETTINGS)?, settings("10.0.0.3"));
    Ok(())
}

/// How many reads the drives and disks that were plugged in have served, by their nodes' names.
fn reads(vm: &mut Vm) -> Result<BTreeMap<String, u64>> {
    let stats = vm.qmp.execute("query-blockstats", json!({}))?;
    let stats = stats.as_array().context("a list")?.iter();
    let plugged = stats.filter_map(|it| Some((it["node-name"].as_str()?.to_owned(), it["stats"].clone())));
    let plugged = plugged.filter(|(name, _)| name.starts_with("disc"));
    Ok(plugged
        .map(|(name, stats): (_, Value)| (name, stats["rd_operations"].as_u64().unwrap_or(0)))
        .collect())
}

fn others(bench: &Bench<'_>) -> Result<()> {
    let Driven { mut vm, drive, .. } = Bus::Ide.driven(bench)?;
    let intruder = bench.environment(&document("10.6.6.6"))?;
    vm.run("load virtio_blk sd_mod xhci_pci usb_storage")?;
    vm.qmp.execute("device_add", json!({ "driver": "qemu-xhci" }))?;
    plug_scsi(&mut vm, &intruder)?;
    vm.plug(json!({ "driver": "virtio-blk-pci" }), image(&intruder))?;
    vm.plug(json!({ "driver": "usb-storage", "removable": true }), image(&intruder))?;
    vm.run(
        "for name in sr1 vda sda; do until [ -e /dev/$name ]; do usleep 10000; done; done; usleep 500000",
    )?;
    let (before, seq) = (reads(&mut vm)?, vm.host.reports().last().context("a report")?.report.seq);
    assert_eq!(before.len(), 3, "{before:?}");
    tell(&mut vm, "sr1 vda sda")?;
    // Longer than the quiet that is waited for; then a swap, which comes after whatever there was to do.
    vm.run("usleep 500000")?;
    tell(&mut vm, "sr1 vda sda")?;
    change(&mut vm, &drive, &bench.environment(&document("10.0.0.2"))?)?;
    let report = vm.report(generation(2), soon())?.report;
    assert_eq!(reads(&mut vm)?, before, "nobody has read them");
    assert!(report.seq <= seq + 2, "there was nothing to report before: {seq}, {}", report.seq);
    assert_eq!(vm.run("cat /sys/block/sr1/events_poll_msecs")?, "-1\n", "nor has the kernel look into them");
    assert_eq!((report.source.as_str(), report.warnings), ("iso:/dev/sr0", 0));
    assert_eq!(text(&mut vm, SETTINGS)?, settings("10.0.0.2"));
    Ok(())
}
