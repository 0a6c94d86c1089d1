//! Markdown as docs/*.md have it, onto a manual page.
//!
//! Decides what becomes of each element, and of links: one to another document names its page, one to a heading of the
//! same is its text. What we do not write is refused, so that nothing gets lost on the way. A comment is passed over, or
//! tells `inserts` to put something there.

#![forbid(unsafe_code)]

use std::iter::Peekable;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::Result;
use crate::page::{Font, Page, Text};

/// Which page a document is, by its file's name: `templates.md` is `ovf-agent-template(5)`.
pub(crate) type Pages<'a> = &'a dyn Fn(&str) -> Option<String>;
/// Puts onto the page what a comment asks for; false: it asks for nothing.
pub(crate) type Inserts<'a> = &'a dyn Fn(&str, &mut Page) -> Result<bool>;

pub(crate) struct Reader<'a> {
    events: Peekable<Parser<'a>>,
    pages: Pages<'a>,
    inserts: Inserts<'a>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str, pages: Pages<'a>, inserts: Inserts<'a>) -> Self {
        Self { events: Parser::new_ext(text, Options::ENABLE_TABLES).peekable(), pages, inserts }
    }

    /// All of it. The first heading is the page's own, and what follows it the description.
    pub(crate) fn document(&mut self, page: &mut Page) -> Result<()> {
        page.heading("DESCRIPTION");
        self.blocks(page, None)
    }

    /// A part of a document, under a heading that is there.
    pub(crate) fn part(&mut self, page: &mut Page) -> Result<()> {
        self.blocks(page, None)
    }

    fn blocks(&mut self, page: &mut Page, end: Option<TagEnd>) -> Result<()> {
        loop {
            match self.events.peek() {
                None => return Ok(()),
                Some(Event::End(tag)) if Some(*tag) == end => {
                    self.events.next();
                    return Ok(());
                }
                // An item of a tight list has its text without a paragraph around it.
                Some(
                    Event::Text(_)
                    | Event::Code(_)
                    | Event::Start(Tag::Strong | Tag::Emphasis | Tag::Link { .. }),
                ) => {
                    let text = self.inline()?;
                    page.paragraph(&text);
                }
                Some(_) => self.block(page)?,
            }
        }
    }

    fn block(&mut self, page: &mut Page) -> Result<()> {
        match self.events.next() {
            Some(Event::Start(Tag::Heading { level, .. })) => self.heading(page, level)?,
            Some(Event::Start(Tag::Paragraph)) => {
                let text = self.text(TagEnd::Paragraph)?;
                page.paragraph(&text);
            }
            Some(Event::Start(Tag::CodeBlock(_))) => {
                let code = self.code();
                page.example(&code);
            }
            Some(Event::Start(Tag::List(first))) => {
                page.list();
                let mut number = first;
                while let Some(Event::Start(Tag::Item)) = self.events.next() {
                    page.item(number);
                    number = number.map(|number| number + 1);
                    self.blocks(page, Some(TagEnd::Item))?;
                }
                page.end_of_list();
            }
            Some(Event::Start(Tag::Table(_))) => self.table(page)?,
            Some(Event::Start(Tag::HtmlBlock)) => self.comment(page)?,
            other => return Err(format!("no manual page can have {other:?}; write it another way")),
        }
        Ok(())
    }

    fn heading(&mut self, page: &mut Page, level: HeadingLevel) -> Result<()> {
        let is_code = matches!(self.events.peek(), Some(Event::Code(_)));
        let mut words = String::new();
        let text = self.spans(TagEnd::Heading(level), Some(&mut words))?;
        match level {
            HeadingLevel::H1 => {}
            HeadingLevel::H2 if is_code => page.heading(&words),
            HeadingLevel::H2 => page.heading(&words.to_uppercase()),
            _ => page.subheading(&text),
        }
        Ok(())
    }

    fn code(&mut self) -> String {
        let mut code = String::new();
        while let Some(Event::Text(text)) = self.events.next() {
            code.push_str(&text);
        }
        code
    }

    fn comment(&mut self, page: &mut Page) -> Result<()> {
        let mut html = String::new();
        while let Some(Event::Html(text)) = self.events.next() {
            html.push_str(&text);
        }
        match html.trim().strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->")) {
            Some(comment) => (self.inserts)(comment.trim(), page).map(|_| ()),
            None => Err(format!("no manual page can have HTML: {html}")),
        }
    }

    /// The first column is the term, the others explain it: alone, or each behind its title.
    fn table(&mut self, page: &mut Page) -> Result<()> {
        let mut titles = Vec::new();
        page.list();
        while let Some(event) = self.events.next() {
            match event {
                Event::Start(Tag::TableHead) => {
                    titles = self.cells(TagEnd::TableHead)?;
                    if let [first, second] = &titles[..]
                        && !first.is_empty()
                    {
                        page.term(&first.slanted());
                        page.paragraph(&second.slanted());
                    }
                }
                Event::Start(Tag::TableRow) => {
                    let cells = self.cells(TagEnd::TableRow)?;
                    // A row without a term goes on with the one above.
                    if cells[0].is_empty() {
                        page.paragraph(&Text::default());
                    } else {
                        page.term(&cells[0]);
                    }
                    for (title, cell) in
                        titles.iter().zip(&cells).skip(1).filter(|(_, cell)| !cell.is_empty())
                    {
                        let mut text = Text::default();
                        if titles.len() > 2 {
                            text.append(&title.slanted());
                            text.push(Font::Plain, ":");
                            text.blank();
                        }
                        text.append(cell);
                        page.next_line(&text);
                    }
                }
                _ => break,
            }
        }
        page.end_of_list();
        Ok(())
    }

    fn cells(&mut self, end: TagEnd) -> Result<Vec<Text>> {
        let mut cells = Vec::new();
        while let Some(event) = self.events.next() {
            match event {
                Event::Start(Tag::TableCell) => cells.push(self.text(TagEnd::TableCell)?),
                Event::End(tag) if tag == end => break,
                other => return Err(format!("{other:?} between the cells of a table")),
            }
        }
        Ok(cells)
    }

    /// Text up to the end of what it is in.
    fn text(&mut self, end: TagEnd) -> Result<Text> {
        self.spans(end, None)
    }

    fn spans(&mut self, end: TagEnd, mut words: Option<&mut String>) -> Result<Text> {
        let mut text = Text::default();
        loop {
            match self.events.peek() {
                Some(Event::End(tag)) if *tag == end => {
                    self.events.next();
                    return Ok(text);
                }
                Some(Event::Text(part) | Event::Code(part)) => {
                    if let Some(words) = &mut words {
                        words.push_str(part);
                    }
                    text.append(&self.span()?);
                }
                _ => text.append(&self.span()?),
            }
        }
    }

    /// Text up to the next block.
    fn inline(&mut self) -> Result<Text> {
        let mut text = Text::default();
        while matches!(
            self.events.peek(),
            Some(
                Event::Text(_)
                    | Event::Code(_)
                    | Event::SoftBreak
                    | Event::Start(Tag::Strong | Tag::Emphasis | Tag::Link { .. })
            )
        ) {
            text.append(&self.span()?);
        }
        Ok(text)
    }

    fn span(&mut self) -> Result<Text> {
        match self.events.next() {
            Some(Event::Text(text)) => Ok(Text::plain(&text)),
            Some(Event::Code(code)) => Ok(Text::literal(&code)),
            Some(Event::SoftBreak) => Ok(Text::plain(" ")),
            Some(Event::Start(Tag::Strong)) => self.fonted(TagEnd::Strong, Font::Literal),
            Some(Event::Start(Tag::Emphasis)) => self.fonted(TagEnd::Emphasis, Font::Slanted),
            Some(Event::Start(Tag::Link { dest_url, .. })) => self.link(&dest_url),
            other => Err(format!("no paragraph of a manual page can have {other:?}; write it another way")),
        }
    }

    fn fonted(&mut self, end: TagEnd, font: Font) -> Result<Text> {
        let mut words = String::new();
        self.spans(end, Some(&mut words))?;
        Ok(Text::default().and(font, &words))
    }

    fn link(&mut self, target: &str) -> Result<Text> {
        let mut words = String::new();
        let mut text = self.spans(TagEnd::Link, Some(&mut words))?;
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        if file.is_empty() && !heading.is_empty() {
            return Ok(text);
        }
        if let Some(page) = (self.pages)(file) {
            // "see [Templates](templates.md)" is the name of a document; other words stand in their sentence.
            let (name, section) = page.split_at(page.find('(').unwrap_or(page.len()));
            let reference = Text::literal(name).and(Font::Plain, section);
            if heading.is_empty() && words.starts_with(char::is_uppercase) {
                return Ok(reference);
            }
            text.push(Font::Plain, " (");
            text.append(&reference);
            text.push(Font::Plain, ")");
            return Ok(text);
        }
        if target.starts_with("https://") {
            text.push(Font::Plain, " <");
            text.push(Font::Literal, target);
            text.push(Font::Plain, ">");
            return Ok(text);
        }
        if target.starts_with("../") || target.starts_with("decisions/") {
            return Ok(text); // a file of the repository, which its text names
        }
        Err(format!("the link to {target} leads to no manual page; packaging/texts/src/pages.rs has them"))
    }
}
