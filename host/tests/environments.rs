//! Environments, as the guests' agents read them.

use std::fmt::Write;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use ovf_agent::environment::{Environment, Properties, parse};

mod common;
use common::{answer, codes, host};

/// Runs `ovf-host env` on a descriptor and reads the document.
fn environment(directory: &Path, arguments: &[&str]) -> Environment {
    let output = host(directory, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    let (environment, warnings) = parse(&output.stdout).expect("a document");
    assert!(warnings.is_empty(), "{warnings:?}");
    environment
}

fn list(properties: &Properties) -> Vec<(&str, &str)> {
    properties.iter().map(|(key, value)| (key, value.reveal())).collect()
}

/// A collection of collections, whose values depend on each other.
const NESTED: &str = r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References/>
  <DeploymentOptionSection><Info>Sizes</Info>
    <Configuration ovf:id="small"><Label>S</Label><Description>S</Description></Configuration>
    <Configuration ovf:id="large"><Label>L</Label><Description>L</Description></Configuration>
  </DeploymentOptionSection>
  <VirtualSystemCollection ovf:id="top"><Info>Top</Info>
    <ProductSection><Info>Top</Info>
      <Property ovf:key="domain" ovf:type="string" ovf:qualifiers="MaxLen(20)" ovf:userConfigurable="true" ovf:value="example.org"/>
      <Property ovf:key="hidden" ovf:type="string" ovf:userConfigurable="true" ovf:value="of the top"/>
    </ProductSection>
    <VirtualSystemCollection ovf:id="middle"><Info>Middle</Info>
      <ProductSection ovf:class="c" ovf:instance="1"><Info>Middle</Info>
        <Property ovf:key="zone" ovf:type="string" ovf:value="m.${domain}"/>
        <Property ovf:key="size" ovf:type="uint8" ovf:value="1" ovf:userConfigurable="true"><Value ovf:value="9" ovf:configuration="large"/></Property>
        <Property ovf:key="same" ovf:type="string" ovf:value="of the parent"/>
      </ProductSection>
      <ProductSection ovf:class="c" ovf:instance="2"><Info>Middle</Info>
        <Property ovf:key="same" ovf:type="string" ovf:value="of the other instance"/>
      </ProductSection>
      <VirtualSystem ovf:id="a"><Info>A</Info>
        <ProductSection ovf:class="c" ovf:instance="1"><Info>A</Info>
          <Property ovf:key="same" ovf:type="string" ovf:value="own"/>
          <Property ovf:key="name" ovf:type="string" ovf:value=" a.${c.zone.1}, size ${size}&#10;"/>
          <Property ovf:key="ip" ovf:type="string" ovf:userConfigurable="true"/>
          <Property ovf:key="needed" ovf:type="string" ovf:qualifiers="MinLen(1)" ovf:userConfigurable="true"/>
        </ProductSection>
      </VirtualSystem>
      <VirtualSystem ovf:id="b"><Info>B</Info>
        <ProductSection ovf:class="c" ovf:instance="1"><Info>B</Info>
          <Property ovf:key="ip" ovf:type="string" ovf:userConfigurable="true"/>
        </ProductSection>
      </VirtualSystem>
      <VirtualSystemCollection ovf:id="empty"><Info>Nothing</Info></VirtualSystemCollection>
    </VirtualSystemCollection>
  </VirtualSystemCollection>
</Envelope>"#;

fn nested() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("nested.ovf"), NESTED).expect("written");
    directory
}

