//! Packages that are made here: what is in them, and that others take them, too.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use ovf_agent::environment::parse;

mod common;
#[path = "common/agent.rs"]
mod program;
use common::{answer, codes, host};
use program::agent;

const RECIPE: &str = r#"
name    = "shop"
product = "Shop & more"
vendor  = "Example"
version = "1.0"

[networks.inside]
description = "Where the shop is"

[machines.web]
description = "What people see"
memory   = "1 GiB"
cpus     = 2
disks    = ["web.qcow2", "2 GiB"]
networks = ["inside", "inside"]
agent    = "web"
licence  = "licence.txt"
start    = { order = 1, delay = 60 }
stop     = { delay = 30, action = "power-off" }

[machines.db]
memory = "256 MiB"
disks  = ["db.raw"]
networks = ["inside"]
agent  = "db"
start  = { delay = 120, wait-for-guest = true }
"#;

fn tool(directory: &Path, line: &str) -> String {
    let mut words = line.split(' ');
    let output = Command::new(words.next().expect("a program")).args(words).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A folder with all that the recipe names.
fn folder() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("written");
    write("appliance.toml", RECIPE);
    write("licence.txt", "Be kind, & fair.\n");
    for (machine, parameters) in [
        ("web", "title = { key = \"org.example.title\", type = \"fqdn\", required = true }"),
        ("db", "secret = { key = \"secret\", type = \"string\", sensitive = true, generate = \"alnum:24\" }"),
    ] {
        fs::create_dir_all(directory.path().join(machine).join("templates")).expect("made");
        write(&format!("{machine}/agent.toml"), &format!("[parameters]\n{parameters}\n"));
        let name = parameters.split(' ').next().expect("a name");
        let front = "+++\npath = \"/etc/x\"\nmode = \"0600\"\nescape = \"ini\"\n+++\n";
        write(&format!("{machine}/templates/x.tera"), &format!("{front}x = {{{{ {name} }}}}\n"));
    }
    tool(directory.path(), "qemu-img create -q -f qcow2 web.qcow2 8M");
    tool(directory.path(), "qemu-img create -q -f raw db.raw 1M");
    directory
}

fn pack(directory: &Path, more: &[&str]) -> (String, Option<i32>) {
    answer(directory, &[&["pack", ".", "-o", "shop.ova", "--agent-program", agent()], more].concat())
}

/// No qualifier asks for a number, so what an agent declares for one may stay empty, until somebody gives it a value.
#[test]
fn a_required_number_that_may_stay_empty_is_told_to_who_packs() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write(
        "web/agent.toml",
        "[parameters]\ntitle = { key = \"org.example.port\", type = \"port\", required = true }\n",
    );
    let (said, status) = pack(folder.path(), &[]);
    let want = "./appliance.toml:16:12: warning: the appliance requires `org.example.port`, and the descriptor lets it be empty; give";
    assert!(said.starts_with(want) && said.trim_end().lines().count() == 1, "{said}");
    assert_eq!(status, Some(0));
    write(
        "appliance.toml",
        &format!("{RECIPE}[properties]\n\"org.example.port\" = {{ default = \"80\" }}\n"),
    );
    assert_eq!(pack(folder.path(), &[]), (String::new(), Some(0)));
}

#[test]
fn a_folder_becomes_a_package() {
    let folder = folder();
    assert_eq!(pack(folder.path(), &[]), (String::new(), Some(0)));
    let listed = tool(folder.path(), "tar tf shop.ova");
    let names: Vec<_> = listed.lines().collect();
    assert_eq!(names, ["shop.ovf", "shop.mf", "db-disk1.vmdk", "web-disk1.vmdk"]);
    let arguments =
        ["check", "shop.ova", "--agent", "web=web", "--agent", "db=db", "--agent-program", agent()];
    let (text, status) = answer(folder.path(), &arguments);
    assert_eq!((codes(&text).count(), status), (0, Some(0)), "{text}");
    let want = "OVF 1, conformance level 1: 2 virtual systems, 1 collection, 3 disks, 1 network, 0 deployment options, 2 properties";
    assert!(text.contains(want), "{text}");

    // Others take it as well: the disks, the digests, the tar.
    tool(folder.path(), "tar xf shop.ova");
    let disk = tool(folder.path(), "qemu-img info --output=json web-disk1.vmdk");
    assert!(disk.contains("\"streamOptimized\"") && disk.contains("\"virtual-size\": 8388608"), "{disk}");
    let manifest = fs::read_to_string(folder.path().join("shop.mf")).expect("there");
    let sums: String = manifest
        .lines()
        .map(|line| line.strip_prefix("SHA256(").and_then(|it| it.split_once(")= ")).expect("a line"))
        .map(|(name, digest)| format!("{digest}  {name}\n"))
        .collect();
    fs::write(folder.path().join("sums"), sums).expect("written");
    tool(folder.path(), "sha256sum --check --strict --quiet sums");

    // And its guests get their environments.
    let output = host(
        folder.path(),
        &["env", "shop.ova", "--id", "web", "--property", "org.example.title=shop.example.org"],
    );
    let (read, _) = parse(&output.stdout).expect("a document");
    assert_eq!(read.properties.get("org.example.title").map(|it| it.reveal()), Some("shop.example.org"));
    assert_eq!(read.entities.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["db"]);
    let (text, status) = answer(folder.path(), &["env", "shop.ova", "--id", "web"]);
    assert_eq!((codes(&text).collect::<Vec<_>>(), status), (vec!["property-missing"], Some(78)));
}

