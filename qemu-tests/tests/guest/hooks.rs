//! Hooks in a real guest: what they are told and by which way, what becomes of a pass when one fails, and that first-boot
//! ones belong to an instance. With systemd they are units; without it children.

use crate::Test;
use crate::appliance::{soon, stage, start_agent};
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Vm};
use serde_json::{Value, json};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    (
        "hooks: each is told its parameters on standard input, and a secret nowhere else; as unit and as child",
        told,
    ),
    (
        "hooks: one that fails or hangs fails its pass, and is owed to the next, which is told the old version",
        owed,
    ),
    (
        "hooks: first-boot ones run once: not after a reboot, again in a copy, which makes secrets of its own",
        copied,
    ),
    ("hooks: those of a guest that is ready keep neither the report nor each other, whatever they do", ready),
];

const CONFIGURATION: &str = r#"[appliance]
version = "1"
[hooks]
timeout = "60s"
[parameters]
word = { key = "word", type = "string", multiline = true }
password = { key = "password", type = "string", sensitive = true }
token = { key = "token", type = "string", generate = "alnum:24" }
number = { key = "number", type = "int", default = 7 }
[derived]
twice = "{{ number }} and {{ number }}"
login = "{{ password }}!"
"#;

const TEMPLATE: &str = "+++\npath = \"/etc/app.conf\"\nmode = \"0600\"\nescape = \"json\"\n+++\n\
    [{{ word | json }}, {{ password | json }}, {{ token | json }}]\n";

const MOMENTS: [&str; 3] = ["before-apply", "first-boot", "after-apply"];

/// Keeps all that it is told, and all that others could see of it.
const KEEP: &str = r#"#!/bin/sh
set -e
mkdir -p -m 700 /run/told/$OVF_HOOK
cd /run/told/$OVF_HOOK
mkdir -p got
ovf-agent get login --show-sensitive > got/input
cat > input
ovf-agent get token --show-sensitive >> got/input
env > environment
tr '\0' '\n' < /proc/$$/cmdline > arguments
if [ -d /run/systemd/system ]; then
    systemctl show 'ovf-agent-hook-*' > unit
    systemctl cat 'ovf-agent-hook-*' >> unit
    grep -q ovf-agent-hook- /proc/self/cgroup
fi
echo "what it says, with $(grep -o s3cret input | head -n 1)"
"#;

