//! Where each line of a file comes from, for `explain`.
//!
//! Decides that by rendering the template once more, with a mark before every line of text and every print. Marks are
//! characters of a private plane of Unicode, one for each place; without them the text must be what it is otherwise, or
//! nothing is said. Secrets are masked, and what a line depends on includes the conditions around it.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::TemplateSet;
use super::context::Surroundings;
use super::meter;
use super::names::{EACH, Scope};
use super::render::{View, with};
use super::scan::{Piece, Tag, TagKind, pieces};
use super::unit::Unit;
use crate::parameters::{Declared, Parameters};
use crate::problem::{At, Problems};

/// The first mark; the last is the last character of its plane that is one.
const FIRST_MARK: u32 = 0xF_0000;
const MOST_MARKS: usize = 0xFFFD;

/// A file, line by line.
#[derive(Debug)]
pub struct Explained {
    /// The template that makes it.
    pub template: String,
    /// Its lines; `None` where that cannot be told.
    pub lines: Option<Vec<Line>>,
    /// What derived values are made from: those among the names, and those that these are made from.
    pub derived: BTreeMap<String, BTreeSet<String>>,
}

/// One line of a file.
#[derive(Debug)]
pub struct Line {
    /// What it says, with secrets masked.
    pub text: String,
    /// Where that comes from, in order.
    pub parts: Vec<Part>,
}

/// A place of a template, and the names that what it prints depends on.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where it stands.
    pub at: At,
    /// Parameters, derived values, and what surrounds them.
    pub names: BTreeSet<String>,
    /// Whether it is text of the template's, and no value.
    literal: bool,
}

impl TemplateSet {
    /// Where the lines of the file at `path` come from; `None` where no template writes it now.
    ///
    /// # Errors
    /// What cannot be rendered.
    pub fn explain(
        &self,
        path: &Path,
        declared: &Declared,
        parameters: &Parameters,
        surroundings: Surroundings<'_>,
    ) -> Result<Option<Explained>, Problems> {
        let view = self.view(declared, parameters, surroundings)?;
        let View { plain, masked, .. } = &view;
        for template in &self.templates {
            let scope = Scope { declared, derived: &self.derived.known, each: template.each() };
            for element in template.elements(plain)? {
                let element = element.as_ref();
                if template.path.fill(|slot| element?.name(slot)).as_deref() != Ok(path) {
                    continue;
                }
                let seen = with(plain, element, false);
                if let Some(when) = &template.when
                    && when.render(&self.engine, &seen, meter::VALUE)? != "true"
                {
                    continue;
                }
                let secret = scope.each.is_some_and(|each| scope.is_sensitive(each));
                let shown = match masked {
                    Some(masked) if template.sensitive => with(masked, element, secret),
                    _ => seen,
                };
                if !template.maskable {
                    let derived = BTreeMap::new();
                    return Ok(Some(Explained { template: template.file.clone(), lines: None, derived }));
                }
                let (text, parts) = marked(&template.body, template.each());
                let plainly = template.body.render(&self.engine, &shown, meter::FILE);
                let traced = template.body.render_marked(&self.engine, &text, &shown);
                let lines = plainly.ok().zip(traced).and_then(|(want, text)| lines(&text, &parts, &want));
                let derived = self.made_from(parts.iter().flat_map(|part| &part.names));
                return Ok(Some(Explained { template: template.file.clone(), lines, derived }));
            }
        }
        Ok(None)
    }

    fn made_from<'a>(
        &'a self,
        names: impl Iterator<Item = &'a String>,
    ) -> BTreeMap<String, BTreeSet<String>> {
        let mut derived = BTreeMap::new();
        let mut todo: Vec<&String> = names.collect();
        while let Some(name) = todo.pop() {
            if let Some(from) = self.derived.made_from(name)
                && derived.insert(name.clone(), from.clone()).is_none()
            {
                todo.extend(from);
            }
        }
        derived
    }
}

