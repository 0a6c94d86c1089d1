//! Properties against declarations: any text for every type, with rules.
//!
//! An input is a line, the declaration as it stands in `agent.toml` (`type = "list<ipv4>", min = 2`), and below it what the property says.
//! Decides what holds whatever they are: nothing that is said of a refused value has a piece of it, and a value that was accepted
//! and is written down as it was read is accepted again, as the same.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use ovf_agent::environment::{self, Entity, Environment};
use ovf_agent::parameters::{Declaration, Declared, Generated, Parameters, Value};

use crate::random::{Random, secret};
use crate::texts::mutate;

/// The parameter, the property that feeds it, and the sibling.
const NAME: &str = "p";
const KEY: &str = "k";

/// Declarations, each with what is accepted and what is not.
const DECLARATIONS: [(&str, &[&str]); 30] = [
    ("type = \"string\"", &["", " a b ", "ä", "a\u{7f}", "a\nb"]),
    ("type = \"string\", multiline = true, max = 20", &["a\n\tb", "a\r\nb", "aaaaaaaaaaaaaaaaaaaaa"]),
    ("type = \"string\", empty = \"unset\", min = 2", &["", "a", "ab"]),
    ("type = \"string\", pattern = \"[a-z]+[0-9]?\"", &["abc1", "1abc", ""]),
    ("type = \"string\", one-of = [\"low\", \"high\"], default = \"low\"", &["low", "Low", ""]),
    ("type = \"string\", sensitive = true, one-of = [\"low\", \"high\"]", &["high", "higher"]),
    ("type = \"int\"", &["-9223372036854775808", "9223372036854775808", " 5 ", "+5", "0x5", "5.0"]),
    ("type = \"uint\", max = 18446744073709551615", &["18446744073709551615", "-0", "00"]),
    ("type = \"real\", min = -1e300", &["1e308", "1e309", "-0.0", ".5", "5.", "1e-320", "nan", "inf", "0.1"]),
    ("type = \"bool\"", &["YES", "off", "1", "2"]),
    ("type = \"ip\"", &["192.0.2.1", "::ffff:192.0.2.1", "fe80::1%eth0", "192.0.2.01"]),
    ("type = \"ipv4\", required = true", &["192.0.2.1", "192.0.2.256", "", "192.0.2"]),
    ("type = \"ipv6\"", &["2001:DB8:0:0::1", "::", "1::2::3"]),
    ("type = \"cidr\"", &["192.0.2.1/24", "2001:db8::/129", "192.0.2.0/+4"]),
    ("type = \"netmask\"", &["255.255.255.0", "255.0.255.0", "0.0.0.0"]),
    ("type = \"hostname\"", &["a-b.example", "-a", "a.1", "a..b", "xn--bcher-kva.example"]),
    ("type = \"fqdn\"", &["db1.example.com.", "db1", "."]),
    ("type = \"port\"", &["65535", "65536", "0", "080"]),
    ("type = \"email\"", &["a.b+c@example.com", "@", "\"a\"@b", "a@b@c"]),
    ("type = \"url\"", &["https://[2001:db8::1]:80/a?b#c", "file:///etc", "a:b", "https://a/%zz"]),
    ("type = \"base64\"", &["aGVsbG8=", "aGVs bG8=\n", "aGVsbG8", "aGVsbG9="]),
    ("type = \"locale\"", &["de_DE.UTF-8@euro", "C", "zh-Hant-TW", "_"]),
    ("type = \"timezone\"", &["Europe/Berlin", "../UTC", "UTC", "Etc/GMT+1"]),
    (
        "type = \"list<ipv4>\", min = 1, max = 3",
        &["192.0.2.1,192.0.2.2 192.0.2.3", " , ", "192.0.2.1;192.0.2.2"],
    ),
    ("type = \"list<string>\", empty = \"value\"", &["a,b c", ",", "ä\u{a0}b\u{2028}c"]),
    ("type = \"map\"", &["a=b&c=d", "a=%3D%26%25&b=", "a", "=b", "a=1&a=2", "a=%", "a=%ff", "%61=b"]),
    ("type = \"map<int>\", max = 2", &["a=1&b=2&c=3", "a=&b=2", "a=x"]),
    ("type = \"list<map<list<real>>>\"", &["a=1%2C2&b=0.5 c=3", "a=1,b=2", "a=%2C"]),
    ("type = \"map<map<bool>>\"", &["a=b%3Dyes%26c%3Dno&d=", "a=b=yes"]),
    ("entity = \"*\", type = \"list<port>\"", &["80 443", "0", ""]),
];

/// What a slip or an attack puts in.
pub const SPLINTERS: [&str; 44] = [
    "\n",
    " ",
    ",",
    "&",
    "=",
    "%",
    "%25",
    "%3D",
    "%26",
    "%2C",
    "%00",
    "%c3%a4",
    "+",
    "-",
    ".",
    "..",
    ":",
    "::",
    "/",
    "@",
    "[",
    "]",
    "0",
    "9",
    "1e9",
    "ä",
    "\u{a0}",
    "\u{2028}",
    "\u{85}",
    "\0",
    "\r",
    "\t",
    "\"",
    "\\",
    "type = \"map<string>\"",
    ", min = 1",
    ", max = 9",
    ", required = true",
    ", empty = \"value\"",
    ", default = \"x\"",
    ", entity = \"*\"",
    ", generate = \"hex:32\"",
    "list<",
    "int",
];

