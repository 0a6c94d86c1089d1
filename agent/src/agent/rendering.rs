//! What templates see besides parameters, and what they come to with it.
//!
//! Decides that a guest whose platform tells of no adapters has no interfaces to look for. What is made of that is decided in
//! `template`.

#![forbid(unsafe_code)]

use std::path::Path;

use super::{Fault, Machine, Received, Result};
use crate::config::Config;
use crate::environment::Platform;
use crate::interfaces::Interfaces;
use crate::parameters::Parameters;
use crate::template::{Explained, Output, Surroundings};

/// Of a guest without an environment.
static NOWHERE: Platform = Platform { kind: None, version: None, vendor: None, locale: None, timezone: None };

impl Machine {
    /// The interfaces that adapters may be; where the platform tells of no adapters, as most do, there is nothing to look up.
    pub(super) fn interfaces(&self, received: Option<&Received>) -> Interfaces {
        match received {
            Some(received) if !received.environment.adapters.is_empty() => Interfaces::read(&self.root),
            _ => Interfaces::default(),
        }
    }

    /// What templates see besides parameters.
    pub(super) fn surroundings<'a>(
        &self,
        received: Option<&'a Received>,
        interfaces: &'a Interfaces,
    ) -> Surroundings<'a> {
        let environment = received.map(|received| &received.environment);
        Surroundings {
            platform: environment.map_or(&NOWHERE, |e| &e.platform),
            hypervisor: self.verdict.vm,
            environment_id: environment.map_or("", |e| &e.id),
            adapters: environment.map_or(&[], |e| &e.adapters),
            interfaces,
        }
    }

    /// Where the lines of the file at `path` come from, and the parameters' values; nothing where no template writes it.
    ///
    /// # Errors
    /// A value breaks a rule, or a template cannot be rendered with it.
    pub fn explain(
        &mut self,
        config: &Config,
        received: Option<&Received>,
        path: &Path,
    ) -> Result<(Option<Explained>, Parameters)> {
        let (parameters, _) = self.parameters(config, received)?;
        let interfaces = self.interfaces(received);
        let surroundings = self.surroundings(received, &interfaces);
        let templates = config.templates().map_err(|problems| Fault::configuration(&problems))?;
        let explained = templates.explain(path, &config.parameters, &parameters, surroundings);
        Ok((explained.map_err(|problems| Fault::rendering(&problems))?, parameters))
    }
}

/// What the templates come to.
pub(super) fn render(
    config: &Config,
    parameters: &Parameters,
    surroundings: Surroundings<'_>,
) -> Result<Output> {
    let templates = config.templates().map_err(|problems| Fault::configuration(&problems))?;
    let output = templates.render(&config.parameters, parameters, surroundings);
    output.map_err(|problems| Fault::rendering(&problems))
}
