//! The documentation's commands that want `ovf-host`, run: what a page shows is what happens.
//!
//! Which blocks these are, and what `...` stands for, is said in `tests/docs/markdown.rs` and `console.rs`; all others are run by
//! `tests/docs.rs`, which also says what is wrong with how a page is written. `BLESS=1` rewrites what commands say; the diff is for a
//! person to read.

use std::fs;
use std::path::Path;

#[path = "common/agent.rs"]
mod agent;
#[expect(dead_code, reason = "who runs a command differs in guests alone")]
#[path = "../../tests/docs/console.rs"]
mod console;
#[path = "../../tests/docs/desk.rs"]
mod desk;
#[path = "../../tests/docs/markdown.rs"]
mod markdown;

use console::{Answers, agrees, with_answers};
use desk::Desk;
use markdown::{Block, Page, Place};

#[test]
fn commands_say_what_is_shown() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let programs =
        [("ovf-agent", Path::new(agent::agent())), ("ovf-host", Path::new(env!("CARGO_BIN_EXE_ovf-host")))];
    let is_blessed = std::env::var_os("BLESS").is_some();
    let (mut run, mut faults) = (0, String::new());
    for page in markdown::pages(&top) {
        let (mut answers, mut desk) = (Answers::new(), None);
        for block in &page.blocks {
            let Place::Host(number) = block.place else { continue };
            if desk.as_ref().is_none_or(|(there, _)| *there != number) {
                desk = Some((number, Desk::new(&top, &programs)));
            }
            let (_, desk) = desk.as_mut().expect("it is there");
            if let Some(file) = block.file() {
                desk.put(file, &block.text());
            }
            if block.language == "console" {
                run += follow(&page, block, desk, &mut answers, &mut faults);
            }
        }
        if is_blessed && !answers.is_empty() {
            fs::write(top.join(&page.name), with_answers(&page.text, &answers)).expect("written");
        }
    }
    assert!(is_blessed || faults.is_empty(), "{faults}BLESS=1 writes what was said");
    assert!(run > 30, "{run} commands were run");
}

/// Runs the commands of a block; how many it has.
fn follow(page: &Page, block: &Block, desk: &mut Desk, answers: &mut Answers, faults: &mut String) -> usize {
    let commands =
        console::commands(block).unwrap_or_else(|error| panic!("{}: {error}", page.at(block.first)));
    let count = commands.len();
    for command in commands {
        let said = desk.run(&command.text);
        if !agrees(&command.says, &said.lines().collect::<Vec<_>>()) {
            let at = page.at(command.shown.start - 1);
            *faults +=
                &format!("{at}: {}\nshows\n{}\nand it said\n{said}\n", command.text, command.says.join("\n"));
            answers.push((command.shown, said));
        }
    }
    count
}
