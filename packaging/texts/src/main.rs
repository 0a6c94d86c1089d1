//! `texts PROGRAM DIRECTORY SECONDS`: what the package of a program holds beside it, written below DIRECTORY.
//!
//! Everything in it is said elsewhere already, once: manual pages are docs/*.md and the command line's definition, the
//! completions are that definition, Debian's changelog is CHANGELOG.md. Decides the names of the files. SECONDS since
//! 1970 date them all, so that the same source gives the same bytes.

#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a program of the build: what fails is told there")]

mod changelog;
mod commands;
mod date;
mod markdown;
mod page;
mod pages;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use clap::Command;
use clap_complete::{Shell, generate};

use date::Date;

/// What went wrong, for the person who builds.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match &arguments[..] {
        [program, directory, seconds] => match (Program::named(program), seconds.parse()) {
            (Some(program), Ok(seconds)) => {
                write_all(program, Path::new(directory), Date::of_seconds(seconds))
            }
            (None, _) => Err(format!("there is no program `{program}`")),
            (_, Err(_)) => Err(format!("`{seconds}` is no number of seconds since 1970")),
        },
        _ => Err("usage: texts PROGRAM DIRECTORY SECONDS".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("texts: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The top of the repository.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(top().join(path)).map_err(|error| format!("cannot read {path}: {error}"))
}

/// A program with a package of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Agent,
    Host,
}

impl Program {
    pub(crate) const ALL: [Self; 2] = [Self::Agent, Self::Host];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Agent => "ovf-agent",
            Self::Host => "ovf-host",
        }
    }

    /// Its command line.
    pub(crate) fn definition(self) -> Command {
        match self {
            Self::Agent => ovf_agent::cli::definition(),
            Self::Host => ovf_host::cli::definition(),
        }
    }
}

fn write_all(program: Program, directory: &Path, date: Date) -> Result<()> {
    for page in pages::of(program) {
        let place = directory.join(format!("man/man{}/{}.{}", page.section, page.name, page.section));
        write(&place, pages::print(page, date)?.as_bytes())?;
    }
    let name = program.name();
    for (shell, place) in [
        (Shell::Bash, format!("bash-completion/completions/{name}")),
        (Shell::Zsh, format!("zsh/site-functions/_{name}")),
        (Shell::Fish, format!("fish/vendor_completions.d/{name}.fish")),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut program.definition(), name, &mut script);
        let mut script = String::from_utf8(script).expect("a script is text");
        if shell == Shell::Bash {
            // clap_complete 4.6 gives a program with a dash two names, and so completes no command's own options (clap issue 6421).
            script = script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"));
        }
        write(&directory.join(place), script.as_bytes())?;
    }
    write(&directory.join("changelog"), changelog::debian(name, &read("CHANGELOG.md")?, date)?.as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().expect("every name above has a directory");
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(path, bytes))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
