//! What the parser refuses, in our own words.
//!
//! Decides what is said of a text that is not well-formed, and where that is. The parser's own texts are not shown: some
//! quote what may be part of a password.

#![forbid(unsafe_code)]

use roxmltree::{Document, Error as E, TextPos};

use super::Source;
use crate::finding::{At, Code, Finding, quoted};

const CUT_OFF: &str = "the text ends inside an element; it was cut off, or an end tag is missing";

/// The finding that this refusal is.
pub(super) fn of(source: &Source, error: &E) -> Finding {
    let end = source.at(source.text.trim_end().len());
    let (mut at, mut message) = match error {
        E::UnexpectedCloseTag(expected, found, pos) => (
            place(pos),
            format!("</{}> closes {}; write </{}>", shown(found), quoted(expected), shown(expected)),
        ),
        E::UnknownNamespace(prefix, pos) => {
            let prefix = shown(prefix);
            (
                place(pos),
                format!("the prefix `{prefix}` is not bound to a namespace; add xmlns:{prefix}=\"...\""),
            )
        }
        E::UnknownEntityReference(_, pos) => {
            let message = "a reference to an unknown entity; XML knows amp, lt, gt, apos and quot";
            (place(pos), message.to_owned())
        }
        E::MalformedEntityReference(pos) => (place(pos), "`&` begins no reference; write &amp;".to_owned()),
        E::InvalidAttributeValue(pos) => {
            (place(pos), "`<` in the value of an attribute; write &lt;, or close the value".to_owned())
        }
        E::DuplicatedAttribute(name, pos) => {
            (place(pos), format!("the attribute {} is given twice; remove one", quoted(name)))
        }
        E::DuplicatedNamespace(name, pos) => {
            (place(pos), format!("the prefix {} is bound twice; remove one", quoted(name)))
        }
        E::NonXmlChar(character, pos) => (place(pos), forbidden(&source.text, *character)),
        E::InvalidComment(pos) => (place(pos), "`--` in a comment; remove it".to_owned()),
        E::InvalidCharacterData(pos) => (place(pos), "`]]>` in text; write ]]&gt;".to_owned()),
        E::InvalidName(pos) => {
            (place(pos), "a name is missing or has a character that names cannot have".to_owned())
        }
        E::UnexpectedDeclaration(pos) => {
            let message = "an XML declaration inside of the document; only its first line may be one";
            (place(pos), message.to_owned())
        }
        E::NoRootNode => (end, "there is no element in it".to_owned()),
        E::UnclosedRootNode | E::UnexpectedEndOfStream => (end, CUT_OFF.to_owned()),
        E::NodesLimitReached => {
            let message = "more elements, texts and comments than any real descriptor has";
            return source.finding(Code::XmlLimit, 0, message);
        }
        E::UnknownToken(pos) => unexpected(source, place(pos)),
        E::InvalidChar(wanted, _, pos) => (place(pos), missing(&char::from(*wanted).to_string())),
        E::InvalidChar2("a quote", _, pos) => {
            (place(pos), "the value of an attribute begins without a quote; put it into quotes".to_owned())
        }
        E::InvalidChar2(_, _, pos) => (place(pos), "a blank is missing here".to_owned()),
        E::InvalidString(wanted, pos) => (place(pos), missing(wanted)),
        E::InvalidXmlPrefixUri(pos) | E::UnexpectedXmlUri(pos) | E::UnexpectedXmlnsUri(pos) => {
            let message =
                "the prefixes xml and xmlns, and their namespaces, are XML's own; remove this declaration";
            (place(pos), message.to_owned())
        }
        E::InvalidElementNamePrefix(pos) => {
            (place(pos), "xmlns declares namespaces, and is no prefix of elements; write another".to_owned())
        }
        // What is left is of DOCTYPEs, which are refused before.
        other => (place(&other.pos()), "this is not well-formed XML".to_owned()),
    };
    // Whatever the parser stumbles over, a character that cannot be in XML comes first.
    if let Some((byte, character)) = source.text.char_indices().find(|&(_, it)| is_forbidden(it))
        && source.at(byte) <= at
    {
        (at, message) = (source.at(byte), forbidden(&source.text, character));
    }
    Finding { file: source.file.clone(), at: Some(at), code: Code::XmlMalformed, message }
}

fn place(pos: &TextPos) -> At {
    At { line: pos.row as usize, column: pos.col as usize }
}

fn missing(wanted: &str) -> String {
    format!("{} is missing here", quoted(wanted))
}

