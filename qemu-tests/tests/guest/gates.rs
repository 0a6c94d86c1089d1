//! What a guest waits for: each kind of gate, shut and then open; lost and regained; and nothing that keeps others waiting.

use crate::Test;
use crate::appliance::{
    Activity, DOCUMENT, OPTIONAL_PARAMETERS, PARAMETERS, activity, appliance, soon, stage, start_agent,
};
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Report, Vm};
use serde_json::json;
use std::time::{Duration, Instant};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    (
        "gates: systemd's units, not there, starting, killed, restarting, and after systemd has executed itself anew",
        units,
    ),
    (
        "gates: two guests wait for each other's port, wherever the environment says that the other is",
        rendezvous,
    ),
    ("gates: a black hole and a program that sleeps keep nobody waiting", patient),
    ("gates: files, ports, URLs and programs are shut with a code, and then open", kinds),
    ("gates: a port that closes is noticed where there is a recheck, and a file without one", lost),
    ("gates: what is not there in time is a failure with the list, and may come right by itself", late),
];

/// Serves a port, and says which process does.
fn serve(vm: &mut Vm, address: &str) -> Result<qemu_tests::Job> {
    vm.run("mkdir -p /www")?;
    let job = vm.spawn(&format!("exec httpd -f -p {address} -h /www"))?;
    let (ip, port) = address.split_once(':').context("an address and a port")?;
    vm.run(&format!("until nc {ip} {port} < /dev/null; do usleep 10000; done"))?;
    Ok(job)
}

fn codes(report: &Report) -> Vec<(&str, &str)> {
    report.unmet.iter().map(|unmet| (unmet.gate.as_str(), unmet.code.as_str())).collect()
}

/// Whether the gates that are shut are these, each with its code.
fn unmet<'a>(stage: &'a str, want: &'a [(&'a str, &'a str)]) -> impl Fn(&Report) -> bool + 'a {
    move |report| report.stage == stage && codes(report) == want
}

fn guest(bench: &Bench<'_>, ready: &str) -> Result<Vm> {
    let mut vm = bench.guest(None, Connect::BeforeBoot)?;
    vm.put(&appliance(&format!("{OPTIONAL_PARAMETERS}\n[ready]\n{ready}\n")))?;
    vm.run("ip link set lo up")?;
    Ok(vm)
}

fn kinds(bench: &Bench<'_>) -> Result<()> {
    let ready = r#"files = ["/run/mydb/deep/ready"]
        tcp = ["127.0.0.1:5432"]
        http = ["http://127.0.0.1:8080/health"]
        commands = [["/bin/failing", "a word"], ["/bin/slow"], ["/bin/missing"]]
        command-timeout = "1s""#;
    let mut vm = guest(bench, ready)?;
    let program = |text: &str| format!("#!/bin/sh\n{text}\n").into_bytes();
    vm.put(
        &qemu_tests::Files::new()
            .with_program("/bin/failing", program("[ -e /run/good ] || { echo no; exit 3; }"))
            .with_program("/bin/slow", program("[ -e /run/good ] || exec sleep 60")),
    )?;
    start_agent(&mut vm)?;
    let (file, tcp) = ("file /run/mydb/deep/ready", "tcp 127.0.0.1:5432");
    let http = "http http://127.0.0.1:8080/health";
    let (failing, slow, missing) =
        ("command /bin/failing a word", "command /bin/slow", "command /bin/missing");
    let shut = [
        (file, "FileMissing"),
        (tcp, "ConnectionRefused"),
        (http, "ConnectionRefused"),
        (failing, "CommandFailed"),
        (slow, "CommandTimedOut"),
        (missing, "CommandMissing"),
    ];
    let report = vm.report(unmet("waiting", &shut), soon())?.report;
    let reason = &report.unmet[3].reason;
    assert_eq!(reason, "ended with exit status 3; what it said is in /run/ovf-agent/gate-4.log");
    assert_eq!(vm.run("cat /run/ovf-agent/gate-4.log; stat -c %a /run/ovf-agent/gate-4.log")?, "no\n600\n");
    assert_eq!(
        report.unmet[4].reason,
        "did not end within 1 s; what it said is in /run/ovf-agent/gate-5.log"
    );

    vm.run("mkdir /run/mydb && mkdir /run/mydb/deep && touch /run/mydb/deep/ready")?;
    vm.report(unmet("waiting", &shut[1..]), soon())?;
    serve(&mut vm, "127.0.0.1:5432")?;
    serve(&mut vm, "127.0.0.1:8080")?;
    let report = vm.report(|it| it.unmet.len() == 4 && codes(it)[0] == (http, "HttpStatus"), soon())?.report;
    assert_eq!(report.unmet[0].reason, "status 404");
    vm.run("echo fine > /www/health; printf '#!/bin/sh\n' > /bin/missing; chmod 755 /bin/missing; touch /run/good")?;
    vm.report(stage("ready"), soon())?;
    assert_eq!(
        vm.run("ls /run/ovf-agent/*.log 2> /dev/null || true")?,
        "",
        "nothing is left of those that are content"
    );

    // What is configured next is what counts, and here is no systemd.
    vm.put(
        &qemu_tests::Files::new()
            .with("/etc/ovf-agent/agent.d/1.toml", "[ready]\nunits = [\"mydb.service\"]\n"),
    )?;
    vm.run("kill -HUP $(pidof ovf-agent)")?;
    vm.report(unmet("waiting", &[("unit mydb.service", "NoSystemd")]), soon())?;
    Ok(())
}

