//! The documentation's commands that want a guest, run in one: what a page shows is what happens.
//!
//! Which blocks these are, and what `...` stands for, is said in `tests/docs/markdown.rs` and `console.rs`; all others are run by
//! `tests/docs.rs`. A guest of the documentation is Debian with the package's units and its policy for the bus, and nothing else of
//! ours, and a drive with the environment: the `ovf-env.xml` that the page shows for it, or PetStore's. `# ` is root in it, `$ ` is
//! its host, in a directory with the guest's port as `ovf.sock` and the repository's `examples`.
//!
//! `BLESS=1` rewrites what commands say; the diff is for a person to read.

#[path = "../../../tests/docs/console.rs"]
pub(crate) mod console;
#[path = "../../../tests/docs/desk.rs"]
pub(crate) mod desk;
#[path = "../../../tests/docs/markdown.rs"]
pub(crate) mod markdown;

use crate::Test;
use crate::service::{POLICY, UNITS};
use anyhow::{Context, Result, ensure};
use console::{Answers, agrees};
use markdown::{Block, Page, Place};
use qemu_tests::{Bench, Connect, Files, Vm};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("docs: what the page of short answers shows in a guest is what happens", howto),
    ("docs: what other pages show in a guest is what happens", others),
    ("docs: what pages show of packages that run is what happens", deployed),
];

const HOWTO: &str = "docs/howto.md";

pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

fn howto(bench: &Bench<'_>) -> Result<()> {
    let pages: Vec<Page> = markdown::pages(&top()).into_iter().filter(|page| page.name == HOWTO).collect();
    follow(bench, &pages)
}

fn others(bench: &Bench<'_>) -> Result<()> {
    let pages: Vec<Page> = markdown::pages(&top()).into_iter().filter(|page| page.name != HOWTO).collect();
    follow(bench, &pages)
}

/// Runs the blocks of these pages that want a guest, each in the guest of its number.
fn follow(bench: &Bench<'_>, pages: &[Page]) -> Result<()> {
    let (mut commands, mut faults) = (0, String::new());
    for page in pages {
        let mut answers = Answers::new();
        let mut guest: Option<(usize, Guest)> = None;
        for block in &page.blocks {
            let Place::Guest(number) = block.place else { continue };
            if guest.as_ref().is_none_or(|(there, _)| *there != number) {
                drop(guest.take()); // its memory is needed
                guest = Some((number, Guest::new(bench, page, number)?));
            }
            let (_, guest) = guest.as_mut().expect("it is there");
            if let Some(file) = block.file() {
                guest.file(file, &block.text())?;
            }
            if block.language == "console" {
                commands += guest.block(page, block, &mut answers, &mut faults)?;
            }
        }
        settle(page, &answers)?;
    }
    ensure!(faults.is_empty() || is_blessed(), "{faults}BLESS=1 writes what was said");
    ensure!(commands > 0, "there is no command for a guest");
    bench.measured(format!("{commands} commands"));
    Ok(())
}

fn is_blessed() -> bool {
    std::env::var_os("BLESS").is_some()
}

fn settle(page: &Page, answers: &Answers) -> Result<()> {
    if is_blessed() && !answers.is_empty() {
        fs::write(top().join(&page.name), console::with_answers(&page.text, answers))?;
    }
    Ok(())
}

/// A guest, and the terminal of its host.
struct Guest {
    vm: Vm,
    desk: tempfile::TempDir,
    /// What is put into it before the next command.
    files: Files,
    /// How the last command ended: in the guest, and on its host.
    statuses: [i32; 2],
}

impl Guest {
    fn new(bench: &Bench<'_>, page: &Page, number: usize) -> Result<Guest> {
        let is_document =
            |block: &&Block| block.place == Place::Guest(number) && block.file() == Some("ovf-env.xml");
        let document = match page.blocks.iter().find(is_document) {
            Some(block) => block.text(),
            None => fs::read_to_string(top().join("examples/petstore/ovf-env.xml"))?,
        };
        let mut vm = bench.debian(Some(&bench.environment(&document)?), Connect::Later)?;
        let unit = |files: Files, (name, text)| files.with(&format!("/usr/lib/systemd/system/{name}"), text);
        vm.put(&UNITS.into_iter().fold(Files::new().with(POLICY.0, POLICY.1), unit))?;
        // The bus runs, and has read what it had.
        vm.run("systemctl reload dbus")?;
        let desk = tempfile::tempdir()?;
        symlink(vm.host.socket(), desk.path().join("ovf.sock"))?;
        symlink(top().join("examples"), desk.path().join("examples"))?;
        Ok(Guest { vm, desk, files: Files::new(), statuses: [0; 2] })
    }

