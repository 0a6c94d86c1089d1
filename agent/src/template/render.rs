//! Rendering: parameters and surroundings in, files' contents out.
//!
//! Decides which files there are: one for each template, or for each element of its `for-each`, where its `when` is
//! true; and what may be shown of them.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use tera::{Context, Tera, Value};
use zeroize::Zeroizing;

use super::context::{MASK, Surroundings, context};
use super::derived::{DerivedValues, text};
use super::meter;
use super::names::Scope;
use super::path::Slot;
use super::unit::MASKED;
use super::{Template, TemplateSet};
use crate::parameters::{Declared, Parameters};
use crate::problem::{Problem, Problems};

/// A file as it should be.
pub struct Rendered {
    /// The template that made it: `templates/mydb.conf.tera`.
    pub template: String,
    /// Where it goes.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Owner's name, if the template says so.
    pub owner: Option<String>,
    /// Group's name, if the template says so.
    pub group: Option<String>,
    /// What goes into it.
    pub content: Zeroizing<String>,
    /// What may be shown of it.
    pub shown: Shown,
    /// What is to be done about it besides writing it.
    pub rules: Rules,
}

/// What a template asks for besides its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The program that must accept the staged file; `{}` is its path.
    pub check: Option<Vec<String>>,
    /// The program that must accept what is in place, before any unit hears of it.
    pub verify: Option<Vec<String>>,
    /// Units to restart when the file changes.
    pub restart: Vec<String>,
    /// Units to reload when the file changes.
    pub reload: Vec<String>,
    /// Programs to run when the file changes, where there is no systemd.
    pub on_change: Vec<Vec<String>>,
    /// Whether a file that was changed by hand since the last pass stays as it is.
    pub keep_edits: bool,
    /// Whether it is written in the first boot of an instance only.
    pub once: bool,
    /// Whether a file of it stays where it is when it is not to be any more.
    pub keep_absent: bool,
}

/// A file that is not to be, because its template's `when` is false, or its element is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// The template that makes it at other times.
    pub template: String,
    /// Where it would go.
    pub path: PathBuf,
    /// Whether it stays where it is already (`absent = "keep"`).
    pub keep: bool,
}

/// What the templates come to.
#[derive(Debug, Default)]
pub struct Output {
    /// The files as they should be.
    pub files: Vec<Rendered>,
    /// The files that should not be.
    pub absent: Vec<Absent>,
    /// The conditions that are no template's, by name, and whether they are true.
    pub conditions: BTreeMap<String, bool>,
    /// The derived values that they were made with.
    pub derived: DerivedValues,
}

/// What may be shown of a file's content.
pub enum Shown {
    /// All of it.
    Content,
    /// This text in its place, with [`MASK`] for sensitive values.
    Masked(String),
    /// Nothing: the template cannot be rendered with masks.
    Nothing,
}

impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rendered({}, {} bytes)", self.path.display(), self.content.len())
    }
}

/// What templates see, and the same with secrets masked, where there are any.
pub(super) struct View {
    pub(super) plain: Context,
    pub(super) masked: Option<Context>,
    derived: DerivedValues,
}

/// One element of a `for-each`: its value, its place, and its key in a map.
pub(super) struct Element {
    item: Value,
    index: usize,
    key: Option<String>,
}

impl TemplateSet {
    /// Renders every template.
    ///
    /// # Errors
    /// Everything that could not be rendered, with its position.
    pub fn render(
        &self,
        declared: &Declared,
        parameters: &Parameters,
        surroundings: Surroundings<'_>,
    ) -> Result<Output, Problems> {
        let view = self.view(declared, parameters, surroundings)?;
        let mut problems = Vec::new();
        let mut output = Output::default();
        for template in &self.templates {
            let scope = Scope { declared, derived: &self.derived.known, each: template.each() };
            template.render(&self.engine, &view, scope, &mut output, &mut problems);
        }
        one_each(&mut output, &mut problems);
        for condition in &self.conditions {
            match condition.evaluate(&self.engine, &view.plain) {
                Ok(pair) => output.conditions.extend([pair]),
                Err(problem) => problems.push(problem),
            }
        }
        output.derived = view.derived;
        Problems::unless_none(problems, output)
    }

