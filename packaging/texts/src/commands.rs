//! The command line's definition, onto its manual page.
//!
//! Decides how commands and options look in it. There is one page for all commands: most have no option of their own, and
//! one answer is found sooner in one page. (`clap_mangen` writes a page for each, and repeats the common options in all.)

#![forbid(unsafe_code)]

use clap::{Arg, ArgAction, Command};

use crate::Program;
use crate::page::{Font, Page, Text};

/// A program's definition, with what clap adds by itself.
pub(crate) fn definition(program: Program) -> Command {
    let mut command = program.definition();
    command.build();
    command
}

pub(crate) fn synopsis(page: &mut Page, program: Program) {
    let mut text = Text::literal(program.name());
    if definition(program).get_arguments().any(Arg::is_global_set) {
        text = text.and(Font::Plain, " [").and(Font::Slanted, "option").and(Font::Plain, "]...");
    }
    let text = text
        .and(Font::Plain, " ")
        .and(Font::Slanted, "command")
        .and(Font::Plain, " [")
        .and(Font::Slanted, "argument")
        .and(Font::Plain, "]...");
    page.paragraph(&text);
}

/// Every command, with the arguments that are its own.
pub(crate) fn commands(page: &mut Page, definition: &Command) {
    page.list();
    for command in definition.get_subcommands().filter(|command| !command.is_hide_set()) {
        let mut usage = Text::literal(command.get_name());
        let own: Vec<&Arg> = command.get_arguments().filter(|argument| is_own(argument)).collect();
        for argument in &own {
            let (open, close) = if argument.is_required_set() { ("", "") } else { ("[", "]") };
            usage.push(Font::Plain, &format!(" {open}"));
            usage.append(&form(argument));
            usage.push(Font::Plain, close);
        }
        page.term(&usage);
        page.paragraph(&sentence(command.get_about().map(ToString::to_string)));
        if own.is_empty() {
            continue;
        }
        page.list();
        for argument in &own {
            explain(page, argument);
        }
        page.end_of_list();
    }
    page.end_of_list();
}

/// The options that all commands have.
pub(crate) fn options(page: &mut Page, definition: &Command) {
    page.list();
    for argument in definition.get_arguments() {
        explain(page, argument);
    }
    page.end_of_list();
}

fn is_own(argument: &Arg) -> bool {
    !argument.is_global_set()
        && !matches!(argument.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong)
}

fn explain(page: &mut Page, argument: &Arg) {
    let mut term = Text::default();
    if let (Some(short), Some(_)) = (argument.get_short(), argument.get_long()) {
        term.push(Font::Literal, &format!("-{short}"));
        term.push(Font::Plain, ", ");
    }
    term.append(&form(argument));
    page.term(&term);
    page.paragraph(&sentence(argument.get_help().map(ToString::to_string)));
    let words: Vec<String> = match argument.get_action() {
        ArgAction::Set => {
            argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
        }
        _ => Vec::new(),
    };
    if !words.is_empty() {
        let mut text = Text::plain("One of ");
        for (position, word) in words.iter().enumerate() {
            text.push(Font::Plain, if position == 0 { "" } else { ", " });
            text.push(Font::Literal, word);
        }
        page.next_line(&text.and(Font::Plain, "."));
    }
    if let [default] = argument.get_default_values()
        && matches!(argument.get_action(), ArgAction::Set)
    {
        let text = Text::plain("By default ").and(Font::Literal, &default.to_string_lossy());
        page.next_line(&text.and(Font::Plain, "."));
    }
}

/// `--config DIR`, or `KEY`.
fn form(argument: &Arg) -> Text {
    let value = argument.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    let many = if matches!(argument.get_action(), ArgAction::Append) { "..." } else { "" };
    match argument.get_long() {
        Some(long) if argument.get_action().takes_values() => Text::literal(&format!("--{long}"))
            .and(Font::Plain, " ")
            .and(Font::Slanted, value)
            .and(Font::Plain, many),
        Some(long) => Text::literal(&format!("--{long}")),
        None => Text::default().and(Font::Slanted, value).and(Font::Plain, many),
    }
}

/// clap's texts have no full stop, and their code is between backquotes.
fn sentence(text: Option<String>) -> Text {
    let mut sentence = Text::default();
    for (position, part) in text.unwrap_or_default().split('`').enumerate() {
        sentence.push(if position % 2 == 0 { Font::Plain } else { Font::Literal }, part);
    }
    sentence.and(Font::Plain, ".")
}
