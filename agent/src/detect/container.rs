//! The container that we run in.
//!
//! Decides whether there is one, and its manager's name in systemd's words. A virtual machine made from a container's
//! image still has the image's marks, so a mark alone proves nothing where the namespaces are the machine's own. Does
//! not decide what is below (`rules`): a container in a virtual machine has both answers.
//!
//! Sources: systemd's `CONTAINER_INTERFACE` and `src/basic/virt.c`; virt-what for control groups and VServer; the note
//! on each row.

#![forbid(unsafe_code)]

use super::{Clue, Facts, Tables};

/// Managers that name themselves, in the interface that systemd defined for them. Any other name is `container-other`.
pub(super) const MANAGERS: &[&str] = &[
    "systemd-nspawn", // systemd-nspawn(1)
    "lxc-libvirt",    // libvirt, src/lxc/lxc_container.c
    "lxc",            // LXC, src/lxc/start.c
    "docker",         // systemd's list, from here on; `openvz` is not on it
    "podman",
    "rkt",
    "wsl",
    "proot",
    "pouch",
];

/// A file that a manager leaves in its containers, and its word; believed outside of the initial namespaces only.
pub(super) type Mark = (&'static str, &'static str);

pub(super) const MARKS: &[Mark] = &[
    ("/run/.containerenv", "podman"), // podman-run(1)
    ("/.dockerenv", "docker"),        // moby, daemon/initlayer
    ("/.dockerinit", "docker"),       // the same in its first years
];

/// What a path in `/proc/self/cgroup` looks like, and the word. Version 1 shows the manager's path to its containers.
pub(super) type Cgroup = (Part, &'static str);

#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// This is in the path.
    Contains(&'static str),
    /// A directory's name is this, a container's id, and `.scope`.
    Scope(&'static str),
}

pub(super) const CGROUPS: &[Cgroup] = &[
    (Part::Contains("/docker/"), "docker"), // moby with cgroupfs
    (Part::Scope("docker-"), "docker"),     // moby with systemd
    (Part::Contains("/libpod-"), "podman"), // podman, libpod/container_internal*.go
    (Part::Contains("/lxc/"), "lxc"),       // LXC before 4
];

/// What Windows' subsystem writes into the kernel's release. `microsoft` alone is any kernel made for Azure.
pub(super) const RELEASES: &[&str] = &[
    "Microsoft", // WSL 1
    "WSL",       // WSL 2
];

const MANAGER: &str = "/run/host/container-manager";
const SYSTEMD: &str = "/run/systemd/container";
/// Of PID 1; only root and its owner may read it.
pub(super) const ENVIRON: &str = "/proc/1/environ";
pub(super) const CGROUP: &str = "/proc/self/cgroup";
pub(super) const STATUS: &str = "/proc/self/status";
/// The text of the link.
pub(super) const PID_NAMESPACE: &str = "/proc/self/ns/pid";
const RELEASE: &str = "/proc/sys/kernel/osrelease";
pub(super) const FILES: [&str; 4] = [MANAGER, SYSTEMD, CGROUP, RELEASE];

const VZ: &str = "/proc/vz";
/// The OpenVZ host's own, and that of CloudLinux, which has `/proc/vz` without being a container.
const VZ_HOSTS: [&str; 2] = ["/proc/bc", "/proc/lve"];
pub(super) const DIRECTORIES: [&str; 3] = [VZ, VZ_HOSTS[0], VZ_HOSTS[1]];

/// The initial namespaces have fixed numbers (Linux, `include/uapi/linux/nsfs.h`, and `linux/proc_ns.h` before).
pub(super) const INITIAL_PID: &str = "pid:[4026531836]";
pub(super) const INITIAL_CGROUP: &str = "cgroup:[4026531835]";

impl Tables<'_> {
    /// The container's manager, or `container-other`.
    pub(super) fn container(&self, facts: &Facts) -> Clue {
        if facts.exists(VZ) && !VZ_HOSTS.into_iter().any(|host| facts.exists(host)) {
            return Some(("openvz", VZ.to_owned()));
        }
        if let Some(tracer) = facts.line(STATUS, "TracerPid").filter(|pid| *pid != "0") {
            let comm = format!("/proc/{tracer}/comm");
            if facts.file(&comm).is_some_and(|name| name.starts_with("proot")) {
                return Some(("proot", comm));
            }
        }
        // A manager that we know, wherever it says so; then marks; then one that says something else, such as `oci`.
        let names: Vec<(&str, &str)> = names(facts).collect();
        let known = names.iter().find_map(|(path, name)| {
            let word = self.managers.iter().find(|manager| *manager == name)?;
            Some((*word, (*path).to_owned()))
        });
        known
            .or_else(|| self.mark(facts))
            .or_else(|| self.cgroup(facts))
            .or_else(|| names.first().map(|(path, _)| ("container-other", (*path).to_owned())))
            .or_else(|| {
                let release = facts.file(RELEASE)?;
                let wsl = self.releases.iter().any(|part| release.contains(part));
                wsl.then(|| ("wsl", RELEASE.to_owned()))
            })
            .or_else(|| other(facts))
    }

    fn mark(&self, facts: &Facts) -> Clue {
        let there = |(path, _): &&Mark| !facts.init_namespaces && facts.files.contains_key(*path);
        self.marks.iter().find(there).map(|(path, word)| (*word, (*path).to_owned()))
    }

    fn cgroup(&self, facts: &Facts) -> Clue {
        let lines = facts.file(CGROUP)?.lines();
        // `hierarchy:controllers:path`; the path may hold colons.
        let paths = lines.filter_map(|line| line.splitn(3, ':').nth(2));
        let mut rows = paths.filter_map(|path| self.cgroups.iter().find(|(part, _)| part.holds(path)));
        let (_, word) = rows.next()?;
        Some((word, CGROUP.to_owned()))
    }
}

impl Part {
    fn holds(self, path: &str) -> bool {
        match self {
            Self::Contains(text) => path.contains(text),
            Self::Scope(start) => path.split('/').any(|name| {
                let id = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(".scope"));
                id.is_some_and(|id| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
            }),
        }
    }
}

/// What managers call themselves, and where. An empty name denies that there is one.
fn names(facts: &Facts) -> impl Iterator<Item = (&'static str, &str)> {
    let first_line = |path| facts.files.get(path)?.lines().next();
    let environ = facts.files.get(ENVIRON).and_then(|text| variable(text));
    [(MANAGER, first_line(MANAGER)), (SYSTEMD, first_line(SYSTEMD)), (ENVIRON, environ)]
        .into_iter()
        .filter_map(|(path, name)| Some((path, name?.trim())))
        .filter(|(_, name)| !name.is_empty())
}

/// The value of `container` in an environment.
pub(super) fn variable(environ: &str) -> Option<&str> {
    environ.split(['\0', '\n']).find_map(|variable| variable.strip_prefix("container="))
}

/// A container without a name: VServer's contexts other than the host's, and any PID namespace but the first.
fn other(facts: &Facts) -> Clue {
    let context = facts.line(STATUS, "VxID").and_then(|id| id.parse::<u64>().ok());
    if context.is_some_and(|id| id > 0) {
        return Some(("container-other", STATUS.to_owned()));
    }
    let namespace = facts.file(PID_NAMESPACE)?;
    (namespace != INITIAL_PID).then(|| ("container-other", PID_NAMESPACE.to_owned()))
}
