//! Which property `${name}` means.
//!
//! Decides that it is one of the immediate parent's (DSP0243, 9.5.1): by its full name in the guest, or else by its key
//! alone where only one has it, as the white paper writes them (`${vm1}` for `com.mydb.db.vm1`).

#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::descriptor::{Descriptor, full_name};

/// The properties of an entity by their names; each is a place in the entity's list of them.
#[derive(Debug, Default)]
pub struct Names<'a> {
    full: HashMap<String, usize>,
    keys: HashMap<&'a str, Vec<usize>>,
    all: Vec<String>,
    /// Keys, in the same order.
    bare: Vec<&'a str>,
}

/// What a name means.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// This property.
    One(usize),
    /// None.
    None,
    /// So many.
    Many(usize),
}

impl<'a> Names<'a> {
    /// Those of an entity.
    pub fn of(descriptor: &'a Descriptor, entity: usize) -> Self {
        let mut names = Self::default();
        for (index, (product, property)) in descriptor.properties(entity).enumerate() {
            let name = full_name(product, property);
            names.keys.entry(property.key.value.as_str()).or_default().push(index);
            names.full.insert(name.clone(), index);
            names.all.push(name);
            names.bare.push(&property.key.value);
        }
        names
    }

    /// The property that a name means.
    pub fn find(&self, name: &str) -> Found {
        if let Some(&index) = self.full.get(name) {
            return Found::One(index);
        }
        match self.keys.get(name).map(Vec::as_slice) {
            None => Found::None,
            Some([index]) => Found::One(*index),
            Some(several) => Found::Many(several.len()),
        }
    }

    /// All that could have been written: full names, and keys alone.
    pub fn all(&self) -> impl Iterator<Item = &str> + Clone {
        self.all.iter().map(String::as_str).chain(self.bare.iter().copied())
    }
}
