//! The command line: what the commands are, what they print, and how they end.
//!
//! Decides the form of everything that a person or a script sees. Answers go to standard output, everything else to
//! standard error; findings are answers of `check` alone.

#![forbid(unsafe_code)]

mod check;
mod choice;
mod console;
mod deployed;
mod described;
mod down;
mod env;
mod gate;
mod given;
mod iso;
mod kubevirt;
mod output;
mod pack;
mod set;
mod status;
mod timeline;
mod up;
mod wait;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};

use clap::{CommandFactory, Parser, Subcommand};

use crate::finding::{Finding, Severity};

/// How a command ends; the numbers are those of sysexits.h, and the agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing wrong.
    Done = 0,
    /// Something that was to be read or written cannot be.
    Failed = 1,
    /// The command line is none.
    Usage = 64,
    /// Not yet: it is worth trying again.
    Later = 75,
    /// The package, or what was chosen for it, is wrong.
    Wrong = 78,
    /// Whoever has started it wanted it to end.
    Interrupted = 130,
}

impl Exit {
    /// This, unless all was done and something of it was not.
    fn if_all(self, is_all: bool) -> Self {
        if self == Self::Done && !is_all { Self::Failed } else { self }
    }
}

/// Why a command ends early.
#[derive(Debug)]
struct Fault {
    exit: Exit,
    message: String,
}

impl Fault {
    fn failed(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, message: message.to_string() }
    }

    fn usage(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }
}

type Result<T> = std::result::Result<T, Fault>;

const AFTER_HELP: &str = "\
Exit status: 0 done, or nothing wrong; 1 something cannot be read, written or started, or a guest failed; 64 usage;
75 not yet; 78 the package, or what was chosen for it, is wrong; 130 interrupted.";

/// The platform's half of OVF: checks packages, makes them, and makes the environment of every guest.
#[derive(Debug, Parser)]
#[command(name = "ovf-host", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is wrong with a package
    Check(check::Arguments),
    /// Write the guests' environments
    Env(env::Arguments),
    /// Write the discs by which guests get their environments
    Iso(iso::Arguments),
    /// Print a package's guests as KubeVirt's objects
    Kubevirt(kubevirt::Arguments),
    /// Make an OVA from a folder with appliance.toml
    Pack(pack::Arguments),
    /// Start a package's guests in order, and wait until they are ready
    Up(up::Arguments),
    /// How the guests of deployments are
    Status(status::Arguments),
    /// Wait until guests are ready
    Wait(wait::Arguments),
    /// Give guests that run other parameters, and wait until they have applied them
    Set(set::Arguments),
    /// Sit at the console of a guest that runs
    Console(console::Arguments),
    /// Stop a deployment's guests in order, and leave nothing of it
    Down(down::Arguments),
    /// Draw what has happened to the guests of a deployment, as SVG
    Timeline(timeline::Arguments),
    /// Stand between the guests and this machine
    #[command(hide = true)]
    Gate(gate::Arguments),
}

/// What the command line is, for completions and the manual page.
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Runs a command line.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors. A closed terminal has nowhere to be told so.
            if error.use_stderr() {
                // It quotes the command line, which a script may have from anywhere.
                for line in error.to_string().lines() {
                    let _ = writeln!(io::stderr(), "{}", crate::finding::printable(line));
                }
                return Exit::Usage;
            }
            let printed = error.print().and_then(|()| io::stdout().flush());
            return ended(printed.map_err(closed).map(|()| Exit::Done));
        }
    };
    // Whoever runs guests, waits for them, or sits at one, waits for signals by other means.
    let is_guarded = !matches!(
        cli.command,
        Command::Up(_) | Command::Down(_) | Command::Console(_) | Command::Set(_) | Command::Wait(_)
    );
    if let Err(error) = if is_guarded { crate::scratch::guard() } else { Ok(()) } {
        let _ = writeln!(io::stderr(), "ovf-host: cannot wait for signals: {error}");
        return Exit::Failed;
    }
    let mut out = io::stdout().lock();
    let result = match cli.command {
        Command::Check(arguments) => check::run(&arguments, &mut out),
        Command::Env(arguments) => env::run(arguments, &mut out),
        Command::Iso(arguments) => iso::run(arguments),
        Command::Kubevirt(arguments) => kubevirt::run(arguments, &mut out),
        Command::Pack(arguments) => pack::run(&arguments),
        Command::Up(arguments) => up::run(arguments),
        Command::Status(arguments) => status::run(arguments, &mut out),
        Command::Wait(arguments) => wait::run(&arguments),
        Command::Set(arguments) => set::run(&arguments),
        Command::Console(arguments) => console::run(&arguments),
        Command::Down(arguments) => down::run(arguments),
        Command::Timeline(arguments) => timeline::run(arguments, &mut out),
        Command::Gate(arguments) => gate::run(&arguments),
    };
    ended(result.and_then(|exit| out.flush().map_err(closed).map(|()| exit)))
}

/// How a command ends; says why, where it ends early.
fn ended(result: Result<Exit>) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(fault) => {
            if !fault.message.is_empty() {
                complain(crate::finding::printable(&fault.message));
            }
            fault.exit
        }
    }
}

/// Says what went wrong beside the answer. Who does not listen is not told.
fn complain(message: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "ovf-host: {message}");
}

fn closed(error: io::Error) -> Fault {
    if error.kind() == io::ErrorKind::BrokenPipe {
        // Whoever has heard enough, as `head`, need not be told.
        return Fault { exit: Exit::Failed, message: String::new() };
    }
    Fault::failed(format_args!("cannot write the answer: {error}"))
}

/// How a command ends that found this.
fn verdict(findings: &[Finding]) -> Exit {
    use crate::finding::Code::Unreadable;
    let mut errors = findings.iter().filter(|it| it.code.severity() == Severity::Error);
    match errors.next() {
        None => Exit::Done,
        Some(first) if first.code == Unreadable && errors.all(|it| it.code == Unreadable) => Exit::Failed,
        Some(_) => Exit::Wrong,
    }
}

/// `1 error`, `2 errors`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
