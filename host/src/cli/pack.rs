//! `ovf-host pack`: an OVA from a folder.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;

use super::choice::say;
use super::output::replaceable;
use super::{Exit, Fault, Result, verdict};
use crate::pack::{Making, pack};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder with appliance.toml
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The package to write
    #[arg(short, long, value_name = "FILE.ova")]
    output: PathBuf,
    /// Sign by this private key, in PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The certificate of that key, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Let the recipe name files outside of its folder
    #[arg(long)]
    outside: bool,
    /// The agent that is asked what appliances declare
    #[arg(long, value_name = "PROGRAM", default_value = "ovf-agent")]
    agent_program: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit> {
    if arguments.output.extension().is_none_or(|it| it != "ova") {
        return Err(Fault::usage("the package's name has to end in .ova"));
    }
    // Now, and not after hours of work.
    replaceable(&arguments.output, &HashSet::new())?;
    let making = Making {
        directory: &arguments.directory,
        output: &arguments.output,
        may_leave: arguments.outside,
        signer: arguments.key.as_deref().zip(arguments.certificate.as_deref()),
        agent: &arguments.agent_program,
    };
    match pack(&making) {
        Ok(findings) => {
            say(&findings);
            Ok(Exit::Done)
        }
        Err(findings) => {
            say(&findings);
            Ok(verdict(&findings))
        }
    }
}
