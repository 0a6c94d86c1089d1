use super::{Printed, check};
use crate::template::front_matter::Escape;
use crate::template::scan::{Tag, pieces};

/// What is said of a body, each as the text from the complaint's position on, and what it says.
fn said(escape: Escape, body: &str) -> Vec<String> {
    let pieces = pieces(body).expect(body);
    let printed = |tag: &Tag<'_>| match tag.last_filter() {
        Some("safe") => Printed::Safe,
        Some("json") => Printed::Whole,
        _ => Printed::Text,
    };
    let mut said = Vec::new();
    check(body, &pieces, escape, printed, &mut |at, message| said.push(format!("{at} {message}")));
    said
}

#[test]
fn prints_stand_where_their_format_takes_them() {
    use Escape::{Ini, Json, None, Shell, Xml, Yaml};
    for (escape, body) in [
        (None, "\"{{ x }}\" '{{ x }}' {{ x }}"),
        (Json, r#"{"a": "{{ x }}", "b\"": "\\{{ x }}", "c": {{ x | json }}, "d": {{ x | safe }}}"#),
        (Json, r#"["{% for x in xs %}{{ x }}{% if not loop.last %}", "{% endif %}{% endfor %}"]"#),
        (Json, r#"{"a": {% if x %}"{{ x }}"{% else %}null{% endif %}}"#),
        (Json, r#"{% for x in xs %}{% if x %}{% continue %}{% endif %}"{{ x }}"{% endfor %}"#),
        (Json, r#"{% set t %}"{{ x }}"{% endset %}{{ t | json }}"#),
        (Json, r#"{# " #}"{{ x }}""#),
        (Json, r#"{% raw %}"{% endraw %}{{ x }}""#),
        (Yaml, "a: \"{{ x }}\"\nb: {{ x | json }}\nc: it's\nd: \"{{ x }}\"\n"),
        (
            Yaml,
            "- \"{{ x }}\" # {{ x }}\n- [\"{{ x }}\", {{ x | json }}]\n- {a: \"{{ x }}\", \"{{ x }}\": 1}\n",
        ),
        (Yaml, "a: !str \"{{ x }}\"\nb: &c \"{{ x }}\"\n? \"{{ x }}\"\n: \"{{ x }}\"\n- - \"{{ x }}\"\n"),
        (Yaml, "a: |\n  it's \"a\n  block\nb: \"{{ x }}\"\n"),
        (Yaml, "x:\n  a: >-\n    don't\n\n    \"stop\n  b: \"{{ x }}\"\n"),
        (Yaml, "- a: |\n    \"\n  b: \"{{ x }}\"\n- |\n \"\n- \"{{ x }}\"\n"),
        (Yaml, "a: 'it''s'\nb: \"{{ x }}\"\n"),
        (Yaml, "a: b#c\"d\ne: \"{{ x }}\"\n# it's\nf: \"{{ x }}\"\n"),
        (Yaml, "[{% for x in xs %}\"{{ x }}\"{% if not loop.last %}, {% endif %}{% endfor %}]\n"),
        (Yaml, "{% if a %}b: \"{{ x }}\"\n{% endif %}c: \"{{ x }}\"\n"),
        (
            Xml,
            "<?xml version=\"1.0\"?><!-- it's --><a b=\"{{ x }}\" c='{{ x }}'>it's {{ x }}<d e='\">'/>{{ x }}</a>",
        ),
        (Xml, "<![CDATA[ <a b=\" ]]>{{ x }}<!DOCTYPE a>{{ x }}"),
        (Xml, "<a{% if x %} b=\"{{ x }}\"{% endif %}/>"),
        (Shell, "X={{ x }}\nif [ {{ x }} = 'a b' ]; then echo \"it's\" {{ x }}; fi\n"),
        (Shell, "# it's {{ x }}\nX=a#'b'\nY={{ x }}\n"),
        (Shell, "X=$(echo {{ x }})\nX=\"$(echo {{ x }} \"a b\")\"\n(cd {{ x }})\n"),
        (
            Shell,
            "cat <<EOF\nit's\n EOF\nEOF\nX={{ x }}\ncat <<-'A' <<\"B\"\n'\n\tA\n\"\nB\nX={{ x }}\ncat <<<a\nX={{ x }}",
        ),
        (Shell, "X=$((1<<2)) Y={{ x }}; (( a << b )); Z={{ x }} \\' {{ x }}"),
        (Shell, "X=${a:-'b}'} {{ x }} \"${a#\\}}\" {{ x }} $'it\\'s' {{ x }}"),
        (Ini, "a = {{ x }}\n# it's \"{{ x }}\n[it's]\nb = \"a\" {{ x }}\nc = a\"b\nd = {{ x }}"),
        (Ini, "{{ x | safe }}\n"),
        (Ini, "# a{%- if a %}\nb = {{ x }}\n{%- endif %}\nc = {{ x }}\n"),
        (Yaml, "# a{%- if a %}\nb: \"{{ x }}\"\n{%- endif %}\nc: \"{{ x }}\"\n"),
        (Shell, "# a{%- if a %}\nb={{ x }}\n{%- endif %}\nc={{ x }}\n"),
    ] {
        assert_eq!(said(escape, body), Vec::<String>::new(), "{escape:?} {body}");
    }
}

#[test]
fn a_print_that_stands_elsewhere_is_refused_where_it_stands() {
    use Escape::{Ini, Json, Shell, Xml, Yaml};
    for (escape, body, want) in [
        (Json, r#"{"a": {{ x }}}"#, "9 `{{ x }}` stands outside of quotes"),
        (Json, r#"{"a": "{{ x | json }}"}"#, "10 `{{ x | json }}` prints a whole literal"),
        (Json, r#""\{{ x }}""#, "5 `{{ x }}` stands behind a backslash"),
        (Json, r#"{% if a %}"{% endif %}{{ x }}"#, "3 the branches of this {% if %} end at different sides"),
        (Json, r#"{% for a in b %}"{% endfor %}"#, "3 this {% for %} begins and ends at different sides"),
        (
            Json,
            r#"{% for a in b %}"{% if a %}{% break %}{% endif %}"{% endfor %}"#,
            "3 this {% for %} begins",
        ),
        (Json, r#"{% set a %}"{% endset %}"#, "3 this {% set %} begins and ends at different sides"),
        (Json, r#"["{{ y }}", "{{ x }}]"#, "16 the file ends inside of quotes that nothing closes"),
        (Json, r#"{{ y | json }}, "a\""#, "3 the file ends inside of quotes"),
        (Xml, "<a b=\"{{ x }}>c</a>", "9 the file ends inside of quotes"),
        (Yaml, "a: {{ x }}", "6 `{{ x }}` stands outside of quotes"),
        (Yaml, "a: b{{ x | json }}", "7 `{{ x | json }}` prints a whole literal, and stands in the middle"),
        (Yaml, "a: \"{{ x | json }}\"", "7 `{{ x | json }}` prints a whole literal, and stands between"),
        (Yaml, "a: '{{ x }}'", "7 `{{ x }}` stands in single quotes"),
        (Yaml, "a: don't \"{{ x }}\"", "13 `{{ x }}` stands outside of quotes"),
        (Yaml, "a: |\n  \"{{ x }}\"", "11 `{{ x }}` stands in a block scalar"),
        (Yaml, "a:\n  - b: >\n      \"{{ x }}\"", "22 `{{ x }}` stands in a block scalar"),
        (Yaml, "\"{{ x }}\": \"\\{{ x }}\"", "16 `{{ x }}` stands behind a backslash"),
        (Xml, "<a {{ x }}=\"b\">", "6 `{{ x }}` stands in a tag"),
        (Xml, "<a b={{ x }}>", "8 `{{ x }}` stands in a tag"),
        (Xml, "<!-- \"{{ x }}\" -->", "9 `{{ x }}` stands in a comment"),
        (Xml, "<![CDATA[{{ x }}]]>", "12 `{{ x }}` stands in a CDATA section"),
        (Xml, "<?a \"{{ x }}\"?>", "8 `{{ x }}` stands in an instruction"),
        (Xml, "{% if a %}<b c=\"{% endif %}\">", "3 the branches of this {% if %} end"),
        (Shell, "X='{{ x }}'", "6 `{{ x }}` stands inside of quotes"),
        (Shell, "X=\"a {{ x }}\"", "8 `{{ x }}` stands inside of quotes"),
        (Shell, "X=\"$(echo \"{{ x }}\")\"", "14 `{{ x }}` stands inside of quotes"),
        (Shell, "X=$'{{ x }}'", "7 `{{ x }}` stands inside of quotes"),
        (Shell, "X=`echo {{ x }}`", "11 `{{ x }}` stands between backquotes"),
        (Shell, "X=${a:-{{ x }}}", "10 `{{ x }}` stands in ${ }"),
        (Shell, "X=$(( {{ x }} ))", "9 `{{ x }}` stands in an arithmetic"),
        (Shell, "cat <<E\n{{ x }}\nE\n", "11 `{{ x }}` stands in a here-document"),
        (Shell, "X=\\{{ x }}", "6 `{{ x }}` stands behind a backslash"),
        (Shell, "a=b'\nX={{ x }}", "10 `{{ x }}` stands inside of quotes"),
        (Ini, "# a{%- if a %}\nb={% endif %}{{ x }}\n", "31 `{{ x }}` stands behind a comment"),
        (Yaml, "# a{%- if a %}\nb: {% endif %}\"{{ x }}\"\n", "33 `{{ x }}` stands behind a comment"),
        (Shell, "# a{%- if a %}\nb={% endif %}{{ x }}\n", "31 `{{ x }}` stands behind a comment"),
        (Ini, "{{ x }}\n", "3 `{{ x }}` begins its line"),
        (Ini, "[a {{ x }}]\n", "6 `{{ x }}` stands in the name of a section"),
        (Ini, "a =\n  {{ x }}\n", "9 `{{ x }}` begins its line"),
        (Ini, "a = \"{{ x }}\"", "8 `{{ x }}` stands inside of quotes"),
    ] {
        let said = said(escape, body);
        assert!(said.first().is_some_and(|said| said.starts_with(want)), "{escape:?} {body}: {said:?}");
    }
}
