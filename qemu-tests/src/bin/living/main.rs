//! Measures a guest that lives: what it costs while nothing happens, and how long it takes when something does.
//!
//! `living SECTION DIRECTORY` prints a line for each number, `NAME NUMBER`, for `bench/idle`, `bench/resend` and
//! `bench/swap` to make tables of; what it is doing is said on standard error. DIRECTORY is where those have put what
//! they measure with. What is measured is decided here, what it may come to is decided there.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod appliance;
mod guest;
mod idle;
mod machine;
mod memory;
mod place;
mod resend;
mod swap;

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::ExitCode;

/// Lines of numbers, each with its name.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, number: impl std::fmt::Display) {
        self.0.push_str(&format!("{name} {number}\n"));
    }
}

fn main() -> ExitCode {
    let mut lines = Lines::default();
    match measure(&mut lines) {
        Ok(()) => {
            print!("{}", lines.0);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench/living: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(lines: &mut Lines) -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [section, directory] = arguments.as_slice() else {
        bail!("usage: living idle|memory|resend|growth|swap DIRECTORY");
    };
    let directory = PathBuf::from(directory).canonicalize().with_context(|| directory.clone())?;
    match section.as_str() {
        "idle" => idle::measure(&directory, lines),
        "memory" => memory::measure(&directory, lines),
        "resend" => resend::measure(&directory, lines),
        "growth" => resend::growth(&directory, lines),
        "swap" => swap::measure(&directory, lines),
        other => bail!("there is no section {other}"),
    }
}

/// Tells whoever waits.
fn say(what: &str) {
    eprintln!("bench: {what}");
}

/// How many of a thing are wanted: what the environment says, or the usual number.
fn wanted(variable: &str, usual: u32) -> Result<u32> {
    let Some(text) = std::env::var_os(variable) else { return Ok(usual) };
    let number = text.to_str().and_then(|text| text.parse().ok()).filter(|number| *number > 0);
    number.with_context(|| format!("{variable} is no number above 0: {}", text.display()))
}

/// The middle one.
fn median(times: &mut [u64]) -> u64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
