//! The command line as a user has it: what it answers, how it exits, and that `run` runs.
//!
//! Machines are scratch directories; nothing here needs a VM or root, and nothing outside the directories is touched.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is outside of the agent, and looks at files and starts programs"
)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use serde_json::Value;

const ENVIRONMENT: &str = r#"<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"
  xmlns:e="http://schemas.dmtf.org/ovf/environment/1" e:id="DB1">
  <PropertySection>
    <Property e:key="db.ip" e:value="192.0.2.11"/>
    <Property e:key="db.password" e:value="hunter2"/>
    <Property e:key="undeclared" e:value="x"/>
  </PropertySection>
  <Entity e:id="DB2">
    <PropertySection><Property e:key="db.password" e:value="hunter3"/></PropertySection>
  </Entity>
</Environment>"#;

const PARAMETERS: &str = r#"[parameters]
ip = { key = "db.ip", type = "ipv4", required = true }
password = { key = "db.password", type = "string", sensitive = true }
peer = { key = "db.peer", type = "ipv4" }
"#;

/// A machine in a scratch directory.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new(settings: &str) -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let machine = Self { dir };
        machine.write("root/etc/ovf-agent/agent.toml", &format!("{PARAMETERS}{settings}"));
        machine.write(
            "root/etc/ovf-agent/templates/a.tera",
            "+++\npath = \"/etc/a\"\nmode = \"0600\"\n+++\n{{ ip }} {{ password }}\n",
        );
        machine.write("env.xml", ENVIRONMENT);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        fs::write(path, text).expect("write");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = agent(arguments);
        command.arg("--root").arg(self.path("root"));
        command
    }

    /// With the machine's environment.
    fn run(&self, arguments: &[&str]) -> Output {
        let source = format!("file:{}", self.path("env.xml").display());
        self.command(arguments).args(["--source", &source]).output().expect("the agent runs")
    }
}

fn agent(arguments: &[&str]) -> Command {
    let binary = std::env::var_os("OVF_AGENT").unwrap_or_else(|| env!("CARGO_BIN_EXE_ovf-agent").into());
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[test]
fn exit_statuses_are_what_the_help_says() {
    let machine = Machine::new("");
    let broken = Machine::new("[nonsense]\n");
    let without_root = |arguments: &[&str]| agent(arguments).output().expect("runs").status.code();
    for (arguments, want) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["apply", "--help"], 0),
        (&[], 64),
        (&["aply"], 64),
        (&["apply", "--sauce", "x"], 64),
        (&["apply", "--source", "cd:/dev/sr0"], 64),
        (&["apply", "--log", "loud"], 64),
        (&["get"], 64),
        (&["detect"], 0),
        (&["detect", "--facts", "/nonexistent"], 1),
        (&["apply", "--root", "/nonexistent"], 1),
    ] {
        assert_eq!(without_root(arguments), Some(want), "{arguments:?}");
    }
    let code = |output: Output| output.status.code();
    assert_eq!(code(machine.run(&["apply"])), Some(0));
    assert_eq!(code(machine.run(&["get", "nothing"])), Some(64));
    assert_eq!(code(broken.run(&["apply"])), Some(78));
    assert_eq!(code(broken.run(&["check"])), Some(78));
    let gone = machine.command(&["apply", "--source", "iso:/nonexistent/sr0"]).output().expect("runs");
    assert_eq!(code(gone), Some(75), "a device that is not there yet");
}

#[test]
fn help_names_every_command_and_every_exit_status() {
    let help = text(&agent(&["--help"]).output().expect("runs").stdout);
    for word in [
        "run", "apply", "plan", "check", "render", "explain", "env", "get", "schema", "detect", "status",
        "reload", "analyze", "--root", "--config", "--source",
    ] {
        assert!(help.contains(&format!("{word} ")), "{word} is not in\n{help}");
    }
    assert!(
        help.contains("--json") && help.contains("--log <LEVEL>") && help.contains("78 the configuration"),
        "{help}"
    );
}

#[test]
fn render_prints_what_templates_come_to_and_needs_no_machine() {
    let machine = Machine::new("");
    machine.write(
        "root/etc/ovf-agent/templates/b.tera",
        "+++\npath = \"/etc/b\"\nwhen = \"peer is not none\"\n+++\n{{ peer }}\n",
    );
    let config = machine.path("root/etc/ovf-agent").display().to_string();
    let env = machine.path("env.xml").display().to_string();
    let render = |arguments: &[&str]| {
        let output = agent(&["render", "--config", &config]).args(arguments).output().expect("runs");
        (output.status.code(), text(&output.stdout))
    };
    let (status, all) = render(&["--env", &env]);
    assert_eq!(status, Some(0));
    assert_eq!(
        all,
        "==> /etc/a (mode 0600; templates/a.tera)\n192.0.2.11 ********\n==> /etc/b: not to be (templates/b.tera)\n"
    );
    let given = ["--set", "ip=10.0.0.1", "--set", "password=planted", "--set", "db.peer=10.0.0.2"];
    assert_eq!(render(&[&given[..], &["a"]].concat()).1, "10.0.0.1 ********\n");
    assert_eq!(render(&[&given[..], &["a", "--show-sensitive"]].concat()).1, "10.0.0.1 planted\n");
    assert_eq!(render(&[&given[..], &["/etc/b"]].concat()).1, "10.0.0.2\n");
    assert_eq!(render(&["--env", &env, "--set", "peer=10.0.0.3", "b.tera"]).1, "10.0.0.3\n");
    assert!(!render(&[&given[..], &["--json"]].concat()).1.contains("planted"));
    for (arguments, want) in [
        (&["nothing"][..], 64),
        (&["--set", "ip"], 64),
        (&["--set", "nothing=1"], 64),
        (&["--set", "ip=x"], 78),
        (&["--env", "/nonexistent"], 1),
    ] {
        assert_eq!(render(arguments).0, Some(want), "{arguments:?}");
    }
}

