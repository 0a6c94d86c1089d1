//! Values that try to leave their place: rendered by the real agent, read back by a real parser of each format.
//!
//! Each value either comes back exactly as it was, or is refused before anything is written; it is never altered, and
//! never does anything. All values are sensitive, and carry a mark that must stand in no output, report, or argument or
//! environment that other processes see. The readers are sh, Python's json, configparser and PyYAML (YAML 1.1, which
//! knows more line breaks than 1.2), and libxml2's xmllint.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is outside of the agent, and looks at files and starts programs"
)]

#[path = "base64.rs"]
mod encoding;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use encoding::base64;

/// Stands in every value.
const MARK: &str = "M4RK";

/// Texts that mean something to some reader.
const NASTY: &[&str] = &[
    "",
    "plain",
    "two words",
    " leading",
    "trailing ",
    "it's",
    "\"quoted\"",
    "'quoted'",
    "'\"'\"'",
    "a\nb",
    "a\r\nb",
    "a\rb",
    "\n",
    "a\n",
    "a\tb",
    "\ttab",
    "$(touch pwned)",
    "`touch pwned`",
    "${HOME}",
    "$HOME",
    "; touch pwned",
    "&& touch pwned",
    "a\ntouch pwned\n",
    "'; touch pwned; '",
    "\"; touch pwned; \"",
    "'$(touch pwned)'",
    "%s%n",
    "%(home)s",
    "%%",
    "\\",
    "\\\\",
    "a\\",
    "\\n",
    "\\u0041",
    "\\\"",
    "{{ x }}",
    "{% raw %}",
    "{{ 1 + 1 }}",
    "{# x #}",
    "}}",
    "%}",
    "__print_none(v=x)",
    "ä ö ü ß",
    "日本語",
    "🦀",
    "e\u{301}",
    "\u{202e}right to left",
    "a\u{85}b",
    "a\u{2028}b",
    "a\u{2029}b",
    "\u{a0}",
    "\u{feff}a",
    "\u{fffe}",
    "\u{ffff}",
    "\u{e000}",
    "\u{10ffff}",
    "\u{1}",
    "\u{7f}",
    "\u{9f}",
    "\u{b}\u{c}",
    "\u{1b}[2J",
    "a\0b",
    "# comment",
    "a # comment",
    "; comment",
    "[section]",
    "key = value",
    "a = b",
    "a: b",
    "- a",
    "? a",
    "*alias",
    "&anchor",
    "!!python/object/apply:os.system [\"touch pwned\"]",
    "| ",
    "> ",
    "null",
    "true",
    "yes",
    "~",
    "0x10",
    "1e3",
    "---",
    "...",
    "<b>",
    "]]>",
    "-->",
    "<!-- a",
    "<![CDATA[",
    "&amp;",
    "&#10;",
    "&x;",
    "<!ENTITY x SYSTEM \"file:///etc/passwd\">",
    "' onload='x",
    "\" b=\"c",
    "\",\"admin\":true,\"x\":\"",
    "</r><r a=\"b\">",
    "EOF",
    "<<EOF",
];

/// The nasty texts with the mark before and behind, or alone; and what is long.
fn values() -> Vec<String> {
    let mut values: Vec<String> = NASTY
        .iter()
        .flat_map(|text| [(*text).to_owned(), format!("{MARK}{text}"), format!("{text}{MARK}")])
        .collect();
    let long: String = NASTY.concat().chars().filter(|c| !c.is_control() && *c != '\u{feff}').collect();
    values.push(long.repeat(64 * 1024 / long.len() + 1));
    values.push("'".repeat(64 * 1024));
    values
}

/// A format: its escape, a template's body, and a program that reads files and writes what `x` is in FILE to
/// FILE.read.
struct Format {
    escape: &'static str,
    body: &'static str,
    reader: &'static [&'static str],
    /// Whether the format can hold every text there is, so that nothing may be refused.
    holds_all: bool,
}

