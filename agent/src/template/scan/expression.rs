//! What belongs together in the words of a tag: arguments, filters, operands.
//!
//! Decides that by brackets, and by how tightly the engine's operators bind: of all, a filter binds tightest, and `is` looser
//! than arithmetic and comparison (Tera 2, `binary_binding_power`). It is no parser: what it cannot tell it does not say.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::{Tag, Word, WordKind};

impl<'a> Tag<'a> {
    /// The names of the arguments in the brackets behind the word at byte `at`; none where there are no brackets. A first
    /// argument without a name is there by what it begins with.
    pub(in crate::template) fn arguments(&self, at: usize) -> Vec<&'a str> {
        let behind = self.words.partition_point(|word| word.at <= at);
        let words = &self.words[behind..];
        let mut depth = 0;
        let mut names = Vec::new();
        for (index, word) in words.iter().enumerate() {
            match word.text {
                "(" | "[" | "{" if word.kind == WordKind::Sign => depth += 1,
                ")" | "]" | "}" if word.kind == WordKind::Sign => depth -= 1,
                "=" if depth == 1 => names.extend(words[..index].last().map(|name| name.text)),
                _ => {}
            }
            if depth == 0 || index == 0 && word.text != "(" {
                break;
            }
            if index == 1 && words.get(2).is_none_or(|next| next.text != "=") {
                names.push(word.text);
            }
        }
        names
    }

    /// The last filter of an expression that is nothing but a value and its filters, so that it applies to all of it:
    /// `x.y | f | g(a=1)` has `g`, and `a ~ b | g` has none.
    pub(in crate::template) fn last_filter(&self) -> Option<&'a str> {
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
    pub(in crate::template) fn sole_name(&self) -> Option<&'a str> {
        match &self.words[..] {
            [Word { text, kind: WordKind::Name, .. }] => Some(text),
            _ => None,
        }
    }

    /// The bytes behind the operands of every `~`: the ends of what it joins, as the engine reads it, of which a filter
    /// put there is the last. A text in quotes is left out, since it needs no looking at.
    pub(in crate::template) fn joined(&self) -> Vec<usize> {
        let mut ends = Vec::new();
        for (join, word) in self.words.iter().enumerate() {
            if word.kind == WordKind::Sign && word.text == "~" {
                ends.extend(behind(&self.words[..join]));
                ends.extend(behind(self.operand(join + 1)));
            }
        }
        // What stands between two of them is an operand of both.
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// The bytes of what loops go through, in a statement or in `[x for x in xs]`, and of what `...` takes over into a list or
    /// map: as far as the bracket around it goes, or the next comma, or the `if` of such a list.
    pub(in crate::template) fn gone_through(&self) -> Vec<Range<usize>> {
        let is = |index: Option<usize>, text: &str| {
            index.and_then(|index| self.words.get(index)).is_some_and(|word| word.text == text)
        };
        let begins = |index: usize| {
            let before = |n| index.checked_sub(n);
            let pair = if is(before(2), ",") { 2 } else { 0 };
            is(Some(index), "in") && is(before(2 + pair), "for")
                || is(Some(index), ".") && is(before(1), ".") && is(before(2), ".")
        };
        let ranges = (0..self.words.len()).filter(|index| begins(*index)).filter_map(|index| {
            let of_statement = self.keyword().1 == "for" && index <= 4;
            let words = self.words.get(index + 1..)?;
            let end = outside(words, |word| word.text == "," || word.text == "if" && !of_statement);
            let (first, last) = (words.first()?, words[..end].last()?);
            Some(first.at..last.at + last.text.len())
        });
        ranges.collect()
    }

    /// The bytes behind what each `in` searches that is no loop's.
    pub(in crate::template) fn searched(&self) -> Vec<usize> {
        let is_in = |word: &Word<'_>| word.kind == WordKind::Name && word.text == "in";
        let looped: Vec<usize> = self.gone_through().into_iter().map(|range| range.start).collect();
        let operands =
            self.words.iter().enumerate().filter(|(_, word)| is_in(word)).filter_map(|(index, _)| {
                let operand = self.operand(index + 1);
                operand.first().filter(|first| !looped.contains(&first.at))?;
                behind(operand)
            });
        operands.collect()
    }

    /// The words of the operand of `~` that begins with word `start`: filters, fields and brackets belong to it, and a
    /// sign of arithmetic, of which the engine knows that both sides are numbers, ends it.
    fn operand(&self, start: usize) -> &[Word<'a>] {
        let words = self.words.get(start..).unwrap_or_default();
        let end = outside(words, |word| match word.kind {
            WordKind::Sign => !matches!(word.text, "." | "?." | "|"),
            WordKind::Name => matches!(word.text, "and" | "or" | "not" | "is" | "in" | "if" | "else"),
            WordKind::Literal => false,
        });
        &words[..end]
    }

    /// Whether a name stands in it as `x is none` and `x is not none` alone, and nothing before it binds tighter.
    pub(in crate::template) fn asks_only_for_none(&self, name: &str) -> bool {
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
}

/// How many words there are before the one that ends them, outside of all brackets; the bracket around them does so, too.
fn outside(words: &[Word<'_>], ends: impl Fn(&Word<'_>) -> bool) -> usize {
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
        _ => depth == 0 && ends(word),
    });
    end.unwrap_or(words.len())
}

