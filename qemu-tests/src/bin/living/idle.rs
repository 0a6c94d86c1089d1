//! What an idle agent costs: its own wake-ups, and those of the whole guest beside guests without it.
//!
//! All guests idle at the same time on the same machine, so that they see the same load, and each counts for itself in
//! slices: context switches and interrupts of the guest as `/proc/stat` has them, and context switches of all the agent's
//! threads. What two guests differ by is noise as long as their slices differ as much among themselves: the limit for the
//! guest with the agent is the mean of the one without, and three standard errors of the difference of the two means, and
//! two events, since one more or less at each end of the time is nobody's; or a twentieth more, if that is more, for on a loaded
//! machine two guests that are alike in all differ by that, the whole time, in the same direction.

use crate::appliance;
use crate::place::PATIENCE;
use crate::{Lines, say, wanted};
use anyhow::{Context, Result, ensure};
use qemu_tests::{Bench, Connect, Job, Lab, Vm};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Slices of the time.
const SLICES: usize = 10;

/// What is over once a guest has been started or continued is over after so many seconds.
const SETTLED: u32 = 10;

/// Every agent has a gate that it has passed.
const GATE: &str = "[ready]\nfiles = [\"/run/mydb.ready\"]\n";

/// As udev does it for every drive.
const POLLED: &str = "echo 2000 > /sys/block/sr0/events_poll_msecs";

/// A guest, and the script that counts in it.
struct Counting {
    name: &'static str,
    vm: Vm,
    job: Option<Job>,
    agent: Option<u32>,
}

/// What a guest has counted in each slice.
struct Counted {
    switches: Vec<f64>,
    interrupts: Vec<f64>,
    /// The agent's, in all of the time.
    agent: u64,
}

/// Lets guests idle, and adds what they counted a minute, in hundredths.
pub(crate) fn measure(directory: &Path, lines: &mut Lines) -> Result<()> {
    let minutes = wanted("IDLE_MINUTES", 10)?;
    let lab = Lab::open()?;
    let bench = lab.bench()?;
    say("starting guests with and without the agent: Debian with systemd and udev, and busybox");
    let mut guests = vec![
        Counting::start(
            "debian",
            debian(&bench)?,
            Some(&appliance::files(directory, &gates(&lab.tools.agent)?)?),
        )?,
        Counting::start("debian-alone", debian(&bench)?, None)?,
        Counting::start("busybox", busybox(&bench)?, Some(&appliance::files(directory, GATE)?))?,
        // A drive that the kernel looks at is what swapped discs cost where there is no udev; the other has nobody who looks.
        Counting::start("busybox-polled", busybox(&bench)?, None)?,
        Counting::start("busybox-alone", busybox(&bench)?, None)?,
    ];
    guests[3].vm.run(POLLED)?;
    let slice = (60 * minutes).div_ceil(SLICES as u32);
    for guest in &mut guests {
        guest.count(slice)?;
    }
    let seconds = u64::from(SETTLED + slice * SLICES as u32);
    for minute in 0..seconds.div_ceil(60) {
        say(&format!("{} guests are idle: minute {} of {}", guests.len(), minute + 1, seconds.div_ceil(60)));
        std::thread::sleep(Duration::from_secs(60.min(seconds - 60 * minute)));
    }
    let counted: Vec<(&str, Counted)> =
        guests.into_iter().map(|guest| Ok((guest.name, guest.counted(slice)?))).collect::<Result<_>>()?;
    let of = |name| &counted.iter().find(|(of, _)| *of == name).expect("every name is one of these").1;
    lines.add("minutes", minutes);
    for (with, without) in [("debian", "debian-alone"), ("busybox", "busybox-polled")] {
        lines.add(&format!("{with}-agent"), of(with).agent);
        for (what, one, other) in [
            ("switches", &of(with).switches, &of(without).switches),
            ("interrupts", &of(with).interrupts, &of(without).interrupts),
        ] {
            lines.add(&format!("{with}-{what}"), hundredths(mean(one)));
            lines.add(&format!("{without}-{what}"), hundredths(mean(other)));
            lines.add(&format!("{with}-{what}-limit"), hundredths(mean(other) + noise(one, other, minutes)));
        }
    }
    for (what, slices) in
        [("switches", &of("busybox-alone").switches), ("interrupts", &of("busybox-alone").interrupts)]
    {
        lines.add(&format!("busybox-alone-{what}"), hundredths(mean(slices)));
    }
    Ok(())
}

