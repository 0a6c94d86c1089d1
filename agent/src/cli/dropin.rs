//! `check --emit-paths-dropin`: what the agent's unit has to be allowed for this configuration, and nothing else.
//!
//! Decides which directories can be written (systemd.exec(5), `ReadWritePaths=`): those of the templates' targets, of the state,
//! `/run`, and the drives' settings in `/sys`. The directory of a target, and not the file: files change by a rename. One that is
//! not there when the agent starts is passed over, for systemd would not start the agent at all.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::config::{Config, STATE};
use crate::template::TemplateSet;

const HEAD: &str = "\
# Made by `ovf-agent check --emit-paths-dropin`; to be made anew when a template's path changes.
# It lies in /etc/systemd/system/ovf-agent.service.d/ or below /usr/lib, under any name that ends with .conf.
[Service]
ReadWritePaths=
";

/// What the unit is always allowed: sockets and what lasts until the next boot, and `events_poll_msecs` of drives.
const ALWAYS: [&str; 2] = ["/run", "/sys/devices"];

/// The text of the drop-in.
pub(super) fn text(config: &Config) -> String {
    let mut paths: BTreeSet<PathBuf> = ALWAYS.iter().map(PathBuf::from).collect();
    if config.state != Path::new(STATE) {
        paths.insert(config.state.clone());
    }
    for path in config.templates().into_iter().flat_map(TemplateSet::paths) {
        paths.extend(directory(path));
    }
    let mut text = HEAD.to_owned();
    for path in paths.iter().filter(|path| !path.ancestors().skip(1).any(|above| paths.contains(above))) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "ReadWritePaths={}", quoted(path));
    }
    text
}

/// The directory of a target, as far as it is fixed: `{index}` and its like are filled later.
fn directory(path: &Path) -> Option<PathBuf> {
    let fixed = |path: &&Path| !path.as_os_str().to_string_lossy().contains('{');
    path.ancestors().skip(1).find(fixed).map(Path::to_path_buf)
}

/// As systemd reads one of several paths (systemd.syntax(7)): `%` begins a specifier, blanks end a path.
fn quoted(path: &Path) -> String {
    let mut text = String::from("\"-");
    for character in path.display().to_string().chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '%' => text.push_str("%%"),
            other => text.push(other),
        }
    }
    text.push('"');
    if text.contains([' ', '\\', '\t']) { text } else { text[1..text.len() - 1].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{directory, quoted};
    use std::path::{Path, PathBuf};

    #[test]
    fn directories_are_what_is_fixed_of_a_path() {
        for (path, want) in [
            ("/etc/mydb/mydb.conf", "/etc/mydb"),
            ("/etc/net/{index}.conf", "/etc/net"),
            ("/srv/{key}/a/b.conf", "/srv"),
            ("/hosts", "/"),
        ] {
            assert_eq!(directory(Path::new(path)), Some(PathBuf::from(want)), "{path}");
        }
    }

    #[test]
    fn paths_are_quoted_where_systemd_would_read_something_else() {
        for (path, want) in
            [("/etc/a", "-/etc/a"), ("/etc/a%h", "-/etc/a%%h"), ("/srv/a b\"c", "\"-/srv/a b\\\"c\"")]
        {
            assert_eq!(quoted(Path::new(path)), want);
        }
    }
}
