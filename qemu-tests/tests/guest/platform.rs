//! Hosts that are away, late or gone for a while, and agents that are: a report is a level, not an edge.

use crate::Test;
use crate::appliance::{
    CONFIGURED, DOCUMENT, GATE, PARAMETERS, activity, appliance, soon, stage, start_agent, text,
};
use anyhow::Result;
use qemu_tests::{Bench, Connect, Job, Report, Vm};
use serde_json::json;
use std::io::Write;
use std::time::{Duration, Instant};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("a host that never acknowledges is told again, less and less often", unacknowledged),
    ("a host that asks without ever listening does not hold up the guest", deaf),
    ("a host that never opens the port does not delay the guest", never),
    ("a host that connects late gets the current report at once", late),
    ("a host that connects again gets the current report again", again),
    ("an agent that is killed and started again is seen as a new session", killed),
    ("a host that asks gets the report and an answer, whatever it said before", asks),
    ("a port that comes after the agent started is used, and again after it was away", late_port),
];

fn guest(bench: &Bench<'_>, configuration: &str, connect: Connect) -> Result<Vm> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), connect)?;
    vm.put(&appliance(configuration))?;
    Ok(vm)
}

/// Starts the agent and waits in the guest until its own copy of the report says ready, without any host; the
/// guest's seconds from one to the other.
fn start_until_ready(vm: &mut Vm) -> Result<(Job, f64)> {
    let begun: f64 = vm.run("cut -d ' ' -f 1 /proc/uptime")?.trim().parse()?;
    let agent = vm.spawn("exec ovf-agent run --report /run/report.json > /dev/kmsg 2>&1")?;
    let ended = vm.run(
        "until grep -q '\"ready\": *true' /run/report.json 2>/dev/null; do usleep 10000; done
        cut -d ' ' -f 1 /proc/uptime",
    )?;
    Ok((agent, ended.trim().parse::<f64>()? - begun))
}

fn never(bench: &Bench<'_>) -> Result<()> {
    let mut attended = guest(bench, PARAMETERS, Connect::BeforeBoot)?;
    let (_, with_host) = start_until_ready(&mut attended)?;
    drop(attended);

    let mut vm = guest(bench, PARAMETERS, Connect::Later)?;
    let (agent, without_host) = start_until_ready(&mut vm)?;
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, CONFIGURED);
    bench.measured(format!("ready after {without_host:.2} s without a host, {with_host:.2} s with one"));
    assert!(without_host < with_host + 1.0, "{without_host} s without a host, {with_host} s with one");

    // A port without a host polls as ready for ever; whoever polls it plainly spins.
    let idle = activity(&mut vm, &agent, 5)?;
    assert!(
        idle.switches <= 5 && idle.ticks <= 1,
        "the agent is busy with a host that is not there: {idle:?}"
    );
    Ok(())
}

fn late(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, PARAMETERS, Connect::Later)?;
    start_until_ready(&mut vm)?;
    vm.host.connect()?;
    let connected = Instant::now();
    let first = vm.report(|_| true, soon())?;
    assert_eq!(first.report.stage, "ready", "the current report, not those that nobody heard");
    let took = first.at - connected;
    bench.measured(format!("{} ms from connecting to the report", took.as_millis()));
    assert!(took < Duration::from_secs(10), "{took:?} from connecting to the report");
    Ok(())
}

fn again(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, &format!("{PARAMETERS}{GATE}"), Connect::BeforeBoot)?;
    start_agent(&mut vm)?;
    let waiting = vm.report(stage("waiting"), soon())?;
    // A guest with nothing left to do sees the next wake-up for what it is.
    vm.run("usleep 200000")?;
    vm.host.disconnect();
    vm.host.connect()?;
    let repeated = vm.report(stage("waiting"), soon())?;
    assert_eq!((waiting.connection, repeated.connection), (1, 2));
    assert_eq!(repeated.report.session, waiting.report.session);

    // What happened while the host was away is in the first report that it gets.
    vm.host.disconnect();
    vm.run("touch /run/mydb.ready; sleep 2")?;
    vm.host.connect()?;
    let ready = vm.report(stage("ready"), soon())?;

    // One who leaves as soon as he has acknowledged may never have been seen to leave: whoever comes then asks.
    vm.host.disconnect();
    vm.host.connect()?;
    vm.host.send(&json!({ "type": "query", "id": "new here" }))?;
    let asked = vm.report(stage("ready"), soon())?;
    assert_eq!((asked.connection, asked.report.seq), (ready.connection + 1, ready.report.seq));
    Ok(())
}

