//! A guest that goes down: at the host's wish, by systemd, or not at all, since only the agent was told to end. What it says
//! of it, what its hooks are told, and who takes it down in the end.

use crate::Test;
use crate::appliance::{
    CONFIGURED, DOCUMENT, OPTIONAL_PARAMETERS, PARAMETERS, appliance, soon, stage, start_agent,
};
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Received, Vm};
use serde_json::{Value, json};
use std::time::Instant;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("stop: it is reported, hooks run one after the other whatever they do, and the machine is off", hooks),
    ("stop: at the deadline the machine goes, whatever hooks do; it halts", deadline),
    ("stop: a machine that reboots says so, and comes back as another boot", reboot),
    ("stop: a pass under way may end; one that does not is given up, and has changed nothing", passing),
    ("stop: where nothing was applied, hooks run and are told so", unapplied),
    ("stop: an init that can be told is told, and does what it has to", init),
    (
        "stop: nobody takes down what is not his, and a machine that is killed tells it from one that stops",
        refused,
    ),
    (
        "stop: the scripts of another init say that the machine goes down, and hooks run before they go on",
        other_init,
    ),
    ("stop: units hear of it after the hooks, in their order", units),
    ("stop: systemd's own shutdown runs the same hooks, and a restart of the agent none", systemd),
    ("stop: a systemd that does not answer is not waited for", silent),
    ("stop: an init and a kernel that refuse are reported, and may be asked again", stuck),
];

/// Says what it was told, and does as it is told by files.
const HOOK: &str = r#"#!/bin/sh
input=$(cat)
name=${0##*/}
echo "hook $name begins: $OVF_HOOK $OVF_STOP_ACTION ${OVF_IP-unknown}" > /dev/kmsg
case $input in
    '{"hook":"stop","generation":1,"action":"'$OVF_STOP_ACTION'","parameters":{"ip":"10.20.132.102",'*) ;;
    '{"hook":"stop","generation":0,"action":"'$OVF_STOP_ACTION'","parameters":null,"derived":null,'*) ;;
    *) echo "hook $name is told something else: $input" > /dev/kmsg ;;
esac
[ ! -e /etc/slow.conf ] || echo "hook $name sees slow.conf" > /dev/kmsg
! grep -q ovf-agent-hook- /proc/self/cgroup || echo "hook $name is a unit" > /dev/kmsg
[ ! -e /run/hang-$name ] || sleep infinity
while [ -e /run/wait-$name ]; do usleep 10000; done
echo "hook $name ends" > /dev/kmsg
[ ! -e /run/fail-$name ]
"#;

fn with_hooks(configuration: &str, hooks: &[&str]) -> Files {
    let files = appliance(configuration);
    hooks
        .iter()
        .fold(files, |files, name| files.with_program(&format!("/etc/ovf-agent/hooks.d/stop/{name}"), HOOK))
}

