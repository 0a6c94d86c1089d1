//! Declarations and environments together: what a parameter is, and what is said where it cannot be.

use std::collections::BTreeMap;

use super::{Declaration, Declared, Generated, Parameters, Value, Violations};
use crate::config::values;
use crate::environment::{self, Environment};

fn declare(toml: &str) -> Result<Declared, String> {
    let declarations: BTreeMap<String, Declaration> = values::parse(toml).map_err(|error| error.message)?;
    let mut declared = Declared::default();
    for (name, declaration) in declarations {
        declared.insert(name, declaration).map_err(|objections| {
            objections.into_iter().map(|it| it.message).collect::<Vec<_>>().join("; ")
        })?;
    }
    Ok(declared)
}

fn declared(toml: &str) -> Declared {
    declare(toml).unwrap_or_else(|error| panic!("{toml}: {error}"))
}

/// The guest's own properties, and those of siblings by id.
fn environment(own: &[(&str, &str)], siblings: &[(&str, &[(&str, &str)])]) -> Environment {
    let properties = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| (*key, environment::Value::from((*value).to_owned()))).collect()
    };
    let entity = |(id, pairs): &(&str, &[(&str, &str)])| environment::Entity {
        id: (*id).to_owned(),
        properties: properties(pairs),
        ..environment::Entity::default()
    };
    Environment {
        properties: properties(own),
        entities: siblings.iter().map(entity).collect(),
        ..Environment::default()
    }
}

fn evaluate(declared: &Declared, environment: &Environment) -> Result<Parameters, Violations> {
    declared.evaluate(Some(environment), &Generated::default()).map(|(parameters, _)| parameters)
}

/// The parameter `p` as text; `None` where the environment is refused.
fn value_of(declared: &Declared, environment: &Environment) -> Option<String> {
    let parameters = evaluate(declared, environment).ok()?;
    Some(match parameters.get("p").expect("declared") {
        Value::Null => "null".to_owned(),
        value => value.reveal().as_str().to_owned(),
    })
}

