//! Guests that `ovf-host up` starts from a package's disk, by QEMU: how they come up in order, and what they may do wrong.
//!
//! All of them boot from one disk, whose /init behaves as a property says (`guest/deployed/init`). They are ovf-host's own QEMU
//! processes; a trial sees what the command says, its file of events, and what is left behind.

mod desk;
mod package;
mod refusals;

use crate::Test;
use anyhow::{Context, Result, bail, ensure};
use desk::{Desk, ended};
use package::{CARD, INSTALL, collection, descriptor, guest, guest_with};
use qemu_tests::Bench;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    (
        "deploy: guests come up in order whatever they do on the way, are sent parameters, and stop the other way round",
        order,
    ),
    (
        "deploy: guests that lie, fail or are silent are told apart, and with --keep-going hold up nobody",
        liars,
    ),
    ("deploy: a guest that is late stops the start with its unmet gates, or is passed over", late),
    ("deploy: an interrupt leaves nothing, and after a kill `down` finds everything", interrupted),
    ("deploy: what is wrong with a package or with this machine is told, and nothing is left", refusals::all),
];

/// Waits for its guest.
const WAITS: &str = r#"ovf:order="1" ovf:waitingForGuest="true""#;

/// Where in the list of events this is.
fn at(events: &[(String, String)], guest: &str, word: &str) -> Result<usize> {
    let found = events.iter().position(|it| it.0 == guest && it.1 == word);
    found.with_context(|| format!("{guest} was never {word}: {events:#?}"))
}

