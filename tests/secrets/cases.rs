//! Machines that fail, each in its own way, with planted values wherever a value can be.
//!
//! Decides what can go wrong: properties against each type and rule, each escape and each filter given what it refuses,
//! broken documents, targets that cannot be written, a memory that is damaged, and generators that go on with it all.
//! What may be seen of any of them is decided in `secrets.rs`.

use crate::encoding::base64;
use crate::planted::{IPV4, IPV6, NUMBER, ODD, REAL, WORD};

/// A machine that fails, or, where `exit` is 0, one that does not.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// `agent.toml`; `SECRET` stands for `, sensitive = true` or for nothing.
    pub(crate) settings: String,
    /// Name and text of each template.
    pub(crate) templates: Vec<(String, String)>,
    pub(crate) document: String,
    /// More files of the machine.
    pub(crate) files: Vec<(&'static str, String)>,
    /// How `apply` ends.
    pub(crate) exit: i32,
    /// What it says then, so that it fails for this reason and no other.
    pub(crate) says: Vec<String>,
}

const FRONT: &str = "mode = \"0600\"\n";

fn template(name: &str, escape: &str, front: &str, body: &str) -> (String, String) {
    let path = if front.contains("for-each") { format!("{name}-{{index}}") } else { name.to_owned() };
    let path = if front.contains("path") { String::new() } else { format!("path = \"/etc/out/{path}\"\n") };
    (format!("{name}.tera"), format!("+++\n{path}{FRONT}escape = \"{escape}\"\n{front}+++\n{body}\n"))
}

