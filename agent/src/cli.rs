//! The command line: what the commands are, what they print, and how they end.
//!
//! Decides the form of everything that a person or a script sees. Each command is a few lines around a part of the pass
//! in `agent`. Answers go to standard output, everything else to standard error; errors name what was attempted, and
//! their causes are printed once, here.

#![forbid(unsafe_code)]

mod analyze;
mod applied;
mod ask;
mod dropin;
mod explain;
mod files;
mod get;
mod plan;
mod render;
mod view;

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand};
use serde_json::json;
use tracing::level_filters::LevelFilter;
use tracing::warn;

use view::View;

use crate::agent::{self, Exit, Fault, Machine, Received, Result};
use crate::config::{self, Config, Layers};
use crate::detect::Facts;
use crate::interfaces::Interfaces;
use crate::log;
use crate::printable;
use crate::problem::{Problem, Problems};
use crate::protocol;
use crate::ready::Gates;
use crate::report::{Report, Stage};
use crate::schema;
use crate::sys::{self, Root, caller};
use crate::template::TemplateSet;
use crate::times::What;
use crate::transport::{self, Place, Source};

/// The largest facts file.
const FACTS_LIMIT: u64 = 16 * 1024 * 1024;

/// Configures this guest from its OVF environment, and tells the platform when it is ready.
#[derive(Debug, Parser)]
#[command(name = "ovf-agent", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// What is said where no image is at hand.
const UNSEEN: &str = "; accounts and programs were not looked for, which takes the image (--root DIR)";

const AFTER_HELP: &str = "\
Exit status: 0 done, or nothing to do; 1 failed; 64 the command line is wrong; 75 not there yet, try again;
78 the configuration, a template or the environment is wrong.";

#[derive(Debug, Args)]
struct Common {
    /// Work on the machine in this directory: configuration, targets and state are inside it
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Read agent.toml, agent.d/ and templates/ from here alone, instead of /etc, /run and /usr/lib/ovf-agent
    /// inside the root
    #[arg(long, global = true, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Take the environment from here instead of looking for it: iso:PATH, file:PATH, guestinfo, fwcfg or
    /// credential
    #[arg(long, global = true, value_name = "SOURCE")]
    source: Option<Source>,
    /// Write the report, as the platform would receive it, to this file as well (run, apply)
    #[arg(long, global = true, value_name = "PATH")]
    report: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    /// Log events of this level and above: error, warn, info or debug
    #[arg(long, global = true, value_name = "LEVEL", value_parser = level)]
    log: Option<LevelFilter>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Configure the guest, report to the platform, and stay until told to stop
    Run,
    /// Configure the guest once
    Apply,
    /// Show what apply would change, and change nothing
    Plan,
    /// Check the configuration and the templates, without an environment
    Check {
        /// Print a drop-in for ovf-agent.service instead, with which it can write what the templates are for, and no more
        #[arg(long, conflicts_with = "json")]
        emit_paths_dropin: bool,
    },
    /// Print what the templates come to with values that you give, or by default; needs no machine
    Render(render::Render),
    /// Tell where each line of a file comes from: template, parameters, properties
    Explain {
        /// The file, as its template's path says
        path: PathBuf,
    },
    /// Show the environment
    Env(Env),
    /// Print the value of a parameter, by its name or by its property's key, or of a derived value
    Get {
        /// The name or key
        key: String,
        /// Print it even if it is sensitive
        #[arg(long)]
        show_sensitive: bool,
    },
    /// Print the JSON Schema of agent.toml
    Schema {
        /// Print the ProductSections that a descriptor needs for this configuration instead
        #[arg(long)]
        ovf: bool,
    },
    /// Tell how far the agent that runs here is, or wait until it is that far
    Status(ask::Status),
    /// Tell where the time went, in the first pass of this boot and in the last
    Analyze {
        /// Draw it instead
        #[arg(long, conflicts_with = "json")]
        svg: bool,
    },
    /// Have the agent that runs here read configuration and environment again
    Reload,
    /// Tell the host that the agent has died; for its units
    #[command(hide = true)]
    ReportFailure {
        /// It is not started again
        #[arg(long = "final")]
        is_final: bool,
    },
    /// Mount the volume on a device that the agent has open; for a unit of its own
    #[command(hide = true)]
    Mount,
    /// Tell which hypervisor this machine runs on
    Detect {
        /// Judge these facts, as `detect --json` prints them, instead of this machine
        #[arg(long, value_name = "FILE")]
        facts: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Env {
    /// Show the values of sensitive parameters too
    #[arg(long)]
    show_sensitive: bool,
    /// List the files that came with it instead: those of an EnvironmentFilesSection, and all others of the volume
    #[arg(long, conflicts_with = "extract")]
    files: bool,
    /// Write these files to a new directory, all or none
    #[arg(long, value_name = "DIR")]
    extract: Option<PathBuf>,
}

const LEVELS: [(&str, LevelFilter); 4] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
];

fn level(word: &str) -> std::result::Result<LevelFilter, &'static str> {
    let found = LEVELS.iter().find(|(name, _)| *name == word);
    found.map(|(_, level)| *level).ok_or("there are error, warn, info and debug")
}

