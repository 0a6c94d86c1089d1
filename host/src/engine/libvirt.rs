//! Guests that are libvirt's domains.
//!
//! Decides which of libvirt's commands each wish is. Domains are transient: libvirt knows of them as long as they run, so
//! that nothing is left in it. They are meant by their UUID, which is the same as long as there is the deployment: a guest
//! that boots again is no other machine to its agent, and no domain of anybody else's has it.
//!
//! Commands are `virsh`'s and not the library's: its C library would have to be linked, into a program that is static. How
//! its machine is reached, this one or another, is for `site`.

#![forbid(unsafe_code)]

mod connection;
mod domain;
mod events;
mod far;
mod look;
mod network;
mod site;
mod ssh;
mod virsh;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::program::last;
use super::qemu::{Joint, Network};
use super::{Engine, Guest, Life, Plan, disks};
pub use connection::Connection;
use domain::{DRIVE, name, uuid};
use events::Events;
use far::Far;
pub use look::{Found, look};
use site::{Here, Site};
use virsh::Virsh;

use crate::finding::quoted;

/// What may differ from one deployment by libvirt to the next.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which libvirt.
    pub connection: Connection,
    /// The QEMU that it is to run.
    pub program: PathBuf,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// What is between the guests and this machine.
    pub network: Network,
    /// The deployment's directory on libvirt's machine, where that is another one.
    pub far: Option<PathBuf>,
}

/// libvirt.
#[derive(Debug)]
pub struct Libvirt {
    plan: Plan,
    /// The same as libvirt's machine sees it.
    seen: Plan,
    site: Box<dyn Site>,
    settings: Settings,
    virsh: Virsh,
    events: Option<Events>,
    /// What joins the guests of a user's libvirt of this machine, as it does without libvirt.
    joint: Option<Joint>,
    /// Those that this command has started, or taken up.
    followed: BTreeSet<usize>,
}

impl Libvirt {
    /// The engine of a deployment.
    ///
    /// # Errors
    /// libvirt does not answer, or cannot do what is wanted of it.
    pub fn new(plan: Plan, settings: Settings) -> Result<Self, String> {
        let connection = &settings.connection;
        if (connection.is_system() || connection.is_far()) && !settings.network.published.is_empty() {
            let machine = if connection.is_far() { "its" } else { "this" };
            return Err(format!(
                "no port is published with {connection}: {machine} machine reaches its guests at their own addresses"
            ));
        }
        let with_card = plan.guests.iter().find(|it| !it.machine.cards.is_empty());
        if let Some(guest) = with_card.filter(|_| connection.is_far() && !connection.is_system()) {
            return Err(format!(
                "{} has a network card, and a user's libvirt has no networks; what joins its guests instead is on this machine alone: take qemu+ssh://root@HOST/system",
                quoted(&guest.id)
            ));
        }
        let (site, seen, uri): (Box<dyn Site>, _, _) = match connection.login() {
            Some(login) => {
                let directory =
                    settings.far.as_deref().ok_or("it is not known where the deployment is there")?;
                let (far, socket) = Far::open(login, connection, &plan, directory)?;
                let seen = far.seen(&plan);
                (Box::new(far), seen, connection.through(&socket))
            }
            None => {
                let here = Here::new(&plan.directory, connection.is_system());
                (Box::new(here), plan.clone(), connection.to_string())
            }
        };
        let virsh = Virsh::connect(connection, uri).map_err(|why| site.explained(why))?;
        let joint = (!connection.is_system() && !connection.is_far()).then(Joint::default);
        Ok(Self { plan, seen, site, settings, virsh, events: None, joint, followed: BTreeSet::new() })
    }

    /// A guest, as libvirt's machine sees it.
    fn guest(&self, guest: usize) -> &Guest {
        self.seen.guest(guest)
    }

    fn uuid(&self, guest: usize) -> String {
        uuid(&self.seen, self.guest(guest))
    }

    /// What a command of virsh's says.
    fn run(&self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String, String> {
        self.virsh.run(words).map_err(|why| self.site.explained(why))
    }

    /// Whether libvirt has the domain. There are no others than those that run.
    fn is_there(&self, guest: usize) -> Result<bool, String> {
        let all = self.run(["list", "--all", "--uuid"])?;
        let uuid = self.uuid(guest);
        Ok(all.lines().any(|it| it.trim() == uuid))
    }

    /// Hears of guests from now on: this one runs, or is there and does not run yet.
    fn hear(&mut self, guest: usize) -> Result<(), String> {
        if self.events.is_none() {
            let (name, uuid) = (name(&self.seen, self.guest(guest)), self.uuid(guest));
            self.events = Some(Events::begin(&self.virsh, &name, &uuid)?);
        }
        if let Some(joint) = &mut self.joint {
            joint.find(&self.plan, guest);
        }
        self.followed.insert(guest);
        Ok(())
    }

    /// A file for libvirt to read a definition from.
    fn define(&self, file: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.plan.directory.join(file);
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        opened
            .and_then(|mut it| it.write_all(text.as_bytes()))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(path)
    }

    /// The domain, which does not run yet, and then runs.
    fn create(&mut self, guest: usize, definition: &Path) -> Result<(), String> {
        self.run(["create".as_ref(), definition.as_os_str(), "--paused".as_ref()])?;
        let uuid = self.uuid(guest);
        let runs = self.hear(guest).and_then(|()| self.run(["resume", &uuid]));
        if let Err(why) = runs {
            self.followed.remove(&guest);
            // What went wrong first is what is told.
            let _ = self.cut(guest);
            return Err(why);
        }
        Ok(())
    }
}

impl Engine for Libvirt {
    fn prepare(&mut self, is_wanted: &dyn Fn() -> bool) -> Result<(), String> {
        self.site.prepare(&self.plan, is_wanted)?;
        let Settings { connection, program, network, .. } = &self.settings;
        if let Some(joint) = &mut self.joint {
            *joint = Joint::make(&self.plan, program, network)?;
        }
        if !connection.is_system() {
            return Ok(());
        }
        for (number, text) in network::networks(&self.seen, network.subnet).iter().enumerate() {
            let file = self.define(&format!("network{number}.xml"), text)?;
            self.run(["net-create".as_ref(), file.as_os_str()])
                .map_err(|it| format!("the guests' network cannot be made: {it}"))?;
        }
        Ok(())
    }

