//! The demo: one appliance from power on to ready, shown as it happens.
//!
//!     demo [APPLIANCE]        (default: examples/petstore)
//!
//! An appliance's directory has the agent's configuration in `agent/`, the environment in `ovf-env.xml` and
//! the program that the guest is there for in `database`. This file decides what happens; `appliance` makes
//! the guest's files, `timeline` shows the events, `summary` what came of them, `screen` how lines look.

mod appliance;
mod json;
mod screen;
mod summary;
mod timeline;

use anyhow::{Context, Result, anyhow, bail};
use qemu_tests::{Bench, Connect, Drive, Lab, Machine, Variant, Vm};
use screen::{Screen, Who};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// From power on until the guest must be ready; under emulation on a slow machine it takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let screen = Screen::new();
    let petstore = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/petstore");
    let appliance = std::env::args_os().nth(1).map_or(petstore, PathBuf::from);
    match demo(&screen, &appliance) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen.failure(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn demo(screen: &Screen, appliance: &Path) -> Result<()> {
    let lab = Lab::open()?;
    let bench = lab.bench()?;
    // The guest ends with `show`; what it and QEMU said does not.
    show(screen, &lab, &bench, appliance).map_err(|error| anyhow!("{error:#}{}", bench.evidence()))
}

fn show(screen: &Screen, lab: &Lab, bench: &Bench<'_>, appliance: &Path) -> Result<()> {
    screen.heading("A guest configures itself from its OVF environment and says when it is ready");
    let document_path = appliance.join("ovf-env.xml");
    let document =
        std::fs::read(&document_path).with_context(|| format!("cannot read {}", document_path.display()))?;
    let iso = bench.iso(Variant::Full, &[("ovf-env.xml", &document)])?;
    let size = document.len();
    screen.event(Duration::ZERO, Who::Host, &format!("made an ISO image of ovf-env.xml ({size} bytes)"));

    let files = appliance::files(appliance)?;
    let mut vm = bench.boot(&Machine::with_disc(Drive::Ide, iso), &files, Connect::BeforeBoot)?;
    screen.event(Duration::ZERO, Who::Host, &started(lab, &mut vm)?);
    let reports = timeline::until_ready(screen, &mut vm, Instant::now() + LIMIT)?;
    let Some(last) = reports.last() else { bail!("the guest is ready without a report") };

    summary::report(screen, &last.report);
    summary::files(screen, &mut vm, &last.report)?;
    summary::times(screen, vm.started, &reports);
    summary::verdict(screen, &vm, last);
    Ok(())
}

/// What runs now, in one line.
fn started(lab: &Lab, vm: &mut Vm) -> Result<String> {
    let version = vm.qmp.execute("query-version", serde_json::json!({}))?;
    let (major, minor) = (&version["qemu"]["major"], &version["qemu"]["minor"]);
    let agent = std::fs::metadata(&lab.tools.agent).map(|agent| agent.len()).unwrap_or_default();
    let kernel = lab.tools.modules.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!(
        "power on: QEMU {major}.{minor} without KVM, 1 CPU, 256 MiB, Linux {kernel}, ovf-agent ({:.2} MB)",
        agent as f64 / 1e6
    ))
}