/// The template with marks, and what they stand for.
fn marked(unit: &Unit, each: Option<&str>) -> (String, Vec<Part>) {
    let original = &unit.body.original;
    let pieces = pieces(original).unwrap_or_default();
    let mut marked = Marked { unit, each, text: String::new(), parts: Vec::new() };
    let mut functions = unit.body.functions.iter();
    // The names of the blocks around, and what the names made in the template are made from.
    let mut around: Vec<BTreeSet<String>> = Vec::new();
    let mut made: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for piece in &pieces {
        match piece {
            Piece::Text(at) => {
                let mut byte = at.start;
                for line in original[at.clone()].split_inclusive('\n') {
                    marked.mark(byte, around.iter().flatten().cloned().collect(), true);
                    marked.literal(line);
                    byte += line.len();
                }
            }
            Piece::Tag(tag) => {
                let inside = &original[tag.inside.clone()];
                let own = read(tag, &made);
                if tag.kind == TagKind::Print {
                    let blanks = inside.len() - inside.trim_start().len();
                    marked.mark(
                        tag.inside.start + blanks,
                        around.iter().flatten().cloned().chain(own).collect(),
                        false,
                    );
                    let function = functions.next().copied().unwrap_or_default();
                    marked.text.push_str(&format!("{{{{ {function}(v=({inside})) }}}}"));
                    continue;
                }
                for name in tag.made_names() {
                    made.entry(name.to_owned()).or_default().extend(own.iter().cloned());
                }
                match tag.keyword().1 {
                    "if" | "for" => around.push(own),
                    "elif" => {
                        around.last_mut().into_iter().for_each(|names| names.extend(own.iter().cloned()))
                    }
                    "endif" | "endfor" => drop(around.pop()),
                    _ => {}
                }
                marked.text.push_str(&format!("{{%{inside}%}}"));
            }
        }
    }
    (marked.text, marked.parts)
}

/// The names that a tag reads, those made in the template followed to what they are made from.
fn read(tag: &Tag<'_>, made: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let own = tag.made_names();
    let names = tag.uses().filter(|found| found.is_variable() && !own.contains(&found.name));
    let followed = |name: &str| made.get(name).cloned().unwrap_or_else(|| [name.to_owned()].into());
    names.flat_map(|found| followed(found.name)).collect()
}

struct Marked<'a> {
    unit: &'a Unit,
    each: Option<&'a str>,
    text: String,
    parts: Vec<Part>,
}

impl Marked<'_> {
    fn mark(&mut self, byte: usize, names: BTreeSet<String>, literal: bool) {
        if self.parts.len() < MOST_MARKS {
            let mark = FIRST_MARK + self.parts.len() as u32;
            self.text.extend(char::from_u32(mark));
            let at = self.unit.body.origin.place(&self.unit.body.original, byte);
            let element = |name: String| match self.each {
                Some(each) if EACH.contains(&name.as_str()) => each.to_owned(),
                _ => name,
            };
            self.parts.push(Part { at, names: names.into_iter().map(element).collect(), literal });
        }
    }

    /// Text that the engine takes for nothing else.
    fn literal(&mut self, text: &str) {
        if text.contains('{') {
            self.text.push_str(&format!("{{% raw %}}{text}{{% endraw %}}"));
        } else {
            self.text.push_str(text);
        }
    }
}

/// Lines with what made them; `None` where the marks changed something.
fn lines(text: &str, parts: &[Part], want: &str) -> Option<Vec<Line>> {
    let mark = |c: char| u32::from(c).checked_sub(FIRST_MARK).and_then(|mark| parts.get(mark as usize));
    let plain: String = text.chars().filter(|c| mark(*c).is_none()).collect();
    if plain != want {
        return None;
    }
    let mut lines = Vec::new();
    let mut line = Line { text: String::new(), parts: Vec::new() };
    let mut current: Option<&Part> = None;
    for c in text.chars() {
        if let Some(part) = mark(c) {
            current = Some(part);
            continue;
        }
        if let Some(part) = current
            && line.parts.last().is_none_or(|last: &Part| last.at != part.at)
        {
            // Text between values of one line of the template, or nothing but the end of a line, says nothing more.
            let known = line.parts.iter().any(|other| other.at.line == part.at.line || c == '\n');
            if !(part.literal && known) {
                line.parts.push(part.clone());
            }
        }
        if c == '\n' {
            lines.push(std::mem::replace(&mut line, Line { text: String::new(), parts: Vec::new() }));
        } else {
            line.text.push(c);
        }
    }
    if !line.text.is_empty() {
        lines.push(line);
    }
    Some(lines)
}
