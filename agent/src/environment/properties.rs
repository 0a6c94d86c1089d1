//! Properties by key, and values that do not show themselves.
//!
//! Decides that keys are opaque strings, that the last of several values wins, and that a value leaves its
//! wrapper by [`Value::reveal`] alone. Does not decide what a value means or how it is typed: the environment
//! carries no types (DSP0243 clause 9.5 keeps them in the descriptor); see `parameters`.
#![forbid(unsafe_code)]

use std::fmt;

use zeroize::Zeroizing;

use super::index::Index;

/// The value of a property: wiped when dropped, and redacted in `Debug`. There is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Zeroizing<String>);

impl Value {
    /// The value itself, for those who may see it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self(Zeroizing::new(value))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(..)")
    }
}

/// Properties by key, in document order; a key that was given again keeps its first place and has its last
/// value.
#[derive(Clone, Default)]
pub struct Properties {
    /// All keys, one behind the other; on their own they would be as many allocations.
    keys: String,
    /// Where the key ends, and the value.
    entries: Vec<(usize, Value)>,
    places: Index,
}

impl Properties {
    /// The value of a key. `None` is something else than an empty value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let place = self.places.find(self.len(), key, |place| key_at(&self.keys, &self.entries, place));
        place.map(|place| &self.entries[place].1)
    }

    /// Keys and values in document order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        let key = |place| key_at(&self.keys, &self.entries, place);
        self.entries.iter().enumerate().map(move |(place, (_, value))| (key(place), value))
    }

    /// Number of different keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sets a key; true if it had a value before.
    pub(super) fn insert(&mut self, key: &str, value: Value) -> bool {
        let Self { keys, entries, places } = self;
        match places.enter(entries.len(), key, |place| key_at(keys, entries, place)) {
            Some(place) => {
                entries[place].1 = value;
                true
            }
            None => {
                keys.push_str(key);
                entries.push((keys.len(), value));
                false
            }
        }
    }
}

fn key_at<'k>(keys: &'k str, entries: &[(usize, Value)], place: usize) -> &'k str {
    let start = place.checked_sub(1).map_or(0, |before| entries[before].0);
    &keys[start..entries[place].0]
}

impl PartialEq for Properties {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys && self.entries == other.entries
    }
}

impl Eq for Properties {}

impl<'k> FromIterator<(&'k str, Value)> for Properties {
    fn from_iter<I: IntoIterator<Item = (&'k str, Value)>>(pairs: I) -> Self {
        let mut properties = Self::default();
        for (key, value) in pairs {
            properties.insert(key, value);
        }
        properties
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Properties, Value};

    fn value(text: &str) -> Value {
        Value::from(text.to_owned())
    }

    #[test]
    fn the_last_value_wins_in_the_first_place() {
        let properties: Properties =
            [("b", value("1")), ("a.b:c", value("")), ("b", value("2"))].into_iter().collect();
        let pairs: Vec<_> = properties.iter().map(|(key, value)| (key, value.reveal())).collect();
        assert_eq!(pairs, [("b", "2"), ("a.b:c", "")]);
        assert_eq!(properties.get("b").map(Value::reveal), Some("2"));
        assert_eq!(properties.get("a"), None, "keys are not split");
        assert_eq!((properties.len(), properties.is_empty()), (2, false));
    }

    #[test]
    fn values_do_not_show_themselves() {
        let properties: Properties = [("password", value("hunter2"))].into_iter().collect();
        assert_eq!(format!("{properties:?}"), "{\"password\": Value(..)}");
    }
}
