//! The units that are shipped, as they are shipped: what a boot waits for, who hears of an agent that died, and what its process
//! can do and cannot.

use crate::Test;
use crate::appliance::{CONFIGURED, DOCUMENT, GATE, PARAMETERS, appliance, soon, stage, text};
use crate::drives::change_beside_udev;
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Received, Vm};
use serde_json::json;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    (
        "service: at boot the files are there before what requires the target; its sandbox holds; a reboot runs hooks",
        boot,
    ),
    (
        "service: an agent that is killed is reported and started again, and reported for good in the end",
        killed,
    ),
    ("service: a document that is refused holds up no boot, but what requires a configured guest", refused),
    ("service: a retry starts a service that waits for it, and does not wait for that in turn", retry),
    ("service: the ready target follows the gates", ready),
    ("service: systemd finds nothing wrong with the units, and little exposed", verified),
    (
        "service: files elsewhere are refused with the remedy, which is a drop-in that `check` makes",
        elsewhere,
    ),
];

pub(crate) const UNITS: [(&str, &str); 7] = [
    ("ovf-agent.service", include_str!("../../../systemd/system/ovf-agent.service")),
    ("ovf-agent-mount.socket", include_str!("../../../systemd/system/ovf-agent-mount.socket")),
    ("ovf-agent-mount@.service", include_str!("../../../systemd/system/ovf-agent-mount@.service")),
    ("ovf-agent-failed.service", include_str!("../../../systemd/system/ovf-agent-failed.service")),
    ("ovf-agent-configured.service", include_str!("../../../systemd/system/ovf-agent-configured.service")),
    ("ovf-agent-configured.target", include_str!("../../../systemd/system/ovf-agent-configured.target")),
    ("ovf-agent-ready.target", include_str!("../../../systemd/system/ovf-agent-ready.target")),
];

/// A service of the appliance's that must not run in a guest that is not configured.
const MYDB: &str = "[Unit]\nRequires=ovf-agent-configured.target\nAfter=ovf-agent-configured.target\n\
    [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'cat /etc/mydb/mydb.conf > /run/mydb.saw'\n\
    ExecStart=/usr/bin/touch /run/mydb.ready\n[Install]\nWantedBy=multi-user.target\n";
/// One that is there for as long as the guest is ready.
const ANNOUNCE: &str = "[Unit]\nPartOf=ovf-agent-ready.target\n[Service]\nExecStart=/usr/bin/sleep infinity\n\
    [Install]\nWantedBy=ovf-agent-ready.target\n";

/// Who may have the agent's name on the bus, and what everybody may ask.
pub(crate) const POLICY: (&str, &str) = (
    "/usr/share/dbus-1/system.d/org.ovf.Agent1.conf",
    include_str!("../../../packaging/dbus/org.ovf.Agent1.conf"),
);

/// The appliance with the units, enabled as the package's preset does, and the policy.
pub(crate) fn with_units(configuration: &str) -> Files {
    let unit = |name: &str| format!("/usr/lib/systemd/system/{name}");
    let files =
        UNITS.iter().fold(appliance(configuration), |files, (name, text)| files.with(&unit(name), *text));
    let wants = |target: &str, name: &str| format!("/etc/systemd/system/{target}.wants/{name}");
    files
        .with(POLICY.0, POLICY.1)
        .with(&unit("mydb.service"), MYDB)
        .with(&unit("announce.service"), ANNOUNCE)
        .with_link(&wants("sysinit.target", "ovf-agent.service"), &unit("ovf-agent.service"))
        .with_link(&wants("multi-user.target", "mydb.service"), &unit("mydb.service"))
        .with_link(&wants("ovf-agent-ready.target", "announce.service"), &unit("announce.service"))
}

/// A Debian guest that is up, and knows the units; none of them runs.
pub(crate) fn guest(bench: &Bench<'_>, document: &str, files: &Files) -> Result<Vm> {
    let mut vm = bench.debian(Some(&bench.environment(document)?), Connect::BeforeBoot)?;
    vm.put(files)?;
    vm.run("systemctl daemon-reload")?;
    Ok(vm)
}

/// What a command prints, however it ends.
pub(crate) fn said(vm: &mut Vm, command: &str) -> Result<String> {
    Ok(String::from_utf8(vm.sh(command)?.stdout)?)
}

