//! What is remembered of this boot: which disks were there when the guest came up, and which source it was configured
//! from.
//!
//! Both rules of `transport` last until the next boot and must outlive the agent's own process, so they lie in
//! `/run/ovf-agent`. The first search of a boot may find any disk; when it is over, the disks that it saw are those that
//! were there at boot, and one that comes later is not looked at (`trust` says why). The source of the first pass
//! that succeeded is pinned: a document elsewhere is ignored, and said to be. Names of disks come again, so a
//! disk is known by the kernel's sequence number as well. Optical drives are known by their name alone: their disc may
//! be swapped, which is how platforms re-send.
//!
//! Only a pass writes it; commands that change nothing go by what is there. Where it cannot be kept (no `/run`, or a tree
//! that is no running machine) every search is the first.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Source;
use super::trust::{Candidate, Kind};
use crate::sys::{self, Root};

const FILE: &str = "/run/ovf-agent/boot.json";
const LIMIT: u64 = 1024 * 1024;

/// What is remembered of this boot.
#[derive(Debug, Default)]
pub struct Boot {
    record: Record,
    changed: bool,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The kernel's boot id; empty where there is none.
    boot: String,
    /// The disks that were there, by name, with their sequence numbers; `None` until the first search is over.
    disks: Option<BTreeMap<String, Option<u64>>>,
    /// The source that the guest was configured from, as the report spells it.
    pinned: Option<String>,
}

impl Boot {
    /// Reads what is remembered; of another boot, or damaged, it is nothing.
    pub fn load(root: &Root) -> Self {
        let boot = root.boot_id();
        let written = root.read(FILE, LIMIT).ok().flatten();
        let record: Option<Record> = written.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let record = record.filter(|record| record.boot == boot && !boot.is_empty());
        Self { record: record.unwrap_or(Record { boot, ..Record::default() }), changed: false }
    }

    /// Whether the candidate may be looked at: it is an optical drive, or was there at boot.
    pub fn admits(&self, candidate: &Candidate) -> bool {
        match &self.record.disks {
            _ if candidate.kind == Kind::Optical => true,
            None => true,
            Some(disks) => disks.get(&candidate.name) == Some(&candidate.sequence),
        }
    }

    /// The first search is over, and has seen these. Later searches change nothing.
    pub fn close(&mut self, seen: &[Candidate]) {
        if self.record.disks.is_none() {
            let disks = seen.iter().filter(|candidate| candidate.kind != Kind::Optical);
            let disks = disks.map(|disk| (disk.name.clone(), disk.sequence)).collect();
            self.record.disks = Some(disks);
            self.changed = true;
        }
    }

    /// The source that the guest was configured from; `None` before that.
    pub fn pinned(&self) -> Option<Source> {
        self.record.pinned.as_ref()?.parse().ok()
    }

    /// The guest was configured from this source, which was found and not named. Later ones change nothing.
    pub fn pin(&mut self, source: &Source) {
        if self.record.pinned.is_none() {
            self.record.pinned = Some(source.to_string());
            self.changed = true;
        }
    }

    /// Writes what is new, where there is a boot to remember.
    ///
    /// # Errors
    /// It cannot be written; what was there still is.
    pub fn save(&mut self, root: &Root) -> sys::Result<()> {
        if !self.changed || self.record.boot.is_empty() {
            return Ok(());
        }
        let text = serde_json::to_vec(&self.record).expect("plain data");
        root.note(FILE, &text, 0o644)?;
        self.changed = false;
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes the machine it looks at")]
pub(crate) mod tests {
    use super::{Boot, Candidate, Kind, Root, Source};
    use std::fs;

    /// A machine in its first boot.
    pub(crate) fn machine() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let random = dir.path().join("proc/sys/kernel/random");
        fs::create_dir_all(&random).expect("mkdir");
        fs::create_dir_all(dir.path().join("run")).expect("mkdir");
        fs::write(random.join("boot_id"), "first\n").expect("write");
        let root = Root::open(dir.path()).expect("a directory");
        (dir, root)
    }

    fn disk(name: &str, sequence: u64) -> Candidate {
        Candidate { name: name.to_owned(), kind: Kind::Disk, sequence: Some(sequence) }
    }

    #[test]
    fn what_was_there_at_boot_is_remembered_until_the_next() {
        let (dir, root) = machine();
        let random = dir.path().join("proc/sys/kernel/random");

        let mut boot = Boot::load(&root);
        assert!(boot.admits(&disk("vdb", 2)), "the first search may find any");
        assert_eq!(boot.pinned(), None);
        boot.close(&[disk("vdb", 2)]);
        boot.pin(&Source::Iso("/dev/vdb".into()));
        boot.save(&root).expect("written");

        let mut boot = Boot::load(&root);
        assert!(boot.admits(&disk("vdb", 2)));
        assert!(!boot.admits(&disk("vdb", 3)), "another disk under the same name");
        assert!(!boot.admits(&disk("vdc", 4)));
        assert!(boot.admits(&Candidate { name: "sr3".into(), kind: Kind::Optical, sequence: Some(9) }));
        boot.close(&[disk("vdc", 4)]);
        assert!(!boot.admits(&disk("vdc", 4)), "the first search alone decides");
        boot.pin(&Source::Iso("/dev/sr0".into()));
        assert_eq!(boot.pinned(), Some(Source::Iso("/dev/vdb".into())));

        fs::write(random.join("boot_id"), "second\n").expect("write");
        assert!(Boot::load(&root).admits(&disk("vdc", 4)), "another boot");
        assert_eq!(Boot::load(&root).pinned(), None);
        fs::write(random.join("boot_id"), "first\n").expect("write");
        fs::write(dir.path().join("run/ovf-agent/boot.json"), "{").expect("write");
        assert_eq!(Boot::load(&root).pinned(), None, "damaged is nothing");
    }
}
