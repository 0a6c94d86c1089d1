//! A pass in which nothing has changed since the last one, found out without making any file anew.
//!
//! Decides what a pass is made from, and that one which is made from the same as the last, and finds every file as that one left
//! it, need not compile, render or compare anything: it would come to the same. Whatever it cannot tell makes it a pass like any
//! other, which costs more and is never wrong. What is saved, and what else was tried: docs/decisions/010.
//!
//! What a file should be follows from the following, and all of it is in the digest that the state remembers ([`Input`]):
//!
//! - this program, and the names and texts of `agent.toml`, the drop-ins and the templates ([`Config::digest`]);
//! - what templates see: parameters, generated ones among them, the platform, the hypervisor, the environment's id, adapters and
//!   the names of their interfaces ([`feed`]). They have no clock, no randomness, no process environment and no files. Not
//!   the document itself: much of it is nobody's business, and vCloud's is another at each boot;
//! - whether owners are set and compared, which they are in the running system alone; then whose files are by default, and the
//!   numbers of those whom templates name.
//!
//! What a pass does about a file follows from that, from the file and from its record, which are looked at here: content, mode,
//! owner and group, and that no two records have come to be of one file. A record of a file that is not as its template has it
//! (kept for its edits, `once`, `absent = "keep"`) tells nothing of what a pass would do with it: the digest is remembered only
//! where there is none ([`Plan::makes_all_right`](crate::plan::Plan::makes_all_right)). Leftovers of an interrupted pass, a
//! journal, a state that was damaged, and roles of units that are to be undone are work for a pass like any other; so are hooks
//! that would be told of derived values.
//!
//! Not in the digest, because the rest of the pass sees to them in any case: whose guest this is and which boot it is in, the
//! document's digest and source, `[environment] absent`, what is owed, and which hooks there are and are due.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::Path;

use tracing::debug;

use super::Machine;
use super::compare::Leftovers;
use crate::apply::TARGET_LIMIT;
use crate::config::{Config, Layers};
use crate::parameters::Parameters;
use crate::plan::Plan;
use crate::problem::Problems;
use crate::state::{Input, Memory, State, Written};
use crate::sys::accounts::Accounts;
use crate::sys::place::{Current, Places};
use crate::sys::{self, Root, process};
use crate::template::{Surroundings, feed};

/// The configuration for a pass: its templates are compiled when they are needed, where the last pass has compiled the same.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(layers: &Layers, root: &Root) -> Result<Config, Problems> {
    Config::load_unless(layers, |directory, digest| Memory::load(root, directory).state.knows(digest))
}

/// What a pass is made from, to be remembered in `state`; `None` where that cannot be told. `accounts` are those by which owners
/// are set.
pub(super) fn input(
    config: &Config,
    state: &State,
    parameters: &Parameters,
    surroundings: Surroundings<'_>,
    accounts: Option<&sys::Result<Accounts>>,
) -> Option<Input> {
    let configuration = config.digest()?;
    // Whether that they cannot be read is a reason to fail depends on the templates.
    let accounts = accounts.map(|accounts| accounts.as_ref().ok().ok_or(())).transpose().ok()?;
    Some(state.input(&configuration, |digest| {
        digest.add(&[u8::from(accounts.is_some())]);
        if let Some(accounts) = accounts {
            digest.add(&process::euid().to_le_bytes());
            digest.add(&process::egid().to_le_bytes());
            accounts.texts().iter().for_each(|text| digest.add(text.as_bytes()));
        }
        feed(digest, parameters, surroundings);
    }))
}

impl Machine {
    /// The configuration for the first pass, as by [`load`]; what is read for it of the state, that pass has at hand.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&mut self, layers: &Layers) -> Result<Config, Problems> {
        Config::load_unless(layers, |directory, digest| {
            let memory = self.memory.insert(Memory::load(&self.root, directory));
            memory.state.knows(digest)
        })
    }

    /// The plan of a pass in which nothing has changed; `None` where something has, or may have.
    pub(super) fn unchanged(&self, config: &Config, memory: &Memory, input: Option<&Input>) -> Option<Plan> {
        let state = &memory.state;
        let is_same = config.is_uncompiled()
            && !memory.is_damaged()
            && input.is_some()
            && state.input.as_ref() == input;
        let tells_derived = config.derives() && !config.hooks.list.is_empty();
        if !is_same || tells_derived || !has_these_roles(config, state, &self.root) {
            return None;
        }
        are_as_written(&self.root, &config.state, state)?;
        debug!(stage = "apply", "nothing has changed since the last pass");
        Some(Plan { as_before: state.files.len(), roles: state.roles.clone(), ..Plan::default() })
    }
}

/// Whether the roles that are remembered are those of the configuration, and no other that is to be undone. Elsewhere than
/// in the running system none are remembered.
fn has_these_roles(config: &Config, state: &State, root: &Root) -> bool {
    let mut pairs = config.roles.iter().zip(&state.roles);
    let same = pairs.all(|(role, known)| (&role.unit, role.state) == (&known.unit, known.state));
    !root.is_system() || same && config.roles.len() == state.roles.len()
}