#[test]
fn explain_tells_where_each_line_comes_from() {
    let machine = Machine::new(
        "port = { key = \"db.port\", type = \"int\", default = 5432 }\n\n\
         [derived]\nlogin = \"{{ user }}:{{ password }}\"\nuser = \"{{ port }}-{{ token }}\"\n",
    );
    machine.write(
        "root/etc/ovf-agent/agent.d/token.toml",
        "[parameters]\ntoken = { key = \"db.token\", type = \"string\", generate = \"hex:8\" }\n",
    );
    machine.write(
        "root/etc/ovf-agent/templates/b.tera",
        "+++\npath = \"/etc/b\"\nmode = \"0600\"\nescape = \"ini\"\n+++\n\
         # {{ environment.id }}\n\
         {%- if ip %}\n\
         listen = {{ ip }}:{{ port }} {% raw %}{{ x }}{% endraw %}\n\
         {% endif %}\n\
         login = {{ login }}\n",
    );
    let said = machine.run(&["explain", "/etc/b"]);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    let want = "   1  # DB1
      templates/b.tera:6:1
      templates/b.tera:6:6  environment
   2  listen = 192.0.2.11:5432 {{ x }}
      templates/b.tera:8:1  ip: environment, property db.ip
      templates/b.tera:8:13  ip: environment, property db.ip
      templates/b.tera:8:22  ip: environment, property db.ip; port: default, property db.port
   3
      templates/b.tera:9:12
   4  login = ********
      templates/b.tera:10:1
      templates/b.tera:10:12  login: derived from password: environment, property db.password, user \
                  (derived from port: default, property db.port, token: generated, property db.token)
";
    assert_eq!(text(&said.stdout), want);
    let said = machine.run(&["explain", "/etc/b", "--json"]);
    assert_eq!(json(&said)["lines"][3]["text"], "login = ********");
    assert_eq!(machine.run(&["explain", "/etc/nothing"]).status.code(), Some(64));
}

#[test]
fn explain_waits_for_no_environment_where_no_template_can_write_the_file() {
    let machine = Machine::new("servers = { key = \"db.servers\", type = \"list<string>\" }\n");
    machine.write(
        "root/etc/ovf-agent/templates/b.tera",
        "+++\npath = \"/etc/servers/{index}.conf\"\nfor-each = \"servers\"\n+++\n{{ item }}\n",
    );
    for (path, want) in [
        ("a", 64),
        ("etc/a", 64),
        ("/etc/nothing", 64),
        ("/etc/servers/1.conf/more", 64),
        ("/etc/servers", 64),
        // These depend on what is in the drive, and that is not there yet.
        ("/etc/a", 75),
        ("/etc//./a", 75),
        ("/etc/servers/1.conf", 75),
    ] {
        let said =
            machine.command(&["explain", path, "--source", "iso:/nonexistent/sr0"]).output().expect("runs");
        assert_eq!(said.status.code(), Some(want), "{path}: {said:?}");
        let is_told = text(&said.stderr).contains("no template writes");
        assert_eq!(is_told, want == 64, "{path}: {said:?}");
    }
}

/// Without an image nobody knows what it has, but a script that names no interpreter starts nowhere.
#[test]
fn check_tells_of_hooks_that_cannot_be_started() {
    let machine = Machine::new("");
    for (name, text) in
        [("10-none", "echo hello\n"), ("20-away", "#!/usr/bin/python3\n"), ("30-good", "#!/bin/sh\n")]
    {
        let path = format!("root/etc/ovf-agent/hooks.d/first-boot/{name}");
        machine.write(&path, text);
        fs::set_permissions(machine.path(&path), fs::Permissions::from_mode(0o755)).expect("set");
    }
    machine.write("root/bin/sh", "");
    machine.write("root/etc/passwd", "root:x:0:0::/:/bin/sh\n");
    machine.write("root/etc/group", "root:x:0:\n");
    fs::set_permissions(machine.path("root/bin/sh"), fs::Permissions::from_mode(0o755)).expect("set");
    let config = machine.path("root/etc/ovf-agent");
    let alone = agent(&["check", "--config"]).arg(config).output().expect("runs");
    for (said, want) in [(machine.run(&["check"]), 2), (alone, 1)] {
        let text = text(&said.stdout);
        assert_eq!(said.status.code(), Some(78), "{text}");
        assert_eq!(text.matches("hooks.d/first-boot/").count(), want, "{text}");
        assert!(
            text.contains("hooks.d/first-boot/10-none: cannot be started: its first line names"),
            "{text}"
        );
        assert_eq!(
            text.contains("the image has no program /usr/bin/python3; install it"),
            want == 2,
            "{text}"
        );
    }
}

#[test]
fn with_json_an_error_is_json_too_and_said_once_more_to_people() {
    let machine = Machine::new("");
    let broken = Machine::new("[nonsense]\n");
    let late = ["--source", "iso:/nonexistent/sr0"];
    for (machine, arguments, source, code, exit) in [
        (&machine, &["plan"][..], &late[..], "SourceNotThere", 75),
        (&machine, &["env"], &late, "SourceNotThere", 75),
        (&machine, &["get", "nothing"], &[], "Usage", 64),
        (&machine, &["explain", "/etc/nothing"], &[], "Usage", 64),
        (&machine, &["status"], &[], "NotRunning", 75),
        (&machine, &["reload"], &[], "NotRunning", 75),
        (&machine, &["analyze"], &[], "NotRunning", 75),
        (&machine, &["detect", "--facts", "/nonexistent"], &[], "Unavailable", 1),
        (&broken, &["plan"], &[], "ConfigurationInvalid", 78),
        (&broken, &["schema", "--ovf"], &[], "ConfigurationInvalid", 78),
    ] {
        let said = machine.command(arguments).args(source).arg("--json").output().expect("runs");
        let error = &json(&said)["error"];
        assert_eq!((said.status.code(), error["code"].as_str()), (Some(exit), Some(code)), "{said:?}");
        let message = error["message"].as_str().expect("text");
        assert!(!message.is_empty() && text(&said.stderr).contains(message), "{said:?}");
        assert!(error["stage"].is_string() && error["final"].is_boolean(), "{said:?}");
        let plain = machine.command(arguments).args(source).output().expect("runs");
        assert!(plain.stdout.is_empty() && plain.stderr == said.stderr, "{plain:?}");
    }
    // Of a pass there is one answer, its report.
    let said = broken.run(&["apply", "--json"]);
    assert_eq!(json(&said)["failure"]["code"], "ConfigurationInvalid");
}

