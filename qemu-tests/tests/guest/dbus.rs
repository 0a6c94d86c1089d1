//! The agent's object on the system bus: what everybody and what root is told, who holds the guest back, and a bus that comes late,
//! goes, refuses, stalls or is flooded.
//!
//! The examples of docs/dbus.md are run as they stand there. What `busctl` cannot do, since it ends at once, the program
//! [`CLIENT`] does, which speaks D-Bus by itself: Debian's guest has Perl, and no library for it.

use crate::Test;
use crate::appliance::{DOCUMENT, PARAMETERS, soon, stage};
use crate::service::{POLICY, guest, said, with_units};
use anyhow::{Context, Result, ensure};
use qemu_tests::{Bench, Files, Report, Vm};
use serde_json::json;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    (
        "dbus: what docs/dbus.md shows is so, for root and for anybody; changes are told, and secrets are not",
        asked,
    ),
    ("dbus: a program holds the guest back until it lets go or dies, whatever the bus does", held),
    ("dbus: a bus that is late, gone, refusing, deaf or flooded holds nothing up, and wakes nobody", trying),
];

const DOCS: &str = include_str!("../../../docs/dbus.md");

/// Two parameters more than others have, one of them secret, and what belongs to them.
const MORE: &str = "password = { key = \"com.mydb.db.password\", type = \"string\", sensitive = true }\n\
    ports = { key = \"com.mydb.ports\", type = \"list<port>\" }\n";
const THEIRS: &str = "<Property oe:key=\"com.mydb.db.password\" oe:value=\"hunter2\"/>\
    <Property oe:key=\"com.mydb.ports\" oe:value=\"5432,5433\"/>\
    <Property oe:key=\"com.mydb.undeclared\" oe:value=\"of nobody\"/></PropertySection>\n  <Entity oe:id=\"DB3\">";

const GATE: &str = "[ready]\ntimeout = \"1h\"\nfiles = [\"/run/mydb.ready\"]\n";

/// `client hold WHO WHY [COUNT]` holds, so many times, and says so, or says the error; `client own` has the agent's name; `client flood COUNT` makes COUNT
/// calls by each of ten connections, reads nothing, and says so when they are made. Each stays until it is killed.
const CLIENT: &str = r#"#!/usr/bin/perl
use strict; use Socket;
$| = 1;
my $serial = 0;
sub text { pack('V', length $_[0]) . "$_[0]\0" }
sub padded { my ($bytes, $to) = @_; $bytes .= "\0" while length($bytes) % $to; $bytes }
sub call {
    my ($to, $path, $member, $types, $body) = @_;
    my $fields = '';
    for ([1, 'o', $path], [2, 's', $to], [3, 's', $member], [6, 's', $to]) {
        $fields = padded($fields, 8) . chr($$_[0]) . "\1$$_[1]\0" . text($$_[2]);
    }
    $fields = padded($fields, 8) . "\10\1g\0" . chr(length $types) . "$types\0" if $types;
    padded("l\1\0\1" . pack('VVV', length $body, ++$serial, length $fields) . $fields, 8) . $body;
}
sub bus { call('org.freedesktop.DBus', '/org/freedesktop/DBus', @_) }
sub agent { call('org.ovf.Agent1', '/org/ovf/Agent1', @_) }
sub joined {
    socket(my $bus, AF_UNIX, SOCK_STREAM, 0) or die;
    connect($bus, sockaddr_un('/run/dbus/system_bus_socket')) or die "connect: $!";
    syswrite $bus, "\0AUTH EXTERNAL " . unpack('H*', $<) . "\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n" . bus('Hello', '', '');
    $bus;
}
my $verb = shift;
if ($verb eq 'flood') {
    my @all = map { joined() } 1 .. 10;
    my $count = shift;
    for my $bus (@all) {
        for (1 .. $count) {
            syswrite $bus, agent('GetParameter', 's', text('password')) or last;
            syswrite $bus, agent('GetParameter', 's', text('x' x 10000)) or last if $_ % 50 == 0;
        }
    }
    print "flooded\n";
    sleep;
}
my ($who, $why, $count) = @ARGV;
sub hold { syswrite $_[0], agent('HoldReady', 'ss', padded(text($who), 4) . text($why)) }
my $bus = joined();
if ($verb eq 'own') {
    syswrite $bus, bus('RequestName', 'su', padded(text('org.ovf.Agent1'), 4) . pack('V', 0));
} else {
    hold($bus);
}
while (1) {
    my ($bytes, $rights) = ("\0" x 4096, "\0" x 64);
    my $vector = pack('P Q', $bytes, length $bytes);
    my $message = pack('Q Q P Q P Q Q', 0, 0, $vector, 1, $rights, length $rights, 0);
    syscall(47, fileno $bus, $message, 0) > 0 or die "recvmsg: $!";
    if ($verb eq 'own') { print "owned\n" if $bytes =~ /NameAcquired.*org\.ovf/s; }
    elsif (unpack('Q', $rights) && --$count > 0) { hold($bus); }
    elsif (unpack('Q', $rights)) { print "held\n"; close $bus; sleep; }
    elsif ($bytes =~ /(org\.[A-Za-z.0-9]*Error\.\w+)/) { print "$1\n"; exit 1; }
}
"#;

