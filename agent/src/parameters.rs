//! What the appliance understands, and what an environment says about it.
//!
//! The appliance declares its parameters ([`Declared`]); the environment only supplies values. Decides which property
//! feeds which parameter, what a value of a type looks like, what an empty or missing one means, and which
//! values are secret. Nothing that was not declared gets further than this. All violations of one environment are
//! reported together, by parameter, property and rule, and never with the value.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::environment::{self, Environment};

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

/// One parameter as `agent.toml` declares it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Declaration {
    /// The property's key, an opaque string.
    key: String,
    /// The sibling whose property it is; the guest's own where this is left out.
    entity: Option<String>,
    /// What its values look like.
    #[serde(rename = "type")]
    kind: Type,
    /// Whether the guest cannot do without it.
    #[serde(default)]
    required: bool,
    /// What it is where the environment says nothing.
    default: Option<toml::Value>,
    /// Whether its values are secret.
    #[serde(default)]
    sensitive: bool,
}

impl fmt::Debug for Declaration {
    /// Without the default, which may be a secret too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Declaration({}, {:?})", self.key, self.kind)
    }
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Type {
    /// Text without control characters. The only type for which an empty property is a value.
    String,
    /// A whole number of 64 bits.
    Int,
    /// `true yes 1 on` or `false no 0 off`, in any case.
    Bool,
    /// An IPv4 address in four decimal parts.
    Ipv4,
}

impl Type {
    /// What a value must be, to be said to people.
    fn rule(self) -> &'static str {
        match self {
            Self::String => "text without control characters",
            Self::Int => "a whole number between -9223372036854775808 and 9223372036854775807",
            Self::Bool => "true, yes, 1 or on, or false, no, 0 or off",
            Self::Ipv4 => "an IPv4 address in four decimal parts, such as 192.0.2.1",
        }
    }

    fn parse(self, text: &str) -> Option<Value> {
        match self {
            Self::String => {
                (!text.chars().any(char::is_control)).then(|| Value::String(Zeroizing::new(text.to_owned())))
            }
            Self::Int => text.trim().parse().ok().map(Value::Int),
            Self::Bool => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" | "on" => Some(Value::Bool(true)),
                "false" | "no" | "0" | "off" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Ipv4 => text.trim().parse().ok().map(Value::Ipv4),
        }
    }

    /// A value written in `agent.toml`, where numbers and booleans have types of their own.
    fn parse_toml(self, value: &toml::Value) -> Option<Value> {
        match (self, value) {
            (Self::Int, toml::Value::Integer(number)) => Some(Value::Int(*number)),
            (Self::Bool, toml::Value::Boolean(truth)) => Some(Value::Bool(*truth)),
            (Self::String | Self::Ipv4, toml::Value::String(text)) => self.parse(text),
            _ => None,
        }
    }
}

/// A parameter's value.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Optional, and not set.
    Null,
    /// Text.
    String(Zeroizing<String>),
    /// A whole number.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// An address.
    Ipv4(Ipv4Addr),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Null { "Value(null)" } else { "Value(..)" })
    }
}

impl Value {
    /// As text, the way a person would write it. Reveals the value: for output that was asked for.
    pub fn reveal(&self) -> Zeroizing<String> {
        match self {
            Self::Null => Zeroizing::default(),
            Self::String(text) => text.clone(),
            Self::Int(number) => Zeroizing::new(number.to_string()),
            Self::Bool(truth) => Zeroizing::new(truth.to_string()),
            Self::Ipv4(address) => Zeroizing::new(address.to_string()),
        }
    }

    /// As JSON. Reveals the value: for output that was asked for.
    pub fn reveal_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Int(number) => (*number).into(),
            Self::Bool(truth) => (*truth).into(),
            Self::String(_) | Self::Ipv4(_) => self.reveal().as_str().into(),
        }
    }
}

/// All parameters that the appliance declares, by name.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    by_name: BTreeMap<String, Declaration>,
    sensitive_keys: BTreeSet<String>,
}