/// What stands in the wrong place may be a secret, whatever its parameter says of itself: the position tells which value is meant.
#[test]
fn no_value_of_a_broken_configuration_is_in_what_is_said_of_it() {
    for (declaration, want) in [
        ("\"s3cr3t\"", "invalid type: string, expected { key"),
        ("{ key = \"x\", type = \"int\", sensitive = true, default = \"s3cr3t\" }", "does not fit its type"),
        ("{ key = \"x\", type = \"string\", sensitive = true, one-of = \"s3cr3t\" }", "expected a list"),
        (
            "{ key = \"x\", type = \"string\", sensitive = true, one-of = [\"a\"], default = \"s3cr3t\" }",
            "one of the declared values",
        ),
        ("{ key = \"x\", type = \"int\", sensitive = \"s3cr3t, expected a string\" }", "expected a boolean"),
        ("{ key = \"x\", type = \"int\", required = \"`s3cr3t`\" }", "expected a boolean"),
        ("[\"s3cr3t\"]", "invalid type: sequence"),
    ] {
        let machine = Machine::new(&format!("x = {declaration}\n"));
        for command in ["check", "apply"] {
            let said = machine.run(&[command]);
            let all = text(&said.stdout) + &text(&said.stderr);
            assert_eq!(said.status.code(), Some(78), "{declaration}: {all}");
            assert!(all.contains(want) && !all.contains("s3cr3t"), "{declaration}: {all}");
        }
    }
}

#[test]
fn a_misspelt_command_is_answered_with_the_right_one() {
    let output = agent(&["aply"]).output().expect("runs");
    assert!(text(&output.stderr).contains("'apply'"), "{output:?}");
}

#[test]
fn errors_name_the_operand_and_print_each_cause_once() {
    let machine = Machine::new("");
    let output = machine.command(&["apply", "--source", "file:/nonexistent/env.xml"]).output().expect("runs");
    let error = text(&output.stderr).lines().last().expect("an error").to_owned();
    let want = "ovf-agent: cannot look for the OVF environment: cannot read /nonexistent/env.xml: No such file or directory (os error 2)";
    assert_eq!(error, want);
}

#[test]
fn the_environment_is_shown_without_secrets_unless_asked() {
    let machine = Machine::new("");
    for arguments in [&["env"][..], &["env", "--json"]] {
        let output = machine.run(arguments);
        let shown = text(&output.stdout);
        assert!(shown.contains("192.0.2.11") && shown.contains("********"), "{shown}");
        assert!(!shown.contains("hunter"), "also the sibling's is masked: {shown}");
    }
    let shown = json(&machine.run(&["env", "--json", "--show-sensitive"]));
    assert_eq!(shown["properties"]["db.password"], "hunter2");
    assert_eq!(shown["entities"]["DB2"]["properties"]["db.password"], "hunter3");
    assert_eq!((&shown["id"], &shown["warnings"]), (&"DB1".into(), &Value::Array(vec![])));
}

#[test]
fn a_parameter_is_got_by_name_or_key() {
    let machine = Machine::new("");
    for key in ["ip", "db.ip"] {
        assert_eq!(text(&machine.run(&["get", key]).stdout), "192.0.2.11\n");
    }
    assert_eq!(json(&machine.run(&["get", "--json", "peer"])), Value::Null);
    let refused = machine.run(&["get", "password"]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(text(&refused.stderr).contains("--show-sensitive"), "{refused:?}");
    assert_eq!(text(&machine.run(&["get", "password", "--show-sensitive"]).stdout), "hunter2\n");
    assert!(text(&machine.run(&["get", "undeclared"]).stderr).contains("there are ip, password, peer"));
}

#[test]
fn a_derived_value_is_got_by_its_name() {
    let machine = Machine::new(
        r#"token = { key = "token", type = "string", generate = "alnum:20" }
[derived]
net = "{{ ip | network(mask=24) }}/24"
all = "{{ [ip, net] }}"
nobody = "{{ peer }}"
login = "root:{{ password }}"
hello = "{{ token }}"
broken = "{{ ip | prefix }}"
"#,
    );
    for (name, want) in
        [("net", "192.0.2.0/24\n"), ("all", "[\"192.0.2.11\",\"192.0.2.0/24\"]\n"), ("nobody", "\n")]
    {
        let output = machine.run(&["get", name]);
        assert_eq!(text(&output.stdout), want, "{output:?}");
    }
    assert_eq!(json(&machine.run(&["get", "--json", "all"]))[1], "192.0.2.0/24");
    assert_eq!(json(&machine.run(&["get", "--json", "nobody"])), Value::Null);
    let refused = machine.run(&["get", "login"]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(64), 0));
    assert!(text(&refused.stderr).contains("derived value `login` is sensitive"), "{refused:?}");
    assert_eq!(text(&machine.run(&["get", "login", "--show-sensitive"]).stdout), "root:hunter2\n");
    let early = machine.run(&["get", "hello", "--show-sensitive"]);
    assert_eq!(early.status.code(), Some(75), "no pass made the secret yet: {early:?}");
    let broken = machine.run(&["get", "broken"]);
    assert_eq!(broken.status.code(), Some(78));
    assert!(text(&broken.stderr).contains("`ip | prefix` gives the filter"), "{broken:?}");
    assert!(text(&machine.run(&["get", "nett"]).stderr).contains("peer, token, all, broken, hello"));
}

