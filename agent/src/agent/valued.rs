//! The parameters' values in a pass, and whose they are.
//!
//! Decides which secrets a pass finds and makes: those of this instance. What a value may be is decided in `parameters`, who a
//! guest is in `state`, and how secrets are kept in `secrets`.

#![forbid(unsafe_code)]

use std::path::Path;

use tracing::debug;
use zeroize::Zeroizing;

use super::{Fault, Machine, Received, Result};
use crate::config::Config;
use crate::parameters::{Generated, Parameters, Value};
use crate::secrets;
use crate::state::Instance;
use crate::sys::{Root, clock};
use crate::times::What;

/// The secrets that a pass makes.
#[derive(Debug, Default)]
pub(super) struct Made {
    secrets: Generated,
    /// Whether those that are kept are of another instance.
    foreign: bool,
    /// Whose they are.
    instance: Instance,
}

impl Made {
    /// Keeps them, if there is anything to keep or forget; `known` is the instance that the state is of.
    pub(super) fn keep(&self, root: &Root, directory: &Path, known: Option<&Instance>) -> Result<()> {
        let Self { secrets, foreign, instance } = self;
        match *foreign || !secrets.is_empty() {
            true => Ok(secrets::keep(root, directory, secrets::Owner { instance, known }, secrets)?),
            false => Ok(()),
        }
    }
}

impl Machine {
    /// Who this guest is.
    pub(super) fn instance(&self, config: &Config, received: Option<&Received>) -> Instance {
        let environment = received.map(|received| &received.environment);
        let key = config.instance_id.as_deref();
        let id = environment.zip(key).and_then(|(environment, key)| environment.properties.get(key));
        Instance::of(&self.root, environment.map(|it| it.id.as_str()), id.map(|id| id.reveal()))
    }

    /// The parameters' values, and the secrets that had to be made for them.
    ///
    /// # Errors
    /// A value breaks a rule, or the secrets of this instance cannot be read.
    pub fn parameters(
        &mut self,
        config: &Config,
        received: Option<&Received>,
    ) -> Result<(Parameters, Generated)> {
        let (instance, memory) = (self.instance(config, received), self.remember(config));
        let owner = secrets::Owner { instance: &instance, known: memory.state.instance.as_ref() };
        let (parameters, made) = self.parameters_of(config, received, owner)?;
        Ok((parameters, made.secrets))
    }

    /// A derived value, as text and as JSON.
    ///
    /// # Errors
    /// It cannot be made from these values.
    pub fn derived(
        &mut self,
        config: &Config,
        received: Option<&Received>,
        parameters: &Parameters,
        name: &str,
    ) -> Result<(Zeroizing<String>, serde_json::Value)> {
        let interfaces = self.interfaces(received);
        let surroundings = self.surroundings(received, &interfaces);
        let templates = config.templates().map_err(|problems| Fault::configuration(&problems))?;
        templates.derived(name, parameters, surroundings).map_err(|problems| Fault::rendering(&problems))
    }

    /// The values of parameters for a known instance, and the secrets that had to be made.
    pub(super) fn parameters_of(
        &mut self,
        config: &Config,
        received: Option<&Received>,
        owner: secrets::Owner<'_>,
    ) -> Result<(Parameters, Made)> {
        let begin = clock::now();
        let kept = match config.parameters.generates() {
            true => secrets::load(&self.root, &config.state, owner)?,
            false => secrets::Kept::default(),
        };
        let (parameters, secrets) = config
            .parameters
            .evaluate(received.map(|received| &received.environment), &kept.secrets)
            .map_err(|violations| Fault::parameters(&violations, received.is_some()))?;
        self.took.parameters = self.times.took(What::Parameters, begin);
        for (name, value) in parameters.iter() {
            let set = if *value == Value::Null { "not set" } else { "set" };
            debug!(stage = "parameters", parameter = name, "{set}");
        }
        let instance = owner.instance.clone();
        Ok((parameters, Made { secrets, foreign: kept.foreign, instance }))
    }
}
