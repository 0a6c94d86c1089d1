//! Templates: one file in, one file out, or one for each element of a list.
//!
//! Decides what a template file is (TOML front matter between `+++` lines, then a Tera body), which of its parts go
//! together, and what is wrong with it before any environment is seen. Rendering is in [`render`]; where the result goes
//! is decided by `plan` and `apply`.

#![forbid(unsafe_code)]

mod body;
mod condition;
mod context;
mod derived;
mod escape;
mod filters;
mod front_matter;
mod kinds;
mod meter;
mod names;
mod path;
mod quotes;
mod reach;
mod refusal;
mod render;
mod rules;
mod scan;
mod secrecy;
mod trace;
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use condition::ConditionSource;
pub use context::{MASK, Surroundings, feed};
pub use derived::{DerivedSource, DerivedValues};
pub(crate) use filters::base64_decode;
pub use front_matter::Escape;
pub(crate) use names::nearest;
pub use render::{Absent, Output, Rendered, Rules, Shown};
pub use rules::{Need, Needed};
pub(crate) use rules::{program, unit_objection};
pub use trace::{Explained, Line, Part};

use crate::parameters::Declared;
use crate::problem::{At, Problem};
use body::Origin;
use condition::Condition;
use derived::Derivations;
use escape::Print;
use front_matter::FrontMatter;
use names::Scope;
use path::Target;
use quotes::Printed;
use scan::Tag;
use unit::Unit;

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
    derived: Derivations,
    templates: Vec<Template>,
    conditions: Vec<Condition>,
}

/// One template that passed all checks.
#[derive(Debug)]
struct Template {
    file: String,
    path: Target,
    path_at: At,
    mode: u32,
    owner: Option<String>,
    group: Option<String>,
    rules: Rules,
    needs: Vec<Need>,
    /// What there is a file for each element of, and where that stands.
    each: Option<(String, At)>,
    when: Option<Unit>,
    body: Unit,
    sensitive: bool,
    /// Whether it can be shown with its secrets masked.
    maskable: bool,
}

impl TemplateSet {
    /// Compiles templates, adding what is wrong with them to `problems`; the set holds those that are right.
    pub fn compile(
        sources: Vec<TemplateSource>,
        derived: Vec<DerivedSource>,
        conditions: Vec<ConditionSource>,
        declared: &Declared,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let derived = Derivations::check(derived, declared, problems);
        let scope = Scope { declared, derived: &derived.known, each: None };
        let checked = sources.into_iter().filter_map(|source| Template::check(source, scope, problems));
        let mut templates: Vec<Template> = checked.collect();
        let conditions = conditions.into_iter().filter_map(|one| Condition::check(one, scope, problems));
        let conditions: Vec<Condition> = conditions.collect();
        let mut engine = unit::new_engine();
        derived::compile(&mut engine, &derived, declared, problems);
        let of_templates = templates.iter().flat_map(|t| [Some(&t.body), t.when.as_ref()]).flatten();
        let units: Vec<&Unit> = of_templates.chain(conditions.iter().map(|one| &one.unit)).collect();
        let right = unit::compile(&mut engine, &units, scope, problems);
        let mut right = right.into_iter();
        templates.retain(|template| {
            let body = right.next() == Some(true);
            body & (template.when.is_none() || right.next() == Some(true))
        });
        let mut set = Self { engine, derived, templates, conditions };
        set.check_conditions(problems);
        set.check_paths(problems);
        set
    }

    /// How many templates there are.
    pub fn len(&self) -> usize {
        self.templates.len()
    }

