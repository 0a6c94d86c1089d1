use super::{Asked, NAME, Node, PATH, answer, asked, changed, error, introspection, name_is_ours, revealed};
use crate::parameters::Value;
use std::collections::BTreeMap;
use zbus::{Message, Structure, Variant};

fn call(path: &str, interface: &str, member: &str, body: Option<Structure<'_>>) -> Message {
    let mut call = Message::method_call(path, member).sender(":1.7");
    if !interface.is_empty() {
        call = call.interface(interface);
    }
    match body {
        Some(body) => call.build(&body).expect("a call"),
        None => call.build(&()).expect("a call"),
    }
}

#[test]
fn a_call_is_known_by_its_names_and_types() {
    const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
    let one = |text: &'static str| Some(Structure::from((text,)));
    let two = |a: &'static str, b: &'static str| Some(Structure::from((a, b)));
    for (path, interface, member, body, want) in [
        (PATH, NAME, "GetParameter", one("ip"), Ok(Asked::Parameter("ip".into()))),
        (PATH, "", "GetParameter", one("ip"), Ok(Asked::Parameter("ip".into()))),
        (PATH, NAME, "GetParameter", None, Err(error::ARGUMENTS)),
        (PATH, NAME, "GetParameter", Some(Structure::from((7_u32,))), Err(error::ARGUMENTS)),
        (PATH, NAME, "GetParameter", two("ip", "peer"), Err(error::ARGUMENTS)),
        (PATH, NAME, "ListParameters", None, Ok(Asked::Parameters)),
        (PATH, NAME, "Reload", None, Ok(Asked::Reload)),
        (PATH, NAME, "HoldReady", two("mydb", "loads"), Ok(Asked::Hold("mydb".into(), "loads".into()))),
        (PATH, NAME, "HoldReady", one("mydb"), Err(error::ARGUMENTS)),
        (PATH, NAME, "Ping", None, Err(error::METHOD)),
        (PATH, PROPERTIES, "Get", two(NAME, "Stage"), Ok(Asked::Property("Stage".into()))),
        (PATH, PROPERTIES, "Get", two("a.b", "Stage"), Err(error::INTERFACE)),
        (PATH, PROPERTIES, "Get", two(PROPERTIES, "Stage"), Err(error::PROPERTY)),
        (PATH, PROPERTIES, "GetAll", one(NAME), Ok(Asked::Properties)),
        (PATH, PROPERTIES, "GetAll", one(PROPERTIES), Ok(Asked::NoProperties)),
        (PATH, PROPERTIES, "GetAll", one("a.b"), Err(error::INTERFACE)),
        (PATH, PROPERTIES, "GetAll", None, Err(error::ARGUMENTS)),
        (PATH, PROPERTIES, "Set", None, Err(error::READ_ONLY)),
        (PATH, "org.freedesktop.DBus.Peer", "Ping", None, Ok(Asked::Ping)),
        (
            "/",
            "org.freedesktop.DBus.Introspectable",
            "Introspect",
            None,
            Ok(Asked::Introspect(Node::Step("org"))),
        ),
        ("/org/ovf", "", "Introspect", None, Ok(Asked::Introspect(Node::Step("Agent1")))),
        (PATH, "", "Introspect", None, Ok(Asked::Introspect(Node::Object))),
        ("/org", NAME, "Reload", None, Err(error::METHOD)),
        ("/org/ovf/Agent2", NAME, "Reload", None, Err(error::OBJECT)),
        ("/org/ovf/Agent2", "", "Introspect", None, Err(error::OBJECT)),
    ] {
        let said = asked(&call(path, interface, member, body)).expect("a call");
        assert_eq!(said.map_err(|refusal| refusal.name), want, "{path} {interface} {member}");
    }
    let signal = Message::signal(PATH, NAME, "Reload").build(&()).expect("a signal");
    assert_eq!(asked(&signal), None);
}

#[test]
fn the_bus_alone_says_whose_the_name_is() {
    let told = |sender: &str, member: &str, name: &str| {
        let signal = Message::signal("/org/freedesktop/DBus", "org.freedesktop.DBus", member).sender(sender);
        name_is_ours(&signal.build(&name).expect("a signal"))
    };
    for (sender, member, name, want) in [
        ("org.freedesktop.DBus", "NameAcquired", NAME, Some(true)),
        ("org.freedesktop.DBus", "NameLost", NAME, Some(false)),
        ("org.freedesktop.DBus", "NameAcquired", ":1.4", None),
        ("org.freedesktop.DBus", "NameOwnerChanged", NAME, None),
        (":1.9", "NameAcquired", NAME, None),
    ] {
        assert_eq!(told(sender, member, name), want, "{sender} {member} {name}");
    }
}

#[test]
fn a_value_has_its_own_type() {
    let map = BTreeMap::from([("a".into(), Value::Int(-1)), ("b".into(), Value::Null)]);
    for (value, signature) in [
        (Value::text("x"), "s"),
        (Value::Int(-7), "x"),
        (Value::Uint(7), "t"),
        (Value::Real(0.5), "d"),
        (Value::Bool(true), "b"),
        (Value::List(vec![Value::text("x"), Value::Uint(7)]), "av"),
        (Value::List(Vec::new()), "av"),
        (Value::Map(map), "a{sv}"),
        (Value::Entities(BTreeMap::from([("DB1".into(), Value::text("x"))])), "a{sv}"),
    ] {
        let value = revealed(&value).expect("it is set");
        assert_eq!(value.value_signature().to_string(), signature);
        let message = answer(&call(PATH, NAME, "GetParameter", None), Ok(vec![super::wrapped(value)]));
        assert_eq!(message.expect("an answer").body().signature().to_string(), "v");
    }
    assert_eq!(revealed(&Value::Null), None);
}

#[test]
fn what_is_described_is_what_is_there() {
    let xml = introspection(Node::Object);
    let described: Vec<&str> =
        xml.split("<method name=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for method in &described {
        let refused = asked(&call(PATH, "", method, None)).expect("a call").err().map(|refusal| refusal.name);
        assert_ne!(refused, Some(error::METHOD), "{method}");
    }
    assert_eq!(described.len(), 10, "{described:?}");
    let signal = changed(vec![("Stage", "ready".into()), ("Ready", Variant::Bool(true))]).expect("a signal");
    assert_eq!(signal.body().signature().to_string_no_parens(), "sa{sv}as");
}
