//! A whole pass with systemd: what checks and verifies decide, and what units hear of it.
//!
//! How units and checks are asked is tried in `units`; here it is the agent that asks, because templates say so.

use crate::Test;
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Vm};
use serde_json::Value;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("pass: a file that its check refuses is not written, and nothing of its content is told", checked),
    ("pass: what verify refuses is taken back before any unit hears of it", verified),
    ("pass: units hear of a change, once", told),
    (
        "pass: one that finds nothing changed is short, until an owner, an account or a role is another",
        unchanged,
    ),
    ("pass: a unit that refuses its file has all files taken back, and the others hear of it", refused),
    ("pass: a debt that cannot be paid yet keeps no other file from being written", debts),
    ("pass: a drop-in that names no unit makes systemd read its unit files again", unit_files),
    ("pass: roles follow the parameters, outlive a boot without them, and are undone with the files", roles),
    ("pass: at boot, a unit that is ordered after the agent is neither waited for nor restarted", boot),
    ("pass: programs hear of a change where there is no systemd, and take files back", programs),
];

const CONFIGURATION: &str = "[parameters]\nword = { key = \"word\", type = \"string\", sensitive = true }\n";

fn document(word: &str) -> String {
    format!(
        r#"<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:e="http://schemas.dmtf.org/ovf/environment/1">
        <PropertySection><Property e:key="word" e:value="{word}"/></PropertySection></Environment>"#
    )
}

/// A guest whose template has these rules, and a service that reads its file.
fn guest(bench: &Bench<'_>, rules: &str) -> Result<Vm> {
    let mut vm = bench.debian(None, Connect::Later)?;
    let template = format!(
        "+++\npath = \"/etc/app.conf\"\nmode = \"0600\"\nescape = \"ini\"\n{rules}+++\nword={{{{ word }}}}\n"
    );
    let service = "[Service]\nType=oneshot\nRemainAfterExit=yes\n\
        ExecStart=/bin/sh -c 'grep -q good /etc/app.conf && cat /etc/app.conf >> /run/app.read'\n";
    let judge = "#!/bin/sh\ncat \"$1\"\nexec grep -q good \"$1\"\n";
    vm.put(
        &Files::new()
            .with("/etc/ovf-agent/agent.toml", CONFIGURATION)
            .with("/etc/ovf-agent/templates/app.tera", template)
            .with("/usr/lib/systemd/system/app.service", service)
            .with_program("/usr/local/bin/judge", judge)
            .with("/etc/app.conf", "word=good at first\n"),
    )?;
    vm.run("systemctl daemon-reload && systemctl start app")?;
    Ok(vm)
}

/// Configures it with this word; the report and the log.
fn apply(vm: &mut Vm, word: &str) -> Result<(Value, String)> {
    vm.put(&Files::new().with("/run/env.xml", document(word)))?;
    let run = vm.sh("ovf-agent apply --json --source file:/run/env.xml --log debug")?;
    let log = String::from_utf8(run.stderr)?;
    assert!(!log.contains(word), "a value is in the log: {log}");
    let report = serde_json::from_slice(&run.stdout).with_context(|| log.clone())?;
    Ok((report, log))
}

fn checked(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, "check = [\"/usr/local/bin/judge\", \"{}\"]\nrestart = [\"app.service\"]\n")?;
    let (report, log) = apply(&mut vm, "evil-s3cret")?;
    assert_eq!(
        (&report["failure"]["stage"], &report["failure"]["code"]),
        (&"check".into(), &"CheckFailed".into()),
        "{log}"
    );
    let message = report["failure"]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("check of templates/app.tera: /usr/local/bin/judge ended with exit status 1"),
        "{message}"
    );
    let path = message.split("what it said is in ").nth(1).context("where its output is")?;
    assert_eq!(vm.run(&format!("stat -c '%a %U' {path}"))?, "600 root\n");
    assert_eq!(vm.run(&format!("cat {path}"))?, "word=evil-s3cret\n", "for root alone");
    assert!(!report.to_string().contains("s3cret"), "{report}");
    assert!(!vm.run("journalctl --boot --output json")?.contains("s3cret"), "nor in the journal");
    assert_eq!(vm.run("cat /etc/app.conf; ls -A /etc | grep ovf-agent")?, "word=good at first\novf-agent\n");

    let (report, log) = apply(&mut vm, "good enough")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(vm.run("cat /etc/app.conf")?, "word=good enough\n");
    assert_eq!(vm.run("ls /run/ovf-agent | grep -c log || true")?, "0\n", "who is content leaves nothing");
    Ok(())
}

