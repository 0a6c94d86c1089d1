//! Where the time of a boot went: told while it goes, and afterwards, in a guest that waits for everything it can wait for.

use crate::Test;
use crate::appliance::{DOCUMENT, GATE, PARAMETERS, appliance, soon, stage, start_agent};
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Vm};
use serde_json::Value;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] =
    &[("analyze: says what a boot waits for, and afterwards for how long it did", waits)];

/// Waits until it may go on.
const HOOK: &str = "#!/bin/sh\ncat > /dev/null\nuntil [ -e /run/go ]; do usleep 10000; done\n";

/// The rows of a pass, as `what name`.
fn rows(vm: &mut Vm, pass: usize) -> Result<Vec<(String, u64, Option<u64>)>> {
    let times: Value = serde_json::from_str(&vm.run("ovf-agent analyze --json")?)?;
    let rows =
        times["passes"][pass]["rows"].as_array().with_context(|| format!("no pass {pass} in {times}"))?;
    let row = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap_or("?").to_owned();
        let name = format!("{} {}", text("what"), text("name")).trim_end().to_owned();
        (name, row["begin_us"].as_u64().unwrap_or(0), row["end_us"].as_u64())
    };
    Ok(rows.iter().map(row).collect())
}

/// Waits until what goes on is this.
fn until_it_waits(vm: &mut Vm, name: &str) -> Result<()> {
    vm.run(&format!("until ovf-agent analyze | grep -q '{name} (not over)'; do usleep 10000; done"))?;
    Ok(())
}

fn waits(bench: &Bench<'_>) -> Result<()> {
    let disc = bench.environment(DOCUMENT)?;
    let mut vm = bench.guest_without_drive(Connect::BeforeBoot)?;
    let configuration = format!("{PARAMETERS}{GATE}[transport.iso]\nwait = \"60s\"\n");
    let hook = "/etc/ovf-agent/hooks.d/first-boot/10-keys";
    vm.put(&appliance(&configuration).with_program(hook, HOOK))?;
    let begun: f64 = vm.run("cut -d ' ' -f 1 /proc/uptime")?.trim().parse()?;
    let agent = start_agent(&mut vm)?;
    until_it_waits(&mut vm, "a drive")?;
    vm.plug_drive(&disc)?;
    until_it_waits(&mut vm, "first-boot/10-keys")?;
    vm.run("sleep 1; touch /run/go")?;
    until_it_waits(&mut vm, "file /run/mydb.ready")?;
    vm.run("touch /run/mydb.ready")?;
    let ready = vm.report(stage("ready"), soon())?.report;

    let first = rows(&mut vm, 0)?;
    let names: Vec<_> = first.iter().map(|(name, ..)| name.as_str()).collect();
    let want = [
        "start",
        "detect",
        "configuration",
        "wait a drive",
        "read iso:/dev/sr0",
        "environment",
        "parameters",
        "templates",
        "lock",
        "write",
        "flush",
        "rename",
        "state",
        "sweep",
        "hook first-boot/10-keys",
        "configured",
        "gate file /run/mydb.ready",
        "ready",
    ];
    let known: Vec<_> = names.iter().copied().filter(|name| *name != "wait a document").collect();
    assert_eq!(known, want);
    let took = |name: &str| {
        let row = first.iter().find(|row| row.0 == name).expect(name);
        row.2.map(|end| end - row.1).expect(name)
    };
    assert!((1_000_000..20_000_000).contains(&took("hook first-boot/10-keys")), "{first:?}");
    // One after the other, on the scale of the report and of /proc/uptime.
    let begun = (begun * 1e6) as u64;
    assert!(first[0].1 >= begun && first.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{begun}: {first:?}");
    assert!(
        first.iter().all(|row| row.2.is_some_and(|end| end <= (ready.uptime_ms + 1) * 1000)),
        "{first:?}"
    );
    let total: u64 = want.iter().map(|name| took(name)).sum();
    let from_start = first.last().expect("rows").1 - first[0].1;
    bench.measured(format!("{} % of {} ms are told of", total * 100 / from_start, from_start / 1000));
    assert!(total * 100 / from_start > 80, "{total} of {from_start} us are told of: {first:?}");

    // An agent that is started again knows what the first of this boot did.
    vm.run(&format!("kill -9 {}", agent.pid))?;
    vm.run("ovf-agent analyze | grep -q 'hook *first-boot/10-keys'")?;
    start_agent(&mut vm)?;
    vm.report(|report| report.session != ready.session && report.ready, soon())?;
    assert_eq!(rows(&mut vm, 0)?, first);
    let last = rows(&mut vm, 1)?;
    assert!(last.iter().all(|row| row.0 != "write" && !row.0.starts_with("hook")), "{last:?}");
    let picture = vm.run("ovf-agent analyze --svg")?;
    assert!(picture.starts_with("<svg ") && picture.contains("hook first-boot/10-keys "), "{picture}");
    // Nothing of the document but where it was.
    for value in ["10.20.132.102", "warning"] {
        assert!(!picture.contains(value), "{picture}");
    }
    Ok(())
}