/// Whether every file is as its record says, and nothing lies beside any; `None` where it is not, or cannot be looked at.
fn are_as_written(root: &Root, directory: &Path, state: &State) -> Option<()> {
    let mut places = Places::new(root);
    let mut taken = BTreeSet::new();
    let mut leftovers = Leftovers::default();
    for (path, written) in &state.files {
        let place = places.place(path).ok()?;
        let current = place.current(TARGET_LIMIT).ok()??;
        let is_alone = taken.insert(place.identity().ok()?);
        leftovers.beside(&place).ok()?;
        (is_alone && is_as_written(state, &current, written)).then_some(())?;
    }
    leftovers.of(root, directory, state, &mut places).ok()?.is_empty().then_some(())
}

fn is_as_written(state: &State, current: &Current, written: &Written) -> bool {
    current.mode == written.mode
        && written.ids.is_none_or(|ids| ids == (current.uid, current.gid))
        && state.digest(&current.content) == written.digest
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes the configuration that it reads")]
mod tests {
    use super::{has_these_roles, input, is_as_written};
    use crate::config::{Config, Layers};
    use crate::environment::Platform;
    use crate::interfaces::Interfaces;
    use crate::parameters::Generated;
    use crate::state::{Input, State, Written};
    use crate::sys::accounts::Accounts;
    use crate::sys::place::Current;
    use crate::sys::{self, Root};
    use crate::template::Surroundings;
    use crate::units::{self, Role};
    use std::fs;

    fn config(text: &str) -> Config {
        let dir = tempfile::tempdir().expect("a scratch directory");
        fs::write(dir.path().join("agent.toml"), text).expect("written");
        Config::load(&Layers::only(dir.path()).expect("a directory")).expect(text)
    }

    fn made_from(state: &State, accounts: Option<sys::Result<Accounts>>) -> Option<Input> {
        let config = config("");
        let (parameters, _) = config.parameters.evaluate(None, &Generated::default()).expect("none");
        let surroundings = Surroundings {
            platform: &Platform::default(),
            hypervisor: "none",
            environment_id: "",
            adapters: &[],
            interfaces: &Interfaces::default(),
        };
        input(&config, state, &parameters, surroundings, accounts.as_ref())
    }

    fn accounts(passwd: &str, group: &str) -> Accounts {
        let dir = tempfile::tempdir().expect("a scratch directory");
        fs::create_dir(dir.path().join("etc")).expect("made");
        fs::write(dir.path().join("etc/passwd"), passwd).expect("written");
        fs::write(dir.path().join("etc/group"), group).expect("written");
        Accounts::read(&Root::open(dir.path()).expect("a directory")).expect("both")
    }

    #[test]
    fn owners_are_part_of_what_files_are_made_from_where_they_are_set() {
        let state = State::default().continued();
        let (one, other) = ("mydb:x:120:130::/:/bin/sh\n", "mydb:x:121:130::/:/bin/sh\n");
        let different = [
            made_from(&state, None),
            made_from(&state, Some(Ok(Accounts::default()))),
            made_from(&state, Some(Ok(accounts(one, "")))),
            made_from(&state, Some(Ok(accounts(other, "")))),
            made_from(&state, Some(Ok(accounts("", one)))),
            made_from(&State::default().continued(), None),
        ];
        for (number, one) in different.iter().enumerate() {
            assert!(one.is_some(), "{number}");
            assert!(different.iter().skip(number + 1).all(|other| one != other), "{number}");
        }
        assert_eq!(made_from(&state, None), different[0], "the same again");
        let unreadable = sys::Error::new("read", "/etc/passwd", std::io::Error::other("a test"));
        assert_eq!(made_from(&state, Some(Err(unreadable))), None, "not to be told");
    }

    #[test]
    fn a_record_is_of_content_mode_and_of_owners_where_these_were_compared() {
        let state = State::default().continued();
        let written = |ids| Written {
            template: "templates/a.tera".to_owned(),
            mode: 0o640,
            ids,
            digest: state.digest(b"a"),
            ours: true,
            keep: false,
            owes: Default::default(),
        };
        let current = |content: &str, mode, uid, gid| Current { content: content.into(), mode, uid, gid };
        for (file, ids, want) in [
            (current("a", 0o640, 7, 8), Some((7, 8)), true),
            (current("a", 0o640, 7, 8), None, true),
            (current("b", 0o640, 7, 8), None, false),
            (current("a", 0o600, 7, 8), None, false),
            (current("a", 0o640, 0, 8), Some((7, 8)), false),
            (current("a", 0o640, 7, 0), Some((7, 8)), false),
        ] {
            assert_eq!(is_as_written(&state, &file, &written(ids)), want, "{file:?} {ids:?}");
        }
    }

    #[test]
    fn roles_that_are_to_be_undone_are_work() {
        let config = config("[[units]]\nname = 'a.service'\nstate = 'masked'\nwhen = '1 == 1'\n");
        let role = |unit: &str, state, holds| Role { unit: unit.to_owned(), state, holds };
        let masked = |holds| role("a.service", units::State::Masked, holds);
        let system = Root::open("/").expect("this machine");
        let dir = tempfile::tempdir().expect("a scratch directory");
        let other = Root::open(dir.path()).expect("a directory");
        for (roles, want) in [
            (vec![masked(true)], true),
            (vec![masked(false)], true),
            (vec![], false),
            (vec![role("a.service", units::State::Stopped, true)], false),
            (vec![role("b.service", units::State::Masked, true)], false),
            (vec![masked(true), role("b.service", units::State::Masked, false)], false),
        ] {
            let mut state = State::default();
            state.roles = roles;
            assert_eq!(has_these_roles(&config, &state, &system), want, "{:?}", state.roles);
            assert!(has_these_roles(&config, &state, &other), "nobody runs there");
        }
    }
}
