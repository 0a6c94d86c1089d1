//! What only a guest with systemd can show: units, the journal, system credentials.

use crate::Test;
use crate::appliance::{CONFIGURED, DOCUMENT, GATE, PARAMETERS, appliance, soon, stage, text};
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Vm};
use serde_json::Value;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    // The two that boot come first, side by side; those after them would wait for the saved guest.
    ("debian: the guest is up without a failed unit, and its bus, journal, udev and nftables answer", up),
    (
        "debian: an environment given as a credential or as firmware configuration is there, and the agent reads it",
        platform,
    ),
    ("debian: the journal has each stage of the agent's pass with its fields, in at most 8 lines", journal),
    ("debian: a unit of the agent becomes ready, and is stopped at once", stopped),
    ("debian: a pass that systemd-run starts ends with its status, and the journal says why", transient),
];

/// The smallest unit of the agent.
const UNIT: &str = "[Service]\nType=exec\nExecStart=/usr/bin/ovf-agent run\n";

/// systemd's messages in the journal, by the identifiers that `sd-messages.h` gives them.
const STOPPING: &str = "de5b426a63be47a7b6ac3eaac82e2f6f";
const STOPPED: &str = "9d1aaa27d60140bd96365438aad20286";
const SUCCEEDED: &str = "7ad2d189f7e94e70a38c781354912448";

/// The appliance with that unit in it.
fn with_unit(configuration: &str) -> Files {
    appliance(configuration).with("/etc/systemd/system/ovf-agent.service", UNIT)
}

/// The journal's entries that `matches` selects, oldest first, with all that was said until now.
fn entries(vm: &mut Vm, matches: &str) -> Result<Vec<Value>> {
    let lines = vm.run(&format!("journalctl --sync && journalctl --boot --output json {matches}"))?;
    lines.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

fn up(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.debian(None, Connect::Later)?;
    assert_eq!(vm.run("systemctl is-system-running")?, "running\n");
    assert_eq!(
        vm.run("systemctl --failed --quiet; systemctl list-jobs --quiet")?,
        "",
        "nothing failed or pending"
    );
    assert!(vm.run("busctl list --no-legend")?.contains("org.freedesktop.systemd1"), "systemd is on the bus");
    let property = "/org/freedesktop/systemd1 org.freedesktop.systemd1.Manager Virtualization";
    assert_eq!(vm.run(&format!("busctl get-property org.freedesktop.systemd1 {property}"))?, "s \"qemu\"\n");
    vm.run("logger --tag somebody --priority user.warning 'a word'")?;
    let said = entries(&mut vm, "--identifier somebody")?;
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((&said[0]["MESSAGE"], &said[0]["PRIORITY"]), (&"a word".into(), &"4".into()));
    // Each of them asks for modules.
    vm.run("nft add table inet t && nft 'add chain inet t c { type filter hook input priority 0; }'")?;
    vm.run("nft add rule inet t c ct state established counter accept")?;
    // Both come from udev, the drive's also from the drive.
    vm.run("[ -c /dev/virtio-ports/org.ovf.agent.0 ] && [ -b /dev/cdrom ]")?;
    bench.measured(vm.run("systemd-analyze time | head -n 1")?.trim());
    Ok(())
}

fn journal(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.debian(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&with_unit(PARAMETERS))?;
    vm.run("systemctl start ovf-agent")?;
    vm.report(stage("ready"), soon())?;
    vm.run("systemctl stop ovf-agent")?;

    let said = entries(&mut vm, "_SYSTEMD_UNIT=ovf-agent.service")?;
    for entry in &said {
        assert_eq!(entry["SYSLOG_IDENTIFIER"], "ovf-agent", "{entry}");
        assert_eq!(entry["_TRANSPORT"], "journal", "it speaks to journald itself: {entry}");
        let priority: u8 = entry["PRIORITY"].as_str().unwrap_or_default().parse()?;
        assert!((5..=6).contains(&priority), "nothing was odd, and nobody asked for details: {entry}");
    }
    bench.measured(format!("{} lines", said.len()));
    assert!((1..=8).contains(&said.len()), "{} lines", said.len());

    let of = |stage: &str| said.iter().find(|entry| entry["OVF_STAGE"] == stage);
    let detected = of("detect").context("nothing about detection")?;
    assert_eq!(
        (&detected["MESSAGE"], &detected["OVF_HYPERVISOR"]),
        (&"detected qemu".into(), &"qemu".into())
    );
    let read = of("environment").context("nothing about the environment")?;
    assert_eq!((&read["OVF_SOURCE"], &read["OVF_ID"]), (&"iso:/dev/sr0".into(), &"DB1".into()));
    let wrote = of("apply").context("nothing about the files")?;
    assert_eq!((&wrote["MESSAGE"], &wrote["OVF_GENERATION"]), (&"wrote 2 of 2 files".into(), &"1".into()));
    let ready = of("gates").context("nothing about the gates")?;
    assert_eq!(ready["MESSAGE"], "ready");
    Ok(())
}

fn stopped(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.debian(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&with_unit(&format!("{PARAMETERS}{GATE}")))?;
    vm.run("systemctl start ovf-agent")?;
    vm.report(stage("waiting"), soon())?;
    vm.run("touch /run/mydb.ready")?;
    assert_eq!(vm.report(stage("ready"), soon())?.report.source, "iso:/dev/sr0");
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, CONFIGURED);

    vm.run("systemctl stop ovf-agent")?;
    let systemd = entries(&mut vm, "_PID=1 UNIT=ovf-agent.service")?;
    let of = |id: &str| systemd.iter().find(|entry| entry["MESSAGE_ID"] == id);
    let moment = |id: &str| -> Result<u64> {
        let entry = of(id).with_context(|| format!("systemd did not say {id}: {systemd:?}"))?;
        Ok(entry["__MONOTONIC_TIMESTAMP"].as_str().unwrap_or_default().parse()?)
    };
    let took = moment(STOPPED)? - moment(STOPPING)?;
    bench.measured(format!("stopped after {} ms", took / 1000));
    assert!(took < 10_000_000, "it stopped after {took} µs");
    assert!(of(SUCCEEDED).is_some(), "a stop that was asked for is no failure: {systemd:?}");
    assert_eq!(vm.run("systemctl --failed --quiet")?, "");
    Ok(())
}