fn lost(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, "files = [\"/run/ready\"]\ntcp = [\"127.0.0.1:5432\"]\nrecheck = \"1s\"")?;
    let hook = b"#!/bin/sh\necho ready >> /run/hooks\n".to_vec();
    vm.put(&qemu_tests::Files::new().with_program("/etc/ovf-agent/hooks.d/ready/10-say", hook))?;
    vm.run("touch /run/ready")?;
    let server = serve(&mut vm, "127.0.0.1:5432")?;
    let agent = start_agent(&mut vm)?;
    vm.report(stage("ready"), soon())?;
    let hooks = |vm: &mut Vm, times: usize| -> Result<()> {
        vm.run(&format!("until [ $(grep -c ready /run/hooks) -ge {times} ]; do usleep 10000; done"))?;
        assert_eq!(vm.run("cat /run/hooks")?, "ready\n".repeat(times));
        Ok(())
    };
    hooks(&mut vm, 1)?;
    vm.run(&format!("kill {}", server.pid))?;
    let report = vm.report(stage("degraded"), soon())?.report;
    assert_eq!(codes(&report), [("tcp 127.0.0.1:5432", "ConnectionRefused")]);
    assert!(!report.ready && report.deadline_ms.is_none() && report.failure.is_none(), "{report:?}");
    serve(&mut vm, "127.0.0.1:5432")?;
    vm.report(stage("ready"), soon())?;
    hooks(&mut vm, 2)?;

    // Without a recheck nothing wakes the agent up but the file that goes, and comes.
    vm.run("sed -i /recheck/d /etc/ovf-agent/agent.toml; kill -HUP $(pidof ovf-agent)")?;
    vm.report(stage("ready"), soon())?;
    hooks(&mut vm, 3)?;
    assert_eq!(activity(&mut vm, &agent, 3)?, Activity { switches: 0, ticks: 0 });
    vm.run("touch /run/other; mv /run/ready /run/away")?;
    let report = vm.report(unmet("degraded", &[("file /run/ready", "FileMissing")]), soon())?.report;
    vm.run("touch /run/ready; rm /run/ready; touch /run/ready")?;
    let back = vm.report(stage("ready"), soon())?.report;
    assert_eq!(back.seq, report.seq + 1, "what comes and goes within a moment is one change");
    hooks(&mut vm, 4)?;
    Ok(())
}