fn verified(bench: &Bench<'_>) -> Result<()> {
    let rules = "verify = [\"/usr/local/bin/judge\", \"/etc/app.conf\"]\nrestart = [\"app.service\"]\n";
    let mut vm = guest(bench, rules)?;
    let (report, log) = apply(&mut vm, "evil")?;
    assert_eq!(
        (&report["failure"]["stage"], &report["failure"]["code"]),
        (&"verify".into(), &"VerifyFailed".into()),
        "{log}"
    );
    assert_eq!(vm.run("cat /etc/app.conf /run/app.read")?, "word=good at first\nword=good at first\n");
    let (report, log) = apply(&mut vm, "good")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(vm.run("cat /run/app.read")?, "word=good at first\nword=good\n");
    Ok(())
}

fn told(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, "restart = [\"app.service\", \"nothing.service\"]\n")?;
    let (report, log) = apply(&mut vm, "good")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(vm.run("cat /run/app.read")?, "word=good at first\nword=good\n");
    let (report, log) = apply(&mut vm, "good")?;
    assert_eq!((&report["failure"], &report["changed"]), (&Value::Null, &Value::Array(Vec::new())), "{log}");
    assert_eq!(vm.run("wc -l < /run/app.read")?, "2\n", "nothing changed, so nobody hears of anything");
    Ok(())
}

/// What only the running system has; all else is in `tests/unchanged.rs`.
fn unchanged(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, "owner = \"app\"\ngroup = \"app\"\n")?;
    vm.run("echo app:x:500:500::/:/bin/false >> /etc/passwd; echo app:x:500: >> /etc/group")?;
    let is_short = |vm: &mut Vm| {
        let (report, log) = apply(vm, "good")?;
        assert_eq!(report["failure"], Value::Null, "{log}");
        anyhow::Ok(log.contains("nothing has changed since the last pass"))
    };
    let is = |vm: &mut Vm| vm.run("stat -c '%u:%g %a' /etc/app.conf");
    assert!(!is_short(&mut vm)?, "the first one");
    assert!(is_short(&mut vm)?, "the second one");
    assert_eq!(is(&mut vm)?, "500:500 600\n");
    for (what, change, want) in [
        ("the file's owner", "chown 0 /etc/app.conf", "500:500 600\n"),
        ("the file's group", "chgrp 0 /etc/app.conf", "500:500 600\n"),
        ("the file's mode", "chmod 640 /etc/app.conf", "500:500 600\n"),
        ("a user's number", "sed -i s/^app:x:500/app:x:501/ /etc/passwd", "501:500 600\n"),
        ("a group's number", "sed -i s/^app:x:500/app:x:502/ /etc/group", "501:502 600\n"),
        ("a user whom no template names", "echo other:x:9:9::/:/bin/sh >> /etc/passwd", "501:502 600\n"),
    ] {
        vm.run(change)?;
        assert!(!is_short(&mut vm)?, "{what}");
        assert_eq!(is(&mut vm)?, want, "{what}");
        assert!(is_short(&mut vm)?, "after {what}");
    }

    // Roles are seen to whatever has changed, and one that is to be undone makes a pass like any other.
    let role = "[[units]]\nname = \"app.service\"\nstate = \"started\"\n\
        [[units]]\nname = \"other.service\"\nstate = \"masked\"\n";
    let other = "[Service]\nExecStart=/bin/sleep infinity\n";
    vm.put(
        &Files::new()
            .with("/etc/ovf-agent/agent.d/role.toml", role)
            .with("/usr/lib/systemd/system/other.service", other),
    )?;
    vm.run("systemctl daemon-reload")?;
    assert!(!is_short(&mut vm)?, "a role");
    vm.run("systemctl stop app")?;
    assert!(is_short(&mut vm)?, "the same role");
    assert_eq!(vm.run("systemctl is-active app")?, "active\n");
    vm.run("rm /etc/ovf-agent/agent.d/role.toml")?;
    assert!(!is_short(&mut vm)? && !is_short(&mut vm)?, "a mask that is undone, and is then forgotten");
    assert!(is_short(&mut vm)?, "when that is done");
    Ok(())
}

