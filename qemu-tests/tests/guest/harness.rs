//! The harness itself, in guests that run busybox alone: what every other trial relies on.

use crate::Test;
use crate::appliance::{activity, soon};
use anyhow::Result;
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Variant, Vm};
use std::time::Duration;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("harness: what a guest program says on its port reaches the host and is acknowledged", frames),
    ("harness: scripts, jobs and files pass through the control shell", |bench| {
        control(bench.guest(None, Connect::Later)?)
    }),
    ("harness: scripts, jobs and files pass through the control shell of a Debian guest", |bench| {
        control(bench.debian(None, Connect::Later)?)
    }),
    ("harness: a busy program is seen to be busy", busy),
    ("harness: drives can be plugged into a running guest and discs changed", discs),
    ("harness: a real boot runs what the test brought along", boot),
];

/// Opens the agent's port as descriptor 4.
const OPEN_PORT: &str = r#"
for name in /sys/class/virtio-ports/*/name; do
    [ "$(cat $name)" = org.ovf.agent.0 ] && exec 4<>/dev/$(basename ${name%/name})
done
"#;

/// Waits in the guest for `/dev/sr0`.
const AWAIT_DRIVE: &str = "until [ -b /dev/sr0 ]; do usleep 20000; done";

fn frames(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(None, Connect::BeforeBoot)?;
    let script = r#"
        printf '\n{"type":"report","boot":"b","session":"s","seq":1,"st' >&4
        printf '\n{"type":"report","boot":"b","session":"s","seq":2,"stage":"starting"}\n' >&4
        printf '\n{"type":"answer","to":"7"}\n' >&4
        printf '\n{"type":"report","boot":"b","session":"s","seq":3,"stage":"ready","ready":true}\n' >&4
        while read -r line <&4; do
            case $line in *'"seq":3'*) echo "$line"; exit;; esac
        done"#;
    let acknowledgement = vm.run(&format!("{OPEN_PORT}{script}"))?;
    let acknowledgement: serde_json::Value = serde_json::from_str(&acknowledgement)?;
    assert_eq!(acknowledgement, serde_json::json!({"type": "ack", "boot": "b", "session": "s", "seq": 3}));

    let ready = vm.report(|report| report.ready, soon())?;
    assert_eq!((ready.report.stage.as_str(), ready.report.seq, ready.connection), ("ready", 3, 1));
    assert_eq!(vm.host.reports().len(), 2, "the torn report and the answer are none");
    assert_eq!(vm.host.flaws(), (1, 0), "the report that was cut short is the only flaw");

    // Another connection of the same host: the guest's program sees the first one end, and goes on.
    vm.host.disconnect();
    vm.host.connect()?;
    let again = r#"printf '\n{"type":"report","boot":"b","session":"s","seq":4,"stage":"ready"}\n' >&4"#;
    vm.run(&format!("{OPEN_PORT}{again}"))?;
    assert_eq!(vm.report(|report| report.seq == 4, soon())?.connection, 2);
    let missing = vm.report(|report| report.stage == "never", Duration::ZERO).expect_err("nobody says so");
    assert!(missing.to_string().contains("3 reports, 1 torn frames\n  connection 1, seq 2"), "{missing}");
    Ok(())
}

fn control(mut vm: Vm) -> Result<()> {
    let output = vm.sh("echo out; echo err >&2; exit 3")?;
    assert_eq!((output.status, &output.stdout[..], &output.stderr[..]), (3, &b"out\n"[..], &b"err\n"[..]));
    let failure = vm.run("cat /nowhere").expect_err("there is no such file").to_string();
    assert!(failure.contains("cat /nowhere") && failure.contains("No such file"), "{failure}");

    let bytes: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    vm.put(
        &Files::new().with("/etc/a/some.bytes", bytes.clone()).with_program("/etc/a/program", "#!/bin/sh\n"),
    )?;
    assert_eq!(vm.get("/etc/a/some.bytes")?, bytes);
    vm.run("chown mydb:mydb /etc/a/program; chmod 0640 /etc/a/program; touch -d @1000 /etc/a/program")?;
    let tree = vm.tree("/etc/a")?;
    assert_eq!(tree.keys().collect::<Vec<_>>(), [".", "program", "some.bytes"]);
    let program = &tree["program"];
    assert_eq!((program.mode, program.uid, program.gid, program.mtime), (0o640, 400, 400, 1000));

    let job = vm.spawn("echo $$; exec sleep 1000")?;
    assert_eq!(vm.output(&job)?.trim(), job.pid.to_string(), "the job's pid is its program's");
    vm.run(&format!("kill -TERM {}", job.pid))?;
    assert_eq!(vm.wait(&job, soon())?, 128 + 15, "the job's status is its program's");
    Ok(())
}

/// What the trials that find nothing rely on.
fn busy(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(None, Connect::Later)?;
    let waking = vm.spawn("while :; do usleep 100000; done")?;
    assert!(activity(&mut vm, &waking, 2)?.switches >= 10, "more than any trial that finds nothing allows");
    vm.run(&format!("kill {}", waking.pid))?;
    let spinning = vm.spawn("while :; do :; done")?;
    assert!(
        activity(&mut vm, &spinning, 1)?.ticks >= 20,
        "far more than any trial that finds nothing allows"
    );
    Ok(())
}

fn discs(bench: &Bench<'_>) -> Result<()> {
    let first = bench.iso(Variant::Full, &[("name", b"first")])?;
    let second = bench.iso(Variant::Plain, &[("name", b"second")])?;
    let read = "mkdir -p /tmp/d; mount -t iso9660 -o ro /dev/sr0 /tmp/d && cat /tmp/d/name && umount /tmp/d";

    let mut vm = bench.guest_without_drive(Connect::Later)?;
    vm.run("[ ! -e /dev/sr0 ]")?;
    vm.plug_drive(&first)?;
    assert_eq!(vm.run(&format!("{AWAIT_DRIVE}; {read}"))?, "first");

    let mut vm = bench.guest(Some(&first), Connect::Later)?;
    assert_eq!(vm.run(read)?, "first", "as if it had been there at boot");
    vm.change_disc(&second)?;
    let again = "until dd if=/dev/sr0 of=/dev/null bs=2048 count=1; do usleep 20000; done 2>/dev/null";
    assert_eq!(vm.run(&format!("{again}; {read}"))?, "second");

    let mut vm = bench.guest(None, Connect::Later)?;
    assert_ne!(vm.sh(read)?.status, 0, "the drive is empty");
    Ok(())
}

fn boot(bench: &Bench<'_>) -> Result<()> {
    let disc = bench.iso(Variant::Full, &[("name", b"disc")])?;
    let rc = format!(
        "#!/bin/sh\n{OPEN_PORT}printf '\\n{{\"type\":\"report\",\"stage\":\"ready\"}}\\n' >&4\necho done\n"
    );
    let files = Files::new().with_program("/etc/rc", rc);
    let mut vm = bench.boot(&Machine::with_disc(Drive::Ide, disc), &files, Connect::BeforeBoot)?;
    vm.report(|report| report.stage == "ready", soon())?;
    assert_eq!(vm.run("blkid /dev/sr0 >&2; cat /sys/block/sr0/device/model; uname -r")?.lines().count(), 2);
    assert!(vm.console.text().contains("Linux version 6."), "the console shows the boot from its start");
    Ok(())
}
