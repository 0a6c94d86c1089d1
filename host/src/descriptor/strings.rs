//! Texts in other languages.
//!
//! Decides what a bundle is, inline or in a file, and which language is nearest to the one that was asked for.
//!
//! The rules: DSP0243, clause 10; RFC 4647, 3.4 (lookup: `de-CH` is content with `de`, and here with `de-DE` as well).

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use roxmltree::Node;

use super::names;
use super::reader::{Reader, text};
use super::{Message, Placed};
use crate::finding::{Code, Finding, quoted};
use crate::xml::Source;

const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// Texts in one language.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    /// The language, as BCP 47 has it; empty where nobody says.
    pub language: String,
    /// Where the bundle begins.
    pub at: usize,
    /// The file that holds it, by its id.
    pub file: Option<Placed>,
    /// The texts, by their names.
    pub texts: Vec<(Placed, String)>,
    /// Texts that are files of their own: names, and ids of files.
    pub text_files: Vec<(Placed, Placed)>,
}

impl Reader<'_> {
    /// A Strings element.
    pub(super) fn strings(&mut self, node: Node<'_, '_>) {
        let file = self.attribute(node, "fileRef");
        self.descriptor.other_file_refs.extend(file.clone().map(|it| ("Strings", it)));
        let mut bundle =
            Bundle { language: language(node), at: node.range().start, file, ..Bundle::default() };
        for (name, child) in self.children(node) {
            if name != "Msg" {
                continue;
            }
            self.children(child);
            let file = self.attribute(child, "fileRef");
            self.descriptor.other_file_refs.extend(file.clone().map(|it| ("Msg", it)));
            let Some(id) = self.required(child, "msgid") else { continue };
            match file {
                Some(file) => bundle.text_files.push((id, file)),
                None => bundle.texts.push((id, text(child))),
            }
        }
        self.descriptor.bundles.push(bundle);
    }
}

pub(super) fn language(node: Node<'_, '_>) -> String {
    node.attribute((XML, "lang")).unwrap_or_default().to_owned()
}

/// The texts of a bundle that is a file of its own, and its language.
///
/// # Errors
/// It is none.
pub fn bundle(source: &Source) -> Result<Bundle, Finding> {
    let tree = source.tree()?;
    let root = tree.root_element();
    let namespace = root.tag_name().namespace();
    let is_known = namespace.is_none_or(|it| names::STRINGS.contains(&it) || names::is_ovf(Some(it)));
    if !is_known || !matches!(root.tag_name().name(), "Bundle" | "Strings") {
        let message = format!(
            "the root element is {} and not a Strings of {}",
            quoted(root.tag_name().name()),
            quoted(names::STRINGS[0])
        );
        return Err(source.finding(Code::BundleMalformed, root.range().start, message));
    }
    let messages = root.children().filter(|it| it.is_element() && it.tag_name().name() == "Msg");
    let texts = messages.filter_map(|node| {
        let id = node.attributes().find(|it| it.name() == "msgid")?;
        Some((Placed { value: id.value().to_owned(), at: id.range_value().start }, text(node)))
    });
    Ok(Bundle { language: language(root), at: 0, file: None, texts: texts.collect(), text_files: Vec::new() })
}

/// The texts of one language, by their names.
#[derive(Debug, Default)]
pub struct Strings {
    texts: BTreeMap<String, String>,
}

impl Strings {
    /// Those of the language that is nearest to `wanted`, which may be the descriptor's `own`; none if there is none near.
    pub fn of(bundles: &[Bundle], own: &str, wanted: &str) -> Option<Self> {
        let near = |language: &str| {
            let (language, wanted) = (normal(language), normal(wanted));
            let base = |it: &str| it.split('-').next().unwrap_or_default().to_owned();
            match () {
                () if language == wanted => 3,
                () if base(&wanted) == language => 2,
                () if !wanted.is_empty() && base(&language) == base(&wanted) => 1,
                () => 0,
            }
        };
        let of_bundles = bundles.iter().map(|it| near(&it.language)).max().unwrap_or(0);
        let best = of_bundles.max(near(own));
        if best == 0 {
            return None;
        }
        if best > of_bundles {
            return Some(Self::default());
        }
        let mut texts = BTreeMap::new();
        for bundle in bundles.iter().filter(|it| near(&it.language) == best) {
            texts.extend(bundle.texts.iter().map(|(id, text)| (id.value.clone(), text.clone())));
        }
        Some(Self { texts })
    }

    /// A text in this language, or in the descriptor's own.
    pub fn text<'a>(&'a self, message: &'a Message) -> &'a str {
        let translated = message.id.as_ref().and_then(|id| self.texts.get(&id.value));
        translated.map_or(message.text.as_str(), String::as_str)
    }
}

/// Case and `_` make no difference.
fn normal(language: &str) -> String {
    language.replace('_', "-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::{Message, Placed};
    use super::{Bundle, Strings};

    #[test]
    fn the_nearest_language_is_taken() {
        let bundle = |language: &str| {
            let id = Placed { value: "a".to_owned(), at: 0 };
            Bundle {
                language: language.to_owned(),
                texts: vec![(id, language.to_owned())],
                ..Bundle::default()
            }
        };
        let bundles = [bundle("de-DE"), bundle("da"), bundle("fr-FR"), bundle("fr")];
        let message = Message { text: "own".to_owned(), id: Some(Placed { value: "a".to_owned(), at: 0 }) };
        for (wanted, want) in [
            ("de-DE", Some("de-DE")),
            ("de_de", Some("de-DE")),
            ("de-CH", Some("de-DE")),
            ("de", Some("de-DE")),
            ("da-DK", Some("da")),
            ("fr-CA", Some("fr")),
            ("sv-SE", Some("own")),
            ("sv", Some("own")),
            ("en", None),
        ] {
            let strings = Strings::of(&bundles, "sv-SE", wanted);
            assert_eq!(strings.as_ref().map(|it| it.text(&message)), want, "{wanted}");
        }
        assert_eq!(Strings::default().text(&message), "own");
    }
}
