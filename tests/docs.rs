//! The documentation, tried: what it shows is what happens.
//!
//! | in `docs/*.md` and `README.md` | is tried so |
//! |---|---|
//! | a block `toml` or `tera` | `check` accepts it, beside names that documents use without declaring them |
//! | a block below a line that ends in a file's name and a colon, in `getting-started.md` | is that file, in an empty directory |
//! | a block `console` there | its commands are run there, one after the other, and say what stands below them |
//! | what stands between two marks in `errors.md` | are the messages of the golden cases that are refused (`tests/cases/refused-*`), each below the line that it is about |
//! | a message in a table of `errors.md` | is in the agent's source |
//!
//! `BLESS=1` rewrites what commands say, and what stands between marks; the diff is for a person to read.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is outside of the agent, and looks at files and starts programs"
)]

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What documents speak of without declaring it each time.
const NAMES: &str = r#"[parameters]
ip       = { key = "ip", type = "ipv4" }
mask     = { key = "mask", type = "netmask" }
peer     = { key = "peer", type = "ipv4" }
primary  = { key = "primary", type = "bool" }
servers  = { key = "servers", type = "list<hostname>" }
password = { key = "password", type = "string", sensitive = true }
log_level = { key = "log_level", type = "string" }
dhcp     = { key = "dhcp", type = "bool" }
"#;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
    fs::write(path, text).expect("written");
}

fn agent() -> PathBuf {
    std::env::var_os("OVF_AGENT").unwrap_or_else(|| env!("CARGO_BIN_EXE_ovf-agent").into()).into()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Holds a text against what it should be, or makes it so.
fn compare(path: &Path, is: &str, should: &str) {
    if is == should {
        return;
    }
    if std::env::var_os("BLESS").is_some() {
        return fs::write(path, should).expect("written");
    }
    let differ = is.lines().zip(should.lines()).find(|(is, should)| is != should);
    let (is, should) = differ.unwrap_or(("(its end)", "(more, or less)"));
    panic!("{}: this line\n  {is}\nshould be\n  {should}\nBLESS=1 writes it", path.display());
}

/// A fenced block of a document.
struct Block {
    language: String,
    /// The last line of text before it.
    above: String,
    /// Its first line, from 0, without the fence.
    first: usize,
    lines: Vec<String>,
}

impl Block {
    fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The file that it is.
    fn file(&self) -> Option<&str> {
        self.above.strip_suffix("`:")?.rsplit('`').next()
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let (mut above, mut open) = (String::new(), false);
    for (number, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(language) => {
                let above = std::mem::take(&mut above);
                let lines = Vec::new();
                found.push(Block { language: language.to_owned(), above, first: number + 1, lines });
                open = true;
            }
            None if open => found.last_mut().expect("it is open").lines.push(line.to_owned()),
            None if !line.is_empty() => above = line.to_owned(),
            None => {}
        }
    }
    found
}

/// The documents with blocks: path and text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = vec![top().join("README.md")];
    paths
        .extend(fs::read_dir(top().join("docs")).expect("docs").map(|entry| entry.expect("an entry").path()));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), read(path))).collect()
}

#[test]
fn what_documents_show_is_accepted() {
    let mut tried = 0;
    for (path, text) in documents() {
        let blocks = blocks(&text);
        let of = |language: &'static str| blocks.iter().filter(move |block| block.language == language);
        let drop_ins: Vec<&Block> = of("toml").collect();
        let alone = drop_ins.iter().map(|block| (vec![*block], None, *block));
        let templates = of("tera").map(|block| (drop_ins.clone(), Some(block), block));
        for (drop_ins, template, about) in alone.chain(templates) {
            let scratch = tempfile::tempdir().expect("a scratch directory");
            write(&scratch.path().join("agent.toml"), NAMES);
            for (number, block) in drop_ins.iter().enumerate() {
                write(&scratch.path().join(format!("agent.d/{number:02}.toml")), &block.text());
            }
            if let Some(template) = template {
                write(&scratch.path().join("templates/a.tera"), &template.text());
            }
            let output = Command::new(agent()).args(["check", "--config"]).arg(scratch.path()).output();
            let output = output.expect("the agent runs");
            assert!(output.status.success(), "{}:{}: {}", path.display(), about.first, said(&output));
            tried += 1;
        }
    }
    assert!(tried > 10, "{tried} blocks");
}

