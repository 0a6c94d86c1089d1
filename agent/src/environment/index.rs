//! Where in a list the thing of a name is.
//!
//! Decides how it is found: in a short list by looking, in a longer one by a table of hashes. The table holds places
//! and no names, which the list has already, and grows without looking at them; a standard map would have each name
//! again, and hash all of them whenever it grows. The hash is keyed, so that no document can be made to be slow. Does
//! not decide what happens to things of the same name.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, RandomState};

/// Up to so many things, comparing their names is faster than hashing one.
const SHORT: usize = 8;

/// Belongs to one list, to which things are only added.
#[derive(Clone, Default)]
pub(super) struct Index(Option<Box<Table>>);

#[derive(Clone)]
struct Table {
    key: RandomState,
    /// A power of two of them, at most three in four taken: the hash above, the place and one below; 0 is free.
    slots: Vec<u64>,
}

impl Index {
    /// The place of this name in a list of so many.
    pub(super) fn find<'n>(
        &self,
        count: usize,
        name: &str,
        name_at: impl Fn(usize) -> &'n str,
    ) -> Option<usize> {
        let is = |place: usize| name_at(place) == name;
        match &self.0 {
            None => (0..count).find(|place| is(*place)),
            Some(table) => table.look(table.hash(name), is).ok(),
        }
    }

    /// The place of this name; where there is none, it is that of the thing which is added to the list next.
    pub(super) fn enter<'n>(
        &mut self,
        count: usize,
        name: &str,
        name_at: impl Fn(usize) -> &'n str,
    ) -> Option<usize> {
        let Some(table) = &mut self.0 else {
            let found = self.find(count, name, &name_at);
            if found.is_none() && count == SHORT {
                let mut table = Table { key: RandomState::new(), slots: vec![0; 4 * SHORT] };
                for place in 0..count {
                    table.put(slot(table.hash(name_at(place)), place));
                }
                table.put(slot(table.hash(name), count));
                self.0 = Some(Box::new(table));
            }
            return found;
        };
        let hash = table.hash(name);
        match table.look(hash, |place| name_at(place) == name) {
            Ok(place) => Some(place),
            Err(free) => {
                table.slots[free] = slot(hash, count);
                if (count + 1) * 4 > table.slots.len() * 3 {
                    table.grow();
                }
                None
            }
        }
    }
}

fn slot(hash: u32, place: usize) -> u64 {
    u64::from(hash) << 32 | (place as u64 + 1)
}

impl Table {
    fn hash(&self, name: &str) -> u32 {
        self.key.hash_one(name) as u32
    }

    /// The place with this hash that `is` the one, or the slot in which it would be.
    fn look(&self, hash: u32, is: impl Fn(usize) -> bool) -> Result<usize, usize> {
        let mut at = hash as usize & (self.slots.len() - 1);
        loop {
            match self.slots[at] {
                0 => return Err(at),
                slot if (slot >> 32) as u32 == hash && is(slot as u32 as usize - 1) => {
                    return Ok(slot as u32 as usize - 1);
                }
                _ => at = (at + 1) & (self.slots.len() - 1),
            }
        }
    }

    /// Puts a slot where it belongs, knowing that it is not there.
    fn put(&mut self, slot: u64) {
        if let Err(free) = self.look((slot >> 32) as u32, |_| false) {
            self.slots[free] = slot;
        }
    }

    fn grow(&mut self) {
        let twice = vec![0; self.slots.len() * 2];
        for slot in std::mem::replace(&mut self.slots, twice) {
            if slot != 0 {
                self.put(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Index;

    #[test]
    fn every_name_is_found_at_its_place_and_no_other_is() {
        let names: Vec<_> = (0..1000).map(|number| format!("name{number}")).collect();
        let (mut index, name_at) = (Index::default(), |place: usize| names[place].as_str());
        for (count, name) in names.iter().enumerate() {
            assert_eq!(index.find(count, name, name_at), None, "{name}");
            assert_eq!(index.enter(count, name, name_at), None, "{name}");
            let count = count + 1;
            for (place, name) in names[..count].iter().enumerate() {
                assert_eq!(index.find(count, name, name_at), Some(place), "{name} of {count}");
            }
            assert_eq!(index.enter(count, name, name_at), Some(count - 1), "{name}");
        }
    }
}