fn document() -> String {
    // The trial's own properties are those of the guest itself, and the sibling has none that is asked for.
    DOCUMENT.replacen("</PropertySection>\n  <Entity oe:id=\"DB2\">", THEIRS, 1)
}

fn files(ready: &str) -> Files {
    with_units(&format!("{PARAMETERS}{MORE}{ready}")).with_program("/usr/local/bin/client", CLIENT)
}

/// The guest with the agent's name on its bus.
fn on_the_bus(bench: &Bench<'_>, ready: &str) -> Result<Vm> {
    let mut vm = guest(bench, &document(), &files(ready))?;
    vm.run("systemctl reload dbus && systemctl start ovf-agent")?;
    is_there(&mut vm)?;
    Ok(vm)
}

fn is_there(vm: &mut Vm) -> Result<()> {
    vm.run("until busctl status org.ovf.Agent1 > /dev/null 2>&1; do usleep 100000; done")?;
    Ok(())
}

const NAME: &str = "org.ovf.Agent1";
const PATH: &str = "/org/ovf/Agent1";
const AGENT: &str = "busctl call org.ovf.Agent1 /org/ovf/Agent1 org.ovf.Agent1";
const MYDB: &str = "setpriv --reuid=mydb --regid=mydb --clear-groups";

/// The commands of the document with what they say: root's after `#`, anybody's after `$`.
fn examples() -> Vec<(String, String)> {
    let mut examples: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in DOCS.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match (line.strip_prefix("# "), line.strip_prefix("$ ")) {
                (Some(command), _) => examples.push((command.to_owned(), String::new())),
                (_, Some(command)) => examples.push((format!("{MYDB} {command}"), String::new())),
                _ => examples.last_mut().expect("a command is first").1 += &format!("{line}\n"),
            },
        }
    }
    examples
}

