//! What comes before the first tag and after the last one: size, encoding, byte order mark, XML declaration,
//! padding.
//!
//! Decides whether the bytes are characters that XML allows, and where the document proper starts: XML 1.0
//! clauses 2.2, 2.8 and 4.3.3, appendix F for encodings that give themselves away. Mends what generators and
//! transports do to whole documents: a byte order mark, blank lines before the declaration, NUL after the
//! end. Does not look at elements.
#![forbid(unsafe_code)]

use super::MAX_DOCUMENT;
use super::characters::{first_forbidden, is_blank, name_end, skip_blanks};
use super::error::{Error, ErrorKind, Fault, Limit};
use super::warnings::Warnings;
use crate::printable::name as shown;

/// A document that is known to consist of characters, opened at what follows the declaration.
pub(super) struct Document<'a> {
    /// The text without byte order mark and padding; offsets count from its start.
    pub(super) text: &'a str,
    /// The same with padding, for the lines of warnings about it.
    pub(super) padded: &'a str,
    /// Offset at which tags may begin.
    pub(super) body: usize,
    /// What was mended so far.
    pub(super) warnings: Warnings,
}

/// Checks everything that does not need tags.
pub(super) fn open(bytes: &[u8]) -> Result<Document<'_>, Error> {
    let start = |kind| Error { line: 1, column: 1, kind };
    if bytes.len() > MAX_DOCUMENT {
        return Err(start(ErrorKind::Limit(Limit::Document)));
    }
    if let Some(encoding) = foreign_encoding(bytes) {
        return Err(start(ErrorKind::Encoding(encoding.to_owned())));
    }
    let mut warnings = Warnings::default();
    let marked = bytes.strip_prefix(b"\xEF\xBB\xBF");
    if marked.is_some() {
        warnings.add(0, || "a byte order mark was ignored; UTF-8 needs none".to_owned());
    }
    let bytes = marked.unwrap_or(bytes);

    let (text, utf8) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, true),
        // The reason may be in the declaration: what is valid is enough to look for it.
        Err(error) => (std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(), false),
    };
    let body = match declaration(text, &mut warnings) {
        Ok(body) if utf8 => body,
        Err(fault) if utf8 || fault.is_encoding() => return Err(fault.locate(text)),
        _ => return Err(Fault::new(text.len(), ErrorKind::NotUtf8).locate(text)),
    };

    let padded = text;
    let text = without_padding(padded, &mut warnings);
    let body = body.min(text.len());
    let fault = |at, kind| Err(Fault::new(at, kind).locate(text));
    if let Some((at, character)) = first_forbidden(text) {
        return fault(at, ErrorKind::ForbiddenCharacter(character.into()));
    }
    // The tokenizer would pass over a byte order mark without counting it.
    if text[body..].starts_with('\u{FEFF}') {
        return fault(body, ErrorKind::TextOutsideRoot);
    }
    Ok(Document { text, padded, body, warnings })
}

/// Encodings that are not UTF-8, by byte order mark or by the shape of `<`.
fn foreign_encoding(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] | [b'<', 0, 0, 0, ..] | [0, 0, 0, b'<', ..] => {
            "UTF-32"
        }
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [b'<', 0, ..] | [0, b'<', ..] => "UTF-16",
        [0x4C, 0x6F, 0xA7, 0x94, ..] => "EBCDIC",
        _ => return None,
    })
}

/// Takes off the NUL with which sectors and guestinfo replies are filled up, and the blanks among them.
/// Blanks alone are not worth a warning: XML allows them, and nearly every file ends with a line feed.
fn without_padding<'a>(text: &'a str, warnings: &mut Warnings) -> &'a str {
    let document = text.trim_end_matches([' ', '\t', '\r', '\n', '\0']);
    match text[document.len()..].find('\0') {
        Some(nul) => {
            warnings.add(document.len() + nul, || "NUL after the document was ignored".to_owned());
            document
        }
        None => text,
    }
}

/// Reads the XML declaration, if there is one, and says where it ends.
fn declaration(text: &str, warnings: &mut Warnings) -> Result<usize, Fault> {
    let bytes = text.as_bytes();
    let start = skip_blanks(bytes, 0);
    let Some(content) = text[start..].strip_prefix("<?xml") else { return Ok(0) };
    match content.bytes().next() {
        Some(byte) if is_blank(byte) || byte == b'?' => {}
        Some(_) => return Ok(0), // an instruction whose name only begins so
        None => return Fault::at(start, ErrorKind::UnclosedMarkup("XML declaration")),
    }
    let Some(length) = content.find("?>") else {
        return Fault::at(start, ErrorKind::UnclosedMarkup("XML declaration"));
    };
    if start > 0 {
        warnings.add(start, || "blanks before the XML declaration were ignored".to_owned());
    }
    let mut rest = Attributes { bytes, at: start + "<?xml".len(), end: start + "<?xml".len() + length };

    let mut attribute = rest.next()?;
    match attribute {
        Some(("version", version, _)) if is_version(version) => attribute = rest.next()?,
        _ => return Fault::at(start, ErrorKind::Declaration),
    }
    if let Some(("encoding", encoding, at)) = attribute {
        if !is_encoding_name(encoding) {
            return Fault::at(at, ErrorKind::Declaration);
        }
        if !["utf-8", "utf8"].iter().any(|it| encoding.eq_ignore_ascii_case(it)) {
            return Fault::at(at, ErrorKind::Encoding(shown(encoding)));
        }
        attribute = rest.next()?;
    }
    if let Some(("standalone", "yes" | "no", _)) = attribute {
        attribute = rest.next()?;
    }
    match attribute {
        Some((_, _, at)) => Fault::at(at, ErrorKind::Declaration),
        None => Ok(rest.end + "?>".len()),
    }
}

/// Clause 2.8: a processor of XML 1.0 reads whatever calls itself 1.something as 1.0.
fn is_version(version: &str) -> bool {
    version
        .strip_prefix("1.")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|it| it.is_ascii_digit()))
}

/// Clause 4.3.3, EncName.
fn is_encoding_name(name: &str) -> bool {
    let rest = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'_' | b'-');
    name.starts_with(|it: char| it.is_ascii_alphabetic()) && name.bytes().all(rest)
}

/// The pseudo-attributes of a declaration.
struct Attributes<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Attributes<'a> {
    /// Name, value, and where the value stands.
    fn next(&mut self) -> Result<Option<(&'a str, &'a str, usize)>, Fault> {
        let bytes = &self.bytes[..self.end];
        let text = |range| std::str::from_utf8(&bytes[range]).unwrap_or_default();
        let name = skip_blanks(bytes, self.at);
        if name == self.end {
            return Ok(None);
        }
        let name_end = name_end(bytes, name);
        let equals = skip_blanks(bytes, name_end);
        let quote = skip_blanks(bytes, equals + 1);
        if name == self.at
            || bytes.get(equals) != Some(&b'=')
            || !matches!(bytes.get(quote), Some(b'"' | b'\''))
        {
            return Fault::at(name, ErrorKind::Declaration);
        }
        let Some(length) = bytes[quote + 1..].iter().position(|it| *it == bytes[quote]) else {
            return Fault::at(name, ErrorKind::Declaration);
        };
        self.at = quote + 1 + length + 1;
        Ok(Some((text(name..name_end), text(quote + 1..quote + 1 + length), quote + 1)))
    }
}
