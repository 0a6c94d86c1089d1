//! That nothing is missing from what is generated, as seen from the other side: clap's own help, and the documents.

use std::fs;

use clap::Command;

use crate::date::Date;
use crate::{Program, commands, pages, top};

fn printed(name: &str) -> String {
    let source = pages::ALL.iter().find(|source| source.name == name).expect(name);
    pages::print(source, Date::of_seconds(0)).expect(name)
}

/// A page's words, as a reader sees them: without fonts and escapes.
fn shown(page: &str) -> String {
    let text = page.replace("\\fB", "").replace("\\fI", "").replace("\\fR", "").replace("\\(aq", "'");
    text.replace("\\-", "-").replace("\\(ga", "`").replace("\\e", "\\").replace("\\&", "")
}

/// What `--help` says of a command: its sentences and options, one a line.
fn help(command: &mut Command) -> Vec<String> {
    command
        .render_help()
        .to_string()
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn every_page_can_be_printed() {
    for source in pages::ALL {
        assert!(!printed(source.name).is_empty(), "{}", source.name);
    }
}

#[test]
fn every_command_and_option_has_its_place_in_the_page() {
    for (program, least) in [(Program::Agent, 12), (Program::Host, 4)] {
        has_its_place(program, least);
    }
}

fn has_its_place(program: Program, least: usize) {
    let page = shown(&printed(program.name()));
    // Where there are options that all commands have, they stand by themselves.
    let (commands, options) = page.split_once(".SH \"OPTIONS\"").unwrap_or((&page, ""));
    let terms = |part: &str| -> Vec<String> {
        part.split(".TP 4\n").skip(1).filter_map(|item| item.lines().next()).map(str::to_owned).collect()
    };
    let has = |terms: &[String], word: &str| {
        terms.iter().any(|term| term.split([' ', ',']).any(|part| part.trim_end_matches("...") == word))
    };
    let general = terms(options);
    let mut definition = commands::definition(program);
    // What only units call is hidden from people, here as in `--help`.
    let names: Vec<String> = definition
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| command.get_name().to_owned())
        .collect();
    assert!(names.len() >= least, "{names:?}");
    let mut rest = commands;
    for name in &names {
        // Its part goes up to the next command, which is a term of the outer list.
        let is_it = |item: &&str| item.split(['\n', ' ']).next() == Some(name);
        let from =
            rest.split(".TP 4\n").skip(1).find(is_it).unwrap_or_else(|| panic!("{name} is not in {rest}"));
        rest = &rest[from.as_ptr() as usize - rest.as_ptr() as usize..];
        let part = match rest.find("\n.RE\n") {
            Some(end) if from.contains(".RS") => &rest[..end],
            _ => from,
        };
        let own = terms(part);
        for line in help(definition.find_subcommand_mut(name).expect("named above")) {
            let word = match line.split_whitespace().find(|word| word.starts_with("--")) {
                Some(option) if line.starts_with('-') => option,
                _ if line.starts_with(['[', '<']) => line.split_whitespace().next().expect("it is not empty"),
                _ => continue,
            };
            let word = word.trim_end_matches("...").trim_matches(['[', ']', '<', '>']);
            // Else every command has it, and the page says so once.
            if word == "--help" && options.is_empty() {
                continue;
            }
            assert!(has(&own, word) || has(&general, word), "`{word}` of {name}: {own:?}, {general:?}");
        }
    }
}

/// The book's contents, and what is read by who does not have the agent yet.
const NO_PAGES: [&str; 2] = ["README.md", "comparison.md"];

#[test]
fn every_document_is_a_page_with_all_of_its_headings() {
    for entry in fs::read_dir(top().join("docs")).expect("docs is there") {
        let path = entry.expect("docs can be read").path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a document");
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name of ours");
        if NO_PAGES.contains(&name) {
            continue;
        }
        let source = pages::ALL.iter().find(|source| source.text.ends_with(&format!("/{name}")));
        let source = source
            .unwrap_or_else(|| panic!("docs/{name} is no page: add it to packaging/texts/src/pages.rs"));
        let page = shown(&printed(source.name)).to_lowercase();
        let mut is_code = false;
        for line in text.lines() {
            is_code ^= line.starts_with("```");
            if let Some(title) = line.strip_prefix("## ").or(line.strip_prefix("### ")).filter(|_| !is_code) {
                let heading = format!("\"{}\"\n", title.replace('`', "").to_lowercase());
                assert!(page.contains(&heading), "docs/{name}: {heading} is not in the page");
            }
        }
    }
}