fn order(bench: &Bench<'_>) -> Result<()> {
    let shutdown = r#"ovf:order="3" ovf:stopAction="guestShutdown""#;
    let brief = &format!(r#"{shutdown} ovf:stopDelay="1""#);
    let tier = collection(
        "Tier",
        &[("Degrades", WAITS), ("Any", r#"ovf:order="2" ovf:stopAction="guestShutdown""#)],
        &[guest("Degrades", "degrades"), guest("Any", "any")],
    );
    let items = [
        ("Retries", WAITS),
        ("Reboots", WAITS),
        ("Installs", WAITS),
        ("Resting", r#"ovf:order="1" ovf:startAction="none""#),
        ("Tier", r#"ovf:order="2" ovf:waitingForGuest="true""#),
        ("Last", shutdown),
        ("Deaf", brief),
        ("Refuses", brief),
    ];
    let guests = [
        guest("Retries", "retries"),
        guest("Reboots", "reboots"),
        guest_with("Installs", "installs", INSTALL, CARD),
        guest("Resting", "ready"),
        tier,
        guest_with("Last", "ready", "", CARD),
        guest("Deaf", "deaf"),
        guest("Refuses", "refuses"),
    ];
    let desk = Desk::new(bench, &descriptor(&collection("edges", &items, &guests)))?;
    let up = desk.run(&["up", "package.ovf", "--timeout", "300"])?;
    up.is(0, &[])?;
    let events = desk.events("edges");
    let find = |guest: &str, word: &str| at(&events, guest, word);
    ensure!(find("Retries", "failed")? < find("Retries", "ready")?, "it is waited for: {events:#?}");
    ensure!(find("Reboots", "rebooting")? < find("Reboots", "ready")?, "it is waited for: {events:#?}");
    let boots = events.iter().filter(|it| it.0 == "Installs" && it.1 == "power on").count();
    ensure!(boots == 2, "{boots} boots of one that installs itself: {events:#?}");
    for guest in ["Retries", "Reboots", "Installs"] {
        let ready = events.iter().rposition(|it| it.0 == guest && it.1 == "ready").context("never ready")?;
        ensure!(ready < find("Degrades", "power on")?, "{guest} was not waited for: {events:#?}");
    }
    ensure!(find("Degrades", "ready")? < find("Any", "power on")?, "{events:#?}");
    ensure!(find("Any", "ready")? < find("Last", "power on")?, "the collection is one thing: {events:#?}");
    ensure!(!events.iter().any(|it| it.0 == "Resting"), "nobody is to start it: {events:#?}");
    let status = desk.run(&["status"])?;
    for (guest, state) in [("Resting", "off"), ("Last", "ready"), ("Degrades", "degraded"), ("Deaf", "ready")]
    {
        let line = status.out.lines().find(|it| it.trim_start().starts_with(guest)).unwrap_or_default();
        ensure!(line.contains(state), "{guest} is not {state}: {}", status.text());
    }

    // What one does not take, nobody has.
    let set = desk.run(&["set", "Any", "number=many", "--timeout", "200"])?;
    set.is(78, &["nothing is changed here; what others had applied is taken back", "ParametersInvalid"])?;
    desk.run(&["set", "Last", "word=second"])?.is(0, &[])?;
    let (any, last) = (place(&desk, "Any")?, place(&desk, "Last")?);
    let said = desk.console("edges", any);
    let words: Vec<_> = said.lines().filter(|it| it.starts_with("word ")).map(str::trim_end).collect();
    ensure!(words.last() == Some(&"word first, number 0"), "it has kept what was refused: {words:?}");
    // From its disc.
    desk.reset("edges", last)?;
    desk.run(&["wait", "Last"])?.is(0, &[])?;
    let said = desk.console("edges", last);
    ensure!(said.matches("word second, number 0").count() == 2, "not what was set: {said}");

    let down = desk.run(&["down", "--json"])?;
    down.is(0, &[])?;
    let events: Vec<_> = down.out.lines().filter_map(desk::event).collect();
    let find = |guest: &str, word: &str| at(&events, guest, word);
    for guest in ["Last", "Deaf", "Refuses"] {
        ensure!(find(guest, "off")? < find("Any", "stopping")?, "{guest} stops first: {events:#?}");
    }
    ensure!(find("Any", "off")? < find("Degrades", "off")?, "{events:#?}");
    ensure!(find("Degrades", "off")? < find("Reboots", "off")?, "{events:#?}");
    let cut = |guest: &str| {
        down.out.lines().any(|it| it.contains(&format!("\"{guest}\"")) && it.contains("power was cut"))
    };
    for (guest, wanted) in
        [("Last", false), ("Any", false), ("Deaf", true), ("Refuses", true), ("Reboots", true)]
    {
        ensure!(cut(guest) == wanted, "the power of {guest} was cut: {}: {}", !wanted, down.out);
    }
    desk.is_clear()
}

/// A guest's place among the package's entities: the number of its directory.
fn place(desk: &Desk, id: &str) -> Result<usize> {
    let numbers = 0..20;
    let is_it = |it: &usize| desk.console("edges", *it).contains(&format!("{id}: behaviour"));
    numbers.into_iter().find(is_it).with_context(|| format!("{id} has said nothing on its console"))
}

/// Tries with a longer and longer `startDelay` until guests have said within it what they say once they are up: on a machine that has
/// much else to do, one boots in ten times the time that it takes here alone.
fn until_spoken<T>(mut attempt: impl FnMut(u32) -> Result<Option<T>>) -> Result<T> {
    for seconds in [20, 60, 180] {
        if let Some(done) = attempt(seconds)? {
            return Ok(done);
        }
    }
    bail!("no guest said in three minutes why it is not ready")
}

fn liars(bench: &Bench<'_>) -> Result<()> {
    let behaviours = ["other", "stage", "long", "off", "fails"];
    let items: Vec<_> = behaviours.iter().map(|it| (*it, WAITS)).collect();
    let desk = until_spoken(|seconds| {
        let brief = format!(r#"{WAITS} ovf:startDelay="{seconds}""#);
        let brief = brief.as_str();
        let mut items: Vec<(&str, &str)> = items.clone();
        items.extend([
            ("half", brief),
            ("panics", brief),
            ("silent", brief),
            ("next", r#"ovf:order="2" ovf:waitingForGuest="true""#),
        ]);
        let guests: Vec<_> =
            items.iter().map(|(it, _)| guest(it, if *it == "next" { "ready" } else { it })).collect();
        let desk = Desk::new(bench, &descriptor(&collection("edges", &items, &guests)))?;
        let up = desk.run(&["up", "package.ovf", "--keep-going", "--timeout", "300"])?;
        let late =
            |it: &str| format!("`{it}` was not ready after {seconds} s; it has said nothing on its port");
        up.is(
            1,
            &[
                "`other` is not trusted: it calls itself `Other`; it was given another guest's environment",
                "`stage` is not trusted: it says a report that is none",
                "`long` is not trusted: it says a line of more than 1048576 bytes",
                "`off` powered itself off before it was ready; it has said nothing on its port org.ovf.agent.0",
                "`fails` failed: ParametersInvalid: ",
                &late("half"),
                &late("panics"),
                &late("silent"),
            ],
        )?;
        Ok(up.errors.contains("Kernel panic - not syncing").then_some(desk))
    })?;
    let events = desk.events("edges");
    at(&events, "next", "ready")?;
    desk.run(&["wait", "next", "--timeout", "60"])?.is(0, &[])?;
    desk.run(&["wait", "silent", "--timeout", "1"])?.is(75, &["`silent` was not ready after 1 s"])?;
    desk.run(&["down", "--now"])?.is(0, &[])?;
    desk.is_clear()
}

fn late(bench: &Bench<'_>) -> Result<()> {
    let next = ("next", r#"ovf:order="2""#);
    until_spoken(|seconds| {
        let delay = format!(r#"{WAITS} ovf:startDelay="{seconds}""#);
        let guests = [guest("unmet", "unmet"), guest("next", "silent")];
        let desk = Desk::new(bench, &descriptor(&collection("edges", &[("unmet", &delay), next], &guests)))?;
        let stopped = desk.run(&["up", "package.ovf"])?;
        stopped.is(75, &[&format!("`unmet` was not ready after {seconds} s; ")])?;
        ensure!(!stopped.out.contains("next"), "the next one was not to start: {}", stopped.text());
        desk.is_clear()?;
        Ok(stopped.errors.contains("its last word was: waiting: file /run/never").then_some(()))
    })?;

    let delay = r#"ovf:order="1" ovf:waitingForGuest="true" ovf:startDelay="2""#;
    let guests = [guest("unmet", "silent"), guest("next", "silent")];
    let desk = Desk::new(bench, &descriptor(&collection("edges", &[("unmet", delay), next], &guests)))?;
    let passed = desk.run(&["up", "package.ovf", "--on-timeout", "continue", "--no-wait"])?;
    passed.is(0, &["`unmet` was not ready after 2 s; it has said nothing on its port"])?;
    at(&desk.events("edges"), "next", "booting")?;
    desk.run(&["down", "--now"])?.is(0, &[])?;
    desk.is_clear()
}

/// Sends a signal to a process.
fn signal(id: u32, name: &str) -> Result<()> {
    let status = std::process::Command::new("kill").args([name, &id.to_string()]).status()?;
    ensure!(status.success(), "{id} has no {name}");
    Ok(())
}

fn interrupted(bench: &Bench<'_>) -> Result<()> {
    let items = [("silent", WAITS), ("never", r#"ovf:order="2""#)];
    let guests = [guest_with("silent", "silent", "", CARD), guest("never", "silent")];
    let desk = Desk::new(bench, &descriptor(&collection("edges", &items, &guests)))?;

    let up = desk.run_until(&["up", "package.ovf"], "silent", "booting")?;
    ensure!(desk.processes().len() == 2, "a guest and the network: {:?}", desk.processes());
    signal(up.id(), "-INT")?;
    ended(up.wait_with_output()?)?
        .is(130, &["interrupted; the power of all guests is cut, and nothing of them is left"])?;
    desk.is_clear()?;

    // The same name is taken while it is there, another is not, and neither hears of the other.
    let mut first = desk.run_until(&["up", "package.ovf"], "silent", "booting")?;
    desk.run(&["up", "package.ovf"])?.is(
        64,
        &["there is a deployment `edges` already; another ovf-host is at work on it: wait for it, or"],
    )?;
    desk.run(&["down"])?.is(75, &["another ovf-host is at work on `edges`; wait for it, or interrupt it"])?;
    let second = desk.run_until(&["up", "package.ovf", "--name", "second"], "silent", "booting")?;
    ensure!(desk.processes().len() == 4, "two of each: {:?}", desk.processes());
    signal(first.id(), "-KILL")?;
    first.wait()?;
    signal(second.id(), "-TERM")?;
    ended(second.wait_with_output()?)?.is(130, &["interrupted"])?;
    ensure!(desk.processes().len() == 2, "the first one's run on: {:?}", desk.processes());
    let status = desk.run(&["status"])?;
    ensure!(status.out.contains("silent  silent") && status.out.contains("never   off"), "{}", status.text());
    // Its package may have gone since.
    std::fs::remove_file(desk.path("package.ovf"))?;
    if crate::is_long() {
        // A QEMU that hangs is killed, when it had ten seconds.
        for id in desk.processes() {
            signal(id, "-STOP")?;
        }
    }
    desk.run(&["set", "silent", "word=other"])?.is(1, &["package.ovf cannot be read any more"])?;
    desk.run(&["down", "--timeout", "1"])?.is(0, &[])?;
    desk.is_clear()
}
