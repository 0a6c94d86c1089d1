//! What was probably meant: the nearest of the names that there are.
//!
//! Decides when a name is near enough to be worth naming. Two names that differ in case, blanks and punctuation alone are
//! the same to a tired person; else the Jaro-Winkler likeness decides, which weighs beginnings, as people do.

#![forbid(unsafe_code)]

use crate::finding::quoted;

/// Names less alike than this are not alike. `webappdelta` and `webdelta` come to 0.91, `web` and `db` to 0.61.
const ENOUGH: f64 = 0.8;
/// Names that are looked at, and bytes of one: to compare two names costs the product of their lengths.
const MAX_NAMES: usize = 1_000;
const MAX_LENGTH: usize = 128;

/// The one of `names` that was probably meant by `given`.
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if given.len() > MAX_LENGTH {
        return None;
    }
    let bare = bare(given);
    let mut best = None;
    for name in names.into_iter().take(MAX_NAMES).filter(|it| it.len() <= MAX_LENGTH) {
        let likeness = if !bare.is_empty() && self::bare(name) == bare {
            2.0
        } else {
            strsim::jaro_winkler(given, name)
        };
        if likeness >= ENOUGH && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, name));
        }
    }
    best.map(|(_, name)| name)
}

/// The remedy in words: the nearest name, or that there is none like it.
pub fn meant<'a>(given: &str, names: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(given, names.clone()) {
        Some(name) => format!("{} was probably meant", quoted(name)),
        None => {
            let mut all: Vec<String> = Vec::new();
            for name in names.into_iter().take(MAX_NAMES).filter(|it| !it.is_empty()).map(quoted) {
                if !all.contains(&name) {
                    all.push(name);
                }
                if all.len() > 8 {
                    break;
                }
            }
            match &all[..] {
                [] => "there are none".to_owned(),
                [only] => format!("there is only {only}"),
                _ if all.len() > 8 => format!("there are {} and more", all[..8].join(", ")),
                _ => format!("there are {}", all.join(", ")),
            }
        }
    }
}

fn bare(name: &str) -> String {
    name.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::{meant, nearest};

    #[test]
    fn what_is_near_is_found() {
        for (given, names, want) in [
            ("webappdelta", &["base", "webdelta", "dbdelta"][..], Some("webdelta")),
            ("DbServer", &["AppServer", "DB Server"], Some("DB Server")),
            ("appHostName", &["dbHostname", "appHostname", "appIp"], Some("appHostname")),
            ("defaultValue", &["key", "type", "value"], None),
            ("web", &["db"], None),
            ("", &[""], Some("")),
        ] {
            assert_eq!(nearest(given, names.iter().copied()), want, "{given}");
        }
    }

    #[test]
    fn long_names_and_many_of_them_take_no_time() {
        let begun = std::time::Instant::now();
        let (long, other) = ("ab".repeat(5 << 20), "ba".repeat(5 << 20));
        assert_eq!(nearest(&long, [other.as_str(), "ab"]), None);
        assert_eq!(nearest("ab", [other.as_str(), "a-b"]), Some("a-b"));
        let many: Vec<_> = (0..1_000_000).map(|it| format!("name{it}")).collect();
        assert_eq!(nearest("nam0", many.iter().map(String::as_str)), Some("name0"));
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }

    #[test]
    fn where_nothing_is_near_all_are_named() {
        assert_eq!(meant("web", []), "there are none");
        assert_eq!(meant("web", ["db"]), "there is only `db`");
        assert_eq!(meant("web", ["db", "x"]), "there are `db`, `x`");
        assert_eq!(meant("zzz", ["a", "a", "", "b"]), "there are `a`, `b`");
        let ten = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        assert_eq!(meant("zzz", ten), "there are `0`, `1`, `2`, `3`, `4`, `5`, `6`, `7` and more");
    }
}