/// The white paper's PetStore: a web server, and a group of two databases, fed by what is asked for once.
const PETSTORE: &str = r#"
name    = "PetStore"
product = "PetStore Web Portal"

[configurations.standard]
label   = "Normal"
default = true

[configurations.minimal]
description = "Install the service with minimal use of resources"

[properties]
adminEmail = { description = "Email address of service administrator" }
appIp      = { label = "IP" }
dbIp       = { label = "IP for DB" }
db2Ip      = { label = "IP for DB2" }
logLevel   = { default = "normal", configurations = { minimal = "low" } }

[machines.WebTier]
memory = "512 MiB"
agent  = "web"
values = { "com.mywebserver.appIp" = "${appIp}", "com.mywebserver.dbIp" = "${dbIp}" }
start  = { order = 2, delay = 60, wait-for-guest = true }

[machines.WebTier.configurations.minimal]
cpus   = 2
memory = "256 MiB"
values = { "com.mywebserver.threads" = "2" }

[groups.DBTier]
description = "A clustered database"
start       = { order = 1, delay = 120, wait-for-guest = true }

[groups.DBTier.properties]
"com.mydb.db.vm1" = { value = "${dbIp}" }
"com.mydb.db.vm2" = { value = "${db2Ip}" }

[machines.DB1]
memory = "256 MiB"
group  = "DBTier"
agent  = "db"
values = { "com.mydb.db.ip" = "${vm1}", "com.mydb.db.primaryAtBoot" = "true" }
start  = { order = 1, delay = 120 }

[machines.DB2]
memory = "256 MiB"
group  = "DBTier"
agent  = "db"
values = { "com.mydb.db.ip" = "${com.mydb.db.vm2}", "com.mydb.db.primaryAtBoot" = "false" }
start  = { order = 2 }
"#;

/// A folder with that, and with another text in place of some of it.
fn petstore(from: &str, to: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    assert!(PETSTORE.contains(from), "{from}");
    fs::write(directory.path().join("appliance.toml"), PETSTORE.replacen(from, to, 1)).expect("written");
    let web = "admin = { key = \"adminEmail\", type = \"email\" }\nip = { key = \"com.mywebserver.appIp\", type = \"ipv4\", required = true }\n\
               db = { key = \"com.mywebserver.dbIp\", type = \"ipv4\" }\nthreads = { key = \"com.mywebserver.threads\", type = \"port\", default = 8 }\n";
    let db = "log = { key = \"logLevel\", type = \"string\" }\nvm1 = { key = \"com.mydb.db.vm1\", type = \"ipv4\" }\n\
              vm2 = { key = \"com.mydb.db.vm2\", type = \"ipv4\" }\nip = { key = \"com.mydb.db.ip\", type = \"ipv4\", required = true }\n\
              primary = { key = \"com.mydb.db.primaryAtBoot\", type = \"bool\" }\n";
    for (machine, parameters) in [("web", web), ("db", db)] {
        let hooks = directory.path().join(machine).join("hooks.d/ready");
        fs::create_dir_all(directory.path().join(machine).join("templates")).expect("made");
        fs::create_dir_all(&hooks).expect("made");
        fs::write(hooks.join("10-all"), "#!/bin/sh\n").expect("written");
        fs::set_permissions(hooks.join("10-all"), fs::Permissions::from_mode(0o755)).expect("set");
        let toml = directory.path().join(machine).join("agent.toml");
        fs::write(toml, format!("[parameters]\n{parameters}")).expect("written");
    }
    directory
}

