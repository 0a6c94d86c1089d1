//! Why a document is refused, and where.
//!
//! Decides the wording of every refusal and how a place in the document is counted: lines and columns from 1,
//! columns in characters, line ends as XML 1.0 clause 2.11 has them. Does not decide what is refused.
//!
//! A text may quote names of elements, attributes, namespaces and properties, shortened, and nothing else:
//! what follows a stray quote or ampersand in a broken document is most likely the rest of somebody's
//! password. For the same reason no text of quick-xml's is passed on.
#![forbid(unsafe_code)]

use std::fmt;

use super::{
    MAX_ADAPTERS, MAX_ATTRIBUTES, MAX_DEPTH, MAX_DOCUMENT, MAX_ENTITIES, MAX_PROPERTIES, MAX_SECTIONS,
    NAMESPACE,
};

/// A refused document: what is wrong with it, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct Error {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// What is wrong with a refused document. The strings in it are shortened and safe to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// One of the limits is exceeded.
    #[error("{0}; send less")]
    Limit(Limit),
    /// The document is, or says it is, in another encoding than UTF-8.
    #[error("the document is encoded in {0}; send it in UTF-8")]
    Encoding(String),
    /// Bytes that are not UTF-8.
    #[error("the bytes here are not UTF-8; send the document in UTF-8")]
    NotUtf8,
    /// A character that XML 1.0 clause 2.2 forbids everywhere.
    #[error("the character U+{0:04X} is forbidden in XML; remove it, or encode the value as base64")]
    ForbiddenCharacter(u32),
    /// Nothing in it but blanks and comments.
    #[error("the document has no root element; send an OVF environment")]
    NoRoot,
    /// The root element is something else.
    #[error("the root element is `{0}`, not `Environment`; send an OVF environment")]
    NotEnvironment(String),
    /// The root element has the right name, but the wrong namespace.
    #[error("`Environment` is in the namespace `{0}`; an OVF environment is in `{NAMESPACE}`")]
    ForeignEnvironment(String),
    /// The XML declaration is malformed.
    #[error("the XML declaration is malformed; write <?xml version=\"1.0\" encoding=\"UTF-8\"?>")]
    Declaration,
    /// An XML declaration after something else than blanks.
    #[error("an XML declaration stands inside the document; only its first line may be one")]
    MisplacedDeclaration,
    /// A document type declaration.
    #[error("the document has a DOCTYPE, which is never read here; remove it")]
    Doctype,
    /// `<!` that begins nothing known.
    #[error("`<!` begins neither a comment nor CDATA; write &lt; if it is meant as text")]
    Markup,
    /// The document ends inside markup that starts here.
    #[error(
        "the document ends inside the {0} that starts here; it was cut off, or a closing mark is missing"
    )]
    UnclosedMarkup(&'static str),
    /// The document ends inside an element.
    #[error(
        "the document ends inside `{name}`, opened on line {line}; it was cut off, or </{name}> is missing"
    )]
    UnclosedElement {
        /// The innermost element that is open.
        name: String,
        /// Where it was opened.
        line: u32,
    },
    /// An end tag that closes something else than the innermost element.
    #[error("</{found}> closes `{expected}`, opened on line {line}; write </{expected}>")]
    MismatchedEnd {
        /// The innermost element that is open.
        expected: String,
        /// Where it was opened.
        line: u32,
        /// The name in the end tag.
        found: String,
    },
    /// An end tag outside the root element.
    #[error("</{0}> closes nothing; remove it")]
    StrayEnd(String),
    /// An end tag with more in it than a name.
    #[error("an end tag holds something else than a name; write </{0}>")]
    EndTag(String),
    /// A second root element.
    #[error("`{0}` is a second root element; a document has one")]
    SecondRoot(String),
    /// Text before or after the root element.
    #[error("there is text outside the root element; remove it")]
    TextOutsideRoot,
    /// `<` without a name, or a name with characters that names cannot have.
    #[error(
        "a name is missing or has a character that names cannot have; write &lt; if a `<` is meant as text"
    )]
    Name,
    /// A tag in which the next tag begins.
    #[error("the tag of `{0}` is not closed before the next one begins; add the missing `>`")]
    UnclosedTag(String),
    /// Two attributes without a blank between them.
    #[error(
        "no blank before an attribute of `{0}`; add one, or write &quot; if a quote belongs to the value"
    )]
    MissingBlank(String),
    /// Something in a tag that is not an attribute.
    #[error(
        "something in the tag of `{0}` is not name=\"value\"; mend it, or write &quot; for a quote in a value"
    )]
    Attribute(String),
    /// A value that is not quoted, in the tag of this name.
    #[error("a value in the tag of `{0}` does not begin with a quote; write name=\"value\"")]
    UnquotedValue(String),
    /// `<` in the value of an attribute.
    #[error("`<` in the value of attribute `{0}`; write &lt;, or close the value with a quote")]
    LessThanInValue(String),
    /// An attribute that is there twice, also under another prefix for the same namespace.
    #[error("attribute `{0}` is given twice; remove one")]
    DuplicateAttribute(String),
    /// `&` that begins no reference.
    #[error("`&` begins no reference; write &amp;")]
    Ampersand,
    /// A reference to an entity that XML does not predefine. Its name is not shown: it may be part of a
    /// value.
    #[error(
        "a reference to an unknown entity; XML knows amp, lt, gt, apos and quot; write &amp; for an ampersand"
    )]
    UnknownEntity,
    /// A character reference to a character that XML 1.0 forbids.
    #[error("a reference to a character that is forbidden in XML; remove it, or encode the value as base64")]
    CharacterReference,
    /// `]]>` in text.
    #[error("`]]>` in text; write ]]&gt;")]
    CdataEnd,
    /// `--` in a comment.
    #[error("`--` in a comment; remove it")]
    Comment,
    /// A processing instruction without a proper name.
    #[error("a processing instruction needs a name, and one other than xml; write <?name ...?> or remove it")]
    ProcessingInstruction,
    /// A prefix that no declaration binds.
    #[error("the prefix `{0}` is not bound to a namespace; add xmlns:{0}=\"...\"")]
    UnboundPrefix(String),
    /// A namespace declaration that Namespaces in XML forbids.
    #[error("the namespace declaration `{0}` is not allowed; remove it")]
    NamespaceDeclaration(String),
    /// An id with a control character, which no identifier has, and which would reach whatever names the guest by it.
    #[error("the `id` of `{0}` has a control character; remove it")]
    ControlInId(&'static str),
    /// A property without a key.
    #[error("a property has no attribute `key`; add one in the namespace `{NAMESPACE}`")]
    MissingKey,
    /// A property without a value, which is something else than one with an empty value.
    #[error("property `{0}` has no attribute `value`; add one, empty if the property is to be empty")]
    MissingValue(String),
    /// A property whose attributes are all in another namespace.
    #[error("a property has its attributes in the namespace `{0}`; they belong in `{NAMESPACE}`")]
    ForeignProperty(String),
}

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of the document.
    Document,
    /// Elements open at once.
    Depth,
    /// Attributes of one element.
    Attributes,
    /// Properties of the guest and its siblings.
    Properties,
    /// Entities.
    Entities,
    /// Adapters.
    Adapters,
    /// Unknown sections, or the namespaces that they inherit together.
    Sections,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document => write!(f, "the document is larger than {} MiB", MAX_DOCUMENT >> 20),
            Self::Depth => write!(f, "elements are nested more than {MAX_DEPTH} deep"),
            Self::Attributes => write!(f, "an element has more than {MAX_ATTRIBUTES} attributes"),
            Self::Properties => write!(f, "the document has more than {MAX_PROPERTIES} properties"),
            Self::Entities => write!(f, "the document has more than {MAX_ENTITIES} entities"),
            Self::Adapters => write!(f, "the document has more than {MAX_ADAPTERS} adapters"),
            Self::Sections => {
                write!(
                    f,
                    "the document has more than {MAX_SECTIONS} unknown sections, or they inherit too much"
                )
            }
        }
    }
}