#[test]
fn a_guest_sees_its_own_properties_and_those_of_its_immediate_parent() {
    let directory = nested();
    let read = environment(
        directory.path(),
        &[
            "env",
            "nested.ovf",
            "--id",
            "a",
            "--property",
            "c.needed.1=${domain}",
            "--property",
            "a:c.ip.1=192.0.2.1",
        ],
    );
    assert_eq!(read.id, "a");
    assert_eq!(read.platform.kind.as_deref(), Some("ovf-host"));
    // Not `hidden`, which is of the grandparent; what is given is no macro.
    let parent = [("c.zone.1", "m.example.org"), ("c.size.1", "1"), ("c.same.2", "of the other instance")];
    let own = [
        ("c.same.1", "own"),
        ("c.name.1", "a.m.example.org, size 1"),
        ("c.ip.1", "192.0.2.1"),
        ("c.needed.1", "${domain}"),
    ];
    assert_eq!(list(&read.properties), [&parent[..], &own].concat());

    let siblings: Vec<_> = read.entities.iter().map(|it| (it.id.as_str(), list(&it.properties))).collect();
    let whole = [("c.zone.1", "m.example.org"), ("c.size.1", "1"), ("c.same.1", "of the parent"), parent[2]];
    let b = [&whole[..], &[("c.ip.1", "")]].concat();
    assert_eq!(siblings, [("b", b), ("empty", whole.to_vec())]);
}

#[test]
fn a_deployment_option_has_values_of_its_own() {
    let directory = nested();
    for (arguments, want) in [
        (&[][..], "1"),
        (&["--configuration", "small"], "1"),
        (&["--configuration", "large"], "9"),
        (&["--configuration", "large", "--property", "c.size.1=7"], "7"),
    ] {
        let arguments =
            [&["env", "nested.ovf", "--id", "b", "--property", "c.needed.1=x"], arguments].concat();
        let read = environment(directory.path(), &arguments);
        let size = read.properties.get("c.size.1").map(|it| it.reveal());
        assert_eq!(size, Some(want), "{arguments:?}");
    }
}

#[test]
fn the_platform_is_what_is_said_of_it() {
    let directory = nested();
    let platform = ["kind=K & K", "version=", "vendor=V", "locale=de_DE", "timezone=60"];
    let mut arguments = vec!["env", "nested.ovf", "--id", "b", "--property", "c.needed.1=x"];
    arguments.extend(platform.iter().flat_map(|it| ["--platform", it]));
    let read = environment(directory.path(), &arguments).platform;
    assert_eq!(
        (read.kind.as_deref(), read.version, read.vendor.as_deref(), read.locale.as_deref(), read.timezone),
        (Some("K & K"), None, Some("V"), Some("de_DE"), Some(60))
    );
}

/// Each is refused before there is any document, and no value is shown.
#[test]
fn what_cannot_be_meant_is_refused() {
    let directory = nested();
    for (arguments, exit, want) in [
        (&["--property", "c.needed.1=x", "--configuration", "big"][..], 78, "configuration-unknown"),
        (&["--property", "c.needed.1=x", "--property", "c.ip.1=s3cret"], 78, "property-unknown"),
        (&["--property", "c.needed.1=x", "--property", "needed=s3cret"], 78, "property-unknown"),
        (&["--property", "c.needed.1=s3cret", "--property", "c.needed.1=s3cret"], 78, "property-twice"),
        (&["--property", "c.needed.1=x", "--property", "c.zone.1=s3cret"], 78, "property-fixed"),
        (&["--property", "c.needed.1=x", "--property", "c.size.1=s3cret"], 78, "property-value"),
        (&["--property", "c.needed.1=x", "--property", "c.size.1=256"], 78, "property-value"),
        (
            &["--property", "c.needed.1=x", "--property", "domain=s3cret.s3cret.s3cret.s3cret"],
            78,
            "property-value",
        ),
        (&["--property", "c.needed.1=s3cret\u{1}"], 78, "property-value"),
        (&[], 78, "property-missing"),
        (&["--property", "s3cret"], 64, ""),
        (&["--property", "c.needed.1=x", "--platform", "colour=s3cret"], 64, ""),
        (&["--property", "c.needed.1=x", "--platform", "timezone=s3cret"], 64, ""),
        (&["--property", "c.needed.1=x", "--platform", "kind=a", "--platform", "kind=b"], 64, ""),
        (&["--property", "c.needed.1=x", "--platform", "kind=s3cret\u{1}"], 64, ""),
        (&["--properties", "-", "--property-file", "c.needed.1=-"], 64, ""),
        (&["--properties", "-", "--properties", "-"], 64, ""),
        (&["--property-file", "c.needed.1=-", "--property-file", "domain=-"], 64, ""),
        (&["--properties", "none"], 1, ""),
    ] {
        let arguments = [&["env", "nested.ovf", "--id", "b"], arguments].concat();
        let (text, status) = answer(directory.path(), &arguments);
        assert_eq!(status, Some(exit), "{arguments:?}: {text}");
        assert!(!text.contains("s3cret") && !text.contains("<Environment"), "{arguments:?}: {text}");
        assert_eq!(codes(&text).next().unwrap_or_default(), want, "{arguments:?}: {text}");
    }
}

