//! What templates and expressions may say: names that are declared, statements, filters and functions that there are.
//!
//! Decides that by our own reading of the tags, so that it is said where a name stands, also in branches that are not
//! taken. What the types of these names rule out is decided in `kinds`; whether the engine agrees is asked in `unit`.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use super::derived::Known;
use super::filters;
use super::kinds;
use super::scan::{self, Piece, Tag, TagKind, Use, tags};
use crate::parameters::Declared;

/// The names that there are.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) declared: &'a Declared,
    /// What is known of derived values.
    pub(super) derived: &'a BTreeMap<String, Known>,
    /// What there is a file for each element of.
    pub(super) each: Option<&'a str>,
}

/// What `for-each` adds: the element, its place from 0, and its key in a map.
pub(super) const EACH: [&str; 3] = ["item", "index", "key"];

/// The fields of a network adapter.
pub(super) const ADAPTER: [&str; 4] = ["mac", "network", "unit", "ifname"];

/// The list of network adapters.
pub(super) const ADAPTERS: &str = "adapters";

impl Scope<'_> {
    /// Whether somebody declared a name in `agent.toml`.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.declared.contains(name) || self.derived.contains_key(name)
    }

    /// Whether its values are secret; an element is as secret as its list.
    pub(super) fn is_sensitive(&self, name: &str) -> bool {
        let name = self.each.filter(|_| EACH.contains(&name)).unwrap_or(name);
        self.declared.is_sensitive(name) || self.derived.get(name).is_some_and(|known| known.sensitive)
    }

    fn names(&self) -> Vec<&str> {
        let each = if self.each.is_some() { &EACH[..] } else { &[] };
        self.declared
            .names()
            .chain(self.derived.keys().map(String::as_str))
            .chain(each.iter().copied())
            .collect()
    }

    /// What is said about a name that nobody declared.
    pub(super) fn unknown(&self, name: &str) -> String {
        if EACH.contains(&name) {
            return format!("`{name}` is known in templates with a for-each alone");
        }
        let near =
            nearest(name, &self.names()).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        format!("`{name}` is not declared in [parameters] of agent.toml{near}")
    }
}

/// Judges everything that stands in the tags.
pub(super) fn check(pieces: &[Piece<'_>], scope: Scope<'_>, complain: &mut impl FnMut(usize, String)) {
    check_language(pieces, complain);
    check_names(pieces, scope, complain);
}

/// Whether text, if it has no tags, is an expression all the same: a declared name, or what puts known names through known filters.
pub(super) fn reads_as_expression(text: &str, scope: Scope<'_>) -> bool {
    if text.contains('{') {
        return false;
    }
    let whole = format!("{{{{ {text} }}}}");
    let Ok(pieces) = scan::pieces(&whole) else { return false };
    let [Piece::Tag(tag)] = &pieces[..] else { return false };
    let is_known = |name| scope.contains(name) || SURROUNDINGS.iter().any(|(known, _)| *known == name);
    let mut variables = tag.uses().filter(Use::is_variable).peekable();
    let mut filters = tag.uses().filter(Use::is_filter).peekable();
    let filtered = filters.peek().is_some() && variables.peek().is_some();
    tag.sole_name().is_some_and(|name| scope.contains(name))
        || filtered
            && variables.all(|found| is_known(found.name))
            && filters.all(|found| filters::KNOWN.iter().any(|(known, ..)| *known == found.name))
}

/// Every variable that is read, in any branch.
pub(super) fn variables(pieces: &[Piece<'_>]) -> BTreeSet<String> {
    uses(pieces).filter(Use::is_variable).map(|found| found.name.to_owned()).collect()
}

fn uses<'a, 'p>(pieces: &'p [Piece<'a>]) -> impl Iterator<Item = Use<'a>> + use<'a, 'p> {
    tags(pieces).flat_map(Tag::uses)
}

/// What templates know besides parameters.
const SURROUNDINGS: [(&str, Shape); 4] = [
    ("platform", Shape::Fields(&["kind", "version", "vendor", "locale", "timezone"])),
    ("hypervisor", Shape::Text),
    ("environment", Shape::Fields(&["id"])),
    ("adapters", Shape::List),
];

/// What one of the surroundings is.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    /// A map with these fields, each of them text or a number.
    Fields(&'static [&'static str]),
    /// Has a type of ours.
    List,
}

/// What a template may do besides printing. `include`, `extends`, `block` and components are left out: one file is
/// one template, so that what is seen is what is written. `filter` is left out because it would print past the escapes.
const STATEMENTS: [&str; 12] = [
    "if",
    "elif",
    "else",
    "endif",
    "for",
    "endfor",
    "break",
    "continue",
    "set",
    "endset",
    "set_global",
    "endset_global",
];

