//! Our own reading of a template's tags: where they are, and which names stand in them.
//!
//! Tera answers which variables a template reads, but not where they stand, and knows nothing of our rules. So the
//! tags are split into words here, by Tera's own lexical rules (strings in `"`, `'` or `` ` `` with backslash escapes;
//! `{% raw %}`; `{# #}`), for two ends: to check names, filters and statements with a position, and to
//! rewrite every `{{ x }}` so that the value passes through one of our print functions (`body`). What belongs together in a
//! tag is told in [`expression`].

#![forbid(unsafe_code)]

mod expression;

use std::ops::Range;

/// `{{ ... }}` or `{% ... %}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagKind {
    Print,
    Statement,
}

/// One tag: where its inside is, and the words in it.
#[derive(Debug)]
pub(super) struct Tag<'a> {
    pub(super) kind: TagKind,
    /// Bytes between the delimiters and their `-`.
    pub(super) inside: Range<usize>,
    words: Vec<Word<'a>>,
}

/// A word of the expression language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word<'a> {
    at: usize,
    text: &'a str,
    kind: WordKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WordKind {
    Name,
    Literal,
    Sign,
}

/// Words that are no names of anything.
pub(super) const KEYWORDS: [&str; 16] = [
    "and", "or", "not", "is", "in", "if", "else", "for", "true", "True", "false", "False", "none", "None",
    "null", "loop",
];

/// A name as it is used in an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use<'a> {
    pub(super) at: usize,
    pub(super) name: &'a str,
    /// For a variable: the field that is read of it, if one is.
    pub(super) field: Option<&'a str>,
    /// Whether a field of that field is read.
    pub(super) deeper: bool,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Variable,
    Filter,
    Function,
    /// `x is NAME`.
    Test,
    Other,
}

impl Use<'_> {
    pub(super) fn is_variable(&self) -> bool {
        self.role == Role::Variable
    }

    pub(super) fn is_filter(&self) -> bool {
        self.role == Role::Filter
    }

    pub(super) fn is_function(&self) -> bool {
        self.role == Role::Function
    }

    pub(super) fn is_test(&self) -> bool {
        self.role == Role::Test
    }
}

impl<'a> Tag<'a> {
    /// A statement's first word and its position.
    pub(super) fn keyword(&self) -> (usize, &'a str) {
        self.words.first().map_or((self.inside.start, ""), |word| (word.at, word.text))
    }

    /// Whether no word stands in it.
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether it is `set NAME = ...`, which is complete in itself, and not the beginning of a block.
    pub(super) fn assigns(&self) -> bool {
        self.words.get(2).is_some_and(|word| word.text == "=")
    }

    /// Where a name stands in it, whatever part it plays.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.words.iter().find(|word| word.kind == WordKind::Name && word.text == name).map(|word| word.at)
    }

    /// Every name that stands in the tag, with the part it plays.
    pub(super) fn uses(&self) -> impl Iterator<Item = Use<'a>> + '_ {
        // A statement's own keyword is no expression.
        let skip = usize::from(self.kind == TagKind::Statement);
        (skip..self.words.len()).filter_map(|index| {
            let Word { at, text: name, kind } = self.words[index];
            let before = |n: usize| if index >= n { self.words[index - n].text } else { "" };
            let after = |n: usize| self.words.get(index + n);
            let sign_after = |sign| after(1).is_some_and(|w| w.kind == WordKind::Sign && w.text == sign);
            if kind != WordKind::Name {
                return None;
            }
            let role = match before(1) {
                "." | "?." => Role::Other,
                "|" => Role::Filter,
                "is" if name != "not" => Role::Test,
                "not" if before(2) == "is" => Role::Test,
                _ if KEYWORDS.contains(&name) => Role::Other,
                _ if sign_after("(") => Role::Function,
                // The name of an argument, or of what `set` makes.
                _ if sign_after("=") => Role::Other,
                _ => Role::Variable,
            };
            let dotted = sign_after(".") || sign_after("?.");
            let field = dotted.then(|| after(2).map_or("", |word| word.text));
            let deeper = dotted && after(3).is_some_and(|w| matches!(w.text, "." | "?."));
            Some(Use { at, name, field, deeper, role })
        })
    }

    /// Names that a statement makes: `for NAME in`, `for KEY, NAME in`, `set NAME`.
    pub(super) fn made_names(&self) -> Vec<&'a str> {
        let names =
            |count| self.words[1..].iter().filter(|w| w.kind == WordKind::Name).take(count).map(|w| w.text);
        match (self.kind, self.keyword().1) {
            (TagKind::Statement, "for") => {
                let pair = self.words.get(2).is_some_and(|word| word.text == ",");
                names(if pair { 2 } else { 1 }).collect()
            }
            (TagKind::Statement, "set" | "set_global") => names(1).collect(),
            _ => Vec::new(),
        }
    }
}