/// An empty directory in which a document is followed.
struct Desk {
    dir: tempfile::TempDir,
    status: i32,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        fs::create_dir_all(dir.path().join("bin")).expect("mkdir");
        fs::create_dir_all(dir.path().join("desk")).expect("mkdir");
        symlink(agent(), dir.path().join("bin/ovf-agent")).expect("linked");
        Self { dir, status: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("desk").join(name)
    }

    /// What a terminal shows of a command.
    fn run(&mut self, command: &str) -> String {
        let path = std::env::var("PATH").expect("PATH");
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1; (exit {}); {command}", self.status)])
            .current_dir(self.path(""))
            .env_clear()
            .env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()))
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .expect("sh runs");
        self.status = output.status.code().expect("not killed");
        String::from_utf8(output.stdout).expect("text")
    }
}

#[test]
fn the_way_from_an_empty_folder_to_a_checked_image_can_be_gone() {
    let path = top().join("docs/getting-started.md");
    let text = read(&path);
    let mut desk = Desk::new();
    let mut lines: Vec<&str> = text.lines().collect();
    let blocks = blocks(&text);
    let mut commands = 0;
    // What a command said, in place of which lines; replaced from the end, so that numbers stay right.
    let mut answers: Vec<(usize, usize, String)> = Vec::new();
    for block in &blocks {
        if let Some(file) = block.file() {
            write(&desk.path(file), &block.text());
        }
        if block.language != "console" {
            continue;
        }
        let starts = |line: &String| line.starts_with("$ ");
        assert!(block.lines.first().is_some_and(starts), "{}:{}", path.display(), block.first);
        let mut line = 0;
        while line < block.lines.len() {
            let command = block.lines[line].strip_prefix("$ ").expect("a command");
            let end = block.lines[line + 1..].iter().position(starts);
            let end = end.map_or(block.lines.len(), |next| line + 1 + next);
            answers.push((block.first + line + 1, block.first + end, desk.run(command)));
            line = end;
            commands += 1;
        }
    }
    for (from, to, answer) in answers.iter().rev() {
        lines.splice(from..to, answer.lines());
    }
    assert!(commands > 20, "{commands} commands");
    compare(&path, &text, &(lines.join("\n") + "\n"));
}

/// What is refused, in the words of the reports.
struct Refused {
    /// The case's name as a sentence.
    sentence: String,
    stage: String,
    code: String,
    /// Each message, with the line that it is about.
    messages: Vec<(String, Option<String>)>,
}

