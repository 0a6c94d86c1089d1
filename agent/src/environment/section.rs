//! A section that is not ours, cut out of its document so that it parses alone.
//!
//! Decides what must be added for that: the namespace declarations it inherits (Namespaces in XML 1.0 clause
//! 6), used or not, since prefixes also stand in values (`xsi:type`). Does not look inside. What is not
//! carried over is said at [`Section::xml`].
#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use super::Section;
use super::namespaces::Namespaces;
use super::xml::Element;

/// Cuts out the element that was open at `depth` and ended before `end`. Also returns how much longer than in
/// the document this is.
pub(super) fn cut(
    text: &str,
    element: &Element<'_>,
    end: usize,
    line: u32,
    namespaces: &Namespaces<'_>,
    depth: usize,
) -> (Section, usize) {
    let mut declarations = String::new();
    for (prefix, uri) in namespaces.inherited(depth) {
        let colon = if prefix.is_empty() { "" } else { ":" };
        declarations.extend([" xmlns", colon, prefix, "=\""]);
        for character in uri.chars() {
            match character {
                '&' => declarations.push_str("&amp;"),
                '<' => declarations.push_str("&lt;"),
                '"' => declarations.push_str("&quot;"),
                '\t' => declarations.push_str("&#9;"),
                '\n' => declarations.push_str("&#10;"),
                '\r' => declarations.push_str("&#13;"),
                _ => declarations.push(character),
            }
        }
        declarations.push('"');
    }
    let (before, after) = text[element.at..end].split_at("<".len() + element.name.len());
    let mut xml = Zeroizing::new(String::with_capacity(before.len() + declarations.len() + after.len()));
    xml.extend([before, &declarations, after]);
    let namespace = namespaces.uri(element.namespace).to_owned();
    let added = declarations.len() + namespace.len();
    (Section { namespace, name: element.local.to_owned(), line, xml }, added)
}
