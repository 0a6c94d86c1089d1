//! Commands that are too big for a test of the documentation: those that build, test and measure the repository itself.
//!
//! They are looked up instead: the target is in the Makefile, the script can be executed, the package has that test. What they do
//! is seen where CI runs them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where the repository keeps programs of its own.
const PLACES: [&str; 5] = ["bench/", "packaging/", "qemu-tests/", "tests/", ".ci/"];

/// Where the manifests of packages are.
const PACKAGES: [&str; 7] =
    ["agent", "qemu-tests", "bench/parse", "tests/hostile", "packaging/texts", "host", "tests/fuzz"];

/// The words of a command, without what is set for it.
fn words(command: &str) -> Vec<&str> {
    let command = command.split(" #").next().unwrap_or_default();
    let is_set = |word: &&str| word.split_once('=').is_some_and(|(name, _)| is_variable(name));
    command.split_whitespace().skip_while(is_set).collect()
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// The program that a command begins with.
pub(crate) fn program(command: &str) -> &str {
    words(command).first().copied().unwrap_or_default()
}

/// Whether a line of text is a command: it begins as those do that the documentation knows.
pub(crate) fn is_command(line: &str, known: &BTreeSet<String>) -> bool {
    let first = program(line);
    line.starts_with("$ ") || known.contains(first) || is_ours(first)
}

fn is_ours(program: &str) -> bool {
    PLACES.iter().any(|place| program.starts_with(place))
}

/// Nothing, where the command can be run; whether the repository knows it, where that would be too much.
pub(crate) fn look_up(top: &Path, command: &str) -> Option<Result<(), String>> {
    let words = words(command);
    let (first, rest) = words.split_first()?;
    match *first {
        "make" => Some(targets(top, rest)),
        "cargo" => Some(cargo(top, rest)),
        script if is_ours(script) => {
            let mode = fs::metadata(top.join(script)).map(|it| it.permissions().mode());
            let is_there = mode.is_ok_and(|mode| mode & 0o111 != 0);
            Some(is_there.then_some(()).ok_or_else(|| format!("there is no program {script}")))
        }
        _ => None,
    }
}

fn targets(top: &Path, words: &[&str]) -> Result<(), String> {
    let makefile = fs::read_to_string(top.join("Makefile")).expect("the Makefile");
    for word in words {
        let is_there = match word.split_once('=') {
            Some((variable, _)) => is_variable(variable) && is_used(top, &makefile, variable),
            None => makefile.lines().any(|line| line.starts_with(&format!("{word}: ##"))),
        };
        if !is_there {
            return Err(format!("the Makefile knows no `{word}`"));
        }
    }
    Ok(())
}

/// Whether the Makefile, or a program that it starts, reads a variable.
fn is_used(top: &Path, makefile: &str, variable: &str) -> bool {
    let forms =
        [format!("$({variable})"), format!("{variable} "), format!("${{{variable}"), format!("${variable}")];
    let programs =
        makefile.split_whitespace().map(|word| word.trim_start_matches('@')).filter(|it| is_ours(it));
    let texts = programs.filter_map(|program| fs::read_to_string(top.join(program)).ok());
    std::iter::once(makefile.to_owned()).chain(texts).any(|text| forms.iter().any(|form| text.contains(form)))
}

fn cargo(top: &Path, words: &[&str]) -> Result<(), String> {
    let after = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1));
    let manifests =
        PACKAGES.iter().filter_map(|place| fs::read_to_string(top.join(place).join("Cargo.toml")).ok());
    let has = |manifest: &String, name: &str| manifest.contains(&format!("name = \"{name}\"\n"));
    let manifest = match after("-p") {
        Some(package) => manifests
            .into_iter()
            .find(|manifest| has(manifest, package))
            .ok_or_else(|| format!("there is no package {package}"))?,
        None => return Ok(()),
    };
    for flag in ["--test", "--bin"] {
        if let Some(name) = after(flag).filter(|name| !has(&manifest, name)) {
            return Err(format!("the package has no `{flag} {name}`"));
        }
    }
    Ok(())
}
