//! XML texts of a package: what stands where.
//!
//! Decides which texts are read at all: UTF-8, well-formed, without a DOCTYPE, and within bounds that no real descriptor
//! comes near; and how places are counted. Does not decide what elements mean. The tree is roxmltree's, which is strict;
//! what would take it long, or much memory, is refused before it sees the text (`xml::bounds`).

#![forbid(unsafe_code)]

mod bounds;
mod places;
mod refusal;
pub(crate) use bounds::declared;

use std::io::Read;

use crate::finding::{At, Code, Finding, quoted};
use places::Places;

/// The largest descriptor or bundle in bytes: a thousand virtual machines come to 8 MiB.
pub const MAX_TEXT: u64 = 64 << 20;

/// A text of the package, and the places in it.
#[derive(Debug)]
pub struct Source {
    /// The file, as it is called in the package.
    pub file: String,
    /// All of it, without a byte order mark.
    pub text: String,
    has_mark: bool,
    places: Places,
}

const MARK: &str = "\u{FEFF}";

impl Source {
    /// The text in these bytes.
    ///
    /// # Errors
    /// They are not UTF-8.
    pub fn new(file: impl Into<String>, bytes: Vec<u8>) -> Result<Self, Finding> {
        let file = file.into();
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let message = match error.as_bytes() {
                    [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => "the file is UTF-16; save it as UTF-8",
                    [0x1F, 0x8B, ..] => "the file is compressed by gzip; unpack it first",
                    _ => "the bytes here are not UTF-8; save the file as UTF-8",
                };
                let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
                let source = Self::of(file, before, false);
                return Err(source.finding(Code::XmlEncoding, valid, message));
            }
        };
        Ok(match text.strip_prefix(MARK) {
            Some(rest) => Self::of(file, rest.to_owned(), true),
            None => Self::of(file, text, false),
        })
    }

    fn of(file: String, text: String, has_mark: bool) -> Self {
        let places = Places::of(&text);
        Self { file, text, has_mark, places }
    }

    /// All bytes of the file.
    pub fn bytes(&self) -> impl Read + '_ {
        let mark = if self.has_mark { MARK } else { "" };
        mark.as_bytes().chain(self.text.as_bytes())
    }

    /// The line and column of a byte.
    pub fn at(&self, byte: usize) -> At {
        self.places.at(&self.text, byte)
    }

    /// A finding at a byte.
    pub fn finding(&self, code: Code, byte: usize, message: impl Into<String>) -> Finding {
        Finding { file: self.file.clone(), at: Some(self.at(byte)), code, message: message.into() }
    }

    /// The tree of elements.
    ///
    /// # Errors
    /// The first thing that makes this no XML that is read here.
    pub fn tree(&self) -> Result<roxmltree::Document<'_>, Finding> {
        bounds::check(self)?;
        if let Some((at, name)) = other_encoding(&self.text) {
            let message =
                format!("the declaration says that this is {}; write encoding=\"UTF-8\"", quoted(name));
            return Err(self.finding(Code::XmlEncoding, at, message));
        }
        let options = roxmltree::ParsingOptions { nodes_limit: bounds::MAX_NODES, ..Default::default() };
        roxmltree::Document::parse_with_options(&self.text, options)
            .map_err(|error| refusal::of(self, &error))
    }
}

/// Where the XML declaration names another encoding than UTF-8, and which.
fn other_encoding(text: &str) -> Option<(usize, &str)> {
    let declaration = text.strip_prefix("<?xml")?.split_once("?>")?.0;
    let at = declaration.find("encoding")?;
    let rest = declaration[at..].trim_start_matches("encoding").trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|it| matches!(it, '"' | '\''))?;
    let name = rest[1..].split(quote).next()?;
    let is_utf8 = ["utf-8", "utf8", "us-ascii"].iter().any(|known| name.eq_ignore_ascii_case(known));
    (!is_utf8).then_some(("<?xml".len() + at, name))
}

#[cfg(test)]
mod tests {
    use super::Source;
    use crate::finding::At;

    #[test]
    fn a_byte_has_a_line_and_a_column() {
        let source = Source::new("a", "aä\r\n\nb".into()).expect("UTF-8");
        for (byte, line, column) in [(0, 1, 1), (1, 1, 2), (3, 1, 3), (5, 2, 1), (6, 3, 1), (7, 3, 2)] {
            assert_eq!(source.at(byte), At { line, column }, "byte {byte}");
        }
    }

    #[test]
    fn what_is_no_xml_is_refused_where_it_goes_wrong() {
        let entity_bomb = "<!DOCTYPE a [<!ENTITY a '1'><!ENTITY b '&a;&a;'>]><a>&b;</a>";
        for (bytes, want) in [
            (&b"\xFF\xFE<\0"[..], "x:1:1: error: the file is UTF-16; save it as UTF-8 [xml-encoding]"),
            (
                b"<a>\n \xFF</a>",
                "x:2:2: error: the bytes here are not UTF-8; save the file as UTF-8 [xml-encoding]",
            ),
            (
                b"<?xml version='1.0' encoding='latin1'?><a/>",
                "x:1:21: error: the declaration says that this is `latin1`; write encoding=\"UTF-8\" [xml-encoding]",
            ),
            (
                entity_bomb.as_bytes(),
                "x:1:1: error: there is a DOCTYPE, which is never read here; remove it [xml-doctype]",
            ),
            (b"", "x:1:1: error: there is no element in it [xml-malformed]"),
            (
                b"<a>\n <b>\n",
                "x:2:5: error: the text ends inside an element; it was cut off, or an end tag is missing [xml-malformed]",
            ),
            (b"<a>\n<b></a>", "x:2:4: error: </a> closes `b`; write </b> [xml-malformed]"),
            (b"<a b='s3cret & x'/>", "x:1:14: error: `&` begins no reference; write &amp; [xml-malformed]"),
            (
                b"<a b='&s3cret;'/>",
                "x:1:7: error: a reference to an unknown entity; XML knows amp, lt, gt, apos and quot [xml-malformed]",
            ),
            (
                b"<o:a/>",
                "x:1:2: error: the prefix `o` is not bound to a namespace; add xmlns:o=\"...\" [xml-malformed]",
            ),
            (
                b"<a b='1' b='2'/>",
                "x:1:10: error: the attribute `b` is given twice; remove one [xml-malformed]",
            ),
        ] {
            let finding = Source::new("x", bytes.to_vec()).and_then(|source| source.tree().map(drop));
            let text = finding.expect_err("no XML").to_string();
            assert_eq!(text, want, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_byte_order_mark_is_taken_off() {
        let source = Source::new("a", "\u{FEFF}<a/>".into()).expect("UTF-8");
        assert!(source.tree().is_ok());
    }
}
