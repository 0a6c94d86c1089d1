//! What the agent asks of systemd, asked of a real one: by `agent/examples/units.rs`, which is nothing but a command line
//! before the agent's modules.

use crate::Test;
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Vm};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("units: at boot, before the bus, a unit that waits for the asker is not waited for", boot),
    ("units: one that runs is restarted or reloaded once, and one that does not is left alone", running),
    ("units: a restart that fails is told with its result, and is recovered from when asked again", failing),
    ("units: a drop-in is in force after a reload, and not without one", drop_in),
    ("units: roles start, stop and mask, and take it back", roles),
    ("units: a check is a unit of its own: accepted, refused, killed, late, missing", checks),
    ("units: what a check prints is for root alone, and nothing of its value is anywhere else", secret),
    ("units: without systemd a check is a child, with the same outcome and no zombie", child),
];

/// A service that says in a file what it had read when it was started and reloaded. A trial starts it more often than
/// systemd lets others be started.
const SERVICE: &str = "[Unit]
StartLimitIntervalSec=0
[Service]
Type=notify
NotifyAccess=all
ExecStart=/bin/sh -c 'cat /etc/app.conf >> /run/%N.read; systemd-notify --ready; exec sleep infinity'
";

/// The same, which can reload by itself.
const RELOADED: &str = "ExecReload=/bin/sh -c 'cat /etc/app.conf >> /run/%N.reloaded'\n";

fn guest(bench: &Bench<'_>) -> Result<Vm> {
    let mut vm = bench.debian(None, Connect::Later)?;
    vm.put(&services(bench)?)?;
    vm.run("systemctl daemon-reload && systemctl start plain reloads")?;
    Ok(vm)
}

fn services(bench: &Bench<'_>) -> Result<Files> {
    Ok(bench
        .inside("units")?
        .with("/usr/lib/systemd/system/plain.service", SERVICE)
        .with("/usr/lib/systemd/system/reloads.service", format!("{SERVICE}{RELOADED}"))
        .with("/usr/lib/systemd/system/idle.service", SERVICE)
        .with("/etc/app.conf", "old\n"))
}

/// What the example printed, and whether it went well.
fn units(vm: &mut Vm, arguments: &str) -> Result<(bool, String)> {
    let run = vm.sh(&format!("units {arguments}"))?;
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let error = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.ends_with("threads: 1\n"), "{arguments}: {said}{error}");
    Ok((run.status == 0, said))
}

fn pid(vm: &mut Vm, unit: &str) -> Result<String> {
    vm.run(&format!("systemctl show --value --property MainPID {unit}"))
}

fn running(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench)?;
    for driven in ["", "--steps"] {
        vm.run(
            "echo old > /etc/app.conf; systemctl restart plain reloads; rm -f /run/*.reloaded /run/*.read",
        )?;
        vm.run("echo new > /etc/app.conf")?;
        let (plain, reloads) = (pid(&mut vm, "plain")?, pid(&mut vm, "reloads")?);
        let all = "reload:plain.service restart:plain.service reload:reloads.service restart:idle.service \
                   restart:none.service";
        let (is_well, said) = units(&mut vm, &format!("{driven} {all}"))?;
        assert!(is_well, "{said}");
        assert!(said.contains("restart plain.service done: "), "{said}");
        assert!(said.contains("reload reloads.service done: "), "{said}");
        assert!(said.contains("restart idle.service not-needed: "), "{said}");
        assert!(said.contains("there is no such unit"), "{said}");
        assert_eq!(vm.run("cat /run/plain.read")?, "new\n", "started once, with the new file");
        assert_eq!(vm.run("cat /run/reloads.reloaded")?, "new\n", "reloaded once");
        assert_ne!(pid(&mut vm, "plain")?, plain);
        assert_eq!(pid(&mut vm, "reloads")?, reloads, "a reload is no restart");
        assert_eq!(pid(&mut vm, "idle")?, "0\n");
    }
    // One that can only restart does that.
    let before = pid(&mut vm, "plain")?;
    let (is_well, said) = units(&mut vm, "reload:plain.service")?;
    assert!(is_well, "{said}");
    assert_ne!(pid(&mut vm, "plain")?, before);

    for asker in ["units restart:idle.service", "systemctl try-restart idle.service"] {
        let cpu = vm.run(&format!("bash -c 'TIMEFORMAT=%U+%S; time {asker} > /run/out' 2>&1"))?;
        bench.measured(format!("{asker} took {} s of CPU", cpu.trim()));
    }
    Ok(())
}