/// The failure in a report: its part, its code and its message.
fn failure(report: &Value) -> (&str, &str, &str) {
    let of = |key: &str| report["failure"][key].as_str().unwrap_or_default();
    (of("stage"), of("code"), of("message"))
}

fn refused(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, "restart = [\"app.service\", \"other.service\"]\n")?;
    let other = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'cat /etc/app.conf >> /run/other.read'\n";
    let beside = "+++\npath = \"/etc/systemd/system/other.service.d/told.conf\"\n+++\n[Service]\nEnvironment=TOLD=yes\n";
    vm.put(
        &Files::new()
            .with("/usr/lib/systemd/system/other.service", other)
            .with("/etc/ovf-agent/templates/told.tera", beside),
    )?;
    vm.run("mkdir -p /etc/systemd/system/other.service.d; systemctl daemon-reload && systemctl start other")?;
    let told = "systemctl show --value --property Environment other";

    let (report, log) = apply(&mut vm, "evil")?;
    let (part, code, message) = failure(&report);
    assert_eq!((part, code), ("units", "UnitFailed"), "{log}");
    assert!(
        message.starts_with("nothing was changed: restart of app.service ended with \"failed\""),
        "{message}"
    );
    assert!(message.contains("journalctl -u app.service says why"), "{message}");
    assert!(!message.contains("with the files of before"), "{message}");
    assert_eq!((&report["generation"], &report["changed"]), (&0.into(), &Value::Array(Vec::new())));
    assert_eq!(
        vm.run("cat /etc/app.conf; ls -A /etc | grep '#'; ls -A /etc/systemd/system/other.service.d")?,
        "word=good at first\n"
    );
    assert_eq!(vm.run(told)?, "\n", "systemd knows the old drop-ins again");
    assert_eq!(
        vm.run("systemctl is-active app other")?,
        "active\nactive\n",
        "it runs with the file of before"
    );
    assert_eq!(vm.run("tail -n 1 /run/app.read")?, "word=good at first\n");
    assert_eq!(vm.run("cat /run/other.read")?, "word=good at first\nword=evil\nword=good at first\n");
    assert_eq!(vm.run("grep -c owed /var/lib/ovf-agent/state.json || true")?, "0\n");

    let (report, log) = apply(&mut vm, "good")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(
        (vm.run(told)?, vm.run("tail -n 1 /run/other.read")?),
        ("TOLD=yes\n".into(), "word=good\n".into())
    );

    // It does not start with the old file either: the restart is owed, and paid by a pass in which it can.
    vm.run("sed -i s/good/right/ /usr/lib/systemd/system/app.service && systemctl daemon-reload")?;
    let (report, log) = apply(&mut vm, "evil")?;
    let (_, _, message) = failure(&report);
    assert!(message.contains("; and with the files of before: restart of app.service"), "{message} {log}");
    assert_eq!(vm.run("cat /etc/app.conf; systemctl is-active app || true")?, "word=good\nfailed\n");
    assert!(
        vm.run("ovf-agent plan --source file:/run/env.xml")?
            .contains("app.service: would restart if it runs\n")
    );
    let (report, log) = apply(&mut vm, "right")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(vm.run("systemctl is-active app; tail -n 1 /run/app.read")?, "active\nword=right\n");
    let (_, log) = apply(&mut vm, "right")?;
    assert!(!log.contains("restart of app.service"), "it is owed once: {log}");
    Ok(())
}

fn debts(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, "restart = [\"app.service\"]\n")?;
    let beside =
        "+++\npath = \"/etc/beside.conf\"\nmode = \"0600\"\nescape = \"ini\"\n+++\nword={{ word }}\n";
    // The restart of an earlier pass, that was cut short.
    let owed = r#"{"version":2,"generation":1,"environment":null,"agent":"0","owed":{"units":{"app.service":"restart"}}}"#;
    vm.put(&Files::new().with("/etc/ovf-agent/templates/beside.tera", beside).with("/etc/beside.conf", ""))?;
    vm.run("mv /etc/ovf-agent/templates/app.tera /run; mkdir -p -m 700 /var/lib/ovf-agent; echo 'word=evil' > /etc/app.conf")?;
    vm.put(&Files::new().with("/var/lib/ovf-agent/state.json", owed))?;
    let (report, log) = apply(&mut vm, "new")?;
    let (part, _, message) = failure(&report);
    assert_eq!(part, "units", "{log}");
    assert!(
        message.starts_with("the files are right, but not everybody has taken them: restart of app.service"),
        "{message}"
    );
    assert_eq!(vm.run("cat /etc/beside.conf")?, "word=new\n", "what is not its file stays");
    vm.run("echo 'word=good' > /etc/app.conf")?;
    let (report, log) = apply(&mut vm, "new")?;
    assert_eq!((&report["failure"], &report["changed"]), (&Value::Null, &Value::Array(Vec::new())), "{log}");
    assert_eq!(
        vm.run("systemctl is-active app; tail -n 1 /run/app.read")?,
        "active\nword=good\n",
        "the debt is paid"
    );
    Ok(())
}

