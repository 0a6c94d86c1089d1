//! Descriptors beside what an appliance declares, as its own agent says it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

mod common;
#[path = "common/agent.rs"]
mod program;
use common::{answer, codes};
use program::agent;

/// A directory with a descriptor of these properties and an appliance of these parameters.
fn scratch(properties: &str, parameters: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let text = format!(
        r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:vmw="http://www.vmware.com/schema/ovf">
<References/>
<VirtualSystemCollection ovf:id="all"><Info>All</Info>
<ProductSection><Info>All</Info><Property ovf:key="domain" ovf:type="string" ovf:userConfigurable="true"/></ProductSection>
<VirtualSystem ovf:id="vm"><Info>VM</Info><ProductSection ovf:class="c"><Info>P</Info>
<Property ovf:key="name" ovf:type="string" ovf:value="www.${{domain}}"/>
{properties}
</ProductSection></VirtualSystem>
<VirtualSystem ovf:id="other"><Info>Other</Info></VirtualSystem>
</VirtualSystemCollection></Envelope>"#
    );
    fs::write(directory.path().join("a.ovf"), text).expect("written");
    fs::create_dir_all(directory.path().join("agent/templates")).expect("made");
    let config = format!("[parameters]\nname = {{ key = \"c.name\", type = \"string\" }}\n{parameters}\n");
    fs::write(directory.path().join("agent/agent.toml"), config).expect("written");
    let uses = if parameters.starts_with("x =") { "{% if name and x %}{% endif %}" } else { "{{ name }}" };
    fs::write(
        directory.path().join("agent/templates/a.tera"),
        format!("+++\npath = \"/etc/a\"\nmode = \"0600\"\n+++\n{uses}"),
    )
    .expect("written");
    directory
}

fn check(directory: &Path, place: &str) -> (String, Option<i32>) {
    answer(directory, &["check", "a.ovf", "--agent", place, "--agent-program", agent()])
}

