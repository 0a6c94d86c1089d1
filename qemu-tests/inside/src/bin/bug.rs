//! A program with a bug, for the test of what a bug leaves in the log: `bug NUMBER...` wants exactly three numbers.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use ovf_agent::sys::crash;

fn main() -> ExitCode {
    crash::install();
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|number| number.parse().ok()).collect();
    ExitCode::from(u8::from(outer(&numbers) == 0))
}

#[inline(never)]
fn outer(numbers: &[usize]) -> usize {
    third(numbers) + numbers.len()
}

#[inline(never)]
fn third(numbers: &[usize]) -> usize {
    numbers[2]
}
