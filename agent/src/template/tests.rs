use std::collections::BTreeMap;

use super::{ConditionSource, DerivedSource, TemplateSet, TemplateSource};
use crate::config::values;
use crate::parameters::{Declaration, Declared};

fn declared() -> Declared {
    let mut declared = Declared::default();
    for (name, kind) in [("ip", "ipv4"), ("log", "string"), ("primary", "bool")] {
        let declaration: Declaration =
            values::parse(&format!("key = \"{name}\"\ntype = \"{kind}\"")).expect("a declaration");
        declared.insert(name.to_owned(), declaration).expect(name);
    }
    declared
}

fn problems(body: &str) -> Vec<String> {
    let source = TemplateSource { file: "t".to_owned(), text: format!("+++\npath = \"/a\"\n+++\n{body}") };
    let mut problems = Vec::new();
    let set = TemplateSet::compile(vec![source], Vec::new(), Vec::new(), &declared(), &mut problems);
    assert_eq!(
        set.is_empty(),
        !problems.is_empty(),
        "a template is either in the set or has problems: {body}"
    );
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_right_compiles() {
    for body in [
        "",
        "{{ ip }}",
        "{{ ip | upper | lower }}",
        "{% for part in ip | split(by=\".\") %}{{ loop.index }}{{ part }}{% else %}none{% endfor %}",
        "{% set name = log %}{{ name }}",
        "{% set text %}{{ log }}{% endset %}{{ text }}",
        "{{ \"a\" if primary else \"b\" }}",
        "{{ platform.kind }}{{ platform?.vendor }}{{ hypervisor }}{{ environment.id }}",
        "{% if ip is defined and log is not string %}{% endif %}",
        "{% for i in range(end=3) %}{{ i }}{% endfor %}",
        "{% if ip is starting_with(pat=\"10.\") or log is not ending_with(pat=log) %}{% endif %}",
        "{%- if primary -%} x {%- endif -%}",
        "{{ log ~ ip }}{{ [1, 2] | length }}",
        "{% set text | replace(from=\"a\", to=\"b\") %}{{ log }}{% endset %}{{ text }}",
        "{{ log | default(value=[1, 2] | join(sep=\"=\")) }}",
    ] {
        assert_eq!(problems(body), Vec::<String>::new(), "{body}");
    }
}

#[test]
fn what_is_wrong_is_said_where_it_stands() {
    for (body, want) in [
        ("{{ lgo }}", "t:4:4: `lgo` is not declared in [parameters] of agent.toml; did you mean `log`?"),
        ("{{ x.y }}", "t:4:4: `x` is not declared in [parameters] of agent.toml"),
        (
            "{% if primary %}{% elif nothing %}{% endif %}",
            "t:4:25: `nothing` is not declared in [parameters] of agent.toml",
        ),
        (
            "{{ platform }}",
            "t:4:4: `platform` has the fields kind, version, vendor, locale, timezone; write one of them",
        ),
        (
            "{{ platform[\"kind\"] }}",
            "t:4:4: `platform` has the fields kind, version, vendor, locale, timezone; write one of them",
        ),
        (
            "{% block a %}{% endblock %}",
            "t:4:4: `{% block %}` cannot be used; there are if, elif, else, for, set and raw",
        ),
        (
            "{% filter upper %}{% endfilter %}",
            "t:4:4: `{% filter %}` cannot be used; there are if, elif, else, for, set and raw",
        ),
        ("{% for a in log %}\n{% endif %}", "t:5:4: `{% endif %}` where `{% endfor %}` is due"),
        ("{% endif %}", "t:4:4: `{% endif %}` closes nothing"),
        ("x\n{{ loop.index }}", "t:5:4: `loop` is known inside of a {% for %} alone"),
        (
            "{{ log | default }}",
            "t:4:10: filter `default` needs the argument `value`; write default(value=...)",
        ),
        (
            "{{ log | replace(from=\"a\") }}",
            "t:4:10: filter `replace` needs the argument `to`; write replace(to=...)",
        ),
        (
            "{% if log is not definde %}{% endif %}",
            "t:4:18: there is no test `definde`; did you mean `defined`?",
        ),
        (
            "{{ log is perhaps }}",
            "t:4:11: there is no test `perhaps`; there are array, bool, defined, divisible_by, ending_with, even, float, integer, iterable, map, none, number, odd, starting_with, string, undefined",
        ),
        (
            "{{ log is starting_with(log) }}",
            "t:4:11: test `starting_with` needs the argument `pat`; write starting_with(pat=...)",
        ),
        ("{{ log is none(x=1) }}", "t:4:11: test `none` has no argument `x`"),
        (
            "{{ log is containing(pat=log) }}",
            "t:4:11: there is no test `containing`; there are array, bool, defined, divisible_by, ending_with, even, float, integer, iterable, map, none, number, odd, starting_with, string, undefined",
        ),
        ("{{ log | uper }}", "t:4:10: there is no filter `uper`; did you mean `upper`?"),
        ("{{ log | upper(all=true) }}", "t:4:10: filter `upper` has no argument `all`"),
        ("{{ [log] | join(\", \") }}", "t:4:12: filter `join` has no argument `\", \"`; write join(sep=)"),
        (
            "{{ log | replace(log, to=ip) }}",
            "t:4:10: filter `replace` needs the argument `from`; write replace(from=...)",
        ),
        (
            "{% if primary = true %}{% endif %}",
            "t:4:15: `if primary = true` is not Tera's syntax; compare by ==",
        ),
        ("{% if primary && ip %}{% endif %}", "t:4:15: `if primary && ip` is not Tera's syntax; write `and`"),
        ("{% if primary || ip %}{% endif %}", "t:4:16: `if primary || ip` is not Tera's syntax; write `or`"),
        ("{% if !primary %}{% endif %}", "t:4:7: `if !primary` is not Tera's syntax; write `not`"),
        (
            "{% if primary %}{% else if ip %}{% endif %}",
            "t:4:25: `else if ip` is not Tera's syntax; write `elif`",
        ),
        (
            "{{ primary ? ip : log }}",
            "t:4:12: `primary ? ip : log` is not Tera's syntax; write `a if x else b`",
        ),
        ("{{ item }}", "t:4:4: `item` is known in templates with a for-each alone"),
        (
            "{{ range(end=range()) }}",
            "t:4:14: function `range` needs the argument `end`; write range(end=...)",
        ),
        ("{{ environment.id.x }}", "t:4:4: `environment.id` is plain text and has no fields"),
        ("{{ __print_none(v=ip) }}", "t:4:4: there is no function `__print_none`; there is range"),
        ("{% set __x = ip %}{{ __x }}", "t:4:22: `__x` is not declared in [parameters] of agent.toml"),
        ("{{ ip + }}", "t:4:9: `ip +` is not Tera's syntax"),
        ("{{ }}", "t:4:3: `{{ }}` is empty; name what it prints"),
    ] {
        assert!(problems(body).iter().any(|problem| problem == want), "{body}: {:?}", problems(body));
    }
}

#[test]
fn a_condition_is_judged_by_all_that_its_parameters_can_be() {
    const SETTINGS: &str = r#"
        log = { key = "log", type = "string", one-of = ["low", "normal"], default = "normal" }
        size = { key = "size", type = "int", one-of = [1, 2] }
        primary = { key = "primary", type = "bool", default = false }
        spare = { key = "spare", type = "bool" }
        ip = { key = "ip", type = "ipv4", required = true }
        peer = { key = "peer", type = "ipv4" }
        token = { key = "token", type = "string", generate = "hex:16" }
        secret = { key = "secret", type = "string", sensitive = true, one-of = ["hunter2", "hunter3"] }
        others = { key = "ip", entity = "*", type = "ipv4" }
        levels = { key = "levels", type = "list<string>", one-of = ["low", "normal"] }
    "#;
    let derived = r#"
        clustered = "{{ peer is not none }}"
        alone = "{{ not clustered }}"
        known = "{{ ip is not none }}"
        chatty = "{{ log | upper }}"
        network = "{{ ip | network(mask=24) }}"
    "#;
    let read: BTreeMap<String, Declaration> = values::parse(SETTINGS).expect("declarations");
    let mut declared = Declared::default();
    for (name, declaration) in read {
        declared.insert(name, declaration).expect("sound");
    }
    let judge = |when: &str| {
        let table: BTreeMap<String, toml::Spanned<String>> = values::parse(derived).expect("TOML");
        let sources = table.into_iter().map(|(name, value)| DerivedSource::new("d", name, value, derived, 0));
        let text = format!("+++\npath = \"/a-{{index}}\"\nfor-each = \"others\"\nwhen = '{when}'\n+++\n");
        let source = TemplateSource { file: "t".to_owned(), text };
        let mut problems = Vec::new();
        let set = TemplateSet::compile(vec![source], sources.collect(), Vec::new(), &declared, &mut problems);
        assert_eq!(problems, [], "{when}");
        set.lint(&declared).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    for when in [
        "log == \"low\"",
        "log != \"lwo\"",
        "size == 2 and primary",
        "not primary or spare",
        "spare",
        "spare is none",
        "size is none",
        "peer is none",
        "peer is not none and log == \"normal\"",
        "clustered",
        "alone and not clustered",
        "known",
        "chatty == \"LOW\"",
        "secret == \"hunter3\"",
        // Of these not all that they can be is known.
        "ip == \"never\"",
        "network == \"never\" and not primary and primary",
        "platform.kind == \"never\"",
        "item == \"never\" and index > 5",
        "levels == []",
        "peer == ip is none",
        "hypervisor == \"kvm\"",
    ] {
        assert_eq!(judge(when), "", "{when}");
    }
    for (when, facts) in [
        ("log == \"lwo\"", "`log` must be one of low, normal; `log` is never null"),
        ("log is none", "`log` must be one of low, normal; `log` is never null"),
        ("log == 1", "`log` must be one of low, normal; `log` is never null"),
        ("size == \"1\"", "`size` must be one of 1, 2"),
        ("primary == \"yes\"", "`primary` is true or false; `primary` is never null"),
        ("spare and not spare", "`spare` is true or false"),
        ("ip is none", "`ip` is never null"),
        ("token is none", "`token` is never null"),
        ("others is none and peer is none", "`others` is never null"),
        ("peer is none and peer is not none", ""),
        ("clustered and alone", ""),
        ("not known", "`ip` is never null"),
        ("chatty == \"low\"", "`log` must be one of low, normal; `log` is never null"),
        ("secret == \"letmein\"", "`secret` must be one of the declared values"),
    ] {
        let because = if facts.is_empty() { String::new() } else { format!(" ({facts})") };
        let want = format!(
            "t:4:9: when is never true{because}, so that nothing is ever written; correct it, or take the template away"
        );
        assert_eq!(judge(when), want, "{when}");
    }
    let role = |when: &str| {
        let toml = format!("when = '{when}'");
        let table: BTreeMap<String, toml::Spanned<String>> = values::parse(&toml).expect("TOML");
        let sources = table.into_values().map(|text| ConditionSource::new("u", "a.service", text, &toml, 0));
        let mut problems = Vec::new();
        let set = TemplateSet::compile(Vec::new(), Vec::new(), sources.collect(), &declared, &mut problems);
        assert_eq!(problems, [], "{when}");
        set.lint(&declared).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert_eq!((role("primary"), role("false")), (String::new(), String::new()));
    let want = "u:1:9: when is never true (`ip` is never null); correct it, or leave it out and name the state that there always is";
    assert_eq!(role("ip is none"), want);
    let unfit = judge("primary + 1 == 2");
    assert!(unfit.starts_with("t:4:9: `primary + 1 == 2` cannot be evaluated"), "{unfit}");
}

#[test]
fn a_derived_value_that_lacks_its_braces_is_told_from_text() {
    let judge = |text: &str| {
        let toml = format!("zone = {text:?}\nother = \"{{{{ ip }}}}\"");
        let table: BTreeMap<String, toml::Spanned<String>> = values::parse(&toml).expect("TOML");
        let sources = table.into_iter().map(|(name, value)| DerivedSource::new("d", name, value, &toml, 0));
        let mut problems = Vec::new();
        let set = TemplateSet::compile(Vec::new(), sources.collect(), Vec::new(), &declared(), &mut problems);
        assert_eq!(problems, [], "{text}");
        set.lint(&declared()).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for text in
        ["ip", " other ", "ip | upper", "ip | network(mask=24) | prefix", "log | replace(from='a', to=ip)"]
    {
        let said = judge(text);
        let want = format!(
            "d:1:9: derived `zone` is the text `{0}` itself, and not its value; write {{{{ {0} }}}}",
            text.trim()
        );
        assert!(said.len() == 1 && said[0].starts_with(&want), "{text}: {said:?}");
    }
    for text in [
        "",
        "eth0",
        "an ip",
        "ip/24",
        "{{ ip }}",
        "{{ 'ip' }}",
        "{{ ip }} | upper",
        "{% if primary %}ip | upper{% endif %}",
        "yes | no",
        "ip | other",
        "unknown | upper",
        "upper | lower | trim",
        "show ip | first",
        "'ip'",
        "10.0.0.1 | upper",
        "hypervisor",
    ] {
        assert_eq!(judge(text), Vec::<String>::new(), "{text}");
    }
}

/// The templates in the documentation, and the values that it derives.
#[test]
fn the_documented_templates_are_right() {
    let text = include_str!("../../../docs/templates.md");
    let blocks = |language: &str| {
        let open = format!("```{language}\n");
        let parts: Vec<&str> = text.split(open.as_str()).skip(1).collect();
        parts.into_iter().map(|part| part.split("```").next().unwrap_or_default()).collect::<Vec<_>>()
    };
    let mut declared = Declared::default();
    for (name, kind) in [("ip", "ipv4"), ("peer", "ipv4"), ("mask", "string"), ("primary", "bool")] {
        let declaration: Declaration =
            values::parse(&format!("key = \"{name}\"\ntype = \"{kind}\"")).expect("a declaration");
        declared.insert(name.to_owned(), declaration).expect(name);
    }
    let derived = blocks("toml").join("") + "servers = \"{{ [ip] }}\"\n";
    let table: BTreeMap<String, BTreeMap<String, toml::Spanned<String>>> =
        values::parse(&derived).expect("TOML");
    let derived =
        table.into_values().flatten().map(|(name, value)| DerivedSource::new("d", name, value, &derived, 0));
    let templates: Vec<_> = blocks("tera")
        .into_iter()
        .enumerate()
        .map(|(index, text)| TemplateSource { file: index.to_string(), text: text.to_owned() })
        .collect();
    assert!(templates.len() > 3);
    let mut problems = Vec::new();
    TemplateSet::compile(templates, derived.collect(), Vec::new(), &declared, &mut problems);
    assert_eq!(problems, []);
}

#[test]
fn a_file_is_shown_with_masks_where_only_prints_depend_on_its_secrets() {
    let toml = "pw = { key = 'pw', type = 'string', sensitive = true }\nf = { key = 'f', type = 'bool', sensitive = true }\n\
                l = { key = 'l', type = 'list<string>', sensitive = true }\nip = { key = 'ip', type = 'ip' }";
    let declarations: BTreeMap<String, Declaration> = values::parse(toml).expect("TOML");
    let mut declared = Declared::default();
    for (name, declaration) in declarations {
        declared.insert(name, declaration).expect("sound");
    }
    let derived = BTreeMap::new();
    let scope = super::Scope { declared: &declared, derived: &derived, each: None };
    for (body, want) in [
        ("{{ pw }} {{ ip }}{% if ip %}a{% endif %}", true),
        ("{{ pw | json }} {{ pw | default(value='x') }}", true),
        ("{% if pw %}{{ pw }}{% endif %}{% if pw is not none %}a{% endif %}", true),
        ("{% for x in l %}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}{% if l %}a{% endif %}", true),
        ("{% if f %}y{% else %}n{% endif %}", false),
        ("{% if pw == 'x' %}y{% endif %}", false),
        ("{% if pw and ip %}y{% endif %}", false),
        ("{{ pw | length }}", false),
        ("{{ pw | upper | json }}", false),
        ("{{ pw ~ ip }}", false),
        ("{% set x = pw %}{{ x }}", false),
        ("{% for x in l %}{% if x == 'a' %}y{% endif %}{% endfor %}", false),
        ("{% for x in l | split(by=',') %}{% endfor %}", false),
    ] {
        assert_eq!(super::secrecy::can_be_masked(body, scope), want, "{body}");
    }
}