/// A part of a body: text that goes into the file as it is, or a tag.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// Bytes of the body, without what a neighbour's `-` takes away; also what stands in `{% raw %}`.
    Text(Range<usize>),
    Tag(Tag<'a>),
}

/// The tags alone.
pub(super) fn tags<'a, 'p>(pieces: &'p [Piece<'a>]) -> impl Iterator<Item = &'p Tag<'a>> + Clone {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Tag(tag) => Some(tag),
        Piece::Text(_) => None,
    })
}

/// Splits a body into text and tags. Comments are gone, and so is white space as Tera takes it away.
///
/// # Errors
/// Where a tag, a comment, a raw block or a string is not closed, and which.
pub(super) fn pieces(body: &str) -> Result<Vec<Piece<'_>>, (usize, &'static str)> {
    let mut split = Split { body, pieces: Vec::new(), trim: false };
    let mut at = 0;
    while let Some(open) = next_opening(body, at) {
        let dash = body[open + 2..].starts_with('-');
        let inside = open + 2 + usize::from(dash);
        split.text(at..open, dash);
        at = match &body[open..open + 2] {
            "{#" => match body[inside..].find("#}") {
                Some(end) => {
                    // A comment is no token to Tera: what the tag before it takes away goes on behind it.
                    split.trim |= body[inside..inside + end].ends_with('-');
                    inside + end + 2
                }
                None => return Err((open, "the comment has no end; close it with #}")),
            },
            "{{" => {
                let (tag, end) = tag(body, inside, TagKind::Print, "}}")
                    .ok_or((open, "the tag has no end; close it, and every string in it, with }}"))?;
                split.tag(tag, end - 3);
                end
            }
            _ => {
                let (tag, end) = tag(body, inside, TagKind::Statement, "%}")
                    .ok_or((open, "the tag has no end; close it, and every string in it, with %}"))?;
                if tag.keyword().1 == "raw" && tag.words.len() == 1 {
                    let (raw, behind) = raw(body, end)
                        .ok_or((open, "the raw block has no end; close it with {% endraw %}"))?;
                    // The dashes of {% raw -%} and {%- endraw %} work inwards.
                    split.trim = body[..end].ends_with("-%}");
                    let closing = body[raw.end + 2..].starts_with('-');
                    split.text(raw, closing);
                    split.trim = body[..behind].ends_with("-%}");
                    behind
                } else {
                    split.tag(tag, end - 3);
                    end
                }
            }
        };
    }
    split.text(at..body.len(), false);
    Ok(split.pieces)
}

/// The pieces so far, and whether white space is to be taken away from the next text's beginning.
struct Split<'a> {
    body: &'a str,
    pieces: Vec<Piece<'a>>,
    trim: bool,
}

impl<'a> Split<'a> {
    fn text(&mut self, mut at: Range<usize>, trim_end: bool) {
        if at.is_empty() {
            return;
        }
        if self.trim {
            at.start = at.end - self.body[at.clone()].trim_start().len();
        }
        if trim_end {
            at.end = at.start + self.body[at.clone()].trim_end().len();
        }
        self.trim = false;
        if !at.is_empty() {
            self.pieces.push(Piece::Text(at));
        }
    }

    fn tag(&mut self, tag: Tag<'a>, dash: usize) {
        self.trim = dash >= tag.inside.end && self.body.as_bytes()[dash] == b'-';
        self.pieces.push(Piece::Tag(tag));
    }
}

fn next_opening(body: &str, from: usize) -> Option<usize> {
    let bytes = &body.as_bytes()[from..];
    bytes.windows(2).position(|pair| matches!(pair, b"{{" | b"{%" | b"{#")).map(|at| from + at)
}

/// What stands in a raw block, and where the text behind its closing tag begins.
fn raw(body: &str, from: usize) -> Option<(Range<usize>, usize)> {
    let mut at = from;
    loop {
        let open = at + body[at..].find("{%")?;
        let inside = body[open + 2..].trim_start_matches('-').trim_start();
        let tail = inside.strip_prefix("endraw").map(|rest| rest.trim_start().trim_start_matches('-'));
        if let Some(rest) = tail.and_then(|rest| rest.strip_prefix("%}")) {
            return Some((from..open, body.len() - rest.len()));
        }
        at = open + 2;
    }
}