fn asked(bench: &Bench<'_>) -> Result<()> {
    let mut vm = on_the_bus(bench, "")?;
    vm.report(stage("ready"), soon())?;
    let examples = examples();
    ensure!(examples.len() > 10, "the document shows {} commands", examples.len());
    for (command, want) in examples {
        assert_eq!(said(&mut vm, &format!("{command} 2>&1 || true"))?, want, "{command}");
    }
    // What others make of it, and names in between.
    assert_eq!(said(&mut vm, "busctl tree --list org.ovf.Agent1")?, "/\n/org\n/org/ovf\n/org/ovf/Agent1\n");
    let all = "busctl introspect org.ovf.Agent1 /org/ovf/Agent1 | cut -d ' ' -f 1 | grep -c '^[.]'";
    assert_eq!(said(&mut vm, all)?, "17\n");
    for (call, want) in [
        ("org.freedesktop.DBus.Peer Ping", ""),
        ("org.freedesktop.DBus.Peer GetMachineId", "s \"0f0a9e27000040008000000000000001\"\n"),
        ("org.ovf.Agent1 GetParameter", "Call failed: the argument is not one string\n"),
        ("org.ovf.Agent1 Nothing", "Call failed: there is no method `Nothing` with this interface\n"),
        (
            "org.freedesktop.DBus.Properties Get ss org.ovf.Agent1 None",
            "Call failed: there is no such property\n",
        ),
    ] {
        let call = format!("busctl call org.ovf.Agent1 /org/ovf/Agent1 {call} 2>&1 || true");
        assert_eq!(said(&mut vm, &call)?, want, "{call}");
    }
    for call in ["Reload", "HoldReady ss a b"] {
        ensure!(vm.sh(&format!("{MYDB} {AGENT} {call}"))?.status != 0, "{call} is for root");
    }
    // The same without the policy's help: the agent asks whose call it is.
    let open = POLICY.1.replace("<policy user=\"root\">", "<policy context=\"default\">");
    vm.put(&Files::new().with(POLICY.0, open))?;
    vm.run("systemctl reload dbus")?;
    for call in ["Reload", "HoldReady ss a b"] {
        // `busctl` has its own words for this error.
        let call = match call.split_once(" ss ") {
            Some((call, words)) => format!("{call} string:{}", words.replace(' ', " string:")),
            None => call.to_owned(),
        };
        let send = format!("dbus-send --system --print-reply --dest={NAME} {PATH} {NAME}.{call}");
        let said = said(&mut vm, &format!("{MYDB} {send} 2>&1 || true"))?;
        assert_eq!(said, "Error org.freedesktop.DBus.Error.AccessDenied: this is for root\n", "{call}");
    }

    // What changes is told, and no value of a secret.
    let monitor = vm.spawn(
        "exec busctl monitor --match \"type='signal',path='/org/ovf/Agent1'\" > /run/heard 2> /run/monitor",
    )?;
    vm.run("until grep -q Monitoring /run/heard /run/monitor; do usleep 100000; done")?;
    let other = document().replace("10.20.132.102", "10.20.132.104").replace("hunter2", "hunter3");
    vm.host.send(&json!({ "type": "environment", "id": "1", "document": other }))?;
    assert_eq!(vm.host.answer("1", soon())?["ok"], true);
    vm.run(
        "until grep -q Generation /run/heard && grep -q ParametersChanged /run/heard; do usleep 100000; done",
    )?;
    vm.run(&format!("kill {}", monitor.pid))?;
    let heard = vm.run("cat /run/heard")?;
    ensure!(heard.contains("\"ip\"") && heard.contains("\"password\""), "{heard}");
    ensure!(!heard.contains("hunter") && !heard.contains("\"log\""), "{heard}");
    assert_eq!(said(&mut vm, &format!("{AGENT} GetParameter s password"))?, "v s \"hunter3\"\n");

    // A pass that fails is answered so.
    vm.run("echo nonsense >> /etc/ovf-agent/agent.toml")?;
    let reload = format!("{AGENT} Reload 2>&1 || true");
    let refused = said(&mut vm, &reload)?;
    ensure!(refused.starts_with("Call failed: ConfigurationInvalid: "), "{refused}");
    let log = vm.run("journalctl --boot -u ovf-agent --output cat")?;
    ensure!(!log.contains("hunter"), "{log}");
    Ok(())
}

/// Starts to hold, and shows that it is held.
fn hold(vm: &mut Vm, who: &str) -> Result<u32> {
    let job = vm.spawn(&format!("exec client hold {who} 'moves its tables' > /run/{who}"))?;
    vm.run(&format!(
        "until [ -s /run/{who} ]; do usleep 100000; done; grep -q held /run/{who} || cat /run/{who}"
    ))?;
    Ok(job.pid)
}

