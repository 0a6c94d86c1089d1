//! A piece of Tera that was read and may be given to the engine: a template's body, a `when`, a derived value.
//!
//! Decides how every `{{ x }}` is rewritten to pass through a print function, every operand of `~` through a filter
//! that lets only what can be printed pass, and what is gone through or searched through one that counts; and translates positions of the rewritten text back to the file that somebody
//! wrote. Which print function is the caller's to say.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;

use super::meter::{CAPTURES, LOOPED, SEARCHED};
use super::scan::{Piece, Tag, TagKind, pieces, tags};
use crate::problem::At;

/// The filter for operands of `~`. Templates cannot spell it: it is none of those that they may name.
pub(super) const JOINED: &str = "__joined";

/// Where a text stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// The position of its first character.
    pub(super) at: At,
    /// Whether the file has it character by character; a TOML string with escapes has not, and is pointed at as a whole.
    pub(super) exact: bool,
}

impl Origin {
    /// The place in the file of a byte of `text`.
    pub(super) fn place(self, text: &str, byte: usize) -> At {
        if !self.exact {
            return self.at;
        }
        let At { line, column } = At::of(text, byte);
        let line_start = if line == 1 { self.at.column } else { 1 };
        At { line: self.at.line + line - 1, column: line_start + column - 1 }
    }

    /// The same for a text that has `len` characters put before it.
    pub(super) fn before(self, len: usize) -> Self {
        if !self.exact {
            return self;
        }
        Self { at: At { column: self.at.column.saturating_sub(len), ..self.at }, ..self }
    }
}

/// A body ready for Tera, that still knows where everything stood.
#[derive(Debug)]
pub(super) struct Body {
    /// What Tera compiles.
    pub(super) rewritten: String,
    pub(super) original: String,
    pub(super) origin: Origin,
    /// What each `{{ x }}` is rewritten to call, in order.
    pub(super) functions: Vec<&'static str>,
    /// Where in the rewritten text something was put in, how much, and how far before it begins what it is about, in order.
    insertions: Vec<(usize, usize, usize)>,
}