/// A busybox guest that is ready, with these hooks.
fn guest(bench: &Bench<'_>, hooks: &[&str]) -> Result<Vm> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&with_hooks(PARAMETERS, hooks))?;
    start_agent(&mut vm)?;
    let report = vm.report(stage("ready"), soon())?.report;
    assert!(report.line.contains(r#""accepts":["query","environment","reload","stop"]"#), "{}", report.line);
    Ok(vm)
}

fn stop(vm: &Vm, id: &str, action: &str, more: Value) -> Result<()> {
    let mut message = json!({ "type": "stop", "id": id, "action": action });
    message.as_object_mut().context("an object")?.extend(more.as_object().cloned().unwrap_or_default());
    vm.host.send(&message)
}

/// What the report says beside what a test's `Report` knows.
fn field(received: &Received, name: &str) -> Result<Value> {
    Ok(serde_json::from_str::<Value>(&received.report.line)?[name].clone())
}

/// Waits until the console has said this.
fn said(vm: &Vm, what: &str) -> Result<()> {
    let deadline = Instant::now() + soon();
    let mut lines = (0..).map_while(|index| vm.console.line(index, deadline));
    lines.find(|line| line.text.contains(what)).map(drop).with_context(|| format!("nobody said {what:?}"))
}

/// These were said in this order, and what lies between them does not matter.
fn in_order(vm: &Vm, all: &[&str]) {
    // The console's last words come after QEMU's own.
    if let Some(last) = all.last() {
        said(vm, last).unwrap_or_else(|error| panic!("{error}: {}", vm.console.text()));
    }
    let text = vm.console.text();
    let mut rest = text.as_str();
    for what in all {
        let at = rest.find(what).unwrap_or_else(|| panic!("{what:?} is not where it should be: {text}"));
        rest = &rest[at + what.len()..];
    }
}

/// How the machine went down, as QEMU tells it: by whom, and why.
fn down(vm: &mut Vm) -> Result<(bool, String)> {
    let event = vm.qmp.event("SHUTDOWN", soon())?;
    let reason = event["data"]["reason"].as_str().unwrap_or_default().to_owned();
    Ok((event["data"]["guest"] == true, reason))
}

fn off() -> (bool, String) {
    (true, "guest-shutdown".to_owned())
}

fn hooks(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, &["10-a", "20-b", "30-c"])?;
    vm.run("touch /run/wait-10-a /run/fail-20-b")?;
    stop(&vm, "9", "poweroff", json!({}))?;
    let stopping = vm.report(stage("stopping"), soon())?;
    assert_eq!((stopping.report.ready, field(&stopping, "expect")?), (false, Value::Null));
    let left = field(&stopping, "deadline_ms")?.as_u64().context("time is left")?;
    assert!((170_000..=180_000).contains(&left), "{left} ms");
    assert_eq!(vm.host.answer("9", soon())?["ok"], true);
    said(&vm, "hook 10-a begins: stop poweroff 10.20.132.102")?;

    // Everything else is too late, and the same is the same.
    stop(&vm, "10", "poweroff", json!({ "deadline_ms": 1 }))?;
    assert_eq!(vm.host.answer("10", soon())?["ok"], true);
    let other = json!({ "type": "environment", "id": "12", "document": DOCUMENT });
    stop(&vm, "11", "reboot", json!({}))?;
    vm.host.send(&other)?;
    vm.host.send(&json!({ "type": "reload", "id": "13" }))?;
    for id in ["11", "12", "13"] {
        let answer = vm.host.answer(id, soon())?;
        assert_eq!(
            (&answer["ok"], &answer["error"]["code"]),
            (&json!(false), &json!("Stopping")),
            "{answer}"
        );
    }
    vm.host.send(&json!({ "type": "query", "id": "14" }))?;
    assert_eq!(vm.host.answer("14", soon())?["ok"], true);

    vm.run("rm /run/wait-10-a")?;
    let failed = vm.report(|report| report.warnings == 1, soon())?;
    assert_eq!((failed.report.stage.as_str(), field(&failed, "deadline_ms")?), ("stopping", Value::Null));
    assert_eq!(down(&mut vm)?, off());
    in_order(&vm, &["10-a begins", "10-a ends", "20-b begins", "20-b ended with exit status 1", "30-c ends"]);
    assert!(!vm.console.text().contains("told something else"));
    let stages: Vec<_> = vm.host.reports().into_iter().map(|it| it.report.stage).collect();
    assert!(stages.iter().skip_while(|it| *it != "stopping").all(|it| it == "stopping"), "{stages:?}");
    Ok(())
}

fn deadline(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, &["10-a", "20-b"])?;
    vm.run("touch /run/hang-10-a")?;
    stop(&vm, "9", "halt", json!({ "deadline_ms": 700 }))?;
    let begun = vm.report(stage("stopping"), soon())?.report.uptime_ms;
    let end = vm.report(|report| report.warnings == 2, soon())?.report.uptime_ms;
    bench.measured(format!("hooks ended after {} ms of 700", end - begun));
    assert!((700..1700).contains(&(end - begun)), "{} ms", end - begun);
    said(&vm, "reboot: System halted")?;
    in_order(&vm, &["10-a begins", "10-a did not end within 0.", "20-b is not run: the deadline"]);
    assert!(!vm.console.text().contains("20-b begins"));
    Ok(())
}

