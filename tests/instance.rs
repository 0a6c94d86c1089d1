//! Who a guest is: a copy of it is another, and a new program disk is not.
//!
//! A machine is configured, and then made another: by its firmware's UUID, the id of its environment, or the property
//! `instance-id`; or it is given a new program disk, its state being on a disk of its own.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is outside of the agent, and looks at files and starts programs"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

const AGENT: &str = env!("CARGO_BIN_EXE_ovf-agent");

const SETTINGS: &str = r#"[parameters]
token = { key = "token", type = "string", generate = "alnum:24" }
name = { key = "name", type = "string", default = "none" }
[appliance]
version = "1"
[state]
directory = "/data/ovf-agent"
"#;

struct Guest(tempfile::TempDir);

impl Guest {
    fn new(settings: &str) -> Self {
        let guest = Self(tempfile::tempdir().expect("a scratch directory"));
        for directory in
            ["etc/ovf-agent/templates", "sys/class/dmi/id", "proc/sys/kernel/random", "data", "etc/app"]
        {
            fs::create_dir_all(guest.path(directory)).expect("mkdir");
        }
        guest.write("etc/ovf-agent/agent.toml", settings);
        for (name, rules) in [("each", ""), ("once", "once = true\n")] {
            let template = format!(
                "+++\npath = \"/etc/app/{name}\"\nmode = \"0600\"\nescape = \"ini\"\n{rules}+++\ntoken = {{{{ token }}}} {{{{ name }}}}\n"
            );
            guest.write(&format!("etc/ovf-agent/templates/{name}.tera"), &template);
        }
        guest.is("3F1D3B6E-0000-4000-8000-000000000001", "boot-1");
        guest
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect(name);
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect(name)
    }

    fn is(&self, uuid: &str, boot: &str) {
        self.write("sys/class/dmi/id/product_uuid", &format!("{uuid}\n"));
        self.write("proc/sys/kernel/random/boot_id", &format!("{boot}\n"));
    }

    fn agent(&self, command: &str, id: &str, properties: &[(&str, &str)]) -> Output {
        let property =
            |(key, value): &(&str, &str)| format!(r#"<Property e:key="{key}" e:value="{value}"/>"#);
        let properties: String = properties.iter().map(property).collect();
        let document = format!(
            r#"<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:e="http://schemas.dmtf.org/ovf/environment/1"
            e:id="{id}"><PropertySection>{properties}</PropertySection></Environment>"#
        );
        self.write("env.xml", &document);
        let source = format!("file:{}", self.path("env.xml").display());
        let mut run = Command::new(AGENT);
        run.arg(command).arg("--root").arg(self.0.path()).args(["--source", &source]);
        run.output().expect("the agent")
    }

    fn apply(&self, id: &str, properties: &[(&str, &str)]) -> String {
        let output = self.agent("apply", id, properties);
        let log = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "{log}");
        log
    }
}

#[test]
fn a_copy_begins_anew_with_secrets_of_its_own() {
    const UUID: &str = "3F1D3B6E-0000-4000-8000-000000000001";
    let [named, unnamed] = ["name", ""].map(|key| format!("{SETTINGS}instance-id = \"{key}\"\n"));
    type Properties = &'static [(&'static str, &'static str)];
    // (what is tried, settings, UUID, id, properties, whether it is another guest)
    let table: [(&str, &str, &str, &str, Properties, bool); 9] = [
        ("a reboot", SETTINGS, UUID, "A", &[("instance-id", "i-1"), ("name", "a")], false),
        ("the same in small letters", SETTINGS, "3f1d3b6e-0000-4000-8000-000000000001", "A", &[], false),
        ("another UUID", SETTINGS, "3F1D3B6E-0000-4000-8000-000000000002", "A", &[], true),
        ("another id", SETTINGS, UUID, "B", &[], true),
        ("no id", SETTINGS, UUID, "", &[], false),
        ("another instance-id", SETTINGS, UUID, "A", &[("instance-id", "i-2"), ("name", "a")], true),
        ("one that another key has", &named, UUID, "A", &[("instance-id", "i-2"), ("name", "a")], false),
        ("another of that key", &named, UUID, "A", &[("instance-id", "i-1"), ("name", "b")], true),
        ("one that nobody asks for", &unnamed, UUID, "A", &[("instance-id", "i-2"), ("name", "b")], false),
    ];
    for (what, settings, uuid, id, properties, is_another) in table {
        let guest = Guest::new(settings);
        guest.apply("A", &[("instance-id", "i-1"), ("name", "a")]);
        let (each, once, secrets) =
            (guest.read("etc/app/each"), guest.read("etc/app/once"), "data/ovf-agent/generated.json");
        let token = each.split_whitespace().nth(2).expect("a token").to_owned();
        assert!(guest.read(secrets).contains(&token), "{what}");

        guest.is(uuid, "boot-2");
        let log = guest.apply(id, properties);
        assert_eq!(log.contains("this guest is a copy of another"), is_another, "{what}: {log}");
        assert_eq!(guest.read("etc/app/each").contains(&token), !is_another, "{what}: a generated secret");
        assert_eq!(guest.read("etc/app/once") != once, is_another, "{what}: once is once for an instance");
        assert_eq!(guest.read(secrets).contains(&token), !is_another, "{what}: the secrets of another guest");
        guest.apply(id, properties);
        guest.is(uuid, "boot-3");
        let again = (guest.read("etc/app/each"), guest.read(secrets));
        let log = guest.apply(id, properties);
        assert!(!log.contains("this guest is a copy"), "{what}: {log}");
        assert_eq!((guest.read("etc/app/each"), guest.read(secrets)), again, "{what}: it stays who it is");
    }
}

