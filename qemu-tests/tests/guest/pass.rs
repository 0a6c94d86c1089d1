//! A whole pass with systemd: what checks and verifies decide, and what units hear of it.
//!
//! How units and checks are asked is tried in `units`; here it is the agent that asks, because templates say so.

use crate::Test;
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Files, Vm};
use serde_json::Value;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("pass: a file that its check refuses is not written, and nothing of its content is told", checked),
    ("pass: what verify refuses is taken back before any unit hears of it", verified),
    ("pass: units hear of a change, once; what fails stays owed, and is paid by the next pass", told),
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

    // The unit does not take it: the platform is told, and the restart stays owed.
    let (report, log) = apply(&mut vm, "evil")?;
    assert_eq!(
        (&report["failure"]["stage"], &report["failure"]["code"]),
        (&"units".into(), &"UnitFailed".into()),
        "{log}"
    );
    assert!(log.contains("journalctl -u app.service says why"), "{log}");
    assert_eq!(report["generation"], 2);
    vm.run("sed -i s/good/evil/ /usr/lib/systemd/system/app.service && systemctl daemon-reload")?;
    let (report, log) = apply(&mut vm, "evil")?;
    assert_eq!((&report["failure"], &report["changed"]), (&Value::Null, &Value::Array(Vec::new())), "{log}");
    assert_eq!(vm.run("tail -n 1 /run/app.read")?, "word=evil\n", "the next pass has paid");
    assert_eq!(vm.run("systemctl is-active app")?, "active\n");
    let (_, log) = apply(&mut vm, "evil")?;
    assert!(!log.contains("restart of app.service"), "and only once: {log}");
    Ok(())
}
