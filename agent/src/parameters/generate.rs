//! Secrets that are made where the platform sends none: `generate = "alnum:24"`.
//!
//! Decides which forms there are and how a secret of each is made. One is made once for an instance and belongs to the
//! property's key: every parameter that reads the key sees it, as if the platform had sent it. Where secrets are kept is
//! decided in `secrets`.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::sys::process;

/// What a generated secret looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// So many letters and digits: 5.95 bits each.
    Alnum(usize),
    /// So many hexadecimal digits.
    Hex(usize),
    /// So many random bytes in base64.
    Base64(usize),
    /// A random UUID (RFC 9562, version 4).
    Uuid,
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "uuid" {
            return Ok(Self::Uuid);
        }
        let form = text.split_once(':').and_then(|(form, count)| {
            let digits = count.bytes().all(|byte| byte.is_ascii_digit());
            // Less can be guessed; more is no password but a file.
            let count = count.parse().ok().filter(|count| digits && (8..=1024).contains(count))?;
            match form {
                "alnum" => Some(Self::Alnum(count)),
                "hex" => Some(Self::Hex(count)),
                "base64" => Some(Self::Base64(count)),
                _ => None,
            }
        });
        form.ok_or_else(|| {
            format!(
                "`{text}` cannot be generated; write \"alnum:24\" or \"hex:32\" (characters), \"base64:32\" (random bytes), 8 to \
                 1024 of them, or \"uuid\""
            )
        })
    }
}

impl Form {
    /// How many characters its secrets have.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Alnum(count) | Self::Hex(count) => count,
            Self::Base64(bytes) => bytes.div_ceil(3) * 4,
            Self::Uuid => 36,
        }
    }

    /// A new secret, from the kernel's random numbers.
    fn make(self) -> Zeroizing<String> {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bytes = |count: usize| {
            let mut bytes = Zeroizing::new(vec![0; count]);
            process::random(&mut bytes);
            bytes
        };
        // Of the right size from the start: a string that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(self.length()));
        match self {
            Self::Alnum(count) => {
                while text.len() < count {
                    // 62 does not divide 256; whatever is left over would make the first letters likelier.
                    let good =
                        bytes(count).iter().filter(|byte| **byte < 248).map(|byte| byte % 62).collect();
                    let good: Zeroizing<Vec<u8>> = Zeroizing::new(good);
                    let missing = count - text.len();
                    text.extend(good.iter().take(missing).map(|at| char::from(LETTERS[usize::from(*at)])));
                }
            }
            Self::Hex(count) => {
                text.extend(
                    bytes(count).iter().map(|byte| char::from(b"0123456789abcdef"[usize::from(byte % 16)])),
                );
            }
            Self::Base64(count) => {
                for group in bytes(count).chunks(3) {
                    let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
                    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
                    for at in 0..4 {
                        let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
                        text.push(if at <= group.len() { char::from(letter) } else { '=' });
                    }
                }
            }
            Self::Uuid => {
                let mut bytes = bytes(16);
                bytes[6] = bytes[6] & 0x0f | 0x40;
                bytes[8] = bytes[8] & 0x3f | 0x80;
                for (at, byte) in bytes.iter().enumerate() {
                    if matches!(at, 4 | 6 | 8 | 10) {
                        text.push('-');
                    }
                    for digit in [byte >> 4, byte & 15] {
                        text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
                    }
                }
            }
        }
        text
    }
}

/// Secrets that were made for this instance, by the property's key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Generated(BTreeMap<String, Zeroizing<String>>);

impl Generated {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one for a property's key.
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The same with more; `None` where one of them is there already.
    pub fn with(&self, more: &Self) -> Option<Self> {
        let mut all = self.clone();
        all.0.extend(more.0.iter().map(|(key, secret)| (key.clone(), secret.clone())));
        (all.0.len() == self.0.len() + more.0.len()).then_some(all)
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|secret| secret.as_str())
    }

    pub(super) fn make(&mut self, key: &str, form: Form) {
        self.0.insert(key.to_owned(), form.make());
    }
}

impl fmt::Debug for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Serialize for Generated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, secret)| (key, secret.as_str())))
    }
}

impl<'de> Deserialize<'de> for Generated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(Self(map.into_iter().map(|(key, secret)| (key, Zeroizing::new(secret))).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Form, Generated};
    use crate::parameters::types::Type;

    #[test]
    fn a_form_is_a_word_and_a_number() {
        for (text, want) in [
            ("alnum:24", Some(Form::Alnum(24))),
            ("hex:32", Some(Form::Hex(32))),
            ("base64:32", Some(Form::Base64(32))),
            ("uuid", Some(Form::Uuid)),
            ("alnum:8", Some(Form::Alnum(8))),
            ("alnum:7", None),
            ("alnum:1025", None),
            ("alnum:+24", None),
            ("alnum", None),
            ("alnum:", None),
            ("words:4", None),
            ("uuid:4", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Form>().ok(), want, "{text}");
        }
    }

    #[test]
    fn a_secret_has_its_form_and_no_twin() {
        type Test<'a> = &'a dyn Fn(&str) -> bool;
        let is = |wanted: fn(char) -> bool| move |text: &str| text.chars().all(wanted);
        let base64: Type = "base64".parse().expect("a type");
        let forms: [(Form, Test<'_>); 6] = [
            (Form::Alnum(300), &is(|c| c.is_ascii_alphanumeric())),
            (Form::Hex(33), &is(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))),
            (Form::Base64(8), &|text| base64.read(text).is_some() && text.ends_with('=')),
            (Form::Base64(9), &|text| base64.read(text).is_some() && !text.ends_with('=')),
            (Form::Base64(10), &|text| base64.read(text).is_some() && text.ends_with("==")),
            (Form::Uuid, &|text| {
                let parts: Vec<_> = text.split('-').map(str::len).collect();
                parts == [8, 4, 4, 4, 12] && &text[14..15] == "4" && "89ab".contains(&text[19..20])
            }),
        ];
        for (form, looks_right) in forms {
            let (one, other) = (form.make(), form.make());
            assert!(looks_right(&one) && looks_right(&other), "{form:?}");
            assert_eq!(one.len(), form.length(), "{form:?}");
            assert!(one != other, "{form:?}: a secret that was made before");
        }
    }

    #[test]
    fn secrets_are_kept_as_json_and_not_shown() {
        let mut made = Generated::default();
        made.make("db.password", Form::Alnum(24));
        let json = serde_json::to_string(&made).expect("plain data");
        assert_eq!(serde_json::from_str::<Generated>(&json).expect("ours"), made);
        assert_eq!(format!("{made:?}"), "{\"db.password\"}");
        assert!(made.with(&made).is_none(), "a secret is made once");
        assert_eq!(Generated::default().with(&made), Some(made));
    }
}
