//! Markup that is neither tag nor text: comments, CDATA sections, processing instructions, and what `<!` may
//! begin.
//!
//! Decides XML 1.0 clauses 2.5, 2.6 and 2.7, and that a document type (2.8) is refused: it could only bring
//! entities and defaults that no environment needs. Each function is given a text that ends where the markup
//! does, or with the document if the markup has no end. Does not decide where such markup may stand (`xml`).
#![forbid(unsafe_code)]

use super::characters::split_name;
use super::error::{ErrorKind, Fault};

const COMMENT: &str = "<!--";
const CDATA: &str = "<![CDATA[";

/// Whether the `<!` here begins something that is read. Asked before the tokenizer sees it: a document type
/// may be long.
pub(super) fn begins(text: &str, at: usize) -> Result<(), Fault> {
    const DOCTYPE: &[u8] = b"<!DOCTYPE";
    let rest = &text[at..];
    if rest.starts_with(COMMENT) || rest.starts_with(CDATA) {
        return Ok(());
    }
    if rest.as_bytes().get(..DOCTYPE.len()).is_some_and(|it| it.eq_ignore_ascii_case(DOCTYPE)) {
        return Fault::at(at, ErrorKind::Doctype);
    }
    let cut = COMMENT.starts_with(rest) || CDATA.starts_with(rest);
    Fault::at(at, if cut { ErrorKind::UnclosedMarkup("markup") } else { ErrorKind::Markup })
}

/// The text in a CDATA section.
pub(super) fn cdata(text: &str, at: usize) -> Result<&str, Fault> {
    let content = text[at..].strip_prefix(CDATA).and_then(|it| it.strip_suffix("]]>"));
    content.ok_or_else(|| Fault::new(at, ErrorKind::UnclosedMarkup("CDATA section")))
}

/// Checks a comment.
pub(super) fn comment(text: &str, at: usize) -> Result<(), Fault> {
    let Some(content) = text[at..].strip_prefix(COMMENT).and_then(|it| it.strip_suffix("-->")) else {
        return Fault::at(at, ErrorKind::UnclosedMarkup("comment"));
    };
    // `--->` is as wrong as `--` further inside.
    let wrong = content.find("--").or_else(|| content.ends_with('-').then(|| content.len() - 1));
    wrong.map_or(Ok(()), |offset| Fault::at(at + COMMENT.len() + offset, ErrorKind::Comment))
}

/// Checks a processing instruction. What it says is nobody's business here.
pub(super) fn instruction(text: &str, at: usize) -> Result<(), Fault> {
    let Some(content) = text[at + "<?".len()..].strip_suffix("?>") else {
        return Fault::at(at, ErrorKind::UnclosedMarkup("processing instruction"));
    };
    let name = content.split([' ', '\t', '\r', '\n']).next().unwrap_or_default();
    if name == "xml" {
        return Fault::at(at, ErrorKind::MisplacedDeclaration);
    }
    if name.is_empty() || name.eq_ignore_ascii_case("xml") || split_name(name) != Ok(("", name)) {
        return Fault::at(at, ErrorKind::ProcessingInstruction);
    }
    Ok(())
}
