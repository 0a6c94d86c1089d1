//! The document as elements and text, each known to be well-formed.
//!
//! Decides, token by token, how tokens may follow each other: XML 1.0 clauses 2.1 (one root, tags that
//! match), 2.4 (no `]]>` in text), 3.1 (no attribute twice), and that every prefix is bound. What is inside a
//! tag or other markup is checked in `tag` and `markup`. quick-xml is asked for nothing but where a token
//! ends; where it finds no end, its error is dropped and the reason is found out here. Does not know OVF.
#![forbid(unsafe_code)]

use quick_xml::Reader;
use quick_xml::events::Event;

use super::characters::{first_not_blank, reference, skip_blanks};
use super::error::{self, ErrorKind, Fault, Limit, Lines};
use super::markup;
use super::namespaces::{Namespace, Namespaces, Resolved};
use super::prolog::Document;
use super::tag::{self, Attribute};
use super::warnings::Warnings;
use super::{MAX_DEPTH, NAMESPACE};
use crate::printable::name as shown;

/// What comes next in a document.
pub(super) enum Token<'a> {
    /// An element begins; its attributes are in [`Xml::attributes`] until the next token.
    Open(Element<'a>),
    /// The innermost element ends.
    Close {
        /// Where what follows it begins.
        end: usize,
    },
    /// Text inside an element, without the blanks that it begins with after a tag.
    Text(usize, Text<'a>),
    /// The document is complete.
    End,
}

/// An element by name.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) at: usize,
    pub(super) name: &'a str,
    pub(super) namespace: Namespace,
    pub(super) local: &'a str,
}

