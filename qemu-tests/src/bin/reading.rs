//! Measures in a guest what it takes to read the document from a drive: by the agent without a mount, by the agent with
//! one, and by `mount`, `cat` and `umount`.
//!
//! Prints a line for each, `NAME MICROSECONDS`, the median of the guest's own time, for `bench/run` to make a table of. Under
//! emulation everything is slow alike: the ratios count. The first read after the disc was put in is not counted, since
//! it is the drive's and not the reader's.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Files, Lab, Vm};
use std::process::ExitCode;

const DOCUMENT: &[u8] = include_bytes!("../../../examples/petstore/ovf-env.xml");
const RUNS: usize = 25;

/// Loops of this many in one measurement, since the shell's clock has hundredths of a second.
const LOOPS: usize = 20;

fn main() -> ExitCode {
    match measure() {
        Ok(lines) => {
            print!("{lines}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench/reading: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<String> {
    let lab = Lab::open()?;
    let bench = lab.bench()?;
    let disc = bench.iso(qemu_tests::Variant::Full, &[("ovf-env.xml", DOCUMENT)])?;
    let mut lines = String::new();
    for method in ["read", "mount"] {
        let mut vm = guest(&bench, &disc, method)?;
        let agent = median((0..=RUNS).map(|_| transport(&mut vm)).collect::<Result<Vec<u64>>>()?);
        lines += &format!("{method} {agent}\n");
    }
    let mut vm = guest(&bench, &disc, "read")?;
    let shell = median((0..=RUNS.div_ceil(5)).map(|_| mount(&mut vm)).collect::<Result<Vec<u64>>>()?);
    lines += &format!("shell {shell}\n");
    Ok(lines)
}

fn guest(bench: &Bench<'_>, disc: &std::path::Path, method: &str) -> Result<Vm> {
    let mut vm = bench.guest(Some(disc), Connect::Later)?;
    let configuration = format!("[transport]\norder = [\"iso\"]\n[transport.iso]\nmethod = \"{method}\"\n");
    vm.put(&Files::new().with("/etc/ovf-agent/agent.toml", configuration).with_directory("/mnt"))?;
    Ok(vm)
}

/// Microseconds that a pass of the agent took to find and read the document, as its report says.
fn transport(vm: &mut Vm) -> Result<u64> {
    let report: serde_json::Value = serde_json::from_str(&vm.run("ovf-agent apply --json 2> /dev/null")?)?;
    anyhow::ensure!(report["source"] == "iso:/dev/sr0", "the document was not read: {report}");
    report["took_us"]["transport"].as_u64().context("the report does not say how long it took")
}

/// Microseconds that a shell took for the same by mounting; what the loop itself costs is taken off.
fn mount(vm: &mut Vm) -> Result<u64> {
    let script = format!(
        "up() {{ cut -d ' ' -f 1 /proc/uptime; }}
        n=0; up; while [ $n -lt {LOOPS} ]; do n=$((n + 1)); true; done; up
        n=0; while [ $n -lt {LOOPS} ]; do
            n=$((n + 1)); mount -t iso9660 -o ro /dev/sr0 /mnt && cat /mnt/ovf-env.xml > /dev/null && umount /mnt || exit 1
        done; up"
    );
    let times: Vec<f64> = vm.run(&script)?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [begin, empty, end] = times[..] else { anyhow::bail!("expected three times, got {times:?}") };
    let taken = (end - empty) - (empty - begin);
    Ok((taken * 1e6) as u64 / LOOPS as u64)
}

/// The middle one, without the first.
fn median(mut times: Vec<u64>) -> u64 {
    times.remove(0);
    times.sort_unstable();
    times[times.len() / 2]
}