/// Reads words up to the closing delimiter, and where the tag is over.
fn tag<'a>(body: &'a str, from: usize, kind: TagKind, close: &str) -> Option<(Tag<'a>, usize)> {
    let mut words = Vec::new();
    let mut at = from;
    loop {
        let rest = &body[at..];
        let first = rest.chars().next()?;
        let dash = usize::from(rest.starts_with('-') && rest[1..].starts_with(close));
        if dash == 1 || rest.starts_with(close) {
            return Some((Tag { kind, inside: from..at, words }, at + dash + close.len()));
        }
        let (len, kind) = match first {
            c if c.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            '"' | '\'' | '`' => (string_len(rest, first)?, WordKind::Literal),
            c if c.is_ascii_digit() => {
                (prefix_len(rest, |c| c.is_ascii_digit() || c == '.'), WordKind::Literal)
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                (prefix_len(rest, |c| c.is_ascii_alphanumeric() || c == '_'), WordKind::Name)
            }
            _ if ["==", "!=", ">=", "<=", "?.", "?[", "//", "**", "||"]
                .iter()
                .any(|sign| rest.starts_with(sign)) =>
            {
                (2, WordKind::Sign)
            }
            c => (c.len_utf8(), WordKind::Sign),
        };
        words.push(Word { at, text: &rest[..len], kind });
        at += len;
    }
}

fn prefix_len(text: &str, wanted: impl Fn(char) -> bool) -> usize {
    text.find(|c| !wanted(c)).unwrap_or(text.len())
}

/// The length of a string literal with its quotes.
fn string_len(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{pieces, tags};

    fn variables(body: &str) -> Vec<(&str, Option<&str>)> {
        let pieces = pieces(body).expect(body);
        let found: Vec<_> = tags(&pieces).flat_map(super::Tag::uses).collect();
        found
            .into_iter()
            .filter(super::Use::is_variable)
            .map(|u| {
                (
                    &body[u.at..u.at + u.name.len()],
                    u.field.map(|f| &body[body.find(f).unwrap_or(0)..][..f.len()]),
                )
            })
            .collect()
    }

    #[test]
    fn names_are_found_wherever_they_stand() {
        for (body, want) in [
            ("plain text with { braces } and %}", &[][..]),
            ("{{ ip }}", &["ip"]),
            ("{{- ip -}}", &["ip"]),
            ("{{ ip | default(value=other) }}", &["ip", "other"]),
            ("{{ \"}} {{ x\" ~ a ~ 'b' }}", &["a"]),
            (r#"{{ "\"}}" ~ a }}"#, &["a"]),
            ("{% if not a and b == \"c\" %}{{ d }}{% elif e is defined %}{% endif %}", &["a", "b", "d", "e"]),
            ("{% for x in xs %}{{ x }}{% endfor %}", &["x", "xs", "x"]),
            ("{% set y = a %}{{ y }}", &["a", "y"]),
            ("{{ a[b] }}{{ c ? d : e }}", &["a", "b", "c", "d", "e"]),
            ("{# {{ no }} #}{% raw %}{{ no }}{% endraw %}{{ yes }}", &["yes"]),
            ("{%- raw -%}{{ no }}{%- endraw -%}{{ yes }}", &["yes"]),
            ("{{ range(end=n) }}", &["n"]),
            ("{{ 1.5 + a }}", &["a"]),
            ("{{ a if b else c }}", &["a", "b", "c"]),
            ("{{ ä }}", &[]),
        ] {
            let names: Vec<_> = variables(body).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, want, "{body}");
        }
        assert_eq!(variables("{{ platform.kind }}"), [("platform", Some("kind"))]);
        assert_eq!(variables("{{ platform?.kind }}"), [("platform", Some("kind"))]);
        assert_eq!(variables("{{ platform }}"), [("platform", None)]);
    }

    #[test]
    fn what_is_not_closed_is_said_where_it_began() {
        for (body, at) in
            [("ab {{ x", 3), ("{{ \"x }}", 0), ("{% if x }}", 0), ("x{# y", 1), ("{% raw %}x", 0), ("{{", 0)]
        {
            assert_eq!(pieces(body).expect_err(body).0, at, "{body}");
        }
    }

    #[test]
    fn text_is_what_tera_prints_of_it() {
        // Judged by the engine itself: with no values in a body, its pieces of text are all that comes out.
        let tera = tera::Tera::new();
        for body in [
            "a {# c #} b",
            "a {#- c -#} b",
            "a {%- if true -%} b {%- endif %} c",
            "a {% raw %} {{ b }} {% endraw %} c",
            "a {%- raw -%} {{ b }} {%- endraw -%} c",
            "a {% raw -%} b {%- endraw %} c",
            "a {%- set x = 1 -%} {# c #} b\n",
            "{% if true -%} \n {%- endif %}x",
        ] {
            let printed = tera.render_str(body, &tera::Context::new(), false).expect(body);
            let text: String = pieces(body)
                .expect(body)
                .iter()
                .filter_map(|piece| match piece {
                    super::Piece::Text(at) => Some(&body[at.clone()]),
                    super::Piece::Tag(_) => None,
                })
                .collect();
            assert_eq!(text, printed, "{body}");
        }
    }
}
