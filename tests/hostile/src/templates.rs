//! Template files, and values in templates.
//!
//! Decides what holds whatever they are. Of a template: every problem has a place in it, what may be shown has nothing secret, and
//! the same values render to the same text. Of a value: read back from each format by the simplest reader of it, it is the
//! value, or nothing was written.

#![forbid(unsafe_code)]

#[path = "../../base64.rs"]
mod encoding;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use ovf_agent::environment::{self, Environment, Platform};
use ovf_agent::interfaces::Interfaces;
use ovf_agent::parameters::{Declaration, Declared, Generated};
use ovf_agent::problem::Problem;
use ovf_agent::template::{Output, Shown, Surroundings, TemplateSet, TemplateSource};

use crate::random::secret;
use encoding::base64;

const PARAMETERS: &str = r#"
s = { key = "s", type = "string", sensitive = true }
secrets = { key = "secrets", type = "list<string>", sensitive = true }
x = { key = "x", type = "string" }
n = { key = "n", type = "int" }
ip = { key = "ip", type = "ipv4" }
on = { key = "on", type = "bool" }
l = { key = "l", type = "list<string>" }
m = { key = "m", type = "map" }
nothing = { key = "nothing", type = "string" }
v = { key = "v", type = "string", sensitive = true }
"#;

/// The file's name, which is nobody's business.
const FILE: &str = "templates/a.tera";

/// What templates are made of here, beside those of the golden cases.
const BODIES: [&str; 18] = [
    "{{ x }} {{ n }} {{ ip }} {{ on }}\n",
    "{% if s %}{{ s }}{% endif %}{{ nothing | default(value=\"-\") }}\n",
    "{% for i in l %}{{ loop.index }}={{ i }}{% if not loop.last %},{% endif %}{% endfor %}\n",
    "{% for k, v in m %}{{ k }}:{{ v }}{% else %}none{% endfor %}\n",
    "{%- set a = x ~ n -%}{{ a | upper | json }}{% set b %}({{ x }}){% endset %}{{ b }}\n",
    "{% raw %}{{ x }}{% endraw %}{# {{ x }} #}{{ \"a\\\"b\" | safe }}\n",
    "{{ ip | network(mask=24) }}/{{ ip | netmask(prefix=24) | prefix }} {{ ip | reverse_zone }}\n",
    "{{ l | join(sep=\",\") }}{{ l | first }}{{ l | length }}{{ x | split(by=\"o\") | json }}\n",
    "{{ s | sha512_crypt(salt=\"saltstring\", rounds=1000) | safe }}\n",
    "{% if n > 5 and n % 2 == 1 or not on %}{{ n + 1 }}{% elif x is starting_with(pat=\"a\") %}b{% else %}c{% endif %}\n",
    "{{ m.a }}{{ m[\"b\"] }}{{ l[0] }}{{ (x ~ s) | replace(from=\"o\", to=\"0\") | indent(by=2) }}\n",
    "{% for i in range(end=9) %}{% if i == 5 %}{% break %}{% else %}{% continue %}{% endif %}{% endfor %}\n",
    "{\"a\": \"{{ x }}\", \"b\": {{ secrets | json }}}\n",
    "a: \"{{ s }}\" # {{ x }}\n",
    "<a b=\"{{ x }}\">{{ s }}</a>\n",
    "A={{ s }}\nB=$(cat {{ x }}) # {{ n }}\n",
    "a = {{ s }}\n",
    "{{ platform.kind | default(value=\"none\") }}{{ hypervisor }}{{ environment.id }}{{ adapters | json }}\n",
];

const FRONTS: [&str; 10] = [
    "path = \"/etc/a\"\n",
    "path = \"/etc/a\"\nmode = \"0600\"\nescape = \"json\"\n",
    "path = \"/etc/a\"\nmode = \"0600\"\nescape = \"yaml\"\n",
    "path = \"/etc/a\"\nmode = \"0600\"\nescape = \"xml\"\n",
    "path = \"/etc/a\"\nmode = \"0600\"\nescape = \"shell\"\n",
    "path = \"/etc/a\"\nmode = \"0600\"\nescape = \"ini\"\n",
    "path = \"/etc/a\"\nmode = \"0600\"\nwhen = \"on and n > 5\"\nabsent = \"keep\"\n",
    "path = \"/etc/{index}-{item}\"\nmode = \"0600\"\nfor-each = \"l\"\nwhen = \"item != x\"\n",
    "path = \"/etc/{key}\"\nmode = \"0600\"\nfor-each = \"m\"\n",
    "path = \"/etc/a\"\nmode = \"0600\"\nowner = \"root\"\ngroup = \"mydb\"\ncheck = [\"/bin/true\", \"{}\"]\nrestart = [\"a.service\"]\n\
     on-change = [[\"/bin/true\"]]\nonce = true\nkeep-edits = true\n",
];

