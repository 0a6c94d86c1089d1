//! What commands have said, and the events that they tell of.

use anyhow::{Result, ensure};
use std::process::{Command, Output};

/// What a command has said, and how it has ended.
pub(super) struct Said {
    /// What it has answered.
    pub(super) out: String,
    errors: String,
    status: Option<i32>,
}

impl Said {
    /// What a command that has ended has said.
    pub(super) fn of(output: Output) -> Result<Self> {
        let Output { status, stdout, stderr } = output;
        Ok(Self {
            out: String::from_utf8(stdout)?,
            errors: String::from_utf8(stderr)?,
            status: status.code(),
        })
    }

    /// All of it, for whoever looks for a mistake.
    pub(super) fn text(&self) -> String {
        format!("status {:?}\n{}{}", self.status, self.out, self.errors)
    }

    /// It has ended so, and complained of this.
    pub(super) fn is(&self, status: i32, wanted: &str) -> Result<()> {
        ensure!(
            self.status == Some(status) && self.errors.contains(wanted),
            "{status} and {wanted:?} wanted: {}",
            self.text()
        );
        Ok(())
    }

    /// It tells of these events, one after the other, and maybe of others between them.
    pub(super) fn tells(&self, wanted: &[(&str, &str)]) -> Result<()> {
        let mut told = events(&self.out).into_iter();
        for (guest, word) in wanted {
            let found = told.any(|it| it == ((*guest).to_owned(), (*word).to_owned()));
            ensure!(found, "{guest} was not {word}, in the order {wanted:?}: {}", self.text());
        }
        Ok(())
    }
}

/// The guests of lines that tell of events, and their stages or what became of them.
pub(super) fn events(text: &str) -> Vec<(String, String)> {
    let event = |line: &str| {
        let (guest, rest) = line.trim_start().split_once(" s  ")?.1.split_once(": ")?;
        Some((guest.to_owned(), rest.split(": ").next()?.to_owned()))
    };
    text.lines().filter_map(event).collect()
}

/// Sends a signal to a process of the trial's.
pub(super) fn kill(signal: &str, id: u32) -> Result<()> {
    let status = Command::new("kill").arg(format!("-{signal}")).arg(id.to_string()).status()?;
    ensure!(status.success(), "kill: {status}");
    Ok(())
}
