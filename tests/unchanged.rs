//! A pass that finds nothing changed comes to what any other pass comes to.
//!
//! The agent takes a short way through a pass that is made from the same as the last one (`agent::unchanged`). Whatever that
//! forgets to look at is a file that stays wrong and a report that says otherwise. So a guest is configured twice, and then
//! changed in one thing; of a copy of it the state loses what the last pass was made from, so that its agent has to take the
//! long way. Both are to end in the same files, state, report and log.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is outside of the agent, and looks at files and starts programs"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_ovf-agent");
const SHORT: &str = "nothing has changed since the last pass";
/// The document, beside the roots, so that it is one for a guest and its twin.
const ENV: &str = "../env.xml";
const BOOT: &str = "proc/sys/kernel/random/boot_id";
const STATE: &str = "var/lib/ovf-agent/state.json";

const SETTINGS: &str = r#"[parameters]
listen = { key = "listen", type = "ipv4" }
level = { key = "level", type = "string", default = "normal" }
extra = { key = "extra", type = "bool", default = false }
password = { key = "password", type = "string", sensitive = true }
token = { key = "token", type = "string", generate = "alnum:24" }
members = { key = "members", type = "list<string>", default = [] }
options = { key = "options", type = "map", default = {} }
peer = { entity = "B", key = "listen", type = "ipv4" }
[derived]
url = "http://{{ listen }}/"
"#;

/// Templates by name: front matter and body.
const TEMPLATES: [(&str, &str, &str); 11] = [
    (
        "plain",
        "path = '/etc/app/plain.conf'\nescape = 'ini'",
        "a = {{ listen }} {{ level }} {{ url }} {{ peer }}\n",
    ),
    ("same", "path = '/etc/other/same.conf'\nescape = 'ini'", "the same\n"),
    (
        "secret",
        "path = '/etc/app/secret.conf'\nmode = '0600'\nescape = 'ini'",
        "a = {{ password }} {{ token }}\n",
    ),
    ("extra", "path = '/etc/extra/extra.conf'\nescape = 'ini'\nwhen = 'extra'", "extra\n"),
    (
        "net",
        "path = '/etc/net/{index}.conf'\nescape = 'ini'\nfor-each = 'adapters'",
        "a = {{ item.ifname | default(value='-') }}\n",
    ),
    (
        "member",
        "path = '/etc/app/member-{item}.conf'\nescape = 'ini'\nfor-each = 'members'",
        "a = {{ index }}\n",
    ),
    ("map", "path = '/etc/app/map.json'\nescape = 'json'", "{{ options | json }}\n"),
    (
        "around",
        "path = '/etc/app/around.conf'\nescape = 'ini'",
        "a = {{ hypervisor }} {{ environment.id }} {{ platform.locale | default(value='-') }} {{ platform.timezone | default(value=0) }}\n",
    ),
    ("edited", "path = '/etc/app/edited.conf'\nescape = 'ini'\nkeep-edits = true", "by us\n"),
    (
        "stays",
        "path = '/etc/app/stays.conf'\nescape = 'ini'\nwhen = 'level != \"gone\"'\nabsent = 'keep'",
        "it stays\n",
    ),
    ("once", "path = '/etc/app/once.conf'\nescape = 'ini'\nonce = true", "at first {{ level }}\n"),
];

const ENVIRONMENT: &str = r#"<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"
 xmlns:e="http://schemas.dmtf.org/ovf/environment/1" xmlns:ve="http://www.vmware.com/schema/ovfenv" e:id="A">
<PlatformSection><Locale>de_DE</Locale><Timezone>60</Timezone></PlatformSection>
<PropertySection>
<Property e:key="listen" e:value="192.0.2.1"/><Property e:key="level" e:value="low"/>
<Property e:key="password" e:value="s3cret"/><Property e:key="members" e:value="x,y"/>
<Property e:key="options" e:value="a=1&amp;b=2"/><Property e:key="undeclared" e:value="1"/>
</PropertySection>
<ve:EthernetAdapterSection><ve:Adapter ve:mac="00:50:56:00:00:01" ve:network="lan" ve:unitNumber="7"/></ve:EthernetAdapterSection>
<Entity e:id="B"><PropertySection><Property e:key="listen" e:value="192.0.2.2"/></PropertySection></Entity>
</Environment>
"#;