fn is(vm: &mut Vm, unit: &str, state: &str) -> Result<()> {
    vm.run(&format!("until [ \"$(systemctl is-active {unit})\" = {state} ]; do usleep 200000; done"))?;
    Ok(())
}

/// Shows in its hook's place that it ran.
const STOP: &str = "#!/bin/sh\necho the stop hook runs > /dev/kmsg\n";

/// Tries what the agent has no business with, and what it has to do; says a word for each. `generic` is neither: it cannot be
/// taken from the agent (docs/systemd.md). A SCSI command that writes, of no blocks, is let through by the kernel.
const PROBE: &str = r#"#!/bin/sh
try() {
    name=$1
    shift
    if said=$("$@" 2>&1); then echo "$name: yes"; else echo "$name: no"; echo "$name: $said" >> /run/probe.why; fi
}
sleep 1000 &
other=$!
try usr      touch /usr/lib/probe
try boot     touch /boot/probe
try module   modprobe nf_log_syslog
try ptrace   perl -e 'exit !(syscall(101, 16, $ARGV[0] + 0, 0, 0) == 0)' $other
try raw      perl -e 'socket(my $s, 2, 3, 1) or die $!'
try packet   perl -e 'socket(my $s, 17, 3, 0) or die $!'
try userns   unshare --user true
try mountns  unshare --mount true
try ports    perl -e 'exit !(syscall(172, 3) == 0)'
try memory   perl -e 'open(my $f, "<", "/dev/mem") or die $!'
try disk     perl -e 'open(my $f, "+<", "/dev/vda") or die $!'
try log      busybox dmesg
try sysctl   sh -c 'echo 1 > /proc/sys/kernel/printk_ratelimit'
try etc      touch /etc/mydb/probe
try state    touch /var/lib/ovf-agent/probe
try run      touch /run/probe
try poll     sh -c 'echo -1 > /sys/block/sr0/events_poll_msecs'
try generic  perl -e 'open(my $f, "+<", "/dev/sg0") or die $!; my $write = pack("C x9", 0x2a);
    my $call = pack("iiCCSLQPQLLix4QC4S2iLL", 83, -1, 10, (0) x 4, $write, 0, 5000, (0) x 13); ioctl($f, 0x2285, $call) or die $!'
try drive    perl -e 'open(my $f, "<", "/dev/sr0") or die $!'
try smbios   sh -c 'cat /sys/firmware/dmi/tables/DMI > /dev/null'
try fwcfg    sh -c 'cat /sys/firmware/qemu_fw_cfg/by_name/opt/probe/raw > /dev/null'
try vsock    perl -e 'socket(my $s, 40, 1, 0) or die $!'
try kernel   perl -e 'exit !(syscall(169, 0xfee1dead, 672274793, 0, 0) == 0)'
try detect   sh -c 'ovf-agent detect > /run/probe.detect'
try plan     sh -c 'ovf-agent plan > /run/probe.plan'
kill $other
"#;

const CONFINED: &str = "usr: no\nboot: no\nmodule: no\nptrace: no\nraw: no\npacket: no\nuserns: no\nmountns: no\n\
    ports: no\nmemory: no\ndisk: no\nlog: no\nsysctl: no\n";
const ALLOWED: &str = "etc: yes\nstate: yes\nrun: yes\npoll: yes\ngeneric: yes\ndrive: yes\nsmbios: yes\nfwcfg: yes\nvsock: yes\n\
    kernel: yes\ndetect: yes\nplan: yes\n";

