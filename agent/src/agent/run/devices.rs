//! What the kernel tells of devices, in the loop: whom it concerns, and that the kernel goes on to tell.
//!
//! Decides which events are a reason for a look, and in which drives the kernel looks for swapped discs. When there is a look,
//! and what it comes to, is decided in `watch` and `looks`.

#![forbid(unsafe_code)]

use tracing::warn;

use super::Running;
use crate::agent::chain;
use crate::sys::clock::now;
use crate::sys::device::watch_media;
use crate::sys::uevent::Received;
use crate::transport::trust::{self, Candidate, Kind};

impl Running {
    pub(super) fn uevents(&mut self) {
        let (mut disks, mut ports, mut lost) = (Vec::new(), false, false);
        while let Some(uevents) = &self.uevents {
            match uevents.receive() {
                // The name of a port is there with `change`, not yet with `add`.
                Received::Event(event) if event.subsystem == "virtio-ports" => ports = true,
                Received::Event(event) if event.subsystem == "block" => disks.push(event.name),
                Received::Event(_) => {}
                Received::Lost => (lost, ports) = (true, true),
                Received::Nothing => break,
            }
        }
        if ports {
            self.open_port();
        }
        if !disks.is_empty() || lost {
            self.disks(&disks, lost);
        }
    }

    /// The devices that may hold a document.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let Some(config) = &self.config else { return Vec::new() };
        trust::candidates(&self.root, config.transport.devices).unwrap_or_default()
    }

    /// Devices have come, gone or changed: these, or any.
    fn disks(&mut self, names: &[String], any: bool) {
        if self.search_hears() {
            return;
        }
        // The kernel tells of the next change only after somebody has opened the drive, which is what the look will do.
        let concerns = |it: &Candidate| any || names.contains(&it.name);
        if self.candidates().iter().any(|it| concerns(it) && self.looks.cares_for(&it.path())) {
            self.watch.device_event(now());
            self.watch_drives();
        }
    }

    /// Has the kernel look for swapped discs where the document came from, or may come from, and nobody else does. A drive that
    /// was plugged in anew has forgotten it.
    pub(super) fn watch_drives(&self) {
        if !self.root.is_system() {
            return;
        }
        let drives = self.candidates().into_iter().filter(|it| it.kind == Kind::Optical);
        for drive in drives.map(|it| it.path()).filter(|path| self.looks.cares_for(path)) {
            if let Err(error) = watch_media(&self.root, &drive) {
                warn!(stage = "transport", "a disc that is swapped may not be noticed: {}", chain(&error));
            }
        }
    }
}