fn attribute(text: &str) -> String {
    let escapes = [("&", "&amp;"), ("<", "&lt;"), ("\"", "&quot;"), ("\n", "&#10;"), ("\t", "&#9;")];
    escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// A document in which the guest and two siblings have these properties.
fn document(properties: &[(String, String)]) -> String {
    let section: String = properties
        .iter()
        .map(|(key, value)| format!("<Property e:key=\"{key}\" e:value=\"{}\"/>\n", attribute(value)))
        .collect();
    raw(&format!(
        "<PropertySection>\n{section}</PropertySection>\n\
         <Entity e:id=\"DB2\"><PropertySection>\n{section}</PropertySection></Entity>\n\
         <Entity e:id=\"DB3\"><PropertySection>\n{section}</PropertySection></Entity>"
    ))
}

fn raw(inside: &str) -> String {
    format!(
        "<Environment xmlns=\"http://schemas.dmtf.org/ovf/environment/1\" \
         xmlns:e=\"http://schemas.dmtf.org/ovf/environment/1\" e:id=\"DB1\">\n{inside}\n</Environment>\n"
    )
}

/// The values that templates are tried with: name, type, and what the property says.
fn values() -> Vec<(&'static str, &'static str, String)> {
    let percent: String = ODD.bytes().map(|byte| format!("%{byte:02X}")).collect();
    vec![
        ("x", "string", WORD.to_owned()),
        ("odd", "string", ODD.to_owned()),
        ("lines", "string", format!("{WORD}\n{ODD}\n")),
        ("n", "int", NUMBER.to_owned()),
        ("r", "real", REAL.to_owned()),
        ("a", "ipv4", IPV4.to_owned()),
        ("s", "ip", IPV6.to_owned()),
        ("l", "list<string>", format!("{WORD}1 {WORD}2")),
        ("m", "map", format!("{WORD}={percent}&b={WORD}")),
        ("ml", "list<map<int>>", format!("{WORD}={NUMBER}")),
        ("b", "base64", base64(format!("\u{1}{WORD}\0{ODD}").as_bytes())),
        ("bin", "base64", base64(&[&b"\xff\xfe"[..], WORD.as_bytes()].concat())),
    ]
}

/// Declares [`values`], reads them from a sibling and from all siblings too, and sets them.
fn with_values(name: &'static str, more: &str, templates: Vec<(String, String)>) -> Case {
    let mut settings = "[parameters]\n".to_owned();
    for (name, kind, _) in values() {
        let lines = if name == "lines" { ", multiline = true" } else { "" };
        settings += &format!("{name} = {{ key = \"{name}\", type = \"{kind}\"{lines}SECRET }}\n");
        settings +=
            &format!("{name}_of_db2 = {{ key = \"{name}\", entity = \"DB2\", type = \"{kind}\"{lines} }}\n");
        settings +=
            &format!("{name}_of_all = {{ key = \"{name}\", entity = \"*\", type = \"{kind}\"{lines} }}\n");
    }
    settings += "nothing = { key = \"nothing\", type = \"string\"SECRET }\n";
    let properties: Vec<_> = values().into_iter().map(|(key, _, value)| (key.to_owned(), value)).collect();
    Case {
        name,
        settings: settings + more,
        templates,
        document: document(&properties),
        files: Vec::new(),
        exit: 0,
        says: Vec::new(),
    }
}

/// Every value is written by every escape that can carry it, for one file and for each element, derived and generated.
fn all_is_well() -> Case {
    let literals: String = values()
        .iter()
        .map(|(name, ..)| format!("{{{{ {name} | json }}}},{{{{ {name}_of_all | json }}}}\n"))
        .collect();
    let lines = "{{ x }}{{ n }}{{ r }}{{ a }}{{ s }}{{ derived }}{{ key_of_guest }}{{ (l | first) }}\n";
    let templates = vec![
        template("literals", "none", "", &literals),
        template("none", "none", "", lines),
        template("json", "json", "", "\"{{ odd }}{{ lines }}{{ derived }}\""),
        template("yaml", "yaml", "", "x: \"{{ odd }}{{ lines }}\""),
        template("xml", "xml", "", "<x a=\"{{ odd }}\">{{ lines }}</x>"),
        template("shell", "shell", "", "X={{ odd }} {{ lines }}"),
        template("ini", "ini", "", "x = {{ odd }}"),
        template("safe", "none", "", "{{ odd | safe }}{{ b_of_db2 }}"),
        template("each", "none", "for-each = \"l\"\n", "{{ item }}{{ index }}"),
        template("map", "json", "for-each = \"m\"\n", "\"{{ key }}{{ item }}\""),
        template("siblings", "none", "for-each = \"x_of_all\"\n", "{{ key }}{{ item }}"),
        template(
            "when",
            "none",
            "when = \"x is starting_with(pat=x)\"\n",
            "{% for i in l %}{{ i }}{% endfor %}",
        ),
        template("hash", "none", "", "{{ x | sha512_crypt(salt=key_of_guest, rounds=1000) | safe }}"),
    ];
    let more = "key_of_guest = { key = \"made\", type = \"string\", generate = \"alnum:16\" }\n\
                [derived]\nderived = \"{{ x }}{{ n }}{{ odd }}\"\nlong = \"{{ l | join(sep=x) }}\"\n";
    // `derived` has characters that `none` cannot carry.
    let templates = templates
        .into_iter()
        .map(|(name, text)| (name, text.replace("{{ s }}{{ derived }}", "{{ s }}{{ long }}")))
        .collect();
    with_values("all is well", more, templates)
}

/// Each of these fails while it is rendered.
const EXPRESSIONS: &[&str] = &[
    "x | b64decode",
    "odd | b64decode",
    "bin | b64decode",
    "nothing | b64decode",
    "x | broadcast(mask=24)",
    "a | broadcast(mask=x)",
    "a | broadcast(mask=n)",
    "s | broadcast(mask=24)",
    "x | first",
    "n | last",
    "x | indent(by=n)",
    "x | indent(by=x)",
    "l | indent(by=1)",
    "x | join",
    "ml | join(sep=x)",
    "l | join(sep=l)",
    "n | first",
    "nothing | length",
    "l | lower",
    "m | upper",
    "l | trim",
    "x | netmask",
    "a | netmask(prefix=n)",
    "a | netmask(prefix=x)",
    "x | network(mask=24)",
    "a | network(mask=x)",
    "a | network(mask=odd)",
    "x | prefix",
    "n | prefix",
    "a | prefix",
    "x | reverse_zone",
    "odd | reverse_zone",
    "x | replace(from=l, to=x)",
    "x | replace(from=x, to=nothing)",
    "l | sh",
    "x | sha512_crypt(salt=odd)",
    "x | sha512_crypt(salt=x, rounds=n)",
    "x | sha512_crypt(salt=l)",
    "(b | b64decode) | sha512_crypt(salt=x)",
    "x | split(by=\"\")",
    "x | split(by=l)",
    "l | split(by=x)",
    "m | json | b64decode",
    "x * 2",
    "odd + 1",
    "x - x",
    "n * n * n",
    "n / 0",
    "n % 0",
    "x % 2",
    "-x",
    "n ** n",
    "r * x",
    "x < 5",
    "x < l",
    "x in n",
    "m.nokey",
    "m[x ~ odd]",
    "l[x]",
    "l[n]",
    "x[n]",
    "r[0]",
    "x is odd",
    "n is starting_with(pat=x)",
    "range(end=n)",
    "range(end=x)",
    "range(start=n, end=x)",
    "odd",
    "lines",
    "b | b64decode",
    "x ~ odd",
    "s ~ lines",
    "a ~ l",
];

/// Bodies, with their escapes, that fail while they are rendered.
const BODIES: &[(&str, &str)] = &[
    ("none", "{% set y = l %}{{ y }}"),
    ("none", "{% set y = m %}{{ y }}"),
    ("none", "{% set y = x_of_all %}{{ y }}"),
    ("none", "{% set y = x %}{{ y.field }}"),
    ("none", "{% set y = n %}{{ y.field }}"),
    ("none", "{{ nothing }}"),
    ("none", "{% for i in n %}{% endfor %}"),
    ("none", "{% for i in x < l %}{% endfor %}"),
    ("none", "{% for k, v in l %}{% endfor %}"),
    ("none", "{% for i in range(end=n) %}{% endfor %}"),
    ("none", "{% if x < l %}{% endif %}"),
    ("none", "{% set y = x * 2 %}{{ y }}"),
    ("none", "{% for i in l %}{{ i * 2 }}{% endfor %}"),
    ("none", "{% for k, v in m %}{{ k ~ v }}{% endfor %}"),
    ("ini", "k = {{ lines }}"),
    ("ini", "k = {{ x ~ \" \" }}"),
    ("ini", "k = {{ x ~ \"\\\\\" }}"),
    ("ini", "k = {{ m[x] ~ l }}"),
    ("xml", "<a>{{ b | b64decode }}</a>"),
    ("xml", "<a b=\"{{ x | split(by=x) }}\"/>"),
    ("shell", "# {{ lines }}"),
    ("shell", "X={{ b | b64decode }}"),
    ("shell", "X={{ x | split(by=x) }}"),
    ("json", "\"{{ x | split(by=x) }}\""),
    ("json", "{{ b | b64decode | upper | first | json }}"),
    ("yaml", "x: \"{{ nothing }}\""),
];

/// Front matter that fails with the values.
const RULES: &[&str] = &[
    "when = \"x | upper\"\n",
    "when = \"n + 1\"\n",
    "when = \"l | first\"\n",
    "when = \"x < l\"\n",
    "when = \"x * n\"\n",
    "for-each = \"l\"\nwhen = \"item | upper\"\n",
    "for-each = \"m\"\nwhen = \"key < n\"\n",
];

fn refused_by_a_template() -> Case {
    let mut templates = Vec::new();
    for (number, expression) in EXPRESSIONS.iter().enumerate() {
        templates.push(template(
            &format!("expression{number}"),
            "none",
            "",
            &format!("{{{{ {expression} }}}}"),
        ));
    }
    for (number, (escape, body)) in BODIES.iter().enumerate() {
        templates.push(template(&format!("body{number}"), escape, "", body));
    }
    for (number, rules) in RULES.iter().enumerate() {
        templates.push(template(&format!("rules{number}"), "none", rules, "{{ hypervisor }}"));
    }
    for (number, each) in ["l", "m", "ml", "x_of_all", "odd_of_all"].iter().enumerate() {
        let front = format!("for-each = \"{each}\"\n");
        templates.push(template(&format!("each{number}"), "none", &front, "{{ item * 2 }}"));
    }
    let says = templates.iter().map(|(name, _)| format!("templates/{name}:")).collect();
    Case { exit: 78, says, ..with_values("every template is refused", "", templates) }
}

/// Values in paths; sensitive ones are refused before there is any, so this one is for others.
fn refused_by_a_path() -> Case {
    let each = |name: &str, list: &str, slot: &str| {
        let front = format!("path = \"/etc/out/{name}-{slot}\"\nfor-each = \"{list}\"\n");
        template(name, "none", &front, "x")
    };
    let templates = vec![
        each("item", "l", "{item}"),
        each("key", "m", "{key}"),
        each("field", "ml", "{item.nothing}"),
        each("odd", "odd_of_all", "{item}"),
        each("same", "lines_of_all", "{item}"),
    ];
    let says = templates.iter().map(|(name, _)| format!("templates/{name}:")).collect();
    Case { exit: 78, says, ..with_values("paths are refused", "", templates) }
}

fn refused_derived(name: &'static str, derived: &str) -> Case {
    let more = format!("[derived]\nd = \"{derived}\"\ne = \"{{{{ d }}}}{{{{ x }}}}\"\n");
    let templates = vec![template("a", "json", "", "\"{{ d }}\" {{ e | json }}")];
    Case { exit: 78, says: vec!["agent.toml:".to_owned()], ..with_values(name, &more, templates) }
}

fn refused_role(name: &'static str, when: &str) -> Case {
    let more = format!("[[units]]\nname = \"a.service\"\nstate = \"started\"\nwhen = \"{when}\"\n");
    let templates = vec![template("a", "none", "", "{{ x }}")];
    Case { exit: 78, says: vec!["agent.toml:".to_owned()], ..with_values(name, &more, templates) }
}

/// Every type and every rule is broken by the guest's property, a sibling's and all siblings', in one environment.
fn refused_by_declarations() -> Case {
    let odd = format!("{WORD}!~{ODD}");
    let mut rows: Vec<(String, String)> = Vec::new();
    for kind in [
        "int", "uint", "bool", "real", "ip", "ipv4", "ipv6", "cidr", "netmask", "hostname", "fqdn", "port",
        "email", "url", "base64", "locale", "timezone",
    ] {
        rows.push((format!("type = \"{kind}\""), odd.clone()));
        rows.push((format!("type = \"list<{kind}>\""), format!("{WORD}! {odd}")));
        rows.push((format!("type = \"map<{kind}>\""), format!("{WORD}={WORD}%21")));
        rows.push((format!("type = \"list<map<{kind}>>\""), format!("{WORD}={WORD}%21")));
    }
    for (declaration, value) in [
        ("type = \"string\"", format!("{WORD}\n{ODD}")),
        ("type = \"string\", multiline = true", format!("{WORD}\r{ODD}").replace('\r', "\u{85}")),
        ("type = \"list<string>\", max = 1", format!("{WORD},{WORD}")),
        ("type = \"map\"", WORD.to_owned()),
        ("type = \"map\"", format!("{WORD}=%zz{WORD}")),
        ("type = \"map\"", format!("{WORD}=1&{WORD}=2")),
        ("type = \"map\"", format!("=1{WORD}")),
        ("type = \"map<map<int>>\"", format!("{WORD}={WORD}%3D{WORD}")),
        ("type = \"map\", min = 9", format!("{WORD}={WORD}")),
        ("type = \"string\", one-of = [\"low\", \"normal\"]", WORD.to_owned()),
        ("type = \"string\", pattern = \"[0-9]+\"", odd.clone()),
        ("type = \"string\", min = 99", odd.clone()),
        ("type = \"string\", max = 2", odd),
        ("type = \"list<string>\", one-of = [\"low\"]", format!("{WORD} {WORD}")),
        ("type = \"list<string>\", pattern = \"[0-9]+\"", format!("{WORD} {WORD}")),
        ("type = \"int\", max = 5", NUMBER.to_owned()),
        ("type = \"int\", min = 5", format!("-{NUMBER}")),
        ("type = \"int\"", format!("{NUMBER}{NUMBER}")),
        ("type = \"port\"", NUMBER.to_owned()),
        ("type = \"real\", max = 0.5", REAL.to_owned()),
        ("type = \"ipv4\"", IPV6.to_owned()),
        ("type = \"ipv6\"", IPV4.to_owned()),
        ("type = \"ipv4\"", format!("{IPV4}.1")),
        ("type = \"cidr\"", format!("{IPV4}/77")),
        ("type = \"netmask\"", IPV4.to_owned()),
        ("type = \"ipv4\", pattern = \"10[.].*\"", IPV4.to_owned()),
    ] {
        rows.push((declaration.to_owned(), value));
    }
    let mut settings = "[parameters]\n".to_owned();
    let (mut properties, mut says) = (Vec::new(), Vec::new());
    for (number, (declaration, value)) in rows.into_iter().enumerate() {
        for (name, entity) in [("own", ""), ("sibling", ", entity = \"DB2\""), ("all", ", entity = \"*\"")] {
            settings += &format!("{name}{number} = {{ key = \"k{number}\", {declaration}{entity}SECRET }}\n");
            says.push(format!("parameter `{name}{number}`"));
        }
        properties.push((format!("k{number}"), value));
    }
    Case {
        name: "every type and rule is broken",
        settings,
        templates: vec![template("a", "none", "", "{{ own0 }}")],
        document: document(&properties),
        files: Vec::new(),
        exit: 78,
        says,
    }
}

/// Documents that break where a value is, as they come from platforms that escape nothing. What comes out of some of them
/// is another document than was meant, so here the value is looked for whether or not it is told to be sensitive.
fn broken_documents() -> Vec<Case> {
    let property = |value: &str| {
        raw(&format!("<PropertySection><Property e:key=\"x\" e:value=\"{value}\"/></PropertySection>"))
    };
    let section = |inside: &str| raw(&format!("<PropertySection>{inside}</PropertySection>"));
    let whole = property(WORD);
    let documents = [
        ("an ampersand", property(&format!("{WORD}& {WORD}"))),
        ("an unknown entity", property(&format!("a&{WORD};b"))),
        ("a reference to a forbidden character", property(&format!("{WORD}&#1;{WORD}"))),
        ("a character reference that is none", property(&format!("{WORD}&#{WORD};"))),
        ("a less-than sign", property(&format!("a<{WORD}"))),
        ("a quote", property(&format!("a\"{WORD}"))),
        ("a quote and a blank", property(&format!("a\" {WORD}"))),
        ("a quote and what looks like an attribute", property(&format!("a\" {WORD}=1"))),
        ("an attribute with a quote", property(&format!("a\" {WORD}=\"<"))),
        ("an attribute twice", property(&format!("a\" {WORD}=\"1\" {WORD}=\"2"))),
        ("a prefix that is not bound", property(&format!("a\" {WORD}:b=\"2"))),
        ("a declaration that is not allowed", property(&format!("a\" xmlns:{WORD}=\"\" b=\""))),
        ("a forbidden character", property(&format!("{WORD}\u{2}{WORD}"))),
        ("an end in the value", whole[..whole.find(WORD).expect("there") + 12].to_owned()),
        ("an end behind the value", whole[..whole.find(WORD).expect("there") + WORD.len() + 1].to_owned()),
        ("no quotes", section(&format!("<Property e:key=\"x\" e:value={WORD}/>"))),
        ("other quotes", section(&format!("<Property e:key=\"x\" e:value=`{WORD}`/>"))),
        (
            "no closing quote",
            section(&format!(
                "<Property e:key=\"x\" e:value=\"{WORD}/><Property e:key=\"y\" e:value=\"{WORD}\"/>"
            )),
        ),
        ("an attribute of another name", section(&format!("<Property e:key=\"x\" e:valu=\"{WORD}\"/>"))),
        (
            "an attribute of another namespace",
            section(&format!("<Property xmlns:f=\"urn:x\" f:key=\"x\" f:value=\"{WORD}\"/>")),
        ),
        ("no key", section(&format!("<Property e:value=\"{WORD}\"/>"))),
        ("the value as text", section(&format!("<Property e:key=\"x\">{WORD}</Property>"))),
        (
            "the value as an element",
            section(&format!("<Property e:key=\"x\"><Value>{WORD}</Value></Property>")),
        ),
        ("text that ends CDATA", section(&format!("{WORD}]]>{WORD}"))),
        ("text behind the root", format!("{whole}{WORD}")),
        ("text before the root", format!("{WORD}{whole}")),
        ("a comment", section(&format!("<!-- {WORD} -- {WORD} -->"))),
        ("a processing instruction", section(&format!("<? {WORD}?>"))),
        ("markup that is none", section(&format!("<!{WORD}>"))),
        ("a document type", format!("<!DOCTYPE a [<!ENTITY b \"{WORD}\">]>{whole}")),
        ("an XML declaration", format!("<?xml version=\"{WORD}\"?>{whole}")),
    ];
    let case = |(name, document): (&'static str, String)| Case {
        name,
        settings: "[parameters]\nx = { key = \"x\", type = \"string\", required = true, min = 40SECRET }\n"
            .to_owned(),
        templates: vec![template("a", "none", "", "{{ x }}")],
        document,
        files: Vec::new(),
        exit: 78,
        says: Vec::new(),
    };
    documents.into_iter().map(case).collect()
}

/// A file with values, at this path; and a secret that the guest makes.
fn one(name: &'static str, path: &str, says: &str) -> Case {
    let front = format!("path = \"{path}\"\n");
    let templates = vec![template("a", "json", &front, "{{ odd | json }}\n{{ l | json }}{{ made | json }}")];
    let more = "made = { key = \"made\", type = \"string\", generate = \"hex:32\" }\n";
    Case { exit: 1, says: vec![says.to_owned()], ..with_values(name, more, templates) }
}

/// The file is there, with what nobody else knows any more.
pub(crate) fn with_older_secrets() -> Case {
    let old = format!("{WORD}\nold = {ODD}\nnumber = {NUMBER}\n");
    Case {
        files: vec![("etc/out/a", old)],
        exit: 0,
        says: Vec::new(),
        ..one("a file with older secrets", "/etc/out/a", "")
    }
}

/// Programs are run for the file.
pub(crate) fn with_programs() -> Case {
    let front = "check = [\"/judge\", \"check\", \"{}\"]\nverify = [\"/judge\", \"verify\"]\non-change = [[\"/judge\", \"on-change\"]]\n";
    let templates = vec![template("a", "json", front, "{{ odd | json }}{{ n | json }}{{ b | json }}")];
    // What is taken back is to be seen by them, too.
    Case { files: with_older_secrets().files, ..with_values("programs", "", templates) }
}

/// All others.
pub(crate) fn cases() -> Vec<Case> {
    let state = |name: &'static str, path, exit, says: &str| {
        let text = format!(
            "{{\"version\":1,\"secrets\":{{\"made\":\"{WORD}\"}},\"files\":{{\"{WORD}\":{NUMBER}}},\"pass\":{REAL},\"{ODD}"
        );
        Case { exit, files: vec![(path, text)], ..one(name, "/etc/out/a", says) }
    };
    let mut all = vec![
        refused_by_declarations(),
        refused_by_a_template(),
        refused_derived("a derived value of a wrong type", "{{ x * 2 }}"),
        refused_derived("a derived value with a line break", "{{ x }}{{ lines }}"),
        refused_derived("a derived value that is a list", "a {{ l }}"),
        refused_derived("a derived value that a filter refuses", "{{ odd | b64decode }}"),
        refused_role("a role that depends on no truth value", "x"),
        refused_role("a role that cannot be judged", "odd * n"),
        one("a directory that is missing", "/etc/none/a", "cannot open the directory"),
        one("a target that is a directory", "/etc/out", "not a regular file"),
        one("a target that is a link", "/etc/link", "it is a symbolic link"),
        one("a target below a file", "/etc/ovf-agent/agent.toml/a", "Not a directory"),
        with_older_secrets(),
        state("a damaged state", "var/lib/ovf-agent/state.json", 0, "the state of earlier passes is lost"),
        state("damaged secrets", "var/lib/ovf-agent/generated.json", 1, "holds the secrets"),
        state("a damaged journal", "var/lib/ovf-agent/journal.json", 0, "journal"),
        all_is_well(),
    ];
    all.extend(broken_documents());
    all
}

/// Where values are not told to be sensitive, these say what they may be; and paths are made of them.
pub(crate) fn about_secrets() -> Vec<Case> {
    let strict = Case {
        name: "a default and the only values there are",
        settings: format!(
            "[parameters]\np = {{ key = \"p\", type = \"string\", one-of = [\"{WORD}\"], default = \"{WORD}\"SECRET }}\n\
             q = {{ key = \"q\", type = \"int\", default = {NUMBER}SECRET }}\n\
             r = {{ key = \"r\", type = \"map\", default = {{ a = \"{WORD}\" }}SECRET }}\n"
        ),
        templates: vec![template("a", "none", "", "{{ p }}{{ q }}{{ r.a }}")],
        document: document(&[("p".to_owned(), "other".to_owned())]),
        files: Vec::new(),
        exit: 78,
        says: vec!["parameter `p`".to_owned()],
    };
    let used = Case {
        name: "defaults that are used",
        document: document(&[]),
        exit: 0,
        says: Vec::new(),
        ..strict.clone()
    };
    vec![strict, used]
}

/// What is not possible with sensitive values.
pub(crate) fn about_others() -> Vec<Case> {
    vec![refused_by_a_path()]
}
