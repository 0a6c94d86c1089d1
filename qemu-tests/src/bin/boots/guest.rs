//! One boot, from power on until systemd has nothing left to do: whether the outcome is right, and what it cost.

use crate::kinds::{self, HOSTNAME, Kind, WRITTEN};
use anyhow::{Context, Result, ensure};
use qemu_tests::{Bench, Connect, Drive, Files, Lab, Machine, Vm};
use std::fmt;
use std::path::Path;
use std::process::Command;

/// What a boot cost, in microseconds since the kernel began to count and of processor time, and in KiB.
#[derive(Debug, Clone)]
pub(crate) struct Boot {
    /// When the last of the files was as it is to be; `None` where nothing writes any.
    pub(crate) written: Option<u64>,
    /// When `multi-user.target` was reached.
    pub(crate) multi_user: u64,
    /// When systemd had nothing left to do.
    pub(crate) finished: u64,
    /// Processor time of the whole guest until then.
    pub(crate) cpu: u64,
    /// Of that, what the units that configure the guest have spent.
    pub(crate) units_cpu: Option<u64>,
    /// The most memory that these had at a time, with the files that were read for them.
    pub(crate) units_peak: Option<u64>,
    /// Memory that is not available to others then.
    pub(crate) used: u64,
}

/// Says a line `NAME NUMBER` for all that a boot cost. Processor time comes first, so that what is asked afterwards is not in it.
/// The wall clock at the kernel's beginning is taken from both ends of the boot: times of files can be believed only where
/// nobody has set it in between.
const COSTS: &str = r#"
manager() { busctl get-property org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "$1" | cut -d ' ' -f 2; }
read -r name user nice system idle iowait irq softirq steal rest < /proc/stat
echo cpu $(((user + nice + system + irq + softirq + steal) * 10000))
while read -r name number unit; do
    case $name in MemTotal:) total=$number ;; MemAvailable:) echo used $((total - number)) ;; esac
done < /proc/meminfo
slice=/sys/fs/cgroup/measured.slice
if [ -e $slice ]; then
    echo units-peak $(($(cat $slice/memory.peak) / 1024))
    while read -r name number; do [ $name != usage_usec ] || echo units-cpu $number; done < $slice/cpu.stat
fi
echo multi-user $(systemctl show --property=ActiveEnterTimestampMonotonic --value multi-user.target)
finished=$(manager FinishTimestampMonotonic)
echo finished $finished
echo epoch $(($(manager UserspaceTimestamp) - $(manager UserspaceTimestampMonotonic)))
echo epoch-later $(($(manager FinishTimestamp) - finished))
"#;

/// Boots one of the kinds.
pub(crate) fn boot(lab: &Lab, directory: &Path, kind: &Kind) -> Result<Boot> {
    // A copy of its own, gone afterwards: each boot is the first one.
    let copy = tempfile::Builder::new().prefix(".boot-").tempdir_in(directory)?;
    let disk = copy.path().join("disk");
    let image = directory.join(kind.image).join("disk");
    let copied = Command::new("cp").arg("--sparse=always").arg(&image).arg(&disk).status()?;
    ensure!(copied.success(), "cannot copy {}", image.display());

    let bench = lab.bench()?;
    let machine = machine(&bench, &disk)?;
    let files = Files::new()
        .with_program("/init", include_str!("init"))
        .with_directory("/root")
        .and(kind.files.clone().below("/over"));
    let mut vm = bench.boot(&machine, &files, Connect::BeforeBoot)?;
    measured(&mut vm, kind).with_context(|| bench.evidence())
}

/// QEMU's default cache: a flush of the guest's is one of the file here.
fn machine(bench: &Bench<'_>, disk: &Path) -> Result<Machine> {
    let disc = bench.environment(&kinds::document())?;
    let machine = Machine { memory_mib: 1024, ..Machine::with_disc(Drive::Ide, disc) };
    Ok(machine
        .option("-blockdev", format!("driver=file,node-name=disk,filename={}", disk.display()))
        .option("-device", "virtio-blk-pci,drive=disk"))
}

fn measured(vm: &mut Vm, kind: &Kind) -> Result<Boot> {
    vm.booted()?;
    let costs = vm.run(COSTS)?;
    let written = outcome(vm, kind)?;
    let of = |name: &str| -> Result<u64> {
        let number = costs.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        number.and_then(|number| number.parse().ok()).with_context(|| format!("no {name} in {costs:?}"))
    };
    let epoch = of("epoch")?;
    ensure!(
        epoch.abs_diff(of("epoch-later")?) < 1000,
        "somebody has set the clock during the boot: {costs:?}"
    );
    let of_units = |name| kind.configures.then(|| of(name)).transpose();
    Ok(Boot {
        written: written.map(|at| at.saturating_sub(epoch)),
        multi_user: of("multi-user")?,
        finished: of("finished")?,
        cpu: of("cpu")?,
        units_cpu: of_units("units-cpu")?,
        units_peak: of_units("units-peak")?,
        used: of("used")?,
    })
}

/// Whether all is as it is to be; when the last of the files came to be so, by the wall clock in microseconds.
fn outcome(vm: &mut Vm, kind: &Kind) -> Result<Option<u64>> {
    let hostname = vm.run("hostname")?;
    if !kind.configures {
        let there = vm.run("ls /etc/mydb")?;
        ensure!(
            hostname == "guest\n" && there.is_empty(),
            "somebody has configured it: {hostname:?} {there:?}"
        );
        return Ok(None);
    }
    ensure!(hostname.trim_end() == HOSTNAME, "it calls itself {hostname:?}");
    let mut last = 0;
    for (path, mode, content) in WRITTEN {
        let found = vm.get(path).with_context(|| format!("{path} was not written"))?;
        let found = String::from_utf8_lossy(&found);
        ensure!(found == content, "{path} holds {found:?} instead of {content:?}");
        let said = vm.run(&format!("stat --format '%a %U %G %.6Z' {path}"))?;
        let words: Vec<&str> = said.split_whitespace().collect();
        let [found, owner, group, changed] = words[..] else { anyhow::bail!("stat says {said:?}") };
        ensure!([found, owner, group] == [mode, "root", "root"], "{path} is {said:?}");
        last = last.max(changed.replace('.', "").parse()?);
    }
    Ok(Some(last))
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |us: u64| us as f64 / 1e6;
        if let Some(written) = self.written {
            write!(f, "written {:.2} s, ", seconds(written))?;
        }
        let Boot { multi_user, finished, cpu, used, .. } = *self;
        write!(f, "multi-user {:.2} s, finished {:.2} s", seconds(multi_user), seconds(finished))?;
        write!(f, ", CPU {:.2} s, {} MiB in use", seconds(cpu), used / 1024)?;
        if let (Some(cpu), Some(peak)) = (self.units_cpu, self.units_peak) {
            write!(f, "; its units {:.3} s, {:.1} MiB", seconds(cpu), peak as f64 / 1024.0)?;
        }
        Ok(())
    }
}
