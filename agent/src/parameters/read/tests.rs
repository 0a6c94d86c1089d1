//! What each type accepts, what that becomes, and what it refuses.

use super::{MAX_ITEMS, Type, Value};

/// Type, property, and the value as text or JSON; `None` where the type's rule is broken.
fn judge(rows: &[(&str, &str, Option<&str>)]) {
    for (name, text, want) in rows {
        let kind: Type = name.parse().expect(name);
        let got = kind.read(text).map(|value| match value {
            Value::Null => "null".to_owned(),
            value => value.reveal().as_str().to_owned(),
        });
        assert_eq!(got.as_deref(), *want, "{name} {text:?}");
    }
}

#[test]
fn text_numbers_and_truth() {
    judge(&[
        ("string", " a b ", Some(" a b ")),
        ("string", "", Some("")),
        ("string", "ä=%&,", Some("ä=%&,")),
        ("string", "a\nb", None),
        ("string", "a\tb", None),
        ("string", "a\u{85}b", None),
        ("int", "-12", Some("-12")),
        ("int", " 7 ", Some("7")),
        ("int", "+7", Some("7")),
        ("int", "1.0", None),
        ("int", "0x10", None),
        ("int", "1 000", None),
        ("int", "9223372036854775807", Some("9223372036854775807")),
        ("int", "9223372036854775808", None),
        ("uint", "18446744073709551615", Some("18446744073709551615")),
        ("uint", "18446744073709551616", None),
        ("uint", "-1", None),
        ("uint", "007", Some("7")),
        ("real", "0.75", Some("0.75")),
        ("real", " 2 ", Some("2.0")),
        ("real", "-1e-3", Some("-0.001")),
        ("real", ".5", Some("0.5")),
        ("real", "0,75", None),
        ("real", "nan", None),
        ("real", "inf", None),
        ("real", "1e999", None),
        ("real", "e", None),
        ("bool", "True", Some("true")),
        ("bool", "on", Some("true")),
        ("bool", "1", Some("true")),
        ("bool", "0", Some("false")),
        ("bool", " NO ", Some("false")),
        ("bool", "2", None),
        ("bool", "y", None),
        ("port", "1", Some("1")),
        ("port", "65535", Some("65535")),
        ("port", "0", None),
        ("port", "65536", None),
        ("port", "+80", None),
        ("port", "http", None),
    ]);
}

#[test]
fn a_string_of_several_lines() {
    use crate::parameters::types::Scalar::Multiline;
    for (text, want) in [("a\n\tb\n", true), ("a\rb", false), ("a\u{1b}b", false), ("a\0", false)] {
        assert_eq!(Type::Scalar(Multiline).read(text).is_some(), want, "{text:?}");
    }
}

#[test]
fn addresses() {
    judge(&[
        ("ip", "192.0.2.1", Some("192.0.2.1")),
        ("ip", "2001:DB8:0:0::1", Some("2001:db8::1")),
        ("ip", "192.0.2.1/24", None),
        ("ip", "db1", None),
        ("ipv4", " 192.0.2.1 ", Some("192.0.2.1")),
        ("ipv4", "192.0.2.01", None),
        ("ipv4", "192.0.2", None),
        ("ipv4", "192.0.2.256", None),
        ("ipv4", "::1", None),
        ("ipv6", "::FFFF:192.0.2.1", Some("::ffff:192.0.2.1")),
        ("ipv6", "fe80::1%eth0", None),
        ("ipv6", "[::1]", None),
        ("ipv6", "192.0.2.1", None),
        ("cidr", "192.0.2.7/24", Some("192.0.2.7/24")),
        ("cidr", "2001:DB8::/032", Some("2001:db8::/32")),
        ("cidr", "0.0.0.0/0", Some("0.0.0.0/0")),
        ("cidr", "192.0.2.0/33", None),
        ("cidr", "2001:db8::/129", None),
        ("cidr", "192.0.2.0/", None),
        ("cidr", "192.0.2.0/+8", None),
        ("cidr", "192.0.2.0", None),
        ("cidr", "192.0.2.0/255.255.255.0", None),
        ("netmask", "255.255.255.0", Some("255.255.255.0")),
        ("netmask", "255.255.252.0", Some("255.255.252.0")),
        ("netmask", "255.255.255.255", Some("255.255.255.255")),
        ("netmask", "0.0.0.0", Some("0.0.0.0")),
        ("netmask", "255.0.255.0", None),
        ("netmask", "0.255.255.255", None),
        ("netmask", "24", None),
    ]);
}