/// As a hook runs it: the machine is the one that it runs on, and standard input is a file that others may have read.
#[test]
fn in_a_hook_a_value_is_what_the_hook_was_told_however_often_it_is_asked_for() {
    let machine = Machine::new("[derived]\nlogin = \"root:{{ password }}\"\n");
    machine.write(
        "told",
        r#"{"hook":"after-apply","generation":2,"parameters":{"ip":"192.0.2.12","password":"hunter4","peer":null},"derived":{"login":"root:hunter4"}}"#,
    );
    machine
        .write("stop", r#"{"action":"halt","hook":"stop","generation":2,"parameters":null,"derived":null}"#);
    machine.write("before", r#"{"hook":"after-apply","generation":2,"parameters":{"password":"s3cret"}}"#);
    let config = machine.path("root/etc/ovf-agent");
    let script = |moment: &str, input: &str, script: &str| {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            &format!("set -e; get() {{ \"$AGENT\" get --config \"$CONFIG\" \"$@\"; }}; {script}"),
        ]);
        shell.env("AGENT", agent(&[]).get_program()).env("CONFIG", &config).env("OVF_HOOK", moment);
        shell.stdin(File::open(machine.path(input)).expect("it is there")).output().expect("a shell")
    };
    let told = |text: &str| script("after-apply", "told", text);
    let all = told(
        "get ip; get db.password --show-sensitive; get peer; get login --show-sensitive; cat; get --json ip",
    );
    let input = fs::read_to_string(machine.path("told")).expect("read");
    let want = format!("192.0.2.12\nhunter4\n\nroot:hunter4\n{input}\"192.0.2.12\"\n");
    assert_eq!(text(&all.stdout), want, "{all:?}");
    let source = format!("get ip --source file:{}", machine.path("env.xml").display());
    assert_eq!(text(&told(&source).stdout), "192.0.2.11\n", "one that is named is meant");
    let elsewhere = "echo ip | while read name; do get $name; done";
    for (refused, status, why) in [
        (told("get password"), 64, "add --show-sensitive"),
        (told(elsewhere), 64, "standard input is not what this hook was told"),
        (told("get ip < /dev/null"), 64, "standard input is not what this hook was told"),
        (script("ready", "told", "get ip"), 64, "standard input is not what this hook was told"),
        (script("stop", "stop", "get ip"), 75, "this hook was told no values"),
        (script("after-apply", "before", "get ip"), 75, "this hook was told nothing of `ip`"),
    ] {
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(status), 0), "{refused:?}");
        let said = text(&refused.stderr);
        assert!(said.contains(why) && !said.contains("s3cret"), "{said}");
    }
}

#[test]
fn an_empty_property_is_shown_by_its_key_alone() {
    let machine = Machine::new("");
    machine.write("env.xml", &ENVIRONMENT.replace("192.0.2.11", ""));
    let shown = text(&machine.run(&["env"]).stdout);
    assert!(shown.contains("\n  db.ip\n") && shown.contains("\n  undeclared   x\n"), "{shown}");
}

#[test]
fn check_needs_no_environment_and_says_what_it_looked_at() {
    let machine = Machine::new("");
    let output = machine.command(&["check"]).output().expect("runs");
    assert_eq!(text(&output.stdout), "3 parameters and 1 template: no problems\n");
    let broken = Machine::new("[nonsense]\n");
    let problems = json(&broken.command(&["check", "--json"]).output().expect("runs"));
    let problem = &problems["problems"][0];
    assert_eq!(
        (&problem["file"], &problem["line"], &problem["column"]),
        (&"agent.toml".into(), &5.into(), &2.into())
    );
}