/// Waits until it may go on, and fails where it is told so.
const WAIT: &str = r#"#!/bin/sh
until [ -e /run/go ]; do usleep 10000; done
grep -q '"hook":"ready","generation":1,.*"first_boot":true' || exit 9
echo "${0##*/}" >> /run/ran
! grep -qx ${0##*/} /run/failing
"#;

/// Says that it was run, and fails or hangs where it is told so.
const COUNT: &str = r#"#!/bin/sh
cat > /dev/null
name=$OVF_HOOK/${0##*/}
echo "$name $OVF_APPLIANCE_VERSION ${OVF_PREVIOUS_VERSION-none}" >> /run/ran
[ -e /run/hang ] && { sleep infinity & sleep infinity; }
echo "it fails"
! grep -qx $name /run/failing
"#;

fn appliance(hooks: &[&str], script: &str) -> Files {
    let files = Files::new()
        .with("/etc/ovf-agent/agent.toml", CONFIGURATION)
        .with("/etc/ovf-agent/templates/app.tera", TEMPLATE)
        .with("/run/failing", "");
    hooks
        .iter()
        .fold(files, |files, hook| files.with_program(&format!("/etc/ovf-agent/hooks.d/{hook}"), script))
}

fn document(word: &str) -> String {
    format!(
        r#"<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:e="http://schemas.dmtf.org/ovf/environment/1"
        e:id="A"><PropertySection><Property e:key="word" e:value="{word}"/><Property e:key="password" e:value="s3cret"/>
        </PropertySection></Environment>"#
    )
}

/// Configures the guest; the report and the log.
fn apply(vm: &mut Vm, word: &str) -> Result<(Value, String)> {
    vm.put(&Files::new().with("/root/env.xml", document(word)))?;
    let run = vm.sh("ovf-agent apply --json --source file:/root/env.xml --log debug")?;
    let log = String::from_utf8(run.stderr)?;
    assert!(!log.contains("s3cret"), "a secret is in the log: {log}");
    let report: Value = serde_json::from_slice(&run.stdout).with_context(|| log.clone())?;
    assert!(!report.to_string().contains("s3cret"), "{report}");
    Ok((report, log))
}

fn message(report: &Value) -> String {
    assert_eq!(
        (&report["failure"]["stage"], &report["failure"]["code"]),
        (&"hooks".into(), &"HookFailed".into())
    );
    report["failure"]["message"].as_str().unwrap_or_default().to_owned()
}

/// The hooks that were run since this was last asked.
fn ran(vm: &mut Vm) -> Result<Vec<String>> {
    let text = vm.run("[ ! -e /run/ran ] || cat /run/ran; rm -f /run/ran")?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn told(bench: &Bench<'_>) -> Result<()> {
    let hooks = MOMENTS.map(|moment| format!("{moment}/10-keep"));
    let hooks: Vec<_> = hooks.iter().map(String::as_str).collect();
    let mut vm = bench.debian(None, Connect::Later)?;
    vm.put(&appliance(&hooks, KEEP))?;
    for (as_unit, generation) in [(true, 1), (false, 1)] {
        vm.run("rm -rf /run/told /etc/app.conf /var/lib/ovf-agent")?;
        if !as_unit {
            vm.run("mv /run/systemd/system /run/systemd/elsewhere")?;
        }
        let (report, log) = apply(&mut vm, "a&#10;b")?;
        assert_eq!(report["failure"], Value::Null, "{log}");
        let config: Value = serde_json::from_slice(&vm.get("/etc/app.conf")?)?;
        for moment in MOMENTS {
            let directory = format!("/run/told/{moment}");
            let input: Value = serde_json::from_slice(&vm.get(&format!("{directory}/input"))?)?;
            let want = json!({
                "hook": moment,
                "generation": generation,
                "parameters": { "word": "a\nb", "password": "s3cret", "token": config[2], "number": 7 },
                "derived": { "twice": "7 and 7", "login": "s3cret!" },
                "environment": { "id": "A" },
                "hypervisor": "qemu",
                "first_boot": true,
                "version": "1",
                "previous_version": null,
                "changed": ["/etc/app.conf"],
            });
            assert_eq!(input, want, "{moment}");
            let got = vm.run(&format!("cat {directory}/got/input"))?;
            assert_eq!(got, format!("s3cret!\n{}\n", config[2].as_str().context("a token")?));
            let environment = vm.run(&format!("grep ^OVF_ {directory}/environment | sort"))?;
            let want = format!(
                "OVF_APPLIANCE_VERSION=1\nOVF_HOOK={moment}\nOVF_NUMBER=7\nOVF_TWICE=7 and 7\nOVF_WORD=a\n"
            );
            assert_eq!(environment, want, "the first line of each");
            assert_eq!(
                vm.run(&format!("cat {directory}/arguments"))?,
                format!("/bin/sh\n/etc/ovf-agent/hooks.d/{moment}/10-keep\n")
            );
            assert_eq!(vm.run(&format!("[ -e {directory}/unit ] && echo unit || :"))? == "unit\n", as_unit);
        }
        let token = config[2].as_str().context("a token")?;
        for secret in ["s3cret", token] {
            let found = vm.run(&format!(
                "grep -rl {secret} --exclude-dir=control /run /tmp | grep -v '/input$' || :"
            ))?;
            assert_eq!(found, "", "a secret is where it should not be");
        }
    }
    vm.run("mv /run/systemd/elsewhere /run/systemd/system")?;
    let journal = vm.run("journalctl --sync; journalctl --boot --output export")?;
    assert!(!journal.contains("s3cret"), "the journal has it");
    assert!(journal.contains("hook of first-boot/10-keep"), "what was done is there");
    assert_eq!(
        vm.run("systemctl list-units --quiet --all 'ovf-agent-*'; ls /run/ovf-agent | grep log || :")?,
        ""
    );
    Ok(())
}

fn owed(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.debian(None, Connect::Later)?;
    let hooks =
        ["before-apply/10-b", "first-boot/10-f", "first-boot/20-f", "after-apply/10-a", "after-apply/20-a"];
    vm.put(&appliance(&hooks, COUNT))?;

    vm.run("echo before-apply/10-b > /run/failing")?;
    let (report, log) = apply(&mut vm, "one")?;
    assert_eq!(
        message(&report),
        "nothing was changed: hook before-apply/10-b ended with exit status 1; what it said is in \
         /run/ovf-agent/hook-before-apply-10-b.log",
        "{log}"
    );
    let said = "/run/ovf-agent/hook-before-apply-10-b.log";
    assert_eq!(vm.run(&format!("stat -c '%a %U' {said}; cat {said}"))?, "600 root\nit fails\n");
    vm.run("[ ! -e /etc/app.conf ] && [ -z \"$(ls -A /etc | grep 'ovf-agent[.]')\" ]")?;
    assert_eq!(ran(&mut vm)?, ["before-apply/10-b 1 none"]);

    vm.run("echo first-boot/20-f > /run/failing")?;
    let (report, log) = apply(&mut vm, "one")?;
    assert!(
        message(&report)
            .starts_with("the files are written, but hook first-boot/20-f ended with exit status 1; "),
        "{log}"
    );
    assert_eq!((&report["generation"], &report["changed"]), (&1.into(), &json!(["/etc/app.conf"])));
    assert_eq!(
        ran(&mut vm)?,
        ["before-apply/10-b 1 none", "first-boot/10-f 1 none", "first-boot/20-f 1 none"]
    );
    let plan = vm.run("ovf-agent plan --source file:/root/env.xml | grep 'would run'")?;
    let left = "would run: first-boot/20-f\nwould run: after-apply/10-a\nwould run: after-apply/20-a\n";
    assert_eq!(plan, left);

    vm.run(": > /run/failing")?;
    let (report, log) = apply(&mut vm, "one")?;
    assert_eq!((&report["failure"], &report["changed"]), (&Value::Null, &json!([])), "{log}");
    assert_eq!(
        ran(&mut vm)?,
        ["first-boot/20-f 1 none", "after-apply/10-a 1 none", "after-apply/20-a 1 none"]
    );
    apply(&mut vm, "one")?;
    assert!(ran(&mut vm)?.is_empty(), "nothing is owed");

    // An upgrade of the appliance whose last hook hangs.
    let upgrade = CONFIGURATION.replace("version = \"1\"", "version = \"2\"").replace("60s", "2s");
    vm.put(&Files::new().with("/etc/ovf-agent/agent.toml", upgrade))?;
    vm.run("echo after-apply/20-a > /run/failing; rm /etc/ovf-agent/hooks.d/first-boot/20-f")?;
    let (report, log) = apply(&mut vm, "one")?;
    assert!(message(&report).contains("hook after-apply/20-a ended with exit status 1"), "{log}");
    assert_eq!(ran(&mut vm)?, ["before-apply/10-b 2 1", "after-apply/10-a 2 1", "after-apply/20-a 2 1"]);
    vm.run("touch /run/hang")?;
    let (report, log) = apply(&mut vm, "one")?;
    assert!(
        message(&report).contains("hook after-apply/20-a did not end within 2 s; what it said is in "),
        "{log}"
    );
    assert_eq!(ran(&mut vm)?, ["after-apply/20-a 2 1"]);
    assert_eq!(vm.run("grep -lx sleep /proc/[0-9]*/comm | wc -l")?, "0\n", "nothing of it is left");
    vm.run("rm /run/hang /run/failing; touch /run/failing")?;
    let (report, log) = apply(&mut vm, "one")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(ran(&mut vm)?, ["after-apply/20-a 2 1"], "of the version that it came from");

    let (report, log) = apply(&mut vm, "two")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(ran(&mut vm)?, ["before-apply/10-b 2 2", "after-apply/10-a 2 2", "after-apply/20-a 2 2"]);
    Ok(())
}

fn copied(bench: &Bench<'_>) -> Result<()> {
    let hooks = ["before-apply/10-b", "first-boot/10-f", "after-apply/10-a"];
    let [this, other] = ["3f1d3b6e-0000-4000-8000-000000000001", "3f1d3b6e-0000-4000-8000-000000000002"];
    let boot = |uuid: &str, disk: Files| -> Result<Vm> {
        let machine = Machine::from(Drive::None).option("-uuid", uuid);
        bench.boot(&machine, &appliance(&hooks, COUNT).and(disk), Connect::Later)
    };
    let kept = ["/etc/app.conf", "/var/lib/ovf-agent/state.json", "/var/lib/ovf-agent/generated.json"];
    let mut vm = boot(this, Files::new())?;
    let (report, log) = apply(&mut vm, "one")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert_eq!(
        ran(&mut vm)?,
        ["before-apply/10-b 1 none", "first-boot/10-f 1 none", "after-apply/10-a 1 none"]
    );
    let mut disk = Files::new();
    for path in kept {
        disk = disk.with(path, vm.get(path)?);
    }
    let first = vm.run("cat /etc/app.conf")?;
    drop(vm);

    let mut vm = boot(this, Files::new())?;
    // As the first guest left it, but for modes, which a pass puts right.
    vm.put(&disk)?;
    vm.run("chmod 600 /etc/app.conf /var/lib/ovf-agent/*")?;
    let (report, log) = apply(&mut vm, "one")?;
    assert_eq!((&report["failure"], &report["changed"]), (&Value::Null, &json!([])), "{log}");
    assert!(ran(&mut vm)?.is_empty(), "a reboot is no first boot");
    assert_eq!(vm.run("cat /etc/app.conf")?, first);
    drop(vm);

    let mut vm = boot(other, Files::new())?;
    vm.put(&disk)?;
    vm.run("chmod 600 /etc/app.conf /var/lib/ovf-agent/*")?;
    let (report, log) = apply(&mut vm, "one")?;
    assert_eq!(report["failure"], Value::Null, "{log}");
    assert!(log.contains("this guest is a copy of another"), "{log}");
    assert_eq!(ran(&mut vm)?, ["before-apply/10-b 1 1", "first-boot/10-f 1 1", "after-apply/10-a 1 1"]);
    let (before, after): (Value, Value) =
        (serde_json::from_str(&first)?, serde_json::from_slice(&vm.get("/etc/app.conf")?)?);
    assert_eq!((&before[0], &before[1]), (&after[0], &after[1]));
    assert_ne!(before[2], after[2], "a secret that was made for another guest");
    let old = before[2].as_str().context("a token")?;
    assert_eq!(
        vm.run(&format!("grep -rl {old} /etc /var/lib/ovf-agent || :"))?,
        "",
        "the other's secret is gone"
    );
    Ok(())
}

fn ready(bench: &Bench<'_>) -> Result<()> {
    let disc = bench.environment(&document("one"))?;
    for as_unit in [true, false] {
        let disc = Some(disc.as_path());
        let mut vm = match as_unit {
            true => bench.debian(disc, Connect::BeforeBoot)?,
            false => bench.guest(disc, Connect::BeforeBoot)?,
        };
        vm.put(&appliance(&["ready/10-a", "ready/20-b", "ready/30-c"], WAIT))?;
        vm.run("echo 20-b > /run/failing")?;
        start_agent(&mut vm)?;
        let seen = vm.report(stage("ready"), soon())?;
        assert_eq!(seen.report.warnings, 0);
        assert!(ran(&mut vm)?.is_empty(), "the first of them waits");
        vm.run("touch /run/go")?;
        let seen = vm.report(|report| report.warnings == 1, soon())?;
        assert!(seen.report.ready, "what fails afterwards does not take that back");
        assert_eq!(ran(&mut vm)?, ["10-a", "20-b", "30-c"], "one after the other, once");
    }
    Ok(())
}