fn failing(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench)?;
    // It will not start any more.
    vm.run("rm /etc/app.conf && mkdir /etc/systemd/system/plain.service.d")?;
    let strict = "[Service]\nExecStartPre=/usr/bin/test -e /etc/app.conf\n";
    vm.put(&Files::new().with("/etc/systemd/system/plain.service.d/strict.conf", strict))?;
    let (is_well, said) = units(&mut vm, "--reload restart:plain.service restart:reloads.service")?;
    assert!(!is_well);
    assert!(said.contains("daemon-reload: done"), "{said}");
    assert!(said.contains("restart plain.service failed: "), "{said}");
    assert!(said.contains("journalctl -u plain.service"), "{said}");
    assert!(said.contains("restart reloads.service done: "), "the others are not kept waiting: {said}");

    // By itself it owes nothing now; but we owe it.
    vm.run("echo mended > /etc/app.conf")?;
    let (_, said) = units(&mut vm, "restart:plain.service")?;
    assert!(said.contains("restart plain.service not-needed: "), "{said}");
    let (is_well, said) = units(&mut vm, "recover:plain.service")?;
    assert!(is_well && said.contains("restart plain.service done: "), "{said}");
    assert_eq!(vm.run("tail -n 1 /run/plain.read")?, "mended\n");

    // One that does not end.
    let slow = "[Service]\nExecStartPre=/bin/sleep infinity\n";
    vm.put(&Files::new().with("/etc/systemd/system/plain.service.d/strict.conf", slow))?;
    let (is_well, said) = units(&mut vm, "--limit 2 --reload restart:plain.service")?;
    assert!(!is_well && said.contains("restart plain.service late: "), "{said}");
    Ok(())
}

fn drop_in(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench)?;
    vm.run("mkdir /etc/systemd/system/plain.service.d")?;
    let drop_in = "[Service]\nEnvironment=TOLD=yes\n";
    vm.put(&Files::new().with("/etc/systemd/system/plain.service.d/told.conf", drop_in))?;
    let told = |vm: &mut Vm| {
        let environment = "systemctl show --value --property MainPID plain | (read -r pid; \
                           tr '\\0' '\\n' < /proc/$pid/environ | grep -c TOLD= || :)";
        vm.run(environment)
    };
    let (is_well, said) = units(&mut vm, "restart:plain.service")?;
    assert!(is_well, "{said}");
    assert_eq!(told(&mut vm)?, "0\n", "this is why a reload is needed");
    let (is_well, said) = units(&mut vm, "--reload restart:plain.service")?;
    assert!(is_well, "{said}");
    assert_eq!(told(&mut vm)?, "1\n");
    Ok(())
}

fn roles(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench)?;
    let is = |vm: &mut Vm, unit: &str| {
        vm.run(&format!("systemctl show --value --property LoadState,ActiveState {unit} | paste -s -d ' '"))
    };
    // (what is asked for, which unit, what it is then)
    for (role, unit, want) in [
        ("started", "idle", "loaded active\n"),
        ("!started", "idle", "loaded inactive\n"),
        ("stopped", "plain", "loaded inactive\n"),
        ("!stopped", "plain", "loaded inactive\n"),
        ("masked", "reloads", "masked inactive\n"),
        ("!masked", "reloads", "loaded inactive\n"),
        ("masked", "reloads", "masked inactive\n"),
        ("started", "reloads", "loaded active\n"),
    ] {
        for driven in ["once", "again"] {
            let (is_well, said) = units(&mut vm, &format!("{role}:{unit}.service"))?;
            assert!(is_well, "{role} {unit} {driven}: {said}");
            let got = is(&mut vm, unit)?;
            let mut words = [got.split_whitespace().collect::<Vec<_>>(), want.split_whitespace().collect()];
            words.iter_mut().for_each(|words| words.sort_unstable());
            assert_eq!(words[0], words[1], "{role} {unit} {driven}: {said}");
            let changes = driven == "once" && role != "!stopped";
            assert_eq!(changes, said != "threads: 1\n", "{role} {unit} {driven}: {said}");
        }
    }
    // A restart beside a role is one thing too many.
    let (_, said) = units(&mut vm, "started:idle.service restart:idle.service stopped:reloads.service")?;
    assert!(said.contains("start idle.service done"), "{said}");
    assert!(said.contains("restart idle.service not-needed"), "{said}");
    assert_eq!(vm.run("wc -l < /run/idle.read")?, "2\n", "started twice in all, and never restarted");

    // A unit file in /etc goes before a mask.
    vm.put(&Files::new().with("/etc/systemd/system/own.service", SERVICE))?;
    let (is_well, said) = units(&mut vm, "--reload masked:own.service")?;
    assert!(!is_well, "{said}");
    assert!(said.contains("mask own.service"), "{said}");
    Ok(())
}