/// Applies a machine with each value, and compares what is read back.
fn try_all(format: &Format) {
    let kept = tempfile::tempdir().expect("a scratch directory");
    let mut written = Vec::new();
    for (number, value) in values().into_iter().enumerate() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let dir = scratch.path();
        machine(dir, format);
        write(dir, "env.xml", &document(&value));
        let source = format!("file:{}", dir.join("env.xml").display());
        let report = dir.join("report.json");
        let run = |command: &str| {
            let mut agent = agent(command, dir);
            agent.args(["--source", &source, "--log", "debug", "--report"]).arg(&report);
            agent.output().expect("the agent runs")
        };
        let (plan, apply) = (run("plan"), run("apply"));
        let report = fs::read_to_string(&report).expect("a report");
        for output in [&plan, &apply] {
            silent(&String::from_utf8_lossy(&output.stdout), &value);
            silent(&String::from_utf8_lossy(&output.stderr), &value);
        }
        silent(&report, &value);
        let target = dir.join("root/etc/out");
        assert!(!dir.join("pwned").exists() && !dir.join("root/pwned").exists(), "{value:?} did something");
        match apply.status.code() {
            Some(0) => {
                let copy = kept.path().join(number.to_string());
                fs::copy(&target, &copy).expect("written");
                written.push((value, copy));
            }
            Some(78) => {
                assert!(
                    !format.holds_all,
                    "{value:?} was refused: {}",
                    String::from_utf8_lossy(&apply.stderr)
                );
                assert!(!target.exists(), "{value:?} was refused and written");
            }
            other => panic!("{value:?}: {other:?}\n{}", String::from_utf8_lossy(&apply.stderr)),
        }
    }
    assert!(!written.is_empty());
    read_back(format, kept.path(), written.iter().map(|(_, path)| path.as_path()));
    assert!(!kept.path().join("pwned").exists(), "a value did something");
    for (value, path) in &written {
        let read = fs::read(path.with_extension("read")).expect("the reader writes what it read");
        assert!(
            read == value.as_bytes(),
            "{value:?} became {:?} in\n{}",
            String::from_utf8_lossy(&read),
            String::from_utf8_lossy(&fs::read(path).expect("written"))
        );
    }
}

/// The value arrives by base64, since an environment cannot carry every text, and parameters take few.
fn machine(dir: &Path, format: &Format) {
    let parameter = "[parameters]\nx = { key = \"x\", type = \"string\", sensitive = true }\n\
                     [derived]\nhere = \"{{ x | length > 0 }}\"\n";
    write(dir, "root/etc/ovf-agent/agent.toml", parameter);
    let front = format!("+++\npath = \"/etc/out\"\nmode = \"0600\"\nescape = \"{}\"\n+++\n", format.escape);
    write(dir, "root/etc/ovf-agent/templates/a.tera", &format!("{front}{}", format.body));
}

fn agent(command: &str, dir: &Path) -> Command {
    let binary = std::env::var_os("OVF_AGENT").unwrap_or_else(|| env!("CARGO_BIN_EXE_ovf-agent").into());
    let mut agent = Command::new(binary);
    agent.arg(command).arg("--root").arg(dir.join("root")).current_dir(dir).stdin(Stdio::null());
    agent
}

fn document(value: &str) -> String {
    format!(
        "<Environment xmlns=\"http://schemas.dmtf.org/ovf/environment/1\" \
         xmlns:e=\"http://schemas.dmtf.org/ovf/environment/1\">\
         <PropertySection><Property e:key=\"x\" e:value=\"{}\"/></PropertySection></Environment>",
        base64(value.as_bytes())
    )
}

