//! Why a value is not printed, or does not go through a filter, in fixed sentences.
//!
//! A refusal travels through the template engine as the text of an error. What the engine itself has to say can
//! quote values, so of all texts that come out of it only those in this table are believed.

#![forbid(unsafe_code)]

use tera::Error;

/// A refusal; its text is the rest of a sentence that begins with the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal(&'static str);

/// Makes the constants, and the list of all of them.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $sentence:literal;)*) => {
        impl Refusal {
            $($(#[$doc])* pub(super) const $name: Self = Self($sentence);)*
            const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

refusals! {
    /// Null: an optional parameter that is not set.
    NULL = "has no value here, since its property is not set; put it into {% if %}, or add | default(value=\"...\")";
    /// A list or a map.
    COMPOSITE = "is a list or a map; print its parts, or add | json";
    /// Null beside a `~`.
    JOINS_NULL = "joins by ~ what has no value here, since its property is not set; put it into {% if %}, or write \
        (x | default(value=\"...\")) in its place";
    /// A list or a map beside a `~`.
    JOINS_COMPOSITE = "joins a list or a map by ~; write (x | join(sep=\",\")) or (x | json) in its place, or print its parts";
    /// A name or field that is not there.
    UNDEFINED = "is not defined";
    /// Not plain enough for `escape = "none"`.
    NOT_PLAIN = "has characters other than letters, digits and ._:/@%+=,- in its value; choose the escape of the \
        file's format (json, yaml, xml, shell, ini), or add | safe where the format allows anything";
    /// Not to be carried by a `key = value` line.
    NOT_INI = "has a value that a line of an ini file cannot carry: a control character or line separator, a blank at \
        an end, or a backslash at the end; a file with quotes needs another escape";
    /// Not to be carried by a shell word.
    NOT_SHELL = "has a NUL character in its value, which no shell word can hold";
    /// Not to be carried by XML 1.0.
    NOT_XML = "has a character in its value that XML 1.0 cannot hold, not even escaped";
    /// A comment that would end in the middle.
    NOT_COMMENT = "has a line break or another control character in its value, which ends the comment it stands in";
    /// A `when` or a test that is no truth value.
    NOT_BOOL = "is neither true nor false; compare it with something, or add | default(value=false)";
    /// A derived value with a control character.
    CONTROL = "has a control character in its value, which a derived value cannot have";

    /// Nothing left of a text's steps.
    STEPS = "is where this has taken 1,000,000 steps, the most that it may: elements of loops, filters and what they make; \
        shorten the lists and texts that it goes through";
    /// Nothing left of a pass's.
    PASS_STEPS = "is where the pass has taken 4,000,000 steps, the most that it may for all files together: elements of \
        loops, filters and what they make; shorten the lists and texts that the templates go through";

    /// Filters: not an argument of the right kind.
    ARGUMENT = "gives the filter an argument of a kind that it does not take";
    NO_LIST = "gives the filter something else than a list";
    NO_LENGTH = "gives the filter `length` something else than text, a list or a map";
    EMPTY_SEPARATOR = "splits by an empty text; name what stands between the parts";
    NO_PREFIX = "gives the filter `netmask` no prefix length; it takes 0 to 32 for IPv4 and 0 to 128 for IPv6, as \
        netmask(prefix=24), or an address with one, 192.0.2.1/24";
    NO_MASK = "gives the filter `prefix` something else than a netmask, 255.255.255.0, or an address with a length, \
        192.0.2.1/24";
    NO_NETWORK = "gives the filter `network` something else than an address with its mask, network(mask=24) or \
        network(mask=\"255.255.255.0\"), or one with a length, 192.0.2.1/24";
    NO_BROADCAST = "gives the filter `broadcast` something else than an IPv4 address with its mask, broadcast(mask=24) \
        or broadcast(mask=\"255.255.255.0\"), or one with a length, 192.0.2.1/24";
    NO_ZONE = "gives the filter `reverse_zone` something else than an address, with a length, if any, that is a \
        multiple of 8 for IPv4 and of 4 for IPv6, and not 0";
    NOT_BASE64 = "gives the filter `b64decode` something else than base64";
    NOT_TEXT = "comes to something else than text when its base64 is decoded";
    NO_SALT = "gives the filter `sha512_crypt` a salt that is not 8 to 16 of the characters a-z, A-Z, 0-9, . and /";
    NO_ROUNDS = "gives the filter `sha512_crypt` a number of rounds that is not between 1000 and 1000000";
    NO_PASSWORD = "gives the filter `sha512_crypt` a password that is longer than 1024 bytes, or has a NUL character";
    TOO_MANY = "counts further than the 100,000 numbers that `range` may make";
    NO_RANGE = "gives the function `range` something else than whole numbers, or a `step_by` of 0";
    NO_INDENT = "gives the filter `indent` a number of blanks that is not between 0 and 64";
}

impl Refusal {
    /// What it means, and what would mend it.
    pub(super) fn sentence(self) -> &'static str {
        self.0
    }

    /// Whether it is for want of a value.
    pub(super) fn is_null(self) -> bool {
        self == Self::NULL || self == Self::JOINS_NULL
    }

    /// The refusal that an engine's message is.
    pub(super) fn of(message: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|refusal| refusal.0 == message)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::message(refusal.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;

    #[test]
    fn a_refusal_is_known_by_its_text_and_nothing_else_is() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::of(refusal.sentence()), Some(*refusal));
            assert!(!refusal.sentence().ends_with('.'), "{refusal:?}");
        }
        assert!(Refusal::of("secret").is_none());
    }
}