/// Statements, functions, filters and tests that templates may use.
fn check_language(pieces: &[Piece<'_>], complain: &mut impl FnMut(usize, String)) {
    for tag in tags(pieces).filter(|tag| tag.kind == TagKind::Statement) {
        let (at, word) = tag.keyword();
        if !STATEMENTS.contains(&word) {
            complain(
                at,
                format!("`{{% {word} %}}` cannot be used; there are if, elif, else, for, set and raw"),
            );
        }
    }
    check_blocks(pieces, complain);
    for tag in tags(pieces).filter(|tag| tag.kind == TagKind::Print && tag.is_empty()) {
        complain(tag.inside.start, "`{{ }}` is empty; name what it prints".to_owned());
    }
    for (tag, found) in tags(pieces).flat_map(|tag| tag.uses().map(move |found| (tag, found))) {
        let Use { at, name, .. } = found;
        let wrong = if found.is_filter() {
            filters::misuse("filter", &filters::KNOWN, name, &tag.arguments(at))
        } else if found.is_function() {
            filters::misuse("function", &filters::FUNCTIONS, name, &tag.arguments(at))
        } else if found.is_test() {
            filters::misuse("test", &filters::TESTS, name, &tag.arguments(at))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            complain(at, wrong);
        }
    }
}

/// Every block is closed, by its own end.
fn check_blocks(pieces: &[Piece<'_>], complain: &mut impl FnMut(usize, String)) {
    let mut open: Vec<(usize, &str)> = Vec::new();
    for tag in tags(pieces).filter(|tag| tag.kind == TagKind::Statement) {
        let (at, word) = tag.keyword();
        match word {
            "if" | "for" => open.push((at, word)),
            // `{% set a = b %}` is complete in itself.
            "set" | "set_global" if !tag.assigns() => open.push((at, word)),
            "endif" | "endfor" | "endset" | "endset_global" => match open.pop() {
                Some((_, opened)) if word.strip_prefix("end") == Some(opened) => {}
                Some((_, opened)) => {
                    return complain(at, format!("`{{% {word} %}}` where `{{% end{opened} %}}` is due"));
                }
                None => return complain(at, format!("`{{% {word} %}}` closes nothing")),
            },
            _ => {}
        }
    }
    for (at, word) in open {
        complain(at, format!("`{{% {word} %}}` is never closed; add `{{% end{word} %}}`"));
    }
}

/// Every name, also in branches that are not taken, is a parameter, a part of the surroundings, or made in the template.
fn check_names(pieces: &[Piece<'_>], scope: Scope<'_>, complain: &mut impl FnMut(usize, String)) {
    let made: BTreeSet<&str> = tags(pieces).flat_map(Tag::made_names).collect();
    for found in uses(pieces).filter(Use::is_variable) {
        let Use { at, name, field, deeper, .. } = found;
        if made.contains(name) && !name.starts_with("__") {
            continue;
        }
        if let Some(wrong) = kinds::check_use(&found, scope) {
            complain(at, wrong);
            continue;
        }
        if scope.each.is_some() && EACH.contains(&name) {
            continue;
        }
        if let Some((_, shape)) = SURROUNDINGS.iter().find(|(known, _)| *known == name) {
            match (shape, field) {
                (Shape::Text, None) | (Shape::List, _) => {}
                (Shape::Text, Some(_)) => complain(at, format!("`{name}` is plain text and has no fields")),
                (Shape::Fields(fields), Some(field)) if fields.contains(&field) => {
                    if deeper {
                        complain(at, format!("`{name}.{field}` is plain text and has no fields"));
                    }
                }
                (Shape::Fields(fields), _) => {
                    complain(at, format!("`{name}` has the fields {}; write one of them", fields.join(", ")));
                }
            }
        } else if !scope.contains(name) {
            complain(at, scope.unknown(name));
        }
    }
}

/// The known name that differs from `name` by at most two letters, and by no more than half of them, if there is one.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|k| (distance(name, k), *k))
        .min()
        .filter(|(d, _)| *d <= 2.min(name.len().div_ceil(2)))
        .map(|(_, k)| k)
}

/// Levenshtein's distance, in bytes; names are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let substituted = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = substituted.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn what_templates_mean_by_a_word_is_no_parameters_name() {
        let known = super::SURROUNDINGS.iter().map(|(name, _)| name).chain(&crate::template::scan::KEYWORDS);
        for word in known.filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) {
            assert!(crate::parameters::RESERVED.contains(word), "{word}");
        }
    }

    #[test]
    fn names_that_are_near_are_offered() {
        for (a, b, want) in
            [("log", "log", 0), ("lgo", "log", 2), ("ip", "ips", 1), ("", "abc", 3), ("abc", "", 3)]
        {
            assert_eq!(distance(a, b), want, "{a} {b}");
        }
    }
}
