//! Every key that the agent knows is in the documentation, and what the documentation shows of them is accepted.

use std::process::Command;

use serde_json::Value;

use crate::desk::write;
use crate::markdown::{Block, pages};
use crate::{agent, read, said, top};

/// What documents speak of without declaring it each time.
const NAMES: &str = r#"[parameters]
ip       = { key = "ip", type = "ipv4" }
mask     = { key = "mask", type = "netmask" }
peer     = { key = "peer", type = "ipv4" }
primary  = { key = "primary", type = "bool" }
servers  = { key = "servers", type = "list<hostname>" }
password = { key = "password", type = "string", sensitive = true }
log_level = { key = "log_level", type = "string" }
dhcp     = { key = "dhcp", type = "bool" }
"#;

#[test]
fn what_documents_show_is_accepted() {
    let mut tried = 0;
    for page in pages(&top()) {
        for block in &page.blocks {
            // What one template needs is declared somewhere on its page, or for its own answer where it has some.
            let alike = |language: &'static str| {
                page.blocks.iter().filter(move |it| it.language == language && it.place == block.place)
            };
            // A package's recipe, which is no business of the agent's.
            if block.file().is_some_and(|it| it.ends_with("appliance.toml")) {
                continue;
            }
            let (drop_ins, template): (Vec<&Block>, _) = match block.language.as_str() {
                "toml" => (vec![block], None),
                "tera" => (alike("toml").collect(), Some(block)),
                _ => continue,
            };
            let scratch = tempfile::tempdir().expect("a scratch directory");
            write(&scratch.path().join("agent.toml"), NAMES);
            for (number, block) in drop_ins.iter().enumerate() {
                write(&scratch.path().join(format!("agent.d/{number:02}.toml")), &block.text());
            }
            if let Some(template) = template {
                write(&scratch.path().join("templates/a.tera"), &template.text());
            }
            let output = Command::new(agent()).args(["check", "--config"]).arg(scratch.path()).output();
            let output = output.expect("the agent runs");
            assert!(output.status.success(), "{}: {}", page.at(block.first), said(&output));
            tried += 1;
        }
    }
    assert!(tried > 10, "{tried} blocks");
}

#[test]
fn every_key_is_documented() {
    let output = Command::new(agent()).arg("schema").output().expect("the agent runs");
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = read(top().join("docs/configuration.md"));
    let mut keys: Vec<String> = Vec::new();
    let names = |object: &Value| object.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    for (section, value) in schema["properties"].as_object().expect("an object") {
        keys.push(section.clone());
        if let Some(properties) = value.get("properties") {
            keys.extend(names(properties));
        }
    }
    keys.extend(names(&schema["$defs"]["parameter"]["properties"]));
    // Keys and sections stand between backquotes, alone or behind their section.
    let known = |key: &String| {
        [format!("`{key}`"), format!(" {key}`"), format!("`[{key}]"), format!(".{key}]")]
            .iter()
            .any(|it| text.contains(it))
    };
    let missing: Vec<_> = keys.iter().filter(|key| !known(key)).collect();
    assert!(keys.len() > 20 && missing.is_empty(), "not in docs/configuration.md: {missing:?}");

    let refused = "[parameters]\na = { key = \"a\", type = \"nothing\" }\n";
    let types = names_in("agent.toml", refused, "there are ", ", ");
    let missing: Vec<_> = types.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert!(types.len() > 15 && missing.is_empty(), "not in docs/configuration.md: {missing:?}");

    let text = read(top().join("docs/templates.md"));
    for (front, least) in [("nobody-has-this = 1", 10), ("path = \"/a\"\nescape = \"nothing\"", 5)] {
        let words = names_in("templates/a.tera", &format!("+++\n{front}\n+++\n"), "expected one of ", "`");
        let missing: Vec<_> = words.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
        assert!(words.len() > least && missing.is_empty(), "not in docs/templates.md: {missing:?}");
    }
}

/// The names that a refusal lists behind these words, between these marks.
fn names_in(file: &str, wrong: &str, behind: &str, mark: &str) -> Vec<String> {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    write(&scratch.path().join("agent.toml"), "");
    write(&scratch.path().join(file), wrong);
    let output = Command::new(agent()).args(["check", "--config"]).arg(scratch.path()).output();
    let message = said(&output.expect("the agent runs"));
    let (_, list) = message.split_once(behind).unwrap_or_else(|| panic!("no list in {message}"));
    let list = list.lines().next().expect("a line").replace(" and ", mark);
    let list = list.split("; did you").next().expect("a list");
    list.split(mark).filter(|name| !name.is_empty() && *name != ", ").map(str::to_owned).collect()
}