fn unit_files(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, "")?;
    let drop_in =
        "+++\npath = \"/etc/systemd/system/app.service.d/told.conf\"\n+++\n[Service]\nEnvironment=TOLD=yes\n";
    vm.put(&Files::new().with("/etc/ovf-agent/templates/told.tera", drop_in))?;
    vm.run("mkdir -p /etc/systemd/system/app.service.d")?;
    let needs = "systemctl show --value --property NeedDaemonReload,Environment app | paste -s -d ,";
    let (report, log) = apply(&mut vm, "good")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(vm.run(needs)?, "TOLD=yes,no\n", "{log}");
    assert_eq!(vm.run("cat /run/app.read")?, "word=good at first\n", "nobody asked for a restart");
    vm.run("rm /etc/ovf-agent/templates/told.tera")?;
    let (report, log) = apply(&mut vm, "good")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(vm.run(needs)?, ",no\n", "also when it goes: {log}");
    Ok(())
}

fn roles(bench: &Bench<'_>) -> Result<()> {
    let mut vm = guest(bench, "restart = [\"app.service\"]\n")?;
    let roles = "[parameters]\nword = { key = \"word\", type = \"string\", default = \"good\" }\n\
        [[units]]\nname = \"one.service\"\nstate = \"started\"\nwhen = \"word != 'good'\"\n\
        [[units]]\nname = \"two.service\"\nstate = \"masked\"\nwhen = \"word != 'good'\"\n";
    let service = "[Service]\nExecStart=/bin/sleep infinity\n";
    vm.put(
        &Files::new()
            .with("/etc/ovf-agent/agent.toml", roles)
            .with("/usr/lib/systemd/system/one.service", service)
            .with("/usr/lib/systemd/system/two.service", service),
    )?;
    vm.run("systemctl daemon-reload; systemctl start two")?;
    let is = |vm: &mut Vm| {
        vm.run(
            "systemctl show --value --property LoadState,ActiveState one two | paste -s -d ' ' | tr -s ' '",
        )
    };
    let (old, new) = ("loaded inactive loaded active\n", "loaded active masked inactive\n");
    assert_eq!(is(&mut vm)?, old);

    // app does not take the file: the roles of before are back too, which are those of no pass at all.
    let (report, log) = apply(&mut vm, "evil")?;
    assert_eq!(failure(&report).1, "UnitFailed", "{log}");
    assert_eq!(
        vm.run("systemctl show --value --property LoadState two")?,
        "loaded\n",
        "no mask stays: {log}"
    );

    vm.run("sed -i s/good/./ /usr/lib/systemd/system/app.service && systemctl daemon-reload; systemctl start two; systemctl stop one")?;
    let (report, log) = apply(&mut vm, "evil")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(is(&mut vm)?, new, "{log}");

    // A boot without an environment keeps what was applied last, roles included; nothing is written for it.
    vm.run("systemctl stop one; stat -c %Y%i /var/lib/ovf-agent/state.json > /run/before")?;
    let run = vm.sh("ovf-agent apply --json")?;
    let report: Value = serde_json::from_slice(&run.stdout)?;
    assert_eq!((&report["failure"], report["source"].as_str()), (&Value::Null, Some("none")));
    assert_eq!(is(&mut vm)?, new);
    vm.run("stat -c %Y%i /var/lib/ovf-agent/state.json | cmp - /run/before")?;

    let (report, log) = apply(&mut vm, "good")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(is(&mut vm)?, "loaded inactive loaded inactive\n", "unmasked, which is not started: {log}");

    // A role whose table is gone leaves no mask.
    apply(&mut vm, "evil")?;
    assert_eq!(is(&mut vm)?, new);
    vm.put(&Files::new().with("/etc/ovf-agent/agent.toml", CONFIGURATION))?;
    let (report, log) = apply(&mut vm, "evil")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(is(&mut vm)?, "loaded active loaded inactive\n", "{log}");
    Ok(())
}

