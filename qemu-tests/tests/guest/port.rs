//! What a host, or the way to it, can do to the agent's port: leave in the middle, come back unseen, never read, say what is
//! nothing, say too much; a guest that reboots under it, and a port that is taken, or gone.
//!
//! Hosts that are merely away or late are tried in `platform`. The rules are those of `docs/protocol.md`.

use crate::Test;
use crate::appliance::{DOCUMENT, GATE, PARAMETERS, activity, appliance, soon, stage, start_agent, text};
use anyhow::{Context, Result, ensure};
use qemu_tests::{Bench, Connect, Drive, Job, Machine, Report, Vm};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("port: a host that stays sees reboots, and what it says during one reaches the next boot", rebooted),
    ("port: who takes another's place between two looks of the guest is heard, and so is the next", unseen),
    ("port: who sends and leaves at once was heard, as far as the line was whole", left),
    ("port: an agent that is killed in the middle of a line is followed by one that hears", killed),
    ("port: a host that never reads does not delay the guest, which keeps nothing for it", deaf),
    ("port: a host that reads a byte a second loses no answer", slow),
    ("port: what is no message is refused, and the next is heard", garbage),
    ("port: 20 MiB in a line are refused and 15 MiB applied, and neither stays in memory", large),
    ("port: a host that asks without end is answered each time, and the guest goes on meanwhile", flood),
    ("port: requests that have to wait are answered when they are met, and too many at once", waiting),
    ("port: one that is unplugged and plugged in again within an instant is used", replugged),
    ("port: one that another process has open is opened when it lets go", taken),
];

const SETTINGS: &str = "/etc/mydb/mydb.conf";

/// A guest that is ready, or waits for its gate, with the host connected.
fn guest(bench: &Bench<'_>, configuration: &str) -> Result<(Vm, Job)> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&appliance(configuration))?;
    let agent = start_agent(&mut vm)?;
    vm.report(|report| report.generation == 1 && report.stage != "configuring", soon())?;
    Ok((vm, agent))
}

fn query(id: &str) -> Vec<u8> {
    format!("\n{}\n", json!({ "type": "query", "id": id })).into_bytes()
}

/// Asks, and gives the answer.
fn ask(vm: &Vm, id: &str) -> Result<Value> {
    vm.host.send_bytes(&query(id))?;
    vm.host.answer(id, soon())
}

/// The document with another address.
fn environment(id: &str, ip: &str) -> Value {
    json!({ "type": "environment", "id": id, "document": DOCUMENT.replace("10.20.132.102", ip) })
}

/// What the agent has in memory now, and had at most, in KiB.
fn memory(vm: &mut Vm, agent: &Job) -> Result<(u64, u64)> {
    let numbers = vm.run(&format!("awk '/VmHWM|VmRSS/ {{ print $2 }}' /proc/{}/status", agent.pid))?;
    let numbers: Vec<u64> = numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let &[most, now] = numbers.as_slice() else { anyhow::bail!("not two numbers: {numbers:?}") };
    Ok((now, most))
}

fn uptime(vm: &mut Vm) -> Result<f64> {
    Ok(vm.run("cut -d ' ' -f 1 /proc/uptime")?.trim().parse()?)
}

fn rebooted(bench: &Bench<'_>) -> Result<()> {
    let files = appliance(PARAMETERS).with_program("/etc/rc", "#!/bin/sh\nexec ovf-agent run\n");
    let disc = bench.environment(DOCUMENT)?;
    let mut vm = bench.boot(&Machine::with_disc(Drive::Ide, disc), &files, Connect::BeforeBoot)?;
    vm.allow_resets()?;
    let mut boots = vec![vm.report(stage("ready"), soon())?.report.boot];
    for (round, way) in ["system_reset", "reboot"].into_iter().enumerate() {
        // Half a line that the old boot has read, and half of one that nobody has.
        vm.host.send_bytes(b"\n{\"type\":\"query\",\"id\":")?;
        ask(&vm, &format!("before-{way}"))?;
        vm.host.send_bytes(b"\n{\"type\":\"query\",\"id\":\"torn")?;
        match way {
            "system_reset" => drop(vm.qmp.execute("system_reset", json!({}))?),
            _ => drop(vm.spawn("usleep 100000; exec reboot -f")?),
        }
        vm.qmp.event("RESET", soon())?;
        vm.host.send_bytes(&query(&format!("during-{way}")))?;
        let first = vm.report(|report| !boots.contains(&report.boot), soon())?;
        assert_eq!(first.connection, 1, "the connection has stayed");
        assert_eq!(vm.host.answer(&format!("during-{way}"), soon())?["ok"], true);
        let ready = vm.report(|report| report.ready && report.boot == first.report.boot, soon())?.report;
        assert_eq!((ready.generation, ready.seq > 1), (1, true), "a guest that forgets is configured anew");
        boots.push(ready.boot);
        let (torn, unannounced) = vm.host.flaws();
        assert!(torn <= round + 1 && unannounced == 0, "{torn} torn frames, {unannounced} without a newline");
    }
    Ok(())
}

