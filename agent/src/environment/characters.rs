//! Characters, names and references of XML 1.0: clauses 2.2, 2.3, 2.11, 3.3.3 and 4.1, and names with a
//! prefix as in Namespaces in XML 1.0 clause 4.
//!
//! Decides what may stand in a document and what a stretch of it reads as. Does not know tags or elements.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::error::ErrorKind;
use super::words;

/// Blank as XML has it: space, tab, carriage return, line feed.
#[inline(always)]
pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Where the blanks that start here end.
pub(super) fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && is_blank(bytes[at]) {
        at += 1;
    }
    at
}

/// Where the first character stands that is not blank.
pub(super) fn first_not_blank(text: &str) -> Option<usize> {
    text.bytes().position(|byte| !is_blank(byte))
}

/// Clause 2.2: whether a character may stand in a document at all.
const fn is_allowed(character: char) -> bool {
    matches!(character,
        '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

/// The first character that may not stand in a document.
pub(super) fn first_forbidden(text: &str) -> Option<(usize, char)> {
    // In UTF-8 only control characters, U+FFFE and U+FFFF are left to look for; the latter begin with 0xEF.
    let suspect = |word| words::below_blank(word) | words::equal(word, words::all(0xEF));
    let (bytes, mut from) = (text.as_bytes(), 0);
    while let Some(at) = words::find(bytes, from, suspect) {
        if !is_blank(bytes[at]) {
            let character = text[at..].chars().next().filter(|it| !is_allowed(*it));
            if let Some(character) = character {
                return Some((at, character));
            }
        }
        from = at + 1;
    }
    None
}

/// Where in an attribute's value its quote is, or what may not stand there, or what does not stand for itself.
pub(super) fn value_mark(bytes: &[u8], at: usize, quote: u8) -> Option<usize> {
    let (quote, less, ampersand) = (words::all(quote), words::all(b'<'), words::all(b'&'));
    words::find(bytes, at, |word| {
        words::equal(word, quote)
            | words::equal(word, less)
            | words::equal(word, ampersand)
            | words::below_blank(word)
    })
}

/// Where the name that starts here ends: at the first ASCII character that no name has.
pub(super) fn name_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && !matches!(PART[bytes[at] as usize], Part::None) {
        at += 1;
    }
    at
}

/// What a byte may be in a name with a prefix.
#[derive(Clone, Copy)]
enum Part {
    Start,
    Rest,
    Colon,
    /// A byte of a character that is to be looked at whole.
    Beyond,
    None,
}

static PART: [Part; 256] = {
    let mut table = [Part::Beyond; 256];
    let mut byte = 0;
    while byte < 0x80 {
        table[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => Part::Start,
            b'0'..=b'9' | b'-' | b'.' => Part::Rest,
            b':' => Part::Colon,
            _ => Part::None,
        };
        byte += 1;
    }
    table
};

/// Takes a name apart into prefix (empty if it has none) and local name, or says where it is wrong.
pub(super) fn split_name(name: &str) -> Result<(&str, &str), usize> {
    let (mut local, mut begins) = (0, true);
    for (at, byte) in name.bytes().enumerate() {
        match PART[byte as usize] {
            Part::Start => begins = false,
            Part::Rest if !begins => {}
            Part::Colon if !begins && local == 0 => (local, begins) = (at + 1, true),
            _ => return split_unusual_name(name),
        }
    }
    if begins {
        return split_unusual_name(name);
    }
    Ok((&name[..local.saturating_sub(1)], &name[local..]))
}

/// The same for names that are wrong, or have more than ASCII.
fn split_unusual_name(name: &str) -> Result<(&str, &str), usize> {
    let (prefix, local) = match name.find(':') {
        Some(0) => return Err(0),
        Some(colon) => (&name[..colon], &name[colon + 1..]),
        None => ("", name),
    };
    let local_at = name.len() - local.len();
    if let Some(at) = wrong_character(prefix) {
        return Err(at);
    }
    if local.is_empty() {
        return Err(local_at.saturating_sub(1));
    }
    wrong_character(local).map_or(Ok((prefix, local)), |at| Err(local_at + at))
}

/// Where a name without colon has a character that it cannot have.
fn wrong_character(name: &str) -> Option<usize> {
    name.char_indices()
        .find(|(at, it)| !(is_name_start(*it) || *at > 0 && is_name_rest(*it)))
        .map(|(at, _)| at)
}

/// Clause 2.3, NameStartChar without the colon.
const fn is_name_start(character: char) -> bool {
    matches!(character,
        'A'..='Z' | 'a'..='z' | '_' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}' | '\u{200D}'
        | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}'
        | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

/// Clause 2.3, what NameChar adds.
const fn is_name_rest(character: char) -> bool {
    matches!(character, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}' | '\u{2040}')
}

/// Reads the reference at the start of `text`, which is an ampersand: what it stands for, and its length.
pub(super) fn reference(text: &str) -> Result<(char, usize), ErrorKind> {
    const PREDEFINED: [(&str, char); 5] =
        [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&apos;", '\'')];
    let bytes = text.as_bytes();
    if bytes.get(1) == Some(&b'#') {
        return character_reference(bytes);
    }
    if let Some((name, character)) = PREDEFINED.iter().find(|(name, _)| text.starts_with(name)) {
        return Ok((*character, name.len()));
    }
    let end = name_end(bytes, 1);
    Err(if end > 1 && bytes.get(end) == Some(&b';') {
        ErrorKind::UnknownEntity
    } else {
        ErrorKind::Ampersand
    })
}

fn character_reference(bytes: &[u8]) -> Result<(char, usize), ErrorKind> {
    let (radix, start) = if bytes.get(2) == Some(&b'x') { (16, 3) } else { (10, 2) };
    let (mut end, mut code) = (start, 0_u32);
    while let Some(digit) = bytes.get(end).and_then(|it| char::from(*it).to_digit(radix)) {
        code = code.saturating_mul(radix).saturating_add(digit);
        end += 1;
    }
    if end == start || bytes.get(end) != Some(&b';') {
        return Err(ErrorKind::Ampersand);
    }
    let character = char::from_u32(code).filter(|it| is_allowed(*it)).ok_or(ErrorKind::CharacterReference)?;
    Ok((character, end + 1))
}

/// The value of an attribute whose references are known to be good: clause 3.3.3. A line end of any kind, or
/// a tab, is a space; one written as a reference stays what it is.
pub(super) fn attribute_value(raw: &str) -> Cow<'_, str> {
    let special = |byte: u8| matches!(byte, b'&' | b'\t' | b'\r' | b'\n');
    if !raw.bytes().any(special) {
        return Cow::Borrowed(raw);
    }
    // Never longer than it is written, so that a secret is not left behind where a string was before it grew.
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.bytes().position(special) {
        value.push_str(&rest[..at]);
        let length = match (rest.as_bytes()[at], reference(&rest[at..])) {
            (b'&', Ok((character, length))) => {
                value.push(character);
                length
            }
            _ => {
                value.push(' ');
                if rest[at..].starts_with("\r\n") { 2 } else { 1 }
            }
        };
        rest = &rest[at + length..];
    }
    value.push_str(rest);
    Cow::Owned(value)
}

/// Appends text without references, with the line ends of clause 2.11.
pub(super) fn push_text(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some(at) = rest.find('\r') {
        out.push_str(&rest[..at]);
        out.push('\n');
        rest = &rest[at + 1..];
        rest = rest.strip_prefix('\n').unwrap_or(rest);
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::{ErrorKind, attribute_value, first_forbidden, push_text, reference, split_name};

    #[test]
    fn attribute_values_are_normalised() {
        let cases = [
            ("", ""),
            ("plain", "plain"),
            (" kept  as is ", " kept  as is "),
            ("a\tb\nc\rd\r\ne", "a b c d e"),
            ("a\r\n\r\nb", "a  b"),
            ("a&#10;b&#xA;c&#9;d&#13;e", "a\nb\nc\td\re"),
            ("&amp;&lt;&gt;&quot;&apos;", "&<>\"'"),
            ("&amp;lt;", "&lt;"),
            ("&#x1F600;&#0000065;ä", "😀Aä"),
            ("x > y", "x > y"),
        ];
        for (raw, expected) in cases {
            assert_eq!(attribute_value(raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn text_has_one_kind_of_line_end() {
        for (raw, expected) in [("", ""), ("a\r\nb\rc\n\r\rd\te", "a\nb\nc\n\n\nd\te"), ("a\r", "a\n")] {
            let mut out = String::new();
            push_text(raw, &mut out);
            assert_eq!(out, expected, "{raw:?}");
        }
    }

    #[test]
    fn references() {
        let cases = [
            ("&amp;x", Ok(('&', 5))),
            ("&#65;", Ok(('A', 5))),
            ("&#x41;x", Ok(('A', 6))),
            ("&#xD7FF;", Ok(('\u{D7FF}', 8))),
            ("&", Err(ErrorKind::Ampersand)),
            ("& ", Err(ErrorKind::Ampersand)),
            ("&;", Err(ErrorKind::Ampersand)),
            ("&amp", Err(ErrorKind::Ampersand)),
            ("&#;", Err(ErrorKind::Ampersand)),
            ("&#x;", Err(ErrorKind::Ampersand)),
            ("&#X41;", Err(ErrorKind::Ampersand)),
            ("&#6 5;", Err(ErrorKind::Ampersand)),
            ("&#-5;", Err(ErrorKind::Ampersand)),
            ("&nbsp;", Err(ErrorKind::UnknownEntity)),
            ("&AMP;", Err(ErrorKind::UnknownEntity)),
            ("&#0;", Err(ErrorKind::CharacterReference)),
            ("&#8;", Err(ErrorKind::CharacterReference)),
            ("&#xD800;", Err(ErrorKind::CharacterReference)),
            ("&#xFFFE;", Err(ErrorKind::CharacterReference)),
            ("&#x110000;", Err(ErrorKind::CharacterReference)),
            ("&#99999999999999999999;", Err(ErrorKind::CharacterReference)),
        ];
        for (text, expected) in cases {
            assert_eq!(reference(text), expected, "{text}");
        }
    }

    #[test]
    fn names_are_taken_apart_or_refused() {
        let cases = [
            ("key", Ok(("", "key"))),
            ("oe:key", Ok(("oe", "key"))),
            ("_a-b.c1", Ok(("", "_a-b.c1"))),
            ("größe:é·", Ok(("größe", "é·"))),
            ("", Err(0)),
            ("1a", Err(0)),
            ("-a", Err(0)),
            (":a", Err(0)),
            ("a:", Err(1)),
            ("a:1", Err(2)),
            ("a:b:c", Err(3)),
            ("a\u{D7}", Err(1)),
            ("ab:c\u{A0}d", Err(4)),
            ("·a", Err(0)),
        ];
        for (name, expected) in cases {
            assert_eq!(split_name(name), expected, "{name:?}");
        }
    }

    #[test]
    fn forbidden_characters_are_found() {
        let cases = [
            ("tab\t line\r\n ü € \u{7f} \u{85} \u{FEFF} \u{FFFD} \u{1FFFE}", None),
            ("a\0", Some((1, '\0'))),
            ("\u{1f}", Some((0, '\u{1f}'))),
            ("é\u{FFFE}", Some((2, '\u{FFFE}'))),
            ("\u{FFFF}", Some((0, '\u{FFFF}'))),
        ];
        for (text, expected) in cases {
            assert_eq!(first_forbidden(text), expected, "{text:?}");
        }
    }
}