    fn start(&mut self, guest: usize) -> Result<(), String> {
        if let Some(joint) = &mut self.joint {
            joint.is_there_for(&self.plan, guest)?;
        }
        let it = self.guest(guest);
        self.site.bring(guest, &self.plan.guest(guest).disc)?;
        disks::make(&self.seen, it, self.site.ground())?;
        let text = domain::domain(&self.seen, &self.settings, it)?;
        let definition = self.define(&format!("guests/{guest}/domain.xml"), &text)?;
        self.create(guest, &definition)
    }

    fn attach(&mut self, guest: usize) -> Result<(), String> {
        self.hear(guest)
    }

    fn source(&self, _: usize) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(AsFd::as_fd)
    }

    fn news(&mut self, _: usize) -> Vec<(usize, Life)> {
        let followed = self.followed.iter().copied();
        let mut lives = self.joint.as_mut().map_or_else(Vec::new, |joint| joint.news(&self.plan, followed));
        let Some(events) = &mut self.events else { return lives };
        let (news, end) = events.news();
        for (domain, life) in news {
            let ours = self.seen.guests.iter().find(|it| name(&self.seen, it) == domain);
            let Some(guest) = ours.map(|it| it.entity).filter(|it| self.followed.contains(it)) else {
                continue;
            };
            if life != Life::Rebooted {
                self.followed.remove(&guest);
            }
            lives.push((guest, life));
        }
        if let Some(why) = end {
            self.events = None;
            let why = format!("libvirt tells nothing of it any more: {}", self.site.explained(why));
            lives.extend(
                std::mem::take(&mut self.followed).into_iter().map(|it| (it, Life::Lost(why.clone()))),
            );
        }
        lives
    }

    fn shared(&self) -> Option<BorrowedFd<'_>> {
        self.joint.as_ref().and_then(Joint::source)
    }

    fn joined(&mut self) -> Result<(), String> {
        self.joint.as_mut().map_or(Ok(()), |joint| joint.is_whole(&self.plan))
    }

    fn port(&self, guest: usize) -> io::Result<UnixStream> {
        UnixStream::connect(self.site.socket(guest, "port"))
    }

    fn runs(&mut self, guest: usize) -> bool {
        self.is_there(guest).unwrap_or(false)
    }

    fn press(&mut self, guest: usize) -> Result<(), String> {
        self.run(["shutdown", &self.uuid(guest), "--mode", "acpi"]).map(drop)
    }

    fn cut(&mut self, guest: usize) -> Result<(), String> {
        // From here on its end is our doing, and no news.
        self.followed.remove(&guest);
        if !self.is_there(guest)? {
            return Ok(());
        }
        match self.run(["destroy", &self.uuid(guest)]) {
            Err(why) if self.is_there(guest)? => Err(why),
            _ => Ok(()),
        }
    }

    fn insert(&mut self, guest: usize) -> Result<(), String> {
        let uuid = self.uuid(guest);
        let change = |more: &[&str]| {
            let words =
                ["change-media", &uuid, DRIVE, "--live", "--force"].into_iter().chain(more.iter().copied());
            self.run(words)
        };
        self.site.bring(guest, &self.plan.guest(guest).disc)?;
        // A disc of the same path is the same disc to libvirt, which then changes nothing: the drive is emptied first.
        change(&["--eject"])?;
        let disc = &self.guest(guest).disc;
        let disc = disc.to_str().ok_or_else(|| format!("{} is not UTF-8", disc.display()))?;
        change(&["--insert", disc]).map(drop)
    }

    fn clear(&mut self) -> Result<(), String> {
        if let Some(joint) = &mut self.joint {
            joint.part(&self.plan)?;
        }
        if !self.settings.connection.is_system() {
            return self.site.clear();
        }
        let there = self.run(["net-list", "--all", "--name"])?;
        for name in there.lines().map(str::trim).filter(|it| network::is_of(&self.seen, it)) {
            self.run(["net-destroy", name])?;
        }
        self.site.clear()
    }

    fn terminal(&self, guest: usize) -> io::Result<UnixStream> {
        UnixStream::connect(self.site.socket(guest, "console"))
    }

    fn record(&self, guest: usize) -> io::Result<File> {
        self.site.record(guest)
    }

    fn console(&self, guest: usize, lines: usize) -> Vec<String> {
        // A console that cannot be read is told as one that is empty: whoever asks has another error to tell.
        self.site.tail(guest).map(|text| last(&text, lines)).unwrap_or_default()
    }
}
