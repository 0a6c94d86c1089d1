//! The binary: command line in, exit status out.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use ovf_agent::sys::allocator::Allocator;

/// Instead of the C library's: with musl's, half of a pass's time went into mapping and unmapping pages
/// (docs/decisions/003).
#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new();

fn main() -> ExitCode {
    ovf_agent::sys::crash::install();
    ExitCode::from(ovf_agent::cli::main(std::env::args_os()) as u8)
}
