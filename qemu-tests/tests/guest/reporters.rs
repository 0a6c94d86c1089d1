//! Those who hear of a guest by other ways than its port: the service manager, a host at `vmm.notify_socket`, VMware, and a person
//! at the console. None of them is waited for.

use crate::Test;
use crate::appliance::{
    DOCUMENT, GATE, OPTIONAL_PARAMETERS, PARAMETERS, activity, appliance, soon, stage, text,
};
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Vm};
use std::time::{Duration, Instant};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    (
        "reporters: systemd hears when the first pass is over, of each later one, and how far the guest is",
        service,
    ),
    ("reporters: a first pass that fails holds up no boot, and systemd says why", service_of_a_failure),
    (
        "reporters: a host at vmm.notify_socket that never closes hears of each change and costs nothing",
        vsock,
    ),
    (
        "reporters: a host at vmm.notify_socket that is not there costs nothing, and is told when it comes",
        no_vsock,
    ),
    (
        "reporters: VMware's variables are set by a tool, here a stand-in for it, also where that one hangs first",
        tool,
    ),
];

const ISSUE: &str = "/run/issue.d/50-ovf-agent.issue";
const UNIT: &str = "[Service]\nType=notify\nTimeoutStartSec=infinity\nExecStart=/usr/bin/ovf-agent run\n\
                    ExecReload=/bin/sh -c 'kill -HUP $MAINPID'\n";

/// A template whose check takes as long as there is no `/run/go`.
const SLOW: &str =
    "+++\npath = \"/etc/mydb/slow\"\ncheck = [\"/usr/local/bin/slow\", \"{}\"]\n+++\n{{ log }}\n";
const CHECK: &str = "#!/bin/sh\nuntil [ -e /run/go ]; do usleep 10000; done\n";

fn with_unit(configuration: &str) -> Files {
    appliance(configuration).with("/etc/systemd/system/ovf-agent.service", UNIT)
}

/// Properties of the unit, by their values.
fn show(vm: &mut Vm, properties: &[&str]) -> Result<Vec<String>> {
    let list = properties.join(",");
    let said = vm.run(&format!("systemctl show --property {list} ovf-agent"))?;
    let value = |name: &&str| {
        let of = |line: &str| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        said.lines().find_map(of).with_context(|| format!("systemd does not say {name}: {said}"))
    };
    properties.iter().map(value).collect()
}