fn boot(bench: &Bench<'_>) -> Result<()> {
    let gates = "[ready]\nunits = [\"mydb.service\"]\n";
    let judged = "+++\npath = \"/etc/mydb/judged\"\ncheck = [\"/usr/bin/grep\", \"-q\", \"10.20\", \"{}\"]\n\
        verify = [\"/usr/bin/grep\", \"-q\", \"listen\", \"/etc/mydb/mydb.conf\"]\n+++\n{{ ip }}\n";
    let hooks = "#!/bin/sh\necho hook > /usr/lib/hook\n";
    let files = with_units(&format!("{PARAMETERS}{gates}"))
        .with_program("/etc/ovf-agent/hooks.d/stop/10-a", STOP)
        .with_program("/etc/ovf-agent/hooks.d/first-boot/10-a", hooks)
        .with("/etc/ovf-agent/templates/judged.tera", judged)
        .with_program("/usr/local/bin/probe", PROBE);
    let machine = Machine::with_disc(Drive::Ide, bench.environment(DOCUMENT)?)
        .option("-fw_cfg", "name=opt/probe,string=there");
    let mut vm = bench.boot_debian(&machine, &files, Connect::BeforeBoot)?;
    vm.report(stage("ready"), soon())?;
    vm.booted()?;
    assert_eq!(text(&mut vm, "/run/mydb.saw")?, CONFIGURED, "the file was there first");
    is(&mut vm, "announce.service", "active")?;
    assert_eq!(text(&mut vm, "/usr/lib/hook")?, "hook\n", "hooks are not confined");
    let odd = "journalctl --boot --grep 'ordering cycle|dev-sr0.device' --output cat || true";
    assert_eq!(vm.run(odd)?, "", "no cycle, and nobody waits for a drive");
    assert_eq!(vm.run("journalctl --boot -u ovf-agent -p warning --output cat")?, "");
    let ready = "busctl get-property org.ovf.Agent1 /org/ovf/Agent1 org.ovf.Agent1 Ready";
    assert_eq!(vm.run(ready)?, "b true\n", "it is on the bus, which came later");
    bench.measured(vm.run("systemd-analyze time | head -n 1")?.trim());

    // The same sandbox around another program, and the program without it.
    vm.run(
        "modprobe -a vsock qemu_fw_cfg sg
        sed -e 's,^ExecStart=.*,ExecStart=/usr/local/bin/probe,' -e 's/^Type=.*/Type=oneshot/' \\
            -e '/^\\(Restart\\|OnFailure\\|ExecStopPost\\|StartLimit\\|ExecReload\\)/d' \\
            -e 's,^StateDirectory=,StandardOutput=file:/run/probe.said\\n&,' \\
            /usr/lib/systemd/system/ovf-agent.service > /run/systemd/system/probe.service
        systemctl daemon-reload",
    )?;
    vm.run("systemctl start probe.service")?;
    let why = "cat /run/probe.why";
    assert_eq!(text(&mut vm, "/run/probe.said")?, format!("{CONFINED}{ALLOWED}"), "{}", vm.run(why)?);
    assert_eq!(vm.run("cat /run/probe.detect /run/probe.plan")?, vm.run("ovf-agent detect; ovf-agent plan")?);
    let free = format!("{CONFINED}{ALLOWED}").replace(": no", ": yes");
    assert_eq!(
        vm.run("rm /run/probe.why; modprobe -r nf_log_syslog; probe")?,
        free,
        "{}",
        said(&mut vm, why)?
    );

    vm.run("systemctl reboot")?;
    let stopping = vm.report(stage("stopping"), soon())?.report;
    assert!(stopping.line.contains(r#""expect":"reboot""#), "{}", stopping.line);
    let event = vm.qmp.event("SHUTDOWN", soon())?;
    assert_eq!(event["data"]["reason"], "guest-reset");
    assert!(vm.console.text().contains("the stop hook runs"), "{}", vm.console.text());
    Ok(())
}

fn session(received: &Received) -> String {
    received.report.session.clone()
}

fn killed(bench: &Bench<'_>) -> Result<()> {
    let limit = "[Unit]\nStartLimitBurst=2\n";
    let files = with_units(PARAMETERS).with("/etc/systemd/system/ovf-agent.service.d/limit.conf", limit);
    let mut vm = guest(bench, DOCUMENT, &files)?;
    vm.run("systemctl start mydb")?;
    let first = vm.report(stage("ready"), soon())?;
    vm.run("systemctl kill --signal KILL ovf-agent")?;
    let died = vm.report(stage("failed"), soon())?;
    let failure = died.report.failure.clone().context("a reason")?;
    assert_eq!(
        (failure.stage.as_str(), failure.code.as_str(), failure.r#final, failure.message.as_str()),
        ("agent", "AgentDied", false, "the agent was killed by SIGKILL, and is started again")
    );
    assert!(died.report.line.contains(r#""accepts":[]"#), "{}", died.report.line);
    let second =
        vm.report(|report| report.stage == "ready" && report.session != first.report.session, soon())?;
    assert!(session(&died) != session(&first) && session(&died) != session(&second));
    bench.measured(format!("ready again {} ms after", second.report.uptime_ms - died.report.uptime_ms));
    let active = "systemctl is-active mydb announce ovf-agent-configured.target ovf-agent-ready.target";
    assert_eq!(vm.run(active)?, "active\n".repeat(4));

    vm.run("systemctl kill --signal KILL ovf-agent")?;
    let last = vm.report(|report| report.failure.as_ref().is_some_and(|it| it.r#final), soon())?.report;
    let failure = last.failure.context("a reason")?;
    assert_eq!(failure.code, "AgentDied");
    assert!(
        failure.message.ends_with("is not started again; journalctl -u ovf-agent says why"),
        "{failure:?}"
    );
    is(&mut vm, "ovf-agent.service", "failed")?;
    is(&mut vm, "ovf-agent-failed.service", "inactive")?;
    let readiness = "systemctl is-active ovf-agent-ready.target announce.service";
    assert_eq!(said(&mut vm, readiness)?, "inactive\ninactive\n", "nobody says that it is ready");
    vm.run("systemctl reset-failed ovf-agent; systemctl start ovf-agent")?;
    is(&mut vm, "announce.service", "active")?;
    vm.run("systemctl stop ovf-agent")?;

    // A host that does not read, or is not there, is not waited for.
    vm.host.acknowledge(false);
    let took = "begin=$(cut -d ' ' -f 1 /proc/uptime); ovf-agent report-failure --final
        echo $begin $(cut -d ' ' -f 1 /proc/uptime)";
    let said = vm.run(took)?;
    let times: Vec<f64> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    assert!((2.0..20.0).contains(&(times[1] - times[0])), "{said}");
    vm.host.disconnect();
    let said = vm.run(took)?;
    let times: Vec<f64> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    assert!(times[1] - times[0] < 2.0, "{said}");
    Ok(())
}

fn refused(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, &DOCUMENT.replace("10.20.132.102", "hunter2"), &with_units(PARAMETERS))?;
    vm.run("systemctl start ovf-agent")?;
    vm.report(stage("failed"), soon())?;
    assert_eq!(vm.sh("systemctl start mydb")?.status, 1, "its dependency failed");
    let states =
        "systemctl is-active ovf-agent mydb ovf-agent-configured.target ovf-agent-configured.service";
    assert_eq!(said(&mut vm, states)?, "active\ninactive\ninactive\nfailed\n");
    let said = said(&mut vm, "systemctl status ovf-agent-configured.service ovf-agent.service")?;
    assert!(said.contains("failed: parameters: ") && said.contains("com.mydb.db.ip"), "{said}");
    assert!(said.contains("parameters (ParametersInvalid)"), "the waiting unit says it as well: {said}");
    assert!(!said.contains("hunter2"));

    vm.host.send(&json!({ "type": "environment", "id": "1", "document": DOCUMENT }))?;
    assert_eq!(vm.host.answer("1", soon())?["ok"], true);
    vm.run("systemctl start mydb")?;
    assert_eq!(text(&mut vm, "/run/mydb.saw")?, CONFIGURED);
    // What the kernel tells, and another disc, is heard and read within the sandbox.
    let other = bench.environment(&DOCUMENT.replace("10.20.132.102", "10.20.132.104"))?;
    change_beside_udev(&mut vm, "cd0", &other)?;
    vm.report(|report| report.generation == 2 && report.stage == "ready", soon())?;
    // A restart of the agent, as in an upgrade, is nobody else's.
    vm.run("rm /run/mydb.saw; systemctl restart ovf-agent; systemctl reload ovf-agent")?;
    vm.report(stage("ready"), soon())?;
    assert_eq!(vm.run("systemctl is-active mydb; [ ! -e /run/mydb.saw ]")?, "active\n");
    Ok(())
}

fn retry(bench: &Bench<'_>) -> Result<()> {
    let role = "[[units]]\nname = \"mydb.service\"\nstate = \"started\"\n";
    let mut vm = guest(bench, DOCUMENT, &with_units(&format!("{PARAMETERS}{role}")))?;
    // A pass that may go well another time.
    vm.run("mv /etc/mydb /etc/elsewhere; systemctl start ovf-agent")?;
    let failed = vm.report(stage("failed"), soon())?.report.failure.context("a reason")?;
    assert!(!failed.r#final, "{failed:?}");
    vm.run("systemctl start --no-block ovf-agent-configured.target")?;
    is(&mut vm, "ovf-agent-configured.service", "activating")?;
    vm.run("mv /etc/elsewhere /etc/mydb")?;
    // A pass that waited for the service would take as long as units may.
    vm.report(stage("ready"), soon())?;
    is(&mut vm, "mydb.service", "active")?;
    Ok(())
}

fn ready(bench: &Bench<'_>) -> Result<()> {
    let gates = "units = [\"dbus.service\"]\ncommands = [[\"/usr/bin/sleep\", \"1\"]]\n";
    let mut vm = guest(bench, DOCUMENT, &with_units(&format!("{PARAMETERS}{GATE}{gates}")))?;
    vm.run("systemctl start ovf-agent")?;
    vm.report(stage("waiting"), soon())?;
    assert_eq!(
        said(&mut vm, "systemctl is-active ovf-agent-ready.target announce.service")?,
        "inactive\ninactive\n"
    );
    vm.run("touch /run/mydb.ready")?;
    is(&mut vm, "announce.service", "active")?;
    vm.run("rm /run/mydb.ready")?;
    is(&mut vm, "announce.service", "inactive")?;
    vm.run("systemctl is-active ovf-agent-ready.target && exit 1; touch /run/mydb.ready")?;
    is(&mut vm, "announce.service", "active")?;
    // It stays while a pass is made and while the agent is started again, though all gates are tried anew.
    let started = "systemctl show --property InvocationID announce.service ovf-agent-ready.target";
    let before = vm.run(started)?;
    for again in ["ovf-agent reload", "systemctl restart ovf-agent", "systemctl kill --signal KILL ovf-agent"]
    {
        vm.host.skip();
        vm.run(again)?;
        vm.report(|report| report.stage == "ready" && report.unmet.is_empty(), soon())?;
        assert_eq!(vm.run(started)?, before, "{again}");
    }
    Ok(())
}

fn verified(bench: &Bench<'_>) -> Result<()> {
    for (name, text) in UNITS {
        let privileged = |line: &str| line.starts_with("Exec") && line.contains(['+', '!']);
        assert!(!text.lines().any(privileged), "{name} leaves its sandbox");
    }
    let mut vm = guest(bench, DOCUMENT, &with_units(PARAMETERS))?;
    let names: Vec<_> = UNITS.iter().map(|(name, _)| format!("/usr/lib/systemd/system/{name}")).collect();
    assert_eq!(vm.run(&format!("systemd-analyze verify --man=no {} 2>&1", names.join(" ")))?, "");
    let exposure = "systemd-analyze security --offline=yes --no-pager --threshold=30";
    for name in names.iter().filter(|name| name.ends_with(".service")) {
        let said = vm.run(&format!("{exposure} {name} | tail -n 1"))?;
        bench.measured(said.trim_start_matches(['\u{2192}', ' ']).trim());
        vm.run(&format!("{exposure} {name} > /dev/null"))?;
    }
    Ok(())
}

fn elsewhere(bench: &Bench<'_>) -> Result<()> {
    let far = "+++\npath = \"/usr/local/etc/far 1/a\"\n+++\n{{ ip }}\n";
    let files = with_units(PARAMETERS)
        .with("/etc/ovf-agent/templates/far.tera", far)
        .with_directory("/usr/local/etc/far 1");
    let mut vm = guest(bench, DOCUMENT, &files)?;
    vm.run("systemctl start ovf-agent")?;
    let remedy = "let its unit write there (ovf-agent check --emit-paths-dropin)";
    let refused = |report: &qemu_tests::Report| {
        report.failure.as_ref().is_some_and(|failure| failure.message.contains(remedy))
    };
    vm.report(refused, soon())?;

    vm.run(
        "mkdir /etc/systemd/system/ovf-agent.service.d
        ovf-agent check --emit-paths-dropin > /etc/systemd/system/ovf-agent.service.d/paths.conf
        systemctl daemon-reload; systemctl restart ovf-agent",
    )?;
    vm.report(stage("ready"), soon())?;
    assert_eq!(text(&mut vm, "/usr/local/etc/far 1/a")?, "10.20.132.102\n");
    assert_eq!(text(&mut vm, "/etc/mydb/mydb.conf")?, CONFIGURED);
    let paths = vm.run("systemctl show --property ReadWritePaths --value ovf-agent")?;
    assert_eq!(paths, "-/etc/mydb -/run -/sys/devices \"-/usr/local/etc/far 1\"\n", "no more than that");
    Ok(())
}