fn checks(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench)?;
    judge(&mut vm)?;
    assert_eq!(vm.run("systemctl --failed --quiet; systemctl list-units --quiet --all 'ovf-agent-*'")?, "");
    // It may write where programs leave their logs and PID files, and nowhere else.
    let (is_well, said) = units(&mut vm, "check a x sh -c ': > /run/a.pid && : > /var/log/a.log'")?;
    assert!(is_well, "{said}");
    let (is_well, said) = units(&mut vm, "check a x sh -c ': > /etc/a.conf'")?;
    assert!(!is_well, "{said}");
    vm.run("! [ -e /etc/a.conf ]")?;
    let (is_well, said) = units(&mut vm, "check a x sh -c '[ $(cat /proc/sys/kernel/osrelease) ]'")?;
    assert!(is_well, "{said}");
    Ok(())
}

/// The same table for both ways to run a check.
fn judge(vm: &mut Vm) -> Result<()> {
    vm.run("echo good > /etc/.#ovf-agent.1.app.conf")?;
    for driven in ["", "--steps"] {
        // (program, limit in seconds, whether it accepts, what is said of it)
        for (program, limit, accepts, said_of_it) in [
            ("grep -q good {}", 60, true, "accepted\n"),
            ("/usr/bin/test -f {}", 60, true, "accepted\n"),
            (
                "grep -q bad {}",
                60,
                false,
                "grep ended with exit status 1; what it said is in /run/ovf-agent/check-app-conf.log",
            ),
            ("sh -c 'exit 77'", 60, false, "Exit(77)"),
            ("sh -c 'kill -TERM $$; sleep infinity'", 60, false, "Signal(15)"),
            ("sh -c 'sleep infinity & sleep infinity'", 2, false, "did not end within 2 s"),
            (
                "/usr/sbin/no-such-program {}",
                60,
                false,
                "there is no program /usr/sbin/no-such-program; install it",
            ),
            ("/etc/hostname {}", 60, false, "there is no program /etc/hostname"),
            (
                "sh -c '[ $PATH ] && [ $LANG = C ] && ! read line && [ $(umask) = 0077 ]'",
                60,
                true,
                "accepted\n",
            ),
        ] {
            let file = "'/etc/.#ovf-agent.1.app.conf'";
            let arguments =
                format!("{driven} --limit {limit} check templates/app.conf.tera {file} {program}");
            let (is_well, said) = units(vm, &arguments)?;
            assert_eq!(is_well, accepts, "{arguments}: {said}");
            assert!(said.contains(said_of_it), "{arguments}: {said}");
            assert!(!said.contains("good"), "{said}");
        }
    }
    let sleeping = vm.run("grep -lx sleep /proc/[0-9]*/comm | wc -l")?;
    assert_eq!(sleeping, "2\n", "those of the two services; what a check has started is gone");
    Ok(())
}