fn service(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.debian(Some(&bench.environment(DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(
        &with_unit(&format!("{PARAMETERS}{GATE}"))
            .with("/etc/ovf-agent/templates/slow.tera", SLOW)
            .with_program("/usr/local/bin/slow", CHECK),
    )?;
    let start = vm.spawn("exec systemctl start ovf-agent")?;
    vm.report(stage("configuring"), soon())?;
    assert_eq!(show(&mut vm, &["SubState", "StatusText"])?, ["start", "configuring"], "the boot waits");
    assert_eq!(text(&mut vm, ISSUE)?, "ovf-agent: configuring\n\n");
    vm.run("touch /run/go")?;
    assert_eq!(vm.wait(&start, soon())?, 0);
    let waiting = "waiting: file /run/mydb.ready: does not exist";
    assert_eq!(show(&mut vm, &["SubState", "StatusText"])?, ["running", waiting], "configured, not ready");
    assert_eq!(text(&mut vm, ISSUE)?, format!("ovf-agent: {waiting}\n\n"));

    vm.run("touch /run/mydb.ready")?;
    vm.report(stage("ready"), soon())?;
    vm.run("until [ \"$(systemctl show --value -p StatusText ovf-agent)\" = ready ]; do usleep 10000; done")?;
    vm.run(&format!("! [ -e {ISSUE} ]"))?;

    // A later pass is a reload, for as long as it takes.
    vm.run("rm /run/go; sed -i 's/normal/special/' /etc/ovf-agent/agent.toml; echo 'more' >> /etc/ovf-agent/templates/slow.tera")?;
    let sub = |state: &str| {
        format!("until [ $(systemctl show --value -p SubState ovf-agent) = {state} ]; do usleep 10000; done")
    };
    vm.run(&format!("systemctl reload --no-block ovf-agent; {}", sub("reload")))?;
    vm.run(&format!("touch /run/go; {}", sub("running")))?;
    assert!(text(&mut vm, "/etc/mydb/slow")?.ends_with("more\n"), "which was over then");
    // One that is refused is one as well, and ends.
    vm.run(&format!(
        "echo nonsense >> /etc/ovf-agent/agent.toml; systemctl reload ovf-agent; {}",
        sub("running")
    ))?;
    vm.report(|report| report.failure.is_some(), soon())?;
    let said = show(&mut vm, &["StatusText"])?.concat();
    assert!(said.starts_with("ready: as before, for the last pass failed: agent: agent.toml:"), "{said}");
    assert!(text(&mut vm, ISSUE)?.contains("as before"));

    vm.run("systemctl stop ovf-agent")?;
    assert_eq!(show(&mut vm, &["SubState", "Result"])?, ["dead", "success"]);
    vm.run(&format!("! [ -e {ISSUE} ]"))?;
    Ok(())
}

fn service_of_a_failure(bench: &Bench<'_>) -> Result<()> {
    let document = DOCUMENT.replace("10.20.132.102", "hunter2");
    let mut vm = bench.debian(Some(&bench.environment(&document)?), Connect::BeforeBoot)?;
    vm.put(&with_unit(PARAMETERS))?;
    vm.run("systemctl start ovf-agent")?;
    vm.report(stage("failed"), soon())?;
    let said = show(&mut vm, &["ActiveState", "StatusText"])?;
    assert_eq!(said[0], "active", "it stays, to be told better");
    assert!(said[1].starts_with("failed: parameters: ") && said[1].contains("com.mydb.db.ip"), "{said:?}");
    assert!(!said[1].contains("hunter2"), "{said:?}");
    let issue = text(&mut vm, ISSUE)?;
    assert!(issue.contains("failed: parameters: ") && !issue.contains("hunter2"), "{issue}");
    assert_eq!(
        vm.sh("ovf-agent status --wait configured --timeout 10s")?.status,
        1,
        "by which it can be told"
    );
    Ok(())
}

const PORT: u32 = 1234;
const LAST: &str = "X_OVF_AGENT_SEQ=";

/// Starts the agent until it is ready or waits; the guest's seconds for it.
fn start(vm: &mut Vm, stage: &str) -> Result<(qemu_tests::Job, f64)> {
    let begun: f64 = vm.run("cut -d ' ' -f 1 /proc/uptime")?.trim().parse()?;
    let agent = vm.spawn("exec ovf-agent run --report /run/report.json > /run/log 2>&1")?;
    let ended = vm.run(&format!(
        "until grep -q '\"stage\": *\"{stage}\"' /run/report.json 2>/dev/null; do usleep 10000; done
        cut -d ' ' -f 1 /proc/uptime"
    ))?;
    Ok((agent, ended.trim().parse::<f64>()? - begun))
}

fn vsock(bench: &Bench<'_>) -> Result<()> {
    let device = bench.vsock()?;
    let listener = device.listen(PORT, LAST)?;
    let credential = format!("io.systemd.credential:vmm.notify_socket=vsock-stream:2:{PORT}");
    let machine = Machine::with_disc(Drive::Ide, bench.environment(DOCUMENT)?)
        .with_vsock(&device)
        .option("-smbios", format!("type=11,value={credential}"));
    let mut vm = bench.boot(&machine, &appliance(&format!("{PARAMETERS}{GATE}")), Connect::Later)?;
    vm.run("load vmw_vsock_virtio_transport")?;
    let (agent, took) = start(&mut vm, "waiting")?;
    assert!(took < 4.0, "a host that does not close its connections held it up: {took} s");

    let waiting = listener.until(|text| text.contains("STAGE=waiting"), soon())?;
    let last = &waiting.last().context("a message")?.text;
    assert_eq!(last.lines().next(), Some("STATUS=waiting: file /run/mydb.ready: does not exist"), "{last}");
    vm.run("touch /run/mydb.ready")?;
    let ready = listener.until(|text| text.contains("STAGE=ready"), soon())?;
    let last = &ready.last().context("a message")?.text;
    assert!(
        last.starts_with("READY=1\nSTATUS=ready\nX_OVF_AGENT_STAGE=ready\nX_OVF_AGENT_FAILURE=\n"),
        "{last}"
    );
    bench.measured(format!("{took:.2} s until it waits; {} messages", waiting.len() + ready.len()));

    // Nobody has closed; the agent has, and sleeps.
    vm.run("sleep 6")?;
    let idle = activity(&mut vm, &agent, 3)?;
    assert!(idle.switches <= 2 && idle.ticks <= 1, "{idle:?}");
    let open = vm.run(&format!("ls -l /proc/{}/fd | grep -c socket", agent.pid))?;
    assert!(open.trim().parse::<u32>()? <= 8, "connections are left open: {open}");
    assert_eq!(
        vm.run("grep -c WARN /run/log || true")?.trim(),
        "0",
        "nothing was odd: {}",
        vm.run("cat /run/log")?
    );
    Ok(())
}

fn no_vsock(bench: &Bench<'_>) -> Result<()> {
    let device = bench.vsock()?;
    let machine = Machine::with_disc(Drive::Ide, bench.environment(DOCUMENT)?)
        .with_vsock(&device)
        // The form that does not say which kind: streams are what this device has.
        .option(
            "-fw_cfg",
            format!("name=opt/io.systemd.credentials/vmm.notify_socket,string=vsock:2:{PORT}"),
        );
    let mut vm = bench.boot(&machine, &appliance(PARAMETERS), Connect::Later)?;
    vm.run("load vmw_vsock_virtio_transport; load qemu_fw_cfg")?;
    let (_, took) = start(&mut vm, "ready")?;
    assert!(took < 4.0, "a host that is not there held it up: {took} s");
    let begun = Instant::now();
    let listener = device.listen(PORT, LAST)?;
    let heard = listener.until(|_| true, soon())?;
    let last = heard.last().context("a message")?;
    assert!(last.text.starts_with("READY=1\nSTATUS=ready\n"), "the newest: {}", last.text);
    bench.measured(format!(
        "ready after {took:.2} s, told {} ms after the host came",
        (last.at - begun).as_millis()
    ));
    Ok(())
}

/// In the place of VMware's tool. What a real one does, and what VMware makes of it, cannot be tried here.
const STAND_IN: &str = "#!/bin/sh\n[ -e /run/hang ] && exec sleep 1000\necho \"$1\" >> /run/told\n";

fn tool(bench: &Bench<'_>) -> Result<()> {
    let mut machine = Machine::with_disc(Drive::Ide, bench.environment(DOCUMENT)?)
        .option("-smbios", "type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform")
        .option("-machine", "vmport=off");
    machine.cpu = "max,-hypervisor".to_owned();
    let files = appliance(OPTIONAL_PARAMETERS).with_program("/usr/bin/vmware-rpctool", STAND_IN);
    let mut vm = bench.boot(&machine, &files, Connect::Later)?;
    vm.run("touch /run/hang")?;
    let (agent, took) = start(&mut vm, "ready")?;
    assert!(took < 4.0, "a tool that hangs held it up: {took} s");
    let running = "ps -o pid,ppid,args | awk -v agent=$AGENT '$2 == agent' | wc -l";
    assert_eq!(vm.run(&format!("AGENT={}; {running}", agent.pid))?.trim(), "1", "one at a time");
    vm.run("rm /run/hang")?;
    // Which is ended at its limit, and tried again.
    let begun = Instant::now();
    vm.run("until grep -q 'ready true' /run/told; do usleep 50000; done")?;
    assert!(begun.elapsed() < Duration::from_secs(30));
    let told = text(&mut vm, "/run/told")?;
    let lines: Vec<_> = told.lines().collect();
    assert!(lines[0].starts_with("info-set guestinfo.ovf-agent.report {\"type\":\"report\","), "{told}");
    assert!(lines[0].contains("\"stage\":\"ready\""), "the newest: {told}");
    assert_eq!(lines[1..], ["info-set guestinfo.ready true"], "{told}");
    // A machine whose document came from a drive is not asked again.
    let idle = activity(&mut vm, &agent, 3)?;
    assert_eq!((idle.switches, idle.ticks), (0, 0), "{idle:?}");
    Ok(())
}