fn reboot(bench: &Bench<'_>) -> Result<()> {
    let files = with_hooks(PARAMETERS, &["10-a"]).with_program("/etc/rc", "#!/bin/sh\nexec ovf-agent run\n");
    let disc = Machine::with_disc(Drive::Ide, bench.environment(DOCUMENT)?);
    let mut vm = bench.boot(&disc, &files, Connect::BeforeBoot)?;
    vm.qmp.execute("set-action", json!({ "reboot": "reset" }))?;
    let before = vm.report(stage("ready"), soon())?.report;
    stop(&vm, "9", "reboot", json!({}))?;
    let stopping = vm.report(stage("stopping"), soon())?;
    assert_eq!(field(&stopping, "expect")?, "reboot");
    let reset = vm.qmp.event("RESET", soon())?;
    assert_eq!(reset["data"], json!({ "guest": true, "reason": "guest-reset" }));
    let after = vm.report(stage("ready"), soon())?.report;
    assert!(after.boot != before.boot && after.session != before.session, "{before:?} {after:?}");
    assert_eq!(after.generation, 1, "its disk was in memory");
    in_order(&vm, &["hook 10-a begins: stop reboot 10.20.132.102", "hook 10-a ends", "Linux version"]);
    Ok(())
}

fn passing(bench: &Bench<'_>) -> Result<()> {
    let slow = "+++\npath = \"/etc/slow.conf\"\ncheck = [\"/bin/slow\", \"{}\"]\n+++\n{{ ip }}\n";
    let wait = "#!/bin/sh\n: > /run/slow\nuntil [ -e /run/go ]; do usleep 10000; done\n";
    for ends in [true, false] {
        let mut vm = guest(bench, &["10-a"])?;
        vm.put(
            &Files::new().with("/etc/ovf-agent/templates/slow.tera", slow).with_program("/bin/slow", wait),
        )?;
        vm.host.send(&json!({ "type": "reload", "id": "1" }))?;
        vm.run("until [ -e /run/slow ]; do usleep 10000; done")?;
        vm.host.send(&json!({ "type": "reload", "id": "2" }))?;
        stop(&vm, "9", "poweroff", if ends { json!({}) } else { json!({ "deadline_ms": 1000 }) })?;
        vm.report(stage("stopping"), soon())?;
        assert_eq!(vm.host.answer("9", soon())?["ok"], true);
        if ends {
            vm.run(": > /run/go")?;
        }
        let answer = vm.host.answer("1", soon())?;
        let code = if ends { Value::Null } else { json!("Stopping") };
        assert_eq!((&answer["ok"], &answer["error"]["code"]), (&json!(ends), &code));
        assert_eq!(vm.host.answer("2", soon())?["error"]["code"], "Stopping", "it was not begun");
        assert_eq!(down(&mut vm)?, off());
        in_order(&vm, &["10-a begins", "10-a ends"]);
        // A hook that is told of generation 2 says so.
        for sign in ["sees slow.conf", "is told something else"] {
            assert_eq!(vm.console.text().contains(sign), ends, "{sign}");
        }
    }
    Ok(())
}

fn unapplied(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(None, Connect::BeforeBoot)?;
    vm.put(&with_hooks(PARAMETERS, &["10-a"]))?;
    start_agent(&mut vm)?;
    vm.report(stage("failed"), soon())?;
    // Nor is a host waited for that never says that it has heard.
    vm.host.acknowledge(false);
    stop(&vm, "9", "poweroff", json!({}))?;
    let stopping = vm.report(stage("stopping"), soon())?.report;
    assert_eq!(stopping.failure.context("what was wrong still is")?.code, "ParametersInvalid");
    assert_eq!(down(&mut vm)?, off());
    in_order(&vm, &["hook 10-a begins: stop poweroff unknown", "hook 10-a ends"]);
    assert!(!vm.console.text().contains("told something else"));
    Ok(())
}