    /// One derived value, as text and as JSON; null as no text.
    ///
    /// # Errors
    /// It, or what it is made from, cannot be evaluated.
    pub fn derived(
        &self,
        name: &str,
        parameters: &Parameters,
        surroundings: Surroundings<'_>,
    ) -> Result<(Zeroizing<String>, serde_json::Value), Problems> {
        meter::begin();
        let mut context = context(parameters, surroundings, |_| false);
        let needed = self.derived.needed_for(name).unwrap_or_default();
        let values = self.derived.evaluate(&self.engine, &mut context, Some(&needed)).map_err(Problems)?;
        let value = values.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        let value = value.unwrap_or_else(Value::none);
        let text = if value.is_none() { String::new() } else { text(&value) };
        Ok((Zeroizing::new(text), serde_json::to_value(&value).expect("plain data")))
    }

    /// What templates see.
    pub(super) fn view(
        &self,
        declared: &Declared,
        parameters: &Parameters,
        surroundings: Surroundings<'_>,
    ) -> Result<View, Problems> {
        meter::begin();
        let mut plain = context(parameters, surroundings, |_| false);
        let derived = self.derived.evaluate(&self.engine, &mut plain, None).map_err(Problems)?;
        let masked = self.templates.iter().any(|template| template.sensitive).then(|| {
            let mut masked = context(parameters, surroundings, |name| declared.is_sensitive(name));
            for (name, value) in &derived {
                let hidden = self.derived.known[*name].sensitive && !value.is_none();
                let value = if hidden { Value::safe_string(MASK) } else { value.clone() };
                masked.insert_value((*name).to_owned(), value);
            }
            masked.insert(MASKED, &true);
            masked
        });
        let mut values = DerivedValues::default();
        for (name, value) in derived {
            values.insert(name, value, self.derived.known[name].sensitive);
        }
        Ok(View { plain, masked, derived: values })
    }
}

impl Template {
    fn render(
        &self,
        engine: &Tera,
        view: &View,
        scope: Scope<'_>,
        output: &mut Output,
        problems: &mut Vec<Problem>,
    ) {
        let elements = match self.elements(&view.plain) {
            Ok(elements) => elements,
            Err(problem) => return problems.push(problem),
        };
        for element in elements {
            match self.one(engine, view, scope, element.as_ref()) {
                Ok(Some(Ok(file))) => output.files.push(file),
                Ok(Some(Err(absent))) => output.absent.push(absent),
                Ok(None) => {}
                // The others would fail in the same words.
                Err(problem) => return problems.push(problem),
            }
        }
    }

    /// The elements that there is a file for; one that is none where there is no `for-each`.
    pub(super) fn elements(&self, context: &Context) -> Result<Vec<Option<Element>>, Problem> {
        let Some((name, at)) = &self.each else { return Ok(vec![None]) };
        let value = context.get(name).cloned().unwrap_or_else(Value::none);
        let element =
            |(index, (key, item)): (usize, (Option<String>, Value))| Some(Element { item, index, key });
        if value.is_none() {
            Ok(Vec::new())
        } else if let Some(list) = value.as_array() {
            Ok(list.iter().map(|item| (None, item.clone())).enumerate().map(element).collect())
        } else if let Some(map) = value.as_map() {
            // By key, so that the order is the same each time.
            let sorted: BTreeMap<_, _> = map.iter().map(|(key, item)| (key.to_string(), item)).collect();
            let pairs = sorted.into_iter().map(|(key, item)| (Some(key), item.clone()));
            Ok(pairs.enumerate().map(element).collect())
        } else {
            Err(Problem::at(&self.file, *at, format!("for-each: `{name}` is neither a list nor a map")))
        }
    }

