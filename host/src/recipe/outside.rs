//! What a recipe names outside of its folder.
//!
//! Decides that it names nothing there, unless whoever packs says so: what is in the package goes to others, and a folder
//! may come from others as well. `licence = "/etc/shadow"` is no licence.

#![forbid(unsafe_code)]

use std::path::Path;

use super::Recipe;
use crate::finding::quoted;

/// Finds the paths that lead out, by themselves or through links.
pub(super) fn check(recipe: &Recipe, directory: &Path, find: &mut impl FnMut(usize, String)) {
    // What is not there at all has been found already.
    let Ok(inside) = directory.canonicalize() else { return };
    let mut look = |path: &Path, at: usize| {
        if directory.join(path).canonicalize().is_ok_and(|it| !it.starts_with(&inside)) {
            let path = quoted(&path.to_string_lossy());
            let message =
                format!("{path} is outside of this folder; put it there, or allow it with --outside");
            find(at, message);
        }
    };
    for machine in recipe.machines.values() {
        for disk in machine.disks.iter().filter(|it| super::size(it.get_ref()).is_none()) {
            look(Path::new(disk.get_ref()), disk.span().start);
        }
        for path in [&machine.agent, &machine.licence].into_iter().flatten() {
            look(path.get_ref(), path.span().start);
        }
    }
}
