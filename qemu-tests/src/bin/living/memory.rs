//! The memory of an idle agent, and that of qemu-ga's in the same guest.

use crate::appliance;
use crate::place::PATIENCE;
use crate::{Lines, say};
use anyhow::{Context, Result, ensure};
use qemu_tests::{Connect, Lab, Vm};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The port of qemu-ga's own.
const PORT: &str = "org.qemu.guest_agent.0";

/// Starts both in a Debian guest, lets them do what they are for, and adds what they hold then.
pub(crate) fn measure(directory: &Path, lines: &mut Lines) -> Result<()> {
    let lab = Lab::open()?;
    let bench = lab.bench()?;
    say("starting the agent and qemu-ga in a Debian guest");
    let mut vm = bench.debian(Some(&bench.environment(appliance::DOCUMENT)?), Connect::BeforeBoot)?;
    vm.put(&appliance::files(directory, "")?)?;
    let agent = vm.spawn("exec ovf-agent run > /run/agent.log 2>&1")?;
    vm.report(|report| report.stage == "ready", PATIENCE)?;

    // The guest's own C library, and what of the others it lacks.
    vm.put(&bench.program("qemu-ga")?.below("/run/qemu-ga"))?;
    vm.run("cp -rn /run/qemu-ga/usr/. /usr/ && rm -r /run/qemu-ga")?;
    let socket = tempfile::Builder::new().prefix("ovf-").tempdir_in("/tmp")?;
    let socket = socket.path().join("qga");
    let address = json!({ "type": "unix", "data": { "path": socket } });
    let backend = json!({ "type": "socket", "data": { "addr": address, "server": true, "wait": false } });
    vm.qmp.execute("chardev-add", json!({ "id": "qga", "backend": backend }))?;
    vm.qmp.execute("device_add", json!({ "driver": "virtserialport", "chardev": "qga", "name": PORT }))?;
    let port = format!("/dev/virtio-ports/{PORT}");
    let stream = UnixStream::connect(&socket).context("cannot connect to qemu-ga's port")?;
    vm.run(&format!("until [ -e {port} ]; do usleep 10000; done"))?;
    let peer = vm.spawn(&format!("exec qemu-ga --method=virtio-serial --path={port}"))?;
    ping(&stream).with_context(|| vm.output(&peer).unwrap_or_default())?;

    for (name, pid) in [("agent", agent.pid), ("qemu-ga", peer.pid)] {
        let (resident, proportional) = memory(&mut vm, pid)?;
        lines.add(&format!("{name}-rss-kib"), resident);
        lines.add(&format!("{name}-pss-kib"), proportional);
    }
    Ok(())
}

/// Asks qemu-ga whether it is there, so that it has worked as the agent has.
fn ping(stream: &UnixStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answers = BufReader::new(stream);
    for command in ["guest-ping", "guest-info"] {
        writeln!(&mut &*stream, "{}", json!({ "execute": command }))?;
        let mut answer = String::new();
        answers.read_line(&mut answer).with_context(|| format!("qemu-ga does not answer {command}"))?;
        ensure!(answer.contains("return"), "qemu-ga answers {command} with {answer}");
    }
    Ok(())
}

/// Resident and proportional memory in KiB.
fn memory(vm: &mut Vm, pid: u32) -> Result<(u64, u64)> {
    let text = vm.run(&format!(
        "awk '/^VmRSS:/ {{ print $2 }}' /proc/{pid}/status; awk '/^Pss:/ {{ print $2 }}' /proc/{pid}/smaps_rollup"
    ))?;
    let numbers: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let &[resident, proportional] = numbers.as_slice() else {
        anyhow::bail!("expected two numbers, got {text:?}")
    };
    Ok((resident, proportional))
}