/// What stands where only an element, or nothing, may stand.
fn unexpected(source: &Source, at: At) -> (At, String) {
    let text = &source.text;
    let line = match at.line {
        1 => 0,
        line => text.match_indices('\n').nth(line - 2).map_or(text.len(), |(end, _)| end + 1),
    };
    let byte = text[line..].char_indices().nth(at.column - 1).map_or(text.len(), |(it, _)| line + it);
    let (before, rest) = text.split_at(byte);
    let message = match rest.strip_prefix('<') {
        _ if matches!(rest, "" | "<") => CUT_OFF,
        Some(rest) if rest.starts_with('!') => "`<!` begins neither a comment nor CDATA; write &lt;!",
        Some(_) => "a second element follows the root element; a document has one, remove the other",
        None if Document::parse(before).is_ok() => {
            "there is text behind the end of the root element; remove it"
        }
        None => "there is text before the root element; remove it, or name a descriptor",
    };
    (at, message.to_owned())
}

/// Whether XML 1.0 has no such character (production 2, Char).
fn is_forbidden(character: char) -> bool {
    matches!(character, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}')
}

fn forbidden(text: &str, character: char) -> String {
    let number = u32::from(character);
    // Every other byte of a Latin text in UTF-16 is none.
    match text.as_bytes() {
        [b'<', 0, ..] | [0, b'<', ..] => "the file is UTF-16; save it as UTF-8".to_owned(),
        [0, ..] => "the file begins with zeros, and is no text; get it again".to_owned(),
        _ => format!("the character U+{number:04X} is forbidden in XML; remove it"),
    }
}

fn shown(name: &str) -> String {
    quoted(name).trim_matches('`').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Source;

    #[test]
    fn a_refusal_says_what_and_where() {
        let behind = "there is text behind the end of the root element; remove it";
        let before = "there is text before the root element; remove it, or name a descriptor";
        let cut = "the text ends inside an element; it was cut off, or an end tag is missing";
        for (text, place, want) in [
            ("<a/>junk", "1:5", behind),
            ("<a>\n</a>\n<!-- <b> -->\n ä junk", "4:2", behind),
            ("hello", "1:1", before),
            ("<?xml version='1.0'?>\n<!-- <a/> --> x <a/>", "2:15", before),
            (
                "<a/>\n<b/>",
                "2:1",
                "a second element follows the root element; a document has one, remove the other",
            ),
            ("<a>\n ä<!b></a>", "2:3", "`<!` begins neither a comment nor CDATA; write &lt;!"),
            ("<a>\n<b>x", "2:5", cut),
            ("<a>\n<b", "2:3", cut),
            ("<a>\n<", "2:1", cut),
            ("<a b='1'c='2'/>", "1:9", "a blank is missing here"),
            ("<a b=s3cret/>", "1:6", "the value of an attribute begins without a quote; put it into quotes"),
            ("<a b 's3cret'/>", "1:6", "`=` is missing here"),
            ("<a></a s3cret>", "1:8", "`>` is missing here"),
            ("<?xml encoding='UTF-8'?><a/>", "1:7", "`version` is missing here"),
            ("<a><!-- s3cret</a>", "1:19", "`-->` is missing here"),
            (
                "<a xmlns:xml='urn:x'/>",
                "1:4",
                "the prefixes xml and xmlns, and their namespaces, are XML's own; remove this declaration",
            ),
            ("<xmlns:a/>", "1:2", "xmlns declares namespaces, and is no prefix of elements; write another"),
            ("<a>\n<b>\0</b></a>", "2:4", "the character U+0000 is forbidden in XML; remove it"),
            ("<a>\n<b\0/></a>", "2:3", "the character U+0000 is forbidden in XML; remove it"),
            ("<a>\n<!-- \u{1} --></a>", "2:6", "the character U+0001 is forbidden in XML; remove it"),
            ("<a b='\u{B}'>", "1:7", "the character U+000B is forbidden in XML; remove it"),
            ("<a/>\n\0", "2:1", "the character U+0000 is forbidden in XML; remove it"),
            ("\0\0\0\0", "1:1", "the file begins with zeros, and is no text; get it again"),
            ("<\0a\0/\0>\0", "1:2", "the file is UTF-16; save it as UTF-8"),
            ("\0<\0a\0/\0>", "1:1", "the file is UTF-16; save it as UTF-8"),
        ] {
            let source = Source::new("x", text.into()).expect("UTF-8");
            let finding = source.tree().map(drop).expect_err("no XML").to_string();
            assert_eq!(finding, format!("x:{place}: error: {want} [xml-malformed]"), "{text:?}");
        }
    }
}
