use super::{Escape, FrontMatter};

#[test]
fn a_template_is_front_matter_and_a_body() {
    let text = "+++\npath = \"/etc/a\"\nmode = \"0640\"\nowner = \"db\"\nescape = \"ini\"\n+++\nline\n+++\n";
    let (front, lines, body) = FrontMatter::split("f", text).expect("right");
    assert_eq!((front.path.written(), front.mode), ("/etc/a", 0o640));
    assert_eq!((front.owner.as_deref(), front.group.as_deref()), (Some("db"), None));
    assert_eq!((front.escape, lines, body), (Escape::Ini, 6, "line\n+++\n"));
    let (front, _, body) = FrontMatter::split("f", "+++\r\npath = \"/a\"\r\n+++").expect("right");
    assert_eq!((front.mode, front.escape, body), (0o644, Escape::None, ""));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, want) in [
        ("", "f:1:1: a template begins with front matter; make the first line `+++`"),
        ("x\n+++\n", "f:1:1: a template begins with front matter; make the first line `+++`"),
        ("+++\npath = \"/a\"\n", "f:2:1: the front matter has no end; close it with a line `+++`"),
        ("+++\n+++\n", "f:1:1: the front matter has no path; add path = \"/etc/...\""),
        ("+++\npath = \"a\"\n+++\n", "f:2:8: path = \"a\" must be absolute and name a file"),
        ("+++\npath = \"/a/\"\n+++\n", "f:2:8: path = \"/a/\" must be absolute and name a file"),
        (
            "+++\npath = \"/a\"\nmode = \"4755\"\n+++\n",
            "f:3:8: mode = \"4755\" must be four octal digits up to \"0777\"",
        ),
        (
            "+++\npath = \"/a\"\nmode = \"0o64\"\n+++\n",
            "f:3:8: mode = \"0o64\" must be four octal digits up to \"0777\"",
        ),
        (
            "\u{feff}+++\npath = \"/a\"\n+++\n",
            "f:1:1: the file begins with a byte order mark; save it as UTF-8 without one",
        ),
        (
            "+++\npath = \"/a\"\nmode = 0640\n+++\n",
            "f:3:8: a number does not begin with 0; write text between quotes",
        ),
        (
            "+++\npath = \"/a\"\nowner = \"\"\n+++\n",
            "f:3:9: owner = \"\" is no name; owner and group are one name each",
        ),
    ] {
        let problems = FrontMatter::split("f", text).expect_err(text);
        assert_eq!(problems[0].to_string(), want, "{text:?}");
    }
}

#[test]
fn an_unknown_key_is_refused_at_its_line() {
    let problems = FrontMatter::split("f", "+++\npath = \"/a\"\nmodus = \"0644\"\n+++\n").expect_err("modus");
    let shown = problems[0].to_string();
    assert!(shown.starts_with("f:3:1: unknown field `modus`"), "{shown}");
    assert!(shown.ends_with("; did you mean `mode`?"), "{shown}");
}

#[test]
fn rules_are_read() {
    let text = "+++
path = \"/a{index}\"
when = \"a and b\"
absent = \"keep\"
for-each = \"adapters\"
check = [\"/bin/check\", \"-f\", \"{}\"]
verify = [\"/bin/verify\"]
restart = [\"a.service\", \"b@1.timer\"]
reload = [\"c.service\"]
on-change = [[\"/bin/a\", \"b\"], [\"/bin/c\"]]
keep-edits = true
once = true
+++
";
    let (front, ..) = FrontMatter::split("f", text).expect("right");
    let rules = front.rules;
    assert_eq!(rules.check.expect("check"), ["/bin/check", "-f", "{}"]);
    assert_eq!(rules.verify.expect("verify"), ["/bin/verify"]);
    assert_eq!(
        (rules.restart, rules.reload),
        (vec!["a.service".into(), "b@1.timer".into()], vec!["c.service".into()])
    );
    assert_eq!(rules.on_change, [vec!["/bin/a", "b"], vec!["/bin/c"]]);
    assert!(rules.keep_edits && rules.once && rules.keep_absent);
    let (when, origin) = front.when.expect("when");
    assert_eq!((when.as_str(), origin.at.line, origin.at.column, origin.exact), ("a and b", 3, 9, true));
    assert_eq!(front.for_each.expect("for-each").0, "adapters");
}

#[test]
fn rules_that_cannot_be_meant_are_refused() {
    for (line, want) in [
        ("check = []", "f:3:9: check names no program; write [\"/usr/bin/...\", ...]"),
        (
            "check = [\"/bin/a\"]",
            "f:3:9: check needs the word \"{}\" once, which becomes the path of the staged file",
        ),
        (
            "check = [\"/bin/a\", \"{}\", \"{}\"]",
            "f:3:9: check needs the word \"{}\" once, which becomes the path of the staged file",
        ),
        ("check = [\"/bin/a\", \"--file={}\"]", "f:3:20: `--file={}`: {} must be a word of its own"),
        (
            "check = [\"a\", \"{}\"]",
            "f:3:10: `a` must be the program's absolute path; nothing is looked up in PATH",
        ),
        ("verify = [\"/bin/a\", \"{}\"]", "f:3:21: {} is for check alone; verify looks at what is in place"),
        ("on-change = [[]]", "f:3:14: on-change names no program; write [\"/usr/bin/...\", ...]"),
        ("restart = [\"mydb\"]", "f:3:12: `mydb` is no unit; it needs its ending, as in `mydb.service`"),
        ("restart = [\"a b.service\"]", "f:3:12: `a b.service` is no name of a unit"),
        (
            "reload = [\"a@.service\"]",
            "f:3:11: `a@.service` is no unit but a template of units; name an instance",
        ),
        (
            "restart = [\"a.service\"]\nreload = [\"a.service\"]",
            "f:4:11: `a.service` is restarted already; it can be only one of these",
        ),
        (
            "absent = \"keep\"",
            "f:3:10: absent needs a when or a for-each; without them there always is a file",
        ),
        ("on_change = []", "f:3:1: unknown field `on_change`"),
        ("keep-edits = \"yes\"", "f:3:14: invalid type: string"),
    ] {
        let text = format!("+++\npath = \"/a\"\n{line}\n+++\n");
        let problems = FrontMatter::split("f", &text).expect_err(line);
        assert!(problems[0].to_string().starts_with(want), "{line}: {}", problems[0]);
    }
}