#[test]
fn groups_share_properties_and_sizes_have_their_own() {
    let folder = petstore("", "");
    assert_eq!(pack(folder.path(), &[]), (String::new(), Some(0)));
    let output = host(folder.path(), &["check", "--json", "shop.ova"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let package = &answer["package"];
    let usual: Vec<_> = package["configurations"]
        .as_array()
        .expect("two")
        .iter()
        .map(|it| (&it["id"], &it["usual"]))
        .collect();
    assert_eq!(usual, [(&"standard".into(), &true.into()), (&"minimal".into(), &false.into())]);
    let entities = package["entities"].as_array().expect("all");
    let items = |entity: usize| {
        let items = entities[entity]["startup"].as_array().expect("a list").iter();
        items
            .map(|it| format!("{} {} {}", it["id"], it["order"], it["waiting-for-guest"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(items(0), ["\"DBTier\" 1 true", "\"WebTier\" 2 true"]);
    assert_eq!(
        (&entities[1]["id"], items(1)),
        (&"DBTier".into(), vec!["\"DB1\" 1 false".to_owned(), "\"DB2\" 2 false".to_owned()])
    );

    let environment = |id: &str, more: &[&str]| {
        let given = ["adminEmail=a@example.org", "appIp=192.0.2.1", "dbIp=192.0.2.2", "db2Ip=192.0.2.3"];
        let mut arguments = vec!["env", "shop.ova", "--id", id];
        arguments.extend(given.iter().flat_map(|it| ["--property", it]));
        let output = host(folder.path(), &[&arguments, more].concat());
        let (read, _) =
            parse(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let all: Vec<_> =
            read.properties.iter().map(|(key, value)| format!("{key}={}", value.reveal())).collect();
        let entities: Vec<_> = read.entities.iter().map(|it| it.id.clone()).collect();
        (all.join(" "), entities.join(" "))
    };
    let asked = "adminEmail=a@example.org appIp=192.0.2.1 dbIp=192.0.2.2 db2Ip=192.0.2.3 logLevel=normal";
    let own = "com.mywebserver.dbIp=192.0.2.2 com.mywebserver.appIp=192.0.2.1 com.mywebserver.threads=8";
    assert_eq!(environment("WebTier", &[]), (format!("{asked} {own}"), "DBTier".to_owned()));
    // Of the whole appliance's, a group hands on what its machines ask for.
    let own = "logLevel=low com.mydb.db.vm1=192.0.2.2 com.mydb.db.vm2=192.0.2.3 com.mydb.db.ip=192.0.2.3 com.mydb.db.primaryAtBoot=false";
    assert_eq!(environment("DB2", &["--configuration", "minimal"]), (own.to_owned(), "DB1".to_owned()));
    let (all, _) = environment("WebTier", &["--configuration", "minimal"]);
    assert!(all.ends_with("com.mywebserver.threads=2"), "{all}");

    tool(folder.path(), "tar xf shop.ova PetStore.ovf");
    let text = fs::read_to_string(folder.path().join("PetStore.ovf")).expect("there");
    let tree = roxmltree::Document::parse(&text).expect("XML");
    let quantities: Vec<_> = tree
        .descendants()
        .filter(|it| {
            it.attribute(("http://schemas.dmtf.org/ovf/envelope/1", "configuration")) == Some("minimal")
        })
        .filter(|it| it.has_tag_name(("http://schemas.dmtf.org/ovf/envelope/1", "Item")))
        .map(|item| {
            let text =
                |name| item.children().find(|it| it.tag_name().name() == name).and_then(|it| it.text());
            (text("InstanceID"), text("ResourceType"), text("VirtualQuantity"))
        })
        .collect();
    assert_eq!(quantities, [(Some("1"), Some("3"), Some("2")), (Some("2"), Some("4"), Some("256"))]);
}

/// By its place in appliance.toml, since nobody ever sees the descriptor; and no value is shown.
#[test]
fn properties_that_cannot_be_are_told_where_they_are_written() {
    for (from, to, want) in [
        (
            "= \"${dbIp}\" }\nstart",
            "= \"${dbIpp}\" }\nstart",
            ":22:75: error: `${dbIpp}` is no property of the collection around this; `dbIp` was probably meant",
        ),
        ("= \"${vm1}\"", "= \"${appIp}\"", ""),
        (
            "\"com.mydb.db.primaryAtBoot\" = \"true\"",
            "\"com.mydb.db.primary\" = \"true\"",
            ":42:41: error: no parameter of this machine's agent reads `com.mydb.db.primary`; `com.mydb.db.primaryAtBoot` was probably meant",
        ),
        (
            "primaryAtBoot\" = \"true\"",
            "primaryAtBoot\" = \"s3cret\"",
            ":42:71: error: the value of `com.mydb.db.primaryAtBoot` is not true or false",
        ),
        (
            "threads\" = \"2\"",
            "threads\" = \"s3cret\"",
            ":28:40: error: the value of `com.mywebserver.threads` is not a number from 0 to 65535",
        ),
        (
            "\"com.mywebserver.threads\" = \"2\"",
            "adminEmail = \"s3cret\"",
            ":28:12: error: `adminEmail` is a property of the collection around this machine; write its configurations there",
        ),
        (
            "configurations = { minimal = \"low\" }",
            "type = \"uint8\"",
            ":17:26: error: the value of `logLevel` is not a number from 0 to 255",
        ),
    ] {
        let folder = petstore(from, to);
        let (text, status) = pack(folder.path(), &[]);
        assert!(text.contains(&format!("appliance.toml{want}")) || want.is_empty(), "{to}: {text}");
        assert_eq!(status, Some(if want.is_empty() { 0 } else { 78 }), "{to}: {text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

/// What a property asks the platform for is in the descriptor as VMware has it, and given from a subnet.
#[test]
fn addresses_are_asked_for_and_given() {
    let folder = petstore(r#"appIp      = { label = "IP" }"#, r#"appIp = { assign = "address" }"#);
    assert_eq!(pack(folder.path(), &[]).1, Some(0));
    let descriptor = tool(folder.path(), "tar xOf shop.ova PetStore.ovf");
    assert!(descriptor.contains("vmw:qualifiers=\"Ip"), "{descriptor}");
    let given = |more: &[&str]| {
        let databases = ["--property", "dbIp=192.0.2.11", "--property", "db2Ip=192.0.2.12"];
        let line =
            [&["env", "shop.ova", "--id", "WebTier", "--subnet", "10.77.0.0/24"], &databases[..], more]
                .concat();
        let output = host(folder.path(), &line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let (read, _) = parse(&output.stdout).expect(&said);
        read.properties.get("appIp").map(|it| it.reveal().to_owned())
    };
    assert_eq!(given(&[]).as_deref(), Some("10.77.0.10"));
    assert_eq!(
        given(&["--property", "appIp=192.0.2.1"]).as_deref(),
        Some("192.0.2.1"),
        "what is given comes first"
    );
}

#[test]
fn one_machine_needs_no_collection() {
    let folder = folder();
    fs::write(
        folder.path().join("appliance.toml"),
        "name = \"one\"\nproduct = \"P\"\n[machines.vm]\nmemory = \"64 MiB\"\ntransport = []\n",
    )
    .expect("written");
    assert_eq!(pack(folder.path(), &[]), (String::new(), Some(0)));
    let (text, _) = answer(folder.path(), &["check", "shop.ova"]);
    assert!(text.contains("1 virtual system, 0 collections, 0 disks"), "{text}");
    // Nothing in it is of who made it, or when.
    let first = fs::read(folder.path().join("shop.ova")).expect("made");
    assert_eq!(pack(folder.path(), &[]), (String::new(), Some(0)));
    assert!(first == fs::read(folder.path().join("shop.ova")).expect("made"), "the same bytes");
}

#[test]
fn a_package_is_signed() {
    let folder = folder();
    let certificate =
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=maker -keyout maker.key -out maker.pem";
    tool(folder.path(), &format!("openssl {certificate}"));
    assert_eq!(
        pack(folder.path(), &["--key", "maker.key", "--certificate", "maker.pem"]),
        (String::new(), Some(0))
    );
    let (text, status) = answer(folder.path(), &["check", "shop.ova", "--ca", "maker.pem"]);
    assert_eq!((codes(&text).count(), status), (0, Some(0)), "{text}");
}

/// A maker's certificate is issued by an authority, as a rule; whom to trust is for others to say.
#[test]
fn an_authority_may_have_issued_the_certificate() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let openssl = |line: &str| tool(folder.path(), &format!("openssl {line}"));
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=root -keyout root.key -out root.pem");
    openssl("req -newkey rsa:2048 -nodes -subj /CN=leaf -keyout leaf.key -out leaf.csr");
    openssl("x509 -req -in leaf.csr -CA root.pem -CAkey root.key -set_serial 1 -days 2 -out leaf.pem");
    openssl("genpkey -algorithm ed25519 -out edwards.key");
    openssl("req -x509 -key edwards.key -days 2 -subj /CN=edwards -out edwards.pem");
    let read = |name: &str| fs::read_to_string(path(name)).expect("made");
    fs::write(path("chain.pem"), read("leaf.pem") + &read("root.pem")).expect("written");
    for certificate in ["leaf.pem", "chain.pem"] {
        let signed = pack(folder.path(), &["--key", "leaf.key", "--certificate", certificate]);
        assert_eq!(signed, (String::new(), Some(0)), "{certificate}");
        for authority in ["root.pem", "leaf.pem"] {
            let (text, status) = answer(folder.path(), &["check", "shop.ova", "--ca", authority]);
            assert_eq!((codes(&text).count(), status), (0, Some(0)), "{certificate} {authority}: {text}");
        }
    }
    fs::remove_file(path("shop.ova")).expect("made");
    // One that is out of date.
    fs::write(path("index"), "").expect("written");
    fs::write(path("serial"), "02\n").expect("written");
    let policy = "[ca]\ndefault_ca = d\n[d]\ndatabase = index\nserial = serial\nnew_certs_dir = .\ndefault_md = sha256\npolicy = p\n[p]\ncommonName = supplied\n";
    fs::write(path("ca"), policy).expect("written");
    openssl(
        "ca -batch -config ca -cert root.pem -keyfile root.key -in leaf.csr -startdate 20200101000000Z -enddate 20210101000000Z -out old.pem",
    );
    for (key, certificate, want) in [
        (
            "leaf.key",
            "old.pem",
            "old.pem: error: nobody would trust this certificate: certificate has expired; renew it, or name another",
        ),
        (
            "root.key",
            "leaf.pem",
            "root.key: error: this is not the key of the first certificate in leaf.pem; ",
        ),
        ("none.key", "leaf.pem", "none.key: error: the key cannot be read: No such file or directory"),
        (
            "leaf.pem",
            "leaf.pem",
            "leaf.pem: error: openssl does not read this key; is it a private key in PEM",
        ),
        ("leaf.key", "leaf.key", "leaf.key: error: this is no certificate in PEM"),
        ("leaf.key", "none.pem", "none.pem: error: the certificate cannot be read: No such file"),
        (
            "edwards.key",
            "edwards.pem",
            "edwards.key: error: openssl signs no SHA-256 digest by a key of this kind",
        ),
    ] {
        let (text, status) = pack(folder.path(), &["--key", key, "--certificate", certificate]);
        // What is read and is wrong is not what cannot be read.
        let exit = if text.ends_with("[unreadable]\n") { 1 } else { 78 };
        assert_eq!(exit == 1, want.contains("cannot be read"), "{text}");
        assert!(text.starts_with(want) && status == Some(exit), "{key} {certificate}: {status:?} {text}");
        assert!(!path("shop.ova").exists());
    }
}

/// What the mask keeps from others, they do not get.
#[test]
fn a_package_is_for_whom_the_mask_lets() {
    let folder = folder();
    for (mask, mode) in [("022", 0o644), ("077", 0o600), ("007", 0o660)] {
        let line = format!("umask {mask}; exec \"$0\" pack . -o shop.ova --agent-program \"$1\"");
        let status = Command::new("sh")
            .args(["-c", &line, env!("CARGO_BIN_EXE_ovf-host"), agent()])
            .current_dir(folder.path())
            .status();
        assert!(status.expect("sh runs").success());
        let made = fs::metadata(folder.path().join("shop.ova")).expect("made").permissions().mode();
        assert_eq!(made & 0o777, mode, "{mask}");
    }
}

/// A builder is told of the file that they write.
#[test]
fn what_the_check_finds_is_told_by_its_place_in_the_recipe() {
    for (from, to, want) in [
        (
            "appIp      = { label = \"IP\" }",
            "appIp = { type = \"string\", default = \"s3cret\" }",
            ("appliance.toml:22:38: error: the appliance would refuse the value", "agent-refused", 78),
        ),
        (
            "logLevel   = { default = \"normal\", ",
            "logLevel = { default = \"normal\", password = true, ",
            (
                "appliance.toml:17:24: warning: `logLevel` is a password, and its default is here",
                "password-given",
                0,
            ),
        ),
        (
            "\"com.mydb.db.ip\" = \"${vm1}\"",
            "\"com.mydb.db.ip\" = \"s3cret\"",
            ("appliance.toml:42:31: error: the appliance would refuse the value", "agent-refused", 78),
        ),
    ] {
        let folder = petstore(from, to);
        let (text, status) = pack(folder.path(), &[]);
        let (place, code, exit) = want;
        let is_told = text.lines().any(|line| line.contains(place) && line.ends_with(&format!("[{code}]")));
        assert!(is_told && status == Some(exit), "{to}: {status:?} {text}");
        assert!(!text.contains("s3cret") && !text.contains(".ovf:"), "{text}");
    }
}

/// What a program makes a form of.
#[test]
fn properties_have_all_that_a_form_needs() {
    let folder = petstore(
        "adminEmail = {",
        "size = { type = \"uint8\", qualifiers = \"MinValue(2)\" }\nmode = { type = \"string\", \
         qualifiers = 'ValueMap{\"a\",\"b\"}' }\npassword = { type = \"string\", password = true, qualifiers = \"MinLen(8) MaxLen(64)\" }\nip = { assign = \"address\" }\nadminEmail = {",
    );
    pack(folder.path(), &[]);
    let output = host(folder.path(), &["check", "--json", "shop.ova"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let all = answer["package"]["entities"][0]["properties"].as_array().expect("a list").clone();
    let property = |name: &str| all.iter().find(|it| it["name"] == name).expect(name).clone();
    let of = |name: &str, fields: &[&str]| -> Vec<String> {
        fields.iter().map(|field| property(name)[field].to_string()).collect()
    };
    assert_eq!(
        of("size", &["type", "min", "max", "required", "entity"]),
        ["\"uint8\"", "2.0", "null", "false", "\"PetStore\""]
    );
    assert_eq!(of("ip", &["assignable"]), ["true"]);
    assert_eq!(of("mode", &["type", "choices", "required"]), ["\"string\"", "[\"a\",\"b\"]", "false"]);
    let fields = ["min-length", "max-length", "required", "password", "choices", "category", "default"];
    assert_eq!(of("password", &fields), ["8", "64", "true", "true", "null", "null", "false"]);
    let (text, _) = self::answer(folder.path(), &["check", "shop.ova", "--lang", "en"]);
    for line in [
        "property size of PetStore, uint8, at least 2",
        "property mode of PetStore, one of `a`, `b`",
        "property ip of PetStore, or what the platform gives",
        "property password of PetStore, a password, required, 8 to 64 characters",
    ] {
        assert!(text.lines().any(|it| it.trim() == line), "{line}: {text}");
    }
}

#[test]
fn what_cannot_be_made_leaves_nothing() {
    for (change, want, exit) in [
        (
            (|it| fs::write(it.join("appliance.toml"), "name = 1\n")) as fn(&Path) -> std::io::Result<()>,
            "recipe",
            78,
        ),
        (|it| fs::remove_file(it.join("appliance.toml")), "unreadable", 1),
        (|it| fs::write(it.join("web.qcow2"), b"QFI\xfbnonsense"), "recipe", 78),
        (|it| fs::write(it.join("web/agent.toml"), "[parameters]\nx = 1\n"), "agent-unusable", 78),
    ] {
        let folder = folder();
        change(folder.path()).expect("changed");
        let before = fs::read_dir(folder.path()).expect("there").count();
        let (text, status) = pack(folder.path(), &[]);
        assert_eq!((codes(&text).collect::<Vec<_>>(), status), (vec![want], Some(exit)), "{text}");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), before, "{want}: something is left");
    }
    let folder = folder();
    let (text, status) = answer(folder.path(), &["pack", "nope", "-o", "shop.ova"]);
    let want =
        "nope/appliance.toml: error: there is none; name a folder that has an appliance.toml [unreadable]\n";
    assert_eq!((text.as_str(), status), (want, Some(1)));
    let (text, status) = answer(folder.path(), &["pack", ".", "-o", "shop.ovf"]);
    assert_eq!((text.as_str(), status), ("ovf-host: the package's name has to end in .ova\n", Some(64)));
}
