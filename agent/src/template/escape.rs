//! How a value is written into a file of some format, and when it cannot be.
//!
//! Decides what `{{ x }}` prints in each escape mode. A refusal is a fixed word, never text with a value in it: it
//! travels through the template engine as an error message and is turned into a sentence by `render`.

#![forbid(unsafe_code)]

use super::front_matter::Escape;

/// Why a value is not printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Null: an optional parameter that is not set.
    Null,
    /// A list or a map.
    Composite,
    /// A name or field that is not there.
    Undefined,
    /// Not plain enough for `escape = "none"`.
    NotPlain,
    /// Not to be carried by a `key = value` line.
    NotIni,
    /// Not to be carried by a shell word.
    NotShell,
}

impl Refusal {
    const ALL: [Self; 6] =
        [Self::Null, Self::Composite, Self::Undefined, Self::NotPlain, Self::NotIni, Self::NotShell];

    /// The word that stands for it in an engine's error.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Null => "ovf-agent:null",
            Self::Composite => "ovf-agent:composite",
            Self::Undefined => "ovf-agent:undefined",
            Self::NotPlain => "ovf-agent:not-plain",
            Self::NotIni => "ovf-agent:not-ini",
            Self::NotShell => "ovf-agent:not-shell",
        }
    }

    /// The refusal that an engine's message stands for.
    pub(super) fn from_code(message: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == message)
    }

    /// What it means, and what would mend it.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Null => {
                "has no value here, since its property is not set; put it into {% if %}, or add | default(value=\"...\")"
            }
            Self::Composite => "is a list or a map; print its parts, or add | json",
            Self::Undefined => "is not defined",
            Self::NotPlain => {
                "has characters other than letters, digits and ._:/@%+=,- in its value; choose the escape of the file's \
                 format (json, shell, ini), or add | safe where the format allows anything"
            }
            Self::NotIni => {
                "has a value that a line of an ini file cannot carry: a control character, a blank at an end, or a \
                 backslash at the end; a file with quotes needs another escape"
            }
            Self::NotShell => "has a NUL character in its value, which no shell word can hold",
        }
    }
}

impl Escape {
    /// The engine's name of the function that prints in this mode. Templates cannot spell it: names of theirs
    /// that begin with two underscores are refused.
    pub(super) fn print_function(self) -> &'static str {
        match self {
            Self::None => "__print_none",
            Self::Json => "__print_json",
            Self::Shell => "__print_shell",
            Self::Ini => "__print_ini",
        }
    }

    /// Writes a text as this mode does.
    ///
    /// # Errors
    /// The format cannot carry it.
    pub(super) fn text(self, text: &str) -> Result<String, Refusal> {
        match self {
            Self::None if text.bytes().all(is_plain) => Ok(text.to_owned()),
            Self::None => Err(Refusal::NotPlain),
            Self::Json => {
                let quoted = serde_json::to_string(text).expect("a string is valid JSON");
                Ok(quoted[1..quoted.len() - 1].to_owned())
            }
            Self::Shell => shell_word(text),
            Self::Ini => {
                let bare =
                    !text.chars().any(char::is_control) && text.trim() == text && !text.ends_with('\\');
                if bare { Ok(text.to_owned()) } else { Err(Refusal::NotIni) }
            }
        }
    }
}

/// What every format takes for an ordinary character.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:/@%+=,-".contains(&byte)
}

/// One complete word: everything between single quotes is itself, except the quote (POSIX sh, 2.2.2).
pub(super) fn shell_word(text: &str) -> Result<String, Refusal> {
    if text.contains('\0') {
        Err(Refusal::NotShell)
    } else {
        Ok(format!("'{}'", text.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::{Escape, Refusal};

    #[test]
    fn each_mode_writes_what_its_format_reads() {
        use Escape::{Ini, Json, None, Shell};
        for (mode, text, want) in [
            (None, "10.0.0.1:80/a_b@c%+=,-", Ok("10.0.0.1:80/a_b@c%+=,-")),
            (None, "", Ok("")),
            (None, "a b", Err(Refusal::NotPlain)),
            (None, "a\nb", Err(Refusal::NotPlain)),
            (None, "$(x)", Err(Refusal::NotPlain)),
            (None, "ä", Err(Refusal::NotPlain)),
            (Json, "a\"b\\c\nd\u{1}", Ok("a\\\"b\\\\c\\nd\\u0001")),
            (Json, "ä", Ok("ä")),
            (Shell, "it's $(x) `y` \\", Ok(r"'it'\''s $(x) `y` \'")),
            (Shell, "", Ok("''")),
            (Shell, "a\0", Err(Refusal::NotShell)),
            (Ini, "a b = \"c\" # d", Ok("a b = \"c\" # d")),
            (Ini, "a\nb", Err(Refusal::NotIni)),
            (Ini, " a", Err(Refusal::NotIni)),
            (Ini, "a\\", Err(Refusal::NotIni)),
            (Ini, "", Ok("")),
        ] {
            assert_eq!(mode.text(text).as_deref(), want.as_deref(), "{mode:?} {text:?}");
        }
    }

    #[test]
    fn a_refusal_survives_the_engine() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_code(refusal.code()), Some(refusal));
        }
        assert!(Refusal::from_code("secret").is_none());
    }
}