/// The byte behind words that are an operand, or end in one; none for a text in quotes.
fn behind(words: &[Word<'_>]) -> Option<usize> {
    let last = words.last().filter(|word| !word.text.starts_with(['"', '\'', '`']))?;
    Some(last.at + last.text.len())
}

#[cfg(test)]
mod tests {
    use super::super::{pieces, tags};
    use super::Tag;

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
            assert_eq!(tags(&pieces).next().and_then(Tag::last_filter), want, "{body}");
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
            let ends = tags(&pieces).flat_map(Tag::joined);
            ends.collect::<Vec<_>>().into_iter().rev().for_each(|end| marked.insert(end, '!'));
            assert_eq!(marked, want);
        }
    }

    #[test]
    fn what_is_gone_through_is_known_by_where_it_stands() {
        for (body, want) in [
            ("{% for x in xs %}", "{% for x in <xs> %}"),
            ("{%- for k, v in a.b[0] | f(x=c, y=d) -%}", "{%- for k, v in <a.b[0] | f(x=c, y=d)> -%}"),
            ("{% for x in a if b in c else d %}", "{% for x in <a if b in c! else d> %}"),
            ("{{ [x for x in xs if x in ys] | f }}", "{{ [x for x in <xs> if x in ys!] | f }}"),
            ("{{ f(a=[k ~ v for k, v in a or b]) }}", "{{ f(a=[k ~ v for k, v in <a or b>]) }}"),
            ("{{ [...a, b, ...c or d] }}", "{{ [...<a>, b, ...<c or d>] }}"),
            ("{% set m = {...a | f, \"b\": c} %}", "{% set m = {...<a | f>, \"b\": c} %}"),
            ("{% if a in b.c | f and d not in (e ~ f) %}", "{% if a in b.c | f! and d not in (e ~ f)! %}"),
            ("{{ a in \"text\" }}{{ \"for x in y\" }}", "{{ a in \"text\" }}{{ \"for x in y\" }}"),
            ("{% for x in %}{{ a in }}{{ [...] }}", "{% for x in %}{{ a in }}{{ [...] }}"),
        ] {
            let pieces = pieces(body).expect(body);
            let ranges = tags(&pieces).flat_map(Tag::gone_through).collect::<Vec<_>>();
            let mut marks: Vec<(usize, char)> =
                tags(&pieces).flat_map(Tag::searched).map(|end| (end, '!')).collect();
            marks.extend(ranges.into_iter().flat_map(|range| [(range.start, '<'), (range.end, '>')]));
            marks.sort_unstable();
            let mut marked = body.to_owned();
            marks.into_iter().rev().for_each(|(at, mark)| marked.insert(at, mark));
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
}
