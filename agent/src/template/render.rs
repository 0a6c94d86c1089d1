//! Rendering: parameters and surroundings in, files' contents out.
//!
//! Decides what a template sees, and what is said when it cannot be rendered. The engine's error texts can quote
//! values, so none is ever passed on: an error has the engine's position and one of our own sentences.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use tera::{Error, ErrorKind, Kwargs, State, Tera, TeraResult, Value};
use zeroize::Zeroizing;

use super::context::{Surroundings, context};
use super::escape::Refusal;
use super::front_matter::Escape;
use super::scan::Body;
use super::{Template, TemplateSet, filters};
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
        let sensitive = self.templates.iter().any(|template| template.sensitive);
        let masked = sensitive.then(|| context(parameters, surroundings, |name| declared.is_sensitive(name)));
        let context = context(parameters, surroundings, |_| false);
        let mut problems = Vec::new();
        let mut output = Output::default();
        for template in &self.templates {
            match self.engine.render(&template.file, &context) {
                Ok(content) => {
                    let shown = match &masked {
                        Some(masked) if template.sensitive => {
                            self.engine.render(&template.file, masked).map_or(Shown::Nothing, Shown::Masked)
                        }
                        _ => Shown::Content,
                    };
                    output.files.push(template.rendered(content, shown));
                }
                Err(error) => problems.push(render_problem(template, &error)),
            }
        }
        Problems::unless_none(problems, output)
    }
}

impl Template {
    fn rendered(&self, content: String, shown: Shown) -> Rendered {
        Rendered {
            template: self.file.clone(),
            path: self.path.clone(),
            mode: self.mode,
            owner: self.owner.clone(),
            group: self.group.clone(),
            content: Zeroizing::new(content),
            shown,
            rules: Rules::default(),
        }
    }
}

/// An engine that prints through our functions or not at all.
pub(super) fn engine() -> Tera {
    let mut engine = Tera::new();
    // Every name ends with "": all templates escape, and what reaches the escape did not pass through a print function.
    engine.autoescape_on([""]);
    engine.set_escape_fn(|_, _| Err(io::Error::other("a value that was not printed by a print function")));
    for mode in [Escape::None, Escape::Json, Escape::Shell, Escape::Ini] {
        engine.register_function(mode.print_function(), Print(mode));
    }
    filters::register(&mut engine);
    engine
}

/// The function that every `{{ x }}` is rewritten to call.
struct Print(Escape);

impl tera::Function<TeraResult<Value>> for Print {
    fn call(&self, arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
        let value = arguments.must_get::<Value>("v")?;
        let refuse = |refusal: Refusal| Error::message(refusal.code());
        let text = plain_text(&value).map_err(refuse)?;
        if value.is_safe() {
            return Ok(Value::safe_string(&text));
        }
        Ok(Value::safe_string(&self.0.text(&text).map_err(refuse)?))
    }

    fn is_safe(&self) -> bool {
        true
    }
}

/// A printable value as text.
pub(super) fn plain_text(value: &Value) -> Result<Cow<'_, str>, Refusal> {
    if value.is_undefined() {
        Err(Refusal::Undefined)
    } else if value.is_none() {
        Err(Refusal::Null)
    } else if value.is_map() || value.is_array() {
        Err(Refusal::Composite)
    } else {
        Ok(value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed))
    }
}

/// What is wrong with a template that does not compile.
pub(super) fn compile_problem(file: &str, body: &Body, error: &Error) -> Problem {
    problem(file, body, error, "is not Tera's syntax")
}

fn render_problem(template: &Template, error: &Error) -> Problem {
    problem(
        &template.file,
        &template.body,
        error,
        "cannot be evaluated: a type does not fit, or an argument is missing",
    )
}

/// Position and a sentence of ours. The engine's message is looked at only to tell known cases apart.
fn problem(file: &str, body: &Body, error: &Error, otherwise: &str) -> Problem {
    let (ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report)) = error.kind() else {
        return Problem::with(file, format!("the template {otherwise}"));
    };
    let (at, tag) = body.locate(report.span().range.start);
    let subject = tag.map_or_else(|| "the template".to_owned(), |tag| format!("`{}`", shortened(tag)));
    let message = report.message();
    let sentence = match Refusal::from_code(message) {
        Some(refusal) => refusal.sentence(),
        None if message.contains("is not defined") || message.contains("undefined") => {
            Refusal::Undefined.sentence()
        }
        None => otherwise,
    };
    Problem::at(file, at, format!("{subject} {sentence}"))
}

/// A tag's text, short enough for a line.
fn shortened(tag: &str) -> String {
    const LIMIT: usize = 60;
    let line: String = tag.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
