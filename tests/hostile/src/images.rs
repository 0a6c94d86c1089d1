//! ISO 9660 images, broken where it hurts.
//!
//! Decides what is done to a proper image: to its bytes and blocks as any damage would, and to the fields of volume
//! descriptors, directory records and Rock Ridge entries as an attacker would, pointers that lead in circles included.
//! ECMA-119, the Joliet specification, SUSP 1.12 and RRIP 1.12 name the fields.

#![forbid(unsafe_code)]

use crate::layout::{Layout, SECTOR, le32};
use crate::random::Random;

/// The mutant of this number: one of the images, broken in one to four places.
pub fn mutant(bases: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    let mut random = Random::new(seed, number);
    let mut image = bases[random.below(bases.len())].clone();
    for _ in 0..random.breaks() {
        mutate(&mut image, &mut random);
    }
    image
}

/// Breaks an image in one place, or in few that belong together.
pub fn mutate(image: &mut Vec<u8>, random: &mut Random) {
    let layout = Layout::of(image);
    let mut image = Image { bytes: image, layout, random };
    match image.random.below(16) {
        0 => image.flip_bits(),
        1 => image.truncate(),
        2 | 3 => image.move_blocks(),
        4 | 5 => image.descriptor_field(),
        6..=8 => image.record_field(),
        9 | 10 => image.name(),
        11 | 12 => image.entry_field(),
        13 => image.directory_circle(),
        14 => image.continuation_circle(),
        _ => image.long_chain(),
    }
}

struct Image<'a> {
    bytes: &'a mut Vec<u8>,
    layout: Layout,
    random: &'a mut Random,
}

