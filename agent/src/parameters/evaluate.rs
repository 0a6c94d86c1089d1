//! The parameters' values in an environment, or every rule that it breaks.
//!
//! Decides which property feeds a parameter, what an empty or missing one means, and what is said of a wrong one: the
//! parameter, the property and the rule, never the value. All violations of one environment are found together.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::declaration::{Entity, Parameter};
use super::generate::Generated;
use super::value::Value;
use super::{Declared, Parameters};
use crate::environment::{Environment, Properties};

impl Declared {
    /// The parameters' values in an environment, or without one; and the secrets that had to be made for it, because neither
    /// the environment nor `generated` has them. These are to be kept, or the next ones will be others.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn evaluate(
        &self,
        environment: Option<&Environment>,
        generated: &Generated,
    ) -> Result<(Parameters, Generated), Violations> {
        let mut made = Generated::default();
        let mut unsent = BTreeSet::new();
        for parameter in self.by_name.values() {
            if let Some(form) = parameter.generate
                && parameter.sent(environment).is_none()
                && unsent.insert(parameter.key.as_str())
                && !generated.contains(&parameter.key)
            {
                made.make(&parameter.key, form);
            }
        }
        let mut values = BTreeMap::new();
        let mut violations = Vec::new();
        for (name, parameter) in &self.by_name {
            // What is not declared to be generated any more is not used any more.
            let secret =
                unsent.get(parameter.key.as_str()).and_then(|key| generated.get(key).or(made.get(key)));
            let reading = Reading { parameter, sensitive: self.is_sensitive_key(&parameter.key) };
            match reading.evaluate(environment, secret) {
                Ok(value) => {
                    values.insert(name.clone(), value);
                }
                Err(broken) => violations.extend(broken.into_iter().map(|(entity, rule)| Violation {
                    parameter: name.clone(),
                    key: parameter.key.clone(),
                    entity,
                    rule,
                })),
            }
        }
        if violations.is_empty() { Ok((Parameters(values), made)) } else { Err(Violations(violations)) }
    }
}

/// A broken rule, and whose property breaks it, if not the guest's own.
type Broken = (Option<String>, String);

impl Parameter {
    /// The guest's own property as far as it says anything.
    fn sent<'a>(&self, environment: Option<&'a Environment>) -> Option<&'a str> {
        self.said(&environment?.properties)
    }

    /// What properties say of it; `None` where that is nothing.
    fn said<'a>(&self, properties: &'a Properties) -> Option<&'a str> {
        properties
            .get(&self.key)
            .map(|value| value.reveal())
            .filter(|text| self.empty || !self.kind.is_empty(text))
    }
}

/// A parameter that is being evaluated.
struct Reading<'a> {
    parameter: &'a Parameter,
    /// Whether any parameter says that its property is secret.
    sensitive: bool,
}

impl Reading<'_> {
    fn evaluate(
        &self,
        environment: Option<&Environment>,
        secret: Option<&str>,
    ) -> Result<Value, Vec<Broken>> {
        let parameter = self.parameter;
        let properties = match &parameter.entity {
            Entity::Every => return self.evaluate_every(environment),
            Entity::Own => environment.map(|environment| &environment.properties),
            Entity::Sibling(id) => environment.and_then(|environment| properties_of(environment, id)),
        };
        let entity = match &parameter.entity {
            Entity::Sibling(id) => Some(id.clone()),
            _ => None,
        };
        let secret = secret.filter(|_| entity.is_none());
        if let Some(text) = secret.or(properties.and_then(|properties| parameter.said(properties))) {
            return self.read(text, entity.as_deref());
        }
        match &parameter.default {
            Some(default) => Ok(default.clone()),
            None if parameter.required => {
                let is_there = properties.is_some_and(|properties| properties.get(&parameter.key).is_some());
                let rule = match (environment, is_there) {
                    (None, _) => {
                        "it is required, and there is no OVF environment; attach one, or declare a default"
                    }
                    (_, false) => {
                        "it is required, and the OVF environment does not have this property; set it on the platform"
                    }
                    (_, true) => "it is required, and the property is empty; set it on the platform",
                };
                Err(vec![(entity, rule.to_owned())])
            }
            None => Ok(Value::Null),
        }
    }

    /// `entity = "*"`: siblings that do not have the property, or have an empty one, are left out.
    fn evaluate_every(&self, environment: Option<&Environment>) -> Result<Value, Vec<Broken>> {
        let mut values = BTreeMap::new();
        let mut broken = Vec::new();
        for entity in environment.map_or(&[][..], |environment| &environment.entities) {
            let Some(text) = self.parameter.said(&entity.properties) else { continue };
            match self.read(text, Some(&entity.id)) {
                Ok(value) => {
                    values.insert(entity.id.clone(), value);
                }
                Err(more) => broken.extend(more),
            }
        }
        if !broken.is_empty() {
            return Err(broken);
        }
        if self.parameter.required && values.is_empty() {
            let rule = "it is required, and no other system of the OVF environment has this property; set it on the platform";
            return Err(vec![(Some("*".to_owned()), rule.to_owned())]);
        }
        Ok(Value::Entities(values))
    }

    fn read(&self, text: &str, entity: Option<&str>) -> Result<Value, Vec<Broken>> {
        let Self { parameter: Parameter { kind, rules, .. }, sensitive } = self;
        let broken = |rule| (entity.map(str::to_owned), rule);
        let value = match kind.empty().filter(|_| kind.is_empty(text)) {
            Some(empty) => empty,
            None => {
                let value = kind.read(text);
                value.ok_or_else(|| vec![broken(format!("it must be {}", kind.rule()))])?
            }
        };
        let rules = rules.broken(kind, *sensitive, &value);
        if rules.is_empty() { Ok(value) } else { Err(rules.into_iter().map(broken).collect()) }
    }
}

fn properties_of<'a>(environment: &'a Environment, id: &str) -> Option<&'a Properties> {
    environment.entities.iter().find(|entity| entity.id == id).map(|entity| &entity.properties)
}

/// One rule that an environment breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The parameter's name.
    pub parameter: String,
    /// The property's key.
    pub key: String,
    /// The sibling whose property it is.
    pub entity: Option<String>,
    /// What must be so.
    pub rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parameter, key, entity, rule } = self;
        write!(f, "parameter `{parameter}` (property `{key}`")?;
        if let Some(entity) = entity {
            write!(f, " of `{entity}`")?;
        }
        write!(f, "): {rule}")
    }
}

/// Every rule that an environment breaks, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations(pub Vec<Violation>);

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            write!(f, "{}{violation}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}
