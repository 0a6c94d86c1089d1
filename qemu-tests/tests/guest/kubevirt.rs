//! How KubeVirt learns that a guest is ready: by a ping of `qemu-guest-agent`, which the drop-in of `docs/platforms.md` lets run only as
//! long as the guest is ready.
//!
//! KubeVirt is played by the other end of that agent's port, which says what libvirt does before each command: a word by which old
//! answers are told from new ones (qemu-ga-ref, `guest-sync-delimited`). The agent, its unit and udev's rule are Debian's.

use crate::Test;
use crate::appliance::{DOCUMENT, GATE, PARAMETERS, soon, stage};
use crate::docs::console::{self, Command, agrees};
use crate::docs::markdown::{self, Place};
use crate::docs::top;
use crate::service::{guest, with_units};
use anyhow::{Context, Result, bail, ensure};
use qemu_tests::{Bench, Vm};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] =
    &[("kubevirt: the guest agent answers its ping for as long as the guest is ready", ping)];

const PAGE: &str = "docs/platforms.md";
/// How the page names this trial.
const HERE: &str = "qemu-tests/tests/guest/kubevirt.rs";
const DROP_IN: &str = "/etc/systemd/system/qemu-guest-agent.service.d/ready.conf";
const PORT: &str = "org.qemu.guest_agent.0";

fn ping(bench: &Bench<'_>) -> Result<()> {
    let (drop_in, command) = shown()?;
    let files = with_units(&format!("{PARAMETERS}{GATE}"))
        .and(bench.program("qemu-guest-agent")?)
        .and(bench.program("qemu-ga")?.below("/run/qemu-ga"))
        .with(DROP_IN, drop_in);
    let mut vm = guest(bench, DOCUMENT, &files)?;
    // The guest's own C library, and what of the others it lacks.
    vm.run("cp -rn /run/qemu-ga/usr/. /usr/; udevadm control --reload")?;
    let linked = vm.run(&format!("{} 2>&1", command.text))?;
    ensure!(agrees(&command.says, &linked.lines().collect::<Vec<_>>()), "{}: {linked}", command.text);
    vm.run("systemctl start ovf-agent")?;
    vm.report(stage("waiting"), soon())?;

    // udev starts it as soon as there is the port, and that comes to nothing, but no unit has failed.
    let mut host = Host::plug(&mut vm, bench)?;
    let started = "journalctl --sync; journalctl -u qemu-guest-agent --output cat";
    let said = vm.run(&format!("until ({started}) | grep qemu-guest-agent; do usleep 200000; done"))?;
    assert!(said.starts_with("Dependency failed for qemu-guest-agent.service"), "{said}");
    ensure!(!host.is_answered(moment())?, "the guest waits for its gate");
    assert_eq!(vm.run("systemctl is-system-running")?, "running\n");

    vm.run("touch /run/mydb.ready")?;
    ensure!(host.is_answered(soon())?, "the guest is ready");
    vm.run("rm /run/mydb.ready")?;
    host.is_left(&mut vm)?;
    ensure!(!host.is_answered(moment())?, "it is ready no longer");
    vm.run("touch /run/mydb.ready")?;
    ensure!(host.is_answered(soon())?, "it is ready again");

    // KubeVirt sees nothing of an agent that is started again, as in an upgrade, but one that has failed for good.
    let started = "systemctl show --property InvocationID qemu-guest-agent";
    let before = vm.run(started)?;
    vm.host.skip();
    vm.run("systemctl restart ovf-agent")?;
    vm.report(stage("ready"), soon())?;
    assert_eq!(vm.run(started)?, before);
    vm.run("systemctl stop ovf-agent; systemctl start ovf-agent-failed")?;
    host.is_left(&mut vm)?;
    assert_eq!(vm.run("systemctl is-system-running")?, "running\n");
    Ok(())
}

/// How long nothing has to happen.
fn moment() -> Duration {
    Duration::from_secs(1)
}

/// The drop-in that the page shows, and the command beside it.
fn shown() -> Result<(String, Command)> {
    let page = markdown::pages(&top()).into_iter().find(|page| page.name == PAGE).context("no page")?;
    let is_it = |it: &&markdown::Block| it.lines.first().is_some_and(|line| *line == format!("# {DROP_IN}"));
    let drop_in = page.blocks.iter().find(is_it).with_context(|| format!("{PAGE} shows no {DROP_IN}"))?;
    let block = page.blocks.iter().find(|it| it.place == Place::By(HERE.to_owned()));
    let commands = console::commands(block.with_context(|| format!("{PAGE} shows no command for {HERE}"))?);
    let [command] = <[Command; 1]>::try_from(commands.map_err(anyhow::Error::msg)?)
        .map_err(|all| anyhow::anyhow!("one command: {all:?}"))?;
    Ok((drop_in.text(), command))
}

/// Who asks whether the guest is ready, at the other end of the guest agent's port.
struct Host {
    wire: BufReader<UnixStream>,
    asked: u32,
}

impl Host {
    /// Gives the guest the port that KubeVirt's guests have.
    fn plug(vm: &mut Vm, bench: &Bench<'_>) -> Result<Host> {
        let socket = bench.file("")?;
        std::fs::remove_file(&socket)?;
        let address = json!({ "type": "unix", "data": { "path": socket } });
        let backend = json!({ "type": "socket", "data": { "addr": address, "server": true, "wait": false } });
        vm.qmp.execute("chardev-add", json!({ "id": PORT, "backend": backend }))?;
        let port = json!({ "driver": "virtserialport", "chardev": PORT, "id": PORT, "name": PORT });
        vm.qmp.execute("device_add", port)?;
        Ok(Host { wire: BufReader::new(UnixStream::connect(&socket)?), asked: 0 })
    }

    /// Whether a ping is answered in time. Where nobody reads them, QEMU keeps the words of those before.
    fn is_answered(&mut self, within: Duration) -> Result<bool> {
        self.asked += 1;
        let sync = json!({ "execute": "guest-sync-delimited", "arguments": { "id": self.asked } });
        // No byte of any JSON: whoever reads it forgets what it has not understood yet.
        self.wire.get_ref().write_all(b"\xff")?;
        write!(self.wire.get_ref(), "{sync}\n{}\n", json!({ "execute": "guest-ping" }))?;
        let deadline = Instant::now() + within;
        while let Some(line) = self.line(deadline)? {
            let Some(answer) = line.strip_prefix(b"\xff") else { continue };
            if serde_json::from_slice::<Value>(answer)? == json!({ "return": self.asked }) {
                let Some(pong) = self.line(deadline)? else { return Ok(false) };
                let pong: Value = serde_json::from_slice(&pong)?;
                ensure!(pong == json!({ "return": {} }), "guest-ping is answered by {pong}");
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next line, if it comes in time.
    fn line(&mut self, deadline: Instant) -> Result<Option<Vec<u8>>> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.wire.get_ref().set_read_timeout(Some(left))?;
        let mut line = Vec::new();
        match self.wire.read_until(b'\n', &mut line) {
            Ok(0) => bail!("QEMU has closed the port"),
            Ok(_) => Ok(Some(line)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("cannot read from the port"),
        }
    }

    /// Waits until nobody in the guest has the port open.
    fn is_left(&self, vm: &mut Vm) -> Result<()> {
        loop {
            let change = vm.qmp.event("VSERPORT_CHANGE", soon())?;
            if change["data"] == json!({ "id": PORT, "open": false }) {
                return Ok(());
            }
        }
    }
}
