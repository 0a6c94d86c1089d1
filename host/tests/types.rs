//! Every type of a property beside every type of a parameter: what the descriptor lets through, and what the appliance takes of it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

mod common;
#[path = "common/agent.rs"]
mod program;
use common::{answer, program as script};
use program::agent;

/// DSP0243's types, table 6, in the order of the columns below.
const OFFERED: [&str; 12] = [
    "boolean", "uint8", "sint8", "uint16", "sint16", "uint32", "sint32", "uint64", "sint64", "real32",
    "real64", "string",
];

/// `.` is no finding: all that the property can be is taken. `w` is `agent-type`: some of it is not, or it is another type. `E` is
/// `agent-mismatch`: nothing of it is.
#[rustfmt::skip]
const WANTED: [(&str, &str); 25] = [
    //               b  u8 s8 16    32    64    r32 64 string
    ("string",      ".  .  .  . .   . .   . .   .  .   ."),
    ("bool",        ".  w  w  w w   w w   w w   w  w   w"),
    ("int",         "E  .  .  . .   . .   w .   w  w   w"),
    ("uint",        "E  .  w  . w   . w   . w   w  w   w"),
    // No type is without 0; one that ends at 255 is hardly meant for a port.
    ("port",        "E  w  w  . w   w w   w w   w  w   w"),
    ("real",        "E  .  .  . .   . .   . .   .  .   w"),
    ("ip",          "E  E  E  E E   E E   E E   E  E   ."),
    ("ipv4",        "E  E  E  E E   E E   E E   E  E   ."),
    ("ipv6",        "E  E  E  E E   E E   E E   E  E   ."),
    ("cidr",        "E  E  E  E E   E E   E E   E  E   ."),
    ("netmask",     "E  E  E  E E   E E   E E   E  E   ."),
    // `true` is a name, and so is 1.5e3.
    ("hostname",    "w  E  E  E E   E E   E E   w  w   ."),
    ("fqdn",        "E  E  E  E E   E E   E E   w  w   ."),
    ("email",       "E  E  E  E E   E E   E E   E  E   ."),
    ("url",         "E  E  E  E E   E E   E E   E  E   ."),
    // `true` has four characters, and so has 8080.
    ("base64",      "w  E  E  w w   w w   w w   w  w   ."),
    ("locale",      "E  E  E  E E   E E   E E   E  E   ."),
    ("timezone",    "w  E  E  E E   E E   E E   E  E   ."),
    // One item is a list.
    ("list<string>", ".  .  .  . .   . .   . .   .  .   ."),
    ("list<bool>",  "w  w  w  w w   w w   w w   w  w   ."),
    ("list<int>",   "E  w  w  w w   w w   w w   w  w   ."),
    ("list<port>",  "E  w  w  w w   w w   w w   w  w   ."),
    ("list<ipv4>",  "E  E  E  E E   E E   E E   E  E   ."),
    ("map",         "E  E  E  E E   E E   E E   E  E   ."),
    ("map<int>",    "E  E  E  E E   E E   E E   E  E   ."),
];

/// A descriptor with these properties and an appliance with these parameters, of the keys that both have; what is found of each, by its key.
fn found(directory: &Path, properties: &str, parameters: &str) -> (Vec<(String, String)>, String) {
    let text = format!(
        r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><References/>
<VirtualSystem ovf:id="vm"><Info>VM</Info><ProductSection><Info>P</Info>{properties}</ProductSection></VirtualSystem></Envelope>"#
    );
    fs::write(directory.join("a.ovf"), text).expect("written");
    fs::create_dir_all(directory.join("agent/hooks.d/ready")).expect("made");
    fs::write(directory.join("agent/agent.toml"), format!("[parameters]\n{parameters}")).expect("written");
    // It is told all of them, so that none is unused.
    script(&directory.join("agent/hooks.d/ready/10-a"), "#!/bin/sh\n");
    let (said, _) = answer(directory, &["check", "a.ovf", "--agent", "agent", "--agent-program", agent()]);
    let one = |line: &str| {
        let (_, code) = line.strip_suffix(']')?.rsplit_once(" [")?;
        let (_, rest) = line.split_once("the descriptor lets `")?;
        Some((rest.split_once('`')?.0.to_owned(), code.to_owned()))
    };
    (said.lines().filter_map(one).collect(), said)
}

