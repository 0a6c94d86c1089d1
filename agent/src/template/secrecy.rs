//! Whether a file can be shown with its secrets masked.
//!
//! Decides that from the text: a template is rendered once more with masks in place of secrets, and what comes of that is
//! the file with masks only as long as nothing but prints depends on them. Where a branch, a calculation or a filter does, a mask
//! would lead another way than the secret, and the way that the secret leads would tell of it. So nothing of such a file is
//! shown.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::names::Scope;
use super::scan::{Piece, Tag, TagKind, pieces, tags};
use crate::parameters::{Scalar, Type};

/// Filters that make a mask out of a mask.
const KEEPING: [&str; 4] = ["default", "json", "safe", "sh"];

/// Whether masks in place of secrets leave everything else as it is.
pub(super) fn can_be_masked(body: &str, scope: Scope<'_>) -> bool {
    let Ok(pieces) = pieces(body) else { return false };
    let secrets = secrets(&pieces, scope);
    tags(&pieces).all(|tag| {
        let mut read =
            tag.uses().filter(|found| found.is_variable() && secrets.contains(found.name)).peekable();
        match tag.keyword().1 {
            _ if read.peek().is_none() => true,
            _ if tag.kind == TagKind::Print => prints_it(tag),
            // How many there are of a list is shown anyway.
            "for" => goes_through_it(tag),
            "if" | "elif" => {
                read.all(|found| tag.asks_only_for_none(found.name) || asks_for(body, tag, found.name, scope))
            }
            _ => false,
        }
    })
}

/// The secrets, and the names that a template makes of them.
fn secrets<'a>(pieces: &[Piece<'a>], scope: Scope<'_>) -> BTreeSet<&'a str> {
    let mut secrets = BTreeSet::new();
    loop {
        let known = secrets.len();
        for tag in tags(pieces) {
            let own = tag.made_names();
            let reads = |found: &super::scan::Use<'a>| {
                found.is_variable() && (scope.is_sensitive(found.name) || secrets.contains(found.name))
            };
            let read: Vec<_> = tag.uses().filter(reads).map(|found| found.name).collect();
            if !read.is_empty() {
                secrets.extend(own);
                secrets.extend(read);
            }
        }
        if secrets.len() == known {
            return secrets;
        }
    }
}

/// `{{ x }}`, `{{ x.y | json }}`: nothing but the value.
fn prints_it(tag: &Tag<'_>) -> bool {
    let filters = tag.uses().filter(|found| found.is_filter()).count();
    match tag.last_filter() {
        Some(filter) => filters == 1 && KEEPING.contains(&filter),
        None => tag.sole_name().is_some(),
    }
}

/// `{% for x in xs %}`.
fn goes_through_it(tag: &Tag<'_>) -> bool {
    let made = tag.made_names();
    let read = tag.uses().filter(|found| found.is_variable() && !made.contains(&found.name)).count();
    read == 1 && !tag.uses().any(|found| found.is_filter() || found.is_function())
}

/// `{% if x %}` of a text or a list: one that is there and not empty is as true as its mask.
fn asks_for(body: &str, tag: &Tag<'_>, name: &str, scope: Scope<'_>) -> bool {
    use Scalar::{Bool, Int, Port, Real, Uint};
    let is_text = match scope.kind(name) {
        Some(Type::Scalar(scalar)) => !matches!(scalar, Bool | Int | Port | Real | Uint),
        Some(Type::List(_)) => true,
        Some(Type::Map(_)) | None => false,
    };
    is_text && body[tag.inside.clone()].split_whitespace().eq([tag.keyword().1, name])
}