fn unseen(bench: &Bench<'_>) -> Result<()> {
    let (mut vm, agent) = guest(bench, PARAMETERS)?;
    for round in 0..10 {
        let id = format!("unseen-{round}");
        vm.while_stopped(|vm| {
            vm.host.send_bytes(b"\n{\"type\":\"query\",\"id\":\"torn")?;
            vm.host.disconnect();
            vm.host.connect()?;
            vm.host.send_bytes(&query(&id))
        })?;
        assert_eq!(vm.host.answer(&id, soon())?["ok"], true);
        vm.report(stage("ready"), soon())?;
    }
    let descriptors = |vm: &mut Vm| vm.run(&format!("ls /proc/{}/fd | wc -l", agent.pid));
    let (before, (_, most)) = (descriptors(&mut vm)?, memory(&mut vm, &agent)?);
    // Without a look at what the guest makes of each; ten at a time, since a guest that is behind has buffers for 32 words of QEMU's on
    // who has come and gone, and QEMU drops what it has no buffer for. A port that is shut for the guest then stays so.
    for round in 0..100 {
        if round % 10 == 0 {
            assert_eq!(ask(&vm, &format!("before {round}"))?["ok"], true);
        }
        vm.host.disconnect();
        vm.host.connect()?;
        match round % 4 {
            0 => vm.host.send_bytes(b"\n{\"type\":\"environment\",\"id\":\"torn\",\"document\":\"<Envi")?,
            1 => vm.host.send_bytes(&query("nobody waits"))?,
            2 => vm.host.send_bytes(b"{}")?,
            _ => {}
        }
    }
    assert_eq!(ask(&vm, "last")?["ok"], true);
    assert_eq!(vm.report(stage("ready"), soon())?.report.generation, 1);
    assert_eq!(descriptors(&mut vm)?, before);
    let (now, most_then) = memory(&mut vm, &agent)?;
    bench.measured(format!("{now} KiB after 110 hosts"));
    assert!(most_then < most + 256, "{most_then} KiB at most, {most} before");
    Ok(())
}

fn left(bench: &Bench<'_>) -> Result<()> {
    let (mut vm, agent) = guest(bench, PARAMETERS)?;
    vm.host.disconnect();
    // What `echo ... | socat` does: for QEMU that is a host that has gone, but what it sent is there.
    let mut host = vm.host.connect_deaf()?;
    host.write_all(format!("\n{}\n", environment("half", "10.0.0.2")).as_bytes())?;
    host.shutdown(Shutdown::Write)?;
    vm.run(&format!("until grep -q 10.0.0.2 {SETTINGS}; do usleep 10000; done"))?;
    drop(host);
    vm.host.connect()?;
    assert_eq!(vm.report(|report| report.generation == 2 && report.ready, soon())?.report.source, "channel");
    // The answer was for one who has gone; whoever sends the same again is answered, and nothing is done.
    vm.host.send(&environment("half", "10.0.0.2"))?;
    assert_eq!(vm.host.answer("half", soon())?["ok"], true);
    // By the same name, but another document: hosts there are that count from 1 when they start.
    vm.host.send(&environment("half", "10.0.0.3"))?;
    assert_eq!(
        vm.report(|report| report.generation == 3 && report.ready, soon())?.report.changed,
        [SETTINGS]
    );

    // Megabytes on their way in both directions.
    let (before, _) = memory(&mut vm, &agent)?;
    vm.host.disconnect();
    let mut host = vm.host.connect_deaf()?;
    host.set_write_timeout(Some(Duration::from_secs(2)))?;
    host.write_all(&query("nobody waits").repeat(3_000))?;
    // It ends where neither side takes any more.
    let much = vec![b'x'; 4 << 20];
    let _ = host.write_all(&much);
    drop(host);
    vm.host.connect()?;
    assert_eq!(ask(&vm, "after")?["ok"], true);
    let (after, most) = memory(&mut vm, &agent)?;
    bench.measured(format!("{before} KiB before, {after} after, {most} at most"));
    assert!(after < before + 1024, "{after} KiB, {before} before");
    Ok(())
}

