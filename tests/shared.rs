//! Documents and examples of the public world, where they are at hand: in `../shared` beside this repository.
//!
//! Each published document is read with all its properties, or refused with the reason that names its real defect; the
//! table says which, and why. What `schema --ovf` prints is held against the schema of descriptors. Where the neighbour is missing the trials are skipped, and say so.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is outside of the agent, and looks at files and starts programs"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use ovf_agent::detect::Facts;
use ovf_agent::environment::ErrorKind::{
    self, Ampersand, ForeignProperty, LessThanInValue, MismatchedEnd, TextOutsideRoot, UnclosedMarkup,
    UnclosedTag,
};
use ovf_agent::environment::parse;

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
        trial(
            "published-documents-are-read-or-refused-for-their-defect",
            "corpus/ovfenv",
            published_documents,
        ),
        trial("the-white-papers-database-gets-its-values", "examples", white_paper),
        trial("product-sections-are-as-the-descriptors-schema-has-them", "corpus/schemas", product_sections),
        trial("machines-that-others-described-are-told-apart", "corpus/detect", described_machines),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn published_documents(directory: PathBuf) -> Result<(), Failed> {
    let mut expected = expected();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if !name.ends_with(".xml") {
            continue;
        }
        let outcome = match parse(&fs::read(&path)?) {
            Ok((environment, warnings)) => {
                let siblings = environment.entities.iter().map(|entity| entity.properties.len()).sum();
                let azure = name.to_lowercase().contains("azure");
                assert_eq!(environment.is_azure_provisioning(), azure, "{name}");
                Ok((environment.properties.len(), siblings, warnings.len()))
            }
            Err(error) => Err((error.kind, error.line, error.column)),
        };
        assert_eq!(expected.remove(name.as_str()), Some(outcome), "{name}");
    }
    assert!(expected.is_empty(), "not there: {:?}", expected.keys());
    Ok(())
}

fn white_paper(examples: PathBuf) -> Result<(), Failed> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/petstore/agent");
    let source = format!("file:{}", examples.join("petstore-DB1-env.xml").display());
    for (parameter, want) in [
        ("ip", "\"10.20.132.102\""),
        ("log_level", "\"warning\""),
        ("primary", "true"),
        ("peer_primary", "false"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ovf-agent"))
            .args(["get", "--json", parameter, "--source", &source, "--config"])
            .arg(&config)
            .output()?;
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), want, "{parameter}: {output:?}");
    }
    Ok(())
}

/// What the schema of descriptors imports from the network, as far as it uses any of it: these types, of which a
/// ProductSection has only `cimString`.
const IMPORTED: [(&str, &str, &str); 4] = [
    ("http://www.w3.org/XML/1998/namespace", "xml.xsd", "<xs:attribute name=\"lang\" type=\"xs:language\"/>"),
    (
        "http://schemas.dmtf.org/wbem/wscim/1/common",
        "cim.xsd",
        "<xs:complexType name=\"cimString\"><xs:simpleContent><xs:extension base=\"xs:string\"/></xs:simpleContent></xs:complexType>",
    ),
    (
        "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData",
        "vssd.xsd",
        "<xs:complexType name=\"CIM_VirtualSystemSettingData_Type\"/>",
    ),
    (
        "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData",
        "rasd.xsd",
        "<xs:complexType name=\"CIM_ResourceAllocationSettingData_Type\"/>",
    ),
];

