//! The environment as a document.
//!
//! Decides how an environment is written, byte for byte the same for the same environment: DSP8027's elements and
//! attributes, UTF-8, two blanks a level. What is in it is for `environments`.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use ovf_agent::environment::{NAMESPACE, Platform};

/// A text as XML has it in attributes and elements. Line ends and tabs are references, or reading would make blanks of them.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let reference = |character: char| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\n' => Some("&#10;"),
        '\r' => Some("&#13;"),
        '\t' => Some("&#9;"),
        _ => None,
    };
    // Those that XML has as they are and a terminal obeys (`\u{9b}` begins what `ESC [` does).
    let is_command = |character: char| matches!(character, '\u{7F}'..='\u{9F}');
    if !text.chars().any(|it| reference(it).is_some() || is_command(it)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match reference(character) {
            Some(reference) => out.push_str(reference),
            None if is_command(character) => out.push_str(&format!("&#{};", u32::from(character))),
            None => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// Whether XML has no way to hold a text.
pub fn is_forbidden(text: &str) -> bool {
    text.chars().any(
        |it| matches!(it, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}'),
    )
}

/// The beginning of a document, up to the guest's own properties.
pub fn begin(out: &mut String, id: &str, platform: &Platform) {
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Environment xmlns=\"");
    out.push_str(NAMESPACE);
    out.push_str("\" xmlns:ovfenv=\"");
    out.push_str(NAMESPACE);
    out.push_str("\" ovfenv:id=\"");
    out.push_str(&escaped(id));
    out.push_str("\">\n  <PlatformSection>\n");
    let timezone = platform.timezone.map(|it| it.to_string());
    for (name, value) in [
        ("Kind", &platform.kind),
        ("Version", &platform.version),
        ("Vendor", &platform.vendor),
        ("Locale", &platform.locale),
        ("Timezone", &timezone),
    ] {
        if let Some(value) = value {
            out.push_str(&format!("    <{name}>{}</{name}>\n", escaped(value)));
        }
    }
    out.push_str("  </PlatformSection>\n");
}

/// A list of properties, so many levels deep.
pub fn properties<'a>(out: &mut String, level: usize, all: impl Iterator<Item = (&'a str, &'a str)>) {
    let indent = "  ".repeat(level);
    out.push_str(&format!("{indent}<PropertySection>\n"));
    for (key, value) in all {
        out.push_str(&line(level + 1, key, value));
    }
    out.push_str(&format!("{indent}</PropertySection>\n"));
}

/// A property, so many levels deep.
pub fn line(level: usize, key: &str, value: &str) -> String {
    let (indent, key, value) = ("  ".repeat(level), escaped(key), escaped(value));
    format!("{indent}<Property ovfenv:key=\"{key}\" ovfenv:value=\"{value}\"/>\n")
}

/// A sibling.
pub fn entity<'a>(out: &mut String, id: &str, all: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push_str(&format!("  <Entity ovfenv:id=\"{}\">\n", escaped(id)));
    properties(out, 2, all);
    out.push_str("  </Entity>\n");
}

/// The end of a document.
pub fn end(out: &mut String) {
    out.push_str("</Environment>\n");
}

#[cfg(test)]
mod tests {
    use super::{begin, end, entity, properties};
    use ovf_agent::environment::{Platform, parse};

    #[test]
    fn what_is_written_is_what_the_agent_reads() {
        let nasty = "a&b<c>\"d'\n\te\r\u{9b}\u{7f}]]>ä";
        let platform = Platform {
            kind: Some("A & B".to_owned()),
            version: None,
            vendor: Some("<V>".to_owned()),
            locale: Some("de_DE".to_owned()),
            timezone: Some(-60),
        };
        let mut out = String::new();
        begin(&mut out, nasty.trim_end_matches('ä').lines().next().expect("a line"), &platform);
        properties(&mut out, 1, [("k&", nasty), ("empty", "")].into_iter());
        entity(&mut out, "x\"y", [("k", nasty)].into_iter());
        end(&mut out);
        assert!(out.chars().all(|it| it == '\n' || !it.is_control()), "{out:?}");
        let (read, warnings) = parse(out.as_bytes()).expect("a document");
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!((read.id.as_str(), &read.platform), ("a&b<c>\"d'", &platform));
        let values: Vec<_> =
            read.properties.iter().map(|(key, value)| (key.to_owned(), value.reveal().to_owned())).collect();
        assert_eq!(values, [("k&".to_owned(), nasty.to_owned()), ("empty".to_owned(), String::new())]);
        assert_eq!(read.entities[0].id, "x\"y");
    }
}