fn transient(bench: &Bench<'_>) -> Result<()> {
    let document = DOCUMENT.replace("10.20.132.102", "hunter2").replace("\"yes\"", "\"hunter3\"");
    let mut vm = bench.debian(Some(&bench.environment(&document)?), Connect::Later)?;
    vm.put(&appliance(PARAMETERS))?;
    let run = vm.sh("systemd-run --quiet --wait --unit pass ovf-agent apply")?;
    assert_ne!(run.status, 0, "two properties are not what their parameters want");
    assert_eq!(vm.run("systemctl show --property Result pass")?, "Result=exit-code\n");
    // One event for each parameter, which a program can find by its fields.
    let said = entries(&mut vm, "_SYSTEMD_UNIT=pass.service PRIORITY=3")?;
    let field = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let wrong: Vec<_> = said.iter().map(|entry| field(entry, "OVF_PARAMETER")).collect();
    assert_eq!(wrong, ["ip", "primary"], "{said:?}");
    for entry in &said {
        assert_eq!(field(entry, "SYSLOG_IDENTIFIER"), "ovf-agent", "{entry}");
        assert_eq!(field(entry, "OVF_STAGE"), "parameters", "{entry}");
        assert_eq!(field(entry, "OVF_CODE"), "ParametersInvalid", "{entry}");
        assert!(field(entry, "MESSAGE").contains("com.mydb.db."), "{entry}");
    }
    assert!(!vm.run("journalctl --boot --output json")?.contains("hunter"), "no value is in the journal");

    // What every trial relies on that asks whether a boot went well.
    let unwell = vm.booted().expect_err("a unit has failed").to_string();
    assert!(unwell.contains("degraded") && unwell.contains("pass.service"), "{unwell}");
    Ok(())
}

/// Power on with the document in both of the places where QEMU's users put one without a disc. What else is to be seen
/// of either belongs here, too: the boot is what takes long.
fn platform(bench: &Bench<'_>) -> Result<()> {
    let smbios = format!("type=11,value=io.systemd.credential.binary:ovf.environment={}", base64(DOCUMENT));
    let file = bench.file(DOCUMENT)?;
    let machine = Machine::from(Drive::None)
        .option("-smbios", smbios)
        .option("-fw_cfg", format!("name=opt/org.ovf/env,file={}", file.display()));
    let mut vm = bench.boot_debian(&machine, &appliance(PARAMETERS), Connect::BeforeBoot)?;
    vm.booted()?;

    let credential = "/run/credentials/@system/ovf.environment";
    assert_eq!(text(&mut vm, credential)?, DOCUMENT);
    assert_eq!(vm.run(&format!("stat -c '%a %U' {credential}"))?, "400 root\n");
    // Who loads the driver is systemd: PID 1 looks for credentials there, too.
    let firmware = "/sys/firmware/qemu_fw_cfg/by_name/opt/org.ovf/env/raw";
    assert_eq!(text(&mut vm, firmware)?, DOCUMENT);

    let in_a_unit = "systemd-run --quiet --pipe --wait --property LoadCredential=ovf.environment";
    for (source, command) in [("credential", ""), ("credential", in_a_unit), ("fwcfg", "")] {
        let said = vm.run(&format!("{command} ovf-agent env --source {source} --json"))?;
        let said: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        assert_eq!((&said["source"], &said["id"]), (&source.into(), &"DB1".into()), "{command} {said}");
    }
    Ok(())
}

/// As RFC 4648 section 4 says.
pub(crate) fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |group: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(group.get(at).copied().unwrap_or(0)));
        let digit = move |at: usize| char::from(DIGITS[bits >> (18 - 6 * at) & 63]);
        let used = group.len() + 1;
        (0..4).map(move |at| if at < used { digit(at) } else { '=' }).collect::<String>()
    };
    text.as_bytes().chunks(3).map(digits).collect()
}
