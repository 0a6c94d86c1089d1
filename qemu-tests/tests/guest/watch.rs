//! A guest that is told again: by another disc, by the port, by a signal, and by time where the first try failed.

use crate::Test;
use crate::appliance::{
    DOCUMENT, GATE, OPTIONAL_PARAMETERS, PARAMETERS, appliance, hang_up, soon, stage, start_agent, text,
};
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Report, Vm};
use serde_json::{Value, json};
use std::path::Path;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    (
        "watch: a disc that is swapped is applied, without udev; the same one again, and none, change nothing",
        swapped,
    ),
    ("watch: a document by the port is applied and answered, and outlives a start with the old disc", sent),
    ("watch: a bad document changes nothing and is answered with the reason", refused),
    ("watch: a broken disc is told of once, until there is another", broken),
    (
        "watch: what was sent outlives a reboot with the old disc, and no longer a reboot with another",
        rebooted,
    ),
    ("watch: documents and reloads that come during a pass are done after it, one by one", busy),
    ("watch: SIGHUP reads configuration and document again", reloaded),
    ("watch: a pass that failed is repeated until it succeeds", retried),
    ("watch: commands of the guest ask how far it is, wait for it, and have it read again", asked),
];

const SETTINGS: &str = "/etc/mydb/mydb.conf";

fn document(ip: &str) -> String {
    DOCUMENT.replace("10.20.132.102", ip)
}

fn settings(ip: &str) -> String {
    format!("listen = {ip}\nlog = warning\nprimary = true\n")
}

fn ready(bench: &Bench<'_>) -> Result<Vm> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&appliance(PARAMETERS))?;
    start_agent(&mut vm)?;
    vm.report(stage("ready"), soon())?;
    Ok(vm)
}

fn generation(number: u64) -> impl Fn(&Report) -> bool {
    move |report| report.generation == number && report.stage == "ready"
}

/// Sends a document and waits for the answer.
fn send(vm: &mut Vm, id: &str, document: &str) -> Result<Value> {
    vm.host.send(&json!({ "type": "environment", "id": id, "document": document }))?;
    vm.host.answer(id, soon())
}

fn swapped(bench: &Bench<'_>) -> Result<()> {
    let mut vm = ready(bench)?;
    let mut before = None;
    for (generation_then, ip) in [(2, "10.0.0.2"), (3, "10.0.0.3"), (4, "10.0.0.4")] {
        let begun = std::time::Instant::now();
        vm.change_disc(&bench.environment(&document(ip))?)?;
        let report = vm.report(generation(generation_then), soon())?.report;
        bench.measured(format!("{} ms", begun.elapsed().as_millis()));
        assert_eq!(text(&mut vm, SETTINGS)?, settings(ip));
        assert_eq!(report.changed, [SETTINGS]);
        assert_eq!(report.source, "iso:/dev/sr0");
        before = report.environment;
    }
    // Another document with the same parameters: the report has its digest, and nothing is written.
    let inode = vm.run(&format!("stat -c %i {SETTINGS}"))?;
    let with_comment = document("10.0.0.4") + "<!-- told again -->";
    vm.change_disc(&bench.environment(&with_comment)?)?;
    let report = vm.report(|report| report.environment != before, soon())?.report;
    assert_eq!((report.generation, report.stage.as_str()), (4, "ready"));
    assert_eq!(vm.run(&format!("stat -c %i {SETTINGS}"))?, inode);
    // The same disc again is no news, and one without a document is not an empty document.
    vm.change_disc(&bench.environment(&with_comment)?)?;
    vm.change_disc(&bench.iso(qemu_tests::Variant::Full, &[("other.txt", b"nothing of ours")])?)?;
    vm.change_disc(&bench.environment(&document("10.0.0.5"))?)?;
    let seq = report.seq;
    let report = vm.report(generation(5), soon())?.report;
    assert!(report.seq <= seq + 2, "nothing was said between: {} {seq}", report.seq);
    assert_eq!(text(&mut vm, SETTINGS)?, settings("10.0.0.5"));
    Ok(())
}

