//! The documentation's commands that want a guest, run in one: what a page shows is what happens.
//!
//! Which blocks these are, and what `...` stands for, is said in `tests/docs/markdown.rs` and `console.rs`; all others are run by
//! `tests/docs.rs`. A guest of the documentation is Debian with the package's units and its policy for the bus, and nothing else of
//! ours, and a drive with the environment: the `ovf-env.xml` that the page shows for it, or PetStore's. `# ` is root in it, `$ ` is
//! its host, in a directory with the guest's port as `ovf.sock` and the repository's `examples`.
//!
//! `BLESS=1` rewrites what commands say; the diff is for a person to read.

#[path = "../../../tests/docs/console.rs"]
mod console;
#[path = "../../../tests/docs/markdown.rs"]
mod markdown;
#[path = "../../../tests/docs/terminal.rs"]
mod terminal;

use crate::Test;
use crate::service::{POLICY, UNITS};
use anyhow::{Context, Result, bail, ensure};
use console::{Answers, agrees};
use markdown::{Block, Page, Place};
use qemu_tests::{Bench, Connect, Files, Vm};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("docs: what the page of short answers shows in a guest is what happens", howto),
    ("docs: what other pages show in a guest is what happens", others),
    ("docs: what pages show of the demo is what it prints", demo),
    ("docs: the picture of the demo shows such lines as it prints", picture),
];

const HOWTO: &str = "docs/howto.md";

fn top() -> PathBuf {
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
            return put(&self.desk.path().join(file), text);
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

fn put(path: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(path.parent().context("a parent")?)?;
    fs::write(path, text)?;
    if text.starts_with("#!") {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// `make demo APPLIANCE=...` of the files that stand above it.
fn demo(_: &Bench<'_>) -> Result<()> {
    let mut shown = 0;
    for page in markdown::pages(&top()) {
        let desk = tempfile::tempdir()?;
        let mut answers = Answers::new();
        for block in &page.blocks {
            match block.file().filter(|file| !file.starts_with('/')) {
                Some(file) => put(&desk.path().join(file), &block.text())?,
                None if block.place != Place::Demo => continue,
                None => {}
            }
            if block.place != Place::Demo {
                continue;
            }
            for command in console::commands(block).expect("tests/docs.rs has read it") {
                let appliance = command.text.strip_prefix("make demo APPLIANCE=");
                let appliance = appliance.with_context(|| format!("{} is no demo", command.text))?;
                let said = printed(&desk.path().join(appliance))?;
                if !agrees(&command.says, &said.lines().collect::<Vec<_>>()) {
                    answers.push((command.shown, said));
                }
                shown += 1;
            }
        }
        settle(&page, &answers)?;
        if let Some((_, said)) = answers.first().filter(|_| !is_blessed()) {
            bail!("{} shows another demo than this\n{said}", page.name);
        }
    }
    ensure!(shown > 0, "no page shows the demo");
    Ok(())
}

/// What the demo prints.
fn printed(appliance: &Path) -> Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_demo")).arg(appliance).stdin(Stdio::null()).output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

/// The recording that the picture is made of has no line that the demo would not print today: but for the kernel's, which come by
/// time, numbers, and how long a gate was waited for.
fn picture(_: &Bench<'_>) -> Result<()> {
    let recorded = fs::read_to_string(top().join("tests/docs/demo.ansi"))?;
    let printed: BTreeSet<String> = printed(&top().join("examples/petstore"))?.lines().map(form).collect();
    let recorded: Vec<String> = terminal::lines(&recorded).iter().map(terminal::plain).collect();
    for line in
        recorded.iter().filter(|line| !line.contains(" s  guest ") && !line.contains("  waiting for "))
    {
        ensure!(
            printed.contains(&form(line)),
            "the demo prints nothing like this any more; record it anew, as tests/docs/picture.rs says:\n{line}"
        );
    }
    ensure!(recorded.len() > 50, "nothing is recorded");
    Ok(())
}

/// A line without what differs from run to run: numbers and what is made at random.
fn form(line: &str) -> String {
    let is_random = |word: &str| word.chars().filter(char::is_ascii_hexdigit).count() > 15;
    let words = line.split(['"', ' ']).filter(|word| !word.is_empty());
    let words = words.map(|word| match word {
        word if is_random(word) => "#".to_owned(),
        word => word.replace(|c: char| c.is_ascii_digit(), ""),
    });
    words.collect::<Vec<_>>().join(" ")
}
