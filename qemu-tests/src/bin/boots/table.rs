//! The table of a run, and what the agent may come to beside cloud-init.

use crate::guest::Boot;
use crate::kinds::Kind;
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// What a package brings to a disk, as `bench/boot-images` has noted it: packages, and KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    packages: u64,
    installed: u64,
    disk: u64,
}

impl Facts {
    pub(crate) fn read(image: &Path) -> Result<Facts> {
        let path = image.join("facts");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let of = |name: &str| {
            let number = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            number.with_context(|| format!("{} has no {name}", path.display()))
        };
        Ok(Facts { packages: of("packages ")?, installed: of("installed-kib ")?, disk: of("disk-kib ")? })
    }

    fn beyond(self, base: Facts) -> [i64; 3] {
        let more = |with: u64, without: u64| with as i64 - without as i64;
        [more(self.packages, base.packages), more(self.installed, base.installed), more(self.disk, base.disk)]
    }
}

/// One of a boot's numbers.
type Of = fn(&Boot) -> Option<u64>;

/// A row: its title, what it shows of a boot, and by how much that is divided.
type Row = (&'static str, Of, f64);

const ROWS: [Row; 7] = [
    ("kernel start → the last file is written, s", |boot| boot.written, 1e6),
    ("kernel start → `multi-user.target`, s", |boot| Some(boot.multi_user), 1e6),
    ("kernel start → nothing left to start, s", |boot| Some(boot.finished), 1e6),
    ("CPU of the whole guest until then, s", |boot| Some(boot.cpu), 1e6),
    ("CPU of the units that configure it, s", |boot| boot.units_cpu, 1e6),
    ("peak memory of these units, MiB", |boot| boot.units_peak, 1024.0),
    ("memory in use in the end, MiB", |boot| Some(boot.used), 1024.0),
];

/// In Markdown: medians, and where there is more than one boot the least and the most.
pub(crate) fn table(kinds: &[Kind], boots: &[Vec<Boot>], facts: &[Facts]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let names = kinds.iter().map(|kind| kind.name.to_owned());
    let mut text = line(std::iter::once(String::new()).chain(names).collect());
    text += &"|---".repeat(kinds.len() + 1);
    text += "|\n";
    for (title, of, divisor) in ROWS {
        let cell = |boots: &Vec<Boot>| match sorted(boots, of).as_slice() {
            [] => "–".to_owned(),
            [only] => format!("{:.2}", *only as f64 / divisor),
            [least, .., most] => {
                let shown = |number: u64| format!("{:.2}", number as f64 / divisor);
                let middle = median(boots, of).unwrap_or_default();
                format!("{} ({}–{})", shown(middle), shown(*least), shown(*most))
            }
        };
        text += &line(std::iter::once(title.to_owned()).chain(boots.iter().map(cell)).collect());
    }
    let added: Vec<[i64; 3]> = facts.iter().map(|of| of.beyond(facts[0])).collect();
    for (at, title, divisor) in [
        (0, "packages added", 1.0),
        (1, "added, as dpkg says, MiB", 1024.0),
        (2, "added on disk, MiB", 1024.0),
    ] {
        let cell = |added: &[i64; 3]| match added[at] {
            0 => "–".to_owned(),
            number if divisor == 1.0 => number.to_string(),
            number => format!("{:.1}", number as f64 / divisor),
        };
        text += &line(std::iter::once(title.to_owned()).chain(added.iter().map(cell)).collect());
    }
    text
}

fn sorted(boots: &[Boot], of: Of) -> Vec<u64> {
    let mut numbers: Vec<u64> = boots.iter().filter_map(of).collect();
    numbers.sort_unstable();
    numbers
}

fn median(boots: &[Boot], of: Of) -> Option<u64> {
    let numbers = sorted(boots, of);
    numbers.get(numbers.len() / 2).copied()
}

/// What may not be exceeded, in hundredths of what cloud-init comes to at its least, in the same run. What was seen is about
/// 60 of the times and of the guest's processor time, and 10 of the rest.
const BUDGETS: [(&str, Of, u64); 5] = [
    ("the time until the files are written", |boot| boot.written, 80),
    ("the time until multi-user.target", |boot| Some(boot.multi_user), 85),
    ("the processor time of the guest", |boot| Some(boot.cpu), 85),
    ("the processor time of its units", |boot| boot.units_cpu, 20),
    ("the peak memory of its units", |boot| boot.units_peak, 20),
];

/// Whether the agent, the last of the kinds, keeps its budget beside the one before it.
pub(crate) fn budget(boots: &[Vec<Boot>]) -> Result<()> {
    let [.., peer, agent] = boots else { anyhow::bail!("nothing to compare") };
    for (what, of, hundredths) in BUDGETS {
        let (Some(ours), Some(theirs)) = (median(agent, of), median(peer, of)) else {
            anyhow::bail!("{what} was not measured")
        };
        ensure!(
            ours * 100 <= theirs * hundredths,
            "{what} is {:.1} % of cloud-init's at its least, and the budget is {hundredths} %",
            ours as f64 * 100.0 / theirs as f64
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A boot, all of whose numbers are this one.
    fn boot(number: u64) -> Boot {
        Boot {
            written: Some(number),
            multi_user: number,
            finished: number,
            cpu: number,
            units_cpu: Some(number),
            units_peak: Some(number),
            used: number,
        }
    }

    type Worsen = fn(&mut Boot);

    #[test]
    fn the_median_counts_and_every_budget_can_be_missed() {
        let peer = vec![boot(100), boot(1000), boot(1)];
        let of = |agent: Boot| budget(&[peer.clone(), vec![boot(1), agent.clone(), agent]]);
        assert!(of(boot(20)).is_ok());
        let cases: [(&str, Worsen); 5] = [
            ("files", |boot| boot.written = Some(81)),
            ("multi-user", |boot| boot.multi_user = 86),
            ("of the guest", |boot| boot.cpu = 86),
            ("processor time of its units", |boot| boot.units_cpu = Some(21)),
            ("peak memory", |boot| boot.units_peak = Some(21)),
        ];
        for (what, worsen) in cases {
            let mut agent = boot(20);
            worsen(&mut agent);
            let error = of(agent).expect_err(what).to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