/// The agent as a unit of the boot, and a service that is ordered after it and named by a template.
fn boot(bench: &Bench<'_>) -> Result<()> {
    let agent = "[Unit]\nDefaultDependencies=no\nAfter=local-fs.target early.service\nWants=early.service\nBefore=sysinit.target\n\
        [Service]\nType=oneshot\nRemainAfterExit=yes\nStandardOutput=file:/run/report\nStandardError=journal\n\
        ExecStart=/bin/ovf-agent apply --json --source file:/etc/env.xml\n";
    let early = "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
        ExecStart=/bin/sh -c 'cat /etc/app.conf >> /run/early.read'\n";
    let after = "[Unit]\nAfter=agent.service\nRequires=agent.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
        ExecStart=/bin/sh -c 'cat /etc/app.conf >> /run/after.read'\n";
    let template = "+++\npath = \"/etc/app.conf\"\nmode = \"0600\"\nescape = \"ini\"\n\
        check = [\"/bin/grep\", \"-q\", \"word=good\", \"{}\"]\n\
        restart = [\"after.service\", \"early.service\"]\n+++\nword={{ word }}\n";
    let wants = "/etc/systemd/system/multi-user.target.wants/after.service";
    let files = Files::new()
        .with("/etc/ovf-agent/agent.toml", CONFIGURATION)
        .with("/etc/ovf-agent/templates/app.tera", template)
        .with("/etc/env.xml", document("good"))
        .with("/etc/app.conf", "word=old\n")
        .with("/usr/lib/systemd/system/agent.service", agent)
        .with("/usr/lib/systemd/system/early.service", early)
        .with("/usr/lib/systemd/system/after.service", after)
        .with_link(wants, "/usr/lib/systemd/system/after.service")
        .with_link(
            "/etc/systemd/system/sysinit.target.wants/agent.service",
            "/usr/lib/systemd/system/agent.service",
        );
    let mut vm = bench.boot_debian(&Machine::from(Drive::None), &files, Connect::Later)?;
    vm.booted()?;
    let report: Value = serde_json::from_str(&vm.run("cat /run/report")?)?;
    assert_eq!(report["failure"], Value::Null, "{report}");
    assert_eq!(vm.run("cat /run/after.read")?, "word=good\n", "it was started once, after us");
    assert_eq!(vm.run("cat /run/early.read")?, "word=old\nword=good\n", "it ran already");
    assert_eq!(vm.run("systemctl is-active agent after early")?, "active\nactive\nactive\n");
    assert_eq!(vm.run("journalctl --boot --quiet --grep 'ordering cycle' || true")?, "");
    let took = vm.run("systemd-analyze blame | grep agent.service")?;
    bench.measured(took.split_whitespace().next().context("a time")?);
    Ok(())
}

fn programs(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(None, Connect::Later)?;
    let hears = "#!/bin/sh\ncat /etc/app.conf >> /run/heard\nexec grep -q good /etc/app.conf\n";
    let template = "+++\npath = \"/etc/app.conf\"\nmode = \"0600\"\nescape = \"ini\"\nrestart = [\"app.service\"]\n\
        on-change = [[\"/bin/hears\", \"a word\"]]\n+++\nword={{ word }}\n";
    vm.put(
        &Files::new()
            .with("/etc/ovf-agent/agent.toml", CONFIGURATION)
            .with("/etc/ovf-agent/templates/app.tera", template)
            .with_program("/bin/hears", hears)
            .with("/etc/app.conf", "word=good at first\n"),
    )?;
    let (report, log) = apply(&mut vm, "good")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    let (report, log) = apply(&mut vm, "good")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(vm.run("cat /run/heard")?, "word=good\n", "once");
    let (report, log) = apply(&mut vm, "evil")?;
    let (part, code, message) = failure(&report);
    assert_eq!((part, code), ("units", "UnitFailed"), "{log}");
    assert!(
        message
            .starts_with("nothing was changed: on-change of /bin/hears: /bin/hears ended with exit status 1"),
        "{message}"
    );
    assert_eq!(vm.run("cat /etc/app.conf /run/heard")?, "word=good\nword=good\nword=evil\nword=good\n");
    Ok(())
}
