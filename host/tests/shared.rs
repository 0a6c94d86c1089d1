//! Descriptors of the public world, where they are at hand: in `../shared` beside this repository.
//!
//! The table says what is found in each, by line and code, and why that is right. Where the neighbour is missing the
//! trials are skipped, and say so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use ovf_agent::environment::parse;

mod common;
#[path = "common/agent.rs"]
mod program;
use common::{answer, host};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let trial = |name: &'static str, folder: &str, test: fn(PathBuf) -> Result<(), Failed>| {
        let path = shared.join(folder);
        let there = path.is_dir();
        let kind = if there { String::new() } else { format!("skipped: there is no ../shared/{folder}") };
        Trial::test(name, move || test(path)).with_kind(kind).with_ignored_flag(!there)
    };
    let trials = vec![
        trial("published-descriptors-are-found-to-be-what-they-are", "corpus/descriptors", |path| {
            findings(&path, &PUBLISHED)
        }),
        trial("the-white-papers-slips-are-found", "examples", |path| findings(&path, &WHITE_PAPER)),
        trial("the-white-papers-slips-are-understood", "examples", understood),
        trial("the-white-papers-environments-are-made", "examples", environments),
        trial("a-package-that-is-made-here-is-as-the-schema-has-it", "corpus/schemas", schema),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

type Table<'a> = [(&'a str, &'a [(u64, &'a str)])];

fn findings(directory: &Path, table: &Table<'_>) -> Result<(), Failed> {
    let mut table: BTreeMap<&str, &[(u64, &str)]> = table.iter().copied().collect();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().into_string().expect("UTF-8");
        if !name.ends_with(".ovf") {
            continue;
        }
        let output = host(directory, &["check", "--json", "--descriptor-only", &name]);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let all = answer["findings"].as_array().expect("findings");
        let found: Vec<_> = all
            .iter()
            .map(|it| (it["line"].as_u64().expect("a line"), it["code"].as_str().expect("a code")))
            .collect();
        let short = name.rsplit_once("__").map_or(name.as_str(), |(_, short)| short);
        let want = table.remove(short).ok_or_else(|| format!("{short} is not in the table: {found:?}"))?;
        assert_eq!(found, want, "{name}: {answer:#}");
        let errors = answer["errors"].as_u64().expect("a number");
        assert_eq!(output.status.code(), Some(if errors == 0 { 0 } else { 78 }), "{name}");
    }
    assert!(table.is_empty(), "not there: {:?}", table.keys());
    Ok(())
}

/// The slips that the white paper's descriptors still have, and the words in which each is told.
fn understood(directory: PathBuf) -> Result<(), Failed> {
    for (file, slip) in [
        (
            "petstore.ovf",
            "Disk `web`: the fileRef `webappdelta` names no File in References; `webdelta` was probably meant",
        ),
        ("petstore.ovf", "the value of `com.mydb.db.vm2` begins or ends with blanks"),
        (
            "petstore.ovf",
            "the fileRef `de-DE-bundle.xml` names no File in References; add a File with that href",
        ),
        (
            "petstore.ovf",
            "nothing uses the text `property.dpip`; `property.dpip.description` or `property.dpip.label` was probably meant",
        ),
        (
            "lamp-two-tier.ovf",
            "the Item `DbServer` names nothing in `LampService`; `DB Server` was probably meant",
        ),
        (
            "lamp-two-tier.ovf",
            "`${appHostName}` names no property of the collection; `appHostname` was probably meant",
        ),
        (
            "lamp-two-tier.ovf",
            "`${dbHostName}` names no property of the collection; `dbHostname` was probably meant",
        ),
        ("lamp-two-tier.ovf", "File `lamp-db` has the href of File `lamp-base`, of another size"),
        ("single-vm.ovf", "is a draft's; write `http://schemas.dmtf.org/ovf/envelope/1`"),
        (
            "single-vm.ovf",
            "`app.ip` has ovf:defaultValue, which was a draft's; ovf:value was meant, and is taken for it",
        ),
    ] {
        let (text, _) = answer(&directory, &["check", "--descriptor-only", file]);
        assert!(text.contains(slip), "{file}: no {slip:?} in\n{text}");
    }
    Ok(())
}

