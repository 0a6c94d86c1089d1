//! `agent.toml` and its drop-ins as one document.
//!
//! Decides what a later file does to an earlier one: tables are merged, down to the keys of a single parameter; the tables
//! of a list such as `[[units]]` come behind the earlier ones; and everything else is replaced, other lists and a
//! parameter's `default` included. Every value keeps the position in its own
//! file: the files stand one behind the other in one space of byte numbers, in which TOML's spans are moved to where
//! their file is. Which files there are, and in which order, is decided in [`super::files`].

#![forbid(unsafe_code)]

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::files::TextFile;
use super::{plainly, toml_problem, values};
use crate::problem::{At, Problem};

/// How deep tables are merged: sections, what they hold (`parameters.ip`, `transport.iso`), and the keys of these.
const DEPTH: usize = 2;

/// Files that make one document.
#[derive(Debug)]
pub(super) struct Sources(Vec<(usize, TextFile)>);

impl Sources {
    /// Gives each file a place behind the one before it.
    pub(super) fn new(files: Vec<TextFile>) -> Self {
        let mut start = 0;
        let place = |file: TextFile| {
            let at = start;
            // One byte between two files, so that the end of one is not the begin of the next.
            start += file.text.len() + 1;
            (at, file)
        };
        Self(files.into_iter().map(place).collect())
    }

    /// The files, in their order.
    pub(super) fn files(&self) -> impl Iterator<Item = &TextFile> {
        self.0.iter().map(|(_, file)| file)
    }

    /// A problem at a byte of the document.
    pub(super) fn problem(&self, byte: usize, message: impl Into<String>) -> Problem {
        let (file, start) = self.file(byte);
        Problem::at(&file.name, At::of(&file.text, byte - start), message)
    }

    /// The file that a byte of the document is in, and where that begins.
    pub(super) fn file(&self, byte: usize) -> (&TextFile, usize) {
        let before = self.0.partition_point(|(start, _)| *start <= byte);
        let (start, file) = &self.0[before.saturating_sub(1)];
        (file, *start)
    }

    /// The document, later files over earlier ones.
    ///
    /// # Errors
    /// A file is no TOML, or the document is not as `T` wants it.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Vec<Problem>> {
        let (document, problems) = self.document();
        if !problems.is_empty() {
            return Err(problems);
        }
        values::read(document)
            .map_err(|error| vec![self.problem(error.at.unwrap_or(0), plainly(&error.message))])
    }

    /// A text of the document, whatever the rest of it is like.
    pub(super) fn text(&self, section: &str, key: &str) -> Option<String> {
        let (document, _) = self.document();
        let section = document.get(section)?.get_ref().as_table()?;
        Some(section.get(key)?.get_ref().as_str()?.to_owned())
    }

    /// The document without the files that are no TOML, and what is wrong with these.
    fn document(&self) -> (DeTable<'_>, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut document = DeTable::new();
        for (start, file) in &self.0 {
            match DeTable::parse(&file.text) {
                Ok(table) => merge(&mut document, table.into_inner(), *start, 0),
                Err(error) => problems.push(toml_problem(&file.name, &file.text, 0, &error.into())),
            }
        }
        (document, problems)
    }
}

/// Puts `from`, whose file begins at `start`, over `into`.
fn merge<'i>(into: &mut DeTable<'i>, from: DeTable<'i>, start: usize, depth: usize) {
    for (key, value) in from {
        let name = key.get_ref().clone();
        let (span, value) = (value.span(), value.into_inner());
        match (into.get_mut(name.as_ref()).map(Spanned::get_mut), value) {
            (Some(DeValue::Table(old)), DeValue::Table(new)) if depth < DEPTH => {
                merge(old, new, start, depth + 1)
            }
            (Some(DeValue::Array(old)), DeValue::Array(new)) if depth == 0 => {
                for item in new {
                    old.push(Spanned::new(moved(&item.span(), start), placed(item.into_inner(), start)));
                }
            }
            (_, value) => {
                // The old key would keep its place too.
                into.remove(name.as_ref());
                let key = Spanned::new(moved(&key.span(), start), key.into_inner());
                into.insert(key, Spanned::new(moved(&span, start), placed(value, start)));
            }
        }
    }
}

fn moved(span: &Range<usize>, start: usize) -> Range<usize> {
    span.start + start..span.end + start
}

/// The same value with all its spans moved.
fn placed(value: DeValue<'_>, start: usize) -> DeValue<'_> {
    match value {
        DeValue::Array(items) => {
            let mut array = DeArray::new();
            for item in items {
                array.push(Spanned::new(moved(&item.span(), start), placed(item.into_inner(), start)));
            }
            DeValue::Array(array)
        }
        DeValue::Table(table) => {
            let mut moved = DeTable::new();
            merge(&mut moved, table, start, DEPTH);
            DeValue::Table(moved)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Sources, TextFile};
    use std::collections::BTreeMap;
    use toml::Spanned;

    fn sources(texts: &[&str]) -> Sources {
        let file = |(number, text): (usize, &&str)| TextFile {
            name: format!("{number}.toml"),
            text: (*text).to_owned(),
        };
        Sources::new(texts.iter().enumerate().map(file).collect())
    }

    #[test]
    fn later_files_are_put_over_earlier_ones() {
        for (texts, want) in [
            (&["a = 1\nb = 2", "b = 3"][..], "a = 1\nb = 3"),
            (&["[s]\na = 1\nb = 2", "s = { b = 3 }", "s.c = 4"], "[s]\na = 1\nb = 3\nc = 4"),
            (&["[s.t]\na = [1, 2]", "[s.t]\na = [3]"], "[s.t]\na = [3]"),
            (
                &["[p.x]\nkey = 'k'\ndefault = { a = 1 }", "[p.x]\ndefault = { b = 2 }"],
                "[p.x]\nkey = 'k'\ndefault = { b = 2 }",
            ),
            (&["a = 1", "[a]\nb = 2"], "[a]\nb = 2"),
            (&["[a]\nb = 2", "a = 1"], "a = 1"),
            (&["", "a = [{ b = 1 }]", ""], "a = [{ b = 1 }]"),
            (&["[[u]]\na = 1\n[[u]]\na = 2", "[[u]]\na = 1"], "[[u]]\na = 1\n[[u]]\na = 2\n[[u]]\na = 1"),
        ] {
            let got: toml::Table = sources(texts).read().expect("TOML");
            assert_eq!(got, want.parse().expect(want), "{texts:?}");
        }
    }

    #[test]
    fn every_value_keeps_its_place() {
        type Document = BTreeMap<String, BTreeMap<String, Vec<Spanned<i64>>>>;
        let sources = sources(&["[s]\na = [10]", "[s]\n\nb = [20,\n 30]\n"]);
        let document: Document = sources.read().expect("TOML");
        let all = document["s"].values().flatten();
        let places: Vec<_> = all.map(|value| sources.problem(value.span().start, "x").to_string()).collect();
        assert_eq!(places, ["0.toml:2:6: x", "1.toml:3:6: x", "1.toml:4:2: x"]);
        let wrong = super::tests::sources(&["[s]\na = [10]", "[s]\nb = [1, 'x']"]).read::<Document>();
        let wrong = wrong.expect_err("no number")[0].to_string();
        assert!(wrong.starts_with("1.toml:2:9: invalid type"), "{wrong}");
        let broken = super::tests::sources(&["a = ", "b = "]).read::<Document>().expect_err("no TOML");
        assert_eq!(broken.iter().map(|it| it.file.as_str()).collect::<Vec<_>>(), ["0.toml", "1.toml"]);
    }
}