impl Declared {
    /// Adds a declaration, if it is sound in itself.
    ///
    /// # Errors
    /// What is wrong with it, and what would mend it.
    pub fn insert(&mut self, name: String, declaration: Declaration) -> Result<(), String> {
        let well_formed = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !well_formed {
            return Err(format!(
                "`{name}` is no parameter name; use a-z, 0-9 and _, and begin with no digit"
            ));
        }
        if RESERVED.contains(&name.as_str()) || name.starts_with("__") {
            return Err(format!("the name `{name}` is taken by the templates; choose another"));
        }
        if declaration.key.is_empty() {
            return Err(format!(
                "parameter `{name}` has an empty key; give the key of the property that feeds it"
            ));
        }
        if declaration.required && declaration.default.is_some() {
            return Err(format!(
                "parameter `{name}` is required and has a default; it can be only one of these"
            ));
        }
        if let Some(default) = &declaration.default
            && declaration.kind.parse_toml(default).is_none()
        {
            let rule = declaration.kind.rule();
            return Err(format!(
                "the default of parameter `{name}` does not fit its type; it must be {rule}"
            ));
        }
        if declaration.sensitive {
            self.sensitive_keys.insert(declaration.key.clone());
        }
        self.by_name.insert(name, declaration);
        Ok(())
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Whether there is a parameter of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether the values of a parameter are secret. Sensitivity belongs to the key: what one parameter says of a key
    /// holds for all that read it, also from a sibling.
    pub fn is_sensitive(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|declaration| self.is_sensitive_key(&declaration.key))
    }

    /// Whether the values of a property are secret, whoever's it is.
    pub fn is_sensitive_key(&self, key: &str) -> bool {
        self.sensitive_keys.contains(key)
    }

    /// The name of the parameter that the guest's own property `key` feeds.
    pub fn name_of_key(&self, key: &str) -> Option<&str> {
        self.by_name.iter().find(|(_, d)| d.entity.is_none() && d.key == key).map(|(name, _)| name.as_str())
    }

    /// The parameters' values in an environment, or without one.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn evaluate(&self, environment: Option<&Environment>) -> Result<Parameters, Violations> {
        let mut values = BTreeMap::new();
        let mut violations = Vec::new();
        for (name, declaration) in &self.by_name {
            match declaration.evaluate(environment) {
                Ok(value) => {
                    values.insert(name.clone(), value);
                }
                Err(rule) => violations.push(Violation {
                    parameter: name.clone(),
                    key: declaration.key.clone(),
                    entity: declaration.entity.clone(),
                    rule,
                }),
            }
        }
        if violations.is_empty() { Ok(Parameters(values)) } else { Err(Violations(violations)) }
    }
}

impl Declaration {
    fn evaluate(&self, environment: Option<&Environment>) -> Result<Value, String> {
        let text = environment.and_then(|e| self.find(e)).map(environment::Value::reveal);
        // vSphere sends every property that nobody set as an empty one.
        match text.filter(|text| !text.is_empty() || self.kind == Type::String) {
            Some(text) => self.kind.parse(text).ok_or_else(|| format!("it must be {}", self.kind.rule())),
            None => match &self.default {
                Some(default) => Ok(self.kind.parse_toml(default).unwrap_or(Value::Null)),
                None if self.required => Err(match (environment, text) {
                    (None, _) => "it is required, and there is no OVF environment; attach one, or declare a default".to_owned(),
                    (_, None) => {
                        "it is required, and the OVF environment does not have this property; set it on the platform".to_owned()
                    }
                    (_, Some(_)) => "it is required, and the property is empty; set it on the platform".to_owned(),
                }),
                None => Ok(Value::Null),
            },
        }
    }

    fn find<'a>(&self, environment: &'a Environment) -> Option<&'a environment::Value> {
        match &self.entity {
            None => environment.properties.get(&self.key),
            Some(id) => {
                environment.entities.iter().find(|entity| entity.id == *id)?.properties.get(&self.key)
            }
        }
    }
}

/// The values of all declared parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
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

#[cfg(test)]
mod tests {
    use super::{Declaration, Declared, Value};
    use crate::environment;

