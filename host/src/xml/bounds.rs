//! What a text may have of elements, levels, attributes and namespaces.
//!
//! Decides on refusals before a tree is built: a tree compares the attributes of an element with each other, and hands
//! the namespaces of an element down to its children, so hostile texts of a few megabytes would cost hours or all memory.
//! Only counts: what is not well-formed is the parser's to say, and may be counted wrongly here.

#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::Source;
use crate::finding::{Code, Finding};

/// Elements inside each other.
pub(super) const MAX_DEPTH: usize = 100;
/// Attributes of one element, namespace declarations included.
const MAX_ATTRIBUTES: usize = 256;
/// Namespace declarations in all.
const MAX_NAMESPACES: usize = 20_000;
/// Namespace declarations of an element and all around it: each new one is compared with all of them.
const MAX_IN_SCOPE: usize = 256;
/// Elements in all, comments and processing instructions included: those have a place in the tree, too.
const MAX_ELEMENTS: usize = 2_000_000;
/// Attributes in all, namespace declarations included.
const MAX_ALL_ATTRIBUTES: usize = 4_000_000;
/// Places in the tree: the texts between elements have one each.
pub(super) const MAX_NODES: u32 = 2 * MAX_ELEMENTS as u32 + 2;

pub(super) fn check(source: &Source) -> Result<(), Finding> {
    let text = source.text.as_bytes();
    let limit = |at: usize, what: &str, most: usize| {
        Err(source.finding(
            Code::XmlLimit,
            at,
            format!("more than {most} {what}; no real descriptor has so many"),
        ))
    };
    let (mut at, mut depth, mut elements, mut attributes, mut namespaces) = (0, 0_usize, 0, 0, 0);
    // Namespaces in scope, level by level.
    let mut scopes = vec![0];
    while let Some(open) = find(text, at, b"<") {
        let rest = &text[open..];
        // Behind the opening mark: `<!-->` does not end the comment that it begins.
        let past = |begin: &[u8], end: &[u8]| {
            find(text, open + begin.len(), end).map_or(text.len(), |at| at + end.len())
        };
        if !rest.starts_with(b"</") {
            elements += 1;
            if elements > MAX_ELEMENTS {
                return limit(open, "elements", MAX_ELEMENTS);
            }
        }
        at = if rest.starts_with(b"<!--") {
            past(b"<!--", b"-->")
        } else if rest.starts_with(b"<![CDATA[") {
            past(b"<![CDATA[", b"]]>")
        } else if rest.starts_with(b"<?") {
            past(b"<?", b"?>")
        } else if rest.starts_with(b"<!DOCTYPE") {
            let message = "there is a DOCTYPE, which is never read here; remove it";
            return Err(source.finding(Code::XmlDoctype, open, message));
        } else if rest.starts_with(b"</") {
            depth = depth.saturating_sub(1);
            scopes.truncate(depth + 1);
            past(b"</", b">")
        } else {
            let tag = Tag::at(text, open);
            namespaces += tag.namespaces;
            attributes += tag.attributes;
            if attributes > MAX_ALL_ATTRIBUTES {
                return limit(open, "attributes", MAX_ALL_ATTRIBUTES);
            }
            if tag.attributes > MAX_ATTRIBUTES {
                return limit(open, "attributes of one element", MAX_ATTRIBUTES);
            }
            if namespaces > MAX_NAMESPACES {
                return limit(open, "namespace declarations", MAX_NAMESPACES);
            }
            let in_scope = scopes.last().copied().unwrap_or(0) + tag.namespaces;
            if in_scope > MAX_IN_SCOPE {
                return limit(open, "namespaces in one place", MAX_IN_SCOPE);
            }
            if !tag.is_empty {
                depth += 1;
                scopes.push(in_scope);
            }
            if depth > MAX_DEPTH {
                return limit(open, "elements inside each other", MAX_DEPTH);
            }
            tag.end
        };
    }
    Ok(())
}

/// A start tag, as far as it is counted.
struct Tag {
    attributes: usize,
    namespaces: usize,
    is_empty: bool,
    end: usize,
}

impl Tag {
    fn at(text: &[u8], open: usize) -> Self {
        let mut tag = Self { attributes: 0, namespaces: 0, is_empty: false, end: text.len() };
        let end = attributes(text, open, |name| {
            tag.attributes += 1;
            tag.namespaces += usize::from(name.starts_with(b"xmlns"));
        });
        if let Some(end) = end {
            tag.is_empty = text[end - 1] == b'/';
            tag.end = end + 1;
        }
        tag
    }
}