#[test]
fn a_virtual_system_is_named_or_all_are_written() {
    let directory = nested();
    let given = ["--property", "c.needed.1=x"];
    for (arguments, want, exit) in [
        (
            &[][..],
            "there are 2 virtual systems; name one with --id (`a`, `b`), or a directory for all with --output",
            64,
        ),
        (&["--id", "A"], "there is no virtual system `A`; `a` was probably meant", 78),
        (&["--id", "middle"], "`middle` is a collection; an environment is of one virtual system", 78),
    ] {
        let (text, status) =
            answer(directory.path(), &[&["env", "nested.ovf"], &given[..], arguments].concat());
        assert_eq!((text.as_str(), status), (format!("ovf-host: {want}\n").as_str(), Some(exit)));
    }
    // Before anything is asked for.
    let (text, _) = answer(directory.path(), &["env", "nested.ovf", "--id", "A"]);
    assert!(text.starts_with("ovf-host: there is no virtual system `A`"), "{text}");
    let (text, status) =
        answer(directory.path(), &[&["env", "nested.ovf", "-o", "out"], &given[..]].concat());
    assert_eq!((text.as_str(), status), ("", Some(0)));
    for id in ["a", "b"] {
        let path = directory.path().join(format!("out/{id}.xml"));
        let (read, _) = parse(&fs::read(&path).expect("written")).expect("a document");
        assert_eq!(read.id, id);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).expect("written").permissions());
        assert_eq!(mode & 0o777, 0o600, "property values are in it");
    }
}

#[test]
fn values_come_from_a_file_as_well() {
    let directory = nested();
    fs::write(directory.path().join("values"), "# for b\n\nc.needed.1=a=b \nb:c.ip.1=\n").expect("written");
    let read = environment(directory.path(), &["env", "nested.ovf", "--id", "a", "--properties", "values"]);
    assert_eq!(read.properties.get("c.needed.1").map(|it| it.reveal()), Some("a=b "));
}

