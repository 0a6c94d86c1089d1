//! Which properties of an environment the appliance reads, and whether anything comes of them.
//!
//! Decides that a parameter is used where a template or the `when` of a unit names it, or a derived value that these need; and
//! wherever there is a hook, which is told all of them. Who asks the running agent for one is not known here.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use serde_json::Value;

use super::Config;

impl Config {
    /// All of them: those of the parameters, by their names, then those of gates, and the one that tells instances apart. Each has
    /// its key; the entity whose it is, null for the guest itself and `*` for each sibling; the parameter that it feeds, null where
    /// the agent reads it for itself; and whether anything uses that.
    pub fn reads(&self) -> Vec<Value> {
        let named = self.templates().map_or_else(|_| BTreeSet::new(), |templates| templates.names());
        let mut all = Vec::new();
        let mut add = |key: &str, entity: Option<&str>, parameter: Option<&str>, used| {
            let text = |it: Option<&str>| it.map_or(Value::Null, Value::from);
            let fields = [
                ("key", text(Some(key))),
                ("entity", text(entity)),
                ("parameter", text(parameter)),
                ("used", Value::Bool(used)),
            ];
            all.push(Value::from_iter(fields));
        };
        for name in self.parameters.names() {
            if let Some((key, entity)) = self.parameters.source(name) {
                add(key, entity, Some(name), !self.hooks.list.is_empty() || named.contains(name));
            }
        }
        for gate in &self.ready.entities {
            gate.keys().for_each(|key| add(key, gate.entity.as_deref().or(Some("*")), None, true));
        }
        if let Some(key) = &self.instance_id {
            add(key, None, None, true);
        }
        all
    }
}
