//! The demo, for real: PetStore's guests from disks that boot by themselves, and that nothing is left of it.

use crate::Test;
use crate::docs::top;
use anyhow::{Context, Result, ensure};
use qemu_tests::Bench;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    (
        "demo: databases are ready before their shop is started, a parameter reaches its page, which outlives the primary, and they stop the other way round",
        whole,
    ),
    ("demo: whoever interrupts it finds nothing left", interrupted),
];

/// What stands in the lines of a whole one, in this order.
const SHOWN: [&str; 21] = [
    "0 errors, 0 warnings",
    "DB1: power on",
    "DB1: ready",
    "DB2: power on",
    "DB2: ready",
    "WebTier: power on",
    "WebTier: ready",
    "<h1>PetStore</h1>",
    "(primary, log level normal)",
    "<li>parrot, 120</li>",
    "3 guests changed",
    "(primary, log level warning)",
    "$ lose DB1",
    "(standby, log level warning)",
    "<li>parrot, 120</li>",
    "  DB1      off",
    "  DB2      ready       generation 2",
    "WebTier: off",
    "DB2: off",
    "nothing is deployed",
    "What has happened, as a drawing",
];

fn whole(bench: &Bench<'_>) -> Result<()> {
    let place = tempfile::tempdir()?;
    let drawing = place.path().join("demo.svg");
    let output = demo(bench, place.path())?.arg(&drawing).output()?;
    let said = String::from_utf8(output.stdout)?;
    let shown = || format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}: {}", output.status, shown());
    let mut lines = said.lines();
    for text in SHOWN {
        ensure!(lines.any(|line| line.contains(text)), "no `{text}`, or not there: {}", shown());
    }
    let drawn = fs::read_to_string(&drawing)?;
    let lanes = [
        ">DB1<",
        ">DB2<",
        ">WebTier<",
        "PetStore: 3 guests, all ready after",
        ">set<",
        ">seen gone at ",
        ">off at ",
    ];
    for text in lanes {
        ensure!(drawn.contains(text), "no {text} in the drawing: {drawn}");
    }
    fs::remove_file(&drawing)?;
    nothing_is_left(place.path())
}

fn interrupted(bench: &Bench<'_>) -> Result<()> {
    let place = tempfile::tempdir()?;
    let mut child = demo(bench, place.path())?.process_group(0).stdout(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(child.stdout.take().context("a pipe")?).lines();
    ensure!(said.any(|line| line.is_ok_and(|it| it.contains("DB1: booting"))), "no guest boots");
    // As a terminal does, to all of its group.
    let status = Command::new("kill").args(["-INT", "--", &format!("-{}", child.id())]).status()?;
    ensure!(status.success(), "kill: {status}");
    let rest: Vec<_> = said.map_while(Result::ok).collect();
    let status = child.wait()?;
    ensure!(status.code() == Some(130), "{status}: {rest:?}");
    nothing_is_left(place.path())
}

/// The demo, with the programs that are tried, and `place` for its files.
fn demo(bench: &Bench<'_>, place: &Path) -> Result<Command> {
    let mut command = Command::new(top().join("examples/petstore/demo"));
    for (name, program) in bench.products()? {
        command.env(name.to_uppercase().replace('-', "_"), program);
    }
    let inside = place.join("t");
    fs::create_dir(&inside)?;
    command.env("TMPDIR", inside).env("OVF_HOST_ACCEL", "tcg").stdin(Stdio::null()).stderr(Stdio::piped());
    Ok(command)
}

/// Neither a file, nor a process that is at work there.
fn nothing_is_left(place: &Path) -> Result<()> {
    let left: Vec<_> = fs::read_dir(place.join("t"))?.collect::<Result<_, _>>()?;
    ensure!(left.is_empty(), "files are left: {left:?}");
    let inside = place.join("t").canonicalize()?;
    for process in fs::read_dir("/proc")? {
        let process = process?.path();
        // Most of /proc is none, or has ended meanwhile.
        let Ok(directory) = fs::read_link(process.join("cwd")) else { continue };
        ensure!(!directory.starts_with(&inside), "{} is left, at {}", process.display(), directory.display());
    }
    Ok(())
}
