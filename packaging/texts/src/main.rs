//! `texts DIRECTORY SECONDS`: what a package holds beside the program, written below DIRECTORY.
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

use clap_complete::{Shell, generate};

use date::Date;

/// What went wrong, for the person who builds.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match &arguments[..] {
        [directory, seconds] => match seconds.parse() {
            Ok(seconds) => write_all(Path::new(directory), Date::of_seconds(seconds)),
            Err(_) => Err(format!("`{seconds}` is no number of seconds since 1970")),
        },
        _ => Err("usage: texts DIRECTORY SECONDS".to_owned()),
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

fn write_all(directory: &Path, date: Date) -> Result<()> {
    for page in pages::ALL {
        let place = directory.join(format!("man/man{}/{}.{}", page.section, page.name, page.section));
        write(&place, pages::print(page, date)?.as_bytes())?;
    }
    for (shell, place) in [
        (Shell::Bash, "bash-completion/completions/ovf-agent"),
        (Shell::Zsh, "zsh/site-functions/_ovf-agent"),
        (Shell::Fish, "fish/vendor_completions.d/ovf-agent.fish"),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut ovf_agent::cli::definition(), "ovf-agent", &mut script);
        let mut script = String::from_utf8(script).expect("a script is text");
        if shell == Shell::Bash {
            // clap_complete 4.6 gives a program with a dash two names, and so completes no command's own options (clap issue 6421).
            script = script.replace("ovf__subcmd__agent", "ovf__agent");
        }
        write(&directory.join(place), script.as_bytes())?;
    }
    write(&directory.join("changelog"), changelog::debian(&read("CHANGELOG.md")?, date)?.as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().expect("every name above has a directory");
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(path, bytes))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
