//! `ovf-host check`: the findings, and what the package is.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::described::{form, in_words, package};
use super::{Exit, Fault, Result, closed, counted, verdict};
use crate::appliance::Appliance;
use crate::check::{Checked, Wanted, check};
use crate::finding::{Finding, Severity, is_command, printable, quoted};
use crate::package::certificate::Authorities;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The .ovf, with its files beside it, or the .ova
    #[arg(value_name = "PACKAGE")]
    package: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// Show what the package asks for, in this language where it has it: de-DE
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<String>,
    /// Take the package only if somebody has signed it for whom a certificate in this PEM file vouches
    #[arg(long, value_name = "FILE", conflicts_with = "descriptor_only")]
    ca: Option<PathBuf>,
    /// Look at the descriptor alone, as long as its files are not there yet
    #[arg(long)]
    descriptor_only: bool,
    /// Compare with the appliance in this directory (agent.toml, or an image's root): of the virtual system ID, or of all
    /// that are not named
    #[arg(long = "agent", value_name = "[ID=]DIR")]
    agents: Vec<String>,
    /// The agent that is asked what the appliance declares
    #[arg(long, value_name = "PROGRAM", default_value = "ovf-agent")]
    agent_program: PathBuf,
}

/// What `--agent` names: `ID=DIR` or `DIR`; a directory that is there may have `=` in its name.
fn appliances(words: &[String]) -> Result<Vec<Appliance>> {
    let mut all: Vec<Appliance> = Vec::new();
    for word in words {
        let (id, directory) = match word.split_once('=').filter(|_| !Path::new(word).is_dir()) {
            Some((id, directory)) => (Some(id.to_owned()), directory),
            None => (None, word.as_str()),
        };
        if directory.is_empty() {
            return Err(Fault::usage(format_args!("--agent {} names no directory", quoted(word))));
        }
        if all.iter().any(|it| it.id == id) {
            let whose = id.map_or("all others".to_owned(), |id| quoted(&id));
            return Err(Fault::usage(format_args!("--agent names a directory of {whose} twice")));
        }
        all.push(Appliance { id, directory: directory.into() });
    }
    Ok(all)
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit> {
    let authorities = arguments.ca.as_deref().map(Authorities::read).transpose();
    let appliances = appliances(&arguments.agents)?;
    let mut findings = Vec::new();
    let checked = match authorities {
        Ok(authorities) => {
            let wanted = Wanted {
                descriptor_only: arguments.descriptor_only,
                language: arguments.lang.clone(),
                authorities,
                appliances,
                agent: arguments.agent_program.clone(),
            };
            check(&arguments.package, &wanted, &mut findings)
        }
        // Nobody asked whether it is sound, whoever made it.
        Err(finding) => {
            findings.push(finding);
            None
        }
    };
    if arguments.json {
        let answer = answer(&findings, checked.as_ref());
        writeln!(out, "{}", escaped(&format!("{answer:#}"))).map_err(closed)?;
        return Ok(verdict(&findings));
    }
    for finding in &findings {
        writeln!(out, "{finding}").map_err(closed)?;
    }
    let name = printable(&arguments.package.display().to_string());
    if let Some(Checked { loaded, strings, .. }) = &checked {
        writeln!(out, "{name}: {}", in_words(&loaded.descriptor)).map_err(closed)?;
        if arguments.lang.is_some() {
            for line in form(&loaded.descriptor, strings) {
                writeln!(out, "  {}", printable(&line)).map_err(closed)?;
            }
        }
    }
    let [errors, warnings, notes] = counts(&findings);
    let counts = [counted(errors, "error"), counted(warnings, "warning"), counted(notes, "note")].join(", ");
    writeln!(out, "{name}: {counts}").map_err(closed)?;
    Ok(verdict(&findings))
}

/// JSON in which nothing moves a cursor: outside of its texts there is none of these characters, and inside an escape is the
/// same.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for line in json.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        for character in line.chars() {
            match is_command(character) {
                true => out.push_str(&format!("\\u{:04x}", u32::from(character))),
                false => out.push(character),
            }
        }
        out.push_str(end);
    }
    out
}

fn counts(findings: &[Finding]) -> [usize; 3] {
    [Severity::Error, Severity::Warning, Severity::Note]
        .map(|severity| findings.iter().filter(|it| it.code.severity() == severity).count())
}

fn answer(findings: &[Finding], checked: Option<&Checked>) -> Value {
    let [errors, warnings, notes] = counts(findings);
    json!({
        "findings": findings.iter().map(Finding::json).collect::<Vec<_>>(),
        "errors": errors,
        "warnings": warnings,
        "notes": notes,
        "package": checked.map(|it| package(&it.loaded.descriptor, &it.strings)),
        "signer": checked.and_then(|it| it.signer.as_ref()).map(|it| json!({
            "subject": it.subject,
            "trusted": it.is_trusted,
        })),
    })
}