/// A machine in a directory, and who configures it.
struct Guest {
    root: PathBuf,
    agent: PathBuf,
    has_environment: bool,
    /// What it has made for itself first.
    made: (String, String),
}

impl Guest {
    fn new(root: PathBuf) -> Self {
        let guest = Self { root, agent: AGENT.into(), has_environment: true, made: Default::default() };
        for directory in ["etc/app", "etc/other", "etc/extra", "etc/net"] {
            fs::create_dir_all(guest.path(directory)).expect("mkdir");
        }
        guest.write("etc/ovf-agent/agent.toml", SETTINGS);
        for (name, front, body) in TEMPLATES {
            guest.write(&template(name), &format!("+++\n{front}\n+++\n{body}"));
        }
        guest.write(ENV, ENVIRONMENT);
        guest.write("sys/class/net/eth0/address", "00:50:56:00:00:01\n");
        guest.write("sys/class/net/eth0/device/vendor", "0x15ad\n");
        guest.write("sys/class/dmi/id/product_uuid", "3f1d3b6e-0000-4000-8000-000000000001\n");
        guest.write(BOOT, "boot-1\n");
        guest
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The document is one for a guest and its twin.
    fn source(&self) -> String {
        format!("file:{}", self.root.parent().expect("a scratch directory").join("env.xml").display())
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("mkdir");
        fs::write(path, content).expect(name);
    }

    /// Puts `to` where a file has `from`.
    fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).expect(name);
        assert!(text.contains(from), "{name} has no {from}: {text}");
        self.write(name, &text.replace(from, to));
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect(name);
    }

    /// A copy of it, whose agent has to take the long way.
    fn twin(&self, root: PathBuf) -> Self {
        let copied = Command::new("cp").arg("-a").arg(&self.root).arg(&root).status().expect("cp");
        assert!(copied.success());
        Self { root, agent: self.agent.clone(), made: self.made.clone(), ..*self }
    }

    fn forget(&self) {
        if let Ok(mut state) =
            serde_json::from_str::<Value>(&fs::read_to_string(self.path(STATE)).expect("a state"))
        {
            state.as_object_mut().expect("an object").remove("input");
            self.write(STATE, &state.to_string());
        }
    }

    fn apply(&self) -> Output {
        let mut run = Command::new(&self.agent);
        run.args(["apply", "--log", "debug"]).arg("--root").arg(&self.root);
        run.arg("--report").arg(self.path("report.json"));
        if self.has_environment {
            run.arg("--source").arg(self.source());
        }
        run.output().expect("the agent")
    }

    /// Everything that a pass comes to, without what differs from pass to pass; and whether it took the short way.
    fn pass(&self) -> (Came, bool) {
        let output = self.apply();
        let plain = |text: &str| text.replace(&self.root.display().to_string(), "ROOT");
        let log = plain(&String::from_utf8(output.stderr).expect("text"));
        let short = log.contains(SHORT);
        let log = log.lines().filter(|line| !line.contains(SHORT)).map(str::to_owned).collect();
        let mut report: Value =
            serde_json::from_slice(&fs::read(self.path("report.json")).expect("a report")).expect("JSON");
        for field in ["session", "uptime_ms", "took_us"] {
            report[field] = Value::Null;
        }
        let mut files = self.files();
        if let Some(text) = files.get_mut(Path::new(STATE))
            && let Ok(mut state) =
                serde_json::from_str::<Value>(&fs::read_to_string(self.path(STATE)).expect("it"))
        {
            // Made anew by each pass that writes; and where salt or secret are others, so is what is made from them.
            state["pass"] = Value::Null;
            if self.made() != self.made || !output.status.success() || !self.has_environment {
                state["input"] = Value::Null;
                state["salt"] = Value::Null;
                for (_, file) in state["files"].as_object_mut().into_iter().flatten() {
                    file["digest"] = Value::Null;
                }
            }
            *text = format!("{state:#}");
        }
        let (token, _) = self.made();
        for text in files.values_mut().filter(|_| !token.is_empty()) {
            *text = text.replace(&token, "TOKEN");
        }
        (Came { exit: output.status.code(), log, report: plain(&report.to_string()), files }, short)
    }

    /// What a guest makes for itself: the secret, and the state's salt.
    fn made(&self) -> (String, String) {
        let text = |file: &str, keys: &[&str]| {
            let text = fs::read_to_string(self.path(file)).unwrap_or_default();
            let json: Value = serde_json::from_str(&text).unwrap_or_default();
            let value = keys.iter().fold(&json, |json, key| &json[key]);
            value.as_str().unwrap_or_default().to_owned()
        };
        (text("var/lib/ovf-agent/generated.json", &["secrets", "token"]), text(STATE, &["salt"]))
    }

    fn files(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut todo = vec![self.root.clone()];
        while let Some(path) = todo.pop() {
            let meta = fs::symlink_metadata(&path).expect("there");
            let name = path.strip_prefix(&self.root).expect("below it").to_owned();
            let content = if meta.is_dir() {
                todo.extend(
                    fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()),
                );
                String::new()
            } else if meta.is_symlink() {
                fs::read_link(&path).expect("a link").display().to_string()
            } else {
                String::from_utf8_lossy(&fs::read(&path).expect("a file")).into_owned()
            };
            // What tells of times is another each time.
            if !["report.json", "run/ovf-agent/times"].iter().any(|times| name == Path::new(times)) {
                found.insert(name, format!("{:o} {content}", meta.permissions().mode()));
            }
        }
        found
    }
}