#[test]
fn check_finds_accounts_and_programs_that_the_image_does_not_have() {
    let machine = Machine::new("");
    let template = |name: &str, front: &str| {
        let text = format!("+++\npath = \"/etc/{name}\"\n{front}+++\n");
        machine.write(&format!("root/etc/ovf-agent/templates/{name}.tera"), &text);
    };
    let program = |name: &str, mode: u32| {
        machine.write(name, "");
        fs::set_permissions(machine.path(name), fs::Permissions::from_mode(mode)).expect("chmod");
    };
    machine.write("root/etc/passwd", "daemon:x:1:1::/:/bin/false\n");
    machine.write("root/etc/group", "adm:x:4:\n");
    machine.write("root/usr/lib/sysusers.d/a.conf", "u mydb - \"A database\"\ng certs -\nm web certs\n");
    machine.write("root/usr/lib/sysusers.d/b.conf", "u hidden -\n");
    machine.write("root/etc/sysusers.d/b.conf", "");
    program("root/usr/bin/good", 0o755);
    program("root/usr/bin/text", 0o644);
    fs::create_dir_all(machine.path("root/usr/bin/directory")).expect("mkdir");
    // Links are followed inside the image: the first is right there, and the second would be outside of it.
    std::os::unix::fs::symlink("/usr/bin", machine.path("root/bin")).expect("symlink");
    std::os::unix::fs::symlink(machine.path("root/usr/bin/good"), machine.path("root/usr/bin/out"))
        .expect("symlink");
    template("b", "owner = \"root\"\ngroup = \"adm\"\ncheck = [\"/bin/good\", \"{}\"]\n");
    template("c", "owner = \"mydb\"\ngroup = \"certs\"\nverify = [\"/etc/made\"]\n");
    template("d", "owner = \"web\"\ncheck = [\"/run/late\", \"{}\"]\n");
    template("made", "mode = \"0755\"\n");
    let right = "3 parameters and 5 templates: no problems\n";
    assert_eq!(text(&machine.command(&["check"]).output().expect("runs").stdout), right);

    template("e", "owner = \"mydbb\"\ngroup = \"daemon\"\ncheck = [\"/usr/bin/gone\", \"{}\"]\n");
    template("f", "owner = \"hidden\"\nverify = [\"/usr/bin/text\"]\n");
    template("g", "check = [\"/usr/bin/directory\", \"{}\"]\nverify = [\"/usr/bin/out\"]\n");
    template("h", "on-change = [[\"/sbin/rc-service\", \"mydb\", \"restart\"]]\n");
    template("i", "when = \"ip is none\"\n");
    let output = machine.command(&["check"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(78));
    let want = "\
templates/e.tera:3:9: owner = \"mydbb\": the image has no such user, in /etc/passwd or by sysusers.d; add it, or name another
templates/e.tera:4:9: group = \"daemon\": the image has no such group, in /etc/group or by sysusers.d; add it, or name another
templates/e.tera:5:10: check: the image has no program /usr/bin/gone; install it, or correct the path
templates/f.tera:3:9: owner = \"hidden\": the image has no such user, in /etc/passwd or by sysusers.d; add it, or name another
templates/f.tera:4:11: verify: /usr/bin/text is no file that can be executed; make it one (chmod +x), or name another
templates/g.tera:3:10: check: /usr/bin/directory is no file that can be executed; make it one (chmod +x), or name another
templates/g.tera:4:11: verify: the image has no program /usr/bin/out; install it, or correct the path
templates/h.tera:3:15: on-change: the image has no program /sbin/rc-service; install it, or correct the path
templates/i.tera:3:9: when is never true (`ip` is never null), so that nothing is ever written; correct it, or take the template away
3 parameters and 10 templates: 9 problems
";
    assert_eq!(text(&output.stdout), want);

    // Gates are looked at as well.
    let gates =
        "[ready]\nunits = [\"a.service\"]\ncommands = [[\"/usr/bin/good\"], [\"/usr/bin/gone\", \"-q\"]]\n";
    machine.write("root/etc/ovf-agent/agent.d/1.toml", gates);
    let said = text(&machine.command(&["check"]).output().expect("runs").stdout);
    for want in [
        "agent.d/1.toml:2:10: a.service: the image has no systemd, so this gate is never passed; install it, or wait for \
         something else\n",
        "agent.d/1.toml:3:33: commands: the image has no program /usr/bin/gone; install it, or correct the path\n",
        "3 parameters and 10 templates: 11 problems\n",
    ] {
        assert!(said.contains(want), "{said}");
    }
    fs::remove_file(machine.path("root/etc/ovf-agent/agent.d/1.toml")).expect("removed");

    // Where systemd is, nobody runs `on-change`, and a unit may be waited for, but not one that waits for us.
    machine.write("root/usr/lib/systemd/systemd", "");
    machine.write(
        "root/etc/ovf-agent/agent.d/1.toml",
        "[ready]\nunits = [\"a.service\", \"b.service\", \"c.service\"]\n",
    );
    machine.write(
        "root/usr/lib/systemd/system/a.service",
        "[Unit]\nAfter=network.target ovf-agent-ready.target\n",
    );
    machine.write("root/etc/systemd/system/a.service", "[Unit]\nAfter=network.target\n");
    machine.write("root/usr/lib/systemd/system/b.service", "[Unit]\nBefore=ovf-agent-ready.target\n");
    machine.write("root/etc/systemd/system/c.service.d/1.conf", "[Unit]\nAfter = ovf-agent-ready.target\n");
    let said = text(&machine.command(&["check"]).output().expect("runs").stdout);
    let gates: Vec<_> = said.lines().filter(|line| line.starts_with("agent.d")).collect();
    assert_eq!(
        gates,
        [
            "agent.d/1.toml:2:36: c.service is ordered after ovf-agent-ready.target, which waits for this gate; order it after \
             another, or drop the gate"
        ]
    );
    fs::remove_file(machine.path("root/etc/ovf-agent/agent.d/1.toml")).expect("removed");
    let output = machine.command(&["check", "--json"]).output().expect("runs");
    let answer = json(&output);
    assert_eq!((answer["problems"].as_array().map(Vec::len), &answer["image"]), (Some(8), &true.into()));
}

/// For whoever compares the appliance with a descriptor (`ovf-host check --agent`).
#[test]
fn check_tells_which_properties_are_read_and_used() {
    let machine = Machine::new(
        "other = { entity = \"DB2\", key = \"ip\", type = \"ipv4\" }\nidle = { key = \"idle\", type = \"string\" }\n\
         by_way = { key = \"by.way\", type = \"string\" }\nrole = { key = \"role\", type = \"bool\", default = false }\n\
         servers = { key = \"servers\", type = \"list<string>\" }\n\
         [derived]\nmade = \"x{{ by_way }}\"\nunused = \"{{ idle }}\"\n\
         [state]\ninstance-id = \"which\"\n[[units]]\nname = \"a.service\"\nwhen = \"role\"\nstate = \"started\"\n\
         [ready]\nentities = [{ key = \"ip\", port = \"port\" }]\n",
    );
    machine.write(
        "root/etc/ovf-agent/templates/b.tera",
        "+++\npath = \"/etc/{index}\"\nfor-each = \"servers\"\nwhen = \"other is none\"\n+++\n{{ made }}\n",
    );
    let reads = || {
        let answer = json(&machine.command(&["check", "--json"]).output().expect("runs"));
        let all = answer["properties"].as_array().expect("a list").clone();
        let told = |it: &Value| {
            let text = |name: &str| it[name].as_str().unwrap_or("-").to_owned();
            let used = if it["used"] == true { "used" } else { "idle" };
            format!("{} {} {} {used}", text("key"), text("entity"), text("parameter"))
        };
        all.iter().map(told).collect::<Vec<_>>()
    };
    let all = reads();
    for want in [
        "ip DB2 other used",
        "idle - idle idle",
        "by.way - by_way used",
        "role - role used",
        "servers - servers used",
        "ip * - used",
        "port * - used",
        "which - - used",
    ] {
        assert!(all.iter().any(|it| it == want), "{want}: {all:#?}");
    }
    // A hook is told everything.
    machine.write("root/etc/ovf-agent/hooks.d/ready/10-a", "#!/bin/sh\n");
    let hook = machine.path("root/etc/ovf-agent/hooks.d/ready/10-a");
    fs::set_permissions(hook, fs::Permissions::from_mode(0o755)).expect("set");
    assert!(reads().iter().all(|it| it.ends_with(" used")), "{:?}", reads());
}

#[test]
fn check_does_not_take_the_machine_that_builds_an_image_for_the_image() {
    let machine = Machine::new("");
    let config = machine.path("root/etc/ovf-agent").display().to_string();
    machine.write(
        "root/etc/ovf-agent/templates/b.tera",
        "+++\npath = \"/etc/b\"\nowner = \"nobody-has-this-name\"\ncheck = [\"/nowhere/at/all\", \"{}\"]\n+++\n",
    );
    let output = agent(&["check", "--config", &config]).output().expect("runs");
    let want = "3 parameters and 2 templates: no problems; accounts and programs were not looked for, which takes the image \
                (--root DIR)\n";
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), (want, Some(0)));
    let output = machine.command(&["check", "--config", &config]).output().expect("runs");
    assert_eq!(output.status.code(), Some(78), "a root that is named is the image");
    let broken = Machine::new("[nonsense]\n");
    let output = json(&broken.command(&["check", "--json"]).output().expect("runs"));
    assert_eq!(output["image"], false, "nothing was looked for");
}

