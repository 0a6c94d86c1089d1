//! A manual page, written down in man(7)'s language.
//!
//! Decides how headings, paragraphs, lists and examples look, and what has to be escaped, so that a page has no line
//! which groff and mandoc would take for something else, or warn about. Tables become lists of terms: what stands in
//! ours are sentences, which columns of a terminal would cut to pieces.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::mem;

/// Text of a paragraph, escaped and with its fonts. Any blank in it may become the end of a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text(String);

/// How text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Font {
    Plain,
    /// What is written as it stands: names, options, code.
    Literal,
    /// What something else is written for, and what is stressed.
    Slanted,
}

impl Text {
    pub(crate) fn plain(text: &str) -> Self {
        Self::default().and(Font::Plain, text)
    }

    pub(crate) fn literal(text: &str) -> Self {
        Self::default().and(Font::Literal, text)
    }

    /// With this behind it.
    pub(crate) fn and(mut self, font: Font, text: &str) -> Self {
        self.push(font, text);
        self
    }

    pub(crate) fn push(&mut self, font: Font, text: &str) {
        let (begin, end) = match font {
            Font::Plain => ("", ""),
            Font::Literal => ("\\fB", "\\fR"),
            Font::Slanted => ("\\fI", "\\fR"),
        };
        self.0.push_str(begin);
        escape(&mut self.0, text, font == Font::Literal);
        self.0.push_str(end);
    }

    pub(crate) fn append(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }

    /// A blank where a line may end.
    pub(crate) fn blank(&mut self) {
        self.0.push(' ');
    }

    /// The same, all of it slanted: the title of a column.
    pub(crate) fn slanted(&self) -> Self {
        let words = self.0.replace("\\fB", "").replace("\\fI", "").replace("\\fR", "");
        if words.is_empty() { Self::default() } else { Self(format!("\\fI{words}\\fR")) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.trim().is_empty()
    }
}

/// In code, the typist's characters have to come out as they are, so that they can be copied.
fn escape(out: &mut String, text: &str, is_code: bool) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\e"),
            '-' if is_code => out.push_str("\\-"),
            '\'' if is_code => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '\u{80}'.. => {
                let _ = write!(out, "\\[u{:04X}]", u32::from(character));
            }
            _ => out.push(character),
        }
    }
}

/// A page under construction.
#[derive(Debug)]
pub(crate) struct Page {
    out: String,
    /// Nothing has come since a heading or a term: a paragraph begins by itself.
    is_fresh: bool,
    /// How many lists we are in.
    depth: usize,
}

impl Page {
    /// With its title line and its first section, which whatis(1) reads.
    pub(crate) fn new(name: &str, section: u8, summary: &str, date: &str, of: &str) -> Self {
        let title = name.to_uppercase();
        let mut page = Self { out: String::new(), is_fresh: true, depth: 0 };
        page.line(&format!(".TH {title} {section} {date} \"{}\" \"ovf\\-agent\"", of.replace('-', "\\-")));
        // No hyphen and no wide blank where code may stand: it is copied.
        page.line(".nh");
        page.line(".ad l");
        page.heading("NAME");
        let summary = Text::plain(summary);
        page.line(&format!("{} \\- {}", name.replace('-', "\\-"), summary.0));
        page
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    pub(crate) fn heading(&mut self, title: &str) {
        self.title(".SH", &Text::plain(title));
    }

    pub(crate) fn subheading(&mut self, title: &Text) {
        self.title(".SS", title);
    }

    fn title(&mut self, request: &str, title: &Text) {
        // A request's arguments end at blanks; a sub-heading is bold already.
        let text = title.0.replace("\\fB", "").replace("\\fR", "").replace('"', "\\(dq");
        self.line(&format!("{request} \"{text}\""));
        self.is_fresh = true;
    }

    pub(crate) fn paragraph(&mut self, text: &Text) {
        if !mem::take(&mut self.is_fresh) {
            // In a list, `.IP` without a mark goes on in the same column.
            self.line(if self.depth == 0 { ".PP" } else { ".IP" });
        }
        self.fill(text);
    }

    /// In the paragraph that there is, but in a line of its own.
    pub(crate) fn next_line(&mut self, text: &Text) {
        if !mem::take(&mut self.is_fresh) {
            self.line(".br");
        }
        self.fill(text);
    }

    pub(crate) fn example(&mut self, code: &str) {
        self.line(".IP \"\" 4");
        self.line(".nf");
        for line in code.lines() {
            let mut escaped = String::new();
            escape(&mut escaped, line, true);
            self.raw(&escaped);
        }
        self.line(".fi");
        self.is_fresh = false;
    }

    /// Begins a list; its items follow, each with blocks behind it.
    pub(crate) fn list(&mut self) {
        if self.depth > 0 {
            self.line(".RS 4");
        }
        self.depth += 1;
        self.is_fresh = false;
    }

    pub(crate) fn end_of_list(&mut self) {
        self.depth -= 1;
        if self.depth > 0 {
            self.line(".RE");
        }
        self.is_fresh = false;
    }

    /// An item with a mark: a number, or none for a bullet.
    pub(crate) fn item(&mut self, number: Option<u64>) {
        match number {
            Some(number) => self.line(&format!(".IP {number}. 4")),
            None => self.line(".IP \\(bu 4"),
        }
        self.is_fresh = true;
    }

    /// An item that explains a term.
    pub(crate) fn term(&mut self, term: &Text) {
        self.line(".TP 4");
        // The term is the next line, whatever its length.
        self.raw(&term.0);
        self.is_fresh = true;
    }

    /// A line that is not to be taken for a request.
    fn raw(&mut self, line: &str) {
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        self.line(&format!("{guard}{}", line.trim_end()));
    }

    fn fill(&mut self, text: &Text) {
        let mut line = String::new();
        for word in text.0.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > 78 {
                self.raw(&mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            self.raw(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_for_a_request_or_an_escape() {
        let mut page = Page { out: String::new(), is_fresh: true, depth: 0 };
        page.paragraph(
            &Text::plain(".start and 'quote' with a \\ and well-known").and(Font::Literal, "--a'b"),
        );
        page.example(".x\n'y\n  a-b \\n \u{e4}\n\n");
        page.paragraph(&Text::plain("behind"));
        assert_eq!(
            page.finish(),
            "\\&.start and 'quote' with a \\e and well-known\\fB\\-\\-a\\(aqb\\fR\n.IP \"\" 4\n.nf\n\\&.x\n\\(aqy\n  a\\-b \
             \\en \\[u00E4]\n\n.fi\n.PP\nbehind\n"
        );
    }
}