/// Property for property what the paper prints; the paper's own descriptor says another `logLevel`.
fn environments(directory: PathBuf) -> Result<(), Failed> {
    let given = [
        "adminEmail=ovf-admin@vmware.com",
        "appIp=10.20.132.101",
        "dbIp=10.20.132.102",
        "db2Ip=10.20.132.103",
        "logLevel=warning",
    ];
    let platform = ["kind=ESX Server", "version=3.0.1", "vendor=VMware, Inc.", "locale=en_US"];
    for id in ["WebTier", "DB1"] {
        let mut arguments = vec!["env", "petstore.ovf", "--id", id];
        arguments.extend(given.iter().flat_map(|it| ["--property", it]));
        arguments.extend(platform.iter().flat_map(|it| ["--platform", it]));
        let output = host(&directory, &arguments);
        let (made, warnings) = parse(&output.stdout).map_err(|error| format!("{id}: {error}"))?;
        assert!(warnings.is_empty(), "{id}: {warnings:?}");
        let (printed, _) = parse(&fs::read(directory.join(format!("petstore-{id}-env.xml")))?)?;
        assert!(made == printed, "{id}: another document\n{}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

/// What the schemas take from others, with as much as they use of it: CIM's elements are any. OVF's own
/// are judged as they are published.
const ANY: &str = "<xs:sequence><xs:any namespace=\"##targetNamespace\" processContents=\"skip\" minOccurs=\"0\" maxOccurs=\"unbounded\"/></xs:sequence>";
const CIM: &str = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2";

/// The namespaces that the schemas import, and stand-ins for what is in them.
fn imported() -> Vec<(String, String)> {
    let cim_string = "<xs:complexType name=\"cimString\"><xs:simpleContent><xs:extension base=\"xs:string\"/></xs:simpleContent></xs:complexType>";
    let element = |name: &str| format!("<xs:element name=\"{name}\" type=\"xs:anyType\"/>");
    let mut all = vec![
        (
            "http://www.w3.org/XML/1998/namespace".to_owned(),
            "<xs:attribute name=\"lang\" type=\"xs:language\"/>".to_owned(),
        ),
        ("http://schemas.dmtf.org/wbem/wscim/1/common".to_owned(), cim_string.to_owned()),
        ("http://www.w3.org/2001/04/xmlenc#".to_owned(), element("EncryptedKey")),
        ("http://www.w3.org/2009/xmlenc11#".to_owned(), element("DerivedKey")),
        (format!("{CIM}/CIM_BootConfigSetting"), element("CIM_BootConfigSetting")),
    ];
    for class in ["VirtualSystem", "ResourceAllocation", "StorageAllocation", "EthernetPortAllocation"] {
        let class = format!("CIM_{class}SettingData");
        all.push((
            format!("{CIM}/{class}"),
            format!("<xs:complexType name=\"{class}_Type\">{ANY}</xs:complexType>"),
        ));
    }
    all
}

/// Everything that a recipe can say, against each DSP8023 that is there, by xmllint: 1.0, and a draft of 2.0, whose namespace is
/// still that of 1.
fn schema(schemas: PathBuf) -> Result<(), Failed> {
    let scratch = tempfile::tempdir()?;
    let directory = scratch.path();
    let mut imports = String::new();
    for (number, (namespace, types)) in imported().iter().enumerate() {
        let file = format!("imported-{number}.xsd");
        let text = format!(
            "<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" targetNamespace=\"{namespace}\">{types}</xs:schema>\n"
        );
        fs::write(directory.join(&file), text)?;
        imports += &format!("<xs:import namespace=\"{namespace}\" schemaLocation=\"{file}\"/>\n");
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(schemas)? {
        let envelope = entry?.path();
        let name = format!("all-{}.xsd", all.len());
        let text = format!(
            "<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" elementFormDefault=\"qualified\">\n{imports}\
             <xs:import namespace=\"http://schemas.dmtf.org/ovf/envelope/1\" schemaLocation=\"{}\"/>\n</xs:schema>\n",
            envelope.display()
        );
        fs::write(directory.join(&name), text)?;
        all.push(name);
    }
    assert!(all.len() > 1, "there are {} schemas", all.len());

    for machine in ["one", "two"] {
        fs::create_dir_all(directory.join(machine).join("templates"))?;
        let parameters = format!(
            "[parameters]\n{machine}_port = {{ key = \"org.example.port\", type = \"port\", default = 80 }}\nname = {{ key = \"name\", type = \"string\", sensitive = true }}\n"
        );
        fs::write(directory.join(machine).join("agent.toml"), parameters)?;
    }
    fs::write(directory.join("licence"), "<Be> kind & fair")?;
    let several = r#"
name = "several"
product = "P & Q"
vendor = "V"
version = "1"
[configurations.small]
label = "S & s"
[configurations.large]
default = true
[networks.in]
[properties]
name = {}
"x.level" = { type = "uint8", label = "L", description = "D", default = "1", configurations = { large = "2" } }
[machines.one]
memory = "1 GiB"
disks = ["1 GiB"]
networks = ["in"]
agent = "one"
licence = "licence"
start = { order = 1, delay = 2, wait-for-guest = true }
[machines.one.configurations.small]
cpus = 1
memory = "512 MiB"
values = { "org.example.port" = "81" }
[groups.pair]
description = "<Two>"
properties = { inner = { value = "${x.level}" } }
[machines.two]
memory = "1 GiB"
agent = "two"
group = "pair"
values = { "org.example.port" = "82" }
"#;
    let single = "name = \"single\"\n[machines.vm]\nmemory = \"64 MiB\"\ntransport = []\n";
    for recipe in [several, single] {
        fs::write(directory.join("appliance.toml"), recipe)?;
        let (said, status) =
            answer(directory, &["pack", ".", "-o", "it.ova", "--agent-program", program::agent()]);
        assert_eq!(status, Some(0), "{said}");
        let name = if recipe == several { "several.ovf" } else { "single.ovf" };
        assert!(Command::new("tar").args(["xf", "it.ova", name]).current_dir(directory).status()?.success());
        let text = fs::read_to_string(directory.join(name))?;
        for schema in &all {
            valid(directory, schema, name)?;
            // The schema is at work.
            for (from, to) in [("<Info>", "<Inof>"), ("ovf:id=", "ovf:di=")] {
                let wrong =
                    text.replacen(from, to, 1).replacen(&from.replace('<', "</"), &to.replace('<', "</"), 1);
                fs::write(directory.join("wrong.ovf"), wrong)?;
                assert!(valid(directory, schema, "wrong.ovf").is_err(), "{to} is taken for {from}");
            }
        }
    }
    Ok(())
}

fn valid(directory: &Path, schema: &str, name: &str) -> Result<(), Failed> {
    let output = Command::new("xmllint")
        .args(["--nonet", "--noout", "--schema", schema, name])
        .current_dir(directory)
        .output()
        .map_err(|error| format!("cannot run xmllint (Debian package libxml2-utils): {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

/// What README.md beside them calls slips, and what else is there: properties that nobody may set, texts without
/// translation, keys with dots.
const WHITE_PAPER: [(&str, &[(u64, &str)]); 4] = [
    (
        "lamp-two-tier.ovf",
        &[
            (11, "file-same"),
            (53, "property-unsettable"),
            (57, "property-unsettable"),
            (61, "property-unsettable"),
            (65, "property-unsettable"),
            (69, "property-unsettable"),
            (73, "property-unsettable"),
            (77, "property-unsettable"),
            (168, "dangling-startup"),
            (183, "macro-unknown"),
            (251, "macro-unknown"),
        ],
    ),
    (
        "lamp.ovf",
        &[
            (42, "property-unsettable"),
            (45, "property-unsettable"),
            (48, "property-unsettable"),
            (52, "property-unsettable"),
            (56, "property-unsettable"),
        ],
    ),
    (
        "petstore.ovf",
        &[
            (11, "file-unused"),
            (22, "dangling-file"),
            (219, "property-blanks"),
            (238, "property-blanks"),
            (299, "property-blanks"),
            (356, "dangling-file"),
            (358, "message-missing"),
            (364, "message-unused"),
        ],
    ),
    (
        "single-vm.ovf",
        &[
            (2, "namespace-draft"),
            (35, "property-key"),
            (35, "property-unsettable"),
            (38, "property-key"),
            (38, "old-attribute"),
        ],
    ),
];

/// VMware's own: sections of VMware's that have to be understood, attributes without prefix, a type `int`, drives that are
/// missing, and a negative test of VMware's (`nvapp001`) whose faults are all found.
const PUBLISHED: [(&str, &[(u64, &str)]); 11] = [
    ("2011OVFs_StudioVappEulaOvf_StudioVappEulaOvf.ovf", &[(6, "section-ignored"), (39, "property-key")]),
    (
        "ImportOvf2014_complete_vsc.ovf",
        &[
            (71, "section-required"),
            (76, "section-ignored"),
            (82, "section-ignored"),
            (90, "section-ignored"),
            (100, "section-unsupported"),
            (126, "section-ignored"),
            (251, "section-required"),
            (279, "section-ignored"),
            (284, "section-ignored"),
            (292, "section-required"),
            (300, "section-required"),
        ],
    ),
    (
        "ImportOvf2014_complete_vsc_11.ovf",
        &[
            (56, "section-ignored"),
            (63, "section-ignored"),
            (91, "section-ignored"),
            (174, "section-required"),
            (214, "section-ignored"),
            (222, "section-required"),
        ],
    ),
    ("ImportOvf2014_scaleoutStartup.ovf", &[(14, "section-unsupported"), (28, "section-unsupported")]),
    (
        "OVFToolTemplates_OVF_xmltestfiles_DiskSection_1_0_Pos_make_delta.ovf",
        &[
            (37, "section-ignored"),
            (77, "section-ignored"),
            (105, "unknown-attribute"),
            (123, "property-type-foreign"),
            (202, "attribute-namespace"),
            (202, "attribute-namespace"),
            (203, "attribute-namespace"),
            (203, "attribute-namespace"),
            (204, "attribute-namespace"),
            (204, "attribute-namespace"),
            (262, "attribute-namespace"),
            (371, "attribute-namespace"),
            (450, "dangling-file"),
        ],
    ),
    (
        "OVFToolTemplates_OVF_xmltestfiles_VirtualAppliances_Neg_nvapp001.ovf",
        &[
            (25, "section-ignored"),
            (59, "dangling-startup"),
            (66, "section-ignored"),
            (129, "macro-unknown"),
            (148, "attribute-namespace"),
            (218, "dangling-file"),
        ],
    ),
    (
        "OVFToolTemplates_OVF_xmltestfiles_VirtualAppliances_Pos_nvapp00n.ovf",
        &[
            (25, "section-ignored"),
            (66, "section-ignored"),
            (93, "unknown-attribute"),
            (113, "property-type-foreign"),
            (192, "attribute-namespace"),
            (192, "attribute-namespace"),
            (193, "attribute-namespace"),
            (193, "attribute-namespace"),
            (194, "attribute-namespace"),
            (194, "attribute-namespace"),
            (254, "attribute-namespace"),
            (354, "attribute-namespace"),
            (424, "dangling-file"),
        ],
    ),
    (
        "SugarCRM_SugarCRM.ovf",
        &[
            (66, "section-ignored"),
            (107, "section-ignored"),
            (134, "unknown-attribute"),
            (152, "property-type-foreign"),
        ],
    ),
    ("ovftoolresources_transport_iso.ovf", &[(16, "no-cdrom")]),
    ("sun-ovfEnv_sun-ovfEnv.ovf", &[(135, "unknown-attribute")]),
    ("vApp-BootOrder_vApp-BootOrder.ovf", &[(18, "startup-action"), (19, "startup-action")]),
];
