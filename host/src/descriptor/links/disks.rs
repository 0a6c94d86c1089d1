//! Disks: what they are made of, and how large they are.
//!
//! The rule: DSP0243, 9.1: a disk may hold the difference to another, and the capacity of an empty one may be a property's
//! value, of any ProductSection.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use super::Links;
use crate::finding::{Code, quoted};
use crate::macros::Names;

impl Links<'_> {
    /// Whether the parents of every disk are there, and end.
    pub(super) fn disks(&mut self) {
        let descriptor = self.descriptor;
        let by_id: HashMap<&str, usize> =
            descriptor.disks.iter().enumerate().map(|(index, it)| (it.id.value.as_str(), index)).collect();
        // 0 not seen, 1 on the chain that is followed, 2 done.
        let mut state = vec![0_u8; descriptor.disks.len()];
        for start in 0..descriptor.disks.len() {
            let (mut chain, mut at) = (Vec::new(), start);
            while state[at] == 0 {
                state[at] = 1;
                chain.push(at);
                let disk = &descriptor.disks[at];
                let Some(parent) = &disk.parent else { break };
                match by_id.get(parent.value.as_str()) {
                    Some(&next) if state[next] == 1 => {
                        let message = format!(
                            "the parents of Disk {} lead back to it; a chain ends in a disk without parentRef",
                            quoted(&descriptor.disks[next].id.value)
                        );
                        self.find(Code::DiskCycle, parent.at, message);
                        break;
                    }
                    Some(&next) => at = next,
                    None => {
                        let others = descriptor.disks.iter().map(|it| it.id.value.as_str());
                        let meant = self.meant(&parent.value, others.filter(|it| *it != disk.id.value));
                        let message = format!(
                            "Disk {}: the parentRef {} names no Disk; {meant}",
                            quoted(&disk.id.value),
                            quoted(&parent.value)
                        );
                        self.find(Code::DanglingDisk, parent.at, message);
                        break;
                    }
                }
            }
            for index in chain {
                state[index] = 2;
            }
        }
    }

    /// Whether the properties that say how large disks are, are there.
    pub(super) fn capacities(&mut self) {
        let descriptor = self.descriptor;
        let asked: Vec<_> =
            descriptor.disks.iter().filter_map(|it| Some((&it.id, it.sized_by.as_ref()?))).collect();
        if asked.is_empty() {
            return;
        }
        let names: Vec<_> = (0..descriptor.entities.len()).map(|it| Names::of(descriptor, it)).collect();
        let known: HashSet<&str> = names.iter().flat_map(Names::all).collect();
        for (disk, property) in asked {
            if known.contains(property.value.as_str()) {
                continue;
            }
            let meant = self.meant(&property.value, names.iter().flat_map(Names::all));
            let message = format!(
                "Disk {}: the capacity {} names no Property; {meant}",
                quoted(&disk.value),
                quoted(&format!("${{{}}}", property.value))
            );
            self.find(Code::DanglingCapacity, property.at, message);
        }
    }
}