/// What is said later counts: files in their order, then the command line. Twice in one place is a slip.
#[test]
fn the_command_line_comes_before_files() {
    let directory = nested();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("written");
    write("first", "\u{FEFF}c.needed.1=of the first\n a:c.ip.1 = 1 \n");
    write("second", "  # a comment\nc.needed.1=of the second\n");
    write("pem", "-----BEGIN-----\nMII=\n-----END-----\n");
    let files = ["env", "nested.ovf", "--id", "a", "--properties", "first", "--properties", "second"];
    for (more, needed) in [
        (&[][..], "of the second"),
        (&["--property", "c.needed.1=of the line"], "of the line"),
        (&["--property", "a:c.needed.1=of the line"], "of the line"),
        (&["--property-file", "c.needed.1=pem"], "-----BEGIN-----\nMII=\n-----END-----"),
    ] {
        let read = environment(directory.path(), &[&files[..], more].concat());
        let value = |name| read.properties.get(name).map(|it| it.reveal());
        assert_eq!((value("c.needed.1"), value("c.ip.1")), (Some(needed), Some(" 1 ")), "{more:?}");
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_ovf-host"))
        .args(["env", "nested.ovf", "--id", "a", "--properties", "-"])
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    child.stdin.take().expect("piped").write_all(b"c.needed.1=of the pipe\n").expect("written");
    let output = child.wait_with_output().expect("it ends");
    let (read, _) = parse(&output.stdout).expect("a document");
    assert_eq!(read.properties.get("c.needed.1").map(|it| it.reveal()), Some("of the pipe"));
}

/// What stands in a file and is no property may be a part of a secret: its place is told, and no word of it.
#[test]
fn what_goes_astray_in_a_file_is_told_by_its_line() {
    let directory = nested();
    for (text, want, status) in [
        (
            "c.needed.1=x\nMIIs3cret=\n",
            "values:2:1: error: this names no property of the package; there are",
            78,
        ),
        ("c.neede.1: s3cret=x\n", "values:1:1: error: this names no property of the package; ", 78),
        (
            "c.needed.l=s3cret\n",
            "values:1:1: error: this names no property of the package; `c.needed.1` was probably meant",
            78,
        ),
        (
            "c.needed.1=s3cret\na:c.needed.1=s3cret\n",
            "values:2:1: error: `a:c.needed.1` is given twice, first on line 1; give it once",
            78,
        ),
        (
            "c.needed.1=x\nc.size.1=s3cret\n",
            "values:2:1: error: the value for `c.size.1` is not a number",
            78,
        ),
        (
            "c.needed.1=-----\ns3cret\n",
            "values:2: is not KEY=VALUE; a value of several lines is given by",
            64,
        ),
    ] {
        fs::write(directory.path().join("values"), text).expect("written");
        let (said, exit) =
            answer(directory.path(), &["env", "nested.ovf", "--id", "a", "--properties", "values"]);
        assert!(said.contains(want), "{text}: {said}");
        assert!(exit == Some(status) && !said.contains("s3cret"), "{text}: {exit:?} {said}");
    }
}

/// A refusal says what would be taken.
#[test]
fn choices_are_named_but_for_passwords() {
    let directory = nested();
    for (more, want) in [("", true), (" ovf:password=\"true\"", false)] {
        let map = format!("ovf:qualifiers=\"ValueMap{{&quot;low&quot;,&quot;high&quot;}}\"{more}");
        let text = NESTED.replace("ovf:qualifiers=\"MinLen(1)\"", &map);
        fs::write(directory.path().join("nested.ovf"), text).expect("written");
        let (said, _) =
            answer(directory.path(), &["env", "nested.ovf", "--id", "a", "--property", "needed=s3cret"]);
        assert!(said.contains("no property of the package"), "{said}");
        let (said, status) =
            answer(directory.path(), &["env", "nested.ovf", "--id", "a", "--property", "c.needed.1=s3cret"]);
        assert_eq!((said.contains("ValueMap lists: `low`, `high`"), status), (want, Some(78)), "{said}");
    }
}

/// What no guest could read is found before anybody deploys it.
#[test]
fn an_environment_that_nobody_reads_is_found_by_check() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = format!(
        "<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\">\
         <References/><VirtualSystem ovf:id=\"vm\"><Info>A</Info><ProductSection><Info>A</Info>\
         <Property ovf:key=\"k\" ovf:type=\"string\" ovf:value=\"{}\"/></ProductSection></VirtualSystem></Envelope>",
        "x".repeat(17 << 20)
    );
    fs::write(directory.path().join("large.ovf"), text).expect("written");
    for command in ["check", "env"] {
        let (said, status) = answer(directory.path(), &[command, "large.ovf"]);
        assert!(
            said.contains("the environment of `vm` would have ") && status == Some(78),
            "{command}: {said}"
        );
        assert!(said.contains("; shorten its values [too-large]"), "{command}: {said}");
    }
}