/// Each declaration with each of its texts.
pub fn bases() -> Vec<Vec<u8>> {
    let each = |(line, texts): &(&str, &[&str])| {
        texts.iter().map(|text| format!("{line}\n{text}").into_bytes()).collect::<Vec<_>>()
    };
    DECLARATIONS.iter().flat_map(each).collect()
}

/// The mutant of this number: mostly what the property says is broken, since a broken declaration is refused before anything is read.
pub fn mutant(bases: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    let mut random = Random::new(seed, number);
    let base = &bases[random.below(bases.len())];
    let line = base.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let (mut line, mut text) = (base[..line].to_vec(), base[line..].to_vec());
    for _ in 0..random.breaks() {
        let other = &bases[random.below(bases.len())];
        let broken = if random.one_in(6) { &mut line } else { &mut text };
        mutate(broken, other, &SPLINTERS, &mut random);
    }
    [line, text].concat()
}

/// Declares, reads, and says in one word what came of it.
///
/// # Panics
/// Something does not hold that should.
pub fn look(input: &[u8]) -> &'static str {
    let input = String::from_utf8_lossy(input);
    let (line, text) = input.split_once('\n').unwrap_or((&input, ""));
    // A builder's pattern may take its time, which is not what is looked for.
    if line.contains("pattern") && (line.len() > 200 || text.len() > 1000 || line.contains('{')) {
        return "not looked at";
    }
    let Some(declared) = declare(line) else { return "not declared" };
    let secret = secret(input.as_bytes());
    for told in [format!("{text}{secret}"), format!("{secret}{text}")] {
        if let Err(said) = evaluate(&declared, &told) {
            assert!(!said.contains(&secret), "the value {told:?} is in {said}");
        }
    }
    match evaluate(&declared, text) {
        Err(_) => "refused",
        Ok(parameters) => {
            // All of it is compared, whatever the value is: a fuzzer finds a text that is a part of this.
            let is_set = *parameters.get(NAME).expect("it is declared") != Value::Null;
            let shown = format!("Parameters({{\"{NAME}\": Value({})}})", if is_set { ".." } else { "null" });
            assert_eq!(format!("{parameters:?}"), shown);
            let value = parameters.get(NAME).expect("it is declared");
            again(&declared, value);
            if *value == Value::Null { "not set" } else { "accepted" }
        }
    }
}

fn declare(line: &str) -> Option<Declared> {
    let declarations: BTreeMap<String, Declaration> =
        toml::from_str(&format!("{NAME} = {{ key = \"{KEY}\", {line} }}")).ok()?;
    let mut declared = Declared::default();
    for (name, declaration) in declarations {
        declared.insert(name, declaration).ok()?;
    }
    // A line can have been more than one, or another.
    (declared.own_key(NAME) == Some(KEY) || declared.source(NAME)?.0 == KEY).then_some(declared)
}

/// The parameters where the guest's own property and a sibling's say this; or all that is said of it.
fn evaluate(declared: &Declared, text: &str) -> Result<Parameters, String> {
    let properties = || [(KEY, environment::Value::from(text.to_owned()))].into_iter().collect();
    let sibling = Entity { id: "DB2".to_owned(), properties: properties(), ..Entity::default() };
    let environment =
        Environment { properties: properties(), entities: vec![sibling], ..Environment::default() };
    let outcome = declared.evaluate(Some(&environment), &Generated::default());
    outcome.map(|(parameters, _)| parameters).map_err(|violations| format!("{violations} {violations:?}"))
}

/// A value that is written down is read as the same.
fn again(declared: &Declared, value: &Value) {
    let one = match value {
        Value::Null => return,
        Value::Entities(siblings) => siblings.values().next(),
        value => Some(value),
    };
    let Some(one) = one else { return };
    let written = written(one);
    let read = evaluate(declared, &written);
    let read = read.unwrap_or_else(|said| panic!("{written:?} was made of an accepted value: {said}"));
    let same = read.get(NAME).expect("it is declared");
    // What is made each time is another each time, and a value of nothing but blanks is none, and so a default's.
    if !declared.generates() && !written.trim().is_empty() {
        assert!(same == value, "{written:?} is read as {:?}", same.reveal_json());
    }
}

/// A value as a property would say it.
fn written(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::List(items) => items.iter().map(written).collect::<Vec<_>>().join(","),
        Value::Map(map) => {
            let pair = |(key, value): (&ovf_agent::parameters::Key, _)| {
                format!("{}={}", percent(key.reveal()), percent(&written(value)))
            };
            map.iter().map(pair).collect::<Vec<_>>().join("&")
        }
        Value::Entities(_) => unreachable!("siblings are in no list and no map"),
        value => value.reveal().as_str().to_owned(),
    }
}

fn percent(text: &str) -> String {
    let digit = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::look;

    /// A fuzzer made it of what it was compared with.
    #[test]
    fn a_value_that_is_like_what_is_shown_of_any_is_not_found_there() {
        assert_eq!(look(b"type = \"string\"\narameters({\"p\": V"), "accepted");
    }
}
