//! A guest that is told again: by another disc, by the port, by a signal, and by time where the first try failed.

use crate::Test;
use crate::appliance::{
    DOCUMENT, GATE, OPTIONAL_PARAMETERS, PARAMETERS, appliance, soon, stage, start_agent, text,
};
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Report, Vm};
use serde_json::{Value, json};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    (
        "watch: a disc that is swapped is applied, without udev; the same one again, and none, change nothing",
        swapped,
    ),
    ("watch: a document by the port is applied and answered, and outlives a start with the old disc", sent),
    ("watch: a bad document changes nothing and is answered with the reason", refused),
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
    for (id, document, part, code) in [
        ("1", "<Environment".to_owned(), "environment", "DocumentRefused"),
        ("2", document("hunter2"), "parameters", "ParametersInvalid"),
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
        assert_eq!(report.source, "iso:/dev/sr0", "which is where what is applied came from");
        assert_eq!(text(&mut vm, SETTINGS)?, settings("10.20.132.102"));
    }
    assert_eq!(send(&mut vm, "3", &document("10.0.0.2"))?["ok"], true);
    let report = vm.report(generation(2), soon())?.report;
    assert!(report.failure.is_none(), "which is over with the next that is right");
    Ok(())
}

fn reloaded(bench: &Bench<'_>) -> Result<()> {
    let mut vm = ready(bench)?;
    vm.put(
        &qemu_tests::Files::new()
            .with("/etc/ovf-agent/templates/more.tera", "+++\npath = \"/etc/mydb/more\"\n+++\n{{ ip }}\n"),
    )?;
    vm.run("killall -HUP ovf-agent")?;
    let report = vm.report(generation(2), soon())?.report;
    assert_eq!(report.changed, ["/etc/mydb/more"]);
    // A configuration that is broken now: what was applied stays, and the old one goes on to be used.
    vm.run("mv /etc/ovf-agent/agent.toml /run; echo nonsense > /etc/ovf-agent/agent.toml; killall -HUP ovf-agent")?;
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
        &qemu_tests::Files::new()
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