fn killed(bench: &Bench<'_>) -> Result<()> {
    let (mut vm, agent) = guest(bench, PARAMETERS)?;
    let session = vm.report(stage("ready"), Duration::ZERO).map(|it| it.report.session);
    let session = session.unwrap_or_else(|_| vm.host.reports()[0].report.session.clone());
    // It has read some of it, and the port holds some.
    vm.host.send_bytes(b"\n{\"type\":\"environment\",\"id\":\"torn\",\"document\":\"")?;
    vm.host.send_bytes(&vec![b'x'; 300_000])?;
    vm.run(&format!("kill -KILL {}", agent.pid))?;
    assert_eq!(vm.wait(&agent, soon())?, 128 + 9);
    vm.host.send_bytes(b"xxx\"}\n")?;
    vm.host.send_bytes(&query("to the next"))?;
    start_agent(&mut vm)?;
    let next = vm.report(|report| report.session != session, soon())?.report;
    assert_eq!((next.stage.as_str(), next.seq), ("starting", 1));
    assert_eq!(vm.host.answer("to the next", soon())?["ok"], true);
    vm.report(|report| report.ready && report.session == next.session, soon())?;
    Ok(())
}

/// The guest's seconds from the start of an agent to `ready`, which its own copy of the report says.
fn time_to_ready(vm: &mut Vm) -> Result<(Job, f64)> {
    vm.run("rm -f /run/report.json")?;
    let begin = uptime(vm)?;
    let agent = vm.spawn("exec ovf-agent run --report /run/report.json > /dev/kmsg 2>&1")?;
    vm.run("until grep -q '\"ready\": *true' /run/report.json 2> /dev/null; do usleep 5000; done")?;
    Ok((agent, uptime(vm)? - begin))
}

fn deaf(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::Later)?;
    vm.put(&appliance(PARAMETERS))?;
    let mut times = [f64::MAX; 2];
    let mut last = 0;
    for round in 0..4 {
        // In turns, so that whatever else the machine does counts for both.
        let host = (round % 2 == 1).then(|| vm.host.connect_deaf()).transpose()?;
        if let Some(mut host) = host.as_ref() {
            host.write_all(&query("q").repeat(4_000))?;
        }
        vm.run("rm -f /etc/mydb/*; rm -rf /var/lib/ovf-agent")?;
        let (agent, time) = time_to_ready(&mut vm)?;
        times[round % 2] = times[round % 2].min(time);
        if round == 3 {
            let idle = activity(&mut vm, &agent, 2)?;
            assert!(idle.switches <= 6 && idle.ticks <= 1, "it keeps trying: {idle:?}");
        }
        last = memory(&mut vm, &agent)?.1;
        vm.run(&format!("kill {}", agent.pid))?;
        vm.wait(&agent, soon())?;
        drop(host);
    }
    let [alone, with] = times;
    bench.measured(format!(
        "ready after {alone:.2} s alone, {with:.2} s with such a host; at most {last} KiB"
    ));
    assert!(with < alone + 0.25, "{with} s with a host that asks and never reads, {alone} s without");
    assert!(last < 8192, "{last} KiB at most");
    Ok(())
}