    /// Whether there is no template.
    pub fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }

    /// The paths that they write, as they are written: with the places that elements fill still in them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.templates.iter().map(|template| Path::new(template.path.written()))
    }

    /// What they name and the guest must have, and the files in which that stands.
    pub fn needs(&self) -> impl Iterator<Item = (&str, &Need)> {
        self.templates
            .iter()
            .flat_map(|template| template.needs.iter().map(|need| (template.file.as_str(), need)))
    }

    /// Whether there is a template of this file.
    pub fn has(&self, file: &str) -> bool {
        self.templates.iter().any(|template| template.file == file)
    }

    /// The names of the derived values.
    pub fn derived_names(&self) -> impl Iterator<Item = &str> {
        self.derived.known.keys().map(String::as_str)
    }

    /// All that a derived value is made from; `None` where there is no such one.
    pub fn derived_from(&self, name: &str) -> Option<BTreeSet<String>> {
        self.derived.needed_for(name)
    }

    /// Whether a derived value is secret.
    pub fn is_sensitive(&self, name: &str) -> bool {
        self.derived.known.get(name).is_some_and(|known| known.sensitive)
    }

    /// Every parameter and derived value that a template or a condition needs.
    pub fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut add = |unit: &Unit| names.extend(unit.names.iter().cloned());
        for template in &self.templates {
            add(&template.body);
            template.when.iter().for_each(&mut add);
        }
        self.conditions.iter().for_each(|one| add(&one.unit));
        names.extend(self.templates.iter().filter_map(Template::each).map(str::to_owned));
        self.derived.with_sources(names)
    }

    /// Keeps the templates of this name, or that write this path; false where there is none.
    pub fn keep_only(&mut self, name: &str) -> bool {
        self.templates.retain(|template| {
            let file = template.file.rsplit('/').next().unwrap_or_default();
            let names = [&template.file, file, file.trim_end_matches(".tera"), template.path.written()];
            names.contains(&name)
        });
        !self.templates.is_empty()
    }

    /// The templates that write into a directory, or may, the paths that they write, and where these stand.
    pub fn touching(&self, directory: &Path) -> impl Iterator<Item = (&str, &str, At)> {
        self.templates
            .iter()
            .filter(move |template| template.path.touches(directory))
            .map(|template| (template.file.as_str(), template.path.written(), template.path_at))
    }

    /// A `when` that no value can change is judged now.
    fn check_conditions(&mut self, problems: &mut Vec<Problem>) {
        meter::begin();
        let engine = &self.engine;
        self.templates.retain(|template| {
            let Some(when) = template.when.as_ref().filter(|when| when.names.is_empty()) else { return true };
            match when.render(engine, &tera::Context::new(), meter::VALUE) {
                Ok(truth) if truth == "true" => true,
                Ok(_) => {
                    let message = "when is never true, so that nothing is ever written; take the template away, or its when";
                    problems.push(Problem::at(&when.file, when.at, message));
                    false
                }
                Err(problem) => {
                    problems.push(problem);
                    false
                }
            }
        });
    }

    /// What is wrong with each `when` that can never be true as the parameters are declared, and with derived values that look
    /// as if they lacked their braces. It keeps nobody from applying the others: a drop-in may well say that something is not
    /// to be on this site.
    pub fn lint(&self, declared: &Declared) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.derived.unbraced(declared).collect();
        let mut judge = |when, remedy| {
            problems.extend(reach::check((when, remedy), &self.engine, &self.derived, declared).err());
        };
        for when in self.templates.iter().filter_map(|template| template.when.as_ref()) {
            judge(when, ", so that nothing is ever written; correct it, or take the template away");
        }
        // `when = "false"` is a way to turn a role round, and nobody's slip.
        for when in self.conditions.iter().map(|one| &one.unit).filter(|when| !when.names.is_empty()) {
            judge(when, "; correct it, or leave it out and name the state that there always is");
        }
        problems
    }

    /// One file has one template at a time.
    fn check_paths(&self, problems: &mut Vec<Problem>) {
        let mut paths: BTreeMap<&str, &Template> = BTreeMap::new();
        for template in &self.templates {
            if let Some(first) = paths.insert(template.path.written(), template)
                && (first.when.is_none() || template.when.is_none())
            {
                let message = format!(
                    "writes {}, and so does {}; one file has one template, unless each has a when",
                    template.path.written(),
                    first.file
                );
                problems.push(Problem::at(&template.file, template.path_at, message));
            }
        }
    }
}