/// What a slip or an attack puts in.
pub const SPLINTERS: [&str; 64] = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "{{-",
    "-}}",
    "{%-",
    "-%}",
    "+++\n",
    "\n",
    "\"",
    "'",
    "`",
    "\\",
    "|",
    " | json",
    " | safe",
    " | sh",
    " | first",
    " | b64decode",
    " | indent(by=64)",
    "~",
    " ~ s",
    "(",
    ")",
    "[",
    "]",
    ".",
    ",",
    "=",
    "<",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "$(",
    "${",
    "<<E\n",
    "# ",
    ": |\n ",
    "{{ s }}",
    "{{ x }}",
    "{% if on %}",
    "{% else %}",
    "{% endif %}",
    "{% for i in l %}",
    "{% endfor %}",
    "{% set x = 1 %}",
    "{% set y %}",
    "{% endset %}",
    "{% raw %}",
    "{% endraw %}",
    "{% include \"a\" %}",
    "{% block a %}",
    "__tera_context",
    "__print_whole(v=s)",
    "throw(message=s)",
    "escape = \"shell\"\n",
    "for-each = \"secrets\"\n",
    "mode = \"0644\"\n",
    "ä\u{2028}",
    "99999999999999999999",
];

/// The template files that mutants are made of.
///
/// # Errors
/// The golden cases cannot be read.
pub fn bases() -> io::Result<Vec<Vec<u8>>> {
    let mut bases = Vec::new();
    for front in FRONTS {
        for body in BODIES {
            bases.push(format!("+++\n{front}+++\n{body}").into_bytes());
        }
    }
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cases");
    let mut directories: Vec<_> = fs::read_dir(cases)?
        .filter_map(|case| Some(case.ok()?.path().join("root/etc/ovf-agent/templates")))
        .filter(|path| path.is_dir())
        .collect();
    directories.sort();
    for directory in directories {
        let mut files: Vec<_> = fs::read_dir(directory)?.filter_map(|file| Some(file.ok()?.path())).collect();
        files.sort();
        for file in files.into_iter().filter(|file| file.is_file()) {
            bases.push(fs::read(file)?);
        }
    }
    Ok(bases)
}

/// Parameters that are declared, and a template for each format.
#[derive(Debug)]
pub struct Desk {
    declared: Declared,
    formats: Vec<TemplateSet>,
}

impl Default for Desk {
    fn default() -> Self {
        let declarations: BTreeMap<String, Declaration> = toml::from_str(PARAMETERS).expect("declarations");
        let mut declared = Declared::default();
        for (name, declaration) in declarations {
            declared.insert(name, declaration).expect("sound");
        }
        let mut desk = Self { declared, formats: Vec::new() };
        for (escape, before, after, _) in FORMATS {
            let front = format!("+++\npath = \"/etc/a\"\nmode = \"0600\"\nescape = \"{escape}\"\n+++\n");
            let mut problems = Vec::new();
            let text = format!("{front}{before}{{{{ v | b64decode }}}}{after}");
            desk.formats.push(desk.compile(text, &mut problems));
            assert!(problems.is_empty(), "{problems:?}");
        }
        desk
    }
}

