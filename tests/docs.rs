//! The documentation, tried: what it shows is what happens.
//!
//! | in README.md, CONTRIBUTING.md, ARCHITECTURE.md, and below docs/, examples/, packaging/ and qemu-tests/ | is tried so |
//! |---|---|
//! | a block `console` | its commands are run in an empty directory, one after the other, and say what stands below them (`docs/follow.rs`); those that want the platform's half are run by `host/tests/docs.rs`, those that want a guest in one, by `qemu-tests/tests/guest/docs.rs`, or by a test of their own; those that build and test the repository are looked up (`docs/names.rs`); what nobody runs has its reason beside it |
//! | a block below a line that ends in a file's name and a colon | is that file there |
//! | a block `toml` or `tera` | `check` accepts it, beside names that documents use without declaring them (`docs/keys.rs`) |
//! | every key, type and escape that the agent knows | is explained (`docs/keys.rs`) |
//! | what stands between two marks in `errors.md`, and a message in a table there | are the agent's (`docs/refused.rs`) |
//! | a link | leads to a file and a heading that are there (`docs/links.rs`) |
//! | `docs/demo.svg` | is what `ovf-host timeline` draws of a demo (`host/tests/timeline.rs`) |
//!
//! `BLESS=1` rewrites what commands say, and what stands between marks; the diff is for a person to read.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is outside of the agent, and looks at files and starts programs"
)]

#[path = "docs/console.rs"]
mod console;
#[path = "docs/desk.rs"]
mod desk;
#[path = "docs/follow.rs"]
mod follow;
#[path = "docs/keys.rs"]
mod keys;
#[path = "docs/links.rs"]
mod links;
#[path = "docs/markdown.rs"]
mod markdown;
#[path = "docs/names.rs"]
mod names;
#[path = "docs/refused.rs"]
mod refused;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn agent() -> PathBuf {
    std::env::var_os("OVF_AGENT").unwrap_or_else(|| env!("CARGO_BIN_EXE_ovf-agent").into()).into()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Holds a text against what it should be, or makes it so.
fn compare(path: &Path, is: &str, should: &str) {
    if is == should {
        return;
    }
    if std::env::var_os("BLESS").is_some() {
        return fs::write(path, should).expect("written");
    }
    let differ = is.lines().zip(should.lines()).find(|(is, should)| is != should);
    let (is, should) = differ.unwrap_or(("(its end)", "(more, or less)"));
    panic!("{}: this line\n  {is}\nshould be\n  {should}\nBLESS=1 writes it", path.display());
}

#[test]
fn commands_say_what_is_shown() {
    let mut counts = follow::Counts::default();
    let mut faults = Vec::new();
    let mut differ = Vec::new();
    let pages = markdown::pages(&top());
    let known = follow::programs(&pages);
    for page in pages {
        let should = counts.follow(&page, &known, &mut faults);
        if page.text != should {
            differ.push((page, should));
        }
    }
    let follow::Counts { run, by_name, with_host, in_guests, beside_guests, by_others, nowhere } = &counts;
    let reasons = nowhere.iter().map(|it| format!("    {it}\n")).collect::<String>();
    // Past the test's own capture: it belongs into every log.
    let _ = writeln!(
        std::io::stdout(),
        "documentation: commands: {run} run here, {with_host} with ovf-host, {in_guests} in guests, {beside_guests} on their hosts, {by_others} by tests of their own, {by_name} looked up; blocks that \
         nobody runs: {}\n{reasons}",
        nowhere.len()
    );
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for (page, should) in differ {
        compare(&top().join(&page.name), &page.text, &should);
    }
    assert!(*run > 40 && *in_guests > 10 && *by_name > 10, "hardly anything is tried: {counts:?}");
    assert!(nowhere.len() < 10, "too much that nobody runs: {nowhere:?}");
}

#[test]
fn links_lead_somewhere() {
    let (faults, count) = links::broken(&top(), &markdown::pages(&top()));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 50, "{count} links");
}