    fn declared(toml: &str) -> Declared {
        let declarations: std::collections::BTreeMap<String, Declaration> = toml::from_str(toml).expect(toml);
        let mut declared = Declared::default();
        for (name, declaration) in declarations {
            declared.insert(name, declaration).expect(toml);
        }
        declared
    }

    fn environment(property: Option<&str>) -> environment::Environment {
        let property =
            property.map_or(String::new(), |value| format!(r#"<Property e:key="k" e:value="{value}"/>"#));
        let document = format!(
            r#"<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:e="http://schemas.dmtf.org/ovf/environment/1"
            ><PropertySection>{property}</PropertySection></Environment>"#
        );
        environment::parse(document.as_bytes()).expect(&document).0
    }

    #[test]
    fn a_property_becomes_a_value_of_its_type() {
        // Type and more, what the property says, and what the parameter is; None where a rule is broken.
        for (declaration, property, want) in [
            ("type = \"string\"", Some("a b"), Some("a b")),
            ("type = \"string\"", Some(""), Some("")),
            ("type = \"string\"", Some("a&#10;b"), None),
            ("type = \"string\"", Some("a&#x85;b"), None),
            ("type = \"string\"", None, Some("null")),
            ("type = \"int\"", Some("-12"), Some("-12")),
            ("type = \"int\"", Some(" 7 "), Some("7")),
            ("type = \"int\"", Some("1.0"), None),
            ("type = \"int\"", Some("9223372036854775808"), None),
            ("type = \"int\"", Some(""), Some("null")),
            ("type = \"bool\"", Some("True"), Some("true")),
            ("type = \"bool\"", Some("on"), Some("true")),
            ("type = \"bool\"", Some("0"), Some("false")),
            ("type = \"bool\"", Some("NO"), Some("false")),
            ("type = \"bool\"", Some("2"), None),
            ("type = \"ipv4\"", Some("192.0.2.1"), Some("192.0.2.1")),
            ("type = \"ipv4\"", Some("192.0.2.01"), None),
            ("type = \"ipv4\"", Some("::1"), None),
            ("type = \"ipv4\", default = \"192.0.2.9\"", Some(""), Some("192.0.2.9")),
            ("type = \"int\", default = 5", None, Some("5")),
            ("type = \"int\", default = 5", Some("x"), None),
            ("type = \"bool\", default = true", Some("no"), Some("false")),
            ("type = \"ipv4\", required = true", Some(""), None),
            ("type = \"ipv4\", required = true", None, None),
            ("type = \"string\", required = true", Some(""), Some("")),
            ("type = \"string\", entity = \"B\"", Some("a"), Some("null")),
        ] {
            let declared = declared(&format!("p = {{ key = \"k\", {declaration} }}"));
            let outcome = declared.evaluate(Some(&environment(property)));
            let got = outcome.as_ref().ok().map(|parameters| match parameters.get("p").expect("declared") {
                Value::Null => "null".to_owned(),
                value => value.reveal().as_str().to_owned(),
            });
            assert_eq!(got.as_deref(), want, "{declaration} with {property:?}: {outcome:?}");
        }
    }

    #[test]
    fn sensitivity_belongs_to_the_key() {
        let declared = declared(
            "a = { key = \"pw\", type = \"string\", sensitive = true }\n\
             b = { key = \"pw\", entity = \"DB2\", type = \"string\" }\n\
             c = { key = \"x\", type = \"string\" }",
        );
        assert!(declared.is_sensitive("a") && declared.is_sensitive("b") && !declared.is_sensitive("c"));
        assert_eq!((declared.name_of_key("pw"), declared.name_of_key("y")), (Some("a"), None));
    }

    #[test]
    fn no_value_is_in_an_error_or_in_debug_output() {
        let declared = declared(
            "n = { key = \"k\", type = \"int\" }\n\
             s = { key = \"k\", type = \"string\", default = \"d3fault-s3cret\" }",
        );
        let environment = environment(Some("s3cret"));
        let violations = declared.evaluate(Some(&environment)).expect_err("no number");
        let parameters =
            super::Parameters([("s".to_owned(), Value::String("s3cret".to_owned().into()))].into());
        let text = format!("{violations} {violations:?} {declared:?} {parameters:?} {environment:?}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}