fn debian(bench: &Bench<'_>) -> Result<Vm> {
    bench.debian(Some(&bench.environment(appliance::DOCUMENT)?), Connect::BeforeBoot)
}

fn busybox(bench: &Bench<'_>) -> Result<Vm> {
    bench.guest(Some(&bench.environment(appliance::DOCUMENT)?), Connect::BeforeBoot)
}

/// A gate of each kind that is watched and not tried again, as far as this agent knows them.
fn gates(agent: &Path) -> Result<String> {
    let schema = Command::new(agent).arg("schema").output().context("cannot run the agent")?;
    let schema: Value = serde_json::from_slice(&schema.stdout).context("the agent's schema is no JSON")?;
    let units = schema["properties"]["ready"]["properties"]["units"].is_object();
    Ok(GATE.to_owned() + if units { "units = [\"systemd-journald.service\"]\n" } else { "" })
}

impl Counting {
    fn start(name: &'static str, mut vm: Vm, appliance: Option<&qemu_tests::Files>) -> Result<Counting> {
        let agent = match appliance {
            None => None,
            Some(files) => {
                vm.put(files)?;
                vm.run(": > /run/mydb.ready")?;
                let job = vm.spawn("exec ovf-agent run > /run/agent.log 2>&1")?;
                vm.report(|report| report.stage == "ready", PATIENCE)?;
                Some(job.pid)
            }
        };
        Ok(Counting { name, vm, job: None, agent })
    }

    /// Begins to count, by what the shell can do without starting anybody but `sleep`.
    fn count(&mut self, slice: u32) -> Result<()> {
        let statuses = self.agent.map(|pid| format!("/proc/{pid}/task/*/status")).unwrap_or_default();
        let script = format!(
            "count() {{
                while read -r name number rest; do
                    case $name in ctxt | intr) echo $name $number ;; esac
                done < /proc/stat
                for status in {statuses}; do
                    while read -r name number; do
                        case $name in *ctxt_switches:) echo agent $number ;; esac
                    done < $status
                done
                echo end
            }}
            sleep {SETTLED}
            count
            for slice in $(seq {SLICES}); do sleep {slice}; count; done"
        );
        self.job = Some(self.vm.spawn(&script)?);
        Ok(())
    }

    fn counted(mut self, slice: u32) -> Result<Counted> {
        let job = self.job.take().context("it counts")?;
        ensure!(self.vm.wait(&job, PATIENCE)? == 0, "the guest {} could not count", self.name);
        let text = self.vm.output(&job)?;
        let mut counts = text.split("end\n").filter(|count| !count.is_empty()).map(|count| {
            let mut sums = [0_u64; 3];
            for (name, number) in count.lines().filter_map(|line| line.split_once(' ')) {
                let at = ["ctxt", "intr", "agent"].iter().position(|known| *known == name);
                sums[at.with_context(|| format!("not a count: {name}"))?] += number.parse::<u64>()?;
            }
            Ok(sums)
        });
        let counts: Vec<[u64; 3]> = counts.by_ref().collect::<Result<_>>()?;
        ensure!(counts.len() == SLICES + 1, "the guest {} counted {} times: {text}", self.name, counts.len());
        let minutes = f64::from(slice) / 60.0;
        let of = |which: usize| {
            counts.windows(2).map(|pair| (pair[1][which] - pair[0][which]) as f64 / minutes).collect()
        };
        let agent = counts[SLICES][2] - counts[0][2];
        Ok(Counted { switches: of(0), interrupts: of(1), agent })
    }
}

fn mean(slices: &[f64]) -> f64 {
    slices.iter().sum::<f64>() / slices.len() as f64
}

/// What the means of two guests may differ by.
fn noise(one: &[f64], other: &[f64], minutes: u32) -> f64 {
    let of_mean = |slices: &[f64]| {
        let middle = mean(slices);
        let squares: f64 = slices.iter().map(|slice| (slice - middle).powi(2)).sum();
        squares / (slices.len() - 1) as f64 / slices.len() as f64
    };
    let within = 3.0 * (of_mean(one) + of_mean(other)).sqrt() + 2.0 / f64::from(minutes);
    within.max(mean(other) / 20.0)
}

fn hundredths(number: f64) -> u64 {
    (number * 100.0).round() as u64
}