    /// A file of the guest has an absolute path, one of its host a relative one.
    fn file(&mut self, file: &str, text: &str) -> Result<()> {
        if !file.starts_with('/') {
            desk::write(&self.desk.path().join(file), text);
            return Ok(());
        }
        let files = std::mem::take(&mut self.files);
        self.files =
            if text.starts_with("#!") { files.with_program(file, text) } else { files.with(file, text) };
        Ok(())
    }

    /// Runs a block; how many commands it has.
    fn block(
        &mut self,
        page: &Page,
        block: &Block,
        answers: &mut Answers,
        faults: &mut String,
    ) -> Result<usize> {
        // systemd looks for files of units when it is first asked for them.
        self.vm.put(&std::mem::take(&mut self.files))?;
        let commands =
            console::commands(block).map_err(|error| anyhow::anyhow!("{}: {error}", page.at(block.first)))?;
        for command in &commands {
            let said =
                if command.is_root { self.as_root(&command.text)? } else { self.as_host(&command.text)? };
            if !agrees(&command.says, &said.lines().collect::<Vec<_>>()) {
                let shown = command.says.join("\n");
                let at = page.at(command.shown.start - 1);
                *faults += &format!("{at}: {}\nshows\n{shown}\nand it said\n{said}\n", command.text);
                answers.push((command.shown.clone(), said));
            }
        }
        Ok(commands.len())
    }

    fn as_root(&mut self, command: &str) -> Result<String> {
        let output =
            self.vm.sh(&console::script(command, self.statuses[0])).with_context(|| command.to_owned())?;
        self.statuses[0] = output.status;
        Ok(String::from_utf8(output.stdout)?)
    }

    fn as_host(&mut self, command: &str) -> Result<String> {
        let output = Command::new("sh")
            .args(["-c", &console::script(command, self.statuses[1])])
            .current_dir(self.desk.path())
            .stdin(Stdio::null())
            .output()
            .with_context(|| command.to_owned())?;
        self.statuses[1] = output.status.code().context("it was killed")?;
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The blocks that start a package's guests, each page's in a directory with its files, the programs and the examples.
fn deployed(bench: &Bench<'_>) -> Result<()> {
    let products = bench.products()?;
    let (mut commands, mut faults) = (0, String::new());
    for page in markdown::pages(&top()) {
        let is_meant = |block: &Block| block.place == Place::Deployed;
        if !page.blocks.iter().any(is_meant) {
            continue;
        }
        let (desk, bin) = (tempfile::tempdir()?, tempfile::tempdir()?);
        symlink(top().join("examples"), desk.path().join("examples"))?;
        for (name, program) in &products {
            symlink(program, bin.path().join(name))?;
        }
        let (mut answers, mut status) = (Answers::new(), 0);
        for block in &page.blocks {
            if let Some(file) = block.file().filter(|file| !file.starts_with('/')) {
                desk::write(&desk.path().join(file), &block.text());
            }
            if !is_meant(block) {
                continue;
            }
            for command in console::commands(block).expect("tests/docs.rs has read it") {
                let (said, ended) = emulated(&command.text, status, desk.path(), bin.path())?;
                status = ended;
                if !agrees(&command.says, &said.lines().collect::<Vec<_>>()) {
                    faults += &format!("{}: {}\nsaid\n{said}\n", page.name, command.text);
                    answers.push((command.shown, said));
                }
                commands += 1;
            }
        }
        emulated("ovf-host down --now", 0, desk.path(), bin.path())?;
        settle(&page, &answers)?;
    }
    ensure!(faults.is_empty() || is_blessed(), "{faults}BLESS=1 writes what was said");
    ensure!(commands > 0, "no page starts the guests of a package");
    Ok(())
}

/// What a command says, and how it ends, where guests are emulated and deployments are kept below `desk`.
fn emulated(command: &str, status: i32, desk: &Path, bin: &Path) -> Result<(String, i32)> {
    let path = std::env::var("PATH")?;
    let output = Command::new("sh")
        .args(["-c", &console::script(command, status)])
        .current_dir(desk)
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("OVF_AGENT", bin.join("ovf-agent"))
        .env("OVF_HOST_ACCEL", "tcg")
        .env("OVF_HOST_STATE", desk.join("deployments"))
        .stdin(Stdio::null())
        .output()
        .with_context(|| command.to_owned())?;
    Ok((String::from_utf8(output.stdout)?, output.status.code().context("it was killed")?))
}