impl Body {
    /// Wraps the expression of every `{{ x }}` into a call of what `function` says, `{{ function(v=(x)) }}`; makes every
    /// `a ~ b`, in whatever tag, `a | __joined ~ b | __joined`, every `for x in y` `for x in (y) | __looped`, and every
    /// `x in y` `x in y | __searched`. A filter binds tighter than any operator: of a sum it takes the last number, and gives
    /// it back.
    pub(super) fn rewrite(
        body: &str,
        origin: Origin,
        pieces: &[Piece<'_>],
        function: impl Fn(&Tag<'_>) -> &'static str,
    ) -> Self {
        let mut this = Self {
            rewritten: String::new(),
            original: body.to_owned(),
            origin,
            functions: Vec::new(),
            insertions: Vec::new(),
        };
        let captured = captured_text(pieces);
        let mut done = 0;
        for tag in tags(pieces) {
            // What is put in, where, and how far before that begins what it is about.
            let mut put: Vec<(usize, String, usize)> = Vec::new();
            let mut filter = |ends: Vec<usize>, name: &str| {
                let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
                let back = |end: usize| end - body[..end].trim_end_matches(is_name).len();
                put.extend(ends.into_iter().map(|end| (end, format!(" | {name}"), back(end))));
            };
            filter(tag.joined(), JOINED);
            filter(tag.searched(), SEARCHED);
            for Range { start, end } in tag.gone_through() {
                let text = captured.get(&tag.inside.start).copied().unwrap_or(0);
                let arguments = if text > 0 { format!("({CAPTURES}={text})") } else { String::new() };
                put.push((start, "(".to_owned(), 0));
                put.push((end, format!(") | {LOOPED}{arguments}"), end - start));
            }
            if tag.kind == TagKind::Print {
                let function = function(tag);
                this.functions.push(function);
                put.insert(0, (tag.inside.start, format!(" {function}(v=("), 0));
                put.push((tag.inside.end, ")) ".to_owned(), 0));
            }
            put.sort_by_key(|(at, ..)| *at);
            for (at, insertion, back) in put {
                this.copy(&body[done..at], &insertion, back);
                done = at;
            }
        }
        this.copy(&body[done..], "", 0);
        this
    }

    fn copy(&mut self, text: &str, insertion: &str, back: usize) {
        self.rewritten.push_str(text);
        self.insertions.push((self.rewritten.len(), insertion.len(), back));
        self.rewritten.push_str(insertion);
    }

    /// Where a name first stands in the file.
    pub(super) fn find(&self, name: &str) -> Option<At> {
        let pieces = pieces(&self.original).ok()?;
        let byte = tags(&pieces).find_map(|tag| tag.position(name))?;
        Some(self.origin.place(&self.original, byte))
    }

    /// The position in the file of a byte of the rewritten text, the tag that it is in, as it is written, and what is left of
    /// that from there on.
    pub(super) fn locate(&self, rewritten: usize) -> (At, Option<(&str, &str)>) {
        // An insertion that holds the byte counts up to it, and then by what it is about.
        let inserted: usize = self
            .insertions
            .iter()
            .take_while(|(at, ..)| *at < rewritten)
            .map(|(at, len, back)| if rewritten < at + len { rewritten - at + back } else { *len })
            .sum();
        let mut byte = rewritten.saturating_sub(inserted).min(self.original.len());
        // A call begins before its argument's blank: point at the word.
        byte += self.original[byte..].len() - self.original[byte..].trim_start().len();
        let tag = pieces(&self.original).ok().and_then(|pieces| {
            let tag = tags(&pieces).find(|tag| tag.inside.start <= byte && byte <= tag.inside.end)?;
            Some((self.original[tag.inside.clone()].trim(), &self.original[byte..tag.inside.end]))
        });
        (self.origin.place(&self.original, byte), tag)
    }
}

/// The bytes of text in each `{% for %}` that go into a `{% set %}`, and so not through a writer, by the tag's beginning.
fn captured_text(pieces: &[Piece<'_>]) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    let mut loops: Vec<usize> = Vec::new();
    let mut captures = 0_usize;
    for piece in pieces {
        match piece {
            Piece::Text(at) if captures > 0 => {
                loops.iter().for_each(|tag| *found.entry(*tag).or_default() += at.len());
            }
            Piece::Text(_) => {}
            Piece::Tag(tag) => match tag.keyword().1 {
                _ if tag.kind == TagKind::Print => {}
                "for" => loops.push(tag.inside.start),
                "endfor" => drop(loops.pop()),
                "set" | "set_global" if !tag.assigns() => captures += 1,
                "endset" | "endset_global" => captures = captures.saturating_sub(1),
                _ => {}
            },
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Body, Origin, pieces};
    use crate::problem::At;

    #[test]
    fn a_rewritten_body_knows_where_things_stood() {
        let body = "a\n{{ x }} and {{- y | f -}}\n{% if z ~ 1 %}{{ w }}";
        let origin = Origin { at: At { line: 5, column: 1 }, exact: true };
        let body = Body::rewrite(body, origin, &pieces(body).expect(body), |_| "p");
        assert_eq!(
            body.rewritten,
            "a\n{{ p(v=( x )) }} and {{- p(v=( y | f )) -}}\n{% if z | __joined ~ 1 | __joined %}{{ p(v=( w )) }}"
        );
        for (text, line, column, tag) in [
            ("a", 5, 1, None),
            ("p(v=( x", 6, 4, Some("x")),
            ("x", 6, 4, Some("x")),
            ("p(v=( y", 6, 17, Some("y | f")),
            ("f )", 6, 21, Some("y | f")),
            ("| __joined ~", 7, 7, Some("if z ~ 1")),
            ("~ 1", 7, 9, Some("if z ~ 1")),
            ("p(v=( w", 7, 18, Some("w")),
        ] {
            let byte = body.rewritten.find(text).expect(text);
            let (at, found) = body.locate(byte);
            assert_eq!((at, found.map(|(tag, _)| tag)), (At { line, column }, tag), "{text}");
        }
    }

    #[test]
    fn what_is_gone_through_and_searched_is_counted() {
        let origin = Origin { at: At { line: 1, column: 1 }, exact: true };
        for (text, want) in [
            ("{% for x in a.b %}c{% endfor %}", "{% for x in (a.b) | __looped %}c{% endfor %}"),
            (
                "{% set t %}{% for x in a ~ b %}{% for y in c %}12{% endfor %}345{% endfor %}{% endset %}",
                "{% set t %}{% for x in (a | __joined ~ b | __joined) | __looped(text=5) %}{% for y in (c) | \
                 __looped(text=2) %}12{% endfor %}345{% endfor %}{% endset %}",
            ),
            (
                "{{ [x for x in y if x in z] }}",
                "{{ p(v=( [x for x in (y) | __looped if x in z | __searched] )) }}",
            ),
            ("{% set a = [...b, c] %}", "{% set a = [...(b) | __looped, c] %}"),
        ] {
            let body = Body::rewrite(text, origin, &pieces(text).expect(text), |_| "p");
            assert_eq!(body.rewritten, want);
            let counted = body.rewritten.find("__looped").expect(text);
            let (at, _) = body.locate(counted);
            assert!(text[at.column - 1..].starts_with(['a', 'c', 'y', 'b']), "{text} {at:?}");
        }
    }

    #[test]
    fn an_expression_in_another_file_is_found_there() {
        let at = At { line: 3, column: 9 };
        let exact = Origin { at, exact: true };
        assert_eq!(exact.before(3).place("{{ ab", 3), at);
        assert_eq!(exact.place("ab\nc", 3), At { line: 4, column: 1 });
        let whole = Origin { at, exact: false };
        assert_eq!((whole.place("ab\nc", 3), whole.before(3).place("{{ ab", 3)), (at, at));
    }
}
