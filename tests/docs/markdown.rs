//! What is shown in the documentation: the blocks of its pages, and where their commands are to be run.
//!
//! Decides which pages are the documentation, what a block is, and what the comments `<!-- console: ... -->` mean. Runs nothing:
//! that is done without a VM by `tests/docs.rs`, with the platform's half beside it by `host/tests/docs.rs`, and in guests by
//! `qemu-tests/tests/guest/docs.rs`, which all have this module.
//!
//! | comment | what it says of the `console` blocks below it |
//! |---|---|
//! | `<!-- console: desk -->` | they are run in a new empty directory. So they are at the beginning of a page |
//! | `<!-- console: ovf-host -->` | they are run in a new empty directory, where there is `ovf-host` as well |
//! | `<!-- console: guest -->` | they are run in a new guest: Debian, with the package's units |
//! | `<!-- console: deployed -->` | the next one starts the guests of a package, with the files that stand above it |
//! | `<!-- console: run by PATH -->` | the next one is run by the test of its own in this file, which names the page |
//! | `<!-- console: not run, REASON -->` | the next one is run by nobody |

use std::fs;
use std::path::{Path, PathBuf};

/// Where the commands of a block are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The directory of this number.
    Desk(usize),
    /// The directory of this number, with `ovf-host`.
    Host(usize),
    /// The guest of this number.
    Guest(usize),
    /// Where guests of a package are started.
    Deployed,
    /// Where the test in this file has it.
    By(String),
    /// Nowhere, for this reason.
    Nowhere(String),
}

/// What an indented block has for its language.
pub(crate) const INDENTED: &str = "(indented)";

/// A fenced block, or an indented one.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) language: String,
    /// The last line of text before it.
    above: String,
    /// Its first line, from 0, without the fence.
    pub(crate) first: usize,
    pub(crate) lines: Vec<String>,
    pub(crate) place: Place,
}

impl Block {
    pub(crate) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The file that it is: the line above ends in its name.
    pub(crate) fn file(&self) -> Option<&str> {
        let name = self.above.strip_suffix("`:")?.rsplit('`').next()?;
        Some(name).filter(|name| self.language != "console" && !name.ends_with('/'))
    }
}

/// The programs' manual pages; their links are those of a page in `docs`.
pub(crate) const MANUALS: [&str; 2] = ["packaging/texts/ovf-agent.8.md", "packaging/texts/ovf-host.1.md"];

/// A page of the documentation.
#[derive(Debug)]
pub(crate) struct Page {
    /// From the top of the repository.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) blocks: Vec<Block>,
}

impl Page {
    /// The page with this text.
    pub(crate) fn new(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), blocks: blocks(&text), text }
    }

    /// Where a line is, for messages; lines count from 0 here.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{}", self.name, line + 1)
    }
}

/// All pages, in the order of their names: those at the top, all below `docs`, what each other directory says of itself, and
/// the programs' own manual pages.
pub(crate) fn pages(top: &Path) -> Vec<Page> {
    let mut found = Vec::new();
    collect(top, false, &mut found);
    collect(&top.join("docs"), true, &mut found);
    for place in ["bench", "examples", "packaging", "qemu-tests", "tests"] {
        let mut others = Vec::new();
        collect(&top.join(place), true, &mut others);
        found.extend(
            others
                .into_iter()
                .filter(|path| path.ends_with("README.md") || MANUALS.iter().any(|it| path.ends_with(it))),
        );
    }
    found.sort();
    let name =
        |path: &Path| path.strip_prefix(top).expect("below the top").to_str().expect("a name").to_owned();
    found.iter().map(|path| Page::new(&name(path), fs::read_to_string(path).expect("a page"))).collect()
}

fn collect(directory: &Path, deep: bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.expect("an entry").path();
        if deep && path.is_dir() {
            collect(&path, deep, found);
        } else if path.extension().is_some_and(|it| it == "md") {
            found.push(path);
        }
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let (mut above, mut open) = (String::new(), false);
    // Whether the line before was empty, or belongs to an indented block.
    let (mut empty, mut indented) = (true, false);
    let (mut desks, mut hosts, mut guests) = (0, 0, 0);
    let mut place = Place::Desk(0);
    let mut next = None;
    for (number, line) in text.lines().enumerate() {
        if open {
            open = line != "```";
            if open {
                found.last_mut().expect("it is open").lines.push(line.to_owned());
            }
            continue;
        }
        let mut begin = |language: &str, above: &mut String| {
            let of_next = if language == "console" { next.take() } else { None };
            found.push(Block {
                language: language.to_owned(),
                above: std::mem::take(above),
                first: number + usize::from(language != INDENTED),
                lines: Vec::new(),
                place: of_next.unwrap_or_else(|| place.clone()),
            });
        };
        if let Some(language) = line.strip_prefix("```") {
            begin(language, &mut above);
            open = true;
        } else if let Some(code) = line.strip_prefix("    ").filter(|_| empty || indented) {
            // Elsewhere it goes on with a paragraph.
            if !indented {
                begin(INDENTED, &mut above);
            }
            found.last_mut().expect("it has begun").lines.push(code.to_owned());
            (empty, indented) = (false, true);
            continue;
        } else if let Some(said) = line.strip_prefix("<!-- console: ").and_then(|it| it.strip_suffix(" -->"))
        {
            match said {
                "desk" => {
                    desks += 1;
                    place = Place::Desk(desks);
                }
                "ovf-host" => {
                    hosts += 1;
                    place = Place::Host(hosts);
                }
                "guest" => {
                    guests += 1;
                    place = Place::Guest(guests);
                }
                "deployed" => next = Some(Place::Deployed),
                _ => match (said.strip_prefix("run by "), said.strip_prefix("not run, ")) {
                    (Some(path), _) => next = Some(Place::By(path.to_owned())),
                    (None, Some(reason)) => next = Some(Place::Nowhere(reason.to_owned())),
                    (None, None) => panic!(
                        "line {}: `{line}` is none of the comments of tests/docs/markdown.rs",
                        number + 1
                    ),
                },
            }
        } else if !line.is_empty() {
            line.clone_into(&mut above);
        }
        (empty, indented) = (line.is_empty() || line.starts_with("<!--"), false);
    }
    assert!(next.is_none(), "a comment `console` is followed by no block");
    found
}