#[test]
fn properties_and_parameters_are_compared() {
    let x =
        |attributes: &str| format!("<Property ovf:key=\"x\" ovf:userConfigurable=\"true\" {attributes}/>");
    let fixed = |attributes: &str| format!("<Property ovf:key=\"x\" {attributes}/>");
    let p = |rest: &str| format!("x = {{ key = \"c.x\", {rest} }}");
    for (property, parameter, want) in [
        (x("ovf:type=\"string\""), p("type = \"string\""), None),
        (x("ovf:type=\"string\""), String::new(), Some("agent-unread")),
        (String::new(), p("type = \"string\""), Some("agent-unfed")),
        (String::new(), p("type = \"string\", required = true"), Some("agent-required")),
        (String::new(), p("type = \"port\", required = true"), Some("agent-required")),
        (fixed("ovf:type=\"uint16\""), p("type = \"port\", required = true"), Some("agent-required")),
        (fixed("ovf:type=\"uint16\" ovf:value=\"1\""), p("type = \"port\", required = true"), None),
        // Empty is what nobody gives, whatever the type, and no qualifier asks for a number.
        (x("ovf:type=\"uint16\""), p("type = \"port\", required = true"), Some("agent-type")),
        (x("ovf:type=\"boolean\""), p("type = \"bool\", required = true"), Some("agent-type")),
        (x("ovf:type=\"uint16\" ovf:value=\"1\""), p("type = \"port\", required = true"), None),
        (x("ovf:type=\"uint16\""), p("type = \"port\""), None),
        // What the platform gives is there.
        (x("ovf:type=\"uint8\" vmw:qualifiers=\"HostPrefix\""), p("type = \"uint\", required = true"), None),
        (fixed("ovf:type=\"string\" vmw:qualifiers=\"Ip\""), p("type = \"ip\", required = true"), None),
        (
            x("ovf:type=\"string\" vmw:qualifiers=\"Ip\""),
            p("type = \"ip\", required = true"),
            Some("agent-type"),
        ),
        (x("ovf:type=\"uint16\""), p("type = \"string\", required = true"), Some("agent-type")),
        (
            fixed("ovf:type=\"string\" ovf:value=\"s3cret\""),
            p("type = \"port\", required = true"),
            Some("agent-refused"),
        ),
        (fixed("ovf:type=\"string\" ovf:value=\"yes\""), p("type = \"bool\""), None),
        (
            "<Property ovf:key=\"x\" ovf:type=\"string\" ovf:value=\"80\"><Value ovf:value=\"s3cret\" ovf:configuration=\"large\"/></Property>"
                .to_owned(),
            p("type = \"port\""),
            Some("agent-refused"),
        ),
        (x("ovf:type=\"string\""), p("type = \"string\", required = true"), Some("agent-type")),
        (x("ovf:type=\"string\""), p("type = \"string\", required = true, empty = \"value\""), None),
        (x("ovf:type=\"string\""), p("type = \"ipv4\", required = true"), Some("agent-type")),
        (fixed("ovf:type=\"string\""), p("type = \"ipv4\", required = true"), Some("agent-required")),
        (
            x("ovf:type=\"string\" ovf:qualifiers=\"MinLen(1)\""),
            p("type = \"string\", required = true"),
            None,
        ),
        (x("ovf:type=\"string\""), p("type = \"uint\""), Some("agent-type")),
        (x("ovf:type=\"uint8\""), p("type = \"port\""), Some("agent-type")),
        (x("ovf:type=\"sint8\""), p("type = \"port\""), Some("agent-type")),
        (x("ovf:type=\"uint32\""), p("type = \"real\""), None),
        (
            x("ovf:type=\"string\" ovf:qualifiers=\"ValueMap{&quot;1&quot;,&quot;2&quot;}\""),
            p("type = \"uint\""),
            None,
        ),
        (
            x("ovf:type=\"string\" ovf:qualifiers=\"ValueMap{&quot;on&quot;,&quot;off&quot;}\""),
            p("type = \"bool\""),
            None,
        ),
        (x("ovf:type=\"string\""), p("type = \"string\", one-of = [\"a\", \"b\"]"), Some("agent-type")),
        (
            x("ovf:type=\"string\" ovf:qualifiers=\"ValueMap{&quot;a&quot;}\""),
            p("type = \"string\", one-of = [\"a\", \"b\"]"),
            None,
        ),
        (x("ovf:type=\"string\""), p("type = \"string\", max = 8"), Some("agent-type")),
        (x("ovf:type=\"string\" ovf:qualifiers=\"MaxLen(8)\""), p("type = \"string\", max = 8"), None),
        (x("ovf:type=\"string\" ovf:password=\"true\""), p("type = \"string\""), Some("agent-secret")),
        (x("ovf:type=\"string\""), p("type = \"string\", sensitive = true"), Some("agent-secret")),
        (x("ovf:type=\"string\" ovf:password=\"true\""), p("type = \"string\", sensitive = true"), None),
        (String::new(), "x = { type = \"nothing\" }".to_owned(), Some("agent-unusable")),
    ] {
        let scratch = scratch(&property, &parameter);
        let (text, _) = check(scratch.path(), "vm=agent");
        let found: Vec<_> = codes(&text).filter(|code| code.starts_with("agent-")).collect();
        assert_eq!(found, want.into_iter().collect::<Vec<_>>(), "{property} {parameter}: {text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

/// The agent's own rules, which no qualifier can say, for defaults as for what nobody may change, computed or not.
#[test]
fn the_descriptors_own_values_are_judged_by_the_agent() {
    let x = |attributes: &str| format!("<Property ovf:key=\"x\" {attributes}/>");
    let p = |rest: &str| format!("x = {{ key = \"c.x\", {rest} }}");
    let asked = "ovf:type=\"string\" ovf:userConfigurable=\"true\" ovf:qualifiers=\"MinLen(1)\" ovf:value=";
    for (property, parameter, want) in [
        (
            x("ovf:type=\"string\" ovf:value=\"192.0.2.300\""),
            p("type = \"ipv4\""),
            Some("it must be an IPv4 address"),
        ),
        (
            x("ovf:type=\"uint64\" ovf:value=\"65\""),
            p("type = \"uint\", max = 64"),
            Some("it must be at most 64"),
        ),
        (x("ovf:type=\"uint64\" ovf:value=\"64\""), p("type = \"uint\", max = 64"), None),
        (
            x(&format!("{asked}\"s3cret\"")),
            p("type = \"string\", pattern = \"[0-9]+\""),
            Some("it must match"),
        ),
        (x(&format!("{asked}\"7\"")), p("type = \"string\", pattern = \"[0-9]+\""), None),
        // What somebody has to give is nothing yet; what it would be made of is there.
        (
            x("ovf:type=\"string\" ovf:userConfigurable=\"true\""),
            p("type = \"string\", required = true"),
            None,
        ),
        (
            x("ovf:type=\"string\" ovf:value=\"${domain}/s3cret\""),
            p("type = \"fqdn\""),
            Some("it must be a host name"),
        ),
    ] {
        let scratch = scratch(&property, &parameter);
        let (text, status) = check(scratch.path(), "vm=agent");
        let found: Vec<_> = text.lines().filter(|it| it.contains("the appliance would refuse")).collect();
        let wanted = if want.is_some() { (1, Some(78)) } else { (0, Some(0)) };
        assert_eq!((found.len(), status), wanted, "{property}: {text}");
        assert!(want.is_none_or(|want| found[0].contains(&format!("the value of `c.x`: {want}"))), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

/// A value that is made of others is empty where all of them are; and in a deployment option that has none.
#[test]
fn what_may_be_empty_is_looked_for_where_it_comes_from() {
    let made = |value: &str, more: &str| {
        format!("<Property ovf:key=\"x\" ovf:type=\"string\" ovf:value=\"{value}\" {more}/>")
    };
    let of_options = |usual: &str, other: &str| {
        format!(
            "<Property ovf:key=\"x\" ovf:type=\"uint16\" ovf:userConfigurable=\"true\" {usual}>\
             <Value ovf:value=\"80\" ovf:configuration=\"{other}\"/></Property>"
        )
    };
    let options = "<DeploymentOptionSection><Info>O</Info><Configuration ovf:id=\"small\" ovf:default=\"true\">\
                   <Label>S</Label><Description>S</Description></Configuration><Configuration ovf:id=\"large\">\
                   <Label>L</Label><Description>L</Description></Configuration></DeploymentOptionSection>";
    let between = "<VirtualSystemCollection ovf:id=\"tier\"><Info>T</Info><ProductSection><Info>T</Info>\
                   <Property ovf:key=\"handed\" ovf:type=\"string\" ovf:value=\"${domain}\"/>\
                   <Property ovf:key=\"kept\" ovf:type=\"string\" ovf:value=\"${asked}\"/></ProductSection>";
    let (name, port) = ("type = \"fqdn\", required = true", "type = \"port\", required = true");
    let from = "the appliance requires `c.x`, which is made of `domain`, and the descriptor lets that be empty; add MinLen(1)";
    let own = "the appliance requires `c.x`, and the descriptor lets it be empty; give the property a value";
    let fixed = "the appliance requires `c.x`, which has no value here";
    for (property, parameter, want) in [
        (made("${domain}", ""), name, Some(from)),
        (made("${domain}", "ovf:qualifiers=\"MinLen(1)\""), name, None),
        (made("", "ovf:qualifiers=\"MinLen(1)\""), name, Some(fixed)),
        (made("${asked}", ""), name, None),
        (made("${domain}${asked}", ""), name, None),
        (made("${domain}", ""), "type = \"fqdn\"", None),
        // A collection between hands both on.
        (made("${handed}", ""), name, Some(from)),
        (made("${handed}${kept}", ""), name, None),
        (of_options("", "large"), port, Some(own)),
        (of_options("", "small"), port, Some(own)),
        (of_options("ovf:value=\"81\"", "small"), port, None),
    ] {
        let scratch = scratch(&property, &format!("x = {{ key = \"c.x\", {parameter} }}"));
        let path = scratch.path().join("a.ovf");
        let asked = "<Property ovf:key=\"asked\" ovf:type=\"string\" ovf:userConfigurable=\"true\" ovf:qualifiers=\"MinLen(1)\"/>";
        let text = fs::read_to_string(&path)
            .expect("there")
            .replace("<References/>", &format!("<References/>{options}"));
        let text = text.replacen("</ProductSection>", &format!("{asked}</ProductSection>"), 1);
        let text = match property.contains("${handed}") {
            true => text
                .replace("<VirtualSystem ovf:id=\"vm\">", &format!("{between}<VirtualSystem ovf:id=\"vm\">"))
                .replacen("</VirtualSystem>", "</VirtualSystem></VirtualSystemCollection>", 1),
            false => text,
        };
        fs::write(&path, text).expect("written");
        let (said, _) = check(scratch.path(), "vm=agent");
        let found: Vec<_> = said.lines().filter(|it| it.contains("the appliance requires")).collect();
        assert_eq!(found.len(), usize::from(want.is_some()), "{property}: {said}");
        assert!(want.is_none_or(|want| found[0].contains(want)), "{property}: {said}");
    }
}

#[test]
fn what_macros_take_in_is_read() {
    let scratch = scratch("", "");
    assert_eq!(codes(&check(scratch.path(), "vm=agent").0).count(), 0);
    // The other machine sees the domain as well, and its appliance reads what it has not.
    let (text, status) = check(scratch.path(), "agent");
    assert_eq!((codes(&text).collect::<Vec<_>>(), status), (vec!["agent-unfed"], Some(0)), "{text}");
    assert!(text.contains("of `other`"), "{text}");
}

/// What a parameter is for, the agent knows: templates, hooks, units, gates, and what siblings are asked for.
#[test]
fn what_is_used_of_what_is_read_is_asked_of_the_agent() {
    let property = "<Property ovf:key=\"x\" ovf:type=\"string\" ovf:userConfigurable=\"true\"/>";
    let declared = "[parameters]\nname = { key = \"c.name\", type = \"string\" }\nx = { key = \"c.x\", type = \"string\" }\n";
    for (more, hook, want) in [
        ("", false, &["agent-unused"][..]),
        ("", true, &[]),
        ("[derived]\ny = \"{{ x }}\"\n", false, &["agent-unused"]),
        ("[[units]]\nname = \"a.service\"\nwhen = \"x is none\"\nstate = \"started\"\n", false, &[]),
        // The property that tells instances apart is the agent's own.
        ("[state]\ninstance-id = \"c.x\"\n", false, &[]),
        ("o = { entity = \"other\", key = \"domain\", type = \"fqdn\" }\n", true, &[]),
        ("o = { entity = \"other\", key = \"domian\", type = \"fqdn\" }\n", true, &["agent-unfed"]),
        ("o = { entity = \"othr\", key = \"domain\", type = \"fqdn\" }\n", true, &["agent-unfed"]),
        ("o = { entity = \"vm\", key = \"domain\", type = \"fqdn\" }\n", true, &[]),
        ("o = { entity = \"*\", key = \"none\", type = \"fqdn\" }\n", true, &["agent-unfed"]),
        ("[ready]\nentities = [{ entity = \"other\", key = \"domain\", port = 80 }]\n", true, &[]),
        ("[ready]\nentities = [{ entity = \"other\", key = \"none\", port = 80 }]\n", true, &["agent-unfed"]),
    ] {
        let scratch = scratch(property, "");
        fs::write(scratch.path().join("agent/agent.toml"), format!("{declared}{more}")).expect("written");
        if hook {
            let path = scratch.path().join("agent/hooks.d/ready/10-a");
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(&path, "#!/bin/sh\n").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        }
        let (text, status) = check(scratch.path(), "vm=agent");
        let found: Vec<_> = codes(&text).filter(|code| code.starts_with("agent-")).collect();
        assert_eq!((found, status), (want.to_vec(), Some(0)), "{more}: {text}");
    }
    // What a sibling alone reads is read.
    let scratch = scratch("", "o = { entity = \"other\", key = \"own\", type = \"fqdn\" }\n");
    let descriptor = scratch.path().join("a.ovf");
    let text = fs::read_to_string(&descriptor).expect("there");
    let own = "<ProductSection><Info>O</Info><Property ovf:key=\"own\" ovf:type=\"string\" ovf:userConfigurable=\"true\"/></ProductSection>";
    let other = "<Info>Other</Info>";
    fs::write(&descriptor, text.replace(other, &format!("{other}{own}"))).expect("written");
    fs::create_dir(scratch.path().join("idle")).expect("made");
    fs::write(scratch.path().join("idle/agent.toml"), "").expect("written");
    let arguments =
        ["check", "a.ovf", "--agent", "vm=agent", "--agent", "other=idle", "--agent-program", agent()];
    let (text, _) = answer(scratch.path(), &arguments);
    assert_eq!(codes(&text).collect::<Vec<_>>(), [""; 0], "{text}");
}

/// What the agent refuses is said at its place in the appliance, in a directory as in an image.
#[test]
fn a_broken_appliance_is_told_where_it_is_broken() {
    let scratch = scratch("", "");
    fs::write(
        scratch.path().join("agent/templates/b.tera"),
        "+++\npath = \"/etc/b\"\n+++\n{{ a }}\n{{ b }}\n",
    )
    .expect("written");
    let (text, status) = check(scratch.path(), "vm=agent");
    for place in ["agent/templates/b.tera:4:4: error: ", "agent/templates/b.tera:5:4: error: "] {
        assert!(text.contains(place), "{text}");
    }
    assert_eq!((codes(&text).filter(|it| *it == "agent-unusable").count(), status), (2, Some(78)), "{text}");
    let image = scratch.path().join("image/usr/lib");
    fs::create_dir_all(&image).expect("made");
    fs::rename(scratch.path().join("agent"), image.join("ovf-agent")).expect("moved");
    let (text, _) = check(scratch.path(), "vm=image");
    assert!(text.contains("image/usr/lib/ovf-agent/templates/b.tera:4:4: error: "), "{text}");
}

#[test]
fn an_appliance_is_a_directory_or_an_image() {
    let scratch = scratch("", "");
    let image: PathBuf = scratch.path().join("image/etc/ovf-agent");
    fs::create_dir_all(image.join("templates")).expect("made");
    fs::copy(scratch.path().join("agent/agent.toml"), image.join("agent.toml")).expect("copied");
    assert_eq!(check(scratch.path(), "vm=image").1, Some(0));
    // The links of an image lead through its root.
    fs::create_dir(scratch.path().join("linked")).expect("made");
    fs::rename(scratch.path().join("image/etc"), scratch.path().join("linked/there")).expect("moved");
    symlink("/there", scratch.path().join("linked/etc")).expect("made");
    assert_eq!(check(scratch.path(), "vm=linked").1, Some(0));
    fs::create_dir_all(scratch.path().join("bare/etc/ovf-agent")).expect("made");
    for (place, want) in [
        (
            "VM=agent",
            "agent: error: there is no virtual system `VM`; `vm` was probably meant [agent-unknown-machine]",
        ),
        (
            "vm=none",
            "none: error: there is no such directory; name one with agent.toml, or an image's root [unreadable]",
        ),
        (
            "vm=bare",
            "bare: error: there is no agent.toml in it, and as in an image's root none in etc/ovf-agent, run/ovf-agent or \
             usr/lib/ovf-agent; name a directory with agent.toml, or an image's root [agent-unusable]",
        ),
        ("vm=", "ovf-host: --agent `vm=` names no directory"),
    ] {
        let (text, _) = check(scratch.path(), place);
        assert!(text.contains(want), "{place}: {text}");
    }
    // A slip in the id is none that a build goes on with.
    let (text, status) = check(scratch.path(), "VM=agent");
    assert_eq!(
        (codes(&text).collect::<Vec<_>>(), status),
        (vec!["agent-unknown-machine"], Some(78)),
        "{text}"
    );
    for (place, want) in [("vm=agent", "`vm`"), ("agent", "all others")] {
        let (text, status) = answer(scratch.path(), &["check", "a.ovf", "--agent", place, "--agent", place]);
        let want = format!("ovf-host: --agent names a directory of {want} twice\n");
        assert_eq!((text, status), (want, Some(64)));
    }
    let arguments = ["check", "a.ovf", "--agent", "vm=agent", "--agent-program", "no-such-agent"];
    let (text, status) = answer(scratch.path(), &arguments);
    assert_eq!((codes(&text).collect::<Vec<_>>(), status), (vec!["unreadable"], Some(1)), "{text}");

    // What cannot be asked is no pass.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ovf-host"));
    command.args(["check", "a.ovf", "--agent", "vm=agent", "--agent-program"]).arg(agent());
    let output = command.current_dir(&scratch).env("TMPDIR", "/no/such").output().expect("it runs");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
    let want = "temporary files cannot be written in `/no/such`: No such file or directory (os error 2); name another directory by TMPDIR [unreadable]";
    assert!(text.contains(want) && output.status.code() == Some(1), "{text}");
}