fn slow(bench: &Bench<'_>) -> Result<()> {
    const ASKED: usize = 3_000;
    let (mut vm, agent) = guest(bench, &format!("{PARAMETERS}{GATE}"))?;
    vm.host.disconnect();
    let mut host = vm.host.connect_deaf()?;
    host.set_read_timeout(Some(soon()))?;
    host.set_write_timeout(Some(soon()))?;
    let asking = std::thread::spawn({
        let mut host = host.try_clone()?;
        move || (0..ASKED).try_for_each(|id| host.write_all(&query(&id.to_string())))
    });
    let (mut said, mut byte) = (Vec::new(), [0]);
    for _ in 0..3 {
        host.read_exact(&mut byte)?;
        said.push(byte[0]);
        vm.run("sleep 1")?;
    }
    vm.run("touch /run/mydb.ready; until ovf-agent status | grep -q ready,; do usleep 10000; done")?;
    let (_, most) = memory(&mut vm, &agent)?;
    let last = format!("\"to\":\"{}\"", ASKED - 1);
    let mut chunk = [0; 65536];
    while !said.ends_with(b"\n")
        || !String::from_utf8_lossy(&said[said.len().saturating_sub(200)..]).contains(&last)
    {
        let count = host.read(&mut chunk)?;
        ensure!(count > 0, "the port has ended");
        said.extend_from_slice(&chunk[..count]);
    }
    asking.join().expect("it does not panic").context("cannot ask on")?;
    let frames: Vec<Value> = said
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).with_context(|| String::from_utf8_lossy(line).into_owned()))
        .collect::<Result<_>>()?;
    let answers: Vec<_> =
        frames.iter().filter(|it| it["type"] == "answer").map(|it| it["to"].clone()).collect();
    let asked: Vec<_> = (0..ASKED).map(|id| Value::from(id.to_string())).collect();
    assert!(answers == asked, "{} answers of {ASKED}", answers.len());
    let newest = frames.iter().rfind(|it| it["type"] == "report").context("a report")?;
    assert_eq!(newest["stage"], "ready", "the newest report wins");
    bench.measured(format!("{ASKED} answers, {} KiB, at most {most} KiB in memory", said.len() / 1024));
    assert!(most < 8192, "{most} KiB at most");
    Ok(())
}

fn garbage(bench: &Bench<'_>) -> Result<()> {
    let (mut vm, agent) = guest(bench, PARAMETERS)?;
    let (_, before) = memory(&mut vm, &agent)?;
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let noise: Vec<u8> = (0..200_000)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        })
        .collect();
    let long_id = format!("\n{}\n", json!({ "type": "query", "id": "x".repeat(1 << 20) })).into_bytes();
    let deep =
        [b"\n{\"type\":\"query\",\"id\":\"deep\",\"x\":".as_slice(), &b"[".repeat(1 << 20), b"\n"].concat();
    for (name, bytes, code) in [
        ("zeros", vec![0; 65_536], Some("NotAMessage")),
        ("noise", noise, Some("NotAMessage")),
        ("newlines", vec![b'\n'; 500_000], None),
        ("short-lines", b"x\n".repeat(5_000), Some("NotAMessage")),
        ("half-a-line", b"\n{\"type\":\"query\",\"id\":\"half".to_vec(), Some("NotAMessage")),
        ("deep", deep, Some("NotAMessage")),
        ("long-id", long_id, Some("BadRequest")),
        ("number-id", b"\n{\"type\":\"query\",\"id\":5}\n".to_vec(), Some("NotAMessage")),
    ] {
        let seen = vm.host.answers().len();
        vm.host.send_bytes(&bytes)?;
        assert_eq!(ask(&vm, name)?["ok"], true, "after {name}");
        let answers = vm.host.answers().split_off(seen);
        let refused = answers.iter().find(|it| it["ok"] == false).map(|it| it["error"]["code"].clone());
        assert_eq!(refused, code.map(Value::from), "{name}");
        assert!(answers.iter().filter(|it| it["ok"] == false).all(|it| it["to"] == ""), "{name}");
        // And left in the middle of it.
        vm.host.send_bytes(&bytes[..bytes.len() / 2])?;
        vm.host.disconnect();
        vm.host.connect()?;
        assert_eq!(ask(&vm, &format!("{name}-left"))?["ok"], true);
    }
    assert_eq!(vm.host.flaws().1, 0);
    let (now, most) = memory(&mut vm, &agent)?;
    bench.measured(format!("at most {before} KiB before, {most} after; {now} now"));
    assert!(most < before + 6 * 1024 && now < before + 1024, "{now} KiB, {most} at most; {before} before");
    Ok(())
}