fn sent(bench: &Bench<'_>) -> Result<()> {
    let mut vm = ready(bench)?;
    let answer = send(&mut vm, "a", &document("10.0.0.2"))?;
    assert_eq!(answer["ok"], true, "{answer}");
    let report = vm.report(generation(2), soon())?.report;
    assert_eq!(
        (report.source.as_str(), report.stale, &report.changed[..]),
        ("channel", false, &[SETTINGS.to_owned()][..])
    );
    assert_eq!(text(&mut vm, SETTINGS)?, settings("10.0.0.2"));
    // Once more by the same name: it is answered, and not done again.
    vm.run(&format!("echo edited >> {SETTINGS}"))?;
    assert_eq!(send(&mut vm, "a", &document("10.0.0.2"))?["ok"], true);
    assert!(text(&mut vm, SETTINGS)?.ends_with("edited\n"));
    assert_eq!(send(&mut vm, "b", &document("10.0.0.2"))?["ok"], true);
    assert_eq!(text(&mut vm, SETTINGS)?, settings("10.0.0.2"), "by another it is");
    vm.report(generation(3), soon())?;

    // One that differs in nothing that is declared: vCloud's token is another one at each boot.
    let inode = vm.run(&format!("stat -c %i {SETTINGS}"))?;
    let token = "<Property oe:key=\"vCloud_reconfigToken\" oe:value=\"246124151\"/></PropertySection>";
    let with_token = document("10.0.0.2").replacen("</PropertySection>", token, 1);
    assert_eq!(send(&mut vm, "token", &with_token)?["ok"], true);
    let report = vm.host.reports().pop().context("a report")?.report;
    assert_eq!((report.stage.as_str(), report.generation), ("ready", 3));
    assert_eq!(vm.run(&format!("stat -c %i {SETTINGS}"))?, inode, "nothing was written");

    // The next process finds the old disc: what was sent stays, and the host is told to send again.
    vm.run("killall ovf-agent; while pidof ovf-agent > /dev/null; do usleep 10000; done")?;
    let agent = start_agent(&mut vm)?;
    let report = vm.report(|report| report.stage == "ready" && report.stale, soon())?.report;
    assert_eq!((report.source.as_str(), report.generation), ("channel", 3));
    assert_eq!(text(&mut vm, SETTINGS)?, settings("10.0.0.2"));
    assert_eq!(send(&mut vm, "c", &document("10.0.0.3"))?["ok"], true);
    let report = vm.report(generation(4), soon())?.report;
    assert!(!report.stale);
    // And another disc wins over what was sent.
    vm.run("killall ovf-agent; while pidof ovf-agent > /dev/null; do usleep 10000; done")?;
    vm.wait(&agent, soon())?;
    vm.change_disc(&bench.environment(&document("10.0.0.9"))?)?;
    start_agent(&mut vm)?;
    let report = vm.report(generation(5), soon())?.report;
    assert_eq!((report.source.as_str(), report.stale), ("iso:/dev/sr0", false));
    assert_eq!(text(&mut vm, SETTINGS)?, settings("10.0.0.9"));
    Ok(())
}

fn refused(bench: &Bench<'_>) -> Result<()> {
    let mut vm = ready(bench)?;
    let applied = vm.host.reports().pop().context("a report")?.report;
    for (id, document, part, code) in [
        ("1", "<Environment".to_owned(), "environment", "DocumentRefused"),
        ("2", document("hunter2").replace("\"DB1\"", "\"DB7\""), "parameters", "ParametersInvalid"),
    ] {
        let answer = send(&mut vm, id, &document)?;
        assert_eq!((&answer["ok"], &answer["error"]["stage"]), (&false.into(), &part.into()), "{answer}");
        assert_eq!(
            (&answer["error"]["code"], &answer["error"]["final"]),
            (&code.into(), &true.into()),
            "{answer}"
        );
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
        let report = vm.report(|report| report.failure.is_some(), soon())?.report;
        assert_eq!((report.stage.as_str(), report.generation), ("ready", 1), "it goes on as it was");
        // Of what is applied, and not of what was refused.
        assert_eq!((report.source.as_str(), report.id.as_str()), ("iso:/dev/sr0", "DB1"));
        assert_eq!((&report.environment, report.warnings), (&applied.environment, 0));
        assert_eq!(text(&mut vm, SETTINGS)?, settings("10.20.132.102"));
    }
    assert_eq!(send(&mut vm, "3", &document("10.0.0.2"))?["ok"], true);
    let report = vm.report(generation(2), soon())?.report;
    assert!(report.failure.is_none(), "which is over with the next that is right");
    Ok(())
}

