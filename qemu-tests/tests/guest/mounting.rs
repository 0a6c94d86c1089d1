//! `method = "mount"` under the units that are shipped: who mounts, what is left of that, and what is said where nobody does.

use crate::Test;
use crate::appliance::{CONFIGURED, DOCUMENT, PARAMETERS, soon, stage, text};
use crate::drives::change_beside_udev;
use crate::service::with_units;
use crate::transport::disc_for_the_kernel;
use anyhow::Result;
use qemu_tests::{Bench, Connect, Report, Variant};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] =
    &[("mounting: a unit does it that may do nothing else, and is gone", by_a_unit)];

/// What the service of a connection is told in place of mounting: nothing, until systemd ends it.
const HANG: &str = "[Service]\nExecStart=\nExecStart=/usr/bin/sleep infinity\nTimeoutStartSec=1s\n";
const NO_WAIT: &str = "[transport.iso]\nwait = \"0s\"\nsettle = \"0s\"\n";

fn says(what: &str) -> impl Fn(&Report) -> bool + '_ {
    move |report| report.failure.as_ref().is_some_and(|failure| failure.message.contains(what))
}

fn by_a_unit(bench: &Bench<'_>) -> Result<()> {
    let files = with_units(&format!("{PARAMETERS}{NO_WAIT}method = \"mount\"\n"));
    let on_disc = [("ovf-env.xml", DOCUMENT.as_bytes()), ("ovffiles/a.txt", b"file")];
    let mut vm = bench.debian(Some(&bench.iso(Variant::Full, &on_disc)?), Connect::BeforeBoot)?;
    vm.put(&files)?;
    vm.run("systemctl daemon-reload")?;
    let before = vm.run("cat /proc/mounts")?;
    vm.run("systemctl start ovf-agent")?;
    vm.report(stage("ready"), soon())?;
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, CONFIGURED);
    let may = vm.run("systemctl show --property CapabilityBoundingSet,Listen ovf-agent")?;
    assert!(may.contains("cap_fowner") && !may.contains("cap_sys_admin"), "{may}");
    // Who mounts is not told by the agent alone.
    vm.run("journalctl --boot -u 'ovf-agent-mount@*' --grep Finished > /dev/null")?;
    // The files beside the document come the same way.
    let without = "systemd-run --quiet --wait --pipe --property CapabilityBoundingSet=~CAP_SYS_ADMIN";
    let listed = vm.run(&format!("{without} ovf-agent env --files --log debug 2>&1"))?;
    assert!(listed.contains("options=ro,nosuid,nodev,noexec"), "what the kernel says of the mount: {listed}");
    assert!(listed.ends_with("         4  ovffiles/a.txt\n"), "{listed}");
    let left = "systemctl list-units --all --plain --no-legend 'ovf-agent-mount@*' '*mount*.slice'
        diff /proc/mounts - <<EOF\n";
    assert_eq!(vm.run(&format!("{left}{before}EOF"))?, "");
    assert_eq!(vm.run("stat --format '%A %U' /run/ovf-agent/mount")?, "srw------- root\n");
    // Nobody is to learn from what lies about what was on the disc.
    assert_eq!(vm.run("grep -rl 10.20.132.102 /run/ovf-agent /run/systemd/system || true")?, "");

    // The agent cannot read this one, and the kernel can.
    vm.run(
        "sed -i 's/^method = .*/method = \"auto\"/' /etc/ovf-agent/agent.toml; systemctl restart ovf-agent",
    )?;
    vm.report(stage("ready"), soon())?;
    let other = disc_for_the_kernel(bench, &DOCUMENT.replace("10.20.132.102", "10.20.132.104"))?;
    change_beside_udev(&mut vm, "cd0", &other)?;
    vm.report(|report| report.stage == "ready" && report.generation == 2, soon())?;
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, CONFIGURED.replace("102", "104"));

    // One that hangs is ended, and one that is not there is missed; both are said with the drive, and with what was read.
    vm.run(&format!(
        "mkdir /run/systemd/system/ovf-agent-mount@.service.d
        printf '{}' > /run/systemd/system/ovf-agent-mount@.service.d/hang.conf
        systemctl daemon-reload; systemctl restart ovf-agent",
        HANG.replace('\n', "\\n")
    ))?;
    let silent =
        "and the kernel says: cannot mount /dev/sr0: ovf-agent-mount@.service does not answer; journalctl";
    vm.report(says(silent), soon())?;
    vm.run(
        "systemctl stop ovf-agent ovf-agent-mount.socket; systemctl mask ovf-agent-mount.socket; systemctl start ovf-agent",
    )?;
    let missed =
        "and the kernel says: cannot mount /dev/sr0: mounting needs CAP_SYS_ADMIN, or ovf-agent-mount.socket";
    vm.report(says(missed), soon())?;
    assert_eq!(vm.run("[ -e /run/ovf-agent/mount ] || echo gone")?, "gone\n");

    // Root in a shell needs nobody for it.
    vm.run("sed -i 's/^method = .*/method = \"mount\"/' /etc/ovf-agent/agent.toml")?;
    assert_eq!(vm.run("ovf-agent get ip --source iso:/dev/sr0")?, "10.20.132.104\n");
    Ok(())
}