/// The golden cases that are refused, each message once, in the order of their names.
fn refused() -> Vec<Refused> {
    let mut cases: Vec<PathBuf> = fs::read_dir(top().join("tests/cases"))
        .expect("cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    cases.sort();
    let name = |case: &PathBuf| Some(case.file_name()?.to_str()?.strip_prefix("refused-")?.replace('-', " "));
    let mut found = Vec::new();
    for (case, name) in cases.iter().filter_map(|case| Some((case, name(case)?))) {
        let report: Value = serde_json::from_str(&read(case.join("report.json"))).expect("JSON");
        let failure = |field: &str| report["failure"][field].as_str().expect("text").to_owned();
        let message = failure("message").replace("SCRATCH/", "");
        let messages =
            parts(&message).into_iter().map(|part| (part.to_owned(), line_of(case, part))).collect();
        let word = |word: &str| match word {
            "doctype" | "ini" | "iso" | "toml" => word.to_uppercase(),
            word => word.to_owned(),
        };
        let name = name.split(' ').map(word).collect::<Vec<_>>().join(" ");
        let mut letters = name.chars();
        let first = letters.next().expect("a name").to_uppercase();
        let sentence = first.chain(letters).collect();
        found.push(Refused { sentence, stage: failure("stage"), code: failure("code"), messages });
    }
    found
}

/// A message about several things, in parts.
fn parts(message: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for line in message.lines() {
        let mut rest = line;
        while let Some(at) = rest.find("; parameter `") {
            parts.push(&rest[..at]);
            rest = &rest[at + 2..];
        }
        parts.push(rest);
    }
    parts
}

/// The line of the case's machine that a message is about.
fn line_of(case: &Path, message: &str) -> Option<String> {
    let (file, line) = match message.split_once(" is refused: line ") {
        Some((_, place)) => (case.join("ovf-env.xml"), place.split_once(',')?.0),
        None => {
            let (file, rest) = message.split_once(':')?;
            let file = match file.strip_prefix('/') {
                Some(whole) => case.join("root").join(whole),
                None => case.join("root/etc/ovf-agent").join(file),
            };
            (file, rest.split_once(':')?.0)
        }
    };
    let number: usize = line.parse().ok()?;
    let text = String::from_utf8_lossy(&fs::read(file).ok()?).into_owned();
    let line = text.lines().nth(number.checked_sub(1)?)?.trim().to_owned();
    Some(line).filter(|line| !line.is_empty() && line.chars().all(|c| !c.is_control()))
}

/// The part of `errors.md` for messages of this stage and code.
fn section(cases: &[Refused], stage: &str, code: &str) -> String {
    let mut out = String::new();
    for case in cases.iter().filter(|case| case.stage == stage && case.code == code) {
        let _ = writeln!(out, "**{}**\n\n```text", case.sentence);
        let mut last = None;
        for (message, line) in &case.messages {
            if line.is_some() && *line != last {
                let _ = writeln!(out, "{}", line.as_deref().unwrap_or_default());
                last.clone_from(line);
            }
            let _ = writeln!(out, "    {message}");
        }
        let _ = writeln!(out, "```\n");
    }
    out
}

#[test]
fn every_refusal_of_the_golden_cases_is_listed() {
    let path = top().join("docs/errors.md");
    let text = read(&path);
    let cases = refused();
    let mut out = String::new();
    let mut listed = 0;
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("<!-- refused: ") {
        let (place, after) = after.split_once(" -->\n").expect("the mark ends");
        let (stage, code) = place.split_once(' ').expect("a stage and a code");
        let (_, after) = after.split_once("<!-- end -->").expect("an end");
        let made = section(&cases, stage, code);
        assert!(!made.is_empty(), "no case is refused with {stage} {code}");
        listed += cases.iter().filter(|case| case.stage == stage && case.code == code).count();
        let _ = write!(out, "{before}<!-- refused: {place} -->\n\n{made}<!-- end -->");
        rest = after;
    }
    out += rest;
    let (before, after) = out.split_once("<!-- documents -->\n").expect("a place for documents");
    let (_, after) = after.split_once("<!-- end -->").expect("an end");
    let out = format!("{before}<!-- documents -->\n\n{}<!-- end -->{after}", documents_are_refused_for());
    let places: Vec<_> = cases.iter().map(|case| format!("{} {}", case.stage, case.code)).collect();
    assert_eq!(listed, cases.len(), "errors.md has no place for one of {places:?}");
    compare(&path, &text, &out);
}

/// Why a document is refused, from the type that has all reasons: `#[error("...")]` above each.
fn documents_are_refused_for() -> String {
    let source = texts_on_one_line(&read(top().join("agent/src/environment/error.rs")));
    let (_, kinds) = source.split_once("pub enum ErrorKind {").expect("the type");
    let (kinds, limits) = kinds.split_once("\n}\n").expect("its end");
    let mut out = String::new();
    for message in kinds.split("#[error(").skip(1) {
        let message = literal(message);
        if message != "{0}; send less" {
            let _ = writeln!(out, "{}", variable(&message));
        }
    }
    // The one that is left out has these in the place of its name.
    let (_, limits) = limits.split_once("impl fmt::Display for Limit").expect("the limits");
    let (limits, _) = limits.split_once("\n}\n").expect("their end");
    for limit in limits.split("write!(").skip(1) {
        let (_, message) = limit.split_once("f,").expect("a formatter");
        let _ = writeln!(out, "{}; send less", variable(&literal(message)));
    }
    format!("```text\n{out}```\n\n")
}

/// The text of the first literal.
fn literal(source: &str) -> String {
    let (_, text) = source.split_once('"').expect("a text");
    let mut letters = text.chars();
    let mut found = String::new();
    while let Some(c) = letters.next().filter(|c| *c != '"') {
        found.push(if c == '\\' { letters.next().expect("an escape") } else { c });
    }
    found
}

/// A message with its variable parts left open; constants of the source are no variables for a reader, but numbers.
fn variable(message: &str) -> String {
    let mut out = String::new();
    let mut rest = message.replace("{NAMESPACE}", ovf_agent::environment::NAMESPACE);
    while let Some((before, after)) = rest.clone().split_once('{') {
        let (_, after) = after.split_once('}').expect("a brace");
        out += before;
        out.push('…');
        rest = after.to_owned();
    }
    out + &rest
}

/// The agent's source without comments, its texts on one line each.
fn source() -> String {
    let mut all = String::new();
    let mut todo = vec![top().join("agent/src")];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
                let text = read(&path);
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                all += &code.collect::<Vec<_>>().join("\n");
            }
        }
    }
    texts_on_one_line(&all).replace("\\\"", "\"")
}

