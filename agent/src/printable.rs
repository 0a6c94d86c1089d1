//! Text from outside as it may be shown: nothing in it moves a cursor, or turns the text around it.
//!
//! Decides which characters are written as escapes: control characters, and the invisible ones by which a line can be made
//! to look like another (Unicode TR 36, section 2.6). Everything that goes to a terminal and was not written by us passes
//! through here.

#![forbid(unsafe_code)]

/// All of a text, on one line.
pub fn text(text: &str) -> String {
    escaped(text, |_| false)
}

/// All of a text, with the line ends that it has.
pub fn lines(text: &str) -> String {
    escaped(text, |character| character == '\n')
}

/// A name: at most 64 characters.
pub fn name(name: &str) -> String {
    match name.char_indices().nth(64) {
        Some((end, _)) => text(&name[..end]) + "…",
        None => text(name),
    }
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let moves = matches!(character,
            '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}');
        if (character.is_control() || moves) && !keep(character) {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{lines, name, text};

    #[test]
    fn what_moves_a_cursor_or_turns_text_around_is_escaped() {
        for (shown, expected) in [
            ("com.example.ip", "com.example.ip"),
            ("größe", "größe"),
            ("a\nb\u{1b}[2J", "a\\u{a}b\\u{1b}[2J"),
            ("user\u{202e}txt\u{2028}\u{feff}", "user\\u{202e}txt\\u{2028}\\u{feff}"),
        ] {
            assert_eq!(text(shown), expected, "{shown:?}");
        }
        assert_eq!(lines("a\nb\u{9b}"), "a\nb\\u{9b}");
    }

    #[test]
    fn names_are_shortened() {
        let long = "k".repeat(65);
        assert_eq!(name(&long[..64]), long[..64]);
        assert_eq!(name(&long), format!("{}…", &long[..64]));
    }
}