fn killed(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, PARAMETERS, Connect::BeforeBoot)?;
    let agent = start_agent(&mut vm)?;
    let first = vm.report(stage("ready"), soon())?.report;
    vm.run(&format!("kill -KILL {}", agent.pid))?;
    assert_eq!(vm.wait(&agent, soon())?, 128 + 9);

    start_agent(&mut vm)?;
    let second = vm.report(|report| report.ready && report.session != first.session, soon())?.report;
    assert_eq!(second.boot, first.boot, "the same boot");
    assert_eq!(second.generation, first.generation, "nothing had to be done");
    assert!(second.changed.is_empty(), "{:?}", second.changed);
    assert_eq!(vm.host.flaws(), (0, 0));
    Ok(())
}

fn asks(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, PARAMETERS, Connect::BeforeBoot)?;
    start_agent(&mut vm)?;
    let ready = vm.report(stage("ready"), soon())?.report;

    vm.host.send(&json!({ "type": "query", "id": "q1" }))?;
    let answer = vm.host.answer("q1", soon())?;
    assert_eq!(answer["ok"], true, "{answer}");
    let again = vm.host.any_report(|report| report.uptime_ms > ready.uptime_ms, soon())?.report;
    assert_eq!((again.seq, again.stage.as_str()), (ready.seq, "ready"), "asked for, not changed");

    vm.host.send(&json!({ "type": "make-coffee", "id": "q2" }))?;
    let answer = vm.host.answer("q2", soon())?;
    assert_eq!(
        (&answer["ok"], answer["error"]["stage"].as_str()),
        (&json!(false), Some("agent")),
        "{answer}"
    );
    vm.host.send(&json!(["not", "a", "request"]))?;
    vm.host.send(&json!({ "type": "query", "id": "q3" }))?;
    assert_eq!(vm.host.answer("q3", soon())?["ok"], true, "the connection is as good as before");
    Ok(())
}

fn deaf(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, &format!("{PARAMETERS}{GATE}"), Connect::Later)?;
    let agent = vm.spawn("exec ovf-agent run --report /run/report.json > /dev/kmsg 2>&1")?;
    let mut host = vm.host.connect_deaf()?;
    // More answers than the port's ring and QEMU's buffers take: the agent has to do without the port.
    let queries = format!("\n{}\n", json!({ "type": "query", "id": "q" })).repeat(2_000);
    host.set_write_timeout(Some(Duration::from_secs(5)))?;
    host.write_all(queries.as_bytes())?;
    vm.run("until [ -e /etc/mydb/mydb.conf ]; do usleep 10000; done; touch /run/mydb.ready")?;
    vm.run("until grep -q '\"ready\": *true' /run/report.json; do usleep 10000; done")?;

    // Until it has read them all.
    vm.run("sleep 3")?;
    let idle = activity(&mut vm, &agent, 3)?;
    let memory = vm.run(&format!("awk '/VmHWM/ {{ print $2 }}' /proc/{}/status", agent.pid))?;
    bench.measured(format!(
        "{} context switches in 3 s, at most {} kB of memory",
        idle.switches,
        memory.trim()
    ));
    assert!(idle.switches <= 10 && idle.ticks <= 1, "it keeps trying: {idle:?}");
    assert!(memory.trim().parse::<u64>()? < 8192, "it keeps what nobody reads: {memory} kB");

    drop(host);
    vm.host.connect()?;
    vm.report(stage("ready"), soon())?;
    Ok(())
}

fn late_port(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, PARAMETERS, Connect::BeforeBoot)?;
    vm.unplug_port()?;
    start_until_ready(&mut vm)?;
    for _ in 0..2 {
        vm.plug_port()?;
        let plugged = Instant::now();
        let first = vm.host.any_report(|_| true, soon())?;
        assert_eq!(first.report.stage, "ready");
        bench.measured(format!(
            "{} ms from plugging the port to the report",
            (first.at - plugged).as_millis()
        ));
        // The report may come a second time when the agent notices the host; none is left for the next round.
        vm.run("sleep 1")?;
        vm.unplug_port()?;
        vm.host.skip();
    }
    Ok(())
}

fn unacknowledged(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, PARAMETERS, Connect::BeforeBoot)?;
    vm.host.acknowledge(false);
    start_agent(&mut vm)?;
    let first = vm.report(stage("ready"), soon())?.report;
    for planned in [1.0, 2.0, 4.0] {
        // Noticing the host may come just after the change; that is no repetition.
        let since = |report: &Report| (report.uptime_ms - first.uptime_ms) as f64 / 1000.0;
        let again = vm.host.any_report(|report| since(report) > planned - 0.3, soon())?.report;
        assert_eq!(again.seq, first.seq, "the same report each time");
        assert!(since(&again) < planned + 0.95, "said again after {} s, not {planned}", since(&again));
    }
    vm.host.acknowledge(true);
    let heard = vm.host.any_report(stage("ready"), soon())?;
    vm.run("sleep 9")?;
    // One that was under way when the host acknowledged is no repetition; the next would come 4 s later or more.
    let late = heard.at + Duration::from_secs(2);
    let after = vm.host.reports().into_iter().filter(|received| received.at > late).count();
    assert_eq!(after, 0, "an acknowledged report is not repeated");
    Ok(())
}
