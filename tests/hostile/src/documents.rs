//! OVF environment documents, broken where it hurts.
//!
//! Decides what is done to a proper document: to its bytes as any damage would, to its tags and attributes as a writer's
//! slip would, and what an attacker would send: very many, very deep, references and encodings. XML 1.0 names the parts.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::random::Random;

/// The mutant of this number: one of the documents, broken in one to four places.
pub fn mutant(bases: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    let mut random = Random::new(seed, number);
    let mut document = bases[random.below(bases.len())].clone();
    for _ in 0..random.breaks() {
        let other = &bases[random.below(bases.len())];
        mutate(&mut document, other, &mut random);
    }
    document
}

/// Breaks a document in one place, or in few that belong together; `other` gives pieces to put in.
pub fn mutate(document: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    match random.below(16) {
        0 => flip_bits(document, random),
        1 => document.truncate(random.below(document.len() + 1)),
        2 => remove_bytes(document, random),
        3 | 4 => insert_splinter(document, random),
        5 | 6 => move_tags(document, random),
        7 | 8 => move_attributes(document, random),
        9 | 10 => splice(document, other, random),
        11 => many_attributes(document, random),
        12 => many_elements(document, random),
        13 => deep(document, random),
        14 => reference(document, random),
        _ => encode(document, random),
    }
}

/// Where a document is cut or grown: never more than this, so that mutants of mutants stay small. `many` says how often
/// they are larger than the agent's limits.
const LARGE: usize = 1 << 20;

/// A count: mostly small, sometimes around the limits of the agent, rarely far above.
fn many(random: &mut Random) -> usize {
    match random.below(200) {
        0 => 5_000 + random.below(20_000),
        1..=20 => 1 + random.below(1_100),
        _ => 1 + random.below(80),
    }
}

fn flip_bits(document: &mut [u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(document.len());
        let bit = 1 << random.below(8);
        if let Some(byte) = document.get_mut(at) {
            *byte ^= bit;
        }
    }
}

fn remove_bytes(document: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(document.len());
    let end = (at + 1 + random.below(24)).min(document.len());
    document.drain(at..end);
}

/// What breaks documents best.
const SPLINTERS: [&[u8]; 44] = [
    b"<",
    b">",
    b"/",
    b"\"",
    b"'",
    b"=",
    b"&",
    b";",
    b" ",
    b"\n",
    b"\r",
    b"\t",
    b":",
    b"]]>",
    b"<!--",
    b"-->",
    b"--",
    b"<![CDATA[",
    b"<?",
    b"?>",
    b"<!DOCTYPE a>",
    b"<!ENTITY a 'b'>",
    b"&amp;",
    b"&#",
    b"\0",
    b"\xEF\xBB\xBF",
    b"\xC3\xA4",
    b"\xC3",
    b"\xEF\xBF\xBF",
    b"\xED\xA0\x80",
    b"\xC0\x80",
    b"\xF4\x90\x80\x80",
    b"xmlns='u'",
    b" xmlns=''",
    b" xmlns:oe=''",
    b" xmlns:xml='u'",
    b" xmlns:xmlns='u'",
    b"</a>",
    b"<a>",
    b"<?xml version='1.0'?>",
    b"<?xml version='1.1' encoding='latin1' standalone='no'?>",
    b"/>",
    b"</Environment>",
    b"<Property oe:key='k' oe:value='v'/>",
];

fn insert_splinter(document: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(document.len() + 1);
    let splinter = random.pick(&SPLINTERS);
    document.splice(at..at, splinter.iter().copied());
}

/// The tags of a document, with what looks like tags: from `<` to the next `>`.
fn tags(document: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = document[at..].iter().position(|byte| *byte == b'<').map(|it| at + it) {
        let Some(end) = document[start..].iter().position(|byte| *byte == b'>').map(|it| start + it + 1)
        else {
            break;
        };
        found.push(start..end);
        at = end;
        if found.len() == 10_000 {
            break;
        }
    }
    found
}

fn a_tag(document: &[u8], random: &mut Random) -> Range<usize> {
    let mut found = tags(document);
    if found.is_empty() { 0..0 } else { found.swap_remove(random.below(found.len())) }
}

