//! What came of it: the last report whole, the files in the guest, where the time went.

use crate::json;
use crate::screen::Screen;
use anyhow::Result;
use qemu_tests::{Received, Report, Vm};
use std::time::{Duration, Instant};

/// Longer lines would be wrapped by most terminals.
const WIDTH: usize = 100;

/// The report as the host received it.
pub(crate) fn report(screen: &Screen, report: &Report) {
    screen.heading("The report as the host received it");
    for line in json::laid_out(&report.line, WIDTH).lines() {
        screen.line(line);
    }
}

/// The files that the agent wrote, as they are in the guest.
pub(crate) fn files(screen: &Screen, vm: &mut Vm, report: &Report) -> Result<()> {
    screen.heading("The files that it wrote, as they are in the guest");
    for (number, path) in report.changed.iter().enumerate() {
        if number > 0 {
            screen.line("");
        }
        screen.title(vm.run(&format!("stat -c '%A %U %G  %n' '{path}'"))?.trim_end());
        for line in vm.run(&format!("cat '{path}'"))?.lines() {
            screen.line(&format!("    {line}"));
        }
    }
    Ok(())
}

/// How long each stage took: what came before the agent by the clocks, the rest by its own count.
pub(crate) fn times(screen: &Screen, started: Instant, reports: &[Received]) {
    screen.heading("Where the time went");
    let (Some(first), Some(last)) = (reports.first(), reports.last()) else { return };
    let since = |received: &Received| received.at - started;
    let uptime = |received: &Received| Duration::from_millis(received.report.uptime_ms);
    let firmware = since(first).saturating_sub(uptime(first));
    let row = |name: &str, time: Duration| {
        screen.line(&format!("{name:32} {:10.1} ms", time.as_secs_f64() * 1000.0));
    };
    row("firmware, loading the kernel", firmware);
    row("kernel and init, to the agent", uptime(first));
    for stage in ["detect", "transport", "environment", "parameters", "template", "apply", "gates"] {
        if let Some(us) = last.report.took_us.get(stage) {
            row(&format!("agent: {stage}"), Duration::from_micros(*us));
        }
    }
    row("from power on to ready", since(last));
}

/// What was shown, in one line.
pub(crate) fn verdict(screen: &Screen, vm: &Vm, last: &Received) {
    let Report { id, hypervisor, source, changed, .. } = &last.report;
    screen.verdict(&format!(
        "{} is ready {:.1} s after power on: it found itself on {hypervisor}, read its environment from {source}, \
         wrote {}, passed its gates and told the host.",
        if id.is_empty() { "The guest" } else { id },
        (last.at - vm.started).as_secs_f64(),
        if changed.len() == 1 { "1 file".to_owned() } else { format!("{} files", changed.len()) }
    ));
}
