//! The manual pages: what each is called, and which text it is made from.
//!
//! Decides that there is one for every file of docs/ that tells of using a program, and one for each program, whose text is beside this crate with
//! places for what the command line's definition and docs/ say.

#![forbid(unsafe_code)]

use crate::date::Date;
use crate::markdown::Reader;
use crate::page::{Page, Text};
use crate::{Program, Result, commands, read};

/// A manual page.
#[derive(Debug)]
pub(crate) struct Source {
    /// Whose package it is in.
    pub(crate) program: Program,
    pub(crate) name: &'static str,
    pub(crate) section: u8,
    /// Of one line, for whatis(1).
    summary: &'static str,
    /// Its text, from the top of the repository.
    pub(crate) text: &'static str,
}

pub(crate) const ALL: &[Source] = &[
    Source {
        program: Program::Agent,
        name: "ovf-agent",
        section: 8,
        summary: "configure a guest from its OVF environment, and tell the platform when it is ready",
        text: "packaging/texts/ovf-agent.8.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent.toml",
        section: 5,
        summary: "configuration of ovf-agent",
        text: "docs/configuration.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent-template",
        section: 5,
        summary: "templates of the files that ovf-agent writes",
        text: "docs/templates.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent-hooks",
        section: 7,
        summary: "programs that ovf-agent runs when it configures a guest",
        text: "docs/hooks.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent-systemd",
        section: 7,
        summary: "the units of ovf-agent, and what they may do",
        text: "docs/systemd.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent-analyze",
        section: 7,
        summary: "where the time of a guest's boot went",
        text: "docs/analyze.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent-initramfs",
        section: 7,
        summary: "configuring a guest before the root switch",
        text: "docs/initramfs.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent-dbus",
        section: 7,
        summary: "what programs of a guest may ask ovf-agent by D-Bus",
        text: "docs/dbus.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent-platforms",
        section: 7,
        summary: "how platforms attach the OVF environment",
        text: "docs/platforms.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent-protocol",
        section: 7,
        summary: "what ovf-agent and the platform say to each other",
        text: "docs/protocol.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent-errors",
        section: 7,
        summary: "what ovf-agent refuses, and what to do about it",
        text: "docs/errors.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent-tutorial",
        section: 7,
        summary: "from an empty folder to a guest that is ready",
        text: "docs/getting-started.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent-howto",
        section: 7,
        summary: "short answers for who builds an appliance with ovf-agent",
        text: "docs/howto.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent-hosting",
        section: 7,
        summary: "short answers for who runs guests with ovf-agent",
        text: "docs/hosting.md",
    },
    Source {
        program: Program::Agent,
        name: "ovf-agent-performance",
        section: 7,
        summary: "what ovf-agent costs, and how to measure it",
        text: "docs/performance.md",
    },
    Source {
        program: Program::Host,
        name: "ovf-host",
        section: 1,
        summary: "check an OVF package, make one, and make the environment of every guest in it",
        text: "packaging/texts/ovf-host.1.md",
    },
    Source {
        program: Program::Host,
        name: "ovf-host-reference",
        section: 7,
        summary: "what ovf-host reads, writes and finds",
        text: "docs/host.md",
    },
    Source {
        program: Program::Host,
        name: "ovf-host-packing",
        section: 7,
        summary: "from a folder to an OVA",
        text: "docs/packing.md",
    },
    Source {
        program: Program::Host,
        name: "ovf-host-deploying",
        section: 7,
        summary: "from an OVA to guests that run",
        text: "docs/deploying.md",
    },
    Source {
        program: Program::Host,
        name: "ovf-host-up",
        section: 7,
        summary: "guests in order: started, waited for, changed and stopped",
        text: "docs/up.md",
    },
];

/// The pages of a package, its program's own first.
pub(crate) fn of(program: Program) -> impl Iterator<Item = &'static Source> {
    ALL.iter().filter(move |source| source.program == program)
}

/// The page in man(7)'s language.
pub(crate) fn print(source: &Source, date: Date) -> Result<String> {
    let text = read(source.text)?;
    let version = env!("CARGO_PKG_VERSION");
    let of = format!("{} {version}", source.program.name());
    let mut page = Page::new(source.name, source.section, source.summary, &date.to_string(), &of);
    let is_program = source.name == source.program.name();
    if is_program {
        page.heading("SYNOPSIS");
        commands::synopsis(&mut page, source.program);
    }
    Reader::new(&text, &by_file, &|comment, page| insert(source, comment, page))
        .document(&mut page)
        .map_err(|message| format!("{}: {message}", source.text))?;
    if !is_program {
        see_also(&mut page, source);
    }
    Ok(page.finish())
}

/// `templates.md` is `ovf-agent-template(5)`.
fn by_file(file: &str) -> Option<String> {
    let name = |source: &Source| source.text.rsplit('/').next() == Some(file);
    ALL.iter().find(|source| name(source)).map(|source| format!("{}({})", source.name, source.section))
}

/// The places in a program's page.
fn insert(source: &Source, comment: &str, page: &mut Page) -> Result<bool> {
    let definition = commands::definition(source.program);
    match comment.split_once(": ") {
        None if comment == "commands" => commands::commands(page, &definition),
        None if comment == "options" => commands::options(page, &definition),
        None if comment == "pages" => see_also(page, source),
        Some(("section", place)) => {
            let (file, title) = place.split_once(" # ").ok_or("`<!-- section: FILE # TITLE -->`")?;
            let text = read(file)?;
            let section = text
                .split_once(&format!("\n## {title}\n"))
                .ok_or_else(|| format!("{file} has no section `{title}`"))?
                .1
                .split("\n## ")
                .next()
                .unwrap_or_default();
            let nothing = |_: &str, _: &mut Page| Ok(false);
            Reader::new(section, &by_file, &nothing).part(page)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn see_also(page: &mut Page, source: &Source) {
    page.heading("SEE ALSO");
    let mut text = Text::default();
    // Those of the same package, and what the other one's program says of itself.
    let is_near = |other: &&Source| other.program == source.program || other.name == other.program.name();
    let others: Vec<&Source> = ALL.iter().filter(is_near).filter(|other| other.name != source.name).collect();
    for (position, other) in others.iter().enumerate() {
        text.append(&Text::literal(other.name));
        let end = if position + 1 < others.len() { "," } else { "" };
        text.append(&Text::plain(&format!("({}){end} ", other.section)));
    }
    page.paragraph(&text);
}