/// Declarations with everything that gets into a descriptor: each OVF type, password, value, qualifiers, label and
/// description, keys with and without a class, and characters that XML escapes.
const DECLARATIONS: &str = r#"[parameters]
ip       = { key = "com.mydb.db.ip", type = "ipv4", required = true, label = "Address", description = "Of this <database> & \"more\"" }
log      = { key = "com.mydb.db.log", type = "string", one-of = ["low", "a\"b\\c"], default = "low" }
name     = { key = "name", type = "string", min = 2, max = 30, default = "tab\tnewline\n&<>\"'", multiline = true }
count    = { key = "com.mydb.count", type = "int", min = -5, default = -1 }
limit    = { key = "com.mydb.limit", type = "uint", default = 5 }
port     = { key = "com.mydb.port", type = "port", default = 5432 }
share    = { key = "com.mydb.share", type = "real", max = 0.5, default = 0.25 }
primary  = { key = "primary", type = "bool", default = true }
password = { key = "password", type = "string", sensitive = true, default = "planted" }
token    = { key = "com.mydb.token", type = "string", generate = "alnum:24" }
dns      = { key = "net.dns", type = "list<ip>", default = ["192.0.2.1", "192.0.2.2"] }
options  = { key = "net.options", type = "map", default = { a = "b c" } }
peers    = { key = "com.mydb.db.ip", entity = "*", type = "ipv4" }
"#;

/// What `schema --ovf` prints, in the smallest descriptor there is, against DSP8023.
fn product_sections(schemas: PathBuf) -> Result<(), Failed> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path();
    // The schema names namespaces without saying where they are, so xmllint is told by one that includes it.
    let mut schema =
        "<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" elementFormDefault=\"qualified\">\n"
            .to_owned();
    for (namespace, file, types) in IMPORTED {
        let text = format!(
            "<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" targetNamespace=\"{namespace}\">{types}</xs:schema>\n"
        );
        fs::write(dir.join(file), text)?;
        schema += &format!("<xs:import namespace=\"{namespace}\" schemaLocation=\"{file}\"/>\n");
    }
    let envelope = schemas.join("dsp8023_1.0.0.xsd");
    schema += &format!(
        "<xs:import namespace=\"http://schemas.dmtf.org/ovf/envelope/1\" schemaLocation=\"{}\"/>\n</xs:schema>\n",
        envelope.display()
    );
    fs::write(dir.join("all.xsd"), schema)?;
    fs::create_dir(dir.join("config"))?;
    fs::write(dir.join("config/agent.toml"), DECLARATIONS)?;
    let output = Command::new(env!("CARGO_BIN_EXE_ovf-agent"))
        .args(["schema", "--ovf", "--config"])
        .arg(dir.join("config"))
        .output()?;
    assert!(output.status.success(), "{output:?}");
    let sections = String::from_utf8(output.stdout)?;
    assert!(sections.matches("<Property ").count() == 12 && !sections.contains("planted"), "{sections}");

    valid(dir, &sections).map_err(|said| format!("{said}\n{sections}"))?;
    // The schema is at work: it takes no other attribute, element or type.
    for (from, to) in [("ovf:key", "ovf:kay"), ("<Info>", "<Inof>"), ("=\"true\"", "=\"maybe\"")] {
        let wrong =
            sections.replacen(from, to, 1).replacen(&from.replace('<', "</"), &to.replace('<', "</"), 1);
        assert!(wrong != sections && valid(dir, &wrong).is_err(), "{to} is taken for {from}");
    }
    Ok(())
}

