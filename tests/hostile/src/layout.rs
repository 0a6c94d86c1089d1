//! Where things are in an ISO 9660 image, so that they can be broken one by one.
//!
//! Decides nothing about whether an image is right: it follows whatever looks like a pointer, only so far that it
//! comes to an end in any image. Written anew, and not taken from a reader under test, which would look away from what
//! it cannot read. ECMA-119 for descriptors, path tables and records; SUSP 1.12 for the entries in records.

#![forbid(unsafe_code)]

/// Bytes in a sector.
pub const SECTOR: usize = 2048;
/// More than any image of ours has.
const DIRECTORIES: usize = 64;
const RECORDS: usize = 1024;
const ENTRIES: usize = 4096;

/// Offsets of what was found.
#[derive(Debug, Default, Clone)]
pub struct Layout {
    /// Volume descriptors, the last of the set included.
    pub descriptors: Vec<usize>,
    /// Path tables, of both byte orders.
    pub tables: Vec<usize>,
    /// Directories: first byte and length.
    pub directories: Vec<(usize, usize)>,
    /// Directory records, those in the descriptors included.
    pub records: Vec<usize>,
    /// Entries of the System Use Sharing Protocol, those in continuation areas included.
    pub entries: Vec<usize>,
}

impl Layout {
    /// Reads an image, a broken one as far as it goes.
    pub fn of(image: &[u8]) -> Self {
        let mut found = Self::default();
        let mut todo = Vec::new();
        for at in (16..32).map(|sector| sector * SECTOR) {
            if image.get(at + 1..at + 6) != Some(b"CD001") {
                break;
            }
            found.descriptors.push(at);
            let kind = image[at];
            if matches!(kind, 1 | 2) && image.len() >= at + SECTOR {
                found.records.push(at + 156);
                todo.push(extent(image, at + 156));
                for (field, little) in [(140, true), (148, false)] {
                    let block = if little { le32(image, at + field) } else { be32(image, at + field) };
                    found.tables.push((block as usize).saturating_mul(SECTOR));
                }
            }
        }
        while let Some((start, len)) = todo.pop() {
            if found.directories.len() >= DIRECTORIES || found.directories.iter().any(|it| it.0 == start) {
                continue;
            }
            found.directories.push((start, len));
            found.directory(image, start, len, &mut todo);
        }
        found.tables.retain(|at| *at < image.len());
        found
    }

    fn directory(&mut self, image: &[u8], start: usize, len: usize, todo: &mut Vec<(usize, usize)>) {
        let end = start.saturating_add(len).min(image.len());
        let mut at = start;
        while at < end && self.records.len() < RECORDS {
            let size = usize::from(image[at]);
            if size < 34 || at + size > end {
                // The rest of a sector is empty.
                at = (at / SECTOR + 1) * SECTOR;
                continue;
            }
            self.records.push(at);
            let name = usize::from(image[at + 32]);
            let itself_or_parent = name == 1 && image[at + 33] < 2;
            if image[at + 25] & 2 != 0 && !itself_or_parent {
                todo.push(extent(image, at));
            }
            self.system_use(image, at + 33 + name + usize::from(name % 2 == 0), at + size);
            at += size;
        }
    }

    fn system_use(&mut self, image: &[u8], mut at: usize, mut end: usize) {
        let mut continued = None;
        while self.entries.len() < ENTRIES {
            let end_here = end.min(image.len());
            if at + 4 > end_here || image[at + 2] < 4 || at + usize::from(image[at + 2]) > end_here {
                match continued.take() {
                    Some((from, to)) => (at, end) = (from, to),
                    None => return,
                }
                continue;
            }
            if self.entries.contains(&at) {
                return;
            }
            self.entries.push(at);
            if &image[at..at + 2] == b"CE" && image[at + 2] >= 28 {
                let from =
                    (le32(image, at + 4) as usize).saturating_mul(SECTOR) + le32(image, at + 12) as usize;
                continued = Some((from, from.saturating_add(le32(image, at + 20) as usize)));
            }
            at += usize::from(image[at + 2]);
        }
    }
}

/// First byte and length of what a directory record points to.
fn extent(image: &[u8], record: usize) -> (usize, usize) {
    ((le32(image, record + 2) as usize).saturating_mul(SECTOR), le32(image, record + 10) as usize)
}

/// A number, little end first; 0 behind the end.
pub fn le32(image: &[u8], at: usize) -> u32 {
    image.get(at..at + 4).map_or(0, |bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn be32(image: &[u8], at: usize) -> u32 {
    le32(image, at).swap_bytes()
}