fn large(bench: &Bench<'_>) -> Result<()> {
    let (mut vm, agent) = guest(bench, PARAMETERS)?;
    let (before, _) = memory(&mut vm, &agent)?;
    let begin = Instant::now();
    let piece = vec![b'x'; 1 << 20];
    vm.host.send_bytes(b"\n{\"type\":\"query\",\"id\":\"")?;
    for _ in 0..20 {
        vm.host.send_bytes(&piece)?;
    }
    vm.host.send_bytes(b"\"}\n")?;
    assert_eq!(ask(&vm, "next")?["ok"], true);
    let refused = vm.host.answer("", Duration::ZERO)?;
    assert_eq!(refused["error"]["code"], "LineTooLong", "{refused}");
    let (after, most) = memory(&mut vm, &agent)?;
    bench.measured(format!(
        "20 MiB refused in {:.1} s, {most} KiB at most, {after} after",
        begin.elapsed().as_secs_f64()
    ));
    assert!(most < before + 18 * 1024 && after < before + 1024, "{before} KiB, then {after}, {most} at most");

    let begin = Instant::now();
    let document = DOCUMENT.replace("10.20.132.102", "10.0.0.2");
    let comment = format!("<PropertySection><!-- {}\n{} -->", "x".repeat(7 << 20), "y".repeat(8 << 20));
    let document = document.replacen("<PropertySection>", &comment, 1);
    vm.host.send(&json!({ "type": "environment", "id": "large", "document": document }))?;
    let answer = vm.host.answer("large", soon())?;
    assert_eq!(answer["ok"], true, "{answer}");
    assert!(text(&mut vm, SETTINGS)?.starts_with("listen = 10.0.0.2\n"));
    let (after, most) = memory(&mut vm, &agent)?;
    bench.measured(format!(
        "15 MiB applied in {:.1} s, {most} KiB at most, {after} after",
        begin.elapsed().as_secs_f64()
    ));
    assert!(most < before + 80 * 1024, "{most} KiB at most, {before} before");
    assert!(after < before + 1024, "{after} KiB, {before} before");
    Ok(())
}

fn flood(bench: &Bench<'_>) -> Result<()> {
    const ASKED: usize = 10_000;
    let (mut vm, agent) = guest(bench, &format!("{PARAMETERS}{GATE}"))?;
    let begin = Instant::now();
    let (mut opened, mut sent) = (None, None);
    for number in 0..ASKED / 100 {
        let hundred: Vec<u8> = (0..100).flat_map(|id| query(&(number * 100 + id).to_string())).collect();
        vm.host.send_bytes(&hundred)?;
        if number == 30 {
            opened = Some(Instant::now());
            vm.spawn("exec touch /run/mydb.ready")?;
        }
        if number == 60 {
            sent = Some(Instant::now());
            vm.host.send(&environment("in between", "10.0.0.2"))?;
        }
    }
    vm.host.answer(&(ASKED - 1).to_string(), soon())?;
    let took = begin.elapsed().as_secs_f64();
    assert_eq!(vm.host.answer("in between", soon())?["ok"], true);
    let ready = vm.report(stage("ready"), soon())?;
    let applied = vm.report(|report| report.generation == 2 && report.ready, soon())?;
    let answers = vm.host.answers();
    let mut ids: Vec<_> = answers.iter().filter_map(|it| it["to"].as_str()?.parse::<usize>().ok()).collect();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..ASKED), "{} of {ASKED} were answered once", ids.len());
    let (_, most) = memory(&mut vm, &agent)?;
    let after =
        |moment: Option<Instant>, report: Instant| moment.map_or(f64::MAX, |it| (report - it).as_secs_f64());
    let (gate, pass) = (after(opened, ready.at), after(sent, applied.at));
    bench.measured(format!(
        "{ASKED} answers in {took:.1} s; the gate {gate:.1} s and the pass {pass:.1} s after it was asked for; {most} KiB"
    ));
    assert!(gate < 10.0 && pass < 10.0, "the gate after {gate} s, the pass after {pass} s");
    assert!(most < 8192, "{most} KiB at most");
    Ok(())
}

