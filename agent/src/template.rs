//! Templates: one file in, one file out.
//!
//! Decides what a template file is (TOML front matter between `+++` lines, then a Tera body), which names it may
//! use, and what is wrong with it before any environment is seen. Rendering is in [`render`]; where the result goes is
//! decided by `plan` and `apply`.

#![forbid(unsafe_code)]

mod context;
mod escape;
mod filters;
mod front_matter;
mod render;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use context::{MASK, Surroundings};
pub use front_matter::Escape;
pub use render::{Absent, Output, Rendered, Rules, Shown};

use crate::parameters::Declared;
use crate::problem::{At, Problem};
use front_matter::FrontMatter;
use scan::{Tag, TagKind, Use};

/// A template file as it was read.
#[derive(Debug)]
pub struct TemplateSource {
    /// Its name below the configuration directory: `templates/mydb.conf.tera`.
    pub file: String,
    /// All of it.
    pub text: String,
}

/// All templates of an appliance, compiled.
#[derive(Debug)]
pub struct TemplateSet {
    engine: tera::Tera,
    templates: Vec<Template>,
}

/// One template that passed all checks.
#[derive(Debug)]
struct Template {
    file: String,
    path: PathBuf,
    mode: u32,
    owner: Option<String>,
    group: Option<String>,
    /// Every variable that is read, in any branch.
    names: BTreeSet<String>,
    sensitive: bool,
    body: scan::Body,
}

/// What templates know besides parameters.
const SURROUNDINGS: [(&str, Shape); 4] = [
    ("platform", Shape::Fields(&["kind", "version", "vendor", "locale", "timezone"])),
    ("hypervisor", Shape::Text),
    ("environment", Shape::Fields(&["id"])),
    ("adapters", Shape::List),
];

/// What one of the surroundings is.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    /// A map with these fields, each of them text or a number.
    Fields(&'static [&'static str]),
    List,
}

/// What a template may do besides printing. `include`, `extends`, `block` and components are left out: one file is
/// one template, so that what is seen is what is written. `filter` is left out because it would print past the escapes.
const STATEMENTS: [&str; 12] = [
    "if",
    "elif",
    "else",
    "endif",
    "for",
    "endfor",
    "break",
    "continue",
    "set",
    "endset",
    "set_global",
    "endset_global",
];

/// Problems of one template that are said; whoever has more mends these first.
const MOST_PROBLEMS: usize = 50;

impl TemplateSet {
    /// Compiles templates, adding what is wrong with them to `problems`; the set holds those that are right.
    pub fn compile(sources: Vec<TemplateSource>, declared: &Declared, problems: &mut Vec<Problem>) -> Self {
        let checked = sources.into_iter().filter_map(|source| Template::check(source, declared, problems));
        let mut set = Self { engine: render::engine(), templates: checked.collect() };
        set.add_to_engine(problems);
        let mut paths = BTreeMap::new();
        for template in &set.templates {
            if let Some(first) = paths.insert(&template.path, &template.file) {
                let message = format!(
                    "writes {}, and so does {first}; one file has one template",
                    template.path.display()
                );
                problems.push(Problem::with(&template.file, message));
            }
        }
        set
    }

    /// Which template writes which file.
    pub fn paths(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.templates.iter().map(|template| (template.file.as_str(), template.path.as_path()))
    }

    /// How many templates there are.
    pub fn len(&self) -> usize {
        self.templates.len()
    }