/// The attributes of a tag, each with the blank before it.
fn attributes(document: &[u8], tag: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut start, mut quote) = (None, None);
    for at in tag {
        let byte = document[at];
        match quote {
            Some(open) if byte == open => {
                quote = None;
                found.extend(start.take().map(|start| start..at + 1));
            }
            Some(_) => {}
            None if byte == b'"' || byte == b'\'' => quote = Some(byte),
            None if byte.is_ascii_whitespace() => start = Some(at),
            None => {}
        }
    }
    found
}

fn move_tags(document: &mut Vec<u8>, random: &mut Random) {
    let (one, two) = (a_tag(document, random), a_tag(document, random));
    match random.below(5) {
        // One goes.
        0 => drop(document.drain(one)),
        // One is there twice, or elsewhere as well.
        1 | 2 => {
            let copy = document[one.clone()].to_vec();
            let at = if random.one_in(2) { one.end } else { two.start };
            document.splice(at..at, copy);
        }
        // All from one to the other is repeated, or goes.
        3 => {
            let span = one.start.min(two.start)..one.end.max(two.end);
            let copy = document[span.clone()].to_vec();
            document.splice(span.end..span.end, copy);
        }
        _ => drop(document.drain(one.start.min(two.start)..one.start.max(two.start))),
    }
    document.truncate(LARGE);
}

fn move_attributes(document: &mut Vec<u8>, random: &mut Random) {
    let tag = a_tag(document, random);
    let found = attributes(document, tag);
    if found.is_empty() {
        return;
    }
    let one = found[random.below(found.len())].clone();
    let two = a_tag(document, random);
    let copy = document[one.clone()].to_vec();
    match random.below(4) {
        0 => drop(document.drain(one)),
        1 => drop(document.splice(one.end..one.end, copy)),
        2 => {
            // To another element, behind its name.
            let name = document[two.clone()].iter().position(|byte| b" />".contains(byte)).unwrap_or(0);
            let at = two.start + name;
            document.splice(at..at, copy);
        }
        _ => {
            let name = random.pick(&[
                &b" key"[..],
                b" oe:key",
                b" x:key",
                b" oe:value",
                b" xmlns",
                b" xml:lang",
                b" :",
                b" 1",
            ]);
            let end = copy.iter().position(|byte| *byte == b'=').unwrap_or(0);
            document.splice(one.start..one.start + end, name.iter().copied());
        }
    }
}

fn splice(document: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let (here, there) = (a_tag(document, random), a_tag(other, random));
    match random.below(3) {
        0 => {
            document.truncate(here.start);
            document.extend_from_slice(&other[there.start..]);
        }
        1 => drop(document.splice(here.start..here.start, other.iter().copied())),
        _ => {
            let end = a_tag(other, random).end.max(there.start);
            document.splice(here, other[there.start..end].iter().copied());
        }
    }
    document.truncate(LARGE);
}

fn many_attributes(document: &mut Vec<u8>, random: &mut Random) {
    let tag = a_tag(document, random);
    let name = document[tag.clone()].iter().position(|byte| b" />".contains(byte)).unwrap_or(0);
    let mut text = String::new();
    let kind = random.below(4);
    for number in 0..many(random) {
        text += &match kind {
            0 => format!(" a{number}='v'"),
            1 => format!(" xmlns:p{number}='u{number}'"),
            2 => format!(" oe:a{number}=\"&amp;&#x41;\""),
            _ => " same=''".to_owned(),
        };
    }
    let at = tag.start + name;
    document.splice(at..at, text.into_bytes());
}

fn many_elements(document: &mut Vec<u8>, random: &mut Random) {
    let at = a_tag(document, random).end;
    let mut text = String::new();
    let kind = random.below(7);
    for number in 0..many(random) {
        text += &match kind {
            0 => format!("<Property oe:key='k{number}' oe:value='v{number}'/>"),
            1 => "<Property oe:key='k' oe:value='&lt;'/>".to_owned(),
            2 => format!("<PropertySection><Property key='k{number}' value=''/></PropertySection>"),
            3 => format!("<Entity oe:id='e{number}'><PropertySection/></Entity>"),
            4 => "<Entity/>".to_owned(),
            5 => format!("<x:Section xmlns:x='u{number}'>text</x:Section>"),
            _ => "<!-- c --><?pi d?><![CDATA[e]]>".to_owned(),
        };
    }
    document.splice(at..at, text.into_bytes());
}