/// An error that still says where by byte offset: lines are counted only when one is needed. Small, because
/// every token is returned beside it.
pub(super) struct Fault {
    at: usize,
    kind: Box<ErrorKind>,
}

impl Fault {
    /// A fault at a byte offset of the text.
    pub(super) fn new(at: usize, kind: ErrorKind) -> Self {
        Self { at, kind: Box::new(kind) }
    }

    /// The same as a result.
    pub(super) fn at<T>(at: usize, kind: ErrorKind) -> Result<T, Self> {
        Err(Self::new(at, kind))
    }

    /// Whether it is about the encoding.
    pub(super) fn is_encoding(&self) -> bool {
        matches!(*self.kind, ErrorKind::Encoding(_))
    }

    /// Says where for people.
    pub(super) fn locate(self, text: &str) -> Error {
        let (line, column) = Lines::new(text).locate(self.at);
        Error { line, column, kind: *self.kind }
    }
}

/// Turns byte offsets into lines and columns, in one pass over the text for offsets that ascend.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    offset: usize,
    line: u32,
    column: u32,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), offset: 0, line: 1, column: 1 }
    }

    /// Line and column of an offset that is not before the last one asked for.
    pub(super) fn locate(&mut self, at: usize) -> (u32, u32) {
        while self.offset < at.min(self.bytes.len()) {
            match self.bytes[self.offset] {
                // A carriage return before a line feed does not count: the line feed ends the line.
                b'\n' => (self.line, self.column) = (self.line + 1, 1),
                b'\r' if self.bytes.get(self.offset + 1) != Some(&b'\n') => {
                    (self.line, self.column) = (self.line + 1, 1);
                }
                0x80..=0xBF => {} // the rest of a character
                _ => self.column += 1,
            }
            self.offset += 1;
        }
        (self.line, self.column)
    }
}