#[test]
fn a_property_becomes_a_value_of_its_type() {
    // Type and more, what the property says, and what the parameter is; None where a rule is broken.
    for (declaration, property, want) in [
        ("type = \"string\"", Some("a b"), Some("a b")),
        ("type = \"string\"", Some(""), Some("")),
        ("type = \"string\"", Some("a\nb"), None),
        ("type = \"string\"", None, Some("null")),
        ("type = \"string\", empty = \"value\"", Some(""), Some("")),
        ("type = \"string\", empty = \"unset\"", Some(""), Some("null")),
        ("type = \"string\", empty = \"unset\", default = \"d\"", Some(""), Some("d")),
        ("type = \"string\", empty = \"unset\", required = true", Some(""), None),
        ("type = \"string\", required = true", Some(""), Some("")),
        ("type = \"string\", multiline = true", Some("a\n\tb"), Some("a\n\tb")),
        ("type = \"string\", multiline = true", Some("a\rb"), None),
        ("type = \"string\", multiline = false", Some("a\nb"), None),
        ("type = \"int\"", Some(""), Some("null")),
        ("type = \"int\", default = 5", None, Some("5")),
        ("type = \"int\", default = 5", Some(" "), Some("5")),
        ("type = \"int\", default = 5", Some("x"), None),
        ("type = \"bool\", default = true", Some("no"), Some("false")),
        ("type = \"ipv4\", default = \"192.0.2.9\"", Some(""), Some("192.0.2.9")),
        ("type = \"ipv4\", required = true", Some(""), None),
        ("type = \"ipv4\", required = true", None, None),
        ("type = \"list<int>\"", Some(" , "), Some("null")),
        ("type = \"list<int>\", empty = \"value\"", Some(" , "), Some("[]")),
        ("type = \"list<int>\", default = [1, 2]", Some(""), Some("[1,2]")),
        ("type = \"map\", empty = \"value\"", Some(""), Some("{}")),
        ("type = \"map\", default = { a = \"b\" }", None, Some(r#"{"a":"b"}"#)),
        ("type = \"map\", default = { a = \"b\" }", Some("c=d"), Some(r#"{"c":"d"}"#)),
    ] {
        let declared = declared(&format!("p = {{ key = \"k\", {declaration} }}"));
        let own: Vec<_> = property.map(|value| ("k", value)).into_iter().collect();
        assert_eq!(
            value_of(&declared, &environment(&own, &[])).as_deref(),
            want,
            "{declaration} with {property:?}"
        );
    }
}

#[test]
fn rules_hold_for_every_value() {
    for (declaration, property, want) in [
        ("type = \"string\", one-of = [\"low\", \"high\"]", "low", ""),
        ("type = \"string\", one-of = [\"low\", \"high\"]", "Low", "it must be one of low, high"),
        ("type = \"int\", one-of = [1, 2]", "01", ""),
        ("type = \"int\", one-of = [1, 2]", "3", "it must be one of 1, 2"),
        ("type = \"list<string>\", one-of = [\"a\", \"b\"]", "b,a,b", ""),
        ("type = \"list<string>\", one-of = [\"a\", \"b\"]", "a,c", "every item must be one of a, b"),
        ("type = \"int\", min = -1, max = 5", "-1", ""),
        ("type = \"int\", min = -1, max = 5", "5", ""),
        ("type = \"int\", min = -1, max = 5", "-2", "it must be at least -1"),
        ("type = \"int\", min = -1, max = 5", "6", "it must be at most 5"),
        ("type = \"uint\", max = 5", "6", "it must be at most 5"),
        ("type = \"port\", min = 1024", "80", "it must be at least 1024"),
        ("type = \"real\", min = 0, max = 0.5", "0.51", "it must be at most 0.5"),
        ("type = \"real\", min = 0, max = 0.5", "0", ""),
        ("type = \"string\", min = 2, max = 3", "äöü", ""),
        ("type = \"string\", min = 2, max = 3", "a", "it must have at least 2 characters"),
        ("type = \"string\", min = 2, max = 3", "", "it must have at least 2 characters"),
        ("type = \"string\", min = 2, max = 3", "abcd", "it must have at most 3 characters"),
        ("type = \"list<int>\", max = 2", "10 20 30", "it must have at most 2 items"),
        ("type = \"map\", min = 2", "a=b", "it must have at least 2 values"),
        ("type = \"string\", pattern = \"[a-z]+|x\"", "abc", ""),
        ("type = \"string\", pattern = \"a|ab\"", "ab", ""),
        ("type = \"string\", pattern = \"[a-z]+\"", "abc1", "it must match the pattern `[a-z]+`"),
        ("type = \"string\", pattern = \"^a$\"", "a", ""),
        ("type = \"string\", multiline = true, pattern = \"a\"", "a\n", "it must match the pattern `a`"),
        (
            "type = \"list<hostname>\", pattern = \"db.*\"",
            "db1,web",
            "every item must match the pattern `db.*`",
        ),
        (
            "type = \"string\", min = 4, pattern = \"[a-z]*\"",
            "A",
            "it must have at least 4 characters; it must match the pattern `[a-z]*`",
        ),
    ] {
        let declared = declared(&format!("p = {{ key = \"k\", {declaration} }}"));
        let broken = evaluate(&declared, &environment(&[("k", property)], &[])).err();
        let broken = broken.map_or(Vec::new(), |violations| violations.0);
        let rules: Vec<_> = broken.into_iter().map(|violation| violation.rule).collect();
        assert_eq!(rules.join("; "), want, "{declaration} with {property:?}");
    }
}

#[test]
fn what_means_nothing_together_is_refused() {
    for (declaration, want) in [
        ("type = \"ipv4\", required = true, default = \"192.0.2.1\"", "is required and has a default"),
        ("type = \"ipv4\", default = \"300.1.1.1\"", "does not fit its type; it must be an IPv4 address"),
        ("type = \"bool\", default = \"yes\"", "does not fit its type"),
        (
            "type = \"int\", default = 7, max = 5",
            "the default of parameter `p` breaks its rule: it must be at most 5",
        ),
        ("type = \"string\", default = \"c\", one-of = [\"a\"]", "breaks its rule: it must be one of a"),
        ("type = \"string\", one-of = []", "one-of of parameter `p` is empty"),
        ("type = \"int\", one-of = [1, \"2\"]", "has a value that does not fit the type"),
        ("type = \"bool\", one-of = [true]", "the type bool has none"),
        ("type = \"map\", one-of = [\"a\"]", "the type map<string> has none"),
        ("type = \"int\", one-of = [1], min = 1", "one-of of parameter `p` and min"),
        ("type = \"string\", one-of = [\"a\"], pattern = \"a\"", "one-of of parameter `p` and pattern"),
        ("type = \"int\", min = 2, max = 1", "is greater than its max"),
        ("type = \"int\", min = \"2\"", "min of parameter `p`: it must be a whole number"),
        ("type = \"string\", max = -1", "a length must be a whole number"),
        ("type = \"ipv4\", min = 1", "the type ipv4 has neither"),
        ("type = \"bool\", pattern = \"t\"", "not type bool"),
        ("type = \"list<int>\", pattern = \"1\"", "not type list<int>"),
        ("type = \"string\", pattern = \"(\"", "is no regular expression: "),
        ("type = \"string\", pattern = \"a)(b\"", "is no regular expression: "),
        ("type = \"int\", multiline = true", "only a string can have several lines"),
        ("type = \"int\", empty = \"value\"", "which has no empty value"),
        ("type = \"string\", empty = \"null\"", "unknown variant"),
        ("type = \"string\", entity = \"*\", default = \"a\"", "leave the default out"),
        ("type = \"string\", generate = \"alnum:4\"", "`alnum:4` cannot be generated"),
        ("type = \"int\", generate = \"alnum:24\"", "generated are strings"),
        ("type = \"base64\", generate = \"hex:24\"", "generated are strings, and base64"),
        ("type = \"string\", generate = \"uuid\", required = true", "cannot have `required`"),
        ("type = \"string\", generate = \"uuid\", default = \"a\"", "cannot have a default"),
        ("type = \"string\", generate = \"uuid\", entity = \"DB2\"", "cannot have an entity"),
        ("type = \"string\", generate = \"uuid\", pattern = \".*\"", "cannot have a pattern"),
        ("type = \"string\", generate = \"uuid\", one-of = [\"a\"]", "cannot have one-of"),
        (
            "type = \"string\", generate = \"uuid\", empty = \"value\"",
            "is generated where its property is empty",
        ),
        ("type = \"string\", generate = \"uuid\", sensitive = false", "leave `sensitive = false` out"),
        (
            "type = \"string\", generate = \"alnum:8\", min = 12",
            "breaks its rule: it must have at least 12 characters",
        ),
        ("type = \"string\", label = \"a\\tb\"", "has a control character"),
        ("type = \"lst\"", "there is no type `lst`"),
        ("type = \"string\", requird = true", "unknown field"),
    ] {
        let error = declare(&format!("p = {{ key = \"k\", {declaration} }}")).expect_err(declaration);
        assert!(error.contains(want), "{declaration}: {error}");
    }
    for (toml, want) in [
        ("p = { key = \"\", type = \"string\" }", "has an empty key"),
        ("p = { key = \"a\\u0000\", type = \"string\" }", "control character"),
        (
            "a = { key = \"k\", type = \"string\", generate = \"uuid\" }\n\
             b = { key = \"k\", type = \"string\", generate = \"hex:8\" }",
            "would generate one property in two forms",
        ),
    ] {
        let error = declare(toml).expect_err(toml);
        assert!(error.contains(want), "{toml}: {error}");
    }
}

#[test]
fn every_sibling_that_has_the_property_is_in_the_map() {
    let declared = declared("p = { key = \"ip\", entity = \"*\", type = \"ipv4\", required = true }");
    let siblings: &[(&str, &[(&str, &str)])] = &[
        ("DB2", &[("ip", "192.0.2.2")]),
        ("DB3", &[("ip", "")]),
        ("Web", &[]),
        ("DB1", &[("ip", " 192.0.2.1")]),
    ];
    let with = environment(&[("ip", "192.0.2.9")], siblings);
    assert_eq!(value_of(&declared, &with).as_deref(), Some(r#"{"DB1":"192.0.2.1","DB2":"192.0.2.2"}"#));
    let wrong = environment(&[], &[("DB2", &[("ip", "x")]), ("DB3", &[("ip", "y")])]);
    let violations = evaluate(&declared, &wrong).expect_err("no addresses");
    let entities: Vec<_> = violations.0.iter().map(|violation| violation.entity.as_deref()).collect();
    assert_eq!(entities, [Some("DB2"), Some("DB3")]);
    let none = evaluate(&declared, &environment(&[], &[])).expect_err("required");
    assert!(none.to_string().contains("of `*`): it is required"), "{none}");
    let optional = super::tests::declared("p = { key = \"ip\", entity = \"*\", type = \"ipv4\" }");
    assert_eq!(value_of(&optional, &environment(&[], &[])).as_deref(), Some("{}"));
}

#[test]
fn a_secret_is_made_once_and_where_none_is_sent() {
    let declared = declared(
        "p = { key = \"pw\", type = \"string\", generate = \"alnum:24\" }\n\
         same = { key = \"pw\", type = \"string\" }\n\
         theirs = { key = \"pw\", type = \"string\", entity = \"DB2\" }",
    );
    assert!(declared.is_sensitive("p") && declared.is_sensitive("same"), "what is generated is a secret");
    let text = |parameters: &Parameters, name: &str| parameters.get(name).expect("declared").reveal();
    let empty = environment(&[("pw", "")], &[("DB2", &[])]);
    let (first, made) = declared.evaluate(Some(&empty), &Generated::default()).expect("made");
    assert!(made.contains("pw") && text(&first, "p").len() == 24);
    assert_eq!(text(&first, "same"), text(&first, "p"), "it belongs to the key");
    assert_eq!(first.get("theirs"), Some(&Value::Null), "and to this guest");
    for environment in [None, Some(&empty)] {
        let (again, more) = declared.evaluate(environment, &made).expect("kept");
        assert!(more.is_empty() && text(&again, "p") == text(&first, "p"));
    }
    let (sent, more) = declared.evaluate(Some(&environment(&[("pw", "theirs")], &[])), &made).expect("sent");
    assert!(more.is_empty() && text(&sent, "p").as_str() == "theirs");
}

#[test]
fn sensitivity_belongs_to_the_key() {
    let declared = declared(
        "a = { key = \"pw\", type = \"string\", sensitive = true }\n\
         b = { key = \"pw\", entity = \"DB2\", type = \"string\", one-of = [\"s3cret\"] }\n\
         c = { key = \"x\", type = \"string\" }",
    );
    assert!(declared.is_sensitive("a") && declared.is_sensitive("b") && !declared.is_sensitive("c"));
    assert_eq!((declared.name_of_key("pw"), declared.name_of_key("y")), (Some("a"), None));
    let violations = evaluate(&declared, &environment(&[], &[("DB2", &[("pw", "x")])])).expect_err("another");
    assert!(violations.to_string().contains("must be one of the declared values"), "{violations}");
}

#[test]
fn no_value_is_in_an_error_or_in_debug_output() {
    let declared = declared(
        "n = { key = \"k\", type = \"int\" }\n\
         l = { key = \"k\", type = \"list<map<int>>\" }\n\
         p = { key = \"k\", type = \"string\", pattern = \"[0-9]*\", max = 2 }\n\
         s = { key = \"k\", type = \"string\", default = \"d3fault-s3cret\" }\n\
         e = { key = \"k\", type = \"port\", entity = \"*\" }",
    );
    let environment = environment(&[("k", "s3cret")], &[("DB2", &[("k", "s3cret")])]);
    let violations = evaluate(&declared, &environment).expect_err("wrong");
    assert_eq!(violations.0.len(), 5, "{violations}");
    let map = Value::Map([(super::Key::from("s3cret"), Value::text("s3cret"))].into());
    let values = [("s", Value::text("s3cret")), ("l", Value::List(vec![map.clone()])), ("m", map)];
    let parameters = Parameters(values.map(|(name, value)| (name.to_owned(), value)).into());
    let text = format!("{violations} {violations:?} {declared:?} {parameters:?} {environment:?}");
    assert!(!text.contains("s3cret"), "{text}");
}
