//! Shell: a print is a whole word, quotes included, so it stands where a word may (POSIX sh, 2.2 to 2.7).

#![forbid(unsafe_code)]

use super::{Place, Printed, Reader, UNSURE};

/// What is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nest {
    Single,
    Double,
    /// `$'...'`
    Dollar,
    /// `$(...)` or `(...)`; its inside is code again.
    Command,
    Backquote,
    /// `${...}`
    Parameter,
    /// `$((...))` or `((...))`, and a bracket in it.
    Arithmetic,
    Bracket,
    Comment,
    /// A comment or not, until the line ends.
    Unsure,
    Heredoc,
}

/// Where in a shell script.
#[derive(Debug, Clone)]
pub(super) struct Shell {
    open: Vec<Nest>,
    escaped: bool,
    /// Whether a word may begin here.
    between: bool,
    /// The ends of the here-documents that begin with the next line, the last first, and whether tabs before them count.
    heredocs: Vec<(String, bool)>,
    line: String,
}

impl Shell {
    /// Takes the next characters, at least one; returns how many bytes.
    fn step(&mut self, rest: &str) -> usize {
        let c = rest.chars().next().unwrap_or_default();
        let one = c.len_utf8();
        if self.open.last() == Some(&Nest::Heredoc) {
            return self.heredoc(c);
        }
        if std::mem::take(&mut self.escaped) {
            self.between = false;
            return one;
        }
        let top = self.open.last().copied();
        let quoted = self.open.contains(&Nest::Double);
        let (push, len) = match (top, c) {
            (Some(Nest::Single), '\'') | (Some(Nest::Dollar), '\'') => return self.pop(1),
            (Some(Nest::Double), '"') | (Some(Nest::Backquote), '`') | (Some(Nest::Parameter), '}') => {
                return self.pop(1);
            }
            (Some(Nest::Arithmetic), _) if rest.starts_with("))") => return self.pop(2),
            (Some(Nest::Bracket), ')') => return self.pop(1),
            (Some(Nest::Comment | Nest::Unsure), '\n') => return self.pop(0),
            (Some(Nest::Single | Nest::Comment | Nest::Unsure), _) => return one,
            (_, '\\') => {
                self.escaped = true;
                return one;
            }
            (Some(Nest::Dollar), _) => return one,
            (_, '`') => (Nest::Backquote, 1),
            (Some(Nest::Backquote), _) => return one,
            _ if rest.starts_with("$((") => (Nest::Arithmetic, 3),
            _ if rest.starts_with("$(") => (Nest::Command, 2),
            _ if rest.starts_with("${") => (Nest::Parameter, 2),
            (Some(Nest::Arithmetic | Nest::Bracket), '(') => (Nest::Bracket, 1),
            (Some(Nest::Double), _) => return one,
            (_, '"') => (Nest::Double, 1),
            (Some(Nest::Parameter), '\'') if quoted => return one,
            (_, '\'') => (Nest::Single, 1),
            (Some(Nest::Parameter | Nest::Arithmetic | Nest::Bracket), _) => return one,
            _ if rest.starts_with("$'") => (Nest::Dollar, 2),
            _ if rest.starts_with("((") && self.between => (Nest::Arithmetic, 2),
            (_, '(') => (Nest::Command, 1),
            (Some(Nest::Command), ')') => return self.pop(1),
            (_, '#') if self.between => (Nest::Comment, 1),
            _ if rest.starts_with("<<") => return self.redirection(rest),
            (_, '\n') if !self.heredocs.is_empty() => {
                self.line.clear();
                (Nest::Heredoc, 1)
            }
            _ => {
                self.between = c.is_ascii_whitespace() || matches!(c, ';' | '&' | '|' | ')' | '<' | '>');
                return one;
            }
        };
        self.open.push(push);
        self.between = push == Nest::Command;
        len
    }

    fn pop(&mut self, len: usize) -> usize {
        self.open.pop();
        self.between = false;
        len
    }

    /// `<<END`, `<<-'END'`; `<<<` is none.
    fn redirection(&mut self, rest: &str) -> usize {
        self.between = true;
        let behind = &rest[2..];
        if behind.starts_with('<') {
            return 3;
        }
        let tabs = behind.starts_with('-');
        let word = behind[usize::from(tabs)..].trim_start_matches([' ', '\t']);
        let len = word.find(|c: char| c.is_ascii_whitespace() || ";&|<>()".contains(c)).unwrap_or(word.len());
        let end: String = word[..len].chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
        if !end.is_empty() {
            self.heredocs.insert(0, (end, tabs));
        }
        rest.len() - word.len() + len
    }

    fn heredoc(&mut self, c: char) -> usize {
        if c == '\n' {
            let line = std::mem::take(&mut self.line);
            let ends = |(end, tabs): &(String, bool)| {
                (if *tabs { line.trim_start_matches('\t') } else { &line }) == end
            };
            if self.heredocs.last().is_some_and(ends) {
                self.heredocs.pop();
                if self.heredocs.is_empty() {
                    self.open.pop();
                    self.between = true;
                }
            }
        } else {
            self.line.push(c);
        }
        c.len_utf8()
    }
}

impl Reader for Shell {
    fn start() -> Self {
        Self { open: Vec::new(), escaped: false, between: true, heredocs: Vec::new(), line: String::new() }
    }

    fn text(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            rest = &rest[self.step(rest)..];
        }
    }

    fn print(&mut self, what: Printed) -> Result<Place, &'static str> {
        // What is printed is no line that ends a here-document.
        self.line.push('\0');
        let escaped = std::mem::take(&mut self.escaped);
        let between = std::mem::take(&mut self.between);
        let wrong = match self.open.last() {
            _ if what == Printed::Safe => return Ok(Place::Value),
            Some(Nest::Comment) => return Ok(Place::Comment),
            _ if escaped => "stands behind a backslash; take that away",
            Some(Nest::Single | Nest::Double | Nest::Dollar) => {
                "stands inside of quotes, and brings its own; take yours away, as in X={{ x }}"
            }
            Some(Nest::Unsure) => UNSURE,
            Some(Nest::Backquote) => "stands between backquotes; write $( ) in their place",
            Some(Nest::Parameter) => "stands in ${ }; set a variable first, X={{ x }}, and use that",
            Some(Nest::Arithmetic | Nest::Bracket) => {
                "stands in an arithmetic expression, which a value could be more than a number of; set a variable \
                 first, X={{ x }}, and use that"
            }
            Some(Nest::Heredoc) => {
                "stands in a here-document, where no quotes help; print it by a command, as in printf '%s\\n' {{ x }}"
            }
            None | Some(Nest::Command) => {
                self.between = between && what == Printed::Whole;
                return Ok(Place::Value);
            }
        };
        Err(wrong)
    }

    fn join(&self, other: &Self) -> Option<Self> {
        let comment = |open: &[Nest]| matches!(open.last(), Some(Nest::Comment | Nest::Unsure));
        let outside = |shell: &Self| {
            let len = shell.open.len() - usize::from(comment(&shell.open));
            shell.open[..len].to_vec()
        };
        let same = outside(self) == outside(other)
            && self.heredocs == other.heredocs
            && self.escaped == other.escaped;
        let mut both = Self { between: self.between && other.between, ..self.clone() };
        if self.open != other.open {
            both.open = outside(self);
            both.open.push(Nest::Unsure);
        }
        same.then_some(both)
    }
}
