//! Names in a cluster.
//!
//! Decides what an id or a network's name, which may be any text, becomes where Kubernetes wants a DNS label (RFC 1123), and
//! that no two guests share one.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

/// Letters of a guest's name: with what its volumes add to it, 63 are never more than there may be.
const LONGEST: usize = 48;

/// Names for what has these ids, at the same places. An id that is a name already is kept.
pub fn unique(ids: &[&str], otherwise: &str) -> Vec<String> {
    let kept = |id: &str| label(id, otherwise) == id;
    let mut taken: HashSet<String> = ids.iter().filter(|it| kept(it)).map(|it| (*it).to_owned()).collect();
    // The last number of each name: ten thousand ids may be alike.
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let name = |id: &&str| {
        let name = label(id, otherwise);
        if name == **id || taken.insert(name.clone()) {
            return name;
        }
        let number = numbers.entry(name.clone()).or_insert(1);
        loop {
            *number += 1;
            let ending = format!("-{number}");
            let most = name.len().min(LONGEST - ending.len());
            let numbered = name[..most].trim_end_matches('-').to_owned() + &ending;
            if taken.insert(numbered.clone()) {
                return numbered;
            }
        }
    };
    ids.iter().map(name).collect()
}

/// A text as a DNS label; where nothing of it can be one, another.
pub fn label(text: &str, otherwise: &str) -> String {
    let mut label = String::new();
    for character in text.chars() {
        match character.to_ascii_lowercase() {
            it if it.is_ascii_alphanumeric() => label.push(it),
            _ if label.is_empty() || label.ends_with('-') => {}
            _ => label.push('-'),
        }
        if label.len() == LONGEST {
            break;
        }
    }
    let label = label.trim_end_matches('-');
    if label.is_empty() { otherwise.to_owned() } else { label.to_owned() }
}

/// Whether a text is a DNS label, as a namespace's name is.
pub fn is_label(text: &str) -> bool {
    let inner = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether a text is a DNS subdomain, as most objects' names are.
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{is_label, is_subdomain, label, unique};

    #[test]
    fn every_text_makes_a_label() {
        for (text, want) in [
            ("db1", "db1"),
            ("DB1", "db1"),
            ("WebTier", "webtier"),
            ("DB 1 (standby)", "db-1-standby"),
            ("--a--b--", "a-b"),
            ("größe", "gr-e"),
            ("磁盘", "guest"),
            ("", "guest"),
            ("1.example.org", "1-example-org"),
        ] {
            assert_eq!(label(text, "guest"), want, "{text}");
        }
        let long = label(&"a-".repeat(60), "guest");
        assert!(is_label(&long) && long.len() <= 48, "{long}");
    }

    #[test]
    fn no_two_guests_share_a_name() {
        let names = unique(&["DB 1", "db-1", "db_1", "db-1-2", "", "?", "guest"], "guest");
        assert_eq!(names, ["db-1-3", "db-1", "db-1-4", "db-1-2", "guest-2", "guest-3", "guest"]);
        arbtest::arbtest(|random| {
            // Few letters, so that many become the same; ids are different from each other.
            let mut ids: Vec<String> = Vec::new();
            for _ in 0..random.int_in_range(1..=30)? {
                let mut id = String::new();
                for _ in 0..random.int_in_range(0..=60)? {
                    id.push(*random.choose(&['a', 'A', '-', '2', '_'])?);
                }
                ids.push(id);
            }
            ids.sort();
            ids.dedup();
            let ids: Vec<_> = ids.iter().map(String::as_str).collect();
            let names = unique(&ids, "guest");
            assert!(names.iter().all(|it| is_label(it) && it.len() <= 48), "{names:?}");
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?}: {names:?}");
            Ok(())
        });
    }

    #[test]
    fn labels_and_subdomains_are_told_from_other_texts() {
        for (text, is_one, is_other) in [
            ("default", true, true),
            ("a.b", false, true),
            ("a..b", false, false),
            ("A", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("", false, false),
            ("a/b", false, false),
        ] {
            assert_eq!((is_label(text), is_subdomain(text)), (is_one, is_other), "{text}");
        }
        assert!(is_label(&"a".repeat(63)) && !is_label(&"a".repeat(64)));
    }
}