/// What the command line may be: manual page and completions are made from it (`packaging/texts`).
pub fn definition() -> clap::Command {
    // The words of `level` are said to whom they are of use; in the agent they would be clap's to refuse, at more bytes.
    Cli::command().mut_arg("log", |log| log.value_parser(LEVELS.map(|(name, _)| name)))
}

/// Parses the arguments, runs the command, prints what went wrong.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors. A closed terminal has nowhere to be told so.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let service = matches!(cli.command, Command::Run);
    let usual =
        if service || matches!(cli.command, Command::Apply) { LevelFilter::INFO } else { LevelFilter::WARN };
    // A pass is answered by its report, also where it has failed.
    let is_answered = cli.common.json && !service && !matches!(cli.command, Command::Apply);
    let has_journal = log::init(cli.common.log.unwrap_or(usual), service);
    let mut out = io::stdout().lock();
    match cli.run(&mut out).and_then(|exit| flush(&mut out).map(|()| exit)) {
        Ok(exit) => exit,
        Err(fault) if has_journal => {
            fault.log();
            fault.exit
        }
        Err(fault) => {
            if is_answered {
                let _ = out.write_all(&error_json(&fault));
            }
            let message = printable::lines(&fault.failure.message);
            // Problems with a position have a line each, in the form that editors jump to.
            let _ = match message.contains('\n') {
                true => writeln!(io::stderr(), "{message}\novf-agent: {} problems", message.lines().count()),
                false => writeln!(io::stderr(), "ovf-agent: {message}"),
            };
            fault.exit
        }
    }
}

/// An error as programs read it, as in answers and reports.
fn error_json(fault: &Fault) -> Vec<u8> {
    let mut line = b"{\"error\":".to_vec();
    serde_json::to_writer(&mut line, &fault.failure).expect("plain data");
    line.extend_from_slice(b"}\n");
    line
}

fn flush(out: &mut impl Write) -> Result<()> {
    out.flush().or_else(written)
}

/// A reader that has seen enough (`| head`) is no error.
fn written(error: io::Error) -> Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    Err(Fault::outside(&sys::Error::new("write to", "standard output", error)))
}

impl Cli {
    fn run(self, out: &mut impl Write) -> Result<Exit> {
        let Self { command, common } = self;
        match command {
            Command::Run => common.run(),
            Command::Apply => common.apply(out),
            Command::Plan => common.plan(out),
            Command::Check { emit_paths_dropin: true } => common.paths_dropin(out),
            Command::Check { .. } => common.check(out),
            Command::Render(_) if common.source.is_some() => {
                Err(Fault::usage("render takes a document by --env FILE, and no --source".to_owned()))
            }
            Command::Render(wanted) => common.render(out, &wanted),
            Command::Explain { path } => common.explain(out, &path),
            Command::Env(env) => common.env(out, &env),
            Command::Get { key, show_sensitive } => common.get(out, &key, show_sensitive),
            Command::Schema { ovf } => common.schema(out, ovf),
            Command::Status(wanted) => common.status(out, &wanted),
            Command::Analyze { svg } => common.analyze(out, svg),
            Command::Reload => common.reload(out),
            Command::ReportFailure { is_final } => agent::run::last_words::tell(common.root()?, is_final),
            Command::Mount => {
                sys::mount::serve().map(|()| Exit::Done).map_err(|error| Fault::outside(&error))
            }
            Command::Detect { facts } => common.detect(out, facts),
        }
    }
}

impl Common {
    fn root(&self) -> Result<Root> {
        Root::open(&self.root).map_err(|error| Fault::outside(&error))
    }