#[test]
fn names_of_hosts() {
    let long = "a".repeat(63);
    let longest = [long.as_str(); 4].join(".")[..253].to_owned();
    judge(&[
        ("hostname", " DB1 ", Some("DB1")),
        ("hostname", "3com", Some("3com")),
        ("hostname", "db-1.example.com", Some("db-1.example.com")),
        ("hostname", &long, Some(&long)),
        ("hostname", &longest, Some(&longest)),
        ("hostname", &format!("{longest}a"), None),
        ("hostname", &format!("{long}a"), None),
        ("hostname", "db_1", None),
        ("hostname", "-db", None),
        ("hostname", "db-", None),
        ("hostname", "db..example", None),
        ("hostname", "db.", None),
        ("hostname", "192.0.2.1", None),
        ("hostname", "42", None),
        ("hostname", "dä", None),
        ("hostname", "a b", None),
        ("fqdn", "db1.example.com", Some("db1.example.com")),
        ("fqdn", "db1.example.com.", Some("db1.example.com")),
        ("fqdn", "db1", None),
        ("fqdn", "db1.", None),
        ("fqdn", "db1.example.com..", None),
        ("email", "admin@example.com", Some("admin@example.com")),
        ("email", "a.b+c=d@host", Some("a.b+c=d@host")),
        ("email", "a..b@example.com", None),
        ("email", ".a@example.com", None),
        ("email", "\"a b\"@example.com", None),
        ("email", "a@[192.0.2.1]", None),
        ("email", "a@192.0.2.1", None),
        ("email", "a@b@example.com", None),
        ("email", "example.com", None),
        ("email", "@example.com", None),
        ("email", "Admin <admin@example.com>", None),
        ("email", &format!("{}@example.com", "a".repeat(65)), None),
    ]);
}

#[test]
fn resources_locales_and_time_zones() {
    judge(&[
        ("url", "https://example.com", Some("https://example.com")),
        (
            "url",
            "https://u:p@db1.example.com:8443/a%20b/?q=1&r=a/b#top",
            Some("https://u:p@db1.example.com:8443/a%20b/?q=1&r=a/b#top"),
        ),
        ("url", "http://[2001:db8::1]:80/", Some("http://[2001:db8::1]:80/")),
        ("url", "ldap+x://192.0.2.1", Some("ldap+x://192.0.2.1")),
        ("url", "file:///etc/hosts", Some("file:///etc/hosts")),
        ("url", "example.com", None),
        ("url", "//example.com/", None),
        ("url", "mailto:a@example.com", None),
        ("url", "https://", None),
        ("url", "https:///path", None),
        ("url", "https://exa mple.com", None),
        ("url", "https://example.com/%2", None),
        ("url", "https://example.com/%zz", None),
        ("url", "https://example.com/a b", None),
        ("url", "https://example.com/\"", None),
        ("url", "https://example.com/#a#b", None),
        ("url", "https://example.com:99999/", None),
        ("url", "https://example.com:http/", None),
        ("url", "https://[::1", None),
        ("url", "3://example.com", None),
        ("url", "https://ä.example", None),
        ("locale", "en", Some("en")),
        ("locale", "en_US", Some("en_US")),
        ("locale", "US", Some("US")),
        ("locale", "de_DE.UTF-8", Some("de_DE.UTF-8")),
        ("locale", "de_DE.ISO-8859-15@euro", Some("de_DE.ISO-8859-15@euro")),
        ("locale", "zh-Hant-TW", Some("zh-Hant-TW")),
        ("locale", "es-419", Some("es-419")),
        ("locale", "C.UTF-8", Some("C.UTF-8")),
        ("locale", "POSIX", Some("POSIX")),
        ("locale", "english", None),
        ("locale", "e", None),
        ("locale", "en_", None),
        ("locale", "en_USA", None),
        ("locale", "en_US.", None),
        ("locale", "en_US@", None),
        ("locale", "en/US", None),
        ("locale", "../en", None),
        ("timezone", "Europe/Berlin", Some("Europe/Berlin")),
        ("timezone", "UTC", Some("UTC")),
        ("timezone", "Etc/GMT+5", Some("Etc/GMT+5")),
        ("timezone", "EST5EDT", Some("EST5EDT")),
        ("timezone", "America/Argentina/Buenos_Aires", Some("America/Argentina/Buenos_Aires")),
        ("timezone", "America/Port-au-Prince", Some("America/Port-au-Prince")),
        ("timezone", "+60", None),
        ("timezone", "60", None),
        ("timezone", "/UTC", None),
        ("timezone", "Europe/", None),
        ("timezone", "../etc/passwd", None),
        ("timezone", "a/b/c/d", None),
        ("timezone", "Europe Berlin", None),
    ]);
}

#[test]
fn base64_has_one_spelling() {
    judge(&[
        ("base64", "aGVsbG8=", Some("aGVsbG8=")),
        ("base64", " aGVs\nbG8= ", Some("aGVsbG8=")),
        ("base64", "AA==", Some("AA==")),
        ("base64", "+/+/", Some("+/+/")),
        ("base64", "aGVsbG8", None),
        ("base64", "aGVsbG9=", None),
        ("base64", "AB==", None),
        ("base64", "A===", None),
        ("base64", "====", None),
        ("base64", "=AAA", None),
        ("base64", "-_-_", None),
        ("base64", "aGVs*G8=", None),
    ]);
}