#[test]
fn a_package_without_machines_has_no_environments() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = "<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\">\
                <References/><VirtualSystemCollection ovf:id=\"all\"><Info>None</Info></VirtualSystemCollection></Envelope>";
    fs::write(directory.path().join("none.ovf"), text).expect("written");
    for command in [&["env"][..], &["env", "-o", "out"], &["iso", "-o", "out"]] {
        let (said, status) = answer(directory.path(), &[command, &["none.ovf"]].concat());
        let want = "ovf-host: there are no virtual systems in the package\n";
        assert_eq!((said.as_str(), status), (want, Some(78)), "{command:?}");
        assert!(!directory.path().join("out").exists());
    }
}

/// The listings of the paper that proposed contracts: of OVF's own type, and of others, whose words are nobody else's business.
const CONTRACTS: &str = r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:c="urn:example:c" xmlns:other="urn:example:other">
  <References/>
  <VirtualSystemCollection ovf:id="all"><Info>All</Info>
    <c:ContractSection xsi:type="other:Ips_Type" ovf:required="true"><Rule rule="43" id="43"/></c:ContractSection>
    <VirtualSystem ovf:id="web"><Info>Web</Info>
      <c:ContractSection ovf:required="true" xsi:type="ovf:NetworkContract_Type"><Info>a &amp; b</Info>
        <Rule><Protocol> tcp </Protocol><DstAddr ovf:id="db"/><DstPort> 3306 </DstPort><SrcAddr ovf:id="web"/><SrcPort> any </SrcPort></Rule>
      </c:ContractSection>
    </VirtualSystem>
    <VirtualSystem ovf:id="db"><Info>DB</Info></VirtualSystem>
  </VirtualSystemCollection>
</Envelope>"#;

#[test]
fn a_contract_comes_to_the_guests_it_is_for() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("c.ovf"), CONTRACTS).expect("written");
    let (text, status) = answer(directory.path(), &["check", "c.ovf"]);
    assert_eq!((codes(&text).collect::<Vec<_>>(), status), (vec![], Some(0)), "{text}");
    assert!(text.contains("conformance level 3"), "{text}");
    let web = environment(directory.path(), &["env", "c.ovf", "--id", "web"]);
    // Its own, and that of the collection around it.
    let [own, around] = &web.sections[..] else { panic!("{:?}", web.sections) };
    for contract in [own, around] {
        assert_eq!(
            (contract.namespace.as_str(), contract.name.as_str()),
            ("urn:example:c", "ContractSection")
        );
    }
    let tree = roxmltree::Document::parse(&own.xml).expect("it stands alone");
    const ENVELOPE: &str = "http://schemas.dmtf.org/ovf/envelope/1";
    let ids: Vec<_> = tree.descendants().filter_map(|it| it.attribute((ENVELOPE, "id"))).collect();
    assert_eq!(ids, ["db", "web"]);
    assert_eq!(tree.root_element().attribute((ENVELOPE, "required")), Some("true"));
    // The prefix in the type's name means what it did.
    assert_eq!(tree.root_element().lookup_namespace_uri(Some("ovf")), Some(ENVELOPE));
    let db = environment(directory.path(), &["env", "c.ovf", "--id", "db"]).sections;
    assert_eq!(db.iter().map(|it| it.xml.contains("Ips_Type")).collect::<Vec<_>>(), [true]);

    for (from, to, want) in [
        ("DstAddr ovf:id=\"db\"", "DstAddr ovf:id=\"bd\"", &["dangling-contract"][..]),
        ("DstAddr ovf:id=\"db\"", "DstAddr id=\"bd\"", &["attribute-namespace", "dangling-contract"]),
        ("id=\"43\"", "ovf:id=\"43\"", &["dangling-contract"]),
        ("<c:ContractSection ovf:required", "<c:ContracSection ovf:required", &["section-required"]),
    ] {
        let text = CONTRACTS.replacen(from, to, 1).replacen(
            "</c:ContractSection>\n    </VirtualSystem>",
            if to.contains("Contrac") {
                "</c:ContracSection>\n    </VirtualSystem>"
            } else {
                "</c:ContractSection>\n    </VirtualSystem>"
            },
            1,
        );
        fs::write(directory.path().join("c.ovf"), text).expect("written");
        let (text, status) = answer(directory.path(), &["check", "c.ovf"]);
        assert_eq!((codes(&text).collect::<Vec<_>>(), status), (want.to_vec(), Some(78)), "{to}: {text}");
        let (_, status) = answer(directory.path(), &["env", "c.ovf", "--id", "web"]);
        assert_eq!(status, Some(78), "{to}: there is no environment with half a contract");
    }
    // What looks like a declaration in a value is none, and one may have `>` in it.
    for tag in [
        "c:ContractSection a=\" xmlns:c = \"",
        "c:ContractSection c:b=\"1\" xmlns:d=\"x>y\" xmlns:c='urn:example:c'",
    ] {
        fs::write(directory.path().join("c.ovf"), CONTRACTS.replacen("c:ContractSection", tag, 1))
            .expect("written");
        let web = environment(directory.path(), &["env", "c.ovf", "--id", "web"]);
        for contract in &web.sections {
            roxmltree::Document::parse(&contract.xml).expect("it stands alone");
        }
    }
    let alone = "<c:ContractSection><Rule/></c:ContractSection>";
    fs::write(
        directory.path().join("c.ovf"),
        CONTRACTS.replace("<References/>", &format!("<References/>{alone}")),
    )
    .expect("written");
    let (text, status) = answer(directory.path(), &["check", "c.ovf"]);
    assert_eq!((codes(&text).collect::<Vec<_>>(), status), (vec!["section-required"], Some(78)), "{text}");
}