fn init(bench: &Bench<'_>) -> Result<()> {
    // The guest's own script but for its end, where it keeps PID 1.
    let begin = "#!/bin/sh\n/bin/busybox sed '/^while :/,$d' /init > /begin\n. /begin\n";
    let table = "::sysinit:/begin-as-init\n::respawn:/bin/control\n::shutdown:/end\n";
    let files = with_hooks(PARAMETERS, &["10-a"])
        .with_program("/etc/rc", "#!/bin/sh\nexec ovf-agent run\n")
        .with_program("/begin-as-init", begin)
        .with_program("/end", "#!/bin/sh\necho init does what it has to > /dev/kmsg\n")
        .with("/etc/inittab", table)
        .with_link("/sbin/init", "/bin/busybox");
    let machine = Machine::with_disc(Drive::Ide, bench.environment(DOCUMENT)?).kernel("rdinit=/sbin/init");
    let mut vm = bench.boot(&machine, &files, Connect::BeforeBoot)?;
    vm.report(stage("ready"), soon())?;
    stop(&vm, "9", "poweroff", json!({}))?;
    assert_eq!(vm.host.answer("9", soon())?["ok"], true);
    assert_eq!(down(&mut vm)?, off());
    in_order(&vm, &["hook 10-a ends", "init does what it has to", "Power down"]);
    assert!(!vm.console.text().contains("the kernel does"));
    Ok(())
}

fn refused(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&with_hooks(PARAMETERS, &["10-a"]).with("/run/systemd/container", "docker\n"))?;
    let agent = start_agent(&mut vm)?;
    let report = vm.report(stage("ready"), soon())?.report;
    assert!(report.line.contains(r#""accepts":["query","environment","reload"]"#), "{}", report.line);
    for (id, action, more, code) in [
        ("1", "poweroff", json!({}), "NotPermitted"),
        ("2", "explode", json!({}), "UnknownAction"),
        ("3", "poweroff", json!({ "boot": "another" }), "OtherBoot"),
    ] {
        stop(&vm, id, action, more)?;
        assert_eq!(vm.host.answer(id, soon())?["error"]["code"], code);
    }
    // Without systemd SIGTERM is the end of the agent alone.
    vm.run(&format!("kill {}", agent.pid))?;
    assert_eq!(vm.wait(&agent, soon())?, 0);
    assert_eq!(vm.run("cat /etc/mydb/mydb.conf")?, CONFIGURED);
    assert!(!vm.console.text().contains("hook"));
    vm.qmp.execute("quit", json!({}))?;
    assert_eq!(down(&mut vm)?, (false, "host-qmp-quit".to_owned()));
    Ok(())
}

fn other_init(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&with_hooks(PARAMETERS, &["10-a", "20-b"]))?;
    let agent = start_agent(&mut vm)?;
    vm.report(stage("ready"), soon())?;
    vm.run(&format!("echo reboot > /run/ovf-agent/goes-down && kill {}", agent.pid))?;
    let stopping = vm.report(stage("stopping"), soon())?;
    assert_eq!(field(&stopping, "expect")?, "reboot");
    assert_eq!(vm.wait(&agent, soon())?, 0, "the rest is not the agent's to do");
    in_order(&vm, &["10-a begins: stop reboot", "10-a ends", "20-b ends"]);
    vm.run("true")?;
    Ok(())
}

/// The agent as docs/hooks.md has it, and a service of the appliance's that needs it.
fn with_units() -> Files {
    let agent = "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\nBefore=shutdown.target\n\
        [Service]\nType=exec\nExecStart=/usr/bin/ovf-agent run\nTimeoutStopSec=190s\n";
    let service = "[Unit]\nAfter=ovf-agent.service\n[Service]\nExecStart=/usr/bin/sleep infinity\n\
        ExecStop=/bin/sh -c 'echo mydb ends > /dev/kmsg'\n";
    with_hooks(PARAMETERS, &["10-a", "20-b"])
        .with("/etc/systemd/system/ovf-agent.service", agent)
        .with("/etc/systemd/system/mydb.service", service)
}

/// A Debian guest that is ready, with both.
fn debian(bench: &Bench<'_>) -> Result<Vm> {
    let mut vm = bench.debian(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&with_units())?;
    vm.run("systemctl start ovf-agent mydb")?;
    vm.report(stage("ready"), soon())?;
    Ok(vm)
}

