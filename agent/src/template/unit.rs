//! What the engine compiles: a template's body, a `when`, a derived value.
//!
//! Decides that each passes our own checks and the engine's, and that no word of the engine's own goes any further: its
//! texts can quote values, so an error has the engine's position and one of our sentences.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;

use tera::{Context, Error, ErrorKind, Kwargs, State, Tera, TeraResult, Value};

use super::body::{Body, JOINED, Origin};
use super::context::MASK;
use super::escape::{Print, json_literal};
use super::filters;
use super::kinds;
use super::meter::{self, Text};
use super::names::{self, Scope};
use super::refusal::Refusal;
use super::scan::{Piece, Tag, TagKind, pieces, tags};
use crate::problem::{At, Problem};

/// Problems of one unit that are said; whoever has more mends these first.
const MOST_PROBLEMS: usize = 50;

/// What is said of an engine's error that is none of our refusals.
const UNFIT: &str = "cannot be evaluated: a type does not fit, or an argument is missing";

/// What is said of what the engine cannot read.
const NO_SYNTAX: &str = "is not Tera's syntax";

/// In a context whose secrets are masked, so that what is rendered is for people to look at.
pub(super) const MASKED: &str = "__masked";

/// One text for the engine, checked.
#[derive(Debug)]
pub(super) struct Unit {
    /// The file that it stands in.
    pub(super) file: String,
    /// What the engine calls it.
    name: String,
    /// Every variable that is read, in any branch.
    pub(super) names: BTreeSet<String>,
    pub(super) body: Body,
    /// Where it begins.
    pub(super) at: At,
}