fn deep(document: &mut Vec<u8>, random: &mut Random) {
    let depth = many(random);
    let tag = a_tag(document, random);
    let name = random.pick(&["a", "Environment", "Entity", "PropertySection", "x:y xmlns:x='u'"]);
    let closed = !random.one_in(3);
    let open = format!("<{name}>").repeat(depth);
    let bare = name.split(' ').next().unwrap_or(name);
    if closed {
        let close = format!("</{bare}>").repeat(depth);
        document.splice(tag.end..tag.end, close.into_bytes());
    }
    document.splice(tag.start..tag.start, open.into_bytes());
}

fn reference(document: &mut Vec<u8>, random: &mut Random) {
    const REFERENCES: [&str; 20] = [
        "&lt;",
        "&gt;",
        "&amp;",
        "&quot;",
        "&apos;",
        "&lol;",
        "&;",
        "& ",
        "&amp",
        "&#65;",
        "&#x41;",
        "&#0;",
        "&#x0;",
        "&#xD800;",
        "&#xFFFE;",
        "&#x10FFFF;",
        "&#x110000;",
        "&#99999999999999999999;",
        "&#x;",
        "&#-1;",
    ];
    const LAUGHS: &str =
        "<!DOCTYPE a [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;'>]>";
    if random.one_in(8) {
        let at = if random.one_in(2) { 0 } else { a_tag(document, random).start };
        document.splice(at..at, LAUGHS.bytes());
        return;
    }
    let tag = a_tag(document, random);
    let values = attributes(document, tag.clone());
    let at = if values.is_empty() { tag.end } else { values[random.below(values.len())].end - 1 };
    let text = random.pick(&REFERENCES).repeat(many(random));
    document.splice(at..at, text.into_bytes());
}

fn encode(document: &mut Vec<u8>, random: &mut Random) {
    let text = String::from_utf8_lossy(document).into_owned();
    *document = match random.below(8) {
        0 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        1 => [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect(),
        2 => [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect(),
        3 => text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect(),
        4 => {
            let name = random
                .pick(&["UTF-16", "utf-8", "ISO-8859-1", "", "UTF-8'", "x".repeat(300).as_str()])
                .to_owned();
            format!("<?xml version='1.0' encoding='{name}'?>{text}").into_bytes()
        }
        5 => [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
        6 => [text.as_bytes(), &vec![0; many(random)]].concat(),
        _ => [vec![b' '; many(random)], text.into_bytes()].concat(),
    };
}

/// Documents of just this size that make the most of it, each with what it is full of.
pub fn largest(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let fill = |what, start: &str, piece: &dyn Fn(usize) -> String, end: &str, most: usize| {
        let namespace = "http://schemas.dmtf.org/ovf/environment/1";
        let mut text = format!("<Environment xmlns='{namespace}' xmlns:oe='{namespace}'>{start}");
        let end = format!("{end}</Environment>");
        for number in 0..most {
            let piece = piece(number);
            if text.len() + piece.len() + end.len() > size {
                break;
            }
            text += &piece;
        }
        let blanks = size - text.len() - end.len();
        (what, [text.as_bytes(), &vec![b' '; blanks], end.as_bytes()].concat())
    };
    let (properties, no_more) = ("<PropertySection>", "</PropertySection>");
    let wide = size / 100_000 - 40;
    let value = "v".repeat(wide);
    let property = |number| format!("<Property oe:key='k{number}' oe:value='{value}'/>");
    let sibling = |number| format!("<Entity oe:id='{value}{number}'/>");
    let section = |number| format!("<x:S xmlns:x='u{number}'>{}</x:S>", "s".repeat(size / 1_000 - 60));
    let (quoted, closed) = ("<PropertySection><Property oe:key='k' oe:value='", "'/></PropertySection>");
    vec![
        fill("properties", properties, &property, no_more, 100_000),
        fill("siblings", "", &sibling, "", 100_000),
        fill("sections", "", &section, "", 1_000),
        fill("one value", quoted, &|_| "v".repeat(1000), closed, usize::MAX),
        fill("references", quoted, &|_| "&#x41;".repeat(100), closed, usize::MAX),
        fill("one property again and again", properties, &|_| property(0), no_more, 100_000),
        fill(
            "one text",
            "<PlatformSection><Kind>",
            &|_| "k".repeat(1000),
            "</Kind></PlatformSection>",
            usize::MAX,
        ),
        fill("comments", "", &|_| "<!-- c -->".repeat(100), "", usize::MAX),
    ]
}
