//! XML: element text and attribute values take escapes; tags, comments, CDATA, instructions and the DOCTYPE do not
//! (XML 1.0, 2.4 to 2.8).

#![forbid(unsafe_code)]

use super::{Place, Printed, Reader};

/// Where in an XML document.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    Text,
    /// Between `<` and `>`, outside of quotes.
    Tag,
    /// In an attribute's value, with its quote.
    Attribute(char),
    /// In what ends with these characters and knows no escapes.
    Until(&'static str),
}

/// Where in an XML document, and the characters before that may begin or end something.
#[derive(Debug, Clone)]
pub(super) struct Xml {
    mode: Mode,
    recent: String,
}

/// What begins so ends so; the longest beginning first.
const VERBATIM: [(&str, &str); 4] = [("<![CDATA[", "]]>"), ("<!--", "-->"), ("<?", "?>"), ("<!DOCTYPE", ">")];

impl Reader for Xml {
    fn start() -> Self {
        Self { mode: Mode::Text, recent: String::new() }
    }

    fn text(&mut self, text: &str) {
        for c in text.chars() {
            self.recent.push(c);
            let next = match &self.mode {
                Mode::Text if c == '<' => {
                    self.recent = "<".to_owned();
                    Some(Mode::Tag)
                }
                Mode::Tag if c == '>' => Some(Mode::Text),
                Mode::Tag => match VERBATIM.iter().find(|(begin, _)| *begin == self.recent) {
                    Some((_, end)) => Some(Mode::Until(end)),
                    None => matches!(c, '"' | '\'').then_some(Mode::Attribute(c)),
                },
                Mode::Attribute(quote) => (c == *quote).then_some(Mode::Tag),
                Mode::Until(end) => self.recent.ends_with(end).then_some(Mode::Text),
                Mode::Text => None,
            };
            if let Some(next) = next {
                self.mode = next;
            }
        }
    }

    fn print(&mut self, what: Printed) -> Result<Place, &'static str> {
        self.recent.clear();
        match (&self.mode, what) {
            (_, Printed::Safe) | (Mode::Text, _) | (Mode::Attribute(_), Printed::Text) => Ok(Place::Value),
            (Mode::Attribute(_), Printed::Whole) => {
                Err("prints a piece of a document, and stands in an attribute; put it into an element's text")
            }
            (Mode::Tag, _) => Err("stands in a tag, outside of quotes; write name=\"{{ x }}\""),
            (Mode::Until("-->"), _) => Err("stands in a comment, which has no escapes; take it out of there"),
            (Mode::Until("]]>"), _) => {
                Err("stands in a CDATA section, which has no escapes; put it into plain text")
            }
            (Mode::Until(_), _) => Err("stands in an instruction or a DOCTYPE, which have no escapes"),
        }
    }

    fn join(&self, other: &Self) -> Option<Self> {
        (self.mode == other.mode).then(|| self.clone())
    }

    fn is_open(&self) -> bool {
        matches!(self.mode, Mode::Attribute(_))
    }
}
