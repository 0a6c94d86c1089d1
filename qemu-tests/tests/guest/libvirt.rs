//! Guests that `ovf-host up --engine libvirt` starts, by a libvirt that is the trial's own, with the commands of `docs/up.md`.

mod daemon;
mod far;
mod island;
mod machine;
mod package;
mod said;

use crate::Test;
use crate::docs::console::{self, Command, agrees};
use crate::docs::markdown::{self, Place};
use crate::docs::top;
use anyhow::{Context, Result, ensure};
use daemon::{Libvirt, listens};
pub(crate) use island::obstacle;
use package::FIRST;
use qemu_tests::Bench;
use said::{Said, kill};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Instant;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[(
    "libvirt: guests come up in order as its domains, are sent parameters, and leave nothing behind",
    deployed,
)];
/// Those that want a machine of their own.
pub(crate) const ISLANDS: &[(&str, Test)] = &[
    (
        "libvirt: guests of a machine's own are another user's, joined by its networks, and leave nothing behind",
        machine::deployed,
    ),
    ("libvirt: guests of another machine's come up by ssh, and leave nothing there and here", far::deployed),
];

const PAGE: &str = "docs/platforms.md";
/// How the page names these trials.
const HERE: &str = "qemu-tests/tests/guest/libvirt.rs";
/// One waits for the other when they start.
const UP: [(&str, &str); 4] = [(FIRST, "power on"), (FIRST, "ready"), ("Web", "power on"), ("Web", "ready")];
/// They are asked to stop, and power themselves off, the other way round.
const DOWN: [(&str, &str); 4] = [("Web", "stopping"), ("Web", "off"), (FIRST, "stopping"), (FIRST, "off")];

fn deployed(bench: &Bench<'_>) -> Result<()> {
    let mut libvirt = Libvirt::of_user(bench)?;
    let page = Page::read(HERE)?;

    let begun = Instant::now();
    let started = page.run(&libvirt, "ovf-host up")?;
    bench.measured(format!("two guests ready after {:.1} s", begun.elapsed().as_secs_f32()));
    started.tells(&UP)?;
    let domains = libvirt.domains()?;
    let [base, web] = &domains[..] else { anyhow::bail!("two domains: {domains:?}") };
    ensure!(base.starts_with("Shop-Data----") && web.starts_with("Shop-Web-"), "{domains:?}");
    ensure!(libvirt.virsh(&["desc", "--title", base])?.trim() == format!("Shop/{FIRST}"), "its title");
    // The image is read where it lies in the archive.
    let definition = libvirt.virsh(&["dumpxml", base])?;
    ensure!(definition.contains("<slice type='storage' offset='"), "{definition}");

    let said = libvirt.host(&["console", "Web", "--log"])?;
    ensure!(said.out.contains("word first"), "{}", said.text());
    listens(&libvirt.kept("Shop/s/2.console"))?;

    // By the channel now, and at the next boot from the disc, which is another one since.
    page.run(&libvirt, "ovf-host set")?;
    ensure!(libvirt.words(2)? == ["first", "second"], "sent: {:?}", libvirt.words(2));
    libvirt.virsh(&["reset", web])?;
    libvirt.host(&["wait", "Web"])?.is(0, "")?;
    // Whatever path leads to it, it is the same deployment.
    symlink(libvirt.kept(""), libvirt.path("link"))?;
    let status = libvirt.host(&["status", "--state", "link"])?;
    ensure!(status.out.matches(" ready ").count() == 2, "{}", status.text());
    let said = libvirt.words(2)?;
    ensure!(said.last().is_some_and(|it| it == "second"), "not what was set: {said:?}");

    let down = page.run(&libvirt, "ovf-host down")?;
    down.tells(&DOWN)?;
    libvirt.is_clear()?;
    gone(&mut libvirt, &["up", "package.ova", "--engine", "libvirt"])
}

/// What of it goes wrong beside the guests: domains that somebody destroys, a network that ends, a libvirt that dies.
fn gone(libvirt: &mut Libvirt, up: &[&str]) -> Result<()> {
    let running = libvirt.host_until(up, FIRST, "booting")?;
    let domains = libvirt.domains()?;
    let [base] = &domains[..] else { anyhow::bail!("one domain: {domains:?}") };
    libvirt.virsh(&["destroy", base])?;
    let ended = Said::of(running.wait_with_output()?)?;
    ended.is(1, "was lost: somebody has cut its power, by libvirt")?;
    libvirt.is_clear()?;

    let running = libvirt.host_until(up, FIRST, "booting")?;
    let is_hub = |id: &u32| {
        let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        words.windows(14).any(|it| it == b"-machine\0none\0")
    };
    let hub = libvirt.processes().into_iter().find(is_hub).context("nothing joins the guests")?;
    kill("KILL", hub)?;
    let ended = Said::of(running.wait_with_output()?)?;
    ended.is(1, "reaches no other guest any more: the guests' network has ended")?;
    libvirt.is_clear()?;

    let running = libvirt.host_until(up, FIRST, "booting")?;
    libvirt.end()?;
    let ended = Said::of(running.wait_with_output()?)?;
    ended.is(1, "was lost: libvirt tells nothing of it any more: Disconnected from qemu:///session")?;
    libvirt.host(&["status"])?.is(1, "there is no libvirt at qemu:///session")?;
    libvirt.begin()?;
    let status = libvirt.host(&["status"])?;
    ensure!(status.out.contains(" silent ") && status.out.contains(" off"), "it runs on: {}", status.text());
    libvirt.host(&["down", "--now"])?.is(0, "")?;
    libvirt.is_clear()
}

/// What the page shows.
struct Page(Vec<Command>);

impl Page {
    /// What it says is run by this file.
    fn read(by: &str) -> Result<Self> {
        let page = markdown::pages(&top())
            .into_iter()
            .find(|it| it.name == PAGE)
            .context("there is no such page")?;
        let blocks = page.blocks.iter().filter(|block| block.place == Place::By(by.to_owned()));
        let commands = blocks.map(|block| console::commands(block).map_err(anyhow::Error::msg));
        Ok(Self(commands.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()))
    }

    /// The same with something in the place of what only means something to its reader.
    fn with(mut self, shown: &str, meant: &str) -> Self {
        for command in &mut self.0 {
            command.text = command.text.replace(shown, &format!("'{meant}'"));
        }
        self
    }

    /// Runs the command that begins so, which says what is shown.
    fn run(&self, libvirt: &Libvirt, begin: &str) -> Result<Said> {
        let command = self.0.iter().find(|it| it.text.starts_with(begin));
        let command = command.with_context(|| format!("{PAGE} shows no {begin}"))?;
        let said = libvirt.shell(&command.text)?;
        said.is(0, "")?;
        ensure!(
            agrees(&command.says, &said.out.lines().collect::<Vec<_>>()),
            "{PAGE} shows something else: {}",
            said.text()
        );
        Ok(said)
    }
}