/// What attributes are called in the documents that there are. Where a quote is missing, a part of a value looks like a name:
/// others are not shown.
const ATTRIBUTES: [&str; 12] = [
    "xmlns",
    "id",
    "key",
    "value",
    "type",
    "name",
    "lang",
    "mac",
    "network",
    "unitNumber",
    "schemaLocation",
    "bound",
];
const PREFIXES: [&str; 8] = ["xmlns", "xml", "xsi", "oe", "ovfenv", "ovf", "ve", "evs"];

/// An attribute's name as it may be shown.
pub(super) fn attribute(name: &str) -> String {
    let known = match name.split_once(':') {
        Some(("xmlns", prefix)) => PREFIXES.contains(&prefix),
        Some((prefix, local)) => PREFIXES.contains(&prefix) && ATTRIBUTES.contains(&local),
        None => ATTRIBUTES.contains(&name),
    };
    if known { name.to_owned() } else { "…".to_owned() }
}

/// An attribute's prefix as it may be shown.
pub(super) fn prefix(prefix: &str) -> String {
    if PREFIXES.contains(&prefix) { prefix.to_owned() } else { "…".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn lines_end_with_any_of_the_three_line_ends_and_columns_count_characters() {
        let cases = [
            ("", 0, (1, 1)),
            ("ab", 1, (1, 2)),
            ("a\nb", 2, (2, 1)),
            ("a\r\nbc", 4, (2, 2)),
            ("a\rb", 2, (2, 1)),
            ("a\r\rb", 3, (3, 1)),
            ("äö€😀x", 11, (1, 5)),
            ("ab", 99, (1, 3)),
        ];
        for (text, at, expected) in cases {
            assert_eq!(Lines::new(text).locate(at), expected, "offset {at} of {text:?}");
        }
    }
}