#[test]
fn lists_have_items_between_commas_or_blanks() {
    judge(&[
        ("list<string>", "a,b c,  d", Some(r#"["a","b","c","d"]"#)),
        ("list<string>", ",a,,b,", Some(r#"["a","b"]"#)),
        ("list<string>", "a\n\tb", Some(r#"["a","b"]"#)),
        ("list<string>", "a\u{1}", None),
        ("list<int>", "3 1,2", Some("[3,1,2]")),
        ("list<int>", "3,x", None),
        ("list<ipv6>", "::1 0:0::2", Some(r#"["::1","::2"]"#)),
        ("list<bool>", "yes no", Some("[true,false]")),
        ("list<map>", "a=1&b=2, a=3", Some(r#"[{"a":"1","b":"2"},{"a":"3"}]"#)),
        ("list<map>", "a=1&b=2, a", None),
        ("list<map<int>>", "a=1 a=x", None),
    ]);
    let numbers: Type = "list<int>".parse().expect("a type");
    assert!(numbers.read(&"1,".repeat(MAX_ITEMS)).is_some());
    assert!(numbers.read(&"1,".repeat(MAX_ITEMS + 1)).is_none(), "the limit holds");
}

#[test]
fn maps_have_each_key_once_and_percent_escapes() {
    judge(&[
        ("map", "a=b&c=d", Some(r#"{"a":"b","c":"d"}"#)),
        ("map", " c=d&a= ", Some(r#"{"a":"","c":"d"}"#)),
        ("map", "a%20b=c%26d%3De%25", Some(r#"{"a b":"c&d=e%"}"#)),
        ("map", "a=x+y", Some(r#"{"a":"x+y"}"#)),
        ("map", "a=%C3%A4", Some(r#"{"a":"ä"}"#)),
        ("map", "a=b%3Dc", Some(r#"{"a":"b=c"}"#)),
        ("map", "a=b=c", None),
        ("map", "a", None),
        ("map", "a=b&", None),
        ("map", "=b", None),
        ("map", "a=1&a=2", None),
        ("map", "a=1&%61=2", None),
        ("map", "a=%", None),
        ("map", "a=%4", None),
        ("map", "a=%4g", None),
        ("map", "a=%+4", None),
        ("map", "a=%ff", None),
        ("map", "a=%0a", None),
        ("map", "%0a=a", None),
        ("map<int>", "a=1&b=", Some(r#"{"a":1,"b":null}"#)),
        ("map<int>", "a=x", None),
        ("map<map>", "a=b%3Dc%26d%3De&f=", Some(r#"{"a":{"b":"c","d":"e"},"f":{}}"#)),
        ("map<map>", "a=b%3D%2526", Some(r#"{"a":{"b":"&"}}"#)),
        ("map<map>", "a=b", None),
        ("map<map>", "a=b%3D1%26b%3D2", None),
        ("map<list<int>>", "a=1,2&b=3%204", Some(r#"{"a":[1,2],"b":[3,4]}"#)),
    ]);
    let map: Type = "map".parse().expect("a type");
    let pairs = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join("&");
    assert!(map.read(&pairs(MAX_ITEMS)).is_some());
    assert!(map.read(&pairs(MAX_ITEMS + 1)).is_none(), "the limit holds");
}

#[test]
fn an_empty_property_is_nothing() {
    for (name, text, want) in [
        ("string", "", true),
        ("string", " ", false),
        ("int", " ", true),
        ("ipv4", "\t", true),
        ("list<int>", " , ", true),
        ("list<int>", ",1", false),
        ("map", " ", true),
        ("map", "a=", false),
    ] {
        assert_eq!(name.parse::<Type>().expect(name).is_empty(text), want, "{name} {text:?}");
    }
}

#[test]
fn configuration_has_forms_of_its_own() {
    for (name, toml, want) in [
        ("string", "'5'", Some("5")),
        ("string", "5", None),
        ("int", "5", Some("5")),
        ("int", "'5'", None),
        ("int", "5.0", None),
        ("uint", "-5", None),
        ("uint", "5", Some("5")),
        ("port", "0", None),
        ("port", "80", Some("80")),
        ("real", "5", Some("5.0")),
        ("real", "5.5", Some("5.5")),
        ("real", "nan", None),
        ("bool", "true", Some("true")),
        ("bool", "'yes'", None),
        ("ipv4", "'192.0.2.1'", Some("192.0.2.1")),
        ("ipv4", "'300.0.2.1'", None),
        ("list<int>", "[1, 2]", Some("[1,2]")),
        ("list<int>", "[]", Some("[]")),
        ("list<int>", "'1,2'", None),
        ("list<int>", "[1, 'x']", None),
        ("map<int>", "{ a = 1 }", Some(r#"{"a":1}"#)),
        ("map<int>", "{ a = 'x' }", None),
        ("map<int>", "{ '' = 1 }", None),
        ("list<map>", "[{ a = 'b' }]", Some(r#"[{"a":"b"}]"#)),
    ] {
        let table: toml::Table = format!("v = {toml}").parse().expect(toml);
        let got = name.parse::<Type>().expect(name).read_toml(&table["v"]).map(|value| value.reveal());
        assert_eq!(got.as_ref().map(|text| text.as_str()), want, "{name} {toml}");
    }
}
