//! Our own reading of a template's tags: where they are, and which names stand in them.
//!
//! Tera answers which variables a template reads, but not where they stand, and knows nothing of our rules. So the
//! tags are split into words here, by Tera's own lexical rules (strings in `"`, `'` or `` ` `` with backslash escapes;
//! `{% raw %}`; `{# #}`), for two ends: to check names, filters and statements with a position, and to
//! rewrite every `{{ x }}` so that the value passes through one of our print functions (`body`).

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
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

    /// The names of the arguments in the brackets behind the word at byte `at`; none where there are no brackets.
    pub(super) fn arguments(&self, at: usize) -> Vec<&'a str> {
        let behind = self.words.iter().skip_while(|word| word.at <= at);
        let mut depth = 0;
        let mut names = Vec::new();
        let mut before: Option<&Word<'a>> = None;
        for (index, word) in behind.enumerate() {
            match word.text {
                "(" | "[" | "{" if word.kind == WordKind::Sign => depth += 1,
                ")" | "]" | "}" if word.kind == WordKind::Sign => depth -= 1,
                "=" if depth == 1 => names.extend(before.map(|name| name.text)),
                _ => {}
            }
            if depth == 0 || index == 0 && word.text != "(" {
                break;
            }
            before = Some(word);
        }
        names
    }

    /// The last filter of an expression that is nothing but a value and its filters, so that it applies to all of it:
    /// `x.y | f | g(a=1)` has `g`, and `a ~ b | g` has none.
    pub(super) fn last_filter(&self) -> Option<&'a str> {
        let (mut depth, mut last, mut before) = (0, None, "");
        for word in &self.words {
            match (word.kind, word.text) {
                (WordKind::Sign, "(" | "[" | "?[" | "{") => depth += 1,
                (WordKind::Sign, ")" | "]" | "}") => depth -= 1,
                _ if depth > 0 => {}
                (WordKind::Sign, "." | "?." | "|") => {}
                (WordKind::Sign, _) => return None,
                (WordKind::Name, "and" | "or" | "not" | "is" | "in" | "if" | "else") => return None,
                (WordKind::Name, name) if before == "|" => last = Some(name),
                _ => {}
            }
            before = word.text;
        }
        last
    }

    /// The name that is all of the expression.
    pub(super) fn sole_name(&self) -> Option<&'a str> {
        match &self.words[..] {
            [Word { text, kind: WordKind::Name, .. }] => Some(text),
            _ => None,
        }
    }

    /// The bytes behind the operands of every `~`: the ends of what it joins, as the engine reads it, of which a filter
    /// put there is the last. A text in quotes is left out, since it needs no looking at.
    pub(super) fn joined(&self) -> BTreeSet<usize> {
        let is_join = |word: &Word<'_>| word.kind == WordKind::Sign && word.text == "~";
        let joins = self.words.iter().enumerate().filter(|(_, word)| is_join(word)).map(|(index, _)| index);
        joins.flat_map(|join| [&self.words[..join], self.operand(join + 1)]).filter_map(behind).collect()
    }

    /// The words of the operand of `~` that begins with word `start`: filters, fields and brackets belong to it, and a
    /// sign of arithmetic, of which the engine knows that both sides are numbers, ends it.
    fn operand(&self, start: usize) -> &[Word<'a>] {
        let words = self.words.get(start..).unwrap_or_default();
        let mut depth = 0;
        let end = words.iter().position(|word| match (word.kind, word.text) {
            (WordKind::Sign, "(" | "[" | "?[" | "{") => {
                depth += 1;
                false
            }
            (WordKind::Sign, ")" | "]" | "}") => {
                depth -= 1;
                depth < 0
            }
            _ if depth > 0 => false,
            (WordKind::Sign, sign) => !matches!(sign, "." | "?." | "|"),
            (WordKind::Name, name) => matches!(name, "and" | "or" | "not" | "is" | "in" | "if" | "else"),
            (WordKind::Literal, _) => false,
        });
        &words[..end.unwrap_or(words.len())]
    }

    /// Whether a name stands in it as `x is none` and `x is not none` alone, and nothing before it binds tighter.
    pub(super) fn asks_only_for_none(&self, name: &str) -> bool {
        let word = |index: usize| self.words.get(index).map_or("", |word| word.text);
        let asks = |index: usize| {
            let free =
                index == 0 || matches!(word(index - 1), "(" | "and" | "or" | "not" | "if" | "elif" | "else");
            let negated = usize::from(word(index + 2) == "not");
            free && word(index + 1) == "is" && word(index + 2 + negated) == "none"
        };
        let is_name = |word: &Word<'_>| word.kind == WordKind::Name && word.text == name;
        self.words.iter().enumerate().filter(|(_, word)| is_name(word)).all(|(index, _)| asks(index))
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
                "is" => Role::Other,
                "not" if before(2) == "is" => Role::Other,
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

/// The byte behind words that are an operand, or end in one; none for a text in quotes.
fn behind(words: &[Word<'_>]) -> Option<usize> {
    let last = words.last().filter(|word| !word.text.starts_with(['"', '\'', '`']))?;
    Some(last.at + last.text.len())
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
            _ if ["==", "!=", ">=", "<=", "?.", "?[", "//", "**"]
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

    #[test]
    fn what_is_joined_is_known_by_where_it_ends() {
        for (body, want) in [
            ("{{ a }}", "{{ a }}"),
            ("{{ a ~ b ~ c }}", "{{ a! ~ b! ~ c! }}"),
            ("{{ 'x' ~ a ~ \"y\" }}", "{{ 'x' ~ a! ~ \"y\" }}"),
            ("{{ a.b[0] | f(x=c) ~ d?.e?[f] | g }}", "{{ a.b[0] | f(x=c)! ~ d?.e?[f] | g! }}"),
            ("{{ (a ~ b) | f ~ [c, d] }}", "{{ (a! ~ b!) | f! ~ [c, d]! }}"),
            ("{{ f(x=a ~ b, y=[c ~ d]) }}", "{{ f(x=a! ~ b!, y=[c! ~ d!]) }}"),
            ("{{ a ~ b if c ~ d == e else f ~ g }}", "{{ a! ~ b! if c! ~ d! == e else f! ~ g! }}"),
            ("{% if a and b ~ c != d or e %}", "{% if a and b! ~ c! != d or e %}"),
            ("{% for x in a ~ b %}", "{% for x in a! ~ b! %}"),
            ("{{ '~' ~ a ~ -1 + b }}", "{{ '~' ~ a! ~ -1 + b }}"),
            ("{{ a ~ }}", "{{ a! ~ }}"),
        ] {
            let pieces = pieces(body).expect(body);
            let mut marked = body.to_owned();
            let ends = tags(&pieces).flat_map(super::Tag::joined);
            ends.collect::<Vec<_>>().into_iter().rev().for_each(|end| marked.insert(end, '!'));
            assert_eq!(marked, want);
        }
    }

    #[test]
    fn asking_for_nothing_but_none_is_told_from_other_uses() {
        for (body, want) in [
            ("{{ x is none }}", true),
            ("{{ not (x is not none and y > 1) or x is none == z }}", true),
            ("{% if x is none %}", true),
            ("{{ y }}", true),
            ("{{ x }}", false),
            ("{{ x is none and x == 1 }}", false),
            ("{{ y == x is none }}", false),
            ("{{ y ~ x is none }}", false),
            ("{{ -x is none }}", false),
            ("{{ x.y is none }}", false),
            ("{{ x | default(value=1) is none }}", false),
            ("{{ x is nonesuch }}", false),
            ("{{ x is string }}", false),
        ] {
            let pieces = pieces(body).expect(body);
            assert_eq!(tags(&pieces).all(|tag| tag.asks_only_for_none("x")), want, "{body}");
        }
    }

    #[test]
    fn the_last_filter_is_that_of_the_whole_expression() {
        for (body, want) in [
            ("{{ x | json }}", Some("json")),
            ("{{ x.y[0] | f(a=1 ~ b) | json }}", Some("json")),
            ("{{ (a ~ b) | json }}", Some("json")),
            ("{{ a ~ b | json }}", None),
            ("{{ a | json if b else c | json }}", None),
            ("{{ x }}", None),
            ("{{ -x | json }}", None),
        ] {
            let pieces = pieces(body).expect(body);
            assert_eq!(tags(&pieces).next().and_then(super::Tag::last_filter), want, "{body}");
        }
    }
}
