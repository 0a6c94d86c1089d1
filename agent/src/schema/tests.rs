//! That the JSON Schema knows what the reader knows, and that a ProductSection is what the environment then has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{AGENT_TOML, product_sections};
use crate::config::values;
use crate::parameters::{Declaration, Declared, RESERVED, Type};

fn schema() -> Json {
    serde_json::from_str(AGENT_TOML).expect("JSON")
}

fn declared(toml: &str) -> Declared {
    let declarations: BTreeMap<String, Declaration> = values::parse(toml).expect(toml);
    let mut declared = Declared::default();
    for (name, declaration) in declarations {
        declared.insert(name, declaration).expect(toml);
    }
    declared
}

/// The keys that serde would have had in the place of one that nobody has.
fn known_keys(error: &values::Error) -> BTreeSet<String> {
    let (_, list) = error
        .message
        .split_once("expected one of")
        .or(error.message.split_once("expected "))
        .expect("a list");
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn keys(object: &Json) -> BTreeSet<String> {
    object.as_object().expect("an object").keys().cloned().collect()
}

#[test]
fn the_schema_has_the_keys_that_the_reader_has() {
    let schema = schema();
    let sections = &schema["properties"];
    for (section, properties) in [
        ("", sections),
        ("transport", &sections["transport"]["properties"]),
        ("transport.iso", &sections["transport"]["properties"]["iso"]["properties"]),
        ("ready", &sections["ready"]["properties"]),
        ("[ready.entities]", &sections["ready"]["properties"]["entities"]["items"]["properties"]),
        ("report", &sections["report"]["properties"]),
        ("[units]", &sections["units"]["items"]["properties"]),
    ] {
        let head = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
        let error = crate::config::syntax(&format!("{head}nobody-has-this = 1")).expect_err("an unknown key");
        assert_eq!(keys(properties), known_keys(&error), "[{section}]: {error}");
    }
    for (section, known) in crate::config::TEXTS {
        let known = known.iter().map(ToString::to_string).collect();
        assert_eq!(keys(&sections[section]["properties"]), known, "[{section}]");
    }
    let known = crate::config::GUESTINFO.iter().map(ToString::to_string).collect();
    assert_eq!(keys(&sections["transport"]["properties"]["guestinfo"]["properties"]), known);
    let error = values::parse::<Declaration>("nobody-has-this = 1").expect_err("an unknown key");
    assert_eq!(keys(&schema["$defs"]["parameter"]["properties"]), known_keys(&error));
}

#[test]
fn the_schema_has_the_names_that_the_reader_has() {
    let schema = schema();
    let names = schema["properties"]["parameters"]["propertyNames"]["not"]["anyOf"][1]["enum"].clone();
    assert_eq!(names, serde_json::json!(RESERVED));
    let pattern = schema["$defs"]["parameter"]["properties"]["type"]["pattern"].as_str().expect("text");
    let pattern = regex_lite::Regex::new(pattern).expect("a pattern");
    for name in Type::scalar_names().chain(["list<ip>", "map", "map<int>", "list<map<list<int>>>"]) {
        assert!(pattern.is_match(name), "{name}");
    }
    assert!(!pattern.is_match("boolean") && !pattern.is_match("list"));
}

#[test]
fn a_parameter_is_a_property_of_the_descriptor() {
    for (declaration, want) in [
        (
            r#"key = "db.ip", type = "ipv4", required = true, label = "Address", description = "Of this \"database\" & <more>""#,
            "  <Property ovf:key=\"ip\" ovf:type=\"string\" ovf:userConfigurable=\"true\" ovf:qualifiers=\"MinLen(1)\">\n    \
             <Label>Address</Label>\n    <Description>Of this &quot;database&quot; &amp; &lt;more&gt;. Required. It must be an IPv4 \
             address in four decimal parts, such as 192.0.2.1.</Description>\n  </Property>\n",
        ),
        (
            r#"key = "db.log", type = "string", one-of = ["low", "a\"b"], default = "low""#,
            "  <Property ovf:key=\"log\" ovf:type=\"string\" ovf:userConfigurable=\"true\" ovf:value=\"low\" \
             ovf:qualifiers=\"ValueMap{&quot;low&quot;,&quot;a\\&quot;b&quot;}\">\n    <Description>It must be one of low, \
             a&quot;b.</Description>\n  </Property>\n",
        ),
        (
            r#"key = "db.pw", type = "string", sensitive = true, default = "s3cret", min = 4, max = 64"#,
            "  <Property ovf:key=\"pw\" ovf:type=\"string\" ovf:userConfigurable=\"true\" ovf:password=\"true\" \
             ovf:qualifiers=\"MinLen(4), MaxLen(64)\">\n    <Description>It must have at least 4 characters. It must have at most \
             64 characters.</Description>\n  </Property>\n",
        ),
        (
            r#"key = "db.pw", type = "string", generate = "alnum:24", min = 12"#,
            "  <Property ovf:key=\"pw\" ovf:type=\"string\" ovf:userConfigurable=\"true\" ovf:password=\"true\">\n    \
             <Description>Left empty, the guest generates it. It must have at least 12 characters.</Description>\n  </Property>\n",
        ),
        (
            r#"key = "db.pw", type = "string", required = true, sensitive = true"#,
            "  <Property ovf:key=\"pw\" ovf:type=\"string\" ovf:userConfigurable=\"true\" ovf:password=\"true\" \
             ovf:qualifiers=\"MinLen(1)\">\n    <Description>Required.</Description>\n  </Property>\n",
        ),
        (
            r#"key = "db.motto", type = "string", required = true, empty = "value""#,
            "  <Property ovf:key=\"motto\" ovf:type=\"string\" ovf:userConfigurable=\"true\">\n    \
             <Description>Required.</Description>\n  </Property>\n",
        ),
        (
            r#"key = "db.port", type = "port", default = 5432, min = 1024"#,
            "  <Property ovf:key=\"port\" ovf:type=\"uint16\" ovf:userConfigurable=\"true\" ovf:value=\"5432\">\n    \
             <Description>It must be a port between 1 and 65535. It must be at least 1024.</Description>\n  </Property>\n",
        ),
        (
            r#"key = "db.on", type = "bool", default = false"#,
            "  <Property ovf:key=\"on\" ovf:type=\"boolean\" ovf:userConfigurable=\"true\" ovf:value=\"false\">\n  </Property>\n",
        ),
    ] {
        let sections = product_sections(&declared(&format!("p = {{ {declaration} }}")));
        let head = "<ProductSection xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" \
                    xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\" ovf:class=\"db\">\n  <Info>What this appliance can be told\
                    </Info>\n";
        assert_eq!(sections, format!("{head}{want}</ProductSection>\n"), "{declaration}");
        assert!(!sections.contains("s3cret"));
    }
}

#[test]
fn keys_are_put_together_again_as_they_were() {
    let declared = declared(
        "a = { key = \"com.mydb.ip\", type = \"ip\" }\n\
         b = { key = \"com.mydb.net.ip\", type = \"ip\" }\n\
         c = { key = \"plain\", type = \"ip\" }\n\
         d = { key = \"com.mydb.ip\", type = \"string\" }\n\
         e = { key = \"trailing.\", type = \"string\" }\n\
         f = { key = \"theirs\", type = \"string\", entity = \"DB2\" }",
    );
    let sections = product_sections(&declared);
    let found: Vec<_> = sections
        .lines()
        .filter_map(|line| {
            let cut = |from: &str| line.split_once(from)?.1.split_once('"').map(|(text, _)| text);
            cut("ovf:class=\"").map(|class| format!("[{class}]")).or(cut("ovf:key=\"").map(str::to_owned))
        })
        .collect();
    assert_eq!(found, ["plain", "trailing.", "[com.mydb]", "ip", "[com.mydb.net]", "ip"]);
}

#[test]
fn a_default_is_written_as_a_property_would_say_it() {
    for (kind, toml, want) in [
        ("list<int>", "[1, 2]", Some("1,2")),
        ("list<string>", "['a b']", None),
        ("list<map>", "[{ a = 'b' }, { c = 'd e' }]", Some("a=b,c=d%20e")),
        ("map<map>", "{ a = { b = '&' } }", Some("a=b%3D%2526")),
        ("real", "0.5", Some("0.5")),
    ] {
        let kind: Type = kind.parse().expect(kind);
        let table: toml::Table = format!("v = {toml}").parse().expect(toml);
        let value = kind.read_toml(&table["v"]).expect(toml);
        let text = super::written(&value);
        assert_eq!(text.as_deref(), want, "{toml}");
        if let Some(text) = text {
            assert!(kind.read(&text) == Some(value), "{text} is read as it was meant");
        }
    }
}