    fn layers(&self, root: &Root) -> std::result::Result<Layers, Problems> {
        match &self.config {
            Some(path) => Layers::only(path),
            None => Layers::of(root),
        }
    }

    fn load(&self, root: &Root) -> std::result::Result<Config, Problems> {
        Config::load(&self.layers(root)?)
    }

    /// The configuration for a pass. The files of one that was interrupted are put right whatever that is like, and before
    /// anything waits: services that start meanwhile should not read files of two passes.
    fn load_for_pass(&self, machine: &mut Machine) -> std::result::Result<Config, Problems> {
        let begin = sys::clock::now();
        let layers = self.layers(&machine.root)?;
        let config = machine.load(&layers);
        machine.times.took(What::Configuration, begin);
        let state = config.as_ref().map_or_else(|_| config::state_directory(&layers), |it| it.state.clone());
        if let Err(fault) = machine.recover(&state) {
            warn!(stage = "apply", "{}", fault.failure.message);
        }
        config
    }

    fn config(&self, root: &Root) -> Result<Config> {
        self.load(root).map_err(|problems| Fault::configuration(&problems))
    }

    fn run(self) -> Result<Exit> {
        let mut machine = Machine::new(self.root()?);
        let config = self.load_for_pass(&mut machine);
        let (source, report) = (self.source.clone(), self.report.clone());
        let load = Box::new(move |root: &Root| agent::load(&self.layers(root)?, root));
        agent::run::run(machine, config, agent::run::Options { source, report, load })
    }

    fn apply(&self, out: &mut impl Write) -> Result<Exit> {
        let mut machine = Machine::new(self.root()?);
        let mut report = agent::new_report(&machine);
        let outcome = self.pass(&mut machine, &mut report);
        report.uptime_ms = sys::clock::now().as_millis() as u64;
        report.took_us = machine.took;
        machine.times.pass_ends(outcome.is_ok(), &machine.root);
        if let Err(fault) = &outcome {
            report.stage = Stage::Failed;
            report.failure = Some(fault.for_report());
        }
        let line = protocol::line(&report);
        let mut told = Ok(());
        if let Some(path) = &self.report {
            told = caller::write(path, &line, true).map_err(|error| Fault::outside(&error));
        }
        if self.json {
            told = told.and(out.write_all(&line).or_else(written));
        }
        match (outcome, told) {
            // What the pass came to is worth more than that nobody could be told.
            (Err(fault), Err(untold)) => {
                warn!("{}", untold.failure.message);
                Err(fault)
            }
            (outcome, told) => outcome.and(told).map(|()| Exit::Done),
        }
    }

    fn pass(&self, machine: &mut Machine, report: &mut Report) -> Result<()> {
        let config = self.load_for_pass(machine).map_err(|problems| Fault::configuration(&problems))?;
        machine.pass(&config, |machine| machine.document(&config, self.source.as_ref()), report)?;
        // Gates are for `run` to try; here they are only named.
        let now = sys::clock::now();
        report.unmet = Gates::new(&config.ready, &machine.siblings, now).unmet(now);
        report.ready = report.unmet.is_empty();
        report.stage = if report.ready { Stage::Ready } else { Stage::Waiting };
        Ok(())
    }

    fn received(&self, machine: &mut Machine, config: &Config) -> Result<Option<Received>> {
        let document = machine.document(config, self.source.as_ref())?;
        document.map(|document| machine.environment(document)).transpose()
    }

    fn check(&self, out: &mut impl Write) -> Result<Exit> {
        let root = self.root()?;
        // With --config alone, this machine is the one that builds the image, and has other accounts and programs.
        let image = Some(&root).filter(|root| self.config.is_none() || !root.is_system());
        let (problems, summary, looked, properties) = match self.load(&root) {
            Ok(config) => {
                let properties = config.reads();
                let mut problems = config.lint(image).map_err(|error| Fault::outside(&error))?;
                problems.extend(config.hooks.idle.iter().cloned());
                problems.sort();
                let found = match problems.len() {
                    0 => "no problems".to_owned(),
                    number => count(number, "problem"),
                };
                let hooks = match config.hooks.list.len() {
                    0 => String::new(),
                    number => format!(", {}", count(number, "hook")),
                };
                let summary = format!(
                    "{}{hooks} and {}: {found}{}",
                    count(config.parameters.names().count(), "parameter"),
                    count(config.templates().map_or(0, TemplateSet::len), "template"),
                    if image.is_some() { "" } else { UNSEEN }
                );
                (problems, summary, image.is_some(), properties)
            }
            Err(Problems(problems)) => {
                let summary = count(problems.len(), "problem");
                (problems, summary, false, Vec::new())
            }
        };
        let exit = if problems.is_empty() { Exit::Done } else { Exit::Refused };
        if self.json {
            print_json(out, &json!({ "problems": problems, "image": looked, "properties": properties }))?;
        } else {
            for problem in &problems {
                writeln!(out, "{}", printable::text(&problem.to_string())).or_else(written)?;
            }
            writeln!(out, "{summary}").or_else(written)?;
        }
        Ok(exit)
    }