impl Template {
    /// Reads a template file and checks it by our own rules; `None` where one is broken.
    fn check(source: TemplateSource, all: Scope<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        let TemplateSource { file, text } = source;
        let (front, lines, body) = match FrontMatter::split(&file, &text) {
            Ok(parts) => parts,
            Err(found) => {
                problems.extend(found);
                return None;
            }
        };
        let before = problems.len();
        let FrontMatter { path, path_at, mode, owner, group, escape, when, for_each: each, rules, needs } =
            front;
        let scope = Scope { each: each.as_ref().map(|(name, _)| name.as_str()), ..all };
        if let Some((name, at)) = &each {
            let wrong = kinds::check_each(name, &path, scope);
            problems.extend(wrong.into_iter().map(|message| Problem::at(&file, *at, message)));
        }
        let when = when.and_then(|(text, origin)| {
            Unit::expression((&file, format!("{file}#when")), (&text, origin), Print::Truth, scope, problems)
        });
        let origin = Origin { at: At { line: lines + 1, column: 1 }, exact: true };
        let unit = Unit::check((&file, file.clone()), (body, origin), scope, problems, |pieces, complain| {
            let captured = unit::captured(pieces, scope);
            let comments = quotes::check(
                body,
                pieces,
                escape,
                |tag| printed(tag, escape, &captured),
                &mut |byte, message| complain(byte, message),
            );
            move |tag: &Tag<'_>| how(tag, escape, &captured, &comments)
        });
        let is_secret = |name: &&String| scope.is_sensitive(name);
        let secret = unit.as_ref().and_then(|unit| {
            let first = unit.names.iter().filter(is_secret).min_by_key(|name| unit.body.find(name))?;
            Some((first, unit.body.find(first)))
        });
        if let Some((name, at)) = secret
            && mode & 0o007 != 0
        {
            let message = format!(
                "`{name}` is sensitive, but mode = \"{mode:04o}\" lets everybody read the file; take the last digit away, \
                 as in \"0640\""
            );
            problems.push(Problem { file: file.clone(), at, message });
        }
        let sensitive = secret.is_some();
        let maskable = !sensitive || secrecy::can_be_masked(body, scope);
        if problems.len() != before {
            return None;
        }
        Some(Self {
            path,
            path_at,
            mode,
            owner,
            group,
            rules,
            needs,
            each,
            when,
            body: unit?,
            sensitive,
            maskable,
            file,
        })
    }

    /// The name of what there is a file for each element of.
    fn each(&self) -> Option<&str> {
        self.each.as_ref().map(|(name, _)| name.as_str())
    }
}

/// What a tag prints.
fn printed(tag: &Tag<'_>, escape: Escape, captured: &BTreeSet<String>) -> Printed {
    match (tag.last_filter(), escape) {
        (Some("safe"), _) => Printed::Safe,
        (Some("json"), Escape::Json | Escape::Yaml) | (Some("sh"), Escape::Shell) => Printed::Whole,
        // In a file of no format, a literal or word is what the author knows to be right there.
        (Some("json" | "sh"), Escape::None) => Printed::Whole,
        _ if tag.sole_name().is_some_and(|name| captured.contains(name)) => Printed::Whole,
        _ => Printed::Text,
    }
}

/// How it prints that.
fn how(tag: &Tag<'_>, escape: Escape, captured: &BTreeSet<String>, comments: &BTreeSet<usize>) -> Print {
    match printed(tag, escape, captured) {
        Printed::Safe => Print::Whole,
        // A word's quotes mean nothing in a comment, and what is in them could end it.
        _ if escape == Escape::Shell && comments.contains(&tag.inside.start) => Print::Comment,
        Printed::Whole => Print::Whole,
        Printed::Text => Print::Text(escape),
    }
}

#[cfg(test)]
mod tests;
