use std::collections::BTreeMap;
use std::path::Path;

use super::{Asked, Call, Hook, Hooks, Id, Moment, Remembered, Told};
use crate::environment::{self, Environment};
use crate::parameters::{Declaration, Declared, Generated};
use crate::sys::power::Action;
use crate::template::DerivedValues;

fn hooks(names: &[&str]) -> Hooks {
    let hook = |moment: Moment, name: &str| Hook { moment, name: name.to_owned(), path: "/bin/true".into() };
    let at = |moment: Moment| {
        let of = names.iter().filter_map(move |name| name.strip_prefix(moment.as_str())?.strip_prefix('/'));
        of.map(move |name| hook(moment, name)).collect::<Vec<_>>()
    };
    Hooks { list: Moment::ALL.into_iter().flat_map(at).collect(), ..Hooks::default() }
}

fn remembered(version: Option<&str>, previous: Option<&str>, begun: bool, owed: &[&str]) -> Remembered {
    Remembered {
        version: version.map(str::to_owned),
        previous: previous.map(str::to_owned),
        begun,
        owed: owed.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_hook_is_owed_until_it_has_succeeded() {
    let hooks =
        hooks(&["after-apply/a", "after-apply/b", "before-apply/c", "first-boot/d", "ready/e", "stop/f"]);
    let after = ["after-apply/a", "after-apply/b"];
    let first = ["first-boot/d", "after-apply/a", "after-apply/b"];
    type Row<'a> = (&'a str, Remembered, Option<&'a str>, bool, bool, (bool, Remembered));
    let table: [Row<'_>; 8] = [
        // (what is tried, what is remembered, version, files change, on the machine itself, (before, what comes of it))
        (
            "a new guest",
            remembered(None, None, false, &[]),
            Some("1"),
            true,
            true,
            (true, remembered(Some("1"), None, true, &first)),
        ),
        (
            "nothing changes",
            remembered(Some("1"), None, true, &[]),
            Some("1"),
            false,
            true,
            (false, remembered(Some("1"), None, true, &[])),
        ),
        (
            "a file changes",
            remembered(Some("1"), None, true, &[]),
            Some("1"),
            true,
            true,
            (true, remembered(Some("1"), Some("1"), true, &after)),
        ),
        (
            "another version",
            remembered(Some("1"), None, true, &[]),
            Some("2"),
            false,
            true,
            (true, remembered(Some("2"), Some("1"), true, &after)),
        ),
        (
            "b is still owed, for what came from 1",
            remembered(Some("2"), Some("1"), true, &after[1..]),
            Some("2"),
            false,
            true,
            (false, remembered(Some("2"), Some("1"), true, &after[1..])),
        ),
        (
            "and then comes 3",
            remembered(Some("2"), Some("1"), true, &after[1..]),
            Some("3"),
            false,
            true,
            (true, remembered(Some("3"), Some("1"), true, &after)),
        ),
        (
            "one that is gone is owed no longer",
            remembered(Some("2"), Some("1"), true, &["after-apply/x"]),
            Some("2"),
            false,
            true,
            (false, remembered(Some("2"), None, true, &[])),
        ),
        (
            "an image, prepared elsewhere",
            remembered(None, None, false, &[]),
            None,
            true,
            false,
            (true, remembered(None, None, false, &first)),
        ),
    ];
    for (what, before, version, changes, can_run, want) in table {
        assert_eq!(before.due(&hooks, Asked { version, changes, can_run }), want, "{what}");
    }
}

#[test]
fn what_is_done_is_forgotten_one_by_one() {
    let hooks = hooks(&["first-boot/a", "after-apply/b"]);
    let mut state = remembered(Some("2"), Some("1"), true, &["after-apply/b", "first-boot/a"]);
    let order: Vec<_> = hooks.owed(&state).cloned().collect();
    assert_eq!(order.iter().map(Hook::full_name).collect::<Vec<_>>(), ["first-boot/a", "after-apply/b"]);
    state.done(&order[0]);
    assert_eq!(
        (&state, state.previous_version()),
        (&remembered(Some("2"), Some("1"), true, &["after-apply/b"]), Some("1"))
    );
    state.done(&order[1]);
    assert_eq!((&state, state.previous_version()), (&remembered(Some("2"), None, true, &[]), Some("2")));
}

#[test]
fn values_are_told_as_their_types_have_them_and_secrets_in_no_variable() {
    let declarations: BTreeMap<String, Declaration> = toml::from_str(
        r#"
        name = { key = "name", type = "string", multiline = true }
        port = { key = "port", type = "port" }
        ports = { key = "ports", type = "list<port>" }
        unset = { key = "unset", type = "int" }
        long = { key = "long", type = "string" }
        hook = { key = "name", type = "string", multiline = true }
        password = { key = "password", type = "string", sensitive = true }
        "#,
    )
    .expect("TOML");
    let mut declared = Declared::default();
    for (name, declaration) in declarations {
        declared.insert(name, declaration).expect("sound");
    }
    let long = "x".repeat(9000);
    let property = |(key, value): (&str, &str)| format!(r#"<Property e:key="{key}" e:value="{value}"/>"#);
    let all = [
        ("name", "a&#10;&quot;b&quot;"),
        ("port", "80"),
        ("ports", "1,2"),
        ("long", &long),
        ("password", "s3cret"),
    ];
    let document = format!(
        r#"<Environment xmlns="{0}" xmlns:e="{0}" e:id="DB1"><PropertySection>{1}</PropertySection></Environment>"#,
        environment::NAMESPACE,
        all.map(property).concat()
    );
    let (environment, _): (Environment, _) = environment::parse(document.as_bytes()).expect("a document");
    let (parameters, _) = declared.evaluate(Some(&environment), &Generated::default()).expect("good values");
    let told = Told {
        parameters: Some(&parameters),
        derived: Some(&DerivedValues::default()),
        environment: Id { id: "DB1" },
        hypervisor: "kvm",
        first_boot: true,
        version: Some("2"),
        previous_version: None,
        changed: vec![Path::new("/etc/a")],
    };
    let call = Call::new(&told, &declared);
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&call.json(Moment::Ready, 7).concat()).expect("JSON"),
        serde_json::json!({
            "hook": "ready",
            "generation": 7,
            "parameters": {
                "name": "a\n\"b\"", "hook": "a\n\"b\"", "port": 80, "ports": [1, 2], "unset": null, "long": long,
                "password": "s3cret"
            },
            "derived": {},
            "environment": { "id": "DB1" },
            "hypervisor": "kvm",
            "first_boot": true,
            "version": "2",
            "previous_version": null,
            "changed": ["/etc/a"]
        })
    );
    let variables: BTreeMap<_, _> = call.variables(Moment::Ready).into_iter().collect();
    let want = [
        ("OVF_APPLIANCE_VERSION", "2"),
        ("OVF_HOOK", "ready"),
        ("OVF_NAME", "a\n\"b\""),
        ("OVF_PORT", "80"),
        ("OVF_PORTS", "[1,2]"),
    ];
    assert_eq!(variables, want.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(format!("{call:?}"), "Call(..)");

    let stop = call.of_stop(Action::Halt);
    let json: serde_json::Value = serde_json::from_slice(&stop.json(Moment::Stop, 7).concat()).expect("JSON");
    assert_eq!(
        (&json["hook"], &json["action"], &json["version"]),
        (&"stop".into(), &"halt".into(), &"2".into())
    );
    assert!(stop.variables(Moment::Stop).contains(&("OVF_STOP_ACTION".to_owned(), "halt".to_owned())));
    let unknown = Told { parameters: None, derived: None, ..told };
    let json: serde_json::Value =
        serde_json::from_slice(&Call::new(&unknown, &declared).json(Moment::Stop, 0).concat()).expect("JSON");
    assert_eq!((&json["parameters"], &json["derived"]), (&serde_json::Value::Null, &serde_json::Value::Null));
}
