//! The `console` blocks that need neither a guest nor the platform's half, run page by page at a `desk`.
//!
//! A block below a line that ends in a file's name and a colon is that file. A command of the repository's own (`make test`) is not run
//! but looked up, by `names`.

use std::collections::BTreeSet;
use std::fs;

use crate::console::{self, Answers, agrees};
use crate::desk::Desk;
use crate::markdown::{Block, INDENTED, Page, Place};
use crate::{agent, names, top};

/// How many commands there were, of each kind.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) run: usize,
    pub(crate) by_name: usize,
    pub(crate) with_host: usize,
    pub(crate) in_guests: usize,
    pub(crate) beside_guests: usize,
    pub(crate) by_others: usize,
    pub(crate) nowhere: Vec<String>,
}

impl Counts {
    /// All blocks of a page that can be run here; or every fault, each with its place. The page as it should be.
    pub(crate) fn follow(
        &mut self,
        page: &Page,
        known: &BTreeSet<String>,
        faults: &mut Vec<String>,
    ) -> String {
        let mut answers = Answers::new();
        let mut desk = None;
        for block in &page.blocks {
            if let Some(fault) = convention(block, known) {
                faults.push(format!("{}: {fault}", page.at(block.first)));
                continue;
            }
            if let Place::Desk(number) = block.place {
                let (there, desk) = desk.get_or_insert_with(|| (number, new_desk()));
                if *there != number {
                    (*there, *desk) = (number, new_desk());
                }
                match block.file() {
                    Some(file) if file.starts_with('/') => {
                        faults.push(format!("{}: {file} is a file of a guest's", page.at(block.first)));
                    }
                    Some(file) => desk.put(file, &block.text()),
                    None => {}
                }
                if block.language == "console" {
                    self.block(page, block, desk, faults, &mut answers);
                }
            } else if block.language == "console" {
                if let Place::Nowhere(reason) = &block.place {
                    self.nowhere.push(format!("{}: {reason}", page.at(block.first)));
                    continue;
                }
                let commands = console::commands(block).expect("it has been read already");
                if let Place::Host(_) = block.place {
                    self.with_host += commands.len();
                    continue;
                }
                if let Place::By(path) = &block.place {
                    self.by_others += commands.len();
                    let test = fs::read_to_string(top().join(path)).unwrap_or_default();
                    if !test.contains(&page.name) {
                        faults.push(format!("{}: {path} is no test of this page", page.at(block.first)));
                    }
                    continue;
                }
                let roots = commands.iter().filter(|command| command.is_root).count();
                self.in_guests += roots;
                self.beside_guests += commands.len() - roots;
            }
        }
        console::with_answers(&page.text, &answers)
    }

    fn block(
        &mut self,
        page: &Page,
        block: &Block,
        desk: &mut Desk,
        faults: &mut Vec<String>,
        answers: &mut Answers,
    ) {
        for command in console::commands(block).expect("it has been read already") {
            let mut fault = |what: &str| faults.push(format!("{}: {what}", page.at(command.shown.start - 1)));
            if let Some(known) = names::look_up(&top(), &command.text) {
                self.by_name += 1;
                if let Err(error) = known {
                    fault(&error);
                } else if !command.says.is_empty() {
                    fault("nobody runs it here, so nothing can be shown of what it says");
                }
                continue;
            }
            self.run += 1;
            let said = desk.run(&command.text);
            if !agrees(&command.says, &said.lines().collect::<Vec<_>>()) {
                answers.push((command.shown, said));
            }
        }
    }
}

fn new_desk() -> Desk {
    Desk::new(&top(), &[("ovf-agent", &agent())])
}

/// The programs that commands of these pages begin with.
pub(crate) fn programs(pages: &[Page]) -> BTreeSet<String> {
    let consoles = pages.iter().flat_map(|page| &page.blocks).filter(|block| block.language == "console");
    let commands = consoles.filter_map(|block| console::commands(block).ok()).flatten();
    commands.map(|command| names::program(&command.text).to_owned()).collect()
}

/// What is wrong with how a block is written.
fn convention(block: &Block, known: &BTreeSet<String>) -> Option<String> {
    let first = block.lines.first().map_or("", String::as_str);
    match block.language.as_str() {
        "console" => console::commands(block).err(),
        "sh" if first.starts_with("#!") => None,
        "sh" => Some("commands are a block `console`; a script begins with `#!`".to_owned()),
        "" | "text" | INDENTED => {
            let command = block.lines.iter().find(|line| names::is_command(line, known))?;
            Some(format!("`{command}` is a command: it belongs into a block `console`"))
        }
        "ini" | "json" | "rust" | "tera" | "toml" | "xml" => None,
        other => Some(format!("nobody knows what `{other}` is; add it to tests/docs/follow.rs")),
    }
}