/// The names of all attributes of the start tag that begins here, and where its `>` is.
fn attributes<'a>(text: &'a [u8], open: usize, mut take: impl FnMut(&'a [u8])) -> Option<usize> {
    let (mut quote, mut name, mut is_in_name) = (None, open + 1..open + 1, false);
    for (at, &byte) in text.iter().enumerate().skip(open + 1) {
        match (quote, byte) {
            (Some(mark), _) if byte == mark => (quote, is_in_name) = (None, false),
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'=') => {
                take(&text[name.clone()]);
                is_in_name = false;
            }
            // Blanks may stand between a name and its `=`.
            (None, b' ' | b'\t' | b'\r' | b'\n') => is_in_name = false,
            (None, b'>') => return Some(at),
            (None, _) if is_in_name => name.end = at + 1,
            (None, _) => (name, is_in_name) = (at..at + 1, true),
        }
    }
    None
}

/// The prefixes that an element declares in its own start tag; the default namespace's is empty.
pub(crate) fn declared(element: &str) -> HashSet<&str> {
    let mut prefixes = HashSet::new();
    attributes(element.as_bytes(), 0, |name| {
        let name = std::str::from_utf8(name).unwrap_or_default();
        match name.strip_prefix("xmlns") {
            Some("") => drop(prefixes.insert("")),
            Some(rest) => prefixes.extend(rest.strip_prefix(':')),
            None => {}
        }
    });
    prefixes
}

fn find(text: &[u8], from: usize, mark: &[u8]) -> Option<usize> {
    let rest = text.get(from..)?;
    match mark {
        [byte] => rest.iter().position(|it| it == byte),
        _ => rest.windows(mark.len()).position(|it| it == mark),
    }
    .map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::Source;

    #[test]
    fn hostile_texts_are_refused_at_once() {
        let many = |count: usize, one: fn(usize) -> String| (0..count).map(one).collect::<String>();
        let namespaces = many(200, |it| format!(" xmlns:n{it}='{it}'"));
        for (text, want) in [
            ("<a>".repeat(1_000_000), "x:1:301: error: more than 100 elements inside each other"),
            (
                format!("<a{}/>", many(1_000_000, |it| format!(" a{it}=''"))),
                "x:1:1: error: more than 256 attributes of one element",
            ),
            (
                format!("<r>{}</r>", format!("<a{namespaces}/>").repeat(200)),
                "error: more than 20000 namespace declarations",
            ),
            ("<a/>".repeat(2_000_001), "error: more than 2000000 elements"),
            (format!("<a>{}", "<!-- <b> ".repeat(1_000_000)), "error: "),
            (
                format!("<a{namespaces}><b{namespaces}><c xmlns='u'/>"),
                "x:1:3184: error: more than 256 namespaces in one place",
            ),
            // What is not counted as what it is would be let through.
            (
                format!("<r><!--> <![CDATA[ -->{}<!-- ]]> -->", "<a>".repeat(1_000_000)),
                "error: more than 100 elements inside each other",
            ),
            (
                format!("<r>{}</r>", format!("<a{}/>", namespaces.replace('=', " =\n")).repeat(200)),
                "error: more than 20000 namespace declarations",
            ),
            (format!("<r>{}</r>", "<?a?>".repeat(2_000_001)), "error: more than 2000000 elements"),
            (
                format!("<r>{}</r>", format!("<a{}/>", many(250, |it| format!(" a{it}=''"))).repeat(16_001)),
                "error: more than 4000000 attributes",
            ),
        ] {
            let start = Instant::now();
            let source = Source::new("x", text.into_bytes()).expect("UTF-8");
            let finding = source.tree().map(drop).expect_err("too much").to_string();
            assert!(finding.contains(want), "{finding}, not {want}");
            assert!(start.elapsed() < Duration::from_secs(10), "{want}: {:?}", start.elapsed());
        }
    }

    #[test]
    fn what_is_in_comments_and_quotes_is_not_counted() {
        let comment = format!("<a><!-- {} --><![CDATA[{}]]></a>", "<b>".repeat(500), "<b>".repeat(500));
        let quotes = format!("<a b='{0}>\"' c=\"{0}>'\"/>", "=".repeat(900));
        for text in [comment, quotes, "<a>".repeat(100) + &"</a>".repeat(100)] {
            let source = Source::new("x", text.clone().into_bytes()).expect("UTF-8");
            assert!(source.tree().is_ok(), "{text}");
        }
    }
}