#[test]
fn an_environment_that_guestinfo_cannot_carry_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References/>
  <VirtualSystem ovf:id="vm"><Info>VM</Info>
    <ProductSection><Info>Big</Info><Property ovf:key="big" ovf:type="string" ovf:userConfigurable="true"/></ProductSection>
    <VirtualHardwareSection ovf:transport="com.vmware.guestInfo"><Info>Hardware</Info></VirtualHardwareSection>
  </VirtualSystem>
</Envelope>"#;
    fs::write(directory.path().join("big.ovf"), text).expect("written");
    for (bytes, want) in [(60 << 10, None), (64 << 10, Some("environment-size"))] {
        fs::write(directory.path().join("values"), format!("big={}", "x".repeat(bytes))).expect("written");
        let (text, status) = answer(directory.path(), &["env", "big.ovf", "--properties", "values"]);
        assert_eq!((codes(&text).next(), status), (want, Some(0)));
    }
}

/// Before anything is given: with the defaults, and those of any deployment option.
#[test]
fn a_default_that_guestinfo_cannot_carry_is_found_by_check() {
    let directory = tempfile::tempdir().expect("a directory");
    let large = "x".repeat(60 << 10);
    let larger = "x".repeat(64 << 10);
    for (transport, default, option, want) in [
        ("com.vmware.guestInfo", large.as_str(), "", None),
        ("com.vmware.guestInfo", &larger, "", Some("; write iso instead")),
        ("iso com.vmware.guestInfo", &larger, "", Some("; take it out of ovf:transport")),
        ("com.vmware.guestInfo", "", larger.as_str(), Some("(deployment option `large`)")),
        ("iso", &larger, &larger, None),
    ] {
        let text = format!(
            r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References/>
  <DeploymentOptionSection><Info>Sizes</Info>
    <Configuration ovf:id="small"><Label>S</Label><Description>S</Description></Configuration>
    <Configuration ovf:id="large"><Label>L</Label><Description>L</Description></Configuration>
  </DeploymentOptionSection>
  <VirtualSystem ovf:id="vm"><Info>VM</Info>
    <ProductSection><Info>Big</Info>
      <Property ovf:key="big" ovf:type="string" ovf:userConfigurable="true" ovf:value="{default}"><Value ovf:value="{option}" ovf:configuration="large"/></Property>
      <Property ovf:key="needed" ovf:type="string" ovf:qualifiers="MinLen(1)" ovf:userConfigurable="true"/>
    </ProductSection>
    <VirtualHardwareSection ovf:transport="{transport}"><Info>Hardware</Info></VirtualHardwareSection>
  </VirtualSystem>
</Envelope>"#
        );
        fs::write(directory.path().join("big.ovf"), text).expect("written");
        let (text, status) = answer(directory.path(), &["check", "big.ovf"]);
        let found = codes(&text).filter(|it| *it == "environment-size").count();
        assert_eq!((found, status), (usize::from(want.is_some()), Some(0)), "{transport}: {text}");
        assert!(want.is_none_or(|want| text.contains(want)), "{transport}: {text}");
    }
}

