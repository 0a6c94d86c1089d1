//! Templates that would make more than there is room or time for, with values that are allowed.

use std::collections::BTreeMap;

use crate::config::values;
use crate::environment::{Environment, Value};
use crate::interfaces::Interfaces;
use crate::parameters::{Declaration, Declared, Generated};
use crate::template::{DerivedSource, Surroundings, TemplateSet, TemplateSource};

/// What rendering these texts, and a derived value, comes to: the length of all files, or what is wrong.
fn render(bodies: &[&str], derived: &str, front: &str) -> Result<usize, String> {
    let mut declared = Declared::default();
    for (name, kind) in [("names", "list<string>"), ("text", "string"), ("n", "int")] {
        let declaration: Declaration =
            values::parse(&format!("key = \"{name}\"\ntype = \"{kind}\"")).expect("a declaration");
        declared.insert(name.to_owned(), declaration).expect(name);
    }
    let names: Vec<String> = (0..10_000).map(|number| format!("n{number}")).collect();
    let properties = [("names", names.join(",")), ("text", "x".repeat(700_000)), ("n", "100000".to_owned())];
    let properties = properties.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
    let environment = Environment { properties, ..Environment::default() };
    let (parameters, _) = declared.evaluate(Some(&environment), &Generated::default()).expect("values");
    let toml = format!("d = {derived:?}");
    let table: BTreeMap<String, toml::Spanned<String>> = values::parse(&toml).expect("TOML");
    let sources = table.into_iter().map(|(name, value)| DerivedSource::new("d", name, value, &toml, 0));
    let templates = bodies.iter().enumerate().map(|(index, body)| TemplateSource {
        file: format!("t{index}"),
        text: format!("+++\npath = \"/{index}{front}\n+++\n{body}"),
    });
    let mut problems = Vec::new();
    let set =
        TemplateSet::compile(templates.collect(), sources.collect(), Vec::new(), &declared, &mut problems);
    assert_eq!(problems, [], "{bodies:?}");
    let surroundings = Surroundings {
        platform: &environment.platform,
        hypervisor: "none",
        environment_id: "",
        adapters: &[],
        interfaces: &Interfaces::default(),
    };
    let output = set.render(&declared, &parameters, surroundings).map_err(|problems| problems.to_string())?;
    Ok(output.files.iter().map(|file| file.content.len()).sum())
}

const STEPS: &str = "1,000,000 steps";

#[test]
fn what_values_make_long_ends_at_a_limit() {
    for (body, place) in [
        ("{% for a in names %}{% for b in names %}{{ b }}{% endfor %}{% endfor %}", "t0:4:"),
        ("{% for a in names %}{% for b in names %}{% endfor %}{% endfor %}", "t0:4:33: `for b in names`"),
        (
            "{% for a in range(end=n) %}{% for b in range(end=n) %}{% endfor %}{% endfor %}",
            "t0:4:40: `for b in range(end=n)`",
        ),
        ("{% for a in names %}{{ [a for a in names] | length }}{% endfor %}", "t0:4:36: "),
        ("{% for a in names %}{{ range(end=n) | length }}{% endfor %}", "t0:4:24: "),
        ("{% set l = [1, 2] %}{% for a in names %}{% set_global l = [...l, ...l] %}{% endfor %}", "t0:4:"),
        ("{% set s = text %}{% for a in names %}{% set_global s = s ~ s %}{% endfor %}", "t0:4:"),
        (
            "{% set s = text %}{% for a in names %}{% set_global s = s | replace(from=\"x\", to=\"yy\") %}{% endfor %}",
            "t0:4:",
        ),
        ("{{ text | replace(from=\"x\", to=text) }}", "t0:4:11: "),
        ("{{ names | join(sep=text) }}", "t0:4:12: "),
        ("{% for a in names %}{% if \"z\" in names or text is none %}{% endif %}{% endfor %}", "t0:4:34: "),
        ("{% for a in names %}{{ text | length }}{% endfor %}", "t0:4:31: "),
        (
            "{% for a in range(end=260000, step_by=3) %}{% for b in range(end=2) %}{% endfor %}{% endfor %}\
             {% set a = \"x\" | sha512_crypt(salt=\"saltsalt\", rounds=1000000) %}",
            "t0:4:",
        ),
        (
            "{% set t %}{% for a in names %}{% for b in range(end=90) %}0123456789012345678901234567890123456789012345678901234567890123456789{% endfor %}{% endfor %}{% endset %}",
            "t0:4:44: ",
        ),
    ] {
        let said = render(&[body], "", "\"").expect_err(body);
        assert!(said.starts_with(place) && said.contains(STEPS), "{body}: {said}");
    }
}

#[test]
fn text_ends_at_a_limit_of_its_own() {
    let literal = format!("{{% for a in names %}}{}{{% endfor %}}", "0123456789abcdef\n".repeat(60));
    let want = "t0:4:1: the text becomes longer than 16 MiB, the most that it may";
    // 10.2 MB, and 10.2 MB more.
    assert_eq!(render(&[&literal], "", "\""), Ok(10_200_000));
    let said = render(&[&literal.repeat(2)], "", "\"").expect_err("too long");
    assert!(said.starts_with(want), "{said}");
    let said = render(&[literal.as_str(); 7], "", "\"").expect_err("too long together");
    assert!(said.starts_with("t6:4:1: the texts of a pass become longer than 64 MiB together"), "{said}");
    // The failure of one pass is nothing to the next.
    assert_eq!(render(&[&literal], "", "\""), Ok(10_200_000));
}

#[test]
fn a_derived_value_ends_at_a_limit_of_its_own() {
    assert_eq!(render(&["{{ d | length }}"], "{{ text }}", "\""), Ok(6));
    let said = render(&["{{ d | length }}"], "{{ text }}{{ text }}", "\"").expect_err("too long");
    assert!(said.starts_with("d:1:6: the text becomes longer than 1 MiB, the most that it may"), "{said}");
}

#[test]
fn all_files_of_a_pass_count_together() {
    let front = "{index}\"\nfor-each = \"names\"";
    assert_eq!(render(&["{{ item }}"], "", front), Ok(48_890));
    let said = render(&["{% for a in range(end=300) %}{% endfor %}"], "", front).expect_err("too many");
    assert!(said.starts_with("t0:5:13: ") && said.contains("4,000,000 steps"), "{said}");
}

#[test]
fn what_is_usual_is_far_from_any_limit() {
    for body in [
        "{% for a in names %}{{ a | upper }} {{ \"x\" ~ a }} {{ loop.index }}{% if a in [\"n1\", \"n2\"] %}y{% endif %}{% endfor %}",
        "{% set l = [l for l in names if l is ending_with(pat=\"7\")] %}{{ l | length }}",
        "{{ [...names, \"a\"] | join(sep=\" \") }}{{ names | json }}{{ \"n77\" in names }}",
        "{{ range(end=100000) | length }}{{ range(end=-1) | length }}{{ range(end=0, start=5, step_by=-2) | json }}",
    ] {
        assert!(render(&[&format!("x = {body}")], "", "\"\nescape = \"ini\"").is_ok(), "{body}");
    }
}

#[test]
fn the_sentences_have_the_limits() {
    let said = |number: usize| {
        let digits = number.to_string();
        format!("{},{},{}", &digits[..1], &digits[1..4], &digits[4..])
    };
    assert!(super::Refusal::STEPS.sentence().contains(&said(super::STEPS)));
    assert!(super::Refusal::PASS_STEPS.sentence().contains(&said(super::PASS_STEPS)));
}
