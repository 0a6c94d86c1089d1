//! What becomes of a pass that was interrupted: taken back, or finished.
//!
//! Decides by one question: does the state name the pass? It is renamed when all files are in place and durable, so if it
//! does the new files stay and the old ones are swept; if not the old ones return. Both ways are repeated from their
//! beginning if they are interrupted in turn: each step looks at what is there before it does anything ([`super::journal`]).

#![forbid(unsafe_code)]

use std::path::Path;

use tracing::{info, warn};

use super::journal::{Journal, Side};
use super::{Error, Left, lock};
use crate::state::Memory;
use crate::sys::Root;
use crate::sys::place::Places;

/// What was done about an interrupted pass.
#[derive(Debug)]
pub struct Recovered {
    /// Whether its files stay; else those of before are back.
    pub finished: bool,
    /// Files that stay as somebody left them meanwhile.
    pub left: Vec<Left>,
}

/// Whether a pass was interrupted, or is under way.
pub fn interrupted(root: &Root, directory: &Path) -> bool {
    Journal::exists(root, directory)
}

/// Takes back or finishes a pass that was interrupted; `None` where there is none.
///
/// # Errors
/// It can be done neither way; the journal stays for the next try. Or another process is at it.
pub fn recover(root: &Root, directory: &Path) -> Result<Option<Recovered>, Error> {
    if !interrupted(root, directory) {
        return Ok(None);
    }
    let stuck = |what| Error::Interrupted { what };
    let _lock = lock(root, directory, stuck)?;
    let mut places = Places::new(root);
    let journal = match Journal::read(&mut places, directory).map_err(stuck)? {
        // It was another process' pass, and that is done now.
        None => return Ok(None),
        Some(Ok(journal)) => journal,
        Some(Err(trouble)) => {
            warn!(
                stage = "apply",
                "the journal of an interrupted pass is lost, so its files stay as they are: {trouble}"
            );
            Journal::set_aside(&mut places, directory).map_err(stuck)?;
            return Ok(None);
        }
    };
    let finished = Memory::load(root, directory).state.pass == journal.pass;
    let side = if finished { Side::New } else { Side::Old };
    let left = journal.settle(&mut places, side).map_err(stuck)?;
    journal.finish(&mut places, directory, side).map_err(stuck)?;
    let done = if finished { "its files are complete" } else { "the files of before are back" };
    info!(stage = "apply", "an earlier pass was interrupted: {done}");
    for Left { path, why } in &left {
        warn!(stage = "apply", path = %path.display(), "{} stays as it is: {why}", path.display());
    }
    Ok(Some(Recovered { finished, left }))
}