fn held(bench: &Bench<'_>) -> Result<()> {
    let mut vm = on_the_bus(bench, GATE)?;
    vm.report(stage("waiting"), soon())?;
    let first = hold(&mut vm, "mydb")?;
    vm.run("touch /run/mydb.ready")?;
    let is_held = |report: &Report| {
        report.stage == "waiting" && report.unmet.iter().map(|it| it.gate.as_str()).eq(["hold mydb"])
    };
    let waiting = vm.report(is_held, soon())?.report;
    assert_eq!(waiting.unmet[0].reason, "moves its tables");
    ensure!(waiting.line.contains("\"code\":\"Held\""), "{}", waiting.line);
    // The bus goes and comes, and nobody is let go by that; nor by a pass.
    vm.run("systemctl restart dbus")?;
    is_there(&mut vm)?;
    let second = hold(&mut vm, "other")?;
    vm.report(|report| report.unmet.len() == 2, soon())?;
    let changed = document().replace("10.20.132.102", "10.20.132.104");
    vm.host.send(&json!({ "type": "environment", "id": "1", "document": changed }))?;
    assert_eq!(vm.host.answer("1", soon())?["ok"], true);
    vm.report(|report| report.generation == 2 && report.unmet.len() == 2, soon())?;
    vm.run(&format!("kill {first}"))?;
    vm.report(|report| report.unmet.iter().all(|unmet| unmet.gate == "hold other"), soon())?;
    vm.run(&format!("kill -KILL {second}"))?;
    vm.report(stage("ready"), soon())?;

    // One that is ready is not any more.
    let third = hold(&mut vm, "mydb2")?;
    vm.report(|report| report.stage == "degraded" && report.unmet.len() == 1, soon())?;
    vm.run(&format!("kill {third}"))?;
    vm.report(stage("ready"), soon())?;
    // `busctl` has let go by the time that it has said so.
    let said_h = said(&mut vm, &format!("{AGENT} HoldReady ss a b"))?;
    ensure!(said_h.starts_with("h "), "{said_h}");
    vm.report(stage("ready"), soon())?;
    for (who, why) in [("''", "b"), ("a", "\"$(printf 'two\\nlines')\""), ("a", "$(printf %300s | tr ' ' x)")]
    {
        let refused = said(&mut vm, &format!("{AGENT} HoldReady ss {who} {why} 2>&1 || true"))?;
        ensure!(refused.contains("one line of 1 to"), "{who} {why}: {refused}");
    }
    let many = vm.spawn("exec client hold many x 16")?;
    vm.report(|report| report.unmet.len() == 16, soon())?;
    assert_eq!(
        said(&mut vm, "client hold one-too-many x || true")?,
        "org.freedesktop.DBus.Error.LimitsExceeded\n"
    );
    vm.run(&format!("kill {}", many.pid))?;
    vm.report(stage("ready"), soon())?;
    Ok(())
}

/// The agent's process, and a number of its status.
fn number(vm: &mut Vm, command: &str) -> Result<u64> {
    vm.run(command)?.trim().parse().with_context(|| format!("no number: {command}"))
}

const PID: &str = "pid=$(systemctl show --property MainPID --value ovf-agent)";

fn resident(vm: &mut Vm) -> Result<u64> {
    number(vm, &format!("{PID}; awk '/^VmRSS/ {{ print $2 }}' /proc/$pid/status"))
}