impl Unit {
    /// Checks a text with tags; `print` says how each `{{ x }}` is to be printed, and complains if it must. `None` where
    /// something is wrong, which then is in `problems`.
    pub(super) fn check<F>(
        (file, name): (&str, String),
        (text, origin): (&str, Origin),
        scope: Scope<'_>,
        problems: &mut Vec<Problem>,
        print: impl FnOnce(&[Piece<'_>], &mut dyn FnMut(usize, String)) -> F,
    ) -> Option<Self>
    where
        F: Fn(&Tag<'_>) -> Print,
    {
        let before = problems.len();
        let mut complain = |byte, message: String| {
            if problems.len() == before + MOST_PROBLEMS {
                problems.push(Problem::with(file, "has more problems; these are the first"));
            }
            if problems.len() > before + MOST_PROBLEMS {
                return;
            }
            problems.push(Problem::at(file, origin.place(text, byte), message));
        };
        let pieces = match pieces(text) {
            Ok(pieces) => pieces,
            Err((byte, message)) => {
                complain(byte, message.to_owned());
                return None;
            }
        };
        names::check(&pieces, scope, &mut complain);
        let print = print(&pieces, &mut complain);
        check_prints(&pieces, &print, scope, &mut complain);
        if problems.len() != before {
            return None;
        }
        let body = Body::rewrite(text, origin, &pieces, |tag| print(tag).function());
        Some(Self { file: file.to_owned(), name, names: names::variables(&pieces), body, at: origin.at })
    }

    /// Checks an expression, as it stands in a `when`.
    pub(super) fn expression(
        (file, name): (&str, String),
        (text, origin): (&str, Origin),
        print: Print,
        scope: Scope<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let whole = format!("{{{{ {text} }}}}");
        let single = pieces(&whole).is_ok_and(
            |pieces| matches!(&pieces[..], [Piece::Tag(tag)] if tag.inside.end + 2 == whole.len()),
        );
        if !single {
            problems.push(Problem::at(file, origin.at, "when is no expression; write it without braces"));
            return None;
        }
        let unit = Self::check((file, name), (&whole, origin.before(3)), scope, problems, |_, _| {
            move |_: &Tag<'_>| print
        });
        unit.map(|unit| Self { at: origin.at, ..unit })
    }

    /// Whether it is a single `{{ x }}` and nothing else.
    pub(super) fn is_single(pieces: &[Piece<'_>]) -> bool {
        matches!(pieces, [Piece::Tag(tag)] if tag.kind == TagKind::Print)
    }

    /// The name that is all of its single `{{ x }}`.
    pub(super) fn sole_name(&self) -> Option<String> {
        match &pieces(&self.body.original).ok()?[..] {
            [Piece::Tag(tag)] => tag.sole_name().map(str::to_owned),
            _ => None,
        }
    }

    /// Whether all that it does with a name is to ask whether that is none.
    pub(super) fn asks_only_for_none(&self, name: &str) -> bool {
        pieces(&self.body.original).is_ok_and(|pieces| tags(&pieces).all(|tag| tag.asks_only_for_none(name)))
    }

    /// Renders it, into at most so many bytes.
    pub(super) fn render(&self, engine: &Tera, context: &Context, most: usize) -> Result<String, Problem> {
        self.rendered(most, |text| engine.render_to(&self.name, context, text))
            .map_err(|(error, objection)| self.refused(&error, objection))
    }

    /// Renders it; `None` where something in it has no value.
    pub(super) fn render_optional(
        &self,
        engine: &Tera,
        context: &Context,
    ) -> Result<Option<String>, Problem> {
        match self.rendered(meter::VALUE, |text| engine.render_to(&self.name, context, text)) {
            Ok(text) => Ok(Some(text)),
            Err((error, objection)) => match error.kind() {
                ErrorKind::RenderingError(report)
                    if Refusal::of(report.message()).is_some_and(Refusal::is_null) =>
                {
                    Ok(None)
                }
                _ => Err(self.refused(&error, objection)),
            },
        }
    }

    /// Renders another text in its place, which differs from it by marks.
    pub(super) fn render_marked(&self, engine: &Tera, marked: &str, context: &Context) -> Option<String> {
        self.rendered(meter::FILE, |text| engine.render_str_to(marked, context, true, text)).ok()
    }

    /// What the engine writes, or its error and what the writer has to say.
    fn rendered(
        &self,
        most: usize,
        render: impl FnOnce(&mut Text) -> TeraResult<()>,
    ) -> Result<String, (Error, Option<String>)> {
        let mut text = Text::begin(most, self.body.original.len());
        render(&mut text).map_err(|error| (error, text.objection()))?;
        Ok(text.finish())
    }

    /// What is said of an error in rendering; a text that was too long ends somewhere and not at a place of the template.
    fn refused(&self, error: &Error, objection: Option<String>) -> Problem {
        match objection {
            Some(objection) => Problem::at(&self.file, self.at, objection),
            None => self.problem(error, UNFIT),
        }
    }

    /// Position and a sentence of ours. The engine's message is looked at only to tell known cases apart.
    fn problem(&self, error: &Error, otherwise: &str) -> Problem {
        let (ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report)) = error.kind() else {
            return Problem::with(&self.file, format!("the template {otherwise}"));
        };
        let (at, tag) = self.body.locate(report.span().range.start);
        let subject = match tag {
            None => "the template".to_owned(),
            Some((tag, _)) => format!("`{}`", shortened(tag)),
        };
        let remedy = match tag {
            Some((_, rest)) if otherwise == NO_SYNTAX => of_others(rest),
            _ => "",
        };
        let message = report.message();
        let sentence = match Refusal::of(message) {
            Some(refusal) => refusal.sentence(),
            None if message.contains("is not defined") || message.contains("undefined") => {
                Refusal::UNDEFINED.sentence()
            }
            None => otherwise,
        };
        Problem::at(&self.file, at, format!("{subject} {sentence}{remedy}"))
    }
}

/// What to write in place of what other languages have.
fn of_others(rest: &str) -> &'static str {
    const WORDS: [(&str, &str); 6] = [
        ("=", "; compare by =="),
        ("&", "; write `and`"),
        ("|", "; write `or`"),
        ("!", "; write `not`"),
        ("if ", "; write `elif`"),
        ("? ", "; write `a if x else b`"),
    ];
    WORDS.iter().find(|(theirs, _)| rest.starts_with(theirs)).map_or("", |(_, ours)| ours)
}

/// Judges what is printed by its name alone, by the type that this is known to have.
fn check_prints(
    pieces: &[Piece<'_>],
    print: &dyn Fn(&Tag<'_>) -> Print,
    scope: Scope<'_>,
    complain: &mut dyn FnMut(usize, String),
) {
    for tag in tags(pieces).filter(|tag| tag.kind == TagKind::Print) {
        if let Some(name) = tag.sole_name()
            && let Some(wrong) = kinds::check_print(name, print(tag), scope)
            && !tags(pieces).any(|tag| tag.made_names().contains(&name))
        {
            complain(tag.keyword().0, wrong);
        }
    }
}

/// Compiles units: all at once, because each addition makes the engine look at all the others again. Every one must
/// compile, and read no name that we did not see. Which of them are right, in their order.
pub(super) fn compile(
    engine: &mut Tera,
    units: &[&Unit],
    scope: Scope<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<bool> {
    let body = |unit: &&Unit| (unit.name.clone(), unit.body.rewritten.clone());
    if engine.add_raw_templates(units.iter().map(body)).is_err() {
        // Which of them it is, and where.
        for unit in units {
            if let Err(error) = new_engine().add_raw_template(&unit.name, &unit.body.rewritten) {
                problems.push(unit.problem(&error, NO_SYNTAX));
            }
        }
        return vec![false; units.len()];
    }
    let right = |unit: &&Unit| {
        let seen = engine.get_template_variables(&unit.name).unwrap_or_default();
        let before = problems.len();
        for name in seen.into_iter().filter(|name| !unit.names.contains(*name)) {
            let message = match name {
                "loop" => "`loop` is known inside of a {% for %} alone".to_owned(),
                _ => scope.unknown(name),
            };
            problems.push(Problem { file: unit.file.clone(), at: unit.body.find(name), message });
        }
        problems.len() == before
    };
    units.iter().map(right).collect()
}

/// The names that a block `{% set x %}` makes and nothing else does: what they hold was printed once already.
pub(super) fn captured(pieces: &[Piece<'_>], scope: Scope<'_>) -> BTreeSet<String> {
    let makes = |block: bool| {
        tags(pieces)
            .filter(move |tag| matches!(tag.keyword().1, "set" | "set_global") && tag.assigns() != block)
            .flat_map(Tag::made_names)
    };
    let looped = tags(pieces).filter(|tag| tag.keyword().1 == "for").flat_map(Tag::made_names);
    let others: BTreeSet<&str> = makes(false).chain(looped).collect();
    makes(true).filter(|name| !others.contains(name) && !scope.contains(name)).map(str::to_owned).collect()
}

/// An engine that prints through our functions or not at all.
pub(super) fn new_engine() -> Tera {
    let mut engine = Tera::new();
    // Every name ends with "": all templates escape, and what reaches the escape did not pass through a print function.
    engine.autoescape_on([""]);
    engine.set_escape_fn(|_, _| Err(io::Error::other("a value that was not printed by a print function")));
    for print in Print::ALL {
        engine.register_function(print.function(), print);
    }
    engine.register_filter(JOINED, joined);
    engine.register_filter(meter::LOOPED, meter::looped);
    engine.register_filter(meter::SEARCHED, meter::searched);
    filters::register(&mut engine);
    engine
}

/// An operand of `~`, if it is one that could be printed; the engine would write null as nothing, and a list in its own way.
fn joined(value: Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    match plain_text(&value) {
        Err(Refusal::NULL) => Err(Refusal::JOINS_NULL.into()),
        Err(Refusal::COMPOSITE) => Err(Refusal::JOINS_COMPOSITE.into()),
        Err(refusal) => Err(refusal.into()),
        Ok(text) => {
            meter::spend_text(text.len())?;
            Ok(value)
        }
    }
}

impl tera::Function<TeraResult<Value>> for Print {
    fn call(&self, arguments: Kwargs, state: &State<'_>) -> TeraResult<Value> {
        let value = arguments.must_get::<Value>("v")?;
        meter::spend_value(&value)?;
        let masked = || state.get::<bool>(MASKED).is_ok_and(|masked| masked == Some(true));
        match self {
            Self::Truth => {
                let truth = value.as_bool().ok_or(Refusal::NOT_BOOL)?;
                return Ok(Value::safe_string(if truth { "true" } else { "false" }));
            }
            Self::Typed if value.is_undefined() => return Err(Refusal::UNDEFINED.into()),
            Self::Typed => return Ok(Value::safe_string(&json_literal(&value))),
            _ => {}
        }
        let text = plain_text(&value)?;
        // A mask is for people to look at, and a number or a truth value is the same in every format.
        if value.is_safe() && text == MASK || !value.is_string() {
            return Ok(Value::safe_string(&text));
        }
        match self.text(&text) {
            Ok(text) => Ok(Value::safe_string(&text)),
            Err(_) if masked() => Ok(Value::safe_string(&text)),
            Err(refusal) => Err(refusal.into()),
        }
    }

    fn is_safe(&self) -> bool {
        true
    }
}

/// A printable value as text.
pub(super) fn plain_text(value: &Value) -> Result<Cow<'_, str>, Refusal> {
    if value.is_undefined() {
        Err(Refusal::UNDEFINED)
    } else if value.is_none() {
        Err(Refusal::NULL)
    } else if value.is_map() || value.is_array() {
        Err(Refusal::COMPOSITE)
    } else {
        Ok(value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed))
    }
}

/// A tag's text, short enough for a line.
pub(super) fn shortened(tag: &str) -> String {
    const LIMIT: usize = 60;
    let line: String = tag.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