fn late(bench: &Bench<'_>) -> Result<()> {
    let mut vm =
        guest(bench, "files = [\"/run/a\", \"/run/b\"]\ntcp = [\"127.0.0.1:5432\"]\ntimeout = \"1s\"")?;
    let agent = start_agent(&mut vm)?;
    let failed = vm.report(stage("failed"), soon())?.report;
    let failure = failed.failure.context("why it failed")?;
    assert_eq!(
        (failure.stage.as_str(), failure.code.as_str(), failure.r#final),
        ("gates", "GatesTimedOut", true)
    );
    assert_eq!(
        failure.message,
        "not ready in time: file /run/a: does not exist; file /run/b: does not exist; tcp 127.0.0.1:5432: \
         Connection refused (os error 111)"
    );
    assert_eq!((failed.unmet.len(), failed.deadline_ms), (3, None));
    assert_eq!(
        activity(&mut vm, &agent, 2)?,
        Activity { switches: 0, ticks: 0 },
        "nothing is tried any more"
    );
    serve(&mut vm, "127.0.0.1:5432")?;
    vm.run("touch /run/a")?;
    vm.report(unmet("failed", &[("file /run/b", "FileMissing")]), soon())?;
    vm.run("touch /run/b")?;
    let ready = vm.report(stage("ready"), soon())?.report;
    assert!(ready.failure.is_none() && ready.unmet.is_empty(), "{ready:?}");
    Ok(())
}

/// A network card of this guest's, by these options of its other end.
fn network(vm: &mut Vm, mac: &str, netdev: Option<serde_json::Value>) -> Result<()> {
    vm.run("load virtio_net")?;
    let mut device = json!({ "driver": "virtio-net-pci", "mac": mac });
    if let Some(netdev) = netdev {
        vm.qmp.execute("netdev_add", netdev)?;
        device["netdev"] = "net".into();
    }
    vm.qmp.execute("device_add", device)?;
    vm.run("until [ -e /sys/class/net/eth0 ]; do usleep 10000; done").map(drop)
}

fn patient(bench: &Bench<'_>) -> Result<()> {
    let ready = "tcp = [\"10.9.0.9:80\"]\ncommands = [[\"/bin/sleep\", \"60\"]]";
    let mut vm = guest(bench, ready)?;
    let hook = b"#!/bin/sh\n[ ! -e /run/asleep ] || exec sleep 60\n".to_vec();
    vm.put(&qemu_tests::Files::new().with_program("/etc/ovf-agent/hooks.d/after-apply/10-sleep", hook))?;
    // Nobody is asked for the address, and nobody is there: what is sent is gone.
    network(&mut vm, "52:54:00:00:00:01", None)?;
    vm.run("ip addr add 10.9.0.1/24 dev eth0; ip link set eth0 arp off; ip link set eth0 up")?;
    start_agent(&mut vm)?;
    let shut = [("tcp 10.9.0.9:80", "NoAnswerYet"), ("command /bin/sleep 60", "NoAnswerYet")];
    vm.report(unmet("waiting", &shut), soon())?;
    let ask = |vm: &mut Vm, id: &str| -> Result<Duration> {
        let begun = Instant::now();
        vm.host.send(&json!({ "type": "query", "id": id }))?;
        let answer = vm.host.answer(id, soon())?;
        assert_eq!(answer["ok"], true, "{answer}");
        Ok(begun.elapsed())
    };
    let while_waiting = ask(&mut vm, "1")?;
    vm.report(|report| codes(report)[0].1 == "ConnectionTimedOut", soon())?;
    // And while a pass waits for a hook.
    vm.run("touch /run/asleep")?;
    vm.host.send(&json!({ "type": "environment", "id": "a", "document": DOCUMENT }))?;
    vm.report(stage("configuring"), soon())?;
    let while_applying = ask(&mut vm, "2")?;
    bench.measured(format!("{} ms, {} ms", while_waiting.as_millis(), while_applying.as_millis()));
    assert!(
        while_waiting.max(while_applying) < Duration::from_secs(10),
        "{while_waiting:?} {while_applying:?}"
    );
    Ok(())
}

fn rendezvous(bench: &Bench<'_>) -> Result<()> {
    let gates = "[ready]\nentities = [{ key = \"com.mydb.db.ip\", port = 5432 }]\n";
    let document = |own: u8, other: &str| {
        let ids = if own == 1 { ["DB1", "DB2"] } else { ["DB2", "DB1"] };
        let document = DOCUMENT.replace("\"DB1\"", "\"own\"").replace("\"DB2\"", &format!("\"{}\"", ids[1]));
        document
            .replace("\"own\"", &format!("\"{}\"", ids[0]))
            .replace("10.20.132.103", other)
            .replace("10.20.132.102", &format!("10.9.0.{own}"))
    };
    // A sibling's name is no address, but it may be a parameter.
    let peer =
        PARAMETERS.replace(r#"com.mydb.db.ip", type = "ipv4" }"#, r#"com.mydb.db.ip", type = "string" }"#);
    let configuration = format!("{peer}{gates}");
    // Each end of the wire is a socket, and knows the other's path.
    let wires = [bench.file("")?, bench.file("")?];
    wires.iter().try_for_each(std::fs::remove_file)?;
    let mut guests = Vec::new();
    for own in [1, 2] {
        let (here, there) = (&wires[usize::from(own) - 1], &wires[2 - usize::from(own)]);
        let disc = bench.environment(&document(own, &format!("10.9.0.{}", 3 - own)))?;
        let mut vm = bench.guest(Some(&disc), Connect::BeforeBoot)?;
        vm.put(&appliance(&configuration))?;
        let netdev = json!({
            "type": "dgram", "id": "net",
            "local": { "type": "unix", "path": here }, "remote": { "type": "unix", "path": there },
        });
        network(&mut vm, &format!("52:54:00:00:00:0{own}"), Some(netdev))?;
        vm.run(&format!("ip addr add 10.9.0.{own}/24 dev eth0; ip link set eth0 up"))?;
        guests.push(vm);
    }
    let [one, two] = &mut guests[..] else { unreachable!("two") };
    for vm in [&mut *one, &mut *two] {
        start_agent(vm)?;
    }
    let first = one.report(stage("waiting"), soon())?.report;
    assert_eq!(codes(&first)[0].0, "entity DB2 com.mydb.db.ip:5432");
    one.report(unmet("waiting", &[("entity DB2 com.mydb.db.ip:5432", "ConnectionRefused")]), soon())?;
    two.report(unmet("waiting", &[("entity DB1 com.mydb.db.ip:5432", "ConnectionRefused")]), soon())?;
    serve(one, "10.9.0.1:5432")?;
    two.report(stage("ready"), soon())?;
    assert_eq!(one.host.reports().last().context("a report")?.report.stage, "waiting");
    serve(two, "10.9.0.2:5432")?;
    one.report(stage("ready"), soon())?;
    // Where the other is, the environment says that was applied last.
    one.host.send(&json!({ "type": "environment", "id": "1", "document": document(1, "db2.example") }))?;
    let report = one.report(|report| report.stage == "waiting" && report.source == "channel", soon())?.report;
    assert_eq!(codes(&report), [("entity DB2 com.mydb.db.ip:5432", "AddressInvalid")]);
    one.host.send(&json!({ "type": "environment", "id": "2", "document": document(1, "10.9.0.2") }))?;
    one.report(stage("ready"), soon())?;
    let log = one.console.text();
    let gates = log.lines().filter(|line| line.contains("entity DB2")).count();
    assert!(gates > 0 && !log.contains("10.9.0.2"), "the address is a property's value: {log}");
    Ok(())
}

fn units(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.debian(None, Connect::BeforeBoot)?;
    let ready = "[ready]\nunits = [\"mydb.service\", \"once.service\"]\ncommands = [[\"/usr/bin/test\", \"-e\", \"/run/good\"]]\n";
    vm.put(&appliance(&format!("{OPTIONAL_PARAMETERS}{ready}")))?;
    let agent = start_agent(&mut vm)?;
    let (mydb, once) = ("unit mydb.service", "unit once.service");
    let command = ("command /usr/bin/test -e /run/good", "CommandFailed");
    vm.report(unmet("waiting", &[(mydb, "UnitNotFound"), (once, "UnitNotFound"), command]), soon())?;
    let service = "[Service]\nType=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'until [ -e /run/go ]; do sleep 0.05; \
                   done; systemd-notify --ready; exec sleep infinity'\n";
    let oneshot = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n";
    vm.put(
        &qemu_tests::Files::new()
            .with("/etc/systemd/system/mydb.service", service)
            .with("/etc/systemd/system/once.service", oneshot),
    )?;
    vm.run("touch /run/good; systemctl daemon-reload")?;
    vm.report(unmet("waiting", &[(mydb, "UnitInactive"), (once, "UnitInactive")]), soon())?;
    vm.run("systemctl start once; systemctl start --no-block mydb")?;
    let report = vm.report(unmet("waiting", &[(mydb, "UnitActivating")]), soon())?.report;
    assert_eq!(report.unmet[0].reason, "activating (start)");
    vm.run("touch /run/go")?;
    vm.report(stage("ready"), soon())?;
    bench.measured(format!("{:?} in 3 s", activity(&mut vm, &agent, 3)?));

    vm.run("systemctl kill --signal KILL mydb")?;
    let failed = vm.report(unmet("degraded", &[(mydb, "UnitFailed")]), soon())?.report;
    vm.run("systemctl start mydb")?;
    let ready = vm.report(stage("ready"), soon())?.report;
    assert_eq!(ready.seq, failed.seq + 1);
    vm.run("systemctl restart mydb")?;
    let again = vm.report(|report| report.stage == "ready" && report.seq > ready.seq, soon())?.report;
    // A slow machine sees it queued, and then starting: two reasons of one loss.
    assert!((2..=3).contains(&(again.seq - ready.seq)), "a restart is a loss and a return");

    // systemd closes the connection, and is connected to again.
    vm.run("systemctl daemon-reexec; systemctl stop mydb")?;
    vm.report(unmet("degraded", &[(mydb, "UnitInactive")]), soon())?;
    vm.run("systemctl start mydb")?;
    let ready = vm.report(|report| report.stage == "ready" && report.seq > again.seq, soon())?.report;
    // A service that dies and is restarted all the time is one loss.
    let restless = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=100ms\nType=exec\n\
                    ExecStart=/bin/sleep 0.1\n";
    vm.put(&qemu_tests::Files::new().with("/etc/systemd/system/mydb.service", restless))?;
    vm.run(
        "systemctl daemon-reload; systemctl restart mydb; sleep 4; systemctl show --property NRestarts mydb",
    )?;
    vm.host.send(&json!({ "type": "query", "id": "1" }))?;
    vm.host.answer("1", soon())?;
    let last = vm.host.reports().last().context("a report")?.report.clone();
    assert!(
        last.stage == "degraded" && last.seq <= ready.seq + 3,
        "{} reports: {last:?}",
        last.seq - ready.seq
    );
    Ok(())
}
