//! Documents that are sent again: how long each takes, and what is left of many.

use crate::appliance::document;
use crate::guest::Guest;
use crate::machine::Tree;
use crate::place::{Footprint, Place};
use crate::{Lines, median, say, wanted};
use anyhow::Result;
use qemu_tests::Lab;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Re-sends and rounds of the disk alone take turns by so many, so that both see the same load.
const TURN: u32 = 10;

/// After so many re-sends whatever is made once has been made.
const BASE: u32 = 1000;

/// How often it is looked at what an agent holds, from then on.
const SAMPLES: u32 = 24;

/// In a guest and on this machine: how long it takes from the document to the report, and what of that is the disk's.
pub(crate) fn measure(directory: &Path, lines: &mut Lines) -> Result<()> {
    let count = wanted("RESENDS", 200)?;
    let lab = Lab::open()?;
    say(&format!(
        "sending {count} documents on this machine, and replacing the same files without the agent"
    ));
    times(&mut Tree::start(&lab.tools.agent, directory, directory)?, "machine", count, lines)?;
    let bench = lab.bench()?;
    say(&format!("the same {count} times by the port of a guest with ext4 on virtio-blk"));
    times(&mut Guest::start(&bench, directory)?, "guest", count, lines)
}

fn times(place: &mut impl Place, name: &str, count: u32, lines: &mut Lines) -> Result<()> {
    let (mut sends, mut disk, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
    // The first is not counted: it finds nothing at hand.
    place.send(&document(0))?;
    for turn in 0..count.div_ceil(TURN) {
        let numbers = turn * TURN..count.min((turn + 1) * TURN);
        for number in numbers.clone() {
            sends.push(place.send(&document(number + 1))?.as_micros() as u64);
        }
        for [all, flush] in place.disk(numbers.len() as u32)? {
            disk.push(all);
            flushes.push(flush);
        }
    }
    for (what, times) in [("send", &mut sends), ("disk", &mut disk), ("flushes", &mut flushes)] {
        lines.add(&format!("{name}-{what}-median"), median(times));
        lines.add(&format!("{name}-{what}-worst"), times.last().copied().unwrap_or_default());
    }
    Ok(())
}

/// Very many on this machine, and many in a guest: what the agent holds after them beside what it held after the first
/// thousand.
pub(crate) fn growth(directory: &Path, lines: &mut Lines) -> Result<()> {
    let (here, there) = (wanted("LONG_RESENDS", 24_000)?, wanted("LONG_GUEST_RESENDS", 2_000)?);
    let lab = Lab::open()?;
    // In memory, where there is such a place: it is not the disk that may leak.
    let memory = std::env::var_os("IN_MEMORY").map(PathBuf::from);
    let mut tree = Tree::start(&lab.tools.agent, directory, memory.as_deref().unwrap_or(directory))?;
    grown(&mut tree, "machine", here, lines)?;
    drop(tree);
    let bench = lab.bench()?;
    grown(&mut Guest::start(&bench, directory)?, "guest", there, lines)
}

fn grown(place: &mut impl Place, name: &str, count: u32, lines: &mut Lines) -> Result<()> {
    let base_at = BASE.min(count / 2);
    let (mut base, mut last, mut peak, mut looks) = (Footprint::default(), Footprint::default(), 0, 0_u32);
    let step = ((count - base_at) / SAMPLES).max(1);
    let begun = Instant::now();
    for number in 0..count {
        place.send(&document(number))?;
        let sent = number + 1;
        if sent == base_at {
            base = place.footprint()?;
        } else if sent == count || sent > base_at && (sent - base_at).is_multiple_of(step) {
            last = place.footprint()?;
            peak = peak.max(last.rss_kib);
            looks += 1;
            if looks.is_multiple_of(4) || sent == count {
                say(&format!("{name}: {sent} of {count} documents sent, {} KiB resident", last.rss_kib));
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    lines.add(&format!("{name}-count"), count);
    lines.add(&format!("{name}-per-second"), (f64::from(count) / seconds) as u64);
    lines.add(&format!("{name}-cpu-us"), last.ticks * 10_000 / u64::from(count));
    for (what, before, after) in [
        ("rss", base.rss_kib, peak.max(last.rss_kib)),
        ("descriptors", base.descriptors, last.descriptors),
        ("files", base.files, last.files),
        ("bytes", base.bytes, last.bytes),
    ] {
        lines.add(&format!("{name}-{what}"), after);
        lines.add(&format!("{name}-{what}-base"), before);
    }
    Ok(())
}
