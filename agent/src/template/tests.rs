use std::collections::BTreeMap;

use super::{DerivedSource, TemplateSet, TemplateSource};
use crate::parameters::{Declaration, Declared};

fn declared() -> Declared {
    let mut declared = Declared::default();
    for (name, kind) in [("ip", "ipv4"), ("log", "string"), ("primary", "bool")] {
        let declaration: Declaration =
            toml::from_str(&format!("key = \"{name}\"\ntype = \"{kind}\"")).expect("a declaration");
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
        ("{{ log | upper(all=true) }}", "t:4:10: filter `upper` has no argument `all`"),
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
            toml::from_str(&format!("key = \"{name}\"\ntype = \"{kind}\"")).expect("a declaration");
        declared.insert(name.to_owned(), declaration).expect(name);
    }
    let derived = blocks("toml").join("") + "servers = \"{{ [ip] }}\"\n";
    let table: BTreeMap<String, BTreeMap<String, toml::Spanned<String>>> =
        toml::from_str(&derived).expect("TOML");
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