#[test]
fn every_type_is_compared_with_every_type() {
    let scratch = tempfile::tempdir().expect("a directory");
    let (mut properties, mut parameters, mut want) = (String::new(), String::new(), BTreeSet::new());
    for (row, (wanted, verdicts)) in WANTED.iter().enumerate() {
        let verdicts: Vec<&str> = verdicts.split_whitespace().collect();
        assert_eq!(verdicts.len(), OFFERED.len(), "{wanted}");
        for (column, (offered, verdict)) in OFFERED.iter().zip(verdicts).enumerate() {
            let key = format!("k{row}-{column}");
            let _ = writeln!(
                properties,
                "<Property ovf:key=\"{key}\" ovf:type=\"{offered}\" ovf:userConfigurable=\"true\"/>"
            );
            let _ = writeln!(parameters, "p{row}_{column} = {{ key = \"{key}\", type = \"{wanted}\" }}");
            if let Some(code) = match verdict {
                "E" => Some("agent-mismatch"),
                "w" => Some("agent-type"),
                _ => None,
            } {
                want.insert(format!("{wanted} by {offered}: {code}"));
            }
        }
    }
    let (found, said) = found(scratch.path(), &properties, &parameters);
    let named = |(key, code): &(String, String)| {
        let (row, column) = key[1..].split_once('-').expect("a key");
        let at = |number: &str| number.parse::<usize>().expect("a number");
        format!("{} by {}: {code}", WANTED[at(row)].0, OFFERED[at(column)])
    };
    let all: Vec<String> = found.iter().map(named).collect();
    let set: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(all.len(), set.len(), "each once: {said}");
    let differs: Vec<_> = want.symmetric_difference(&set).collect();
    assert!(differs.is_empty(), "{differs:#?}");
    let others: Vec<_> = said.lines().filter(|it| it.contains("[agent-") && !it.contains("lets `")).collect();
    assert!(others.is_empty(), "{others:#?}");
}

/// A type that the agent learns wants its row above.
#[test]
fn the_table_has_every_type_of_the_agent() {
    let scratch = tempfile::tempdir().expect("a directory");
    let (_, said) = found(scratch.path(), "", "x = { type = \"nothing\" }\n");
    let (_, known) = said.split_once("there are ").expect("the types");
    let (known, _) = known.split_once(", list<T>").expect("the types");
    let rows: BTreeSet<&str> = WANTED.iter().map(|(name, _)| *name).filter(|it| !it.contains('<')).collect();
    let known: BTreeSet<&str> = known.split(", ").chain(["map"]).collect();
    assert_eq!(known, rows);
}

/// What a parameter asks for beside its type, and what a property says beside its own.
#[test]
fn rules_and_qualifiers_are_compared_as_well() {
    for (property, parameter, want) in [
        // No more than three characters, and no fewer than one.
        ("uint8", "type = \"string\", max = 8", None),
        ("uint16", "type = \"string\", max = 3", Some("agent-type")),
        ("boolean", "type = \"string\", one-of = [\"true\", \"false\"]", None),
        ("boolean", "type = \"string\", one-of = [\"a\", \"b\"]", Some("agent-mismatch")),
        ("boolean", "type = \"string\", pattern = \"[a-z]+\"", None),
        ("boolean", "type = \"string\", pattern = \"[0-9]+\"", Some("agent-mismatch")),
        // What was not tried may be what the pattern is for.
        ("uint8", "type = \"string\", pattern = \"77\"", Some("agent-type")),
        ("string\" ovf:qualifiers=\"ValueMap{a,b}", "type = \"ipv4\"", Some("agent-mismatch")),
        ("string\" ovf:qualifiers=\"ValueMap{192.0.2.1,b}", "type = \"ipv4\"", Some("agent-type")),
        ("string\" ovf:qualifiers=\"ValueMap{192.0.2.1,192.0.2.2}", "type = \"ipv4\"", None),
        ("string\" ovf:qualifiers=\"ValueMap{a,b}", "type = \"hostname\"", None),
        ("string\" ovf:qualifiers=\"ValueMap{a,b}", "type = \"port\"", Some("agent-mismatch")),
        ("string\" ovf:qualifiers=\"ValueMap{80,b}", "type = \"port\"", Some("agent-type")),
        ("string\" ovf:qualifiers=\"ValueMap{80,443}", "type = \"port\"", None),
        ("uint16\" ovf:qualifiers=\"ValueMap{80,443}", "type = \"list<port>\"", Some("agent-type")),
        ("boolean\" ovf:value=\"true", "type = \"ipv4\"", Some("agent-mismatch")),
    ] {
        let scratch = tempfile::tempdir().expect("a directory");
        let properties =
            format!("<Property ovf:key=\"x\" ovf:type=\"{property}\" ovf:userConfigurable=\"true\"/>");
        let (found, said) =
            found(scratch.path(), &properties, &format!("x = {{ key = \"x\", {parameter} }}\n"));
        let want: Vec<_> = want.into_iter().map(|code| ("x".to_owned(), code.to_owned())).collect();
        assert_eq!(found, want, "{property} for {parameter}: {said}");
    }
}
