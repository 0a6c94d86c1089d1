//! A package's guests as KubeVirt's objects.
//!
//! What they have to be is not written here: npm's `@kubevirt-ui/kubevirt-api`, and `@kubevirt-ui-ext/kubevirt-api` that followed
//! it, carry the types that were generated from the OpenAPI schemas of KubeVirt, CDI and Kubernetes, and the TypeScript compiler holds
//! the objects against them, with all that is required and nothing that is unknown. `host/tests/kubevirt/fetch` gets them where
//! there is npm. No cluster is asked: what its webhooks think of an object is not seen here, nor that a guest starts.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use tar::EntryType;

mod common;
#[path = "common/agent.rs"]
mod program;
use common::{answer, archive, host};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let types = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kubevirt-api/node_modules");
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let missing = [
        ("node", !there("node")),
        ("target/kubevirt-api; host/tests/kubevirt/fetch makes it", !types.join("typescript").is_dir()),
        ("xorriso", !there("xorriso")),
    ];
    let trial = |name: &'static str, wants: &[usize], test: Box<dyn Fn() -> Result<(), Failed> + Send>| {
        let missing = wants.iter().map(|&it| missing[it]).find(|(_, is_missing)| *is_missing);
        let kind = missing.map_or(String::new(), |(what, _)| format!("skipped: there is no {what}"));
        Trial::test(name, test).with_kind(kind).with_ignored_flag(missing.is_some())
    };
    let trials = vec![
        trial("objects-are-as-kubevirt-s-types-have-them", &[0, 1], Box::new(move || typed(&types))),
        trial("objects-hold-what-the-package-says", &[], Box::new(said)),
        trial("the-disc-that-kubevirt-makes-is-read-by-the-agent", &[2], Box::new(disc)),
        trial("guests-start-in-order", &[], Box::new(order)),
        trial("disks-are-uploaded-byte-for-byte", &[], Box::new(upload)),
        trial("the-commands-of-the-page-follow-each-other", &[], Box::new(page)),
        trial("yaml-is-what-it-was-made-of", &[], Box::new(yaml)),
        trial("what-cannot-be-is-refused", &[], Box::new(refused)),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Two tiers of a shop: ids that are no names, every kind of disk, networks that are called alike.
const DESCRIPTOR: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
  <References><File ovf:id="system" ovf:href="it's a disk.img"/></References>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:diskId="system" ovf:fileRef="system" ovf:capacity="1" ovf:capacityAllocationUnits="byte * 2^30"/>
    <Disk ovf:diskId="data" ovf:capacity="1000000"/>
  </DiskSection>
  <NetworkSection><Info>Networks</Info><Network ovf:name="VM Network"/><Network ovf:name="vm-network"/></NetworkSection>
  <VirtualSystemCollection ovf:id="Shop: &quot;one&quot;">
    <Info>A shop</Info>
    <StartupSection>
      <Info>Order</Info>
      <Item ovf:id="tier" ovf:order="1" ovf:startDelay="120" ovf:waitingForGuest="true"/>
      <Item ovf:id="Web: #1" ovf:order="2" ovf:startDelay="7" ovf:stopAction="guestShutdown" ovf:stopDelay="45"/>
      <Item ovf:id="spare" ovf:order="3" ovf:startAction="none"/>
      <Item ovf:id="web-1" ovf:order="4"/>
    </StartupSection>
    <VirtualSystemCollection ovf:id="tier">
      <Info>Databases</Info>
      <StartupSection>
        <Info>Order</Info>
        <Item ovf:id="DB 1" ovf:order="0" ovf:waitingForGuest="true"/>
        <Item ovf:id="db_1" ovf:order="0" ovf:startDelay="3"/>
        <Item ovf:id="last" ovf:order="1"/>
      </StartupSection>
      GUEST[DB 1|<InstallSection ovf:initialBootStopDelay="300"><Info>Install</Info></InstallSection>]
      GUEST[db_1|]
      GUEST[last|]
    </VirtualSystemCollection>
    <VirtualSystem ovf:id="Web: #1">
      <Info>Web</Info>
      <ProductSection ovf:class="web">
        <Info>Web</Info>
        <Property ovf:key="password" ovf:type="string" ovf:password="true" ovf:userConfigurable="true" ovf:qualifiers="MinLen(1)"/>
      </ProductSection>
      <VirtualHardwareSection ovf:transport="iso">
        <Info>Hardware</Info>
        <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>1536</rasd:VirtualQuantity></Item>
        <Item><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
        <Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>5</rasd:ResourceType></Item>
        <Item><rasd:InstanceID>4</rasd:InstanceID><rasd:ResourceSubType>lsilogic</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
        <Item><rasd:HostResource>ovf:/disk/system</rasd:HostResource><rasd:InstanceID>5</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
        <Item><rasd:HostResource>ovf:/disk/data</rasd:HostResource><rasd:InstanceID>6</rasd:InstanceID><rasd:Parent>4</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
        <Item><rasd:HostResource>ovf:/disk/data</rasd:HostResource><rasd:InstanceID>7</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType></Item>
        <Item><rasd:Connection>VM Network</rasd:Connection><rasd:InstanceID>8</rasd:InstanceID><rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
        <Item><rasd:Connection>vm-network</rasd:Connection><rasd:InstanceID>9</rasd:InstanceID><rasd:ResourceSubType>E1000</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
      </VirtualHardwareSection>
    </VirtualSystem>
    GUEST[spare|]
    GUEST[web-1|]
  </VirtualSystemCollection>
</Envelope>
"#;
const PASSWORD: &str = "web.password=ünlikely & \"quoted\"";
const DISK: &str = "it's a disk.img";

fn descriptor() -> String {
    let hardware =
        "<VirtualHardwareSection ovf:transport=\"iso\"><Info>Hardware</Info></VirtualHardwareSection>";
    let mut text = DESCRIPTOR.to_owned();
    while let Some((before, after)) = text.split_once("GUEST[") {
        let (guest, after) = after.split_once(']').expect("a guest");
        let (id, sections) = guest.split_once('|').expect("an id");
        text = format!(
            "{before}<VirtualSystem ovf:id=\"{id}\"><Info>One</Info>{sections}{hardware}</VirtualSystem>{after}"
        );
    }
    text
}

/// Bytes that are at another place in every part of them.
fn content() -> Vec<u8> {
    (0..20_000_u32).flat_map(u32::to_le_bytes).chain(*b"odd").collect()
}

/// The package, as a directory and as an archive.
fn package() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).expect("written");
    let (descriptor, content) = (descriptor(), content());
    write("shop.ovf", descriptor.as_bytes());
    write(DISK, &content);
    let kind = EntryType::Regular;
    let mut bytes = archive(&[("shop.ovf", kind, descriptor.as_bytes()), (DISK, kind, &content)]);
    bytes.extend([0; 1024]);
    write("the shop's.ova", &bytes);
    directory
}