struct Came {
    exit: Option<i32>,
    log: Vec<String>,
    report: String,
    files: BTreeMap<PathBuf, String>,
}

impl Came {
    /// How it differs from what the long way came to.
    fn differs(&self, long: &Self) -> Option<String> {
        if (self.exit, &self.log, &self.report) != (long.exit, &long.log, &long.report) {
            let shown = |it: &Self| format!("{:?} {:#?} {}", it.exit, it.log, it.report);
            return Some(format!("{}\nthe long way: {}", shown(self), shown(long)));
        }
        let names: BTreeSet<_> = self.files.keys().chain(long.files.keys()).collect();
        let other =
            names.into_iter().filter(|name| self.files.get(*name) != long.files.get(*name)).map(|name| {
                let text = |it: &Self| it.files.get(name).cloned().unwrap_or_default();
                let (short, long) = (text(self), text(long));
                let only = |one: &str, other: &str| {
                    let lines = one.lines().filter(|line| other.lines().all(|it| it != *line));
                    lines.map(|line| format!("\n  {line}")).collect::<String>()
                };
                let name = name.display();
                format!("{name}:{}\nthe long way:{}", only(&short, &long), only(&long, &short))
            });
        other.reduce(|all, one| format!("{all}\n{one}"))
    }
}

fn template(name: &str) -> String {
    format!("etc/ovf-agent/templates/{name}.tera")
}

/// Another build of the agent: the same, but for what tells it from others.
fn rebuild(guest: &mut Guest) {
    let other = guest.path("other-agent");
    let mut bytes = fs::read(&guest.agent).expect("the agent");
    // The linker's digest, in a note of the kind 3 by GNU (elf(5)).
    let note = b"\x14\0\0\0\x03\0\0\0GNU\0";
    let at = bytes[..4096].windows(note.len()).position(|window| window == note);
    bytes[at.expect("a build ID in the first page") + note.len()] ^= 1;
    fs::write(&other, bytes).expect("written");
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).expect("chmod");
    guest.agent = other;
}