/// Has all files read at once; what is in FILE goes to FILE.read.
fn read_back<'a>(format: &Format, dir: &Path, files: impl Iterator<Item = &'a Path>) {
    let mut words: Vec<&str> = format.reader.to_vec();
    if words[0] == "python3" {
        words[0] = python();
    }
    let output = Command::new(words[0])
        .args(&words[1..])
        .args(files)
        .current_dir(dir)
        .output()
        .unwrap_or_else(|e| panic!("cannot run {}: {e}; packaging/deps build installs it", words[0]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A Python that has PyYAML.
fn python() -> &'static str {
    let has_yaml = |python: &&str| {
        let import = Command::new(python).args(["-c", "import yaml"]).stderr(Stdio::null()).status();
        import.is_ok_and(|status| status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(has_yaml).expect("PyYAML (Debian package python3-yaml)")
}

/// Nothing of the value is said; short ones are in everything.
fn silent(text: &str, value: &str) {
    assert!(!text.contains(MARK), "the value {value:?} is in:\n{text}");
    let encoded = base64(value.as_bytes());
    assert!(encoded.len() < 8 || !text.contains(&encoded), "the value {value:?} is in:\n{text}");
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
    fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).expect("write");
}

#[test]
fn shell_words_are_read_by_sh() {
    try_all(&Format {
        escape: "shell",
        body: "# for {{ here }}\nX={{ x | b64decode }}\nZ={{ x | b64decode | sh }}\nY=$(printf %s {{ x | b64decode | sh }})\nW={{ \"w\" ~ x | b64decode ~ \"w\" }}\n",
        reader: &[
            "sh",
            "-ec",
            "for file; do (. \"$file\"; [ \"$X\" = \"$Z\" ]; [ \"w${X}w\" = \"$W\" ]; printf %s \"$X\" > \"$file.read\"); done",
            "sh",
        ],
        holds_all: false,
    });
}

#[test]
fn json_strings_are_read_by_python() {
    try_all(&Format {
        escape: "json",
        body: "{\"x\": \"{{ x | b64decode }}\", \"k{{ x | b64decode }}\": 1, \"y\": [{{ x | b64decode | json }}]}\n",
        reader: &[
            "python3",
            "-c",
            "import json, sys
for file in sys.argv[1:]:
    d = json.load(open(file, encoding='utf-8'))
    assert d['y'] == [d['x']] and d['k' + d['x']] == 1 and len(d) == 3, d
    open(file + '.read', 'wb').write(d['x'].encode())",
        ],
        holds_all: true,
    });
}

#[test]
fn yaml_strings_are_read_by_pyyaml() {
    try_all(&Format {
        escape: "yaml",
        body: "# for {{ x | b64decode }}\nx: \"{{ x | b64decode }}\"\ny: [{{ x | b64decode | json }}, \"{{ x | b64decode }}\"]\n",
        reader: &[
            "python3",
            "-c",
            "import sys, yaml
for file in sys.argv[1:]:
    d = yaml.safe_load(open(file, encoding='utf-8', newline=''))
    assert list(d) == ['x', 'y'] and d['y'] == [d['x'], d['x']], d
    open(file + '.read', 'wb').write(d['x'].encode())",
        ],
        holds_all: true,
    });
}

#[test]
fn ini_lines_are_read_by_configparser() {
    try_all(&Format {
        escape: "ini",
        body: "# for {{ here }}\n[s]\nx = {{ x | b64decode }}\nlast = 1\n",
        reader: &[
            "python3",
            "-c",
            "import configparser, sys
for file in sys.argv[1:]:
    p = configparser.ConfigParser(interpolation=None)
    p.read_file(open(file, encoding='utf-8', newline=''))
    assert p.sections() == ['s'] and list(p['s']) == ['x', 'last'] and p['s']['last'] == '1', dict(p['s'])
    open(file + '.read', 'wb').write(p['s']['x'].encode())",
        ],
        holds_all: false,
    });
}

#[test]
fn xml_text_and_attributes_are_read_by_libxml2() {
    try_all(&Format {
        escape: "xml",
        body: "<r a=\"{{ x | b64decode }}\" b='{{ x | b64decode }}'><c>{{ x | b64decode }}</c></r>\n",
        // xmllint ends what it prints with a line break of its own; all three must say the same.
        reader: &[
            "sh",
            "-ec",
            "for file; do
                for path in @a @b c; do
                    xmllint --huge --xpath \"concat(string(/r/$path), '|')\" \"$file\" > \"$file$path\"
                done
                cmp \"$file@a\" \"$file@b\"
                cmp \"$file@a\" \"${file}c\"
                head -c -2 \"$file@a\" > \"$file.read\"
            done",
            "sh",
        ],
        holds_all: false,
    });
}

#[test]
fn plain_text_is_the_text_or_is_refused() {
    try_all(&Format {
        escape: "none",
        body: "{{ x | b64decode }}",
        reader: &["sh", "-ec", "for file; do cp \"$file\" \"$file.read\"; done", "sh"],
        holds_all: false,
    });
}

#[test]
fn a_value_is_in_no_argument_and_no_environment() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let dir = scratch.path();
    let format =
        Format { escape: "json", body: "\"{{ x | b64decode }}\"", reader: &["cat"], holds_all: true };
    machine(dir, &format);
    write(dir, "env.xml", &document(MARK));
    let source = format!("file:{}", dir.join("env.xml").display());
    let mut running =
        agent("run", dir).args(["--source", &source]).stderr(Stdio::null()).spawn().expect("runs");
    let process = Path::new("/proc").join(running.id().to_string());
    // The file is there when the values were read and rendered.
    let written = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        dir.join("root/etc/out").exists()
    });
    let seen = ["environ", "cmdline", "comm"].map(|name| fs::read(process.join(name)).expect(name));
    running.kill().expect("it runs until it is told to stop");
    running.wait().expect("it ends");
    assert!(written, "nothing was written");
    for seen in seen {
        silent(&String::from_utf8_lossy(&seen), MARK);
    }
}
