//! Boots the same Debian guest with nothing that configures it, with cloud-init, and with the agent, and measures what each
//! costs the boot.
//!
//! `boots DIRECTORY` takes the disks that `bench/boot-images` has made there, boots each BOOTS times from power on, in turns,
//! and prints a table in Markdown. It fails where an outcome is not the one that was asked for, and where the agent is not
//! as much cheaper than cloud-init as `budget` says. Each boot's numbers are left in `DIRECTORY/boots.txt`.
//!
//! All times are the guest's own, since the kernel began to count them. Debian's systemd says when it reached a target; a file
//! was written when its inode last changed (ctime), so with owner, mode and name as they are to be.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod guest;
mod kinds;
mod table;

use anyhow::{Context, Result, bail};
use qemu_tests::Lab;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench/boot: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory] = arguments.as_slice() else { bail!("usage: boots DIRECTORY") };
    let directory = PathBuf::from(directory).canonicalize().with_context(|| directory.clone())?;
    let count: usize = match std::env::var("BOOTS") {
        Ok(text) => text.parse().ok().filter(|count| *count > 0).context("BOOTS is no number above 0")?,
        Err(_) => 5,
    };

    let (lab, kinds) = (Lab::open()?, kinds::all());
    let mut boots = vec![Vec::new(); kinds.len()];
    let mut log = String::new();
    for round in 1..=count {
        for (kind, boots) in kinds.iter().zip(&mut boots) {
            let boot = guest::boot(&lab, &directory, kind)
                .with_context(|| format!("the guest with {}", kind.name))?;
            eprintln!("bench: boot {round} of {count} with {}: {boot}", kind.name);
            log += &format!("{}: {boot}\n", kind.name);
            boots.push(boot);
        }
    }
    std::fs::write(directory.join("boots.txt"), log).context("cannot write boots.txt")?;
    let facts = kinds
        .iter()
        .map(|kind| table::Facts::read(&directory.join(kind.image)))
        .collect::<Result<Vec<_>>>()?;
    print!("{}", table::table(&kinds, &boots, &facts));
    table::budget(&boots)
}