fn waiting(bench: &Bench<'_>) -> Result<()> {
    const ASKED: usize = 100;
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    let template = "+++\npath = \"/etc/slow.conf\"\ncheck = [\"/bin/slow\", \"{}\"]\n+++\n{{ ip }}\n";
    let slow = "#!/bin/sh\n: > /run/slow\nuntil [ -e /run/go ]; do usleep 10000; done\n";
    let files = appliance(PARAMETERS).with("/etc/ovf-agent/templates/slow.tera", template);
    vm.put(&files.with_program("/bin/slow", slow))?;
    start_agent(&mut vm)?;
    vm.run("until [ -e /run/slow ]; do usleep 10000; done")?;
    // The first pass is under way. Each is said twice, which makes no difference.
    for id in (0..ASKED).flat_map(|id| [id, id]) {
        vm.host.send(&json!({ "type": "reload", "id": id.to_string() }))?;
    }
    for (id, ip) in [("older", "10.0.0.2"), ("newer", "10.0.0.3"), ("newer", "10.0.0.3")] {
        vm.host.send(&environment(id, ip))?;
    }
    assert_eq!(ask(&vm, "meanwhile")?["ok"], true);
    let mut expected = vec![("older".to_owned(), "Superseded"), ("meanwhile".to_owned(), "")];
    expected.extend((64..ASKED).flat_map(|id| [(id.to_string(), "Busy"), (id.to_string(), "Busy")]));
    let seen = |answers: Vec<Value>| -> Vec<(String, String)> {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let mut seen: Vec<_> =
            answers.iter().map(|it| (text(&it["to"]), text(&it["error"]["code"]))).collect();
        seen.sort();
        seen
    };
    let sorted = |mut expected: Vec<(String, &str)>| -> Vec<(String, String)> {
        expected.sort();
        expected.into_iter().map(|(id, code)| (id, code.to_owned())).collect()
    };
    assert_eq!(seen(vm.host.answers()), sorted(expected.clone()));
    vm.run(": > /run/go")?;
    vm.host.answer("63", soon())?;
    assert_eq!(ask(&vm, "after")?["ok"], true);
    expected.extend(["newer", "after"].map(|id| (id.to_owned(), "")));
    expected.extend((0..64).map(|id| (id.to_string(), "")));
    assert_eq!(seen(vm.host.answers()), sorted(expected), "each once");
    Ok(())
}

fn replugged(bench: &Bench<'_>) -> Result<()> {
    let (mut vm, _agent) = guest(bench, PARAMETERS)?;
    for round in 0..3 {
        vm.while_stopped(|vm| {
            vm.unplug_port()?;
            vm.plug_port()
        })?;
        vm.host.skip();
        let id = format!("plugged-{round}");
        assert_eq!(ask(&vm, &id)?["ok"], true);
        assert_eq!(vm.host.any_report(|_| true, soon())?.report.stage, "ready");
    }
    Ok(())
}

fn taken(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&appliance(PARAMETERS))?;
    let find = r#"
        for name in /sys/class/virtio-ports/*/name; do
            [ "$(cat $name)" = org.ovf.agent.0 ] && port=/dev/$(basename ${name%/name})
        done"#;
    let other = vm.spawn(&format!("{find}; exec 4<> $port; : > /run/open; exec sleep 1000"))?;
    vm.run("until [ -e /run/open ]; do usleep 10000; done")?;
    let agent = start_agent(&mut vm)?;
    vm.run("until ovf-agent status --wait ready 2> /dev/null; do usleep 10000; done")?;
    assert_eq!(vm.host.reports().len(), 0);
    // All tries are over, and only an event can tell.
    vm.run("sleep 2")?;
    let idle = activity(&mut vm, &agent, 2)?;
    assert!(idle.switches <= 2, "it does not look again and again: {idle:?}");
    // Somebody else's look at it is no reason.
    vm.run(&format!("{find}; ! cat $port 2> /dev/null"))?;
    let begin = Instant::now();
    vm.run(&format!("kill {}", other.pid))?;
    let report: Report = vm.report(|_| true, soon())?.report;
    bench.measured(format!("{} ms from its close to the report", begin.elapsed().as_millis()));
    assert_eq!(report.stage, "ready");
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(ask(&vm, "mine")?["ok"], true);
    Ok(())
}