fn trying(bench: &Bench<'_>) -> Result<()> {
    // No bus: ready without it.
    let mut vm = guest(bench, &document(), &files(GATE))?;
    vm.run(
        "systemctl stop dbus.socket dbus.service; rm -f /run/dbus/system_bus_socket; touch /run/mydb.ready",
    )?;
    vm.run("systemctl start ovf-agent")?;
    vm.report(stage("ready"), soon())?;
    // It comes, its socket in a directory that was made anew.
    vm.run("rm -r /run/dbus; systemctl start dbus.socket dbus.service")?;
    is_there(&mut vm)?;
    assert_eq!(said(&mut vm, &format!("{AGENT} GetParameter s ip"))?, "v s \"10.20.132.102\"\n");

    // On it, and with a client or two behind it, an idle agent does not wake up.
    let switches = format!("{PID}; awk '/ctxt_switches/ {{ n += $2 }} END {{ print n }}' /proc/$pid/status");
    let before = number(&mut vm, &switches)?;
    vm.run("sleep 20")?;
    assert_eq!(number(&mut vm, &switches)? - before, 0, "wake-ups");
    let idle = resident(&mut vm)?;
    bench.measured(format!("idle agent with D-Bus: {idle} KiB"));
    ensure!(idle <= 3072, "an idle agent has {idle} KiB");

    // A flood by one who is not root, from connections that read nothing.
    let flood = vm.spawn(&format!("exec {MYDB} client flood 400 > /run/flood"))?;
    vm.host.send(&json!({ "type": "query", "id": "1" }))?;
    vm.host.answer("1", soon())?;
    vm.run("until [ -s /run/flood ]; do usleep 100000; done")?;
    assert_eq!(said(&mut vm, &format!("{AGENT} GetParameter s password"))?, "v s \"hunter2\"\n");
    let flooded = resident(&mut vm)?;
    bench.measured(format!("after a flood: {flooded} KiB"));
    ensure!(flooded <= 2 * 3072, "an agent has {flooded} KiB after a flood");
    vm.run(&format!("kill {}", flood.pid))?;

    // A bus that reads nothing.
    vm.run("kill -STOP $(pidof dbus-daemon)")?;
    let other = document().replace("10.20.132.102", "10.20.132.104");
    vm.host.send(&json!({ "type": "environment", "id": "2", "document": other }))?;
    assert_eq!(vm.host.answer("2", soon())?["ok"], true);
    vm.run("kill -CONT $(pidof dbus-daemon)")?;
    assert_eq!(said(&mut vm, &format!("{AGENT} GetParameter s ip"))?, "v s \"10.20.132.104\"\n");

    // Another has the name, until it leaves.
    vm.run("systemctl stop ovf-agent")?;
    let owner = vm.spawn("exec client own > /run/owner")?;
    vm.run("until [ -s /run/owner ]; do usleep 100000; done; systemctl start ovf-agent")?;
    vm.report(stage("ready"), soon())?;
    let log = "until journalctl -u ovf-agent --output cat | grep -q";
    vm.run(&format!("{log} 'another process has the name'; do usleep 100000; done"))?;
    vm.run(&format!("kill {}", owner.pid))?;
    is_there(&mut vm)?;
    // What the platform has sent is applied, and what lies on the disc is not told in its place.
    let stale = said(&mut vm, &format!("{AGENT} GetParameter s ip 2>&1 || true"))?;
    ensure!(stale.contains("no OVF environment has been applied"), "{stale}");

    // The bus refuses the name, until its policy allows it.
    vm.run(&format!("mv {} /root/; systemctl reload dbus; systemctl restart ovf-agent", POLICY.0))?;
    vm.report(stage("ready"), soon())?;
    vm.run(&format!("{log} 'refuses the name org.ovf.Agent1: install its policy'; do usleep 100000; done"))?;
    vm.run(&format!("mv /root/org.ovf.Agent1.conf {}; systemctl reload dbus; ovf-agent reload", POLICY.0))?;
    is_there(&mut vm)?;

    // It is killed, and systemd starts it again when somebody asks.
    vm.run("systemctl kill --signal KILL dbus; until ! pidof dbus-daemon; do usleep 100000; done")?;
    is_there(&mut vm)?;
    vm.run("systemctl stop dbus.socket dbus.service; systemctl start dbus.socket dbus.service")?;
    is_there(&mut vm)?;
    vm.host.send(&json!({ "type": "query", "id": "3" }))?;
    vm.host.answer("3", soon())?;
    Ok(())
}