    /// Whether there is no template.
    pub fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }

    /// Tera's own view, for what ours may have missed: every template must compile, and read no name that we did not
    /// see. All are added at once, because each addition makes Tera look at all the others again.
    fn add_to_engine(&mut self, problems: &mut Vec<Problem>) {
        let body = |template: &Template| (template.file.clone(), template.body.rewritten.clone());
        if self.engine.add_raw_templates(self.templates.iter().map(body)).is_err() {
            // Which of them it is, and where.
            for template in &self.templates {
                if let Err(error) =
                    render::engine().add_raw_template(&template.file, &template.body.rewritten)
                {
                    problems.push(render::compile_problem(&template.file, &template.body, &error));
                }
            }
            self.templates.clear();
        }
        let engine = &self.engine;
        self.templates.retain(|Template { file, names, body, .. }| {
            let seen = engine.get_template_variables(file).unwrap_or_default();
            let before = problems.len();
            for name in seen.into_iter().filter(|name| !names.contains(*name)) {
                let message = match name {
                    "loop" => "`loop` is known inside of a {% for %} alone".to_owned(),
                    _ => format!("`{name}` is not declared in [parameters] of agent.toml"),
                };
                problems.push(Problem { file: file.clone(), at: body.find(name), message });
            }
            problems.len() == before
        });
    }
}

impl Template {
    /// Reads a template file and checks it by our own rules; `None` where one is broken.
    fn check(source: TemplateSource, declared: &Declared, problems: &mut Vec<Problem>) -> Option<Self> {
        let TemplateSource { file, text } = source;
        let (front, line_offset, body) = match FrontMatter::split(&file, &text) {
            Ok(parts) => parts,
            Err(found) => {
                problems.extend(found);
                return None;
            }
        };
        let before = problems.len();
        let mut complain = |byte, message: String| {
            if problems.len() == before + MOST_PROBLEMS {
                problems.push(Problem::with(&file, "has more problems; these are the first"));
            }
            if problems.len() > before + MOST_PROBLEMS {
                return;
            }
            let at = At::of(body, byte);
            problems.push(Problem::at(&file, At { line: at.line + line_offset, ..at }, message));
        };
        let tags = match scan::tags(body) {
            Ok(tags) => tags,
            Err((byte, message)) => {
                complain(byte, message.to_owned());
                return None;
            }
        };
        check_language(&tags, &mut complain);
        check_names(&tags, declared, &mut complain);
        let names: BTreeSet<String> =
            uses(&tags).filter(Use::is_variable).map(|found| found.name.to_owned()).collect();
        let sensitive = names.iter().any(|name| declared.is_sensitive(name));
        if sensitive && front.mode & 0o007 != 0 {
            let message = format!(
                "uses a sensitive parameter, but mode = \"{:04o}\" lets everybody read the file; take the last digit \
                 away, as in \"0640\"",
                front.mode
            );
            complain(0, message);
        }
        if problems.len() != before {
            return None;
        }
        let body = scan::Body::rewrite(body, line_offset, &tags, front.escape.print_function());
        let FrontMatter { path, mode, owner, group, .. } = front;
        Some(Self { file, path, mode, owner, group, names, sensitive, body })
    }
}

