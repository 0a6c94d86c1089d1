//! What is certain about a parameter before any environment is seen.
//!
//! Decides that from its declaration alone, so that what can never be is found where the image is built. All of it is about
//! environments that keep the declared rules; the others fail the pass before anything looks at a value.

#![forbid(unsafe_code)]

use super::Declared;
use super::declaration::{Entity, Parameter};
use super::types::{Scalar, Type};
use super::value::Value;

impl Declared {
    /// The parameter of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Parameter> {
        self.by_name.get(name)
    }
}

impl Parameter {
    /// Its type wherever it is not null.
    pub(crate) fn type_in_templates(&self) -> Type {
        match self.entity {
            Entity::Every => Type::Map(Box::new(self.kind.clone())),
            _ => self.kind.clone(),
        }
    }

    /// Whether it can be null.
    pub(crate) fn may_be_null(&self) -> bool {
        let given = self.required || self.default.is_some() || self.generate.is_some();
        !given && self.entity != Entity::Every
    }

    /// All values that it can have besides null, if they are known.
    pub(crate) fn choices(&self) -> Option<Vec<Value>> {
        match self.type_in_templates() {
            Type::Scalar(Scalar::Bool) => Some(vec![Value::Bool(true), Value::Bool(false)]),
            Type::Scalar(_) => Some(self.rules.one_of.clone()).filter(|known| !known.is_empty()),
            Type::List(_) | Type::Map(_) => None,
        }
    }
}
