//! The binary: command line in, exit status out.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(ovf_host::cli::main(std::env::args_os()) as u8)
}