    /// The file of one element, or that it is not to be; nothing where one that is not to be cannot have a path either.
    fn one(
        &self,
        engine: &Tera,
        view: &View,
        scope: Scope<'_>,
        element: Option<&Element>,
    ) -> Result<Option<Result<Rendered, Absent>>, Problem> {
        let path = self.path.fill(|slot| element?.name(slot));
        let secret = scope.each.is_some_and(|each| scope.is_sensitive(each));
        let plain = with(&view.plain, element, false);
        if let Some(when) = &self.when
            && when.render(engine, &plain, meter::VALUE)? != "true"
        {
            let absent =
                |path| Err(Absent { template: self.file.clone(), path, keep: self.rules.keep_absent });
            return Ok(path.ok().map(absent));
        }
        let path = path.map_err(|slot| {
            let number = element.map_or(0, |element| element.index);
            let message = format!(
                "element {number} of its for-each: the value for {slot} in path = \"{}\" must be 1 to 64 of the characters a-z, \
                 0-9 and -; {{index}} always is",
                self.path.written()
            );
            Problem::with(&self.file, message)
        })?;
        let content = Zeroizing::new(self.body.render(engine, &plain, meter::FILE)?);
        let shown = match &view.masked {
            _ if !self.maskable => Shown::Nothing,
            Some(masked) if self.sensitive => {
                let masked = with(masked, element, secret);
                self.body.render(engine, &masked, meter::FILE).map_or(Shown::Nothing, Shown::Masked)
            }
            _ => Shown::Content,
        };
        Ok(Some(Ok(Rendered {
            template: self.file.clone(),
            path,
            mode: self.mode,
            owner: self.owner.clone(),
            group: self.group.clone(),
            content,
            shown,
            rules: self.rules.clone(),
        })))
    }
}

impl Element {
    /// What a place in a path is filled with.
    pub(super) fn name(&self, slot: &Slot) -> Option<String> {
        let text = |value: &Value| {
            value.as_str().map(str::to_owned).or_else(|| value.as_i64().map(|number| number.to_string()))
        };
        match slot {
            Slot::Index => Some(self.index.to_string()),
            Slot::Key => self.key.clone(),
            Slot::Item(None) => text(&self.item),
            Slot::Item(Some(field)) => self.item.get_from_path(field).and_then(text),
        }
    }
}

/// A context with an element in it.
pub(super) fn with<'a>(context: &'a Context, element: Option<&Element>, masked: bool) -> Cow<'a, Context> {
    let Some(Element { item, index, key }) = element else { return Cow::Borrowed(context) };
    let mut context = context.clone();
    let mask = |value| if masked { Value::safe_string(MASK) } else { value };
    context.insert_value("item", mask(item.clone()));
    context.insert_value("index", Value::from(*index));
    if let Some(key) = key {
        context.insert_value("key", mask(Value::from(key.as_str())));
    }
    Cow::Owned(context)
}

/// Every file is written by one template and for one element; one that is to be is not absent as well.
fn one_each(output: &mut Output, problems: &mut Vec<Problem>) {
    let mut taken: BTreeMap<&PathBuf, &str> = BTreeMap::new();
    for Rendered { template, path, .. } in &output.files {
        let Some(other) = taken.insert(path, template) else { continue };
        let message = if other == template {
            "two elements of its for-each have one path; give each a path of its own".to_owned()
        } else {
            format!("writes the same file as {other}; one file has one template at a time")
        };
        problems.push(Problem::with(template, message));
    }
    let files: std::collections::BTreeSet<PathBuf> = taken.into_keys().cloned().collect();
    let mut absent: BTreeMap<PathBuf, Absent> = BTreeMap::new();
    for one in output.absent.drain(..).filter(|one| !files.contains(&one.path)) {
        // Where two templates take turns and neither has its turn, one of them that says so keeps the file.
        absent.entry(one.path.clone()).and_modify(|other| other.keep |= one.keep).or_insert(one);
    }
    output.absent = absent.into_values().collect();
}
