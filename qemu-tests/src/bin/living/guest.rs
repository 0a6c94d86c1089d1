//! An agent in a guest, which the host sends documents by the port. Its files and its state lie on a disk with ext4.

use crate::appliance::{self, DOCUMENT};
use crate::place::{Footprint, PATIENCE, Place, footprint_script, rounds};
use anyhow::{Context, Result, ensure};
use qemu_tests::{Bench, Connect, Drive, Job, Machine, Vm};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A disk of 64 MiB, of which a machine with ten files needs the least part.
const DISK: u64 = 64 << 20;

/// A guest with an agent that is ready.
pub(crate) struct Guest {
    vm: Vm,
    agent: Job,
    sent: u32,
    generation: u64,
    changed: Vec<String>,
    // Last: the disk's image is there as long as the guest.
    _disk: TempDir,
}

impl Guest {
    /// Boots it, with the disk's image below `directory`.
    pub(crate) fn start(bench: &Bench<'_>, directory: &Path) -> Result<Guest> {
        let disk = tempfile::Builder::new().prefix("disk-").tempdir_in(directory)?;
        let image = disk.path().join("image");
        std::fs::File::create(&image)?.set_len(DISK)?;
        let made =
            Command::new("/sbin/mkfs.ext4").arg("-q").arg(&image).status().context("cannot run mkfs.ext4")?;
        ensure!(made.success(), "mkfs.ext4 {}: {made}", image.display());
        // QEMU's default cache: a flush of the guest's is one of the file here.
        let machine = Machine::with_disc(Drive::Ide, bench.environment(DOCUMENT)?)
            .option("-blockdev", format!("driver=file,node-name=disk,filename={}", image.display()))
            .option("-device", "virtio-blk-pci,drive=disk");
        let files = appliance::files(directory, "")?.and(appliance::program(directory, "flushes")?);
        let mut vm = bench.boot(&machine, &files, Connect::BeforeBoot)?;
        vm.run(
            "load virtio_blk crc32c_generic ext4 && mkdir -p /disk /var/lib/ovf-agent && mount -t ext4 /dev/vda /disk &&
            mkdir -p /disk/mydb/conf.d /disk/state && mount --bind /disk/mydb /etc/mydb &&
            mount --bind /disk/state /var/lib/ovf-agent",
        )?;
        let agent = vm.spawn("exec ovf-agent run > /run/agent.log 2>&1")?;
        let report = vm.report(|report| report.stage == "ready", PATIENCE)?.report;
        let (generation, changed) = (report.generation, report.changed);
        Ok(Guest { vm, agent, sent: 0, generation, changed, _disk: disk })
    }
}

impl Place for Guest {
    fn send(&mut self, document: &str) -> Result<Duration> {
        self.sent += 1;
        let (id, generation) = (self.sent.to_string(), self.generation + 1);
        let message = json!({ "type": "environment", "id": id, "document": document });
        let begun = Instant::now();
        self.vm.host.send(&message)?;
        let received = self.vm.report(|report| report.generation == generation, PATIENCE)?;
        let took = received.at - begun;
        let answer = self.vm.host.answer(&id, PATIENCE)?;
        ensure!(answer["ok"] == true && !received.report.changed.is_empty(), "nothing was applied: {answer}");
        (self.generation, self.changed) = (generation, received.report.changed);
        Ok(took)
    }

    fn footprint(&mut self) -> Result<Footprint> {
        Footprint::parse(&self.vm.run(&footprint_script(self.agent.pid, ""))?)
    }

    fn disk(&mut self, count: u32) -> Result<Vec<[u64; 2]>> {
        let files = self.changed.join(" ");
        rounds(&self.vm.run(&format!("flushes {count} /var/lib/ovf-agent {files}"))?)
    }
}