/// Each level of collections doubles what it takes in; forty of them would fill any memory.
#[test]
fn macros_that_grow_without_end_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut text = r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><References/>"#.to_owned();
    for level in 0..40 {
        let value = if level == 0 { "0123456789abcdef" } else { "${a}${a}" };
        let _ = write!(
            text,
            r#"<VirtualSystemCollection ovf:id="c{level}"><Info>C</Info><ProductSection><Info>P</Info><Property ovf:key="a" ovf:type="string" ovf:value="{value}"/></ProductSection>"#
        );
    }
    text.push_str(r#"<VirtualSystem ovf:id="vm"><Info>VM</Info><VirtualHardwareSection ovf:transport="com.vmware.guestInfo"><Info>H</Info></VirtualHardwareSection></VirtualSystem>"#);
    text.push_str(&"</VirtualSystemCollection>".repeat(40));
    text.push_str("</Envelope>");
    fs::write(directory.path().join("grow.ovf"), text).expect("written");
    let (text, status) = answer(directory.path(), &["env", "grow.ovf"]);
    assert_eq!((codes(&text).next(), status), (Some("property-value"), Some(78)), "{text}");
    assert!(text.contains("is more than 16 MiB; take less of the parent's properties in"), "{text}");
}

/// Twice as many guests take twice as long for one document, and the whole set is written by parts that were made once.
#[test]
fn a_thousand_guests_have_their_environments() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut text = r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References/><VirtualSystemCollection ovf:id="all"><Info>All</Info>
  <ProductSection><Info>All</Info><Property ovf:key="domain" ovf:type="string" ovf:value="example.org"/></ProductSection>"#
        .to_owned();
    for number in 0..1000 {
        let _ = write!(
            text,
            r#"<VirtualSystem ovf:id="vm{number}"><Info>One</Info><ProductSection><Info>One</Info><Property ovf:key="name" ovf:type="string" ovf:value="vm{number}.${{domain}}"/></ProductSection></VirtualSystem>"#
        );
    }
    text.push_str("</VirtualSystemCollection></Envelope>");
    fs::write(directory.path().join("many.ovf"), text).expect("written");
    let begun = Instant::now();
    let (said, status) = answer(directory.path(), &["env", "many.ovf", "-o", "out"]);
    assert_eq!((said.as_str(), status), ("", Some(0)));
    let elapsed = begun.elapsed();
    assert!(elapsed.as_secs() < 60, "{elapsed:?}");
    assert_eq!(fs::read_dir(directory.path().join("out")).expect("written").count(), 1000);
    let (read, _) =
        parse(&fs::read(directory.path().join("out/vm500.xml")).expect("written")).expect("a document");
    assert_eq!(read.entities.len(), 999);
    let last = &read.entities[998];
    assert_eq!(
        (last.id.as_str(), list(&last.properties)),
        ("vm999", vec![("domain", "example.org"), ("name", "vm999.example.org")])
    );
}

