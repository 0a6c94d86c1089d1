//! One start tag, and one end tag, taken apart: XML 1.0 clause 3.1.
//!
//! Decides whether what stands between `<` and `>` is a name and attributes, each with one quoted value whose
//! references are good. Does not decide what prefixes mean, whether an attribute is there twice (`xml`, after
//! the prefixes are resolved), or which elements match.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::MAX_ATTRIBUTES;
use super::characters::{
    attribute_value, is_blank, name_end, reference, skip_blanks, split_name, value_mark,
};
use super::error::{self, ErrorKind, Fault, Limit};
use super::namespaces::Namespace;
use crate::printable::name as shown;

/// An attribute as written. Not `Debug`: the value may be a secret.
pub(super) struct Attribute<'a> {
    pub(super) at: usize,
    pub(super) name: &'a str,
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
    /// [`Namespace::NONE`] until the prefix is resolved.
    pub(super) namespace: Namespace,
    /// The value between its quotes.
    raw: &'a str,
    /// Whether it stands for itself.
    plain: bool,
}

impl<'a> Attribute<'a> {
    /// What the value reads as.
    pub(super) fn value(&self) -> Cow<'a, str> {
        if self.plain { Cow::Borrowed(self.raw) } else { attribute_value(self.raw) }
    }
}

/// A start tag without its attributes.
pub(super) struct Tag<'a> {
    pub(super) name: &'a str,
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
    /// Whether it ends in `/>`.
    pub(super) empty: bool,
}

/// Takes a start tag apart. `text` ends where the tag does, or with the document if the tag has no end.
pub(super) fn start<'a>(
    text: &'a str,
    at: usize,
    attributes: &mut Vec<Attribute<'a>>,
) -> Result<Tag<'a>, Fault> {
    let bytes = text.as_bytes();
    let unclosed = || Fault::new(at, ErrorKind::UnclosedMarkup("tag"));
    let mut here = name_end(bytes, at + 1);
    let name = &text[at + 1..here];
    if name.is_empty() {
        return Err(if here == bytes.len() { unclosed() } else { Fault::new(at, ErrorKind::Name) });
    }
    let (prefix, local) = split_name(name).or_else(|wrong| Fault::at(at + 1 + wrong, ErrorKind::Name))?;
    if bytes.get(here).is_some_and(|it| !is_blank(*it) && !matches!(it, b'>' | b'/' | b'<')) {
        return Fault::at(here, ErrorKind::Name);
    }
    loop {
        let next = skip_blanks(bytes, here);
        match bytes.get(next) {
            None => return Err(unclosed()),
            Some(b'>') => return Ok(Tag { name, prefix, local, empty: false }),
            Some(b'/') if bytes.get(next + 1) == Some(&b'>') => {
                return Ok(Tag { name, prefix, local, empty: true });
            }
            Some(b'/') if next + 1 == bytes.len() => return Err(unclosed()),
            Some(b'<') => return Fault::at(next, ErrorKind::UnclosedTag(shown(name))),
            Some(_) if next == here => return Fault::at(next, ErrorKind::MissingBlank(shown(name))),
            Some(_) if attributes.len() == MAX_ATTRIBUTES => {
                return Fault::at(next, ErrorKind::Limit(Limit::Attributes));
            }
            Some(_) => {}
        }
        let Some((attribute, end)) = attribute(text, next, name)? else { return Err(unclosed()) };
        attributes.push(attribute);
        here = end;
    }
}

/// Reads the attribute that starts here and says where it ends; `None` if the document ends first.
fn attribute<'a>(text: &'a str, at: usize, tag: &str) -> Result<Option<(Attribute<'a>, usize)>, Fault> {
    let bytes = text.as_bytes();
    // Until the quote is seen, this may be the rest of a value with a quote in it: the name is not shown.
    let end = name_end(bytes, at);
    let equals = skip_blanks(bytes, end);
    let name = &text[at..end];
    match bytes.get(equals) {
        None => return Ok(None),
        Some(b'=') if !name.is_empty() => {}
        Some(_) => return Fault::at(at, ErrorKind::Attribute(shown(tag))),
    }
    let (prefix, local) = split_name(name).or_else(|wrong| Fault::at(at + wrong, ErrorKind::Name))?;
    let open = skip_blanks(bytes, equals + 1);
    let quote = match bytes.get(open) {
        None => return Ok(None),
        Some(quote @ (b'"' | b'\'')) => *quote,
        Some(_) => return Fault::at(open, ErrorKind::UnquotedValue(shown(tag))),
    };
    let (mut here, mut plain) = (open + 1, true);
    while let Some(mark) = value_mark(bytes, here, quote) {
        here = match bytes[mark] {
            byte if byte == quote => {
                let raw = &text[open + 1..mark];
                let namespace = Namespace::NONE;
                return Ok(Some((Attribute { at, name, prefix, local, namespace, raw, plain }, mark + 1)));
            }
            b'<' => return Fault::at(mark, ErrorKind::LessThanInValue(error::attribute(name))),
            b'&' => mark + reference(&text[mark..]).or_else(|kind| Fault::at(mark, kind))?.1,
            _ => mark + 1, // a tab, or a line end
        };
        plain = false;
    }
    Ok(None)
}

/// The name in an end tag. `text` ends where the tag does, or with the document if the tag has no end.
/// `expected` is the element that it should close.
pub(super) fn end<'a>(text: &'a str, at: usize, expected: Option<&str>) -> Result<&'a str, Fault> {
    let bytes = text.as_bytes();
    let end = name_end(bytes, at + 2);
    let name = &text[at + 2..end];
    let close = skip_blanks(bytes, end);
    if close == bytes.len() {
        return Fault::at(at, ErrorKind::UnclosedMarkup("end tag"));
    }
    if name.is_empty() {
        return Fault::at(at, ErrorKind::Name);
    }
    split_name(name).or_else(|wrong| Fault::at(at + 2 + wrong, ErrorKind::Name))?;
    if bytes[close] != b'>' {
        return Fault::at(close, ErrorKind::EndTag(shown(expected.unwrap_or(name))));
    }
    Ok(name)
}