fn uses<'a>(tags: &'a [Tag<'a>]) -> impl Iterator<Item = Use<'a>> {
    tags.iter().flat_map(Tag::uses)
}

/// Statements, functions and filters that templates may use.
fn check_language(tags: &[Tag<'_>], complain: &mut impl FnMut(usize, String)) {
    for tag in tags.iter().filter(|tag| tag.kind == TagKind::Statement) {
        let (at, word) = tag.keyword();
        if !STATEMENTS.contains(&word) {
            complain(
                at,
                format!("`{{% {word} %}}` cannot be used; there are if, elif, else, for, set and raw"),
            );
        }
    }
    check_blocks(tags, complain);
    for tag in tags.iter().filter(|tag| tag.kind == TagKind::Print && tag.is_empty()) {
        complain(tag.inside.start, "`{{ }}` is empty; name what it prints".to_owned());
    }
    for (tag, found) in tags.iter().flat_map(|tag| tag.uses().map(move |found| (tag, found))) {
        let Use { at, name, .. } = found;
        let wrong = if found.is_filter() {
            filters::misuse("filter", &filters::KNOWN, name, &tag.arguments(at))
        } else if found.is_function() {
            filters::misuse("function", &filters::FUNCTIONS, name, &tag.arguments(at))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            complain(at, wrong);
        }
    }
}

/// Every block is closed, by its own end.
fn check_blocks(tags: &[Tag<'_>], complain: &mut impl FnMut(usize, String)) {
    let mut open: Vec<(usize, &str)> = Vec::new();
    for tag in tags.iter().filter(|tag| tag.kind == TagKind::Statement) {
        let (at, word) = tag.keyword();
        match word {
            "if" | "for" => open.push((at, word)),
            // `{% set a = b %}` is complete in itself.
            "set" | "set_global" if !tag.assigns() => open.push((at, word)),
            "endif" | "endfor" | "endset" | "endset_global" => match open.pop() {
                Some((_, opened)) if word.strip_prefix("end") == Some(opened) => {}
                Some((_, opened)) => {
                    return complain(at, format!("`{{% {word} %}}` where `{{% end{opened} %}}` is due"));
                }
                None => return complain(at, format!("`{{% {word} %}}` closes nothing")),
            },
            _ => {}
        }
    }
    for (at, word) in open {
        complain(at, format!("`{{% {word} %}}` is never closed; add `{{% end{word} %}}`"));
    }
}

/// Every name, also in branches that are not taken, is a parameter, a part of the surroundings, or made in the template.
fn check_names(tags: &[Tag<'_>], declared: &Declared, complain: &mut impl FnMut(usize, String)) {
    let made: BTreeSet<&str> = tags.iter().flat_map(Tag::made_names).collect();
    for found in uses(tags).filter(Use::is_variable) {
        let Use { at, name, field, deeper, .. } = found;
        if made.contains(name) && !name.starts_with("__") {
            continue;
        }
        if let Some((_, shape)) = SURROUNDINGS.iter().find(|(known, _)| *known == name) {
            match (shape, field) {
                (Shape::Text | Shape::List, None) => {}
                (Shape::Text, Some(_)) => complain(at, format!("`{name}` is plain text and has no fields")),
                (Shape::List, Some(_)) => {
                    complain(
                        at,
                        format!("`{name}` is a list; write {{% for x in {name} %}} and use x's fields"),
                    );
                }
                (Shape::Fields(fields), Some(field)) if fields.contains(&field) => {
                    if deeper {
                        complain(at, format!("`{name}.{field}` is plain text and has no fields"));
                    }
                }
                (Shape::Fields(fields), _) => {
                    complain(at, format!("`{name}` has the fields {}; write one of them", fields.join(", ")));
                }
            }
        } else if !declared.contains(name) {
            let known: Vec<&str> = declared.names().collect();
            let near =
                nearest(name, &known).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            complain(at, format!("`{name}` is not declared in [parameters] of agent.toml{near}"));
        }
    }
}

/// The known name that differs from `name` by at most two letters, and by no more than half of them, if there is one.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|k| (distance(name, k), *k))
        .min()
        .filter(|(d, _)| *d <= 2.min(name.len().div_ceil(2)))
        .map(|(_, k)| k)
}

/// Levenshtein's distance, in bytes; names are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let substituted = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = substituted.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{TemplateSet, TemplateSource, distance};
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
        let source =
            TemplateSource { file: "t".to_owned(), text: format!("+++\npath = \"/a\"\n+++\n{body}") };
        let mut problems = Vec::new();
        let set = TemplateSet::compile(vec![source], &declared(), &mut problems);
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

    #[test]
    fn what_templates_mean_by_a_word_is_no_parameters_name() {
        let known = super::SURROUNDINGS.iter().map(|(name, _)| name).chain(&super::scan::KEYWORDS);
        for word in known.filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) {
            assert!(crate::parameters::RESERVED.contains(word), "{word}");
        }
    }

    #[test]
    fn names_that_are_near_are_offered() {
        for (a, b, want) in
            [("log", "log", 0), ("lgo", "log", 2), ("ip", "ips", 1), ("", "abc", 3), ("abc", "", 3)]
        {
            assert_eq!(distance(a, b), want, "{a} {b}");
        }
    }
}
