//! How a value is written into a file of some format, and when it cannot be.
//!
//! Decides what `{{ x }}` prints in each escape mode: text that the format's reader turns back into the very value, or
//! nothing. Where a print may stand is decided in `quotes`.

#![forbid(unsafe_code)]

use super::front_matter::Escape;
use super::refusal::Refusal;

/// How one `{{ x }}` is printed: by the file's escape, except where it stands or ends in something special.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Print {
    /// By the escape.
    Text(Escape),
    /// As it is: the author says so, or it is a whole literal or word of the format already.
    Whole,
    /// As it is, in a comment that ends with its line.
    Comment,
    /// As `true` or `false`, and nothing else.
    Truth,
    /// As JSON, for a value of ours that keeps its type.
    Typed,
    /// As it is, into a text that is no file yet.
    Derived,
}

impl Print {
    /// All there are.
    pub(super) const ALL: [Self; 11] = [
        Self::Text(Escape::None),
        Self::Text(Escape::Json),
        Self::Text(Escape::Yaml),
        Self::Text(Escape::Xml),
        Self::Text(Escape::Shell),
        Self::Text(Escape::Ini),
        Self::Whole,
        Self::Comment,
        Self::Truth,
        Self::Typed,
        Self::Derived,
    ];

    /// The engine's name of the function that prints so. Templates cannot spell it: names of theirs that begin with
    /// two underscores are refused.
    pub(super) fn function(self) -> &'static str {
        match self {
            Self::Text(Escape::None) => "__print_none",
            Self::Text(Escape::Json) => "__print_json",
            Self::Text(Escape::Yaml) => "__print_yaml",
            Self::Text(Escape::Xml) => "__print_xml",
            Self::Text(Escape::Shell) => "__print_shell",
            Self::Text(Escape::Ini) => "__print_ini",
            Self::Whole => "__print_whole",
            Self::Comment => "__print_comment",
            Self::Truth => "__print_truth",
            Self::Typed => "__print_typed",
            Self::Derived => "__print_derived",
        }
    }

    /// Writes a text so.
    ///
    /// # Errors
    /// It cannot be written so.
    pub(super) fn text(self, text: &str) -> Result<String, Refusal> {
        let unless_control = |refusal| {
            let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            if text.contains(breaks) { Err(refusal) } else { Ok(text.to_owned()) }
        };
        match self {
            Self::Text(escape) => escape.text(text),
            Self::Whole | Self::Typed => Ok(text.to_owned()),
            Self::Comment => unless_control(Refusal::NOT_COMMENT),
            Self::Derived => unless_control(Refusal::CONTROL),
            Self::Truth => Err(Refusal::NOT_BOOL),
        }
    }
}

impl Escape {
    /// Writes a text as this mode does.
    ///
    /// # Errors
    /// The format cannot carry it.
    pub(super) fn text(self, text: &str) -> Result<String, Refusal> {
        match self {
            Self::None if text.bytes().all(is_plain) => Ok(text.to_owned()),
            Self::None => Err(Refusal::NOT_PLAIN),
            Self::Json | Self::Yaml => {
                let quoted = json_literal(&text);
                Ok(quoted[1..quoted.len() - 1].to_owned())
            }
            Self::Xml => xml_text(text),
            Self::Shell => shell_word(text),
            Self::Ini => {
                let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
                let bare = !text.contains(breaks) && text.trim() == text && !text.ends_with('\\');
                if bare { Ok(text.to_owned()) } else { Err(Refusal::NOT_INI) }
            }
        }
    }
}

/// What every format takes for an ordinary character.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:/@%+=,-".contains(&byte)
}

/// A JSON literal that is one in YAML as well: what YAML 1.1 or 1.2 takes for a line break, or does not take, is
/// escaped too (YAML 1.2.2, 5.1 and 5.4; YAML 1.1, 4.1.4). All of it can stand in strings alone.
pub(super) fn json_literal(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(value).expect("values of ours have text for keys");
    let odd =
        |c| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    if !text.contains(odd) {
        return text;
    }
    let escaped = |c| if odd(c) { format!("\\u{:04x}", u32::from(c)) } else { String::from(c) };
    text.chars().map(escaped).collect()
}

/// Text for an element or an attribute, whichever quotes it has. White space other than blanks is written by number,
/// since attributes and line ends are normalised (XML 1.0, 2.11 and 3.3.3; XML 1.1 has more line ends).
fn xml_text(text: &str) -> Result<String, Refusal> {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' | '\u{7f}'..='\u{9f}' | '\u{2028}' => {
                escaped.push_str(&format!("&#{};", u32::from(c)));
            }
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => return Err(Refusal::NOT_XML),
            c => escaped.push(c),
        }
    }
    Ok(escaped)
}

/// One complete word: everything between single quotes is itself, except the quote (POSIX sh, 2.2.2).
pub(super) fn shell_word(text: &str) -> Result<String, Refusal> {
    if text.contains('\0') {
        Err(Refusal::NOT_SHELL)
    } else {
        Ok(format!("'{}'", text.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::{Escape, Print, Refusal};

    #[test]
    fn each_mode_writes_what_its_format_reads() {
        use Escape::{Ini, Json, None, Shell, Xml, Yaml};
        for (mode, text, want) in [
            (None, "10.0.0.1:80/a_b@c%+=,-", Ok("10.0.0.1:80/a_b@c%+=,-")),
            (None, "", Ok("")),
            (None, "a b", Err(Refusal::NOT_PLAIN)),
            (None, "a\nb", Err(Refusal::NOT_PLAIN)),
            (None, "$(x)", Err(Refusal::NOT_PLAIN)),
            (None, "ä", Err(Refusal::NOT_PLAIN)),
            (Json, "a\"b\\c\nd\u{1}", Ok("a\\\"b\\\\c\\nd\\u0001")),
            (Json, "ä", Ok("ä")),
            (Yaml, "\u{85}\u{2028}\u{7f}\u{feff}ä", Ok("\\u0085\\u2028\\u007f\\ufeffä")),
            (Yaml, "it's: \"#\"", Ok("it's: \\\"#\\\"")),
            (Xml, "<a b=\"c\" d='&'>", Ok("&lt;a b=&quot;c&quot; d=&#39;&amp;&#39;&gt;")),
            (Xml, "a\tb\r\nc\u{85}", Ok("a&#9;b&#13;&#10;c&#133;")),
            (Xml, "a\u{1}", Err(Refusal::NOT_XML)),
            (Xml, "a\u{ffff}", Err(Refusal::NOT_XML)),
            (Shell, "it's $(x) `y` \\", Ok(r"'it'\''s $(x) `y` \'")),
            (Shell, "", Ok("''")),
            (Shell, "a\0", Err(Refusal::NOT_SHELL)),
            (Ini, "a b = \"c\" # d", Ok("a b = \"c\" # d")),
            (Ini, "a\nb", Err(Refusal::NOT_INI)),
            (Ini, "a\u{2028}b", Err(Refusal::NOT_INI)),
            (Ini, " a", Err(Refusal::NOT_INI)),
            (Ini, "a\\", Err(Refusal::NOT_INI)),
            (Ini, "", Ok("")),
        ] {
            assert_eq!(mode.text(text).as_deref(), want.as_deref(), "{mode:?} {text:?}");
        }
    }

    #[test]
    fn every_way_to_print_has_a_function_of_its_own() {
        let names: std::collections::BTreeSet<_> = Print::ALL.into_iter().map(Print::function).collect();
        assert_eq!(names.len(), Print::ALL.len());
        assert!(names.iter().all(|name| name.starts_with("__")));
    }
}
