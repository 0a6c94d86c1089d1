//! What a hook was told, read by the agent's own command in it.
//!
//! Decides that it is what this hook was told and no other JSON, and how a value looks that left its type behind there: as it does
//! elsewhere. What is told is decided in `call`, and who may see it in `cli`.

#![forbid(unsafe_code)]

use serde_json::Value;
use zeroize::Zeroizing;

/// What a hook was told. It holds secrets.
pub struct Heard(Value);

impl std::fmt::Debug for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Heard(..)")
    }
}

impl Heard {
    /// More than a hook is told of the largest document, each byte of which takes six at most, and what is made from it again.
    pub const LIMIT: u64 = 1 << 29;

    /// What a hook of this moment was told; `None` where it was not told that.
    pub fn new(json: &[u8], moment: &str) -> Option<Self> {
        let told: Value = serde_json::from_slice(json).ok()?;
        (told["hook"] == moment && told.get("parameters").is_some()).then_some(Self(told))
    }

    /// Whether it was told of a pass.
    pub fn knows_a_pass(&self) -> bool {
        !self.0["parameters"].is_null()
    }

    /// A parameter or derived value, as text and as JSON.
    pub fn value(&self, name: &str) -> Option<(Zeroizing<String>, Value)> {
        let value = ["parameters", "derived"].iter().find_map(|kind| self.0[*kind].get(name))?;
        let text = match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some((Zeroizing::new(text), value.clone()))
    }
}