/// What no answer of whoever deploys would mend is found before anybody deploys, and what one would is not.
#[test]
fn values_that_can_never_be_are_found_by_check() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |asks: &str, child: &str| {
        let text = format!(
            r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
xmlns:vmw="http://www.vmware.com/schema/ovf"><References/><DeploymentOptionSection><Info/><Configuration ovf:id="usual"><Label/><Description/></Configuration>
<Configuration ovf:id="small"><Label/><Description/></Configuration></DeploymentOptionSection><VirtualSystemCollection ovf:id="c"><Info/><ProductSection><Info/>
<Property ovf:key="asked" ovf:type="string" ovf:userConfigurable="true"/><Property ovf:key="empty" ovf:type="string" ovf:value=""/>
<Property ovf:key="assigned" ovf:type="string" ovf:value="abc" vmw:qualifiers="Ip"/>
<Property ovf:key="fixed" ovf:type="string" ovf:value="s3cret"{asks}/>
<Property ovf:key="size" ovf:type="string" ovf:value="1"><Value ovf:value="s3cret" ovf:configuration="small"/></Property></ProductSection>
<VirtualSystem ovf:id="v"><Info/><ProductSection><Info/>
<Property ovf:key="p" {child}/></ProductSection></VirtualSystem></VirtualSystemCollection></Envelope>"#
        );
        fs::write(directory.path().join("a.ovf"), text).expect("written");
    };
    let number = "a.ovf:9:51: error: what the value of `p` comes to is not a number from 0 to 255; correct what it takes in, or the type \
                  and qualifiers";
    for (child, want) in [
        (r#"ovf:type="uint8" ovf:value="${fixed}""#, format!("{number} [property-value]")),
        (
            r#"ovf:userConfigurable="true" ovf:type="uint8" ovf:value="${fixed}""#,
            "is not a number from 0 to 255".to_owned(),
        ),
        (
            r#"ovf:type="uint8" ovf:value="${size}""#,
            format!("{number} (deployment option `small`) [property-value]"),
        ),
        (
            r#"ovf:type="string" ovf:value="${empty}" ovf:qualifiers="MinLen(1)""#,
            "`p` must not be empty, and has no value; it takes in `empty`, of the collection around it, to which nobody may give one; \
             correct it there [property-missing]"
                .to_owned(),
        ),
        (r#"ovf:type="uint8" ovf:value="${asked}""#, String::new()),
        (r#"ovf:type="uint8" ovf:value="1${asked}""#, String::new()),
        (r#"ovf:type="uint8" ovf:value="${assigned}""#, String::new()),
        (r#"ovf:type="string" ovf:value="${asked}" ovf:qualifiers="MinLen(1)""#, String::new()),
        (
            r#"ovf:type="string" ovf:value="${empty}" ovf:userConfigurable="true" ovf:qualifiers="MinLen(1)""#,
            String::new(),
        ),
        (r#"ovf:type="string" ovf:value="${fixed}""#, String::new()),
    ] {
        write("", child);
        let (said, status) = answer(directory.path(), &["check", "a.ovf"]);
        let errors: Vec<_> = said.lines().filter(|it| it.contains(": error: ")).collect();
        assert_eq!(
            (errors.len(), status),
            (usize::from(!want.is_empty()), Some(if want.is_empty() { 0 } else { 78 })),
            "{child}: {said}"
        );
        assert!(errors.iter().all(|it| it.contains(&want)) && !said.contains("s3cret"), "{child}: {said}");
    }
    write(r#" vmw:qualifiers="Mac""#, r#"ovf:type="string" ovf:value="a" vmw:qualifiers="Mac""#);
    let (said, status) = answer(directory.path(), &["check", "a.ovf"]);
    let want = "a.ovf:6:20: warning: `fixed` asks for the address of a network card, and `c` is a collection, which has none; \
                ask for it in a guest [property-qualifier]\n";
    assert!(said.contains(want) && status == Some(0) && said.matches("warning").count() == 2, "{said}");
}