/// A stretch of text, as written.
pub(super) enum Text<'a> {
    /// Without references.
    Plain(&'a str),
    /// What a reference stands for.
    Reference(char),
    /// From a CDATA section.
    Cdata(&'a str),
}

/// A document being read.
pub(super) struct Xml<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    /// Where the reader's offset 0 is.
    base: usize,
    /// Names and places of the elements that are open.
    open: Vec<(&'a str, usize)>,
    /// Where the empty element that was just opened ends.
    closing: Option<usize>,
    root_seen: bool,
    pub(super) attributes: Vec<Attribute<'a>>,
    pub(super) namespaces: Namespaces<'a>,
    pub(super) warnings: Warnings,
}

impl<'a> Xml<'a> {
    pub(super) fn new(document: Document<'a>) -> Self {
        let mut reader = Reader::from_str(&document.text[document.body..]);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.trim_text_start = true;
        Self {
            text: document.text,
            reader,
            base: document.body,
            open: Vec::new(),
            closing: None,
            root_seen: false,
            attributes: Vec::new(),
            namespaces: Namespaces::new(),
            warnings: document.warnings,
        }
    }

    /// How many elements are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// The next token.
    pub(super) fn token(&mut self) -> Result<Token<'a>, Fault> {
        // Only now, so that the declarations of an element can still be asked for when its end was just seen.
        self.namespaces.leave(self.open.len());
        if let Some(end) = self.closing.take() {
            self.open.pop();
            return Ok(Token::Close { end });
        }
        loop {
            let mut at = self.offset();
            if self.reader.config().trim_text_start {
                at = skip_blanks(self.text.as_bytes(), at);
            }
            // Before the tokenizer sees it: a document type may be long, and is not read.
            if self.text.as_bytes()[at..].starts_with(b"<!") {
                markup::begins(self.text, at)?;
            }
            let event = self.reader.read_event();
            if matches!(event, Ok(Event::Eof)) {
                return self.finish();
            }
            // Where the tokenizer found no end, the rest of the document is looked at: the reason is in it.
            let whole = event.is_ok();
            let end = if whole { self.offset() } else { self.text.len() };
            let piece = &self.text[..end];
            let token = match &piece.as_bytes()[at..] {
                [b'<', b'/', ..] => Some(self.close(piece, at)?),
                [b'<', b'?', ..] => markup::instruction(piece, at).map(|()| None)?,
                [b'<', b'!', b'-', ..] => markup::comment(piece, at).map(|()| None)?,
                [b'<', b'!', ..] => Some(self.cdata(piece, at)?),
                [b'<', ..] => Some(self.open(piece, at)?),
                _ => self.text(piece, at)?,
            };
            if !whole {
                return Fault::at(at, ErrorKind::Markup);
            }
            if let Some(token) = token {
                // Blanks between tags are nobody's, and half of what there is to read; those after text, a reference
                // or a CDATA section belong to the text.
                self.reader.config_mut().trim_text_start = !matches!(token, Token::Text(..));
                return Ok(token);
            }
        }
    }

    /// How far the tokenizer is, as an offset in the text.
    fn offset(&self) -> usize {
        let read = usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX);
        self.base.saturating_add(read).min(self.text.len())
    }

    fn finish(&self) -> Result<Token<'a>, Fault> {
        let end = self.text.len();
        match self.open.last() {
            Some((name, at)) => {
                Fault::at(end, ErrorKind::UnclosedElement { name: shown(name), line: self.line(*at) })
            }
            None if !self.root_seen => Fault::at(end, ErrorKind::NoRoot),
            None => Ok(Token::End),
        }
    }

    fn line(&self, at: usize) -> u32 {
        Lines::new(self.text).locate(at).0
    }

    fn open(&mut self, piece: &'a str, at: usize) -> Result<Token<'a>, Fault> {
        self.attributes.clear();
        let tag = tag::start(piece, at, &mut self.attributes)?;
        if self.open.is_empty() && self.root_seen {
            return Fault::at(at, ErrorKind::SecondRoot(shown(tag.name)));
        }
        if self.open.len() == MAX_DEPTH {
            return Fault::at(at, ErrorKind::Limit(Limit::Depth));
        }
        self.root_seen = true;
        self.open.push((tag.name, at));
        self.declare()?;
        let namespace = self.resolve(tag.prefix, at + 1, shown)?;
        for index in 0..self.attributes.len() {
            let Attribute { prefix, name, at, .. } = self.attributes[index];
            // The default namespace is for elements only.
            self.attributes[index].namespace = match (prefix, name) {
                ("xmlns", _) | (_, "xmlns") => Namespace::XMLNS,
                ("", _) => Namespace::NONE,
                _ => self.resolve(prefix, at, error::prefix)?,
            };
        }
        self.check_once()?;
        self.closing = tag.empty.then_some(piece.len());
        Ok(Token::Open(Element { at, name: tag.name, namespace, local: tag.local }))
    }

    /// Carries out the namespace declarations of a tag.
    fn declare(&mut self) -> Result<(), Fault> {
        for attribute in &self.attributes {
            let prefix = match (attribute.prefix, attribute.name) {
                ("xmlns", _) => attribute.local,
                (_, "xmlns") => "",
                _ => continue,
            };
            if !self.namespaces.declare(self.open.len(), prefix, attribute.value()) {
                return Fault::at(
                    attribute.at,
                    ErrorKind::NamespaceDeclaration(error::attribute(attribute.name)),
                );
            }
        }
        Ok(())
    }

    fn resolve(&mut self, prefix: &str, at: usize, shown: fn(&str) -> String) -> Result<Namespace, Fault> {
        match self.namespaces.resolve(prefix) {
            Resolved::Bound(namespace) => Ok(namespace),
            Resolved::Unbound => Fault::at(at, ErrorKind::UnboundPrefix(shown(prefix))),
            Resolved::Assumed(first) => {
                if first {
                    self.warnings.add(at, || {
                        format!(
                            "the prefix `{prefix}` is not bound; taken for xmlns:{prefix}=\"{NAMESPACE}\""
                        )
                    });
                }
                Ok(Namespace::ASSUMED)
            }
        }
    }

    /// That no attribute is there twice, by its own prefix or by one that is taken for it. At most 64 are compared with
    /// each other.
    fn check_once(&self) -> Result<(), Fault> {
        for (index, attribute) in self.attributes.iter().enumerate() {
            let same = |it: &Attribute<'_>| {
                it.local == attribute.local && it.namespace.bound() == attribute.namespace.bound()
            };
            if self.attributes[..index].iter().any(same) {
                return Fault::at(
                    attribute.at,
                    ErrorKind::DuplicateAttribute(error::attribute(attribute.name)),
                );
            }
        }
        Ok(())
    }

    fn close(&mut self, piece: &'a str, at: usize) -> Result<Token<'a>, Fault> {
        let innermost = self.open.last().copied();
        let found = tag::end(piece, at, innermost.map(|(name, _)| name))?;
        match innermost {
            Some((name, _)) if name == found => {
                self.open.pop();
                Ok(Token::Close { end: piece.len() })
            }
            Some((name, opened)) => {
                let (expected, line) = (shown(name), self.line(opened));
                Fault::at(at, ErrorKind::MismatchedEnd { expected, line, found: shown(found) })
            }
            None => Fault::at(at, ErrorKind::StrayEnd(shown(found))),
        }
    }

    /// Text up to the next `<` or `&`, or one reference.
    fn text(&self, piece: &'a str, at: usize) -> Result<Option<Token<'a>>, Fault> {
        let text = &piece[at..];
        if self.open.is_empty() {
            return match first_not_blank(text) {
                Some(offset) => Fault::at(at + offset, ErrorKind::TextOutsideRoot),
                None => Ok(None),
            };
        }
        if text.starts_with('&') {
            let (character, _) = reference(text).or_else(|kind| Fault::at(at, kind))?;
            return Ok(Some(Token::Text(at, Text::Reference(character))));
        }
        // A search for three characters takes its time to begin, and most texts are line ends.
        match text.as_bytes().contains(&b']').then(|| text.find("]]>")).flatten() {
            Some(offset) => Fault::at(at + offset, ErrorKind::CdataEnd),
            None => Ok(Some(Token::Text(at, Text::Plain(text)))),
        }
    }

    fn cdata(&self, piece: &'a str, at: usize) -> Result<Token<'a>, Fault> {
        let text = markup::cdata(piece, at)?;
        if self.open.is_empty() {
            return Fault::at(at, ErrorKind::TextOutsideRoot);
        }
        Ok(Token::Text(at, Text::Cdata(text)))
    }
}