fn units(bench: &Bench<'_>) -> Result<()> {
    let mut vm = debian(bench)?;
    vm.run("touch /run/fail-10-a")?;
    let begun = Instant::now();
    stop(&vm, "9", "poweroff", json!({}))?;
    vm.report(stage("stopping"), soon())?;
    assert_eq!(vm.host.answer("9", soon())?["ok"], true);
    vm.report(|report| report.warnings == 1, soon())?;
    assert_eq!(down(&mut vm)?, off());
    bench.measured(format!("off after {:.1} s", begun.elapsed().as_secs_f64()));
    let order =
        ["10-a begins: stop poweroff", "10-a is a unit", "10-a ends", "20-b ends", "mydb ends", "Power down"];
    in_order(&vm, &order);
    let text = vm.console.text();
    assert_eq!(text.matches("hook 10-a begins").count(), 1, "SIGTERM runs them no second time");
    assert!(!text.contains("the kernel does") && !text.contains("told something else"), "{text}");
    Ok(())
}

fn systemd(bench: &Bench<'_>) -> Result<()> {
    let mut vm = debian(bench)?;
    let session = vm.host.reports()[0].report.session.clone();
    vm.run("systemctl restart ovf-agent")?;
    vm.report(|report| report.stage == "ready" && report.session != session, soon())?;
    let stages: Vec<_> = vm.host.reports().into_iter().map(|it| it.report.stage).collect();
    assert!(!vm.console.text().contains("hook 10-a") && !stages.contains(&"stopping".to_owned()));

    vm.run("touch /run/fail-10-a; systemctl start mydb; systemctl reboot")?;
    let stopping = vm.report(stage("stopping"), soon())?;
    assert_eq!(field(&stopping, "expect")?, "reboot");
    vm.report(|report| report.warnings == 1, soon())?;
    assert_eq!(down(&mut vm)?, (true, "guest-reset".to_owned()));
    in_order(
        &vm,
        &["10-a begins: stop reboot", "10-a is a unit", "10-a ends", "20-b is a unit", "20-b ends"],
    );
    // What is ordered after the agent is ended before it.
    in_order(&vm, &["mydb ends", "10-a begins"]);
    Ok(())
}

fn silent(bench: &Bench<'_>) -> Result<()> {
    let mut vm = debian(bench)?;
    // Its socket still takes connections.
    vm.run("echo 1 > /sys/fs/cgroup/init.scope/cgroup.freeze")?;
    stop(&vm, "9", "poweroff", json!({}))?;
    vm.report(stage("stopping"), soon())?;
    assert_eq!(down(&mut vm)?, off());
    in_order(&vm, &["10-a begins: stop poweroff", "20-b ends", "Power down"]);
    let text = vm.console.text();
    assert!(!text.contains("is a unit") && !text.contains("mydb ends"), "{text}");
    Ok(())
}

fn stuck(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.debian(None, Connect::BeforeBoot)?;
    let refuses = "#!/bin/sh\necho not now\nexit 3\n";
    vm.put(&with_hooks(OPTIONAL_PARAMETERS, &[]).with_program("/usr/local/sbin/poweroff", refuses))?;
    vm.run("systemd-run --quiet --property CapabilityBoundingSet=~CAP_SYS_BOOT /usr/bin/ovf-agent run")?;
    vm.report(stage("ready"), soon())?;
    vm.run("mv /run/systemd/system /run/systemd/elsewhere")?;
    for id in ["8", "9"] {
        stop(&vm, id, "poweroff", json!({}))?;
        vm.report(stage("stopping"), soon())?;
        assert_eq!(vm.host.answer(id, soon())?["ok"], true);
        let failure = vm.report(stage("failed"), soon())?.report.failure.context("the reason")?;
        assert_eq!((failure.code.as_str(), failure.r#final), ("StopFailed", true));
        assert!(failure.message.starts_with("the kernel refuses to take the machine down: "), "{failure:?}");
    }
    assert_eq!(vm.run("cat /run/ovf-agent/shutdown-the-machine.log")?, "not now\n");
    Ok(())
}
