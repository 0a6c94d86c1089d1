//! Shows what happens until the guest is ready: the agent's log, signs of life of the kernel, the reports.

use crate::screen::{Screen, Who};
use anyhow::{Context, Result, bail};
use qemu_tests::console::Console;
use qemu_tests::{Line, Received, Vm};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// The kernel says hundreds of lines; one in a while shows that it is alive.
const KERNEL_PAUSE: Duration = Duration::from_millis(700);
/// How long the console may lag behind the port: it is a 16550, byte by byte.
const CONSOLE_LAG: Duration = Duration::from_millis(300);
/// Longer lines would be wrapped by most terminals.
const WIDTH: usize = 100;

/// Shows everything until a report says ready; the reports in their order.
pub(crate) fn until_ready(screen: &Screen, vm: &mut Vm, deadline: Instant) -> Result<Vec<Received>> {
    let (started, console) = (vm.started, vm.console.clone());
    let end = OnceLock::new();
    thread::scope(|scope| {
        scope.spawn(|| follow(screen, &console, started, &end));
        let reports = reports(screen, vm, deadline);
        end.get_or_init(|| Instant::now() + CONSOLE_LAG);
        reports
    })
}

/// Shows the reports as they come, each once.
fn reports(screen: &Screen, vm: &mut Vm, deadline: Instant) -> Result<Vec<Received>> {
    let mut reports: Vec<Received> = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let received = vm.report(|_| true, left).context("the guest did not become ready")?;
        if reports.last().is_some_and(|last| last.report.seq == received.report.seq) {
            continue;
        }
        screen.event(received.at - vm.started, Who::Report, &received.report.to_string());
        let (ready, failed) = (received.report.ready, received.report.failure.is_some());
        reports.push(received);
        if failed {
            bail!("the guest reported a failure");
        }
        if ready {
            return Ok(reports);
        }
    }
}

/// Shows the console until the moment that `end` names, once it names one.
fn follow(screen: &Screen, console: &Console, started: Instant, end: &OnceLock<Instant>) {
    let ended = |now: Instant| end.get().is_some_and(|end| now >= *end);
    let (mut shown, mut configured) = (started, false);
    for index in 0.. {
        let line = loop {
            match console.line(index, Instant::now() + CONSOLE_LAG) {
                Some(line) => break line,
                None if ended(Instant::now()) => return,
                None => {}
            }
        };
        if ended(line.at) {
            return;
        }
        let text = without_time(&line);
        if let Some(text) = text.strip_prefix("ovf-agent: ") {
            screen.event(line.at - started, Who::Agent, text);
            // From here on it is no longer the kernel that speaks, but the appliance's own program.
            configured = true;
        } else if configured || line.at - shown >= KERNEL_PAUSE {
            shown = line.at;
            screen.event(line.at - started, Who::Guest, &shortened(text));
        }
    }
}

/// A console line without the kernel's time.
fn without_time(line: &Line) -> &str {
    let text = line.text.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    text.map_or(line.text.as_str(), |(_, text)| text)
}

/// `text` as far as a terminal's line goes, without what would move its cursor.
fn shortened(text: &str) -> String {
    let text: String = text.chars().filter(|character| !character.is_control()).collect();
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
