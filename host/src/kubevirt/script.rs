//! What is done by hand in a cluster: disks that are filled, and guests that start in order.
//!
//! Decides how commands of `virtctl` and `kubectl` keep what the StartupSections say. KubeVirt has no order of its own. A script does
//! one thing after the other: nobody starts before whom it waits for, but collections that could start side by side do not.
//!
//! The rules: those of `order`; `virtctl start` and `image-upload`, `kubectl wait`.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::{Content, Guest, Target, content, volume};
use crate::finding::printable;
use crate::order::Step;

/// Seconds that a guest may take to become ready where no StartupSection says how many.
const PATIENCE: u64 = 600;

/// The disks that have content, by `virtctl image-upload`; none if there is no such disk.
pub fn upload(guests: &[Guest<'_>], target: &Target) -> Option<String> {
    let mut script = format!(
        "#!/bin/sh\n\
         # Fills the disks of {}, once the objects are there. UPLOAD is for what virtctl wants to know of the cluster,\n\
         # as in UPLOAD='--insecure --uploadproxy-url=https://localhost:8443'.\n\
         set -eu\n\
         work=$(mktemp -d)\n\
         trap 'rm -rf \"$work\"' EXIT\n",
        target.part_of
    );
    let mut count = 0;
    for guest in guests {
        for (number, disk) in guest.machine.disks.iter().enumerate() {
            let (Content::Upload, Some(layer)) = (content(disk), disk.layers.first()) else { continue };
            count += 1;
            let path = quoted(&layer.place.path);
            let image = match layer.place.part {
                None => path,
                // Where it lies in an archive is known; what tar would call it need not be.
                Some((offset, size)) => {
                    let _ =
                        writeln!(script, "tail -c +{} {path} | head -c {size} > \"$work/disk\"", offset + 1);
                    "\"$work/disk\"".to_owned()
                }
            };
            let namespace = namespace(target);
            let name = volume(guest, number);
            let _ = writeln!(
                script,
                "# shellcheck disable=SC2086\n\
                 virtctl image-upload dv {name}{namespace} --no-create ${{UPLOAD-}} --image-path={image}"
            );
        }
    }
    (count > 0).then_some(script)
}

/// Starts the guests, and waits until all of them are ready.
pub fn start(guests: &[Guest<'_>], target: &Target, steps: &[Step]) -> String {
    let mut script = format!(
        "#!/bin/sh\n\
         # Starts {} in the order of its StartupSections; KubeVirt by itself has none.\n\
         set -eu\n",
        target.part_of
    );
    let guests = guests.iter().map(|it| (it.entity, it)).collect();
    let mut starting = Starting { guests, namespace: namespace(target), steps, script: &mut script };
    starting.children(0);
    if steps.first().is_some_and(|it| it.is_guest) {
        starting.start(0);
    }
    let mut names = Vec::new();
    starting.started(0, &mut names);
    starting.wait(&names, PATIENCE);
    script
}

struct Starting<'a> {
    /// By their places among the package's entities.
    guests: BTreeMap<usize, &'a Guest<'a>>,
    namespace: String,
    steps: &'a [Step],
    script: &'a mut String,
}

impl Starting<'_> {
    /// What is in a collection, order by order.
    fn children(&mut self, step: usize) {
        let steps = self.steps;
        let groups = &steps[step].groups;
        for (number, group) in groups.iter().enumerate() {
            for &child in group.iter().filter(|&&it| steps[it].is_guest) {
                self.start(child);
            }
            for &child in group.iter().filter(|&&it| !steps[it].is_guest && steps[it].starts) {
                self.children(child);
            }
            let mut delay = 0;
            for &child in group {
                let mut names = Vec::new();
                self.started(child, &mut names);
                let limit = steps[child].delay.as_secs();
                match steps[child].waits {
                    _ if names.is_empty() => {}
                    true => self.wait(&names, if limit == 0 { PATIENCE } else { limit }),
                    false => delay = delay.max(limit),
                }
            }
            // Nobody comes after the last ones of all.
            if delay > 0 && (step > 0 || number + 1 < groups.len()) {
                let _ = writeln!(self.script, "sleep {delay}");
            }
        }
    }

    fn start(&mut self, step: usize) {
        let Some(guest) = self.guests.get(&step) else { return };
        let (name, namespace) = (&guest.name, &self.namespace);
        let id = printable(guest.id);
        if !self.steps[step].starts {
            let _ = writeln!(self.script, "# {id} is not started: its startAction is none");
            return;
        }
        let _ = writeln!(self.script, "virtctl start {name}{namespace}   # {id}");
        if let Some(install) = self.steps[step].install {
            // Negative is as long as kubectl waits at all.
            let limit = if install.is_zero() { "-1".to_owned() } else { install.as_secs().to_string() };
            let _ = writeln!(
                self.script,
                "# Its InstallSection: the first boot ends by itself, and then it starts again.\n\
                 kubectl wait vm/{name}{namespace} --for=jsonpath='{{.status.printableStatus}}'=Running --timeout={PATIENCE}s\n\
                 kubectl wait vm/{name}{namespace} --for=jsonpath='{{.status.printableStatus}}'=Stopped --timeout={limit}s\n\
                 virtctl start {name}{namespace}"
            );
        }
    }

    /// The names of those in a step that are started.
    fn started(&self, step: usize, names: &mut Vec<String>) {
        if !self.steps[step].starts {
            return;
        }
        names.extend(self.guests.get(&step).map(|it| it.name.clone()));
        for &child in self.steps[step].groups.iter().flatten() {
            self.started(child, names);
        }
    }

    fn wait(&mut self, names: &[String], seconds: u64) {
        if names.is_empty() {
            return;
        }
        let all: Vec<_> = names.iter().map(|it| format!("vm/{it}")).collect();
        let namespace = &self.namespace;
        let _ = writeln!(
            self.script,
            "kubectl wait {}{namespace} --for=condition=Ready --timeout={seconds}s",
            all.join(" ")
        );
    }
}

fn namespace(target: &Target) -> String {
    target.namespace.as_ref().map_or_else(String::new, |it| format!(" --namespace={it}"))
}

/// A path as a word of the shell's.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}
