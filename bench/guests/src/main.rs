//! Many guests and one ovf-host: `guests` plays the guests, `host` waits for them as `ovf-host up` does.
//!
//!     bench-guests guests SOCKET COUNT together|chain     prints the delays when its host has gone
//!     bench-guests host SOCKET COUNT together|chain DIRECTORY
//!
//! Together, all guests but the last have order 1, and speak when the last of them is started; the last one has order 2. In a
//! chain each guest is waited for by the next. A guest says starting, configuring, waiting and ready, each when the one
//! before is acknowledged.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of the bench talks to its script")]

mod guests;
mod host;

use std::process::ExitCode;

/// Whether all but the last guest have one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Together,
    Chain,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let shape = |word: &str| if word == "chain" { Shape::Chain } else { Shape::Together };
    let result = match words[..] {
        ["guests", socket, count, word] => guests::play(socket, count.parse().unwrap_or(0), shape(word)),
        ["host", socket, count, word, directory] => {
            host::wait(socket, count.parse().unwrap_or(0), shape(word), directory)
        }
        _ => Err("usage: see the head of bench/guests/src/main.rs".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-guests: {error}");
            ExitCode::FAILURE
        }
    }
}