#[test]
fn a_lost_state_is_no_new_instance_and_keeps_the_secrets() {
    let guest = Guest::new(SETTINGS);
    guest.apply("A", &[]);
    let before = guest.read("etc/app/each");
    for content in [Some("{"), None] {
        match content {
            Some(content) => guest.write("data/ovf-agent/state.json", content),
            None => fs::remove_file(guest.path("data/ovf-agent/state.json")).expect("it is there"),
        }
        guest.is("3F1D3B6E-0000-4000-8000-000000000001", "boot-2");
        guest.apply("A", &[]);
        assert_eq!(guest.read("etc/app/each"), before, "{content:?}");
    }
}

#[test]
fn a_new_program_disk_gets_its_files_again_and_no_first_boot() {
    let guest = Guest::new(SETTINGS);
    guest.apply("A", &[]);
    let before = guest.read("etc/app/each");
    // The data disk stays.
    fs::remove_dir_all(guest.path("etc/app")).expect("it is there");
    fs::create_dir(guest.path("etc/app")).expect("mkdir");
    guest.is("3F1D3B6E-0000-4000-8000-000000000001", "boot-2");
    guest.write("etc/ovf-agent/agent.toml", &SETTINGS.replace("version = \"1\"", "version = \"2\""));
    let log = guest.apply("A", &[]);
    assert!(!log.contains("this guest is a copy"), "{log}");
    assert_eq!(guest.read("etc/app/each"), before, "with the secrets that the data was set up with");
    assert!(!guest.path("etc/app/once").exists(), "it is not its first boot");
    let state: serde_json::Value =
        serde_json::from_str(&guest.read("data/ovf-agent/state.json")).expect("JSON");
    assert_eq!((&state["generation"], &state["hooks"]["version"]), (&2.into(), &"2".into()));
}

#[test]
fn what_would_never_be_run_is_said_by_check() {
    let guest = Guest::new(SETTINGS);
    fs::create_dir_all(guest.path("etc/ovf-agent/hooks.d/ready")).expect("mkdir");
    fs::create_dir_all(guest.path("etc/ovf-agent/hooks.d/after-aply")).expect("mkdir");
    guest.write("etc/ovf-agent/hooks.d/ready/10-tell", "#!/bin/sh\n");
    std::os::unix::fs::symlink("/bin/true", guest.path("etc/ovf-agent/hooks.d/ready/20-link"))
        .expect("symlink");
    let check =
        Command::new(AGENT).arg("check").arg("--root").arg(guest.0.path()).output().expect("the agent");
    let said = String::from_utf8(check.stdout).expect("text");
    assert_eq!(check.status.code(), Some(78), "{said}");
    let want = "hooks.d/after-aply: is no directory of hooks; there are before-apply, first-boot, after-apply, ready, stop\n\
                hooks.d/ready/10-tell: is not executable, and never run; make it so, or take it away\n\
                hooks.d/ready/20-link: is no file of its own, and never run; put the program itself there, or a script\n\
                2 parameters and 2 templates: 3 problems\n";
    assert_eq!(said, want);
    // A boot is not kept from its configuration by that.
    let log = guest.apply("A", &[]);
    assert!(log.contains("hooks.d/ready/10-tell: is not executable"), "{log}");
}