/// What xmllint has to say against sections in a descriptor.
fn valid(dir: &Path, sections: &str) -> Result<(), String> {
    let descriptor = format!(
        "<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\">\n\
         <References/>\n<VirtualSystem ovf:id=\"DB1\">\n<Info>A database</Info>\n{sections}</VirtualSystem>\n</Envelope>\n"
    );
    fs::write(dir.join("descriptor.ovf"), descriptor).map_err(|error| error.to_string())?;
    let output = Command::new("xmllint")
        .args(["--nonet", "--noout", "--schema", "all.xsd", "descriptor.ovf"])
        .current_dir(dir)
        .output()
        .map_err(|error| format!("cannot run xmllint (Debian package libxml2-utils): {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Machines whose wanted word our rules do not give, and why.
const OTHERWISE: [(&str, &str); 0] = [];

/// Facts in the words of `detect --facts`, each with one wanted word: the container's, or else the hypervisor's.
fn described_machines(directory: PathBuf) -> Result<(), Failed> {
    let machines: Vec<serde_json::Value> =
        serde_json::from_slice(&fs::read(directory.join("fixtures.json"))?)?;
    assert!(!machines.is_empty(), "there are no machines in {}", directory.display());
    let mut wrong = Vec::new();
    for machine in &machines {
        let (name, want) = (machine["name"].as_str(), machine["want"].as_str());
        let (name, want) = (name.expect("a name"), want.expect("a wanted word"));
        let facts: Facts = serde_json::from_value(machine["facts"].clone())
            .map_err(|error| format!("{name}: these are no facts: {error}"))?;
        let verdict = facts.verdict();
        let got = verdict.container.unwrap_or(verdict.vm);
        let known = OTHERWISE.iter().any(|(other, _)| *other == name);
        if known == (got == want) {
            wrong.push(format!("{name}: {got} instead of {want}, decided by {}", verdict.decided_by));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), machines.len(), wrong.join("\n"));
    Ok(())
}

/// What becomes of a document: properties of the guest and of its siblings, and warnings; or why, and where.
type Outcome = Result<(usize, usize, usize), (ErrorKind, u32, u32)>;

fn expected() -> BTreeMap<&'static str, Outcome> {
    let s = str::to_owned;
    BTreeMap::from([
        ("Awingu_open-ovf__examples_sample_ovf-env.xml", Ok((10, 0, 0))),
        ("Awingu_open-ovf__py_tests_test-environment.xml", Ok((0, 3, 0))),
        ("Azure_WALinuxAgent__tests_data_ovf-env-2.xml", Ok((0, 0, 0))),
        ("Azure_WALinuxAgent__tests_data_ovf-env-3.xml", Ok((0, 0, 0))),
        ("Azure_WALinuxAgent__tests_data_ovf-env-4.xml", Ok((0, 0, 0))),
        ("Azure_WALinuxAgent__tests_data_ovf-env.xml", Ok((0, 0, 0))),
        ("CoprHD_coprhd-controller__InstallerOperation_UNBOUND-PREFIX_1node_RENDERED.xml", Ok((3, 0, 3))),
        ("CoprHD_coprhd-controller__InstallerOperation_UNBOUND-PREFIX_3nodes_RENDERED.xml", Ok((3, 6, 2))),
        ("IBM_DataPower_gen__idx26121188148_ovf-id-not-ovfenv-id_RENDERED.xml", Ok((9, 0, 1))),
        ("OpenXT_manager_apptool__Env.hs_siblings_RENDERED.xml", Ok((1, 1, 0))),
        ("Sneakers-PAM_sneakers-appliance__idx70254150450_RENDERED.xml", Ok((2, 0, 0))),
        ("VCF-deployer__idx68481962874_single-line_no-PlatformSection_RENDERED.xml", Ok((3, 0, 0))),
        ("arorapuneet57_shell_work__ovf-env.xml", Ok((28, 0, 0))),
        ("bosh_agent_settings_spec__idx25243320324_json-quot.xml", Ok((7, 0, 0))),
        ("bosh_agent_settings_spec__idx25243320324_whitespace-value.xml", Ok((7, 0, 0))),
        ("bosh_agent_spec_configure__idx7875817535_LEADING-WS-before-xmldecl_json-quot.xml", Ok((2, 0, 1))),
        ("bottkars_labbuildr__install-vipr_RENDERED.xml", Ok((8, 0, 0))),
        (
            "bottlerocket__vmware-cd-rom_test_namespaced_keys_BOGUS-NS.xml",
            Err((ForeignProperty(s("http://foobarbaz.com")), 5, 19)),
        ),
        ("bottlerocket__vmware-cd-rom_test_ovf-env_NO-NAMESPACE.xml", Ok((2, 0, 2))),
        ("canonical_cloud-init__doc_example_ovf-env.xml", Ok((7, 0, 0))),
        ("canonical_cloud-init__test_ovf_NON-b64-network-config-with-NEWLINES_RENDERED.xml", Ok((3, 0, 0))),
        ("canonical_cloud-init__test_ovf_b64_userdata_RENDERED.xml", Ok((3, 0, 0))),
        ("canonical_cloud-init__test_ovf_unfilled-placeholder.xml", Ok((0, 0, 1))),
        ("coreos_coreos-cloudinit__vmware_test_TestOvfTransport.xml", Ok((14, 0, 0))),
        ("coreos_ignition__ovf_test_TestInvalidData_TRAILING-GARBAGE.xml", Err((TextOutsideRoot, 22, 15))),
        ("coreos_ignition__ovf_test_data_delete_prop_complex.xml", Ok((3, 0, 1))),
        ("coreos_ignition__ovf_test_data_delete_prop_simple.xml", Ok((2, 0, 1))),
        ("coreos_ignition__ovf_test_data_vapprun.xml", Ok((6, 0, 0))),
        ("coreos_ignition__ovf_test_data_vsphere.xml", Ok((2, 0, 0))),
        ("go-ovfparse__idx45326513365_EMPTY-EthernetAdapterSection.xml", Ok((6, 0, 0))),
        ("hisham-ahamed_links__ovf-env_AZURE-ns0-prefix-no-xmldecl.xml", Ok((0, 0, 0))),
        (
            "lamw_vmware-scripts__perl_setOvfEnv_LogInsight_MALFORMED.xml",
            Err((UnclosedTag(s("Environment")), 8, 4)),
        ),
        ("lamw_vmware-scripts__powershell_setOvfEnv_VCSA.xml", Ok((6, 0, 0))),
        ("lrivallain_blog__idx12972191613.xml", Ok((7, 0, 0))),
        ("mkhafeez_provisioning__ovf-env.xml", Ok((4, 0, 0))),
        ("py-jinja-generator__idx24752788778_LEADING-NEWLINE-before-xmldecl_RENDERED.xml", Ok((1, 0, 1))),
        (
            "py-vcenter-injector__idx12951487083_MALFORMED-Kind-endtag_RENDERED.xml",
            Err((MismatchedEnd { expected: s("Kind"), line: 10, found: s("PlatformSection") }, 14, 4)),
        ),
        ("sigma_vapprun__ovfenv.py_entities_RENDERED.xml", Err((Ampersand, 13, 43))),
        ("smc-python_vss__idx28893034601.xml", Ok((16, 0, 0))),
        ("vcsa-on-kvm__idx52051960017_RENDERED.xml", Ok((8, 0, 0))),
        ("veksh_ovfconf__examples_ovfEnv-example.xml", Ok((8, 0, 0))),
        ("veksh_ovfconf__test_centos71-copy.test.xml", Ok((8, 0, 0))),
        ("veksh_ovfconf__test_centos71-ekat.test.xml", Ok((8, 0, 0))),
        ("veksh_ovfconf__test_ovfEnv.falcon-e1.xml", Ok((8, 0, 0))),
        ("veksh_ovfconf__test_ovfEnv.rhino.full.xml", Ok((8, 0, 0))),
        ("veksh_ovfconf__test_ovfEnv.rhino.real.xml", Ok((8, 0, 0))),
        ("veksh_ovfconf__test_ovfEnv.rhino.short.xml", Ok((2, 0, 0))),
        ("veksh_ovfconf__test_ovfEnv.xml", Ok((8, 0, 0))),
        ("vmware-samples_VEBA__test_getOvfProperty_0.xml", Err((UnclosedMarkup("XML declaration"), 1, 1))),
        ("vmware-samples_VEBA__test_getOvfProperty_1.xml", Ok((9, 0, 0))),
        (
            "vmware_govmomi__MarshalManual_UNESCAPED-values_RENDERED.xml",
            Err((LessThanInValue(s("oe:value")), 13, 77)),
        ),
        ("vmware_vcd-api__idx9968372395_ovfenv-prefix_nested-xmlns-redeclared.xml", Ok((10, 0, 0))),
        ("windows-vminit__idx28305093646_vami-class.key.instance.xml", Ok((7, 0, 0))),
        ("xcompass_vmware-ovfenv__vcloud.go_comment_vCloud.xml", Ok((29, 0, 0))),
    ])
}