impl Desk {
    /// Compiles a template file and renders it, and says in one word what came of it.
    ///
    /// # Panics
    /// Something does not hold that should.
    pub fn look(&self, input: &[u8]) -> &'static str {
        let text = String::from_utf8_lossy(input).into_owned();
        let lines = 1 + text.lines().count() as u32;
        let secret = secret(input);
        let silent = |said: &str| assert!(!said.contains(&secret), "the secret {secret} is in {said}");
        let placed = |problems: &[Problem]| {
            assert!(!problems.is_empty());
            for problem in problems {
                silent(&problem.to_string());
                let at = problem.at.map_or((1, 1), |at| (at.line as u32, at.column as u32));
                assert!((1..=lines).contains(&at.0) && at.1 >= 1, "{problem} is outside of the template");
            }
        };
        let mut problems = Vec::new();
        let set = self.compile(text.clone(), &mut problems);
        if set.is_empty() {
            placed(&problems);
            return "refused";
        }
        if !is_short(&text) {
            return "not rendered";
        }
        match self.render(&set, &secret, "Zm9v") {
            Err(problems) => {
                placed(&problems);
                "not rendered"
            }
            Ok(output) => {
                for file in &output.files {
                    match &file.shown {
                        Shown::Masked(shown) => silent(shown),
                        Shown::Content => silent(&file.content),
                        Shown::Nothing => {}
                    }
                }
                let again =
                    self.render(&set, &secret, "Zm9v").unwrap_or_else(|_| panic!("it was rendered once"));
                let same = output.files.iter().zip(&again.files).all(|(a, b)| *a.content == *b.content);
                assert!(same && output.files.len() == again.files.len(), "it is another each time");
                "rendered"
            }
        }
    }

    /// Writes a value into each format, and reads it back; says how many could carry it.
    ///
    /// # Panics
    /// It is not what it was.
    pub fn escape(&self, input: &[u8]) -> &'static str {
        let value = String::from_utf8_lossy(input).into_owned();
        let mut carried = 0;
        let encoded = base64(value.as_bytes());
        for (set, (escape, before, after, read)) in self.formats.iter().zip(FORMATS) {
            let Ok(output) = self.render(set, "secret", &encoded) else { continue };
            let content = &output.files[0].content;
            let inside = content.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            let found = inside.and_then(read);
            assert!(found.as_deref() == Some(&value), "{escape}: {value:?} is read as {found:?}");
            carried += 1;
        }
        match carried {
            count if count == FORMATS.len() => "carried by all",
            2 => "carried by few",
            _ => "carried by some",
        }
    }

    fn compile(&self, text: String, problems: &mut Vec<Problem>) -> TemplateSet {
        let source = TemplateSource { file: FILE.to_owned(), text };
        TemplateSet::compile(vec![source], Vec::new(), Vec::new(), &self.declared, problems)
    }

    /// Renders with these values: `secret` stands in each sensitive one but `v`.
    fn render(&self, set: &TemplateSet, secret: &str, v: &str) -> Result<Output, Vec<Problem>> {
        let secrets = format!("{secret}1,{secret}2");
        let values = [
            ("s", secret),
            ("secrets", &secrets),
            ("x", "foo"),
            ("n", "7"),
            ("ip", "192.0.2.77"),
            ("on", "yes"),
            ("l", "a,b"),
            ("m", "a=1&b=2"),
            ("v", v),
        ];
        let value = |(key, value): (&'static str, &str)| (key, environment::Value::from(value.to_owned()));
        let environment =
            Environment { properties: values.into_iter().map(value).collect(), ..Environment::default() };
        let evaluated = self.declared.evaluate(Some(&environment), &Generated::default());
        let Ok((parameters, _)) = evaluated else { panic!("the values are right: {v}") };
        let surroundings = Surroundings {
            platform: &Platform::default(),
            hypervisor: "none",
            environment_id: "DB1",
            adapters: &[],
            interfaces: &Interfaces::default(),
        };
        set.render(&self.declared, &parameters, surroundings).map_err(|problems| problems.0)
    }
}

/// Whether a template ends soon whatever it is: a builder may write one that does not.
fn is_short(text: &str) -> bool {
    let count = |word: &str| text.matches(word).count();
    let mut digits = text.split(|c: char| !c.is_ascii_digit()).map(str::len);
    let loops = count("for");
    let large = digits.any(|len| len > 4) || count("range") > 1 && loops > 1;
    let grows = count("~") + count("replace") + count("join") + count("indent");
    loops <= 4 && grows <= 8 && count("crypt") <= 2 && !large && !(loops > 0 && count("set_global") > 0)
}

/// How a format is read: its escape, what stands before and after a value, and the value in between.
type Format = (&'static str, &'static str, &'static str, fn(&str) -> Option<String>);

const FORMATS: [Format; 6] = [
    ("none", "a ", "\n", |text| Some(text.to_owned())),
    ("ini", "a = ", "\n", |text| (!text.contains(['\n', '\r'])).then(|| text.to_owned())),
    ("json", "\"", "\"\n", json),
    // A double-quoted scalar of YAML 1.2 that is a string of JSON is the same.
    ("yaml", "a: \"", "\"\n", json),
    ("shell", "A=", "\n", shell),
    ("xml", "<a b=\"", "\"/>\n", xml),
];

fn json(text: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{text}\"")).ok()
}

/// A word of quoted pieces and escaped quotes.
fn shell(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("\\'") {
            value.push('\'');
            rest = after;
        } else {
            let (piece, after) = rest.strip_prefix('\'')?.split_once('\'')?;
            value += piece;
            rest = after;
        }
    }
    Some(value)
}

/// By the agent's own reader of documents.
fn xml(text: &str) -> Option<String> {
    let document = format!(
        "<Environment xmlns=\"{0}\" xmlns:e=\"{0}\"><PropertySection><Property e:key=\"k\" e:value=\"{text}\"/></PropertySection></Environment>",
        environment::NAMESPACE
    );
    let (environment, warnings) = environment::parse(document.as_bytes()).ok()?;
    let value = environment.properties.get("k")?.reveal().to_owned();
    (warnings.is_empty() && environment.properties.iter().count() == 1).then_some(value)
}

/// Values that mean something to some format.
pub fn values() -> Vec<Vec<u8>> {
    [
        "plain",
        "two words",
        " it's ",
        "a\\",
        "\"<&>'",
        "a\nb\r\n",
        "]]>-->",
        "$(a)`b`${c}",
        "{{ x }}",
        "ä\u{85}\u{2028}\u{feff}\u{ffff}",
        "\u{1}\0\u{7f}",
        "",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::Desk;

    /// A fuzzer made it of the word that stood for every secret then.
    #[test]
    fn a_word_that_a_template_puts_together_is_no_secret() {
        let text = b"+++\npath = \"/etc/a\"\n+++\nZq7wXkV9{% if on %}tRm2Lb5Hc{% endif %}";
        assert_eq!(Desk::default().look(text), "rendered");
    }
}
