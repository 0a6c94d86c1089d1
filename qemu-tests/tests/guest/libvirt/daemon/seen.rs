//! What is seen of deployments: of their guests in libvirt, their processes and their files, and that nothing is left of them.

use super::{DEPLOYMENTS, Libvirt, PATIENCE, Whose, text};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

impl Libvirt {
    /// The words that a guest of the deployment has said on its console.
    pub(in super::super) fn words(&self, guest: usize) -> Result<Vec<String>> {
        let console = text(&self.kept(&format!("Shop/guests/{guest}/console.log")))?;
        Ok(console.lines().filter_map(|it| it.trim().strip_prefix("word ").map(str::to_owned)).collect())
    }

    /// The names of all domains.
    pub(in super::super) fn domains(&self) -> Result<Vec<String>> {
        let mut names = self.names(&["list", "--all", "--name"])?;
        names.sort();
        Ok(names)
    }

    /// The names of all networks.
    pub(in super::super) fn networks(&self) -> Result<Vec<String>> {
        self.names(&["net-list", "--all", "--name"])
    }

    fn names(&self, words: &[&str]) -> Result<Vec<String>> {
        let said = self.virsh(words)?;
        Ok(said.lines().map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect())
    }

    /// Processes that work for it, beside its daemons: by their ids.
    pub(in super::super) fn processes(&self) -> Vec<u32> {
        let all = match self.island() {
            None => self.of_directory(),
            Some(island) => island.processes(),
        };
        all.into_iter().filter(|id| !self.daemons.iter().any(|it| it.id() == *id)).collect()
    }

    /// Processes that name its directory, or are in it.
    fn of_directory(&self) -> Vec<u32> {
        let place = self.directory.path().as_os_str().as_encoded_bytes();
        let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
        let ids = all.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        let is_ours = |id: &u32| {
            let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let is_there =
                fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|it| it.starts_with(self.path("state")));
            is_there || words.windows(place.len()).any(|it| it == place)
        };
        ids.filter(is_ours).collect()
    }

    /// Nothing of a deployment runs, and no file of one is left, neither here nor there.
    pub(in super::super) fn is_clear(&self) -> Result<()> {
        let mut places = vec![self.kept("")];
        if let Whose::Far(island) = &self.whose {
            places.push(island.path(DEPLOYMENTS));
            places.push(island.path(self.path("").to_str().context("a path")?));
        }
        // What is only made when it is needed may be missing.
        let left: Vec<_> = places.iter().filter_map(|it| fs::read_dir(it).ok()).flatten().flatten().collect();
        ensure!(left.is_empty(), "left: {left:?}");
        ensure!(self.domains()?.is_empty(), "domains: {:?}", self.domains());
        // These end by themselves: libvirt's helpers, and what a login had begun.
        let deadline = Instant::now() + PATIENCE;
        while !self.processes().is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        ensure!(self.processes().is_empty(), "still running: {:?}", self.processes());
        if let Some(island) = self.island() {
            ensure!(self.networks()?.is_empty(), "networks: {:?}", self.networks());
            ensure!(island.interfaces()? == ["lo"], "interfaces: {:?}", island.interfaces());
        }
        Ok(())
    }
}
