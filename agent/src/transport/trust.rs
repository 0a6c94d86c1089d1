//! Whom to trust: which of a machine's block devices may hold its OVF environment.
//!
//! Whoever can put a document where it is looked for configures the guest, so the places are few. Optical drives are
//! the platform's (DSP0243, clause 11.2). Whole disks count only where the volume on them is labelled as platforms
//! label it, and only those that were there at boot: what a tenant attaches later is data. Never looked at: what the
//! guest itself can make out of data (loop, dm, md, nbd, zram), and a device that others stand on. Partitions
//! count only where the appliance says so.
//!
//! Decides by names and by what `/sys` says of them. Does not open devices (`transport`), and does not know what was
//! there at boot (`boot`).

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use crate::sys::{self, Root};

/// Labels of a volume with an OVF environment: vSphere's, Fujitsu's and VMware Studio's, and that of cloud-init's
/// `make-iso`. Compared without regard to case, as cloudbase-init does.
const LABELS: [&str; 3] = ["OVF ENV", "OVFENV", "OVF-TRANSPORT"];
/// Labels of other people's volumes: cloud-init's NoCloud, OpenStack's config drive. Azure's has a suffix that varies.
const FOREIGN: [&str; 2] = ["cidata", "config-2"];
const FOREIGN_PREFIX: &str = "rd_rdfe_stable";

/// `[transport.iso] devices`: which kinds of device are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Devices {
    /// Optical drives, whatever their discs are labelled.
    pub optical: bool,
    /// Whole disks with a labelled volume, there at boot.
    pub labelled: bool,
    /// The same for partitions.
    pub partitions: bool,
}

impl Default for Devices {
    fn default() -> Self {
        Self { optical: true, labelled: true, partitions: false }
    }
}

/// What kind of device a candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A SCSI or ATA optical drive.
    Optical,
    /// A whole disk.
    Disk,
    /// A part of one.
    Partition,
}

/// A device that may be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its kernel name: `sr0`, `vdb`.
    pub name: String,
    /// What kind it is.
    pub kind: Kind,
    /// The kernel's number for this very disk, never used again until the next boot (Linux 5.15; `None` before).
    pub sequence: Option<u64>,
}

impl Candidate {
    /// Its node.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }
}

/// The devices of a machine that may be looked at, in the order in which they are: optical drives by number, then
/// disks by name. `/sys` says which block devices exist, not `/dev`: a node may be left over.
///
/// # Errors
/// `/sys` cannot be read.
pub fn candidates(root: &Root, devices: Devices) -> sys::Result<Vec<Candidate>> {
    let wanted = |name: &String| {
        let kind = match kind(name)? {
            Kind::Optical if devices.optical => Kind::Optical,
            Kind::Disk if devices.labelled => Kind::Disk,
            Kind::Partition if devices.partitions => Kind::Partition,
            _ => return None,
        };
        let directory = format!("/sys/class/block/{name}");
        // Whatever it is called, what the guest makes is below here.
        let made_here = root.link(&directory).is_some_and(|link| link.contains("/virtual/block/"));
        let has_holders = !root.list(format!("{directory}/holders")).unwrap_or_default().is_empty();
        if made_here || has_holders {
            return None;
        }
        let sequence = root.clue(format!("{directory}/diskseq")).and_then(|text| text.parse().ok());
        Some(Candidate { name: name.clone(), kind, sequence })
    };
    let mut candidates: Vec<_> = root.list("/sys/class/block")?.iter().filter_map(wanted).collect();
    // Shorter names are earlier ones: sr2 before sr10, sdz before sdaa.
    candidates.sort_by(|a, b| (a.kind, a.name.len(), &a.name).cmp(&(b.kind, b.name.len(), &b.name)));
    Ok(candidates)
}

/// What kind of device a kernel name stands for; `None` for all that are never looked at.
pub fn kind(name: &str) -> Option<Kind> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if name.strip_prefix("sr").is_some_and(digits) {
        return Some(Kind::Optical);
    }
    let rest = if let Some(rest) = name.strip_prefix("nvme") {
        // nvme0n1p2: controller, namespace, partition.
        let (controller, rest) = rest.split_once('n')?;
        let (namespace, partition) = rest.split_once('p').map_or((rest, None), |(n, p)| (n, Some(p)));
        if !digits(controller) || !digits(namespace) || partition == Some("") {
            return None;
        }
        partition.unwrap_or_default()
    } else {
        let rest = ["xvd", "vd", "sd"].into_iter().find_map(|prefix| name.strip_prefix(prefix))?;
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        if letters == 0 {
            return None;
        }
        &rest[letters..]
    };
    match rest {
        "" => Some(Kind::Disk),
        rest if digits(rest) => Some(Kind::Partition),
        _ => None,
    }
}

/// Whether a volume is labelled as platforms label theirs.
pub fn is_ours(label: &str) -> bool {
    LABELS.iter().any(|known| known.eq_ignore_ascii_case(label))
}

/// Whether a volume is labelled as somebody else's.
pub fn is_foreign(label: &str) -> bool {
    FOREIGN.iter().any(|known| known.eq_ignore_ascii_case(label))
        || label.get(..FOREIGN_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(FOREIGN_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::{Kind, is_foreign, is_ours, kind};

    #[test]
    fn a_name_says_what_kind_of_device_it_is() {
        for (names, want) in [
            ("sr0 sr11", Some(Kind::Optical)),
            ("vda vdp sdz sdaa xvda nvme0n1 nvme10n2", Some(Kind::Disk)),
            ("vda1 sdaa12 xvdb3 nvme0n1p1", Some(Kind::Partition)),
            (
                "sr sr0p1 loop0 loop0p1 dm-0 md0 md127 nbd0 nbd0p1 zram0 ram0 fd0 mmcblk0 sd vd nvme nvme0 nvme0n",
                None,
            ),
            (
                "nvme0c0n1 nvmen1 nvme0n1p nvme0n1px sda1x sd1 sdA vda-1 pmem0 bcache0 drbd0 rbd0 ubda mtdblock0",
                None,
            ),
        ] {
            for name in names.split(' ') {
                assert_eq!(kind(name), want, "{name}");
            }
        }
    }

    #[test]
    fn labels_are_compared_whole_and_without_case() {
        for label in ["OVF ENV", "ovf env", "OVFENV", "OVF-TRANSPORT", "ovf-transport"] {
            assert!(is_ours(label), "{label}");
        }
        for label in ["", "OVF", "OVF_ENV", "OVF ENV2", "XOVFENV", "cidata", "CDROM"] {
            assert!(!is_ours(label), "{label}");
        }
        for label in
            ["cidata", "CIDATA", "config-2", "CONFIG-2", "rd_rdfe_stable.220101-0000", "RD_RDFE_STABLE"]
        {
            assert!(is_foreign(label), "{label}");
        }
        for label in ["", "OVF ENV", "cidata2", "config", "rd_rdfe"] {
            assert!(!is_foreign(label), "{label}");
        }
    }
}