impl Image<'_> {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn one_of(&mut self, list: fn(&Layout) -> &Vec<usize>) -> Option<usize> {
        let list = list(&self.layout);
        (!list.is_empty()).then(|| list[self.random.below(list.len())])
    }

    /// A block, of those that mean something more often than of the others.
    fn block(&mut self) -> usize {
        let blocks = self.bytes.len() / SECTOR;
        let known = match self.random.below(4) {
            0 => self.one_of(|layout| &layout.descriptors),
            1 => self.one_of(|layout| &layout.records),
            2 => self.one_of(|layout| &layout.entries),
            _ => None,
        };
        known.map_or_else(|| self.random.below(blocks), |at| at / SECTOR)
    }

    /// A number that a reader may not expect.
    fn number(&mut self) -> u32 {
        let blocks = (self.bytes.len() / SECTOR) as u32;
        let len = self.bytes.len() as u32;
        let usual = [
            0,
            1,
            2,
            3,
            4,
            15,
            16,
            17,
            18,
            33,
            34,
            255,
            2047,
            2048,
            2049,
            4096,
            32767,
            65535,
            65536,
            1 << 20,
            16 << 20,
            (16 << 20) + 1,
            (1 << 21) - 1,
            1 << 21,
            i32::MAX as u32,
            1 << 31,
            u32::MAX - 2047,
            u32::MAX - 1,
            u32::MAX,
            blocks - 1,
            blocks,
            blocks + 1,
            len - 1,
            len,
            len + 1,
        ];
        match self.random.below(6) {
            0 => self.random.number() as u32,
            1 => self.block() as u32,
            2 => self.one_of(|layout| &layout.records).map_or(0, |at| le32(self.bytes, at + 2)),
            _ => self.random.pick(&usual),
        }
    }

    /// A number in a field that has it twice: once in each byte order, or in one alone.
    fn put_both(&mut self, at: usize, number: u32) {
        let which = self.random.below(4);
        if which != 1 {
            self.put(at, &number.to_le_bytes());
        }
        if which != 2 {
            self.put(at + 4, &number.to_be_bytes());
        }
    }

    fn put_both_exactly(&mut self, at: usize, number: u32) {
        self.put(at, &number.to_le_bytes());
        self.put(at + 4, &number.to_be_bytes());
    }

    fn put_both_short(&mut self, at: usize, number: u16) {
        let which = self.random.below(4);
        if which != 1 {
            self.put(at, &number.to_le_bytes());
        }
        if which != 2 {
            self.put(at + 2, &number.to_be_bytes());
        }
    }

    fn flip_bits(&mut self) {
        for _ in 0..=self.random.below(16) {
            let at = match self.random.below(3) {
                0 => self.random.below(self.bytes.len()),
                _ => self.block() * SECTOR + self.random.below(SECTOR),
            };
            let bit = 1 << self.random.below(8);
            if let Some(byte) = self.bytes.get_mut(at) {
                *byte ^= bit;
            }
        }
    }

    fn truncate(&mut self) {
        let len = match self.random.below(4) {
            0 => self.random.below(self.bytes.len()),
            1 => self.random.below(self.bytes.len() / SECTOR) * SECTOR,
            2 => self.block() * SECTOR + self.random.below(SECTOR),
            _ => self.bytes.len().saturating_sub(self.random.below(SECTOR)),
        };
        self.bytes.truncate(len);
    }

    fn move_blocks(&mut self) {
        let (from, to) = (self.block() * SECTOR, self.block() * SECTOR);
        if from.max(to) + SECTOR > self.bytes.len() {
            return;
        }
        match self.random.below(5) {
            0 => self.bytes[to..to + SECTOR].fill(0),
            1 => {
                let byte = self.random.number() as u8;
                self.bytes[to..to + SECTOR].fill(byte);
            }
            2 => self.bytes.copy_within(from..from + SECTOR, to),
            3 => {
                for i in 0..SECTOR {
                    self.bytes.swap(from + i, to + i);
                }
            }
            // As if a block had not been read, and the next ones had moved up.
            _ => {
                self.bytes.drain(to..to + SECTOR);
            }
        }
    }

    fn descriptor_field(&mut self) {
        let Some(at) = self.one_of(|layout| &layout.descriptors) else { return };
        let number = self.number();
        match self.random.below(14) {
            0 => self.put(at, &[number as u8]),
            1 => self.put(at + 1, b"BEA01"),
            2 => self.put(at + 6, &[number as u8]),
            3 => {
                let escape = self.random.pick(&[b"%/@", b"%/C", b"%/E", b"%/F", b"\0\0\0"]);
                self.put(at + 88, escape);
            }
            4 | 5 => self.put_both(at + 80, number),
            6 => self.put_both_short(at + 120, number as u16),
            7 | 8 => {
                let size = self.random.pick(&[0, 1, 512, 1024, 2047, 4096, 32768, 65535, number as u16]);
                self.put_both_short(at + 128, size);
            }
            9 => self.put_both(at + 132, number),
            10 => {
                let field = self.random.pick(&[140, 144, 148, 152]);
                self.put(at + field, &number.to_le_bytes());
            }
            11 => self.put_both(at + 158, number),
            12 => self.put_both(at + 166, number),
            // The end of the set becomes another descriptor, or the set ends early.
            _ => {
                let kind = self.random.pick(&[0, 1, 2, 3, 255]);
                self.put(at, &[kind]);
            }
        }
    }

    fn record_field(&mut self) {
        let Some(at) = self.one_of(|layout| &layout.records) else { return };
        let number = self.number();
        match self.random.below(12) {
            0 => {
                let size = self.random.pick(&[0, 1, 32, 33, 34, 35, 254, 255, number as u8]);
                self.put(at, &[size]);
            }
            1 => self.put(at + 1, &[number as u8]),
            2..=4 => self.put_both(at + 2, number),
            5..=7 => self.put_both(at + 10, number),
            8 => {
                // Hidden, directory, associated, with a record format, protected, and more of it to come.
                let flags = self.random.pick(&[1, 2, 4, 8, 16, 128, 130, 255, number as u8]);
                self.put(at + 25, &[flags]);
            }
            9 => self.put(at + 26, &[number as u8, (number >> 8) as u8]),
            10 => self.put_both_short(at + 28, number as u16),
            _ => {
                let size = self.random.pick(&[0, 1, 2, 33, 220, 221, 222, 223, 255, number as u8]);
                self.put(at + 32, &[size]);
            }
        }
    }

    fn name(&mut self) {
        const NAMES: [&[u8]; 22] = [
            b"\0",
            b"\x01",
            b"/",
            b"..",
            b"../../etc/shadow",
            b";1",
            b".;1",
            b"OVF_ENV.XML;1",
            b"OVF_ENV.XML;99999999999999999999",
            b"OVF_ENV.XML;;;1",
            b"ovf-env.xml\0",
            b"OVF_ENV.XML\xff;1",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0o\0v\0f\0-\0e\0n\0v\0.\0x\0m\0l",
            b"\0O\0V\0F\0_\0E\0N\0V\0.\0X\0M\0L\0;\x001",
            b"\0o\0v\0f\0-\0e\0n\0v\0.\0x\0m\0",
            b"\xd8\0\xd8\0",
            b"\xdc\0\0a",
            b"\xd8\x3d\xde\0",
            b"\xfe\xff\0a",
            b"\0/\0.\0.",
            b"\0\0\0\0",
        ];
        let Some(at) = self.one_of(|layout| &layout.records) else { return };
        let name = self.random.pick(&NAMES);
        self.put(at + 33, name);
        // Else the length is the one of the name that was there.
        if !self.random.one_in(3) {
            self.put(at + 32, &[name.len() as u8]);
        }
        if self.random.one_in(2) {
            let needed = 33 + name.len() + usize::from(name.len().is_multiple_of(2));
            let size = usize::from(self.bytes.get(at).copied().unwrap_or_default()).max(needed) as u8;
            self.put(at, &[size]);
        }
    }

    fn entry_field(&mut self) {
        const SIGNATURES: [&[u8; 2]; 18] = [
            b"SP", b"CE", b"PD", b"ST", b"ER", b"ES", b"RR", b"PX", b"PN", b"SL", b"NM", b"CL", b"PL", b"RE",
            b"TF", b"SF", b"ZF", b"AL",
        ];
        let Some(at) = self.one_of(|layout| &layout.entries) else { return };
        let number = self.number();
        match self.random.below(8) {
            0 | 1 => {
                let signature = self.random.pick(&SIGNATURES);
                self.put(at, signature);
            }
            2 => {
                let size = self.random.pick(&[0, 1, 3, 4, 5, 6, 8, 12, 28, 36, 44, 255, number as u8]);
                self.put(at + 2, &[size]);
            }
            3 => self.put(at + 3, &[number as u8]),
            // Flags of a name or link: to be continued, this directory, its parent, the root.
            4 => {
                let flags = self.random.pick(&[1, 2, 4, 8, 15, 32, 255]);
                self.put(at + 4, &[flags]);
            }
            5 => self.put_both(at + 4, number),
            6 => self.put_both(at + 12, number),
            _ => self.put_both(at + 20, number),
        }
    }

    /// A directory that contains itself, its parent, or an endless row of others.
    fn directory_circle(&mut self) {
        let Some(record) = self.one_of(|layout| &layout.records) else { return };
        let directories = &self.layout.directories;
        if directories.is_empty() {
            return;
        }
        let (start, len) = directories[self.random.below(directories.len())];
        let len = if self.random.one_in(3) { self.number() } else { len as u32 };
        match self.random.below(4) {
            0..=2 => {
                self.put_both_exactly(record + 2, (start / SECTOR) as u32);
                self.put_both_exactly(record + 10, len);
                self.put(record + 25, &[2]);
            }
            // Relocated directories, by their Rock Ridge links.
            _ => {
                let Some(entry) = self.one_of(|layout| &layout.entries) else { return };
                let signature = self.random.pick(&[b"CL", b"PL", b"RE"]);
                self.put(entry, signature);
                self.put(entry + 2, &[12, 1]);
                self.put_both_exactly(entry + 4, (start / SECTOR) as u32);
            }
        }
    }

    /// A continuation that leads to itself, to another one, or to the start of its own record.
    fn continuation_circle(&mut self) {
        let Some(first) = self.one_of(|layout| &layout.entries) else { return };
        let Some(second) = self.one_of(|layout| &layout.entries) else { return };
        let target = match self.random.below(4) {
            0 => self.one_of(|layout| &layout.records).unwrap_or(first),
            1 => second,
            _ => first,
        };
        let len = if self.random.one_in(2) { 28 } else { self.number() };
        self.continuation(first, target, len);
        if self.random.one_in(2) {
            self.continuation(second, first, 28);
        }
    }

    /// Many continuations, each with a piece of a name or of a link that is to be continued, in a block of their own.
    fn long_chain(&mut self) {
        let Some(entry) = self.one_of(|layout| &layout.entries) else { return };
        let block = self.bytes.len() / SECTOR;
        self.bytes.resize((block + 1 + self.random.below(8)) * SECTOR, 0);
        let (start, end) = (block * SECTOR, self.bytes.len());
        let piece: usize = self.random.pick(&[5, 6, 64, 255]);
        let signature = self.random.pick(&[b"NM", b"SL", b"PX", b"CL", b"ER", b"ZF"]);
        let mut at = start;
        while at + piece + 28 <= end {
            self.put(at, &[signature[0], signature[1], piece as u8, 1, 1]);
            self.bytes[at + 5..at + piece].fill(b'n');
            let last = at + 2 * (piece + 28) > end;
            let next = if last { start } else { at + piece + 28 };
            self.continuation(at + piece, next, (piece + 28) as u32);
            at += piece + 28;
        }
        let len = if self.random.one_in(2) { piece as u32 + 28 } else { u32::MAX };
        self.continuation(entry, start, len);
    }

    fn continuation(&mut self, at: usize, target: usize, len: u32) {
        self.put(at, b"CE\x1c\x01");
        self.put_both_exactly(at + 4, (target / SECTOR) as u32);
        self.put_both_exactly(at + 12, (target % SECTOR) as u32);
        self.put_both_exactly(at + 20, len);
    }
}
