//! Whole boots from power on: the pipeline from end to end, and each kind of drive.

use crate::Test;
use crate::appliance::{CONFIGURED, DOCUMENT, GATE, PARAMETERS, appliance, soon, stage, text};
use anyhow::Result;
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Vm};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("boot: a guest with an environment becomes ready with the right files", ready),
    ("boot: the document is read from an AHCI drive", |bench| reads(bench, Drive::Ahci)),
    ("boot: the document is read from a virtio-scsi drive", |bench| reads(bench, Drive::Scsi)),
];

fn boot(bench: &Bench<'_>, drive: Drive, configuration: &str) -> Result<Vm> {
    let files: Files = appliance(configuration).with_program("/etc/rc", "#!/bin/sh\nexec ovf-agent run\n");
    bench.boot(&Machine::with_disc(drive, bench.environment(DOCUMENT)?), &files, Connect::BeforeBoot)
}

fn ready(bench: &Bench<'_>) -> Result<()> {
    let mut vm = boot(bench, Drive::Ide, &format!("{PARAMETERS}{GATE}"))?;

    let waiting = vm.report(stage("waiting"), soon())?.report;
    assert!(!waiting.ready);
    let [unmet] = waiting.unmet.as_slice() else { panic!("one gate is unmet, not {:?}", waiting.unmet) };
    assert!(unmet.gate.contains("/run/mydb.ready"), "the gate is named: {unmet:?}");
    assert!(!unmet.code.is_empty() && !unmet.reason.is_empty(), "and the reason is given: {unmet:?}");

    vm.run("touch /run/mydb.ready")?;
    let ready = vm.report(stage("ready"), soon())?.report;
    bench.measured(format!("ready at uptime {:.2} s", ready.uptime_ms as f64 / 1000.0));
    assert!(ready.ready && ready.unmet.is_empty() && ready.failure.is_none(), "{ready:?}");
    assert_eq!((ready.id.as_str(), ready.source.as_str()), ("DB1", "iso:/dev/sr0"));
    assert_eq!((ready.generation, ready.warnings), (1, 0), "the first pass, and nothing odd");
    assert_eq!(ready.hypervisor, "qemu", "TCG says so in CPUID");
    assert_eq!(ready.agent, env!("CARGO_PKG_VERSION"));
    assert_eq!(ready.boot, text(&mut vm, "/proc/sys/kernel/random/boot_id")?.trim());
    let mut changed = ready.changed.clone();
    changed.sort();
    assert_eq!(changed, ["/etc/mydb/mydb.conf", "/etc/mydb/peers"]);
    let digest = ready.environment.as_deref().unwrap_or_default();
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "a digest of the document: {digest:?}");
    assert!(ready.took_us.contains_key("apply"), "the times of the stages: {:?}", ready.took_us);

    let files = vm.tree("/etc/mydb")?;
    let seen: Vec<(&str, u32, u32, u32)> =
        files.iter().map(|(path, file)| (path.as_str(), file.mode, file.uid, file.gid)).collect();
    assert_eq!(seen, [(".", 0o755, 0, 0), ("mydb.conf", 0o640, 0, 400), ("peers", 0o644, 0, 0)]);
    assert_eq!(files["mydb.conf"].bytes.as_deref(), Some(CONFIGURED.as_bytes()));
    assert_eq!(files["peers"].bytes.as_deref(), Some(&b"10.20.132.103\n"[..]));

    let reports: Vec<_> = vm.host.reports().into_iter().map(|received| received.report).collect();
    let mut stages: Vec<&str> = reports.iter().map(|report| report.stage.as_str()).collect();
    stages.dedup();
    assert_eq!(stages, ["starting", "configuring", "waiting", "ready"]);
    assert!(reports.iter().all(|report| report.boot == ready.boot && report.session == ready.session));
    assert!(reports.is_sorted_by_key(|report| (report.seq, report.uptime_ms)), "{reports:?}");
    assert_eq!(vm.host.flaws(), (0, 0), "every frame is whole and begins with a newline");
    Ok(())
}

fn reads(bench: &Bench<'_>, drive: Drive) -> Result<()> {
    let mut vm = boot(bench, drive, PARAMETERS)?;
    let ready = vm.report(stage("ready"), soon())?.report;
    assert_eq!(ready.source, "iso:/dev/sr0");
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, CONFIGURED);
    Ok(())
}
