//! Where an agent is sent documents: in a guest or on this machine, which differ in how it is reached alone.

use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// How long anything may take that takes milliseconds: a loaded machine fails no measurement.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A place with a running agent, which is ready.
pub(crate) trait Place {
    /// Sends a document, and gives how long it took until a report said that it is applied. It must change files.
    fn send(&mut self, document: &str) -> Result<Duration>;

    /// What the agent holds now.
    fn footprint(&mut self) -> Result<Footprint>;

    /// Replaces the files that the last document changed by copies of themselves, without the agent; microseconds of each
    /// round, and of those the ones that it waited for flushes.
    fn disk(&mut self, rounds: u32) -> Result<Vec<[u64; 2]>>;
}

/// What an agent holds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Footprint {
    /// Resident memory.
    pub(crate) rss_kib: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
    /// Files in the state directory and in `/run/ovf-agent`.
    pub(crate) files: u64,
    /// Bytes in them.
    pub(crate) bytes: u64,
    /// Hundredths of a second of processor time so far.
    pub(crate) ticks: u64,
}

impl Footprint {
    /// From five numbers in that order.
    pub(crate) fn parse(text: &str) -> Result<Footprint> {
        let numbers: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let &[rss_kib, descriptors, files, bytes, ticks] = numbers.as_slice() else {
            anyhow::bail!("expected five numbers, got {text:?}");
        };
        Ok(Footprint { rss_kib, descriptors, files, bytes, ticks })
    }
}

/// The shell's script that prints a [`Footprint`] of the process `pid`, whose machine lies below `root`.
pub(crate) fn footprint_script(pid: u32, root: &str) -> String {
    format!(
        "awk '/^VmRSS/ {{ print $2 }}' /proc/{pid}/status && ls /proc/{pid}/fd | wc -l &&
        find {root}/var/lib/ovf-agent {root}/run/ovf-agent -type f | wc -l &&
        find {root}/var/lib/ovf-agent {root}/run/ovf-agent -type f -exec cat '{{}}' + | wc -c &&
        awk '{{ print $14 + $15 }}' /proc/{pid}/stat"
    )
}

/// What `flushes` printed.
pub(crate) fn rounds(text: &str) -> Result<Vec<[u64; 2]>> {
    let round = |line: &str| {
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        <[u64; 2]>::try_from(numbers).ok().with_context(|| format!("expected two numbers, got {line:?}"))
    };
    let rounds: Vec<_> = text.lines().map(round).collect::<Result<_>>()?;
    ensure!(!rounds.is_empty(), "flushes printed nothing");
    Ok(rounds)
}