fn kubevirt(directory: &Path, package: &str, more: &[&str]) -> String {
    let line = [&["kubevirt", package, "--property", PASSWORD], more].concat();
    let output = host(directory, &line);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What PyYAML reads.
fn read(directory: &Path, text: &str) -> Vec<Value> {
    fs::write(directory.join("text.yaml"), text).expect("written");
    let script =
        "import json, yaml; print(json.dumps(list(yaml.safe_load_all(open('text.yaml', encoding='utf-8')))))";
    // One of the two has it (packaging/deps).
    let run = |python: &str| Command::new(python).args(["-c", script]).current_dir(directory).output();
    let outputs = ["python3", "/usr/bin/python3"].map(|it| run(it).expect("it runs"));
    let output = outputs.iter().find(|it| it.status.success());
    let output = output.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&outputs[0].stderr)));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn objects(directory: &Path, more: &[&str]) -> Vec<Value> {
    read(directory, &kubevirt(directory, "shop.ovf", more))
}

/// The object of a kind and a name.
fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|it| it["kind"] == kind && it["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// Files that assign objects to their types, one each; the names of those that the compiler refuses.
fn compile(types: &Path, library: &str, objects: &[(String, Value)]) -> BTreeSet<String> {
    let directory = tempfile::tempdir().expect("a directory");
    symlink(types, directory.path().join("node_modules")).expect("a link");
    for (name, object) in objects {
        let (module, kind) = match object["kind"].as_str().expect("a kind") {
            "VirtualMachine" => ("kubevirt", "V1VirtualMachine"),
            "DataVolume" => ("containerized-data-importer", "V1beta1DataVolume"),
            "Secret" => ("kubernetes", "IoK8sApiCoreV1Secret"),
            other => panic!("{other}"),
        };
        let text = format!(
            "import type {{ {kind} }} from '{library}/{module}';\nexport const it: {kind} = {object};\n"
        );
        fs::write(directory.path().join(format!("{name}.ts")), text).expect("written");
    }
    let mut command = Command::new("node");
    command.arg(types.join("typescript/bin/tsc")).current_dir(directory.path());
    command.args("--noEmit --strict --skipLibCheck --module esnext --target es2022".split(' '));
    command
        .args(["--moduleResolution", "bundler"])
        .args(objects.iter().map(|(name, _)| format!("{name}.ts")));
    let output = command.output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let found: BTreeSet<_> =
        text.lines().filter_map(|it| it.split_once(".ts(")).map(|(name, _)| name.to_owned()).collect();
    assert!(!found.iter().any(|it| it.contains('/')), "{text}");
    assert_eq!(output.status.success(), found.is_empty(), "{text}");
    found
}

fn typed(types: &Path) -> Result<(), Failed> {
    let package = package();
    let more = ["--namespace", "shop", "--network", "vm-network=pod"];
    let objects = objects(package.path(), &more);
    let mut all: Vec<_> =
        objects.iter().enumerate().map(|(number, it)| (format!("right{number}"), it.clone())).collect();
    let right = all.len();
    assert_eq!(right, 6 * 2 + 3);

    // What is wrong in one way each is refused, or the compiler sees nothing.
    let machine = object(&objects, "VirtualMachine", "web-1-2");
    let volume = object(&objects, "DataVolume", "web-1-2-disk1");
    let secret = object(&objects, "Secret", "web-1-2-environment");
    let spec = "/spec/template/spec";
    let changes = [
        (machine, format!("{spec}/domain/memory/guest"), json!(512)),
        (machine, format!("{spec}/domain/devices"), Value::Null),
        (machine, format!("{spec}/domain/devices/disks/0"), json!({ "name": "disk1", "disc": {} })),
        (machine, format!("{spec}/networks/0"), json!({ "multus": { "networkName": "a" } })),
        (machine, format!("{spec}/volumes/0"), json!({ "name": "disk1", "dataVolume": { "nam": "a" } })),
        (machine, format!("{spec}/readinessProbe"), json!({ "guestAgentPing": true })),
        (machine, "/spec".to_owned(), json!({ "runStrategy": "Manual" })),
        (volume, "/spec/storage/resources/requests/storage".to_owned(), json!(1)),
        (volume, "/spec/source".to_owned(), json!({ "uplaod": {} })),
        (secret, "/data/ovf-env.xml".to_owned(), json!(["a"])),
        (secret, "/metadata/labels".to_owned(), json!([])),
    ];
    for (number, (object, path, change)) in changes.iter().enumerate() {
        let mut wrong = (*object).clone();
        let place = wrong.pointer_mut(path).unwrap_or_else(|| panic!("{path}"));
        assert_ne!(place, change, "{path}");
        *place = change.clone();
        all.push((format!("wrong{number}"), wrong));
    }
    for library in ["@kubevirt-ui/kubevirt-api", "@kubevirt-ui-ext/kubevirt-api"] {
        let refused = compile(types, library, &all);
        let want: BTreeSet<_> = all[right..].iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(refused, want, "{library}");
    }
    Ok(())
}

fn said() -> Result<(), Failed> {
    let package = package();
    let objects = objects(package.path(), &["--network", "vm-network=pod"]);
    let machine = object(&objects, "VirtualMachine", "web-1-2");
    assert_eq!(machine["metadata"]["annotations"]["ovf-host/id"], "Web: #1");
    assert!(machine["metadata"].get("namespace").is_none());
    assert_eq!(machine["spec"]["runStrategy"], "Manual");
    let want = json!({
        "domain": {
            "cpu": { "cores": 2 },
            "memory": { "guest": "1536Mi" },
            "devices": {
                "disks": [
                    { "name": "disk1", "bootOrder": 1, "disk": { "bus": "sata" } },
                    { "name": "disk2", "bootOrder": 2, "disk": { "bus": "scsi" } },
                    { "name": "disk3", "bootOrder": 3, "disk": { "bus": "virtio" } },
                    { "name": "environment", "cdrom": { "bus": "sata", "readonly": true } },
                ],
                "interfaces": [
                    { "name": "net1", "model": "virtio", "bridge": {} },
                    { "name": "net2", "model": "e1000", "masquerade": {} },
                ],
                "rng": {},
            },
        },
        "networks": [
            { "name": "net1", "multus": { "networkName": "vm-network-2" } },
            { "name": "net2", "pod": {} },
        ],
        "readinessProbe": { "guestAgentPing": {}, "periodSeconds": 5 },
        "terminationGracePeriodSeconds": 45,
        "volumes": [
            { "name": "disk1", "dataVolume": { "name": "web-1-2-disk1" } },
            { "name": "disk2", "dataVolume": { "name": "web-1-2-disk2" } },
            { "name": "disk3", "dataVolume": { "name": "web-1-2-disk3" } },
            { "name": "environment", "secret": { "secretName": "web-1-2-environment", "volumeLabel": "OVF ENV" } },
        ],
    });
    assert_eq!(machine["spec"]["template"]["spec"], want);
    for (volume, source, size) in
        [("disk1", "upload", "1Gi"), ("disk2", "blank", "1Mi"), ("disk3", "blank", "1Mi")]
    {
        let spec = &object(&objects, "DataVolume", &format!("web-1-2-{volume}"))["spec"];
        let want = json!({ "source": { source: {} }, "storage": { "resources": { "requests": { "storage": size } } } });
        assert_eq!(*spec, want, "{volume}");
    }
    let names: Vec<_> = objects.iter().filter(|it| it["kind"] == "VirtualMachine").collect();
    let names: Vec<_> = names.iter().map(|it| it["metadata"]["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["db-1", "db-1-2", "last", "web-1-2", "spare", "web-1"]);

    // A guest without a card has none in the cluster either, and is called the same where it is alone.
    let alone = kubevirt(package.path(), "shop.ovf", &["--id", "db_1", "--namespace", "a"]);
    let alone = read(package.path(), &alone);
    assert_eq!(alone.len(), 2);
    let machine = object(&alone, "VirtualMachine", "db-1-2");
    assert_eq!(machine["metadata"]["namespace"], "a");
    assert_eq!(machine["spec"]["template"]["spec"]["domain"]["devices"]["autoattachPodInterface"], false);
    Ok(())
}

/// As virt-launcher makes it, of the Secret's keys (KubeVirt 1.7, pkg/ephemeral-disk).
fn disc() -> Result<(), Failed> {
    let package = package();
    let objects = objects(package.path(), &[]);
    let secret = object(&objects, "Secret", "web-1-2-environment");
    let data = secret["data"].as_object().expect("data");
    assert_eq!(data.keys().collect::<Vec<_>>(), ["ovf-env.xml"]);
    let base64 = data["ovf-env.xml"].as_str().expect("text");
    fs::write(package.path().join("base64"), base64)?;
    run(package.path(), "sh", &["-c", "base64 --decode base64 > ovf-env.xml"])?;
    let (document, _) =
        answer(package.path(), &["env", "shop.ovf", "--id", "Web: #1", "--property", PASSWORD]);
    assert_eq!(fs::read_to_string(package.path().join("ovf-env.xml"))?, document);
    let words = "-as mkisofs -quiet -output env.iso -follow-links -volid|OVF ENV|-joliet -rock -graft-points -partition_cyl_align on \
                 ovf-env.xml=ovf-env.xml";
    let (first, rest) = words.split_once('|').expect("a label");
    let (label, rest) = rest.split_once('|').expect("a label");
    let words: Vec<_> = first.split_whitespace().chain([label]).chain(rest.split_whitespace()).collect();
    run(package.path(), "xorriso", &words)?;
    fs::write(
        package.path().join("agent.toml"),
        "[parameters]\np = { key = \"web.password\", type = \"string\" }\n",
    )?;
    let text =
        run(package.path(), program::agent(), &["get", "--config", ".", "--source", "iso:env.iso", "p"])?;
    assert_eq!(text.trim_end(), PASSWORD.split_once('=').expect("a value").1);
    Ok(())
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new(program).args(arguments).current_dir(directory).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// Runs a script with programs in the cluster's place that write down what they are told; what that was.
fn told(directory: &Path, script: &str) -> Result<Vec<String>, Failed> {
    use std::os::unix::fs::PermissionsExt;
    let bin = directory.join("bin");
    fs::create_dir_all(&bin)?;
    symlink(env!("CARGO_BIN_EXE_ovf-host"), bin.join("ovf-host"))?;
    for program in ["virtctl", "kubectl", "sleep"] {
        let text = format!(
            "#!/bin/sh\nprintf '%s\\n' \"{program} $*\" >> told\n\
             for word; do case $word in --image-path=*) cat \"${{word#*=}}\" > uploaded ;; esac; done\n"
        );
        fs::write(bin.join(program), text)?;
        fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755))?;
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH")?);
    let output =
        Command::new("sh").args(["-e", "-c", script]).current_dir(directory).env("PATH", path).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(fs::read_to_string(directory.join("told"))?.lines().map(str::to_owned).collect())
}

/// What docs/platforms.md shows, with this package for its own.
fn page() -> Result<(), Failed> {
    let page = include_str!("../../docs/platforms.md");
    let (_, section) = page.split_once("### KubeVirt\n").expect("a section");
    let (section, _) = section.split_once("\n### ").expect("another one");
    let commands: Vec<_> = section.lines().filter_map(|it| it.strip_prefix("$ ")).collect();
    let package = package();
    let text = descriptor().replace("\"vm-network\"", "\"shop\"").replace(">vm-network<", ">shop<");
    fs::write(package.path().join("shop.ovf"), &text)?;
    let mut bytes =
        archive(&[("shop.ovf", EntryType::Regular, text.as_bytes()), (DISK, EntryType::Regular, &content())]);
    bytes.extend([0; 1024]);
    fs::write(package.path().join("petstore.ova"), bytes)?;
    fs::write(package.path().join("answers"), PASSWORD)?;
    let told = told(package.path(), &commands.join("\n"))?;
    assert_eq!(told.len(), 1 + 1 + 13, "{told:#?}");
    assert!(
        told[2..].iter().all(|it| it.contains(" --namespace=shop") || it.starts_with("sleep ")),
        "{told:#?}"
    );
    let machine = fs::read_to_string(package.path().join("petstore/web-1-2.yaml"))?;
    assert!(machine.contains("networkName: infra/vlan7\n"), "{machine}");
    Ok(())
}

fn order() -> Result<(), Failed> {
    let package = package();
    kubevirt(package.path(), "shop.ovf", &["--output", "out"]);
    let told = told(package.path(), "sh out/start.sh")?;
    let ready = |names: &str, seconds: u64| {
        format!("kubectl wait {names} --for=condition=Ready --timeout={seconds}s")
    };
    let status = |word: &str, seconds: u64| {
        format!("kubectl wait vm/db-1 --for=jsonpath={{.status.printableStatus}}={word} --timeout={seconds}s")
    };
    let want = [
        "virtctl start db-1".to_owned(),
        status("Running", 600),
        status("Stopped", 300),
        "virtctl start db-1".to_owned(),
        "virtctl start db-1-2".to_owned(),
        ready("vm/db-1", 600),
        "sleep 3".to_owned(),
        "virtctl start last".to_owned(),
        ready("vm/db-1 vm/db-1-2 vm/last", 120),
        "virtctl start web-1-2".to_owned(),
        "sleep 7".to_owned(),
        "virtctl start web-1".to_owned(),
        ready("vm/db-1 vm/db-1-2 vm/last vm/web-1-2 vm/web-1", 600),
    ];
    assert_eq!(told, want);
    let text = fs::read_to_string(package.path().join("out/start.sh"))?;
    assert!(text.contains("# spare is not started: its startAction is none\n"), "{text}");
    Ok(())
}

fn upload() -> Result<(), Failed> {
    for name in ["shop.ovf", "the shop's.ova"] {
        let package = package();
        kubevirt(package.path(), name, &["--output", "out", "--namespace", "a"]);
        let told = told(package.path(), "sh out/upload.sh")?;
        let [line] = &told[..] else { return Err(format!("{told:?}").into()) };
        let want = "virtctl image-upload dv web-1-2-disk1 --namespace=a --no-create --image-path=/";
        assert!(line.starts_with(want), "{line}");
        assert!(fs::read(package.path().join("uploaded"))? == content(), "{name}: other bytes");
        // The same is in the comments of what is printed, and no comment ends early.
        let text = kubevirt(package.path(), name, &["--namespace", "a"]);
        let comments: Vec<_> = text.lines().take_while(|it| it.starts_with('#')).collect();
        let script = fs::read_to_string(package.path().join("out/upload.sh"))?;
        for line in script.lines().skip(1) {
            assert!(comments.contains(&format!("# {line}").as_str()), "{line}");
        }
        let files: BTreeSet<_> = fs::read_dir(package.path().join("out"))?
            .map(|it| it.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        let want = [
            "db-1-2.yaml",
            "db-1.yaml",
            "last.yaml",
            "spare.yaml",
            "start.sh",
            "upload.sh",
            "web-1-2.yaml",
            "web-1.yaml",
        ];
        assert_eq!(files, want.map(str::to_owned).into());
    }
    Ok(())
}

/// Texts that are something else to one reader of YAML or another.
fn yaml() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut texts: Vec<String> = [
        "",
        "y",
        "No",
        "on",
        "null",
        "~",
        "1",
        "1e3",
        "0x1",
        "1_000",
        "12:30:45",
        "=",
        "<<",
        "- a",
        "a: b",
        "a #b",
        "#",
        "\"",
        "'",
        "\\",
        "{a}",
        "[a]",
        "*a",
        "&a",
        "!a",
        "|",
        ">",
        "%a",
        "@a",
        "`a",
        "...",
        "---",
        " a ",
        "a\tb",
        "a\nb\n",
        "\r\n",
        "\u{85}",
        "\u{2028}",
        "\u{2029}",
        "\u{feff}",
        "\u{7f}",
        "\u{0}",
        "\u{1f600}",
        "ünï",
        "2001-01-01",
        "nan",
        ".inf",
        "a/b.c-d_e",
        "-",
        "-a",
        "merge",
    ]
    .map(str::to_owned)
    .into();
    texts.extend((0..0x300_u32).filter_map(char::from_u32).map(|it| format!("a{it}b")));
    let nested = json!([[["a", []], {}], [{ "a": [{ "b": { "c": [null, true, -1, 1.5] } }] }], [[[]]]]);
    let keys: serde_json::Map<_, _> = texts.iter().map(|it| (it.clone(), Value::from(it.as_str()))).collect();
    let value = json!({ "texts": texts, "nested": nested, "keys": keys });
    assert_eq!(read(directory.path(), &ovf_host::kubevirt::yaml::document(&value)), [value]);
    Ok(())
}

fn refused() -> Result<(), Failed> {
    let package = package();
    let path = package.path();
    let try_it = |package: PathBuf, more: &[&str], status: i32, want: &str| {
        let name = package.to_str().expect("UTF-8");
        let (text, code) = answer(path, &[&["kubevirt", name, "--property", PASSWORD], more].concat());
        assert!(text.contains(want) && code == Some(status), "{want}: {code:?} {text}");
    };
    let right = path.join("shop.ovf");
    try_it(right.clone(), &["--namespace", "Shop"], 64, "`Shop` is no name of a namespace");
    try_it(
        right.clone(),
        &["--network", "VM Netwerk=pod"],
        64,
        "no guest is in a network `VM Netwerk`; `VM Network` was probably meant",
    );
    try_it(
        right.clone(),
        &["--network", "VM Network=pod", "--network", "VM Network=lan"],
        64,
        "--network has `VM Network` twice; give it once",
    );
    let both = ["--network", "VM Network=pod", "--network", "vm-network=pod"];
    try_it(
        right,
        &both,
        78,
        "`Web: #1` cannot be one of KubeVirt's: several of its cards are in the pods' network",
    );

    let changed = |from: &str, to: &str| {
        let file = path.join("changed.ovf");
        let text = descriptor();
        assert!(text.contains(from), "{from}");
        fs::write(&file, text.replacen(from, to, 1)).expect("written");
        file
    };
    let long = format!("ovf:value=\"{}\" ovf:password=\"true\"", "x".repeat(1 << 20));
    let wide = changed(
        "<Property ovf:key=\"password\"",
        &format!("<Property ovf:key=\"long\" ovf:type=\"string\" {long}/><Property ovf:key=\"password\""),
    );
    try_it(wide, &[], 78, "and a Secret at most 1048576; write its disc by `ovf-host iso`, and attach that");
    let child = changed(
        "ovf:capacity=\"1000000\"",
        "ovf:capacity=\"1000000\" ovf:fileRef=\"system\" ovf:parentRef=\"system\"",
    );
    try_it(child, &[], 78, "disk 2 differs from another, and a volume has nothing below it");
    try_it(changed("ovf:/disk/system", "ovf:/file/system"), &[], 78, "disk 1 has no ovf:capacity");
    let files = "<EnvironmentFilesSection><Info>Files</Info><File ovf:fileRef=\"system\" ovf:path=\"a\"/></EnvironmentFilesSection>";
    let files =
        changed("<ProductSection ovf:class=\"web\">", &format!("{files}<ProductSection ovf:class=\"web\">"));
    try_it(
        files,
        &[],
        78,
        "its EnvironmentFilesSection has files, and a disc of KubeVirt's has no directory for them",
    );
    let nowhere = changed("<rasd:Connection>VM Network</rasd:Connection>", "");
    try_it(nowhere, &[], 78, "a network card has no Connection");
    Ok(())
}