#[test]
fn dots_stand_for_anything() {
    let lines = |text: &'static str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (shown, said, agrees) in [
        ("", "", true),
        ("", "a", false),
        ("a", "a", true),
        ("a", "ab", false),
        ("...", "", true),
        ("...", "a\nb", true),
        ("a\n...\nc", "a\nb\nb\nc", true),
        ("a\n...\nc", "a\nb\nb", false),
        ("at ... s", "at 12 s", true),
        ("at ... s", "at 12 ms", false),
        ("... at ... s", "it is at 12 s", true),
        ("a...", "ab", true),
        ("a ...", "ab", false),
        ("a...b...c", "abc", true),
        ("a...b...c", "acb", false),
    ] {
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(console::agrees(&lines(shown), &said), agrees, "{shown:?} {said:?}");
    }
}

#[test]
fn every_page_of_the_book_is_in_its_contents_and_says_for_whom_it_is() {
    let pages = markdown::pages(&top());
    let contents = &pages.iter().find(|page| page.name == "docs/README.md").expect("the contents").text;
    for page in &pages {
        let Some(name) = page.name.strip_prefix("docs/").filter(|name| !name.contains('/')) else { continue };
        if name == "README.md" {
            continue;
        }
        assert!(contents.contains(&format!("]({name})")), "docs/README.md has no link to {name}");
        let begin: Vec<&str> = page.text.lines().take(3).collect();
        assert!(
            begin[0].starts_with("# ") && begin[2].starts_with("*For "),
            "{}: below its title a page says for whom it is: `*For ...*`",
            page.name
        );
    }
}

#[test]
fn what_is_read_first_is_short() {
    for (name, most) in [("README.md", 150), ("ARCHITECTURE.md", 130)] {
        let lines = read(top().join(name)).lines().count();
        assert!(
            lines <= most,
            "{name}: {lines} lines; the limit is {most}: move what is too long into the book"
        );
    }
    assert!(read(top().join("README.md")).contains("$ make demo "), "it begins with the demo");
}

#[test]
fn a_command_that_nobody_runs_is_found() {
    let known = follow::programs(&markdown::pages(&top()));
    for (text, fault) in [
        ("```sh\nmake test\n```\n", "a script begins with"),
        ("Text:\n\n    make test\n", "belongs into a block `console`"),
        ("Text:\n\n    DEPS=true make test\n", "belongs into a block `console`"),
        ("```\n$ true\n```\n", "belongs into a block `console`"),
        ("```text\novf-agent check\n```\n", "belongs into a block `console`"),
        ("```python\nprint()\n```\n", "nobody knows what `python` is"),
        ("```console\ntrue\n```\n", "the first line is no command"),
        ("```console\n# true\n```\n", "the first line is no command"),
        ("```console\n```\n", "there is no command"),
        ("`/etc/a`:\n\n```toml\n```\n", "is a file of a guest's"),
        ("```console\n$ make tset\n```\n", "knows no `tset`"),
        ("```console\n$ make test NOTHING=1\n```\n", "knows no `NOTHING=1`"),
        ("```console\n$ make test\nall is well\n```\n", "nothing can be shown"),
        ("```console\n$ cargo test -p nobody\n```\n", "there is no package nobody"),
        ("```console\n$ cargo test -p ovf-agent --test nothing\n```\n", "has no `--test nothing`"),
        ("```console\n$ tests/walk\n```\n", "there is no program tests/walk"),
    ] {
        let mut faults = Vec::new();
        follow::Counts::default().follow(
            &markdown::Page::new("page.md", text.to_owned()),
            &known,
            &mut faults,
        );
        assert!(faults.len() == 1 && faults[0].contains(fault), "{text}: {faults:?}");
    }
    // Nothing is wrong with these, but the last of them says another thing than it shows.
    for (text, should) in [
        ("    a word\n", "    a word\n"),
        ("```console\n$ DEPS=true make test # all\n```\n", "```console\n$ DEPS=true make test # all\n```\n"),
        ("```console\n$ echo 1 \\\n  2\n1 2\n```\n", "```console\n$ echo 1 \\\n  2\n1 2\n```\n"),
        ("```console\n$ false\n$ echo $?\n0\n```\n", "```console\n$ false\n$ echo $?\n1\n```\n"),
    ] {
        let mut faults = Vec::new();
        let page = markdown::Page::new("page.md", text.to_owned());
        let is = follow::Counts::default().follow(&page, &known, &mut faults);
        assert!(faults.is_empty() && is == should, "{text}: {faults:?} {is}");
    }
}
