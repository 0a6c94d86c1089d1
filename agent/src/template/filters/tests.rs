use tera::{Context, ErrorKind};

use crate::template::refusal::Refusal;
use crate::template::unit::new_engine;

/// What an expression comes to, as JSON, or why not.
fn value(expression: &str) -> Result<String, Option<Refusal>> {
    let mut engine = new_engine();
    let template = format!("{{{{ __print_typed(v=({expression})) }}}}");
    engine.add_raw_template("t", &template).expect(expression);
    engine.render("t", &Context::new()).map_err(|error| match error.kind() {
        ErrorKind::RenderingError(report) => Refusal::of(report.message()),
        _ => None,
    })
}

#[test]
fn filters_give_what_is_said_of_them() {
    for (expression, want) in [
        (r#""192.0.2.77" | netmask(prefix=24)"#, r#""255.255.255.0""#),
        (r#""192.0.2.77" | netmask(prefix="26")"#, r#""255.255.255.192""#),
        (r#""192.0.2.77/0" | netmask"#, r#""0.0.0.0""#),
        ("32 | netmask", r#""255.255.255.255""#),
        (r#""2001:db8::1/64" | netmask"#, r#""ffff:ffff:ffff:ffff::""#),
        (r#""255.255.255.0" | prefix"#, "24"),
        (r#""0.0.0.0" | prefix"#, "0"),
        (r#""192.0.2.1/27" | prefix"#, "27"),
        (r#""192.0.2.1/255.255.0.0" | prefix"#, "16"),
        (r#""2001:db8::/48" | prefix"#, "48"),
        (r#""192.0.2.77" | network(mask=26)"#, r#""192.0.2.64""#),
        (r#""192.0.2.77" | network(mask="255.255.255.0")"#, r#""192.0.2.0""#),
        (r#""192.0.2.77/24" | network"#, r#""192.0.2.0""#),
        (r#""192.0.2.77/24" | network(mask=24)"#, r#""192.0.2.0""#),
        (r#""192.0.2.77" | network(mask=0)"#, r#""0.0.0.0""#),
        (r#""192.0.2.77" | network(mask=32)"#, r#""192.0.2.77""#),
        (r#""2001:db8:1:2:3::4/48" | network"#, r#""2001:db8:1::""#),
        (r#""2001:db8::1" | network(mask=128)"#, r#""2001:db8::1""#),
        (r#""2001:db8::1" | network(mask=0)"#, r#""::""#),
        (r#""192.0.2.77" | broadcast(mask=26)"#, r#""192.0.2.127""#),
        (r#""192.0.2.77/31" | broadcast"#, r#""192.0.2.77""#),
        (r#""192.0.2.77/0" | broadcast"#, r#""255.255.255.255""#),
        (r#""192.0.2.77" | reverse_zone"#, r#""2.0.192.in-addr.arpa""#),
        (r#""192.0.2.77/16" | reverse_zone"#, r#""0.192.in-addr.arpa""#),
        (r#""2001:db8::1/32" | reverse_zone"#, r#""8.b.d.0.1.0.0.2.ip6.arpa""#),
        (r#""2001:db8::1" | reverse_zone"#, r#""0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa""#),
        (r#""a, b" | split(by=", ")"#, r#"["a","b"]"#),
        (r#""" | split(by=",")"#, "[]"),
        (r#"[1, "b"] | join(sep="-")"#, r#""1-b""#),
        (r#"["a", "b"] | join"#, r#""ab""#),
        ("[1, 2] | first", "1"),
        ("[1, 2] | last", "2"),
        ("[] | first", "null"),
        (r#""äb" | length"#, "2"),
        ("[1, 2, 3] | length", "3"),
        (r#"" aB " | trim | upper | lower"#, r#""ab""#),
        (r#""a.b.c" | replace(from=".", to="-")"#, r#""a-b-c""#),
        ("none | default(value=5)", "5"),
        (r#""" | default(value=5)"#, r#""""#),
        (r#""aGVsbG8=" | b64decode"#, r#""hello""#),
        (r#""aGVs bG8" | b64decode"#, r#""hello""#),
        (r#""" | b64decode"#, r#""""#),
        ("\"a\nb\n\nc\" | indent(by=2)", r#""a\n  b\n\n  c""#),
        (r#""it's" | sh"#, r#""'it'\\''s'""#),
        (r#"["a"] | json"#, r#""[\"a\"]""#),
        ("none | json", r#""null""#),
        (
            r#""Hello world!" | sha512_crypt(salt="saltstring")"#,
            r#""$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1""#,
        ),
    ] {
        assert_eq!(value(expression).as_deref(), Ok(want), "{expression}");
    }
}

#[test]
fn filters_refuse_what_they_do_not_take_and_never_quote_it() {
    for (expression, want) in [
        (r#""192.0.2.77" | netmask"#, Refusal::NO_PREFIX),
        (r#""192.0.2.77" | netmask(prefix=33)"#, Refusal::NO_PREFIX),
        (r#""192.0.2.77" | netmask(prefix=[1])"#, Refusal::ARGUMENT),
        ("33 | netmask", Refusal::NO_PREFIX),
        ("-1 | netmask", Refusal::NO_PREFIX),
        (r#""x" | netmask(prefix=24)"#, Refusal::NO_PREFIX),
        (r#""255.0.255.0" | prefix"#, Refusal::NO_MASK),
        (r#""192.0.2.1" | prefix"#, Refusal::NO_MASK),
        (r#""24" | prefix"#, Refusal::NO_MASK),
        (r#""192.0.2.1" | network"#, Refusal::NO_NETWORK),
        (r#""192.0.2.1/24" | network(mask=25)"#, Refusal::NO_NETWORK),
        (r#""192.0.2.1" | network(mask="255.0.255.0")"#, Refusal::ARGUMENT),
        (r#""192.0.2.01" | network(mask=24)"#, Refusal::NO_NETWORK),
        ("none | network(mask=24)", Refusal::NULL),
        (r#""192.0.2.1" | network(mask=none)"#, Refusal::NULL),
        ("none | first", Refusal::NULL),
        ("none | length", Refusal::NULL),
        (r#""2001:db8::1/64" | broadcast"#, Refusal::NO_BROADCAST),
        (r#""192.0.2.1/25" | reverse_zone"#, Refusal::NO_ZONE),
        (r#""192.0.2.1/0" | reverse_zone"#, Refusal::NO_ZONE),
        (r#""2001:db8::1/33" | reverse_zone"#, Refusal::NO_ZONE),
        (r#""a" | split(by="")"#, Refusal::EMPTY_SEPARATOR),
        (r#""a" | split(by=1)"#, Refusal::ARGUMENT),
        ("none | split(by=\",\")", Refusal::NULL),
        ("[[1]] | join", Refusal::COMPOSITE),
        (r#""a" | first"#, Refusal::NO_LIST),
        ("5 | length", Refusal::NO_LENGTH),
        ("none | upper", Refusal::NULL),
        ("[1] | trim", Refusal::COMPOSITE),
        (r#""a" | replace(from=1, to="b")"#, Refusal::ARGUMENT),
        (r#""aGVsbG8*" | b64decode"#, Refusal::NOT_BASE64),
        (r#""aGVsbG9=" | b64decode"#, Refusal::NOT_BASE64),
        (r#""aGVsb" | b64decode"#, Refusal::NOT_BASE64),
        (r#""aGVsbG8===" | b64decode"#, Refusal::NOT_BASE64),
        (r#""/w==" | b64decode"#, Refusal::NOT_TEXT),
        (r#""a" | indent(by=65)"#, Refusal::NO_INDENT),
        (r#""a" | indent(by=-1)"#, Refusal::NO_INDENT),
        (r#""a" | sha512_crypt(salt="short")"#, Refusal::NO_SALT),
        (r#""a" | sha512_crypt(salt="not$a$salt")"#, Refusal::NO_SALT),
        (r#""a" | sha512_crypt(salt="toolongsaltstring")"#, Refusal::NO_SALT),
        (r#""a" | sha512_crypt(salt="saltstring", rounds=10)"#, Refusal::NO_ROUNDS),
        (r#""a" | sha512_crypt(salt=none)"#, Refusal::NULL),
        (r#""a" | sha512_crypt(salt=5)"#, Refusal::ARGUMENT),
    ] {
        assert_eq!(value(expression), Err(Some(want)), "{expression}");
    }
}

#[test]
fn sha512_crypt_agrees_with_openssl() {
    #![expect(clippy::disallowed_methods, reason = "the judge is another program")]
    for password in ["a", "secret password", &"x".repeat(64), &"ä".repeat(100), "it's $(x)"] {
        let output = std::process::Command::new("openssl")
            .args(["passwd", "-6", "-salt", "abcDEF./01234567", "--", password])
            .output()
            .expect("openssl (Debian package openssl)");
        assert!(output.status.success(), "{output:?}");
        let want = String::from_utf8(output.stdout).expect("text");
        let got =
            value(&format!("'{}' | sha512_crypt(salt=\"abcDEF./01234567\")", password.replace('\'', "\\'")));
        assert_eq!(got, Ok(format!("{:?}", want.trim_end())), "{password}");
    }
}

/// The table of filters in the documentation: every filter there is, with an example that gives what it says.
#[test]
fn the_documented_filters_give_what_is_said_of_them() {
    let text =
        include_str!("../../../../docs/templates.md").split("\n## Filters\n").nth(1).expect("a section");
    let mut documented = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let row = row.replace("\\|", "\u{0}");
        let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').replace('\u{0}', "|"));
        let [_, filter, example, gives] = std::array::from_fn(|_| cells.next().unwrap_or_default());
        let name = filter.split('(').next().unwrap_or_default().to_owned();
        let (_, needed, optional) =
            crate::template::filters::KNOWN.iter().find(|(known, ..)| *known == name).expect(&name);
        let arguments = needed.iter().chain(*optional);
        assert!(arguments.into_iter().all(|argument| filter.contains(&format!("{argument}="))), "{filter}");
        assert!(example.contains(&format!("| {name}")), "{example}");
        // The engine reads no escapes but those of quotes in its strings.
        let json: serde_json::Value =
            serde_json::from_str(&value(&example.replace("\\n", "\n")).expect(&example)).expect("JSON");
        let got = json.as_str().map_or_else(|| json.to_string(), str::to_owned).replace('\n', "\\n");
        assert_eq!(got, gives, "{example}");
        documented.push(name);
    }
    let known: Vec<_> = crate::template::filters::KNOWN.iter().map(|(name, ..)| *name).collect();
    assert_eq!(documented, known);
}

#[test]
fn the_engine_has_every_test_that_may_be_named() {
    let mut engine = new_engine();
    for (name, needed, _) in super::TESTS {
        let arguments: Vec<_> = needed.iter().map(|argument| format!("{argument}=1")).collect();
        let template = format!("{{{{ 1 is {name}({}) }}}}", arguments.join(", "));
        engine.add_raw_template(name, &template).expect(name);
    }
}