fn broken(bench: &Bench<'_>) -> Result<()> {
    let mut vm = ready(bench)?;
    let applied = vm.host.reports().pop().context("a report")?.report;
    for (count, text) in
        [document("hunter2"), document("10.0.0.2").replace("</Environment>", "")].iter().enumerate()
    {
        vm.change_disc(&bench.environment(text)?)?;
        let report = vm.report(|report| report.failure.is_some() && report.seq > applied.seq, soon())?.report;
        let failure = report.failure.context("a failure")?;
        assert_eq!(failure.code, ["ParametersInvalid", "DocumentRefused"][count]);
        assert_eq!((report.stage.as_str(), &report.environment), ("ready", &applied.environment));
        // Whatever else is said of the drive; its second event of a swap, too.
        for _ in 0..3 {
            vm.run("echo change > /sys/block/sr0/uevent; usleep 300000")?;
        }
        vm.host.send(&json!({ "type": "query", "id": format!("{count}") }))?;
        vm.host.answer(&format!("{count}"), soon())?;
        let last = vm.host.reports().pop().context("a report")?.report;
        assert_eq!(last.seq, report.seq, "nothing more was said: {last}");
        vm.host.skip();
    }
    vm.change_disc(&bench.environment(DOCUMENT)?)?;
    let report = vm.report(|report| report.failure.is_none(), soon())?.report;
    assert_eq!((report.generation, report.environment), (1, applied.environment), "as it was before");
    Ok(())
}

/// Power on with this disc and the disk that outlives it, until the guest is ready.
fn boot(bench: &Bench<'_>, disc: &Path, disk: &Path) -> Result<Vm> {
    let machine = Machine::with_disc(Drive::Ide, disc)
        .option("-drive", format!("if=none,id=data,format=raw,file={}", disk.display()))
        .option("-device", "virtio-blk-pci,drive=data");
    let mut vm = bench.boot(&machine, &appliance(PARAMETERS), Connect::BeforeBoot)?;
    vm.run(
        "load virtio_blk crc32c_generic ext4; until [ -b /dev/vda ]; do usleep 10000; done
        mkdir -p /disk /var/lib/ovf-agent && mount -t ext4 /dev/vda /disk
        for path in /var/lib/ovf-agent /etc/mydb; do mkdir -p /disk$path; mount -o bind /disk$path $path; done",
    )?;
    start_agent(&mut vm)?;
    vm.report(stage("ready"), soon())?;
    Ok(vm)
}

fn reboot(mut vm: Vm) -> Result<()> {
    // A moment later, so that this is answered.
    vm.run("sync; (usleep 200000; reboot -f) > /dev/null 2>&1 &")?;
    vm.qmp.event("SHUTDOWN", soon()).map(drop)
}

fn rebooted(bench: &Bench<'_>) -> Result<()> {
    let (old, disk) = (bench.environment(DOCUMENT)?, bench.file("")?);
    std::fs::write(&disk, crate::apply::ext4()?)?;
    let mut vm = boot(bench, &old, &disk)?;
    assert_eq!(send(&mut vm, "1", &document("10.0.0.2"))?["ok"], true);
    let sent = vm.report(generation(2), soon())?.report;
    reboot(vm)?;

    let mut vm = boot(bench, &old, &disk)?;
    let report = vm.host.reports().pop().context("a report")?.report;
    assert_ne!(report.boot, sent.boot);
    assert_eq!((report.source.as_str(), report.stale, report.generation), ("channel", true, 2));
    assert_eq!(report.environment, sent.environment);
    assert_eq!(text(&mut vm, SETTINGS)?, settings("10.0.0.2"));
    reboot(vm)?;

    let mut vm = boot(bench, &bench.environment(&document("10.0.0.9"))?, &disk)?;
    let report = vm.host.reports().pop().context("a report")?.report;
    assert_eq!((report.source.as_str(), report.stale, report.generation), ("iso:/dev/sr0", false, 3));
    assert_eq!(text(&mut vm, SETTINGS)?, settings("10.0.0.9"));
    Ok(())
}

/// A pass that takes as long as the trial wants: its check waits for a file.
fn busy(bench: &Bench<'_>) -> Result<()> {
    let mut vm = ready(bench)?;
    let check = "#!/bin/sh\n: > /run/checking\nuntil [ -e /run/go ]; do usleep 10000; done\n";
    let template =
        "+++\npath = \"/etc/mydb/slow\"\ncheck = [\"/usr/local/bin/wait-for-it\", \"{}\"]\n+++\n{{ ip }}\n";
    vm.put(
        &Files::new()
            .with_program("/usr/local/bin/wait-for-it", check)
            .with("/etc/ovf-agent/templates/slow.tera", template),
    )?;
    let ask = |vm: &mut Vm, kind: &str, id: &str| vm.host.send(&json!({ "type": kind, "id": id }));
    ask(&mut vm, "reload", "first")?;
    vm.run("until [ -e /run/checking ]; do usleep 10000; done")?;
    vm.put(
        &Files::new()
            .with("/etc/ovf-agent/templates/more.tera", "+++\npath = \"/etc/mydb/more\"\n+++\n{{ ip }}\n"),
    )?;
    ask(&mut vm, "reload", "second")?;
    vm.host.send(&json!({ "type": "environment", "id": "third", "document": document("10.0.0.2") }))?;
    vm.change_disc(&bench.environment(&document("10.0.0.3"))?)?;
    ask(&mut vm, "query", "meanwhile")?;
    assert_eq!(vm.host.answer("meanwhile", soon())?["ok"], true, "a pass keeps no query waiting");
    assert_eq!(vm.sh("[ -e /etc/mydb/more ]")?.status, 1);
    vm.run(": > /run/go")?;
    for id in ["first", "third", "second"] {
        assert_eq!(vm.host.answer(id, soon())?["ok"], true, "{id}");
    }
    while text(&mut vm, SETTINGS)? != settings("10.0.0.3") {
        vm.report(stage("ready"), soon())?;
    }
    assert_eq!(text(&mut vm, "/etc/mydb/more")?, "10.0.0.3\n");
    assert_eq!(text(&mut vm, "/etc/mydb/slow")?, "10.0.0.3\n");
    Ok(())
}