/// One change: what it is, how it is made, and whether the next pass and the one after it may take the short way.
type Change = (&'static str, fn(&mut Guest), bool, bool);

const CHANGES: &[Change] = &[
    ("nothing", |_| (), true, true),
    // What the configuration is.
    ("a template's text", |g| g.edit(&template("plain"), "a =", "b ="), false, true),
    (
        "a template's text, with the same file",
        |g| g.edit(&template("plain"), "{{ listen }}", "{{listen}}"),
        false,
        true,
    ),
    ("a template's mode", |g| g.edit(&template("plain"), "'ini'", "'ini'\nmode = '0600'"), false, true),
    ("a template's path", |g| g.edit(&template("plain"), "plain.conf", "moved.conf"), false, true),
    ("a template is gone", |g| g.remove(&template("plain")), false, true),
    ("a template is masked", |g| g.write(&template("plain"), ""), false, true),
    (
        "a template is masked by this boot",
        |g| g.write("run/ovf-agent/templates/plain.tera", "+++\npath = '/etc/app/plain.conf'\n+++\n"),
        true,
        true,
    ),
    (
        "a new template",
        |g| g.write(&template("new"), "+++\npath = '/etc/app/new.conf'\n+++\nnew\n"),
        false,
        true,
    ),
    (
        "a new template in the image",
        |g| g.write("usr/lib/ovf-agent/templates/new.tera", "+++\npath = '/etc/app/new.conf'\n+++\nnew\n"),
        false,
        true,
    ),
    ("a template is wrong", |g| g.edit(&template("plain"), "{{ listen }}", "{{ unknown }}"), false, false),
    ("a default", |g| g.edit("etc/ovf-agent/agent.toml", "\"normal\"", "\"high\""), false, true),
    ("a comment", |g| g.edit("etc/ovf-agent/agent.toml", "[derived]", "# derived\n[derived]"), false, true),
    ("a derived value", |g| g.edit("etc/ovf-agent/agent.toml", "http:", "https:"), false, true),
    (
        "a drop-in",
        |g| g.write("etc/ovf-agent/agent.d/a.toml", "[parameters.extra]\ndefault = true\n"),
        false,
        true,
    ),
    (
        "a drop-in of this boot",
        |g| g.write("run/ovf-agent/agent.d/a.toml", "[parameters.extra]\ndefault = true\n"),
        false,
        true,
    ),
    (
        "the appliance's version",
        |g| g.write("etc/ovf-agent/agent.d/a.toml", "[appliance]\nversion = '2'\n"),
        false,
        true,
    ),
    ("the agent", rebuild, false, true),
    // What templates see.
    ("a value", |g| g.edit(ENV, "192.0.2.1\"", "192.0.2.9\""), false, true),
    (
        "a value that only a `when` asks for",
        |g| {
            g.edit(
                ENV,
                "<Property e:key=\"undeclared\"",
                "<Property e:key=\"extra\" e:value=\"1\"/><Property e:key=\"undeclared\"",
            )
        },
        false,
        true,
    ),
    ("a sensitive value", |g| g.edit(ENV, "s3cret", "s3cret2"), false, true),
    ("a value that is gone", |g| g.edit(ENV, "<Property e:key=\"level\" e:value=\"low\"/>", ""), false, true),
    ("an item of a list", |g| g.edit(ENV, "x,y", "x,z"), false, true),
    ("a value in a map", |g| g.edit(ENV, "b=2", "b=3"), false, true),
    ("a key of a map", |g| g.edit(ENV, "b=2", "c=2"), false, true),
    ("a sibling's value", |g| g.edit(ENV, "192.0.2.2", "192.0.2.3"), false, true),
    ("a value that nobody declared", |g| g.edit(ENV, "e:value=\"1\"", "e:value=\"2\""), true, true),
    ("a value that breaks a rule", |g| g.edit(ENV, "192.0.2.1\"", "nowhere\""), false, false),
    ("the document is no XML", |g| g.write(ENV, "<"), false, false),
    ("a generated secret", |g| g.remove("var/lib/ovf-agent/generated.json"), false, true),
    ("the environment's id", |g| g.edit(ENV, "e:id=\"A\"", "e:id=\"C\""), false, true),
    ("the platform's locale", |g| g.edit(ENV, "de_DE", "fr_FR"), false, true),
    ("the platform's time zone", |g| g.edit(ENV, "60", "120"), false, true),
    ("the hypervisor", |g| g.write("sys/class/dmi/id/sys_vendor", "VMware, Inc.\n"), false, true),
    (
        "an interface's name",
        |g| fs::rename(g.path("sys/class/net/eth0"), g.path("sys/class/net/ens1")).expect("renamed"),
        false,
        true,
    ),
    ("an interface is gone", |g| g.remove("sys/class/net/eth0/address"), false, true),
    ("an adapter's network", |g| g.edit(ENV, "\"lan\"", "\"dmz\""), false, true),
    ("no environment", |g| g.has_environment = false, false, false),
    // What is there.
    ("a target's content", |g| g.write("etc/app/plain.conf", "edited\n"), false, true),
    ("a target's length", |g| g.write("etc/app/plain.conf", ""), false, true),
    (
        "a target's mode",
        |g| {
            fs::set_permissions(g.path("etc/app/plain.conf"), fs::Permissions::from_mode(0o600))
                .expect("chmod")
        },
        false,
        true,
    ),
    ("a target is gone", |g| g.remove("etc/app/plain.conf"), false, true),
    (
        "a target is a link",
        |g| {
            fs::rename(g.path("etc/app/plain.conf"), g.path("etc/app/real.conf")).expect("renamed");
            symlink("real.conf", g.path("etc/app/plain.conf")).expect("a link");
        },
        false,
        false,
    ),
    (
        "a target is a directory",
        |g| {
            g.remove("etc/app/plain.conf");
            fs::create_dir(g.path("etc/app/plain.conf")).expect("mkdir");
        },
        false,
        false,
    ),
    (
        "a target's directory is gone",
        |g| fs::remove_dir_all(g.path("etc/other")).expect("removed"),
        false,
        false,
    ),
    (
        "a target's directory is a link",
        |g| {
            fs::rename(g.path("etc/other"), g.path("etc/real")).expect("renamed");
            symlink("real", g.path("etc/other")).expect("a link");
        },
        true,
        true,
    ),
    (
        "two targets are one file by now",
        |g| {
            g.write(&template("same"), "+++\npath = '/etc/other/plain.conf'\nescape = 'ini'\n+++\nsame\n");
            g.write(&template("plain"), "+++\npath = '/etc/app/plain.conf'\nescape = 'ini'\n+++\nsame\n");
            assert!(g.apply().status.success());
            fs::remove_dir_all(g.path("etc/other")).expect("removed");
            symlink("app", g.path("etc/other")).expect("a link");
        },
        false,
        false,
    ),
    ("a file that keeps its edits", |g| g.write("etc/app/edited.conf", "by hand\n"), false, false),
    (
        "a file that is written once, in the first boot",
        |g| g.write("etc/app/once.conf", "by hand\n"),
        false,
        true,
    ),
    (
        "a file that is written once, later",
        |g| {
            g.write(BOOT, "boot-2\n");
            g.write("etc/app/once.conf", "by hand\n");
        },
        false,
        false,
    ),
    ("a file that stays though it is not wanted", |g| g.edit(ENV, "\"low\"", "\"gone\""), false, false),
    (
        "a file that is written once is gone, and forgotten",
        |g| {
            g.write(BOOT, "boot-2\n");
            g.write(STATE, "{");
            g.remove("etc/app/once.conf");
        },
        false,
        false,
    ),
    (
        "a file that is written once is gone",
        |g| {
            g.write(BOOT, "boot-2\n");
            g.remove("etc/app/once.conf");
        },
        false,
        false,
    ),
    ("a file where a template has nothing", |g| g.write("etc/extra/extra.conf", "by hand\n"), true, true),
    ("a leftover", |g| g.write("etc/app/.#ovf-agent.0.plain.conf", "old"), false, true),
    (
        "a leftover of the state",
        |g| g.write("var/lib/ovf-agent/.#ovf-agent.0.state.json", "old"),
        false,
        true,
    ),
    // What is remembered.
    ("a state that is damaged", |g| g.write(STATE, "{"), false, true),
    ("a state with another salt", |g| g.edit(STATE, "\"salt\":\"", "\"salt\":\"0"), false, true),
    (
        "a record that is gone",
        |g| {
            let mut state: Value =
                serde_json::from_str(&fs::read_to_string(g.path(STATE)).expect("it")).expect("JSON");
            state["files"]["/etc/app/plain.conf"]["digest"] = "0".into();
            g.write(STATE, &state.to_string());
        },
        false,
        true,
    ),
    ("another boot", |g| g.write(BOOT, "boot-2\n"), true, true),
    ("another machine", |g| g.edit("sys/class/dmi/id/product_uuid", "0001", "0002"), false, true),
    // What else a pass does.
    (
        "a hook, which is told of derived values",
        |g| {
            g.write("etc/ovf-agent/hooks.d/after-apply/a", "#!/bin/sh\n");
            let path = g.path("etc/ovf-agent/hooks.d/after-apply/a");
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
        },
        false,
        false,
    ),
    (
        "a hook that is not executable",
        |g| g.write("etc/ovf-agent/hooks.d/after-apply/a", "#!/bin/sh\n"),
        true,
        true,
    ),
];

#[test]
fn the_short_way_comes_to_what_the_long_one_comes_to() {
    let mut wrong = Vec::new();
    for (what, change, now, then) in CHANGES {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let mut guest = Guest::new(scratch.path().join("a"));
        assert!(guest.apply().status.success(), "{what}: {:?}", guest.apply());
        guest.made = guest.made();
        assert!(guest.pass().1, "{what}: the second pass takes the short way");
        change(&mut guest);
        let mut twin = guest.twin(scratch.path().join("b"));
        twin.agent.clone_from(&guest.agent);
        for (which, short) in [("next", now), ("one after", then)] {
            twin.forget();
            let ((one, took), (other, long)) = (guest.pass(), twin.pass());
            assert!(!long, "{what}: a state that knows nothing");
            if took != *short {
                wrong.push(format!("{what}: the {which} pass took the short way: {took}"));
            }
            if let Some(difference) = one.differs(&other) {
                wrong.push(format!("{what}: the {which} pass: {difference}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_short_pass_writes_nothing_at_all() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let guest = Guest::new(scratch.path().join("a"));
    assert!(guest.apply().status.success());
    let before = fs::metadata(guest.path(STATE)).expect("a state");
    assert!(guest.pass().1 && guest.pass().1);
    let after = fs::metadata(guest.path(STATE)).expect("a state");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(
        (before.ino(), before.mtime_nsec()),
        (after.ino(), after.mtime_nsec()),
        "the state was written"
    );
}

#[test]
fn hooks_that_are_told_of_no_derived_values_are_no_reason_for_the_long_way() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let guest = Guest::new(scratch.path().join("a"));
    guest.edit("etc/ovf-agent/agent.toml", "[derived]\nurl = \"http://{{ listen }}/\"\n", "");
    guest.edit(&template("plain"), " {{ url }}", "");
    guest.write("etc/ovf-agent/hooks.d/ready/a", "#!/bin/sh\n");
    fs::set_permissions(guest.path("etc/ovf-agent/hooks.d/ready/a"), fs::Permissions::from_mode(0o755))
        .expect("chmod");
    assert!(guest.apply().status.success());
    assert!(guest.pass().1);
}

#[test]
fn commands_that_show_what_would_be_take_the_long_way() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let guest = Guest::new(scratch.path().join("a"));
    assert!(guest.apply().status.success());
    let source = guest.source();
    let mut plan = Command::new(AGENT);
    plan.args(["plan", "--log", "debug", "--source", &source]).arg("--root").arg(&guest.root);
    let output = plan.output().expect("the agent");
    let (out, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !log.contains(SHORT), "{log}");
    assert!(out.contains("/etc/app/plain.conf"), "{out}");
}