fn secret(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench)?;
    vm.run("umask 077; echo 'password = hunter2' > /etc/.#ovf-agent.1.app.conf")?;
    let blab = "sh -c 'cat $1; cat $1 >&2; exit 1' sh {}";
    for (kind, bus) in [("check", true), ("verify", true), ("check", false)] {
        if !bus {
            vm.run("mv /run/systemd/system /run/systemd/elsewhere")?;
        }
        let (is_well, said) =
            units(&mut vm, &format!("{kind} app.conf '/etc/.#ovf-agent.1.app.conf' {blab}"))?;
        assert!(!is_well && !said.contains("hunter2"), "{said}");
        let log = format!("/run/ovf-agent/{kind}-app-conf.log");
        assert!(said.contains(&log), "{said}");
        assert_eq!(
            vm.run(&format!("stat -c '%a %U' {log}; cat {log}"))?,
            "600 root\npassword = hunter2\npassword = hunter2\n"
        );
    }
    vm.run("mv /run/systemd/elsewhere /run/systemd/system")?;
    let journal = vm.run("journalctl --sync; journalctl --boot --output export")?;
    assert!(!journal.contains("hunter2"), "the journal has it");
    assert!(journal.contains("check of app.conf"), "what was done is there");
    Ok(())
}

fn child(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench)?;
    vm.run("mv /run/systemd/system /run/systemd/elsewhere")?;
    judge(&mut vm)?;
    vm.run("mv /run/systemd/elsewhere /run/systemd/system")?;
    assert_eq!(vm.run("grep -l '^State:.Z' /proc/[0-9]*/status | wc -l")?, "0\n");
    Ok(())
}

/// The asker as a unit of the boot, and all who may have to wait for it.
fn boot(bench: &Bench<'_>) -> Result<()> {
    let asker = "[Unit]
DefaultDependencies=no
After=local-fs.target early.service
Wants=early.service
Before=sysinit.target
[Service]
Type=oneshot
StandardOutput=append:/run/asked
ExecStart=-/usr/local/bin/units --limit 60 restart:after.service restart:early.service started:idle.service \\
    stopped:unwanted.service
ExecStart=-/usr/local/bin/units check app /etc/app.conf grep -q old {}
ExecStart=-/bin/sh -c '[ -S /run/dbus/system_bus_socket ] || echo there is no bus'
RemainAfterExit=yes
";
    let early = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep infinity\n";
    let after = format!("{SERVICE}[Unit]\nAfter=asker.service\n");
    let wanted = "/etc/systemd/system/multi-user.target.wants";
    let files = services(bench)?
        .with("/usr/lib/systemd/system/asker.service", asker)
        .with("/usr/lib/systemd/system/early.service", early)
        .with("/usr/lib/systemd/system/after.service", after.as_str())
        .with("/usr/lib/systemd/system/unwanted.service", SERVICE)
        .with_link(
            "/etc/systemd/system/sysinit.target.wants/asker.service",
            "/usr/lib/systemd/system/asker.service",
        )
        .with_link(&format!("{wanted}/after.service"), "/usr/lib/systemd/system/after.service")
        .with_link(&format!("{wanted}/unwanted.service"), "/usr/lib/systemd/system/unwanted.service");
    let mut vm = bench.boot_debian(&Machine::from(Drive::None), &files, Connect::Later)?;
    vm.booted()?;
    let said = vm.run("cat /run/asked")?;
    assert!(said.contains("restart after.service not-needed: "), "{said}");
    assert!(said.contains("about to start"), "{said}");
    assert!(said.contains("restart early.service done: "), "{said}");
    assert!(
        said.contains("start idle.service queued: "),
        "its job waits for sysinit.target, and that for us: {said}"
    );
    assert!(said.contains("stop unwanted.service done: "), "{said}");
    assert!(said.contains("accepted"), "{said}");
    assert!(said.contains("there is no bus"), "{said}");
    assert_eq!(
        vm.run("systemctl is-active after idle unwanted asker || :")?,
        "active\nactive\ninactive\nactive\n"
    );
    assert_eq!(vm.run("cat /run/after.read")?, "old\n", "started once");
    let took = vm.run("systemd-analyze blame | grep asker.service")?;
    bench.measured(took.split_whitespace().next().context("a time")?);

    // Asked again while all of it runs: now the restart waits for the asker to be started, and nobody for it.
    vm.run("rm /run/asked; systemctl stop dbus.socket dbus.service; systemctl restart asker")?;
    let said = vm.run("cat /run/asked")?;
    assert!(said.contains("restart after.service queued: "), "{said}");
    vm.run("until [ $(wc -l < /run/after.read) = 2 ]; do usleep 100000; done")?;
    Ok(())
}
