//! What the appliance understands, and what an environment says about it.
//!
//! The appliance declares its parameters ([`Declared`]); the environment only supplies values. Decides which names
//! parameters may have and which values are secret; nothing that was not declared gets further than this. A declaration
//! is checked in [`declaration`], with its [`types`] and [`rules`]; a property is read in [`read`] and judged in
//! [`evaluate`]; what no platform sends is made in [`generate`]. What can be told without any is in [`certain`].

#![forbid(unsafe_code)]

mod certain;
mod declaration;
mod evaluate;
mod generate;
mod names;
mod read;
mod rules;
#[cfg(test)]
mod tests;
mod types;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use declaration::Entity;
pub(crate) use declaration::Parameter;
pub use declaration::{Declaration, Objection};
pub use evaluate::{Violation, Violations};
pub use generate::Generated;
pub(crate) use types::{Scalar, Type};
pub use value::{Key, Value};

/// Names that templates know as something else: what they are given besides parameters, and the words of the language.
pub const RESERVED: [&str; 20] = [
    "platform",
    "environment",
    "hypervisor",
    "adapters",
    "loop",
    "self",
    "true",
    "false",
    "and",
    "or",
    "not",
    "is",
    "in",
    "if",
    "else",
    "for",
    "none",
    "null",
    "continue",
    "break",
];

/// All parameters that the appliance declares, by name.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    by_name: BTreeMap<String, Parameter>,
    sensitive_keys: BTreeSet<String>,
}

/// What speaks against a name that templates are to know; `what` says what kind of name it is.
pub fn name_objection(name: &str, what: &str) -> Option<String> {
    let well_formed = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !well_formed {
        return Some(format!("`{name}` is no {what}; use a-z, 0-9 and _, and begin with no digit"));
    }
    let taken = RESERVED.contains(&name) || name.starts_with("__");
    taken.then(|| format!("the name `{name}` is taken by the templates; choose another"))
}

impl Declared {
    /// Adds a declaration, if it is sound in itself.
    ///
    /// # Errors
    /// Everything that is wrong with it, and what would mend it.
    pub fn insert(&mut self, name: String, declaration: Declaration) -> Result<(), Vec<Objection>> {
        let refuse = |message| Err(vec![Objection { at: None, message }]);
        if let Some(message) = name_objection(&name, "parameter name") {
            return refuse(message);
        }
        let parameter = declaration.check(&name)?;
        if let Some(form) = parameter.generate
            && let Some((other, _)) = self
                .by_name
                .iter()
                .find(|(_, it)| it.key == parameter.key && it.generate.is_some_and(|other| other != form))
        {
            return refuse(format!(
                "parameters `{name}` and `{other}` would generate one property in two forms; let one of them read what \
                 the other generates"
            ));
        }
        if parameter.sensitive {
            self.sensitive_keys.insert(parameter.key.clone());
        }
        self.by_name.insert(name, parameter);
        Ok(())
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The names with their types, as declarations spell these; sorted.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, String)> {
        self.by_name.iter().map(|(name, parameter)| (name.as_str(), parameter.kind.to_string()))
    }

    /// Whether there is a parameter of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether the values of a parameter are secret. Sensitivity belongs to the key: what one parameter says of a key
    /// holds for all that read it, also from a sibling.
    pub fn is_sensitive(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|parameter| self.is_sensitive_key(&parameter.key))
    }

    /// Whether the values of a property are secret, whoever's it is.
    pub fn is_sensitive_key(&self, key: &str) -> bool {
        self.sensitive_keys.contains(key)
    }

    /// The key of the property that feeds a parameter, and the sibling whose it is; `*` for all of them.
    pub fn source(&self, name: &str) -> Option<(&str, Option<&str>)> {
        self.by_name.get(name).map(|parameter| {
            let entity = match &parameter.entity {
                Entity::Own => None,
                Entity::Sibling(id) => Some(id.as_str()),
                Entity::Every => Some("*"),
            };
            (parameter.key.as_str(), entity)
        })
    }

    /// The name of the parameter that the guest's own property `key` feeds.
    pub fn name_of_key(&self, key: &str) -> Option<&str> {
        self.own().find(|(_, parameter)| parameter.key == key).map(|(name, _)| name)
    }

    /// Whether any secret is made where the platform sends none.
    pub fn generates(&self) -> bool {
        self.by_name.values().any(|parameter| parameter.generate.is_some())
    }

    /// Whether a parameter's value is made where the platform sends none, be it for another one that reads its property.
    pub fn is_generated(&self, name: &str) -> bool {
        let key = self.own_key(name);
        self.own().any(|(_, other)| other.generate.is_some() && Some(other.key.as_str()) == key)
    }

    /// The key of the guest's own property that feeds a parameter.
    pub fn own_key(&self, name: &str) -> Option<&str> {
        self.own().find(|(own, _)| *own == name).map(|(_, parameter)| parameter.key.as_str())
    }

    /// The parameters that the guest's own properties feed.
    pub(crate) fn own(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.by_name
            .iter()
            .filter(|(_, parameter)| parameter.entity == Entity::Own)
            .map(|(name, parameter)| (name.as_str(), parameter))
    }
}

/// The values of all declared parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters(BTreeMap<String, Value>);

impl Parameters {
    /// A parameter's value; `None` where no such parameter is declared.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}