#[test]
fn the_configuration_can_lie_elsewhere() {
    let machine = Machine::new("");
    fs::rename(machine.path("root/etc/ovf-agent"), machine.path("config")).expect("renamed");
    let config = machine.path("config").display().to_string();
    assert_eq!(machine.run(&["check"]).status.code(), Some(78));
    assert_eq!(machine.run(&["apply", "--config", &config]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(machine.path("root/etc/a")).expect("there"), "192.0.2.11 hunter2\n");
}

#[test]
fn a_configuration_elsewhere_is_all_there_is() {
    let machine = Machine::new("");
    machine.write("root/usr/lib/ovf-agent/agent.d/10-x.toml", "[nonsense]\n");
    machine.write("mine/agent.toml", PARAMETERS);
    machine.write(
        "mine/agent.d/10-x.toml",
        "[parameters]\nextra = { key = \"x\", type = \"int\", default = 5 }\n",
    );
    assert_eq!(machine.run(&["check"]).status.code(), Some(78));
    let mine = machine.path("mine");
    let mine = mine.to_str().expect("UTF-8");
    assert_eq!(text(&machine.run(&["get", "extra", "--config", mine]).stdout), "5\n");
}

#[test]
fn a_secret_is_generated_once_and_kept_for_root_alone() {
    let machine = Machine::new("token = { key = \"token\", type = \"string\", generate = \"alnum:24\" }\n");
    machine.write(
        "root/etc/ovf-agent/templates/b.tera",
        "+++\npath = \"/etc/b\"\nmode = \"0600\"\n+++\n{{ token }}\n",
    );
    let get = || machine.run(&["get", "token", "--show-sensitive"]);
    assert_eq!(get().status.code(), Some(75), "nothing makes one but apply");
    let plan = text(&machine.run(&["plan"]).stdout);
    assert!(plan.contains("+********"), "{plan}");
    let kept = machine.path("root/var/lib/ovf-agent/generated.json");
    assert!(!kept.exists(), "a plan changes nothing");

    assert_eq!(machine.run(&["apply"]).status.code(), Some(0));
    let secret = fs::read_to_string(machine.path("root/etc/b")).expect("written");
    assert_eq!(secret.trim().len(), 24, "{secret}");
    assert_eq!(text(&get().stdout), secret);
    assert_eq!(fs::metadata(&kept).expect("kept").permissions().mode() & 0o7777, 0o600);
    let again = machine.run(&["apply", "--json"]);
    assert_eq!(json(&again)["changed"], serde_json::json!([]), "the same one");

    fs::write(&kept, "{").expect("write");
    let refused = machine.run(&["apply"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("generated.json holds the secrets"), "{refused:?}");
    assert_eq!(fs::read_to_string(machine.path("root/etc/b")).expect("still there"), secret);
}

#[test]
fn the_schema_is_printed_and_the_product_sections_too() {
    let machine = Machine::new("");
    let schema = json(&agent(&["schema"]).output().expect("runs"));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let sections = text(&machine.run(&["schema", "--ovf"]).stdout);
    for part in ["ovf:class=\"db\"", "ovf:key=\"ip\"", "ovf:password=\"true\"", "</ProductSection>"] {
        assert!(sections.contains(part), "{part} is not in\n{sections}");
    }
    let broken = Machine::new("[nonsense]\n");
    assert_eq!(broken.run(&["schema", "--ovf"]).status.code(), Some(78));
}

#[test]
fn facts_go_out_and_come_in_again() {
    let machine = Machine::new("");
    machine.write("root/sys/class/dmi/id/sys_vendor", "QEMU\n");
    let output = machine.command(&["detect", "--json"]).output().expect("runs");
    let answer = json(&output);
    for key in ["vm", "container", "platform", "confidential", "decided-by", "facts"] {
        assert!(answer.get(key).is_some(), "{key} is not in {answer}");
    }
    assert_eq!((&answer["vm"], &answer["decided-by"]), (&"qemu".into(), &"DMI sys_vendor".into()));
    fs::write(machine.path("facts.json"), answer["facts"].to_string()).expect("write");
    let facts = machine.path("facts.json").display().to_string();
    let judged = agent(&["detect", "--facts", &facts]).output().expect("runs");
    assert_eq!(text(&judged.stdout), "qemu\n");
    fs::write(&facts, answer.to_string()).expect("write");
    let judged = agent(&["detect", "--facts", &facts]).output().expect("runs");
    assert_eq!(text(&judged.stdout), "qemu\n", "and the whole answer, as it was printed");
}

#[test]
fn a_plan_in_json_lists_the_files() {
    let machine = Machine::new("");
    let plan = json(&machine.run(&["plan", "--json"]));
    let file = &plan["files"][0];
    assert_eq!(
        (&file["path"], &file["action"], &file["mode"]),
        (&"/etc/a".into(), &"new".into(), &"0600".into())
    );
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let machine = Machine::new("");
    let source = format!("file:{}", machine.path("env.xml").display());
    let mut child = machine
        .command(&["env", "--source", &source])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    drop(child.stdout.take());
    let mut error = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut error).expect("read");
    assert_eq!((child.wait().expect("waited").code(), error.as_str()), (Some(0), ""));
}

#[test]
fn a_report_that_cannot_be_written_hides_no_failure() {
    let broken = Machine::new("[nonsense]\n");
    let output = broken.run(&["apply", "--report", "/nonexistent/report"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(error.contains("nonsense") && error.contains("/nonexistent/report"), "{error}");
    let machine = Machine::new("");
    let output = machine.run(&["apply", "--report", "/nonexistent/report"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn a_file_whose_template_is_gone_is_removed_unless_a_hand_was_at_it() {
    for (edited, action, reason) in [
        (false, "removed", "its template is gone"),
        (true, "kept", "no template makes it now, but it was changed by hand"),
    ] {
        let machine = Machine::new("");
        fs::create_dir_all(machine.path("root/etc")).expect("mkdir");
        assert!(machine.run(&["apply"]).status.success());
        let templates = machine.path("root/etc/ovf-agent/templates");
        fs::rename(templates.join("a.tera"), templates.join("a.tera.old")).expect("renamed");
        if edited {
            machine.write("root/etc/a", "by hand");
        }
        let plan = json(&machine.run(&["plan", "--json"]));
        let file = &plan["files"][0];
        assert_eq!(
            (&file["path"], &file["action"], &file["reason"]),
            (&"/etc/a".into(), &action.into(), &reason.into())
        );
        let applied = json(&machine.run(&["apply", "--json"]));
        let removed = usize::from(!edited);
        assert_eq!(applied["changed"].as_array().map(Vec::len), Some(removed), "{applied}");
        assert_eq!(applied["generation"], 1 + removed, "{applied}");
        assert_eq!(machine.path("root/etc/a").exists(), edited);
        let again = json(&machine.run(&["apply", "--json"]));
        assert_eq!(
            (&again["changed"], &again["generation"]),
            (&Value::Array(vec![]), &applied["generation"])
        );
    }
}

#[test]
fn a_copy_of_a_guest_is_noticed() {
    let machine = Machine::new("");
    let uuid = |text: &str| machine.write("root/sys/class/dmi/id/product_uuid", text);
    let noticed = || {
        let output = machine.run(&["apply"]);
        assert!(output.status.success(), "{output:?}");
        text(&output.stderr).contains("this guest is a copy of another")
    };
    uuid("11111111-2222-3333-4444-555555555555\n");
    assert!(!noticed(), "the first of its kind");
    assert!(!noticed(), "the same");
    uuid("99999999-2222-3333-4444-555555555555\n");
    assert!(noticed());
    assert!(!noticed(), "known by now");
}

#[test]
fn run_does_not_wait_for_a_pipe() {
    let machine = Machine::new("");
    let pipe = machine.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    fs::rename(machine.path("env.xml"), machine.path("elsewhere")).expect("renamed");
    fs::rename(&pipe, machine.path("env.xml")).expect("renamed");
    let mut running = Running::start(&machine);
    let failed = running.until("failed").pop().expect("a report");
    assert_eq!(failed["failure"]["stage"], "transport");
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn two_passes_at_once_do_not_mix() {
    let machine = Machine::new("");
    fs::create_dir_all(machine.path("root/var/lib/ovf-agent")).expect("mkdir");
    let lock = File::create(machine.path("root/var/lib/ovf-agent/lock")).expect("a lock file");
    lock.lock().expect("locked");
    let output = machine.run(&["apply"]);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(text(&output.stderr).contains("another ovf-agent is applying"), "{output:?}");
    assert!(!machine.path("root/etc/a").exists());
}

/// A running agent whose reports are read from a pipe.
struct Running {
    child: Child,
    reports: BufReader<File>,
}

impl Running {
    fn start(machine: &Machine) -> Self {
        let pipe = machine.path("reports");
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        // Open for writing too, so that the pipe has no end between two reports.
        let reports = File::options().read(true).write(true).open(&pipe).expect("the pipe");
        let source = format!("file:{}", machine.path("env.xml").display());
        let pipe = pipe.display().to_string();
        let mut command = machine.command(&["run", "--source", &source, "--report", &pipe]);
        let child = command.stderr(Stdio::piped()).spawn().expect("runs");
        Self { child, reports: BufReader::new(reports) }
    }

    /// Reports up to the first of this stage.
    fn until(&mut self, stage: &str) -> Vec<Value> {
        let mut seen = Vec::new();
        loop {
            if self.reports.buffer().is_empty() {
                // An agent that died says nothing, and our own end keeps the pipe open.
                let mut pipe = [PollFd::new(self.reports.get_ref().as_fd(), PollFlags::POLLIN)];
                let ready = poll(&mut pipe, 20_000_u16).expect("polled");
                assert_eq!(ready, 1, "no report of stage {stage} within 20 s; before it came {seen:#?}");
            }
            let mut line = String::new();
            self.reports.read_line(&mut line).expect("a report");
            let report: Value = serde_json::from_str(&line).expect(&line);
            let found = report["stage"] == stage;
            seen.push(report);
            if found {
                return seen;
            }
        }
    }

    fn stop(mut self) -> (Option<i32>, Duration, String) {
        let begin = Instant::now();
        let kill = format!("kill {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("sh").success());
        let mut log = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut log).expect("read");
        let status = self.child.wait().expect("waited");
        assert_eq!(status.signal(), None, "{log}");
        (status.code(), begin.elapsed(), log)
    }
}

#[test]
fn check_doubts_patterns_for_files_and_gates_that_are_there_twice() {
    let machine = Machine::new(
        r#"[ready]
units = ["a.service", "b.service", "a.service"]
files = ["/run/a", "/run/*.pid", "/run/a", "/run/[ab]?"]
tcp = ["[::1]:80", "[0::1]:80"]
http = ["http://[::1]/", "http://[::1]/a", "http://[::1]/"]
commands = [["/bin/a", "b c"], ["/bin/a", "b", "c"], ["/bin/a", "b c"]]
entities = [
    { key = "ip", port = 80 }, { key = "ip", port = "80" }, { entity = "A", key = "ip", port = 80 },
    { port = 80, key = "ip" },
]
"#,
    );
    let settings = machine.path("root/etc/ovf-agent");
    let output = agent(&["check", "--config"]).arg(settings).output().expect("runs");
    assert_eq!(output.status.code(), Some(78));
    let said = text(&output.stdout);
    let told: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("agent.toml:")).collect();
    let want = [
        "6:36: unit a.service is waited for already; once is enough",
        "7:20: `/run/*.pid` is one file's name, in which `*` stands for itself; name the file, or let a command look for it",
        "7:34: file /run/a is waited for already; once is enough",
        "7:44: `/run/[ab]?` is one file's name, in which `?` stands for itself; name the file, or let a command look for it",
        "8:20: tcp [::1]:80 is waited for already; once is enough",
        "9:44: http http://[::1]/ is waited for already; once is enough",
        "10:55: command [\"/bin/a\", \"b c\"] is waited for already; once is enough",
        "13:5: entity * \"ip\":80 is waited for already; once is enough",
    ];
    assert_eq!(told, want, "{said}");
}

#[test]
fn run_reports_every_stage_and_stays_until_it_is_told_to_stop() {
    let machine = Machine::new("[ready]\nfiles = [\"/run/up\"]\n");
    machine.write("root/run/ovf-agent/gate-7.log", "what one that is no more has printed\n");
    let mut running = Running::start(&machine);
    let seen = running.until("waiting");
    assert!(!machine.path("root/run/ovf-agent/gate-7.log").exists());
    let stages: Vec<_> = seen.iter().map(|report| report["stage"].as_str().expect("a stage")).collect();
    assert_eq!(stages, ["starting", "configuring", "waiting"]);
    let waiting = &seen[2];
    assert_eq!(
        (&waiting["unmet"][0]["gate"], &waiting["unmet"][0]["code"]),
        (&"file /run/up".into(), &"FileMissing".into())
    );
    assert_eq!((&waiting["ready"], &waiting["generation"]), (&false.into(), &1.into()));
    File::create(machine.path("root/run/up")).expect("the gate's file");
    let ready = running.until("ready").pop().expect("a report");
    assert_eq!((&ready["ready"], &ready["unmet"]), (&true.into(), &Value::Array(vec![])));
    assert_eq!(ready["changed"], serde_json::json!(["/etc/a"]));
    let (code, took, log) = running.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(log.lines().count() <= 8, "a normal boot has at most 8 lines:\n{log}");
    assert!(!log.contains("hunter"), "{log}");
}

#[test]
fn gates_that_are_not_passed_in_time_are_a_failure_with_the_list() {
    let machine = Machine::new("[ready]\nfiles = [\"/run/never\"]\ntimeout = \"200ms\"\n");
    let mut running = Running::start(&machine);
    let failed = running.until("failed").pop().expect("a report");
    let failure = &failed["failure"];
    assert_eq!((&failure["stage"], &failure["code"]), (&"gates".into(), &"GatesTimedOut".into()));
    assert_eq!(failure["message"], "not ready in time: file /run/never: does not exist");
    assert_eq!(failed["unmet"][0]["gate"], "file /run/never");
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn run_reports_a_broken_configuration_and_stays() {
    let machine = Machine::new("[nonsense]\n");
    let mut running = Running::start(&machine);
    let failed = running.until("failed").pop().expect("a report");
    assert_eq!((&failed["failure"]["stage"], &failed["failure"]["final"]), (&"agent".into(), &true.into()));
    assert!(!machine.path("root/etc/a").exists());
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn check_prints_what_the_unit_has_to_be_allowed() {
    let machine = Machine::new("");
    machine.write("root/etc/ovf-agent/templates/far.tera", "+++\npath = \"/srv/a b/c.conf\"\n+++\n");
    let allowed = |machine: &Machine| {
        let output = machine.command(&["check", "--emit-paths-dropin"]).output().expect("runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        said.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>().join("\n")
    };
    let paths = "[Service]\nReadWritePaths=\nReadWritePaths=-/etc\nReadWritePaths=-/run\n\
        ReadWritePaths=\"-/srv/a b\"\nReadWritePaths=-/sys/devices";
    assert_eq!(allowed(&machine), paths);
    machine.write("root/etc/ovf-agent/agent.d/1.toml", "[transport.iso]\nmethod = \"mount\"\n");
    assert_eq!(allowed(&machine), paths, "mounting is another unit's");
    machine.write("root/etc/ovf-agent/agent.d/1.toml", "nonsense\n");
    let output = machine.command(&["check", "--emit-paths-dropin"]).output().expect("runs");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(78), String::new()));
}