    fn paths_dropin(&self, out: &mut impl Write) -> Result<Exit> {
        let text = dropin::text(&self.config(&self.root()?)?);
        out.write_all(text.as_bytes()).or_else(written)?;
        Ok(Exit::Done)
    }

    /// Needs the configuration too: without it nothing tells which values are sensitive.
    fn env(&self, out: &mut impl Write, wanted: &Env) -> Result<Exit> {
        let mut machine = Machine::new(self.root()?);
        let config = self.config(&machine.root)?;
        // The host sends no files, so those that lie here are the newest.
        let of_files = wanted.files || wanted.extract.is_some();
        let received = match of_files {
            true => self.received(&mut machine, &config),
            false => self.applied(&mut machine, &config, None),
        };
        let Some(received) = received? else { return Err(no_environment()) };
        if of_files {
            let root = (!received.named).then_some(&*machine.root);
            let place = Place { source: &received.source, root, method: config.transport.method };
            return self.files(out, place, wanted.extract.as_deref());
        }
        let view = View {
            declared: &config.parameters,
            interfaces: &Interfaces::read(&machine.root),
            show_sensitive: wanted.show_sensitive,
        };
        if self.json {
            return print_json(out, &view.json(&received));
        }
        view.print(out, &received).or_else(written)?;
        Ok(Exit::Done)
    }

    fn files(&self, out: &mut impl Write, place: Place<'_>, extract: Option<&Path>) -> Result<Exit> {
        let list = transport::files(place)?;
        if let Some(target) = extract {
            files::extract(place, target)?;
        }
        if self.json {
            return print_json(out, &files::json(&list));
        }
        files::print(out, &list).or_else(written)?;
        Ok(Exit::Done)
    }

    fn schema(&self, out: &mut impl Write, ovf: bool) -> Result<Exit> {
        let text = match ovf {
            true => Cow::Owned(schema::product_sections(&self.config(&self.root()?)?.parameters)),
            false => Cow::Borrowed(schema::AGENT_TOML),
        };
        out.write_all(text.as_bytes()).or_else(written)?;
        Ok(Exit::Done)
    }

    fn detect(&self, out: &mut impl Write, facts: Option<PathBuf>) -> Result<Exit> {
        let facts = match facts {
            None => Facts::read(&self.root()?),
            Some(path) => {
                let bytes = caller::read(&path, FACTS_LIMIT).map_err(|error| Fault::outside(&error))?;
                facts_in(&bytes).map_err(|error| {
                    Fault::configuration(&Problem::with(path.display().to_string(), error.to_string()).into())
                })?
            }
        };
        let verdict = facts.verdict();
        if self.json {
            let mut answer = serde_json::to_value(&verdict).expect("plain data");
            answer["facts"] = serde_json::to_value(&facts).expect("plain data");
            return print_json(out, &answer);
        }
        writeln!(out, "{}", verdict.container.unwrap_or(verdict.vm)).or_else(written)?;
        Ok(Exit::Done)
    }
}

/// Facts alone, or as part of a whole answer of `detect --json`.
fn facts_in(bytes: &[u8]) -> serde_json::Result<Facts> {
    let mut value: serde_json::Value = serde_json::from_slice(bytes)?;
    serde_json::from_value(value.get_mut("facts").map(serde_json::Value::take).unwrap_or(value))
}

fn no_environment() -> Box<Fault> {
    Fault::absent("no OVF environment was found; attach one, or name it by --source".to_owned())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn print_json(out: &mut impl Write, value: &serde_json::Value) -> Result<Exit> {
    writeln!(out, "{value:#}").or_else(written)?;
    Ok(Exit::Done)
}
