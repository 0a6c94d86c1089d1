//! The manual pages: what each is called, and which text it is made from.
//!
//! Decides that there is one for every file of docs/ that tells of using the program, and one for the program, whose text is beside this crate with
//! places for what the command line's definition and docs/ say.

#![forbid(unsafe_code)]

use crate::date::Date;
use crate::markdown::Reader;
use crate::page::{Page, Text};
use crate::{Result, commands, read};

/// A manual page.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: &'static str,
    pub(crate) section: u8,
    /// Of one line, for whatis(1).
    summary: &'static str,
    /// Its text, from the top of the repository.
    pub(crate) text: &'static str,
}

pub(crate) const ALL: &[Source] = &[
    Source {
        name: "ovf-agent",
        section: 8,
        summary: "configure a guest from its OVF environment, and tell the platform when it is ready",
        text: "packaging/texts/ovf-agent.8.md",
    },
    Source {
        name: "ovf-agent.toml",
        section: 5,
        summary: "configuration of ovf-agent",
        text: "docs/configuration.md",
    },
    Source {
        name: "ovf-agent-template",
        section: 5,
        summary: "templates of the files that ovf-agent writes",
        text: "docs/templates.md",
    },
    Source {
        name: "ovf-agent-hooks",
        section: 7,
        summary: "programs that ovf-agent runs when it configures a guest",
        text: "docs/hooks.md",
    },
    Source {
        name: "ovf-agent-systemd",
        section: 7,
        summary: "the units of ovf-agent, and what they may do",
        text: "docs/systemd.md",
    },
    Source {
        name: "ovf-agent-analyze",
        section: 7,
        summary: "where the time of a guest's boot went",
        text: "docs/analyze.md",
    },
    Source {
        name: "ovf-agent-initramfs",
        section: 7,
        summary: "configuring a guest before the root switch",
        text: "docs/initramfs.md",
    },
    Source {
        name: "ovf-agent-dbus",
        section: 7,
        summary: "what programs of a guest may ask ovf-agent by D-Bus",
        text: "docs/dbus.md",
    },
    Source {
        name: "ovf-agent-platforms",
        section: 7,
        summary: "how platforms attach the OVF environment",
        text: "docs/platforms.md",
    },
    Source {
        name: "ovf-agent-protocol",
        section: 7,
        summary: "what ovf-agent and the platform say to each other",
        text: "docs/protocol.md",
    },
    Source {
        name: "ovf-agent-errors",
        section: 7,
        summary: "what ovf-agent refuses, and what to do about it",
        text: "docs/errors.md",
    },
    Source {
        name: "ovf-agent-tutorial",
        section: 7,
        summary: "from an empty folder to a guest that is ready",
        text: "docs/getting-started.md",
    },
    Source {
        name: "ovf-agent-howto",
        section: 7,
        summary: "short answers for who builds an appliance with ovf-agent",
        text: "docs/howto.md",
    },
    Source {
        name: "ovf-agent-hosting",
        section: 7,
        summary: "short answers for who runs guests with ovf-agent",
        text: "docs/hosting.md",
    },
    Source {
        name: "ovf-agent-performance",
        section: 7,
        summary: "what ovf-agent costs, and how to measure it",
        text: "docs/performance.md",
    },
];

/// The page in man(7)'s language.
pub(crate) fn print(source: &Source, date: Date) -> Result<String> {
    let text = read(source.text)?;
    let version = env!("CARGO_PKG_VERSION");
    let mut page = Page::new(source.name, source.section, source.summary, &date.to_string(), version);
    if source.section == 8 {
        page.heading("SYNOPSIS");
        commands::synopsis(&mut page);
    }
    Reader::new(&text, &by_file, &insert)
        .document(&mut page)
        .map_err(|message| format!("{}: {message}", source.text))?;
    if source.section != 8 {
        see_also(&mut page, source);
    }
    Ok(page.finish())
}

/// `templates.md` is `ovf-agent-template(5)`.
fn by_file(file: &str) -> Option<String> {
    let name = |source: &Source| source.text.rsplit('/').next() == Some(file);
    ALL.iter().find(|source| name(source)).map(|source| format!("{}({})", source.name, source.section))
}

/// The places in the program's page.
fn insert(comment: &str, page: &mut Page) -> Result<bool> {
    let definition = commands::definition();
    match comment.split_once(": ") {
        None if comment == "commands" => commands::commands(page, &definition),
        None if comment == "options" => commands::options(page, &definition),
        None if comment == "pages" => see_also(page, &ALL[0]),
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
    let others: Vec<&Source> = ALL.iter().filter(|other| other.name != source.name).collect();
    for (position, other) in others.iter().enumerate() {
        text.append(&Text::literal(other.name));
        let end = if position + 1 < others.len() { "," } else { "" };
        text.append(&Text::plain(&format!("({}){end} ", other.section)));
    }
    page.paragraph(&text);
}
