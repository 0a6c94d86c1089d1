//! The values of the last pass, for those of this machine who ask for one while the agent runs.
//!
//! Decides which may be told to anybody: those of declared parameters that are not sensitive. All others are for root. What the
//! answer looks like is decided in `bus::object`.

#![forbid(unsafe_code)]

use crate::config::Config;
use crate::environment::{Environment, Properties};
use crate::parameters::{Parameters, Value};

/// What a pass that was applied knew.
#[derive(Debug)]
pub struct Values {
    parameters: Parameters,
    /// What they were declared as.
    rows: Vec<Row>,
    /// The guest's own properties, for the keys that no parameter has.
    properties: Properties,
}

/// What a parameter was declared as.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its type, as `agent.toml` spells it.
    pub kind: String,
    /// Whether its values are secret.
    pub is_sensitive: bool,
}

/// What there is of a name.
#[derive(Debug)]
pub enum Known<'a> {
    /// A declared parameter, and whether it is for everybody.
    Parameter(&'a Value, bool),
    /// A property that is not declared.
    Undeclared(&'a str),
}

impl Values {
    pub(super) fn new(config: &Config, parameters: Parameters, environment: Option<Environment>) -> Self {
        let declared = &config.parameters;
        let row = |(name, kind): (&str, String)| Row {
            name: name.to_owned(),
            kind,
            is_sensitive: declared.is_sensitive(name),
        };
        let rows = declared.kinds().map(row).collect();
        let properties = environment.map(|environment| environment.properties).unwrap_or_default();
        Self { parameters, rows, properties }
    }

    /// What there is of a parameter's name, or of a property's key.
    pub fn get(&self, name: &str) -> Option<Known<'_>> {
        if let Some(value) = self.parameters.get(name) {
            return Some(Known::Parameter(value, !self.is_sensitive(name)));
        }
        self.properties.get(name).map(|value| Known::Undeclared(value.reveal()))
    }

    fn is_sensitive(&self, name: &str) -> bool {
        self.rows.iter().any(|row| row.name == name && row.is_sensitive)
    }

    /// All parameters, by name, and whether each has a value.
    pub fn rows(&self) -> impl Iterator<Item = (&Row, bool)> {
        self.rows
            .iter()
            .map(|row| (row, self.parameters.get(&row.name).is_some_and(|value| *value != Value::Null)))
    }

    /// The names of parameters whose values are others than they were before; those that are new, and those that are gone.
    pub fn changed_since(&self, before: Option<&Self>) -> Vec<String> {
        let old = |name: &str| before.and_then(|before| before.parameters.get(name));
        let changed =
            self.parameters.iter().filter(|(name, value)| old(name) != Some(*value)).map(|(name, _)| name);
        let gone = before.iter().flat_map(|before| before.parameters.iter()).map(|(name, _)| name);
        changed.chain(gone.filter(|name| self.parameters.get(name).is_none())).map(str::to_owned).collect()
    }
}