fn reloaded(bench: &Bench<'_>) -> Result<()> {
    let mut vm = ready(bench)?;
    vm.put(
        &Files::new()
            .with("/etc/ovf-agent/templates/more.tera", "+++\npath = \"/etc/mydb/more\"\n+++\n{{ ip }}\n"),
    )?;
    hang_up(&mut vm)?;
    let report = vm.report(generation(2), soon())?.report;
    assert_eq!(report.changed, ["/etc/mydb/more"]);
    // A configuration that is broken now: what was applied stays, and the old one goes on to be used.
    vm.run("mv /etc/ovf-agent/agent.toml /run; echo nonsense > /etc/ovf-agent/agent.toml")?;
    hang_up(&mut vm)?;
    let report = vm.report(|report| report.failure.is_some(), soon())?.report;
    assert_eq!((report.stage.as_str(), report.generation), ("ready", 2));
    assert_eq!(send(&mut vm, "1", &document("10.0.0.2"))?["ok"], true);
    vm.report(generation(3), soon())?;
    Ok(())
}

fn retried(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&appliance(OPTIONAL_PARAMETERS))?;
    vm.run("rm -r /etc/mydb")?;
    start_agent(&mut vm)?;
    let report = vm.report(stage("failed"), soon())?.report;
    let failure = report.failure.context("a failure")?;
    assert!(!failure.r#final, "another try is on its way: {failure:?}");
    vm.run("mkdir /etc/mydb")?;
    vm.report(generation(1), soon())?;
    assert_eq!(text(&mut vm, SETTINGS)?, settings("10.20.132.102"));
    Ok(())
}

fn asked(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::Later)?;
    vm.put(&appliance(&format!("{PARAMETERS}{GATE}")))?;
    let nobody = vm.sh("ovf-agent status")?;
    assert_eq!(nobody.status, 75);
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no `ovf-agent run` is running here"));
    start_agent(&mut vm)?;
    vm.run("until [ -S /run/ovf-agent/control ]; do usleep 10000; done")?;
    vm.run("ovf-agent status --wait configured --timeout 60s")?;
    let waiting = vm.sh("ovf-agent status --wait ready --timeout 100ms")?;
    assert_eq!(waiting.status, 75);
    assert!(String::from_utf8_lossy(&waiting.stdout).contains("file /run/mydb.ready: does not exist"));
    // One who waits hears of it when it is so.
    let waiter = vm.spawn("ovf-agent status --wait ready --timeout 60s > /run/said")?;
    vm.run("usleep 300000; : > /run/mydb.ready")?;
    assert_eq!(vm.wait(&waiter, soon())?, 0);
    assert_eq!(vm.run("cat /run/said")?, "DB1: ready, generation 1, from iso:/dev/sr0\n");

    vm.put(
        &Files::new()
            .with("/etc/ovf-agent/templates/more.tera", "+++\npath = \"/etc/mydb/more\"\n+++\n{{ ip }}\n"),
    )?;
    assert_eq!(vm.run("ovf-agent reload")?, "DB1: ready, generation 2, from iso:/dev/sr0\n");
    assert_eq!(vm.run("cat /etc/mydb/more")?, "10.20.132.102\n", "which is done when it is answered");
    vm.run("echo nonsense >> /etc/ovf-agent/agent.toml")?;
    let refused = vm.sh("ovf-agent reload")?;
    assert_eq!(refused.status, 78);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("agent.toml:"));
    // Nobody but root is heard, and one who does not read is not waited for.
    vm.run(
        "echo nobody:x:65534:65534::/:/bin/sh >> /etc/passwd; ! su nobody -c 'ovf-agent status' 2> /dev/null",
    )?;
    Ok(())
}