/// A backslash at a line's end goes on behind the blanks of the next.
fn texts_on_one_line(source: &str) -> String {
    let mut lines = source.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

#[test]
fn messages_in_tables_are_the_agents() {
    let text = read(top().join("docs/errors.md"));
    let source = source();
    let (mut messages, mut about) = (0, false);
    for row in text.lines() {
        about = row.starts_with("| message |") || about && row.starts_with('|');
        if !about || !row.starts_with("| `") {
            continue;
        }
        let message = row.trim_start_matches("| `").split("` |").next().expect("a cell");
        // What differs each time stands for itself.
        for fixed in message.split('…').map(str::trim).filter(|fixed| !fixed.is_empty()) {
            assert!(source.contains(fixed), "no message has {fixed:?}: {row}");
        }
        messages += 1;
    }
    assert!(messages > 20, "{messages} messages");
}

#[test]
fn every_key_is_documented() {
    let output = Command::new(agent()).arg("schema").output().expect("the agent runs");
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = read(top().join("docs/configuration.md"));
    let mut keys: Vec<String> = Vec::new();
    let names = |object: &Value| object.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    for (section, value) in schema["properties"].as_object().expect("an object") {
        keys.push(section.clone());
        if let Some(properties) = value.get("properties") {
            keys.extend(names(properties));
        }
    }
    keys.extend(names(&schema["$defs"]["parameter"]["properties"]));
    // Keys and sections stand between backquotes, alone or behind their section.
    let known = |key: &String| {
        [format!("`{key}`"), format!(" {key}`"), format!("`[{key}]"), format!(".{key}]")]
            .iter()
            .any(|it| text.contains(it))
    };
    let missing: Vec<_> = keys.iter().filter(|key| !known(key)).collect();
    assert!(keys.len() > 20 && missing.is_empty(), "not in docs/configuration.md: {missing:?}");

    let refused = "[parameters]\na = { key = \"a\", type = \"nothing\" }\n";
    let types = names_in("agent.toml", refused, "there are ", ", ");
    let missing: Vec<_> = types.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert!(types.len() > 15 && missing.is_empty(), "not in docs/configuration.md: {missing:?}");

    let text = read(top().join("docs/templates.md"));
    for (front, least) in [("nobody-has-this = 1", 10), ("path = \"/a\"\nescape = \"nothing\"", 5)] {
        let words = names_in("templates/a.tera", &format!("+++\n{front}\n+++\n"), "expected one of ", "`");
        let missing: Vec<_> = words.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
        assert!(words.len() > least && missing.is_empty(), "not in docs/templates.md: {missing:?}");
    }
}

/// The names that a refusal lists behind these words, between these marks.
fn names_in(file: &str, wrong: &str, behind: &str, mark: &str) -> Vec<String> {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    write(&scratch.path().join("agent.toml"), "");
    write(&scratch.path().join(file), wrong);
    let output = Command::new(agent()).args(["check", "--config"]).arg(scratch.path()).output();
    let message = said(&output.expect("the agent runs"));
    let (_, list) = message.split_once(behind).unwrap_or_else(|| panic!("no list in {message}"));
    let list = list.lines().next().expect("a line").replace(" and ", mark);
    let list = list.split("; did you").next().expect("a list");
    list.split(mark).filter(|name| !name.is_empty() && *name != ", ").map(str::to_owned).collect()
}
