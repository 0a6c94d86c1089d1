//! What is planted, and how it is found again.
//!
//! Decides which values are unmistakable, and in which forms a piece of one is looked for: as it is, as an escape of a
//! format would write it, in hexadecimal and in base64. Letters' case does not count, since a filter may change it.

use std::collections::HashSet;

use super::encoding::base64;

/// Letters and digits, for everything that takes a word.
pub(crate) const WORD: &str = "Zq7wXkV9tRm2Lb5Hc";
/// What no format writes as it is.
pub(crate) const ODD: &str = "kP4'xV\"jQ<8&N>z$ %d\\eW{{7*7}}äY";
/// A number that is no duration, size or process.
pub(crate) const NUMBER: &str = "8123571946203847";
/// A documentation address (RFC 5737) that no example has.
pub(crate) const IPV4: &str = "203.0.113.217";
/// An address of a network of its own (RFC 4193): `2001:db8:` is in examples.
pub(crate) const IPV6: &str = "fd7a:51c9:3e4d:7b6f::9a21";
/// With a point.
pub(crate) const REAL: &str = "7391.84625018";

const CORES: [&str; 6] = [WORD, ODD, NUMBER, IPV4, IPV6, REAL];

/// Everything that is planted.
pub(crate) fn all() -> impl Iterator<Item = String> {
    CORES.iter().map(|core| (*core).to_owned())
}

/// A piece of this length is a find. A digest may have eight hexadecimal digits of a value by chance, so of what has
/// no others it takes more.
const PIECE: usize = 8;
const LONG_PIECE: usize = 12;

/// The pieces of values, in all their forms.
pub(crate) struct Needles {
    short: HashSet<Vec<u8>>,
    long: HashSet<Vec<u8>>,
}

impl Needles {
    /// Of what is planted everywhere.
    pub(crate) fn planted() -> Self {
        Self::of(all())
    }

    /// Of other values.
    pub(crate) fn of(values: impl Iterator<Item = String>) -> Self {
        let (mut short, mut long) = (HashSet::new(), HashSet::new());
        for form in values.flat_map(|value| forms(&value)) {
            let form = form.to_ascii_lowercase().into_bytes();
            let hexadecimal = form.iter().all(u8::is_ascii_hexdigit);
            let (set, length) = if hexadecimal { (&mut long, LONG_PIECE) } else { (&mut short, PIECE) };
            set.extend(form.windows(length).map(<[u8]>::to_vec));
        }
        Self { short, long }
    }

    /// The first piece that stands in a text, with what surrounds it.
    pub(crate) fn find(&self, text: &[u8]) -> Option<String> {
        let lower = text.to_ascii_lowercase();
        let at = |set: &HashSet<Vec<u8>>, length| lower.windows(length).position(|it| set.contains(it));
        let place = at(&self.short, PIECE).or_else(|| at(&self.long, LONG_PIECE))?;
        let around = &text[place.saturating_sub(120)..text.len().min(place + 60)];
        Some(String::from_utf8_lossy(around).into_owned())
    }
}

/// A value as it is, and as others would write it.
fn forms(value: &str) -> Vec<String> {
    let json = serde_json::to_string(value).expect("a string");
    let ascii: String = json
        .chars()
        .map(|c| if c.is_ascii() { c.into() } else { format!("\\u{:04x}", u32::from(c)) })
        .collect();
    let each = |write: &dyn Fn(char) -> String| value.chars().map(write).collect::<String>();
    let mut forms = vec![
        value.to_owned(),
        json[1..json.len() - 1].to_owned(),
        ascii[1..ascii.len() - 1].to_owned(),
        // Debug of Rust.
        value.escape_debug().to_string(),
        value.escape_default().to_string(),
        // A shell's words.
        value.replace('\'', "'\\''"),
        // XML.
        each(&|c| match c {
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '&' => "&amp;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\'' => "&apos;".to_owned(),
            c => c.to_string(),
        }),
        // URLs, maps of the Collective.
        value
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02x}") })
            .collect(),
        value.bytes().map(|b| format!("%{b:02x}")).collect(),
        value.bytes().map(|b| format!("{b:02x}")).collect(),
        value.bytes().map(|b| format!("{b:02x} ")).collect(),
        value.bytes().map(|b| format!("\\x{b:02x}")).collect(),
        // Debug of bytes.
        value.bytes().map(|b| format!("{b}, ")).collect(),
    ];
    for shift in 0..3 {
        // What comes before shifts the digits; the first and the last four are not the value's alone.
        let encoded = base64(&[&b"\0\0\0"[..shift], value.as_bytes()].concat());
        forms.push(encoded[4.min(shift * 4)..encoded.len() - 4].to_owned());
    }
    forms
}

/// That a piece of a value is found in every form, and nothing else is.
pub(crate) fn check() {
    let needles = Needles::planted();
    for text in [
        "x Zq7wXkV9 x".to_owned(),
        "x tRm2Lb5Hc".to_owned(),
        "ZQ7WXKV9".to_owned(),
        format!("{ODD:?}"),
        serde_json::to_string(ODD).expect("a string"),
        base64(format!("ab{WORD}").as_bytes()),
        format!("0x{}", WORD.bytes().map(|b| format!("{b:02X}")).collect::<String>()),
        format!("{:?}", WORD.as_bytes()),
        "81235719462038".to_owned(),
        "&quot;jQ&lt;8".to_owned(),
    ] {
        assert!(needles.find(text.as_bytes()).is_some(), "{text}");
    }
    for text in ["Zq7wXkV", "8123571", "http://schemas.dmtf.org/ovf/environment/1", "sha256:0123456789abcdef"]
    {
        assert_eq!(needles.find(text.as_bytes()), None);
    }
}
